"""Making snapshots: the log is folded once more, and every few thousand events what changed is
stored beside it.

First the line of what was known, up to the end of the log; then the line of what had happened, over
the same events in the order of `happened`. An event that changes what had happened before throws
that line's snapshots away from there on, and they are made again: by then it is known how it was.

A step is one transaction. If the process dies, the step is made again.
"""

from __future__ import annotations

import gc
import json
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, nullcontext
from dataclasses import replace
from typing import Final, NamedTuple

from oms.core.codec import GENESIS, Head
from oms.core.collector import collector_at_rest
from oms.core.events import Envelope
from oms.core.fold.apply import apply, cannot_prepare, companions, initial, wanted
from oms.core.fold.books import Books
from oms.core.fold.records import TABLE_OF, TABLES, AnyRecord, encode_record
from oms.core.fold.wants import Want
from oms.errors import ChainBroken, OmsError
from oms.history.happened import FACT_INDEXES, FACT_TABLES, Facts, Window
from oms.history.index import folded
from oms.history.side import Side, Unready, Unusable, opened
from oms.history.snapshots import (
    APART,
    CHANGED,
    CHUNK_EVENTS,
    ENDED,
    GONE,
    HAPPENED,
    KEPT,
    KEPT_TABLES,
    KNOWN,
    LISTED,
    MARK,
    NAMED,
    Entries,
    Entry,
    Flag,
    Name,
    Snapshot,
    Snapshots,
    Stored,
    advance,
    born,
    folds,
    former_names_of,
    insert,
    is_kept,
    microseconds,
    number_of,
    shared_of,
)
from oms.store.archived import filled
from oms.store.backend import Connection, connect, parse_url
from oms.store.envelopes import SELECT_EVENTS, envelope, follow
from oms.store.projector import Evicted
from oms.store.rows import check_fits

#: Snapshots of one transaction, where nobody waits meanwhile: to wait for the disk after each would
#: take as long as to make them.
_AT_ONCE: Final = 8
#: Between two transactions, for another writer: SQLite looks again after a tenth of a second.
_GAP_SECONDS: Final = 0.1
#: Ended records that stay in memory between two snapshots.
_RESIDENT_MAX: Final = 10_000
_PAGE_EVENTS: Final = 1_000
#: Tables of which what had happened can be otherwise than what was known.
_OF_WHAT_HAPPENED: Final = frozenset(
    {"orders", "unknown_orders", "fills", "early_commissions", "positions", "system"}
)
_NOT_THERE: Final = Entry(LISTED, "")

#: Called often by what takes long; it may wait, and it may raise to end it.
Rest = Callable[[], None]


def no_rest() -> None:
    """Go on at once."""


def read_events(log: Connection, after: int, until: int) -> Iterator[list[Envelope]]:
    """Yield the events of a log in pages, without the texts of the wire; raises `ChainBroken` where
    one is missing, or does not carry its hash.
    """
    rows = log.rows("SELECT hash FROM events WHERE sequence = ?", (after,))
    digest = bytes(rows[0][0]) if rows else GENESIS
    while after < until:
        last = min(after + _PAGE_EVENTS, until)
        rows = log.rows(
            f"{SELECT_EVENTS} WHERE sequence > ? AND sequence <= ? ORDER BY sequence", (after, last)
        )
        page = []
        for row in filled(log, rows):
            after += 1
            digest = follow(digest, after, row)
            page.append(envelope((*row[:-1], None)))
        if after < last:
            raise ChainBroken(f"the log has no event {after + 1}", sequence=after + 1)
        yield page


class Line:
    """The books of one line, from a snapshot on; records that it has not in memory are read from
    there when an event needs them.
    """

    def __init__(
        self,
        snapshots: Snapshots | None,
        line: int,
        start: Snapshot,
        evicted: Evicted | None = None,
    ) -> None:
        self.books: Books = initial()
        self.books.sequence = start.sequence
        self._snapshots = snapshots
        #: Every record that has left memory; None where some never were in it.
        self._evicted = evicted
        self._line = line
        self._number = start.number
        #: The records that came into memory from the snapshot, and whether they were live.
        self.began: dict[Name, bool] = {}
        #: Called with each record that comes into memory.
        self.on_read: Callable[[Stored, AnyRecord], None] = lambda row, record: None

    def restore(self) -> None:
        """Bring the live records into memory; raises `Unusable` where they do not add up."""
        if self._snapshots is not None:
            for row in self._snapshots.live(self._number, self._line):
                self.books.restore(row.table, self._taken(row))

    def fold(self, envelopes: Sequence[Envelope]) -> None:
        """Apply events, in whatever order they come."""
        books = self.books
        self._bring_in(envelopes)
        for one in envelopes:
            # What had happened is folded in another order than that of the log.
            books.sequence = one.sequence - 1
            apply(books, one, _check_fits, prepared=True)

    def _bring_in(self, envelopes: Sequence[Envelope]) -> None:
        """Bring the stored records into memory that the events may need, and those beside them."""
        try:
            wants = {w for one in envelopes for w in wanted(one, self.books)}
            while wants:
                beside: set[Want] = set()
                for record in self._read(wants):
                    beside.update(companions(record))
                wants = beside
        except (MemoryError, OSError, OmsError, Unusable):
            raise
        except Exception as error:  # noqa: BLE001  # of one event, which is set aside
            if len(envelopes) == 1:
                cannot_prepare(self.books, envelopes[0], error)
            else:
                for one in envelopes:
                    self._bring_in((one,))

    def settle(self, snapshot: Snapshot) -> list[Name]:
        """Go on from a snapshot that has what was touched; return what has left memory."""
        books = self.books
        books.clear_touched()
        books.sequence, self._number = snapshot.sequence, snapshot.number
        evictable = [name for name in books.evictable() if name[0] not in KEPT_TABLES]
        gone = evictable[: max(0, len(evictable) - _RESIDENT_MAX)]
        for table, key in gone:
            record = books.get(table, key)
            if self._evicted is not None and record is not None:
                self._evicted.add(table, key, record)
            books.evict(table, key)
        return gone

    def may_be_stored(self, table: str, column: str, value: str | int) -> bool:
        """Say whether a snapshot can have a record that is not in memory."""
        return self._evicted is None or self._evicted.may_have(table, column, value)

    def _read(self, wants: Iterable[Want]) -> Iterator[AnyRecord]:
        if self._snapshots is None or not self._number:
            return
        books = self.books
        missing: dict[tuple[str, str], list[str | int]] = {}
        for want in wants:
            told = (want.table, want.column, want.value)
            if not books.holds(*told) and self.may_be_stored(*told):
                missing.setdefault((want.table, want.column), []).append(want.value)
        for (table, column), values in missing.items():
            absent = []
            for name in self._snapshots.named(table, column, values):
                # A record in memory is as new as the stored one or newer.
                found = books.get(*name)
                if found is not None:
                    yield found
                else:
                    absent.append(name)
            for name, text in self._snapshots.at(self._number, absent, self._line).items():
                record = self._taken(Stored(*name, text))
                books.restore(table, record)
                yield record

    def _taken(self, row: Stored) -> AnyRecord:
        record = row.decoded()
        self.began[row.table, row.key] = record.live
        self.on_read(row, record)
        return record


def _check_fits(record: AnyRecord) -> None:
    """Raise where the live books set an event aside because of this record."""
    check_fits(TABLES[TABLE_OF[type(record)]], (record.key, *record.columns().values()))


class _Noted(NamedTuple):
    """What is known of a record that is in memory: what is stored of it, and how it is found."""

    kept: bool
    live: bool
    names: tuple[tuple[str, str], ...]
    shared: list[int]

    @classmethod
    def of(cls, table: str, record: AnyRecord) -> _Noted:
        """Return what a snapshot notes of a record."""
        columns = record.columns() if table in NAMED else {}
        names, shared = former_names_of(table, columns), shared_of(table, columns)
        return cls(is_kept(table, record), record.live, names, shared)


class Maker:
    """Makes the snapshots of one log. One thread at a time uses it."""

    def __init__(self, log: Connection, side: Side, *, chunk_events: int = CHUNK_EVENTS) -> None:
        self._log = log
        self._side = side
        self._chunk_events = chunk_events
        self._snapshots = Snapshots(side, log)
        if not self._snapshots.are_of_these_folds:
            make_tables(side, self._snapshots)
        self._known: _Known | None = None
        self._happened: _Happened | None = None

    def step(self, rest: Rest = no_rest) -> int:
        """Make the next snapshot, of what was known before what had happened; return how many are
        left to make, of both lines.
        """
        end = folded(self._log).sequence
        known = self._snapshots.last()
        if known.sequence + self._chunk_events <= end:
            self._know(known, rest)
            known = self._snapshots.last()
        else:
            happened = self._snapshots.last(HAPPENED)
            if self._known is not None and happened.number + 1 < known.number:
                # Not needed for long, and half of the memory; it holds itself in a cycle.
                self._known = None
                gc.collect()
            if happened.number < known.number:
                self._happen(happened, rest)
        left = (end - known.sequence) // self._chunk_events
        return 2 * left + known.number - self._snapshots.last(HAPPENED).number

    # ── what was known ──

    def _know(self, last: Snapshot, rest: Rest) -> None:
        known = self._known
        if known is None or known.at.number != last.number:
            known = self._known = _Known(self._side, self._snapshots, last)
        facts = Facts(self._side, self._log)
        until = last.sequence + self._chunk_events
        envelopes: list[Envelope] = []
        try:
            for envelopes in read_events(self._log, last.sequence, until):
                facts.note(envelopes)
                known.line.fold(envelopes)
                rest()
            digest = self._log.rows("SELECT hash FROM events WHERE sequence = ?", (until,))[0][0]
            with self._side.writing():
                if self._snapshots.last().number != last.number:
                    self._known = None
                    return  # Another program has made it, or thrown all away.
                snapshot = known.write(envelopes[-1], bytes(digest))
                first = self._first_changed(facts, snapshot)
                facts.flush(self._side)
                if self._snapshots.last(HAPPENED).number >= first:
                    self._snapshots.throw_away_happened(first)
                self._side.set_mark(MARK, Head(until, bytes(digest)), folds())
        except BaseException:
            self._known = None
            raise
        known.settle(snapshot)

    def _first_changed(self, facts: Facts, snapshot: Snapshot) -> int:
        """Return the first snapshot before which something has happened that was not known."""
        found = snapshot.number + 1
        if facts.first_event is not None:
            found = min(found, -(-facts.first_event // self._chunk_events))
        if facts.first_time is not None:
            found = min(found, self._snapshots.at_moment(facts.first_time - 1).number + 1)
        return found

    # ── what had happened ──

    def _happen(self, last: Snapshot, rest: Rest) -> None:
        happened = self._happened
        if happened is None or happened.at != last:
            happened = _Happened(self._side, self._snapshots, last)
        self._happened = None  # until the step is made
        snapshot = self._snapshots.numbered(last.number + 1)
        facts = Facts(self._side, self._log)
        page: list[Envelope] = []
        for envelopes in read_events(self._log, last.sequence, snapshot.sequence):
            page += envelopes
            rest()
        # Nothing is before the beginning, and what an account held then is in the first snapshot.
        after = microseconds(last.recorded_at) if last.number else -1
        until = microseconds(snapshot.recorded_at)
        window = Window(last.sequence, snapshot.sequence, after, until)
        events = facts.between(window, page)
        for start in range(0, len(events), _PAGE_EVENTS):
            happened.line.fold(events[start : start + _PAGE_EVENTS])
            rest()
        with self._side.writing():
            if self._snapshots.last(HAPPENED).number != last.number:
                return  # Another program has made it, or thrown it away.
            happened.write(snapshot)
        self._happened = happened


class _Known:
    """The line of what was known, and what is stored of its records."""

    def __init__(self, side: Side, snapshots: Snapshots, start: Snapshot) -> None:
        self._side = side
        self._snapshots = snapshots
        self.at = start
        self._noted: dict[Name, _Noted] = {}
        #: What a whole block would have.
        self._kept: Entries = {}
        self.line = Line(snapshots, KNOWN, start, None if start.number else Evicted())
        self.line.on_read = self._note
        self.line.restore()

    def _note(self, row: Stored, record: AnyRecord) -> None:
        noted = self._noted[row.table, row.key] = _Noted.of(row.table, record)
        if noted.kept:
            self._kept[row.table, row.key] = Entry(KEPT, row.text)

    def write(self, last: Envelope, digest: bytes) -> Snapshot:
        """Store what was touched as the next snapshot. In a transaction of the caller."""
        touched = touched_in(self.line.books)
        self._find_stored(touched)
        number = self.at.number + 1
        counts = {name: list(self.at.counts.get(name, (0, 0))) for name in TABLES}
        changed: Entries = {}
        ended: Entries = {}
        former: set[tuple[int, str, str]] = set()
        shared: Counter[int] = Counter()
        for name, record in touched.items():
            table, key = name
            before, now = self._noted.get(name), _Noted.of(table, record)
            text = encode_record(record)
            counts[table][0] += before is None
            counts[table][1] += now.live - (before is not None and before.live)
            if before is not None and before.names != now.names:
                gone = set(before.names) - set(now.names)
                former.update((number_of(table, column), value, key) for column, value in gone)
            if before is None or not now.kept:
                shared.update(dict.fromkeys(now.shared, int(before is None)))
            if now.kept:
                changed[name] = self._kept[name] = Entry(KEPT, text)
            else:
                ended[name] = Entry(LISTED, text)
                if self._kept.pop(name, None) is not None:
                    changed[name] = Entry(GONE, "")
            self._noted[name] = now
        self._snapshots.put(KNOWN, number, CHANGED, changed)
        self._snapshots.put(KNOWN, number, ENDED, ended)
        whole = self._snapshots.put_whole(KNOWN, number, self.at.whole, self._kept)
        insert(
            self._side,
            "INSERT INTO {}shared (name, number, born)",
            sorted((name, number, count) for name, count in shared.items()),
        )
        insert_former_names(self._side, former)
        told = {name: (n, m) for name, (n, m) in counts.items() if n}
        at = microseconds(last.recorded_at)
        insert(
            self._side,
            "INSERT INTO {}snapshots (number, sequence, hash, recorded_at, counts, whole)",
            [(number, last.sequence, digest, at, json.dumps(told), whole)],
        )
        return Snapshot(number, last.sequence, digest, last.recorded_at, told, whole, 0)

    def settle(self, snapshot: Snapshot) -> None:
        """Go on from a snapshot that was made."""
        self.at = snapshot
        for name in self.line.settle(snapshot):
            self._noted.pop(name, None)

    def _find_stored(self, touched: Mapping[Name, AnyRecord]) -> None:
        """Find what is stored of records that the fold wrote without reading them."""
        may_be_stored = self.line.may_be_stored
        unread = touched.keys() - self._noted.keys()
        names = [(table, key) for table, key in unread if may_be_stored(table, "", key)]
        for name, text in self._snapshots.at(self.at.number, names).items():
            row = Stored(*name, text)
            self._note(row, row.decoded())


class _Happened:
    """The line of what had happened, and what is stored of its records: where they are otherwise
    than was known.
    """

    def __init__(self, side: Side, snapshots: Snapshots, start: Snapshot) -> None:
        self._side = side
        self._snapshots = snapshots
        self.at = start
        #: What was known, and what lies over it.
        self._known = snapshots.kept(start.number)
        self._odd = snapshots.kept(start.number, HAPPENED)
        self.line = Line(snapshots, HAPPENED, start, None if start.number else Evicted())
        self.line.restore()

    def write(self, snapshot: Snapshot) -> None:
        """Store the records that had happened otherwise than was known, and go on from there. In a
        transaction of the caller.
        """
        snapshots, number = self._snapshots, snapshot.number
        known_changed = snapshots.block(KNOWN, number, CHANGED)
        told = {
            name: entry
            for name, entry in {**known_changed, **snapshots.block(KNOWN, number, ENDED)}.items()
            if name[0] in _OF_WHAT_HAPPENED
        }
        touched = [n for n in touched_in(self.line.books) if n[0] in _OF_WHAT_HAPPENED]
        names = {*touched, *told}
        unsaid = [n for n in names if n not in told or self.line.books.get(*n) is None]
        before = self._before(unsaid, self._known, KNOWN)
        stood = self._before(names, self._odd, HAPPENED)
        changed: Entries = {}
        ended: Entries = {}
        former: set[tuple[int, str, str]] = set()
        for name in names:
            known = told.get(name) or before.get(name, _NOT_THERE)
            held = self.line.books.get(*name)
            if held is not None:
                flag: Flag = KEPT if is_kept(name[0], held) else LISTED
                now = Entry(flag, encode_record(held))
            else:
                now = stood.get(name) or before.get(name, _NOT_THERE)
            same = now.text == known.text
            if not same and held is not None:
                former |= names_beside(name, held, known.text)
            is_one_there = bool(now.text) is not bool(known.text) and name[0] not in APART
            is_listed = KEPT in (now.flag, known.flag) or is_one_there
            if not same and is_listed:
                if self._odd.get(name) != now:
                    changed[name] = self._odd[name] = now
            elif self._odd.pop(name, None) is not None:
                changed[name] = Entry(GONE, "")
                ended[name] = Entry(GONE, "") if same else now
            elif now != stood.get(name, _NOT_THERE) if not same else name in stood:
                ended[name] = Entry(GONE, "") if same else now
        snapshots.put(HAPPENED, number, CHANGED, changed)
        snapshots.put(HAPPENED, number, ENDED, ended)
        whole = snapshots.put_whole(HAPPENED, number, self.at.whole_happened, self._odd)
        insert_former_names(self._side, former)
        snapshots.note_happened(number, whole, self._odd)
        advance(self._known, known_changed)
        self.at = replace(snapshot, whole_happened=whole)
        self.line.settle(self.at)

    def _before(self, names: Collection[Name], kept: Entries, line: int) -> Entries:
        """Return what the snapshot before says of records."""
        found = {name: kept[name] for name in names if name in kept}
        rest = [name for name in names if name not in kept]
        ended = self._snapshots.ended(self.at.number, rest, line)
        return found | {name: entry for name, entry in ended.items() if entry.flag != GONE}


def touched_in(books: Books) -> dict[Name, AnyRecord]:
    """Return the records that were touched, table by table, the oldest first."""
    found: dict[Name, AnyRecord] = {}
    for table, keys in books.touched().items():
        held = books.tables[table]
        records = sorted((held[key] for key in keys), key=lambda r: (born(r), r.key))
        found |= {(table, record.key): record for record in records}
    return found


def names_beside(name: Name, record: AnyRecord, known: str) -> set[tuple[int, str, str]]:
    """Return the names that a record has and that it was not known by."""
    table, key = name
    found = set(former_names_of(table, record.columns()))
    if known:
        found -= set(former_names_of(table, Stored(table, key, known).decoded().columns()))
    return {(number_of(table, column), value, key) for column, value in found}


def insert_former_names(side: Side, names: Iterable[tuple[int, str, str]]) -> None:
    """Store what records were found by. In a transaction of the caller."""
    head = "INSERT INTO {}former_names (name, value, key)"
    insert(side, head, sorted(names), "ON CONFLICT DO NOTHING")


def make_tables(side: Side, snapshots: Snapshots) -> None:
    """Throw away what there is, and make every table, empty."""
    with side.writing():
        snapshots.make()
        for name, columns in FACT_TABLES.items():
            side.execute(f"DROP TABLE IF EXISTS {{}}{name}")
            side.create(name, columns, by_key=True)
        for index in FACT_INDEXES:
            side.execute(index)


def check(log: Connection, side: Side, number: int, rest: Rest = no_rest) -> bool:
    """Fold the events of a snapshot again from the one before, and say whether it has the same
    records. Raises `Unusable` where one of both cannot be read.
    """
    snapshots = Snapshots(side, log)
    told, start = snapshots.numbered(number), snapshots.numbered(number - 1)
    if not told.number:
        raise Unusable(f"there is no snapshot {number}")
    line = Line(snapshots, KNOWN, start)
    line.restore()
    for envelopes in read_events(log, start.sequence, told.sequence):
        line.fold(envelopes)
        rest()
    before = snapshots.kept(start.number)
    changed: Entries = {}
    ended: Entries = {}
    for name, record in touched_in(line.books).items():
        text = encode_record(record)
        if is_kept(name[0], record):
            changed[name] = Entry(KEPT, text)
        else:
            ended[name] = Entry(LISTED, text)
            if name in before:
                changed[name] = Entry(GONE, "")
    snapshots.live(number)
    return (
        changed == snapshots.block(KNOWN, number, CHANGED)
        and ended == snapshots.block(KNOWN, number, ENDED)
        and ended == snapshots.ended(number, ended)
        and snapshots.kept(number) == advance(before, changed)
    )


def bring_up(url: str, progress: Callable[[int, int], None], rest: Rest = no_rest) -> int:
    """Make every snapshot of a log that is missing, and return how many were made. Blocks the
    caller; what was made stays where it is stopped.

    Raises `Unusable` where nothing can be kept beside the log.
    """
    made = 0
    with (
        closing(connect(parse_url(url), "read")) as log,
        opened(log, url, write=True) as side,
        collector_at_rest(),
    ):
        maker = Maker(log, side)
        left = 1
        while left:
            if made and rest is no_rest:
                time.sleep(_GAP_SECONDS)
            # Who rests between steps would keep other writers waiting.
            with side.writing() if rest is no_rest else nullcontext():
                for _ in range(_AT_ONCE):
                    left = maker.step(rest)
                    made += 1
                    progress(made, made + left)
                    if not left:
                        break
        return made


def standing(url: str) -> tuple[int, int]:
    """Return the events up to which there are snapshots: of what was known, and of what had
    happened. Raises `Unusable`.
    """
    with closing(connect(parse_url(url), "read")) as log, opened(log, url, write=False) as side:
        snapshots = Snapshots(side, log)
        if not snapshots.are_of_these_folds:
            return 0, 0
        return snapshots.last().sequence, snapshots.last(HAPPENED).sequence


def check_snapshots(
    url: str,
    number: int | None,
    progress: Callable[[int, int], None],
    *,
    choose: Callable[[Sequence[int], int], list[int]],
    rest: Rest = no_rest,
) -> tuple[int, list[int]]:
    """Fold so many snapshots again, all for None, and return how many, and which of them differ.
    Where one does, all are thrown away. None is checked where the log is too short for any.

    Raises `Unusable` where none was made yet, or nothing can be written.
    """
    with (
        closing(connect(parse_url(url), "read")) as log,
        opened(log, url, write=True) as side,
        collector_at_rest(),
    ):
        snapshots = Snapshots(side, log)
        last = snapshots.last().number if snapshots.are_of_these_folds else 0
        if not last and folded(log).sequence < CHUNK_EVENTS:
            return 0, []
        if not last:
            raise Unusable("none was made yet")
        every = range(1, last + 1)
        chosen = every if number is None else sorted(choose(every, min(number, last)))
        wrong = []
        for done, one in enumerate(chosen, 1):
            if not is_right(log, side, one, rest):
                wrong.append(one)
            progress(done, len(chosen))
        if wrong:
            with side.writing():
                snapshots.throw_away()
        return len(chosen), wrong


def is_right(log: Connection, side: Side, number: int, rest: Rest = no_rest) -> bool:
    """Say whether a snapshot holds and has the records that a fold makes; raises `Unready`."""
    try:
        return check(log, side, number, rest)
    except Unready:
        raise
    except Unusable:
        return False
