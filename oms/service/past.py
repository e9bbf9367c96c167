"""Keeps what answers questions about the past, beside the daemon's work: the index of events by
what they name, and snapshots of the books.

A thread with connections of its own that rests nine tenths of the time. Nothing waits for it: what
it has not made yet is folded for the answer that needs it. If the process dies, the next one goes
on from the last snapshot.
"""

from __future__ import annotations

import asyncio
import random
import threading
from typing import TYPE_CHECKING, Final

from oms.clock import Clock
from oms.history import index
from oms.history.making import bring_up, check_snapshots
from oms.history.snapshots import CHUNK_EVENTS
from oms.telemetry import get_logger

if TYPE_CHECKING:
    from oms.store.log import EventLog

log = get_logger("service.past")

#: How often the log is looked at.
_LOOK_SECONDS: Final = 10.0
#: After which it is tried again where nothing can be kept beside the log.
_AGAIN_SECONDS: Final = 60.0
#: Events that a question may have to read from the log before they are in the index.
_FOUND_EVENTS: Final = 1_000
#: Of the time of one processor: capture must not be slower for it.
_SHARE: Final = 0.1


class PastMaker:
    """Keeps the index and makes snapshots as the log grows; folds one of these again each time."""

    def __init__(self, *, log: EventLog, url: str, clock: Clock) -> None:
        self._log = log
        self._clock = clock
        self._url = url
        self._stopping = threading.Event()
        self._rested_at = 0.0

    async def serve(self) -> None:
        """Keep the index and make snapshots for ever."""
        found_to = made_to = 0
        while True:
            pause = _LOOK_SECONDS
            end = self._log.head.sequence
            try:
                if end >= found_to + _FOUND_EVENTS:
                    found_to = await asyncio.to_thread(self._keep_index)
                if end >= made_to + CHUNK_EVENTS:
                    await asyncio.to_thread(self._make)
                    made_to = end - end % CHUNK_EVENTS
            except asyncio.CancelledError:
                self._stopping.set()
                raise
            except Exception as error:  # noqa: BLE001  # answers do without; the daemon goes on
                reason = f"{type(error).__name__}: {error}"
                log.warning("snapshots_not_made", reason=reason)
                pause = _AGAIN_SECONDS
            await asyncio.sleep(pause)

    def _keep_index(self) -> int:
        self._rested_at = self._clock.monotonic()
        try:
            return index.keep_up(self._url, self._rest)
        except _StoppedError:
            return 0

    def _make(self) -> None:
        self._rested_at = self._clock.monotonic()
        try:
            made = bring_up(self._url, lambda done, of: None, self._rest)
            choose = random.SystemRandom().sample
            _, wrong = check_snapshots(
                self._url, 1, lambda done, of: None, choose=choose, rest=self._rest
            )
        except _StoppedError:
            return
        if wrong:
            log.error("snapshots_differ", numbers=str(wrong))
        else:
            log.info("snapshots_made", steps=made)

    def _rest(self) -> None:
        """Leave the processor to others for a while."""
        worked = self._clock.monotonic() - self._rested_at
        if self._stopping.wait(worked * (1 / _SHARE - 1)):
            raise _StoppedError
        self._rested_at = self._clock.monotonic()


class _StoppedError(Exception):
    """The daemon ends."""
