"""The end of the log, kept beside the database: what shows that the database went back.

A database that is restored from a copy, emptied, or robbed of its `-wal` file is whole in itself;
that events are missing shows only in what was kept elsewhere. So whoever appends writes the new end
into a small file after each commit and before anybody is told of it: no order leaves whose intent
the file does not cover. The write is one, in place, which a killed process cannot lose; it
is made durable with the lease's heartbeat and at the end, so a power cut can take the last few
seconds of it, never the file.

The file holds two lines, each with its own check, of which the older is overwritten, so that one of
them is whole at any moment. Of two readable ones the higher sequence counts.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import stat
import sys
import tempfile
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Final
from urllib.parse import quote

from sqlalchemy.engine import URL

from oms.core.codec import Head, time_text
from oms.errors import StoreUnavailable
from oms.files import sync_folder

#: Of a line, its end included: a sector of a disk is never half written, and holds one.
LINE_BYTES: Final = 320
FORMAT: Final = 1
_WRITABLE: Final = os.O_RDWR | getattr(os, "O_BINARY", 0)
#: How often, and after what pause, a file is looked at that another process holds: some seconds,
#: where a write takes microseconds.
_LOCK_LOOKS_MAX: Final = 5_000
_LOCK_LOOK_SECONDS: Final = 0.001
#: How often a file is read in which no line is whole: a look that is held up may meet one half of
#: each of two writes.
_LOOKS_MAX: Final = 3
_FIELDS: Final = ("log", "sequence", "hash", "recorded_at")
_RESTORED: Final = "restored"


@dataclass(frozen=True, slots=True)
class KeptHead:
    """Where a log ended when the file was last written."""

    #: Which log: the hash of its first event.
    log: bytes
    head: Head
    #: It is where a backup ended that was restored, and nobody knows whether the log went on.
    restored: bool = False


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
    for _ in range(_LOOKS_MAX):
        try:
            found = _contents(path)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise HeadFileUnreadable(error.strerror or str(error)) from error
        kept = [one for line in _lines(found) if (one := _decoded(line)) is not None]
        if kept:
            return max(kept, key=lambda one: one.head.sequence)
    raise HeadFileUnreadable("neither of its two lines is whole")


class HeadFile:
    """The head file of a log that is written here. Not thread-safe, like the writer it belongs to.

    Several processes may write one file (a daemon and the shell's requests): each write holds a
    lock, and none takes the file back. Every method raises `StoreUnavailable` where the file cannot
    be written.
    """

    def __init__(self, path: Path, *, mode: int | None) -> None:
        self._path = path
        #: Of a file that is made where there is none; None: none is made.
        self._mode = mode
        self._file = -1
        self._kept: KeptHead | None = None

    def write(self, kept: KeptHead, *, replaces: bool = False) -> None:
        """Write where the log ends now; it outlives this process from here on.

        A file that knows of a later end of this log stays as it is, unless that one is replaced.
        """
        with _errors(self._path):
            while True:
                try:
                    with self._locked() as file:
                        self._put(file, kept, replaces=replaces)
                    break
                except FileNotFoundError:
                    if self._mode is None:
                        raise
                    self._make(kept, self._mode)
        self._kept = kept

    def sync(self) -> None:
        """Make durable what was written, in a new file where the old one was taken away."""
        if self._kept is not None:
            self.write(self._kept)
        with _errors(self._path):
            if self._file >= 0:
                os.fsync(self._file)

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

    def _put(self, file: int, kept: KeptHead, *, replaces: bool) -> None:
        os.lseek(file, 0, os.SEEK_SET)
        first, second = (_decoded(line) for line in _lines(os.read(file, 2 * LINE_BYTES)))
        of_this_log = (one for one in (first, second) if one is not None and one.log == kept.log)
        newest = max(of_this_log, key=lambda one: one.head.sequence, default=None)
        if replaces or (newest is None and self._mode is not None):
            _write_at(file, 0, _encoded(kept) * 2)
            os.ftruncate(file, 2 * LINE_BYTES)
        elif newest is not None and newest.head.sequence < kept.head.sequence:
            _write_at(file, LINE_BYTES if newest is first else 0, _encoded(kept))

    def _make(self, kept: KeptHead, mode: int) -> None:
        """Put a new file, which is whole and durable, where there is none."""
        path = self._path
        path.parent.mkdir(parents=True, exist_ok=True)
        file, name = tempfile.mkstemp(prefix=f"{path.name}.", suffix=".new", dir=path.parent)
        new = Path(name)
        try:
            try:
                new.chmod(mode)
                os.write(file, _encoded(kept) * 2)
                os.fsync(file)
            finally:
                os.close(file)
            try:
                # Never over the file of another process that was quicker.
                path.hardlink_to(new)
            except FileExistsError:
                return
            except OSError:
                new.replace(path)  # a file system without hard links
        finally:
            new.unlink(missing_ok=True)
        sync_folder(path.parent)

    @contextmanager
    def _locked(self) -> Iterator[int]:
        """Hold the file that is in its place now, alone among those who write it."""
        for _ in range(_LOCK_LOOKS_MAX):
            if self._file < 0:
                self._file = os.open(self._path, _WRITABLE)
            is_held = _lock(self._file)
            if not os.path.samestat(os.fstat(self._file), self._path.stat()):
                os.close(self._file)
                self._file = -1
            elif is_held:
                break
            else:
                time.sleep(_LOCK_LOOK_SECONDS)
        else:
            raise BlockingIOError(errno.EAGAIN, "another program holds it")
        try:
            yield self._file
        finally:
            _unlock(self._file)


def _contents(path: Path) -> bytes:
    # Without waiting: a pipe in its place would be waited for by everybody.
    file = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        if not stat.S_ISREG(os.fstat(file).st_mode):
            raise OSError(errno.EINVAL, "it is not a file")
        return os.read(file, 2 * LINE_BYTES)
    finally:
        os.close(file)


def _write_at(file: int, place: int, text: bytes) -> None:
    os.lseek(file, place, os.SEEK_SET)
    written = os.write(file, text)
    if written < len(text):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _lines(found: bytes) -> tuple[bytes, bytes]:
    return found[:LINE_BYTES], found[LINE_BYTES : 2 * LINE_BYTES]


def _encoded(kept: KeptHead) -> bytes:
    head = kept.head
    assert head.recorded_at is not None, "a log without an event has no head to keep"
    log, digest, moment = kept.log.hex(), head.hash.hex(), time_text(head.recorded_at)
    check = _check((log, head.sequence, digest, moment), restored=kept.restored)
    mark = f'"{_RESTORED}": true, ' if kept.restored else ""
    # By hand: it is made for every commit, and `json.dumps` costs as much as the write.
    text = (
        f'{{"format": {FORMAT}, "log": "{log}", "sequence": {head.sequence}, "hash": "{digest}",'
        f' "recorded_at": "{moment}", {mark}"check": {check}}}'
    )
    return text.ljust(LINE_BYTES - 1).encode() + b"\n"


@lru_cache(maxsize=4)
def _decoded(line: bytes) -> KeptHead | None:
    """Return what a line says, None where it is not whole."""
    try:
        body = json.loads(line)
        values = tuple(body[name] for name in _FIELDS)
        restored = body.get(_RESTORED, False) is True
        if body["format"] != FORMAT or body["check"] != _check(values, restored=restored):
            return None
        log, sequence, digest, recorded_at = values
        moment = datetime.fromisoformat(recorded_at)
        if moment.tzinfo is None or not isinstance(sequence, int) or not 0 < sequence < 2**63:
            return None
        head = Head(sequence, bytes.fromhex(digest), moment)
        return KeptHead(bytes.fromhex(log), head, restored)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _check(values: tuple[object, ...], *, restored: bool) -> int:
    marked = (*values, _RESTORED) if restored else values
    return zlib.crc32("\x1f".join(map(str, marked)).encode())


if sys.platform == "win32":
    import msvcrt

    def _seek_and_lock(file: int, mode: int) -> bool:
        # Behind the lines: there a lock keeps nobody from reading them.
        os.lseek(file, 2 * LINE_BYTES, os.SEEK_SET)
        try:
            msvcrt.locking(file, mode, 1)
        except OSError:
            return False
        return True

    def _lock(file: int) -> bool:
        return _seek_and_lock(file, msvcrt.LK_NBLCK)

    def _unlock(file: int) -> None:
        _seek_and_lock(file, msvcrt.LK_UNLCK)

else:
    import fcntl

    def _lock(file: int) -> bool:
        try:
            # Of this opening of the file, not of the process: two logs of one process exclude each
            # other too.
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _unlock(file: int) -> None:
        fcntl.flock(file, fcntl.LOCK_UN)


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
