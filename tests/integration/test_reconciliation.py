"""The books are compared with the broker's: each difference is named, and nothing else is."""

from __future__ import annotations

from typing import Any

import pytest

import oms
from oms.core.events import (
    BrokerMessageUnreadable,
    DoubtResolved,
    OpeningPositionRecorded,
    OrderAdopted,
    ReconciliationCompleted,
    SessionReady,
)
from oms.core.fold.records import OrderState
from tests.world import AAPL, LOW, MSFT, World, breaks

pytestmark = pytest.mark.slow
REQUEST_OF = {
    "open_orders": "reqAllOpenOrders",
    "completed_orders": "reqCompletedOrders",
    "executions": "reqExecutions",
    "positions": "reqPositions",
    "account_summary": "reqAccountSummary",
}
OUTCOME_OF = {"answer": "timed_out", "end": "partial", "refuse": "refused"}


# ── the same on both sides ───────────────────────────────────────────────────────────────────────


async def test_equal_books_give_a_clean_verdict_with_its_proof(world: World) -> None:
    await world.start()
    await world.bought(10)
    await world.resting(5, contract=MSFT)
    report = await world.reconcile()
    assert (report.verdict, {f.result for f in report.findings}) == ("clean", {"match"})
    subjects = {f.subject for f in report.findings}
    assert subjects == {"order", "execution", "position", "cash"}
    outcomes = {q.kind: (q.outcome, bool(q.digest)) for q in report.questions}
    assert outcomes == dict.fromkeys(REQUEST_OF, ("complete", True))
    executions = next(q for q in report.questions if q.kind == "executions")
    assert executions.reaches_back_to is not None
    assert executions.rows >= 1


async def test_what_an_account_held_before_the_log_is_its_opening_and_no_break(
    world: World,
) -> None:
    await world.simulator.do("position_adjust", symbol="MSFT", quantity=50, average_cost="99.5")
    await world.start()
    (opening,) = await world.log(OpeningPositionRecorded)
    assert (opening.contract.symbol, opening.quantity) == ("MSFT", 50)
    assert (world.position("MSFT"), world.open_cases()) == (50, [])
    await world.reconcile()
    assert len(await world.log(OpeningPositionRecorded)) == 1
    await world.agree()


async def test_what_today_s_executions_explain_is_not_an_opening(world: World) -> None:
    by_hand = {"symbol": "AAPL", "side": "BUY", "quantity": 8, "order_type": "MKT"}
    await world.simulator.do("position_adjust", symbol="AAPL", quantity=50, average_cost="99.5")
    await world.simulator.do("manual_order", **by_hand)
    await world.start()
    (opening,) = await world.log(OpeningPositionRecorded)
    assert (opening.quantity, world.position()) == (50, 58)
    assert [a.origin for a in await world.log(OrderAdopted)] == ["manual"]
    await world.agree()


async def test_a_second_run_writes_neither_a_repair_nor_a_case(world: World) -> None:
    await world.start()
    by_hand = {"side": "BUY", "quantity": 3, "order_type": "LMT", "limit_price": LOW}
    await world.simulator.do("manual_order", symbol="AAPL", **by_hand)
    await world.simulator.do("position_adjust", symbol="MSFT", quantity=5, average_cost="1")
    await world.reconcile()
    head = (await world.oms.reader.head()).sequence
    await world.reconcile()
    written = {type(e.event).__name__ for e in await world.oms.reader.events(head)}
    facts_of_a_run = {"ReconciliationStarted", "ReconciliationCompleted"}
    answers = {"QueryAsked", "QueryAnswered", "AnswerEndReceived"}
    rows = {"OpenOrderReceived", "OrderStatusReceived", "PositionReceived", "AccountValueReceived"}
    assert written <= facts_of_a_run | answers | rows


async def test_a_report_read_back_from_the_log_equals_the_one_that_was_given(
    world: World,
) -> None:
    await world.start()
    await world.bought(10)
    await world.simulator.do("position_adjust", symbol="MSFT", quantity=5, average_cost="1")
    given = await world.reconcile()
    assert (await world.log(ReconciliationCompleted))[-1] == given
    await world.stop()
    await world.start()
    assert (await world.log(ReconciliationCompleted))[-2] == given


# ── differences ──────────────────────────────────────────────────────────────────────────────────


async def test_a_position_that_moved_without_an_execution_is_the_one_difference(
    world: World,
) -> None:
    await world.start()
    await world.bought(10)
    await world.bought(10, MSFT)
    await _adjust(world, "AAPL", 5)
    report = await world.reconcile()
    drift, cash = [f for f in report.findings if f.result != "match"]
    assert (drift.break_class, drift.symbol, drift.ours, drift.theirs) == (
        "quantity_drift",
        "AAPL",
        "10",
        "15",
    )
    # What moved the position may have moved cash: its balance is listed, not left out.
    assert (cash.result, cash.symbol) == ("unknown", "USD")
    assert world.position() == 10  # nothing is made up
    assert world.open_cases() == [("quantity_drift", "AAPL")]


async def test_several_differences_are_each_named_and_nothing_else_is(world: World) -> None:
    await world.start()
    for contract in (AAPL, MSFT, oms.Stock("SPY")):
        await world.bought(10, contract)
    await world.resting(1)
    await _adjust(world, "AAPL", -10)
    await _adjust(world, "SPY", 1)
    by_hand = {"side": "BUY", "quantity": 3, "order_type": "LMT", "limit_price": LOW}
    await world.simulator.do("manual_order", symbol="MSFT", **by_hand)
    report = await world.reconcile()
    found = sorted((f.break_class or "", f.symbol) for f in report.findings if f.result == "break")
    assert found == [
        ("quantity_drift", "AAPL"),
        ("quantity_drift", "SPY"),
        ("unknown_order", "MSFT"),
    ]
    assert report.verdict == "broken"


async def test_an_open_break_closes_the_gate_for_its_contract_until_evidence_closes_it(
    world: World,
) -> None:
    manager = await world.start()
    resting = await world.resting()
    await _adjust(world, "AAPL", 5)
    await world.reconcile()
    case = world.case("quantity_drift")
    refused = await manager.submit(AAPL, oms.Limit("BUY", 1, LOW))
    assert await world.rule_against(refused) == "gate"
    assert case.break_id in refused.order.text
    other = await manager.submit(MSFT, oms.Limit("BUY", 1, LOW))
    assert other.state is not OrderState.DENIED
    await resting.cancel()
    assert (await resting.done()).state is OrderState.CANCELLED  # cancels always pass
    await _adjust(world, "AAPL", -5)
    await world.reconcile()
    assert world.open_cases() == []
    again = await manager.submit(AAPL, oms.Limit("BUY", 1, LOW))
    assert again.state is not OrderState.DENIED
    await world.agree()


async def test_the_same_difference_found_again_is_the_same_case(world: World) -> None:
    await world.start()
    cases = []
    for quantity in (5, -5, 5):
        await _adjust(world, "AAPL", quantity)
        await world.reconcile()
        cases += [(c.break_id, c.status, c.reopened) for c in world.view.breaks.values()]
    number = cases[0][0]
    assert cases == [(number, "open", 0), (number, "closed", 0), (number, "open", 1)]


async def test_a_message_that_cannot_be_read_is_kept_and_shown(world: World) -> None:
    await world.start()
    await world.simulator.do("raw", fields=["3", "7", "Filled", "much", "little"])
    await world.until_logged(BrokerMessageUnreadable)
    report = await world.reconcile()
    assert breaks(report.findings) == ["unreadable_message"]
    (envelope,) = await world.oms.reader.events(type="BrokerMessageUnreadable")
    assert envelope.wire == ("3", "7", "Filled", "much", "little")


# ── answers that are none ────────────────────────────────────────────────────────────────────────


@pytest.mark.sample(2)
@pytest.mark.parametrize("mode", [pytest.param("answer", marks=pytest.mark.long), "end", "refuse"])
async def test_silence_is_never_an_empty_answer(world: World, mode: str) -> None:
    await world.start(request_timeout_seconds=1)
    await world.bought(10)
    resting = await world.resting(5)
    found: dict[str, Any] = {}
    for kind, request in REQUEST_OF.items():
        await world.simulator.do("silence", request=request, mode=mode)
        report = await world.reconcile()
        outcomes = {q.kind: q.outcome for q in report.questions if q.outcome != "complete"}
        found[kind] = (report.verdict, breaks(report.findings), outcomes)
        await world.simulator.do("unsilence")
        await _until_whole(world)
    outcome = OUTCOME_OF[mode]
    assert found == {kind: ("unknown", [], {kind: outcome}) for kind in REQUEST_OF}
    assert (world.position(), resting.state) == (10, OrderState.WORKING)
    assert world.open_cases() == []
    assert await world.log(DoubtResolved) == []
    await world.agree()


@pytest.mark.parametrize("kind", list(REQUEST_OF))
async def test_no_order_leaves_until_every_question_is_answered_whole(
    world: World, kind: str
) -> None:
    await world.simulator.do("silence", request=REQUEST_OF[kind], mode="refuse")
    manager = await world.start(ready=False)
    await world.until_logged(ReconciliationCompleted)
    refused = await manager.submit(AAPL, oms.Limit("BUY", 1, LOW))
    assert await world.rule_against(refused) == "reconciled"
    assert await world.log(SessionReady) == []
    await world.simulator.do("unsilence")
    await world.reconcile()
    assert world.view.system.ready
    passed = await manager.submit(AAPL, oms.Limit("BUY", 1, LOW))
    assert passed.state is not OrderState.DENIED


async def test_what_was_not_answered_is_asked_again_by_itself(world: World) -> None:
    await world.simulator.do("silence", request="reqPositions", mode="refuse", times=1)
    await world.start()
    verdicts = [(r.trigger, r.verdict) for r in await world.log(ReconciliationCompleted)]
    assert verdicts == [("start", "unknown"), ("retry", "clean")]


async def test_an_order_in_doubt_is_not_resolved_while_an_answer_is_missing(world: World) -> None:
    await world.start()
    await world.simulator.do("drop_next", message="placeOrder", direction="in")
    ticket = await world.oms.manager.submit(AAPL, oms.Limit("BUY", 10, LOW))
    await world.until(lambda: ticket.order.sent)
    await world.simulator.do("silence", request="reqCompletedOrders", mode="refuse")
    await world.simulator.do("cut")
    await world.until(lambda: ticket.state is OrderState.IN_DOUBT)
    await world.until_logged(ReconciliationCompleted, 2)
    assert ticket.state is OrderState.IN_DOUBT
    assert await world.log(DoubtResolved) == []
    await world.simulator.do("unsilence")
    await world.reconcile()
    assert ticket.state is OrderState.NOT_SENT
    await world.agree()


async def _adjust(world: World, symbol: str, quantity: int) -> None:
    await world.simulator.do(
        "position_adjust", symbol=symbol, quantity=quantity, average_cost="100"
    )


async def _until_whole(world: World) -> None:
    """Ask until everything is answered: the end that a given-up question is owed counts first."""
    for _ in range(3):
        if (await world.reconcile()).verdict == "clean":
            return
    raise AssertionError("not whole after three runs")
