"""Stored snapshots of the books: what each record was, every five thousand events.

A question about a moment folds the events since the snapshot before it, which takes as long however
old the log is. Ten million events have two thousand snapshots of fifteen thousand live records; so
only what changed is stored, as versions of records with the snapshots for which they hold, and the
whole of a snapshot is found by a relational interval tree (Kriegel, Poetke and Seidl, VLDB
2000): each interval has one node, and the intervals around a number are those of its 31 ancestors.

There are two lines. What the books knew (`known`) is a version of every record. What had happened
(`happened`) is stored where it is another record, beside the former.

Each snapshot carries the sequence and the hash of its event and the sums of its records, which are
compared when it is read; it was made by the fold, and `check` folds any of them again. A snapshot
that was made by other folds, or that does not hold, is thrown away with all others (decision 0133).
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from hashlib import blake2b
from importlib.resources import files
from typing import Any, Final, NamedTuple

from oms.core.codec import Head
from oms.core.fold.records import TABLES, AnyRecord, Fill, Order, decode_record
from oms.history.side import Side, Unusable
from oms.store.backend import VALUES_MAX
from oms.store.rows import Sums, digest_of

#: Events between two snapshots. Folding them takes 0.1 s; a live record that changes often is
#: stored once in so many.
CHUNK_EVENTS: Final = 5_000
KNOWN: Final = 0
HAPPENED: Final = 1
#: Marks of a version: it is live; it is found among those, and is not.
LIVE: Final = 1
LISTED: Final = 2
#: Of a version that still holds.
OPEN: Final = 2**31 - 1

TABLE_NAMES: Final = tuple(TABLES)
TABLE_NUMBERS: Final = {name: number for number, name in enumerate(TABLES)}

#: Columns that records are looked up by, the one that finds fewest first.
NAMED: Final[Mapping[str, tuple[str, ...]]] = {
    "orders": ("perm_id", "broker_key", "order_ref", "parent_order_id", "symbol", "account"),
    "fills": ("exec_id", "perm_id", "order_id", "position_key", "symbol", "account"),
    "breaks": ("order_id", "account"),
}
_NAME_NUMBERS: Final = {
    (table, column): number
    for number, (table, column) in enumerate(
        (table, column) for table, columns in NAMED.items() for column in columns
    )
}
#: What a value says that is none.
_NO_NAMES: Final = frozenset({None, "", 0})
_DICTIONARY_BYTES: Final = 4_096
#: Rows of a look at the newest records.
_PAGE: Final = 500
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)

SNAPSHOT_TABLES: Final = {
    "snapshots": "number INTEGER PRIMARY KEY, sequence BIGINT NOT NULL, hash BLOB NOT NULL,"
    " recorded_at BIGINT NOT NULL, counts TEXT NOT NULL, records BIGINT NOT NULL,"
    " every BLOB NOT NULL, live BLOB NOT NULL,"
    " changed BLOB NOT NULL, happened INTEGER",
    "records": "id INTEGER PRIMARY KEY, kind INTEGER NOT NULL, key TEXT NOT NULL",
    "versions": "line INTEGER NOT NULL, record INTEGER NOT NULL, first INTEGER NOT NULL,"
    " last INTEGER NOT NULL, node INTEGER NOT NULL, live INTEGER NOT NULL, body BLOB,"
    " PRIMARY KEY (line, record, first)",
    "names": "name INTEGER NOT NULL, value TEXT NOT NULL, record INTEGER NOT NULL,"
    " PRIMARY KEY (name, value, record)",
    "dictionaries": "kind INTEGER PRIMARY KEY, body BLOB NOT NULL",
}
_INDEXES: Final = (
    "CREATE UNIQUE INDEX records_by_key ON {}records (kind, key)",
    "CREATE INDEX records_by_kind ON {}records (kind, id)",
    "CREATE INDEX versions_live ON {}versions (line, node, first, last) WHERE live > 0",
    f"CREATE INDEX versions_over ON {{}}versions (last) WHERE line = {HAPPENED}",
)
#: Tables that are kept in the order of their key.
_BY_KEY: Final = ("versions", "names")
#: Under this name the side file says which event the snapshots have reached, and by which folds.
MARK: Final = "snapshots"


#: Types of the columns of a record.
_STORED: Final = (int, int, str, int, int, bytes | None)


class Stored(NamedTuple):
    """A record as a snapshot has it; `text` is None where it has none."""

    record: int
    table: str
    key: str
    #: The first snapshot that has it so.
    first: int
    #: `LIVE`, `LISTED` or neither (0).
    live: int
    text: str | None

    def decoded(self) -> AnyRecord:
        """Return the record; raises `Unusable` where the text is none."""
        try:
            found = decode_record(self.table, self.text or "")
        except ValueError as error:
            raise Unusable(f"a record of {self.table} cannot be read: {error}") from error
        if found.key != self.key:
            raise Unusable(f"the record {self.key!r} of {self.table} is another one")
        return found


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One snapshot: where it stands, and what its records add up to."""

    number: int
    sequence: int
    hash: bytes
    recorded_at: datetime
    #: Table -> all its records, and the live ones.
    counts: Mapping[str, tuple[int, int]]
    #: The number of its youngest record.
    records: int
    sums: Sums


#: The books before the first event.
EMPTY: Final = Snapshot(0, 0, bytes(32), _EPOCH, {}, 0, Sums())


@cache
def folds() -> bytes:
    """Return what names the folds of this program: a digest of everything that they are made of.

    A comment that was changed makes the snapshots anew as well. That is some minutes of a machine
    at an upgrade; a fold that was changed and not noticed would be a wrong answer.
    """
    digest = blake2b(digest_size=16)
    room = files("oms.core")
    parts = [room, *(room / name for name in ("events", "fold", "fold/records"))]
    found = [f for part in parts for f in sorted(part.iterdir(), key=str) if f.name.endswith(".py")]
    own = files("oms.history")
    for file in (*found, *(own / name for name in ("happened.py", "making.py", "snapshots.py"))):
        digest.update(file.name.encode() + file.read_bytes())
    return digest.digest()


def microseconds(moment: datetime) -> int:
    """Return a moment as the snapshots keep it."""
    return (moment - _EPOCH) // _MICROSECOND


def moment_of(number: int) -> datetime:
    """Return the moment that a number of microseconds names."""
    return _EPOCH + number * _MICROSECOND


def fork(first: int, last: int) -> int:
    """Return the node of an interval: of its numbers the one that can be halved most often."""
    if last == OPEN:
        return 0
    if first == last:
        return first
    bits = ((first - 1) ^ last).bit_length() - 1
    return last >> bits << bits


def ancestors(number: int) -> tuple[list[int], list[int]]:
    """Return the nodes that intervals around a number can have: up to it, and above it."""
    below: list[int] = []
    above: list[int] = []
    node = step = 1 << 30
    while True:
        (below if node <= number else above).append(node)
        if node == number:
            return below, above
        step >>= 1
        node += step if node < number else -step


def digest_of_record(table: str, key: str, text: str) -> bytes:
    """Return what a record counts for in the sums."""
    return digest_of(table, (key, text))


def names_of(table: str, record: AnyRecord) -> frozenset[tuple[int, str]]:
    """Return what a record is looked up by: number of the column, and value."""
    columns = record.columns()
    found = ((column, columns[column]) for column in NAMED.get(table, ()))
    return frozenset((_NAME_NUMBERS[table, c], str(v)) for c, v in found if v not in _NO_NAMES)


def born(record: AnyRecord) -> int:
    """Return what orders the records of a table by their age."""
    match record:
        case Order():
            return record.intent_sequence or record.last_sequence
        case Fill():
            return record.booked_sequence
        case _:
            return int(getattr(record, "opened_sequence", 0) or getattr(record, "sequence", 0))


def insert(side: Side, head: str, rows: Sequence[Sequence[Any]], tail: str = "") -> None:
    """Insert rows with as few statements as the database allows."""
    if not rows:
        return
    width = len(rows[0])
    for part in _parts(rows, VALUES_MAX // width):
        row = f"({','.join('?' * width)})"
        values = [value for one in part for value in one]
        side.execute(f"{head} VALUES {','.join([row] * len(part))} {tail}", values)


class Snapshots:
    """The snapshots beside one log."""

    def __init__(self, side: Side) -> None:
        self._side = side
        self._dictionaries: dict[str, bytes] | None = None
        #: The one that was asked for last.
        self._numbered = EMPTY

    @property
    def are_of_these_folds(self) -> bool:
        """Say whether they are there, and were made by the folds of this program."""
        return self._side.mark(MARK)[1] == folds()

    def make(self) -> None:
        """Throw away what there is, and make every table, empty. In a transaction of the caller."""
        side = self._side
        for name, columns in SNAPSHOT_TABLES.items():
            side.execute(f"DROP TABLE IF EXISTS {{}}{name}")
            side.create(name, columns, by_key=name in _BY_KEY)
        for index in _INDEXES:
            side.execute(index)
        side.set_mark(MARK, Head(0, b""), folds())
        self._dictionaries = None

    def throw_away(self) -> None:
        """Throw away every snapshot. In a transaction of the caller."""
        self._side.set_mark(MARK, Head(0, b""), b"")

    # ── which ──

    def last(self, line: int = KNOWN) -> Snapshot:
        """Return the newest snapshot of a line, `EMPTY` where there is none."""
        return self._one("TRUE" if line == KNOWN else "happened IS NOT NULL")

    def at_sequence(self, sequence: int, line: int = KNOWN) -> Snapshot:
        """Return the newest snapshot of a line up to an event."""
        made = "" if line == KNOWN else " AND happened IS NOT NULL"
        return self._one(f"sequence <= ?{made}", (sequence,))

    def at_moment(self, microsecond: int) -> Snapshot:
        """Return the newest snapshot whose event was recorded up to a moment."""
        return self._one("recorded_at <= ?", (microsecond,))

    def numbered(self, number: int) -> Snapshot:
        """Return a snapshot by its number, `EMPTY` where there is none of that number."""
        if number != self._numbered.number:
            self._numbered = self._one("number = ?", (number,))
        return self._numbered

    def _one(self, condition: str, values: Sequence[Any] = ()) -> Snapshot:
        rows = self._side.rows(
            (int, int, bytes, int, str, int, bytes, bytes),
            "SELECT number, sequence, hash, recorded_at, counts, records, every, live"
            f" FROM {{}}snapshots WHERE {condition} ORDER BY number DESC LIMIT 1",
            values,
        )
        if not rows:
            return EMPTY
        number, sequence, digest, recorded_at, counts, records, every, live = rows[0]
        try:
            told = {name: (int(n), int(m)) for name, (n, m) in json.loads(counts).items()}
            sums = Sums.of(every, live)
            return Snapshot(number, sequence, digest, moment_of(recorded_at), told, records, sums)
        except (ValueError, TypeError, AttributeError, OverflowError) as error:
            raise Unusable(f"a snapshot cannot be read: {error}") from error

    def changed(self, number: int) -> list[int]:
        """Return the records that changed between a snapshot and the one before it."""
        query = "SELECT changed FROM {}snapshots WHERE number = ?"
        rows = self._side.rows((bytes,), query, (number,))
        try:
            return [int(n) for n in json.loads(zlib.decompress(rows[0][0]))]
        except (ValueError, IndexError, TypeError, zlib.error) as error:
            raise Unusable(f"snapshot {number} cannot be read: {error}") from error

    # ── records ──

    def live(self, number: int, line: int = KNOWN) -> list[Stored]:
        """Return the live records of a snapshot; raises `Unusable` where they do not add up."""
        found = {row.record: row for row in self._around(number, KNOWN)}
        self._check(number, found.values())
        if line == HAPPENED:
            for row in self.odd(number):
                found.pop(row.record, None)
                if row.live == LIVE:
                    found[row.record] = row
        return list(found.values())

    def odd(self, number: int) -> list[Stored]:
        """Return the records of a snapshot that had happened otherwise than was known, where one of
        both is live or only one of both is there.
        """
        return self._around(number, HAPPENED)

    def _check(self, number: int, live: Iterable[Stored]) -> None:
        sums, counts = Sums(), dict.fromkeys(TABLES, 0)
        for row in live:
            sums.add(digest_of_record(row.table, row.key, row.text or ""), live=True)
            counts[row.table] += 1
        told = self.numbered(number)
        expected = {name: told.counts.get(name, (0, 0))[1] for name in TABLES}
        if sums.live != told.sums.live or counts != expected:
            raise Unusable(f"the live records of snapshot {number} do not add up")

    def _around(self, number: int, line: int) -> list[Stored]:
        if not number:
            return []
        below, above = ancestors(number)
        found = []
        for nodes, bound in (([0], "first <="), (below, "last >="), (above, "first <=")):
            if nodes:
                found += self._side.rows(
                    _STORED,
                    "SELECT r.id, r.kind, r.key, v.first, v.live, v.body FROM {}versions v"
                    " CROSS JOIN {}records r WHERE r.id = v.record AND v.live > 0 AND v.line = ?"
                    f" AND v.node IN ({','.join('?' * len(nodes))}) AND v.{bound} ?",
                    (line, *nodes, number),
                )
        return [self._stored(row) for row in found]

    def at(self, number: int, records: Sequence[int], line: int = KNOWN) -> dict[int, Stored]:
        """Return records as a snapshot has them; one that it does not have is left out."""
        found = self._versions(number, records, KNOWN)
        youngest = self.numbered(number).records
        gone = next((r for r in records if 0 < r <= youngest and r not in found), 0)
        if gone:
            raise Unusable(f"snapshot {number} lacks record {gone}")
        if line == HAPPENED:
            found |= self._versions(number, records, HAPPENED)
        return {record: row for record, row in found.items() if row.text is not None}

    def overlay(self, number: int, records: Sequence[int]) -> dict[int, Stored]:
        """Return what is stored of records for having happened otherwise than was known."""
        return self._versions(number, records, HAPPENED)

    def _versions(self, number: int, records: Sequence[int], line: int) -> dict[int, Stored]:
        found: dict[int, Stored] = {}
        for part in _parts(records, _PAGE):
            rows = self._side.rows(
                _STORED,
                "SELECT r.id, r.kind, r.key, v.first, v.live, v.body FROM {}records r"
                f" CROSS JOIN {{}}versions v WHERE r.id IN ({','.join('?' * len(part))})"
                " AND v.line = ? AND v.record = r.id"
                " AND v.first = (SELECT max(w.first) FROM {}versions w WHERE w.line = ?"
                " AND w.record = r.id AND w.first <= ?) AND v.last >= ?",
                (*part, line, line, number, number),
            )
            found |= {row[0]: self._stored(row) for row in rows}
        return found

    def records_of(self, table: str, keys: Sequence[str]) -> dict[str, int]:
        """Return the numbers of records by their keys."""
        found: dict[str, int] = {}
        for part in _parts(keys, _PAGE):
            found |= dict(
                self._side.rows(
                    (str, int),
                    "SELECT key, id FROM {}records WHERE kind = ?"
                    f" AND key IN ({','.join('?' * len(part))})",
                    (TABLE_NUMBERS[table], *part),
                )
            )
        return found

    def named(self, table: str, column: str, values: Sequence[object]) -> list[int]:
        """Return the numbers of records that ever had one of the values in a column; "" is the
        key.
        """
        if not column:
            return list(self.records_of(table, [str(value) for value in values]).values())
        found: set[int] = set()
        for part in _parts([str(value) for value in values], _PAGE):
            rows = self._side.rows(
                (int,),
                "SELECT record FROM {}names WHERE name = ?"
                f" AND value IN ({','.join('?' * len(part))})",
                (_NAME_NUMBERS[table, column], *part),
            )
            found.update(record for (record,) in rows)
        return sorted(found)

    def counted(self, snapshot: Snapshot, table: str, column: str, value: object) -> int:
        """Return how many records of a snapshot have a value in a column that never changes."""
        rows = self._side.rows(
            (int,),
            "SELECT count(*) FROM {}names WHERE name = ? AND value = ? AND record <= ?",
            (_NAME_NUMBERS[table, column], str(value), snapshot.records),
        )
        return int(rows[0][0])

    def newest(
        self, number: int, table: str, where: Mapping[str, object], line: int = KNOWN
    ) -> Iterator[Stored]:
        """Yield the records of a table that a snapshot has, the youngest first; those that cannot
        meet the conditions may be left out.
        """
        for part in self._candidates(table, where):
            yield from sorted(self.at(number, part, line).values(), reverse=True)

    def _candidates(self, table: str, where: Mapping[str, object]) -> Iterator[list[int]]:
        key = TABLES[table].key_name
        for column in (key, *NAMED.get(table, ())):
            value = where.get(column)
            if value in _NO_NAMES:
                continue
            several = list(value) if isinstance(value, list | tuple) else None
            if several is not None or column == key:
                found = self.named(table, "" if column == key else column, several or [value])
                yield from _parts(sorted(found, reverse=True), _PAGE)
                return
            chosen, first = "{}names WHERE name = ? AND value = ?", "record"
            given: tuple[int | str, ...] = (_NAME_NUMBERS[table, column], str(value))
            break
        else:
            chosen, first, given = "{}records WHERE kind = ?", "id", (TABLE_NUMBERS[table],)
        before = OPEN
        while True:
            query = f"SELECT {first} FROM {chosen} AND {first} < ? ORDER BY {first} DESC LIMIT ?"
            rows = self._side.rows((int,), query, (*given, before, _PAGE))
            if not rows:
                return
            before = rows[-1][0]
            yield [record for (record,) in rows]

    def _stored(self, row: Sequence[Any]) -> Stored:
        record, kind, key, first, live, body = row
        try:
            table = TABLE_NAMES[kind]
            return Stored(record, table, key, first, live, self._text(table, body))
        except (IndexError, TypeError, zlib.error, UnicodeDecodeError) as error:
            raise Unusable(f"record {record} cannot be read: {error}") from error

    # ── bodies: small texts that are much alike ──

    def _text(self, table: str, body: bytes | None) -> str | None:
        if body is None:
            return None
        dictionary = self._dictionary(table)
        return zlib.decompressobj(zdict=dictionary).decompress(body).decode()

    def body(self, table: str, text: str) -> bytes:
        """Return a record's text as it is stored. In a transaction of the caller, because the first
        of a table becomes what all others are compressed with.
        """
        dictionary = self._dictionary(table)
        if not dictionary:
            dictionary = text.encode()[-_DICTIONARY_BYTES:]
            self._side.execute(
                "INSERT INTO {}dictionaries (kind, body) VALUES (?, ?)",
                (TABLE_NUMBERS[table], dictionary),
            )
            assert self._dictionaries is not None
            self._dictionaries[table] = dictionary
        packer = zlib.compressobj(1, zlib.DEFLATED, zlib.MAX_WBITS, 9, 0, dictionary)
        return packer.compress(text.encode()) + packer.flush()

    def _dictionary(self, table: str) -> bytes:
        if self._dictionaries is None:
            rows = self._side.rows((int, bytes), "SELECT kind, body FROM {}dictionaries")
            self._dictionaries = {TABLE_NAMES[kind]: body for kind, body in rows}
        return self._dictionaries.get(table, b"")


def _parts(values: Sequence[Any], size: int) -> Iterator[list[Any]]:
    for start in range(0, len(values), size):
        yield list(values[start : start + size])
