"""What can be asked of the log and its projections, in one state of the database.

What is returned is decoded: envelopes and records, never rows. `reader.Reader` asks all of it from
an event loop.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import fields
from datetime import datetime
from typing import Any, Final

from oms.core.codec import GENESIS, Head
from oms.core.events import Envelope, TradingHaltedByPerson, TradingResumed
from oms.core.fold.records import TABLES, AnyRecord, SystemRecord
from oms.core.fold.sessions import switched
from oms.errors import ArchiveUnavailable, ChainBroken, NotFound
from oms.store.archived import PAYLOAD, filled, lacks_text
from oms.store.backend import Connection, Value
from oms.store.envelopes import (
    HASH,
    SELECT_EVENTS,
    SELECT_HEAD,
    SELECT_MARKS,
    Row,
    envelope,
    follow,
    head_of,
    mark_of,
    moment_of,
)
from oms.store.lease import Lease, lease_of
from oms.store.rows import record_of, row_columns, select_rows
from oms.store.tables import BOOKS_CHECKPOINT, EVENT_COLUMNS, LOG_CHECKPOINT

#: Rows of one call where the caller names no limit: a page of a screen, not a whole log.
LIMIT: Final = 1_000
#: What the hash of an event covers.
_HASHED: Final = tuple(name for name in EVENT_COLUMNS if name != "hash")
_STORY: Final = "SELECT sequence FROM order_events WHERE order_id = ?"


class Reading:
    """A database in one state: nothing that is written meanwhile is seen. It belongs to the thread
    that asks, and ends with the transaction that it was made in.
    """

    def __init__(self, connection: Connection, *, checked: bool = True) -> None:
        self._connection = connection
        self._checked = checked

    def head(self) -> Head:
        """Return where the log ends."""
        rows = self._rows(SELECT_HEAD)
        return head_of(rows[0]) if rows else Head()

    def hashes(self, first: int, last: int) -> list[bytes]:
        """Return the hashes of the events from `first` to `last`, both included, in order."""
        select = "SELECT hash FROM events WHERE sequence BETWEEN ? AND ? ORDER BY sequence"
        return [bytes(digest) for (digest,) in self._rows(select, first, last)]

    def events(
        self,
        after: int = 0,
        *,
        limit: int = LIMIT,
        before: int | None = None,
        type: str | Collection[str] | None = None,
        order_id: str | None = None,
        correlation_id: str | None = None,
        session: int | None = None,
        reverse: bool = False,
    ) -> list[Envelope]:
        """Return events with `after < sequence < before` that meet every condition given.

        In order of sequence, the newest first with `reverse`; at most `limit`. One whose text
        cannot be read is an `EventSetAside`, whatever type was asked for.
        """
        conditions, values = ["sequence > ?"], list[Any]([after])
        if before is not None:
            conditions.append("sequence < ?")
            values.append(before)
        if type is not None:
            conditions.append(f"type {self._connection.membership}")
            values.append(self._members([type] if isinstance(type, str) else list(type)))
        if order_id is not None:
            conditions.append(f"sequence IN ({_STORY})")
            values.append(order_id)
        if correlation_id is not None:
            conditions.append("correlation_id = ?")
            values.append(correlation_id)
        if session is not None:
            conditions.append("session_epoch = ?")
            values.append(session)
        by = "sequence DESC" if reverse else "sequence"
        where = f"WHERE {' AND '.join(conditions)} ORDER BY {by} LIMIT ?"
        return self._envelopes(f"{SELECT_EVENTS} {where}", *values, limit)

    def envelopes(self, sequences: Sequence[int], *, reverse: bool = False) -> list[Envelope]:
        """Return the events with these sequences, in their order."""
        by = "sequence DESC" if reverse else "sequence"
        where = f"WHERE sequence {self._connection.membership} ORDER BY {by}"
        return self._envelopes(f"{SELECT_EVENTS} {where}", self._members(sequences))

    def recorded_at(self, sequence: int) -> datetime:
        """Return when an event was recorded; raises `NotFound`."""
        rows = self._rows("SELECT recorded_at FROM events WHERE sequence = ?", sequence)
        if not rows:
            raise NotFound(f"the log has no event {sequence}")
        return moment_of(sequence, rows[0][0])

    def links(self, sequences: Sequence[int]) -> list[tuple[int, str]]:
        """Return which of these events are about which orders."""
        select = "SELECT sequence, order_id FROM order_events"
        return self._connection.among(select, "sequence", sequences)

    def sequences_of(self, order_ids: Sequence[str]) -> list[int]:
        """Return the sequences of every event about some orders."""
        select = "SELECT sequence FROM order_events"
        return [one for (one,) in self._connection.among(select, "order_id", order_ids)]

    def sequences_in(self, states: Sequence[str], first: int, last: int) -> list[int]:
        """Return the sequences, inside of a range, of events about orders in one of some states."""
        select = (
            "SELECT order_events.sequence FROM order_events"
            " JOIN orders ON orders.order_id = order_events.order_id"
            f" WHERE orders.state {self._connection.membership}"
            " AND order_events.sequence BETWEEN ? AND ?"
        )
        return [one for (one,) in self._rows(select, self._members(states), first, last)]

    def sequences_correlated(self, correlation_id: str) -> list[int]:
        """Return the sequences of every event of one correlation."""
        select = "SELECT sequence FROM events WHERE correlation_id = ?"
        return [one for (one,) in self._rows(select, correlation_id)]

    def event(self, sequence: int) -> Envelope:
        """Return one event; raises `NotFound`, and `ChainBroken` for one that was appended once."""
        found = self._envelopes(f"{SELECT_EVENTS} WHERE sequence = ?", sequence)
        if not found:
            appended = self.checkpoints().get(LOG_CHECKPOINT, 0)
            if 0 < sequence <= appended:
                text = f"the log has no event {sequence}, but {appended} events were appended"
                raise ChainBroken(text, sequence=sequence)
            raise NotFound(f"the log has no event {sequence}")
        return found[0]

    def order_events(self, order_id: str) -> list[Envelope]:
        """Return the whole story of an order, in order of sequence."""
        where = f"WHERE sequence IN ({_STORY}) ORDER BY sequence"
        return self._envelopes(f"{SELECT_EVENTS} {where}", order_id)

    def sequences_keyed(self, keys: Sequence[str]) -> dict[str, int]:
        """Return the sequence of each event that has one of some natural keys."""
        select = "SELECT natural_key, sequence FROM events"
        return dict(self._connection.among(select, "natural_key", keys))

    def stored_columns(self, order_id: str) -> Sequence[Row]:
        """Return the columns that the hash covers of each event of an order, as they are stored."""
        where = f"WHERE sequence IN ({_STORY}) ORDER BY sequence"
        rows = self._rows(f"SELECT {', '.join(_HASHED)} FROM events {where}", order_id)
        return filled(self._connection, rows, PAYLOAD - 1)

    def stored(self, sequences: Sequence[int]) -> Sequence[Row]:
        """Return of some events what is stored: the columns that the hash covers, the hash, and
        that of the event before (None where there is none), in the order of the log.
        """
        columns = ", ".join(f"own.{name}" for name in (*_HASHED, "hash"))
        select = (
            f"SELECT {columns}, before.hash FROM events AS own"
            " LEFT JOIN events AS before ON before.sequence = own.sequence - 1"
            f" WHERE own.sequence {self._connection.membership} ORDER BY own.sequence"
        )
        return filled(self._connection, self._rows(select, self._members(sequences)), PAYLOAD - 1)

    def stream(self, table: str) -> Iterator[list[AnyRecord]]:
        """Yield all records of a projection in pages: orders and fills in the order in which they
        came to the books, others by key.
        """
        by = TABLES[table].key_name
        if table == "orders":
            first = "SELECT min(sequence) FROM order_events WHERE order_id = orders.order_id"
            by = f"({first}), {by}"
        elif table == "fills":
            by = f"booked_sequence, {by}"
        for page in self._connection.scanned(f"{select_rows(table)} ORDER BY {by}"):
            yield [record_of(table, row) for row in page]

    def one(self, table: str, key: str) -> AnyRecord | None:
        """Return the record of a projection with that key, None where there is none."""
        rows = self._rows(f"{select_rows(table)} WHERE {TABLES[table].key_name} = ?", key)
        return record_of(table, rows[0]) if rows else None

    def rows(
        self,
        table: str,
        where: Mapping[str, object] | None = None,
        *,
        order: str = "",
        reverse: bool = False,
        limit: int | None = None,
    ) -> list[AnyRecord]:
        """Return the records of a projection whose columns have the values given.

        A value that is a list or tuple matches each of its members; besides the table's columns,
        `live` can be asked for. Ordered by the column named, by key where none is.
        """
        meets, values = self._conditions(table, where)
        key = TABLES[table].key_name
        by = (_column(table, order), key) if order else (key,)
        way = " DESC" if reverse else ""
        query = f"{select_rows(table)} {meets} ORDER BY {', '.join(f'{c}{way}' for c in by)}"
        if limit is not None:
            query, values = f"{query} LIMIT ?", (*values, limit)
        return [record_of(table, row) for row in self._rows(query, *values)]

    def highest(self, table: str, column: str, below: int, *, limit: int) -> list[AnyRecord]:
        """Return the records of a projection with the highest values of a column below one, the
        highest first.
        """
        by = _column(table, column)
        query = f"{select_rows(table)} WHERE {by} < ? ORDER BY {by} DESC LIMIT ?"
        return [record_of(table, row) for row in self._rows(query, below, limit)]

    def tally(
        self, table: str, column: str, number: str, first: int, last: int
    ) -> list[tuple[str, int, int]]:
        """Return, for each value of a column, how many records of a projection have a number from
        first to last, and the highest.
        """
        by, counted = _column(table, column), _column(table, number)
        query = (
            f"SELECT {by}, count(*), max({counted}) FROM {table}"
            f" WHERE {counted} BETWEEN ? AND ? GROUP BY {by} ORDER BY {by}"
        )
        return [(str(one), count, top) for one, count, top in self._rows(query, first, last)]

    def first_since(self, moment: datetime) -> int:
        """Return the first event that was recorded at a moment or later, by halves: times never go
        back; one above the last where none was. What has left the database was before.
        """
        low, high = 1, self.head().sequence + 1
        while low < high:
            middle = (low + high) // 2
            try:
                is_before = self.recorded_at(middle) < moment
            except NotFound:
                is_before = True
            low, high = (middle + 1, high) if is_before else (low, middle)
        return low

    def count(self, table: str, where: Mapping[str, object] | None = None) -> int:
        """Return how many records of a projection have the values given."""
        counted = f"SELECT count(*) FROM {table}"
        if where is not None and where.keys() == {"live"} and where["live"] in (False, 0):
            # All are counted in the smallest index, the live ones in their own.
            query, values = f"SELECT ({counted}) - ({counted} WHERE live = 1)", tuple[Value, ...]()
        else:
            meets, values = self._conditions(table, where)
            query = f"{counted} {meets}"
        return int(self._rows(query, *values)[0][0])

    def beginning(self, table: str, column: str, prefix: str) -> list[AnyRecord]:
        """Return the records of a projection whose column begins so."""
        meets, values = _begins(_column(table, column), prefix)
        query = f"{select_rows(table)} WHERE {meets} LIMIT ?"
        return [record_of(table, row) for row in self._rows(query, *values, LIMIT)]

    def keys(self, table: str, prefix: str, *, limit: int = LIMIT) -> list[str]:
        """Return the keys of a projection that begin so, in their order."""
        key = TABLES[table].key_name
        meets, values = _begins(key, prefix)
        query = f"SELECT {key} FROM {table} WHERE {meets} ORDER BY {key} LIMIT ?"
        return [found for (found,) in self._rows(query, *values, limit)]

    def system(self) -> SystemRecord:
        """Return the state of the whole, with what was said about halting since its row.

        A halt counts from its commit, also while no daemon runs that would fold it.
        """
        reached = self.checkpoints().get(BOOKS_CHECKPOINT, 0)
        found = self.one("system", SystemRecord().key)
        system = found if isinstance(found, SystemRecord) else SystemRecord()
        switches = [
            envelope
            for kind in (TradingHaltedByPerson, TradingResumed)
            for envelope in self.events(reached, type=kind.__name__, reverse=True, limit=1)
        ]
        for one in sorted(switches, key=lambda switch: switch.sequence):
            system = switched(system, one)
        return system

    def leases(self) -> list[Lease]:
        """Return every lease that was ever taken; `Lease.held` says which daemon is alive."""
        columns = ", ".join(field.name for field in fields(Lease))
        return [lease_of(row) for row in self._rows(f"SELECT {columns} FROM leases ORDER BY name")]

    def checkpoints(self) -> dict[str, int]:
        """Return the sequence that each fold has reached."""
        return {row[0]: mark_of(row)[0] for row in self._rows(SELECT_MARKS)}

    def _rows(self, query: str, *values: Value) -> list[tuple[Any, ...]]:
        return self._connection.rows(query, values)

    def _members(self, values: Sequence[str | int]) -> Any:
        return self._connection.members(values)

    def _envelopes(self, query: str, *values: Any) -> list[Envelope]:
        rows = filled(self._connection, self._rows(query, *values))
        if self._checked and rows:
            self._check(rows)
        return [envelope(row) for row in rows]

    def _check(self, rows: Sequence[Row]) -> None:
        """Raise `ChainBroken` with the first of these events that is not what was written.

        The event after each is looked at as well: who alters an event and its hash breaks the next
        link.
        """
        shown = {row[0]: row for row in rows}
        beside = {number for one in shown for number in (one - 1, one + 1)} - shown.keys()
        found = self._connection.among(SELECT_EVENTS, "sequence", sorted(beside))
        # Without the archive, what is shown was stored here and is held against its own hash.
        with suppress(ArchiveUnavailable):
            found = filled(self._connection, found)
        every = {**shown, **{row[0]: row for row in found}}
        for sequence in sorted({*shown, *(one + 1 for one in shown)}):
            row = every.get(sequence)
            if row is None or lacks_text(row):
                continue
            before = every.get(sequence - 1)
            if before is None and sequence > 1:
                raise ChainBroken(f"the log has no event {sequence - 1}", sequence=sequence - 1)
            follow(GENESIS if before is None else bytes(before[HASH]), sequence, row)

    def _conditions(
        self, table: str, where: Mapping[str, object] | None
    ) -> tuple[str, tuple[Any, ...]]:
        """Return the WHERE of some values, "" for none, and what stands in it."""
        parts, values = list[str](), list[Any]()
        for name, value in (where or {}).items():
            column = _column(table, name)
            if isinstance(value, list | tuple | set | frozenset):
                parts.append(f"{column} {self._connection.membership}")
                # Booleans are stored as numbers, and PostgreSQL does not compare the two.
                values.append(self._members([int(m) if isinstance(m, bool) else m for m in value]))
            elif name == "live" and value in (True, 1):
                # Spelled out: SQLite does not match a parameter with the condition of an index.
                parts.append("live = 1")
            else:
                parts.append(f"{column} = ?")
                values.append(int(value) if isinstance(value, bool) else value)
        return f"WHERE {' AND '.join(parts)}" if parts else "", tuple(values)


def _column(table: str, name: str) -> str:
    """Return the name of a column; raises `KeyError` for one that a projection does not have."""
    if name not in row_columns(TABLES[table]):
        raise KeyError(f"{table} has no column {name}")
    return name


def _begins(column: str, prefix: str) -> tuple[str, tuple[str, str]]:
    """Return the condition that a column begins so: a range and no pattern, which SQLite finds by
    an index only where case counts.
    """
    end = prefix[:-1] + chr(ord(prefix[-1]) + 1) if prefix else ""
    return f"{column} >= ? AND {column} < ?", (prefix, end)
