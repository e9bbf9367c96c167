"""Keeps the projection rows equal to the fold of the log, in the transaction of the append.

The fold itself is `core.fold.apply` and knows no database. This module brings the stored records
into memory that the next events need, writes back what they touched (each row once a transaction,
however often it changed), and lets ended records go when there are many.

The checkpoint says which sequence the rows have reached. Only events that another program appended
while no daemon was there can lie beyond it; start-up folds them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from oms.core.bounds import reason_of
from oms.core.events import Envelope
from oms.core.fold import apply as folds
from oms.core.fold.books import Books
from oms.core.fold.records import (
    TABLE_OF,
    TABLES,
    Anomaly,
    AnyRecord,
    TableSpec,
    decode_record,
    encode_record,
)
from oms.core.fold.wants import Want
from oms.errors import ConfigurationError, DatabaseDamaged, StoreError
from oms.store.backend import Connection, Value
from oms.store.rows import (
    LIVE,
    Sums,
    Unfit,
    check_fits,
    digest_of,
    digest_of_link,
    record_of,
    row_columns,
    select_rows,
)

#: Touched records by table and key.
ChangedRecords = dict[str, dict[str, AnyRecord]]

#: Ended orders and fills that stay in memory, because a late fill, correction or commission is
#: likely to name them soon: the last minutes of a busy day. 5,000 records are about 30 MB.
RESIDENT_RECORDS_MAX: Final = 5_000

#: Columns that folds look stored rows up by, besides the keys.
SOUGHT: Final[Mapping[str, frozenset[str]]] = {
    "orders": frozenset({"perm_id", "broker_key", "order_ref"}),
    "fills": frozenset({"perm_id", "exec_id", "order_id", "position_key"}),
    "account_values": frozenset({"account"}),
}

#: Faults of the disk, the database or the memory.
_NOT_THE_EVENTS: Final = (StoreError, ConfigurationError, MemoryError, OSError)

#: What is said where no single row is wrong, and all of them together are.
ROWS_DO_NOT_ADD_UP: Final = (
    "{} of the projections are not those that were written: one was deleted, added, or put back as"
    " it once was"
)


class Projector:
    """The live fold and its rows; every method runs inside the owning thread's transaction."""

    def __init__(
        self,
        connection: Connection,
        *,
        resident_records_max: int = RESIDENT_RECORDS_MAX,
        evicted: Evicted | None = None,
    ) -> None:
        self.books: Books = folds.initial()
        #: Given where no row but its own is in the tables: others are not looked for.
        self._evicted = evicted
        self._connection = connection
        self._resident_records_max = resident_records_max
        self._written_since_eviction = 0
        self._unwritten: ChangedRecords = {name: {} for name in TABLES}
        self._unwritten_links: list[tuple[str, int]] = []
        #: What `is_news` has changed on the way of a transaction.
        self._ahead: ChangedRecords = {}
        #: The sequence that the rows have reached.
        self.written = 0
        #: What the rows add up to.
        self.sums = Sums()
        #: What the rows in memory count for in the sums: digest, and whether the row is live.
        self._counted: dict[str, dict[str, tuple[bytes, bool]]] = {name: {} for name in TABLES}
        self._writers = {name: _RowWriter(spec) for name, spec in TABLES.items()}

    def restore(self, sequence: int, sums: Sums) -> ChangedRecords:
        """Start again from the live rows, which have reached a sequence, and return them.

        `sums` are what all rows add up to. Raises `DatabaseDamaged` where a row is not what was
        written.
        """
        self.books = folds.initial()
        self.books.sequence = self.written = sequence
        self.sums = sums
        self._counted = {name: {} for name in TABLES}
        self._unwritten = {name: {} for name in TABLES}
        self._unwritten_links = []
        self._ahead = {}
        changes: ChangedRecords = {}
        for table in TABLES:
            for row in self._connection.rows(f"{select_rows(table)} WHERE live = 1"):
                record = self._taken(table, row)
                self.books.restore(table, record)
                changes.setdefault(table, {})[record.key] = record
        return changes

    def check_live(self) -> None:
        """Raise `DatabaseDamaged` unless the rows in memory are all live rows that were written;
        only right after `restore`.
        """
        found = Sums()
        for counted in self._counted.values():
            for digest, live in counted.values():
                found.add(digest, live=live)
        if found.live != self.sums.live:
            raise DatabaseDamaged(ROWS_DO_NOT_ADD_UP.format("the live rows"))
        self._evict_ended()

    def is_set_aside(self, sequence: int) -> bool:
        """Say whether an event is left out of the books, and nobody has closed its break."""
        found = self.books.get("anomalies", str(sequence))
        return isinstance(found, Anomaly) and found.kind == "set_aside" and found.live

    @property
    def behind(self) -> int:
        """Return how many events the books have folded that are not in the rows yet."""
        return self.books.sequence - self.written

    def fold(self, envelopes: Sequence[Envelope]) -> ChangedRecords:
        """Apply events in memory, but those that `is_news` has applied, and return every record
        that they all touched.
        """
        new = [one for one in envelopes if one.sequence > self.books.sequence]
        self._page_in(new)
        apply, books = folds.apply, self.books
        for envelope in new:
            books = apply(books, envelope, prepared=True)
        self.books = books
        changes, self._ahead = self._ahead, {}
        for table, records in self._changes().items():
            changes.setdefault(table, {}).update(records)
        return changes

    def is_news(self, others: Sequence[Envelope], envelope: Envelope) -> bool:
        """Say whether the books change with an event that comes after others of its transaction;
        that the same was said once more is no change. The others, and news, are folded here.
        """
        self._ahead = self.fold(others)
        self._page_in((envelope,))
        is_news = folds.apply_news(self.books, envelope)
        self._ahead = self.fold(())
        return is_news

    def fold_checked(self, envelopes: Iterable[Envelope]) -> ChangedRecords:
        """Do as `fold` from the rows on, and set each event aside that makes a row which no
        database can hold.

        `envelopes` are all events since the last `write`, which raised `Unfit`. Returns every
        record in memory: what `fold` said of these events is void.
        """
        changes = self.restore(self.written, self.sums)
        for table, records in self.fold_each(envelopes).items():
            changes.setdefault(table, {}).update(records)
        return changes

    def fold_each(self, envelopes: Iterable[Envelope]) -> ChangedRecords:
        """Do as `fold`, and set each event aside that makes a row which no database can hold."""
        changes: ChangedRecords = {}
        for envelope in envelopes:
            self._page_in((envelope,))
            self.books = folds.apply(self.books, envelope, self._check_fits, prepared=True)
            for table, records in self._changes().items():
                changes.setdefault(table, {}).update(records)
        return changes

    def _check_fits(self, record: AnyRecord) -> None:
        spec = TABLES[TABLE_OF[type(record)]]
        check_fits(spec, self._writers[spec.name].row(record))
        # Read back as the next start reads it.
        decode_record(spec.name, encode_record(record))

    def _changes(self) -> ChangedRecords:
        books = self.books
        changes: ChangedRecords = {}
        for table, keys in books.touched().items():
            if keys:
                held = books.tables[table]
                changes[table] = {key: held[key] for key in keys}
                self._unwritten[table].update(changes[table])
        self._unwritten_links += books.links()
        books.clear_touched()
        return changes

    def write(self, *, but_live: bool = False) -> None:
        """Write every record that was touched since the last call, each once; with `but_live` those
        that have ended, and the others stay unwritten: one that changes often is written once.

        Raises `Unfit`, before anything is written, where no database can hold one of the rows.
        """
        later: ChangedRecords = {name: {} for name in TABLES}
        if but_live:
            for name, records in self._unwritten.items():
                later[name] = {key: one for key, one in records.items() if one.live}
                for key in later[name]:
                    del records[key]
        made = {name: self._rows(name) for name, records in self._unwritten.items() if records}
        for table, rows in made.items():
            self._count(table, rows)
            self._writers[table].write(self._connection, rows)
            self._written_since_eviction += len(rows)
        self._write_links()
        self._unwritten = later
        self._unwritten_links = []
        self.written = self.books.sequence
        # Only what is written may leave memory.
        self._evict()

    def _rows(self, table: str) -> list[tuple[Any, ...]]:
        writer, spec = self._writers[table], TABLES[table]
        try:
            rows = [writer.row(record) for record in self._unwritten[table].values()]
        except _NOT_THE_EVENTS:
            raise
        except Exception as error:
            raise Unfit(f"no text can be made of a row of {table}: {reason_of(error)}") from error
        for row in rows:
            check_fits(spec, row)
        return rows

    def _count(self, table: str, rows: Sequence[Sequence[Any]]) -> None:
        """Bring the sums to the rows that are about to be written."""
        counted, sums = self._counted[table], self.sums
        new = [r[0] for r in rows if r[0] not in counted and self._may_be_stored(table, "", r[0])]
        if new:
            # Nearly always they are new. A fold may also write a row that it did not ask for.
            spec = TABLES[table]
            select = f"SELECT {spec.key_name}, digest, live FROM {table}"
            for key, digest, live in self._connection.among(select, spec.key_name, new):
                counted[key] = (bytes(digest or b""), bool(live))
        for row in rows:
            key, digest, live = row[0], row[-1], bool(row[LIVE])
            before = counted.get(key)
            if before is not None:
                sums.remove(before[0], live=before[1])
            sums.add(digest, live=live)
            counted[key] = (digest, live)

    def _write_links(self) -> None:
        # In the order of their key: the tree is walked once, not once a row.
        links = sorted(set(self._unwritten_links))
        select = "SELECT count(*) FROM order_events WHERE order_id = ? AND sequence = ?"
        # An event that is in the rows already may be so with this link.
        self.sums.add_ended(
            digest_of_link(link)
            for link in links
            if link[1] > self.written or not self._connection.rows(select, link)[0][0]
        )
        self._connection.insert(
            "INSERT INTO order_events (order_id, sequence)", links, "ON CONFLICT DO NOTHING"
        )

    def _page_in(self, envelopes: Sequence[Envelope]) -> None:
        """Bring the stored rows into memory that the events may need, and those beside them."""
        try:
            self._read_in(envelopes)
        except _NOT_THE_EVENTS:
            raise
        except Exception as error:  # noqa: BLE001  # of one event, which is set aside
            if len(envelopes) == 1:
                folds.cannot_prepare(self.books, envelopes[0], error)
            else:
                for envelope in envelopes:
                    self._page_in((envelope,))

    def _read_in(self, envelopes: Sequence[Envelope]) -> None:
        books, wanted = self.books, folds.wanted
        wants = {w for e in envelopes for w in wanted(e, books)}
        while wants:
            beside: set[Want] = set()
            for record in self._read(wants):
                beside.update(folds.companions(record))
            wants = beside

    def _read(self, wants: Iterable[Want]) -> Iterator[AnyRecord]:
        books = self.books
        missing: dict[tuple[str, str], list[str | int]] = defaultdict(list)
        for want in wants:
            if not books.holds(*want) and self._may_be_stored(*want):
                missing[want.table, want.column].append(want.value)
        for (table, column), values in missing.items():
            name = column or TABLES[table].key_name
            for row in self._connection.among(select_rows(table), name, values):
                # A record in memory is as new as its row or newer.
                found = books.get(table, row[0])
                if found is None:
                    found = self._taken(table, row)
                    books.restore(table, found)
                yield found

    def _taken(self, table: str, row: Sequence[Any]) -> AnyRecord:
        """Return the record of a row that comes into memory."""
        record = record_of(table, row)
        self._counted[table][row[0]] = (bytes(row[-1]), bool(row[LIVE]))
        return record

    def _may_be_stored(self, table: str, column: str, value: str | int) -> bool:
        return self._evicted is None or self._evicted.may_have(table, column, value)

    def _evict(self) -> None:
        # Asking what is evictable walks the books, so it is done once per many rows written.
        if self._written_since_eviction < self._resident_records_max // 4:
            return
        self._written_since_eviction = 0
        self._evict_ended()

    def _evict_ended(self) -> None:
        evictable = self.books.evictable()
        for table, key in evictable[: max(0, len(evictable) - self._resident_records_max)]:
            if self._evicted is not None:
                self._evicted.add(table, key, self.books.tables[table][key])
            self.books.evict(table, key)
            self._counted[table].pop(key, None)


class Evicted:
    """Which records have left memory, by each of their names: says no for sure, and yes at times
    for one that has not.

    A rebuild looks for the stored rows of each new order and execution, and there are none: one bit
    for each name says so. Ten million events have some twenty million names, of which one in
    seven is then looked for in vain.
    """

    _BITS: Final = 1 << 27

    def __init__(self) -> None:
        self._octets = bytearray(self._BITS >> 3)

    def add(self, table: str, key: str, record: AnyRecord) -> None:
        """Note every name of a record that leaves memory."""
        self.add_names(table, key, record.columns().items())

    def add_names(self, table: str, key: str, columns: Iterable[tuple[str, object]]) -> None:
        """Do so for the columns of its row."""
        sought = SOUGHT.get(table, frozenset())
        for column, value in (("", key), *columns):
            if (not column or column in sought) and isinstance(value, str | int):
                number = hash((table, column, value)) & self._BITS - 1
                self._octets[number >> 3] |= 1 << (number & 7)

    def may_have(self, table: str, column: str, value: str | int) -> bool:
        """Say whether a record with a value in a column may have left memory; "" is the key."""
        if column and column not in SOUGHT.get(table, frozenset()):
            return True  # of that nothing is noted
        number = hash((table, column, value)) & self._BITS - 1
        return bool(self._octets[number >> 3] >> (number & 7) & 1)


class _RowWriter:
    """Writes the rows of one projection."""

    def __init__(self, spec: TableSpec) -> None:
        names = row_columns(spec)
        self._table = spec.name
        self._head = f"INSERT INTO {spec.name} ({', '.join(names)})"
        self._tail = f"ON CONFLICT ({spec.key_name}) DO UPDATE SET " + ", ".join(
            f"{name} = excluded.{name}" for name in names[1:]
        )

    def write(self, connection: Connection, rows: Sequence[Sequence[Value]]) -> None:
        """Write rows, over those of the same keys."""
        connection.insert(self._head, rows, self._tail)

    def row(self, record: AnyRecord) -> tuple[Any, ...]:
        """Return the row of a record, its digest last."""
        # `columns()` names them in the order of the table.
        live = 1 if record.live else 0
        values = (record.key, *record.columns().values(), live, encode_record(record))
        return (*values, digest_of(self._table, values))
