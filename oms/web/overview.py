"""The first page: is it well, and if not, why; each number with its age."""

from __future__ import annotations

from typing import Final, cast

from oms.core.events import Envelope
from oms.core.records import Order
from oms.report.json_view import event_json
from oms.report.record_json import break_json, order_json, run_json, time
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
        json=_json(visit, newest),
    )


def _json(visit: Visit, newest: list[Envelope]) -> Json:
    situation = visit.situation
    system, session, run = situation.system, situation.session, situation.last_run
    return {
        "read_at": time(situation.read_at),
        "health": health_json(visit.health),
        "daemons": [
            {
                "lease": lease.name,
                "holder": lease.holder,
                "host": lease.host,
                "process_id": lease.process_id,
                "epoch": lease.epoch,
                "heartbeat_at": time(lease.heartbeat_at),
                "alive": lease in holders(situation, visit.host),
            }
            for lease in situation.leases
        ],
        "session": {
            "epoch": system.session_epoch,
            "connected": system.connected,
            "ready": system.ready,
            "host": session.host if session is not None else None,
            "port": session.port if session is not None else None,
            "client_id": session.client_id if session is not None else None,
            "accounts": list(session.accounts) if session is not None else [],
            "opened_at": time(session.opened_at) if session is not None else None,
            "closed_at": time(session.closed_at) if session is not None else None,
        },
        "gap": _gap(situation),
        "halted": system.halted,
        "halt_reason": system.halt_reason or None,
        "halted_by": system.halt_actor or None,
        "last_broker_message": _heard(situation),
        "orders": {
            "live": situation.live_orders,
            "in_doubt": situation.doubt_count,
            "doubts": [
                {**order_json(doubt.order), "doubt_since": time(doubt.since)}
                for doubt in situation.doubts
            ],
        },
        "breaks": [break_json(case) for case in situation.open_breaks],
        "last_run": run_json(run) if run is not None else None,
        "running": [run_json(run) for run in situation.running],
        "log": {
            "sequence": situation.head.sequence,
            "hash": situation.head.hash.hex(),
            "recorded_at": time(situation.head.recorded_at),
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


def _gap(situation: Situation) -> Json | None:
    system = situation.system
    if not system.gap_sequence:
        return None
    return {
        "sequence": system.gap_sequence,
        "cause": system.gap_cause,
        "opened_at": time(system.gap_opened_at),
    }


def _heard(situation: Situation) -> Json | None:
    heard = situation.heard
    if heard is None:
        return None
    return {"sequence": heard.sequence, "recorded_at": time(heard.recorded_at)}
