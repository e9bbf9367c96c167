"""From the bytes of the socket to whole messages, a slice of them at a time.

ib_async waits for ever for a frame that announces two gigabytes, and copies all that it has read
for every message in it. So the frames are cut here, and it is given one at a time. A length that no
gateway sends means that the stream can no longer be read: nothing that follows would be heard.

Each frame comes with the time at which its last byte was read, however long it then waits here.

After each slice the loop has its turn, and no more is taken while the log has much to write: so an
order of ours is not behind a hundred thousand of others. As long as messages wait here, nothing
more is read from the socket, and the gateway keeps what it has.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from datetime import datetime
from typing import Final, Protocol

#: Bytes of the length before every frame.
PREFIX: Final = 4
#: IB's own clients read no frame that is longer (MAX_MSG_LEN of the C++ client: 16 MB less a byte).
FRAME_BYTES_MAX: Final = 0xFF_FFFF
#: How long a slice may take: what an order of ours waits for at most before it has its turn.
SLICE_SECONDS: Final = 0.02
#: Frames between two looks at the clock.
_LOOK_EVERY: Final = 16
#: A flood lets the log have too much to write for some milliseconds again and again; what lasts
#: longer is the log's own doing: its database is held, away or slow.
HOLD_SECONDS: Final = 1.0
#: How long to wait where the log has too much to write.
_WAIT_SECONDS: Final = 0.005


class Socket(Protocol):
    """What frames need of a transport."""

    def pause_reading(self) -> None:
        """Take no more bytes."""

    def resume_reading(self) -> None:
        """Take bytes again."""


class Frames:
    """Cuts what one connection after the other brings into frames."""

    def __init__(
        self,
        *,
        take: Callable[[bytes, datetime], None],
        refuse: Callable[[str], None],
        socket: Callable[[], Socket | None],
        now: Callable[[], datetime],
        monotonic: Callable[[], float],
        must_wait: Callable[[], bool],
    ) -> None:
        """`take` gets each frame, its length in front, and when it came; `refuse` hears once a
        connection why the stream cannot be read any further; `must_wait` says that the log has too
        much to write.
        """
        self._take = take
        self._refuse = refuse
        self._socket = socket
        self._now = now
        self._monotonic = monotonic
        self._must_wait = must_wait
        self._bytes = bytearray()
        self._at = 0
        #: Where each packet ends that holds frames which wait, in `_bytes`, and when it was read.
        self._packets: deque[tuple[int, datetime]] = deque()
        self._refused = False
        self._next: asyncio.Handle | None = None
        #: For how long in all the log has let nothing be taken, `HOLD_SECONDS` or more at a time.
        self.held_seconds = 0.0
        self._held_since: float | None = None
        self._counted_to = 0.0

    @property
    def behind(self) -> bool:
        """Say whether messages that have come wait for their turn."""
        return self._next is not None

    @property
    def waiting_bytes(self) -> int:
        """Return how much has come and waits."""
        return len(self._bytes) - self._at

    def feed(self, received: bytes) -> None:
        """Take the bytes of a packet."""
        if self._refused:
            return
        self._bytes += received
        self._packets.append((len(self._bytes), self._now()))
        if self._next is None:
            self._slice()

    def finish(self) -> None:
        """Take the whole frames that are left of a connection that is gone; forget the rest."""
        if self._next is not None:
            self._next.cancel()
            self._next = None
        while (frame := self._cut()) is not None:
            self._take(frame, self._packets[0][1])
        self._bytes, self._at, self._refused = bytearray(), 0, False
        self._packets.clear()

    def _slice(self) -> None:
        was_behind, self._next = self.behind, None
        ends_at = self._monotonic() + SLICE_SECONDS
        count = 0
        while True:
            if count % _LOOK_EVERY == 0:
                if self._is_held():
                    self._go_on_later(was_behind, _WAIT_SECONDS)
                    return
                if count and self._monotonic() >= ends_at:
                    self._go_on_later(was_behind, 0)
                    return
            frame = self._cut()
            if frame is None:
                break
            self._take(frame, self._packets[0][1])
            count += 1
        if self._at:
            # A new buffer: the old one is as long as the largest packet that ever waited.
            self._bytes, self._at = self._bytes[self._at :], 0
        # What is left is no whole frame: it comes with a later packet.
        self._packets.clear()
        if was_behind and (socket := self._socket()) is not None:
            socket.resume_reading()

    def _is_held(self) -> bool:
        """Say whether nothing may be taken, and count for how long."""
        now, must_wait = self._monotonic(), self._must_wait()
        if self._held_since is not None and now - self._held_since >= HOLD_SECONDS:
            self.held_seconds += now - max(self._held_since, self._counted_to)
            self._counted_to = now
        if not must_wait:
            self._held_since = None
        elif self._held_since is None:
            self._held_since = now
        return must_wait

    def _go_on_later(self, was_behind: bool, seconds: float) -> None:
        if not was_behind and (socket := self._socket()) is not None:
            socket.pause_reading()
        self._next = asyncio.get_running_loop().call_later(seconds, self._slice)

    def _cut(self) -> bytes | None:
        begin = self._at + PREFIX
        if self._refused or len(self._bytes) < begin:
            return None
        length = int.from_bytes(self._bytes[self._at : begin], "big")
        if not 0 < length <= FRAME_BYTES_MAX:
            self._refused = True
            self._refuse(
                f"the gateway announced a message of {length:,} bytes; IB sends 1 to"
                f" {FRAME_BYTES_MAX:,}, so what follows cannot be read"
            )
            return None
        end = begin + length
        if len(self._bytes) < end:
            return None
        frame = bytes(self._bytes[self._at : end])
        self._at = end
        while self._packets[0][0] < end:
            self._packets.popleft()
        return frame
