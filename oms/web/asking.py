"""Alarms, and what people have asked the daemon for."""

from __future__ import annotations

from typing import Final, cast, get_args

from oms.core.causes import REQUESTS
from oms.core.events import AlarmKind
from oms.core.fold.records import Alarm
from oms.history import records
from oms.history.requests import among_requests, requests
from oms.report.record_json import alarm_json
from oms.report.requests import BECAME, asked_json
from oms.web.counting import counted_events, counted_records, counts_json
from oms.web.page import Page, Visit
from oms.web.past import PAST
from oms.web.query import RECORD_FILTERS

ALARMS_SHOWN_MAX: Final = 500
REQUESTS_SHOWN: Final = 100
REQUESTS_SHOWN_MAX: Final = 500
ALARM_FILTERS: Final = ("show", *RECORD_FILTERS, *PAST)
REQUEST_FILTERS: Final = ("type", *RECORD_FILTERS, *PAST)
#: Filters that are about alarms which are over as well.
_OF_THE_PAST: Final = ("since", "until", "during", "after", "before")


async def build_alarms(visit: Visit) -> Page:
    """Return alarms, the one raised last first: those that stand, or all."""
    query = visit.query
    limit = min(query.number("limit", ALARMS_SHOWN_MAX, low=1) or 1, ALARMS_SHOWN_MAX)
    default = "all" if any(query.text(name) for name in _OF_THE_PAST) else "standing"
    show = query.choice("show", ("standing", "all"), default)
    where: dict[str, object] = {"live": 1} if show == "standing" else {}
    asked = query.asked(visit.settings.day_zone, limit=limit)
    found = cast(
        "list[Alarm]", await records.find(visit.reader, "alarms", asked, where, visit.past)
    )
    counted = await counted_records(visit, "alarms", asked, where)
    alarms = found if query.text("sort") or query.text("after") else found[::-1]
    return Page(
        title="Alarms",
        template="alarms",
        kind="alarms",
        values={
            "alarms": alarms,
            "counts_by": counted,
            "show": show,
            "kinds": get_args(AlarmKind),
        },
        json={
            "filters": {**query.values(), "show": show},
            "alarms": [alarm_json(one) for one in alarms],
            **counts_json(counted),
        },
    )


async def build_requests(visit: Visit) -> Page:
    """Return requests with what became of them, the newest first."""
    query = visit.query
    limit = min(query.number("limit", REQUESTS_SHOWN, low=1) or 1, REQUESTS_SHOWN_MAX)
    forward = bool(query.text("after"))
    asked = query.asked(visit.settings.day_zone, limit=limit, reverse=not forward)
    last = None if visit.past is None else visit.past.sequence
    found = await requests(visit.reader, asked, last)
    counted = await counted_events(visit, among_requests(asked, last))
    shown = found if query.text("sort") or forward else found[::-1]
    return Page(
        title="Requests",
        template="requests",
        kind="requests",
        values={
            "requests": shown,
            "counts_by": counted,
            "became": BECAME,
            "types": sorted(one.__name__ for one in REQUESTS),
        },
        json={
            "filters": query.values(),
            "requests": [asked_json(one) for one in shown],
            **counts_json(counted),
        },
    )
