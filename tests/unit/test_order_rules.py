"""What can mean an order, what a contract takes, and which terms count as different."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

import oms
from oms.broker.wire_forms import wire_time
from oms.core.admit.exposure import value_of
from oms.core.admit.readiness import con_ids_of
from oms.core.admit.rule import Denial
from oms.core.admit.validity import check_order_id, validate
from oms.core.admit.venue import PriceStep, VenueRules
from oms.core.admit.venue_rules import denial_of
from oms.core.contracts import Contract
from oms.core.events import OpenOrderReceived, Terms
from oms.core.order_types import changed
from oms.core.terms import differing, is_reduced
from oms.errors import InvalidRequest

SPY = oms.Stock("SPY").model_copy(update={"con_id": 756733})
TILL = datetime(2026, 12, 18, 21, 0, tzinfo=UTC)
LIMIT = oms.Limit("BUY", 10, "100")
TRAIL = oms.TrailingStop("SELL", 10, amount="2")
BANDS = VenueRules(
    min_tick=Decimal("0.0001"),
    price_steps=(
        PriceStep(Decimal(0), Decimal("0.0001")),
        PriceStep(Decimal(1), Decimal("0.01")),
    ),
)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: oms.TrailingStop("SELL", 1), "exactly one of them; found neither"),
        (lambda: oms.TrailingStop("SELL", 1, amount="1", percent="1"), "and trailing percent"),
        (lambda: oms.TrailingStop("SELL", 1, percent="100"), "below 100"),
        (lambda: oms.TrailingStop("SELL", 1, amount="0"), "above zero"),
        (
            lambda: oms.TrailingStopLimit("SELL", 1, amount="1", stop="5", limit_offset="-1"),
            "not be below zero",
        ),
        (lambda: _with(LIMIT, trail_amount=Decimal(1)), "LMT order takes no trailing amount"),
        (lambda: _with(LIMIT, limit_offset=Decimal(1)), "LMT order takes no limit offset"),
        (lambda: _with(TRAIL, limit_offset=Decimal(1)), "TRAIL order takes no limit offset"),
        (lambda: _with(TRAIL, stop_price=Decimal(1)), "TRAIL order takes no stop price"),
        (lambda: oms.Stop("BUY", 1, "5", tif="OPG"), "opening auction"),
        (lambda: _with(oms.MarketOnClose("BUY", 1), tif="GTC"), "today's close"),
        (lambda: oms.Limit("BUY", 1, "5", tif="GTD"), "found none"),
        (lambda: oms.Limit("BUY", 1, "5", good_till=TILL), "found one with tif DAY"),
        (lambda: oms.Limit("BUY", 1, "5", tif="OPG", outside_rth=True), "auction"),
        (lambda: oms.Limit("BUY", 5, "5", min_quantity=6), "above the quantity 5"),
        (lambda: oms.Limit("BUY", 5, "5", display_size="1.5"), "a whole number"),
        (lambda: oms.Limit("BUY", 5, "5", display_size=0), "above zero"),
        (lambda: oms.Limit("BUY", 5, "5", min_quantity=2, all_or_none=True), "exclude"),
        (lambda: oms.Limit("BUY", 5, "5", display_size=2, hidden=True), "no display size"),
        (lambda: _with(LIMIT, oca_group="g"), "go together"),
        (lambda: _with(LIMIT, oca_group="g", oca_type=4), "1, 2 or 3"),
        (lambda: _with(LIMIT, oca_group="g\0", oca_type=1), "printable"),
    ],
)
def test_terms_that_cannot_mean_an_order_are_refused_with_the_reason(
    make: Callable[[], Terms], words: str
) -> None:
    with pytest.raises(InvalidRequest, match=words):
        validate(make())


def _with(terms: Terms, **changes: Any) -> Terms:
    return terms.model_copy(update=changes)


@pytest.mark.parametrize("text", ["1_000", "1e", "", "0x10", "١٢", "1,5", "--1"])
def test_a_number_that_a_person_would_not_write_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest, match="quantity"):
        oms.Market("BUY", text)


@pytest.mark.parametrize("key", ["", "a b", "é", "x" * 65, "a\0b", "a/b"])
def test_a_key_that_could_not_travel_to_ib_and_back_is_refused(key: str) -> None:
    with pytest.raises(InvalidRequest, match="cannot travel"):
        check_order_id(key)


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


def _option(con_id: int) -> Contract:
    option = oms.Option("AAPL", "20261218", "190", "call")
    return option.model_copy(update={"con_id": con_id})


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: oms.Forex("EUREUR"), "two different currencies"),
        (lambda: oms.Forex("EUR"), "two different currencies"),
        (lambda: oms.Option("A", "2026", "1", "C"), "yyyymm or yyyymmdd"),
        (lambda: oms.Future("ES", "202613", "CME"), "yyyymm or yyyymmdd"),
        (lambda: oms.Option("A", "20261218", "1", "X"), "C or P"),
        (lambda: oms.Option("A", "20261218", 1.5, "C"), "float"),
        (lambda: oms.Stock(" "), "needs a symbol"),
        (lambda: oms.Leg("BUY", oms.Stock("A")), "without a con_id"),
        (lambda: oms.Leg("BUY", SPY, 0), "from 1 on"),
        (lambda: oms.Combo("A", [oms.Leg("BUY", SPY)]), "2 to 8 legs"),
        (lambda: oms.Combo("A", [oms.Leg("BUY", SPY), oms.Leg("SELL", SPY)]), "more than one leg"),
        (lambda: oms.Future("ES", "202612", "CME", multiplier=0), "above zero"),
    ],
)
def test_a_contract_that_cannot_be_is_refused_with_the_reason(
    make: Callable[[], object], words: str
) -> None:
    with pytest.raises(InvalidRequest, match=words):
        make()


@pytest.mark.parametrize("pair", ["EURUSD", "eur.usd", "EUR/USD"])
def test_a_currency_pair_is_read_in_every_usual_spelling(pair: str) -> None:
    found = oms.Forex(pair)
    assert (found.symbol, found.currency, found.sec_type) == ("EUR", "USD", "CASH")


def test_a_trailing_percentage_takes_the_place_of_the_amount_and_the_reverse() -> None:
    percent = changed(TRAIL, {"trail_percent": "5"})
    assert (percent.trail_amount, percent.trail_percent) == (None, 5)
    amount = changed(percent, {"trail_amount": "3"})
    assert (amount.trail_amount, amount.trail_percent) == (3, None)


def test_another_time_in_force_takes_the_end_away() -> None:
    dated = oms.Limit("BUY", 1, "5", tif="GTD", good_till=TILL)
    validate(changed(dated, {"tif": "GTC"}))
    assert changed(dated, {"limit": "6"}).good_till == TILL


def test_a_change_of_nothing_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="a change needs one of"):
        changed(LIMIT, {"limit": None})


def test_the_end_of_an_order_goes_out_in_utc_whatever_zone_it_was_given_in() -> None:
    assert wire_time(oms.Limit("BUY", 1, "5", tif="GTD", good_till=TILL)) == "20261218-21:00:00"


def shown(terms: Terms, **changes: Any) -> OpenOrderReceived:
    """What IB shows of an order on these terms."""
    fields = terms.model_dump() | changes
    return OpenOrderReceived(
        broker_order_id=1, client_id=7, perm_id=9, account="DU1", contract=SPY,
        status="Submitted", **fields,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("side", "SELL"),
        ("quantity", Decimal(11)),
        ("order_type", "MIT"),
        ("limit_price", Decimal(101)),
        ("tif", "GTC"),
        ("outside_rth", True),
        ("oca_group", "x"),
        ("all_or_none", True),
        ("min_quantity", Decimal(5)),
        ("hidden", True),
    ],
)
def test_a_term_that_ib_has_otherwise_is_named(name: str, value: object) -> None:
    assert differing(LIMIT, shown(LIMIT)) == ()
    assert differing(LIMIT, shown(LIMIT, **{name: value})) == (name,)


@pytest.mark.parametrize(
    ("terms", "name", "value"),
    [
        (TRAIL, "trail_amount", Decimal(3)),
        (oms.TrailingStop("SELL", 10, percent="2"), "trail_percent", Decimal(3)),
        (oms.Limit("BUY", 10, "5", display_size=2), "display_size", None),
        (oms.Limit("BUY", 10, "5", tif="GTD", good_till=TILL), "good_till", TILL.replace(hour=20)),
        (_with(LIMIT, oca_group="g", oca_type=1), "oca_type", 3),
        (oms.Stop("BUY", 10, "5"), "stop_price", Decimal(6)),
    ],
)
def test_what_was_asked_for_must_be_what_ib_has(terms: Terms, name: str, value: object) -> None:
    assert differing(terms, shown(terms, **{name: value})) == (name,)


@pytest.mark.parametrize(
    ("terms", "name", "value"),
    [
        (oms.Market("BUY", 10), "limit_price", Decimal("190.5")),
        (TRAIL, "trail_stop_price", Decimal("188.5")),
        (TRAIL, "limit_price", Decimal(0)),
        (LIMIT, "display_size", Decimal(10)),
        (oms.Limit("BUY", 10, "5", tif="GTD", good_till=TILL), "good_till", None),
    ],
)
def test_what_ib_fills_in_by_itself_is_no_difference(
    terms: Terms, name: str, value: object
) -> None:
    assert differing(terms, shown(terms, **{name: value})) == ()


@pytest.mark.parametrize(
    ("terms", "parent", "quantity", "reduced"),
    [
        (_with(LIMIT, oca_group="g", oca_type=2), "", 6, True),
        (_with(LIMIT, oca_group="g", oca_type=1), "", 6, False),
        (_with(LIMIT, oca_group="g", oca_type=3), "", 12, False),
        (LIMIT, "entry", 6, True),
        (LIMIT, "", 6, False),
    ],
)
def test_only_a_reducing_group_and_a_bracket_make_an_order_smaller(
    terms: Terms, parent: str, quantity: int, reduced: bool
) -> None:
    event = shown(terms, quantity=Decimal(quantity))
    assert is_reduced(terms, parent, event) is reduced
