"""Reading the log and its projections, from any number of programs, while the daemon writes.

Connections are read-only and every call is one short transaction, so that no writer waits for a
reader, and a call sees one state. What it returns is decoded: envelopes and records, never rows.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import fields
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, Table, event, func, literal_column, select
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from oms.core.codec import GENESIS, Head
from oms.core.events import Envelope, TradingHaltedByPerson, TradingResumed
from oms.core.fold.records import TABLES, AnyRecord, SystemRecord
from oms.core.fold.sessions import switched
from oms.errors import ArchiveUnavailable, ChainBroken, NotFound, StoreCutOff
from oms.store import schema
from oms.store.archived import PAYLOAD, Segment, fill, lacks_text, refuse_altered
from oms.store.backend import (
    connect,
    parse_url,
    place_of,
    postgresql_arguments,
    set_pragmas,
    sqlite_url,
)
from oms.store.driver_errors import driver_errors, needs_driver
from oms.store.envelopes import HASH, Row, envelope, follow, head_of, mark_of, moment_of
from oms.store.lease import Lease, lease_of
from oms.store.loss import tolerable_loss
from oms.store.rows import record_of, row_columns
from oms.store.soundness import check_complete
from oms.store.tables import (
    BOOKS_CHECKPOINT,
    CHECKPOINTS,
    EVENT_COLUMNS,
    EVENTS,
    LEASES,
    LOG_CHECKPOINT,
    ORDER_EVENTS,
    PROJECTIONS,
    SEGMENTS,
)

#: Rows of one call where the caller names no limit: a page of a screen, not a whole log.
LIMIT: Final = 1_000
#: Between two questions to a server that does not answer.
_PAUSE_SECONDS: Final = 0.25


class Reader:
    """Asynchronous reads of one database. Open it with `Reader.open`, close it when done."""

    def __init__(
        self,
        engine: AsyncEngine,
        url: str,
        *,
        checked: bool = True,
        cut_off_seconds_max: float = 0,
    ) -> None:
        self.url = url
        self._checked = checked
        self._cut_off_seconds_max = cut_off_seconds_max
        self._engine = engine
        self._place = place_of(parse_url(url))

    @classmethod
    async def open(
        cls, url: str, *, checked: bool = True, cut_off_seconds_max: float = 0
    ) -> Reader:
        """Return a reader of a database that has this version's tables; a question waits so long
        for a server that does not answer.

        Each event that it returns has its hash checked, and a database that lacks events or rows
        is refused (`soundness.check_complete`), unless `checked` is False: the daemon hears of
        damage from its own check, and cancels must pass also where an event was altered.
        Raises `MigrationNeeded` where it has not, `StoreUnavailable` where there is none,
        `LogWentBack` where every event of a log is gone, `ChainBroken` and `DatabaseDamaged`.
        """
        parsed = parse_url(url)
        await asyncio.to_thread(_check, url, checked)
        return cls(_engine(parsed), url, checked=checked, cut_off_seconds_max=cut_off_seconds_max)

    async def close(self) -> None:
        """Close the connections."""
        await self._engine.dispose()

    async def head(self) -> Head:
        """Return where the log ends."""
        columns = (EVENTS.c.sequence, EVENTS.c.hash, EVENTS.c.recorded_at)
        rows = await self._rows(select(*columns).order_by(EVENTS.c.sequence.desc()).limit(1))
        return head_of(rows[0]) if rows else Head()

    async def hashes(self, first: int, last: int) -> list[bytes]:
        """Return the hashes of the events from `first` to `last`, both included, in order."""
        inside = EVENTS.c.sequence.between(first, last)
        query = select(EVENTS.c.hash).where(inside).order_by(EVENTS.c.sequence)
        return [bytes(digest) for (digest,) in await self._rows(query)]

    async def events(
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
        query = select(EVENTS).where(EVENTS.c.sequence > after)
        if before is not None:
            query = query.where(EVENTS.c.sequence < before)
        if type is not None:
            names = [type] if isinstance(type, str) else list(type)
            query = query.where(EVENTS.c.type.in_(names))
        if order_id is not None:
            story = select(ORDER_EVENTS.c.sequence).where(ORDER_EVENTS.c.order_id == order_id)
            query = query.where(EVENTS.c.sequence.in_(story))
        if correlation_id is not None:
            query = query.where(EVENTS.c.correlation_id == correlation_id)
        if session is not None:
            query = query.where(EVENTS.c.session_epoch == session)
        by = EVENTS.c.sequence.desc() if reverse else EVENTS.c.sequence
        return await self._envelopes(query.order_by(by).limit(limit))

    async def envelopes(self, sequences: Sequence[int], *, reverse: bool = False) -> list[Envelope]:
        """Return the events with these sequences, in their order."""
        by = EVENTS.c.sequence.desc() if reverse else EVENTS.c.sequence
        inside = EVENTS.c.sequence.in_(sequences)
        return await self._envelopes(select(EVENTS).where(inside).order_by(by))

    async def recorded_at(self, sequence: int) -> datetime:
        """Return when an event was recorded; raises `NotFound`."""
        rows = await self._rows(select(EVENTS.c.recorded_at).where(EVENTS.c.sequence == sequence))
        if not rows:
            raise NotFound(f"the log has no event {sequence}")
        return moment_of(sequence, rows[0][0])

    async def links(self, sequences: Sequence[int]) -> list[tuple[int, str]]:
        """Return which of these events are about which orders."""
        inside = ORDER_EVENTS.c.sequence.in_(sequences)
        query = select(ORDER_EVENTS.c.sequence, ORDER_EVENTS.c.order_id).where(inside)
        return [(int(sequence), str(order_id)) for sequence, order_id in await self._rows(query)]

    async def sequences_of(self, order_ids: Sequence[str]) -> list[int]:
        """Return the sequences of every event about some orders."""
        query = select(ORDER_EVENTS.c.sequence).where(ORDER_EVENTS.c.order_id.in_(order_ids))
        return [int(sequence) for (sequence,) in await self._rows(query)]

    async def sequences_in(self, states: Sequence[str], first: int, last: int) -> list[int]:
        """Return the sequences, inside of a range, of events about orders in one of some states."""
        orders = PROJECTIONS["orders"]
        query = (
            select(ORDER_EVENTS.c.sequence)
            .join(orders, orders.c.order_id == ORDER_EVENTS.c.order_id)
            .where(orders.c.state.in_(states), ORDER_EVENTS.c.sequence.between(first, last))
        )
        return [int(sequence) for (sequence,) in await self._rows(query)]

    async def sequences_correlated(self, correlation_id: str) -> list[int]:
        """Return the sequences of every event of one correlation."""
        query = select(EVENTS.c.sequence).where(EVENTS.c.correlation_id == correlation_id)
        return [int(sequence) for (sequence,) in await self._rows(query)]

    async def event(self, sequence: int) -> Envelope:
        """Return one event; raises `NotFound`, and `ChainBroken` for one that was appended once."""
        # What was appended is asked first: a daemon beside us goes on.
        appended = (await self.checkpoints()).get(LOG_CHECKPOINT, 0)
        found = await self.events(sequence - 1, limit=1, before=sequence + 1)
        if not found:
            if 0 < sequence <= appended:
                text = f"the log has no event {sequence}, but {appended} events were appended"
                raise ChainBroken(text, sequence=sequence)
            raise NotFound(f"the log has no event {sequence}")
        return found[0]

    async def order_events(self, order_id: str) -> list[Envelope]:
        """Return the whole story of an order, in order of sequence."""
        story = select(ORDER_EVENTS.c.sequence).where(ORDER_EVENTS.c.order_id == order_id)
        query = select(EVENTS).where(EVENTS.c.sequence.in_(story)).order_by(EVENTS.c.sequence)
        return await self._envelopes(query)

    async def sequences_keyed(self, keys: Sequence[str]) -> dict[str, int]:
        """Return the sequence of each event that has one of some natural keys."""
        key = EVENTS.c.natural_key
        # Spelled out: the index has no entry for a NULL.
        query = select(key, EVENTS.c.sequence).where(key.in_(keys), key.is_not(None))
        return {str(name): int(sequence) for name, sequence in await self._rows(query)}

    async def stored_columns(self, order_id: str) -> Sequence[Sequence[Any]]:
        """Return the columns that the hash covers of each event of an order, as they are stored."""
        story = select(ORDER_EVENTS.c.sequence).where(ORDER_EVENTS.c.order_id == order_id)
        columns = [EVENTS.c[name] for name in EVENT_COLUMNS if name != "hash"]
        query = select(*columns).where(EVENTS.c.sequence.in_(story)).order_by(EVENTS.c.sequence)
        return await self._filled(await self._rows(query), PAYLOAD - 1)

    async def stored(self, sequences: Sequence[int]) -> Sequence[Sequence[Any]]:
        """Return of some events what is stored: the columns that the hash covers, the hash, and
        that of the event before (None where there is none), in the order of the log.
        """
        before = EVENTS.alias("before")
        columns = [EVENTS.c[name] for name in EVENT_COLUMNS if name != "hash"]
        query = (
            select(*columns, EVENTS.c.hash, before.c.hash)
            .select_from(EVENTS)
            .outerjoin(before, before.c.sequence == EVENTS.c.sequence - 1)
            .where(EVENTS.c.sequence.in_(sequences))
            .order_by(EVENTS.c.sequence)
        )
        return await self._filled(await self._rows(query), PAYLOAD - 1)

    async def stream(self, table: str) -> AsyncIterator[list[AnyRecord]]:
        """Yield all records of a projection as they are at one moment, in pages: orders and fills
        in the order in which they came to the books, others by key.
        """
        found = PROJECTIONS[table]
        key = found.c[TABLES[table].key_name]
        by: list[Any] = [key]
        if table == "orders":
            first = select(func.min(ORDER_EVENTS.c.sequence)).where(ORDER_EVENTS.c.order_id == key)
            by.insert(0, first.scalar_subquery())
        elif table == "fills":
            by.insert(0, found.c.booked_sequence)
        query = _select(table).order_by(*by).execution_options(yield_per=LIMIT)
        async with self._connection() as connection:
            result = await connection.stream(query)
            async for page in result.partitions():
                yield [record_of(table, row) for row in page]

    async def one(self, table: str, key: str) -> AnyRecord | None:
        """Return the record of a projection with that key, None where there is none."""
        found = PROJECTIONS[table]
        query = _select(table).where(found.c[TABLES[table].key_name] == key)
        rows = await self._rows(query)
        return record_of(table, rows[0]) if rows else None

    async def rows(
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
        found = PROJECTIONS[table]
        query = _select(table).where(*_conditions(found, where))
        key = found.c[TABLES[table].key_name]
        by = (found.c[order], key) if order else (key,)
        query = query.order_by(*(c.desc() if reverse else c for c in by)).limit(limit)
        return [record_of(table, row) for row in await self._rows(query)]

    async def highest(self, table: str, column: str, below: int, *, limit: int) -> list[AnyRecord]:
        """Return the records of a projection with the highest values of a column below one, the
        highest first.
        """
        by = PROJECTIONS[table].c[column]
        query = _select(table).where(by < below).order_by(by.desc()).limit(limit)
        return [record_of(table, row) for row in await self._rows(query)]

    async def tally(
        self, table: str, column: str, number: str, first: int, last: int
    ) -> list[tuple[str, int, int]]:
        """Return, for each value of a column, how many records of a projection have a number from
        first to last, and the highest.
        """
        found = PROJECTIONS[table]
        by, counted = found.c[column], found.c[number]
        query = select(by, func.count(), func.max(counted)).where(counted.between(first, last))
        rows = await self._rows(query.group_by(by).order_by(by))
        return [(str(value), int(count), int(top)) for value, count, top in rows]

    async def first_since(self, moment: datetime) -> int:
        """Return the first event that was recorded at a moment or later, by halves: times never go
        back; one above the last where none was. What has left the database was before.
        """
        low, high = 1, (await self.head()).sequence + 1
        while low < high:
            middle = (low + high) // 2
            try:
                is_before = await self.recorded_at(middle) < moment
            except NotFound:
                is_before = True
            low, high = (middle + 1, high) if is_before else (low, middle)
        return low

    async def count(self, table: str, where: Mapping[str, object] | None = None) -> int:
        """Return how many records of a projection have the values given."""
        found = PROJECTIONS[table]
        counted = select(func.count()).select_from(found)
        if where is not None and where.keys() == {"live"} and where["live"] in (False, 0):
            # All are counted in the smallest index, the live ones in their own.
            live = counted.where(*_conditions(found, {"live": 1})).scalar_subquery()
            query = select(counted.scalar_subquery() - live)
        else:
            query = counted.where(*_conditions(found, where))
        return int((await self._rows(query))[0][0])

    async def beginning(self, table: str, column: str, prefix: str) -> list[AnyRecord]:
        """Return the records of a projection whose column begins so."""
        found = PROJECTIONS[table]
        # A range and no pattern: SQLite finds a pattern by an index only where case counts.
        column_, end = found.c[column], prefix[:-1] + chr(ord(prefix[-1]) + 1) if prefix else ""
        query = _select(table).where(column_ >= prefix, column_ < end).limit(LIMIT)
        return [record_of(table, row) for row in await self._rows(query)]

    async def keys(self, table: str, prefix: str, *, limit: int = LIMIT) -> list[str]:
        """Return the keys of a projection that begin so, in their order."""
        key = PROJECTIONS[table].c[TABLES[table].key_name]
        query = select(key).where(key.startswith(prefix, autoescape=True)).order_by(key)
        return [str(found) for (found,) in await self._rows(query.limit(limit))]

    async def system(self) -> SystemRecord:
        """Return the state of the whole, with what was said about halting since its row.

        A halt counts from its commit, also while no daemon runs that would fold it.
        """
        # The checkpoint first: a row that is newer than it only meets its own switches again.
        reached = (await self.checkpoints()).get(BOOKS_CHECKPOINT, 0)
        found = await self.one("system", SystemRecord().key)
        system = found if isinstance(found, SystemRecord) else SystemRecord()
        switches = [
            envelope
            for kind in (TradingHaltedByPerson, TradingResumed)
            for envelope in await self.events(reached, type=kind.__name__, reverse=True, limit=1)
        ]
        for one in sorted(switches, key=lambda switch: switch.sequence):
            system = switched(system, one)
        return system

    async def leases(self) -> list[Lease]:
        """Return every lease that was ever taken; `Lease.held` says which daemon is alive."""
        columns = [LEASES.c[field.name] for field in fields(Lease)]
        rows = await self._rows(select(*columns).order_by(LEASES.c.name))
        return [lease_of(row) for row in rows]

    async def checkpoints(self) -> dict[str, int]:
        """Return the sequence that each fold has reached."""
        columns = (CHECKPOINTS.c.name, CHECKPOINTS.c.sequence, CHECKPOINTS.c.hash)
        return {row[0]: mark_of(row)[0] for row in await self._rows(select(*columns))}

    async def _envelopes(self, query: Select[Any]) -> list[Envelope]:
        rows = await self._filled(await self._rows(query))
        if self._checked and rows:
            await self._check(rows)
        return [envelope(row) for row in rows]

    async def _check(self, rows: Sequence[Any]) -> None:
        """Raise `ChainBroken` with the first of these events that is not what was written.

        The event after each is looked at as well: who alters an event and its hash breaks the next
        link.
        """
        shown = {row[0]: row for row in rows}
        beside = {number for one in shown for number in (one - 1, one + 1)} - shown.keys()
        found = await self._rows(select(EVENTS).where(EVENTS.c.sequence.in_(sorted(beside))))
        # Without the archive, what is shown was stored here and is held against its own hash.
        with suppress(ArchiveUnavailable):
            found = await self._filled(found)
        every = {**shown, **{row[0]: row for row in found}}
        for sequence in sorted({*shown, *(one + 1 for one in shown)}):
            row = every.get(sequence)
            if row is None or lacks_text(row):
                continue
            before = every.get(sequence - 1)
            if before is None and sequence > 1:
                raise ChainBroken(f"the log has no event {sequence - 1}", sequence=sequence - 1)
            follow(GENESIS if before is None else bytes(before[HASH]), sequence, row)

    async def _filled(self, rows: Sequence[Row], payload: int = PAYLOAD) -> Sequence[Row]:
        """Return rows of events with texts that stand in an archive."""
        if not any(lacks_text(row, payload) for row in rows):
            return rows
        columns = [SEGMENTS.c[name] for name in Segment._fields]
        key = EVENTS.c.natural_key == "segment:" + SEGMENTS.c.digest
        named = select(EVENTS.c.sequence).where(key).exists()
        stored = await self._rows(select(*columns).where(named).order_by(SEGMENTS.c.first))
        segments = [Segment._make(row) for row in stored]
        try:
            return await asyncio.to_thread(fill, rows, lambda: segments, payload)
        except ArchiveUnavailable:
            await asyncio.to_thread(self._refuse_altered)
            raise

    def _refuse_altered(self) -> None:
        with closing(connect(parse_url(self.url), "read")) as connection:
            refuse_altered(connection)

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[AsyncConnection]:
        with driver_errors(self._place):
            async with self._engine.connect() as connection:
                yield connection

    async def _rows(self, query: Select[Any]) -> Sequence[Any]:
        waited = 0.0
        while True:
            try:
                async with self._connection() as connection:
                    rows: Sequence[Any] = (await connection.execute(query)).all()
                    return rows
            except StoreCutOff:
                if waited >= self._cut_off_seconds_max:
                    raise
            await asyncio.sleep(_PAUSE_SECONDS)
            waited += _PAUSE_SECONDS


def _check(url: str, complete: bool) -> None:
    tolerable_loss(url)
    schema.check_current(url)
    if complete:
        check_complete(url)


def _select(table: str) -> Select[Any]:
    """Return the query of whole rows, so that each can be held against its digest."""
    return select(*(PROJECTIONS[table].c[name] for name in row_columns(TABLES[table])))


def _conditions(table: Table, where: Mapping[str, object] | None) -> Iterator[ColumnElement[bool]]:
    for name, value in (where or {}).items():
        if name == "live" and value in (True, 1):
            # Spelled out: SQLite does not match a parameter with the condition of a partial index.
            yield table.c.live == literal_column("1")
            continue
        several = isinstance(value, list | tuple | set | frozenset)
        members: Iterable[object] = value if several else (value,)  # type: ignore[assignment]
        # Booleans are stored as numbers, and PostgreSQL does not compare the two.
        yield table.c[name].in_([int(m) if isinstance(m, bool) else m for m in members])


def _engine(url: URL) -> AsyncEngine:
    if url.get_backend_name() == "sqlite":
        engine = create_async_engine(
            sqlite_url(url, "read").set(drivername="sqlite+aiosqlite"),
            # Each connection is a thread of its own; a screen asks a few questions at once.
            pool_size=2,
            max_overflow=6,
            connect_args={"isolation_level": None},
        )
        event.listen(engine.sync_engine, "connect", set_pragmas("read"))
        return engine
    with needs_driver():
        return create_async_engine(
            url.set(drivername="postgresql+psycopg"),
            pool_size=2,
            max_overflow=6,
            # A server that was restarted has cut those that wait here.
            pool_pre_ping=True,
            connect_args=postgresql_arguments("read"),
        )
