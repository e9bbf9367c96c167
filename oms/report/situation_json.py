"""How things stand as JSON values, for `oms status --json`, the first page and `/health`."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from oms.core.fold.records import Alarm, Anomaly
from oms.core.situation import Claim, Health, Situation
from oms.core.words import counted
from oms.report.record_json import alarm_json, run_json, time

Json = dict[str, Any]


def situation_json(situation: Situation, health: Health) -> Json:
    """Return a situation and the verdict on it; every number stands with its age."""
    system, run, now = situation.system, situation.last_run, situation.read_at
    return {
        "at": time(now),
        "health": health_json(health),
        "daemon": {
            "running": situation.running,
            "started_at": time(system.daemon_started_at),
            "stopped_at": time(system.daemon_stopped_at),
            "leases": [_claim(claim, now) for claim in situation.claims],
        },
        "session": _session(situation),
        "gap": {
            "open": bool(system.gap_sequence),
            "cause": system.gap_cause,
            "sequence": system.gap_sequence or None,
            "opened_at": time(system.gap_opened_at),
            "age_seconds": age_seconds(system.gap_opened_at, now) if system.gap_sequence else None,
            "expected_until": time(situation.expected_until),
        },
        "alarms": [_alarm(alarm, now) for alarm in situation.alarms],
        "gateway_clock": {
            "offset_ms": system.server_offset_ms,
            "error_ms": system.server_error_ms,
            "read_at": time(system.server_time_at),
        },
        "halt": {
            "halted": system.halted,
            "reason": system.halt_reason,
            "actor": system.halt_actor,
        },
        "last_broker_message": _heard(situation),
        "answers": [
            {
                "question": question.kind,
                "outcome": question.outcome,
                "at": time(question.answered_at),
                "age_seconds": age_seconds(question.answered_at, now),
            }
            for question in situation.questions
        ],
        "orders": {
            "live": situation.live_orders,
            "by_state": dict(situation.orders_by_state),
            "in_doubt": [doubt.order.order_id for doubt in situation.doubts],
        },
        "breaks": {
            "open": len(situation.open_breaks),
            "by_severity": {name: n for name, n in situation.severities.items() if n},
            "oldest_opened_at": time(situation.oldest_break_at),
        },
        "set_aside": [_set_aside(one) for one in situation.set_aside],
        "last_reconciliation": None
        if run is None
        else {**run_json(run), "age_seconds": age_seconds(run.finished_at, now)},
        "log": {
            "sequence": situation.head.sequence,
            "hash": situation.head.hash.hex(),
            "recorded_at": time(situation.head.recorded_at),
            "age_seconds": age_seconds(situation.head.recorded_at, now),
            "books_sequence": situation.books_sequence,
        },
    }


def health_json(health: Health) -> Json:
    """Return a verdict with its reasons, as `/health` answers it."""
    return {
        "status": health.level,
        "reasons": [
            {
                "level": reason.level,
                "code": reason.code,
                "text": reason.text,
                "advice": reason.advice,
                "expected": reason.expected,
            }
            for reason in health.reasons
        ],
    }


def age_seconds(at: datetime | None, now: datetime) -> float | None:
    """Return how long ago something was, as JSON carries it; not below zero."""
    return None if at is None else round(max((now - at).total_seconds(), 0.0), 3)


def _claim(claim: Claim, now: datetime) -> Json:
    return {
        "name": claim.name,
        "holder": claim.holder,
        "host": claim.host,
        "process_id": claim.process_id,
        "epoch": claim.epoch,
        "held": claim.held,
        "heartbeat_at": time(claim.heartbeat_at),
        "age_seconds": age_seconds(claim.heartbeat_at, now),
        "address": claim.address or None,
        "queue": None
        if claim.waiting is None
        else {
            "waiting": claim.waiting,
            "oldest_seconds": _seconds(claim.oldest_waited),
            "append_seconds": _seconds(claim.append_took),
        },
    }


def queue_words(claim: Claim) -> str:
    """Return what waited for the disk before a daemon's last sign of life; "" where it says none
    of it.
    """
    if claim.waiting is None:
        return ""
    return (
        f"at most {counted(claim.waiting, 'event')} waited for the disk, the oldest"
        f" {_seconds(claim.oldest_waited):.3f} s; a transaction took up to"
        f" {_seconds(claim.append_took):.3f} s"
    )


def _seconds(duration: timedelta | None) -> float:
    return 0.0 if duration is None else round(duration.total_seconds(), 6)


def _session(situation: Situation) -> Json | None:
    session = situation.session
    if session is None:
        return None
    return {
        "epoch": session.epoch,
        "connected": situation.connected,
        "ready": situation.ready,
        "host": session.host,
        "port": session.port,
        "client_id": session.client_id,
        "server_version": session.server_version,
        "accounts": list(session.accounts),
        "opened_at": time(session.opened_at),
        "ready_at": time(session.ready_at),
        "closed_at": time(session.closed_at),
        "close_reason": session.close_reason,
        "age_seconds": age_seconds(session.opened_at, situation.read_at),
    }


def of_the_past(values: Json) -> Json:
    """Return a situation of the past without what is of now alone: the verdict, and the leases."""
    kept = {name: value for name, value in values.items() if name != "health"}
    return {**kept, "daemon": {**values["daemon"], "leases": []}}


def _alarm(alarm: Alarm, now: datetime) -> Json:
    return {**alarm_json(alarm), "age_seconds": age_seconds(alarm.since, now)}


def _set_aside(one: Anomaly) -> Json:
    return {
        "sequence": one.sequence,
        "text": one.text,
        "order_id": one.order_id,
        "account": one.account,
        "con_id": one.con_id,
        "symbol": one.symbol,
    }


def _heard(situation: Situation) -> Json | None:
    heard = situation.heard
    if heard is None:
        return None
    return {
        "sequence": heard.sequence,
        "type": type(heard.event).__name__,
        "recorded_at": time(heard.recorded_at),
        "age_seconds": age_seconds(heard.recorded_at, situation.read_at),
    }
