"""Prices before the first quote: every block is a part of the block round it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from oms.sim.broker.exchange.catalogue import Catalogue
from oms.sim.broker.exchange.contracts import Contract
from oms.sim.broker.exchange.past import LEVELS, Block, Origin, Past
from oms.sim.broker.exchange.sessions import Session, Sessions

#: A Wednesday, at noon in New York.
NOW = datetime(2026, 3, 4, 17, 0, 30, tzinfo=UTC)
CATALOGUE = Catalogue(NOW.date)
ORIGIN = Origin(int(NOW.timestamp()) * 1_000_000, Decimal("190.12"), 265598)


def contract(name: str) -> Contract:
    found = CATALOGUE.one(name)
    assert found is not None
    return found


def past(*, always: bool = False, seed: int = 1) -> Past:
    return Past(seed, Sessions(always, ZoneInfo("America/New_York")))


def days(made: Past, of: Contract, count: int) -> list[Session]:
    first = NOW.date() - timedelta(days=count)
    return list(made.sessions.between(of, first, NOW.date(), ORIGIN.second))


def whole(blocks: list[Block]) -> Block:
    return Block(
        blocks[0].start,
        blocks[-1].end,
        blocks[0].open,
        max(one.high for one in blocks),
        min(one.low for one in blocks),
        blocks[-1].close,
        sum(one.volume for one in blocks),
    )


@pytest.mark.parametrize("name", ["AAPL", "EUR.USD", "ESM6", "SPX"])
@pytest.mark.parametrize("always", [False, True])
def test_the_blocks_of_every_length_make_up_the_day(name: str, *, always: bool) -> None:
    made, of = past(always=always), contract(name)
    for session in days(made, of, 1):
        day = made.day(of, ORIGIN, session)
        for length in LEVELS[:3]:
            blocks = list(made.blocks(of, ORIGIN, session, (day.start, day.end), length))
            assert whole(blocks) == day
            for before, after in pairwise(blocks):
                assert (before.end, before.close) == (after.start, after.open)
                assert not after.start % length or after.start in (
                    session.regular_opens,
                    session.regular_closes,
                )
                assert after.low <= min(after.open, after.close)
                assert max(after.open, after.close) <= after.high
        seconds = list(made.blocks(of, ORIGIN, session, (day.end - 120, day.end), 1))
        (*_, last) = made.blocks(of, ORIGIN, session, (day.end - 60, day.end), 60)
        assert whole([one for one in seconds if one.start >= last.start]) == last


def test_the_last_day_closes_at_the_first_quote_and_earlier_ones_do_not_hang_on_who_asked() -> None:
    made, of = past(), contract("AAPL")
    sessions = days(made, of, 30)
    closes = [made.day(of, ORIGIN, one).close for one in sessions]
    assert closes[-1] == 19012
    assert made.day(of, ORIGIN, sessions[-1]).end == ORIGIN.second
    assert closes[-2] * of.minimum_tick == made.close_before(of, ORIGIN)
    again = past()
    assert [again.day(of, ORIGIN, one).close for one in reversed(sessions)] == closes[::-1]
    assert [past(seed=2).day(of, ORIGIN, one).close for one in sessions] != closes
    assert len(set(closes)) > 15


def test_sessions_are_those_of_the_exchange_and_whole_days_where_nothing_closes() -> None:
    of = contract("AAPL")
    regular, always = days(past(), of, 7), days(past(always=True), of, 7)
    assert [one.closes - one.opens for one in regular] == [16 * 3600] * 6
    assert {one.regular_closes - one.regular_opens for one in regular} == {23_400}
    assert always[:-1] == regular[:-1]
    assert always[-1].closes - always[-1].opens == 24 * 3600


def test_no_price_falls_below_one_increment() -> None:
    origin = Origin(ORIGIN.at, Decimal("0.02"), 265598)
    made, of = past(), contract("AAPL")
    assert all(made.day(of, origin, one).low >= 1 for one in days(made, of, 200))
