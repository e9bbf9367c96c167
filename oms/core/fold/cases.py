"""Folds of reconciliation runs and break cases."""

from __future__ import annotations

from typing import Final, Protocol

from oms.core.events import (
    BreakAssigned,
    BreakClosed,
    BreakExplained,
    BreakOpened,
    BreakUpdated,
    CaseActionProposed,
    Context,
    Envelope,
    Finding,
    ReconciliationCompleted,
    ReconciliationStarted,
)
from oms.core.fold.books import Books, set_system
from oms.core.fold.fold import Fold
from oms.core.fold.records import Anomaly, BreakCase, RunRecord
from oms.core.fold.wants import Want, Wants, anomaly_of, nothing


def _run_started(books: Books, envelope: Envelope, event: ReconciliationStarted) -> None:
    books.put(
        RunRecord(run_id=event.run_id, trigger=event.trigger, started_at=envelope.recorded_at)
    )


def _run_completed(books: Books, envelope: Envelope, event: ReconciliationCompleted) -> None:
    results = [f.result for f in event.findings]
    books.put(
        RunRecord(
            run_id=event.run_id,
            trigger=event.trigger,
            started_at=event.started_at,
            finished_at=event.finished_at,
            verdict=event.verdict,
            matches=results.count("match") + sum(m.count for m in event.matches),
            breaks=results.count("break"),
            unknowns=results.count("unknown"),
            sequence=envelope.sequence,
        )
    )
    answered = {q.kind for q in event.questions if q.outcome == "complete"}
    opened = books.system.opened_accounts
    if answered >= {"positions", "executions"}:
        # What the accounts held before the log knew them is recorded by now; see repair.openings.
        opened = tuple(sorted({*opened, *event.accounts}))
    set_system(books, last_run_id=event.run_id, opened_accounts=opened)


def _break_opened(books: Books, envelope: Envelope, event: BreakOpened) -> None:
    found = books.get("breaks", event.break_id)
    if isinstance(found, BreakCase):
        case = found.evolve(
            status="open",
            finding=event.finding,
            also=event.also,
            updated_at=envelope.recorded_at,
            seen=found.seen + 1,
            reopened=found.reopened + 1,
            closed_at=None,
            close_reason="",
            closed_by_person=False,
            waiting=None,
            waiting_actor="",
        )
    else:
        case = BreakCase(
            break_id=event.break_id,
            finding=event.finding,
            also=event.also,
            status="open",
            opened_at=envelope.recorded_at,
            opened_sequence=envelope.sequence,
            updated_at=envelope.recorded_at,
        )
    books.put(case)
    if event.finding.order_id:
        books.link(event.finding.order_id, envelope.sequence)


def _break_updated(books: Books, envelope: Envelope, event: BreakUpdated) -> None:
    case = books.get("breaks", event.break_id)
    if isinstance(case, BreakCase):
        books.put(
            case.evolve(
                finding=event.finding,
                also=event.also,
                updated_at=envelope.recorded_at,
                seen=case.seen + 1,
            )
        )


def _break_closed(books: Books, envelope: Envelope, event: BreakClosed) -> None:
    case = books.get("breaks", event.break_id)
    if isinstance(case, BreakCase):
        books.put(
            case.evolve(
                status="closed",
                closed_at=envelope.recorded_at,
                updated_at=envelope.recorded_at,
                close_reason=event.reason,
                closed_by_person=event.run_id is None,
                waiting=None,
                waiting_actor="",
            )
        )
        if case.finding.order_id:
            books.link(case.finding.order_id, envelope.sequence)
        if event.run_id is None and case.finding.subject == "message":
            _close_anomaly(books, case)


def _assigned(books: Books, envelope: Envelope, event: BreakAssigned) -> None:
    case = books.get("breaks", event.break_id)
    if isinstance(case, BreakCase):
        books.put(case.evolve(assignee=event.assignee, updated_at=envelope.recorded_at))


def _explained(books: Books, envelope: Envelope, event: BreakExplained) -> None:
    case = books.get("breaks", event.break_id)
    if isinstance(case, BreakCase):
        actor = envelope.context.actor
        books.put(
            case.evolve(explanation=event.text, explained_by=actor, updated_at=envelope.recorded_at)
        )


def _action_proposed(books: Books, envelope: Envelope, event: CaseActionProposed) -> None:
    case = books.get("breaks", event.break_id)
    if isinstance(case, BreakCase):
        actor = envelope.context.actor
        books.put(case.evolve(waiting=event, waiting_actor=actor, updated_at=envelope.recorded_at))


def _close_anomaly(books: Books, case: BreakCase) -> None:
    """Let go of what was to be shown until a person has seen it; its key ends in its sequence."""
    anomaly = books.get("anomalies", case.finding.key.rpartition(":")[2])
    if isinstance(anomaly, Anomaly):
        books.put(anomaly.evolve(closed=True))


class _AboutCase(Protocol):
    @property
    def break_id(self) -> str: ...


class _Shown(_AboutCase, Protocol):
    @property
    def finding(self) -> Finding: ...


def _for_case(event: _AboutCase, context: Context, books: Books) -> Wants:
    case = books.get("breaks", event.break_id)
    if isinstance(case, BreakCase):
        return anomaly_of(case.finding)
    return (Want("breaks", "", event.break_id),)


def _for_shown(event: _Shown, context: Context, books: Books) -> Wants:
    # It may be closed among the same events, when its case was not in memory yet.
    return *_for_case(event, context, books), *anomaly_of(event.finding)


FOLDS: Final = (
    Fold(ReconciliationStarted, _run_started, nothing),
    Fold(ReconciliationCompleted, _run_completed, nothing),
    Fold(BreakOpened, _break_opened, _for_shown),
    Fold(BreakUpdated, _break_updated, _for_shown),
    Fold(BreakClosed, _break_closed, _for_case),
    Fold(BreakAssigned, _assigned, _for_case),
    Fold(BreakExplained, _explained, _for_case),
    Fold(CaseActionProposed, _action_proposed, _for_case),
)
