"""Logs whose times a test chooses, with copies of the books as they were after each event."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from oms.clock import ManualClock
from oms.core.events import Pending
from oms.core.fold.books import Books
from oms.core.fold.records import TABLES, encode_record
from oms.history.asof import Bookshelf, By, PastBooks, books_at
from oms.history.making import Maker
from oms.history.moments import Moment
from oms.history.side import Side, opened
from oms.store.backend import Connection, connect, parse_url
from oms.store.envelopes import draft
from oms.store.reader import Reader
from oms.store.writer import Writer

#: Table -> key -> the record's text.
Copy = dict[str, dict[str, str]]
#: When a fact came, and the fact.
Fact = tuple[datetime, Pending]


@dataclass(frozen=True)
class Told:
    """The books after an event, copied when they were so."""

    sequence: int
    recorded_at: datetime
    copy: Copy


def write(url: str | Path, facts: Iterable[Fact]) -> list[Told]:
    """Append facts to a log, each at its time, and return the books after each."""
    told: list[Told] = []
    facts = list(facts)
    if not facts:
        return told
    clock = ManualClock(facts[0][0])
    writer = Writer(parse_url(str(url)), clock=clock, projector=True)
    writer.open()
    with closing(connect(parse_url(str(url)), "read")) as log:
        for at, pending in facts:
            clock.advance((at - clock.now()).total_seconds())
            writer.write([[draft(pending)]])
            told.append(Told(writer.head.sequence, at, stored(log)))
    writer.close()
    return told


def stored(log: Connection) -> Copy:
    """Return every record that a log has as a row."""
    return {
        spec.name: dict(log.rows(f"SELECT {spec.key_name}, body FROM {spec.name}"))
        for spec in TABLES.values()
    }


def copy_of(books: Books) -> Copy:
    """Return every record of books as text."""
    return {
        table: {key: encode_record(record) for key, record in records.items()}
        for table, records in books.tables.items()
    }


def make_snapshots(url: str | Path, chunk_events: int) -> None:
    """Make all snapshots of a log, of so many events each."""
    with beside(url) as (log, side):
        maker = Maker(log, side, chunk_events=chunk_events)
        while maker.step():
            pass


@contextmanager
def beside(url: str | Path) -> Iterator[tuple[Connection, Side]]:
    """Open a log for reading, and what stands beside it for writing."""
    with (
        closing(connect(parse_url(str(url)), "read")) as log,
        opened(log, str(url), write=True) as side,
    ):
        yield log, side


def past(url: str | Path, moment: Moment, by: By = "known") -> tuple[PastBooks, Copy]:
    """Return the books as of a moment, and every record of them as text."""

    async def ask() -> tuple[PastBooks, Copy]:
        reader = await Reader.open(str(url))
        try:
            books = await books_at(reader, moment, by)
            return books, await read(books)
        finally:
            await reader.close()

    return asyncio.run(ask())


async def read(books: Bookshelf) -> Copy:
    """Return every record of a shelf as text."""
    return {
        table: {record.key: encode_record(record) for record in await books.rows(table)}
        for table in TABLES
    }
