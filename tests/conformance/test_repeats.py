"""A row that is offered as a repeat is left out exactly where the books would be the same with it.

Goal: whatever happened between a message and the row that repeats it, the books are those of a log
that stored everything, and the rebuild agrees. Method: a life is stored, its last line is offered
as a repeat of the event that says the same; on SQLite and on PostgreSQL.
"""

from __future__ import annotations

import pytest

from oms.core.events import Envelope, Pending
from oms.core.fold.records import Position
from oms.core.receipt import Receipt
from oms.store.log import EventLog
from tests.conformance.conftest import Place
from tests.conformance.test_event_log import opened_log, rebuilt_equal, stored
from tests.lives import Life

AT_WORK = """
    session
    A: intent BUY 100 LMT 10
    A: sent
    A: open Submitted
    A: status Submitted 0
"""
HELD = """
    session
    position 100 10
"""
#: What was stored, the row, and whether it is news.
CASES = {
    "an order as before": (AT_WORK, "A: open Submitted", False),
    "its status as before": (AT_WORK, "A: status Submitted 0", False),
    "a number in a new session": (f"{AT_WORK} lost\n session", "A: open Submitted", True),
    "a cancel is under way": (f"{AT_WORK} A: cancel", "A: open Submitted", False),
    "we took it for gone": (f"{AT_WORK} A: resolve ended by=person", "A: open Submitted", True),
    "it filled meanwhile": (f"{AT_WORK} A: fill 100 @ 10", "A: status Submitted 0", False),
    "a position as before": (HELD, "position 100 10", False),
    "a position that moved": (f"{HELD} A: fill 100 @ 10", "position 100 10", True),
    "a position said otherwise": (f"{HELD} position 90 10", "position 100 10", True),
}


def played(life: str, row: str) -> tuple[list[Envelope], Envelope, int]:
    """Return what is stored before the row, the row, and the event that it repeats."""
    *before, last = Life().play(f"{life}\n{row}").envelopes
    (repeated, *_) = [e.sequence for e in before if e.event == last.event]
    return before, last, repeated


async def offered(log: EventLog, row: Envelope, repeats: int) -> Receipt:
    return await log.append(Pending(row.event, row.context, repeats=repeats))


@pytest.mark.parametrize(("life", "row", "is_news"), CASES.values(), ids=CASES)
async def test_a_row_is_stored_where_the_books_need_it(
    place: Place, life: str, row: str, is_news: bool
) -> None:
    before, last, repeated = played(life, row)
    async with opened_log(place) as log:
        for one in before:
            await log.append(Pending(one.event, one.context))
        receipt = await offered(log, last, repeated)
        again = await offered(log, last, repeated)
    wanted = Receipt(last.sequence) if is_news else Receipt(repeated, duplicate=True)
    assert receipt == wanted
    assert again.duplicate
    assert len(await stored(place)) == len(before) + is_news
    assert rebuilt_equal(place)


@pytest.mark.parametrize(("life", "row", "is_news"), CASES.values(), ids=CASES)
async def test_what_comes_in_the_same_transaction_counts(
    place: Place, life: str, row: str, is_news: bool
) -> None:
    before, last, repeated = played(life, row)
    facts = [Pending(one.event, one.context) for one in before]
    facts.append(Pending(last.event, last.context, repeats=repeated))
    async with opened_log(place) as log:
        *_, receipt = await log.append_together(facts)
    assert receipt.duplicate is not is_news
    assert rebuilt_equal(place)


async def test_what_was_left_out_left_nothing_behind(place: Place) -> None:
    """A later event of the same transaction sees the books without it, and its place is free."""
    before, last, repeated = played(HELD, "position 100 10")
    *_, later = Life().play(f"{HELD} position 80 10").envelopes
    async with opened_log(place) as log:
        for one in before:
            await log.append(Pending(one.event, one.context))
        offered_one = Pending(last.event, last.context, repeats=repeated)
        receipts = await log.append_together([offered_one, Pending(later.event, later.context)])
        (position,) = log.books.all(Position)
    assert [one.sequence for one in receipts] == [repeated, last.sequence]
    assert (position.broker_quantity, position.broker_sequence) == (80, last.sequence)
    assert rebuilt_equal(place)


async def test_a_log_without_books_stores_every_row(place: Place) -> None:
    before, last, repeated = played(HELD, "position 100 10")
    async with opened_log(place, projector=False) as log:
        for one in before:
            await log.append(Pending(one.event, one.context))
        assert not (await offered(log, last, repeated)).duplicate
