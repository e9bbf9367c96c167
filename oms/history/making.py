"""Making snapshots: the log is folded once more, and after each five thousand events what
changed is stored beside it.

First the line of what was known, up to the end of the log; then the line of what had happened, over
the same events in the order of `happened`. An event that changes what had happened before throws
that line's snapshots away from there on, and they are made again: by then it is known how it was.

A step is one transaction. If the process dies, the step is made again.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Final

from oms.core.codec import GENESIS, Head
from oms.core.events import Envelope
from oms.core.fold.apply import apply, cannot_prepare, companions, initial, wanted
from oms.core.fold.books import Books
from oms.core.fold.records import TABLE_OF, TABLES, AnyRecord, encode_record
from oms.core.fold.wants import Want
from oms.errors import ChainBroken, OmsError
from oms.history.happened import FACT_INDEXES, FACT_TABLES, Facts, Window
from oms.history.side import Side, Unusable, opened
from oms.history.snapshots import (
    CHUNK_EVENTS,
    EMPTY,
    HAPPENED,
    KNOWN,
    LISTED,
    LIVE,
    MARK,
    OPEN,
    TABLE_NUMBERS,
    Snapshot,
    Snapshots,
    Stored,
    born,
    digest_of_record,
    folds,
    fork,
    insert,
    microseconds,
    names_of,
)
from oms.store.backend import Connection, connect, parse_url
from oms.store.envelopes import SELECT_EVENTS, envelope, follow
from oms.store.rows import Sums, check_fits
from oms.store.shadow import collector_at_rest

#: Ended records that stay in memory between two snapshots.
_RESIDENT_MAX: Final = 5_000
_PAGE_EVENTS: Final = 1_000
#: Tables of which what had happened can be otherwise than what was known.
_OF_WHAT_HAPPENED: Final = frozenset(
    {"orders", "unknown_orders", "fills", "early_commissions", "positions", "system"}
)
_VERSION: Final = "INSERT INTO {}versions (line, record, first, last, node, live, body)"
_CLOSES: Final = (
    "ON CONFLICT (line, record, first) DO UPDATE SET last = excluded.last, node = excluded.node"
)

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
        for row in rows:
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

    def __init__(self, snapshots: Snapshots | None, line: int, start: Snapshot) -> None:
        self.books: Books = initial()
        self.books.sequence = start.sequence
        self._snapshots = snapshots
        self._line = line
        self._number = start.number
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

    def settle(self, snapshot: Snapshot) -> list[tuple[str, str]]:
        """Go on from a snapshot that has what was touched; return what has left memory."""
        books = self.books
        books.clear_touched()
        books.sequence, self._number = snapshot.sequence, snapshot.number
        evictable = books.evictable()
        gone = evictable[: max(0, len(evictable) - _RESIDENT_MAX)]
        for table, key in gone:
            books.evict(table, key)
        return gone

    def _read(self, wants: Iterable[Want]) -> Iterator[AnyRecord]:
        books = self.books
        missing: dict[tuple[str, str], list[str | int]] = {}
        for want in wants:
            if not books.holds(want.table, want.column, want.value):
                missing.setdefault((want.table, want.column), []).append(want.value)
        for (table, column), values in missing.items():
            for row in self._stored(table, column, values):
                # A record in memory is as new as the stored one or newer.
                found = books.get(table, row.key)
                if found is None:
                    found = self._taken(row)
                    books.restore(table, found)
                yield found

    def _stored(self, table: str, column: str, values: Sequence[str | int]) -> list[Stored]:
        if self._snapshots is None or not self._number:
            return []
        records = self._snapshots.named(table, column, values)
        return list(self._snapshots.at(self._number, records, self._line).values())

    def _taken(self, row: Stored) -> AnyRecord:
        record = row.decoded()
        self.on_read(row, record)
        return record


def _check_fits(record: AnyRecord) -> None:
    """Raise where the live books set an event aside because of this record."""
    check_fits(TABLES[TABLE_OF[type(record)]], (record.key, *record.columns().values()))


@dataclass(slots=True)
class _Kept:
    """What is stored of a record that is in memory."""

    record: int
    first: int
    digest: bytes
    live: bool
    names: frozenset[tuple[int, str]]


class Maker:
    """Makes the snapshots of one log. One thread at a time uses it."""

    def __init__(self, log: Connection, side: Side, *, chunk_events: int = CHUNK_EVENTS) -> None:
        self._log = log
        self._side = side
        self._chunk_events = chunk_events
        self._snapshots = Snapshots(side)
        if not self._snapshots.are_of_these_folds:
            make_tables(side)
        self._known: _Known | None = None
        self._happened: Line | None = None
        self._happened_at = EMPTY

    def step(self, rest: Rest = no_rest) -> int:
        """Make the next snapshot, of what was known before what had happened; return how many are
        left to make, of both lines.
        """
        end = _end_of(self._log)
        known = self._snapshots.last()
        if known.sequence + self._chunk_events <= end:
            self._know(known, rest)
            known = self._snapshots.last()
        else:
            happened = self._snapshots.last(HAPPENED)
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
                snapshot = known.write(envelopes[-1], bytes(digest))
                first = self._first_changed(facts, snapshot)
                facts.flush(self._side)
                self._throw_away_from(first)
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
            rows = self._side.rows(
                (int | None,),
                "SELECT min(number) FROM {}snapshots WHERE recorded_at >= ?",
                (facts.first_time,),
            )
            found = min(found, rows[0][0] or found)
        return found

    def _throw_away_from(self, number: int) -> None:
        """Throw away what had happened from a snapshot on."""
        if self._snapshots.last(HAPPENED).number < number:
            return
        for statement in (
            f"DELETE FROM {{}}versions WHERE line = {HAPPENED} AND last >= ? AND first > ?",
            f"UPDATE {{}}versions SET last = {OPEN}, node = 0 WHERE line = {HAPPENED}"
            " AND last >= ? AND first <= ?",
        ):
            self._side.execute(statement, (number - 1, number - 1))
        self._side.execute("UPDATE {}snapshots SET happened = NULL WHERE number >= ?", (number,))

    # ── what had happened ──

    def _happen(self, last: Snapshot, rest: Rest) -> None:
        line = self._happened
        if line is None or self._happened_at != last:
            line = Line(self._snapshots, HAPPENED, last)
            line.restore()
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
            line.fold(events[start : start + _PAGE_EVENTS])
            rest()
        with self._side.writing():
            if self._snapshots.last(HAPPENED).number != last.number:
                return  # Another program has made it, or thrown it away.
            self._write_happened(line, snapshot.number)
            self._side.execute(
                "UPDATE {}snapshots SET happened = 1 WHERE number = ?", (snapshot.number,)
            )
        line.settle(snapshot)
        self._happened, self._happened_at = line, snapshot

    def _write_happened(self, line: Line, number: int) -> None:
        """Store the records that had happened otherwise than was known."""
        snapshots = self._snapshots
        touched = {
            (table, key)
            for table, keys in line.books.touched().items()
            if table in _OF_WHAT_HAPPENED
            for key in keys
        }
        numbers: dict[tuple[str, str], int] = {}
        for table in _OF_WHAT_HAPPENED:
            keys = [key for name, key in touched if name == table]
            found = snapshots.records_of(table, keys)
            numbers |= {(table, key): record for key, record in found.items()}
        numbers |= add_records(self._side, sorted(touched - numbers.keys()), known=False)
        known = snapshots.at(number, [*snapshots.changed(number), *numbers.values()])
        numbers |= {
            (row.table, row.key): row.record
            for row in known.values()
            if row.table in _OF_WHAT_HAPPENED
        }
        records = list(numbers.values())
        before = snapshots.at(number - 1, records)
        over = snapshots.overlay(number - 1, records)
        closed, made, names = [], [], []
        for (table, key), record in numbers.items():
            held = line.books.get(table, key)
            text: str | None
            if held is not None:
                text = encode_record(held)
            elif record in over:
                text = over[record].text
            else:
                text = before[record].text if record in before else None
            stood, told = over.get(record), known.get(record)
            is_same = text == (None if told is None else told.text)
            stays = over.get(record) or before.get(record)
            if held is not None:
                is_live = held.live
            else:
                is_live = text is not None and stays is not None and stays.live == LIVE
            is_odd = (told is not None and told.live == LIVE) or (text is None) is not (
                told is None
            )
            live = LIVE if is_live else LISTED if is_odd else 0
            if stood is not None:
                if not is_same and stood.text == text and stood.live == live:
                    continue
                last = number - 1
                node = fork(stood.first, last)
                closed.append((HAPPENED, record, stood.first, last, node, 0, None))
            if not is_same:
                body = None if text is None else snapshots.body(table, text)
                made.append((HAPPENED, record, number, OPEN, 0, live, body))
                if held is not None:
                    names += [(*name, record) for name in names_of(table, held)]
        insert(self._side, _VERSION, closed, _CLOSES)
        insert(self._side, _VERSION, made)
        insert_names(self._side, names)


class _Known:
    """The line of what was known, and what is stored of its records."""

    def __init__(self, side: Side, snapshots: Snapshots, start: Snapshot) -> None:
        self._side = side
        self._snapshots = snapshots
        self.at = start
        self._kept: dict[tuple[str, str], _Kept] = {}
        self.line = Line(snapshots, KNOWN, start)
        self.line.on_read = self._keep
        self.line.restore()

    def _keep(self, row: Stored, record: AnyRecord) -> None:
        digest = digest_of_record(row.table, row.key, row.text or "")
        kept = _Kept(row.record, row.first, digest, record.live, names_of(row.table, record))
        self._kept[row.table, row.key] = kept

    def write(self, last: Envelope, digest: bytes) -> Snapshot:
        """Store what was touched as the next snapshot. In a transaction of the caller."""
        touched = self._touched()
        self._find_stored(touched)
        new = [(table, record.key) for table, record in touched if not self._is_kept(table, record)]
        numbers = add_records(self._side, new)
        sums = Sums(self.at.sums.every, self.at.sums.live)
        counts = {name: list(self.at.counts.get(name, (0, 0))) for name in TABLES}
        number = self.at.number + 1
        closed, made, names, changed = [], [], [], []
        for table, record in touched:
            key, text = record.key, encode_record(record)
            before = self._kept.get((table, key))
            now = digest_of_record(table, key, text)
            if before is not None and before.digest == now:
                continue
            found = names_of(table, record)
            if before is not None:
                sums.remove(before.digest, live=before.live)
                counts[table][1] -= before.live
                node = fork(before.first, number - 1)
                closed.append((KNOWN, before.record, before.first, number - 1, node, 0, None))
                names += [(*name, before.record) for name in found - before.names]
            else:
                counts[table][0] += 1
                names += [(*name, numbers[table, key]) for name in found]
            live = record.live
            sums.add(now, live=live)
            counts[table][1] += live
            which = numbers[table, key] if before is None else before.record
            made.append(
                (KNOWN, which, number, OPEN, 0, int(live), self._snapshots.body(table, text))
            )
            changed.append(which)
            self._kept[table, key] = _Kept(which, number, now, live, found)
        insert(self._side, _VERSION, closed, _CLOSES)
        insert(self._side, _VERSION, made)
        insert_names(self._side, names)
        told = {name: (n, m) for name, (n, m) in counts.items() if n}
        records = max(self.at.records, *numbers.values(), 0)
        packed = zlib.compress(json.dumps(changed, separators=(",", ":")).encode(), 1)
        insert(
            self._side,
            "INSERT INTO {}snapshots (number, sequence, hash, recorded_at, counts, records,"
            " every, live, changed)",
            [
                (
                    *(number, last.sequence, digest, microseconds(last.recorded_at)),
                    *(json.dumps(told), records, *sums.stored(), packed),
                )
            ],
        )
        return Snapshot(number, last.sequence, digest, last.recorded_at, told, records, sums)

    def settle(self, snapshot: Snapshot) -> None:
        """Go on from a snapshot that was made."""
        self.at = snapshot
        for table, key in self.line.settle(snapshot):
            self._kept.pop((table, key), None)

    def _touched(self) -> list[tuple[str, AnyRecord]]:
        books = self.line.books
        found = []
        for table, keys in books.touched().items():
            held = books.tables[table]
            records = sorted((held[key] for key in keys), key=lambda r: (born(r), r.key))
            found += [(table, record) for record in records]
        return found

    def _is_kept(self, table: str, record: AnyRecord) -> bool:
        return (table, record.key) in self._kept

    def _find_stored(self, touched: Sequence[tuple[str, AnyRecord]]) -> None:
        """Find what is stored of records that the fold wrote without reading them."""
        for table in TABLES:
            keys = [r.key for name, r in touched if name == table and not self._is_kept(table, r)]
            records = list(self._snapshots.records_of(table, keys).values())
            for row in self._snapshots.at(self.at.number, records).values():
                self._keep(row, row.decoded())


def add_records(
    side: Side, keys: Sequence[tuple[str, str]], *, known: bool = True
) -> dict[tuple[str, str], int]:
    """Give records their numbers, below zero where they only had happened. In a transaction of the
    caller.
    """
    if known:
        highest = side.rows((int | None,), "SELECT max(id) FROM {}records")[0][0] or 0
        numbers = {key: max(highest, 0) + n for n, key in enumerate(keys, 1)}
    else:
        lowest = side.rows((int | None,), "SELECT min(id) FROM {}records")[0][0] or 0
        numbers = {key: min(lowest, 0) - n for n, key in enumerate(keys, 1)}
    rows = [(number, TABLE_NUMBERS[table], key) for (table, key), number in numbers.items()]
    insert(side, "INSERT INTO {}records (id, kind, key)", rows)
    return numbers


def insert_names(side: Side, names: Sequence[tuple[Any, ...]]) -> None:
    """Store what records are looked up by. In a transaction of the caller."""
    rows = sorted(set(names))
    insert(side, "INSERT INTO {}names (name, value, record)", rows, "ON CONFLICT DO NOTHING")


def make_tables(side: Side) -> None:
    """Throw away what there is, and make every table, empty."""
    with side.writing():
        Snapshots(side).make()
        for name, columns in FACT_TABLES.items():
            side.execute(f"DROP TABLE IF EXISTS {{}}{name}")
            side.create(name, columns)
        for index in FACT_INDEXES:
            side.execute(index)


def check(log: Connection, side: Side, number: int, rest: Rest = no_rest) -> bool:
    """Fold the events of a snapshot again from the one before, and say whether it has the same
    records. Raises `Unusable` where one of both cannot be read.
    """
    snapshots = Snapshots(side)
    told, start = snapshots.numbered(number), snapshots.numbered(number - 1)
    if not told.number:
        raise Unusable(f"there is no snapshot {number}")
    line = Line(snapshots, KNOWN, start)
    line.restore()
    for envelopes in read_events(log, start.sequence, told.sequence):
        line.fold(envelopes)
        rest()
    changed = snapshots.changed(number)
    stored = {(row.table, row.key): row.text for row in snapshots.at(number, changed).values()}
    before = {
        (row.table, row.key): row.text
        for table, keys in line.books.touched().items()
        for row in snapshots.at(
            start.number, list(snapshots.records_of(table, list(keys)).values())
        ).values()
    }
    made = {
        (table, key): text
        for table, keys in line.books.touched().items()
        for key in keys
        if (text := encode_record(line.books.tables[table][key])) != before.get((table, key))
    }
    if made != stored:
        return False
    snapshots.live(number)
    return True


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
        while True:
            left = maker.step(rest)
            made += 1
            progress(made, made + left)
            if not left:
                return made


def standing(url: str) -> tuple[int, int]:
    """Return the events up to which there are snapshots: of what was known, and of what had
    happened. Raises `Unusable`.
    """
    with closing(connect(parse_url(url), "read")) as log, opened(log, url, write=False) as side:
        snapshots = Snapshots(side)
        if not snapshots.are_of_these_folds:
            return 0, 0
        return snapshots.last().sequence, snapshots.last(HAPPENED).sequence


def _end_of(log: Connection) -> int:
    return int(log.rows("SELECT max(sequence) FROM events")[0][0] or 0)


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
        snapshots = Snapshots(side)
        last = snapshots.last().number if snapshots.are_of_these_folds else 0
        if not last and _end_of(log) < CHUNK_EVENTS:
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
    """Say whether a snapshot holds and has the records that a fold makes."""
    try:
        return check(log, side, number, rest)
    except Unusable:
        return False
