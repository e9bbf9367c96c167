"""Keeps the projection rows equal to the fold of the log, in the transaction of the append.

The fold itself is `core.fold.apply` and knows no database. This module brings the stored records
into memory that the next events need, writes back what they touched (each row once a transaction,
however often it changed), and lets ended records go when there are many.

The checkpoint says which sequence the rows have reached. Only events that another program appended
while no daemon was there can lie beyond it; start-up folds them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from oms.core.events import Envelope
from oms.core.fold import apply as folds
from oms.core.fold.books import Books
from oms.core.fold.records import TABLES, AnyRecord, TableSpec, decode_record, encode_record
from oms.core.fold.wants import Want
from oms.store.backend import Connection, Value

#: Touched records by table and key.
ChangedRecords = dict[str, dict[str, AnyRecord]]

#: Ended orders and fills that stay in memory, because a late fill, correction or commission is
#: likely to name them soon: the last minutes of a busy day. 5,000 records are about 30 MB.
RESIDENT_RECORDS_MAX: Final = 5_000


class Projector:
    """The live fold and its rows; every method runs inside the owning thread's transaction."""

    def __init__(
        self, connection: Connection, *, resident_records_max: int = RESIDENT_RECORDS_MAX
    ) -> None:
        self.books: Books = folds.initial()
        self._connection = connection
        self._resident_records_max = resident_records_max
        self._written_since_eviction = 0
        self._unwritten: ChangedRecords = {name: {} for name in TABLES}
        self._unwritten_links: list[tuple[str, int]] = []
        #: The sequence that the rows have reached.
        self.written = 0
        self._writers = {name: _RowWriter(spec) for name, spec in TABLES.items()}

    def restore(self, sequence: int) -> ChangedRecords:
        """Start again from the live rows, which have reached a sequence, and return them."""
        self.books = folds.initial()
        self.books.sequence = self.written = sequence
        self._unwritten = {name: {} for name in TABLES}
        self._unwritten_links = []
        changes: ChangedRecords = {}
        for table in TABLES:
            for _, body in self._connection.rows(f"{_select(table)} WHERE live = 1"):
                record = decode_record(table, body)
                self.books.restore(table, record)
                changes.setdefault(table, {})[record.key] = record
        return changes

    @property
    def behind(self) -> int:
        """Return how many events the books have folded that are not in the rows yet."""
        return self.books.sequence - self.written

    def fold(self, envelopes: Sequence[Envelope]) -> ChangedRecords:
        """Apply events in memory and return every record that they touched.

        Raises what the fold raises, and the books are void then.
        """
        self._page_in(envelopes)
        apply, books = folds.apply, self.books
        for envelope in envelopes:
            books = apply(books, envelope)
        self.books = books
        changes: ChangedRecords = {}
        for table, keys in books.touched().items():
            if keys:
                held = books.tables[table]
                changes[table] = {key: held[key] for key in keys}
                self._unwritten[table].update(changes[table])
        self._unwritten_links += books.links()
        books.clear_touched()
        return changes

    def write(self) -> None:
        """Write every record that was touched since the last call, each once."""
        for table, records in self._unwritten.items():
            if records:
                self._writers[table].write(self._connection, list(records.values()))
                self._written_since_eviction += len(records)
        # In the order of their key: the tree is walked once, not once a row.
        self._connection.insert(
            "INSERT INTO order_events (order_id, sequence)",
            sorted(self._unwritten_links),
            "ON CONFLICT DO NOTHING",
        )
        self._unwritten = {name: {} for name in TABLES}
        self._unwritten_links = []
        self.written = self.books.sequence
        # Only what is written may leave memory.
        self._evict()

    def _page_in(self, envelopes: Sequence[Envelope]) -> None:
        """Bring the stored rows into memory that the events may need, and those beside them."""
        books, wanted = self.books, folds.wanted
        wants = {w for e in envelopes for w in wanted(e.event, e.context, books)}
        while wants:
            beside: set[Want] = set()
            for record in self._read(wants):
                beside.update(folds.companions(record))
            wants = beside

    def _read(self, wants: Iterable[Want]) -> Iterator[AnyRecord]:
        books = self.books
        missing: dict[tuple[str, str], list[str | int]] = defaultdict(list)
        for want in wants:
            if not books.holds(want.table, want.column, want.value):
                missing[want.table, want.column].append(want.value)
        for (table, column), values in missing.items():
            name = column or TABLES[table].key_name
            for key, body in self._connection.among(_select(table), name, values):
                # A record in memory is as new as its row or newer.
                if books.get(table, key) is None:
                    books.restore(table, decode_record(table, body))
                found = books.get(table, key)
                assert found is not None
                yield found

    def _evict(self) -> None:
        # Asking what is evictable walks the books, so it is done once per many rows written.
        if self._written_since_eviction < self._resident_records_max // 4:
            return
        self._written_since_eviction = 0
        evictable = self.books.evictable()
        for table, key in evictable[: max(0, len(evictable) - self._resident_records_max)]:
            self.books.evict(table, key)


class _RowWriter:
    """Writes the rows of one projection."""

    def __init__(self, spec: TableSpec) -> None:
        names = (spec.key_name, *spec.columns, "live", "body")
        self._head = f"INSERT INTO {spec.name} ({', '.join(names)})"
        self._tail = f"ON CONFLICT ({spec.key_name}) DO UPDATE SET " + ", ".join(
            f"{name} = excluded.{name}" for name in names[1:]
        )

    def write(self, connection: Connection, records: Sequence[AnyRecord]) -> None:
        connection.insert(self._head, [self._row(record) for record in records], self._tail)

    def _row(self, record: AnyRecord) -> tuple[Value, ...]:
        # `columns()` names them in the order of the table.
        live = 1 if record.live else 0
        return (record.key, *record.columns().values(), live, encode_record(record))


def _select(table: str) -> str:
    return f"SELECT {TABLES[table].key_name}, body FROM {table}"
