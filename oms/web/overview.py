"""The first page: is it well, and if not, why; each number with its age."""

from __future__ import annotations

from datetime import datetime
from typing import Final, cast

from oms.core.events import Envelope
from oms.core.fold.records import ENDED, Order, OrderState
from oms.report.json_view import event_json
from oms.report.record_json import order_json, run_json, time
from oms.store.lease import Lease
from oms.web.health import Health, holders, severities
from oms.web.page import Json, Page, Visit
from oms.web.situation import Situation

#: Rows of each list on the first page; the lists have pages of their own.
ROWS_MAX: Final = 8


async def build(visit: Visit) -> Page:
    """Return the overview."""
    situation = visit.situation
    live = cast("list[Order]", await visit.reader.rows("orders", {"live": 1}, limit=500))
    live.sort(key=lambda order: order.last_sequence, reverse=True)
    newest = await visit.reader.events(limit=ROWS_MAX, reverse=True)
    return Page(
        title="Overview",
        template="overview",
        kind="overview",
        values={
            "holders": holders(situation, visit.host),
            "severities": severities(situation),
            "live": live[:ROWS_MAX],
            "newest": newest,
            "rows_max": ROWS_MAX,
        },
        json=_json(visit, newest, await _by_state(visit)),
    )


async def _by_state(visit: Visit) -> dict[str, int]:
    """Return how many orders are in each state that can still change, those with none left out."""
    counts = {
        state.value: await visit.reader.count("orders", {"state": state.value})
        for state in OrderState
        if state not in ENDED
    }
    return {state: count for state, count in counts.items() if count}


def _json(visit: Visit, newest: list[Envelope], by_state: dict[str, int]) -> Json:
    """Return the answer; what `oms status --json` says as well has the same keys here."""
    situation = visit.situation
    system, run, now = situation.system, situation.last_run, situation.read_at
    alive = holders(situation, visit.host)
    opened = [case.opened_at for case in situation.open_breaks]
    return {
        "at": time(now),
        "health": health_json(visit.health),
        "daemon": {
            "running": bool(alive),
            "started_at": time(system.daemon_started_at),
            "stopped_at": time(system.daemon_stopped_at),
            "leases": [_lease(lease, lease in alive, now) for lease in situation.leases],
        },
        "session": _session(situation, alive=bool(alive)),
        "gap": {
            "open": bool(system.gap_sequence),
            "cause": system.gap_cause,
            "sequence": system.gap_sequence or None,
            "opened_at": time(system.gap_opened_at),
            "age_seconds": _age(system.gap_opened_at, now),
        },
        "halt": {
            "halted": system.halted,
            "reason": system.halt_reason,
            "actor": system.halt_actor,
        },
        "last_broker_message": _heard(situation),
        "orders": {
            "live": situation.live_orders,
            "by_state": by_state,
            "in_doubt": [doubt.order.order_id for doubt in situation.doubts],
        },
        "doubts": [
            {
                **order_json(doubt.order),
                "doubt_since": time(doubt.since),
                "age_seconds": _age(doubt.since, now),
            }
            for doubt in situation.doubts
        ],
        "breaks": {
            "open": len(situation.open_breaks),
            "by_severity": {n: count for n, count in severities(situation).items() if count},
            "oldest_opened_at": time(min(opened, default=None)),
        },
        "last_reconciliation": None
        if run is None
        else {**run_json(run), "age_seconds": _age(run.finished_at, now)},
        "log": {
            "sequence": situation.head.sequence,
            "hash": situation.head.hash.hex(),
            "recorded_at": time(situation.head.recorded_at),
            "age_seconds": _age(situation.head.recorded_at, now),
            "books_sequence": situation.books_sequence,
        },
        "newest": [event_json(envelope) for envelope in newest],
    }


def health_json(health: Health) -> Json:
    """Return the verdict as JSON values, as `/health` answers it."""
    return {
        "status": health.level,
        "reasons": [
            {"level": reason.level, "code": reason.code, "text": reason.text}
            for reason in health.reasons
        ],
    }


def _lease(lease: Lease, held: bool, now: datetime) -> Json:
    return {
        "name": lease.name,
        "holder": lease.holder,
        "host": lease.host,
        "process_id": lease.process_id,
        "epoch": lease.epoch,
        "held": held,
        "heartbeat_at": time(lease.heartbeat_at),
        "age_seconds": _age(lease.heartbeat_at, now),
    }


def _session(situation: Situation, *, alive: bool) -> Json | None:
    session, system = situation.session, situation.system
    if session is None:
        return None
    return {
        "epoch": session.epoch,
        # What a dead daemon wrote is not believed.
        "connected": alive and system.connected,
        "ready": alive and system.connected and system.ready,
        "host": session.host,
        "port": session.port,
        "client_id": session.client_id,
        "server_version": session.server_version,
        "accounts": list(session.accounts),
        "opened_at": time(session.opened_at),
        "ready_at": time(session.ready_at),
        "closed_at": time(session.closed_at),
        "close_reason": session.close_reason,
        "age_seconds": _age(session.opened_at, situation.read_at),
    }


def _heard(situation: Situation) -> Json | None:
    heard = situation.heard
    if heard is None:
        return None
    return {
        "sequence": heard.sequence,
        "type": type(heard.event).__name__,
        "recorded_at": time(heard.recorded_at),
        "age_seconds": _age(heard.recorded_at, situation.read_at),
    }


def _age(at: datetime | None, now: datetime) -> float | None:
    return None if at is None else round(max((now - at).total_seconds(), 0.0), 3)
