"""Requests that leave in order and at a pace, while there is a session."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from oms.broker.pace import Pace
from oms.clock import Clock


class PacedRequests:
    """Sends what it is given, never more than so many requests in any second."""

    def __init__(self, clock: Clock, *, per_second_max: int) -> None:
        self._pace = Pace(clock, per_second_max=per_second_max)
        self._waiting: deque[Callable[[], None]] = deque()
        self._wake_is_set = False
        self._is_open = False

    def open(self) -> None:
        """Begin to send."""
        self._is_open = True

    def close(self) -> None:
        """Drop what waits, and what is given before the next `open`: there is no session to ask."""
        self._is_open = False
        self._waiting.clear()

    def clear(self) -> None:
        """Drop what waits."""
        self._waiting.clear()

    def enqueue(self, request: Callable[[], None]) -> None:
        """Send now or at its turn."""
        if self._is_open:
            self._waiting.append(request)
            self._pump()

    def takes_place(self) -> bool:
        """Say whether one more may be sent now, and count it as sent."""
        takes = self._is_open and self._pace.has_room()
        if takes:
            self._pace.note_sent()
        return takes

    def wake(self) -> None:
        """Send what the pace allows by now; called by a timer that the pace has set."""
        self._wake_is_set = False
        self._pump()

    def _pump(self) -> None:
        while self._waiting and self.takes_place():
            self._waiting.popleft()()
        if self._waiting and self._is_open and not self._wake_is_set:
            self._wake_is_set = True
            asyncio.get_running_loop().call_later(self._pace.delay_seconds(), self.wake)
