"""Reconciliation: ask the broker everything, compare, write what evidence allows, open cases for
the rest.

One run, and what it means if the process dies between two steps (every step is an event, so the
next run starts over and writes nothing twice):

1. ReconciliationStarted; our side is read
2. every question is asked; each answer's rows are broker messages in the log like any other, so
   executions that came while we were away are booked by the fold the moment they arrive, and
   QueryAnswered says how the question ended
3. adoptions, opening positions and resolved doubts are written, each with its evidence
4. our side is read again and compared; what moved meanwhile, and what differs for the first time,
   is asked again, a bounded number of times
5. differences that a policy of the settings allows to book are adjusted, and compared again
6. cases are opened, updated and closed
7. ReconciliationCompleted holds the whole report; SessionReady lets orders leave when every
   question was answered whole
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Final

from oms.clock import Clock
from oms.core.compare.adoption import adoptions
from oms.core.compare.asking import QUESTIONS, to_ask_again
from oms.core.compare.cases import accepted, case_events
from oms.core.compare.findings import MOVED
from oms.core.compare.matches import Compared
from oms.core.compare.repair import (
    by_policy,
    cash_openings,
    commissions,
    not_taken,
    openings,
    resolutions,
)
from oms.core.compare.run import verdict_of
from oms.core.compare.sides import Answers, OurSide, Scope
from oms.core.events import (
    Cause,
    Context,
    Envelope,
    Event,
    GapOpened,
    Pending,
    QueryKind,
    ReconciliationCompleted,
    ReconciliationStarted,
    SessionReady,
)
from oms.core.fold.records import BreakCase
from oms.errors import InvalidRequest
from oms.service.our_side import compare_at_rest, load_cases, load_our_side
from oms.service.view import View
from oms.telemetry import get_logger

if TYPE_CHECKING:
    from oms.broker.queries import Queries
    from oms.broker.session import Session
    from oms.store.log import EventLog
    from oms.store.reader import Reader

log = get_logger("service.reconciler")

#: How often things that moved while they were asked for, or that differ for the first time, are
#: asked again.
REASK_COUNT_MAX: Final = 3
#: Repairs that are one transaction.
REPAIRS_AT_A_TIME: Final = 1_000


@dataclass(frozen=True, slots=True)
class Waits:
    """How long things take to settle before a difference means something."""

    #: An order in doubt, after its doubt arose.
    doubt: timedelta = timedelta(0)
    #: A position or a balance, after an execution moved it.
    position: timedelta = timedelta(0)
    #: A commission, after its execution.
    commission: timedelta = timedelta(0)


@dataclass(frozen=True, slots=True)
class _Run:
    """What stays the same during a run."""

    run_id: str
    #: Our side when it began.
    before: OurSide
    scope: Scope
    #: Orders that are looked at whether they live or not.
    subjects: set[str]


class Reconciler:
    """Runs one reconciliation at a time."""

    def __init__(
        self,
        *,
        log: EventLog,
        reader: Reader,
        queries: Queries,
        session: Session,
        view: View,
        clock: Clock,
        waits: Waits | None = None,
        policy: Collection[Cause] = (),
    ) -> None:
        """`policy` are the causes that the reconciler books by itself where evidence names them."""
        self._log = log
        self._reader = reader
        self._queries = queries
        self._session = session
        self._view = view
        self._clock = clock
        self._waits = waits or Waits()
        self._policy = frozenset(policy)
        self._one_run = asyncio.Lock()
        #: The event that made the run say what it says: who asked for it, then its start.
        self._cause: int | None = None
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

    async def run(
        self,
        trigger: str,
        *,
        request_id: str = "",
        account: str = "",
        asked_by: int | None = None,
    ) -> ReconciliationCompleted:
        """Ask, compare and write; returns the report that the log now holds. `asked_by` is the
        sequence of the event that asked for it.

        A run for one account compares and repairs only that; it lets no orders leave, and what was
        missed in a gap stays open. Raises `InvalidRequest` for an account that is not of this
        session.
        """
        async with self._one_run:
            self._accounts(account)  # an account that is not ours is refused before it is asked
            return await self._run(trigger, request_id, account, asked_by)

    def _accounts(self, account: str) -> tuple[str, ...]:
        managed = self._view.session.accounts if self._view.session else ()
        if account and account not in managed:
            raise InvalidRequest(
                f"account {account!r} is not one of {', '.join(managed) or 'none'}",
                hint="`oms status` names the accounts of the session",
            )
        return (account,) if account else managed

    async def _run(
        self, trigger: str, request_id: str, account: str, asked_by: int | None
    ) -> ReconciliationCompleted:
        started_at = self._clock.now()
        self._runs += 1
        run_id = f"R{started_at:%Y%m%dT%H%M%S}-{self._session.current_epoch}.{self._runs}"
        self._cause = asked_by
        started = await self._log.append(
            self._fact(
                ReconciliationStarted(run_id=run_id, trigger=trigger, request_id=request_id),
                run_id,
            )
        )
        self._cause = started.sequence
        # Only now: the gap that the last session left may have waited for the writer until here,
        # and it is not one that the answers below could be older than.
        line = self._line()
        log.info("reconciliation_started", run_id=run_id, trigger=trigger)
        before = await self._our_side(None, self._in_cases())
        answers = await self._ask_all(run_id)
        log.info("reconciliation_asked", run_id=run_id)
        # Only now: at the start of a session its accounts are not in the books yet.
        accounts = self._accounts(account)
        scope = Scope(
            client_id=self._session.client_id,
            accounts=accounts,
            managed=self._accounts(""),
            now=self._clock.now(),
            doubt_settle=self._waits.doubt,
            run_id=run_id,
            epoch=self._session.current_epoch,
            session_opened_at=self._view.session.opened_at if self._view.session else None,
            started_sequence=started.sequence,
            position_settle=self._waits.position,
            commission_settle=self._waits.commission,
        )
        run = _Run(run_id, before, scope, set(before.orders))
        answers, ours, found = await self._settle(run, answers)
        cases = await load_cases(self._reader, found.findings, self._view.open_breaks())
        found.findings = accepted(cases, found.findings)
        listed, counts = found.listed()
        log.info("reconciliation_compared", run_id=run_id, findings=len(found.findings))
        report = ReconciliationCompleted(
            run_id=run_id,
            trigger=trigger,
            request_id=request_id,
            verdict=verdict_of(found.findings),
            started_at=started_at,
            finished_at=self._clock.now(),
            gap_opened_at=self._gap_since,
            server_version=self._view.session.server_version if self._view.session else 0,
            client_id=self._session.client_id,
            accounts=accounts,
            books_sequence=ours.sequence,
            questions=tuple(answers.questions.values()),
            findings=tuple(listed),
            matches=counts,
        )
        # A line that broke meanwhile makes whole answers old ones; the next run is on its way.
        whole = (
            answers.complete(*QUESTIONS) and line == self._line() and not self._session.gap_is_open
        )
        await self._conclude(report, found, cases, whole=whole, everything=not account)
        return report

    async def _settle(self, run: _Run, answers: Answers) -> tuple[Answers, OurSide, Compared]:
        """Repair, compare, and ask again for what moved or differs anew, until it stands still."""
        prior, ours = run.before, await self._repair(answers, run)
        found = await self._compared(run, prior, ours, answers)
        for asked_again in range(REASK_COUNT_MAX):
            known = {case.break_id for case in self._view.open_breaks()}
            kinds = to_ask_again(found.findings, known, first=not asked_again)
            if not kinds:
                break
            await self._let_settle(found, ours)
            if "open_orders" in kinds:
                # Orders are held against the answers about orders, not against any newer ones.
                prior = await self._our_side(answers, run.subjects)
            answers = await self._ask_again(answers, kinds, run.run_id)
            ours = await self._repair(answers, run)
            found = await self._compared(run, prior, ours, answers)
        booked = [
            self._fact(event, run.run_id)
            for event in by_policy(found.findings, self._policy, run.scope)
        ]
        if booked:
            await self._log.append_together(booked)
            log.info("reconciliation_adjusted", run_id=run.run_id, events=len(booked))
            ours = await self._our_side(answers, run.subjects)
            found = await self._compared(run, prior, ours, answers)
        return answers, ours, found

    async def _compared(
        self, run: _Run, prior: OurSide, ours: OurSide, answers: Answers
    ) -> Compared:
        """Compare, and once more where a person's word lets cash be compared beside a break."""
        against = partial(compare_at_rest, run.before, ours, answers, run.scope, prior=prior)
        found = await asyncio.to_thread(against)
        cases = await load_cases(self._reader, found.findings, self._view.open_breaks())
        after = accepted(cases, found.findings)
        keys = {f.key for f, a in zip(found.findings, after, strict=True) if f is not a}
        return await asyncio.to_thread(against, accepted_keys=keys) if keys else found

    async def _our_side(self, answers: Answers | None, order_ids: Iterable[str]) -> OurSide:
        """Read our side as of now: what was handed over before is durable and in the rows."""
        await self._log.flush()
        return await load_our_side(self._reader, answers, order_ids)

    def _in_cases(self) -> set[str]:
        """Return the orders that open cases are about."""
        return {f.order_id for c in self._view.open_breaks() for f in c.findings}

    async def _let_settle(self, found: Compared, ours: OurSide) -> None:
        """Wait while IB's positions and balances may still lag the last execution (INC-141)."""
        moved = {f.subject for f in found.findings if f.text == MOVED}
        times = [p.moved_at for p in ours.positions.values() if p.moved_at is not None]
        if not moved & {"position", "cash"} or not times:
            return
        left = max(times) + self._waits.position - self._clock.now()
        # A clock that was set back must not hold the run.
        seconds = min(left, self._waits.position).total_seconds()
        if seconds > 0:
            await asyncio.sleep(seconds)

    def _line(self) -> tuple[int, int]:
        """Return what changes whenever the line breaks: session, and gaps seen."""
        return self._session.current_epoch, self._gaps

    async def _ask_all(self, run_id: str) -> Answers:
        return await self._ask_again(Answers(), QUESTIONS, run_id)

    async def _ask_again(
        self, answers: Answers, kinds: Iterable[QueryKind], run_id: str
    ) -> Answers:
        """Return the answers with those to some questions renewed, in the order of QUESTIONS."""
        for kind in kinds:
            answer = await self._queries.ask(kind, run_id, cause=self._cause)
            answers = answers.with_answer(answer.question, answer.rows)
        return answers

    async def _repair(self, answers: Answers, run: _Run) -> OurSide:
        """Write what the evidence allows; each step sees what the one before it wrote."""
        for plan in (adoptions, openings, commissions, cash_openings, resolutions, not_taken):
            ours = await self._our_side(answers, run.subjects)
            found = iter(plan(ours, answers, run.scope))
            # Some at a time, for there may be as many as rows; each stands for itself.
            while facts := await asyncio.to_thread(self._some, found, run.run_id):
                await self._log.append_together(facts)
                step = plan.__name__
                log.info("reconciliation_repaired", run_id=run.run_id, step=step, events=len(facts))
        return await self._our_side(answers, run.subjects)

    def _some(self, found: Iterator[Event], run_id: str) -> list[Pending]:
        return [self._fact(event, run_id) for event in islice(found, REPAIRS_AT_A_TIME)]

    async def _conclude(
        self,
        report: ReconciliationCompleted,
        found: Compared,
        cases: dict[str, BreakCase],
        *,
        whole: bool,
        everything: bool,
    ) -> None:
        news = case_events(
            cases, found.findings, found.matches, run_id=report.run_id, complete=whole
        )
        facts = [self._fact(event, report.run_id) for event in (*news, report)]
        if whole and everything:
            self._gap_since = None
            if not self._view.system.ready:
                facts.append(self._fact(SessionReady(run_id=report.run_id), report.run_id))
        await self._log.append_together(facts)
        log.info(
            "reconciliation_completed",
            run_id=report.run_id,
            verdict=report.verdict,
            findings=len(found.findings),
            cases=len(news),
        )

    def _fact(self, event: Event, run_id: str) -> Pending:
        context = Context(
            actor="reconciler",
            session_epoch=self._session.current_epoch,
            correlation_id=run_id,
            causation_sequence=self._cause,
        )
        return Pending(event, context)
