"""A second fold of the log, from its first event, in a database of its own.

The shadow is a temporary SQLite file whatever the log's database is, filled by the same projector
as the live books, so that memory stays flat however long the log is.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import cache
from itertools import zip_longest
from pathlib import Path
from typing import Any, Final

from sqlalchemy.dialects import sqlite
from sqlalchemy.engine import URL
from sqlalchemy.schema import CreateIndex, CreateTable, ExecutableDDLElement

from oms.core.collector import collector_at_rest
from oms.core.fold.records import TABLES
from oms.errors import ChainBroken, DatabaseDamaged
from oms.store.archived import filled
from oms.store.audit import Progress
from oms.store.backend import Connection, connect
from oms.store.differences import LAYOUTS, RowKey
from oms.store.envelopes import SELECT_FACTS, envelope
from oms.store.projector import ROWS_DO_NOT_ADD_UP, ChangedRecords, Evicted, Projector
from oms.store.rows import LIVE, Sums, Unfit, check_row, digest_of
from oms.store.tables import ORDER_EVENTS, PROJECTIONS

PAGE_ROWS: Final = 1_000
#: Events between two writes of the shadow, of the records that have ended; those that are live wait
#: in memory for the end.
EVENTS_PER_WRITE: Final = 10_000
#: Ended orders and fills that stay in memory. Fewer than in the daemon: a row that a late message
#: needs may be read back here without hurry.
SHADOW_RECORDS_MAX: Final = 2_000
_KEPT: Final = "kept"
_KEPT_COLUMNS: Final = ("folds", "sequence", "hash", "row_sum", "live_row_sum")
#: By event, so that the tree grows at its end; by order each link would be a page of its own.
_LINKS: Final = (
    "CREATE TABLE IF NOT EXISTS order_events (order_id TEXT NOT NULL, sequence INTEGER NOT NULL,"
    " PRIMARY KEY (sequence, order_id)) WITHOUT ROWID"
)
#: Columns that the fold looks stored rows up by, besides the keys. The shadow needs no
#: index for readers: they would be a third of the work of writing it.
_SOUGHT: Final = frozenset({"perm_id", "broker_key", "order_ref", "exec_id", "position_key"})


class Shadow:
    """The projections of a fold from zero.

    With `kept_events` all rows are kept after so many events, for whoever comes after a process
    that died; `folds` names what makes them.
    """

    def __init__(
        self,
        connection: Connection,
        resident_records_max: int,
        *,
        kept_events: int = 0,
        folds: str = "",
    ) -> None:
        self.connection = connection
        self._kept_events = kept_events
        self._folds = folds
        #: Of the last event that was folded.
        self.sequence = 0
        self._resident_records_max = resident_records_max
        #: Each event is folded alone, and set aside where it makes a row that cannot be held.
        self._checks_each = False
        self._projector = self._empty()

    def _empty(self) -> Projector:
        most = self._resident_records_max
        self._evicted = Evicted()
        return Projector(self.connection, resident_records_max=most, evicted=self._evicted)

    @property
    def sums(self) -> Sums:
        """Return what its rows add up to."""
        return self._projector.sums

    def follow(
        self,
        source: Connection,
        to: int,
        progress: Progress | None = None,
        *,
        touched: set[RowKey] | None = None,
    ) -> None:
        """Fold the events of a log up to a sequence, and add the rows that they touch to `touched`.

        Raises `ChainBroken` where one of them is missing.
        """
        first = self.sequence

        def folded(changes: ChangedRecords) -> None:
            if touched is not None and self.sequence > first:
                touched.update((table, (key,)) for table, found in changes.items() for key in found)
            if progress is not None and self.sequence > first:
                progress(self.sequence, to)

        while self.sequence < to:
            last = min(to, self.sequence + self._kept_events) if self._kept_events else to
            with self.connection.writing(), collector_at_rest():
                try:
                    self._fold(source, last, folded)
                except Unfit:
                    # A fault of a fold, and none is known: what it costs does not matter.
                    self._checks_each = True
                    self._empty_tables()
                    self._fold(source, last, folded)
                if self._kept_events:
                    self._keep(source)

    def _fold(self, source: Connection, to: int, folded: Callable[[ChangedRecords], None]) -> None:
        while self.sequence < to:
            changes = self._fold_page(source, to)
            if self._projector.behind >= EVENTS_PER_WRITE:
                self._projector.write(but_live=True)
            folded(changes)
        self._projector.write()

    def begin_anew(self) -> None:
        """Take away what was kept."""
        with self.connection.writing():
            self._empty_tables()

    def _empty_tables(self) -> None:
        kept = (_KEPT,) if self._kept_events else ()
        for table in (*PROJECTIONS, ORDER_EVENTS.name, *kept):
            self.connection.execute(f"DELETE FROM {table}")
        self.sequence = 0
        self._projector = self._empty()

    def _keep(self, source: Connection) -> None:
        self.connection.execute(f"DELETE FROM {_KEPT}")
        row = (self._folds, self.sequence, _hash_at(source, self.sequence), *self.sums.stored())
        self.connection.insert(f"INSERT INTO {_KEPT} ({', '.join(_KEPT_COLUMNS)})", [row])

    def go_on(self, source: Connection) -> None:
        """Take up what was kept of a log; raises `ChainBroken` where it is of another one or made
        by other folds, and `DatabaseDamaged` where the rows are not those that were written.
        """
        connection = self.connection
        kept = connection.rows(f"SELECT {', '.join(_KEPT_COLUMNS)} FROM {_KEPT}")
        if not kept:
            return self.begin_anew()
        made_by, sequence, digest, *stored = kept[0]
        if made_by != self._folds or bytes(digest) != _hash_at(source, sequence):
            raise ChainBroken("what was kept is of another log", sequence=sequence)
        found, written = Sums(), Sums.of(*stored)
        with connection.reading():
            for table, layout in LAYOUTS.items():
                for page in connection.scanned(f"SELECT {', '.join(layout.columns)} FROM {table}"):
                    for row in page:
                        _take_in(table, row, found, self._evicted)
        if found != written:
            raise DatabaseDamaged(ROWS_DO_NOT_ADD_UP.format("the rows"))
        self._projector.restore(sequence, written)
        self.sequence = sequence
        return None

    def _fold_page(self, source: Connection, to: int) -> ChangedRecords:
        rows = source.rows(
            f"{SELECT_FACTS} WHERE sequence > ? AND sequence <= ? ORDER BY sequence"
            f" LIMIT {PAGE_ROWS}",
            (self.sequence, to),
        )
        expected = range(self.sequence + 1, min(self.sequence + PAGE_ROWS, to) + 1)
        gone = next((n for n, row in zip_longest(expected, rows) if row is None or row[0] != n), 0)
        if gone:
            raise ChainBroken(f"the log has no event {gone}", sequence=gone)
        envelopes = [envelope(row) for row in filled(source, rows)]
        self.sequence = rows[-1][0]
        projector = self._projector
        return projector.fold_each(envelopes) if self._checks_each else projector.fold(envelopes)


def _take_in(table: str, row: Sequence[Any], found: Sums, evicted: Evicted) -> None:
    """Count a row that was kept, and note its names where its record does not come into memory."""
    if table not in TABLES:
        found.add(digest_of(table, row), live=False)
        return
    live = bool(row[LIVE])
    found.add(check_row(table, row), live=live)
    if not live:
        evicted.add_names(table, row[0], zip(TABLES[table].columns, row[1:LIVE], strict=True))


def _hash_at(source: Connection, sequence: int) -> bytes:
    rows = source.rows("SELECT hash FROM events WHERE sequence = ?", (sequence,))
    return bytes(rows[0][0]) if rows else b""


@contextmanager
def temporary_shadow(resident_records_max: int) -> Iterator[Shadow]:
    """Make an empty shadow, which is gone after the block."""
    with tempfile.TemporaryDirectory(prefix="oms-rebuild-") as folder:
        path = Path(folder) / "shadow.sqlite"
        path.touch()
        url = URL.create("sqlite", database=str(path))
        with closing(connect(url)) as connection:
            # After a power cut the shadow is of no use.
            connection.rows("PRAGMA journal_mode = OFF")
            connection.execute("PRAGMA synchronous = OFF")
            with connection.writing():
                make_tables(connection)
            yield Shadow(connection, resident_records_max)


def make_tables(connection: Connection) -> None:
    """Make the tables of a shadow that are not there, and the indexes that the fold needs."""
    for statement in _tables():
        connection.execute(statement)


@cache
def _tables() -> tuple[str, ...]:
    dialect = sqlite.dialect()
    made: list[ExecutableDDLElement] = [
        CreateTable(table, if_not_exists=True) for table in PROJECTIONS.values()
    ]
    made += [
        CreateIndex(index, if_not_exists=True)
        for table in PROJECTIONS.values()
        for index in table.indexes
        if _SOUGHT.issuperset(index.columns.keys())
    ]
    kept = f"CREATE TABLE IF NOT EXISTS {_KEPT} ({', '.join(_KEPT_COLUMNS)})"
    return (*(str(one.compile(dialect=dialect)) for one in made), _LINKS, kept)
