"""Orders: the list, and the whole story of one."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise
from typing import Final, cast, get_args

from oms.core.events import Origin
from oms.core.fold.records import BreakCase, Fill, Order, OrderState
from oms.errors import InvalidRequest, NotFound
from oms.history import records
from oms.history.clocks import clock_at
from oms.history.names import resolve
from oms.report.clock import UNMEASURED
from oms.report.json_view import story_json
from oms.report.record_json import break_json, fill_json, order_json
from oms.report.story import StoryEntry, tell
from oms.web.counting import counted_records, counts_json
from oms.web.page import Elsewhere, Page, Visit
from oms.web.past import PAST
from oms.web.query import RECORD_FILTERS, ZONE, conditions
from oms.web.render import segment

#: Orders on one page at most.
SHOWN_MAX: Final = 200
FILTERS: Final = ("show", "origin", "perm_id", *RECORD_FILTERS, *PAST)
STORY_FILTERS: Final = (*PAST, ZONE)
_SHOWS: Final = ("live", "all")
#: Filters that are about orders which have ended as well.
_OF_THE_PAST: Final = ("state", "since", "until", "during", "code", "order", "after", "before")


async def build_list(visit: Visit) -> Page:
    """Return orders that meet the filters: those that can still change, or all of them."""
    query = visit.query
    limit = min(query.number("limit", SHOWN_MAX, low=1) or 1, SHOWN_MAX)
    asked = query.asked(visit.settings.day_zone, limit=limit, reverse=True)
    where = conditions(
        origin=query.choice("origin", get_args(Origin)), perm_id=query.number("perm_id")
    )
    # A filter by state, number or time means every such order, ended or not.
    past = any(query.text(name) for name in (*_OF_THE_PAST, "perm_id"))
    show = query.choice("show", _SHOWS, "all" if past else "live")
    if show == "live":
        where["live"] = 1
    orders = cast(
        "list[Order]", await records.find(visit.reader, "orders", asked, where, visit.past)
    )
    total = await records.total(visit.books, "orders", asked, where, orders)
    counted = await counted_records(visit, "orders", asked, where)
    shown = orders if query.text("sort") or query.text("after") else orders[::-1]
    return Page(
        title="Orders",
        template="orders",
        kind="orders",
        values={
            "orders": shown,
            "counts_by": counted,
            "total": total,
            "show": show,
            "states": [state.value for state in OrderState],
            "origins": get_args(Origin),
            "ended": await visit.books.count("orders", {"live": 0}),
        },
        json={
            "filters": {**query.values(), "show": show},
            "total": total,
            "orders": [order_json(order) for order in shown],
            **counts_json(counted),
        },
    )


@dataclass(frozen=True, slots=True)
class Step:
    """An entry of the story, with the time since the one before."""

    entry: StoryEntry
    waited: timedelta | None


async def build_one(visit: Visit) -> Page | Elsewhere:
    """Return one order's story; any unique beginning of its id names it."""
    order_id = visit.name
    order = cast("Order | None", await visit.books.one("orders", order_id))
    envelopes = await visit.books.order_events(order_id)
    if order is None and not envelopes:
        return await _find(visit, order_id)
    clock = await clock_at(visit.reader, envelopes[-1]) if envelopes else None
    story = tell(order_id, envelopes, order, clock)
    fills = cast(
        "list[Fill]",
        await visit.books.rows("fills", {"order_id": order_id}, order="booked_sequence"),
    )
    cases = cast("list[BreakCase]", await visit.books.rows("breaks", {"order_id": order_id}))
    children = cast("list[Order]", await visit.books.rows("orders", {"parent_order_id": order_id}))
    return Page(
        title=story.headline or order_id,
        template="order",
        kind="order_story",
        values={
            "story": story,
            "unmeasured": UNMEASURED,
            "order": order,
            "steps": _steps(story.entries),
            "fills": fills,
            "cases": cases,
            "children": children,
        },
        json={
            **story_json(story),
            "fills": [fill_json(fill) for fill in fills],
            "breaks": [break_json(case) for case in cases],
            "children": [child.order_id for child in children],
        },
    )


def _steps(entries: tuple[StoryEntry, ...]) -> list[Step]:
    times = [entry.envelope.recorded_at for entry in entries]
    waits = [None, *(later - earlier for earlier, later in pairwise(times))]
    return [Step(entry, waited) for entry, waited in zip(entries, waits, strict=True)]


async def _find(visit: Visit, name: str) -> Elsewhere:
    """Return where the order is that a name means; raises `NotFound`."""
    try:
        found = await resolve(visit.reader, name)
    except InvalidRequest as error:
        raise NotFound(error.message, hint=error.hint) from error
    if found == name:
        raise NotFound(f"there was no order {name!r} yet", hint="leave out as_of")
    return Elsewhere(f"/orders/{segment(found)}")
