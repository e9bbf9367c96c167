"""What options are worth, against figures of textbooks and against each other."""

from __future__ import annotations

from math import isclose

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oms.sim.broker.exchange.valuation import Terms, implied_volatility, value

SPOTS = st.floats(5, 5_000)
VOLATILITIES = st.floats(0.05, 2)
YEARS = st.floats(0.01, 3)


def test_a_call_at_the_money_has_the_price_and_the_greeks_of_the_formula() -> None:
    """100, 100, a year, 20 %, no interest: N(0.1) - N(-0.1) is 0.0796557."""
    valued = value(Terms(100, 100, 1, is_call=True), 0.2)
    assert isclose(valued.price, 7.965567, abs_tol=1e-5)
    assert isclose(valued.delta, 0.539828, abs_tol=1e-5)
    assert isclose(valued.gamma, 0.019848, abs_tol=1e-5)
    assert isclose(valued.vega, 0.396953, abs_tol=1e-5)
    assert isclose(valued.theta, -0.010875, abs_tol=1e-5)


@given(SPOTS, SPOTS, YEARS, VOLATILITIES)
def test_a_call_less_a_put_is_the_forward(
    spot: float, strike: float, years: float, volatility: float
) -> None:
    call = value(Terms(spot, strike, years, is_call=True), volatility)
    put = value(Terms(spot, strike, years, is_call=False), volatility)
    assert isclose(call.price - put.price, spot - strike, abs_tol=1e-6 * (spot + strike))
    assert isclose(call.delta - put.delta, 1, abs_tol=1e-9)
    assert (call.gamma, call.vega, call.theta) == (put.gamma, put.vega, put.theta)


@given(st.floats(0.8, 1.25), st.booleans(), st.floats(0.1, 2), st.floats(0.1, 1))
def test_the_implied_volatility_of_a_price_is_the_one_that_made_it(
    moneyness: float, is_call: bool, years: float, volatility: float
) -> None:
    terms = Terms(100, 100 * moneyness, years, is_call)
    found = implied_volatility(terms, value(terms, volatility).price)
    assert found is None or isclose(found, volatility, abs_tol=1e-3)


@pytest.mark.parametrize(
    ("terms", "price"),
    [
        (Terms(100, 50, 1, is_call=True), 50.0),
        (Terms(100, 50, 1, is_call=True), 101.0),
        (Terms(100, 100, 0, is_call=True), 1.0),
        (Terms(100, 100, 1, is_call=True), 0.0),
    ],
    ids=["no time value", "more than the stock", "expired", "free"],
)
def test_a_price_that_no_volatility_makes_has_none(terms: Terms, price: float) -> None:
    assert implied_volatility(terms, price) is None


def test_an_expired_option_is_worth_what_its_exercise_brings() -> None:
    assert value(Terms(110, 100, -1, is_call=True), 0.5).price == 10
    assert value(Terms(110, 100, 0, is_call=False), 0.5).price == 0
