"""Records by the same question as events: orders, fills, positions, breaks, runs, alarms.

`meets` says whether a record answers a query; nothing else decides. What a record does not say
itself is asked of its orders: positions are those that a fill of such an order moved, breaks and
alarms those about such an order. What no record can be asked is refused, because passing over it
would show everything under the name of a filter. Orders and fills are many, so they are found by
the events that brought them into the books.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from types import MappingProxyType
from typing import Any, Final, cast

from oms.core.fold.records import AnyRecord, Fill, Order
from oms.errors import InvalidRequest
from oms.history import index
from oms.history.asof import Bookshelf, PastBooks
from oms.history.index import Bits
from oms.history.moments import Moment
from oms.history.names import resolve
from oms.history.query import Counted, Query, matching, range_of, sequences_about
from oms.history.terms import STRATEGY
from oms.store.reader import Reader

#: Records that are read at a time.
_PAGE: Final = 500
#: Facts by which an order comes into the books; of several, the first counts.
ORDER_BIRTHS: Final = ("OrderIntended", "OrderDenied", "OrderAdopted")
FILL_BIRTHS: Final = ("ExecutionReceived",)
_LONG_AGO: Final = datetime.min.replace(tzinfo=UTC)

#: What a record says for one condition.
Said = Callable[[Any, Order | None], Collection[str]]
#: What it is sorted by.
Key = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class Shape:
    """How one kind of record answers questions."""

    noun: str
    says: Mapping[str, Said]
    #: When it came: for `since` and `until`.
    at: Callable[[Any], datetime | None]
    #: Where in the log it came: pages follow it. None for what no single event brought.
    sequence: Callable[[Any], int] | None
    sorts: Mapping[str, Key]
    #: The order without another, of what has no place in the log.
    order: Key | None = None
    #: Whether conditions are asked of the order that it belongs to.
    of_order: bool = False


def _order_of(record: Any, order: Order | None) -> Order | None:
    return record if isinstance(record, Order) else order


def _actor(record: Any, order: Order | None) -> Collection[str]:
    found = _order_of(record, order)
    return () if found is None else (found.actor,)


def _strategy(record: Any, order: Order | None) -> Collection[str]:
    return tuple(
        actor.removeprefix(STRATEGY)
        for actor in _actor(record, order)
        if actor.startswith(STRATEGY)
    )


def _state(record: Any, order: Order | None) -> Collection[str]:
    found = _order_of(record, order)
    return () if found is None else (found.state.value,)


def _con_ids(record: Any, _: Order | None) -> Collection[str]:
    contract = record.contract
    return {str(contract.con_id), *(str(leg.con_id) for leg in contract.legs)} - {"0"}


_TRADED: Final[Mapping[str, Said]] = MappingProxyType(
    {
        "account": lambda record, _: (record.account,),
        "symbol": lambda record, _: (record.contract.symbol.upper(),),
        "con_id": _con_ids,
        "class": lambda record, _: (record.contract.sec_type,),
    }
)
_ORDERED: Final[Mapping[str, Said]] = MappingProxyType(
    {**_TRADED, "actor": _actor, "strategy": _strategy, "state": _state}
)
_SORTS: Final[Mapping[str, Key]] = MappingProxyType(
    {
        "account": lambda record: record.account,
        "symbol": lambda record: record.contract.symbol,
    }
)


SHAPES: Final[Mapping[str, Shape]] = MappingProxyType(
    {
        "orders": Shape(
            "an order",
            {**_ORDERED, "side": lambda order, _: (order.terms.side,)},
            lambda order: order.created_at,
            lambda order: order.intent_sequence,
            {
                **_SORTS,
                "created": lambda order: (order.created_at or _LONG_AGO, order.intent_sequence),
                "changed": lambda order: (order.updated_at or _LONG_AGO, order.last_sequence),
                "state": lambda order: order.state.value,
                "filled": lambda order: order.filled,
            },
        ),
        "fills": Shape(
            "a fill",
            {**_ORDERED, "side": lambda fill, _: (fill.side,)},
            lambda fill: fill.booked_at,
            lambda fill: fill.booked_sequence,
            {
                **_SORTS,
                "time": lambda fill: (fill.happened_by or _LONG_AGO, fill.booked_sequence),
                "quantity": lambda fill: fill.quantity,
                "price": lambda fill: fill.price,
            },
            of_order=True,
        ),
        "positions": Shape(
            "a position",
            {
                **_TRADED,
                "side": lambda one, _: (
                    ("BUY",) if one.quantity > 0 else ("SELL",) if one.quantity < 0 else ()
                ),
            },
            lambda position: position.updated_at,
            None,
            {**_SORTS, "quantity": lambda position: position.quantity},
            order=lambda one: (one.account, one.contract.symbol, one.contract.con_id),
        ),
        "breaks": Shape(
            "a break",
            {
                "account": lambda case, _: {one.account for one in case.findings},
                "symbol": lambda case, _: {one.symbol.upper() for one in case.findings},
                "con_id": lambda case, _: {str(one.con_id) for one in case.findings},
                "class": lambda case, _: {one.break_class or "" for one in case.findings},
                "actor": lambda case, _: {case.assignee, case.explained_by, case.waiting_actor},
                "order": lambda case, _: {one.order_id for one in case.findings},
            },
            lambda case: case.opened_at,
            lambda case: case.opened_sequence,
            {
                "account": lambda case: case.finding.account,
                "symbol": lambda case: case.finding.symbol,
                "class": lambda case: case.finding.break_class or "",
                "opened": lambda case: case.opened_sequence,
            },
        ),
        "alarms": Shape(
            "an alarm",
            {
                "account": lambda alarm, _: (alarm.account,),
                "symbol": lambda alarm, _: (alarm.symbol.upper(),),
                "class": lambda alarm, _: (alarm.kind,),
                "order": lambda alarm, _: (alarm.order_id,),
            },
            lambda alarm: alarm.raised_at,
            lambda alarm: alarm.raised_sequence,
            {
                "account": lambda alarm: alarm.account,
                "symbol": lambda alarm: alarm.symbol,
                "class": lambda alarm: alarm.kind,
                "since": lambda alarm: (alarm.since, alarm.raised_sequence),
                "times": lambda alarm: alarm.times,
            },
        ),
    }
)


async def find(
    reader: Reader,
    table: str,
    query: Query,
    where: Mapping[str, object] | None = None,
    past: PastBooks | None = None,
) -> list[AnyRecord]:
    """Return the records of a projection that answer a query, the oldest first or as `sort` says.

    `where` are conditions on columns besides, such as `live`; `past` are books as of a moment.
    Without `after` the newest are taken, with it the first. Raises `InvalidRequest` for what these
    records cannot be asked.
    """
    shape = SHAPES[table]
    known = await _known(reader, table, query, past)
    if table in _BIRTHS and past is None and _NARROW.isdisjoint(where or {}):
        records = await _born(reader, table, query, known, where)
    else:
        records = await _filtered(reader if past is None else past, table, query, known, where)
        if query.sort is None and query.limit and query.after is None and shape.order is None:
            records = records[-query.limit :]
    if query.sort is not None:
        records.sort(key=_sort_of(shape, query.sort), reverse=query.sort.startswith("-"))
    return records[: query.limit] if query.limit else records


async def total(
    books: Bookshelf,
    table: str,
    query: Query,
    where: Mapping[str, object],
    found: Sequence[AnyRecord],
) -> int | None:
    """Return how many records answer a query of which some were found; None where that would take
    a look at each.
    """
    if query.limit is None or len(found) < query.limit:
        return len(found)
    columns = {"account": query.account, "symbol": query.symbol, "state": query.state}
    rest = query.evolve(account=(), symbol=(), state=(), limit=None, reverse=False)
    if rest != Query() or (table != "orders" and query.state):
        return None
    conditions = {name: list(values) for name, values in columns.items() if values}
    return await books.count(table, {**conditions, **where})


async def count(
    reader: Reader,
    table: str,
    query: Query,
    by: str = "",
    *,
    where: Mapping[str, object] | None = None,
    past: PastBooks | None = None,
) -> Counted:
    """Return how many records answer a query, and how many have each value of a key."""
    shape = SHAPES[table]
    by_events = _BY_EVENTS if table in _BIRTHS else ()
    keys = [kind for kind in (*shape.says, *by_events) if kind != "order"]
    if by and by not in keys:
        raise InvalidRequest(
            f"{shape.noun} has no {by!r} to count by", hint=f"one of: {', '.join(keys)}"
        )
    every = query.evolve(limit=None, sort=None)
    records = await find(reader, table, every, where, past)
    if not by:
        return Counted(by, len(records), ())
    if by in by_events:
        last = None if past is None else past.sequence
        tally = await _tally_by_events(reader, table, records, by, last)
        return Counted(by, len(records), _most_first(tally))
    books = reader if past is None else past
    orders = await _orders_of(books, records) if shape.of_order else {}
    tally = Counter(
        value
        for record in records
        for value in (set(shape.says[by](record, orders.get(record.key))) - {""} or {""})
    )
    return Counted(by, len(records), _most_first(tally))


def _most_first(tally: Mapping[str, int]) -> tuple[tuple[str, int], ...]:
    return tuple(sorted(tally.items(), key=lambda one: (-one[1], one[0])))


async def _tally_by_events(
    reader: Reader, table: str, records: Sequence[AnyRecord], by: str, last: int | None
) -> dict[str, int]:
    """Return how many records each session brought, or have an event with each code about their
    order; under "" those without.
    """
    end = (await reader.head()).sequence if last is None else last
    postings = await asyncio.to_thread(
        index.postings_of, reader.url, (), (by,), within=(1, max(end, 1))
    )
    sequence = SHAPES[table].sequence
    assert sequence is not None
    tally: dict[str, int] = {}
    left = {record.key for record in records}
    for (kind, value), bits in postings.items():
        if kind != by or not bits:
            continue
        if by == "session":
            met = {one.key for one in records if index.has(bits, sequence(one))}
        else:
            about = await _orders_of_events(reader, bits)
            met = {one.key for one in records if getattr(one, "order_id", "") in about}
        if met:
            tally[value] = len(met)
            left -= met
    return {**tally, **({"": len(left)} if left else {})}


def meets(table: str, record: AnyRecord, query: Query, order: Order | None = None) -> bool:
    """Say whether a record has one of the values of each condition; `order` is a fill's.

    What only events tell (codes, sessions, any name of an order) is not looked at.
    """
    says = SHAPES[table].says
    return all(
        not set(says[kind](record, order)).isdisjoint(values)
        for kind, values in _values_of(query).items()
        if kind in says
    )


@dataclass(frozen=True, slots=True)
class Choice:
    """Which records of a projection a query means: for whoever reads all of them, page by page."""

    table: str
    query: Query
    known: Known
    books: Bookshelf

    async def of(self, rows: Sequence[AnyRecord]) -> list[AnyRecord]:
        """Return those of some records that are meant."""
        return await _meeting(self.books, self.table, rows, self.query, self.known)


async def choice(reader: Reader, table: str, query: Query, past: PastBooks | None = None) -> Choice:
    """Return which records a query means, now or in books of the past.

    Raises `InvalidRequest` for what these records cannot be asked.
    """
    known = await _known(reader, table, query, past)
    return Choice(table, query, known, reader if past is None else past)


# ── inside ──


@dataclass(frozen=True, slots=True)
class Known:
    """What was found out before any record is read."""

    #: Conditions that the database is asked.
    where: dict[str, object]
    #: The orders that it is about; None for all.
    order_ids: frozenset[str] | None
    #: The positions that fills of such orders moved; None for all.
    keys: frozenset[str] | None
    #: The events of the sessions asked for that brought records; None for all.
    brought: Bits | None
    #: The part of the log that is meant.
    first: int
    last: int
    #: Of fills in books of what had happened: when they must have happened; None: by the log.
    happened: tuple[datetime | None, datetime | None] | None = None


_BIRTHS: Final = {"orders": ORDER_BIRTHS, "fills": FILL_BIRTHS}
#: By which events a session brought a record.
_BROUGHT_BY: Final = {**_BIRTHS, "breaks": ("BreakOpened",), "alarms": ("AlarmRaised",)}
#: Columns whose index leaves few rows: no event has to be looked for.
_NARROW: Final = frozenset({"live", "order_id", "exec_id", "perm_id"})
#: Conditions that only events answer.
_BY_EVENTS: Final = ("code", "session")
#: What an order is asked for the records that are about it.
_OF_ITS_ORDERS: Final = ("con_id", "side", "state", "code", "actor", "strategy")


async def _known(reader: Reader, table: str, query: Query, past: PastBooks | None) -> Known:
    shape = SHAPES[table]
    _refuse(shape, query)
    happened = None
    if table == "fills" and past is not None and past.as_of.by == "happened":
        happened = (await _time_of(reader, query.since), await _time_of(reader, query.until))
        # What happened in a time can have come to the log at any other.
        first, end = await range_of(reader, query.evolve(since=None, until=None))
    else:
        first, end = await range_of(reader, query)
    order_ids: set[str] | None = None
    keys: frozenset[str] | None = None
    asked = {
        kind: getattr(query, kind) for kind in _OF_ITS_ORDERS if kind not in shape.says
    }  # of an order or a fill, only the code
    if table == "positions":
        asked |= {"order": query.order, "session": query.session}
        if any(asked.values()):
            fills = await find(reader, "fills", Query(**asked), None, past)
            keys = frozenset(cast(Fill, one).position_key for one in fills)
    else:
        if query.order:
            order_ids = {await resolve(reader, name) for name in query.order}
        if any(asked.values()):
            meant = await _orders_that(reader, table, Query(**asked), past)
            order_ids = meant if order_ids is None else order_ids & meant
    where: dict[str, object] = {}
    if table == "orders":
        columns = {"account": query.account, "state": query.state}
        where |= {column: list(values) for column, values in columns.items() if values}
    brought: Bits | None = None
    if query.session and table in _BROUGHT_BY:
        brought = await matching(reader, Query(session=query.session, type=_BROUGHT_BY[table]))
    ids = None if order_ids is None else frozenset(order_ids)
    return Known(where, ids, keys, brought, first, end, happened)


async def _time_of(reader: Reader, moment: Moment | None) -> datetime | None:
    """Return the time of a moment; of a sequence, when that was recorded."""
    if not isinstance(moment, int):
        return moment
    head = (await reader.head()).sequence
    return await reader.recorded_at(moment) if 1 <= moment <= head else None


def _refuse(shape: Shape, query: Query) -> None:
    """Raise `InvalidRequest` for what a kind of record cannot be asked."""
    if query.type:
        raise InvalidRequest(f"{shape.noun} has no type", hint="events have one: `oms log`")
    if query.correlation is not None:
        raise InvalidRequest(
            f"{shape.noun} is of no single correlation", hint="events have one: `oms log`"
        )
    if query.sort is not None:
        _sort_of(shape, query.sort)
    if (query.after, query.before) != (None, None) and (shape.sequence is None or query.sort):
        raise InvalidRequest("pages follow the log: --after and --before do not go with this order")


async def _orders_that(
    reader: Reader, table: str, query: Query, past: PastBooks | None
) -> set[str]:
    """Return the orders that records must be about, for what these do not say themselves."""
    if table not in _BIRTHS:
        return {one.key for one in await find(reader, "orders", query, None, past)}
    until = None if past is None else past.sequence + 1
    return await _orders_of_events(reader, await matching(reader, query.evolve(until=until)))


def _values_of(query: Query) -> dict[str, tuple[str, ...]]:
    values = dict(query.values)
    if query.state:
        values["state"] = query.state
    return values


async def _orders_of_events(reader: Reader, bits: Bits) -> set[str]:
    """Return the orders that events are about."""
    found: set[str] = set()
    wanted = index.sequences(bits)
    while page := list(islice(wanted, _PAGE)):
        found.update(order_id for _, order_id in await reader.links(page))
    return found


async def _born(
    reader: Reader,
    table: str,
    query: Query,
    known: Known,
    where: Mapping[str, object] | None,
) -> list[AnyRecord]:
    """Return records by the events that brought them into the books, as many as are wanted."""
    kinds = {kind: getattr(query, kind) for kind in ("account", "symbol", "con_id", "side")}
    events = Query(
        **kinds,
        klass=query.klass,
        strategy=query.strategy,
        session=query.session,
        actor=query.actor if table == "orders" else (),
        type=_BIRTHS[table],
        **{name: getattr(query, name) for name in ("since", "until", "after", "before")},
    )
    bits = await matching(reader, events)
    if known.order_ids is not None:
        bits = index.both(bits, await sequences_about(reader, known.order_ids))
    forward = query.after is not None
    wanted = index.sequences(bits, reverse=not forward)
    found: dict[str, AnyRecord] = {}
    while page := list(islice(wanted, _PAGE)):
        rows = await _brought(reader, table, page, where)
        for record in await _meeting(reader, table, rows, query, known):
            found.setdefault(record.key, record)
        if query.limit and query.sort is None and len(found) >= query.limit:
            break
    records = list(found.values())[: query.limit if query.sort is None else None]
    return records if forward else records[::-1]


async def _filtered(
    books: Bookshelf,
    table: str,
    query: Query,
    known: Known,
    where: Mapping[str, object] | None,
) -> list[AnyRecord]:
    """Return records by reading those that the columns leave."""
    conditions = {**known.where, **(where or {})}
    # The past keeps more than memory should hold; where nothing else is asked, a limit ends it.
    plain = not (query.values or query.order or query.sort or query.since or query.until)
    shape = SHAPES[table]
    is_page = query.after is not None or query.before is not None or shape.order is not None
    limit = query.limit if plain and not is_page else None
    rows = await books.rows(table, conditions, limit=limit)
    records = await _meeting(books, table, rows, query, known)
    order = shape.order or shape.sequence
    if order is not None:
        records.sort(key=order)
    return records


async def _brought(
    reader: Reader, table: str, page: Sequence[int], where: Mapping[str, object] | None
) -> list[AnyRecord]:
    """Return the records that some events brought into the books, in the order of the events."""
    place = {sequence: number for number, sequence in enumerate(page)}
    if table == "fills":
        rows = await reader.rows(table, {"booked_sequence": page, **(where or {})})
        fills = cast("list[Fill]", rows)
        return [*sorted(fills, key=lambda fill: place[fill.booked_sequence])]
    born = {
        str(getattr(envelope.event, "order_id", "")): envelope.sequence
        for envelope in reversed(await reader.envelopes(page))
    }
    rows = await reader.rows(table, {"order_id": list(born), **(where or {})})
    return sorted(rows, key=lambda row: place[born[row.key]])


async def _meeting(
    books: Bookshelf, table: str, rows: Iterable[AnyRecord], query: Query, known: Known
) -> list[AnyRecord]:
    shape = SHAPES[table]
    records = list(rows)
    orders = await _orders_of(books, records) if shape.of_order else {}
    return [
        record
        for record in records
        if meets(table, record, query, orders.get(record.key))
        and _is_of(table, record, known)
        and _is_in(shape, record, query, known)
    ]


async def _orders_of(books: Bookshelf, records: Sequence[AnyRecord]) -> dict[str, Order]:
    """Return the order of each fill, by the fill's key."""
    fills = cast("Sequence[Fill]", records)
    ids = sorted({fill.order_id for fill in fills if fill.order_id})
    rows = await books.rows("orders", {"order_id": ids}) if ids else []
    orders = {row.key: cast(Order, row) for row in rows}
    return {fill.key: orders[fill.order_id] for fill in fills if fill.order_id in orders}


def _is_of(table: str, record: AnyRecord, known: Known) -> bool:
    if known.keys is not None:
        return record.key in known.keys
    if known.order_ids is None:
        return True
    says = SHAPES[table].says.get("order")
    names = set(says(record, None)) if says else {getattr(record, "order_id", "")}
    return not names.isdisjoint(known.order_ids)


def _is_in(shape: Shape, record: AnyRecord, query: Query, known: Known) -> bool:
    if shape.sequence is not None:
        sequence = shape.sequence(record)
        inside = known.brought is None or index.has(known.brought, sequence)
        inside = inside and known.first <= sequence <= known.last
        if not inside or known.happened is None:
            return inside
        return _is_between(cast(Fill, record).happened_by, *known.happened)
    since, until = query.since, query.until
    if isinstance(since, int) or isinstance(until, int):
        raise InvalidRequest(f"{shape.noun} has no place in the log", hint="give a time or a day")
    return _is_between(shape.at(record), since, until)


def _is_between(at: datetime | None, since: datetime | None, until: datetime | None) -> bool:
    after = since is None or (at is not None and at >= since)
    return after and (until is None or (at is not None and at < until))


def _sort_of(shape: Shape, name: str) -> Key:
    key = shape.sorts.get(name.removeprefix("-"))
    if key is None:
        raise InvalidRequest(
            f"{shape.noun} cannot be sorted by {name.removeprefix('-')!r}",
            hint=f"one of: {', '.join(shape.sorts)}; with - before it, the largest first",
        )
    return key
