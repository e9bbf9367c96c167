"""Positions and cash that change without a trade: exercise, expiry, split, rename, transfer."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest

from oms.sim.broker import corporate
from oms.sim.broker.exchange.contracts import Contract, Query
from oms.sim.clock import SteppedClock
from tests.integration.sim_world import World, world

D = Decimal
MONDAY_NOON = datetime(2026, 1, 5, 17, 0, tzinfo=UTC)  # 12:00 in New York
ACCOUNT = "DU1234567"


def contract(sim: World, local_symbol: str, kind: str = "OPT") -> Contract:
    found = sim.gateway.floor.catalogue.resolve(
        Query.from_wire({"localSymbol": local_symbol, "secType": kind})
    )
    return found[0]


def hold(sim: World, what: Contract, quantity: str, cost: str, account: str = ACCOUNT) -> None:
    corporate.transfer(sim.gateway.floor, account, what, D(quantity), cost=D(cost))


def held(sim: World) -> dict[str, tuple[Decimal, Decimal]]:
    return {
        sim.gateway.floor.contract(con_id).local_symbol: (row.quantity, row.average_cost)
        for (_, con_id), row in sim.gateway.books.positions.items()
        if row.quantity
    }


def cash(sim: World, account: str = ACCOUNT) -> Decimal:
    return sim.gateway.books.cash[account, "USD"]


@pytest.mark.parametrize(
    ("right", "quantity", "shares", "cost", "paid"),
    [
        ("C", "2", "200", "195", "38000"),  # a call bought for 5: shares at 190 + 5
        ("P", "2", "-200", "185", "-38000"),  # a put bought for 5: shares sold at 190 - 5
        ("C", "-2", "-200", "195", "-38000"),
        ("P", "-2", "200", "185", "38000"),
    ],
)
async def test_options_become_shares_at_the_strike(
    right: str, quantity: str, shares: str, cost: str, paid: str
) -> None:
    async with world(clock=SteppedClock(MONDAY_NOON)) as sim:
        client = await sim.client()
        client.ask("reqPositions")
        await client.wait_for("positionEnd")
        option = contract(sim, f"AAPL  260116{right}00190000")
        hold(sim, option, quantity, "500")
        before = cash(sim)
        life = sim.gateway.broker.derivatives
        act = life.exercise if D(quantity) > 0 else life.assign
        changes = act(ACCOUNT, option, D(2))
        assert held(sim) == {"AAPL": (D(shares), D(cost))}
        assert before - cash(sim) == D(paid)
        assert [one.quantity for one in changes] == [D(0), D(shares)]
        sim.gateway.flush()
        await client.wait_for("position", localSymbol=option.local_symbol, position="0")
        await client.wait_for("position", localSymbol="AAPL", position=shares)
        assert "execDetails" not in client.story()


async def test_an_exercise_may_be_told_by_executions_at_no_price_and_at_the_strike() -> None:
    async with world(clock=SteppedClock(MONDAY_NOON)) as sim:
        zero = await sim.client(0)
        option = contract(sim, "AAPL  260116C00190000")
        hold(sim, option, "1", "500")
        sim.gateway.broker.derivatives.exercise(ACCOUNT, option, D(1), told=True)
        sim.gateway.flush()
        await zero.settle()
        rows = [values for name, values in zero.received if name == "execDetails"]
        assert [(row["localSymbol"], row["side"], row["price"], row["permId"]) for row in rows] == [
            (option.local_symbol, "BOT", "0", "0"),
            ("AAPL", "BOT", "190", "0"),
        ]
        assert held(sim)["AAPL"][0] == 100


@pytest.mark.parametrize("quantity", ["0", "-1", "3"])
async def test_no_more_can_be_exercised_than_is_held(quantity: str) -> None:
    async with world(clock=SteppedClock(MONDAY_NOON)) as sim:
        option = contract(sim, "AAPL  260116C00190000")
        hold(sim, option, "2", "500")
        with pytest.raises(ValueError, match="2 are held long"):
            sim.gateway.broker.derivatives.exercise(ACCOUNT, option, D(quantity))
        with pytest.raises(ValueError, match="0 are held short"):
            sim.gateway.broker.derivatives.assign(ACCOUNT, option, D(1))
        assert held(sim) == {option.local_symbol: (D(2), D(500))}


async def test_expiry_exercises_what_is_in_the_money_and_voids_the_rest() -> None:
    async with world(clock=SteppedClock(MONDAY_NOON)) as sim:
        client = await sim.client()
        call = contract(sim, "AAPL  260116C00190000")
        put = contract(sim, "AAPL  260116P00190000")
        hold(sim, call, "-1", "300")
        hold(sim, put, "1", "400")
        client.place(conId=str(put.con_id), symbol="", secType="", currency="", tif="GTC",
                     orderType="LMT", lmtPrice="0.05")  # fmt: skip
        await client.settle()
        life = sim.gateway.broker.derivatives
        life.expire(call, D("190.01"))
        life.expire(put, D("190.01"))
        assert held(sim) == {"AAPL": (D(-100), D(193))}
        assert sim.gateway.books.positions[ACCOUNT, put.con_id].realized == -400
        assert sim.books()["orders"][0]["status"] == "Cancelled"


async def test_a_future_that_expires_pays_what_it_gained() -> None:
    async with world(clock=SteppedClock(MONDAY_NOON)) as sim:
        future = contract(sim, "ESH6", "FUT")
        hold(sim, future, "2", "265000")
        before = cash(sim)
        sim.gateway.broker.derivatives.expire(future, D("5310"))
        assert (held(sim), cash(sim) - before) == ({}, D(1000))


async def test_the_night_after_an_expiry_settles_it_and_the_contract_is_gone() -> None:
    clock = SteppedClock(datetime(2026, 1, 16, 17, 0, tzinfo=UTC))
    async with world(clock=clock) as sim:
        client = await sim.client()
        sim.do("quote", symbol="AAPL", last="200")
        option = {"symbol": "AAPL", "secType": "OPT", "right": "C", "strike": "190"}
        option["lastTradeDateOrContractMonth"] = "20260116"
        client.place(**option, totalQuantity="1")
        client.place(**option, tif="GTC", orderType="LMT", lmtPrice="0.05", orderRef="late")
        await client.settle()
        sim.do("advance", seconds=str(12.5 * 3600))  # half past midnight in New York
        assert "AAPL  260116C00190000" in held(sim)
        ended = await client.wait_for("errMsg", reqId="2", code="202")
        assert "expired" in ended["text"]
        refused = client.place(**option)
        await client.wait_for("errMsg", reqId=str(refused), code="392")
        client.ask("reqContractDetails", reqId="7", **option)
        await client.wait_for("errMsg", reqId="7", code="200")
        client.ask("reqContractDetails", reqId="8", includeExpired="1", **option)
        await client.wait_for("contractDetailsEnd", reqId="8")
        sim.do("advance", seconds=str(2.5 * 3600))
        assert list(held(sim)) == ["AAPL"]


@pytest.mark.parametrize(
    ("right", "quantity", "settlement", "paid"),
    [
        ("C", "2", "5342", "8400"),
        ("P", "-1", "5258", "-4200"),
        ("C", "2", "5300", "0"),
    ],
)
async def test_an_option_on_an_index_pays_what_it_is_worth_and_delivers_nothing(
    right: str, quantity: str, settlement: str, paid: str
) -> None:
    async with world(clock=SteppedClock(MONDAY_NOON)) as sim:
        option = contract(sim, f"SPX   260116{right}05300000")
        hold(sim, option, quantity, "5000")
        before = cash(sim)
        life = sim.gateway.broker.derivatives
        with pytest.raises(ValueError, match="settled in cash"):
            life.exercise(ACCOUNT, option, D(1))
        life.expire(option, D(settlement))
        assert (held(sim), cash(sim) - before) == ({}, D(paid))


async def test_a_conversion_moves_both_balances_and_no_position() -> None:
    async with world() as sim:
        books = sim.gateway.books
        sim.do("quote", symbol="EUR.USD", bid="1.1", ask="1.1")
        pair = {"symbol": "EUR", "sec_type": "CASH", "currency": "USD", "side": "BUY"}
        before = cash(sim)
        sim.do("manual_order", **pair, exchange="FXCONV", quantity="5000")
        assert books.cash[ACCOUNT, "EUR"] == 5000
        assert (held(sim), before - cash(sim)) == ({}, 5502)
        (row,) = books.executions()
        assert row.venue == "FXCONV"
        sim.do("correct", exec_id=row.exec_id, quantity="4000")
        assert (held(sim), books.cash[ACCOUNT, "EUR"]) == ({}, 4000)
        sim.do("manual_order", **pair, quantity="5000")
        assert held(sim)["EUR.USD"][0] == 5000


async def test_a_cfd_pays_its_commission_and_its_result() -> None:
    async with world() as sim:
        sim.do("quote", symbol="AAPL", sec_type="CFD", bid="190", ask="190", last="190")
        start = cash(sim)
        sim.do("manual_order", symbol="AAPL", sec_type="CFD", side="BUY", quantity="10")
        assert (held(sim), start - cash(sim)) == ({"AAPL": (D(10), D(190))}, 1)
        sim.do("quote", symbol="AAPL", sec_type="CFD", bid="195", ask="195", last="195")
        sim.do("manual_order", symbol="AAPL", sec_type="CFD", side="SELL", quantity="4")
        assert cash(sim) - start == 20 - 2


async def test_a_split_changes_quantity_cost_and_price_and_pays_for_fractions() -> None:
    async with world() as sim:
        stock = sim.gateway.floor.catalogue.one("AAPL")
        assert stock is not None
        sim.do("quote", symbol="AAPL", last="100")
        hold(sim, stock, "15", "80")
        corporate.split(sim.gateway.floor, stock, Fraction(4))
        assert held(sim) == {"AAPL": (D(60), D(20))}
        assert sim.gateway.floor.market.quote(stock).last == 25
        before = cash(sim)
        corporate.split(sim.gateway.floor, stock, Fraction("0.125"))
        assert held(sim) == {"AAPL": (D(7), D(160))}
        assert cash(sim) - before == 100  # half a share at 200
        corporate.split(sim.gateway.floor, stock, Fraction(3))
        corporate.split(sim.gateway.floor, stock, Fraction(1, 3))
        assert held(sim) == {"AAPL": (D(7), D("159.99999999"))}
        with pytest.raises(ValueError, match="cannot be split"):
            corporate.split(sim.gateway.floor, stock, Fraction(0))


async def test_a_symbol_changes_and_stays_changed_after_a_restart(tmp_path: Path) -> None:
    file = tmp_path / "gateway.db"
    async with world(books=file) as sim:
        stock = sim.gateway.floor.catalogue.one("META")
        assert stock is not None
        hold(sim, stock, "10", "480")
        corporate.change_symbol(sim.gateway.floor, stock, "MVRS", 999_000_001)
        sim.gateway.flush()
        assert held(sim) == {"MVRS": (D(10), D(480))}
    async with world(books=file) as sim:
        client = await sim.client()
        client.ask("reqPositions")
        await client.wait_for("position", symbol="MVRS", conId="999000001")
        client.ask("reqContractDetails", reqId="1", symbol="MVRS", secType="STK", currency="USD")
        await client.wait_for("contractDetailsEnd", reqId="1")


async def test_a_transfer_moves_a_position_with_its_cost_and_no_cash() -> None:
    async with world(accounts=("DU1", "DU2")) as sim:
        stock = sim.gateway.floor.catalogue.one("AAPL")
        assert stock is not None
        hold(sim, stock, "10", "150", "DU1")
        floor = sim.gateway.floor
        corporate.transfer(floor, "DU1", stock, D(4), to_account="DU2")
        books = sim.gateway.books
        rows = {account: books.position(account, stock.con_id) for account in ("DU1", "DU2")}
        assert [(row.quantity, row.average_cost) for row in rows.values()] == [
            (D(6), D(150)), (D(4), D(150)),
        ]  # fmt: skip
        assert {cash(sim, "DU1"), cash(sim, "DU2")} == {D(1_000_000)}
        with pytest.raises(ValueError, match="two accounts"):
            corporate.transfer(floor, "DU1", stock, D(1), to_account="DU1")


async def test_a_correction_after_an_exercise_counts_the_shares_it_brought() -> None:
    async with world(clock=SteppedClock(MONDAY_NOON), commission="none") as sim:
        client = await sim.client()
        sim.do("quote", symbol="AAPL", bid="189.99", ask="190")
        client.place(totalQuantity="10")
        await client.settle()
        option = contract(sim, "AAPL  260116C00190000")
        hold(sim, option, "1", "0")
        sim.gateway.broker.derivatives.exercise(ACCOUNT, option, D(1), told=True)
        assert held(sim)["AAPL"][0] == 110
        sim.do("correct", order="1", price="191")
        assert held(sim)["AAPL"][0] == 110


@pytest.mark.parametrize(
    ("settlement", "paid"), [("5400", "5000"), ("5299", "0")], ids=["in the money", "worthless"]
)
async def test_an_option_on_a_future_settles_in_cash(settlement: str, paid: str) -> None:
    async with world(clock=SteppedClock(MONDAY_NOON)) as sim:
        (call,) = sim.gateway.floor.catalogue.resolve(
            Query.from_wire(
                {"symbol": "ES", "secType": "FOP", "strike": "5300", "right": "C"}
                | {"lastTradeDateOrContractMonth": "202603"}
            )
        )
        hold(sim, call, "1", "2500")
        before = cash(sim)
        sim.gateway.broker.derivatives.expire(call, D(settlement))
        assert held(sim) == {}
        assert cash(sim) - before == D(paid)
