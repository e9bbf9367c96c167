"""The books as they were: the log replayed from its beginning up to an event.

What it shows is what we knew then, not what had happened then: an execution that was fetched an
hour later is not in it. The same folds make it as make the books of today, so the replay of the
whole log is what the pages show now; a test says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Protocol

from oms.core.events import Envelope
from oms.core.fold.apply import apply, initial
from oms.core.fold.books import Books
from oms.core.fold.records import AnyRecord
from oms.errors import ConfigurationError
from oms.store.reader import Reader
from oms.web.query import Query

#: The filter that asks for it.
AS_OF: Final = "as_of"
#: Events that are replayed for a page at most: a few seconds.
EVENTS_MAX: Final = 100_000
_CHUNK: Final = 1_000
_INSTANT: Final = timedelta(microseconds=1)


class Bookshelf(Protocol):
    """What the pages ask about records; the database answers for now, a replay for the past."""

    async def rows(
        self,
        table: str,
        where: Mapping[str, object] | None = None,
        *,
        order: str = "",
        reverse: bool = False,
        limit: int | None = None,
    ) -> list[AnyRecord]:
        """Return records whose columns have the values given."""
        ...

    async def one(self, table: str, key: str) -> AnyRecord | None:
        """Return the record with that key."""
        ...

    async def count(self, table: str, where: Mapping[str, object] | None = None) -> int:
        """Return how many records have the values given."""
        ...

    async def order_events(self, order_id: str) -> list[Envelope]:
        """Return the events about an order."""
        ...


@dataclass(frozen=True, slots=True)
class PastBooks:
    """The books at an event, with the same answers as the database has for now."""

    sequence: int
    #: When that event was recorded; every age is counted from then. None for an empty log.
    recorded_at: datetime | None
    _books: Books
    _reader: Reader

    async def rows(
        self,
        table: str,
        where: Mapping[str, object] | None = None,
        *,
        order: str = "",
        reverse: bool = False,
        limit: int | None = None,
    ) -> list[AnyRecord]:
        """Return records whose columns have the values given."""
        found = [r for r in self._books.tables[table].values() if _meets(r, where or {})]
        found.sort(key=lambda r: (_sortable(r, order), r.key), reverse=reverse)
        return found[:limit]

    async def one(self, table: str, key: str) -> AnyRecord | None:
        """Return the record with that key."""
        return self._books.get(table, key)

    async def count(self, table: str, where: Mapping[str, object] | None = None) -> int:
        """Return how many records have the values given."""
        return len(await self.rows(table, where))

    async def order_events(self, order_id: str) -> list[Envelope]:
        """Return the events up to then that are about an order, by what is known now."""
        events = await self._reader.order_events(order_id)
        return [envelope for envelope in events if envelope.sequence <= self.sequence]


async def asked_for(reader: Reader, query: Query, head: int) -> PastBooks | None:
    """Return the past that a query asks for by event or by time, None where it asks for now."""
    text = query.text(AS_OF)
    if not text:
        return None
    if text.isascii() and text.isdecimal():
        sequence = query.number(AS_OF) or 0
    else:
        moment = query.moment(AS_OF)
        assert moment is not None
        sequence = await sequence_at(reader, head, moment + _INSTANT) - 1
    if sequence > head:
        raise ConfigurationError(
            f"{AS_OF} = {sequence} is after the end of the log", hint=f"the log ends at {head}"
        )
    if sequence > EVENTS_MAX:
        raise ConfigurationError(
            f"{sequence:,} events are too many to replay for a page",
            hint=f"pages replay up to {EVENTS_MAX:,}; the stories of single orders have no limit",
        )
    return await replay(reader, sequence)


async def replay(reader: Reader, sequence: int) -> PastBooks:
    """Return the books at an event; 0 is before the first."""
    books, recorded_at = initial(), None
    while books.sequence < sequence:
        chunk = await reader.events(books.sequence, before=sequence + 1, limit=_CHUNK)
        for envelope in chunk:
            apply(books, envelope)
        recorded_at = chunk[-1].recorded_at
        # What the store would write is not wanted here, and would grow with the log.
        books.clear_touched()
    return PastBooks(sequence, recorded_at, books, reader)


async def sequence_at(reader: Reader, head: int, moment: datetime) -> int:
    """Return the first sequence recorded at a moment or later; one past the head where none was.

    Sequences have no holes and the appender's clock goes forward, so halving finds it.
    """
    low, high = 1, head + 1
    while low < high:
        middle = (low + high) // 2
        if (await reader.event(middle)).recorded_at < moment:
            low = middle + 1
        else:
            high = middle
    return low


def _meets(record: AnyRecord, where: Mapping[str, object]) -> bool:
    columns: Mapping[str, Any] = {**record.columns(), "live": int(record.live)}
    return all(
        columns[name] in value if isinstance(value, list | tuple) else columns[name] == value
        for name, value in where.items()
    )


def _sortable(record: AnyRecord, column: str) -> Any:
    return record.columns()[column] if column else ""
