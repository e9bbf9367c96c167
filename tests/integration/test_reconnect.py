"""The line breaks in every way that it can, and orders are never lost, doubled or guessed about."""

from __future__ import annotations

import asyncio
import socket
from decimal import Decimal

import pytest

import oms
from oms.core.events import (
    ConnectFailed,
    Context,
    DaemonStopped,
    DoubtResolved,
    ExecutionReceived,
    GapClosed,
    GapOpened,
    OrderMessageSent,
    Pending,
    ReconciliationCompleted,
    RequestNotTaken,
    SessionClosed,
    SessionOpened,
    SessionReady,
)
from oms.core.fold.records import OrderState
from oms.errors import IBConnectionError
from oms.service.ticket import Ticket
from tests.world import AAPL, CLIENT_ID, LOW, MSFT, World, breaks, settings_for

pytestmark = pytest.mark.slow
IN_DOUBT, WORKING = OrderState.IN_DOUBT, OrderState.WORKING


# ── an order is under way when the line breaks ───────────────────────────────────────────────────


async def test_an_order_cut_off_before_its_answer_is_in_doubt_then_shown_live(
    world: World,
) -> None:
    await world.start()
    ticket = await _cut_off(world, oms.Limit("BUY", 10, LOW), received=True)
    await world.rest(ticket, WORKING)
    assert await _was_in_doubt(world, ticket)
    assert await world.received(ticket.order_id) == 1
    await world.agree()


async def test_an_order_that_never_arrived_is_resolved_by_three_whole_answers_and_not_resent(
    world: World,
) -> None:
    await world.start()
    ticket = await _cut_off(world, oms.Limit("BUY", 10, LOW), received=False)
    await world.rest(ticket, OrderState.NOT_SENT)
    (resolved,) = await world.log(DoubtResolved)
    assert (resolved.order_id, resolved.outcome) == (ticket.order_id, "not_received")
    assert len(resolved.evidence) == 3
    await world.again(lambda: world.simulator.do("cut"))
    assert await world.received(ticket.order_id) == 0
    assert [m.kind for m in await world.log(OrderMessageSent)] == ["place"]
    await world.agree()


async def test_an_order_that_filled_while_its_answer_was_lost_is_filled_by_its_execution(
    world: World,
) -> None:
    await world.start()
    ticket = await _cut_off(world, oms.Market("BUY", 100), received=True)
    order = await ticket.done()
    await world.until(lambda: ticket.order.commissions)
    assert (order.state, order.filled, world.position()) == (OrderState.FILLED, 100, 100)
    assert [e.fetched for e in await world.log(ExecutionReceived)] == [True]
    await world.agree()


async def test_an_order_that_ib_rejected_while_the_answer_was_lost_ends_by_evidence(
    world: World,
) -> None:
    await world.start()
    ticket = await _cut_off(world, oms.Limit("BUY", 10**8, LOW), received=True)
    order = await ticket.done()
    assert order.state in {OrderState.REJECTED, OrderState.NOT_SENT}
    assert await world.received(ticket.order_id) == 1
    await world.agree()


async def test_a_doubt_is_not_resolved_before_it_has_settled(world: World) -> None:
    await world.start(doubt_settle_seconds=1)
    ticket = await _cut_off(world, oms.Limit("BUY", 10, LOW), received=False)
    await world.until(lambda: ("in_doubt", "AAPL") in world.open_cases())
    assert ticket.state is IN_DOUBT
    first, second = await _denied(world), await _denied(world, MSFT)
    assert (first, second) == ("gate", None)
    await world.rest(ticket, OrderState.NOT_SENT)
    await world.until(lambda: world.open_cases() == [])
    await world.agree()


async def test_bytes_that_arrive_long_after_the_doubt_still_give_the_order_its_life(
    world: World,
) -> None:
    await world.start()
    await world.simulator.do("hold", message="placeOrder", times=1)
    ticket = await world.oms.manager.submit(AAPL, oms.Limit("BUY", 10, LOW))
    await world.until(lambda: ticket.state is OrderState.IN_FLIGHT)
    await world.again(lambda: world.simulator.do("cut"))
    await world.rest(ticket, OrderState.NOT_SENT)
    await world.simulator.do("release")
    if await world.received(ticket.order_id):
        await world.reconcile()
        assert ticket.state is WORKING
    await world.agree()


async def test_a_cancel_cut_off_before_its_answer_ends_as_ib_ended_it(world: World) -> None:
    await world.start()
    ticket = await world.resting()
    await world.simulator.do("hold", message="cancelOrder", what="answer", times=1)
    await ticket.cancel()
    await world.broker(lambda b: b["orders"][0]["status"] == "Cancelled")
    await world.simulator.do("cut")
    assert (await ticket.done()).state is OrderState.CANCELLED
    await world.agree()


async def test_a_cancel_that_never_arrived_leaves_the_order_working_and_says_so(
    world: World,
) -> None:
    await world.start()
    ticket = await world.resting()
    await world.simulator.do("drop_next", message="cancelOrder", direction="in")
    await ticket.cancel()
    await world.until(lambda: ticket.state is OrderState.CANCEL_PENDING)
    await world.again(lambda: world.simulator.do("cut"))
    await world.rest(ticket, WORKING)
    assert "earlier session" in ticket.order.refusal
    await world.agree()


async def test_a_change_that_never_arrived_leaves_the_old_terms_and_says_so(world: World) -> None:
    await world.start()
    ticket = await world.resting()
    await world.simulator.do("drop_next", message="placeOrder", direction="in")
    await ticket.modify(limit="11")
    await world.until(lambda: ticket.state is OrderState.MODIFY_PENDING)
    await world.again(lambda: world.simulator.do("cut"))
    await world.rest(ticket, WORKING)
    assert (ticket.order.terms.limit_price, ticket.order.pending_terms) == (Decimal(LOW), None)
    assert [event.request for event in await world.log(RequestNotTaken)] == ["modify"]
    await world.agree()


@pytest.mark.parametrize("settle", [0, 600], ids=["given up", "waited for"])
async def test_a_change_that_arrives_in_a_later_session_is_what_was_asked_for(
    world: World, settle: int
) -> None:
    await world.start(doubt_settle_seconds=settle)
    ticket = await world.resting()
    await world.simulator.do("hold", message="placeOrder", what="processing", times=2)
    await ticket.modify(limit="11")
    await ticket.modify(limit="12")
    await world.held()
    await world.again(lambda: world.simulator.do("cut"))
    was_given_up = [event.request for event in await world.log(RequestNotTaken)]
    assert (was_given_up, ticket.order.modify_pending) == (
        (["modify"], False) if not settle else ([], True)
    )
    await world.simulator.do("release")
    await world.until(lambda: ticket.order.terms.limit_price == Decimal(12))
    assert (ticket.state, ticket.order.pending_terms) == (WORKING, None)
    assert (await world.reconcile()).verdict == "clean"
    await world.agree()


# ── the line itself ──────────────────────────────────────────────────────────────────────────────


async def test_orders_wait_for_a_whole_comparison_after_every_reconnect(world: World) -> None:
    manager = await world.start()
    await world.simulator.do("hold", message="reqPositions", times=1)
    await world.simulator.do("cut")
    await world.until(lambda: world.view.system.session_epoch == 2)
    await world.asked("positions")  # of the second session; the gap is closed, the run is not
    assert await _denied(world) == "reconciled"
    await world.simulator.do("release")
    await world.oms.ready(10)
    assert (await manager.submit(AAPL, oms.Limit("BUY", 1, LOW))).state is not OrderState.DENIED


async def test_a_half_open_line_is_found_by_the_probe_and_replaced(world: World) -> None:
    await world.start(probe_interval_seconds=1, probe_timeout_seconds=0.2)
    ticket = await world.resting()
    await world.simulator.do("half_open")
    await world.until_logged(GapOpened)
    # The other end of a half-open line holds the client id until it notices, too.
    report = await world.again(lambda: world.simulator.do("cut"))
    gap, *more = await world.log(GapOpened)
    assert (gap.cause, more, report.verdict) == ("silence", [], "clean")
    assert ticket.state is WORKING
    await world.agree()


@pytest.mark.parametrize(
    ("lost", "restored", "subscriptions_lost"),
    [(1100, 1101, True), (1100, 1102, False), (2110, 1102, False)],
)
async def test_news_of_a_lost_line_stops_orders_until_it_is_back_and_compared(
    world: World, lost: int, restored: int, subscriptions_lost: bool
) -> None:
    await world.start()
    resting = await world.resting()
    for _ in range(20):  # gateways say it hundreds of times in a night
        await world.notice(lost)
    await world.until(lambda: world.view.system.gap_sequence)
    assert await _denied(world) == "connected"
    await world.simulator.do("fill", order_ref=resting.order_id, quantity="4", price=LOW)
    await world.until(lambda: resting.order.filled == 4)  # what comes in a gap counts
    await world.notice(restored)
    await world.oms.ready(10)
    (opened,), (closed,) = await world.log(GapOpened), await world.log(GapClosed)
    assert (opened.cause, closed.cause) == (str(lost), str(restored))
    assert closed.subscriptions_lost is subscriptions_lost
    assert [r.trigger for r in await world.log(ReconciliationCompleted)] == ["start", str(restored)]
    assert len(await world.log(SessionOpened)) == 1
    await world.agree()


async def test_a_moved_port_ends_the_session_and_the_next_one_is_compared(world: World) -> None:
    await world.start()
    await world.again(lambda: world.notice(1300))
    assert [g.cause for g in await world.log(GapOpened)] == ["1300"]
    assert len(await world.log(SessionOpened)) == 2
    await world.agree()


async def test_answers_from_before_a_gap_do_not_let_orders_leave_after_it(world: World) -> None:
    await world.start()
    await world.simulator.do("hold", message="reqPositions", times=1)
    run = asyncio.ensure_future(world.reconcile())
    await world.asked("positions")
    await world.notice(1100)
    await world.until(lambda: world.view.system.gap_sequence)
    await world.notice(1102)
    await world.until(lambda: not world.view.system.gap_sequence)
    await world.simulator.do("release")
    overtaken = await run
    await world.oms.ready(10)
    ready = await world.log(SessionReady)
    assert overtaken.run_id not in {r.run_id for r in ready}
    assert len(ready) == 2


async def test_a_line_lost_in_the_middle_of_the_questions_makes_the_rest_unknown(
    world: World,
) -> None:
    await world.start()
    world.let_leave(1000)  # the line is cut when the question has left
    await world.bought(10)
    await world.simulator.do("silence", request="reqPositions", times=1)
    run = asyncio.ensure_future(world.reconcile())
    await world.asked("positions")
    await world.simulator.do("cut")
    report = await run
    outcomes = {q.kind: q.outcome for q in report.questions}
    assert outcomes["positions"] == "partial"
    assert (report.verdict, breaks(report.findings)) == ("unknown", [])
    assert world.position() == 10
    await world.oms.ready(10)
    await world.agree()


async def test_refused_connects_are_tried_again_with_growing_delays(world: World) -> None:
    await world.start(reconnect_delays_seconds=(0.1, 0.2, 0.4))
    await world.simulator.do("refuse")
    await world.simulator.do("cut")
    await world.until_logged(ConnectFailed, 3)
    failed = await world.log(ConnectFailed)
    delays = [f.retry_after_seconds for f in failed[:3]]
    growing = [Decimal(text) for text in ("0.100", "0.200", "0.400", "0.400")]
    # A session that was short counts as an attempt; on a busy machine it was not so short.
    assert delays in (growing[1:], growing[:3])
    await world.simulator.do("accept")
    await world.oms.ready(10)
    await world.agree()


async def test_a_gateway_that_restarts_with_lower_order_ids_gets_none_twice(world: World) -> None:
    await world.start()
    first = await world.resting()
    await world.again(lambda: world.simulator.do("restart", roll_back=100))
    second = await world.resting(5)
    numbers = [first.order.broker_order_id, second.order.broker_order_id]
    assert len(set(numbers)) == 2
    assert {o["order_ref"]: o["quantity"] for o in (await world.books())["orders"]} == {
        first.order_id: "10",
        second.order_id: "5",
    }


async def test_without_a_gateway_the_daemon_stays_and_no_order_is_written(world: World) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        manager = await world.start(ready=False, port=nobody.getsockname()[1])
        await world.until_logged(ConnectFailed, 2)
        with pytest.raises(IBConnectionError):
            await manager.submit(AAPL, oms.Market("BUY", 1), account="DU1234567")
        assert world.view.orders == {}
        assert not world.oms.failure.done()
        await world.stop()
        settings = settings_for(nobody.getsockname()[1], world.database)
        with pytest.raises(IBConnectionError):
            async with oms.connect(settings, wait_seconds=0.3):
                pass


async def test_a_clean_stop_says_so_and_stays_down(world: World) -> None:
    await world.start()
    ticket = await world.resting()
    await world.stop()
    await world.broker(lambda b: b["clients"] == [])
    await world.start(ready=False)
    (closed,) = await world.log(SessionClosed)
    (stopped,) = await world.log(DaemonStopped)
    assert (closed.deliberate, stopped.reason) == (True, "asked to stop")
    await world.oms.ready(10)
    order = await world.stored(ticket.order_id)
    assert (order.state, order.doubt_sequence) == (WORKING, 0)
    (client,) = (await world.books())["clients"]
    assert client == CLIENT_ID


# ── how the tests say it ─────────────────────────────────────────────────────────────────────────


async def _cut_off(world: World, terms: oms.Terms, *, received: bool) -> Ticket:
    """Send an order and cut the line before its answer; it arrived, or it did not."""
    if received:
        await world.simulator.do("hold", message="placeOrder", what="answer", times=1)
    else:
        await world.simulator.do("drop_next", message="placeOrder", direction="in")
    ticket = await world.oms.manager.submit(AAPL, terms)
    await world.until(lambda: ticket.state is OrderState.IN_FLIGHT)
    if received:
        await world.broker(lambda b: b["placements"])
    await world.again(lambda: world.simulator.do("cut"))
    return ticket


async def _was_in_doubt(world: World, ticket: Ticket) -> bool:
    return (await world.stored(ticket.order_id)).doubt_sequence > 0


async def _denied(world: World, contract: oms.Contract = AAPL) -> str | None:
    """Return the rule that denies an order now; None lets it pass."""
    ticket = await world.oms.manager.submit(contract, oms.Limit("BUY", 1, LOW))
    return await world.rule_against(ticket)


async def test_a_gap_that_was_written_late_does_not_keep_orders_from_leaving(world: World) -> None:
    await world.start()
    context = Context(actor="broker", session_epoch=world.view.system.session_epoch)
    # Handed over and not committed yet, as behind a burst; the line is whole again.
    world.oms.log.append(Pending(GapOpened(cause="connection reset"), context))
    world.oms.log.append(Pending(GapClosed(cause="reconnect", opened_sequence=1), context))
    report = await world.reconcile()
    assert report.verdict == "clean"
    assert world.view.system.ready
