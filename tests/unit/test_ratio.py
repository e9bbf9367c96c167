"""Ratios of splits: the books hold what IB holds, for every one of them."""

from __future__ import annotations

import math
from decimal import ROUND_DOWN, Decimal
from fractions import Fraction
from math import gcd

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from oms.core import codec
from oms.core.events import Adjustment, BooksAdjusted
from oms.core.ratio import Ratio, ratio_between
from oms.errors import InvalidRequest
from tests.lives import ACME, Life, working

D = Decimal
#: Reverse splits, splits, and those of two numbers that nobody expects.
_NUMBERS = st.integers(1, 100)


def held_by_ib(held: Decimal, ratio: Ratio) -> Decimal:
    """Return what IB shows after a split: the fraction of a share is paid in cash."""
    exact = Fraction(held) * ratio.new / ratio.old
    step = D(1) if held == held.to_integral_value() else D("0.0001")
    return (D(exact.numerator) / D(exact.denominator)).quantize(step, ROUND_DOWN)


def after_split(life: Life, told: Decimal, ratio: Ratio) -> Decimal:
    """Let the split of a position be booked as a comparison proposes it; return what is held."""
    wanted = Adjustment(
        account="DU1", contract=ACME, quantity=told - life.position().quantity, ratio=ratio
    )
    life.apply(BooksAdjusted(adjustment=wanted, reason="seen"), actor="reconciler")
    return life.position().quantity


@example(held=D(300), new=1, old=3)
@example(held=D(200), new=2, old=3)
@example(held=D("2.7932"), new=4, old=1)
@given(
    held=st.one_of(
        st.integers(200, 100_000).map(D), st.decimals("1", "1000", places=4, allow_nan=False)
    ),
    new=_NUMBERS,
    old=_NUMBERS,
)
def test_every_ratio_is_found_and_leaves_what_ib_holds(held: Decimal, new: int, old: int) -> None:
    if new == old:
        return
    true = Ratio(new=new // gcd(new, old), old=old // gcd(new, old))
    told = held_by_ib(held, true)
    if not told or told == held:
        return
    cost = D(40)
    found = ratio_between(held, told, cost, true.price_of(cost).quantize(D("0.00000001")))
    assert found is not None
    assert found.may_leave(held, told)
    life = working(f"fill {held} @ {cost}")
    assert after_split(life, told, found) == told
    average, exact = life.position().average_price, true.price_of(cost)
    assert abs(average - exact) <= exact * D("0.005")


def test_every_reverse_split_to_a_hundred_leaves_whole_shares() -> None:
    for old in range(2, 101):
        life = working(f"fill {old * 7} @ 2")
        assert after_split(life, D(7), Ratio(new=1, old=old)) == 7
        position = life.position()
        assert position.average_price == 2 * old
        assert position.realised_pnl == 0


def test_fraction_of_a_share_leaves_the_cost_of_a_whole_one() -> None:
    life = working("fill 100 @ 10")
    assert after_split(life, D(33), Ratio(new=1, old=3)) == 33
    assert life.position().average_price == 30


def test_correction_of_a_fill_before_a_split_is_multiplied_and_divided() -> None:
    life = working("fill 300 @ 10 exec=x.1.01")
    after_split(life, D(100), Ratio(new=1, old=3))
    life.play("fill 20 @ 31 exec=x.2.01\nfill 330 @ 10 exec=x.1.02")
    assert life.position().quantity == 130


def test_split_of_a_short_position_stays_short() -> None:
    life = working("fill 100 @ 10 side=SELL")
    assert ratio_between(D(-100), D(-33), D(10), D(30)) == Ratio(new=1, old=3)
    assert after_split(life, D(-33), Ratio(new=1, old=3)) == -33


@pytest.mark.parametrize(
    ("held", "told", "cost_told", "why"),
    [
        ("300", "100", "10", "a third of the shares at the old cost"),
        ("300", "101", "30", "a share more than the ratio gives"),
        ("300", "-100", "30", "long before, short after"),
        ("300", "0", "30", "nothing is left"),
        ("300", "100", "0", "IB names no cost"),
    ],
)
def test_other_changes_are_no_split(held: str, told: str, cost_told: str, why: str) -> None:
    assert ratio_between(D(held), D(told), D(10), D(cost_told)) is None, why


def test_reverse_split_of_hundreds_into_one_is_found() -> None:
    assert ratio_between(D(5000), D(20), D("0.1"), D(25)) == Ratio(new=1, old=250)


@pytest.mark.parametrize(("written", "new", "old"), [("1:3", 1, 3), ("3 for 2", 3, 2)])
def test_person_writes_new_units_for_old_ones(written: str, new: int, old: int) -> None:
    assert Ratio.parse(written) == Ratio(new=new, old=old)


@pytest.mark.parametrize("written", ["0.333", "1:0", "0:3", "1/3", ":", "1:3:5", "-1:3"])
def test_other_texts_are_no_ratio(written: str) -> None:
    with pytest.raises(InvalidRequest, match="two whole numbers"):
        Ratio.parse(written)


@pytest.mark.parametrize("old", [3, 7, 60, 97])
def test_quotient_of_an_earlier_log_is_read_as_the_two_numbers_it_was_made_of(old: int) -> None:
    payload = BooksAdjusted(
        adjustment=Adjustment(account="DU1", contract=ACME, quantity=D(1)), reason="x"
    )
    written = codec.encode(payload).replace(
        '"quantity":"1"', f'"quantity":"1","ratio":"{1 / D(old)}"'
    )
    event = codec.decode("BooksAdjusted", 1, written)
    assert isinstance(event, BooksAdjusted)
    assert event.adjustment.ratio == Ratio(new=1, old=old)
    assert codec.decode("BooksAdjusted", 1, codec.encode(event)) == event


@pytest.mark.parametrize(
    ("held", "new", "old"),
    [(67, 3, 2), (128, 11, 10), (153, 7, 5), (39, 5, 2), (201, 3, 4), (201, 21, 20), (50, 51, 50)],
)
@pytest.mark.parametrize("charged", ["0", "0.1"])
def test_simple_ratio_that_leaves_a_fraction_comes_before_an_odd_one_that_leaves_none(
    held: int, new: int, old: int, charged: str
) -> None:
    """67 shares become 100 by 3 for 2, not by 100 for 67: the costs of a share would differ."""
    ratio, cost = Ratio(new=new, old=old), D(100)
    told = D(math.floor(held * new / old))
    assert ratio_between(D(held), told, cost, ratio.price_of(cost + D(charged))) == ratio
