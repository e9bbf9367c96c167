"""The gateway's clock against ours, at any moment of the log."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from oms.core.events import Envelope, ServerTimeRead
from oms.core.fold.records import Fill
from oms.core.words import counted
from oms.history.query import Query, search
from oms.report.clock import UNMEASURED, ClockBound
from oms.store.reader import Reader

_READS: Final = (ServerTimeRead.__name__,)


@dataclass(frozen=True, slots=True)
class Readings:
    """The readings of the gateway's clock around some events, in their order."""

    _reads: Sequence[Envelope]

    def at(self, sequence: int, moment: datetime) -> ClockBound | None:
        """Return what the readings next to an event say of a moment; None where none was made
        before it or just after.
        """
        place = bisect_right(self._reads, sequence, key=lambda one: one.sequence)
        return ClockBound.at(moment, self._reads[max(0, place - 1) : place + 1])

    def of_fill(self, fill: Fill) -> ClockBound | None:
        """Return what they say of the moment in which a fill was booked."""
        booked_at = fill.booked_at
        return None if booked_at is None else self.at(fill.booked_sequence, booked_at)

    def worst(self, fills: Iterable[Fill]) -> str:
        """Return in words the most that IB's times of some fills can be from ours."""
        bounds = [self.of_fill(one) for one in fills]
        known = [one for one in bounds if one is not None]
        if not known:
            return UNMEASURED if bounds else ""
        apart = max(abs(one.offset_ms) + one.error_ms for one in known)
        unknown = len(bounds) - len(known)
        rest = f"; of {counted(unknown, 'fill')} it is not known" if unknown else ""
        return f"the gateway's clock was at most {apart} ms from ours{rest}"


async def readings(reader: Reader, first: int, last: int, *, until: int | None = None) -> Readings:
    """Return the readings between two events, with the one before and the one after; none that was
    made after the event `until`.
    """
    before = Query(type=_READS, before=first, reverse=True, limit=1)
    end = None if until is None else until + 1
    inside = last + 1 if end is None else min(last + 1, end)
    between = Query(type=_READS, after=first - 1, before=inside)
    after = Query(type=_READS, after=last, before=end, limit=1)
    found = [one for query in (before, between, after) async for one in search(reader, query)]
    return Readings(found)


async def around_fills(reader: Reader, fills: Sequence[Fill]) -> Readings:
    """Return the readings around the events that booked some fills."""
    booked = [one.booked_sequence for one in fills]
    return await readings(reader, min(booked), max(booked)) if booked else Readings(())


async def clock_at(reader: Reader, own: Envelope) -> ClockBound | None:
    """Return how far the gateway's clock was from ours when an event was recorded."""
    around = await readings(reader, own.sequence, own.sequence)
    return around.at(own.sequence, own.recorded_at)
