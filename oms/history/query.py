"""What can be asked of the log, and its answer: one language for the shell, the pages and Python.

A query is a set of conditions that all must hold; of one with several values, one must. Events are
found by what `terms` names, through the index that stands beside the log; what the index has not
taken yet, or where there is none, is read from the log itself, so that the answer is the same.
"""

from __future__ import annotations

import asyncio
import difflib
from collections.abc import (
    AsyncIterator,
    Callable,
    Collection,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Final, get_args

from oms.core.bounds import CON_ID, SEQUENCE, WIRE_INTEGER, Label, SequenceNumber, brief
from oms.core.events import EVENT_TYPES, AlarmKind, BreakClass, Envelope
from oms.core.fold.records import OrderState
from oms.core.values import Value, checked
from oms.errors import InvalidRequest
from oms.history import index
from oms.history.index import Bits, Postings
from oms.history.moments import Calendar, Moment, moment_of, span_of
from oms.history.names import resolve
from oms.history.terms import KINDS
from oms.store.reader import Reader

_PAGE: Final = 500
#: Events at the beginning or end of a range that are looked at alone where few are wanted.
_NEAR_EVENTS: Final = 1_000_000
SECURITY_TYPES: Final = (
    *("STK", "OPT", "FUT", "FOP", "CASH", "BAG", "IND", "CFD", "BOND", "FUND", "CMDTY", "WAR"),
    *("CRYPTO", "NEWS", "CONTFUT", "FUT+CONTFUT", "IOPT"),
)

Words = tuple[Label, ...]


class Query(Value):
    """A question about events, or about what they brought into the books."""

    #: Any name of an order (`names.resolve`).
    order: Words = ()
    account: Words = ()
    symbol: Words = ()
    con_id: tuple[int, ...] = ()
    #: Security types, classes of breaks, kinds of alarms.
    klass: Words = ()
    side: Words = ()
    #: Of the order, as it is now.
    state: Words = ()
    code: tuple[int, ...] = ()
    actor: Words = ()
    strategy: Words = ()
    session: tuple[int, ...] = ()
    type: Words = ()
    correlation: Label | None = None
    #: From this moment on: when the log recorded it, or from this sequence on.
    since: datetime | SequenceNumber | None = None
    #: Before this moment: neither the time nor the sequence itself is part of it.
    until: datetime | SequenceNumber | None = None
    #: Pages: what comes after this sequence, and what comes before it.
    after: SequenceNumber | None = None
    before: SequenceNumber | None = None
    sort: Label | None = None
    reverse: bool = False
    limit: int | None = None

    @property
    def values(self) -> dict[str, tuple[str, ...]]:
        """Return the conditions that the index answers, by kind."""
        named = {kind: getattr(self, "klass" if kind == "class" else kind) for kind in KINDS}
        return {kind: tuple(map(str, one)) for kind, one in named.items() if one}


@dataclass(frozen=True, slots=True)
class Counted:
    """How many events have each value of a key, the most frequent first."""

    key: str
    total: int
    #: Value and count; an event with two values is counted in both, one with none under "".
    counts: tuple[tuple[str, int], ...]


#: What can be counted by.
KEYS: Final = KINDS
#: What events can be sorted by; `happened` is by IB's time, and ours where it says none.
SORTS: Final = ("sequence", "happened", *KINDS)
#: Events that are sorted by a time at most: each must be read.
SORTED_MAX: Final = 100_000
#: A day or a month, in the place of `since` and `until`.
DURING: Final = "during"


# ── from words ──


def parse(words: Mapping[str, object], calendar: Calendar | None = None) -> Query:
    """Return the query that options, parameters or keywords make; None and "" set no condition.

    `during` is a day or a month: `since` its beginning, and `until` that of the one after it.

    Raises `InvalidRequest` for what is no value of its condition, and for an empty range of time.
    """
    known = calendar if calendar is not None else Calendar()
    found: dict[str, object] = {}
    for name, given in words.items():
        if given in (None, "", (), []):
            continue
        if name == DURING:
            if words.get("since") or words.get("until"):
                raise InvalidRequest(
                    "during is a whole range, and does not go with since and until",
                    hint="leave one of them out",
                )
            found["since"], found["until"] = span_of(str(given), known)
            continue
        reading = _READINGS.get("klass" if name == "class" else name)
        if reading is None:
            close = difflib.get_close_matches(name, CONDITIONS, 1)
            hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(CONDITIONS)}"
            raise InvalidRequest(f"{name!r} is no condition of a query", hint=hint)
        field, label = ("klass", "class") if name in {"klass", "class"} else (name, name)
        found[field] = reading(label, given, known)
    query = checked(Query, found)
    if query.since is not None and type(query.since) is type(query.until):
        assert query.until is not None
        if query.since >= query.until:  # type: ignore[operator]
            raise InvalidRequest(
                f"nothing is from {_shown(query.since)} on and before {_shown(query.until)}",
                hint="--until is not part of the range: of one day, it is the day after",
            )
    if query.after is not None and query.before is not None and query.after + 1 >= query.before:
        raise InvalidRequest(f"nothing is after {query.after} and before {query.before}")
    return query


def _shown(moment: Moment) -> str:
    return str(moment) if isinstance(moment, int) else f"{moment:%Y-%m-%d %H:%M:%S} UTC"


Reading = Callable[[str, object, Calendar], object]


def _several(read: Callable[[str, str], object]) -> Reading:
    def reading(name: str, given: object, _: Calendar) -> object:
        many = given if isinstance(given, list | tuple) else (given,)
        return tuple(dict.fromkeys(read(name, str(one).strip()) for one in many))

    return reading


def _word(name: str, text: str) -> str:
    return text


def _upper(name: str, text: str) -> str:
    return text.upper()


def _one_of(options: Iterable[str], see: str = "") -> Callable[[str, str], str]:
    by_lower = {option.lower(): option for option in options}

    def read(name: str, text: str) -> str:
        found = by_lower.get(text.lower().replace("-", "_")) or by_lower.get(text.lower())
        if found is None:
            close = difflib.get_close_matches(text.lower(), by_lower, 3)
            hint = (
                f"did you mean {' or '.join(by_lower[one] for one in close)}?"
                if close
                else see or f"one of: {', '.join(by_lower.values())}"
            )
            raise InvalidRequest(f"no {name} is called {brief(text)}", hint=hint)
        return found

    return read


def _number(low: int, high: int) -> Callable[[str, str], int]:
    def read(name: str, text: str) -> int:
        digits = text.removeprefix("-")
        if not (digits.isascii() and digits.isdecimal() and len(digits) <= 19):
            raise InvalidRequest(f"{name} is a whole number, found {brief(text)}")
        if not low <= int(text) <= high:
            raise InvalidRequest(f"{name} is a whole number from {low} to {high}, found {text}")
        return int(text)

    return read


def _alone(read: Callable[[str, str], object]) -> Reading:
    return lambda name, given, _: read(name, str(given).strip())


def _moment(name: str, given: object, calendar: Calendar) -> object:
    if isinstance(given, datetime):
        if given.utcoffset() is None:
            raise InvalidRequest(f"{name} has no time zone: {given.isoformat()}")
        return given
    return moment_of(str(given), calendar)


_sequence: Final = _alone(_number(0, SEQUENCE.high))
_READINGS: Final[dict[str, Reading]] = {
    "order": _several(_word),
    "account": _several(_word),
    "symbol": _several(_upper),
    "con_id": _several(_number(1, CON_ID.high)),
    "klass": _several(_one_of((*SECURITY_TYPES, *get_args(BreakClass), *get_args(AlarmKind)))),
    "side": _several(_one_of(("BUY", "SELL"))),
    "state": _several(_one_of([state.value for state in OrderState])),
    "code": _several(_number(WIRE_INTEGER.low, WIRE_INTEGER.high)),
    "actor": _several(_word),
    "strategy": _several(_word),
    "session": _several(_number(1, WIRE_INTEGER.high)),
    "type": _several(_one_of(EVENT_TYPES, "docs/reference/events.md lists them")),
    "correlation": _alone(_word),
    "since": _moment,
    "until": _moment,
    "after": _sequence,
    "before": _sequence,
    "sort": _alone(_word),
    "reverse": lambda _, given, __: bool(given),
    "limit": _alone(_number(1, 1_000_000)),
}


#: The conditions of the language, by the names that every surface gives them.
CONDITIONS: Final = (*("class" if one == "klass" else one for one in _READINGS), DURING)


# ── the answer ──


async def search(reader: Reader, query: Query) -> AsyncIterator[Envelope]:
    """Yield the events that meet a query in the order of the log, the newest first with `reverse`;
    with `sort` in that order.

    Each has its hash checked: raises `ChainBroken` with the first sequence that does not hold.
    """
    wanted = await _in_order(reader, query)
    left = query.limit
    while left is None or left > 0:
        page = list(islice(wanted, _PAGE if left is None else min(_PAGE, left)))
        if not page:
            return
        envelopes = {one.sequence: one for one in await reader.envelopes(page)}
        for sequence in page:
            if sequence in envelopes:
                yield envelopes[sequence]
        left = None if left is None else left - len(page)


async def _in_order(reader: Reader, query: Query) -> Iterator[int]:
    """Return the sequences that meet a query, in the order in which it wants them."""
    if query.sort is None:
        return index.sequences(await _near(reader, query), reverse=query.reverse)
    key, is_back = query.sort.removeprefix("-"), query.sort.startswith("-")
    if key not in SORTS:
        raise InvalidRequest(
            f"an event cannot be sorted by {key!r}",
            hint=f"one of: {', '.join(SORTS)}; with - before it, the largest first",
        )
    if (query.after, query.before) != (None, None):
        raise InvalidRequest("pages follow the log: after and before do not go with this order")
    found = await _found(reader, query, (key,) if key in KINDS else ())
    if key == "sequence":
        return index.sequences(found.bits, reverse=is_back)
    if key == "happened":
        return iter(await _by_happened(reader, found.bits, reverse=is_back))
    return _by_value(found, key, reverse=is_back)


async def _near(reader: Reader, query: Query) -> Bits:
    """Return the sequences that meet a query, as many as it wants from the end where it begins: a
    page of the newest takes as long in a log of any length.
    """
    first, last = await range_of(reader, query)
    is_found_by_key = query.order or query.correlation is not None
    if query.limit is not None and not is_found_by_key and last - first >= _NEAR_EVENTS:
        near = (last - _NEAR_EVENTS, last) if query.reverse else (first, first + _NEAR_EVENTS)
        bits = (await _found(reader, query, within=near)).bits
        if index.size(bits) >= query.limit:
            return bits
    return (await _found(reader, query, within=(first, last))).bits


async def _by_happened(reader: Reader, bits: Bits, *, reverse: bool) -> list[int]:
    size = index.size(bits)
    if size > SORTED_MAX:
        raise InvalidRequest(
            f"{size:,} events meet this question, and {SORTED_MAX:,} can be sorted by their times",
            hint="narrow it, with during or type",
        )
    wanted, found = index.sequences(bits), list[tuple[datetime, int]]()
    while page := list(islice(wanted, _PAGE)):
        for one in await reader.envelopes(page):
            found.append((one.context.occurred_at or one.recorded_at, one.sequence))
    return [sequence for _, sequence in sorted(found, reverse=reverse)]


def _by_value(found: _Found, key: str, *, reverse: bool) -> Iterator[int]:
    """Yield the sequences of each value of a key, at the end those without one."""
    values = {value: bits for (kind, value), bits in found.postings.items() if kind == key}
    is_number = key in {"con_id", "session", "code"}
    left = found.bits
    for value in sorted(values, key=int if is_number else str, reverse=reverse):
        shared = index.both(left, values[value])
        yield from index.sequences(shared, reverse=reverse)
        left = index.without(left, shared)
    yield from index.sequences(left, reverse=reverse)


async def orders_of(reader: Reader, found: Sequence[Envelope]) -> dict[int, list[str]]:
    """Return, by sequence, the orders that the fold counts some events to; no entry for none."""
    orders: dict[int, list[str]] = {}
    for start in range(0, len(found), _PAGE):
        page = [envelope.sequence for envelope in found[start : start + _PAGE]]
        for sequence, order_id in sorted(await reader.links(page)):
            orders.setdefault(sequence, []).append(order_id)
    return orders


async def count(reader: Reader, query: Query, by: str = "") -> Counted:
    """Return how many events meet a query, and how many of them have each value of a key."""
    if by:
        by = _one_of(KEYS)("key", by)
    found = await _found(reader, query, (by,) if by else ())
    total = index.size(found.bits)
    if not by:
        return Counted(by, total, ())
    counts = []
    named: Bits = {}
    for term, bits in found.postings.items():
        if term[0] == by and (shared := index.both(found.bits, bits)):
            counts.append((term[1], index.size(shared)))
            named = index.either(named, shared)
    nameless = total - index.size(named)
    if nameless:
        counts.append(("", nameless))
    return Counted(by, total, tuple(sorted(counts, key=lambda one: (-one[1], one[0]))))


#: What names something that other events can name as well.
_NAMING: Final = ("account", "symbol", "con_id", "strategy", "actor")
_OFFERED_MAX: Final = 8


async def unknown_names(reader: Reader, query: Query) -> list[tuple[str, str]]:
    """Return, of the names in a query that no event at all names, a sentence and a hint for each.

    An empty answer is the answer; but where a name is misspelt, it is to another question.
    """
    values = {kind: query.values.get(kind, ()) for kind in _NAMING}
    kinds = [kind for kind in _NAMING if values[kind]]
    if not kinds:
        return []
    everything = (1, (await reader.head()).sequence)
    postings = await asyncio.to_thread(index.postings_of, reader.url, (), kinds, within=everything)
    known: dict[str, list[str]] = {kind: [] for kind in kinds}
    for (kind, value), bits in postings.items():
        if kind in known and bits:
            known[kind].append(value)
    return [
        (f"no event names {kind} {value}", _offer(value, sorted(known[kind])))
        for kind in kinds
        for value in values[kind]
        if value not in known[kind]
    ]


async def beyond(reader: Reader, query: Query) -> str:
    """Say that a question asks for what comes after the end of the log; "" where it does not."""
    head = await reader.head()
    since = query.since
    if since is None or head.recorded_at is None:
        return ""
    is_beyond = since > head.sequence if isinstance(since, int) else since > head.recorded_at
    if not is_beyond:
        return ""
    at = f"event {head.sequence}, recorded at {_shown(head.recorded_at)}"
    return f"the log ends with {at}: nothing is from {_shown(since)} on"


def _offer(value: str, known: Sequence[str]) -> str:
    by_lower = {one.lower(): one for one in known}
    # An actor is a kind and a name: person:anna.
    close = [one for one in known if one.lower().endswith(f":{value.lower()}")]
    close = close or [
        by_lower[one] for one in difflib.get_close_matches(value.lower(), by_lower, 3)
    ]
    if close or len(known) == 1:
        return f"did you mean {' or '.join(close or known)}?"
    shown = ", ".join(known[:_OFFERED_MAX]) + (", ..." if len(known) > _OFFERED_MAX else "")
    return f"the log names {shown}" if known else "the log names none"


async def matching(reader: Reader, query: Query) -> Bits:
    """Return the sequences of the events that meet a query."""
    return (await _found(reader, query)).bits


@dataclass(frozen=True, slots=True)
class _Found:
    bits: Bits
    postings: Postings


async def _found(
    reader: Reader,
    query: Query,
    kinds: Sequence[str] = (),
    *,
    within: tuple[int, int] | None = None,
) -> _Found:
    """Return the sequences that meet a query, and the sets of every term of some kinds; with
    `within` those of a part of its range.
    """
    first, last = await range_of(reader, query) if within is None else within
    if first > last:
        return _Found({}, Postings())
    wanted = [(kind, one) for kind, many in query.values.items() for one in many]
    postings = await asyncio.to_thread(
        index.postings_of, reader.url, wanted, kinds, within=(first, last)
    )
    bits = index.span(first, last)
    for kind, many in query.values.items():
        any_of: Bits = {}
        for one in many:
            any_of = index.either(any_of, postings.of((kind, one)))
        bits = index.both(bits, any_of)
    if query.order:
        orders = [await resolve(reader, name) for name in query.order]
        bits = index.both(bits, await sequences_about(reader, orders))
    if query.state and bits:
        bits = index.both(bits, index.set_of(await reader.sequences_in(query.state, first, last)))
    if query.correlation is not None:
        found = await reader.sequences_correlated(query.correlation)
        bits = index.both(bits, index.set_of(found))
    return _Found(bits, postings)


async def sequences_about(reader: Reader, order_ids: Collection[str]) -> Bits:
    """Return the set of the events that are about some orders."""
    wanted, found = iter(sorted(order_ids)), list[int]()
    while page := list(islice(wanted, _PAGE)):
        found += await reader.sequences_of(page)
    return index.set_of(found)


async def range_of(reader: Reader, query: Query) -> tuple[int, int]:
    """Return the first and the last sequence that a query's moments and page leave.

    Raises `InvalidRequest` where its end is before the first event.
    """
    last = (await reader.head()).sequence
    first = 1
    if query.since is not None:
        first = max(first, await sequence_at(reader, last, query.since))
    if query.until is not None:
        until = await sequence_at(reader, last, query.until)
        if until <= 1 and last:
            begin = (await reader.event(1)).recorded_at
            raise InvalidRequest(
                f"the log has nothing before {_shown(query.until)}",
                hint=f"its first event was recorded at {_shown(begin)}",
            )
        last = min(last, until - 1)
    if query.after is not None:
        first = max(first, query.after + 1)
    if query.before is not None:
        last = min(last, query.before - 1)
    return first, last


async def sequence_at(reader: Reader, head: int, moment: Moment) -> int:
    """Return the first sequence recorded at a moment or later; one past the head where none was.

    Sequences have no holes and the appender's clock goes forward, so halving finds it.
    """
    if isinstance(moment, int):
        return min(moment, head + 1)
    low, high = 1, head + 1
    while low < high:
        middle = (low + high) // 2
        if await reader.recorded_at(middle) < moment:
            low = middle + 1
        else:
            high = middle
    return low
