"""The life of an order as IB tells it, message by message, on a bare socket."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from oms.sim.clock import SteppedClock
from tests.integration.sim_world import world

ORDER_STORY = ("openOrder", "orderStatus", "execDetails", "commissionReport", "errMsg")
MONDAY_NOON = datetime(2026, 1, 5, 17, 0, tzinfo=UTC)  # 12:00 in New York


async def test_a_market_order_is_told_as_acknowledged_executed_filled_and_charged() -> None:
    async with world() as sim:
        client = await sim.client()
        client.forget()
        client.place()
        await client.settle()
        assert client.story() == [
            "openOrder PreSubmitted",
            "orderStatus PreSubmitted",
            "execDetails",
            "openOrder Filled",
            "orderStatus Filled",
            "commissionReport",
        ]


async def test_a_resting_limit_is_presubmitted_then_submitted_then_cancelled() -> None:
    async with world() as sim:
        client = await sim.client()
        client.forget()
        order_id = client.place(orderType="LMT", lmtPrice="100")
        client.cancel(order_id)
        await client.settle()
        assert client.story("orderStatus", "errMsg") == [
            "orderStatus PreSubmitted",
            "orderStatus Submitted",
            "orderStatus Cancelled",
            "errMsg 202",
        ]


@pytest.mark.parametrize(
    ("form", "story"),
    [
        ("status-first", ["orderStatus Cancelled", "errMsg 202"]),
        ("error-first", ["errMsg 202", "orderStatus Cancelled"]),
        ("pending-first", ["orderStatus PendingCancel", "orderStatus Cancelled", "errMsg 202"]),
    ],
)
async def test_a_cancel_is_confirmed_in_the_chosen_form(form: str, story: list[str]) -> None:
    async with world(cancel_order=form) as sim:
        client = await sim.client()
        order_id = client.place(orderType="LMT", lmtPrice="1")
        await client.settle()
        client.forget()
        client.cancel(order_id)
        await client.settle()
        assert client.story() == story


async def test_a_fill_in_part_takes_no_pending_cancel_back() -> None:
    async with world(fills="manual") as sim:
        client = await sim.client()
        client.place(orderType="LMT", lmtPrice="100")
        await client.settle()
        sim.do("status", order="last", status="PendingCancel")
        await client.settle()
        client.forget()
        sim.do("fill", order="last", quantity="40")
        sim.do("fill", order="last")
        await client.settle()
        assert client.story("orderStatus") == ["orderStatus PendingCancel", "orderStatus Filled"]


async def test_a_modify_answers_with_the_new_terms_and_keeps_the_order() -> None:
    async with world() as sim:
        client = await sim.client()
        order_id = client.place(orderType="LMT", lmtPrice="100", orderRef="one")
        await client.settle()
        client.forget()
        client.place(orderId=str(order_id), orderType="LMT", lmtPrice="101", orderRef="one")
        await client.settle()
        assert client.story() == ["openOrder Submitted", "orderStatus Submitted"]
        assert client.last("openOrder")["lmtPrice"] == "101"
        books = sim.books()
        assert [row["received"] for row in books["placements"]] == [1]
        assert [row["received"] for row in books["modifications"]] == [1]


@pytest.mark.parametrize("twice", [True, False])
async def test_the_end_of_a_filled_order_is_told_twice_as_ib_does(*, twice: bool) -> None:
    async with world(filled_twice=twice) as sim:
        client = await sim.client()
        client.place()
        await client.wait_for("commissionReport")
        story = client.story("openOrder", "orderStatus", "execDetails", "commissionReport")
        end = ["openOrder Filled", "orderStatus Filled"] * (1 + twice)
        assert story[2:] == ["execDetails", *end, "commissionReport"]


async def test_new_terms_that_cross_a_fill_are_no_second_placement() -> None:
    async with world() as sim:
        client = await sim.client()
        order_id = client.place(orderRef="one")
        await client.wait_for("commissionReport")
        client.place(orderId=str(order_id), orderType="LMT", lmtPrice="101", orderRef="one")
        await client.wait_for("errMsg", reqId=str(order_id), code="104")
        # The number of an order that ended, in the name of another one, is a placement.
        client.place(orderId=str(order_id), orderRef="two")
        await client.settle()
        books = sim.books()
        assert [(row["order_ref"], row["received"]) for row in books["placements"]] == [
            ("one", 1),
            ("two", 1),
        ]
        assert [row["received"] for row in books["late_modifications"]] == [1]
        assert books["modifications"] == []


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"action": "SELL"}, "105"),
        ({"symbol": "MSFT"}, "105"),
        ({"orderType": "STP", "auxPrice": "90"}, "329"),
        ({"lmtPrice": "100.001"}, "110"),
        ({"ocaGroup": "other"}, "10326"),
        ({"totalQuantity": "0"}, "434"),
        ({"totalQuantity": "90000000"}, "201"),
    ],
)
async def test_a_refused_modify_leaves_the_old_terms_in_force(
    change: dict[str, str], code: str
) -> None:
    async with world() as sim:
        client = await sim.client()
        order_id = client.place(orderType="LMT", lmtPrice="100")
        await client.settle()
        terms = {"orderType": "LMT", "lmtPrice": "101", **change}
        client.place(orderId=str(order_id), **terms)
        await client.wait_for("errMsg", reqId=str(order_id), code=code)
        (order,) = sim.books()["orders"]
        assert (order["status"], order["limit_price"]) == ("Submitted", "100")


@pytest.mark.parametrize(
    ("order", "code"),
    [
        ({"totalQuantity": "90000000"}, "201"),
        ({"orderType": "LMT", "lmtPrice": "100.001"}, "110"),
        ({"orderType": "LMT"}, "403"),
        ({"orderType": "NONE"}, "387"),
        ({"symbol": "NOSUCH"}, "200"),
        ({"exchange": "", "currency": ""}, "200"),
        ({"totalQuantity": "0"}, "434"),
        ({"totalQuantity": "0.5"}, "10243"),
        ({"account": "DU9"}, "321"),
        ({"tif": "XYZ"}, "10052"),
        ({"tif": "GTD", "goodTillDate": "20200101 10:00:00"}, "343"),
        ({"parentId": "99"}, "10006"),
        ({"whatIf": "1", "transmit": "0"}, "413"),
    ],
)
async def test_a_new_order_is_refused_with_the_code_of_ib(order: dict[str, str], code: str) -> None:
    async with world() as sim:
        client = await sim.client()
        order_id = client.place(**order)
        await client.wait_for("errMsg", reqId=str(order_id), code=code)
        await client.settle()
        assert sim.books()["executions"] == []
        statuses = [row["status"] for row in sim.books()["orders"]]
        assert statuses == (["Rejected"] if code == "201" else [])


async def test_a_rejection_comes_before_the_inactive_status() -> None:
    async with world() as sim:
        client = await sim.client()
        client.forget()
        client.place(totalQuantity="90000000")
        await client.settle()
        assert client.story() == ["errMsg 201", "openOrder Inactive", "orderStatus Inactive"]


async def test_an_order_id_that_was_used_is_refused_and_its_owner_untouched() -> None:
    async with world() as sim:
        client = await sim.client()
        filled = client.place()
        cancelled = client.place(orderType="LMT", lmtPrice="1")
        client.cancel(cancelled)
        client.place(orderId=str(filled))
        client.place(orderId=str(cancelled), orderType="LMT", lmtPrice="1")
        await client.wait_for("errMsg", reqId=str(filled), code="104")
        await client.wait_for("errMsg", reqId=str(cancelled), code="103")
        assert len(sim.books()["executions"]) == 1


async def test_an_order_id_beyond_32_bits_is_refused_without_an_id() -> None:
    async with world() as sim:
        client = await sim.client()
        client.place(orderId=str(2**31))
        assert (await client.wait_for("errMsg", code="320"))["reqId"] == "-1"


async def test_a_cancel_that_cannot_be_says_why() -> None:
    async with world() as sim:
        client = await sim.client()
        order_id = client.place()
        client.cancel(order_id)
        client.cancel(999)
        done = await client.wait_for("errMsg", reqId=str(order_id), code="10148")
        await client.wait_for("errMsg", reqId="999", code="10147")
        assert "state: Filled" in done["text"]


async def test_an_order_is_held_until_its_last_child_is_transmitted() -> None:
    async with world() as sim:
        client = await sim.client()
        client.forget()
        parent = client.place(orderType="LMT", lmtPrice="100", transmit="0")
        profit = client.place(
            action="SELL", orderType="LMT", lmtPrice="250", transmit="0", parentId=str(parent)
        )
        await client.settle()
        assert client.story() == []
        assert len(sim.books()["untransmitted"]) == 2
        stop = client.place(action="SELL", orderType="STP", auxPrice="90", parentId=str(parent))
        await client.settle()
        held = {values["orderId"]: values["whyHeld"] for _, values in statuses(client)}
        assert held == {str(parent): "", str(profit): "child", str(stop): "child,trigger"}
        assert client.last("orderStatus")["parentId"] in ("0", str(parent))


async def test_a_child_may_be_attached_to_a_parent_that_lives_or_has_filled() -> None:
    async with world() as sim:
        client = await sim.client()
        parent = client.place(orderType="LMT", lmtPrice="100", orderRef="parent")
        client.place(action="SELL", orderType="LMT", lmtPrice="250", parentId=str(parent))
        await client.settle()
        assert [row["why_held"] for row in sim.books()["orders"]] == ["", "child"]
        sim.do("fill", order_ref="parent")
        client.place(action="SELL", orderType="STP", auxPrice="90", parentId=str(parent))
        await client.settle()
        assert [row["why_held"] for row in sim.books()["orders"]] == ["", "", "trigger"]
        assert len({row["perm_id"] for row in sim.books()["orders"]}) == 3


async def test_a_modify_below_what_has_filled_is_refused() -> None:
    async with world() as sim:
        client = await sim.client()
        order_id = client.place(orderType="LMT", lmtPrice="1", orderRef="a")
        await client.settle()
        sim.do("fill", order_ref="a", quantity="40")
        client.place(orderId=str(order_id), orderType="LMT", lmtPrice="1", totalQuantity="40")
        await client.wait_for("errMsg", reqId=str(order_id), code="104")
        assert sim.books()["orders"][0]["remaining"] == "60"


async def test_untransmitted_orders_are_lost_in_a_restart_and_the_rest_is_kept() -> None:
    async with world() as sim:
        client = await sim.client()
        client.place(orderType="LMT", lmtPrice="100", transmit="0")
        client.place(orderType="LMT", lmtPrice="100", orderRef="kept")
        await client.settle()
        sim.do("restart", roll_back=1)
        await client.until(lambda: client.ended)
        again = await sim.client()
        assert [row["order_ref"] for row in sim.books()["orders"]] == ["kept"]
        assert sim.books()["untransmitted"] == []
        assert again.next_id == 2


async def test_a_filled_member_cancels_its_oca_group() -> None:
    async with world() as sim:
        client = await sim.client()
        client.place(orderType="LMT", lmtPrice="100", ocaGroup="g", ocaType="1", orderRef="a")
        client.place(orderType="LMT", lmtPrice="90", ocaGroup="g", ocaType="1", orderRef="b")
        client.place(orderType="LMT", lmtPrice="90", ocaGroup="h", orderRef="c")
        await client.settle()
        sim.do("fill", order_ref="a", quantity="10")
        states = {row["order_ref"]: row["status"] for row in sim.books()["orders"]}
        assert states == {"a": "Submitted", "b": "Cancelled", "c": "Submitted"}


@pytest.mark.parametrize("kind", ["2", "3"])
async def test_a_partly_filled_member_reduces_its_oca_group(kind: str) -> None:
    async with world() as sim:
        client = await sim.client()
        client.place(orderType="LMT", lmtPrice="100", ocaGroup="g", ocaType=kind, orderRef="a")
        client.place(orderType="LMT", lmtPrice="90", ocaGroup="g", ocaType=kind, orderRef="b")
        await client.settle()
        sim.do("fill", order_ref="a", quantity="10")
        remaining = {row["order_ref"]: row["remaining"] for row in sim.books()["orders"]}
        assert remaining == {"a": "90", "b": "90"}


async def test_a_trailing_stop_follows_the_price_and_never_steps_back() -> None:
    async with world() as sim:
        client = await sim.client()
        sim.do("quote", symbol="AAPL", last="190")
        client.place(action="SELL", orderType="TRAIL", auxPrice="2")
        client.place(action="SELL", orderType="TRAIL", trailingPercent="1", orderRef="percent")
        await client.settle()
        for last in ("200", "199"):
            sim.do("quote", symbol="AAPL", last=last)
        assert [row["status"] for row in sim.books()["orders"]] == ["PreSubmitted"] * 2
        sim.do("quote", symbol="AAPL", last="198")
        assert [row["status"] for row in sim.books()["orders"]] == ["Filled", "Filled"]


@pytest.mark.parametrize(
    ("order", "away", "through"),
    [
        ({"orderType": "STP", "auxPrice": "200"}, "199", "200"),
        ({"orderType": "STP LMT", "auxPrice": "200", "lmtPrice": "201"}, "199", "200"),
        ({"orderType": "MIT", "auxPrice": "180"}, "181", "180"),
        ({"orderType": "LIT", "auxPrice": "180", "lmtPrice": "181"}, "182", "180"),
        ({"orderType": "TRAIL LIMIT", "auxPrice": "5", "trailStopPrice": "200",
          "lmtPriceOffset": "1"}, "194", "195"),
    ],
)  # fmt: skip
async def test_a_triggered_order_waits_for_its_price(
    order: dict[str, str], away: str, through: str
) -> None:
    async with world() as sim:
        client = await sim.client()
        sim.do("quote", symbol="AAPL", last="190")
        client.place(**order)
        await client.settle()
        assert client.last("orderStatus")["whyHeld"] == "trigger"
        sim.do("quote", symbol="AAPL", last=away)
        assert sim.books()["orders"][0]["status"] == "PreSubmitted"
        sim.do("quote", symbol="AAPL", last=through)
        assert sim.books()["orders"][0]["status"] == "Filled"


async def test_immediate_orders_fill_what_the_touch_offers_and_end() -> None:
    async with world(liquidity="touch") as sim:
        client = await sim.client()
        sim.do("quote", symbol="AAPL", bid="100", ask="100.1", size="60")
        client.place(orderType="LMT", lmtPrice="101", tif="FOK", orderRef="fok")
        client.place(orderType="LMT", lmtPrice="101", tif="IOC", orderRef="ioc")
        client.place(orderType="LMT", lmtPrice="101", tif="DAY", orderRef="day")
        await client.settle()
        ends = {row["order_ref"]: (row["status"], row["filled"]) for row in sim.books()["orders"]}
        assert ends == {
            "fok": ("Cancelled", "0"),
            "ioc": ("Cancelled", "60"),
            "day": ("Submitted", "0"),
        }
        sim.do("quote", symbol="AAPL", bid="100", ask="100.1", size="500")
        assert sim.books()["orders"][2]["status"] == "Filled"


async def test_orders_fill_in_parts_over_time() -> None:
    clock = SteppedClock(MONDAY_NOON)
    async with world(clock=clock, parts=3, part_seconds=2.0) as sim:
        client = await sim.client()
        client.place()
        await client.settle()
        filled = [sim.books()["orders"][0]["filled"]]
        for _ in range(3):
            sim.do("advance", seconds="2")
            filled.append(sim.books()["orders"][0]["filled"])
        assert filled == ["33", "66", "100", "100"]


async def test_a_dated_order_ends_at_its_time_and_a_later_one_waits_for_it() -> None:
    clock = SteppedClock(MONDAY_NOON)
    async with world(clock=clock) as sim:
        client = await sim.client()
        client.place(
            orderType="LMT",
            lmtPrice="1",
            tif="GTD",
            goodTillDate="20260105 12:30:00 America/New_York",
        )
        client.place(goodAfterTime="20260105-17:40:00")
        await client.settle()
        assert [row["status"] for row in sim.books()["orders"]] == ["Submitted", "PreSubmitted"]
        sim.do("advance", seconds="1860")
        assert [row["status"] for row in sim.books()["orders"]] == ["Cancelled", "PreSubmitted"]
        sim.do("advance", seconds="600")
        assert [row["status"] for row in sim.books()["orders"]] == ["Cancelled", "Filled"]


async def test_the_regular_session_opens_and_closes_by_the_clock() -> None:
    clock = SteppedClock(datetime(2026, 1, 5, 13, 0, tzinfo=UTC))  # 08:00 in New York
    async with world(clock=clock, hours="regular") as sim:
        client = await sim.client()
        client.place(orderRef="market")
        client.place(orderRef="night", outsideRth="1")
        client.place(orderRef="open", tif="OPG")
        client.place(orderRef="close", orderType="MOC")
        client.place(orderRef="day", orderType="LMT", lmtPrice="1")
        client.place(orderRef="gtc", orderType="LMT", lmtPrice="1", tif="GTC")
        await client.settle()
        states = {row["order_ref"]: row["status"] for row in sim.books()["orders"]}
        assert states.pop("night") == "Filled"
        assert set(states.values()) == {"PreSubmitted"}
        warned = await client.wait_for("errMsg", reqId="1", code="399")
        assert "until 2026-01-05 09:30:00 America/New_York" in warned["text"]
        sim.do("advance", seconds=str(2 * 3600))
        states = {row["order_ref"]: row["status"] for row in sim.books()["orders"]}
        assert (states["market"], states["open"], states["close"]) == (
            "Filled",
            "Filled",
            "PreSubmitted",
        )
        sim.do("advance", seconds=str(7 * 3600))
        states = {row["order_ref"]: row["status"] for row in sim.books()["orders"]}
        assert (states["close"], states["day"], states["gtc"]) == (
            "Filled",
            "Cancelled",
            "Submitted",
        )


async def test_nothing_falls_due_in_a_gateway_that_has_stopped() -> None:
    clock = SteppedClock(MONDAY_NOON)
    async with world(clock=clock, market="moving", hours="regular") as sim:
        client = await sim.client()
        client.place(orderType="LMT", lmtPrice="1", tif="GTD", goodTillDate="20260105-17:10:00")
        await client.settle()
    clock.advance(24 * 3600)


async def test_an_order_waits_for_its_condition() -> None:
    async with world() as sim:
        client = await sim.client()
        condition = {"condType": "1", "conjunction": "a", "isMore": "1", "price": "450"}
        condition |= {"conId": "272093", "exch": "SMART", "triggerMethod": "0"}
        client.place(conditions=[condition])
        await client.settle()
        assert sim.books()["orders"][0]["status"] == "PreSubmitted"
        sim.do("quote", symbol="MSFT", last="451")
        assert sim.books()["orders"][0]["status"] == "Filled"


async def test_a_condition_may_cancel_an_order_that_works() -> None:
    async with world() as sim:
        client = await sim.client()
        condition = {"condType": "1", "conjunction": "a", "isMore": "1", "price": "450"}
        condition |= {"conId": "272093", "exch": "SMART", "triggerMethod": "0"}
        client.place(
            orderType="LMT", lmtPrice="1", conditions=[condition], conditionsCancelOrder="1"
        )
        await client.settle()
        assert sim.books()["orders"][0]["status"] == "Submitted"
        sim.do("quote", symbol="MSFT", last="451")
        assert sim.books()["orders"][0]["status"] == "Cancelled"


async def test_a_trailing_stop_stands_where_it_stood_after_a_restart(tmp_path: Path) -> None:
    file = tmp_path / "gateway.db"
    async with world(books=file) as sim:
        client = await sim.client()
        client.place(action="SELL", orderType="TRAIL", auxPrice="2", tif="GTC")
        await client.settle()
        sim.do("quote", symbol="AAPL", last="200")
    async with world(books=file) as sim:
        sim.do("quote", symbol="AAPL", last="198.01")
        assert sim.books()["orders"][0]["status"] == "PreSubmitted"
        sim.do("quote", symbol="AAPL", last="198")
        assert sim.books()["orders"][0]["status"] == "Filled"


async def test_a_combination_executes_as_a_whole_and_leg_by_leg() -> None:
    async with world() as sim:
        client = await sim.client()
        client.forget()
        legs = [
            {"conId": "265598", "ratio": "1", "action": "BUY", "exchange": "SMART"},
            {"conId": "272093", "ratio": "2", "action": "SELL", "exchange": "SMART"},
        ]
        client.place(secType="BAG", symbol="AAPL,MSFT", comboLegs=legs, totalQuantity="10")
        await client.settle()
        rows = sim.books()["executions"]
        assert [(row["symbol"], row["side"], row["quantity"]) for row in rows] == [
            ("AAPL,MSFT", "BOT", "10"),
            ("AAPL", "BOT", "10"),
            ("MSFT", "SLD", "20"),
        ]
        assert [len(row["exec_id"].split(".")) for row in rows] == [4, 5, 5]
        prices = [Decimal(row["price"]) for row in rows]
        assert prices[0] == prices[1] - 2 * prices[2]
        assert {row["symbol"]: row["quantity"] for row in sim.books()["positions"]} == {
            "AAPL": "10",
            "MSFT": "-20",
        }
        assert client.story("commissionReport") == ["commissionReport"] * 2


async def test_an_option_costs_its_multiplier_and_the_commission() -> None:
    async with world() as sim:
        client = await sim.client()
        client.ask("reqContractDetails", reqId="5", symbol="AAPL", secType="OPT", right="C")
        await client.wait_for("contractDetailsEnd", reqId="5")
        con_id = client.last("contractDetails")["conId"]
        client.place(conId=con_id, symbol="", secType="", currency="", totalQuantity="2")
        await client.settle()
        (row,) = sim.books()["executions"]
        (held,) = sim.books()["positions"]
        assert Decimal(held["average_cost"]) == Decimal(row["price"]) * 100 + Decimal("0.65")


async def test_a_future_moves_no_cash_but_what_it_realises() -> None:
    async with world(commission="none") as sim:
        client = await sim.client()
        client.ask("reqContractDetails", reqId="5", symbol="ES", secType="FUT")
        await client.wait_for("contractDetailsEnd", reqId="5")
        con_id = client.last("contractDetails")["conId"]
        future = {"conId": con_id, "symbol": "", "secType": "", "currency": "", "exchange": "CME"}
        sim.do("quote", con_id=con_id, bid="5299.75", ask="5300")
        client.place(**future, totalQuantity="1")
        await client.settle()
        assert sim.books()["cash"][0]["amount"] == "1000000"
        sim.do("quote", con_id=con_id, bid="5310", ask="5310.25", last="5310")
        client.ask("reqAccountSummary", reqId="6", group="All", tags="NetLiquidation")
        worth = await client.wait_for("accountSummary", reqId="6", tag="NetLiquidation")
        assert worth["value"] == "1000500.00"
        client.place(**future, totalQuantity="1", action="SELL")
        await client.settle()
        assert sim.books()["cash"][0]["amount"] == "1000500"


async def test_con_id_and_exchange_are_enough_and_what_contradicts_them_is_refused() -> None:
    async with world(zone="Asia/Shanghai", clock=SteppedClock(MONDAY_NOON)) as sim:
        client = await sim.client()
        weekly = {"symbol": "AAPL", "secType": "OPT", "right": "C", "strike": "190"}
        asked = weekly | {"lastTradeDateOrContractMonth": "20260109"}
        client.ask("reqContractDetails", reqId="5", **asked)
        await client.wait_for("contractDetailsEnd", reqId="5")
        told = client.last("contractDetails")
        assert told["lastTradeDate"] == "20260110 05:00:00 Asia/Shanghai"
        assert told["timeZoneId"] == "US/Eastern"
        named = dict.fromkeys(
            ("symbol", "secType", "currency", "strike", "right", "primaryExchange"), ""
        ) | {"conId": told["conId"], "exchange": "SMART", "orderType": "LMT", "lmtPrice": "0.05"}
        for wrong, words in (
            ({"lastTradeDateOrContractMonth": "20260110"}, "expiry 20260110, in contract 20260109"),
            ({"lastTradeDateOrContractMonth": "202601"}, "expiry 202601, in contract 20260109"),
            ({"currency": "EUR"}, "currency EUR, in contract USD"),
        ):
            order_id = client.place(**(named | wrong))
            refused = await client.wait_for("errMsg", reqId=str(order_id))
            assert (refused["code"], refused["text"]) == (
                "478",
                "Parameters in request conflicts with contract parameters received by contract id:"
                f" requested {words};",
            )
        order_id = client.place(**named)
        shown = await client.wait_for("openOrder", orderId=str(order_id))
        assert (shown["symbol"], shown["lastTradeDateOrContractMonth"]) == ("AAPL", "20260109")


async def test_contracts_and_dates_of_yesterday_are_kept_over_a_restart(tmp_path: Path) -> None:
    file = tmp_path / "gateway.db"
    async with world(books=file, clock=SteppedClock(MONDAY_NOON)) as sim:
        client = await sim.client()
        option = {"secType": "OPT", "right": "C", "strike": "190"}
        client.place(**option, lastTradeDateOrContractMonth="20260109", orderRef="option")
        client.place(
            orderType="LMT", lmtPrice="1", tif="GTD", goodTillDate="20260110-06:00:00", orderRef="a"
        )
        await client.settle()
    # Past midnight after the expiry, before the night's settlement.
    later = SteppedClock(datetime(2026, 1, 10, 5, 30, tzinfo=UTC))
    async with world(books=file, clock=later) as sim:
        client = await sim.client()
        client.ask("reqPositions")
        held = await client.wait_for("position", position="100")
        assert held["localSymbol"] == "AAPL  260109C00190000"
        sim.do("advance", seconds="1801")
        assert [row["status"] for row in sim.books()["orders"]] == ["Filled", "Cancelled"]


async def test_a_forex_order_moves_both_currencies_and_warns_of_an_odd_lot() -> None:
    async with world(commission="none") as sim:
        client = await sim.client()
        sim.do("quote", symbol="EUR.USD", bid="1.1", ask="1.1001")
        pair = {"symbol": "EUR", "secType": "CASH", "exchange": "IDEALPRO", "currency": "USD"}
        order_id = client.place(**pair, totalQuantity="1000")
        await client.wait_for("errMsg", reqId=str(order_id), code="399")
        await client.wait_for("commissionReport")
        money = {row["currency"]: row["amount"] for row in sim.books()["cash"]}
        assert money == {"USD": "998899.9", "EUR": "1000"}


async def test_what_if_answers_with_margin_and_leaves_nothing_behind() -> None:
    async with world() as sim:
        client = await sim.client()
        client.forget()
        client.place(whatIf="1", orderType="LMT", lmtPrice="100")
        await client.settle()
        assert client.story() == ["openOrder PreSubmitted"]
        shown = client.last("openOrder")
        assert (shown["initMarginChange"], shown["commission"]) == ("5000.00", "1")
        assert sim.books()["orders"] == []
        assert sim.books()["placements"] == []


async def test_a_global_cancel_ends_every_clients_orders() -> None:
    async with world() as sim:
        client, other = await sim.client(1), await sim.client(2)
        client.place(orderType="LMT", lmtPrice="1")
        other.place(orderType="LMT", lmtPrice="1")
        await other.settle()
        await client.settle()
        sim.do("manual_order", symbol="AAPL", side="BUY", quantity="1", order_type="LMT",
               limit_price="1")  # fmt: skip
        client.ask("reqGlobalCancel")
        await client.settle()
        assert {row["status"] for row in sim.books()["orders"]} == {"Cancelled"}
        await other.wait_for("errMsg", code="202")


async def test_a_read_only_gateway_refuses_orders() -> None:
    async with world(read_only=True) as sim:
        client = await sim.client()
        order_id = client.place()
        await client.wait_for("errMsg", reqId=str(order_id), code="321")
        assert sim.books()["orders"] == []


def statuses(client: object) -> list[tuple[str, dict[str, str]]]:
    return [one for one in client.received if one[0] == "orderStatus"]  # type: ignore[attr-defined]


async def test_a_restart_can_lose_the_newest_orders_without_a_trace() -> None:
    async with world(fills="manual") as sim:
        client = await sim.client()
        for ref in ("kept", "filled in part", "lost"):
            client.place(
                orderType="LMT", lmtPrice="1", orderRef=ref, tif="GTD", goodTillDate="20991231"
            )
        await client.settle()
        sim.do("fill", order_ref="filled in part", quantity="1")
        refused = sim.commands.do({"do": "restart", "lose": 3})
        assert refused["error"] == "lose 3: 2 live and have not filled"
        sim.do("restart", lose=1, roll_back=1)
        await client.stop()
        again = await sim.client()
        again.forget()
        again.ask("reqAllOpenOrders")
        again.ask("reqCompletedOrders", apiOnly="0")
        again.ask("cancelOrder", orderId="3")
        await again.settle()
        told = [row["orderRef"] for name, row in again.received if name == "openOrder"]
        assert told == ["kept", "filled in part"]
        assert "completedOrder" not in again.story()
        assert again.story()[-1] == "errMsg 10147"
        assert again.next_id == 3
        assert [row["order_ref"] for row in sim.books()["orders"]] == told
