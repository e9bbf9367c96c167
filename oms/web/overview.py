"""The first page: is it well, and if not, why; each number with its age."""

from __future__ import annotations

from typing import Final, cast

from oms.core.fold.records import Order
from oms.core.resets import windows_of
from oms.core.situation import Situation
from oms.history.situation import situation_at
from oms.report.json_view import event_json
from oms.report.record_json import order_json, time
from oms.report.situation_json import age_seconds, of_the_past, situation_json
from oms.web.page import Page, Visit
from oms.web.past import PAST
from oms.web.query import ZONE

FILTERS: Final = (*PAST, ZONE)
#: Rows of each list on the first page; the lists have pages of their own.
ROWS_MAX: Final = 8


async def build(visit: Visit) -> Page:
    """Return the overview."""
    situation, past = visit.situation, visit.past
    if past is not None:
        settings = visit.settings
        resets = windows_of(settings.reset_region, settings.reset_windows)
        situation = await situation_at(past, resets=resets)
    live = cast("list[Order]", await visit.books.rows("orders", {"live": 1}, limit=500))
    live.sort(key=lambda order: order.last_sequence, reverse=True)
    newest = await visit.reader.events(before=visit.sequence + 1, limit=ROWS_MAX, reverse=True)
    values = situation_json(situation, visit.health)
    if past is not None:
        values = of_the_past(values)
    return Page(
        title="Overview",
        template="overview",
        kind="overview",
        values={
            "shown": situation,
            "live": live[:ROWS_MAX],
            "newest": newest,
            "places_of": {
                reason.code: _place(reason.code, situation) for reason in visit.health.reasons
            },
            "rows_max": ROWS_MAX,
        },
        json={
            # What `oms status --json` says as well has the same keys here.
            **values,
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
            return "/alarms"
        case _ if "reconciliation" in code:
            return f"/reports/{situation.system.last_run_id}"
        case _:
            return ""
