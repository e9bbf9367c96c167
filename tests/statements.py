"""Two statements and what comparing them finds: a reconciliation run over the text form of lives.

    run = reconcile(life, open_orders="open Submitted", positions="position 100 10")
    assert run.breaks == {...}

Each answer is a table of lines like those of a life; its rows are folded first, as the service does
it. A question without a table has the empty answer, and `unanswered` names those that failed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from oms.core.compare.adoption import adoptions
from oms.core.compare.cases import case_events, watched_by
from oms.core.compare.matches import Compared
from oms.core.compare.repair import not_taken, openings, resolutions
from oms.core.compare.run import compare, verdict_of
from oms.core.compare.sides import Answers, OurSide, Row, Scope, perm_index, ref_index
from oms.core.events import (
    BreakClosed,
    BreakOpened,
    BreakUpdated,
    CommissionReceived,
    Event,
    Finding,
    Outcome,
    QueryKind,
    Question,
)
from oms.core.fold.records import (
    Anomaly,
    BreakCase,
    EarlyCommission,
    Fill,
    Order,
    Position,
    SessionRecord,
)
from tests.lives import CLIENT, Life

KINDS: Final[tuple[QueryKind, ...]] = (
    "open_orders",
    "completed_orders",
    "executions",
    "positions",
)


@dataclass
class Run:
    """One run: what it wrote, and what it found."""

    life: Life
    repairs: list[Event] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    found: Compared = field(default_factory=Compared)

    @property
    def verdict(self) -> str:
        """Return the run's verdict."""
        return verdict_of(self.findings)

    @property
    def breaks(self) -> dict[str, str]:
        """Return key and severity of every break."""
        return {f.key: f.severity or "" for f in self.findings if f.result == "break"}

    @property
    def unknown(self) -> set[str]:
        """Return the keys of what could not be found out."""
        return {f.key for f in self.findings if f.result == "unknown"}

    def finding(self, key: str) -> Finding:
        """Return the one finding with a key."""
        (found,) = (f for f in self.findings if f.key == key)
        return found

    def cases(self, *, complete: bool = True) -> list[str]:
        """Write what becomes of the cases, and return it in words."""
        known = {c.key: c for c in self.life.books.all(BreakCase)}
        events = case_events(
            known, self.found.findings, self.found.matches, run_id="R1", complete=complete
        )
        for event in events:
            self.life.apply(event, actor="reconciler")
        return [_words(event, self.life) for event in events]


def reconcile(
    life: Life,
    *,
    unanswered: Mapping[QueryKind, Outcome] | None = None,
    reaches: Mapping[QueryKind, datetime] | None = None,
    meanwhile: str = "",
    settle_seconds: float = 0,
    position_settle_seconds: float = 0,
    commission_settle_seconds: float = 3600,
    accounts: tuple[str, ...] = (),
    prior: OurSide | None = None,
    **tables: str,
) -> Run:
    """Ask, repair and compare; `meanwhile` is what is pushed after positions were asked for."""
    started, before = life.last, our_side(life)
    answers = Answers()
    for kind in KINDS:
        asked_at, asked_sequence, count = life.at, life.last, len(life.envelopes)
        if kind == "positions":
            life.play(meanwhile)
            count = len(life.envelopes)
        life.play(tables.get(kind, ""))
        rows = [
            Row(e.event, e.sequence)
            for e in life.envelopes[count:]
            if not isinstance(e.event, CommissionReceived)
        ]
        question = Question(
            query_id=f"R1:{kind}",
            kind=kind,
            outcome=(unanswered or {}).get(kind, "complete"),
            reaches_back_to=(reaches or {}).get(kind),
            asked_at=asked_at,
            answered_at=life.at,
            asked_sequence=asked_sequence,
        )
        answers = answers.with_answer(question, rows)
    session = life.books.get("sessions", str(life.epoch))
    scope = Scope(
        client_id=CLIENT,
        epoch=life.epoch,
        session_opened_at=session.opened_at if isinstance(session, SessionRecord) else None,
        accounts=accounts,
        now=life.at,
        doubt_settle=timedelta(seconds=settle_seconds),
        run_id="R1",
        started_sequence=started,
        position_settle=timedelta(seconds=position_settle_seconds),
        commission_settle=timedelta(seconds=commission_settle_seconds),
    )
    run = Run(life)
    for plan in (adoptions, openings, resolutions, not_taken):
        for event in list(plan(our_side(life), answers, scope)):
            life.apply(event, actor="reconciler")
            run.repairs.append(event)
    # Nothing moves while a table is compared, but for `meanwhile`: all is as it was asked for,
    # unless a test says that it was otherwise.
    run.found = compare(before, our_side(life), answers, scope, prior=prior or our_side(life))
    run.findings = [*run.found.findings, *(m.draw() for m in run.found.matches.values())]
    return run


def our_side(life: Life) -> OurSide:
    """Return everything in the books."""
    orders = {o.order_id: o for o in life.books.all(Order)}
    return OurSide(
        sequence=life.last,
        orders=orders,
        fills={f.key: f for f in life.books.all(Fill)},
        positions={p.key: p for p in life.books.all(Position)},
        anomalies=tuple(a for a in life.books.all(Anomaly) if a.live),
        opened_accounts=life.system.opened_accounts,
        by_perm_id=perm_index(orders.values()),
        by_order_ref=ref_index(orders.values()),
        watched=watched_by(life.books.all(BreakCase)),
        orphans=tuple(life.books.all(EarlyCommission)),
    )


def _words(event: BreakOpened | BreakUpdated | BreakClosed, life: Life) -> str:
    match event:
        case BreakOpened():
            return f"{'reopened' if event.reopened else 'opened'} {event.finding.key}"
        case BreakUpdated():
            return f"updated {event.finding.key}"
        case BreakClosed():
            case = life.books.get("breaks", event.break_id)
            assert isinstance(case, BreakCase)
            return f"closed {case.finding.key}"
