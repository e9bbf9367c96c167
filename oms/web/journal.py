"""The log itself: newest first, filtered; and one event with everything that it carries."""

from __future__ import annotations

from typing import Final

from oms.core.events import EVENT_TYPES, Envelope, StatementChecked
from oms.errors import NotFound
from oms.history.query import orders_of, search
from oms.report.json_view import event_json
from oms.store.reader import Reader
from oms.web.counting import COUNT_BY, counted_events, counts_json
from oms.web.page import Json, Page, Visit
from oms.web.query import CONDITIONS, ZONE

SHOWN: Final = 100
SHOWN_MAX: Final = 1_000
#: Steps of the walk from an event to its causes.
CAUSES_MAX: Final = 30

FILTERS: Final = (*CONDITIONS, ZONE, "limit", COUNT_BY)


async def build_list(visit: Visit) -> Page:
    """Return events that meet the filters, the newest first; with `count_by` their numbers."""
    query = visit.query
    limit = min(query.number("limit", SHOWN, low=1) or SHOWN, SHOWN_MAX)
    forward = bool(query.text("after"))
    asked = query.asked(visit.settings.day_zone, limit=limit, reverse=not forward)
    counted = await counted_events(visit, asked)
    found = [envelope async for envelope in search(visit.reader, asked)]
    is_sorted = query.text("sort") != ""
    envelopes = found[::-1] if forward and not is_sorted else found
    orders = await orders_of(visit.reader, envelopes)
    more = len(found) == limit
    pages = envelopes and not is_sorted and (more or forward)
    oldest = envelopes[-1].sequence if pages else None
    return Page(
        title="Log",
        template="log",
        kind="log",
        values={
            "envelopes": envelopes,
            "orders": orders,
            "counts_by": counted,
            "types": sorted(EVENT_TYPES),
            "older": None if oldest is None else query.link(before=oldest, after=None),
            "newest": query.link(before=None, after=None) if query.text("before") else None,
        },
        json={
            "filters": query.values(),
            "older_before": oldest,
            "events": [
                {**event_json(one), "order_ids": orders.get(one.sequence, [])} for one in envelopes
            ],
            **counts_json(counted),
        },
    )


async def build_one(visit: Visit) -> Page:
    """Return one event: what it says, what it carries, what caused it."""
    name = visit.name
    sequence = int(name) if name.isascii() and name.isdecimal() and len(name) <= 18 else 0
    head = visit.situation.head.sequence
    if not 1 <= sequence <= head:
        raise NotFound(f"the log has no event {name!r}", hint=f"it goes from 1 to {head}")
    envelope = await visit.reader.event(sequence)
    causes = await _causes(visit.reader, envelope)
    statement = envelope.event if isinstance(envelope.event, StatementChecked) else None
    return Page(
        title=f"Event {sequence}",
        template="event",
        kind="event",
        values={"envelope": envelope, "causes": causes, "statement": statement},
        json=_event_json(envelope, causes),
    )


async def _causes(reader: Reader, envelope: Envelope) -> list[Envelope]:
    """Return what led to an event, the nearest cause first."""
    walked: list[Envelope] = []
    cause = envelope.context.causation_sequence
    while cause is not None and len(walked) < CAUSES_MAX:
        walked.append(await reader.event(cause))
        cause = walked[-1].context.causation_sequence
    return walked


def _event_json(envelope: Envelope, causes: list[Envelope]) -> Json:
    return {**event_json(envelope), "causes": [event_json(cause) for cause in causes]}
