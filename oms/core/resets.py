"""When IB's servers are reset: outages that everybody knows beforehand.

IB publishes the hours per region ("System Status" on its web site, as read in 2026-11); during
them a login is lost for seconds or minutes, and reports of executions are late. An outage inside is
expected and no alarm; one that goes on after the end is an outage like any other (INC-05). The
hours move from time to time, hence they can be set.

A window's text is `DAYS HH:MM-HH:MM ZONE`, such as `Sun-Fri 00:15-01:45 America/New_York`: the days
are those on which it begins, and one whose end is not after its beginning ends on the next day.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from types import MappingProxyType
from typing import Final, Literal
from zoneinfo import ZoneInfo

Region = Literal["north_america", "europe", "asia_pacific", "none"]

_WEEK: Final = timedelta(days=7)
#: So near to each other the log's time follows the clock at once.
_TOGETHER: Final = timedelta(seconds=1)
_DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_TEXT: Final = re.compile(
    r"(?P<first>[A-Z][a-z]{2})(?:-(?P<last>[A-Z][a-z]{2}))? +"
    r"(?P<start>\d{2}:\d{2})-(?P<end>\d{2}:\d{2}) +(?P<zone>\S+)"
)
_EVERYWHERE: Final = "Fri 23:00-03:00 America/New_York"
#: The windows of each region, in IB's own hours. Several may overlap.
REGIONS: Final[Mapping[Region, tuple[str, ...]]] = MappingProxyType(
    {
        "north_america": ("Sun-Fri 00:15-01:45 America/New_York", _EVERYWHERE),
        "europe": ("Sun-Fri 06:25-07:45 Europe/Zurich", _EVERYWHERE),
        "asia_pacific": (
            "Sun-Fri 04:45-06:05 Asia/Hong_Kong",
            "Sun-Fri 20:15-21:15 Asia/Hong_Kong",
            _EVERYWHERE,
        ),
        "none": (),
    }
)


@dataclass(frozen=True, slots=True)
class Window:
    """Hours of the week in which the servers of IB may be away."""

    #: On which days it begins, Monday is 0.
    days: frozenset[int]
    start: time
    end: time
    zone: ZoneInfo

    def spans(self, around: date) -> Iterator[tuple[datetime, datetime]]:
        """Yield beginning and end, in UTC, of those that begin from the day before to the day
        after.
        """
        for offset in (-1, 0, 1):
            day = around + timedelta(days=offset)
            if day.weekday() not in self.days:
                continue
            last = day if self.end > self.start else day + timedelta(days=1)
            # Of an hour that a change of the clocks repeats or leaves out, both meanings count.
            yield (
                min(meanings(datetime.combine(day, self.start, self.zone))),
                max(meanings(datetime.combine(last, self.end, self.zone))),
            )


def meanings(local: datetime) -> tuple[datetime, datetime]:
    """Return the two moments, in UTC, that a local time can mean: one and the same but in an hour
    that a change of the clocks repeats or leaves out.
    """
    return local.replace(fold=0).astimezone(UTC), local.replace(fold=1).astimezone(UTC)


def on_the_wall(moment: datetime, now: datetime, apart: timedelta) -> datetime:
    """Return when, by the clock on the wall, a past time of the log was: IB's days and resets go by
    that. `apart` is how far the clock is ahead of the log's time `now`.
    """
    elapsed = now - moment
    if abs(apart) > _TOGETHER:
        # The log's time goes a tenth faster or slower then, to come nearer (decision 0100).
        elapsed = elapsed * 10 / (11 if apart > timedelta() else 9)
    return now + apart - elapsed


def parse_window(text: str) -> Window:
    """Return the window that a text describes; raises ValueError saying what is wrong with it."""
    found = _TEXT.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"{text!r} is not like 'Sun-Fri 00:15-01:45 America/New_York'")
    first, last = found["first"], found["last"] or found["first"]
    for name in (first, last):
        if name not in _DAYS:
            raise ValueError(f"{text!r}: {name!r} is none of {', '.join(_DAYS)}")
    begin, length = _DAYS.index(first), (_DAYS.index(last) - _DAYS.index(first)) % 7 + 1
    try:
        start, end = (time.fromisoformat(found[name]) for name in ("start", "end"))
        zone = ZoneInfo(found["zone"])
    except (ValueError, KeyError, OSError) as error:
        raise ValueError(f"{text!r}: {error}") from error
    days = frozenset((begin + number) % 7 for number in range(length))
    return Window(days, start, end, zone)


def windows_of(region: Region, texts: Iterable[str] = ()) -> tuple[Window, ...]:
    """Return the windows that texts describe, those of the region where there are none."""
    return tuple(parse_window(text) for text in tuple(texts) or REGIONS[region])


def end_of_reset(windows: Sequence[Window], moment: datetime) -> datetime | None:
    """Return when the reset that a moment is in will be over, None outside of one.

    Windows that overlap or touch are one; those that leave no hour of the week free have no end,
    and are over after a week.
    """
    end: datetime | None = None
    while (later := _end_of_one(windows, end or moment)) is not None:
        if later - moment > _WEEK:
            return moment + _WEEK
        end = later
    return end


def start_of_reset(windows: Sequence[Window], moment: datetime) -> datetime | None:
    """Return when the reset that a moment is in began, None outside of one."""
    start: datetime | None = None
    while True:
        spans = _spans(windows, start or moment)
        if start is None:
            earlier = [s for s, e in spans if s <= moment < e]
        else:
            earlier = [s for s, e in spans if s < start <= e]
        if not earlier:
            return start
        start = min(earlier)
        if moment - start > _WEEK:
            return moment - _WEEK


def next_end_of_reset(windows: Sequence[Window], after: datetime) -> datetime | None:
    """Return the end of the first reset that is not over at a moment; None without windows."""
    for days in range(8):  # a window comes at least once a week
        spans = _spans(windows, after + timedelta(days=days))
        starts = [max(s, after) for s, e in spans if e > after]
        if starts:
            return end_of_reset(windows, min(starts))
    return None


def _end_of_one(windows: Sequence[Window], moment: datetime) -> datetime | None:
    ends = [end for start, end in _spans(windows, moment) if start <= moment < end]
    return max(ends, default=None)


def _spans(windows: Sequence[Window], moment: datetime) -> list[tuple[datetime, datetime]]:
    return [s for w in windows for s in w.spans(moment.astimezone(w.zone).date())]
