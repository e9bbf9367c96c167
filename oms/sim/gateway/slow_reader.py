"""What a socket brings, passed on at once or at so many bytes a second."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from oms.sim.clock import Clock

SLICE_SECONDS: Final = 0.05
#: More than so many bytes are read in several turns, so that nobody waits for a client that writes
#: a thousand orders at a time.
TURN_BYTES: Final = 4_096


class SlowReader:
    """Reads a client as fast as it is told to.

    While something waits here nothing more is read from the socket: what a client writes fills its
    own buffers, as with a gateway that is busy.
    """

    def __init__(self, clock: Clock, read: Callable[[bytes], None]) -> None:
        self._clock = clock
        self._read = read
        #: The socket; None before it is open and once it is lost.
        self.transport: asyncio.Transport | None = None
        self._stopped = False
        self._waiting = bytearray()
        self._slice_bytes = 0
        self._timer_set = False

    def take(self, chunk: bytes) -> None:
        """Take in what the socket brought."""
        if self._stopped:
            return
        if self._slice_bytes or self._waiting or len(chunk) > TURN_BYTES:
            self._waiting += chunk
            self._slice_later()
        else:
            self._read(chunk)

    def slow_down(self, bytes_per_second: int) -> None:
        """Read no more than so many bytes a second from now on; 0: any number."""
        self._slice_bytes = (
            max(1, round(bytes_per_second * SLICE_SECONDS)) if bytes_per_second else 0
        )
        if self._waiting:
            self._slice_later()

    def stop(self) -> None:
        """Read nothing more."""
        self._stopped = True
        if self.transport is not None:
            self.transport.pause_reading()

    def _slice_later(self) -> None:
        if self.transport is not None:
            self.transport.pause_reading()
        if not self._timer_set:
            self._timer_set = True
            if self._slice_bytes:
                self._clock.call_later(SLICE_SECONDS, self._slice)
            else:
                asyncio.get_running_loop().call_soon(self._slice)

    def _slice(self) -> None:
        self._timer_set = False
        if self.transport is None or self._stopped:
            return
        size = self._slice_bytes or TURN_BYTES
        chunk = bytes(self._waiting[:size])
        del self._waiting[:size]
        self._read(chunk)
        if self._waiting:
            self._slice_later()
        elif self.transport is not None:
            self.transport.resume_reading()
