"""Requests that leave in order, each at its turn, while there is a session."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from typing import Final, TypeVar

from oms.broker.pace import Pace

_T = TypeVar("_T")
_NO_SESSION: Final = "there is no session with the gateway"


class PacedRequests:
    """A lane of requests that nobody keeps beyond the session."""

    def __init__(self, pace: Pace, *, percent: int) -> None:
        """`percent` is what of the pace they may use while others need none of it."""
        self._pace = pace
        self._waiting: deque[Callable[[], None]] = deque()
        #: Of those that wait, what tells the ones who await them that there will be no turn.
        self._drops: dict[Callable[[], None], Callable[[Exception], None]] = {}
        self._is_open = False
        pace.add(self, percent=percent)

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def is_held(self) -> bool:
        """Return False: a question changes nothing, whoever owns the log."""
        return False

    def open(self) -> None:
        """Begin to send."""
        self._is_open = True

    def close(self) -> None:
        """Drop what waits, and what is given before the next `open`: there is no session to ask."""
        self._is_open = False
        self.clear()

    def clear(self) -> None:
        """Drop what waits; who awaits it gets `ConnectionError`."""
        self._waiting.clear()
        for drop in self._drops.values():
            drop(ConnectionError(_NO_SESSION))
        self._drops.clear()

    def enqueue(self, request: Callable[[], None]) -> None:
        """Send now or at its turn."""
        if self._is_open:
            self._waiting.append(request)
            self._pace.serve()

    async def ask(self, request: Callable[[], _T]) -> _T:
        """Send now or at its turn, and return what sending gave.

        Raises `ConnectionError` where the session ends first. What is given up before its turn does
        not leave.
        """
        if not self._is_open:
            raise ConnectionError(_NO_SESSION)
        turn: asyncio.Future[_T] = asyncio.get_running_loop().create_future()

        def drop(error: Exception) -> None:
            if not turn.done():
                turn.set_exception(error)

        def send() -> None:
            del self._drops[send]
            if turn.done():
                return  # given up this moment
            try:
                turn.set_result(request())
            except Exception as error:  # noqa: BLE001 - who asked gets it
                turn.set_exception(error)

        self._drops[send] = drop
        self._waiting.append(send)
        self._pace.serve()
        try:
            return await turn
        finally:
            if self._drops.pop(send, None) is not None:
                self._waiting.remove(send)

    def send_next(self) -> None:
        """Send the one that has waited longest."""
        # Without a line it has nobody to go to, and the session says so itself.
        with contextlib.suppress(ConnectionError):
            self._waiting.popleft()()
