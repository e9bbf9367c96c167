"""Adjustments have their place among the fills, and cash follows from positions."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from oms.core import codec
from oms.core.events import Adjustment, BooksAdjusted, CommissionReceived, NaturalKeyConflict
from oms.core.fold.positions import explained_cash
from oms.core.ratio import Ratio
from tests.lives import ACME, Life, play, working


def adjust(life: Life, quantity: str, **rest: Any) -> None:
    """Let a person book a change of the position."""
    wanted = Adjustment(account="DU1", contract=ACME, quantity=Decimal(quantity), **rest)
    life.apply(BooksAdjusted(adjustment=wanted, reason="seen"), actor="person:test")


def held(life: Life) -> tuple[Decimal, Decimal, Decimal]:
    """Return quantity, average price and realised P&L."""
    position = life.position()
    return position.quantity, position.average_price, position.realised_pnl


def test_split_multiplies_the_quantity_and_realises_nothing() -> None:
    life = working("fill 10 @ 40")
    adjust(life, "30", ratio=Ratio(new=4, old=1))
    assert held(life) == (40, 10, 0)
    assert explained_cash(life.position()) == -400


def test_change_without_a_price_goes_at_the_average() -> None:
    life = working("fill 10 @ 40")
    adjust(life, "-4")
    assert held(life) == (6, 40, 0)
    assert explained_cash(life.position()) == -400


def test_expiry_at_nothing_realises_the_loss_without_cash() -> None:
    life = working("fill 10 @ 40")
    adjust(life, "-10", price=Decimal(0))
    assert held(life) == (0, 0, -400)
    assert explained_cash(life.position()) == -400


def test_assignment_moves_cash_at_the_strike() -> None:
    life = working("fill 10 @ 40")
    adjust(life, "100", price=Decimal(35), moves_cash=True)
    assert explained_cash(life.position()) == -400 - 3500


def test_correction_of_an_older_fill_keeps_the_adjustment_in_its_place() -> None:
    life = working("fill 10 @ 40 exec=x.1.01")
    adjust(life, "30", ratio=Ratio(new=4, old=1))
    life.play("fill 20 @ 11 exec=x.2.01\nfill 10 @ 44 exec=x.1.02")
    assert held(life) == (60, 11, 0)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["BUY", "SELL"]),
            st.integers(1, 50),
            st.decimals(Decimal("0.01"), Decimal(500), places=2),
        ),
        max_size=8,
    )
)
def test_cash_that_a_position_explains_is_what_its_fills_paid(
    fills: list[tuple[str, int, Decimal]],
) -> None:
    life = play("intent BUY 1000 LMT 10\nsent")
    for number, (side, quantity, price) in enumerate(fills):
        life.play(f"fill {quantity} @ {price} exec=x.{number}.01 side={side}")
    paid = sum((-q * p if s == "BUY" else q * p for s, q, p in fills), Decimal(0))
    assert abs(explained_cash(life.position()) - paid) < Decimal("1e-15")


def test_second_commission_for_one_execution_counts_and_the_first_is_remembered() -> None:
    life = working("fill 10 @ 40 exec=x.1.01\ncommission x.1.01 1")
    again = CommissionReceived(exec_id="x.1.01", commission=Decimal(3), currency="USD")
    life.apply(
        NaturalKeyConflict(
            key="commission:x.1.01",
            stored_sequence=life.last,
            type_name="CommissionReceived",
            payload=codec.encode(again),
        )
    )
    (fill,) = life.fills()
    assert (fill.commission, fill.commission_was) == (3, 1)
    assert life.position().commissions == (("USD", Decimal(3)),)
