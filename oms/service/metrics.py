"""Metrics drawn from commits, so that they cannot differ from the log."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from oms import telemetry
from oms.core.events import OrderMessageSent, ReconciliationCompleted

if TYPE_CHECKING:
    from oms.clock import Clock
    from oms.service.view import View
    from oms.store.log import EventLog
    from oms.store.writer import Committed


def watch(log: EventLog) -> None:
    """Have each reading of the metrics show what waits for the disk in that moment: no commit would
    tell of it while the disk does not answer.
    """
    telemetry.QUEUE_LENGTH.set_function(lambda: log.waiting)
    telemetry.OLDEST_WAITING_SECONDS.set_function(lambda: log.oldest_waiting_seconds)


def observe(committed: Committed, view: View, clock: Clock) -> None:
    """Bring the metrics up to a commit that the view has taken."""
    for name, count in Counter(type(e.event).__name__ for e in committed.envelopes).items():
        telemetry.EVENTS_APPENDED.labels(type=name).inc(count)
    for envelope in committed.envelopes:
        match envelope.event:
            case OrderMessageSent(kind=kind):
                telemetry.MESSAGES_SENT.labels(kind=kind).inc()
            case ReconciliationCompleted(verdict=verdict):
                telemetry.RECONCILIATIONS.labels(verdict=verdict).inc()
            case _:
                pass
    telemetry.HEAD_SEQUENCE.set(committed.envelopes[-1].sequence)
    system = view.system
    telemetry.SESSION_UP.set(system.connected and system.ready and not system.gap_sequence)
    telemetry.SESSION_EPOCH.set(system.session_epoch)
    telemetry.GAP_OPEN.set(bool(system.gap_sequence))
    if "orders" in committed.changes:
        _observe_doubt(view, clock)
    if "breaks" in committed.changes:
        open_breaks = Counter(c.finding.severity for c in view.open_breaks())
        for severity in ("high", "medium", "low"):
            telemetry.BREAKS_OPEN.labels(severity=severity).set(open_breaks[severity])


def _observe_doubt(view: View, clock: Clock) -> None:
    doubted = view.in_doubt()
    telemetry.ORDERS_IN_DOUBT.set(len(doubted))
    since = [o.updated_at for o in doubted if o.updated_at is not None]
    oldest = (clock.now() - min(since)).total_seconds() if since else 0
    telemetry.OLDEST_DOUBT_SECONDS.set(oldest)
