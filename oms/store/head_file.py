"""The end of the log, kept beside the database: what shows that the database went back.

A database that is restored from a copy, emptied, or robbed of its `-wal` file is whole in itself;
that events are missing shows only in what was kept elsewhere. So whoever appends writes the new end
into a small file after each commit and before anybody is told of it: no order leaves whose intent
the file does not cover. The write is one, in place, which a killed process cannot lose; it
is made durable with the lease's heartbeat and at the end, so a power cut can take the last few
seconds of it, never the file.

The file holds two lines that are written in turn, each with its own check, so that one of them is
whole at any moment. Of two readable ones the higher sequence counts.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final
from urllib.parse import quote

from sqlalchemy.engine import URL

from oms.core.codec import Head, time_text
from oms.errors import StoreUnavailable

#: Of a line, its end included: a sector of a disk is never half written, and holds one.
LINE_BYTES: Final = 320
FORMAT: Final = 1
_WRITABLE: Final = os.O_RDWR | getattr(os, "O_BINARY", 0)
_FIELDS: Final = ("log", "sequence", "hash", "recorded_at")


@dataclass(frozen=True, slots=True)
class KeptHead:
    """Where a log ended when the file was last written."""

    #: Which log: the hash of its first event.
    log: bytes
    head: Head


class HeadFileUnreadable(Exception):
    """The file is there and does not say where the log ended."""


def path_of(url: URL) -> Path:
    """Return where the head of a database's log is kept: beside a SQLite file; for PostgreSQL in
    this user's folder for the state of programs, under the address of the database.
    """
    if url.get_backend_name() == "sqlite":
        # Beside the file itself, whatever links lead to it: there SQLite keeps its `-wal` as well.
        path = Path(url.database or "").resolve()
        return path.with_name(f"{path.name}.head")
    states = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    # Not as whom, and not how: a password can stand among the options too.
    options = {name: url.query[name] for name in ("host", "options") if name in url.query}
    place = URL.create(
        "postgresql", host=url.host, port=url.port, database=url.database, query=options
    )
    # The whole address can be longer than the name of a file; people know the database by its name.
    address = hashlib.sha256(place.render_as_string().encode()).hexdigest()[:16]
    name = quote(url.database or "", safe="")[:80]
    return Path(states) / "ib-oms" / f"{name}-{address}.head"


def read(path: Path) -> KeptHead | None:
    """Return what a head file says, None where there is none; raises `HeadFileUnreadable`."""
    try:
        found = _contents(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise HeadFileUnreadable(error.strerror or str(error)) from error
    kept = [one for line in _lines(found) if (one := _decoded(line)) is not None]
    if not kept:
        raise HeadFileUnreadable("neither of its two lines is whole")
    return max(kept, key=lambda one: one.head.sequence)


class HeadFile:
    """The head file of a log that is written here. Not thread-safe, like the writer it belongs to.

    Every method raises `StoreUnavailable` where the file cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = -1
        self._turn = 0
        self._kept: KeptHead | None = None

    def open(self) -> None:
        """Go on with the file that is there and was read; nothing is written yet."""
        with _errors(self._path):
            first, second = (_decoded(line) for line in _lines(_contents(self._path)))
            self._file = os.open(self._path, _WRITABLE)
        is_first = second is None or (first is not None and _later(first, second))
        self._turn, self._kept = (1, first) if is_first else (0, second)

    def make(self, kept: KeptHead, mode: int) -> None:
        """Put a new file in the place of the old one, durably."""
        path, new = self._path, self._path.with_name(f"{self._path.name}.new")
        self.close()
        with _errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            new.unlink(missing_ok=True)
            try:
                file = os.open(new, _WRITABLE | os.O_CREAT | os.O_EXCL, mode)
                try:
                    os.write(file, _encoded(kept) * 2)
                    os.fsync(file)
                finally:
                    os.close(file)
                new.replace(path)
            except OSError:
                new.unlink(missing_ok=True)
                raise
            _sync_folder(path.parent)
            self._file = os.open(path, _WRITABLE)
            self._turn, self._kept = 0, kept

    def write(self, kept: KeptHead) -> None:
        """Write where the log ends now; it outlives this process from here on."""
        with _errors(self._path):
            os.lseek(self._file, self._turn * LINE_BYTES, os.SEEK_SET)
            os.write(self._file, _encoded(kept))
        self._turn = 1 - self._turn
        self._kept = kept

    def sync(self) -> None:
        """Make durable what was written, in a new file where the old one was taken away."""
        with _errors(self._path):
            here = os.fstat(self._file)
            try:
                there = self._path.stat()
            except FileNotFoundError:
                there = None
            if there is not None and os.path.samestat(here, there):
                os.fsync(self._file)
                return
        if self._kept is not None:
            self.make(self._kept, stat.S_IMODE(here.st_mode))

    def close(self) -> None:
        """Make durable what was written, and let go of the file; repeatable."""
        if self._file < 0:
            return
        file, self._file = self._file, -1
        with _errors(self._path):
            try:
                os.fsync(file)
            finally:
                os.close(file)


def _contents(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(2 * LINE_BYTES)


def _later(one: KeptHead, other: KeptHead) -> bool:
    return one.head.sequence >= other.head.sequence


def _lines(found: bytes) -> tuple[bytes, bytes]:
    return found[:LINE_BYTES], found[LINE_BYTES : 2 * LINE_BYTES]


def _encoded(kept: KeptHead) -> bytes:
    head = kept.head
    assert head.recorded_at is not None, "a log without an event has no head to keep"
    log, digest, moment = kept.log.hex(), head.hash.hex(), time_text(head.recorded_at)
    check = _check((log, head.sequence, digest, moment))
    # By hand: it is made for every commit, and `json.dumps` costs as much as the write.
    text = (
        f'{{"format": {FORMAT}, "log": "{log}", "sequence": {head.sequence}, "hash": "{digest}",'
        f' "recorded_at": "{moment}", "check": {check}}}'
    )
    return text.ljust(LINE_BYTES - 1).encode() + b"\n"


def _decoded(line: bytes) -> KeptHead | None:
    """Return what a line says, None where it is not whole."""
    try:
        body = json.loads(line)
        values = tuple(body[name] for name in _FIELDS)
        if body["format"] != FORMAT or body["check"] != _check(values):
            return None
        log, sequence, digest, recorded_at = values
        moment = datetime.fromisoformat(recorded_at)
        if moment.tzinfo is None or not isinstance(sequence, int) or not 0 < sequence < 2**63:
            return None
        return KeptHead(bytes.fromhex(log), Head(sequence, bytes.fromhex(digest), moment))
    except (ValueError, KeyError, TypeError):
        return None


def _check(values: tuple[object, ...]) -> int:
    return zlib.crc32("\x1f".join(map(str, values)).encode())


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":
        return  # A folder cannot be opened there.
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


@contextmanager
def _errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreUnavailable(
            f"the head file {path} cannot be written: {error.strerror or error}",
            hint="make it and its folder writable for this user, and free disk space; no order is "
            "sent without it, because a restored copy of the database would not be noticed",
        ) from error
