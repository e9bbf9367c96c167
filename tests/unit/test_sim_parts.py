"""Small pure parts of the simulator: hours, times, instruments, quotes."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest

from oms.sim.broker.exchange import hours
from oms.sim.broker.exchange.catalogue import Catalogue
from oms.sim.broker.exchange.contracts import MARKET_RULES, Contract, Query
from oms.sim.broker.exchange.listings import option
from oms.sim.broker.exchange.market import Market
from oms.sim.broker.floor import Floor
from oms.sim.broker.rules.conditions import Sight, hold
from oms.sim.clock import SteppedClock, order_time
from oms.sim.gateway.gateway import Gateway
from oms.sim.settings import Settings

NEW_YORK = ZoneInfo("America/New_York")
TODAY = date(2026, 1, 5)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("moment", "is_open", "change"),
    [
        ("2026-01-05T14:29:59", False, "2026-01-05T14:30:00"),
        ("2026-01-05T14:30:00", True, "2026-01-05T21:00:00"),
        ("2026-01-05T21:00:00", False, "2026-01-06T14:30:00"),
        ("2026-01-09T22:00:00", False, "2026-01-12T14:30:00"),
        ("2026-03-06T22:00:00", False, "2026-03-09T13:30:00"),  # clocks go forward on the 8th
    ],
)
def test_regular_hours_know_weekends_and_daylight_saving(
    moment: str, is_open: bool, change: str
) -> None:
    stocks = hours.US_STOCKS
    assert stocks.is_open(utc(moment), stocks.regular) is is_open
    assert stocks.next_change(utc(moment), stocks.regular) == utc(change)


@pytest.mark.parametrize(
    ("local_symbol", "zone", "trading", "liquid"),
    [
        ("AAPL", "US/Eastern", "20260109:0400-20260109:2000", "20260109:0930-20260109:1600"),
        ("AAPL  260116C00190000", "US/Eastern", "20260109:0930-20260109:1600",
         "20260109:0930-20260109:1600"),
        ("ESH6", "US/Central", "20260108:1700-20260109:1600", "20260109:0830-20260109:1600"),
        ("CLH6", "US/Eastern", "20260108:1800-20260109:1700", "20260109:0930-20260109:1700"),
        ("EUR.USD", "US/Eastern", "20260108:1715-20260109:1700", "20260108:1715-20260109:1700"),
        ("SAP", "MET", "20260109:0900-20260109:1730", "20260109:0900-20260109:1730"),
    ],
)  # fmt: skip
def test_the_hours_of_each_class_are_told_as_ib_tells_them(
    local_symbol: str, zone: str, trading: str, liquid: str
) -> None:
    kind = "OPT" if len(local_symbol) == 21 else ""
    catalogue = Catalogue(lambda: TODAY)
    found = catalogue.resolve(query(localSymbol=local_symbol, secType=kind)) if kind else []
    contract = found[0] if found else catalogue.one(local_symbol)
    assert contract is not None
    schedule = hours.schedule_of(contract)
    friday = utc("2026-01-09T15:00:00")
    assert schedule.zone_id == zone
    told = schedule.text(friday, schedule.trading).split(";")
    assert told[:3] == [trading, "20260110:CLOSED", "20260111:CLOSED"]
    assert schedule.text(friday, schedule.liquid).split(";")[0] == liquid
    assert len(told) == hours.DAYS_TOLD


def test_every_schedule_opens_and_closes_in_turn() -> None:
    for schedule in hours.SCHEDULES:
        moment = utc("2026-01-05T12:00:00")
        for kind in (schedule.trading, schedule.regular):
            states = []
            for _ in range(8):
                moment = schedule.next_change(moment, kind)
                states.append(schedule.is_open(moment, kind))
            assert states in ([True, False] * 4, [False, True] * 4), schedule.name


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("20260105 12:00:00", "2026-01-05T17:00:00"),
        ("20260105 12:00:00 Europe/London", "2026-01-05T12:00:00"),
        ("20260105-12:00:00", "2026-01-05T12:00:00"),
        ("20260105", "2026-01-06T04:59:59"),
        ("soon", None),
        ("20260105 12:00:00 Nowhere/Else", None),
        ("", None),
    ],
)
def test_an_order_time_is_read_in_every_form(text: str, expected: str | None) -> None:
    assert order_time(text, NEW_YORK) == (None if expected is None else utc(expected))


def query(**fields: str) -> Query:
    return Query.from_wire(fields)


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({"symbol": "AAPL", "secType": "STK", "exchange": "SMART", "currency": "USD"}, ["AAPL"]),
        ({"symbol": "AAPL", "secType": "STK"}, ["AAPL", "AAPL", "AAPL"]),
        ({"conId": "265598"}, ["AAPL"]),
        ({"conId": "265598", "exchange": "MOON"}, []),
        ({"localSymbol": "EUR.USD", "secType": "CASH"}, ["EUR.USD"]),
        ({"symbol": "ES", "secType": "FUT", "lastTradeDateOrContractMonth": "202603"}, ["ESH6"]),
        ({"localSymbol": "ESH6", "secType": "FUT", "exchange": "CME"}, ["ESH6"]),
        ({"symbol": "ES", "secType": "FOP", "lastTradeDateOrContractMonth": "202603",
          "strike": "5300", "right": "P"}, ["ESH6 P5300"]),
        ({"symbol": "ES", "secType": "FOP", "lastTradeDateOrContractMonth": "202603",
          "strike": "5301", "right": "P"}, []),
        ({"symbol": "SPX", "secType": "IND", "exchange": "CBOE"}, ["SPX"]),
        ({"symbol": "AAPL", "secType": "OPT", "lastTradeDateOrContractMonth": "20260116",
          "strike": "190", "right": "C"}, ["AAPL  260116C00190000"]),
        ({"localSymbol": "AAPL  260116C00190000", "secType": "OPT"}, ["AAPL  260116C00190000"]),
        ({"symbol": "AAPL", "secType": "OPT", "lastTradeDateOrContractMonth": "20260115",
          "strike": "190", "right": "C"}, []),
        ({"symbol": "AAPL", "secType": "OPT", "lastTradeDateOrContractMonth": "20260102",
          "strike": "190", "right": "C"}, []),
        ({"symbol": "AAPL", "secType": "OPT", "lastTradeDateOrContractMonth": "20260102",
          "strike": "190", "right": "C", "includeExpired": "1"}, ["AAPL  260102C00190000"]),
        ({"localSymbol": "AAPL  260116CXXXXXXXX", "secType": "OPT"}, []),
    ],
)  # fmt: skip
def test_a_contract_is_found_by_what_is_said_about_it(
    asked: dict[str, str], found: list[str]
) -> None:
    assert [one.local_symbol for one in Catalogue(lambda: TODAY).resolve(query(**asked))] == found


def test_futures_are_listed_as_time_goes_on_and_expired_ones_are_gone() -> None:
    today = TODAY
    catalogue = Catalogue(lambda: today)
    wanted = query(symbol="ES", secType="FUT")
    before = [one.local_symbol for one in catalogue.resolve(wanted)]
    today = date(2026, 4, 1)
    after = [one.local_symbol for one in catalogue.resolve(wanted)]
    assert (before, after) == (["ESH6", "ESM6", "ESU6", "ESZ6"], ["ESM6", "ESU6", "ESZ6", "ESH7"])
    assert len(catalogue.resolve(query(symbol="ES", secType="FUT", includeExpired="1"))) == 5


def floor_of(seed: int) -> Floor:
    clock = SteppedClock(datetime(2026, 1, 5, 15, tzinfo=UTC))
    return Gateway(Settings(port=0, seed=seed), clock=clock).floor


def market_of(seed: int) -> Market:
    return floor_of(seed).market


def test_the_smallest_increment_of_every_market_rule_is_the_contracts_minimum_tick() -> None:
    floor = floor_of(3)
    catalogue, market = floor.catalogue, floor.market
    stock = catalogue.one("AAPL")
    assert stock is not None
    catalogue.option_chain(stock)
    for contract in catalogue.contracts():
        steps = [step for _, step in MARKET_RULES[contract.market_rule]]
        assert min(steps) == contract.minimum_tick, contract.local_symbol
        quote = market.quote(contract)
        for price in (quote.bid, quote.last, quote.ask, quote.open, quote.high, quote.low):
            assert not price % contract.increment(price), contract.local_symbol


def test_an_option_above_three_has_the_larger_increment() -> None:
    stock = Catalogue(lambda: TODAY).one("AAPL")
    assert stock is not None
    made = option(stock, "20260116", Decimal(190), "C")
    steps = [made.increment(Decimal(price)) for price in ("2.99", "3", "40")]
    assert steps == [Decimal("0.01"), Decimal("0.05"), Decimal("0.05")]
    assert made.on_tick(Decimal("3.07")) == Decimal("3.05")


def test_a_contract_reads_back_as_it_was_written() -> None:
    catalogue = Catalogue(lambda: TODAY)
    stock = catalogue.one("AAPL")
    assert stock is not None
    for contract in (stock, catalogue.option_chain(stock)[0]):
        assert Contract.from_json(contract.to_json()) == contract


def test_quotes_come_from_the_seed_and_do_not_depend_on_the_order_of_asking() -> None:
    catalogue = Catalogue(lambda: TODAY)
    stocks = [catalogue.one(symbol) for symbol in ("AAPL", "MSFT", "SPY")]
    forwards, backwards, other = market_of(7), market_of(7), market_of(8)
    first = [forwards.quote(one) for one in stocks if one is not None]
    second = [backwards.quote(one) for one in reversed(stocks) if one is not None]
    assert first == second[::-1]
    assert first != [other.quote(one) for one in stocks if one is not None]


def test_a_side_left_out_of_a_quote_follows_the_others() -> None:
    stock = Catalogue(lambda: TODAY).one("AAPL")
    assert stock is not None
    market = market_of(1)
    quote = market.set(stock, bid=Decimal(50))
    assert (quote.bid, quote.ask) == (Decimal(50), Decimal("50.01"))
    quote = market.set(stock, last=Decimal(60))
    assert (quote.bid, quote.last, quote.ask) == (Decimal("59.99"), Decimal(60), Decimal("60.01"))


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        ([("1", "a", True, "190")], True),
        ([("1", "a", False, "190")], False),
        ([("1", "o", False, "190"), ("1", "a", True, "190")], True),
        ([("1", "a", False, "190"), ("1", "a", True, "190")], False),
    ],
)
def test_conditions_are_joined_from_left_to_right(
    conditions: list[tuple[str, str, bool, str]], expected: bool
) -> None:
    stock = Catalogue(lambda: TODAY).one("AAPL")
    assert stock is not None
    market = market_of(1)
    market.set(stock, last=Decimal(200))
    rows = [
        {"condType": kind, "conjunction": join, "isMore": "1" if more else "0", "price": price,
         "conId": str(stock.con_id)}
        for kind, join, more, price in conditions
    ]  # fmt: skip
    now = utc("2026-01-05T12:00:00")
    sight = Sight(now, NEW_YORK, lambda _: market.quote(stock), Decimal(50), frozenset())
    assert hold(rows, sight) is expected


def test_an_option_follows_its_underlying_and_nothing_else() -> None:
    floor = floor_of(1)
    catalogue, market = floor.catalogue, floor.market
    stock, other = catalogue.one("AAPL"), catalogue.one("MSFT")
    assert stock is not None
    assert other is not None
    chain = catalogue.option_chain(stock)
    call = next(one for one in chain if one.right == "C" and one.strike == 190)
    put = next(one for one in chain if one.right == "P" and one.expiry == call.expiry
               and one.strike == 190)  # fmt: skip
    before = market.quote(call), market.quote(put)
    assert market.follow(other) == []
    market.set(stock, last=market.quote(stock).last + 20)
    assert sorted(market.follow(stock)) == sorted((call.con_id, put.con_id))
    after = market.quote(call), market.quote(put)
    assert after[0].last > before[0].last + 10
    assert after[1].last < before[1].last
    # The same question again: nothing has moved since.
    assert market.follow(stock) == []


def test_a_stepped_clock_runs_what_falls_due_at_its_own_time() -> None:
    clock = SteppedClock(utc("2026-01-05T12:00:00"))
    seen: list[tuple[str, datetime]] = []
    clock.call_later(10, lambda: seen.append(("late", clock.now())))
    clock.call_later(5, lambda: seen.append(("early", clock.now())))
    clock.call_later(7, lambda: seen.append(("never", clock.now()))).cancel()
    clock.advance(8)
    assert seen == [("early", utc("2026-01-05T12:00:05"))]
    clock.advance(8)
    assert seen[1:] == [("late", utc("2026-01-05T12:00:10"))]
