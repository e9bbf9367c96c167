"""Orders that did not come from this log are taken in, named as what they are, and left alone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import pytest
from ib_async import IB, LimitOrder, Stock

import oms
from oms.core.events import BreakOpened, BreakUpdated, OrderAdopted, ReconciliationCompleted
from oms.core.fold.records import Order, OrderState
from tests.world import AAPL, CLIENT_ID, LOW, World, breaks

pytestmark = pytest.mark.slow


async def test_an_order_entered_by_hand_is_adopted_as_manual_and_named(world: World) -> None:
    manager = await world.start()
    perm_id = await _by_hand(world, limit_price=LOW)
    report = await world.reconcile()
    (adopted,) = await world.log(OrderAdopted)
    order = manager.order(adopted.order_id)
    assert (adopted.origin, adopted.perm_id) == ("manual", perm_id)
    assert (order.state, order.terms.limit_price) == (OrderState.WORKING, Decimal(LOW))
    assert breaks(report.findings) == ["unknown_order"]
    assert world.open_cases() == [("unknown_order", "AAPL")]
    await world.agree()


async def test_its_fills_are_claimed_and_move_the_position(world: World) -> None:
    await world.start()
    perm_id = await _by_hand(world, limit_price=LOW)
    await world.reconcile()
    await world.simulator.do("fill", perm_id=perm_id, quantity=4, price=LOW)
    await world.reconcile()
    order = await _adopted(world)
    assert (order.filled, world.position()) == (4, 4)
    await world.simulator.do("fill", perm_id=perm_id, price=LOW)
    await world.reconcile()
    assert (await world.stored(order.order_id)).state is OrderState.FILLED
    assert world.position() == 10
    await world.agree()


async def test_a_sale_by_hand_while_we_were_away_is_whole_in_the_books_of_the_next_start(
    world: World,
) -> None:
    await world.start()
    await world.bought(100)
    await world.stop()
    await _by_hand(world, side="SELL", quantity=30, order_type="MKT")
    await world.start()
    order = await _adopted(world)
    assert (order.origin, order.state, order.filled) == ("manual", OrderState.FILLED, 30)
    assert world.position() == 70
    await world.agree()


async def test_an_order_by_hand_blocks_neither_our_orders_nor_itself(world: World) -> None:
    manager = await world.start()
    await _by_hand(world, limit_price=LOW)
    await world.reconcile()
    ours = await manager.submit(AAPL, oms.Limit("BUY", 1, LOW))
    assert ours.state is not OrderState.DENIED
    adopted = await _adopted(world)
    refused = await manager.cancel(adopted.order_id)
    assert "only TWS, or client 0 once IB has bound it, can cancel it" in refused.refusal
    assert refused.state is OrderState.WORKING
    changed = await manager.modify(adopted.order_id, limit=Decimal(11))
    assert "only TWS, or client 0 once IB has bound it, can change it" in changed.refusal
    await world.agree()


async def test_adopting_is_done_once(world: World) -> None:
    await world.start()
    await _by_hand(world, limit_price=LOW)
    await _by_hand(world, side="SELL", quantity=1, order_type="MKT")
    await world.reconcile()
    await world.again(lambda: world.simulator.do("cut"))
    await world.stop()
    await world.start()
    await world.reconcile()
    assert len(await world.log(OrderAdopted)) == 2
    assert len(await world.log(BreakOpened)) == 2
    assert await world.log(BreakUpdated) == []
    await world.agree()


async def test_another_clients_order_is_adopted_under_that_client(world: World) -> None:
    await world.start()
    async with _client(world, 9) as other:
        other.placeOrder(Stock("AAPL", "SMART", "USD"), LimitOrder("BUY", 3, 10, tif="GTC"))
        await world.broker(lambda b: b["orders"])
        await world.reconcile()
    order = await _adopted(world)
    assert (order.origin, order.client_id, order.terms.quantity) == ("other_client", 9, 3)
    await world.agree()


async def test_an_order_of_our_client_id_from_before_this_log_is_adopted_and_can_be_cancelled(
    world: World,
) -> None:
    async with _client(world, CLIENT_ID) as earlier:
        order: Any = LimitOrder("BUY", 3, 10, tif="GTC", orderRef="older-log")
        earlier.placeOrder(Stock("AAPL", "SMART", "USD"), order)
        await world.broker(lambda b: b["orders"])
    await world.broker(lambda b: b["clients"] == [])
    manager = await world.start()
    adopted = await _adopted(world)
    assert (adopted.origin, adopted.order_ref) == ("previous_session", "older-log")
    await manager.modify(adopted.order_id, limit=Decimal(11))
    await world.until(lambda: manager.order(adopted.order_id).terms.limit_price == 11)
    # It is the same order at IB, under the name that it had there.
    (row,) = (await world.books())["orders"]
    assert (row["order_ref"], row["limit_price"]) == ("older-log", "11")
    await manager.cancel(adopted.order_id)
    await world.until(lambda: world.state_of(adopted.order_id) is OrderState.CANCELLED)
    reports = await world.log(ReconciliationCompleted)
    assert [breaks(r.findings) for r in reports] == [["unknown_order"]]


async def test_a_change_of_an_adopted_order_that_cannot_leave_is_refused_to_that_order(
    world: World,
) -> None:
    async with _client(world, CLIENT_ID) as earlier:
        order: Any = LimitOrder("BUY", 3, 10, tif="GTC", orderRef="older-log")
        earlier.placeOrder(Stock("AAPL", "SMART", "USD"), order)
        await world.broker(lambda b: b["orders"])
    await world.broker(lambda b: b["clients"] == [])
    manager = await world.start()
    adopted = await _adopted(world)
    world.let_leave(per_second=1)
    await manager.modify(adopted.order_id, limit=Decimal(11))
    await world.simulator.do("cut")
    await world.until(lambda: "not sent" in manager.order(adopted.order_id).refusal)
    assert not manager.order(adopted.order_id).modify_pending


async def _by_hand(world: World, **fields: Any) -> int:
    order = {"symbol": "AAPL", "side": "BUY", "quantity": 10, "order_type": "LMT"} | fields
    perm_id: int = (await world.simulator.do("manual_order", **order))["perm_id"]
    return perm_id


async def _adopted(world: World) -> Order:
    (adopted,) = await world.log(OrderAdopted)
    return await world.stored(adopted.order_id)


@asynccontextmanager
async def _client(world: World, client_id: int) -> AsyncIterator[IB]:
    """Another program at the same gateway."""
    ib = IB()
    await ib.connectAsync("127.0.0.1", world.simulator.port, client_id)
    try:
        yield ib
    finally:
        ib.disconnect()


async def test_orders_that_ib_names_by_no_number_are_reported_in_each_run_and_taken_in_by_none(
    world: World,
) -> None:
    await world.start()
    unnamed = {"direction": "out", "message": "openOrder", "action": "edit"}
    await world.simulator.do("fault", **unnamed, set={"orderId": "0", "permId": "0"})
    first = await _by_hand(world, limit_price=LOW)
    await _by_hand(world, limit_price=LOW)
    for _ in range(2):
        report = await world.reconcile()
        assert breaks(report.findings) == ["unknown_order", "unknown_order"]
        assert "BUY 10 AAPL LMT 10" in report.findings[0].theirs
    assert await world.oms.reader.rows("orders") == []
    assert len(world.open_cases()) == 2
    await world.simulator.do("cancel", perm_id=first)
    await world.reconcile()
    # IB lists one among the completed orders, with its number: a case more, and none fewer.
    nameless = [c for c in world.view.open_breaks() if not c.finding.order_id]
    assert (len(nameless), len(world.open_cases())) == (2, 3)


async def test_completed_rows_without_any_name_make_no_second_order(world: World) -> None:
    await world.start()
    lost = {"direction": "out", "message": "completedOrder", "action": "edit"}
    await world.simulator.do("fault", **lost, set={"orderRef": "", "permId": "0"})
    ticket = await world.bought(10)
    report = await world.reconcile()
    assert [o.order_id for o in await world.oms.reader.rows("orders")] == [ticket.order_id]
    assert breaks(report.findings) == ["unknown_order"]
