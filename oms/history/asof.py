"""The books as of a moment: as we knew them then, or as they were by what we know now.

**known** is what the log had said by then. An execution that was fetched an hour later is not in
it, nor its correction of the day after. It is exact.

**happened** is what the log says now of that moment: each execution at IB's time, by its last
correction and with its commission, busts taken out; a completed order at the time of its end; what
an account held before the log knew it from the beginning. What carries no time of the broker's has
that of the log, and the answer says so (`presumed`).

Both are folded by the folds of the live books, from the last stored snapshot before the moment
(`snapshots`); without any, from the first event.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal, Protocol, TypeVar, assert_never

from oms.clock import SystemClock
from oms.core.bounds import brief
from oms.core.codec import time_text
from oms.core.collector import collector_at_rest
from oms.core.events import Envelope
from oms.core.fold.books import Books
from oms.core.fold.records import TABLE_OF, TABLES, AnyRecord
from oms.errors import ConfigurationError, InvalidRequest
from oms.history.happened import Facts, Window
from oms.history.making import Line, read_events
from oms.history.moments import Moment
from oms.history.side import Side, Unready, Unusable, opened
from oms.history.snapshots import (
    EMPTY,
    HAPPENED,
    KEPT_TABLES,
    KNOWN,
    SHARED,
    Name,
    Snapshot,
    Snapshots,
    born,
    microseconds,
    several,
)
from oms.store.backend import Connection, connect, parse_url
from oms.store.reader import Reader

By = Literal["known", "happened"]
#: Columns that say how old a record is.
_AGES: Final = frozenset({"", "booked_sequence", "sequence"})

_Found = TypeVar("_Found")
#: The books of a moment, the snapshot that they began with, and what was in memory then.
_FoldedBooks = tuple[Books, Snapshot, Mapping[Name, bool]]


class Bookshelf(Protocol):
    """What is asked about records; the database answers for now, a fold for the past."""

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


class _TooFar(Exception):
    """No snapshot is near enough to a moment for an answer in a short time."""


@dataclass(frozen=True, slots=True)
class AsOf:
    """The moment that an answer is about, and how it was meant."""

    #: The last event that was recorded by then.
    sequence: int
    #: When that was.
    recorded_at: datetime
    #: The moment that was asked for; of a sequence the time of its event.
    moment: datetime
    by: By
    #: A sequence was asked for, and no time.
    by_sequence: bool = False

    @property
    def name(self) -> str:
        """Return the moment as it can be asked for again."""
        return str(self.sequence) if self.by_sequence else time_text(self.moment)

    @property
    def words(self) -> str:
        """Return in words what an answer is about."""
        at = f"{self.moment:%Y-%m-%d %H:%M:%S} UTC (event #{self.sequence})"
        match self.by:
            case "known":
                return f"as known at {at}"
            case "happened":
                return f"as had happened at {at}, by what is known now"
            case other:
                assert_never(other)

    @property
    def presumed(self) -> tuple[str, ...]:
        """Return what the answer rests on beside facts with a time of the broker's."""
        match self.by:
            case "known":
                return ()
            case "happened":
                return (
                    "IB gives the status of an order no time: it counts from when we recorded it",
                    "a transfer, a split, an assignment or a dividend counts from when it was"
                    " booked here, and IB's own figures from when we recorded them",
                    "an execution whose time IB did not write counts from when we recorded it",
                    "what an account held when this log began, it is taken to have held before",
                )
            case other:
                assert_never(other)


@dataclass(slots=True)
class PastBooks:
    """The books of a moment, with the same answers as the database has for now."""

    as_of: AsOf
    _books: Books
    #: What is not in memory stands in this snapshot.
    _base: Snapshot
    #: What is in memory since then, and whether it was live.
    _began: Mapping[Name, bool]
    #: Reads the log, up to its end.
    reader: Reader

    @property
    def sequence(self) -> int:
        """Return the last event that was recorded by then."""
        return self.as_of.sequence

    @property
    def now(self) -> datetime:
        """Return the moment; every age is counted from then."""
        return self.as_of.moment

    async def rows(
        self,
        table: str,
        where: Mapping[str, object] | None = None,
        *,
        order: str = "",
        reverse: bool = False,
        limit: int | None = None,
    ) -> list[AnyRecord]:
        """Return records whose columns have the values given; with a limit and no order, the
        youngest, by key.
        """
        asked = where or {}
        held = self._books.tables[table]
        found = [record for record in held.values() if _meets(record, asked)]
        # Those never leave memory.
        is_kept = table in KEPT_TABLES or asked.get("live") in (1, True)
        if self._base.number and not is_kept:
            enough = limit if order in _AGES and (reverse or not order) else None
            stored = await self._stored(table, asked, enough)
            found += [record for record in stored if record.key not in held]
        if limit is not None and not order:
            found = sorted(found, key=lambda r: (born(r), r.key), reverse=True)[:limit]
        found.sort(key=lambda r: (_sortable(r, order), r.key), reverse=reverse)
        return found[:limit]

    async def one(self, table: str, key: str) -> AnyRecord | None:
        """Return the record with that key."""
        found = self._books.get(table, key)
        if found is not None or not self._base.number:
            return found
        stored = await self._stored(table, {TABLES[table].key_name: key}, None)
        return stored[0] if stored else None

    async def count(self, table: str, where: Mapping[str, object] | None = None) -> int:
        """Return how many records have the values given."""
        asked = dict(where or {})
        if not self._base.number or asked.get("live") in (1, True):
            return sum(_meets(r, asked) for r in self._books.tables[table].values())
        kind = next(iter(asked), "")
        is_counted = kind in ("", "live", *SHARED.get(table, ()))
        if self.as_of.by == "known" and len(asked) < 2 and is_counted:
            return await self._counted(table, asked, kind)
        return len(await self.rows(table, asked))

    async def _counted(self, table: str, asked: Mapping[str, object], column: str) -> int:
        """Return how many records the snapshot has, and what the events since have changed."""
        touched = [self._books.tables[table][key] for key in self._books.touched()[table]]

        def count(snapshots: Snapshots) -> int:
            unread = [(table, r.key) for r in touched if (table, r.key) not in self._began]
            stored = dict.fromkeys(snapshots.at(self._base.number, unread), False)
            before = {**self._began, **stored}
            if column in SHARED.get(table, ()):
                values = several(asked[column])
                known = snapshots.counted(self._base, table, column, values)
            else:
                every, live = self._base.counts.get(table, (0, 0))
                known = every if not asked else every - live
            # What many share never changes, so it was so before.
            return known - sum(
                not before[name] if column == "live" else _meets(record, asked)
                for record in touched
                if (name := (table, record.key)) in before
            )

        found = await self._ask(count)
        if found is None:
            return await self.count(table, asked)
        return found + sum(_meets(record, asked) for record in touched)

    async def order_events(self, order_id: str) -> list[Envelope]:
        """Return the events up to then that are about an order, by what is known now."""
        events = await self.reader.order_events(order_id)
        if self.as_of.by == "known":
            return [one for one in events if one.sequence <= self.sequence]
        return [one for one in events if _happened_at(one) <= self.as_of.moment]

    async def _stored(
        self, table: str, where: Mapping[str, object], enough: int | None
    ) -> list[AnyRecord]:
        line = _line_of(self.as_of.by)

        def read(snapshots: Snapshots) -> list[AnyRecord]:
            found: list[AnyRecord] = []
            held = self._books.tables[table]
            number = self._base.number
            for later, rows in snapshots.newest(number, table, where, line, but=held.keys()):
                decoded = (row.decoded() for row in rows if _can_meet(row.text, table, where))
                found += [record for record in decoded if _meets(record, where)]
                if enough is not None and sum(born(r) > later for r in found) >= enough:
                    break
            return found

        found = await self._ask(read)
        if found is None:
            held = self._books.tables[table].values()
            return [record for record in held if _meets(record, where)]
        return found

    async def _ask(self, question: Callable[[Snapshots], _Found]) -> _Found | None:
        """Return what the snapshots answer; None where they turn out to be damaged, and all records
        are in memory from then on.
        """
        url = self.reader.url

        def ask() -> _Found:
            with (
                closing(connect(parse_url(url), "read")) as log,
                opened(log, url, write=False) as side,
            ):
                return question(Snapshots(side, log))

        try:
            return await asyncio.to_thread(ask)
        except Unusable as error:
            fold = _from_the_log if isinstance(error, Unready) else _without_snapshots
            folded = await asyncio.to_thread(fold, url, self.as_of)
            self._books, self._base, self._began = folded
            return None


def by_of(text: str) -> By:
    """Return which of the two answers a word asks for; raises `InvalidRequest` for another word."""
    match text.lower():
        case "known":
            return "known"
        case "happened":
            return "happened"
        case _:
            raise InvalidRequest(
                f"the books of a moment are by known or by happened, and not by {brief(text)}",
                hint="known: what we knew then; happened: what had happened by what we know now",
            )


def as_of_json(as_of: AsOf) -> dict[str, object]:
    """Return the moment of an answer as JSON values."""
    return {
        "sequence": as_of.sequence,
        "recorded_at": time_text(as_of.recorded_at),
        "moment": time_text(as_of.moment),
        "by": as_of.by,
        "presumed": list(as_of.presumed),
    }


async def books_at(
    reader: Reader,
    moment: Moment,
    by: By = "known",
    *,
    events_max: int | None = None,
    when_far: Callable[[], None] | None = None,
) -> PastBooks:
    """Return the books as of a moment, a time or a sequence: as they were known then, or as they
    had happened by what is known now.

    Where more than `events_max` events would have to be folded, `when_far` is called, which may
    make snapshots, and then they are folded; without it `ConfigurationError` is raised. Raises
    `InvalidRequest` for a moment before the first event or in the future.
    """
    try:
        return await asyncio.to_thread(_books_at, reader, moment, by, events_max)
    except _TooFar as error:
        if when_far is None:
            raise ConfigurationError(
                str(error),
                hint="snapshots of the past are not made yet: the daemon makes them, or"
                " `oms history build`",
            ) from error
        when_far()
        return await asyncio.to_thread(_books_at, reader, moment, by, None)


def _books_at(reader: Reader, moment: Moment, by: By, events_max: int | None) -> PastBooks:
    url = reader.url
    with closing(connect(parse_url(url), "read")) as log, collector_at_rest():
        as_of = locate(log, moment, by)
        are_damaged = False
        try:
            with opened(log, url, write=False) as side, side.reading():
                snapshots = Snapshots(side, log)
                if not snapshots.are_of_these_folds:
                    raise Unusable("the snapshots were made by other folds")
                are_damaged = True
                found = _folded(log, side, snapshots, as_of, events_max)
                _check_hash(log, found[1])
                return PastBooks(as_of, *found, reader)
        except Unready:
            are_damaged = False
        except Unusable:
            # They make answers fast, and none right.
            pass
        if not are_damaged:
            return PastBooks(as_of, *_folded(log, None, None, as_of, events_max), reader)
    return PastBooks(as_of, *_without_snapshots(url, as_of), reader)


def _without_snapshots(url: str, as_of: AsOf) -> _FoldedBooks:
    """Throw damaged snapshots away, so that they are made again, and fold the log."""
    with (
        closing(connect(parse_url(url), "read")) as log,
        suppress(Unusable),
        opened(log, url, write=True) as side,
        side.writing(),
    ):
        Snapshots(side, log).throw_away()
    return _from_the_log(url, as_of)


def _from_the_log(url: str, as_of: AsOf) -> _FoldedBooks:
    with closing(connect(parse_url(url), "read")) as log, collector_at_rest():
        return _folded(log, None, None, as_of, None)


def locate(log: Connection, moment: Moment, by: By) -> AsOf:
    """Return which event a moment is at; raises `InvalidRequest` where the log has nothing then."""
    head = int(log.rows("SELECT max(sequence) FROM events")[0][0] or 0)
    if not head:
        raise InvalidRequest("the log is empty", hint="`oms run` starts the daemon that fills it")
    if isinstance(moment, int):
        if not 1 <= moment <= head:
            raise InvalidRequest(
                f"the log has no event {moment}", hint=f"its events go from 1 to {head}"
            )
        recorded_at = _recorded_at(log, moment)
        return AsOf(moment, recorded_at, recorded_at, by, by_sequence=True)
    if moment > max(SystemClock().now(), _recorded_at(log, head)):
        raise InvalidRequest(
            f"{moment:%Y-%m-%d %H:%M:%S} UTC is in the future", hint="ask for a moment that was"
        )
    low, high = 0, head
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if _recorded_at(log, middle) <= moment else (low, middle - 1)
    if not low:
        begun = _recorded_at(log, 1)
        raise InvalidRequest(
            f"{moment:%Y-%m-%d %H:%M:%S} UTC is before the first event of the log",
            hint=f"the log begins at {begun:%Y-%m-%d %H:%M:%S} UTC",
        )
    return AsOf(low, _recorded_at(log, low), moment, by)


def _recorded_at(log: Connection, sequence: int) -> datetime:
    rows = log.rows("SELECT recorded_at FROM events WHERE sequence = ?", (sequence,))
    if not rows:
        raise InvalidRequest(f"the log has no event {sequence}", hint="run `oms verify`")
    return datetime.fromisoformat(rows[0][0])


def _folded(
    log: Connection,
    side: Side | None,
    snapshots: Snapshots | None,
    as_of: AsOf,
    events_max: int | None,
) -> _FoldedBooks:
    match as_of.by:
        case "known":
            base = EMPTY if snapshots is None else snapshots.at_sequence(as_of.sequence)
            _check_distance(as_of.sequence - base.sequence, events_max)
            line = Line(snapshots, KNOWN, base)
            line.restore()
            # Counted from the snapshot: what stands there already is not touched.
            for page in read_events(log, base.sequence, as_of.sequence):
                line.fold(page)
        case "happened":
            base, facts = _facts(log, side, snapshots, as_of, events_max)
            line = Line(snapshots, HAPPENED, base)
            line.restore()
            pages = read_events(log, base.sequence, as_of.sequence)
            window = Window(
                base.sequence,
                as_of.sequence,
                microseconds(base.recorded_at) if base.number else -1,
                microseconds(as_of.moment),
                is_open=True,
            )
            line.fold(facts.between(window, [one for page in pages for one in page]))
        case other:
            assert_never(other)
    return line.books, base, line.began


def _facts(
    log: Connection,
    side: Side | None,
    snapshots: Snapshots | None,
    as_of: AsOf,
    events_max: int | None,
) -> tuple[Snapshot, Facts]:
    """Return the snapshot to begin with, and what the log says now of executions."""
    facts = Facts(side, log)
    head = int(log.rows("SELECT max(sequence) FROM events")[0][0] or 0)
    known = EMPTY if snapshots is None else snapshots.last()
    _check_distance(head - known.sequence, events_max)
    for page in read_events(log, known.sequence, head):
        facts.note(page)
    if snapshots is None:
        return EMPTY, facts
    base = snapshots.at_sequence(as_of.sequence, HAPPENED)
    # What the newest events say of earlier times is in no snapshot yet.
    if facts.first_event is not None and facts.first_event <= base.sequence:
        base = snapshots.at_sequence(facts.first_event - 1, HAPPENED)
    if facts.first_time is not None and base.number:
        base = min(base, snapshots.at_moment(facts.first_time - 1), key=lambda one: one.number)
    _check_distance(as_of.sequence - base.sequence + head - known.sequence, events_max)
    return base, facts


def _check_hash(log: Connection, base: Snapshot) -> None:
    """Raise `Unusable` unless a snapshot was made of this log."""
    rows = log.rows("SELECT hash FROM events WHERE sequence = ?", (base.sequence,))
    if base.number and (not rows or bytes(rows[0][0]) != base.hash):
        raise Unusable(f"the log has another event {base.sequence}")


def _check_distance(events: int, events_max: int | None) -> None:
    if events_max is not None and events > events_max:
        raise _TooFar(f"{events:,} events would have to be folded again for this answer")


def _line_of(by: By) -> int:
    return KNOWN if by == "known" else HAPPENED


def _happened_at(envelope: Envelope) -> datetime:
    occurred_at = envelope.context.occurred_at
    return envelope.recorded_at if occurred_at is None else min(occurred_at, envelope.recorded_at)


def _meets(record: AnyRecord, where: Mapping[str, object]) -> bool:
    """Say whether a record has the values that its row would be found by."""
    columns: Mapping[str, Any] | None = None
    for name, wanted in where.items():
        found: Any
        if name == "live":
            found = int(record.live)
        elif name == TABLES[TABLE_OF[type(record)]].key_name:
            found = record.key
        else:
            columns = record.columns() if columns is None else columns
            found = columns[name]
        if found not in wanted if isinstance(wanted, list | tuple) else found != wanted:
            return False
    return True


def _can_meet(text: str, table: str, where: Mapping[str, object]) -> bool:
    """Say whether a record's text can be of one that meets conditions, without reading it."""
    for column in SHARED.get(table, ()):
        if column in where:
            plain = [str(value) for value in several(where[column])]
            if all(value.isalnum() and value.isascii() for value in plain) and not any(
                value in text for value in plain
            ):
                return False
    return True


def _sortable(record: AnyRecord, column: str) -> Any:
    return record.columns()[column] if column else ""
