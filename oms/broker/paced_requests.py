"""Requests that leave in order and at a pace, while there is a session."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

from oms.clock import Clock

_WINDOW_SECONDS: Final = 1.0
#: A timer may ring a hair early; the least delay keeps that from becoming a busy loop.
_LEAST_DELAY_SECONDS: Final = 0.001


class PacedRequests:
    """Sends what it is given, never more than so many requests in any second."""

    def __init__(self, clock: Clock, *, per_second_max: int) -> None:
        self._clock = clock
        self._per_second_max = per_second_max
        self._waiting: deque[Callable[[], None]] = deque()
        self._sent_at: deque[float] = deque()
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
        now = self._clock.monotonic()
        while self._sent_at and self._sent_at[0] + _WINDOW_SECONDS <= now:
            self._sent_at.popleft()
        if not self._is_open or len(self._sent_at) >= self._per_second_max:
            return False
        self._sent_at.append(now)
        return True

    def wake(self) -> None:
        """Send what the pace allows by now; called by a timer that the pace has set."""
        self._wake_is_set = False
        self._pump()

    def _pump(self) -> None:
        while self._waiting and self.takes_place():
            self._waiting.popleft()()
        if self._waiting and self._is_open and not self._wake_is_set:
            self._wake_is_set = True
            wait = self._sent_at[0] + _WINDOW_SECONDS - self._clock.monotonic()
            asyncio.get_running_loop().call_later(max(_LEAST_DELAY_SECONDS, wait), self.wake)
