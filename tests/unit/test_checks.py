"""Checks before sending: each rule names what it saw and what it allows."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from oms.core.contracts import Stock
from oms.core.events import Finding, Terms
from oms.core.order_rules import Denial, VenueRules, validate
from oms.core.order_types import Limit, Market, Stop, StopLimit
from oms.core.records import BreakCase, SystemRecord
from oms.errors import InvalidRequest
from oms.service.checks import Limits, Proposal, check, check_terms

SPY = Stock("SPY").model_copy(update={"con_id": 756733})
READY = SystemRecord(session_epoch=1, connected=True, ready=True)
NOW = datetime(2026, 11, 20, 15, 0, tzinfo=UTC)


def proposal(terms: Terms) -> Proposal:
    return Proposal(
        account="DU1",
        contract=SPY,
        terms=terms,
        rules=VenueRules(min_tick=Decimal("0.01")),
        managed_accounts=("DU1", "DU2"),
        system=READY,
    )


def case(severity: str, account: str = "DU1", con_id: int = 756733) -> BreakCase:
    finding = Finding(
        result="break",
        subject="position",
        break_class="quantity_drift",
        severity=severity,
        key="quantity_drift:x",
        account=account,
        con_id=con_id,
    )
    return BreakCase("B1", finding, "open", opened_at=NOW, opened_sequence=1, updated_at=NOW)


def test_an_order_that_keeps_every_rule_passes() -> None:
    assert check(proposal(Limit("BUY", 100, "512.35")), Limits()) is None


def test_price_off_tick_is_denied_with_the_tick() -> None:
    denial = check(proposal(Limit("BUY", 100, "512.355")), Limits())
    assert denial == Denial(
        "tick", "512.355", "0.01", "limit price 512.355 is not a multiple of the minimum tick 0.01"
    )


def test_a_contract_without_a_known_tick_takes_any_price() -> None:
    assert check_terms(Limit("BUY", 1, "1.2345"), SPY, VenueRules(), Limits()) is None


@pytest.mark.parametrize("price", ["0", "-5"])
def test_a_stock_at_or_below_zero_is_denied_and_a_future_is_not(price: str) -> None:
    denied = check(proposal(Limit("BUY", 1, price)), Limits())
    assert denied is not None
    assert (denied.rule, denied.value) == ("price", price)
    future = SPY.model_copy(update={"sec_type": "FUT"})
    assert check_terms(Limit("BUY", 1, price), future, VenueRules(), Limits()) is None


def test_halted_trading_denies_before_anything_else() -> None:
    halted = replace(proposal(Limit("BUY", 1, "0.001")), system=READY.evolve(halted=True))
    denied = check(halted, Limits())
    assert denied is not None
    assert denied.rule == "halt"


@pytest.mark.parametrize(
    ("system", "rule"),
    [
        (SystemRecord(), "connected"),
        (SystemRecord(connected=True), "reconciled"),
        (SystemRecord(connected=True, ready=True, gap_sequence=7, gap_cause="1100"), "connected"),
    ],
)
def test_no_order_leaves_before_the_books_were_compared(system: SystemRecord, rule: str) -> None:
    denied = check(replace(proposal(Market("BUY", 1)), system=system), Limits())
    assert denied is not None
    assert denied.rule == rule


def test_unknown_account_is_denied_with_the_known_ones() -> None:
    denied = check(replace(proposal(Market("BUY", 1)), account="DU9"), Limits())
    assert denied == Denial("account", "DU9", "DU1, DU2", "account 'DU9' is not one of DU1, DU2")


def test_account_outside_the_settings_is_denied_although_the_gateway_manages_it() -> None:
    denied = check(proposal(Market("BUY", 1)), Limits(accounts=("DU2",)))
    assert denied is not None
    assert (denied.rule, denied.limit) == ("account", "DU2")


def test_quantity_and_notional_limits_name_value_and_limit() -> None:
    limits = Limits(order_quantity_max=Decimal(100), order_notional_max=Decimal(5000))
    quantity = check(proposal(Limit("BUY", 101, "1.00")), limits)
    notional = check(proposal(Limit("BUY", 100, "50.01")), limits)
    assert quantity is not None
    assert (quantity.rule, quantity.value, quantity.limit) == ("quantity", "101", "100")
    assert notional is not None
    assert (notional.rule, notional.value, notional.limit) == ("notional", "5001", "5000")


def test_open_break_of_high_severity_closes_the_gate_for_its_account_and_contract_only() -> None:
    order = proposal(Market("SELL", 1))
    denied = check(replace(order, open_breaks=(case("high"),)), Limits())
    assert denied is not None
    assert (denied.rule, denied.value) == ("gate", "B1")
    elsewhere = (case("medium"), case("high", account="DU2"), case("high", con_id=1))
    assert check(replace(order, open_breaks=elsewhere), Limits()) is None


@pytest.mark.parametrize(
    "terms",
    [
        Market("BUY", 0),
        Market("BUY", "-1"),
        Market("BUY", "1e400"),
        Market("BUY", "1e-13"),
        Limit("BUY", 1, "1e13"),
        Market("BUY", 1, tif="WHENEVER"),
        Terms(side="BUY", quantity=Decimal(1), order_type="LMT"),
        Terms(side="BUY", quantity=Decimal(1), order_type="STP"),
        Terms(side="BUY", quantity=Decimal(1), order_type="MKT", limit_price=Decimal(1)),
        Terms(side="BUY", quantity=Decimal(1), order_type="PEG"),
    ],
)
def test_terms_that_cannot_mean_an_order_are_refused(terms: Terms) -> None:
    with pytest.raises(InvalidRequest):
        validate(terms)


@pytest.mark.parametrize(
    "terms",
    [Market("BUY", 1), Limit("SELL", "0.5", "1"), Stop("SELL", 1, 9), StopLimit("BUY", 1, 9, 10)],
)
def test_terms_of_every_order_type_are_accepted(terms: Terms) -> None:
    validate(terms)


@pytest.mark.parametrize("wrong", [1.5, True, "12x", "NaN", None, Decimal("Infinity")])
def test_a_quantity_that_is_not_an_exact_number_is_refused(wrong: object) -> None:
    with pytest.raises(InvalidRequest, match="quantity"):
        Market("BUY", wrong)  # type: ignore[arg-type]
