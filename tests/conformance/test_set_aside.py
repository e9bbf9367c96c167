"""A log that holds what the books cannot take opens, says so, and goes on."""

from __future__ import annotations

from dataclasses import replace

import pytest

from oms.clock import SystemClock
from oms.core.events import (
    Context,
    Envelope,
    EventSetAside,
    ExecutionReceived,
    OrderRequested,
    Pending,
)
from oms.core.fold import apply as folds
from oms.core.fold.books import Books
from oms.core.fold.records import Anomaly, Fill
from oms.core.receipt import Receipt
from oms.store.log import EventLog
from oms.store.reader import Reader
from oms.store.rebuild import rebuild_check
from tests.conformance.conftest import Place
from tests.conformance.facts import execution, gap, intent
from tests.poisoned import append_altered

TOO_LARGE = 2**63


def poisoned(place: Place, order_id: str) -> None:
    """Append what `oms buy 1 KO --con-id 9223372036854775808` once wrote."""
    asked = intent("order-1", 1).event
    request = OrderRequested(
        order_id=order_id, account=asked.account, contract=asked.contract, terms=asked.terms
    )
    con_id = '"con_id":'
    pending = Pending(request, Context("person:ann"))
    known = f"{con_id}{asked.contract.con_id}"
    append_altered(place.url, pending, known, f"{con_id}{TOO_LARGE}")


async def test_log_with_a_request_that_no_table_can_hold_opens_and_goes_on(place: Place) -> None:
    log = await EventLog.open(place.url, clock=SystemClock(), lease=None)
    await log.append(intent("order-1", 100))
    await log.close()
    poisoned(place, "poison")
    log = await EventLog.open(place.url, clock=SystemClock(), lease=None)
    try:
        found = [a for a in log.books.all(Anomaly) if a.kind == "set_aside"]
        assert [(a.sequence, a.order_id, a.severity) for a in found] == [(2, "poison", "high")]
        poisoned(place, "later")  # Beside a log that is open.
        await log.append(gap())
        await log.append(intent("order-2", 5))
        assert not log.failed.done()
        assert log.books.order("order-2") is not None
    finally:
        await log.close()
    result = rebuild_check(place.url)
    assert (result.equal, result.events) == (True, 5), result
    reader = await Reader.open(place.url)
    try:
        events = await reader.events(limit=10)
    finally:
        await reader.close()
    assert [e.sequence for e in events if isinstance(e.event, EventSetAside)] == [2, 3]


async def test_execution_whose_text_cannot_be_read_is_booked_when_it_is_fetched_again(
    place: Place,
) -> None:
    told = execution("e.01", price="10.25")
    append_altered(place.url, told, '"price":"10.25"', '"price":"1e9999999999"')
    log = await EventLog.open(place.url, clock=SystemClock(), lease=None)
    try:
        assert log.books.all(Fill) == []
        fetched = execution("e.01", price="10.25", fetched=True)
        assert await log.append(fetched) == Receipt(2)
        assert [fill.price for fill in log.books.all(Fill)] == [told.event.price]
        assert await log.append(fetched) == Receipt(2, duplicate=True)
        assert await log.append(execution("e.01", price="9")) == Receipt(3, conflict=True)
    finally:
        await log.close()
    assert rebuild_check(place.url).equal


@pytest.mark.parametrize("failures", [1, 9])
async def test_execution_that_no_fold_could_take_is_tried_once_more_when_it_is_fetched(
    place: Place, failures: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    fold, failed = folds.FOLDS[ExecutionReceived], set[int]()

    def failing(books: Books, envelope: Envelope, event: ExecutionReceived) -> None:
        if envelope.sequence in failed or len(failed) < failures:
            failed.add(envelope.sequence)
            raise ZeroDivisionError
        fold.apply(books, envelope, event)

    monkeypatch.setitem(folds.FOLDS, ExecutionReceived, replace(fold, apply=failing))
    log = await EventLog.open(place.url, clock=SystemClock(), lease=None)
    try:
        fetched = execution("e.01", fetched=True)
        receipts = [await log.append(fetched) for _ in range(4)]
        assert receipts == [Receipt(1), Receipt(2), *[Receipt(2, duplicate=True)] * 2]
        assert len(log.books.all(Fill)) == (1 if failures == 1 else 0)
    finally:
        await log.close()
    assert rebuild_check(place.url).equal
