"""Whether the OMS is well, in one word with its reasons: for `/health` and for every page.

`down` means that we are blind or cannot send: the database cannot be read, no daemon shows signs of
life, there is no session. `degraded` means that it runs and a person should look, or wait. Nothing
here believes a row that says "connected" when the process that wrote it has stopped beating.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from oms.core.events import Severity
from oms.errors import OmsError
from oms.report.words import SEVERITIES, counted, duration
from oms.store.lease import Lease
from oms.web.situation import Situation
from oms.web.words import Level, ago

#: Missed schedules before the last reconciliation counts as overdue.
INTERVALS_MISSED_MAX: Final = 2


@dataclass(frozen=True, slots=True)
class Reason:
    """Why it is not well."""

    level: Level
    #: A stable name, for alerts.
    code: str
    text: str
    #: Where the pages show it.
    path: str = ""


@dataclass(frozen=True, slots=True)
class Health:
    """The verdict, the gravest reasons first."""

    level: Level
    reasons: tuple[Reason, ...]

    @property
    def status_code(self) -> int:
        """Return what a probe is told: 503 when it is down."""
        return 503 if self.level == "down" else 200


def unreadable(error: OmsError) -> Health:
    """Return the verdict where the database itself cannot be read."""
    return Health("down", (Reason("down", "database_unavailable", error.message),))


def judge(situation: Situation, *, host: str, interval_seconds: float) -> Health:
    """Return how the OMS is, seen from a host; 0 seconds means that nothing runs on schedule."""
    reasons = [
        *_line(situation, host),
        *_gate(situation),
        *_differences(situation),
        *_comparison(situation, timedelta(seconds=interval_seconds)),
    ]
    order: tuple[Level, ...] = ("down", "degraded")
    reasons.sort(key=lambda reason: order.index(reason.level))
    return Health(reasons[0].level if reasons else "ok", tuple(reasons))


def holders(situation: Situation, host: str) -> tuple[Lease, ...]:
    """Return the claims of daemons that show signs of life."""
    return tuple(lease for lease in situation.leases if lease.held(situation.read_at, host))


def _line(situation: Situation, host: str) -> Iterator[Reason]:
    if not holders(situation, host):
        yield Reason("down", "daemon_not_running", _absence(situation))
    elif not situation.system.connected:
        yield Reason("down", "not_connected", "There is no session with the gateway", "/log")


def _absence(situation: Situation) -> str:
    beats = [at for lease in situation.leases if (at := lease.heartbeat_at) is not None]
    if beats:
        last = ago(max(beats), situation.read_at)
        return f"No daemon is running; the last one died, its last sign of life was {last}"
    stopped = situation.system.daemon_stopped_at
    if stopped is not None:
        return f"No daemon is running; the last one stopped {ago(stopped, situation.read_at)}"
    return "No daemon is running"


def _gate(situation: Situation) -> Iterator[Reason]:
    system = situation.system
    if system.gap_sequence:
        since = _since(system.gap_opened_at, situation.read_at)
        text = f"The broker may know things that we do not{since}: {system.gap_cause}"
        yield Reason("degraded", "gap_open", text, f"/log/{system.gap_sequence}")
    elif system.connected and not system.ready:
        text = "The books are not compared with the broker's yet; no order leaves before that"
        yield Reason("degraded", "not_ready", text, "/reports")
    if system.halted:
        text = f"New orders are halted by {system.halt_actor or 'somebody'}: {system.halt_reason}"
        yield Reason("degraded", "halted", text)
    if situation.behind:
        text = f"The rows shown lag the log by {counted(situation.behind, 'event')}"
        yield Reason("degraded", "books_behind", text)


def _differences(situation: Situation) -> Iterator[Reason]:
    if situation.doubt_count:
        oldest = next((doubt.since for doubt in situation.doubts), None)
        since = f", the oldest{_since(oldest, situation.read_at)}" if oldest else ""
        verb = "is" if situation.doubt_count == 1 else "are"
        text = f"{counted(situation.doubt_count, 'order')} {verb} in doubt{since}"
        yield Reason("degraded", "orders_in_doubt", text, "/orders?state=IN_DOUBT")
    if situation.open_breaks:
        by_severity = severities(situation)
        parts = ", ".join(f"{count} {name}" for name, count in by_severity.items() if count)
        verb = "is" if len(situation.open_breaks) == 1 else "are"
        text = f"{counted(len(situation.open_breaks), 'break')} {verb} open"
        yield Reason("degraded", "breaks_open", f"{text} ({parts})" if parts else text, "/breaks")


def severities(situation: Situation) -> dict[Severity, int]:
    """Return how many breaks are open, by severity."""
    found = [case.finding.severity for case in situation.open_breaks]
    return {severity: found.count(severity) for severity in SEVERITIES}


def _comparison(situation: Situation, interval: timedelta) -> Iterator[Reason]:
    run = situation.last_run
    if run is None:
        if situation.head.sequence:
            text = "The books were never compared with the broker's"
            yield Reason("degraded", "never_reconciled", text, "/reports")
        return
    path = f"/reports/{run.run_id}"
    if run.verdict == "unknown":
        text = "The last reconciliation could not tell whether the books agree"
        yield Reason("degraded", "last_reconciliation_unknown", text, path)
    elif run.verdict == "broken" and not situation.open_breaks:
        text = "The last reconciliation found differences"
        yield Reason("degraded", "last_reconciliation_broken", text, path)
    age = situation.read_at - (run.finished_at or run.started_at)
    if interval and age > INTERVALS_MISSED_MAX * interval and not situation.running:
        text = (
            f"The last reconciliation is {duration(age)} old; one is due every {duration(interval)}"
        )
        yield Reason("degraded", "reconciliation_overdue", text, path)


def _since(at: datetime | None, now: datetime) -> str:
    return f" for {duration(max(now - at, timedelta()))}" if at is not None else ""
