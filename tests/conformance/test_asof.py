"""Snapshots beside a log of either backend: they make answers fast, and never other answers."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from decimal import Decimal

import pytest

from oms.core.events import CancelRequested, Context, ExecutionReceived, Pending
from oms.core.fold.records import Fill, Order
from oms.errors import ChainBroken
from oms.history.asof import PastBooks, books_at
from oms.history.making import check_snapshots, is_right
from oms.history.snapshots import ENDED, HAPPENED, KNOWN, LISTED, Entry, Snapshots
from oms.store.reader import Reader
from tests.conformance.conftest import Place
from tests.lives import Life
from tests.pasts import Copy, Fact, beside, make_snapshots, past, write

LIFE = """
session
intent BUY 100 LMT 10
sent
open Submitted
fill 40 @ 10
commission x.1.01 1
B: intent SELL 50 LMT 12 con=2
B: sent
B: open Submitted con=2
B: fill 50 @ 12 exec=y.1.01 con=2
B: status Filled 50
fill 60 @ 9
status Filled 100
C: intent BUY 5 LMT 3
C: sent
C: status Cancelled 0
position 100 9.4
D: intent BUY 7 MKT
D: sent
D: open Submitted
D: fill 7 @ 11 exec=z.1.01
"""
CHUNK = 4


def facts() -> list[Fact]:
    envelopes = Life().play(LIFE).envelopes
    return [(e.recorded_at, Pending(e.event, e.context)) for e in envelopes]


def late(facts: list[Fact]) -> list[Fact]:
    """Return a correction of the first execution, an hour after the last fact, and enough after it
    that a snapshot has it.
    """
    pending = next(p for _, p in facts if isinstance(p.event, ExecutionReceived))
    event = pending.event.evolve(exec_id="x.1.02", price=Decimal(20))
    at = facts[-1][0] + timedelta(hours=1)
    more = [(at + timedelta(seconds=n), facts[16 + n % 2][1]) for n in range(1, 5)]
    return [(at, Pending(event, pending.context)), *more]


@pytest.fixture
def copies(place: Place) -> list[Copy]:
    """Return the books after each event of a log that has snapshots."""
    told = write(place.url, facts())
    make_snapshots(place.url, CHUNK)
    return [one.copy for one in told]


def test_each_moment_is_answered_from_snapshots_as_it_was(place: Place, copies: list[Copy]) -> None:
    with beside(place.url) as (log, side):
        assert Snapshots(side, log).last(HAPPENED).sequence == len(copies) - len(copies) % CHUNK
    for sequence in (1, 4, 5, 8, 11, 16, 20, 21):
        assert past(place.url, sequence)[1] == copies[sequence - 1]


DAMAGE = {
    "a text is none": "UPDATE {}blocks SET body = body || body",
    "a block is gone": "DELETE FROM {}blocks WHERE number = 1",
    "a block is another": "UPDATE {}blocks SET (digest, body) = (SELECT b.digest, b.body"
    " FROM {}blocks b WHERE b.line = 0 AND b.number = 2 AND b.part = 2) WHERE part >= 2",
    "an ended record is not found": "DELETE FROM {}places",
    "an ended record is found elsewhere": "UPDATE {}places SET number = 1 WHERE number = 3",
    "there are fewer": "UPDATE {}snapshots SET counts = '[]'",
    "another block is whole": "UPDATE {}snapshots SET whole = number",
    "it is of another log": "UPDATE {}snapshots SET hash = (SELECT min(digest) FROM {}blocks)",
    "no table": "DROP TABLE {}blocks",
    "other folds made it": "UPDATE {}marks SET digest = hash WHERE name = 'snapshots'",
}


@pytest.mark.sample(3)
@pytest.mark.parametrize("name", DAMAGE)
def test_damaged_snapshots_change_no_answer(place: Place, copies: list[Copy], name: str) -> None:
    with beside(place.url) as (_, side):
        side.execute(DAMAGE[name])
    for sequence in (5, 19):
        assert past(place.url, sequence)[1] == copies[sequence - 1]


def test_no_answer_rests_on_an_event_that_was_altered(place: Place, copies: list[Copy]) -> None:
    """The fold starts at the snapshot of event 16; what stands in a snapshot is not read again."""
    place.remove_guards()
    place.sql("UPDATE events SET payload = payload || ' ' WHERE sequence = 18")
    assert past(place.url, 17)[1] == copies[16]
    with pytest.raises(ChainBroken, match="event 18"):
        past(place.url, 19)


def test_snapshot_of_other_records_is_found_by_a_fold_and_thrown_away(
    place: Place, copies: list[Copy]
) -> None:
    with beside(place.url) as (log, side):
        assert all(is_right(log, side, number) for number in range(1, 6))
        # An ended record with the text of a later one: whoever wrote it made the digest as well.
        snapshots = Snapshots(side, log)
        blocks = {number: dict(snapshots.block(KNOWN, number, ENDED)) for number in range(1, 6)}
        number, name = next((n, one) for n in blocks for one in blocks[n] if one[0] == "fills")
        text = blocks[number][name].text.replace('"40"', '"41"')
        blocks[number][name] = Entry(LISTED, text)
        for table in ("blocks", "places"):
            side.execute(f"DELETE FROM {{}}{table} WHERE line = 0 AND number = {number}")
        snapshots.put(KNOWN, number, ENDED, blocks[number])
    checked, wrong = check_snapshots(
        place.url, None, lambda done, of: None, choose=lambda every, number: list(every)
    )
    assert checked == 5
    assert wrong
    with beside(place.url) as (log, side):
        assert not Snapshots(side, log).are_of_these_folds
    make_snapshots(place.url, CHUNK)
    assert past(place.url, 20)[1] == copies[19]


def test_what_comes_late_changes_snapshots_of_what_had_happened(
    place: Place, copies: list[Copy]
) -> None:
    written = facts()
    write(place.url, late(written))

    def answers() -> list[tuple[Copy, Copy]]:
        asked = (6, 12, 17, 21)
        return [(past(place.url, n)[1], past(place.url, n, "happened")[1]) for n in asked]

    before = answers()
    make_snapshots(place.url, CHUNK)
    assert answers() == before
    with beside(place.url) as (log, side):
        snapshots = Snapshots(side, log)
        over = snapshots.kept(snapshots.last(HAPPENED).number, HAPPENED)
        # One for each execution would be read for every answer, however long ago it was.
        assert [key for table, key in over if table == "early_commissions"] == []
    assert [known for known, _ in before] == [copies[n - 1] for n in (6, 12, 17, 21)]
    # Corrected at its own time, and not when that became known.
    fill = next(iter(before[0][1]["fills"].values()))
    assert '"price":"20"' in fill
    with beside(place.url) as (_, side):
        side.execute("DELETE FROM {}marks WHERE name = 'snapshots'")
    make_snapshots(place.url, CHUNK)
    assert answers() == before


def test_an_order_that_was_only_asked_about_is_no_damage(place: Place) -> None:
    written = facts()
    asked = Pending(CancelRequested(order_id="Z"), Context("person"))
    write(place.url, [*written[:5], (written[5][0], asked), *written[5:]])
    make_snapshots(place.url, CHUNK)

    async def ask() -> object:
        reader = await Reader.open(place.url)
        try:
            return await (await books_at(reader, 18)).one("orders", "Z")
        finally:
            await reader.close()

    assert asyncio.run(ask()) is None
    with beside(place.url) as (log, side):
        assert Snapshots(side, log).are_of_these_folds


def test_ended_records_are_listed_by_pages_and_counted(place: Place, copies: list[Copy]) -> None:
    async def ask(question: str) -> object:
        reader = await Reader.open(place.url)
        try:
            books: PastBooks = await books_at(reader, 18)
            match question:
                case "newest":
                    found = await books.rows("orders", limit=2)
                    return [o.order_id for o in found if isinstance(o, Order)]
                case "ended":
                    return await books.count("orders", {"live": 0})
                case "all":
                    return await books.count("orders"), await books.count("fills")
                case "of a symbol":
                    return await books.count("orders", {"symbol": "ACME"})
                case "of an order":
                    fills = await books.rows("fills", {"order_id": "A"}, order="booked_sequence")
                    return [str(f.quantity) for f in fills if isinstance(f, Fill)]
                case "one":
                    return [await books.one("orders", key) is not None for key in "ABCDE"]
                case _:
                    raise AssertionError(question)
        finally:
            await reader.close()

    assert asyncio.run(ask("newest")) == ["C", "D"]
    assert asyncio.run(ask("ended")) == 3
    assert asyncio.run(ask("all")) == (4, 3)
    assert asyncio.run(ask("of a symbol")) == 3
    assert asyncio.run(ask("of an order")) == ["40", "60"]
    assert asyncio.run(ask("one")) == [True, True, True, True, False]
