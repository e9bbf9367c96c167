"""One key is one order, whichever log sent it: what IB shows with the key is that order."""

from __future__ import annotations

from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import oms
from oms.core.events import (
    OpenOrderReceived,
    OrderAdopted,
    OrderDenied,
    OrderIntended,
    OrderMessageSent,
    OrderNotSent,
    OrderStatusReceived,
    ReconciliationCompleted,
)
from oms.core.fold.records import OrderState, UnknownOrder
from oms.errors import InvalidRequest
from oms.service.adapter import IBBrokerAdapter
from oms.service.sending import By
from tests.shell import Shell
from tests.simulator import Simulator
from tests.world import AAPL, ACCOUNT, CLIENT_ID, LOW, MSFT, World, a_world, breaks, settings_for

pytestmark = pytest.mark.slow
WORDS = ("10", "AAPL", "--limit", LOW, "--order-id", "k1")


@pytest.fixture
async def other(tmp_path: Path, simulator: Simulator) -> AsyncIterator[World]:
    """Another folder with a log of its own, for the same account."""
    folder = tmp_path / "other"
    folder.mkdir()
    async with a_world(folder, simulator) as made:
        yield made


@pytest.mark.parametrize(
    "client_id", [CLIENT_ID, pytest.param(CLIENT_ID + 1, marks=pytest.mark.long)]
)
async def test_key_that_another_log_sent_is_not_sent_again(
    world: World, other: World, tmp_path: Path, client_id: int
) -> None:
    await world.start()
    await world.resting(order_id="k1")
    await world.stop()
    manager = await other.start(client_id=client_id)
    adopted = await other.stored("k1")
    assert (adopted.state, adopted.terms.quantity) == (OrderState.WORKING, Decimal(10))
    ticket = await manager.submit(AAPL, oms.Limit("BUY", 10, LOW), order_id="k1")
    assert (await ticket.working()).perm_id == adopted.perm_id
    shell = Shell(tmp_path, {"OMS_DATABASE_URL": str(other.database)})
    for _ in range(2):
        said = await shell.oms("buy", *WORDS, "--json")
        assert said.json["orders"][0]["perm_id"] == adopted.perm_id
        assert "nothing was sent" in said.err
    refused = await shell.oms("sell", "10", "MSFT", "--order-id", "k1", expect=2)
    assert "k1" in refused.err
    with pytest.raises(InvalidRequest, match="belongs to another order"):
        await manager.submit(MSFT, oms.Limit("BUY", 10, LOW), order_id="k1")
    assert await other.log(OrderMessageSent) == []
    assert await other.received("k1") == 1
    assert breaks((await other.reconcile()).findings) == ["unknown_order"]


async def test_key_that_was_filled_today_is_not_sent_again_by_an_engine(
    world: World, other: World
) -> None:
    manager = await world.start()
    await (await manager.submit(AAPL, oms.Market("BUY", 10), order_id="k1")).done()
    await world.stop()
    settings = settings_for(other.simulator.port, other.database, client_id=CLIENT_ID)
    async with IBBrokerAdapter(settings) as adapter:
        assert await adapter.submit_order(AAPL, oms.Market("BUY", 10), order_id="k1") == "k1"
        assert await adapter.get_open_orders() == ()
    assert await other.received("k1") == 1
    assert len((await other.books())["executions"]) == 1


async def test_key_is_not_sent_before_ib_has_said_what_it_knows(world: World, other: World) -> None:
    manager = await world.start()
    await (await manager.submit(AAPL, oms.Market("BUY", 10), order_id="k1")).done()
    await world.stop()
    await other.simulator.do("fault", message="reqCompletedOrders", direction="in", action="drop")
    manager = await other.start(ready=False, request_timeout_seconds=1)
    await other.until_logged(OrderAdopted)
    ticket = await manager.submit(AAPL, oms.Market("BUY", 10), order_id="k2")
    assert await other.rule_against(ticket) == "reconciled"
    again = await manager.submit(AAPL, oms.Market("BUY", 10), order_id="k1")
    assert again.order.origin != "ours"
    assert await other.log(OrderMessageSent) == []


@pytest.mark.long
async def test_key_that_was_denied_before_ib_was_heard_is_the_order_that_ib_has(
    world: World, other: World
) -> None:
    await world.start()
    await world.resting(order_id="k1")
    await world.stop()
    await other.simulator.do(
        "fault", message="reqAllOpenOrders", direction="in", action="drop", times=1
    )
    # IB shows a client its own orders unasked, so this is another one.
    manager = await other.start(ready=False, request_timeout_seconds=1, client_id=CLIENT_ID + 1)
    await other.until_logged(ReconciliationCompleted)
    early = await manager.submit(AAPL, oms.Limit("BUY", 10, LOW), order_id="k1")
    assert await other.rule_against(early) == "reconciled"
    # The first end that comes may be that of the question which was given up.
    await other.reconcile()
    await other.reconcile()
    assert (early.state, early.order.origin) == (OrderState.WORKING, "other_client")
    assert await other.log(OrderMessageSent) == []


async def test_key_that_ib_shows_on_two_orders_is_refused_in_clear_words(
    world: World, tmp_path: Path
) -> None:
    for order_id in (4, 5):
        await _by_another(world, order_id=order_id, order_ref="strat")
    manager = await world.start()
    adopted = await world.log(OrderAdopted)
    assert {one.order_id for one in adopted} == {f"perm-{one.perm_id}" for one in adopted}
    with pytest.raises(InvalidRequest, match="IB shows the key strat"):
        await manager.submit(AAPL, oms.Limit("BUY", 1, LOW), order_id="strat")
    shell = Shell(tmp_path, {"OMS_DATABASE_URL": str(world.database)})
    words = ("buy", "1", "AAPL", "--limit", LOW, "--order-id", "strat")
    assert "IB shows the key strat" in (await shell.oms(*words, expect=1)).err
    assert await world.log(OrderMessageSent) == []


async def test_key_of_an_order_that_no_comparison_has_seen_is_refused(world: World) -> None:
    manager = await world.start()
    await _by_another(world, client_id=CLIENT_ID, order_id=900, order_ref="k1")
    await world.until_logged(OpenOrderReceived)
    with pytest.raises(InvalidRequest, match="that our books do not have yet"):
        await manager.submit(AAPL, oms.Limit("BUY", 1, LOW), order_id="k1")
    await world.reconcile()
    shown = await world.oms.reader.rows("unknown_orders")
    assert [row.taken_in for row in shown if isinstance(row, UnknownOrder)] == [True, True]
    ticket = await manager.submit(AAPL, oms.Limit("BUY", 10, LOW), order_id="k1")
    assert ticket.order.origin == "previous_session"
    assert await world.log(OrderMessageSent) == []
    assert await world.log(OrderDenied) == []


async def test_intent_that_ib_was_faster_than_does_not_leave(world: World) -> None:
    manager = await world.start()
    contract = await manager.qualify(AAPL)
    await _by_another(world, client_id=CLIENT_ID, order_id=900, order_ref="k1")
    await world.until_logged(OpenOrderReceived)
    intent = OrderIntended(
        order_id="k1", account=ACCOUNT, contract=contract, terms=oms.Limit("BUY", 10, LOW)
    )
    await manager._sending.submit([intent], [], by=By("test"), whole=False)
    await world.until_logged(OrderNotSent)
    assert await world.log(OrderMessageSent) == []
    await world.reconcile()
    assert (world.state_of("k1"), await world.received("k1")) == (OrderState.WORKING, 0)


async def test_cancel_of_a_refused_order_does_not_reach_the_owner_of_its_number(
    world: World,
) -> None:
    manager = await world.start()
    await manager.qualify(AAPL)
    fault = {"direction": "in", "message": "placeOrder", "action": "refuse", "times": 1}
    await world.simulator.do("fault", **fault, code=103, text="Duplicate order id")
    ticket = await manager.submit(AAPL, oms.Limit("BUY", 10, LOW), order_id="new")
    await ticket.done()
    number = ticket.order.broker_order_id
    await _by_another(world, client_id=CLIENT_ID, order_id=number, order_ref="older")
    await world.until_logged(OrderStatusReceived)
    assert (ticket.state, ticket.order.perm_ids) == (OrderState.REJECTED, ())
    await manager.cancel("new")
    await world.reconcile()
    assert (ticket.state, world.state_of("older")) == (OrderState.REJECTED, OrderState.WORKING)
    assert [e.kind for e in await world.log(OrderMessageSent)] == ["place"]
    await manager.cancel("older")
    await world.until(lambda: world.state_of("older") is OrderState.CANCELLED)
    assert ticket.state is OrderState.REJECTED
    await world.agree()


async def _by_another(world: World, **fields: Any) -> None:
    order = {"symbol": "AAPL", "side": "BUY", "quantity": 10, "order_type": "LMT"}
    order |= {"limit_price": LOW, "client_id": 9}
    await world.simulator.do("manual_order", **(order | fields))
