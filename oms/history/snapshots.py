"""Stored snapshots of the books: what was live, every few thousand events, and what had ended.

A question about a moment folds the events since the snapshot before it, which takes as long however
old the log is. A snapshot stores what its events changed, in two blocks: the records that are kept
in it (live ones, and of a few tables all), and those that have ended. The kept ones of a snapshot
are the last whole block and the changes since; a new whole one is stored when the changes weigh as
much as it does, so what is read for an answer is bounded by what was held then, and not by the
age of the log. An ended record stands in the block of the snapshot in which it changed last; which
that is, is found by a number made of its key.

There are two lines. What the books knew (`known`) has every record. What had happened (`happened`)
has those that were otherwise than was known, and lies over the former.

Each block carries a digest, each snapshot the sequence and the hash of its event and the digest of
its blocks; it was made by the fold, and `check` folds any of them again. A snapshot that was made
by other folds, or that does not hold, is thrown away with all others (decision 0146).
"""

from __future__ import annotations

import json
import re
import zlib
from collections import OrderedDict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from hashlib import blake2b
from importlib.resources import files
from operator import itemgetter
from typing import Any, Final, Literal, NamedTuple

from oms.core.codec import Head
from oms.core.fold.records import TABLES, AnyRecord, Fill, Order, decode_record
from oms.history.side import Side, Unusable
from oms.store.backend import VALUES_MAX, Connection

#: Events between two snapshots. Folding them takes a tenth of a second where each needs a record
#: that has ended.
CHUNK_EVENTS: Final = 1_250
#: Changes since the last whole block that are stored before the next one, as a part of its size.
_CHANGES_SHARE_MAX: Final = 1.5
KNOWN: Final = 0
HAPPENED: Final = 1

#: Parts of a snapshot: what changed of the records kept, all of them, and what changed of others.
CHANGED: Final = 0
WHOLE: Final = 1
ENDED: Final = 2
#: The last part is cut by its names into as many pieces, one a row: of those that have ended an
#: event needs one, and unpacking is most of what that costs.
_PIECES: Final = 16
#: Of zlib: half the time of the usual one, for a sixth more bytes.
_PACKED: Final = 3

TABLE_NAMES: Final = tuple(TABLES)
TABLE_NUMBERS: Final = {name: number for number, name in enumerate(TABLES)}
#: Tables whose records are few, do not end, and are asked for all at once.
KEPT_TABLES: Final = frozenset({"positions", "account_values"})
#: Tables of which many records had happened that were never known, and which are looked for in both
#: lines: what an execution cost stands before it in what had happened, so that nearly each has an
#: early commission there. Among the records that lie over what was known they would only grow.
APART: Final = frozenset({"early_commissions"})
#: Columns that the rows of the log are found by now, the one that finds fewest first.
NAMED: Final[Mapping[str, tuple[str, ...]]] = {
    "orders": ("perm_id", "broker_key", "order_ref", "parent_order_id"),
    "fills": ("exec_id", "order_id", "perm_id", "position_key"),
    "breaks": ("order_id",),
}
#: Columns that never change and that many records share.
SHARED: Final[Mapping[str, tuple[str, ...]]] = {
    "orders": ("symbol", "account"),
    "fills": ("symbol", "account"),
}
#: Values that say that there is none.
_NONE: Final = (None, "", 0)
#: Values of a statement.
_PAGE: Final = 500
#: Pieces of blocks that stay unpacked: some tens of megabytes.
_BLOCKS_MAX: Final = 256
_DIGEST_BYTES: Final = 16
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)

SNAPSHOT_TABLES: Final = {
    "snapshots": "number INTEGER PRIMARY KEY, sequence BIGINT NOT NULL, hash BLOB NOT NULL,"
    " recorded_at BIGINT NOT NULL, counts TEXT NOT NULL, whole INTEGER NOT NULL,"
    " happened INTEGER",
    "blocks": "line INTEGER NOT NULL, number INTEGER NOT NULL, part INTEGER NOT NULL,"
    " digest BLOB NOT NULL, body BLOB NOT NULL, PRIMARY KEY (line, number, part)",
    "places": "line INTEGER NOT NULL, name BIGINT NOT NULL, number INTEGER NOT NULL,"
    " PRIMARY KEY (line, name, number)",
    "shared": "name BIGINT NOT NULL, number INTEGER NOT NULL, born INTEGER NOT NULL,"
    " PRIMARY KEY (name, number)",
    "former_names": "name BIGINT NOT NULL, value TEXT NOT NULL, key TEXT NOT NULL,"
    " PRIMARY KEY (name, value, key)",
}
#: Tables that are kept in the order of their key.
_BY_KEY: Final = ("places", "shared", "former_names")
#: Under this name the side file says which event the snapshots have reached, and by which folds.
MARK: Final = "snapshots"

#: Of a record: it is kept; it is listed among those, and is not kept; it has gone from there.
Flag = Literal["+", "=", "-"]
KEPT: Final[Flag] = "+"
LISTED: Final[Flag] = "="
GONE: Final[Flag] = "-"
#: Table and key.
Name = tuple[str, str]


class Entry(NamedTuple):
    """What a block says of a record; the text is empty where it is said not to be there."""

    flag: Flag
    text: str


Entries = dict[Name, Entry]
_FLAGS: Final[Mapping[str, Flag]] = {KEPT: KEPT, LISTED: LISTED, GONE: GONE}


class Stored(NamedTuple):
    """A record as a snapshot has it."""

    table: str
    key: str
    text: str

    def decoded(self) -> AnyRecord:
        """Return the record; raises `Unusable` where the text is none."""
        try:
            found = decode_record(self.table, self.text)
        except ValueError as error:
            raise Unusable(f"a record of {self.table} cannot be read: {error}") from error
        if found.key != self.key:
            raise Unusable(f"the record {self.key!r} of {self.table} is another one")
        return found


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One snapshot: where it stands, and how many records it has."""

    number: int
    sequence: int
    hash: bytes
    recorded_at: datetime
    #: Table -> all its records, and the live ones.
    counts: Mapping[str, tuple[int, int]]
    #: The number of the last whole block, of either line; 0 for none.
    whole: int
    whole_happened: int


#: The books before the first event.
EMPTY: Final = Snapshot(0, 0, bytes(32), _EPOCH, {}, 0, 0)


#: What decides how an event changes a record, and how both are written: with what they import.
_FOLDING: Final = ("oms.core.fold.apply", "oms.core.fold.records", "oms.core.codec")
_MAKING: Final = ("happened.py", "making.py", "snapshots.py")
_IMPORTS: Final = re.compile(r"^\s*from (oms\.core[\w.]*) import (\([^)]*\)|.*)", re.MULTILINE)


@cache
def folds() -> bytes:
    """Return what names the folds of this program: a digest of everything that they are made of.

    A comment that was changed makes the snapshots anew as well. That is some minutes of a machine
    at an upgrade; a fold that was changed and not noticed would be a wrong answer.
    """
    digest = blake2b(digest_size=16)
    for name, text in sorted(folding_modules().items()):
        digest.update(f"{name}\0{text}\0".encode())
    for name in _MAKING:
        digest.update(name.encode() + (files("oms.history") / name).read_bytes())
    return digest.digest()


def folding_modules() -> dict[str, str]:
    """Return the modules of the core that a fold is made of, by name, with their text: what else
    stands there (alarms, admission, words) changes without a snapshot being another.
    """
    found: dict[str, str] = {}
    waiting = list(_FOLDING)
    while waiting:
        name = waiting.pop()
        text = None if name in found else _text_of(name)
        if text is None:
            continue
        found[name] = text
        # Who imports a module of a folder has run the folder's own module.
        waiting.append(name.rpartition(".")[0])
        for module, names in _IMPORTS.findall(text):
            waiting.append(module)
            waiting += [f"{module}.{one}" for one in re.findall(r"\w+", names)]
    return found


def _text_of(name: str) -> str | None:
    """Return the text of a module of the core, None for what is none."""
    _, *parts = name.split(".")
    if parts[:1] != ["core"]:
        return None
    place = files("oms").joinpath(*parts)
    file = (
        place / "__init__.py"
        if place.is_dir()
        else files("oms").joinpath(*parts[:-1], f"{parts[-1]}.py")
    )
    return file.read_text("utf-8") if file.is_file() else None


def microseconds(moment: datetime) -> int:
    """Return a moment as the snapshots keep it."""
    return (moment - _EPOCH) // _MICROSECOND


def moment_of(number: int) -> datetime:
    """Return the moment that a number of microseconds names."""
    return _EPOCH + number * _MICROSECOND


def is_kept(table: str, record: AnyRecord) -> bool:
    """Say whether every snapshot has a record among those that it keeps together."""
    return record.live or table in KEPT_TABLES


def former_names_of(table: str, columns: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Return what a record with these columns is found by: columns and their values."""
    found = ((column, columns[column]) for column in NAMED.get(table, ()))
    return tuple((column, str(value)) for column, value in found if value not in _NONE)


def shared_of(table: str, columns: Mapping[str, Any]) -> list[int]:
    """Return the numbers of what a record with these columns shares with many."""
    return [number_of(table, column, str(columns[column])) for column in SHARED.get(table, ())]


def born(record: AnyRecord) -> int:
    """Return what orders the records of a table by their age."""
    match record:
        case Order():
            return record.intent_sequence or record.last_sequence
        case Fill():
            return record.booked_sequence
        case _:
            return int(getattr(record, "opened_sequence", 0) or getattr(record, "sequence", 0))


def number_of(*words: str) -> int:
    """Return a number that stands for some words, as both databases hold one."""
    digest = blake2b("\x1f".join(words).encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest) >> 1


def insert(side: Side, head: str, rows: Sequence[Sequence[Any]], tail: str = "") -> None:
    """Insert rows with as few statements as the database allows."""
    if not rows:
        return
    width = len(rows[0])
    for part in parts(rows, VALUES_MAX // width):
        row = f"({','.join('?' * width)})"
        values = [value for one in part for value in one]
        side.execute(f"{head} VALUES {','.join([row] * len(part))} {tail}", values)


# ── blocks: records that are much alike, packed together ──


def line_of(name: Name, entry: Entry) -> str:
    """Return the line of a block that says something of a record."""
    # JSON has no raw tab or end of line in it.
    return "\t".join((*_head(name), entry.flag, entry.text))


def _head(name: Name) -> tuple[str, str]:
    return str(TABLE_NUMBERS[name[0]]), json.dumps(name[1])


class Block:
    """What some events changed: a line for each record. Few are read of most blocks, so a line is
    looked for when it is asked for.

    Raises ValueError, KeyError or IndexError for lines that are none.
    """

    def __init__(self, text: str) -> None:
        self._text = text

    def entries(self) -> Entries:
        """Return what every line says."""
        return {_named(head): Entry(_FLAGS[flag], text) for head, flag, text in self.lines()}

    def lines(self) -> Iterator[list[str]]:
        """Yield what names a record, and what is said of it."""
        for line in self._text.split("\n") if self._text else ():
            yield line.rsplit("\t", 2)

    def of(self, name: Name) -> Entry | None:
        """Return what is said of a record, None where nothing is."""
        head = "\t".join((*_head(name), ""))
        start = 0 if self._text.startswith(head) else self._text.find(f"\n{head}") + 1
        if not start and not self._text.startswith(head):
            return None
        end = self._text.find("\n", start)
        return _said(self._text[start + len(head) : None if end < 0 else end])


def _said(line: str) -> Entry:
    return Entry(_FLAGS[line[0]], line[2:])


def _named(head: str) -> Name:
    number, key = head.split("\t")
    return TABLE_NAMES[int(number)], json.loads(key) if "\\" in key else key[1:-1]


def newest_of(blocks: Iterable[Block]) -> Entries:
    """Return what the newest block says of each record, of blocks of which the newest comes first,
    but for those that have gone.
    """
    said: dict[str, list[str]] = {}
    for block in blocks:
        # Most lines of older blocks were said anew: only what names them is looked at.
        for line in block.lines():
            said.setdefault(line[0], line)
    return {
        _named(head): Entry(_FLAGS[flag], text)
        for head, flag, text in said.values()
        if flag != GONE
    }


def advance(kept: Entries, changed: Entries) -> Entries:
    """Bring what is kept to the next snapshot, and return it."""
    kept.update(changed)
    for name, entry in changed.items():
        if entry.flag == GONE:
            kept.pop(name, None)
    return kept


def _digest(line: int, number: int, part: int, body: bytes) -> bytes:
    about = f"{line}\x1f{number}\x1f{part}\x1f".encode()
    return blake2b(about + body, digest_size=_DIGEST_BYTES).digest()


class Snapshots:
    """The snapshots beside one log."""

    def __init__(self, side: Side, log: Connection) -> None:
        self._side = side
        self._log = log
        #: The one that was asked for last.
        self._numbered = EMPTY
        self._blocks: OrderedDict[tuple[int, int, int], Block] = OrderedDict()
        self._odd: tuple[int, Entries] = (0, {})

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
        side.set_mark(MARK, Head(0, b""), folds())

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
            (int, int, bytes, int, str, int, int | None),
            "SELECT number, sequence, hash, recorded_at, counts, whole, happened"
            f" FROM {{}}snapshots WHERE {condition} ORDER BY number DESC LIMIT 1",
            values,
        )
        if not rows:
            return EMPTY
        number, sequence, digest, recorded_at, counts, whole, happened = rows[0]
        try:
            told = {name: (int(n), int(m)) for name, (n, m) in json.loads(counts).items()}
            at = moment_of(recorded_at)
            return Snapshot(number, sequence, digest, at, told, whole, happened or 0)
        except (ValueError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
            raise Unusable(f"a snapshot cannot be read: {error}") from error

    # ── blocks ──

    def block(self, line: int, number: int, part: int) -> Entries:
        """Return what a block says; raises `Unusable` where it is not what was written."""
        found: Entries = {}
        try:
            for piece in range(part, part + (_PIECES if part == ENDED else 1)):
                found |= self._block(line, number, piece).entries()
        except (ValueError, KeyError, IndexError) as error:
            raise Unusable(f"a block of snapshot {number} cannot be read: {error}") from error
        return found

    def _block(self, line: int, number: int, part: int) -> Block:
        which = (line, number, part)
        found = self._blocks.get(which)
        if found is not None:
            self._blocks.move_to_end(which)
            return found
        query = "SELECT digest, body FROM {}blocks WHERE line = ? AND number = ? AND part = ?"
        rows = self._side.rows((bytes, bytes), query, which)
        if not rows or rows[0][0] != _digest(*which, rows[0][1]):
            raise Unusable(f"a block of snapshot {number} is not what was written")
        try:
            found = Block(zlib.decompress(rows[0][1]).decode())
        except (ValueError, zlib.error) as error:
            raise Unusable(f"a block of snapshot {number} cannot be read: {error}") from error
        if part >= ENDED:
            self._blocks[which] = found
            if len(self._blocks) > _BLOCKS_MAX:
                self._blocks.popitem(last=False)
        return found

    def put(self, line: int, number: int, part: int, entries: Entries) -> None:
        """Store a block. In a transaction of the caller."""
        # Records of one table are much alike.
        rows = sorted(entries.items(), key=lambda row: TABLE_NUMBERS[row[0][0]])
        pieces: list[list[str]] = [[] for _ in range(_PIECES if part == ENDED else 1)]
        if part == ENDED:
            names = [number_of(*name) for name, _ in rows]
            for name, row in zip(names, rows, strict=True):
                pieces[name % _PIECES].append(line_of(*row))
            places = [(line, name, number) for name in sorted(names)]
            insert(self._side, "INSERT INTO {}places (line, name, number)", places)
        else:
            pieces[0] = [line_of(*row) for row in rows]
        blocks = []
        for piece, lines in enumerate(pieces, part):
            body = zlib.compress("\n".join(lines).encode(), _PACKED)
            blocks.append((line, number, piece, _digest(line, number, piece, body), body))
        insert(self._side, "INSERT INTO {}blocks (line, number, part, digest, body)", blocks)

    def put_whole(self, line: int, number: int, before: int, kept: Entries) -> int:
        """Store a whole block where the changes since the last one weigh much beside it, and return
        the number of the last. In a transaction of the caller.
        """
        query = "SELECT CAST(sum(length(body)) AS BIGINT) FROM {}blocks WHERE line = ? AND part = ?"
        type_ = (int | None,)
        ((size,),) = self._side.rows(type_, f"{query} AND number = ?", (line, WHOLE, before))
        ((changes,),) = self._side.rows(type_, f"{query} AND number > ?", (line, CHANGED, before))
        if size is not None and changes <= _CHANGES_SHARE_MAX * size:
            return before
        self.put(line, number, WHOLE, kept)
        return number

    def note_happened(self, number: int, whole: int, odd: Entries) -> None:
        """Note that what had happened is stored of a snapshot, and what lies there over what was
        known. In a transaction of the caller.
        """
        query = "UPDATE {}snapshots SET happened = ? WHERE number = ?"
        self._side.execute(query, (whole, number))
        self._numbered, self._odd = EMPTY, (number, odd)

    def throw_away_happened(self, number: int) -> None:
        """Throw away what had happened from a snapshot on. In a transaction of the caller."""
        for table in ("blocks", "places"):
            self._side.execute(
                f"DELETE FROM {{}}{table} WHERE line = ? AND number >= ?", (HAPPENED, number)
            )
        self._side.execute("UPDATE {}snapshots SET happened = NULL WHERE number >= ?", (number,))
        self.forget()

    def forget(self) -> None:
        """Read again what other programs may have written."""
        self._numbered, self._odd = EMPTY, (0, {})
        self._blocks.clear()

    # ── records ──

    def kept(self, number: int, line: int = KNOWN) -> Entries:
        """Return the records that a snapshot keeps; of what had happened those that lie over what
        was known.
        """
        snapshot = self.numbered(number)
        whole = snapshot.whole if line == KNOWN else snapshot.whole_happened
        if not number:
            return {}
        blocks = [self._block(line, one, CHANGED) for one in range(number, whole, -1)]
        blocks += [self._block(line, whole, WHOLE)] if whole else []
        try:
            return newest_of(blocks)
        except (ValueError, KeyError, IndexError) as error:
            raise Unusable(f"a block of snapshot {number} cannot be read: {error}") from error

    def live(self, number: int, line: int = KNOWN) -> list[Stored]:
        """Return the records of a snapshot that the books begin with."""
        found = self.kept(number)
        if line == HAPPENED:
            found.update(self.odd(number))
        self._check_counts(number, found, line)
        kept = ((name, entry) for name, entry in found.items() if entry.flag == KEPT)
        return [Stored(*name, entry.text) for name, entry in kept]

    def odd(self, number: int) -> Entries:
        """Return the records that had happened otherwise than was known, where one of both is kept
        or only one of both is there.
        """
        if self._odd[0] != number:
            self._odd = (number, self.kept(number, HAPPENED))
        return self._odd[1]

    def at(self, number: int, names: Collection[Name], line: int = KNOWN) -> dict[Name, str]:
        """Return records that a snapshot has, among some that are not in the books that began with
        it: so they are not kept. Raises `Unusable` where one is missing.
        """
        found: dict[Name, str] = {}
        rest = set(names)
        if line == HAPPENED:
            odd = self.odd(number)
            for name in [one for one in rest if one in odd]:
                rest.discard(name)
                if odd[name].text:
                    found[name] = odd[name].text
            for name, entry in self.ended(number, rest, HAPPENED).items():
                if entry.flag != GONE:
                    rest.discard(name)
                    found[name] = entry.text
        known = self.ended(number, rest)
        self._check_are_there(number, rest - known.keys())
        return found | {name: entry.text for name, entry in known.items()}

    def ended(self, number: int, names: Collection[Name], line: int = KNOWN) -> Entries:
        """Return what the newest block up to a snapshot says of records that were not kept then."""
        by_number = {number_of(*name): name for name in names}
        found: Entries = {}
        for part in parts(sorted(by_number), _PAGE):
            rows = self._side.rows(
                (int, int),
                "SELECT name, max(number) FROM {}places WHERE line = ? AND number <= ?"
                f" AND name IN ({','.join('?' * len(part))}) GROUP BY name",
                (line, number, *part),
            )
            for one, number_of_block in sorted(rows, key=itemgetter(1)):
                name = by_number[one]
                entry = self._block(line, number_of_block, ENDED + one % _PIECES).of(name)
                if entry is None:
                    raise Unusable(f"snapshot {number_of_block} lacks {name[1]!r} of {name[0]}")
                found[name] = entry
        return found

    def _check_are_there(self, number: int, missing: Collection[Name]) -> None:
        """Raise `Unusable` where an order or a fill is not found that the log had by then."""
        last, log = self.numbered(number).sequence, self._log
        for table, select, tail in (
            (
                "orders",
                # A request alone, too, is about an order.
                "SELECT order_id, max(e.sequence) FROM orders JOIN order_events e USING (order_id)",
                " GROUP BY order_id",
            ),
            ("fills", "SELECT fill_key, booked_sequence FROM fills", ""),
        ):
            keys = [key for name, key in missing if name == table]
            condition = f" WHERE {TABLES[table].key_name} {log.membership}{tail}"
            for part in parts(keys, _PAGE):
                for key, sequence in log.rows(select + condition, (log.members(part),)):
                    if sequence <= last:
                        raise Unusable(f"snapshot {number} lacks {key!r} of {table}")

    def _check_counts(self, number: int, found: Entries, line: int) -> None:
        if line == HAPPENED:
            return
        counts = dict.fromkeys(TABLES, 0)
        for table, _ in found:
            counts[table] += 1
        told = self.numbered(number).counts
        for table, count in counts.items():
            every, live = told.get(table, (0, 0))
            if count != (every if table in KEPT_TABLES else live):
                raise Unusable(f"the records of snapshot {number} do not add up")

    # ── which records ──

    def named(self, table: str, column: str, values: Sequence[object]) -> list[Name]:
        """Return the records that have or ever had one of the values in a column; "" is the key."""
        if not column:
            return [(table, str(value)) for value in values]
        key_name = TABLES[table].key_name
        given = [v for v in values if v not in _NONE and isinstance(v, str | int)]
        rows = self._log.among(f"SELECT {key_name} FROM {table}", column, given)
        found = {str(key) for (key,) in rows}
        for part in parts([str(value) for value in given], _PAGE):
            former = self._side.rows(
                (str,),
                "SELECT key FROM {}former_names WHERE name = ?"
                f" AND value IN ({','.join('?' * len(part))})",
                (number_of(table, column), *part),
            )
            found.update(key for (key,) in former)
        return [(table, key) for key in sorted(found)]

    def counted(self, snapshot: Snapshot, table: str, column: str, values: Sequence[object]) -> int:
        """Return how many records of a snapshot have one of the values in a shared column."""
        names = [number_of(table, column, str(value)) for value in values]
        rows = self._side.rows(
            (int | None,),
            "SELECT CAST(sum(born) AS BIGINT) FROM {}shared WHERE number <= ?"
            f" AND name IN ({','.join('?' * len(names))})",
            (snapshot.number, *names),
        )
        return int(rows[0][0] or 0)

    def newest(
        self,
        number: int,
        table: str,
        where: Mapping[str, object],
        line: int = KNOWN,
        *,
        but: Collection[str] = (),
    ) -> Iterator[tuple[int, list[Stored]]]:
        """Yield the records of a table that a snapshot has, but for those in the books that began
        with it, in parts, each with an event after which no record of a later part was born; those
        that cannot meet the conditions may be left out.
        """
        told = {(table, key) for key in but}
        odd = [] if line == KNOWN else [name for name in self.odd(number) if name[0] == table]
        key_name = TABLES[table].key_name
        for column in (key_name, *NAMED.get(table, ())):
            if where.get(column) not in _NONE:
                named = self.named(
                    table, "" if column == key_name else column, several(where[column])
                )
                yield 0, self._stored(number, {*named, *odd} - told, line)
                return
        if odd:
            yield self.numbered(number).sequence, self._stored(number, {*odd} - told, line)
            told.update(odd)
        for one in self._blocks_with(number, table, where):
            entries = self.block(KNOWN, one, ENDED)
            if line == HAPPENED and table in APART:
                entries |= self.block(HAPPENED, one, ENDED)
            names = [name for name in entries if name[0] == table and name not in told]
            told.update(names)
            if line == HAPPENED and table in APART:
                rows = self._stored(number, names, line)
            else:
                # Nothing newer is known of them; what had happened lies over it.
                over = self.ended(number, names, HAPPENED) if line == HAPPENED else {}
                told_last = {n: e.text for n, e in over.items() if e.flag != GONE}
                rows = [Stored(*name, told_last.get(name, entries[name].text)) for name in names]
            yield self.numbered(one - 1).sequence, rows

    def _stored(self, number: int, names: Collection[Name], line: int) -> list[Stored]:
        return [Stored(*name, text) for name, text in self.at(number, names, line).items()]

    def _blocks_with(self, number: int, table: str, where: Mapping[str, object]) -> Iterator[int]:
        """Yield the snapshots that can have what meets the conditions, the newest first."""
        column = next((c for c in SHARED.get(table, ()) if c in where), None)
        if column is None:
            yield from range(number, 0, -1)
            return
        names = [number_of(table, column, str(value)) for value in several(where[column])]
        rows = self._side.rows(
            (int,),
            "SELECT DISTINCT number FROM {}shared WHERE number <= ?"
            f" AND name IN ({','.join('?' * len(names))}) ORDER BY number DESC",
            (number, *names),
        )
        for (one,) in rows:
            yield one


def several(value: object) -> list[object]:
    """Return the values of a condition, which can be one or a list."""
    return list(value) if isinstance(value, list | tuple) else [value]


def parts(values: Sequence[Any], size: int) -> Iterator[list[Any]]:
    """Yield values in parts of a size."""
    for start in range(0, len(values), size):
        yield list(values[start : start + size])
