"""The gateway's clock: the probe of the line, and the measure of how far ours is from it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, timedelta
from typing import Any, Final

import ib_async

from oms.broker.paced_requests import PacedRequests
from oms.clock import Clock
from oms.core.events import ServerTimeRead

#: The gateway tells whole seconds: on average its clock is half a second further.
_HALF_A_SECOND: Final = timedelta(milliseconds=500)

#: Deadlines that an answer has at most.
_DEADLINES_MAX: Final = 12


class ServerClock:
    """Asks for the time, one question at a time: ib_async keeps one place for its answer, and a
    second question would leave the first without one.
    """

    def __init__(self, ib: ib_async.IB, clock: Clock, requests: PacedRequests) -> None:
        self._ib: Any = ib
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
        async with self._turn:
            # IB's silence begins when the question has left.
            answer = await self._requests.ask(self._ib.reqCurrentTimeAsync)
            asked_at = self._clock.now()
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
            answered_at = self._clock.now()
        server_time = told.astimezone(UTC)
        took = answered_at - asked_at
        offset = server_time + _HALF_A_SECOND - (asked_at + took / 2)
        return ServerTimeRead(
            server_time=server_time,
            offset_ms=round(offset / timedelta(milliseconds=1)),
            round_trip_ms=round(took / timedelta(milliseconds=1)),
        )
