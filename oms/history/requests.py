"""What people have asked the daemon for, and what became of it, by the question of every list."""

from __future__ import annotations

from itertools import islice
from typing import Final

from oms.core.causes import REQUESTS
from oms.core.events import (
    Envelope,
    GlobalCancelRequested,
    ReconciliationCompleted,
    ReconciliationRequested,
    ReconciliationStarted,
)
from oms.errors import InvalidRequest
from oms.history.query import Query, search
from oms.report.requests import Asked
from oms.store.reader import Reader

#: Events after a request that are looked at for its answer.
LOOKED_AFTER_MAX: Final = 2_000
_TYPES: Final = tuple(one.__name__ for one in REQUESTS)


def among_requests(query: Query, last: int | None = None) -> Query:
    """Return a query for the requests that meet another, as known at an event; None: all.

    Raises `InvalidRequest` for a type that is none of a request.
    """
    other = [one for one in query.type if one not in _TYPES]
    if other:
        raise InvalidRequest(f"{other[0]} is no request", hint=f"one of: {', '.join(_TYPES)}")
    before = query.before
    if last is not None:
        before = min(before or last + 1, last + 1)
    return query.evolve(type=query.type or _TYPES, before=before)


async def requests(reader: Reader, query: Query, last: int | None = None) -> list[Asked]:
    """Return the requests that meet a query with their answers, the oldest first or as `sort` says;
    with `last` as they were known at that event.
    """
    narrowed = among_requests(query, last)
    found = [one async for one in search(reader, narrowed)]
    if query.sort is None:
        found.sort(key=lambda one: one.sequence)
    return [Asked(one, await _answers(reader, one, last)) for one in found]


async def _answers(reader: Reader, asked: Envelope, last: int | None) -> tuple[Envelope, ...]:
    event, sequence = asked.event, asked.sequence
    order_id, joined_by = getattr(event, "order_id", ""), asked.context.correlation_id
    if order_id:
        near = await reader.events(sequence, order_id=order_id, limit=LOOKED_AFTER_MAX)
    elif isinstance(event, ReconciliationRequested):
        of_run = await _of_run(reader, asked)
        return tuple(one for one in of_run if last is None or one.sequence <= last)
    elif joined_by and not isinstance(event, GlobalCancelRequested):
        joined = await reader.sequences_correlated(joined_by)
        later = islice((one for one in joined if one > sequence), LOOKED_AFTER_MAX)
        near = await reader.envelopes(list(later))
    else:
        near = await reader.events(sequence, limit=LOOKED_AFTER_MAX)
    return tuple(
        one
        for one in near
        if one.context.causation_sequence == sequence and (last is None or one.sequence <= last)
    )


async def _of_run(reader: Reader, asked: Envelope) -> list[Envelope]:
    """Return the start and the end of the run that a request led to."""
    kind = ReconciliationStarted.__name__
    for started in await reader.events(asked.sequence, type=kind, limit=LOOKED_AFTER_MAX):
        if started.context.causation_sequence == asked.sequence:
            kind = ReconciliationCompleted.__name__
            ended = await reader.events(started.sequence, type=kind, limit=LOOKED_AFTER_MAX)
            run_id = getattr(started.event, "run_id", "")
            return [started, *(one for one in ended if getattr(one.event, "run_id", "") == run_id)]
    return []
