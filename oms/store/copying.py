"""Copies of a whole database: a SQLite file as it is, any other row by row.

A copy is a SQLite file whatever keeps the log, so there is one kind of backup. It shows one moment,
holds no writer up, and leaves room on the disk for the one who writes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final

from sqlalchemy.engine import URL

from oms.clock import Clock
from oms.errors import StoreUnavailable
from oms.store import schema, space
from oms.store.archived import INSERT_SEGMENT, filled, removed
from oms.store.audit import Progress
from oms.store.backend import Connection, SQLiteConnection, connect, place_of
from oms.store.differences import LAYOUTS, Layout, pages
from oms.store.envelopes import SELECT_EVENTS, SELECT_HEAD
from oms.store.tables import (
    BOOKS_CHECKPOINT,
    CHECKPOINTS,
    EVENT_COLUMNS,
    LEASES,
    LOG_CHECKPOINT,
    SEGMENTS,
)

PAGE_ROWS: Final = 1_000
#: What stays free on a disk that the log is on: a copy must not stop the daemon.
RESERVE_BYTES: Final = 4 * space.WRITING
#: For each second of copying, how long the disk is left to others.
_REST: Final = 1.0
_COLUMNS: Final = {
    "sqlite": "SELECT name FROM pragma_table_info(?)",
    "postgresql": "SELECT column_name FROM information_schema.columns"
    " WHERE table_schema = current_schema() AND table_name = ?",
}


def copy_database(
    url: URL, path: Path, revision: str, clock: Clock, progress: Progress | None = None
) -> None:
    """Copy a database, as it is at one moment, into an empty file; the tables of the copy are those
    of a revision.

    Where that is not the revision of the database, the copy has no rows of the projections: the
    program that it is for folds them from its events. Raises `StoreUnavailable` where there is no
    room.
    """
    with closing(connect(url, "read")) as source:
        room = Room(url, path, source)
        same = schema.revision_of(source) == revision
        if same and isinstance(source, SQLiteConnection):
            source.copy_to(path, _paced(room, clock, progress))
            return
        schema.create(path, revision)
        with filling(path) as target, source.reading():
            copy_log(source, target, rows=same, progress=progress, step=room.check)


@contextmanager
def filling(path: Path) -> Iterator[Connection]:
    """Open a new SQLite file that is of no use until it is whole; it is one file afterwards."""
    with closing(connect(URL.create("sqlite", database=str(path)))) as target:
        target.rows("PRAGMA journal_mode = OFF")
        target.execute("PRAGMA synchronous = OFF")
        yield target
        target.rows("PRAGMA journal_mode = DELETE")


def copy_log(
    source: Connection,
    target: Connection,
    *,
    rows: bool,
    progress: Progress | None = None,
    step: Callable[[], None] = lambda: None,
) -> None:
    """Copy the events of a log, leases and bookmarks, and with `rows` those of the projections,
    into tables that are empty: all of it or nothing. The caller holds one state of the source.
    """
    # Tables of an earlier version know of no archive: the copy has every text then.
    as_they_are = bool(_columns(target, SEGMENTS.name))
    with target.writing():
        _copy_events(source, target, progress, step, as_they_are=as_they_are)
        if as_they_are and _columns(source, SEGMENTS.name):
            target.insert(INSERT_SEGMENT, removed(source))
        keyed = [Layout(table.name, tuple(table.c.keys()), 1) for table in (LEASES, CHECKPOINTS)]
        for layout in [*keyed, *(LAYOUTS.values() if rows else ())]:
            for page in _pages(source, target, layout):
                step()
                _insert(target, *page)
        if not rows:
            # Of the rows that are not there: what opens the copy folds from the first event.
            target.execute("DELETE FROM checkpoints WHERE name = ?", (BOOKS_CHECKPOINT,))


def fill_with_events(path: Path, pages: Iterable[Sequence[Sequence[Any]]]) -> None:
    """Make a database of this version in an empty file, with events that come in pages and nothing
    that is folded from them.
    """
    schema.create(path, schema.HEAD)
    with filling(path) as target, target.writing():
        for page in pages:
            _insert(target, "events", EVENT_COLUMNS, page)
        target.execute(
            f"INSERT INTO checkpoints (name, sequence, hash) SELECT '{LOG_CHECKPOINT}', sequence,"
            " hash FROM events ORDER BY sequence DESC LIMIT 1"
        )


def _copy_events(
    source: Connection,
    target: Connection,
    progress: Progress | None,
    step: Callable[[], None],
    *,
    as_they_are: bool,
) -> None:
    ends = source.rows(SELECT_HEAD)
    last, sequence = (ends[0][0] if ends else 0), 0
    select = f"{SELECT_EVENTS} WHERE sequence > ? ORDER BY sequence LIMIT {PAGE_ROWS}"
    while rows := source.rows(select, (sequence,)):
        step()
        whole = rows if as_they_are else filled(source, rows)
        _insert(target, "events", EVENT_COLUMNS, whole)
        sequence = rows[-1][0]
        if progress is not None:
            progress(sequence, last)


def _pages(
    source: Connection, target: Connection, layout: Layout
) -> Iterator[tuple[str, Sequence[str], list[tuple[Any, ...]]]]:
    """Yield a table's name, the columns that both sides have, and pages of its rows."""
    known = [set(_columns(one, layout.table)) for one in (source, target)]
    columns = tuple(name for name in layout.columns if all(name in each for each in known))
    for page in pages(source, Layout(layout.table, columns, layout.key_width), None):
        yield layout.table, columns, page


def _columns(connection: Connection, table: str) -> list[str]:
    return [row[0] for row in connection.rows(_COLUMNS[connection.backend_name], (table,))]


def _insert(
    target: Connection, table: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]
) -> None:
    target.insert(f"INSERT INTO {table} ({', '.join(columns)})", rows)


class Room:
    """Room on the disk of a copy, and on the disk of a log that is written meanwhile."""

    def __init__(self, url: URL, path: Path, source: Connection) -> None:
        self._path = path
        log = Path(url.database or "").resolve() if isinstance(source, SQLiteConnection) else None
        #: The folders in which something must stay free.
        self._written = [path.parent] if log is None else [path.parent, log.parent]
        needed = RESERVE_BYTES + (0 if log is None else log.stat().st_size)
        self._check(path.parent, needed, f"a copy of {place_of(url)} needs")

    def check(self) -> None:
        """Raise `StoreUnavailable` where the copy would take the room of whoever writes the log."""
        for folder in self._written:
            self._check(folder, RESERVE_BYTES, "a copy leaves")

    def _check(self, folder: Path, bytes_needed: int, why: str) -> None:
        free = space.free_bytes(folder)
        if free is not None and free < bytes_needed:
            raise StoreUnavailable(
                f"no copy can be made in {self._path.parent}: {why} {bytes_needed:,} bytes free,"
                f" {free:,} are free on the disk of {folder}",
                hint="free space there, or name a folder on another disk",
            )


def _paced(room: Room, clock: Clock, progress: Progress | None) -> Callable[[int, int], None]:
    """Return what `SQLiteConnection.copy_to` calls with each step: it leaves the disk to others for
    as long as it was used.
    """
    began = clock.monotonic()

    def step(left: int, pages: int) -> None:
        nonlocal began
        room.check()
        if progress is not None:
            progress(pages - left, pages)
        time.sleep(_REST * (clock.monotonic() - began))
        began = clock.monotonic()

    return step
