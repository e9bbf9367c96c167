"""What a contract and its venue take."""

from __future__ import annotations

from decimal import Decimal

import pytest

import oms
from oms.core.admit.amounts import value_of
from oms.core.admit.holding import con_ids_of
from oms.core.admit.rule import Denial
from oms.core.admit.venue import PriceStep, VenueRules
from oms.core.admit.venue_rules import denial_of
from oms.core.contracts import Contract

SPY = oms.Stock("SPY").evolve(con_id=756733)
LIMIT = oms.Limit("BUY", 10, "100")
BANDS = VenueRules(
    min_tick=Decimal("0.0001"),
    price_steps=(
        PriceStep(Decimal(0), Decimal("0.0001")),
        PriceStep(Decimal(1), Decimal("0.01")),
    ),
)


def _option(con_id: int) -> Contract:
    option = oms.Option("AAPL", "20261218", "190", "call")
    return option.evolve(con_id=con_id)


@pytest.mark.parametrize(
    ("price", "step"), [("0.5001", None), ("1.01", None), ("1.0101", "0.01"), ("0.50005", "0.0001")]
)
def test_the_step_of_the_price_band_counts_and_not_the_finest(price: str, step: str | None) -> None:
    denial = denial_of(oms.Limit("BUY", 1, price), SPY, BANDS)
    assert (denial.limit if denial else None) == step


@pytest.mark.parametrize(
    ("quantity", "limit"), [("0.5", "1"), ("10.5", "1"), ("1", None), ("1000", None)]
)
def test_a_quantity_keeps_the_least_size_and_the_increment(
    quantity: str, limit: str | None
) -> None:
    rules = VenueRules(min_size=Decimal(1), size_increment=Decimal(1))
    denial = denial_of(oms.Market("BUY", quantity), SPY, rules)
    assert (denial.limit if denial else None) == limit
    assert denial is None or denial.rule == "size"


def test_an_index_has_quotes_and_takes_no_orders() -> None:
    denial = denial_of(LIMIT, oms.Index("SPX", "CBOE"), VenueRules())
    assert denial == Denial(
        "contract",
        "IND",
        "BAG, CASH, FOP, FUT, OPT, STK",
        "SPX IND USD has quotes and cannot be ordered",
    )


def test_a_combo_is_worth_what_its_legs_are_and_touches_their_contracts() -> None:
    legs = [oms.Leg("BUY", _option(11)), oms.Leg("SELL", _option(12), 2)]
    combo = oms.Combo("AAPL", legs)
    assert con_ids_of(combo) == {11, 12}
    rules = VenueRules(units=Decimal(100))
    assert value_of(LIMIT, combo, rules, Decimal("-1.5")) == Decimal("1500.0")
    assert value_of(LIMIT, SPY, VenueRules(price_magnifier=100), Decimal(250)) == 25
