"""Which events have which term: sets of sequences, kept beside the log and made of it.

The set of a term is cut into blocks of 65,536 sequences; a block is one whole number with a bit for
each event. Both databases keep a few kilobytes for what would be a row for each term of each event,
sets are cut and counted by the processor's own instructions, and a count by symbol reads no event.

Stored blocks carry what they add up to, as the rows of the log's projections do: a bit that fell
over, or a row that went, shows when it is read, and the whole is made anew.

What an order is found by can become known after an event of it: an execution comes before the order
that it belongs to. The event that joins them is one of the same order, so each step gives what it
knows of an order to the older events of its story, too.
"""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, closing, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Final

from pydantic_core import from_json

from oms.core.codec import Head, decode_stored, encode
from oms.core.events import EVENT_TYPES
from oms.errors import UnknownEventType
from oms.history.side import Side, Unready, Unusable, discard, opened
from oms.history.terms import BUCKETS, Term, terms_of, terms_of_row
from oms.store.archived import filled
from oms.store.backend import Connection, connect, parse_url
from oms.store.tables import BOOKS_CHECKPOINT

BLOCK: Final = 65_536
#: The part of the side file that this module keeps.
MARK: Final = "terms"

#: Events that each question reads from the log, so that a verb does not write for a few.
TAIL_MAX: Final = 2_000
#: Events that take some seconds, so that a person is told.
_WATCHED_EVENTS: Final = 20_000
#: Events read at a time: small enough that a daemon's thread can rest often.
_PAGE: Final = 500
_DIGEST_BYTES: Final = 8
_MODULUS: Final = 1 << 8 * _DIGEST_BYTES
_NAME: Final = "name"

#: Block -> a bit for each of its events.
Bits = dict[int, int]
#: Called often by what takes long; it may wait, and it may raise to end it.
Rest = Callable[[], None]


#: Hears how many events of how many have been taken.
Moved = Callable[[int, int], None]


def no_rest() -> None:
    """Go on at once."""


@dataclass(frozen=True, slots=True)
class Watch:
    """Hears of a question that takes long, because what finds events lacks many: how many."""

    #: They are taken once for all questions, inside of the block.
    making: Callable[[int], AbstractContextManager[Moved]]
    #: They cannot be kept, and each question reads them from the log.
    not_kept: Callable[[int], None]


_UNWATCHED: Final = Watch(lambda missing: nullcontext(lambda done, of: None), lambda missing: None)
#: Of the question that is being answered.
WATCH: Final[ContextVar[Watch]] = ContextVar("WATCH", default=_UNWATCHED)


class Postings:
    """Sets of sequences by term, in memory."""

    def __init__(self) -> None:
        self._bits: dict[Term, Bits] = {}
        self._added: defaultdict[tuple[Term, int], list[int]] = defaultdict(list)

    def add(self, term: Term, sequence: int) -> None:
        """Put an event into the set of a term."""
        self._added[term, sequence // BLOCK].append(sequence % BLOCK)

    def put(self, term: Term, bits: Bits) -> None:
        """Put many events into the set of a term."""
        mine = self._bits.setdefault(term, {})
        for block, found in bits.items():
            mine[block] = mine.get(block, 0) | found

    def of(self, term: Term) -> Bits:
        """Return the set of a term."""
        self._settle()
        return self._bits.get(term, {})

    def items(self) -> Iterator[tuple[Term, Bits]]:
        """Return every term with its set."""
        self._settle()
        return iter(self._bits.items())

    def _settle(self) -> None:
        for (term, block), offsets in self._added.items():
            self.put(term, {block: bits_of(offsets)})
        self._added.clear()


# ── sets of sequences ──


def bits_of(offsets: Iterable[int]) -> int:
    """Return the number with these bits set."""
    octets = bytearray(BLOCK // 8)
    for offset in offsets:
        octets[offset >> 3] |= 1 << (offset & 7)
    return int.from_bytes(octets, "little")


def set_of(sequences: Iterable[int]) -> Bits:
    """Return the set of some sequences."""
    offsets: defaultdict[int, list[int]] = defaultdict(list)
    for sequence in sequences:
        offsets[sequence // BLOCK].append(sequence % BLOCK)
    return {block: bits_of(found) for block, found in offsets.items()}


def span(first: int, last: int) -> Bits:
    """Return the set of all sequences from `first` to `last`, both included."""
    found: Bits = {}
    for block in range(first // BLOCK, last // BLOCK + 1):
        low = max(first - block * BLOCK, 0)
        high = min(last - block * BLOCK, BLOCK - 1)
        if low <= high:
            found[block] = ((1 << high - low + 1) - 1) << low
    return found


def both(one: Bits, other: Bits) -> Bits:
    """Return what is in both sets."""
    shared = {block: bits & other[block] for block, bits in one.items() if block in other}
    return {block: bits for block, bits in shared.items() if bits}


def either(one: Bits, other: Bits) -> Bits:
    """Return what is in one of two sets."""
    return {block: one.get(block, 0) | other.get(block, 0) for block in one.keys() | other.keys()}


def without(one: Bits, other: Bits) -> Bits:
    """Return what is in one set and not in the other."""
    left = {block: bits & ~other.get(block, 0) for block, bits in one.items()}
    return {block: bits for block, bits in left.items() if bits}


def has(bits: Bits, sequence: int) -> bool:
    """Say whether a sequence is in a set."""
    return bool(bits.get(sequence // BLOCK, 0) >> sequence % BLOCK & 1)


def size(bits: Bits) -> int:
    """Return how many sequences a set has."""
    return sum(found.bit_count() for found in bits.values())


def sequences(bits: Bits, *, reverse: bool = False) -> Iterator[int]:
    """Yield the sequences of a set in order, the last first with `reverse`."""
    for block in sorted(bits, reverse=reverse):
        digits = bin(bits[block])[2:]
        width = len(digits)
        at = digits.find("1") if reverse else digits.rfind("1")
        while at >= 0:
            yield block * BLOCK + width - 1 - at
            at = digits.find("1", at + 1) if reverse else digits.rfind("1", 0, at)


# ── reading the log ──


def folded(log: Connection) -> Head:
    """Return the last event that the books have: of later ones nobody knows what they are about."""
    rows = log.rows("SELECT sequence FROM checkpoints WHERE name = ?", (BOOKS_CHECKPOINT,))
    reached = rows[0][0] if rows else 0
    found = log.rows("SELECT sequence, hash FROM events WHERE sequence = ?", (reached,))
    return Head(found[0][0], bytes(found[0][1])) if found else Head()


def read(log: Connection, first: int, last: int, older: int, rest: Rest = no_rest) -> Postings:
    """Return what the events from `first` to `last` can be found by, both included.

    With `older`, what is now known of their orders goes to the events up to that one, too.
    """
    found = Postings()
    # Of a row that changes meanwhile, the event that changes it comes later, and tells it again.
    orders: dict[str, frozenset[Term]] = {}
    for start in range(first, last + 1, _PAGE):
        _read_page(log, (start, min(start + _PAGE - 1, last)), older, orders, found)
        rest()
    return found


def _read_page(
    log: Connection,
    inside: tuple[int, int],
    older: int,
    orders: dict[str, frozenset[Term]],
    found: Postings,
) -> None:
    rows = log.rows(
        "SELECT sequence, type, version, actor, session_epoch, payload, NULL FROM events"
        " WHERE sequence BETWEEN ? AND ?",
        inside,
    )
    links = log.rows(
        "SELECT sequence, order_id FROM order_events WHERE sequence BETWEEN ? AND ?", inside
    )
    new = {order_id for _, order_id in links} - orders.keys()
    orders |= _rows_of(log, "orders", "order_id", new)
    by_sequence: defaultdict[int, set[Term]] = defaultdict(set)
    for sequence, order_id in links:
        by_sequence[sequence] |= orders.get(order_id, frozenset())
    sound = (row for row in filled(log, rows, payload=5) if _has_header(*row[1:4]))
    told = [(row, _payload(row[1], row[2], row[5])) for row in sound]
    about = {
        field: _rows_of(log, table, field, _named(told, field))
        for table, field in (("breaks", "break_id"), ("alarms", "alarm_id"))
    }
    for (sequence, type_name, _, actor, epoch, *_), payload in told:
        terms = terms_of(type_name, actor, epoch, payload) | by_sequence.get(sequence, set())
        if isinstance(payload, dict):
            for field, known in about.items():
                terms |= known.get(payload.get(field, ""), frozenset())
        for term in terms:
            found.add(term, sequence)
    if older and new:
        _tell_older(log, {one: orders[one] for one in new if one in orders}, older, found)


def _tell_older(
    log: Connection, orders: dict[str, frozenset[Term]], older: int, found: Postings
) -> None:
    members = log.members(list(orders))
    for order_id, sequence in log.rows(
        f"SELECT order_id, sequence FROM order_events WHERE order_id {log.membership}"
        " AND sequence <= ?",
        (members, older),
    ):
        for term in orders[order_id]:
            found.add(term, sequence)


def _rows_of(log: Connection, table: str, key: str, keys: set[str]) -> dict[str, frozenset[Term]]:
    if not keys:
        return {}
    rows = log.among(f"SELECT {key}, body FROM {table}", key, sorted(keys))
    return {name: frozenset(terms_of_row(_json(body))) for name, body in rows}


def _named(told: list[tuple[Any, object]], field: str) -> set[str]:
    values = (payload.get(field) for _, payload in told if isinstance(payload, dict))
    return {value for value in values if isinstance(value, str) and value}


def _has_header(type_name: object, version: object, actor: object) -> bool:
    """Say whether an event can be found by its header, which damage can make anything."""
    return isinstance(type_name, str) and isinstance(version, int) and isinstance(actor, str)


def _payload(type_name: str, version: int, text: str) -> object:
    cls = EVENT_TYPES.get(type_name)
    if cls is not None and version < cls.VERSION:
        try:
            return _json(encode(decode_stored(type_name, version, text)))
        except UnknownEventType:
            return None
    return _json(text)


def _json(text: str) -> object:
    try:
        return from_json(text)
    except ValueError:  # damaged; its type and its header still find it
        return None


# ── asking it ──


def postings_of(
    url: str, wanted: Iterable[Term], kinds: Iterable[str] = (), *, within: tuple[int, int]
) -> Postings:
    """Return the sets of some terms and of all terms of some kinds, complete inside of a range.

    Blocks the caller. What stands beside the log is brought up to it where it is far behind; what
    it lacks then is read from the log, and where it cannot be used, everything.
    """
    terms, every = set(wanted), set(kinds)
    if not terms and not every:
        return Postings()
    with closing(connect(parse_url(url), "read")) as log:
        kept, found = _kept(log, url, terms, every, within)
        first, last = within
        if kept.sequence:
            # To the end: what came last may say whose an older event is.
            first, last = kept.sequence + 1, max(folded(log).sequence, last)
        for term, bits in read(log, first, last, kept.sequence).items():
            if term in terms or term[0] in every:
                found.put(term, bits)
        return found


def _kept(
    log: Connection, url: str, terms: set[Term], kinds: set[str], within: tuple[int, int]
) -> tuple[Head, Postings]:
    last = folded(log)
    found = _loaded(log, url, terms, kinds, within)
    reached = 0 if found is None else found[0].sequence
    missing = last.sequence - reached
    if missing > TAIL_MAX:
        watch = WATCH.get() if missing > _WATCHED_EVENTS else _UNWATCHED
        with watch.making(missing) as moved:
            rest = _counting(moved, missing)
            made = _brought_up(log, url, last, sound=found is not None, rest=rest)
        if made:
            found = _loaded(log, url, terms, kinds, within)
        else:
            watch.not_kept(missing)
    return (Head(), Postings()) if found is None else found


def _counting(moved: Moved, missing: int) -> Rest:
    done = 0

    def rest() -> None:
        nonlocal done
        done = min(done + _PAGE, missing)
        moved(done, missing)

    return rest


def keep_up(url: str, rest: Rest) -> int:
    """Bring what is kept up to the log, and return the event that it has reached.

    Blocks the caller. Raises `Unusable` where nothing can be kept.
    """
    with closing(connect(parse_url(url), "read")) as log:
        last = folded(log)
        if not _brought_up(log, url, last, sound=True, rest=rest):
            raise Unusable("what finds events cannot be kept beside the log")
        return last.sequence


def _brought_up(
    log: Connection, url: str, last: Head, *, sound: bool, rest: Rest = no_rest
) -> bool:
    """Bring what is kept up to an event; return False where it cannot be written."""
    for keep in (True, False) if sound else (False,):
        try:
            if not keep:
                discard(url)
            with opened(log, url, write=True) as side:
                catch_up(log, side, last, rest)
        except Unready:
            return False
        except Unusable:
            continue  # damage shows only where it is read
        return True
    return False


def _loaded(
    log: Connection, url: str, terms: set[Term], kinds: set[str], within: tuple[int, int]
) -> tuple[Head, Postings] | None:
    try:
        with opened(log, url, write=False) as side, side.reading():
            return load(side, terms, kinds, within)
    except Unusable:
        return None


# ── keeping it ──


def catch_up(log: Connection, side: Side, last: Head, rest: Rest = no_rest) -> None:
    """Bring what is kept up to an event, block by block; each is whole or not there."""
    kept, _ = side.mark(MARK)
    while kept.sequence < last.sequence:
        first = kept.sequence + 1
        end = min(last.sequence, (first // BLOCK + 1) * BLOCK - 1)
        found = read(log, first, end, kept.sequence, rest)
        rows = log.rows("SELECT hash FROM events WHERE sequence = ?", (end,))
        head = Head(end, bytes(rows[0][0]))
        if not _keep(side, kept, head, found, rest):
            # Another program did the same meanwhile.
            kept, _ = side.mark(MARK)
            continue
        kept = head


def _keep(side: Side, before: Head, head: Head, found: Postings, rest: Rest) -> bool:
    with side.writing():
        kept, total = side.mark(MARK)
        if kept.sequence != before.sequence:
            return False
        if not kept.sequence:
            _make_buckets(side)
        known = _known(side, total)
        number = max((term for term, _ in known.values()), default=0)
        added = int.from_bytes(total)
        for term, bits in found.items():
            if term[0] == _NAME:
                number_of, digest = _bucket(side, term)
            elif term in known:
                number_of, digest = known[term]
                added -= _term_digest(number_of, term, digest)
            else:
                number += 1
                number_of, digest = number, bytes(_DIGEST_BYTES)
                side.execute(
                    "INSERT INTO {}terms (term, kind, value, digest) VALUES (?, ?, ?, ?)",
                    (number_of, *term, digest),
                )
            digest = _put(side, number_of, bits, digest)
            side.execute("UPDATE {}terms SET digest = ? WHERE term = ?", (digest, number_of))
            if term[0] != _NAME:
                added += _term_digest(number_of, term, digest)
        side.set_mark(MARK, head, (added % _MODULUS).to_bytes(_DIGEST_BYTES))
    return True


def _put(side: Side, number: int, bits: Bits, digest: bytes) -> bytes:
    """Add to the set of a term, and return what its blocks add up to."""
    total = int.from_bytes(digest)
    for block, more in bits.items():
        query = "SELECT bits FROM {}postings WHERE term = ? AND block = ?"
        rows = side.rows((bytes,), query, (number, block))
        before = _unpacked(rows[0][0]) if rows else 0
        if before | more == before:
            continue
        if rows:
            total -= _block_digest(number, block, rows[0][0])
        packed = _packed(before | more)
        added = _block_digest(number, block, packed)
        side.execute(
            "INSERT INTO {}postings (term, block, digest, bits) VALUES (?, ?, ?, ?)"
            " ON CONFLICT (term, block) DO UPDATE SET digest = excluded.digest,"
            " bits = excluded.bits",
            (number, block, added.to_bytes(_DIGEST_BYTES), packed),
        )
        total += added
    return (total % _MODULUS).to_bytes(_DIGEST_BYTES)


def load(
    side: Side, wanted: Iterable[Term], kinds: Iterable[str], within: tuple[int, int]
) -> tuple[Head, Postings]:
    """Return the sets of some terms and of all terms of some kinds, as far as a range touches them,
    and the event that they reach.

    Raises `Unusable` where what is kept is not what was written.
    """
    found = Postings()
    kept, total = side.mark(MARK)
    if not kept.sequence:
        return kept, found
    known = _known(side, total)
    every = set(kinds)
    terms = set(wanted) | {term for term in known if term[0] in every}
    for term in terms:
        number, digest = _bucket(side, term) if term[0] == _NAME else known.get(term, (0, b""))
        if number:
            found.put(term, _blocks(side, number, digest, within))
    return kept, found


def _blocks(side: Side, number: int, digest: bytes, within: tuple[int, int]) -> Bits:
    """Return the blocks of a term that a range touches, and read no others: the digests of all must
    add up, and each that is read must have its own.
    """
    query = "SELECT block, digest FROM {}postings WHERE term = ?"
    digests = dict(side.rows((int, bytes), query, (number,)))
    total = sum(map(_number, digests.values()))
    if (total % _MODULUS).to_bytes(_DIGEST_BYTES) != digest:
        raise Unusable("what is kept does not add up")
    first, last = (sequence // BLOCK for sequence in within)
    query = "SELECT block, bits FROM {}postings WHERE term = ? AND block BETWEEN ? AND ?"
    rows = side.rows((int, bytes), query, (number, first, last))
    if any(_block_digest(number, block, bits) != _number(digests[block]) for block, bits in rows):
        raise Unusable("a block is not what was written")
    return {block: _unpacked(bits) for block, bits in rows}


def _known(side: Side, total: bytes) -> dict[Term, tuple[int, bytes]]:
    """Return number and sum of every term but names, which are too many to read each time."""
    known = {
        (kind, value): (number, digest)
        for number, kind, value, digest in side.rows(
            (int, str, str, bytes), "SELECT term, kind, value, digest FROM {}terms WHERE term > 0"
        )
    }
    found = sum(_term_digest(number, term, digest) for term, (number, digest) in known.items())
    if (found % _MODULUS).to_bytes(_DIGEST_BYTES) != (total or bytes(_DIGEST_BYTES)):
        raise Unusable("what is kept does not add up")
    return known


def _bucket(side: Side, term: Term) -> tuple[int, bytes]:
    number = -1 - int(term[1])
    query = "SELECT kind, value, digest FROM {}terms WHERE term = ?"
    rows = side.rows((str, str, bytes), query, (number,))
    # All of them are made at the beginning: one that is missing was lost.
    if not rows or (rows[0][0], rows[0][1]) != term:
        raise Unusable("a name is missing")
    return number, rows[0][2]


def _make_buckets(side: Side) -> None:
    for number in range(BUCKETS):
        values = (-1 - number, _NAME, str(number), bytes(_DIGEST_BYTES))
        side.execute("INSERT INTO {}terms (term, kind, value, digest) VALUES (?, ?, ?, ?)", values)


def _term_digest(number: int, term: Term, digest: bytes) -> int:
    text = f"{number}\x1f{term[0]}\x1f{term[1]}\x1f".encode("utf-8", "backslashreplace")
    return _digest(text + digest)


def _block_digest(number: int, block: int, packed: bytes) -> int:
    return _digest(f"{number}\x1f{block}\x1f".encode() + packed)


def _digest(text: bytes) -> int:
    return _number(blake2b(text, digest_size=_DIGEST_BYTES).digest())


def _number(digest: bytes) -> int:
    return int.from_bytes(digest)


def _packed(bits: int) -> bytes:
    return zlib.compress(bits.to_bytes(BLOCK // 8, "little"), 1)


def _unpacked(packed: bytes) -> int:
    try:
        return int.from_bytes(zlib.decompress(packed), "little")
    except zlib.error as error:
        raise Unusable(f"a block cannot be read: {error}") from error
