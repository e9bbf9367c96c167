"""The only reader of time.

Everything that needs the time takes a `Clock`; nothing else in the package calls `datetime.now` or
`time.monotonic` (a test says so), which is what makes a run repeatable.
"""

from __future__ import annotations

import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

#: The clock that goes on while the machine sleeps, which Linux calls CLOCK_BOOTTIME: a laptop that
#: sleeps past its lease has lost it. `time.monotonic` stops there in a sleep, and on macOS as well,
#: where CLOCK_MONOTONIC does not; on Windows it goes on.
_SLEEPLESS: Final[int | None] = getattr(
    time, "CLOCK_MONOTONIC" if sys.platform == "darwin" else "CLOCK_BOOTTIME", None
)


class Clock(Protocol):
    """What time it is, for records and for durations."""

    def now(self) -> datetime:
        """Return the time for records, aware, in UTC."""
        ...

    def wall(self) -> datetime:
        """Return what the machine's wall clock shows, aware, in UTC."""
        ...

    def monotonic(self) -> float:
        """Return seconds that never go back and count while the machine sleeps; only differences
        mean anything.
        """
        ...


class SystemClock:
    """The machine's clocks."""

    def now(self) -> datetime:
        """Return the wall time, aware, in UTC."""
        return datetime.now(UTC)

    def wall(self) -> datetime:
        """Return the same."""
        return self.now()

    def monotonic(self) -> float:
        """Return the machine's monotonic seconds, those of its sleep included."""
        return time.monotonic() if _SLEEPLESS is None else time.clock_gettime(_SLEEPLESS)


class ManualClock:
    """A clock that moves only when a test moves it."""

    def __init__(self, start: datetime) -> None:
        self._now = start
        self._monotonic = 0.0

    def now(self) -> datetime:
        """Return the time it was last set to."""
        return self._now

    def wall(self) -> datetime:
        """Return the same."""
        return self._now

    def monotonic(self) -> float:
        """Return the seconds moved so far."""
        return self._monotonic

    def advance(self, seconds: float) -> None:
        """Move both clocks forward."""
        assert seconds >= 0
        self._now += timedelta(seconds=seconds)
        self._monotonic += seconds

    def step(self, seconds: float) -> None:
        """Set the wall clock forward or back, as a person or NTP does; no time passes."""
        self._now += timedelta(seconds=seconds)


class Steps:
    """Finds where the wall clock was set, by the clock that nobody sets."""

    #: What one clock may be fast against the other.
    DRIFT: Final = 0.001

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._wall, self._at = self._both()

    def step(self, least: timedelta) -> timedelta:
        """Return how far it was set since the last look, 0 for less than so much."""
        before, at_before = self._wall, self._at
        self._wall, self._at = self._both()
        passed = self._at - at_before
        step = self._wall - before - timedelta(seconds=passed)
        return step if abs(step) > least + timedelta(seconds=passed * self.DRIFT) else timedelta()

    def _both(self) -> tuple[datetime, float]:
        while True:
            at, wall = self._clock.monotonic(), self._clock.wall()
            # The program may have been stopped between the two.
            if self._clock.monotonic() - at < 0.1:
                return wall, at


class SteadyClock:
    """The time of one log: it never goes back, and a wall clock that is set moves it slowly.

    Waits and limits are differences of times in the log, so they must not jump with a clock that a
    person or NTP sets: in a process they count monotonic seconds, within a tenth, and across
    processes the log goes on from its last time. It follows the wall clock where that is near, and
    else comes nearer by six minutes an hour. Safe in any thread.
    """

    #: A wall clock that is no farther away is followed at once: NTP and rounding, and no step.
    FOLLOWED: Final = timedelta(seconds=1)

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._now, self._at = clock.wall(), clock.monotonic()

    def now(self) -> datetime:
        """Return the time of the log."""
        with self._lock:
            at, wall = self._clock.monotonic(), self._clock.wall()
            elapsed = timedelta(seconds=at - self._at)
            self._at = at
            steady = self._now + elapsed
            slowly = elapsed / 10
            is_near = abs(wall - steady) <= self.FOLLOWED
            near = wall if is_near else min(max(wall, steady - slowly), steady + slowly)
            self._now = max(self._now, near)
            return self._now

    def go_on_from(self, moment: datetime) -> None:
        """Go on from a time of the log where it is later."""
        with self._lock:
            self._now = max(self._now, moment)

    def wall(self) -> datetime:
        """Return what the machine's wall clock shows."""
        return self._clock.wall()

    def monotonic(self) -> float:
        """Return the machine's monotonic seconds."""
        return self._clock.monotonic()
