"""What happened while we were away is learnt by asking, once, and never made up."""

from __future__ import annotations

from decimal import Decimal

import pytest

import oms
from oms.core.events import (
    CommissionReceived,
    ExecutionReceived,
    NaturalKeyConflict,
    ReconciliationCompleted,
)
from oms.core.fold.records import Fill, OrderState
from tests.world import AAPL, LOW, MSFT, World

pytestmark = pytest.mark.slow


async def test_fills_in_parts_while_the_daemon_was_down_are_booked_once(world: World) -> None:
    await world.start()
    ticket = await world.resting(10)
    await world.stop()
    for quantity in (4, 6):
        await world.simulator.do("fill", order_ref=ticket.order_id, quantity=quantity, price=LOW)
    await world.start()
    order = await world.stored(ticket.order_id)
    assert (order.state, order.filled, order.average_price) == (OrderState.FILLED, 10, 10)
    assert [f.backfilled for f in await _fills(world)] == [True, True]
    assert world.position() == 10
    await world.agree()


async def test_fills_while_the_line_was_cut_are_booked_once(world: World) -> None:
    await world.start()
    ticket = await world.resting(10)
    await world.simulator.do("refuse")
    await world.simulator.do("cut")
    await world.until(lambda: not world.view.system.connected)
    await world.simulator.do("fill", order_ref=ticket.order_id, quantity=4, price=LOW)
    await world.again(lambda: world.simulator.do("accept"))
    assert (ticket.state, ticket.order.filled) == (OrderState.PARTIALLY_FILLED, 4)
    await world.agree()


async def test_asking_again_books_nothing_again(world: World) -> None:
    await world.start()
    await world.bought(10)
    await world.bought(5, MSFT)
    before = await _fills(world)
    for _ in range(3):
        await world.reconcile()
    assert await _fills(world) == before
    assert len(await world.log(ExecutionReceived)) == 2
    assert len(await world.log(CommissionReceived)) == 2
    assert await world.log(NaturalKeyConflict) == []
    await world.agree()


async def test_the_report_names_what_was_backfilled(world: World) -> None:
    await world.start()
    ticket = await world.resting(10)
    await world.stop()
    await world.simulator.do("fill", order_ref=ticket.order_id, price=LOW)
    await world.start()
    first, report = await world.log(ReconciliationCompleted)
    repairs = {(f.subject, f.repair) for f in report.findings}
    assert (first.verdict, report.verdict, report.trigger) == ("clean", "clean", "start")
    assert repairs == {
        ("order", "was WORKING, 0 filled"),
        ("execution", "backfilled"),
        ("position", "was 0"),
        ("cash", ""),
    }


async def test_an_order_that_ib_cancelled_while_we_were_away_is_cancelled(world: World) -> None:
    await world.start()
    ticket = await world.resting(10)
    await world.stop()
    await world.simulator.do("cancel", order_ref=ticket.order_id, text="Order Canceled - by IB")
    await world.start()
    order = await world.stored(ticket.order_id)
    assert (order.state, order.filled) == (OrderState.CANCELLED, 0)
    await world.agree()


async def test_an_end_whose_messages_were_lost_is_learnt_by_asking(world: World) -> None:
    await world.start()
    ticket = await world.resting(10)
    await world.simulator.do("drop_next", message="orderStatus", times=5)
    await world.simulator.do("drop_next", message="errMsg", times=5)
    await world.simulator.do("cancel", order_ref=ticket.order_id)
    await world.simulator.do("clear")
    assert ticket.state is OrderState.WORKING
    report = await world.reconcile()
    assert (ticket.state, report.verdict) == (OrderState.CANCELLED, "clean")
    await world.agree()


async def test_a_fill_whose_messages_were_lost_is_learnt_by_asking(world: World) -> None:
    await world.start()
    ticket = await world.resting(10)
    for message in ("execDetails", "commissionReport", "orderStatus", "openOrder"):
        await world.simulator.do("drop_next", message=message, times=5)
    await world.simulator.do("fill", order_ref=ticket.order_id, price=LOW)
    await world.simulator.do("clear")
    assert ticket.order.filled == 0
    await world.reconcile()
    assert (ticket.state, world.position()) == (OrderState.FILLED, 10)
    await world.agree()


async def test_a_commission_that_was_lost_is_learnt_by_asking(world: World) -> None:
    manager = await world.start()
    await world.simulator.do("drop_next", message="commissionReport")
    ticket = await manager.submit(AAPL, oms.Market("BUY", 10))
    await ticket.done()
    assert ticket.order.commissions == ()
    await world.reconcile()
    assert ticket.order.commissions == (("USD", Decimal(1)),)
    await world.agree()


@pytest.mark.parametrize("verb", ["correct", "bust"])
async def test_a_correction_while_we_were_away_replaces_the_fill(world: World, verb: str) -> None:
    await world.start()
    ticket = await world.bought(10)
    await world.stop()
    (execution,) = (await world.books())["executions"]
    change = {"quantity": "7", "price": "100"} if verb == "correct" else {}
    await world.simulator.do(verb, exec_id=execution["exec_id"], **change)
    await world.start()
    (fill,) = await _fills(world)
    expected = (Decimal(7), Decimal(100)) if verb == "correct" else (Decimal(0), fill.price)
    assert (fill.quantity, fill.price, fill.superseded) == (*expected, (execution["exec_id"],))
    assert world.position() == expected[0]
    assert (await world.stored(ticket.order_id)).filled == expected[0]


async def test_a_correction_that_is_pushed_replaces_the_fill(world: World) -> None:
    await world.start()
    ticket = await world.bought(10)
    (execution,) = (await world.books())["executions"]
    await world.simulator.do("correct", exec_id=execution["exec_id"], quantity="7")
    await world.until(lambda: ticket.order.filled == 7)
    assert world.position() == 7


async def test_duplicated_and_late_messages_change_nothing(world: World) -> None:
    manager = await world.start()
    for message in ("openOrder", "orderStatus", "execDetails", "commissionReport"):
        await world.simulator.do("fault", direction="out", message=message, action="duplicate")
        fault = {"direction": "out", "message": message, "action": "delay", "seconds": 0.05}
        await world.simulator.do("fault", **fault, probability=0.5)
    tickets = [await manager.submit(AAPL, oms.Market("BUY", n)) for n in (1, 2, 3)]
    for ticket in tickets:
        await ticket.done()
    await world.until(lambda: all(t.order.commissions for t in tickets))
    await world.simulator.do("clear")
    assert len(await world.log(ExecutionReceived)) == 3
    assert world.position() == 6
    await world.agree()


async def _fills(world: World) -> list[Fill]:
    rows = await world.oms.reader.rows("fills", order="booked_sequence")
    return [row for row in rows if isinstance(row, Fill)]
