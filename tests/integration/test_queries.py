"""Questions to the broker: each way in which one can end, told apart."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from decimal import Decimal
from typing import get_args

import pytest

from oms.broker import queries
from oms.broker.queries import Answer
from oms.core.contracts import Contract, Stock
from oms.core.events import (
    AccountValueReceived,
    AnswerEndReceived,
    CommissionReceived,
    CompletedOrderReceived,
    ExecutionReceived,
    OpenOrderReceived,
    PositionReceived,
    QueryAnswered,
    QueryAsked,
    QueryKind,
    Terms,
)
from oms.core.outgoing import Outgoing
from oms.core.receipt import Receipt
from oms.errors import BrokerError, ContractAmbiguous, ContractUnknown, IBConnectionError
from tests.integration.conftest import NEW_YORK, Desk, Journal, MakeDesk, Simulator

pytestmark = pytest.mark.slow

KINDS: tuple[QueryKind, ...] = get_args(QueryKind)
REQUESTS = {
    "account": "reqAccountUpdates",
    "executions": "reqExecutions",
    "open_orders": "reqAllOpenOrders",
    "completed_orders": "reqCompletedOrders",
    "positions": "reqPositions",
    "account_summary": "reqAccountSummary",
}


@pytest.fixture
async def hasty(simulator: Simulator, make_desk: MakeDesk) -> Desk:
    """A connected desk that waits for an answer no longer than a moment."""
    desk = make_desk(simulator.port, request_timeout_seconds=0.3)
    await desk.gateway.session.open(fail_fast=True)
    return desk


async def trade(simulator: Simulator, desk: Desk) -> None:
    """One order filled, one open."""
    market = Terms(side="BUY", quantity=Decimal(10), order_type="MKT")
    limit = Terms(side="BUY", quantity=Decimal(5), order_type="LMT", limit_price=Decimal(100))
    for order_id, terms in (("filled", market), ("open", limit)):
        desk.gateway.outbox.send(
            Outgoing(
                kind="place",
                order_id=order_id,
                order_ref=order_id,
                account="DU1234567",
                contract=Stock("AAPL"),
                terms=terms,
                broker_order_id=desk.gateway.session.next_broker_order_id(),
            )
        )
    await desk.journal.first(CommissionReceived)
    await desk.journal.until(
        lambda: any(one.order_ref == "open" for one in desk.journal.of(OpenOrderReceived))
    )


async def ask(desk: Desk, kind: QueryKind, run_id: str) -> Answer:
    account = "DU1234567" if kind == "account" else ""
    return await desk.gateway.queries.ask(kind, run_id, account=account)


def said(answer: Answer) -> tuple[str, int, str]:
    return answer.question.outcome, answer.question.code, answer.question.text


async def test_a_complete_answer_has_the_brokers_rows(simulator: Simulator, desk: Desk) -> None:
    await trade(simulator, desk)
    rows = {kind: (await ask(desk, kind, "run")).rows for kind in KINDS}
    books = await simulator.do("books")
    executions = [r.event for r in rows["executions"] if isinstance(r.event, ExecutionReceived)]
    assert [one.exec_id for one in executions] == [one["exec_id"] for one in books["executions"]]
    assert any(isinstance(row.event, CommissionReceived) for row in rows["executions"])
    opens = [r.event for r in rows["open_orders"] if isinstance(r.event, OpenOrderReceived)]
    assert [one.order_ref for one in opens] == ["open"]
    (completed,) = (row.event for row in rows["completed_orders"])
    assert isinstance(completed, CompletedOrderReceived)
    assert (completed.order_ref, completed.filled_quantity) == ("filled", Decimal(10))
    (position,) = (row.event for row in rows["positions"])
    assert isinstance(position, PositionReceived)
    assert position.quantity == Decimal(10)
    assert {row.event.key for row in rows["account_summary"]} >= {"NetLiquidation"}


@pytest.mark.parametrize("kind", KINDS)
async def test_what_answers_a_question_names_it(
    kind: QueryKind, simulator: Simulator, desk: Desk
) -> None:
    await trade(simulator, desk)
    pushed = len(desk.journal.pendings)
    answer = await ask(desk, kind, "run-1")
    asked = answer.question.asked_sequence
    rows = {
        (p.context.causation_sequence, p.context.correlation_id)
        for p in desk.journal.pendings[pushed:]
        if p.wire is not None
    }
    assert rows == {(asked, "run-1")}
    assert not any(p.context.causation_sequence for p in desk.journal.pendings[:pushed])


@pytest.mark.parametrize("kind", KINDS)
async def test_a_complete_answer_carries_its_proof(kind: QueryKind, desk: Desk) -> None:
    before = datetime.now(UTC)
    answer = await ask(desk, kind, "run-1")
    question = answer.question
    (asked,) = desk.journal.of(QueryAsked)
    assert (asked.query_id, asked.kind, asked.run_id) == (question.query_id, kind, "run-1")
    assert question.asked_sequence == desk.journal.sequence_of(asked)
    assert (question.outcome, question.code, question.rows) == ("complete", 0, len(answer.rows))
    assert len(question.digest) == 64
    assert before <= question.asked_at <= question.answered_at
    assert desk.journal.of(QueryAnswered) == [QueryAnswered(run_id="run-1", question=question)]
    # The end marker is the last of the answer, and the books must have seen it.
    assert answer.sequence == len(desk.journal.pendings) - 1
    assert {p.context.correlation_id for p in desk.journal.pendings[-1:]} == {"run-1"}


async def test_executions_reach_back_to_the_gateways_midnight(desk: Desk) -> None:
    question = (await desk.gateway.queries.ask("executions", "run")).question
    assert question.reaches_back_to is not None
    local = question.reaches_back_to.astimezone(NEW_YORK)
    assert (local.hour, local.minute, local.second) == (0, 0, 0)
    assert local.date() == question.asked_at.astimezone(NEW_YORK).date()
    assert question.reach == "since midnight in America/New_York"


async def test_the_same_rows_have_the_same_digest_and_others_another(
    simulator: Simulator, desk: Desk
) -> None:
    empty, again = [await desk.gateway.queries.ask("positions", "run") for _ in range(2)]
    await trade(simulator, desk)
    after = await desk.gateway.queries.ask("positions", "run")
    assert empty.question.digest == again.question.digest != after.question.digest


@pytest.mark.parametrize("kind", KINDS)
async def test_silence_is_timed_out_and_not_empty(
    kind: QueryKind, simulator: Simulator, hasty: Desk
) -> None:
    await simulator.do("silence", request=REQUESTS[kind], mode="answer")
    answer = await ask(hasty, kind, "run")
    assert said(answer) == ("timed_out", 0, "nothing came within 0.3 seconds")
    assert (answer.rows, answer.question.digest) == ((), "")
    assert [one.question.outcome for one in hasty.journal.of(QueryAnswered)] == ["timed_out"]


@pytest.mark.parametrize("kind", KINDS)
async def test_rows_without_their_end_are_partial(
    kind: QueryKind, simulator: Simulator, hasty: Desk
) -> None:
    await trade(simulator, hasty)
    await simulator.do("silence", request=REQUESTS[kind], mode="end")
    answer = await ask(hasty, kind, "run")
    assert answer.question.outcome == "partial"
    assert answer.question.rows == len(answer.rows) > 0
    assert answer.question.text == f"{len(answer.rows)} rows, but no end within 0.3 seconds"
    assert answer.question.digest == ""


@pytest.mark.parametrize("kind", KINDS)
async def test_a_refusal_is_said_with_its_code_and_at_once(
    kind: QueryKind, simulator: Simulator, desk: Desk
) -> None:
    code = 322 if kind == "account_summary" else 321
    await simulator.do("silence", request=REQUESTS[kind], mode="refuse", code=code, text="no")
    async with asyncio.timeout(60):
        answer = await ask(desk, kind, "run")
    assert answer.question.outcome == "refused"
    assert answer.question.code == code
    assert "no" in answer.question.text


@pytest.mark.parametrize("kind", KINDS)
async def test_a_line_that_is_cut_half_way_makes_the_answer_partial(
    kind: QueryKind, simulator: Simulator, desk: Desk
) -> None:
    await trade(simulator, desk)
    await simulator.do("silence", request=REQUESTS[kind], mode="end")
    asking = asyncio.create_task(ask(desk, kind, "run"))
    await desk.journal.first(QueryAsked)
    kept = len(desk.journal.pendings)
    await desk.journal.until(lambda: len(desk.journal.pendings) > kept)
    await simulator.do("cut")
    async with asyncio.timeout(60):
        answer = await asking
    assert answer.question.outcome == "partial"
    assert answer.question.text.startswith("the connection was lost after")


async def test_without_a_session_a_question_is_refused(make_desk: MakeDesk) -> None:
    desk = make_desk(1)
    answer = await desk.gateway.queries.ask("positions", "run")
    assert said(answer) == ("refused", 504, "there is no session with the gateway")


async def test_an_unreadable_row_makes_the_answer_partial(simulator: Simulator, desk: Desk) -> None:
    await simulator.do("silence", request="reqPositions", mode="end")
    asking = asyncio.create_task(desk.gateway.queries.ask("positions", "run"))
    await desk.journal.first(QueryAsked)
    await simulator.do("raw", fields=["61", "3", "DU1234567", "AAPL"], client_id=7)
    await simulator.do("raw", fields=["62", "1"], client_id=7)
    answer = await asking
    assert said(answer) == ("partial", 0, "1 messages could not be read")


async def test_more_rows_than_are_compared_are_counted_and_no_whole_answer(
    simulator: Simulator, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing of them is held in memory, and what comes is in the log all the same."""
    await trade(simulator, desk)
    whole = await ask(desk, "executions", "R1")
    monkeypatch.setattr(queries, "ROWS_MAX", 1)
    answer = await ask(desk, "executions", "R2")
    assert said(answer) == ("partial", 0, "2 rows came, and no more than 1 are compared")
    assert (answer.question.rows, answer.question.digest, answer.rows) == (2, "", ())
    monkeypatch.setattr(queries, "ROWS_MAX", 2)
    again = await ask(desk, "executions", "R3")
    assert (again.question.digest, len(again.rows)) == (whole.question.digest, 2)


async def test_a_late_end_does_not_complete_the_next_question(
    simulator: Simulator, hasty: Desk
) -> None:
    await trade(simulator, hasty)
    await simulator.do("silence", request="reqAllOpenOrders", mode="answer", times=2)
    assert (await hasty.gateway.queries.ask("open_orders", "run")).question.outcome == "timed_out"
    asking = asyncio.create_task(hasty.gateway.queries.ask("open_orders", "run"))
    await hasty.journal.first(QueryAsked, 2)
    await simulator.do("raw", fields=["53", "1"], client_id=7)
    answer = await asking
    assert said(answer) == (
        "partial",
        0,
        "one end within 0.3 seconds, which may be that of an earlier question",
    )
    # Nothing is owed for ever.
    assert (await hasty.gateway.queries.ask("open_orders", "run")).question.outcome == "complete"


async def test_a_late_end_between_two_questions_settles_the_account(
    simulator: Simulator, hasty: Desk
) -> None:
    await simulator.do("silence", request="reqPositions", mode="answer", times=1)
    assert (await hasty.gateway.queries.ask("positions", "run")).question.outcome == "timed_out"
    await simulator.do("raw", fields=["62", "1"], client_id=7)
    await simulator.do("clients")
    assert (await hasty.gateway.queries.ask("positions", "run")).question.outcome == "complete"


async def test_an_end_stays_owed_over_a_question_that_is_refused(
    simulator: Simulator, hasty: Desk
) -> None:
    await simulator.do("silence", request="reqPositions", mode="answer", times=1)
    assert (await hasty.gateway.queries.ask("positions", "run")).question.outcome == "timed_out"
    await simulator.do("silence", request="reqPositions", mode="refuse", code=321, times=1)
    assert (await hasty.gateway.queries.ask("positions", "run")).question.outcome == "refused"
    assert (await hasty.gateway.queries.ask("positions", "run")).question.outcome == "partial"


async def test_positions_are_asked_for_and_not_subscribed_to(
    simulator: Simulator, desk: Desk
) -> None:
    await desk.gateway.queries.ask("positions", "run")
    await simulator.do("position_adjust", symbol="AAPL", quantity="5", average_cost="100")
    await desk.gateway.queries.ask("executions", "run")
    assert desk.journal.of(PositionReceived) == []


async def test_the_end_of_another_accounts_figures_ends_no_answer(
    simulator: Simulator, desk: Desk
) -> None:
    await simulator.do("silence", request="reqAccountUpdates", mode="end", times=1)
    asking = asyncio.create_task(ask(desk, "account", ""))
    await desk.journal.first(AccountValueReceived)
    for account in ("DU9", "DU1234567"):
        await simulator.do("raw", fields=["54", "1", account], client_id=7)
    answer = await asking
    assert said(answer)[0] == "complete"
    (asked,) = [
        at for at, p in enumerate(desk.journal.pendings, 1) if isinstance(p.event, QueryAsked)
    ]
    ends = [p.context for p in desk.journal.pendings if isinstance(p.event, AnswerEndReceived)]
    # What no run asks for is joined by the question itself.
    assert [one.causation_sequence for one in ends] == [None, asked]
    assert ends[1].correlation_id == answer.question.query_id


async def test_a_notice_about_something_else_refuses_nothing(
    simulator: Simulator, hasty: Desk
) -> None:
    await simulator.do("silence", request="reqPositions", mode="answer", times=1)
    asking = asyncio.create_task(hasty.gateway.queries.ask("positions", "run"))
    await hasty.journal.first(QueryAsked)
    for code in (2104, 2103, 399, 1100, 1102):
        await simulator.do("send_notice", code=code, text="x")
    assert (await asking).question.outcome == "timed_out"


async def test_all_questions_at_once_are_all_answered(simulator: Simulator, desk: Desk) -> None:
    await trade(simulator, desk)
    answers = await asyncio.gather(*(ask(desk, kind, "run") for kind in KINDS * 3))
    assert {answer.question.outcome for answer in answers} == {"complete"}
    assert len({answer.question.digest for answer in answers}) == len(KINDS)


class Slow(Journal):
    """A log that is durable only when the test says so."""

    held: list[tuple[asyncio.Future[Receipt], int]]

    def append(self, pending: object) -> asyncio.Future[Receipt]:
        durable = super().append(pending)  # type: ignore[arg-type]
        if not isinstance(pending.event, QueryAsked):  # type: ignore[attr-defined]
            return durable
        mine: asyncio.Future[Receipt] = asyncio.get_running_loop().create_future()
        self.held = [(mine, len(self.pendings))]
        return mine


async def test_no_question_leaves_before_it_is_durable(
    simulator: Simulator, make_desk: MakeDesk
) -> None:
    journal = Slow()
    desk = make_desk(simulator.port, journal=journal)
    await desk.gateway.session.open(fail_fast=True)
    sent: list[None] = []
    desk.gateway.capture.sent_listeners.append(lambda: sent.append(None))
    asking = asyncio.create_task(desk.gateway.queries.ask("positions", "run"))
    await journal.first(QueryAsked)
    await simulator.do("clients")
    assert sent == []
    ((held, sequence),) = journal.held
    held.set_result(Receipt(sequence))
    assert (await asking).question.outcome == "complete"
    assert sent != []


# ── contracts ────────────────────────────────────────────────────────────────────────────────────


async def test_a_contract_is_found_with_its_rules(desk: Desk) -> None:
    found = await desk.gateway.lookup.qualify(Stock("aapl"))
    assert found.contract.con_id > 0
    assert found.rules.min_tick == Decimal("0.01")
    assert found.rules.step_at(Decimal("190.05")) == Decimal("0.01")


async def test_an_unknown_contract_is_said_as_it_was_described(desk: Desk) -> None:
    with pytest.raises(ContractUnknown, match="no contract like NOSUCH STK SMART USD"):
        await desk.gateway.lookup.qualify(Stock("NOSUCH"))


async def test_an_ambiguous_contract_lists_the_candidates(desk: Desk) -> None:
    with pytest.raises(ContractAmbiguous, match=r"3 contracts fit AAPL STK: .*MXN.*EUR"):
        await desk.gateway.lookup.qualify(Contract(symbol="AAPL", currency=""))


async def test_a_lookup_without_an_answer_is_a_connection_error(
    simulator: Simulator, hasty: Desk
) -> None:
    await simulator.do("silence", request="reqContractDetails", mode="answer")
    with pytest.raises(IBConnectionError, match="did not say within"):
        await hasty.gateway.lookup.qualify(Stock("AAPL"))


async def test_a_lookup_that_is_refused_says_why(simulator: Simulator, desk: Desk) -> None:
    await simulator.do(
        "silence", request="reqContractDetails", mode="refuse", code=321, text="read-only"
    )
    with pytest.raises(BrokerError, match=r"\(321\).*read-only"):
        await desk.gateway.lookup.qualify(Stock("AAPL"))


async def test_without_a_session_there_is_no_lookup(make_desk: MakeDesk) -> None:
    with pytest.raises(IBConnectionError, match="no session"):
        await make_desk(1).gateway.lookup.qualify(Stock("AAPL"))
