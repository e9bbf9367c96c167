"""What a person writes after `oms buy`, and the contract and terms that it means."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from oms import Combo, Contract, Forex, Future, FuturesOption, Index, Option, Stock
from oms.cli.options import CONTRACT, GROUPING, QUANTITY, SENDING, TERMS
from oms.cli.parse import contract_of, order_request
from oms.core.contracts import ComboLeg
from oms.core.order_types import (
    Limit,
    LimitOnClose,
    LimitOnOpen,
    Market,
    MarketOnClose,
    MarketOnOpen,
    Stop,
    StopLimit,
    TrailingStop,
    TrailingStopLimit,
)
from oms.errors import InvalidRequest

DEFAULTS: dict[str, Any] = {
    name: default
    for group in (QUANTITY, CONTRACT, TERMS, GROUPING, SENDING)
    for name, (_, default) in group.items()
}


def contract(text: str, **more: Any) -> Contract:
    return contract_of({**DEFAULTS, "contract": text, **more})


def terms(**more: Any) -> Any:
    return order_request("BUY", {**DEFAULTS, "contract": "AAPL", "quantity": "5", **more}).terms


LEGS = (
    ComboLeg(con_id=11, side="BUY", exchange="SMART"),
    ComboLeg(con_id=12, side="SELL", ratio=2, exchange="CBOE"),
)


@pytest.mark.parametrize(
    ("text", "more", "meant"),
    [
        ("aapl", {}, Stock("AAPL")),
        ("BRK B", {"primary_exchange": "nyse"}, Stock("BRK B", primary_exchange="NYSE")),
        ("SAP@IBIS", {"currency": "eur"}, Stock("SAP", "IBIS", "EUR")),
        ("EUR.USD", {}, Forex("EUR.USD")),
        ("eur/usd", {}, Forex("EUR.USD")),
        ("EURUSD", {"sec_type": "cash"}, Forex("EUR.USD")),
        ("ES/202609@CME", {}, Future("ES", "202609", "CME")),
        ("ES", {"expiry": "202609", "exchange": "CME"}, Future("ES", "202609", "CME")),
        ("AAPL/20260918/200/C", {}, Option("AAPL", "20260918", 200, "C")),
        (
            "AAPL",
            {"expiry": "20260918", "strike": "200", "right": "call", "multiplier": "100"},
            Option("AAPL", "20260918", 200, "C", multiplier=100),
        ),
        (
            "ES/20260918/5000/P@CME",
            {"sec_type": "FOP"},
            FuturesOption("ES", "20260918", 5000, "P", "CME"),
        ),
        ("SPX@CBOE", {"sec_type": "IND"}, Index("SPX", "CBOE")),
        ("SPY", {"leg": ["BUY:1:11", "sell:2:12@cboe"]}, Combo("SPY", LEGS)),
        ("AAPL", {"con_id": 265598}, Stock("AAPL").evolve(con_id=265598)),
    ],
)
def test_a_contract_is_written_in_one_word_or_with_options(
    text: str, more: dict[str, Any], meant: Contract
) -> None:
    assert contract(text, **more) == meant


@pytest.mark.parametrize(
    ("text", "more", "reason"),
    [
        ("ES/202609", {}, "a contract of type FUT needs its exchange"),
        ("AAPL", {"sec_type": "OPT"}, "a contract of type OPT needs its expiry"),
        ("AAPL", {"right": "C"}, "a contract of type OPT needs its expiry"),
        ("AAPL/20260918/200/X", {}, "an option's right is C or P, found 'X'"),
        ("AAPL/2026/200/C", {}, "'AAPL/2026/200/C' names no contract"),
        (
            "AAPL@ARCA",
            {"exchange": "BATS"},
            "and --exchange BATS contradict each other",
        ),
        ("AAPL", {"sec_type": "STOCK"}, "--sec-type is one of STK, OPT"),
        ("AAPL", {"sec_type": "STK", "expiry": "202609"}, "a contract of type STK has no expiry"),
        ("AAPL", {"multiplier": "1e400"}, "a contract of type STK has no multiplier"),
        ("AAPL", {"trading_class": "\x1b[2J"}, "a contract of type STK has no trading class"),
        ("ES/202609@CME", {"primary_exchange": "NYSE"}, "of type FUT has no primary exchange"),
        ("EUR.USD", {"multiplier": "7"}, "a contract of type CASH has no multiplier"),
        ("EUR.USD", {"currency": "CHF"}, "a contract of type CASH has no currency, found 'CHF'"),
        ("EUR.USD", {"leg": ["BUY:1:11"]}, "a contract of type CASH has no leg"),
        ("SPX@CBOE", {"sec_type": "IND", "strike": "5"}, "a contract of type IND has no strike"),
        ("ES/202609@CME", {"trading_class": "\x07"}, "trading_class must be printable text"),
        ("SPY", {"leg": ["BUY:1:11", "SELL:2147483648:12"]}, "a ratio of at most 10,000, found"),
        ("SPY", {"leg": ["BUY:1:11", "SELL:1:0"]}, "a leg needs a con_id"),
        ("SPY", {"leg": ["BUY 1 11"]}, "a leg is SIDE:RATIO:CON_ID"),
        ("SPY", {"leg": ["BUY:1:11"]}, "a combo has 2 to 8 legs, found 1"),
        ("SPX", {"sec_type": "IND"}, "needs its exchange: SPX@EXCHANGE"),
    ],
)
def test_words_that_name_no_contract_are_refused_with_the_reason(
    text: str, more: dict[str, Any], reason: str
) -> None:
    with pytest.raises(InvalidRequest) as refused:
        contract(text, **more)
    assert reason in refused.value.message


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        ({}, Market("BUY", 5)),
        ({"limit": "10.5", "tif": "gtc"}, Limit("BUY", 5, "10.5", tif="GTC")),
        ({"stop": "11"}, Stop("BUY", 5, 11)),
        ({"stop": "11", "limit": "12"}, StopLimit("BUY", 5, 11, 12)),
        ({"trail": "0.5"}, TrailingStop("BUY", 5, amount="0.5")),
        ({"trail_percent": "2", "stop": "11"}, TrailingStop("BUY", 5, percent=2, stop=11)),
        (
            {"trail": "0.5", "stop": "11", "limit_offset": "0.1"},
            TrailingStopLimit("BUY", 5, amount="0.5", stop=11, limit_offset="0.1"),
        ),
        ({"at": "close"}, MarketOnClose("BUY", 5)),
        ({"at": "close", "limit": "10"}, LimitOnClose("BUY", 5, 10)),
        ({"at": "open"}, MarketOnOpen("BUY", 5)),
        ({"at": "open", "limit": "10"}, LimitOnOpen("BUY", 5, 10)),
        (
            {"limit": "10", "good_till": "2027-01-05T20:00:00Z"},
            Limit("BUY", 5, 10, tif="GTD", good_till=datetime(2027, 1, 5, 20, tzinfo=UTC)),
        ),
        (
            {"limit": "10", "outside_rth": True, "min_quantity": "2", "display": "3"},
            Limit("BUY", 5, 10, outside_rth=True, min_quantity=2, display_size=3),
        ),
        (
            {"limit": "10", "all_or_none": True, "hidden": True},
            Limit("BUY", 5, 10, all_or_none=True, hidden=True),
        ),
        (
            {"limit": "10", "oca_group": "pair", "oca_type": 2},
            Limit("BUY", 5, 10).evolve(oca_group="pair", oca_type=2),
        ),
    ],
)
def test_every_order_type_and_term_can_be_written(words: dict[str, Any], meant: Any) -> None:
    assert terms(**words) == meant


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ({"quantity": "many"}, "quantity: 'many' is not a decimal number"),
        ({"limit": "1_000"}, "limit: '1_000' is not a decimal number"),
        ({"trail": "1", "trail_percent": "2"}, "exactly one of them"),
        ({"trail": "1", "limit_offset": "0.1"}, "a TRAIL LIMIT order needs its first stop price"),
        ({"at": "noon"}, "--at is open or close"),
        ({"at": "close", "stop": "3"}, "for a market or a limit order"),
        ({"at": "close", "tif": "GTC"}, "without --tif"),
        ({"limit": "1", "tif": "GTD"}, "GTD and an end (good_till) go together"),
        ({"limit": "1", "good_till": "tomorrow"}, "'tomorrow' is not a time"),
        ({"oca_type": 2}, "--oca-type 2 needs an --oca-group"),
        ({"limit": "1", "good_till": "2027-01-05T20:00:00.5Z"}, "must be a whole second"),
        ({"limit": "1", "good_till": "2027-01-05T20:00:00"}, "has no time zone"),
        ({"order_id": "a b"}, "cannot travel to IB and back"),
    ],
)
def test_words_that_make_no_order_are_refused_with_the_reason(
    words: dict[str, Any], reason: str
) -> None:
    with pytest.raises(InvalidRequest) as refused:
        terms(**words)
    assert reason in refused.value.message


def test_an_exact_number_stays_exact() -> None:
    assert terms(limit="0.1000000001").limit_price == Decimal("0.1000000001")
