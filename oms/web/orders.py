"""Orders: the list, and the whole story of one."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Final, cast, get_args

from oms.core.events import Origin
from oms.core.fold.records import BreakCase, Fill, Order, OrderState
from oms.errors import NotFound
from oms.report.json_view import story_json
from oms.report.record_json import break_json, fill_json, order_json
from oms.report.story import StoryEntry, tell
from oms.web.page import Elsewhere, Page, Visit
from oms.web.past import PAST
from oms.web.query import conditions
from oms.web.render import segment

#: Orders on one page at most.
SHOWN_MAX: Final = 200
#: Orders read to find the newest: the books keep them by id, not by age.
READ_MAX: Final = 5_000
#: Ids offered where a beginning fits several.
OFFERED_MAX: Final = 8

FILTERS: Final = ("show", "account", "symbol", "state", "origin", "perm_id", *PAST)
STORY_FILTERS: Final = PAST
_SHOWS: Final = ("live", "all")
_LONG_AGO: Final = datetime.min.replace(tzinfo=UTC)


async def build_list(visit: Visit) -> Page:
    """Return orders that meet the filters: those that can still change, or all of them."""
    query = visit.query
    state = query.choice("state", [state.value for state in OrderState])
    where = conditions(
        account=query.text("account"),
        symbol=query.text("symbol").upper(),
        state=state,
        origin=query.choice("origin", get_args(Origin)),
        perm_id=query.number("perm_id"),
    )
    # A filter by state or number means every such order, ended or not.
    show = query.choice("show", _SHOWS, "all" if state or "perm_id" in where else "live")
    if show == "live":
        where["live"] = 1
    total = await visit.books.count("orders", where)
    orders = cast("list[Order]", await visit.books.rows("orders", where, limit=READ_MAX))
    orders.sort(key=_age, reverse=True)
    shown = orders[:SHOWN_MAX]
    return Page(
        title="Orders",
        template="orders",
        kind="orders",
        values={
            "orders": shown,
            "total": total,
            "sorted_all": total <= READ_MAX,
            "show": show,
            "states": [state.value for state in OrderState],
            "origins": get_args(Origin),
            "ended": await visit.books.count("orders", {"live": 0}),
        },
        json={
            "filters": {**query.values(), "show": show},
            "total": total,
            "orders": [order_json(order) for order in shown],
        },
    )


def _age(order: Order) -> tuple[datetime, int]:
    return (order.created_at or _LONG_AGO, order.intent_sequence or order.last_sequence)


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
    story = tell(order_id, envelopes, order)
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


async def _find(visit: Visit, beginning: str) -> Elsewhere:
    """Return where the only order with such a beginning is; raises `NotFound`."""
    found = await visit.reader.keys("orders", beginning, limit=OFFERED_MAX) if beginning else []
    if len(found) == 1:
        return Elsewhere(f"/orders/{segment(found[0])}")
    if found:
        offered = ", ".join(found)
        raise NotFound(f"several orders begin with {beginning!r}", hint=f"among them: {offered}")
    raise NotFound(
        f"the log knows no order {beginning!r}",
        hint="the list of all orders (show=all) has every id; IB's own numbers are a filter there",
    )
