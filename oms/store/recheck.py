"""The whole of a database, checked again and again while a daemon writes it.

A start checks what does not grow with the log: the guards, the live rows, the last events. The rest
is checked here, in a thread and on connections of its own: pages, indexes and rows, and every
event from the last one that was verified. How far it came is written down as a checkpoint, so a
daemon that starts often still comes to the end; from there it begins anew with the first event,
because what was verified once can be altered later.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from contextlib import closing
from typing import Final

from oms.clock import Clock
from oms.core.codec import Head
from oms.errors import OmsError, StoreUnavailable
from oms.store import audit
from oms.store.backend import Connection, connect, parse_url
from oms.store.chain import Chain
from oms.store.layout import check_layout
from oms.store.soundness import check_indexes, check_rows
from oms.store.tables import VERIFIED_CHECKPOINT

#: Of the time of one processor: capture must not be slower for it.
_SHARE: Final = 0.1
#: Events after which the way so far is written down.
_REMEMBERED_EVENTS: Final = 100_000


class Recheck:
    """The check of one database. `run` belongs to one thread at a time, `stop` to any."""

    def __init__(self, url: str, clock: Clock) -> None:
        self._url = url
        self._clock = clock
        self._stopping = threading.Event()
        self._checking: Connection | None = None
        self._reached_end = False

    def run(self) -> None:
        """Check guards, indexes and rows, and the events after the last one that was verified;
        where an earlier run of this object came to the end, all events. Blocks the caller for long.

        Raises `DatabaseDamaged` or `ChainBroken` with the first thing that does not hold, and
        `StoreUnavailable` where it was stopped.
        """
        with closing(connect(parse_url(self._url), "read")) as connection:
            chain = Chain(connection, self._clock)
            verified = chain.head_at(VERIFIED_CHECKPOINT).sequence
            self._checking = connection
            try:
                check_layout(connection)
                check_indexes(connection)
                check_rows(connection, self._pauses())
            finally:
                self._checking = None
        self._check_events(1 if self._reached_end else verified + 1)
        self._reached_end = True

    def stop(self) -> None:
        """End a run that is under way in another thread, soon."""
        self._stopping.set()
        connection = self._checking
        if connection is not None:
            with contextlib.suppress(OmsError):
                connection.interrupt()

    def _check_events(self, first: int) -> None:
        remembered, pause = first - 1, self._pauses()

        def rest(checked: int, _: int) -> None:
            """Remember the way so far, and leave the processor to others for a while."""
            nonlocal remembered
            reached = first - 1 + checked
            if reached - remembered >= _REMEMBERED_EVENTS:
                self._remember(reached)
                remembered = reached
            pause()

        found = audit.verify(
            self._url, rest, from_sequence=first, clock=self._clock, with_archive=False
        )
        self._remember(found.head_sequence)

    def _pauses(self) -> Callable[[], None]:
        """Return what leaves the processor to others, for as long as was not worked since the last
        call.
        """
        began = self._clock.monotonic()

        def pause() -> None:
            nonlocal began
            worked = self._clock.monotonic() - began
            if self._stopping.wait(worked * (1 / _SHARE - 1)):
                raise StoreUnavailable("the check of the database was stopped")
            began = self._clock.monotonic()

        return pause

    def _remember(self, sequence: int) -> None:
        with closing(connect(parse_url(self._url))) as connection, connection.writing():
            rows = connection.rows("SELECT hash FROM events WHERE sequence = ?", (sequence,))
            if rows:
                chain = Chain(connection, self._clock)
                chain.head = Head(sequence, bytes(rows[0][0]))
                chain.write_checkpoint(VERIFIED_CHECKPOINT)
