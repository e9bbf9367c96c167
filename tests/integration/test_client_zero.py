"""Client 0 binds the orders that a person enters in TWS, and can change and cancel them."""

from __future__ import annotations

from decimal import Decimal

import pytest

from oms.core.events import (
    CancelDenied,
    ModifyDenied,
    OrderAdopted,
    OrderBoundReceived,
    QueryAnswered,
)
from oms.core.fold.records import Order, OrderState
from tests.world import LOW, World

pytestmark = pytest.mark.slow


async def _enter(world: World, quantity: int) -> int:
    """A person enters an order in TWS; return its permanent number."""
    await world.simulator.do(
        "manual_order",
        symbol="AAPL",
        side="BUY",
        quantity=str(quantity),
        order_type="LMT",
        limit_price=LOW,
    )
    return max(row["perm_id"] for row in (await world.books())["orders"])


async def _adopted(world: World, perm_id: int) -> Order:
    await world.until(lambda: f"perm-{perm_id}" in world.view.orders)
    return world.view.orders[f"perm-{perm_id}"]


async def test_client_zero_binds_what_people_enter_and_changes_and_cancels_it(
    world: World,
) -> None:
    before = await _enter(world, 1)
    manager = await world.start(client_id=0)
    first = await _adopted(world, before)
    while_connected = await _enter(world, 2)
    await world.until_logged(OrderBoundReceived, 2)
    await world.simulator.do("refuse")
    await world.simulator.do("cut")
    while_away = await _enter(world, 3)
    await world.again(lambda: world.simulator.do("accept"))
    orders = [first, await _adopted(world, while_connected), await _adopted(world, while_away)]
    assert [(o.origin, o.client_id, o.broker_order_id) for o in orders] == [
        ("manual", 0, -2),
        ("manual", 0, -3),
        ("manual", 0, -4),
    ]
    for order in orders:
        await manager.modify(order.order_id, limit="11")
        await world.until(
            lambda o=order: (
                world.view.orders[o.order_id].terms.limit_price == Decimal(11)
                and world.state_of(o.order_id) is OrderState.WORKING
            )
        )
        await manager.cancel(order.order_id)
        await world.until(lambda o=order: world.state_of(o.order_id) is OrderState.CANCELLED)
    statuses = {row["status"] for row in (await world.books())["orders"]}
    assert statuses == {"Cancelled"}
    await world.agree()


async def test_another_client_binds_nothing_and_leaves_peoples_orders_alone(world: World) -> None:
    order_id = f"perm-{await _enter(world, 1)}"
    manager = await world.start()
    await manager.cancel(order_id)
    await manager.modify(order_id, limit="11")
    (cancel,), (change,) = await world.log(CancelDenied), await world.log(ModifyDenied)
    assert "only TWS, or client 0 once IB has bound it, can cancel it" in cancel.text
    assert "only TWS, or client 0 once IB has bound it, can change it" in change.text
    assert await world.log(OrderBoundReceived) == []
    (adopted,) = await world.log(OrderAdopted)
    assert (adopted.origin, adopted.broker_order_id) == ("manual", 0)


@pytest.mark.parametrize("fault", ["not answered", "refused"])
async def test_an_unanswered_binding_makes_no_answer_of_another_question(
    world: World, fault: str
) -> None:
    """The end of the answer that binds is not the end of the list of all open orders."""
    await _enter(world, 1)
    how = {"mode": "refuse", "code": 321, "text": "read-only"} if fault == "refused" else {}
    await world.simulator.do("silence", request="reqOpenOrders", times=1, **how)
    await world.start(client_id=0, ready=False, request_timeout_seconds=1)
    await world.oms.ready(60)
    answers = [a.question for a in await world.log(QueryAnswered)]
    outcomes = [q.outcome for q in answers if q.kind == "open_orders"]
    assert outcomes == ["partial", "complete"]
