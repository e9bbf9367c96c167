"""The clock of everything inside a gateway: what falls due is followed by a flush.

Where time runs by itself, what falls due at once is done a few milliseconds at a time, and between
two turns clients are heard and hear: a thousand fills of one second must not keep them waiting.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from datetime import datetime
from typing import Final

from oms.sim.clock import Clock, SteppedClock, Timer

log = logging.getLogger("oms.sim.gateway.gateway_clock")

#: How long one turn may take, unless its first action takes longer.
TURN_SECONDS: Final = 0.005


class _Due(Timer):
    """An action that is to come, by the clock below or in a turn."""

    def __init__(self, action: Callable[[], None]) -> None:
        self.action: Callable[[], None] | None = action

    def cancel(self) -> None:
        self.action = None


class GatewayClock(Clock):
    """Another clock's time; `flush` is called after each action that fell due."""

    def __init__(self, clock: Clock, flush: Callable[[], None]) -> None:
        self._clock = clock
        self._flush = flush
        self._stopped = False
        self._due: deque[_Due] = deque()

    def now(self) -> datetime:
        return self._clock.now()

    def call_later(self, seconds: float, action: Callable[[], None]) -> Timer:
        due = _Due(action)
        if isinstance(self._clock, SteppedClock):
            # Who moves it sees everything done that fell due.
            self._clock.call_later(seconds, lambda: self._run(due))
        else:
            self._clock.call_later(seconds, lambda: self._fell_due(due))
        return due

    def stop(self) -> None:
        """Let nothing fall due any more."""
        self._stopped = True

    def _fell_due(self, due: _Due) -> None:
        self._due.append(due)
        if len(self._due) == 1:
            asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        """Do what fell due, as far as the time goes; the sockets have theirs before the next."""
        loop = asyncio.get_running_loop()
        until = loop.time() + TURN_SECONDS
        while self._due:
            self._run(self._due[0])
            self._due.popleft()
            if loop.time() >= until:
                break
        if self._due:
            loop.call_soon(self._turn)

    def _run(self, due: _Due) -> None:
        if self._stopped or due.action is None:
            return
        try:
            due.action()
        except Exception:
            # Without this the mistake would be lost, or be raised to whoever moved the clock.
            log.exception("a timer failed")
        self._flush()
