"""The gateway's time: real, accelerated, or stepped by a test. The only reader of a clock here."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Protocol, assert_never
from zoneinfo import ZoneInfo

from oms.sim.settings import TimeForm


class Timer(Protocol):
    """A call that is still to come."""

    def cancel(self) -> None:
        """Let it not come; nothing happens when it has come already."""


class Clock(Protocol):
    """What the gateway and the broker go by."""

    def now(self) -> datetime:
        """Return the time: aware, UTC."""
        ...

    def call_later(self, seconds: float, action: Callable[[], None]) -> Timer:
        """Run `action` when that many seconds of this clock have passed."""
        ...


class RealClock(Clock):
    """Wall time, or a multiple of it: `speed` 60 makes an hour pass in a minute."""

    def __init__(self, speed: float = 1.0, start: datetime | None = None) -> None:
        self._speed = speed
        self._begun = datetime.now(UTC)
        self._start = start or self._begun

    def now(self) -> datetime:
        return self._start + (datetime.now(UTC) - self._begun) * self._speed

    def call_later(self, seconds: float, action: Callable[[], None]) -> Timer:
        loop = asyncio.get_running_loop()
        return loop.call_later(seconds / self._speed, action)


class _StepTimer(Timer):
    def __init__(self, action: Callable[[], None]) -> None:
        self.action: Callable[[], None] | None = action

    def cancel(self) -> None:
        self.action = None


class SteppedClock(Clock):
    """Time that moves only when told. `advance` runs what falls due, in order, at its own time."""

    def __init__(self, start: datetime) -> None:
        self._now = start
        self._queue: list[tuple[datetime, int, _StepTimer]] = []
        self._order = itertools.count()

    def now(self) -> datetime:
        return self._now

    def call_later(self, seconds: float, action: Callable[[], None]) -> Timer:
        timer = _StepTimer(action)
        due = self._now + timedelta(seconds=seconds)
        heapq.heappush(self._queue, (due, next(self._order), timer))
        return timer

    def advance(self, seconds: float) -> None:
        """Move on, and run what falls due on the way."""
        end = self._now + timedelta(seconds=seconds)
        while self._queue and self._queue[0][0] <= end:
            due, _, timer = heapq.heappop(self._queue)
            self._now = due
            if timer.action is not None:
                timer.action()
        self._now = end


def call_at(clock: Clock, moment: datetime, action: Callable[[], None]) -> Timer:
    """Run `action` at a moment, or at once when it has passed."""
    seconds = (moment - clock.now()).total_seconds()
    # A thousandth late: at the moment itself, rounded to float, it might still be before.
    return clock.call_later(max(seconds, 0.0) + 0.001, action)


def midnight_before(moment: datetime, zone: ZoneInfo) -> datetime:
    """Return the start of the local day that `moment` falls in, as UTC."""
    local = moment.astimezone(zone)
    return local.replace(hour=0, minute=0, second=0, microsecond=0).astimezone(UTC)


def order_time(text: str, zone: ZoneInfo) -> datetime | None:
    """Return the time in goodTillDate, goodAfterTime or a time condition; None when it is none.

    `yyyymmdd hh:mm:ss [zone]`, `yyyymmdd-hh:mm:ss` in UTC, or `yyyymmdd` for the end of the day.
    """
    text = text.strip()
    if not text:
        return None
    try:
        if len(text) == 8:
            day = datetime.strptime(text, "%Y%m%d")  # noqa: DTZ007
            return day.replace(hour=23, minute=59, second=59, tzinfo=zone).astimezone(UTC)
        moment = datetime.strptime(text[:8] + text[9:17], "%Y%m%d%H:%M:%S")  # noqa: DTZ007
        if text[8] == "-":
            return moment.replace(tzinfo=UTC)
        name = text[17:].strip()
        return moment.replace(tzinfo=ZoneInfo(name) if name else zone).astimezone(UTC)
    except (ValueError, KeyError, IndexError):
        return None


def handshake_time(moment: datetime, zone: ZoneInfo) -> str:
    """Return a time as the handshake has it: `20260101 10:00:00 EST`."""
    return moment.astimezone(zone).strftime("%Y%m%d %H:%M:%S %Z")


def message_time(moment: datetime, zone: ZoneInfo, form: TimeForm, version: int) -> str:
    """Return a time as an execution or a completed order has it.

    `form` is the gateway's setting: `zone` (20260101 10:00:00 America/New_York), `utc`
    (20260101-15:00:00, UTC without saying so) or `bare` (20260101  10:00:00, two blanks, no zone).
    Below version 174 every gateway sends the bare form.
    """
    match form if version >= 174 else "bare":
        case "bare":
            return moment.astimezone(zone).strftime("%Y%m%d  %H:%M:%S")
        case "utc":
            return moment.astimezone(UTC).strftime("%Y%m%d-%H:%M:%S")
        case "zone":
            return f"{moment.astimezone(zone).strftime('%Y%m%d %H:%M:%S')} {zone.key}"
        case other:
            assert_never(other)
