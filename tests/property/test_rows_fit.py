"""No fold makes a row that a database cannot hold, not even between two events of a transaction.

Rows are written once a transaction, so a row that does not fit and is overwritten before would not
be noticed there, and would be where the events come one by one: a rebuild would differ.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from random import Random
from typing import Any

from oms.core import codec
from oms.core.bounds import LABEL, WORD
from oms.core.events import Context, Envelope, Event, Pending
from oms.core.fold import apply as folds
from oms.core.fold.records import TABLE_OF, TABLES, AnyRecord, encode_record
from oms.errors import UnknownEventType
from oms.store.rows import Unfit, check_fits
from tests.conformance.facts import lives
from tests.stored_events import stored

ORDERS = 15
#: Four bytes in UTF-8, and six characters where it is escaped.
FILLING = "\U0001f4a3"
LARGEST = 2**63 - 1


def test_no_event_makes_a_row_that_no_database_can_hold(seed: int) -> None:
    unfit: list[str] = []
    changed = 0

    def check(record: AnyRecord) -> None:
        nonlocal changed
        changed += 1
        spec = TABLES[TABLE_OF[type(record)]]
        encode_record(record).encode()
        try:
            check_fits(spec, (record.key, *record.columns().values()))
        except Unfit as error:
            unfit.append(str(error))

    books = folds.initial()
    every = [codec.decode(one.type_name, one.version, one.payload) for one in stored()]
    Random(seed).shuffle(every)
    context = Context("broker", session_epoch=1)
    played = [*lives(seed, ORDERS), *(Pending(one, context) for one in every)]
    for sequence, pending in enumerate(played, 1):
        event = stretched(pending.event)
        envelope = Envelope(sequence, event, pending.context, datetime(2026, 1, 5, tzinfo=UTC), 1)
        books = folds.apply(books, envelope, check)
    assert changed > len(played) / 2
    assert unfit == []


def stretched(event: Event) -> Event:
    """Return the event with every text as long, and every number as large, as it can be."""
    name, version = type(event).__name__, event.VERSION
    body = json.loads(codec.encode(event))
    for place, value in list(_leaves(body, ())):
        for more in _larger(value):
            _put(body, place, more)
            try:
                event = codec.decode(name, version, json.dumps(body))
                break
            except UnknownEventType:
                _put(body, place, value)
    return event


def _larger(value: object) -> Iterator[object]:
    match value:
        case bool():
            pass
        case int():
            yield from (LARGEST, 2**31 - 1)
        case str() if value:
            for bound in (LABEL, WORD):
                yield value + FILLING * (bound.length - len(value))
        case _:
            pass


def _leaves(body: Any, place: tuple[Any, ...]) -> Iterator[tuple[tuple[Any, ...], object]]:
    match body:
        case dict():
            for key, value in body.items():
                yield from _leaves(value, (*place, key))
        case list():
            for number, value in enumerate(body):
                yield from _leaves(value, (*place, number))
        case _:
            yield place, body


def _put(body: Any, place: tuple[Any, ...], value: object) -> None:
    for step in place[:-1]:
        body = body[step]
    body[place[-1]] = value
