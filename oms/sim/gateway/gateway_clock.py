"""The clock of everything inside a gateway: what falls due is followed by a flush."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime

from oms.sim.clock import Clock, Timer

log = logging.getLogger("oms.sim.gateway.gateway_clock")


class GatewayClock(Clock):
    """Another clock's time; `flush` is called after each action that fell due."""

    def __init__(self, clock: Clock, flush: Callable[[], None]) -> None:
        self._clock = clock
        self._flush = flush
        self._stopped = False

    def now(self) -> datetime:
        return self._clock.now()

    def call_later(self, seconds: float, action: Callable[[], None]) -> Timer:
        return self._clock.call_later(seconds, lambda: self._run(action))

    def stop(self) -> None:
        """Let nothing fall due any more."""
        self._stopped = True

    def _run(self, action: Callable[[], None]) -> None:
        if self._stopped:
            return
        try:
            action()
        except Exception:
            # Without this the mistake would be lost, or be raised to whoever moved the clock.
            log.exception("a timer failed")
        self._flush()
