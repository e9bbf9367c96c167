"""The first page: is it well, and if not, why; each number with its age."""

from __future__ import annotations

from typing import Final, cast

from oms.core.fold.records import Order
from oms.core.situation import Situation
from oms.report.json_view import event_json
from oms.report.record_json import order_json, time
from oms.report.situation_json import age_seconds, situation_json
from oms.web.page import Page, Visit

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
            "live": live[:ROWS_MAX],
            "newest": newest,
            "places_of": {
                reason.code: _place(reason.code, situation) for reason in visit.health.reasons
            },
            "rows_max": ROWS_MAX,
        },
        json={
            # What `oms status --json` says as well has the same keys here.
            **situation_json(situation, visit.health),
            "doubts": [
                {
                    **order_json(doubt.order),
                    "doubt_since": time(doubt.since),
                    "age_seconds": age_seconds(doubt.since, situation.read_at),
                }
                for doubt in situation.doubts
            ],
            "newest": [event_json(envelope) for envelope in newest],
        },
    )


def _place(code: str, situation: Situation) -> str:
    """Return the address that shows what a reason is about, "" where no page does."""
    match code:
        case "not_connected":
            return "/log"
        case "gap_open":
            return f"/log/{situation.system.gap_sequence}"
        case "not_ready" | "never_reconciled":
            return "/reports"
        case "orders_in_doubt":
            return "/orders?state=IN_DOUBT"
        case "events_set_aside":
            return f"/log/{situation.set_aside[0].sequence}"
        case "breaks_open":
            return "/breaks"
        case _ if code.startswith("alarm_"):
            return "/log?type=AlarmRaised"
        case _ if "reconciliation" in code:
            return f"/reports/{situation.system.last_run_id}"
        case _:
            return ""
