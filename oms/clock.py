"""The only reader of time.

Everything that needs the time takes a `Clock`; nothing else in the package calls `datetime.now` or
`time.monotonic` (a test says so), which is what makes a run repeatable.
"""

from __future__ import annotations

import sys
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
        """Return the wall time, aware, in UTC."""
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
