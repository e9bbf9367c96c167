"""Average cost, worked by hand."""

from __future__ import annotations

from decimal import Decimal

import pytest

from oms.core.fold.positions import unrealised_pnl
from oms.core.fold.records import add_commission
from tests.lives import play

D = Decimal


@pytest.mark.parametrize(
    ("name", "fills", "quantity", "average", "realised"),
    [
        ("opens", "fill 10 @ 100", 10, 100, 0),
        ("adds", "fill 10 @ 100\nfill 30 @ 104", 40, 103, 0),
        ("reduces", "fill 10 @ 100\nfill 4 @ 110 side=SELL", 6, 100, 40),
        ("closes", "fill 10 @ 100\nfill 10 @ 90 side=SELL", 0, 0, -100),
        ("crosses", "fill 10 @ 100\nfill 15 @ 110 side=SELL", -5, 110, 100),
        ("sells short", "fill 10 @ 100 side=SELL", -10, 100, 0),
        ("adds short", "fill 10 @ 100 side=SELL\nfill 10 @ 90 side=SELL", -20, 95, 0),
        ("covers", "fill 10 @ 100 side=SELL\nfill 4 @ 90", -6, 100, 40),
        ("crosses up", "fill 10 @ 100 side=SELL\nfill 15 @ 110", 5, 110, -100),
        ("is bought at no price", "fill 10 @ 0\nfill 10 @ 5 side=SELL", 0, 0, 50),
        ("is bought below zero", "fill 1 @ -2\nfill 1 @ 3 side=SELL", 0, 0, 5),
        ("is opened again", "fill 1 @ 5\nfill 1 @ 7 side=SELL\nfill 2 @ 9", 2, 9, 2),
    ],
)
def test_position_by_average_cost(
    name: str, fills: str, quantity: int, average: int, realised: int
) -> None:
    position = play(fills).position()
    found = (position.quantity, position.average_price, position.realised_pnl)
    assert found == (D(quantity), D(average), D(realised)), name


def test_multiplier_counts_in_money_and_not_in_prices() -> None:
    life = play("fill 2 @ 100 con=5\nfill 1 @ 110 side=SELL con=5")
    assert life.position(5).realised_pnl == D(10)
    future = life.position(5).contract.evolve(multiplier=D(50))
    position = life.position(5).evolve(contract=future)
    assert unrealised_pnl(position, D(120)) == D(1000)


def test_opening_cost_is_divided_by_the_multiplier() -> None:
    position = play("opening 2 5000").position()
    assert (position.quantity, position.average_price) == (D(2), D(5000))


def test_mark_at_the_average_leaves_nothing_unrealised() -> None:
    assert unrealised_pnl(play("fill 10 @ 100").position(), D(100)) == D(0)


def test_bust_of_the_only_fill_leaves_a_flat_position() -> None:
    position = play("fill 10 @ 100 exec=x.1.01\nfill 0 @ 100 exec=x.1.02").position()
    assert (position.quantity, position.average_price, position.live) == (D(0), D(0), False)


def test_commission_totals_are_kept_by_currency_in_order() -> None:
    assert add_commission((), "USD", D(0)) == ()
    totals = add_commission(add_commission((), "USD", D(1)), "CHF", D(2))
    assert totals == (("CHF", D(2)), ("USD", D(1)))
    assert add_commission(totals, "USD", D("0.5")) == (("CHF", D(2)), ("USD", D("1.5")))
