"""What is wrong with the times that IB writes: one that cannot be read, one of another zone."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from oms.core.events import Envelope
from oms.core.fold.books import Books, set_system
from oms.core.fold.records import SystemRecord

#: What names a moment so far ahead of its arrival is read in a wrong zone.
_AHEAD: Final = timedelta(minutes=10)
#: Zones lie apart by multiples of this; what was late for another reason is late by any time.
_ZONE_STEP: Final = timedelta(minutes=30)
_QUARTER: Final = timedelta(minutes=15)
_EXACTLY: Final = timedelta(seconds=90)


def note_time(books: Books, envelope: Envelope, text: str, *, pushed: bool) -> None:
    """Remember a time that cannot be read and, of what was pushed the moment it happened, one that
    lies hours from that moment: the watchman says so.
    """
    occurred_at, now = envelope.context.occurred_at, envelope.recorded_at
    if occurred_at is None:
        set_system(books, unread_time=text, unread_time_at=now)
        return
    offset = occurred_at - now
    if not pushed or -_AHEAD < offset < _AHEAD:
        return
    if -_AHEAD < offset - _apart(books.system, now) < _AHEAD:
        return
    closed_at = books.system.gap_closed_at
    was_away = books.system.gap_sequence or (closed_at is not None and occurred_at <= closed_at)
    if offset > _AHEAD or (not was_away and _is_of_a_zone(-offset)):
        set_system(
            books,
            strange_time=text,
            strange_time_offset_minutes=round(offset / _QUARTER) * 15,
            strange_time_at=now,
        )


def _apart(system: SystemRecord, now: datetime) -> timedelta:
    """Return how far the machine's clock is ahead of the time of the log, which comes nearer to it
    by a tenth of the time that passes.
    """
    if system.clock_apart_at is None:
        return timedelta()
    apart = timedelta(milliseconds=system.clock_apart_ms)
    left = max(abs(apart) - (now - system.clock_apart_at) / 10, timedelta())
    return left if apart > timedelta() else -left


def _is_of_a_zone(late: timedelta) -> bool:
    beside = late % _ZONE_STEP
    return late > _ZONE_STEP - _EXACTLY and min(beside, _ZONE_STEP - beside) <= _EXACTLY
