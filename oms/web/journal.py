"""The log itself: newest first, filtered; and one event with everything that it carries."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from oms.core.events import EVENT_TYPES, Envelope, StatementChecked
from oms.errors import NotFound
from oms.report.json_view import event_json
from oms.store.reader import Reader
from oms.web.page import Json, Page, Visit
from oms.web.query import Query

SHOWN: Final = 100
SHOWN_MAX: Final = 1_000
#: Events looked at for one page, where the database has no index for the filter.
SCANNED_MAX: Final = 10_000
_CHUNK: Final = 1_000
#: Steps of the walk from an event to its causes.
CAUSES_MAX: Final = 30

FILTERS: Final = (
    "type",
    "order",
    "correlation",
    "session",
    "account",
    "symbol",
    "code",
    "actor",
    "since",
    "until",
    "before",
    "limit",
)

Test = Callable[[Envelope], bool]


@dataclass(frozen=True, slots=True)
class Found:
    """A page of the log."""

    #: Newest first.
    envelopes: list[Envelope]
    #: Everything from here on was looked at.
    reached: int
    #: True where nothing older can match.
    complete: bool


async def build_list(visit: Visit) -> Page:
    """Return events that meet the filters, the newest first."""
    query = visit.query
    limit = min(query.number("limit", SHOWN, low=1) or SHOWN, SHOWN_MAX)
    found = await search(visit.reader, query, visit.situation.head.sequence, limit)
    return Page(
        title="Log",
        template="log",
        kind="log",
        values={
            "found": found,
            "types": sorted(EVENT_TYPES),
            "older": None if found.complete else query.link(before=found.reached),
            "newest": query.link(before=None) if query.text("before") else None,
        },
        json={
            "filters": query.values(),
            "older_before": None if found.complete else found.reached,
            "events": [event_json(envelope) for envelope in found.envelopes],
        },
    )


async def search(reader: Reader, query: Query, head: int, limit: int) -> Found:
    """Return the newest events that meet a query, looking at a bounded number of them.

    Type, order, correlation and session are asked of the database; the rest is tested here.
    """
    since, until = query.moment("since"), query.moment("until")
    floor = await sequence_at(reader, head, since) - 1 if since is not None else 0
    before = query.number("before", head + 1, low=1) or head + 1
    if until is not None:
        before = min(before, await sequence_at(reader, head, until))
    asked: dict[str, Any] = {
        "type": query.choice("type", tuple(EVENT_TYPES)) or None,
        "order_id": query.text("order") or None,
        "correlation_id": query.text("correlation") or None,
        "session": query.number("session"),
    }
    test = _test(query)
    found: list[Envelope] = []
    scanned = 0
    while scanned < SCANNED_MAX:
        chunk_max = _CHUNK if test is not None else limit
        chunk = await reader.events(floor, before=before, limit=chunk_max, reverse=True, **asked)
        for envelope in chunk:
            before = envelope.sequence
            if test is None or test(envelope):
                found.append(envelope)
                if len(found) == limit:
                    return Found(found, before, complete=before <= floor + 1)
        scanned += len(chunk)
        if len(chunk) < chunk_max:
            return Found(found, floor + 1, complete=True)
    return Found(found, before, complete=before <= floor + 1)


def _test(query: Query) -> Test | None:
    """Return what the database cannot be asked, as one test; None where nothing is."""
    tests: list[Test] = []
    account, symbol = query.text("account"), query.text("symbol").upper()
    actor, code = query.text("actor"), query.number("code")
    if account:
        tests.append(lambda envelope: account in _accounts(envelope))
    if symbol:
        tests.append(lambda envelope: symbol in _symbols(envelope))
    if actor:
        tests.append(lambda envelope: envelope.context.actor == actor)
    if code is not None:
        tests.append(lambda envelope: getattr(envelope.event, "code", None) == code)
    return (lambda envelope: all(test(envelope) for test in tests)) if tests else None


def _accounts(envelope: Envelope) -> tuple[str, ...]:
    event = envelope.event
    named = (getattr(event, "account", ""), getattr(_finding(event), "account", ""))
    return (*named, *getattr(event, "accounts", ()))


def _symbols(envelope: Envelope) -> tuple[str, ...]:
    event = envelope.event
    contract = getattr(event, "contract", None)
    return (getattr(contract, "symbol", ""), getattr(_finding(event), "symbol", ""))


def _finding(event: object) -> object:
    return getattr(event, "finding", None)


async def build_one(visit: Visit) -> Page:
    """Return one event: what it says, what it carries, what caused it."""
    name = visit.name
    sequence = int(name) if name.isascii() and name.isdecimal() and len(name) <= 18 else 0
    head = visit.situation.head.sequence
    if not 1 <= sequence <= head:
        raise NotFound(f"the log has no event {name!r}", hint=f"it goes from 1 to {head}")
    envelope = await visit.reader.event(sequence)
    causes = await _causes(visit.reader, envelope)
    statement = envelope.event if isinstance(envelope.event, StatementChecked) else None
    return Page(
        title=f"Event {sequence}",
        template="event",
        kind="event",
        values={"envelope": envelope, "causes": causes, "statement": statement},
        json=_event_json(envelope, causes),
    )


async def _causes(reader: Reader, envelope: Envelope) -> list[Envelope]:
    """Return what led to an event, the nearest cause first."""
    walked: list[Envelope] = []
    cause = envelope.context.causation_sequence
    while cause is not None and len(walked) < CAUSES_MAX:
        walked.append(await reader.event(cause))
        cause = walked[-1].context.causation_sequence
    return walked


def _event_json(envelope: Envelope, causes: list[Envelope]) -> Json:
    return {**event_json(envelope), "causes": [event_json(cause) for cause in causes]}


async def sequence_at(reader: Reader, head: int, moment: datetime) -> int:
    """Return the first sequence recorded at a moment or later; one past the head where none was.

    Sequences have no holes and the appender's clock goes forward, so halving finds it.
    """
    low, high = 1, head + 1
    while low < high:
        middle = (low + high) // 2
        if (await reader.event(middle)).recorded_at < moment:
            low = middle + 1
        else:
            high = middle
    return low
