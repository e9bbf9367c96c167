"""The situation in Prometheus' text form.

The daemon serves metrics of its own (`OMS_METRICS_PORT`); those come from its memory and vanish
with it. These come from the database, so they still speak when the daemon does not. Where both
mean the same thing they have the same name; the `job` label tells them apart.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Final, get_args

from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.registry import Collector

from oms import telemetry
from oms.core.events import AlarmKind
from oms.core.situation import LEVELS, Health, Situation

CONTENT_TYPE: Final = CONTENT_TYPE_PLAIN_0_0_4

#: Descriptions of the metrics that the daemon serves under the same name.
_SHARED: Final = {row.name: row.description for row in telemetry.describe_metrics()}


def exposition(health: Health, situation: Situation | None) -> bytes:
    """Return the metrics; without a situation only that it is down."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Snapshot(health, situation))
    return generate_latest(registry)


class _Snapshot(Collector):
    def __init__(self, health: Health, situation: Situation | None) -> None:
        self._health = health
        self._situation = situation

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Return what Prometheus is told."""
        health = GaugeMetricFamily(
            "oms_health", "1 for the level that holds, as /health judges.", labels=["level"]
        )
        for level in LEVELS:
            health.add_metric([level], float(level == self._health.level))
        yield health
        reasons = GaugeMetricFamily(
            "oms_health_reason", "1 for each reason that /health gives.", labels=["code"]
        )
        for reason in self._health.reasons:
            reasons.add_metric([reason.code], 1)
        yield reasons
        if self._situation is not None:
            yield from _gauges(self._situation)


def _gauges(situation: Situation) -> Iterator[GaugeMetricFamily]:
    system, now = situation.system, situation.read_at
    yield _gauge(
        "oms_daemon_up", float(situation.running), "1 while a daemon's lease shows signs of life."
    )
    yield _gauge("oms_head_sequence", situation.head.sequence)
    yield _gauge(
        "oms_books_behind_events", situation.behind, "Events that the projections lag the log."
    )
    # A row that says "ready" is believed only while its writer lives.
    yield _gauge("oms_session_up", float(situation.ready))
    yield _gauge("oms_session_epoch", system.session_epoch)
    yield _gauge("oms_gap_open", float(bool(system.gap_sequence) or not situation.running))
    yield _gauge("oms_halted", float(system.halted), "1 while a person has halted new orders.")
    yield _gauge("oms_orders_live", situation.live_orders, "Orders that can still change.")
    yield _gauge("oms_orders_in_doubt", len(situation.doubts))
    oldest = situation.oldest_doubt_at
    yield _gauge("oms_oldest_doubt_seconds", _seconds(oldest, now) if oldest else 0)
    breaks = GaugeMetricFamily("oms_breaks_open", _SHARED["oms_breaks_open"], labels=["severity"])
    for severity, count in situation.severities.items():
        breaks.add_metric([severity], count)
    yield breaks
    opened = situation.oldest_break_at
    yield _gauge(
        "oms_oldest_break_seconds",
        _seconds(opened, now) if opened else 0,
        "Age of the oldest open break; 0 when there is none.",
    )
    alarms = GaugeMetricFamily(
        "oms_alarms_standing", _SHARED["oms_alarms_standing"], labels=["kind"]
    )
    for kind in get_args(AlarmKind):
        alarms.add_metric([kind], sum(alarm.kind == kind for alarm in situation.alarms))
    yield alarms
    yield from _ages(situation)


def _ages(situation: Situation) -> Iterator[GaugeMetricFamily]:
    """Return ages of things that may never have been: absent is better than a number."""
    run, heard = situation.last_run, situation.heard
    ages = (
        ("oms_last_event_age_seconds", situation.head.recorded_at, "the newest event"),
        (
            "oms_last_broker_message_age_seconds",
            heard.recorded_at if heard is not None else None,
            "the newest message of the broker among the newest events",
        ),
        (
            "oms_last_reconciliation_age_seconds",
            run.finished_at if run is not None else None,
            "the last reconciliation",
        ),
    )
    for name, at, what in ages:
        if at is not None:
            yield _gauge(name, _seconds(at, situation.read_at), f"Age of {what}.")


def _gauge(name: str, value: float, description: str = "") -> GaugeMetricFamily:
    return GaugeMetricFamily(name, description or _SHARED[name], value=value)


def _seconds(at: datetime, now: datetime) -> float:
    return max((now - at).total_seconds(), 0.0)
