"""How long a database that another program holds is waited for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from oms.clock import Clock
from oms.errors import StoreLocked
from oms.telemetry import get_logger

logger = get_logger("store")


class Patience:
    """The wait for a database that another program (a backup, a browser) holds, with a bound."""

    def __init__(self, clock: Clock, place: str, seconds_max: float) -> None:
        self._clock = clock
        self._place = place
        self._seconds_max = seconds_max
        #: Since when, in monotonic time, the present work waits; None between two.
        self.began_at: float | None = None
        #: Set from another thread: nothing is waited for any longer.
        self.stopping = False

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Count the wait from the start of the block."""
        self.began_at = self._clock.monotonic()
        try:
            yield
        finally:
            self.began_at = None

    def wait_on(self, error: StoreLocked) -> None:
        """Return where another attempt shall be made; raises the error where not. Each attempt
        waits by itself, for `backend.BUSY_TIMEOUT_SECONDS`.
        """
        assert self.began_at is not None
        waited = self._clock.monotonic() - self.began_at
        if self.stopping or self._seconds_max == 0:
            raise error
        if waited >= self._seconds_max:
            raise StoreLocked(
                f"another program has held the database {self._place} for {waited:.0f} s, longer"
                " than OMS_DATABASE_LOCK_SECONDS_MAX allows",
                hint="end the other program, then start the daemon again: it asks IB for what it"
                " missed",
            ) from error.__cause__
        logger.warning("database_locked", seconds=round(waited), seconds_max=self._seconds_max)
