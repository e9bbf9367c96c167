"""The rules before sending: each names what it saw and what it allows."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from oms.core.admit.limits import Limits, Scoped
from oms.core.admit.proposal import Proposal, Recent, likeness
from oms.core.admit.rule import Denial
from oms.core.admit.rules import RULES, check, check_change, in_force, rulings
from oms.core.admit.validity import validate
from oms.core.admit.venue import VenueRules
from oms.core.contracts import ComboLeg, Contract, Stock
from oms.core.events import Finding, Terms
from oms.core.fold.records import Anomaly, BreakCase, SystemRecord
from oms.core.order_types import Limit, Market, Stop, StopLimit, TrailingStop, TrailingStopLimit
from oms.errors import InvalidRequest

SPY = Stock("SPY").evolve(con_id=756733)
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
    return BreakCase(
        break_id="B1",
        finding=finding,
        status="open",
        opened_at=NOW,
        opened_sequence=1,
        updated_at=NOW,
    )


def test_an_order_that_keeps_every_rule_passes() -> None:
    assert check(proposal(Limit("BUY", 100, "512.35")), Limits()) is None


def test_price_off_tick_is_denied_with_the_tick() -> None:
    denial = check(proposal(Limit("BUY", 100, "512.355")), Limits())
    assert denial == Denial(
        "tick", "512.355", "0.01", "limit price 512.355 is not a multiple of the minimum tick 0.01"
    )


def test_a_contract_without_a_known_tick_takes_any_price() -> None:
    order = replace(proposal(Limit("BUY", 1, "1.2345")), rules=VenueRules())
    assert check(order, Limits()) is None


@pytest.mark.parametrize("price", ["0", "-5"])
def test_a_stock_at_or_below_zero_is_denied_and_a_future_is_not(price: str) -> None:
    denied = check(proposal(Limit("BUY", 1, price)), Limits())
    assert denied is not None
    assert (denied.rule, denied.value) == ("price", price)
    future = SPY.evolve(sec_type="FUT")
    assert (
        check(
            replace(proposal(Limit("BUY", 1, price)), contract=future, rules=VenueRules()), Limits()
        )
        is None
    )


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
    limits = Limits(order_quantity_max=Scoped.read("100"), order_notional_max=Scoped.read("5000"))
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


def left_out(account: str = "", con_id: int = 0, symbol: str = "") -> Anomaly:
    return Anomaly(
        sequence=7, kind="set_aside", text="x", account=account, con_id=con_id, symbol=symbol
    )


@pytest.mark.parametrize(
    ("event", "closed"),
    [
        (left_out(), True),
        (left_out("DU1"), True),
        (left_out("DU1", 756733), True),
        (left_out("", 756733, "SPY"), True),
        (left_out("DU1", 0, "SPY"), True),
        (left_out("DU2"), False),
        (left_out("DU1", 1), False),
        (left_out("DU1", 1, "SPY"), False),
        (left_out("DU1", 0, "KO"), False),
        (left_out("", 0, "KO"), False),
    ],
)
def test_event_left_out_closes_all_that_it_can_be_about(event: Anomaly, closed: bool) -> None:
    order = replace(proposal(Market("BUY", 1)), set_aside=(event,))
    denied = check(order, Limits())
    assert (None if denied is None else (denied.rule, denied.value)) == (
        ("gate", "event 7") if closed else None
    )


def test_event_left_out_in_a_symbol_closes_every_combo_of_its_account() -> None:
    legs = (ComboLeg(con_id=1, side="BUY"), ComboLeg(con_id=2, side="SELL"))
    combo = Contract(symbol="USD", sec_type="BAG", legs=legs)
    order = replace(proposal(Market("BUY", 1)), contract=combo)
    denied = check(replace(order, set_aside=(left_out("DU1", 0, "KO"),)), Limits())
    assert denied is not None
    assert denied.rule == "gate"
    assert check(replace(order, set_aside=(left_out("DU1", 3, "KO"),)), Limits()) is None


def test_a_closing_order_passes_an_open_break_and_exposure_judges_how_much_it_takes() -> None:
    held = {756733: (Decimal(10),)}
    order = replace(proposal(Market("SELL", 10)), open_breaks=(case("high"),), closing=True)
    assert check(replace(order, held=held), Limits()) is None
    denied = check(replace(order, held=held, terms=Market("SELL", 11)), Limits())
    assert denied is not None
    assert (denied.rule, denied.value) == ("exposure", "-1")


@pytest.mark.parametrize(
    "terms",
    [
        Market("BUY", 0),
        Market("BUY", "-1"),
        Market("BUY", 1).evolve(quantity=Decimal("1e13")),
        Market("BUY", 1).evolve(quantity=Decimal("1e-13")),
        Limit("BUY", 1, 1).evolve(limit_price=Decimal("1e13")),
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


# ── limits with exceptions ───────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("100", "100"),
        ("100, symbol:SPY=7", "7"),
        ("100, symbol:spy=7", "7"),
        ("100, con_id:756733=9, symbol:SPY=7", "9"),
        ("100, currency:USD=5, sec_type:STK=6, account:DU1=8", "8"),
        ("100, currency:USD=5, sec_type:STK=6", "6"),
        ("100, symbol:AAPL=7, account:DU2=8, currency:EUR=5", "100"),
        ("symbol:AAPL=7", None),
        ("", None),
    ],
)
def test_the_most_specific_entry_of_a_limit_counts(text: str, limit: str | None) -> None:
    found = Scoped.read(text).of("DU1", SPY)
    assert found == (None if limit is None else Decimal(limit))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("0", "0 must be more than 0"),
        ("many", "'many' is not a decimal number"),
        ("1, 2", "'2' is a second number without a scope"),
        ("AAPL=3", "'AAPL=3' names no scope; write one of con_id:NAME, symbol:NAME"),
        ("venue:ARCA=3", "'venue:ARCA=3' names no scope"),
        ("symbol:A=3, symbol:a=4", "symbol:A is there twice"),
        ("symbol:A=-3", "-3 must be more than 0"),
    ],
)
def test_a_limit_that_cannot_be_read_is_refused_with_the_part(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=re.escape(reason)):
        Scoped.read(text)


def test_a_limit_is_written_as_it_is_read() -> None:
    text = "100, symbol:SPY=7.5, account:DU1=8"
    assert str(Scoped.read(text)) == text


# ── each rule of the table ───────────────────────────────────────────────────────────────────────


def percent(text: str = "5") -> Limits:
    return Limits(order_collar_percent=Scoped.read(text))


def at(terms: Terms, market: str | None = "200", **more: Any) -> Proposal:
    price = None if market is None else Decimal(market)
    return replace(proposal(terms), reference_price=price, **more)


@pytest.mark.parametrize(
    ("terms", "text"),
    [
        (Limit("BUY", 1, "210.01"), "limit price 210.01 is more than 5 % above the market at 200"),
        (Limit("SELL", 1, "189.99"), "limit price 189.99 is more than 5 % below the market at 200"),
        (Stop("BUY", 1, "189.99"), "stop price 189.99 is more than 5 % below the market at 200"),
        (Stop("SELL", 1, "210.01"), "stop price 210.01 is more than 5 % above the market at 200"),
        (
            StopLimit("BUY", 1, "220", "231.01"),
            "limit price 231.01 is more than 5 % above its stop at 220",
        ),
        (
            TrailingStop("SELL", 1, amount="2", stop="211"),
            "first stop price 211 is more than 5 % above the market at 200",
        ),
    ],
)
def test_a_price_too_far_beyond_the_market_is_denied(terms: Terms, text: str) -> None:
    denied = check(at(terms), percent())
    assert denied is not None
    assert (denied.rule, denied.limit, denied.text) == ("collar", "5 %", text)


@pytest.mark.parametrize(
    "terms",
    [
        Limit("BUY", 1, "210"),
        Limit("BUY", 1, "1"),
        Limit("SELL", 1, "190"),
        Limit("SELL", 1, "2000"),
        Stop("SELL", 1, "100"),
        Stop("BUY", 1, "300"),
        StopLimit("BUY", 1, "300", "301"),
        TrailingStop("SELL", 1, percent="2"),
        Market("BUY", 1),
    ],
)
def test_a_price_that_waits_for_the_market_passes_the_collar(terms: Terms) -> None:
    assert check(at(terms), percent()) is None


def test_an_exit_is_held_against_the_price_of_its_entry() -> None:
    exit_ = at(Limit("SELL", 1, "110"), entry_price=Decimal(100))
    assert check(exit_, percent()) is None
    assert check(at(Limit("SELL", 1, "110")), percent()) is not None


def test_a_collar_without_a_quote_refuses_unless_it_may_pass() -> None:
    order = at(Limit("BUY", 1, "210"), None)
    denied = check(order, percent())
    assert denied is not None
    assert (denied.rule, denied.value, denied.limit) == ("collar", "no quote", "5 %")
    assert check(order, replace(percent(), collar_without_quote="pass")) is None
    assert check(at(Market("BUY", 1), None), percent()) is None


def test_a_market_order_is_valued_at_the_market_and_denied_without_one() -> None:
    limits = Limits(order_notional_max=Scoped.read("2000"))
    assert check(at(Market("BUY", 10)), limits) is None
    above = check(at(Market("BUY", 11)), limits)
    assert above is not None
    assert (above.value, above.limit) == ("2200", "2000")
    unknown = check(at(Market("BUY", 1), None), limits)
    assert unknown is not None
    assert (unknown.rule, unknown.value, unknown.limit) == ("notional", "unknown", "2000")


@pytest.mark.parametrize(
    ("terms", "value"),
    [
        (Limit("SELL", 10, "1"), "2000"),
        (Limit("SELL", 10, "250"), "2500"),
        (Limit("BUY", 10, "150"), "1500"),
        (Stop("BUY", 10, "1"), "2000"),
        (Stop("BUY", 10, "250"), "2500"),
        (Stop("SELL", 10, "150"), "1500"),
        (StopLimit("SELL", 10, stop="150", limit="1"), "2000"),
        (StopLimit("BUY", 10, stop="1", limit="150"), "1500"),
        (TrailingStop("SELL", 10, amount="1", stop="2"), "2000"),
        (TrailingStopLimit("BUY", 10, amount="1", stop="2", limit_offset="1"), "2000"),
    ],
)
def test_an_order_that_can_trade_dearer_than_its_price_is_valued_at_the_market(
    terms: Terms, value: str
) -> None:
    denied = check(at(terms), Limits(order_notional_max=Scoped.read("1000")))
    assert denied is not None
    assert (denied.rule, denied.value, denied.limit) == ("notional", value, "1000")


def test_an_exit_is_valued_where_its_entry_fills() -> None:
    limits = Limits(order_notional_max=Scoped.read("1000"))
    exit_order = replace(at(Limit("SELL", 10, "95")), entry_price=Decimal(90))
    assert check(exit_order, limits) is None


def test_the_value_of_an_order_counts_multiplier_magnifier_and_currency() -> None:
    limits = Limits(order_notional_max=Scoped.read("1000, currency:JPY=100000"))
    option = SPY.evolve(sec_type="OPT", multiplier=Decimal(100))
    order = replace(proposal(Limit("BUY", 3, "5.00")), contract=option)
    denied = check(order, limits)
    assert denied is not None
    assert (denied.rule, denied.value) == ("notional", "1500")
    pence = VenueRules(price_magnifier=100)
    assert check(replace(order, rules=pence), limits) is None
    yen = option.evolve(currency="JPY")
    assert check(replace(order, contract=yen), limits) is None


def test_a_combo_whose_price_is_worth_nobody_knows_what_cannot_be_valued() -> None:
    legs = (ComboLeg(con_id=1, side="BUY"), ComboLeg(con_id=2, side="SELL"))
    combo = SPY.evolve(sec_type="BAG", legs=legs)
    order = replace(proposal(Limit("BUY", 1, "5.00")), contract=combo)
    denied = check(order, Limits(order_notional_max=Scoped.read("1000000")))
    assert denied is not None
    assert (denied.rule, denied.value) == ("notional", "unknown")


@pytest.mark.parametrize(
    ("changed", "limits", "value", "text"),
    [
        ({"account": "U1"}, Limits(), "U1", "account U1 is a live one while OMS_MODE is paper"),
        ({}, Limits(port=7496), "port 7496", "port 7496 is the one of a live gateway"),
        ({}, Limits(port=4001), "port 4001", "port 4001 is the one of a live gateway"),
        ({}, Limits(mode="live", port=4002), "port 4002", "port 4002 is the one of a paper"),
    ],
)
def test_paper_and_live_are_kept_apart_by_account_and_port(
    changed: dict[str, Any], limits: Limits, value: str, text: str
) -> None:
    order = replace(proposal(Market("BUY", 1)), managed_accounts=("DU1", "U1"), **changed)
    denied = check(order, limits)
    assert denied is not None
    assert (denied.rule, denied.value, denied.limit) == ("mode", value, limits.mode)
    assert denied.text.startswith(text)


def test_a_live_account_passes_under_live_and_a_paper_one_under_paper() -> None:
    order = replace(proposal(Market("BUY", 1)), managed_accounts=("DU1", "U1"))
    assert check(replace(order, account="U1"), Limits(mode="live", port=4001)) is None
    assert check(order, Limits(port=4002)) is None


@pytest.mark.parametrize("allowed", [("spy",), ("AAPL", "756733")])
def test_contracts_and_asset_classes_are_allowed_by_name(allowed: tuple[str, ...]) -> None:
    order = proposal(Market("BUY", 1))
    assert check(order, Limits(contracts=allowed, sec_types=("STK",))) is None
    denied = check(order, Limits(contracts=("AAPL", "MSFT")))
    assert denied == Denial(
        "contracts", "SPY", "AAPL, MSFT", "SPY (con id 756733) is not one of AAPL, MSFT"
    )
    denied = check(order, Limits(sec_types=("FUT", "OPT")))
    assert denied == Denial(
        "sec_types", "STK", "FUT, OPT", "asset class STK is not one of FUT, OPT"
    )


def recent(terms: Terms, age: float, order_id: str = "before") -> Recent:
    return Recent(order_id, NOW - timedelta(seconds=age), likeness("DU1", SPY, terms))


def test_one_order_too_many_in_a_minute_is_denied() -> None:
    limits = Limits(orders_per_minute_max=2)
    order = replace(proposal(Market("BUY", 1)), now=NOW)
    lately, long_ago = recent(Market("BUY", 2), 59), recent(Market("BUY", 2), 61)
    assert check(replace(order, recent=(long_ago, lately)), limits) is None
    denied = check(replace(order, recent=(lately, lately)), limits)
    assert denied is not None
    assert (denied.rule, denied.value, denied.limit) == ("rate", "3", "2")
    beside = check(replace(order, recent=(lately,), ahead=1), limits)
    assert beside is not None
    assert beside.rule == "rate"


def test_one_order_too_many_at_work_in_a_contract_is_denied() -> None:
    limits = Limits(open_orders_max=Scoped.read("5, symbol:SPY=2"))
    order = proposal(Market("BUY", 1))
    assert check(replace(order, open_orders=1), limits) is None
    denied = check(replace(order, open_orders=2), limits)
    assert denied is not None
    assert (denied.rule, denied.value, denied.limit) == ("open_orders", "3", "2")


def test_the_same_order_again_within_seconds_is_denied_with_the_first() -> None:
    limits = Limits(duplicate_window=timedelta(seconds=5))
    terms = Limit("BUY", 100, "512.35")
    order = replace(proposal(terms), now=NOW, recent=(recent(terms, 4.5),))
    denied = check(order, limits)
    assert denied is not None
    assert (denied.rule, denied.value, denied.limit) == ("duplicate", "before", "5 s")
    assert check(replace(order, recent=(recent(terms, 5.5),)), limits) is None
    assert check(order, Limits()) is None


@pytest.mark.parametrize(
    "other",
    [
        Limit("SELL", 100, "512.35"),
        Limit("BUY", 101, "512.35"),
        Limit("BUY", 100, "512.36"),
        Market("BUY", 100),
        Stop("BUY", 100, "512.35"),
    ],
)
def test_an_order_that_differs_in_side_quantity_type_or_price_is_no_duplicate(
    other: Terms,
) -> None:
    seen = recent(other, 1)
    order = replace(proposal(Limit("BUY", 100, "512.35")), now=NOW, recent=(seen,))
    assert check(order, Limits(duplicate_window=timedelta(seconds=5))) is None


# ── the table as a whole ─────────────────────────────────────────────────────────────────────────


def test_a_change_meets_the_rules_about_what_it_asks_for_and_no_others() -> None:
    limits = replace(percent(), order_quantity_max=Scoped.read("100"), orders_per_minute_max=1)
    seen = (recent(Market("BUY", 1), 1),)
    order = at(Limit("BUY", 100, "205"), now=NOW, recent=seen, open_breaks=(case("high"),))
    assert check_change(order, limits) is None
    for terms, rule in ((Limit("BUY", 101, "205"), "quantity"), (Limit("BUY", 1, "211"), "collar")):
        denied = check_change(replace(order, terms=terms), limits)
        assert denied is not None
        assert denied.rule == rule


def test_only_rules_with_a_limit_count_as_passed() -> None:
    names = in_force(
        proposal(Market("BUY", 1)), replace(percent(), duplicate_window=timedelta(seconds=1))
    )
    assert {"collar", "duplicate", "halt", "mode"} <= set(names)
    assert not {"rate", "quantity", "contracts"} & set(names)


def test_every_rule_says_what_it_makes_of_an_order_or_why_it_cannot() -> None:
    order = replace(
        proposal(Limit("BUY", 200, "1.005")),
        contract=Stock("SPY"),
        rules=None,
        system=READY.evolve(halted=True, halt_reason="lunch"),
    )
    limits = replace(
        percent(), order_quantity_max=Scoped.read("100"), duplicate_window=timedelta(seconds=1)
    )
    found = {verdict.rule: verdict for verdict in rulings(order, limits)}
    assert set(found) == {rule.name for rule in RULES}
    outcomes = {name: found[name].outcome for name in ("halt", "quantity", "account", "rate")}
    assert outcomes == {
        "halt": "denied",
        "quantity": "denied",
        "account": "passed",
        "rate": "off",
    }
    unknown = {name for name, verdict in found.items() if verdict.outcome == "unknown"}
    assert unknown == {"contract", "tick", "size", "collar", "duplicate", "gate"}
    assert found["quantity"].limit == "100"
