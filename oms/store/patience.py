"""How long a database is waited for that another program holds, or whose server is away."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from oms.clock import Clock
from oms.errors import StoreCutOff, StoreLocked
from oms.telemetry import get_logger

logger = get_logger("store")

#: Between two attempts to reach a server, which may refuse each at once.
_PAUSE_SECONDS: Final = 0.25


class Patience:
    """The wait for a database that another program (a backup, a browser) holds, or whose server
    does not answer, with a bound.
    """

    def __init__(self, clock: Clock, place: str, seconds_max: float) -> None:
        self._clock = clock
        self._place = place
        self._seconds_max = seconds_max
        #: Since when, in monotonic time, the present work waits; None between two.
        self.began_at: float | None = None
        #: Set from another thread: nothing is waited for any longer.
        self.stopping = False

    @property
    def waits(self) -> bool:
        """Say whether anything is waited for."""
        return self._seconds_max > 0

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Count the wait from the start of the block."""
        self.began_at = self._clock.monotonic()
        try:
            yield
        finally:
            self.began_at = None

    def wait_on(self, error: StoreLocked | StoreCutOff) -> None:
        """Return when another attempt shall be made; raises the error where none shall. An attempt
        on a database that is held waits by itself, for `backend.BUSY_TIMEOUT_SECONDS`.
        """
        assert self.began_at is not None
        waited = self._clock.monotonic() - self.began_at
        if self.stopping or not self.waits:
            raise error
        if waited < self._seconds_max:
            lasts = {"seconds": round(waited), "seconds_max": self._seconds_max}
            if isinstance(error, StoreLocked):
                logger.warning("database_locked", **lasts)
            else:
                logger.warning("database_does_not_answer", **lasts)
                time.sleep(_PAUSE_SECONDS)
            return
        allows = "OMS_DATABASE_LOCK_SECONDS_MAX allows"
        if isinstance(error, StoreCutOff):
            raise StoreCutOff(
                f"the database {self._place} has not answered for {waited:.0f} s, longer than"
                f" {allows}: {error.message}",
                hint="start the server, then the daemon: it asks IB for what it missed",
            ) from error.__cause__
        raise StoreLocked(
            f"another program has held the database {self._place} for {waited:.0f} s, longer than"
            f" {allows}",
            hint="end the other program, then start the daemon again: it asks IB for what it"
            " missed",
        ) from error.__cause__
