"""Backups: copies of a whole log, made beside a running daemon, and checked before they count.

A backup is a SQLite file and, beside it, a manifest (`FILE.json`) that says where the log ended and
what the bytes of the file add up to. The file is written under another name, checked from the first
event to the last, made durable, and given its name when the manifest stands. So what has the name
of a backup is one, whenever the program or the machine stops.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from sqlalchemy.engine import URL

from oms import files
from oms.clock import Clock, SystemClock
from oms.core.codec import Head, time_text
from oms.errors import (
    ChainBroken,
    ConfigurationError,
    DatabaseDamaged,
    NotFound,
    StoreError,
    StoreUnavailable,
)
from oms.files import whole_file
from oms.store import schema
from oms.store.audit import Progress, check_chain
from oms.store.backend import connect, parse_url, place_of
from oms.store.chain import Chain
from oms.store.copying import copy_database
from oms.store.envelopes import SELECT_HEAD
from oms.store.loss import identity
from oms.store.soundness import check_indexes, check_open_database

FORMAT: Final = 1
KIND: Final = "oms_backup"
MANIFEST_SUFFIX: Final = ".json"
#: Ends the name of a backup that was not finished.
PART_SUFFIX: Final = ".part"
#: Of the files in a folder of backups.
_FILE_PREFIX: Final = "oms-"
_FILE_SUFFIX: Final = ".sqlite"
#: What whoever has read a backup may have left beside it: SQLite, and the index of the past.
_BESIDE: Final = ("-wal", "-shm", ".history", ".history-wal", ".history-shm")
#: No backup is written for so long: what is older was left by a program that was killed.
_UNFINISHED_SECONDS: Final = 86_400


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a backup holds, as the file beside it says."""

    #: Which log: the hash of its first event.
    log: str
    #: Where the log ended in it.
    sequence: int
    hash: str
    recorded_at: str
    #: When the backup was begun.
    made_at: str
    #: Of its tables.
    revision: str
    #: Which program made it.
    program: str
    #: What was backed up.
    database: str
    bytes: int
    sha256: str

    @property
    def head(self) -> Head:
        """Return where the log ended."""
        return Head(
            self.sequence, bytes.fromhex(self.hash), datetime.fromisoformat(self.recorded_at)
        )


@dataclass(frozen=True, slots=True)
class Backup:
    """A backup that was made."""

    path: Path
    manifest: Manifest
    #: Older ones that had to go for it.
    removed: tuple[Path, ...]
    seconds: float


def back_up(
    url: str,
    to: Path,
    progress: Progress | None = None,
    *,
    revision: str | None = None,
    keep: int | None = None,
    program: str = "",
    clock: Clock | None = None,
) -> Backup:
    """Make a backup of a log as it is at one moment, check it, and return what it holds.

    `to` is a file that does not exist yet, or a folder, in which the backup is named after the
    moment and of which the newest `keep` backups of this log stay. `revision` asks for the tables
    of an earlier version; the projections of such a backup are empty, and that version folds them
    from the events. No writer waits. Raises `ChainBroken` or `DatabaseDamaged` where the copy does
    not hold, because the log does not, and `StoreUnavailable` where there is no room for it; then
    nothing is left behind and no older backup is touched.
    """
    time = clock if clock is not None else SystemClock()
    started, moment = time.monotonic(), time.now()
    parsed = parse_url(url)
    found = schema.current(url)
    if found is None:
        schema.check_current(url)  # says what to do
    assert found is not None
    path = _named(to, moment)
    if keep is not None and path.parent != to:
        raise ConfigurationError(
            "--keep needs a folder, in which backups are counted", hint="name a folder to write to"
        )
    tables = revision if revision is not None else found
    with unfinished(path, "no backup was made") as part:
        copy_database(parsed, part, tables, time, progress)
        copy = URL.create("sqlite", database=str(part))
        log, head = check_copy(copy)
        with closing(connect(copy, "read")) as connection:
            if tables == schema.HEAD:
                Chain(connection, time).checked_end()
                check_open_database(connection)
            else:
                check_indexes(connection)
        if head.recorded_at is None:
            raise NotFound(f"the log in {place_of(parsed)} has no events: nothing to back up")
        manifest = Manifest(
            log=log,
            sequence=head.sequence,
            hash=head.hash.hex(),
            recorded_at=time_text(head.recorded_at),
            made_at=time_text(moment),
            revision=tables,
            program=program,
            database=place_of(parsed),
            bytes=part.stat().st_size,
            sha256=file_digest(part),
        )
        sync_file(part)
        with _written(manifest_path(path)), whole_file(manifest_path(path)) as file:
            text = json.dumps({"kind": KIND, "format": FORMAT, **asdict(manifest)}, indent=1)
            file.write(f"{text}\n".encode())
        put_in_place(part, path)
    removed = () if keep is None else _rotate(path.parent, log, keep)
    if path.parent == to:
        _clear(to, moment)
    sync_folder(path.parent)
    return Backup(path, manifest, removed, time.monotonic() - started)


def check_copy(
    url: URL,
    progress: Progress | None = None,
    *,
    expected: Mapping[int, str] = MappingProxyType({}),
) -> tuple[str, Head]:
    """Check the chain of a copy whose tables are of any revision; return which log it is of, and
    where it ends.

    `expected` has hashes that were noted elsewhere, of events that the copy may not have. Raises
    `ChainBroken` or `DatabaseDamaged`.
    """
    with closing(connect(url, "read")) as connection:
        ends = connection.rows(SELECT_HEAD) if schema.has_log(connection) else []
        last = ends[0][0] if ends else 0
        held = {sequence: digest for sequence, digest in expected.items() if sequence <= last}
        # The copy has what the database has; the archive, which may be away, is a copy of its own.
        head = Head()
        if ends:
            head = check_chain(connection, progress, expected=held, with_archive=False)
        return identity(connection).hex() if ends else "", head


def manifest_path(path: Path) -> Path:
    """Return where the manifest of a backup stands."""
    return path.with_name(path.name + MANIFEST_SUFFIX)


def read_manifest(path: Path) -> Manifest | None:
    """Return what the manifest of a backup says, None where there is none; raises `DatabaseDamaged`
    where it cannot be read.
    """
    beside = manifest_path(path)
    try:
        text = beside.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise DatabaseDamaged(f"the manifest {beside} cannot be read: {error}") from error
    try:
        return _manifest(json.loads(text))
    except (ValueError, TypeError, RecursionError) as error:
        raise DatabaseDamaged(
            f"the manifest {beside} is not one: {error}",
            hint="take another backup; where this is the only one, move the manifest away and the"
            " backup is checked without it",
        ) from error


def _manifest(found: Any) -> Manifest:
    if not isinstance(found, dict) or (found.pop("kind", ""), found.pop("format", 0)) != (
        KIND,
        FORMAT,
    ):
        raise ValueError("it is no manifest of a backup in a form that this version knows")
    manifest = Manifest(**found)
    _ = manifest.head, bytes.fromhex(manifest.log), datetime.fromisoformat(manifest.made_at)
    if not isinstance(manifest.sequence, int) or not isinstance(manifest.bytes, int):
        raise TypeError("sequence and bytes must be whole numbers")
    return manifest


def file_digest(path: Path) -> str:
    """Return the sha256 of a file's bytes. This program must not have it open as a database:
    closing it here would end SQLite's locks on it.
    """
    with _written(path), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sync_file(path: Path) -> None:
    """Make durable what a file holds, on the same condition."""
    with _written(path), path.open("rb") as file:
        os.fsync(file.fileno())


def put_in_place(part: Path, path: Path) -> None:
    """Give a finished file its name, which nobody must have taken meanwhile."""
    with _written(path):
        try:
            path.hardlink_to(part)
        except FileExistsError:
            raise _exists(path) from None
        except OSError:  # a file system without hard links
            if path.exists():
                raise _exists(path) from None
            part.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make durable which files a folder has; raises `StoreUnavailable`."""
    with _written(folder):
        files.sync_folder(folder)


def _named(to: Path, moment: datetime) -> Path:
    if to.is_dir():
        to = to / f"{_FILE_PREFIX}{moment:%Y%m%dT%H%M%S.%f}Z{_FILE_SUFFIX}"
    if to.exists():
        raise _exists(to)
    beside = manifest_path(to)
    if beside.exists():
        try:
            # Of a backup that was not finished, it may be written again.
            read_manifest(to)
        except DatabaseDamaged:
            raise _exists(beside) from None
    return to


def _exists(path: Path) -> ConfigurationError:
    return ConfigurationError(
        f"{path} exists already", hint="name another file, or a folder; a backup replaces nothing"
    )


@contextmanager
def unfinished(path: Path, said: str) -> Iterator[Path]:
    """Give the name under which a database is written until it is whole; it is free again after the
    block. Damage that is met there is told after what is `said`.
    """
    part = path.with_name(path.name + PART_SUFFIX)
    try:
        with _written(path):
            _remove(part)
            os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        try:
            yield part
        except ChainBroken as error:
            text = f"{said}: {error.message}"
            raise ChainBroken(text, sequence=error.sequence, hint=error.hint) from error
        except DatabaseDamaged as error:
            text = f"{said}: {error.message}"
            raise DatabaseDamaged(text, hint=error.hint) from error
    finally:
        with contextlib.suppress(OSError):
            _remove(part)


def _remove(database: Path) -> None:
    for end in ("", "-journal", "-wal", "-shm"):
        database.with_name(database.name + end).unlink(missing_ok=True)


@contextmanager
def _written(path: Path) -> Iterator[None]:
    try:
        yield
    except StoreError:
        raise
    except OSError as error:
        raise StoreUnavailable(
            f"{path} cannot be written: {error.strerror or error}",
            hint="check the folder, its rights and the space on its disk",
        ) from error


def _clear(folder: Path, now: datetime) -> None:
    """Remove what killed programs have left of backups in a folder: parts, and manifests alone."""
    left = [*folder.glob(f"{_FILE_PREFIX}*{PART_SUFFIX}")]
    left += [
        beside
        for beside in folder.glob(f"{_FILE_PREFIX}*{_FILE_SUFFIX}{MANIFEST_SUFFIX}")
        if not beside.with_name(beside.name.removesuffix(MANIFEST_SUFFIX)).exists()
    ]
    for file in left:
        with contextlib.suppress(OSError):
            if now.timestamp() - file.stat().st_mtime > _UNFINISHED_SECONDS:
                _remove(file)


def _rotate(folder: Path, log: str, keep: int) -> tuple[Path, ...]:
    """Remove all but the newest backups of a log from a folder; what is no backup of it stays."""
    known = []
    for beside in folder.glob(f"*{MANIFEST_SUFFIX}"):
        path = beside.with_name(beside.name.removesuffix(MANIFEST_SUFFIX))
        with contextlib.suppress(DatabaseDamaged):
            manifest = read_manifest(path)
            if manifest is not None and manifest.log == log and path.exists():
                known.append((manifest.made_at, path))
    old = tuple(path for _, path in sorted(known)[:-keep])
    for path in old:
        with _written(path):
            # The manifest last: a backup without one would stay for ever.
            for end in ("", *_BESIDE, MANIFEST_SUFFIX):
                path.with_name(path.name + end).unlink(missing_ok=True)
    return old
