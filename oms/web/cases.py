"""Breaks and the reconciliation runs that found them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, cast

from oms import report
from oms.core.events import Envelope, ReconciliationCompleted, StatementChecked
from oms.core.fold.records import BreakCase, RunRecord
from oms.errors import InvariantBroken, NotFound
from oms.history import records
from oms.report.json_view import event_json
from oms.report.record_json import break_json, run_json
from oms.report.words import SEVERITIES
from oms.store.reader import Reader
from oms.web.counting import counted_records, counts_json
from oms.web.page import Page, Visit
from oms.web.past import PAST
from oms.web.query import RECORD_FILTERS, ZONE, conditions

CASES_SHOWN_MAX: Final = 500
RUNS_SHOWN_MAX: Final = 100
CHECKS_SHOWN_MAX: Final = 20

BREAK_FILTERS: Final = ("show", "order_id", "severity", *RECORD_FILTERS, *PAST)
RUN_FILTERS: Final = ("verdict",)
STORY_FILTERS: Final = (*PAST, ZONE)

#: What a report's document carries on this site and not in a mail: the way back.
_WAY_BACK: Final = (
    '<nav class="note" style="margin-bottom: 1rem"><a href="/">Overview</a> · '
    '<a href="/reports">All reports</a> · <a href="/breaks">Breaks</a></nav>'
)


async def build_breaks(visit: Visit) -> Page:
    """Return cases, the gravest and oldest first."""
    query = visit.query
    where = conditions(
        order_id=query.text("order_id"), severity=query.choice("severity", SEVERITIES)
    )
    show = query.choice("show", ("open", "all"), "open")
    if show == "open":
        where["live"] = 1
    asked = query.asked(visit.settings.day_zone)
    found = await records.find(visit.reader, "breaks", asked, where, visit.past)
    total = len(found)
    counted = await counted_records(visit, "breaks", asked, where)
    cases = cast("list[BreakCase]", found)
    if asked.sort is None:
        cases.sort(key=_rank)
    cases = cases[:CASES_SHOWN_MAX]
    return Page(
        title="Breaks",
        template="breaks",
        kind="breaks",
        values={
            "cases": cases,
            "counts_by": counted,
            "total": total,
            "show": show,
            "severity_names": SEVERITIES,
        },
        json={
            "filters": {**query.values(), "show": show},
            "total": total,
            "breaks": [break_json(case) for case in cases],
            **counts_json(counted),
        },
    )


def _rank(case: BreakCase) -> tuple[bool, int, int]:
    severity = case.finding.severity
    rank = SEVERITIES.index(severity) if severity is not None else len(SEVERITIES)
    return (not case.live, rank, case.opened_sequence)


async def build_break(visit: Visit) -> Page:
    """Return one case with the events that show it."""
    case = cast("BreakCase | None", await visit.books.one("breaks", visit.name))
    if case is None:
        when = "" if visit.past is None else " yet"
        raise NotFound(
            f"there is no break {visit.name!r}{when}", hint="the list of breaks has every id"
        )
    shown = {number for finding in case.findings for number in finding.evidence}
    evidence = await _events(visit.reader, tuple(shown))
    return Page(
        title=f"Break {case.break_id}",
        template="break",
        kind="break",
        values={"case": case, "evidence": evidence},
        json={
            "break": break_json(case),
            "events": [event_json(envelope) for envelope in evidence],
        },
    )


async def build_runs(visit: Visit) -> Page:
    """Return reconciliation runs, those under way first, then the newest."""
    query = visit.query
    verdict = query.choice("verdict", ("clean", "broken", "unknown"))
    where: dict[str, object] = {"verdict": verdict} if verdict else {}
    total = await visit.reader.count("runs", where)
    rows = await visit.reader.rows(
        "runs", where, order="sequence", reverse=True, limit=RUNS_SHOWN_MAX
    )
    running = () if verdict else visit.situation.runs_under_way
    runs = [*running, *(run for run in cast("list[RunRecord]", rows) if not run.live)]
    stored = await visit.reader.events(
        type=StatementChecked.__name__, reverse=True, limit=CHECKS_SHOWN_MAX
    )
    checks = [check for check in stored if isinstance(check.event, StatementChecked)]
    return Page(
        title="Reconciliation reports",
        template="reports",
        kind="reports",
        values={"runs": runs, "total": total, "verdict": verdict, "checks": checks},
        json={
            "filters": query.values(),
            "total": total,
            "reports": [run_json(run) for run in runs],
            "statement_checks": [event_json(check) for check in checks],
        },
    )


async def build_run(visit: Visit) -> Page:
    """Return one report, as the report room makes it; `last` is the newest."""
    run = await _run(visit)
    envelope = await visit.reader.event(run.sequence)
    if not isinstance(envelope.event, ReconciliationCompleted):
        raise InvariantBroken(f"event {run.sequence} is not the report of run {run.run_id}")
    cases = cast("list[BreakCase]", await visit.reader.rows("breaks"))
    value = report.build(
        envelope.event,
        report.open_when(cases, envelope),
        sequence=envelope.sequence,
        events=await _events(visit.reader, report.evidence_of(envelope.event)),
    )
    document = report.html(value).replace("<body>", f"<body>\n{_WAY_BACK}", 1)
    return Page(
        title=f"Report {run.run_id}",
        template="",
        kind="reconciliation",
        values={},
        json=report.as_json(value),
        document=document,
    )


async def _run(visit: Visit) -> RunRecord:
    name = visit.situation.system.last_run_id if visit.name == "last" else visit.name
    run = cast("RunRecord | None", await visit.reader.one("runs", name)) if name else None
    if run is None:
        raise NotFound(f"there is no report {visit.name!r}", hint="the list of reports has them")
    if run.live:
        raise NotFound(
            f"the reconciliation {run.run_id} has not ended", hint="its report comes with its end"
        )
    return run


async def _events(reader: Reader, sequences: Sequence[int]) -> list[Envelope]:
    return [await reader.event(sequence) for sequence in sorted(sequences)[: report.EVIDENCE_MAX]]
