"""Reconciliation: ask the broker everything, compare, write what evidence allows, open cases for
the rest.

One run, and what it means if the process dies between two steps (every step is an event, so the
next run starts over and writes nothing twice):

1. ReconciliationStarted; our side is read
2. every question is asked; each answer's rows are broker messages in the log like any other, so
executions that came while
   we were away are booked by the fold the moment they arrive, and QueryAnswered says how the
   question ended
3. adoptions, opening positions and resolved doubts are written, each with its evidence
4. our side is read again and compared; what moved meanwhile is asked again, a bounded number of
times
5. cases are opened, updated and closed
6. ReconciliationCompleted holds the whole report; SessionReady lets orders leave when every
question was answered whole
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final, Protocol

from oms.clock import Clock
from oms.core.cases import accepted, break_id_of, case_events
from oms.core.events import (
    CompletedOrderReceived,
    Context,
    Envelope,
    Event,
    ExecutionReceived,
    Finding,
    GapOpened,
    OpenOrderReceived,
    Pending,
    PositionReceived,
    QueryKind,
    Question,
    ReconciliationCompleted,
    ReconciliationStarted,
    SessionReady,
)
from oms.core.reconcile import MOVED, Answers, OurSide, Row, Scope, compare, verdict_of
from oms.core.records import BreakCase
from oms.core.repair import adoptions, openings, resolutions
from oms.service.our_side import load_cases, load_our_side
from oms.service.ports import Log, Reader
from oms.service.view import View
from oms.telemetry import get_logger

log = get_logger("service.reconciler")

#: Executions come after the orders they belong to, positions after the executions that explain
#: them.
QUESTIONS: Final[tuple[QueryKind, ...]] = (
    "open_orders",
    "completed_orders",
    "executions",
    "positions",
    "account_summary",
)
#: The rows of answers that are compared. What comes between them (the status of an open order, the
#: commission of an execution) is in the log and in the books.
_COMPARED: Final = (OpenOrderReceived, CompletedOrderReceived, ExecutionReceived, PositionReceived)
#: How often positions that moved while they were asked for, or that differ for the first time, are
#: asked again.
REASK_COUNT_MAX: Final = 3


class AnswerLike(Protocol):
    """How one question ended, with the rows that came."""

    @property
    def question(self) -> Question:
        """Return how it ended."""
        ...

    @property
    def rows(self) -> Sequence[Row]:
        """Return what came, each with its sequence in the log."""
        ...


class Asker(Protocol):
    """The broker, as far as questions go."""

    async def ask(self, kind: QueryKind, run_id: str) -> AnswerLike:
        """Ask one question; silence and refusal are answers too, never exceptions."""
        ...

    @property
    def session_epoch(self) -> int:
        """Return the number of the current session, 0 without one."""
        ...

    @property
    def gap_is_open(self) -> bool:
        """Say whether the broker may know things that we do not."""
        ...

    @property
    def client_id(self) -> int:
        """Return our client id."""
        ...


class Reconciler:
    """Runs one reconciliation at a time."""

    def __init__(
        self,
        *,
        log: Log,
        reader: Reader,
        asker: Asker,
        view: View,
        clock: Clock,
        doubt_settle_seconds: float,
    ) -> None:
        self._log = log
        self._reader = reader
        self._asker = asker
        self._view = view
        self._clock = clock
        self._settle = timedelta(seconds=doubt_settle_seconds)
        self._one_run = asyncio.Lock()
        self._runs = 0
        #: Since when the broker may know things that we do not; until a run answers everything.
        self._gap_since: datetime | None = (
            view.system.gap_opened_at if view.system.gap_sequence else None
        )
        #: Gaps seen so far; answers from before a gap prove nothing about what came in it.
        self._gaps = 0

    def note(self, envelopes: Iterable[Envelope]) -> None:
        """Remember since when we were blind; called with every commit."""
        for envelope in envelopes:
            if not isinstance(envelope.event, GapOpened):
                continue
            self._gaps += 1
            if self._gap_since is None:
                self._gap_since = envelope.recorded_at

    async def run(self, trigger: str, *, request_id: str = "") -> ReconciliationCompleted:
        """Ask, compare and write; returns the report that the log now holds."""
        async with self._one_run:
            return await self._run(trigger, request_id)

    async def _run(self, trigger: str, request_id: str) -> ReconciliationCompleted:
        started_at = self._clock.now()
        self._runs += 1
        run_id = f"R{started_at:%Y%m%dT%H%M%S}-{self._asker.session_epoch}.{self._runs}"
        line = self._line()
        started = await self._log.append(
            self._fact(
                ReconciliationStarted(run_id=run_id, trigger=trigger, request_id=request_id),
                run_id,
            )
        )
        log.info("reconciliation_started", run_id=run_id, trigger=trigger)
        before = await self._our_side(None, self._in_cases())
        subjects = set(before.orders)
        answers = await self._ask_all(run_id)
        log.info("reconciliation_asked", run_id=run_id)
        accounts = self._view.session.accounts if self._view.session else ()
        scope = Scope(
            client_id=self._asker.client_id,
            accounts=accounts,
            now=self._clock.now(),
            doubt_settle=self._settle,
            run_id=run_id,
            started_sequence=started.sequence,
        )
        ours = await self._repair(answers, scope, subjects)
        findings = await asyncio.to_thread(compare, before, ours, answers, scope)
        for asked_again in range(REASK_COUNT_MAX):
            is_first_sight = not asked_again and self._drifts_anew(findings)
            if not (is_first_sight or any(_moved(f) for f in findings)):
                break
            answers = await self._ask_again(answers, run_id)
            ours = await self._our_side(answers, subjects)
            findings = await asyncio.to_thread(compare, before, ours, answers, scope)
        cases = await load_cases(self._reader, findings, self._view.open_breaks())
        findings = accepted(cases, findings)
        log.info("reconciliation_compared", run_id=run_id, findings=len(findings))
        report = ReconciliationCompleted(
            run_id=run_id,
            trigger=trigger,
            request_id=request_id,
            verdict=verdict_of(findings),
            started_at=started_at,
            finished_at=self._clock.now(),
            gap_opened_at=self._gap_since,
            server_version=self._view.session.server_version if self._view.session else 0,
            client_id=self._asker.client_id,
            accounts=accounts,
            books_sequence=ours.sequence,
            questions=tuple(answers.questions.values()),
            findings=tuple(findings),
        )
        # A line that broke meanwhile makes whole answers old ones; the next run is on its way.
        whole = (
            answers.complete(*QUESTIONS) and line == self._line() and not self._asker.gap_is_open
        )
        await self._conclude(report, findings, cases, whole=whole)
        return report

    async def _our_side(self, answers: Answers | None, order_ids: Iterable[str]) -> OurSide:
        """Read our side as of now: what was handed over before is durable and in the rows."""
        await self._log.flush()
        return await load_our_side(self._reader, answers, order_ids)

    def _in_cases(self) -> set[str]:
        """Return the orders that open cases are about."""
        return {c.finding.order_id for c in self._view.open_breaks()}

    def _drifts_anew(self, findings: Iterable[Finding]) -> bool:
        """Say whether a position differs that did not differ before: such a difference must be seen
        twice, for the end of an answer can come before its rows (INC-13).
        """
        known = {c.break_id for c in self._view.open_breaks()}
        return any(
            f.break_class == "quantity_drift" and break_id_of(f) not in known for f in findings
        )

    def _line(self) -> tuple[int, int]:
        """Return what changes whenever the line breaks: session, and gaps seen."""
        return self._asker.session_epoch, self._gaps

    async def _ask_all(self, run_id: str) -> Answers:
        questions: dict[QueryKind, Question] = {}
        rows: dict[QueryKind, tuple[Row, ...]] = {}
        for kind in QUESTIONS:
            answer = await self._asker.ask(kind, run_id)
            questions[kind] = answer.question
            rows[kind] = rows_of(answer)
        return Answers(questions, rows)

    async def _ask_again(self, answers: Answers, run_id: str) -> Answers:
        """Ask again for what moved: executions first, to explain the new positions."""
        questions = dict(answers.questions)
        rows = dict(answers.rows)
        again: tuple[QueryKind, ...] = ("executions", "positions")
        for kind in again:
            answer = await self._asker.ask(kind, run_id)
            questions[kind] = answer.question
            rows[kind] = rows_of(answer)
        return Answers(questions, rows)

    async def _repair(self, answers: Answers, scope: Scope, order_ids: Iterable[str]) -> OurSide:
        """Write what the evidence allows; each step sees what the one before it wrote."""
        for plan in (adoptions, openings, resolutions):
            ours = await self._our_side(answers, order_ids)
            facts = [self._fact(event, scope.run_id) for event in plan(ours, answers, scope)]
            if facts:
                await self._log.append_together(facts)
                step = plan.__name__
                log.info(
                    "reconciliation_repaired", run_id=scope.run_id, step=step, events=len(facts)
                )
        return await self._our_side(answers, order_ids)

    async def _conclude(
        self,
        report: ReconciliationCompleted,
        findings: list[Finding],
        cases: dict[str, BreakCase],
        *,
        whole: bool,
    ) -> None:
        news = case_events(cases, findings, run_id=report.run_id, complete=whole)
        facts = [self._fact(event, report.run_id) for event in (*news, report)]
        if whole:
            self._gap_since = None
            if not self._view.system.ready:
                facts.append(self._fact(SessionReady(run_id=report.run_id), report.run_id))
        await self._log.append_together(facts)
        log.info(
            "reconciliation_completed",
            run_id=report.run_id,
            verdict=report.verdict,
            findings=len(findings),
            cases=len(news),
        )

    def _fact(self, event: Event, run_id: str) -> Pending:
        context = Context(
            actor="reconciler", session_epoch=self._asker.session_epoch, correlation_id=run_id
        )
        return Pending(event, context)


def rows_of(answer: AnswerLike) -> tuple[Row, ...]:
    """Return the rows that are compared; statuses and commissions come between them."""
    return tuple(row for row in answer.rows if isinstance(row.event, _COMPARED))


def _moved(finding: Finding) -> bool:
    """Say whether asking again can settle it."""
    return finding.result == "unknown" and finding.text == MOVED
