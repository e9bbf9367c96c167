"""The gateway's clock: the probe of the line, and the measure of how far ours is from it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import ib_async

from oms.broker.paced_requests import PacedRequests
from oms.clock import Clock
from oms.core.events import ServerTimeRead

#: What the gateway tells its time in.
_SECOND: Final = timedelta(seconds=1)
_MILLISECOND: Final = timedelta(milliseconds=1)
#: Answers of one measurement: each halves what the ones before it have left open.
ANSWERS_MAX: Final = 7

#: Deadlines that an answer has at most.
_DEADLINES_MAX: Final = 12


@dataclass(frozen=True, slots=True)
class _Reading:
    """What an answer says: the gateway's clock less ours lies between the two."""

    low: timedelta
    high: timedelta
    server_time: datetime
    took: timedelta
    answers: int = 1

    @property
    def middle(self) -> timedelta:
        return (self.low + self.high) / 2

    def narrowed(self, other: _Reading) -> _Reading:
        """Return what both say; where they cannot both be right, a clock was set: the newer one."""
        low, high = max(self.low, other.low), min(self.high, other.high)
        if low > high:
            return other
        took, answers = max(self.took, other.took), self.answers + 1
        return _Reading(low, high, other.server_time, took, answers)

    def fact(self) -> ServerTimeRead:
        return ServerTimeRead(
            server_time=self.server_time,
            offset_ms=round(self.middle / _MILLISECOND),
            round_trip_ms=round(self.took / _MILLISECOND),
            # Rounded up, and half a millisecond for the rounding of the offset.
            error_ms=-(-(self.high - self.low) // (2 * _MILLISECOND)) + 1,
            answers=self.answers,
        )


class ServerClock:
    """Asks for the time, one question at a time: ib_async keeps one place for its answer, and a
    second question would leave the first without one.
    """

    def __init__(
        self,
        ib: ib_async.IB,
        clock: Clock,
        requests: PacedRequests,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._ib: Any = ib
        self._sleep = sleep
        self._requests = requests
        self._clock = clock
        self._turn = asyncio.Lock()

    async def ask(
        self, seconds_max: float, *, more_time: Callable[[], bool] = lambda: False
    ) -> ServerTimeRead:
        """Return what the gateway's clock says; raises `TimeoutError` or `ConnectionError`.

        When the seconds are over, `more_time` is asked whether there may be as many again, a few
        times.
        """
        return (await self._read(seconds_max, more_time)).fact()

    async def measure(self, seconds_max: float) -> ServerTimeRead:
        """Return how far the gateway's clock is from ours, by several answers over some seconds;
        raises `TimeoutError` or `ConnectionError`.
        """
        found = await self._read(seconds_max)
        # Counted here: an answer that contradicts the ones before it begins the count again.
        for _ in range(ANSWERS_MAX - 1):
            if found.high - found.low <= 2 * found.took:
                break
            await self._sleep(self._until_a_second_ends(found).total_seconds())
            found = found.narrowed(await self._read(seconds_max))
        return found.fact()

    def _until_a_second_ends(self, found: _Reading) -> timedelta:
        """Return how long to wait for the question whose answer decides between the two halves of
        what is still possible: it must be there when a second of the gateway's clock ends.
        """
        there = self._clock.wall() + found.middle + found.took / 2
        return _SECOND - timedelta(microseconds=there.microsecond)

    async def _read(
        self, seconds_max: float, more_time: Callable[[], bool] = lambda: False
    ) -> _Reading:
        async with self._turn:
            # IB's silence begins when the question has left.
            answer = await self._requests.ask(self._ib.reqCurrentTimeAsync)
            asked_at = self._clock.wall()
            waiting = asyncio.ensure_future(answer)
            try:
                for _ in range(_DEADLINES_MAX):
                    await asyncio.wait({waiting}, timeout=seconds_max)
                    if waiting.done() or not more_time():
                        break
                if not waiting.done():
                    raise TimeoutError
                told = waiting.result()
            finally:
                waiting.cancel()
            answered_at = self._clock.wall()
        server_time = told.astimezone(UTC)
        return _Reading(
            low=server_time - answered_at,
            high=server_time + _SECOND - asked_at,
            server_time=server_time,
            took=answered_at - asked_at,
        )
