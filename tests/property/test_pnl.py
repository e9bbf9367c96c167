"""Money is conserved.

Goal: realised + unrealised P&L equals cash flow plus position at the mark; it does not matter
whether a fill came in one piece; a correction is as good as having had the right fill from the
start. Method: random fills, folded by the books and summed by hand.
"""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from oms.core.fold.positions import unrealised_pnl
from oms.core.fold.records import Position
from tests import strategies
from tests.lives import Life, play

#: Averages are rounded to 28 digits at every addition.
ROUNDING = Decimal("1e-18")

fills = st.tuples(st.sampled_from(("BUY", "SELL")), strategies.quantities, strategies.prices)


def positions_of(rows: list[str]) -> Position:
    """Return the position after lines of fills."""
    return play("\n".join(rows)).position()


def line(number: int, fill: tuple[str, Decimal, Decimal], revision: int = 1) -> str:
    """Return a fill as a line, under an execution id of its own."""
    side, quantity, price = fill
    return f"fill {quantity} @ {price} side={side} exec=x.{number}.0{revision}"


def near(one: Decimal, other: Decimal) -> bool:
    """Say whether two amounts differ by rounding only."""
    return abs(one - other) <= ROUNDING * max(abs(one), abs(other), Decimal(1))


@given(st.lists(fills, min_size=1, max_size=12), strategies.prices)
def test_profit_is_cash_flow_and_what_is_held(
    rows: list[tuple[str, Decimal, Decimal]], mark: Decimal
) -> None:
    position = positions_of([line(n, fill) for n, fill in enumerate(rows)])
    sign = {"BUY": 1, "SELL": -1}
    held = sum((sign[side] * quantity for side, quantity, _ in rows), Decimal(0))
    cash = sum((-sign[side] * quantity * price for side, quantity, price in rows), Decimal(0))
    assert position.quantity == held
    assert near(position.realised_pnl + unrealised_pnl(position, mark), cash + held * mark)


@given(st.lists(fills, max_size=6), fills, st.integers(1, 9))
def test_splitting_a_fill_is_neutral(
    rows: list[tuple[str, Decimal, Decimal]], last: tuple[str, Decimal, Decimal], tenths: int
) -> None:
    before = [line(n, fill) for n, fill in enumerate(rows)]
    side, quantity, price = last
    part = quantity * tenths / 10
    whole = positions_of([*before, line(90, last)])
    split = positions_of(
        [*before, line(90, (side, part, price)), line(91, (side, quantity - part, price))]
    )
    assert whole.quantity == split.quantity
    assert near(whole.average_price, split.average_price)
    assert near(whole.realised_pnl, split.realised_pnl)


@given(st.lists(fills, min_size=1, max_size=8), fills, st.integers(0, 7), st.booleans())
def test_correction_equals_having_had_the_right_fill_from_the_start(
    rows: list[tuple[str, Decimal, Decimal]],
    right: tuple[str, Decimal, Decimal],
    index: int,
    opened: bool,
) -> None:
    at = index % len(rows)
    start = ["opening 3 7"] if opened else []
    wrong_first = [line(n, fill) for n, fill in enumerate(rows)]
    from_the_start = list(wrong_first)
    from_the_start[at] = line(at, right, revision=2)
    corrected = positions_of([*start, *wrong_first, line(at, right, revision=2)])
    correct = positions_of([*start, *from_the_start])
    assert _money(corrected) == _money(correct)


@given(st.lists(fills, min_size=1, max_size=8))
def test_bust_of_everything_leaves_nothing(rows: list[tuple[str, Decimal, Decimal]]) -> None:
    life = Life().play("session")
    life.play("\n".join(line(n, fill) for n, fill in enumerate(rows)))
    busts = [(side, Decimal(0), price) for side, _, price in rows]
    life.play("\n".join(line(n, fill, revision=2) for n, fill in enumerate(busts)))
    assert _money(life.position()) == (Decimal(0), Decimal(0), Decimal(0))


def _money(position: Position) -> tuple[Decimal, Decimal, Decimal]:
    return position.quantity, position.average_price, position.realised_pnl
