"""The simulator's statement: the shapes that IB gives it, whatever the gateway's zone is."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from xml.etree import ElementTree

import pytest

from oms.sim.broker.accounts.statement import statement
from oms.sim.broker.accounts.trading_day import trading_day
from oms.sim.broker.exchange.contracts import SecType
from tests.unit.test_sim_broker import ACCOUNT, World

DAY = date(2026, 1, 5)
PAIR = 12087792


def rows(world: World, tag: str) -> list[dict[str, str]]:
    text = statement(world.broker.floor, [ACCOUNT], DAY, DAY)
    return [row.attrib for row in ElementTree.fromstring(text).iter(tag)]


def told(world: World, *names: str) -> list[tuple[str, ...]]:
    return [tuple(row[name] for name in names) for row in rows(world, "Trade")]


def test_a_corrected_deal_is_taken_back_and_booked_again_under_its_number() -> None:
    world = World(zone="Asia/Tokyo")
    world.place(1)
    (execution,) = world.broker.floor.books.executions()
    world.broker.back_office.correct(execution, quantity=Decimal(8), price=None)
    first, cancel, again = rows(world, "Trade")
    assert told(world, "transactionType", "quantity", "notes", "buySell") == [
        ("ExchTrade", "10", "", "BUY"),
        ("TradeCancel", "-10", "Ca", "BUY (Ca.)"),
        ("ExchTrade", "8", "Co", "BUY"),
    ]
    assert (cancel["ibExecID"], cancel["tradeID"]) == ("", "")
    assert cancel["origTradeID"] == first["tradeID"] == again["tradeID"]
    assert (first["ibExecID"][-2:], again["ibExecID"][-2:]) == ("01", "02")
    assert [row["dateTime"] for row in (first, cancel, again)] == ["20260105;120000"] * 3
    numbers = [int(row["transactionID"]) for row in (first, cancel, again)]
    assert numbers == sorted(set(numbers))


def test_a_bust_is_the_cancel_alone_and_gives_the_charge_back() -> None:
    world = World()
    world.place(1)
    (execution,) = world.broker.floor.books.executions()
    world.broker.back_office.correct(execution, quantity=Decimal(0), price=None)
    assert told(world, "transactionType", "quantity", "ibCommission") == [
        ("ExchTrade", "10", "-1"),
        ("TradeCancel", "-10", "1"),
    ]
    cash = {row["currency"]: row for row in rows(world, "CashReportCurrency")}
    assert (cash["USD"]["commissions"], cash["USD"]["netTradesPurchases"]) == ("0", "0")


def test_a_currency_pair_is_a_deal_and_cash_and_no_position() -> None:
    world = World()
    world.place(1)
    world.place(2, conId=str(PAIR), totalQuantity="30000", exchange="IDEALPRO")
    assert {row["symbol"] for row in rows(world, "Trade")} == {"AAPL", "EUR.USD"}
    assert [row["symbol"] for row in rows(world, "OpenPosition")] == ["AAPL"]
    cash = {row["currency"]: row for row in rows(world, "CashReportCurrency")}
    assert set(cash) == {"BASE_SUMMARY", "EUR", "USD"}
    assert cash["EUR"]["netTradesSales"] == "30000"


@pytest.mark.parametrize(
    ("moment", "sec_type", "day"),
    [
        # New York is five hours behind.
        (datetime(2026, 1, 5, 17, tzinfo=UTC), "STK", 5),
        (datetime(2026, 1, 6, 1, 19, tzinfo=UTC), "STK", 5),
        (datetime(2026, 1, 6, 1, 20, tzinfo=UTC), "STK", 6),
        (datetime(2026, 1, 5, 21, 59, tzinfo=UTC), "FUT", 5),
        (datetime(2026, 1, 5, 22, tzinfo=UTC), "FUT", 6),
        (datetime(2026, 1, 5, 22, tzinfo=UTC), "CASH", 6),
        # Friday evening, Saturday and Sunday are Monday.
        (datetime(2026, 1, 9, 22, tzinfo=UTC), "FUT", 12),
        (datetime(2026, 1, 10, 17, tzinfo=UTC), "STK", 12),
        (datetime(2026, 1, 11, 23, tzinfo=UTC), "FUT", 12),
    ],
)
def test_a_deal_counts_for_a_day_of_new_york(moment: datetime, sec_type: SecType, day: int) -> None:
    assert trading_day(moment, sec_type) == date(2026, 1, day)
