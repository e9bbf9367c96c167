"""The gateway's clock: the probe of the line, and the measure of how far ours is from it."""

from __future__ import annotations

import asyncio
from datetime import UTC, timedelta
from typing import Any, Final

import ib_async

from oms.broker.paced_requests import PacedRequests
from oms.clock import Clock
from oms.core.events import ServerTimeRead

#: The gateway tells whole seconds: on average its clock is half a second further.
_HALF_A_SECOND: Final = timedelta(milliseconds=500)


class ServerClock:
    """Asks for the time, one question at a time: ib_async keeps one place for its answer, and a
    second question would leave the first without one.
    """

    def __init__(self, ib: ib_async.IB, clock: Clock, requests: PacedRequests) -> None:
        self._ib: Any = ib
        self._requests = requests
        self._clock = clock
        self._turn = asyncio.Lock()

    async def ask(self, seconds_max: float) -> ServerTimeRead:
        """Return what the gateway's clock says; raises `TimeoutError` or `ConnectionError`."""
        async with self._turn:
            # IB's silence begins when the question has left.
            answer = await self._requests.ask(self._ib.reqCurrentTimeAsync)
            asked_at = self._clock.now()
            async with asyncio.timeout(seconds_max):
                told = await answer
            answered_at = self._clock.now()
        server_time = told.astimezone(UTC)
        took = answered_at - asked_at
        offset = server_time + _HALF_A_SECOND - (asked_at + took / 2)
        return ServerTimeRead(
            server_time=server_time,
            offset_ms=round(offset / timedelta(milliseconds=1)),
            round_trip_ms=round(took / timedelta(milliseconds=1)),
        )
