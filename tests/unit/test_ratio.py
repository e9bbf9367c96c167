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
from oms.core.ratio import Ratio, ratios_between
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
    cost_told = true.price_of(cost).quantize(D("0.00000001"))
    (found,) = ratios_between(held, told, cost, cost_told, is_exact=True)
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
    assert ratios_between(D(-100), D(-33), D(10), D(30)) == (Ratio(new=1, old=3),)
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
    assert ratios_between(D(held), D(told), D(10), D(cost_told)) == (), why


def test_reverse_split_of_hundreds_into_one_is_found() -> None:
    found = ratios_between(D(5000), D(20), D("0.1"), D(25), is_exact=True)
    assert found == (Ratio(new=1, old=250),)


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
    assert ratios_between(D(held), told, cost, ratio.price_of(cost + D(charged))) == (ratio,)


@pytest.mark.parametrize("percent", [1, 2, 3, 4, 6, 7, 9, 11, 13, 17, 30, 67, 99])
@pytest.mark.parametrize("held", [300, -300, 1_000, 12_345, 101])
def test_dividend_of_whole_percents_is_found_by_exact_costs(held: int, percent: int) -> None:
    """103 for 100 is no 34 for 33, whose costs differ by 3 in 10,000."""
    ratio = Ratio.parse(f"{(100 + percent) // gcd(100, percent)}:{100 // gcd(100, percent)}")
    told = D(math.floor(abs(held) * (100 + percent) / 100)) * (1 if held > 0 else -1)
    cost = D("40.12")
    shown = ratio.price_of(cost).quantize(D("0.000001"))
    assert ratios_between(D(held), told, cost, shown, is_exact=True) == (ratio,)


@pytest.mark.parametrize(
    ("held", "told", "rate", "named"),
    [
        (300, 309, "1.0302", "103:100"),
        (50, 57, "1.1420", "8:7 57:50"),
        (300, 501, "1.6690", "167:100"),
        (1_000, 1_666, "1.6640", "5:3"),
        # No usual ratio fits.
        (891, 979, "1.0988", "89:81 100:91"),
    ],
)
def test_costs_that_are_not_exact_leave_the_usual_ratio_or_name_all(
    held: int, told: int, rate: str, named: str
) -> None:
    found = ratios_between(D(held), D(told), D(rate) * 100, D(100))
    assert {str(ratio) for ratio in found} >= set(named.split()), found
    assert len(found) == len(named.split()), found


@pytest.mark.parametrize("held", [1, 50, 99])
def test_whole_position_may_go_into_a_fraction_on_either_side(held: int) -> None:
    ratio = Ratio(new=1, old=100)
    assert ratio.may_leave(D(held), D(0))
    assert ratio.may_leave(D(-held), D(0))
    assert not ratio.may_leave(D(held), D(-1))
    assert not ratio.may_leave(D(0), D(0))
