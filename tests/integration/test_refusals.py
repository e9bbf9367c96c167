"""A code that no table knows, and what the gateway keeps of a group: silence proves nothing."""

from __future__ import annotations

import pytest

import oms
from oms.core.events import OrderDoubted, QueryAsked, ReconciliationCompleted
from oms.core.fold.records import OrderState
from oms.errors import IBOrderRejectError
from tests.world import AAPL, LOW, MSFT, World

pytestmark = pytest.mark.slow
NEW_CODE = 478
WORDS = "Parameters in request conflicts with contract parameters"


async def _refuse(world: World, code: int = NEW_CODE, **more: object) -> None:
    fault = {"direction": "in", "message": "placeOrder", "action": "refuse"}
    await world.simulator.do("fault", **fault, code=code, text=WORDS, **more)


async def test_orders_that_ib_refuses_with_a_code_of_no_table_are_rejected_by_one_question(
    world: World,
) -> None:
    manager = await world.start(notice_settle_seconds=1)
    await manager.qualify(AAPL)
    before = [q.kind for q in await world.log(QueryAsked)]
    await _refuse(world, times=5)
    orders = [(AAPL, oms.Limit("BUY", n, LOW)) for n in range(1, 6)]
    tickets = await manager.submit_many(orders)
    for ticket in tickets:
        with pytest.raises(IBOrderRejectError, match=WORDS) as refused:
            await ticket.working()
        assert (refused.value.code, ticket.state) == (NEW_CODE, OrderState.REJECTED)
    asked = [q.kind for q in await world.log(QueryAsked)][len(before) :]
    assert asked == ["open_orders", "completed_orders", "executions"]
    assert [r.trigger for r in await world.log(ReconciliationCompleted)] == ["start"]
    assert await world.log(OrderDoubted) == []
    assert (await world.reconcile()).verdict == "clean"
    await world.agree()


async def test_a_code_of_no_table_takes_nothing_from_an_order_that_works_or_has_filled(
    world: World,
) -> None:
    """The code comes before anything else, and what else IB says of the orders is lost."""
    manager = await world.start(notice_settle_seconds=0.1)
    await manager.qualify(AAPL)
    for message in ("openOrder", "orderStatus", "execDetails"):
        await world.simulator.do(
            "fault", direction="out", message=message, action="drop", times=None
        )
    resting = await manager.submit(AAPL, oms.Limit("BUY", 10, LOW))
    filled = await manager.submit(AAPL, oms.Market("BUY", 5))
    await world.broker(lambda b: len(b["orders"]) == 2)
    await world.simulator.do("clear")
    for ticket in (resting, filled):
        number = ticket.order.broker_order_id
        await world.simulator.do("send_notice", id=number, code=NEW_CODE, text=WORDS)
    await world.rest(resting)
    await world.rest(filled, OrderState.FILLED)
    assert await world.log(OrderDoubted) == []
    await world.agree()


@pytest.mark.parametrize("how", ["not answered", "cut off"])
async def test_a_refusal_that_no_whole_answer_confirms_is_a_doubt(world: World, how: str) -> None:
    manager = await world.start(
        notice_settle_seconds=0.1, request_timeout_seconds=1, doubt_settle_seconds=600
    )
    await world.resting()  # so that there are rows half-way through
    if how == "not answered":
        await world.simulator.do("silence", request="reqAllOpenOrders", times=1)
    else:
        await world.simulator.do("drop_next", message="openOrderEnd", times=1)
    await _refuse(world, times=1)
    ticket = await manager.submit(AAPL, oms.Limit("BUY", 1, LOW))
    await world.rest(ticket, OrderState.IN_DOUBT)
    assert f"IB answered it with {NEW_CODE} {WORDS}" in ticket.order.doubt
    assert "open orders were" in ticket.order.doubt


async def test_what_the_gateway_holds_for_a_refused_last_leg_is_shown_until_a_person_acts(
    world: World,
) -> None:
    manager = await world.start()
    await manager.qualify(MSFT)
    await _refuse(world, code=109, times=1, where={"transmit": "1"})
    legs = await manager.submit_bracket(
        MSFT, oms.Limit("BUY", 5, LOW), take_profit="1000", stop_loss="5"
    )
    await world.rest(legs[2], OrderState.REJECTED)
    for leg in legs[:2]:
        await world.rest(leg, OrderState.IN_DOUBT)
    assert len((await world.books())["untransmitted"]) == 2
    for _ in range(2):
        assert (await world.reconcile()).verdict == "broken"
    assert world.open_cases() == [("in_doubt", "MSFT")] * 2
    assert "Look at the orders in TWS" in world.view.open_breaks()[0].finding.text
    await world.again(lambda: world.simulator.do("cut"))
    assert [leg.state for leg in legs[:2]] == [OrderState.IN_DOUBT] * 2
    await legs[0].cancel()  # TWS discards it, and what is attached to it
    await world.rest(legs[0], OrderState.CANCELLED)
    await legs[1].cancel()
    await world.until(lambda: legs[1].order.refusal)
    # A number alone names no order across sessions: what is not found is for a person to judge.
    assert (legs[1].state, legs[1].order.refusal[:5]) == (OrderState.IN_DOUBT, "10147")
    await manager.resolve(legs[1].order_id, "not_received", "TWS does not show it")
    assert (await world.reconcile()).verdict == "clean"
    assert world.open_cases() == []
    await world.agree()


async def test_a_change_and_a_cancel_refused_with_a_code_of_no_table_leave_the_order_at_work(
    world: World,
) -> None:
    await world.start(notice_settle_seconds=0.1)
    ticket = await world.resting()
    for message, ask in (
        ("placeOrder", lambda: ticket.modify(limit="11")),
        ("cancelOrder", ticket.cancel),
    ):
        fault = {"direction": "in", "message": message, "action": "refuse", "times": 1}
        await world.simulator.do("fault", **fault, code=NEW_CODE, text=WORDS)
        await ask()
        await world.until(lambda: ticket.order.refusal)
        assert ticket.order.refusal.startswith(f"{NEW_CODE} {WORDS}")
        assert ticket.state is OrderState.WORKING
    assert (await world.reconcile()).verdict == "clean"
    await world.agree()
