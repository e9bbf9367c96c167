"""How orders trade, what is checked, and what the market and the account tell."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from oms.sim.clock import SteppedClock
from tests.integration.sim_world import STOCK, WireClient, World, world

D = Decimal
MONDAY_NOON = datetime(2026, 1, 5, 17, 0, tzinfo=UTC)  # 12:00 in New York
OPTION = {"symbol": "AAPL", "secType": "OPT", "right": "C", "strike": "190",
          "lastTradeDateOrContractMonth": "20260116"}  # fmt: skip
FOREX = {"symbol": "EUR", "secType": "CASH", "exchange": "IDEALPRO", "currency": "USD"}
FUTURE = {"symbol": "CL", "secType": "FUT", "exchange": "NYMEX",
          "lastTradeDateOrContractMonth": "202602"}  # fmt: skip


def orders(sim: World) -> dict[str, dict[str, Any]]:
    return {row["order_ref"]: row for row in sim.books()["orders"]}


def states(sim: World) -> dict[str, tuple[str, str]]:
    return {ref: (row["status"], row["filled"]) for ref, row in orders(sim).items()}


async def refused(client: WireClient, **order: Any) -> str:
    """The code that answers an order."""
    order_id = client.place(**order)
    answer = await client.wait_for("errMsg", reqId=str(order_id))
    return str(answer["code"])


# -- parts ----------------------------------------------------------------------------------------


async def test_an_order_that_takes_all_or_nothing_is_not_cut_into_parts() -> None:
    clock = SteppedClock(MONDAY_NOON)
    async with world(clock=clock, parts=4, part_seconds=1.0) as sim:
        client = await sim.client()
        client.place(tif="FOK", orderRef="fok")
        client.place(allOrNone="1", orderRef="aon")
        client.place(minQty="60", orderRef="minimum")
        client.place(tif="IOC", orderRef="ioc")
        await client.settle()
        assert states(sim) == {
            "fok": ("Filled", "100"),
            "aon": ("Filled", "100"),
            "minimum": ("Submitted", "60"),
            "ioc": ("Cancelled", "25"),
        }
        sim.do("advance", seconds="9")
        assert states(sim)["minimum"] == ("Filled", "100")
        assert states(sim)["ioc"] == ("Cancelled", "25")


async def test_a_minimum_quantity_that_the_touch_does_not_offer_waits_or_ends() -> None:
    async with world(liquidity="touch") as sim:
        client = await sim.client()
        sim.do("quote", symbol="AAPL", bid="100", ask="100.1", size="60")
        client.place(minQty="80", orderRef="day")
        client.place(minQty="80", tif="IOC", orderRef="ioc")
        await client.settle()
        assert states(sim) == {"day": ("Submitted", "0"), "ioc": ("Cancelled", "0")}


async def test_a_limit_inside_the_touch_trades_at_its_own_price_when_others_print_there() -> None:
    async with world(clock=SteppedClock(MONDAY_NOON), market="moving") as sim:
        client = await sim.client()
        last = D(sim.do("quote", symbol="AAPL", last="150")["last"])
        client.place(orderType="LMT", lmtPrice=str(last), orderRef="inside")
        client.place(orderType="LMT", lmtPrice="100", orderRef="far")
        await client.settle()
        assert states(sim)["inside"] == ("Submitted", "0")
        # Within a minute the path of the seed prints at that price or below.
        sim.do("advance", seconds="60")
        await client.settle()
        assert states(sim) == {"inside": ("Filled", "100"), "far": ("Submitted", "0")}
        assert D(client.last("execDetails")["price"]) == last


async def test_the_rest_of_a_market_to_limit_order_rests_at_the_price_of_its_first_fill() -> None:
    async with world(liquidity="touch") as sim:
        client = await sim.client()
        sim.do("quote", symbol="AAPL", bid="100", ask="100.1", size="60")
        client.place(orderType="MTL", orderRef="mtl")
        await client.settle()
        assert (states(sim)["mtl"], client.last("openOrder")["lmtPrice"]) == (
            ("Submitted", "60"), "100.1",
        )  # fmt: skip
        sim.do("quote", symbol="AAPL", bid="100.1", ask="100.2", size="60")
        assert states(sim)["mtl"] == ("Submitted", "60")
        sim.do("quote", symbol="AAPL", bid="100", ask="100.1", size="60")
        assert states(sim)["mtl"] == ("Filled", "100")


async def test_the_parts_of_one_order_pay_one_minimum_commission() -> None:
    async with world(parts=4) as sim:
        client = await sim.client()
        client.place(orderType="LMT", lmtPrice="300")
        await client.settle()
        charges = [row["commission"] for row in sim.books()["commissions"]]
        assert [D(one) for one in charges] == [1, 0, 0, 0]
        client.place(totalQuantity="1000", orderType="LMT", lmtPrice="300", orderRef="large")
        await client.settle()
        charges = [row["commission"] for row in sim.books()["commissions"]][4:]
        assert sum(map(D, charges)) == 5


# -- families -------------------------------------------------------------------------------------


async def test_the_children_of_a_held_parent_go_with_it() -> None:
    async with world() as sim:
        client = await sim.client()
        parent = client.place(orderType="LMT", lmtPrice="100", transmit="0")
        child = client.place(action="SELL", orderType="LMT", lmtPrice="1", transmit="0",
                             parentId=str(parent))  # fmt: skip
        client.cancel(parent)
        for order_id in (parent, child):
            await client.wait_for("orderStatus", orderId=str(order_id), status="ApiCancelled")
            await client.wait_for("errMsg", reqId=str(order_id), code="202")
        again = client.place(orderId=str(child), action="SELL", orderType="LMT", lmtPrice="1",
                             parentId=str(parent))  # fmt: skip
        await client.wait_for("errMsg", reqId=str(again), code="103")
        assert sim.books()["orders"] == []


async def test_a_held_child_goes_with_a_parent_that_was_working() -> None:
    async with world() as sim:
        client = await sim.client()
        parent = client.place(orderType="LMT", lmtPrice="100")
        child = client.place(action="SELL", orderType="LMT", lmtPrice="1", transmit="0",
                             parentId=str(parent))  # fmt: skip
        client.cancel(parent)
        await client.wait_for("orderStatus", orderId=str(child), status="ApiCancelled")
        assert sim.books()["untransmitted"] == []
        assert len(sim.books()["orders"]) == 1


async def test_a_rejected_parent_takes_its_family_with_it() -> None:
    async with world() as sim:
        client = await sim.client()
        parent = client.place(totalQuantity="90000000", transmit="0", orderRef="parent")
        client.place(action="SELL", orderType="LMT", lmtPrice="300", parentId=str(parent),
                     orderRef="child")  # fmt: skip
        await client.settle()
        assert states(sim) == {"parent": ("Rejected", "0"), "child": ("Cancelled", "0")}


async def test_children_may_wait_until_the_whole_parent_has_filled_and_end_with_it() -> None:
    async with world(children="whole") as sim:
        client = await sim.client()
        parent = client.place(orderType="LMT", lmtPrice="100", transmit="0", orderRef="parent")
        client.place(action="SELL", orderType="LMT", lmtPrice="300", parentId=str(parent),
                     orderRef="child")  # fmt: skip
        await client.settle()
        sim.do("fill", order_ref="parent", quantity="40")
        assert orders(sim)["child"]["why_held"] == "child"
        client.cancel(parent)
        await client.settle()
        assert states(sim) == {"parent": ("Cancelled", "40"), "child": ("Cancelled", "0")}


async def bracket(client: WireClient, sim: World) -> tuple[int, int, int]:
    """An entry at 100, a target at 300 and a stop at 50."""
    entry = client.place(orderType="LMT", lmtPrice="100", transmit="0", orderRef="entry")
    close = {"action": "SELL", "parentId": str(entry)}
    target = client.place(**close, orderType="LMT", lmtPrice="300", transmit="0", orderRef="target")
    stop = client.place(**close, orderType="STP", auxPrice="50", orderRef="stop")
    await client.settle()
    return entry, target, stop


def sizes(sim: World) -> dict[str, tuple[str, str]]:
    return {ref: (row["status"], row["remaining"]) for ref, row in orders(sim).items()}


async def test_children_work_for_the_part_of_their_parent_that_has_filled() -> None:
    async with world() as sim:
        client = await sim.client()
        _, target, _ = await bracket(client, sim)
        sim.do("fill", order_ref="entry", quantity="40")
        assert sizes(sim) == {
            "entry": ("Submitted", "60"), "target": ("Submitted", "40"),
            "stop": ("PreSubmitted", "40"),
        }  # fmt: skip
        client.place(orderId=str(target), action="SELL", parentId="1", orderType="LMT",
                     lmtPrice="301", orderRef="target")  # fmt: skip
        await client.settle()
        assert sizes(sim)["target"] == ("Submitted", "40")
        sim.do("fill", order_ref="target", quantity="10")
        assert sizes(sim)["stop"] == ("PreSubmitted", "30")
        sim.do("fill", order_ref="entry")
        assert sizes(sim) == {
            "entry": ("Filled", "0"), "target": ("Submitted", "90"), "stop": ("PreSubmitted", "90"),
        }  # fmt: skip


async def test_children_that_work_stay_when_the_rest_of_their_parent_is_cancelled() -> None:
    async with world() as sim:
        client = await sim.client()
        entry, _, _ = await bracket(client, sim)
        sim.do("fill", order_ref="entry", quantity="40")
        client.cancel(entry)
        await client.settle()
        assert sizes(sim) == {
            "entry": ("Cancelled", "60"), "target": ("Submitted", "40"),
            "stop": ("PreSubmitted", "40"),
        }  # fmt: skip


async def test_a_stop_that_closes_a_part_of_the_entry_ends_the_rest_of_it() -> None:
    async with world() as sim:
        client = await sim.client()
        await bracket(client, sim)
        sim.do("fill", order_ref="entry", quantity="40")
        sim.do("fill", order_ref="stop")
        assert {ref: row["status"] for ref, row in orders(sim).items()} == {
            "entry": "Cancelled", "target": "Cancelled", "stop": "Filled",
        }  # fmt: skip
        assert sim.books()["positions"][0]["quantity"] == "0"


async def test_a_child_may_ask_that_its_parent_ends_with_it() -> None:
    async with world() as sim:
        client = await sim.client()
        parent = client.place(orderType="LMT", lmtPrice="100", orderRef="parent")
        child = client.place(action="SELL", orderType="LMT", lmtPrice="300", parentId=str(parent),
                             autoCancelParent="1", orderRef="child")  # fmt: skip
        client.cancel(child)
        await client.settle()
        assert states(sim) == {"parent": ("Cancelled", "0"), "child": ("Cancelled", "0")}


@pytest.mark.parametrize("kind", ["2", "3"])
async def test_a_member_that_fills_leaves_of_a_larger_one_what_it_did_not_cover(kind: str) -> None:
    async with world() as sim:
        client = await sim.client()
        group = {"ocaGroup": "g", "ocaType": kind, "orderType": "LMT", "lmtPrice": "100"}
        client.place(**group, totalQuantity="25", orderRef="target")
        client.place(**group, totalQuantity="100", orderRef="stop")
        client.place(**group, totalQuantity="25", orderRef="other")
        await client.settle()
        sim.do("fill", order_ref="target")
        left = {ref: (row["status"], row["remaining"]) for ref, row in orders(sim).items()}
        assert left["stop"] == ("Submitted", "75")
        assert left["other"][0] == "Cancelled"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"parentId": "77"}, "10341"),
        ({"exchange": "IEX"}, "105"),
        ({"ocaType": "1"}, "10327"),
    ],
)
async def test_what_an_order_is_part_of_cannot_be_changed(
    change: dict[str, str], code: str
) -> None:
    async with world() as sim:
        client = await sim.client()
        order = {"orderType": "LMT", "lmtPrice": "100", "ocaGroup": "g", "ocaType": "3"}
        order_id = client.place(**order)
        await client.settle()
        assert await refused(client, **{**order, **change}, orderId=str(order_id)) == code
        client.place(**{**order, "lmtPrice": "101"}, orderId=str(order_id))
        await client.settle()
        assert sim.books()["orders"][0]["limit_price"] == "101"


# -- money ----------------------------------------------------------------------------------------


async def test_orders_that_work_at_the_same_time_share_the_money() -> None:
    async with world(cash=D(60_000)) as sim:
        client = await sim.client()
        sim.do("quote", symbol="AAPL", bid="99.99", ask="100", last="100")
        client.place(totalQuantity="700", orderType="LMT", lmtPrice="90", orderRef="first")
        client.place(totalQuantity="700", orderType="LMT", lmtPrice="90", orderRef="second")
        await client.settle()
        assert states(sim) == {"first": ("Submitted", "0"), "second": ("Rejected", "0")}
        client.cancel(1)
        client.place(totalQuantity="700", orderType="LMT", lmtPrice="90", orderRef="third")
        await client.settle()
        assert states(sim)["third"] == ("Submitted", "0")


async def test_orders_of_which_only_one_can_trade_count_once() -> None:
    async with world(cash=D(60_000)) as sim:
        client = await sim.client()
        sim.do("quote", symbol="AAPL", bid="99.99", ask="100", last="100")
        group = {"totalQuantity": "700", "orderType": "LMT", "lmtPrice": "90", "ocaGroup": "g"}
        client.place(**group, orderRef="a")
        client.place(**group, orderRef="b")
        client.place(totalQuantity="700", transmit="0", orderRef="parent")
        sell = {"action": "SELL", "parentId": "3", "totalQuantity": "700"}
        client.place(**sell, orderType="LMT", lmtPrice="200", transmit="0", orderRef="target")
        client.place(**sell, orderType="STP", auxPrice="50", orderRef="stop")
        await client.settle()
        assert {ref: row["status"] for ref, row in orders(sim).items()} == {
            "a": "Submitted", "b": "Submitted", "parent": "Rejected",
            "target": "Cancelled", "stop": "Cancelled",
        }  # fmt: skip
        client.cancel(1)
        client.cancel(2)
        client.place(totalQuantity="700", transmit="0", orderRef="entry")
        sell["parentId"] = "6"
        client.place(**sell, orderType="LMT", lmtPrice="200", transmit="0", orderRef="exit")
        client.place(**sell, orderType="STP", auxPrice="50", orderRef="guard")
        await client.settle()
        assert [orders(sim)[ref]["status"] for ref in ("entry", "exit", "guard")] == [
            "Filled", "Submitted", "PreSubmitted",
        ]  # fmt: skip


async def test_the_money_is_checked_again_when_an_order_fills() -> None:
    async with world(cash=D(60_000)) as sim:
        client = await sim.client()
        sim.do("quote", symbol="AAPL", bid="99.99", ask="100", last="100")
        client.place(totalQuantity="1000", orderType="STP", auxPrice="150", orderRef="stop")
        await client.settle()
        assert states(sim) == {"stop": ("PreSubmitted", "0")}
        sim.do("quote", symbol="AAPL", bid="149.99", ask="150", last="150")
        await client.wait_for("errMsg", reqId="1", code="201")
        await client.wait_for("orderStatus", orderId="1", status="Inactive")
        assert sim.books()["executions"] == []


async def test_closing_is_never_refused_for_money() -> None:
    async with world(cash=D(60_000)) as sim:
        client = await sim.client()
        sim.do("quote", symbol="AAPL", bid="99.99", ask="100", last="100")
        client.place(totalQuantity="1000")
        await client.settle()
        sim.do("quote", symbol="AAPL", bid="19.99", ask="20", last="20")
        client.place(totalQuantity="1000", action="SELL", orderRef="out")
        await client.settle()
        assert states(sim)["out"] == ("Filled", "1000")


@pytest.mark.parametrize(
    "order",
    [
        {"orderType": "LMT", "lmtPrice": "500"},
        {"action": "SELL", "totalQuantity": "300"},
        {**OPTION, "totalQuantity": "3"},
        {**FUTURE, "totalQuantity": "2"},
        {**FOREX, "totalQuantity": "40000"},
        {"secType": "BAG", "symbol": "AAPL,MSFT", "comboLegs": [
            {"conId": "265598", "ratio": "1", "action": "BUY", "exchange": "SMART"},
            {"conId": "272093", "ratio": "2", "action": "SELL", "exchange": "SMART"},
        ]},
    ],
    ids=["stock", "short", "option", "future", "forex", "combo"],
)  # fmt: skip
@pytest.mark.parametrize("parts", [1, 3])
async def test_a_preview_says_what_the_fill_then_does(order: dict[str, Any], parts: int) -> None:
    async with world(clock=SteppedClock(MONDAY_NOON), parts=parts) as sim:
        client = await sim.client()
        client.place(totalQuantity="50")  # something held, so that before is not zero
        await client.settle()
        client.place(**order, whatIf="1")
        await client.settle()
        told = client.last("openOrder")
        client.place(**order)
        await client.settle()
        client.ask("reqAccountSummary", reqId="9", group="All",
                   tags="InitMarginReq,MaintMarginReq,EquityWithLoanValue")  # fmt: skip
        await client.wait_for("accountSummaryEnd", reqId="9")
        rows = [row for name, row in client.received if name == "accountSummary"]
        now = {row["tag"]: row["value"] for row in rows}
        assert (told["initMarginAfter"], told["maintMarginAfter"]) == (
            now["InitMarginReq"], now["MaintMarginReq"],
        )  # fmt: skip
        assert told["equityWithLoanAfter"] == now["EquityWithLoanValue"]
        charged = sum(D(row["commission"]) for row in sim.books()["commissions"][1:])
        assert D(told["minCommission"]) <= charged <= D(told["maxCommission"])
        assert D(told["initMarginBefore"]) + D(told["initMarginChange"]) == D(
            told["initMarginAfter"]
        )


async def test_a_currency_pair_may_be_ordered_by_cash() -> None:
    async with world() as sim:
        client = await sim.client()
        sim.do("quote", symbol="EUR.USD", bid="1.0999", ask="1.1")
        cash = {"totalQuantity": "0", "cashQty": "55000"}
        order_id = client.place(**FOREX, **cash)
        await client.settle()
        assert sim.books()["executions"][0]["quantity"] == "50000"
        assert client.last("openOrder")["cashQty"] == "55000"
        assert await refused(client, **cash) == "10244"
        assert await refused(client, **FOREX, cashQty="55000") == "321"
        assert await refused(client, **FOREX, totalQuantity="0", cashQty="0.5") == "434"
        limit = {"orderType": "LMT", "lmtPrice": "1", "orderId": str(order_id + 4)}
        client.place(**FOREX, **cash, **limit)
        assert await refused(client, **FOREX, **cash, **limit) == "10241"


# -- prices ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("order", "code"),
    [
        ({**OPTION, "orderType": "LMT", "lmtPrice": "2.99"}, ""),
        ({**OPTION, "orderType": "LMT", "lmtPrice": "3.05"}, ""),
        ({**OPTION, "orderType": "LMT", "lmtPrice": "3.01"}, "110"),
        ({**FUTURE, "orderType": "LMT", "lmtPrice": "70.01"}, ""),
        ({**FUTURE, "orderType": "LMT", "lmtPrice": "70.001"}, "110"),
        ({"orderType": "TRAIL", "auxPrice": "1", "trailingPercent": "2"}, "321"),
        ({"orderType": "TRAIL"}, "158"),
        ({"orderType": "TRAIL", "trailingPercent": "120"}, "159"),
        ({"orderType": "TRAIL", "auxPrice": "1", "trailStopPrice": "200.001"}, "110"),
        ({"orderType": "TRAIL LIMIT", "auxPrice": "1"}, "321"),
        ({"orderType": "TRAIL LIMIT", "auxPrice": "1", "lmtPriceOffset": "1", "lmtPrice": "9"},
         "321"),
        ({"orderType": "LMT", "lmtPrice": "-1"}, "321"),
        ({"displaySize": "100"}, "10020"),
        ({"displaySize": "50", "hidden": "1"}, ""),
        ({"secType": "BAG", "symbol": "AAPL"}, "314"),
        ({"secType": "BAG", "symbol": "AAPL", "comboLegs": [
            {"conId": "1", "ratio": "1", "action": "BUY", "exchange": "SMART"}]}, "313"),
        ({"secType": "BAG", "symbol": "AAPL", "comboLegs": [
            {"conId": "265598", "ratio": "0", "action": "BUY", "exchange": "SMART"}]}, "313"),
        ({"secType": "BAG", "symbol": "AAPL", "comboLegs": [
            {"conId": "265598", "ratio": "1", "action": "BUY", "exchange": "SMART"}]}, "312"),
    ],
)  # fmt: skip
async def test_an_order_is_taken_or_refused_by_its_prices(order: dict[str, Any], code: str) -> None:
    async with world(clock=SteppedClock(MONDAY_NOON)) as sim:
        client = await sim.client()
        client.forget()
        client.place(**order)
        await client.settle()
        assert client.story("errMsg") == ([f"errMsg {code}"] if code else [])


async def test_every_contract_tells_a_market_rule_that_agrees_with_its_minimum_tick() -> None:
    async with world(clock=SteppedClock(MONDAY_NOON)) as sim:
        client = await sim.client()
        for number, symbol in enumerate(("CL", "GC", "ZN", "ES")):
            client.ask("reqContractDetails", reqId=str(number), symbol=symbol, secType="FUT")
        client.ask("reqContractDetails", reqId="5", localSymbol="USD.JPY", secType="CASH")
        await client.wait_for("contractDetailsEnd", reqId="5")
        found = [row for name, row in client.received if name == "contractDetails"]
        for row in found:
            client.ask("reqMarketRule", marketRuleId=row["marketRuleIds"].split(",")[0])
        await client.settle()
        told = {
            row["marketRuleId"]: row["increments"][0]["increment"]
            for name, row in client.received
            if name == "marketRule"
        }
        assert len(found) == 17
        assert [told[row["marketRuleIds"].split(",")[0]] for row in found] == [
            row["minTick"] for row in found
        ]


async def test_a_trailing_stop_shows_where_it_stands() -> None:
    async with world() as sim:
        client = await sim.client()
        sim.do("quote", symbol="AAPL", last="190")
        client.place(action="SELL", orderType="TRAIL LIMIT", auxPrice="2", lmtPriceOffset="1")
        await client.settle()
        shown = client.last("openOrder")
        assert (shown["trailStopPrice"], shown["lmtPrice"], shown["auxPrice"]) == (
            "188",
            "187",
            "2",
        )
        sim.do("quote", symbol="AAPL", last="200")
        client.ask("reqOpenOrders")
        await client.settle()
        assert client.last("openOrder")["trailStopPrice"] == "198"
        sim.do("quote", symbol="AAPL", last="190.37")
        client.place(orderType="TRAIL", trailingPercent="1")
        await client.settle()
        assert client.last("openOrder")["trailStopPrice"] == "192.27"  # of 192.2737


async def test_a_trailing_child_starts_where_the_price_is_when_its_parent_has_filled() -> None:
    async with world() as sim:
        client = await sim.client()
        sim.do("quote", symbol="AAPL", last="190")
        parent = client.place(orderType="LMT", lmtPrice="100", transmit="0", orderRef="parent")
        client.place(action="SELL", orderType="TRAIL", auxPrice="2", parentId=str(parent))
        await client.settle()
        sim.do("quote", symbol="AAPL", last="100.01")
        sim.do("fill", order_ref="parent", price="100")
        await client.settle()
        assert client.last("openOrder")["trailStopPrice"] == "98"


# -- the day --------------------------------------------------------------------------------------


async def test_day_orders_end_at_midnight_where_the_market_never_closes() -> None:
    async with world(clock=SteppedClock(MONDAY_NOON)) as sim:
        client = await sim.client()
        resting = {"orderType": "LMT", "lmtPrice": "1"}
        client.place(**resting, orderRef="day")
        client.place(**resting, tif="GTC", orderRef="gtc")
        client.place(orderType="MOC", orderRef="moc")
        await client.settle()
        sim.do("advance", seconds=str(12 * 3600 - 1))
        assert {row["status"] for row in sim.books()["orders"]} == {"Submitted", "PreSubmitted"}
        sim.do("advance", seconds="2")
        assert {ref: row["status"] for ref, row in orders(sim).items()} == {
            "day": "Cancelled", "gtc": "Submitted", "moc": "Filled",
        }  # fmt: skip
        client.place(orderRef="tuesday")
        await client.settle()
        assert orders(sim)["tuesday"]["status"] == "Filled"


async def test_a_day_order_ends_with_the_session_of_its_own_contract() -> None:
    async with world(clock=SteppedClock(MONDAY_NOON), hours="regular") as sim:
        client = await sim.client()
        resting = {"orderType": "LMT", "lmtPrice": "1"}
        client.place(**resting, orderRef="stock")
        client.place(**resting, outsideRth="1", orderRef="evening")
        client.place(**FUTURE, **resting, orderRef="future")
        client.place(**FOREX, orderType="LMT", lmtPrice="0.5", totalQuantity="25000",
                     orderRef="forex")  # fmt: skip
        await client.settle()
        sim.do("advance", seconds="1")
        ended: list[list[str]] = []
        for _ in range(9):  # one in the afternoon to nine in the evening
            sim.do("advance", seconds="3600")
            gone = {ref for ref, row in orders(sim).items() if row["status"] == "Cancelled"}
            ended.append(sorted(gone - {one for names in ended for one in names}))
        assert ended == [[], [], [], ["stock"], ["forex", "future"], [], [], ["evening"], []]


async def test_a_day_order_of_yesterday_has_ended_when_the_gateway_comes_back(
    tmp_path: Any,
) -> None:
    file = tmp_path / "gateway.db"
    async with world(books=file, clock=SteppedClock(MONDAY_NOON), hours="regular") as sim:
        client = await sim.client()
        client.place(orderType="LMT", lmtPrice="1", orderRef="day")
        client.place(orderType="LMT", lmtPrice="1", tif="GTC", orderRef="gtc")
        await client.settle()
    tuesday = SteppedClock(datetime(2026, 1, 6, 17, 0, tzinfo=UTC))
    async with world(books=file, clock=tuesday, hours="regular") as sim:
        assert [row["status"] for row in sim.books()["orders"]] == ["Cancelled", "Submitted"]


async def test_an_immediate_order_does_not_wait_for_the_open() -> None:
    evening = SteppedClock(datetime(2026, 1, 5, 23, 0, tzinfo=UTC))
    async with world(clock=evening, hours="regular") as sim:
        client = await sim.client()
        client.place(tif="IOC", orderRef="ioc")
        client.place(tif="FOK", outsideRth="1", orderRef="fok")
        client.place(orderRef="day")
        await client.settle()
        assert {ref: row["status"] for ref, row in orders(sim).items()} == {
            "ioc": "Cancelled", "fok": "Filled", "day": "PreSubmitted",
        }  # fmt: skip


async def test_where_a_person_fills_the_auctions_fill_nothing() -> None:
    morning = SteppedClock(datetime(2026, 1, 5, 13, 0, tzinfo=UTC))
    async with world(clock=morning, hours="regular", fills="manual") as sim:
        client = await sim.client()
        client.place(orderType="MOC", orderRef="close")
        client.place(tif="OPG", orderRef="open")
        await client.settle()
        sim.do("advance", seconds=str(2 * 3600))
        assert states(sim)["open"] == ("PreSubmitted", "0")
        sim.do("fill", order_ref="open")
        sim.do("advance", seconds=str(7 * 3600))
        assert states(sim) == {"close": ("Cancelled", "0"), "open": ("Filled", "100")}


async def test_limit_orders_on_the_auctions_trade_within_their_limit_or_end() -> None:
    morning = SteppedClock(datetime(2026, 1, 5, 13, 0, tzinfo=UTC))
    async with world(clock=morning, hours="regular") as sim:
        client = await sim.client()
        sim.do("quote", symbol="AAPL", last="190")
        for ref, price in (("above", "191"), ("below", "189")):
            client.place(orderType="LMT", lmtPrice=price, tif="OPG", orderRef=f"open {ref}")
            client.place(orderType="LOC", lmtPrice=price, orderRef=f"close {ref}")
        await client.settle()
        sim.do("advance", seconds=str(9 * 3600))
        assert {ref: row["status"] for ref, row in orders(sim).items()} == {
            "open above": "Filled", "open below": "Cancelled",
            "close above": "Filled", "close below": "Cancelled",
        }  # fmt: skip


async def test_the_hours_that_are_told_move_with_the_clock() -> None:
    async with world(clock=SteppedClock(MONDAY_NOON), hours="regular") as sim:
        client = await sim.client()
        client.ask("reqContractDetails", reqId="1", **STOCK)
        await client.wait_for("contractDetailsEnd", reqId="1")
        told = client.last("contractDetails")
        assert told["timeZoneId"] == "US/Eastern"
        client.ask("reqContractDetails", reqId="9", **OPTION)
        option = await client.wait_for("contractDetails", reqId="9")
        assert (option["underConId"], option["underSymbol"], option["underSecType"]) == (
            "265598", "AAPL", "STK",
        )  # fmt: skip
        assert told["tradingHours"].startswith("20260105:0400-20260105:2000;20260106:0400-")
        assert told["liquidHours"].startswith("20260105:0930-20260105:1600;20260106:0930-")
        sim.do("advance", seconds=str(5 * 24 * 3600))
        client.ask("reqContractDetails", reqId="2", **STOCK)
        await client.wait_for("contractDetailsEnd", reqId="2")
        told = client.last("contractDetails")
        assert told["tradingHours"].startswith("20260110:CLOSED;20260111:CLOSED;20260112:0400-")


async def test_a_market_that_never_closes_says_so() -> None:
    async with world(clock=SteppedClock(MONDAY_NOON)) as sim:
        client = await sim.client()
        client.ask("reqContractDetails", reqId="1", **STOCK)
        told = await client.wait_for("contractDetails", reqId="1")
        assert told["liquidHours"].startswith("20260105:0000-20260106:0000;20260106:0000-")


async def test_a_fraction_of_a_share_is_for_a_person_to_order() -> None:
    async with world(fills="manual") as sim:
        client = await sim.client()
        assert await refused(client, totalQuantity="0.5") == "10243"
        sim.do("manual_order", symbol="AAPL", side="BUY", quantity="0.5", order_ref="tws")
        sim.do("fill", order_ref="tws", quantity="0.25")
        assert orders(sim)["tws"]["remaining"] == "0.25"


async def test_daily_profit_counts_from_midnight() -> None:
    async with world(clock=SteppedClock(MONDAY_NOON), commission="none") as sim:
        client = await sim.client()
        sim.do("quote", symbol="AAPL", bid="99.99", ask="100", last="100")
        client.place()
        client.place(totalQuantity="10", action="SELL", orderType="LMT", lmtPrice="1")
        await client.settle()
        sim.do("quote", symbol="AAPL", bid="109.99", ask="110", last="110")
        await pnl(client, daily="899.9", unrealized="900", realized="-0.1")
        sim.do("advance", seconds=str(13 * 3600))
        await pnl(client, daily="0", unrealized="900", realized="0")
        sim.do("quote", symbol="AAPL", bid="112", ask="112.01", last="112")
        client.place(totalQuantity="40", action="SELL")
        await client.settle()
        await pnl(client, daily="180", unrealized="600", realized="480")
        client.ask("reqMktData", reqId="77", snapshot="1", **STOCK)
        await client.wait_for("tickPrice", reqId="77", tickType="9", price="110")


async def pnl(client: WireClient, *, daily: str, unrealized: str, realized: str) -> None:
    """What an account and its one position have gained."""
    client.forget()
    client.ask("reqPnL", reqId="5", account="DU1234567")
    client.ask("reqPnLSingle", reqId="6", account="DU1234567", conId="265598")
    expected = {"dailyPnL": daily, "unrealizedPnL": unrealized, "realizedPnL": realized}
    whole = await client.wait_for("pnl", reqId="5")
    assert {name: whole[name] for name in expected} == expected
    single = await client.wait_for("pnlSingle", reqId="6")
    assert {name: single[name] for name in expected} == expected
    client.ask("cancelPnL", reqId="5")
    client.ask("cancelPnLSingle", reqId="6")


async def test_prices_go_on_where_they_were_when_the_gateway_is_started_again(
    tmp_path: Any,
) -> None:
    file = tmp_path / "gateway.db"
    async with world(books=file, market="moving", clock=SteppedClock(MONDAY_NOON)) as sim:
        client = await sim.client()
        client.ask("reqMktData", reqId="1", **STOCK)
        client.ask("reqMktData", reqId="2", **OPTION)
        await client.wait_for("tickPrice", reqId="2")
        sim.do("quote", symbol="AAPL", last="321")
        before = sim.do("quote", symbol="AAPL")
    later = SteppedClock(MONDAY_NOON)
    async with world(books=file, market="moving", clock=later) as sim:
        assert sim.do("quote", symbol="AAPL") == before
        sim.do("advance", seconds="5")


async def test_an_order_that_was_filling_in_parts_goes_on_after_a_restart(tmp_path: Any) -> None:
    file = tmp_path / "gateway.db"
    slow: dict[str, Any] = {"books": file, "parts": 4, "part_seconds": 10.0}
    async with world(**slow, clock=SteppedClock(MONDAY_NOON)) as sim:
        client = await sim.client()
        client.place(orderRef="slow")
        await client.settle()
        assert states(sim)["slow"] == ("Submitted", "25")
    async with world(**slow, clock=SteppedClock(MONDAY_NOON)) as sim:
        sim.do("advance", seconds="31")
        assert states(sim)["slow"] == ("Filled", "100")


async def test_a_new_end_of_a_dated_order_holds() -> None:
    async with world(clock=SteppedClock(MONDAY_NOON)) as sim:
        client = await sim.client()
        dated = {"orderType": "LMT", "lmtPrice": "1", "tif": "GTD"}
        order_id = client.place(**dated, goodTillDate="20260105-18:00:00")
        client.place(**dated, goodTillDate="20260105-19:00:00", orderId=str(order_id))
        await client.settle()
        sim.do("advance", seconds=str(1.5 * 3600))
        assert sim.books()["orders"][0]["status"] == "Submitted"
        sim.do("advance", seconds="1801")
        assert sim.books()["orders"][0]["status"] == "Cancelled"


@pytest.mark.parametrize(
    ("method", "status"),
    [("", "PreSubmitted"), ("2", "PreSubmitted"), ("4", "Filled"), ("7", "Filled"),
     ("8", "PreSubmitted")],
)  # fmt: skip
async def test_a_stop_looks_at_the_price_of_its_trigger_method(method: str, status: str) -> None:
    async with world() as sim:
        client = await sim.client()
        sim.do("quote", symbol="AAPL", bid="100", ask="101", last="100.5")
        client.place(action="SELL", orderType="STP", auxPrice="95", triggerMethod=method)
        await client.settle()
        sim.do("quote", symbol="AAPL", bid="95", ask="101", last="100")
        assert sim.books()["orders"][0]["status"] == status


# -- conditions -----------------------------------------------------------------------------------


async def test_an_execution_of_another_symbol_lets_a_waiting_order_work() -> None:
    async with world() as sim:
        client = await sim.client()
        client.place(symbol="MSFT", orderRef="before")
        await client.settle()
        sim.gateway.books.commit()
        condition = {"condType": "5", "conjunction": "a", "secType": "STK", "exch": "SMART"}
        client.place(conditions=[{**condition, "symbol": "IBM"}], orderRef="waits")
        await client.settle()
        assert states(sim)["waits"] == ("PreSubmitted", "0")
        client.place(symbol="IBM")
        await client.settle()
        assert states(sim)["waits"] == ("Filled", "100")


async def test_an_order_looks_at_the_contract_that_its_new_condition_names() -> None:
    async with world() as sim:
        client = await sim.client()
        condition = {"condType": "1", "conjunction": "a", "isMore": "1", "price": "1000",
                     "conId": "272093", "exch": "SMART", "triggerMethod": "0"}  # fmt: skip
        order_id = client.place(conditions=[condition], orderRef="a")
        client.place(conditions=[{**condition, "conId": "8314"}], orderId=str(order_id),
                     orderRef="a")  # fmt: skip
        await client.settle()
        sim.do("quote", symbol="MSFT", last="1001")
        assert states(sim)["a"] == ("PreSubmitted", "0")
        sim.do("quote", symbol="IBM", last="1001")
        assert states(sim)["a"] == ("Filled", "100")
        sim.do("quote", symbol="MSFT", last="1002")


# -- what the market tells ------------------------------------------------------------------------


async def test_delayed_quotes_come_as_delayed_ticks() -> None:
    async with world() as sim:
        client = await sim.client()
        client.ask("reqMarketDataType", marketDataType="3")
        client.ask("reqMktData", reqId="1", **STOCK)
        await client.settle()
        assert client.last("marketDataType")["marketDataType"] == "3"
        prices = [row["tickType"] for name, row in client.received if name == "tickPrice"]
        sizes = [row["tickType"] for name, row in client.received if name == "tickSize"]
        assert prices == ["66", "67", "68", "72", "73", "75", "76"]
        assert sizes == ["69", "70", "71", "74"]
        client.ask("reqMarketDataType", marketDataType="1")
        client.ask("reqMktData", reqId="2", **STOCK)
        await client.wait_for("tickPrice", reqId="2", tickType="1")
        client.ask("reqMarketDataType", marketDataType="9")
        await client.wait_for("errMsg", reqId="-1", code="321")


async def test_a_combination_is_quoted_from_its_legs() -> None:
    async with world() as sim:
        client = await sim.client()
        sim.do("quote", symbol="AAPL", bid="100", ask="101", size="300")
        sim.do("quote", symbol="MSFT", bid="40", ask="41", size="500")
        legs = [
            {"conId": "265598", "ratio": "1", "action": "BUY", "exchange": "SMART"},
            {"conId": "272093", "ratio": "2", "action": "SELL", "exchange": "SMART"},
        ]
        combo = {"symbol": "AAPL,MSFT", "secType": "BAG", "currency": "USD", "exchange": "SMART"}
        client.ask("reqMktData", reqId="1", **combo, comboLegs=legs)
        await client.wait_for("tickPrice", reqId="1", tickType="1", price="18")
        ask = await client.wait_for("tickPrice", reqId="1", tickType="2")
        assert (ask["price"], ask["size"]) == ("21", "250")
        sim.do("quote", symbol="MSFT", bid="39", ask="40")
        await client.wait_for("tickPrice", reqId="1", tickType="1", price="20")
        client.ask("reqMktData", reqId="2", **combo)
        await client.wait_for("errMsg", reqId="2", code="314")


async def test_bars_have_the_range_of_what_happened_in_them() -> None:
    async with world(clock=SteppedClock(MONDAY_NOON), market="moving") as sim:
        client = await sim.client()
        for request_id, shows in (("1", "TRADES"), ("2", "BID"), ("3", "MIDPOINT")):
            client.ask("reqRealTimeBars", reqId=request_id, barSize="5", whatToShow=shows, **STOCK)
        await client.settle()
        sim.do("advance", seconds="60.5")
        await client.settle()
        bars = [row for name, row in client.received if name == "realtimeBar"]
        trades = [row for row in bars if row["reqId"] == "1"]
        assert len(trades) == 12
        for row in bars:
            low, high = D(row["low"]), D(row["high"])
            assert low <= D(row["open"]) <= high
            assert low <= D(row["close"]) <= high
        assert any(row["low"] != row["high"] for row in trades)
        assert all(D(row["volume"]) > 0 for row in trades)
        assert {row["volume"] for row in bars if row["reqId"] != "1"} == {"-1"}
        assert [int(row["time"]) % 5 for row in trades] == [0] * 12


@pytest.mark.parametrize("wrong", [{"barSize": "30"}, {"whatToShow": "SCHEDULE"}])
async def test_bars_that_ib_does_not_make_are_refused(wrong: dict[str, str]) -> None:
    async with world() as sim:
        client = await sim.client()
        asked = {"barSize": "5", "whatToShow": "TRADES", **STOCK, **wrong}
        client.ask("reqRealTimeBars", reqId="1", **asked)
        await client.wait_for("errMsg", reqId="1", code="321")


# -- the account ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tags", "currencies"),
    [
        ("$LEDGER", {"BASE"}),
        ("$LEDGER:EUR", {"EUR"}),
        ("$LEDGER:ALL", {"BASE", "EUR", "USD"}),
        ("$LEDGER:JPY", set()),
    ],
)
async def test_a_ledger_has_the_currencies_that_were_asked_for(
    tags: str, currencies: set[str]
) -> None:
    async with world() as sim:
        client = await sim.client()
        sim.do("cash", amount="100", currency="EUR")
        client.ask("reqAccountSummary", reqId="1", group="All", tags=tags)
        await client.wait_for("accountSummaryEnd", reqId="1")
        rows = [row for name, row in client.received if name == "accountSummary"]
        assert {row["currency"] for row in rows} == currencies


async def test_a_position_counts_in_the_ledger_of_its_own_currency() -> None:
    async with world() as sim:
        client = await sim.client()
        sim.do("quote", symbol="SAP", last="180", bid="179.99", ask="180")
        client.place(symbol="SAP", exchange="IBIS", currency="EUR", totalQuantity="10")
        await client.settle()
        client.ask("reqAccountSummary", reqId="1", group="All", tags="$LEDGER:ALL")
        await client.wait_for("accountSummaryEnd", reqId="1")
        rows = [row for name, row in client.received if name == "accountSummary"]
        worth = {row["currency"]: row["value"] for row in rows if row["tag"] == "StockMarketValue"}
        assert worth == {"BASE": "1980.00", "EUR": "1800.00", "USD": "0.00"}


@pytest.mark.parametrize(
    ("request_name", "asked"),
    [
        ("reqAccountSummary", {"group": "Mine", "tags": "NetLiquidation"}),
        ("reqAccountSummary", {"group": "All", "tags": "NetLiquidation,Wealth"}),
        ("reqAccountSummary", {"group": "All", "tags": ""}),
        ("reqPositionsMulti", {"account": "DU9"}),
        ("reqAccountUpdatesMulti", {"account": "DU9"}),
        ("reqPnL", {"account": "DU9"}),
        ("reqPnLSingle", {"account": "DU9", "conId": "265598"}),
    ],
)
async def test_a_question_about_what_is_not_there_is_refused(
    request_name: str, asked: dict[str, str]
) -> None:
    async with world() as sim:
        client = await sim.client()
        client.forget()
        client.ask(request_name, reqId="5", **asked)
        await client.settle()
        assert client.story() == ["errMsg 321"]


async def test_an_index_has_a_market_and_takes_no_order() -> None:
    async with world() as sim:
        client = await sim.client()
        index = {"symbol": "SPX", "secType": "IND", "exchange": "CBOE", "currency": "USD"}
        client.ask("reqMktData", reqId="9", **index)
        await client.wait_for("tickPrice", reqId="9", tickType="4")
        assert await refused(client, **index) == "201"


async def test_an_option_on_a_future_trades_on_its_exchange() -> None:
    async with world(clock=SteppedClock(MONDAY_NOON)) as sim:
        client = await sim.client()
        option = {"symbol": "ES", "secType": "FOP", "exchange": "CME", "right": "C"}
        option |= {"strike": "5300", "lastTradeDateOrContractMonth": "202603"}
        option |= {"currency": "USD"}
        client.place(orderRef="fop", totalQuantity="1", **option)
        await client.wait_for("execDetails", secType="FOP")
        assert states(sim)["fop"] == ("Filled", "1")


async def test_per_currency_keys_of_account_updates_may_have_ibs_prefix() -> None:
    """IB: TWS API changelog of 8 May 2026; the summary has its keys as before."""
    async with world(ledger_prefix=True) as sim:
        client = await sim.client()
        client.ask("reqAccountUpdates", subscribe="1", account="DU1234567")
        await client.wait_for("accountDownloadEnd")
        client.ask("reqAccountUpdatesMulti", reqId="1", account="All", ledgerAndNLV="1")
        await client.wait_for("accountUpdateMultiEnd", reqId="1")
        client.ask("reqAccountSummary", reqId="2", group="All", tags="$LEDGER:ALL")
        await client.wait_for("accountSummaryEnd", reqId="2")
        for name in ("updateAccountValue", "accountUpdateMulti"):
            keys = {values["key"] for seen, values in client.received if seen == name}
            assert {"$LEDGER-CashBalance", "$LEDGER-ExchangeRate", "NetLiquidation"} <= keys
            assert not {"CashBalance", "$LEDGER-NetLiquidation"} & keys
        tags = {values["tag"] for seen, values in client.received if seen == "accountSummary"}
        assert "CashBalance" in tags
