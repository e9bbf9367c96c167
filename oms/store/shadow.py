"""A second fold of the log, from its first event, in a database of its own.

The shadow is a temporary SQLite file whatever the log's database is, filled by the same projector
as the live books, so that memory stays flat however long the log is.
"""

from __future__ import annotations

import gc
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import cache
from itertools import zip_longest
from pathlib import Path
from typing import Final

from sqlalchemy.dialects import sqlite
from sqlalchemy.engine import URL
from sqlalchemy.schema import CreateIndex, CreateTable, ExecutableDDLElement

from oms.errors import ChainBroken
from oms.store.archived import filled
from oms.store.audit import Progress
from oms.store.backend import Connection, connect
from oms.store.differences import RowKey
from oms.store.envelopes import SELECT_FACTS, envelope
from oms.store.projector import ChangedRecords, Evicted, Projector
from oms.store.rows import Sums, Unfit
from oms.store.tables import ORDER_EVENTS, PROJECTIONS

PAGE_ROWS: Final = 1_000
#: Events between two writes of the shadow, of the records that have ended; those that are live wait
#: in memory for the end.
EVENTS_PER_WRITE: Final = 10_000
#: Ended orders and fills that stay in memory. Fewer than in the daemon: a row that a late message
#: needs may be read back here without hurry.
SHADOW_RECORDS_MAX: Final = 2_000
#: Columns that the fold looks stored rows up by, besides the keys. The shadow needs no
#: index for readers: they would be a third of the work of writing it.
_SOUGHT: Final = frozenset({"perm_id", "broker_key", "order_ref", "exec_id", "position_key"})


class Shadow:
    """The projections of a fold from zero."""

    def __init__(self, connection: Connection, resident_records_max: int) -> None:
        self.connection = connection
        #: Of the last event that was folded.
        self.sequence = 0
        self._resident_records_max = resident_records_max
        #: Each event is folded alone, and set aside where it makes a row that cannot be held.
        self._checks_each = False
        self._projector = self._empty()

    def _empty(self) -> Projector:
        most = self._resident_records_max
        return Projector(self.connection, resident_records_max=most, evicted=Evicted())

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
        with self.connection.writing(), collector_at_rest():
            try:
                self._fold(source, first, to, progress, touched)
            except Unfit:
                # A fault of a fold, and none is known: what it costs does not matter.
                self._start_again()
                self._fold(source, first, to, progress, touched)

    def _fold(
        self,
        source: Connection,
        first: int,
        to: int,
        progress: Progress | None,
        touched: set[RowKey] | None,
    ) -> None:
        while self.sequence < to:
            changes = self._fold_page(source, to)
            if touched is not None and self.sequence > first:
                touched.update((table, (key,)) for table, found in changes.items() for key in found)
            if self._projector.behind >= EVENTS_PER_WRITE:
                self._projector.write(but_live=True)
            if progress is not None and self.sequence > first:
                progress(self.sequence - first, to - first)
        self._projector.write()

    def _start_again(self) -> None:
        """Fold from the first event again, each alone: of one of them no row can be made."""
        for table in (*PROJECTIONS, ORDER_EVENTS.name):
            self.connection.execute(f"DELETE FROM {table}")
        self.sequence, self._checks_each = 0, True
        self._projector = self._empty()

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


@contextmanager
def collector_at_rest() -> Iterator[None]:
    """Keep the garbage collector from walking the books again and again.

    A fold makes no cycles, so there is nothing to be found; the more records were in memory, the
    longer each event took.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


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
                for statement in _tables():
                    connection.execute(statement)
            yield Shadow(connection, resident_records_max)


@cache
def _tables() -> tuple[str, ...]:
    """Return what makes the tables of a shadow and the indexes that the fold needs."""
    dialect = sqlite.dialect()
    made: list[ExecutableDDLElement] = [
        CreateTable(table) for table in (*PROJECTIONS.values(), ORDER_EVENTS)
    ]
    made += [
        CreateIndex(index)
        for table in PROJECTIONS.values()
        for index in table.indexes
        if _SOUGHT.issuperset(index.columns.keys())
    ]
    return tuple(str(one.compile(dialect=dialect)) for one in made)
