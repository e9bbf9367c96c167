"""Keeps the head file in step with a log that is appended to here."""

from __future__ import annotations

import contextlib
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from sqlalchemy.engine import URL

from oms.core.codec import Head
from oms.errors import StoreUnavailable
from oms.store.backend import Connection
from oms.store.head_file import HeadFile, KeptHead
from oms.store.loss import Against, Loss, identity
from oms.telemetry import get_logger

logger = get_logger("store")

#: Who may not read the log may not read its head file.
_MODE: Final = 0o600


class Keeper:
    """The head file of one writer's log.

    The daemon owns the file: it makes one where there is none, and stops where it cannot be
    written. Any other writer moves the one that is there on, as far as it can: what it leaves out
    the next daemon writes, and no order leaves in between.
    """

    def __init__(self, url: URL, connection: Connection, *, owns: bool) -> None:
        self._against = Against.of(url)
        self._connection = connection
        self._owns = owns
        self._file = HeadFile(self._against.path, mode=_mode_of(url) if owns else None)
        self._log = b""
        #: Whether the file goes on with the log.
        self._goes_on = False
        #: What the log lacks; a file that says so stays as it is until `write`.
        self.loss: Loss | None = None

    def check(self, *, accepted: bool) -> None:
        """Find out whether the log lacks events; raises `LogWentBack` where it does and nobody has
        accepted that. A halt that the shell appends passes, unless nothing of the log is left.
        """
        self.loss = self._against.loss_in(self._connection)
        if self.loss is not None and not accepted and (self._owns or not self.loss.found.sequence):
            raise self.loss.error()

    def begin(self, head: Head) -> None:
        """Take the file up, now that the log is read up to a head."""
        if self.loss is not None or not (self._owns or self._against.kept):
            return
        self._goes_on = True
        if self._owns and head.sequence:
            # What others appended meanwhile is in it from here on, and that it can be written is
            # known before anything else happens.
            self.write(head)
            if self._against.kept is None:
                path = str(self._against.path)
                logger.warning("head_file_made", path=path, sequence=head.sequence)

    def write(self, head: Head) -> None:
        """Write that the log ends here, after the commit and before anybody is told of it."""
        # The first commit of a daemon on a log that lacks something is the fact that a person
        # accepted it.
        replaces = self._owns and not self._goes_on
        if self._goes_on or replaces:
            with self._tolerated():
                self._file.write(KeptHead(self._identity(), head), replaces=replaces)
                self._goes_on = True

    def sync(self) -> None:
        """Make durable what was written."""
        if self._goes_on:
            with self._tolerated():
                self._file.sync()

    def close(self) -> None:
        """Make durable what was written, and let go of the file."""
        self._goes_on = False
        with self._tolerated():
            self._file.close()

    def _identity(self) -> bytes:
        self._log = self._log or identity(self._connection)
        return self._log

    @contextlib.contextmanager
    def _tolerated(self) -> Iterator[None]:
        try:
            yield
        except StoreUnavailable as error:
            if self._owns:
                raise
            self._goes_on = False
            logger.info("head_file_left", reason=str(error))


def _mode_of(url: URL) -> int:
    if url.get_backend_name() != "sqlite":
        return _MODE
    return stat.S_IMODE(Path(url.database or "").stat().st_mode)
