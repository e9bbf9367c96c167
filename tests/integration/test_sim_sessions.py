"""Connections, identities, and who sees what."""

from __future__ import annotations

import asyncio
import struct
from datetime import UTC, datetime
from pathlib import Path

import pytest

from oms.sim.clock import SteppedClock
from oms.sim.protocol import frames
from tests.integration.sim_world import world


@pytest.mark.parametrize(
    ("versions", "served"),
    [("v157..178", 178), ("v100..226", 178), ("v100..157", 157), ("v160", 160)],
)
async def test_the_lower_of_both_highest_versions_is_served(versions: str, served: int) -> None:
    async with world() as sim:
        client = await sim.client(versions=versions)
        assert client.version == served
        client.place(orderRef="x")
        await client.wait_for("commissionReport")
        assert client.last("openOrder")["orderRef"] == "x"


async def test_a_client_that_is_too_old_is_not_served() -> None:
    async with world() as sim:
        client = await sim.socket("v1..100")
        assert client.ended


async def test_nothing_is_sent_between_the_version_and_start_api() -> None:
    async with world() as sim:
        client = await sim.socket()
        client.ask("reqCurrentTime")
        client.send("71", "2", "1", "")
        await client.wait_for("errMsg", code="2158")
        assert client.story()[:2] == ["managedAccts", "nextValidId"]


async def test_a_client_id_in_use_is_refused_and_its_owner_not_disturbed() -> None:
    async with world() as sim:
        owner = await sim.client(5)
        late = await sim.socket()
        late.send("71", "2", "5", "")
        await late.until(lambda: late.ended)
        assert late.story() == ["errMsg 326"]
        owner.place()
        await owner.wait_for("commissionReport")


async def test_thirty_two_clients_trade_side_by_side_and_one_more_is_refused() -> None:
    async with world() as sim:
        clients = [await sim.client(number) for number in range(1, 33)]
        extra = await sim.socket()
        extra.send("71", "2", "99", "")
        await extra.until(lambda: extra.ended)
        for client in clients:
            client.place(totalQuantity="1")
        for client in clients:
            await client.settle()
            assert client.story("commissionReport") == ["commissionReport"]


@pytest.mark.parametrize(
    "frame",
    [
        frames.frame(b"\xff\xfe\x00"),
        frames.frame(b"3\x005\x00"),
        frames.frame(b"999\x001\x00"),
        frames.frame(b""),
        struct.pack(">I", 0x7FFFFFFF),
    ],
)
async def test_a_frame_nobody_can_read_gets_320_and_hurts_no_other_client(frame: bytes) -> None:
    async with world() as sim:
        other = await sim.client(2)
        client = await sim.client(1)
        client.forget()
        client.writer.write(frame)
        await client.until(lambda: client.ended)
        assert client.story() == ["errMsg 320"]
        other.place()
        await other.wait_for("commissionReport")


async def test_frames_may_come_a_byte_at_a_time_and_leave_in_pieces() -> None:
    async with world(chunk_bytes=3) as sim:
        client = await sim.client()
        payload = frames.frame(frames.join(["104", "77"]))
        for byte in payload:
            client.writer.write(bytes([byte]))
            await client.writer.drain()
            await asyncio.sleep(0)
        await client.wait_for("userInfo", reqId="77")


async def test_order_ids_go_on_after_the_highest_that_was_used() -> None:
    async with world() as sim:
        client = await sim.client(1)
        client.place(orderId="500")
        await client.settle()
        client.ask("reqIds", numIds="1")
        await client.wait_for("nextValidId", orderId="501")
        other = await sim.client(2)
        assert other.next_id == 1


async def test_a_client_sees_its_own_orders_and_the_master_sees_all() -> None:
    async with world(master_client=9) as sim:
        owner, other, master = await sim.client(1), await sim.client(2), await sim.client(9)
        for client in (owner, other, master):
            client.forget()
        owner.place()
        await master.wait_for("commissionReport")
        await other.settle()
        assert other.story() == []
        assert "orderStatus Filled" in master.story()
        master.cancel(1)
        await master.wait_for("errMsg", code="10147")


async def test_the_master_is_told_every_open_order_when_it_connects() -> None:
    async with world(master_client=9) as sim:
        owner = await sim.client(1)
        owner.place(orderType="LMT", lmtPrice="1")
        await owner.settle()
        master = await sim.client(9)
        await master.wait_for("openOrder", clientId="1", orderId="1")


async def test_a_manual_order_is_not_told_to_client_zero_before_it_is_bound() -> None:
    async with world() as sim:
        client = await sim.client(0)
        client.forget()
        sim.do("manual_order", symbol="AAPL", side="BUY", quantity="1", order_type="LMT",
               limit_price="1")  # fmt: skip
        await client.settle()
        assert client.story() == []


async def test_own_open_orders_are_pushed_on_connect_unless_switched_off() -> None:
    for pushed in (True, False):
        async with world(download_open_orders=pushed) as sim:
            client = await sim.client(1)
            client.place(orderType="LMT", lmtPrice="1")
            await client.settle()
            await client.stop()
            again = await sim.client(1)
            await again.settle()
            assert again.story("orderStatus") == (["orderStatus Submitted"] if pushed else [])


async def test_all_open_orders_are_answered_to_any_client_and_bind_nothing() -> None:
    async with world() as sim:
        owner, other = await sim.client(1), await sim.client(2)
        owner.place(orderType="LMT", lmtPrice="1")
        await owner.settle()
        sim.do("manual_order", symbol="AAPL", side="BUY", quantity="1", order_type="LMT",
               limit_price="1")  # fmt: skip
        other.ask("reqAllOpenOrders")
        await other.wait_for("openOrderEnd")
        seen = [one["orderId"] for name, one in other.received if name == "openOrder"]
        assert seen == ["1", "0"]
        other.forget()
        other.ask("reqOpenOrders")
        await other.wait_for("openOrderEnd")
        assert other.story() == ["openOrderEnd"]


async def test_client_zero_binds_manual_orders_to_negative_ids_and_may_cancel_them() -> None:
    async with world() as sim:
        sim.do("manual_order", symbol="AAPL", side="BUY", quantity="1", order_type="LMT",
               limit_price="1")  # fmt: skip
        client = await sim.client(0)
        client.ask("reqOpenOrders")
        await client.wait_for("openOrderEnd")
        bound = client.last("orderBound")
        assert (bound["orderId"], client.last("openOrder")["orderId"]) == ("-2", "-2")
        client.ask("reqAutoOpenOrders", autoBind="1")
        await client.settle()
        sim.do("manual_order", symbol="AAPL", side="BUY", quantity="1", order_type="LMT",
               limit_price="1")  # fmt: skip
        await client.wait_for("orderBound", orderId="-3")
        client.cancel(-2)
        await client.wait_for("errMsg", reqId="-2", code="202")


async def test_only_client_zero_may_bind() -> None:
    async with world() as sim:
        client = await sim.client(1)
        client.ask("reqAutoOpenOrders", autoBind="1")
        await client.wait_for("errMsg", code="327")


async def test_a_manual_fill_reaches_client_zero_and_who_asks_for_executions() -> None:
    async with world() as sim:
        zero, other = await sim.client(0), await sim.client(4)
        other.forget()
        sim.do("manual_order", symbol="AAPL", side="BUY", quantity="3")
        pushed = await zero.wait_for("execDetails")
        assert (pushed["orderId"], pushed["clientId"]) == ("0", "0")
        other.ask("reqExecutions", reqId="7")
        await other.wait_for("execDetailsEnd", reqId="7")
        assert other.story() == ["execDetails", "commissionReport", "execDetailsEnd"]


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ({}, 2),
        ({"clientId": "1"}, 1),
        ({"clientId": "8"}, 0),
        ({"symbol": "AAPL"}, 1),
        ({"side": "SELL"}, 1),
        ({"acctCode": "DU2"}, 1),
        ({"secType": "OPT"}, 0),
        ({"exchange": "NASDAQ"}, 2),
        ({"time": "20260105-17:30:00"}, 1),
        ({"time": "20260105 12:30:00"}, 1),
        ({"time": "20260105 12:30:00 America/New_York"}, 1),
    ],
)
async def test_executions_pass_every_filter(where: dict[str, str], expected: int) -> None:
    clock = SteppedClock(datetime(2026, 1, 5, 17, 0, tzinfo=UTC))
    async with world(clock=clock, accounts=("DU1", "DU2")) as sim:
        one, two = await sim.client(1), await sim.client(2)
        one.place(account="DU1")
        await one.settle()
        sim.do("advance", seconds="3600")
        two.place(account="DU2", action="SELL", symbol="MSFT")
        await two.settle()
        one.forget()
        one.ask("reqExecutions", reqId="7", **where)
        await one.wait_for("execDetailsEnd", reqId="7")
        assert len(one.story("execDetails")) == expected


async def test_executions_are_answered_since_midnight_of_the_gateways_zone() -> None:
    clock = SteppedClock(datetime(2026, 1, 6, 4, 30, tzinfo=UTC))  # 23:30 in New York
    async with world(clock=clock) as sim:
        client = await sim.client()
        client.place()
        await client.settle()
        for expected in (1, 0):
            client.forget()
            client.ask("reqExecutions", reqId="7")
            await client.wait_for("execDetailsEnd", reqId="7")
            assert len(client.story("execDetails")) == expected
            sim.do("advance", seconds="3600")


@pytest.mark.parametrize(
    ("form", "versions", "text"),
    [
        ("zone", "v157..178", "20260105 12:00:00 America/New_York"),
        ("utc", "v157..178", "20260105-17:00:00"),
        ("bare", "v157..178", "20260105  12:00:00"),
        ("zone", "v157..173", "20260105  12:00:00"),
    ],
)
async def test_times_have_the_form_of_the_setting_and_the_version(
    form: str, versions: str, text: str
) -> None:
    clock = SteppedClock(datetime(2026, 1, 5, 17, 0, tzinfo=UTC))
    async with world(clock=clock, time_form=form) as sim:
        client = await sim.client(versions=versions)
        client.place()
        assert (await client.wait_for("execDetails"))["time"] == text


async def test_completed_orders_carry_no_ids_and_tell_the_end() -> None:
    async with world() as sim:
        client = await sim.client()
        client.place(orderRef="filled")
        cancelled = client.place(orderType="LMT", lmtPrice="1", orderRef="cancelled")
        client.cancel(cancelled)
        sim.do("manual_order", symbol="AAPL", side="BUY", quantity="1")
        await client.settle()
        for only_api, expected in (("0", 3), ("1", 2)):
            client.forget()
            client.ask("reqCompletedOrders", apiOnly=only_api)
            await client.wait_for("completedOrdersEnd")
            rows = [one for name, one in client.received if name == "completedOrder"]
            assert len(rows) == expected
        by_ref = {row["orderRef"]: row for row in rows}
        assert by_ref["filled"]["filledQuantity"] == "100"
        assert by_ref["cancelled"]["completedStatus"] == "Cancelled"


async def test_account_requests_are_answered_to_the_end_and_follow_fills() -> None:
    async with world(accounts=("DU1", "DU2")) as sim:
        client = await sim.client()
        client.ask("reqPositions")
        client.ask("reqAccountUpdates", subscribe="1", account="DU2")
        client.ask("reqAccountUpdatesMulti", reqId="5", account="DU1")
        client.ask("reqPositionsMulti", reqId="6", account="DU2")
        client.ask("reqPnL", reqId="7", account="DU2")
        client.ask("reqPnLSingle", reqId="8", account="DU2", conId="265598")
        client.ask("reqAccountSummary", reqId="9", group="All", tags="NetLiquidation,$LEDGER:ALL")
        await client.wait_for("positionEnd")
        await client.wait_for("accountDownloadEnd", account="DU2")
        await client.wait_for("accountUpdateMultiEnd", reqId="5")
        await client.wait_for("positionMultiEnd", reqId="6")
        await client.wait_for("accountSummaryEnd", reqId="9")
        client.forget()
        client.place(account="DU2")
        await client.wait_for("position", account="DU2", position="100")
        await client.wait_for("updatePortfolio", account="DU2", position="100")
        await client.wait_for("positionMulti", reqId="6", position="100")
        await client.wait_for("pnl", reqId="7")
        await client.wait_for("pnlSingle", reqId="8", position="100")


async def test_account_values_that_changed_are_told_a_second_after_a_fill() -> None:
    clock = SteppedClock(datetime(2026, 1, 5, 17, 0, tzinfo=UTC))
    async with world(clock=clock) as sim:
        client = await sim.client()
        client.ask("reqAccountUpdates", subscribe="1", account="DU1234567")
        client.ask("reqAccountUpdatesMulti", reqId="5", account="DU1234567")
        client.ask("reqAccountSummary", reqId="9", group="All", tags="TotalCashValue,Cushion")
        await client.wait_for("accountSummaryEnd", reqId="9")
        client.forget()
        client.place(orderType="LMT", lmtPrice="250")
        await client.settle()
        assert client.story("updateAccountValue") == []
        sim.do("advance", seconds="1")
        await client.wait_for("updateAccountValue", key="TotalCashValue", currency="USD")
        await client.wait_for("accountUpdateMulti", reqId="5", key="GrossPositionValue")
        changed = await client.wait_for("accountSummary", reqId="9", tag="TotalCashValue")
        assert float(changed["value"]) < 1_000_000
        told = [one["key"] for name, one in client.received if name == "updateAccountValue"]
        assert "AccountType" not in told


async def test_a_second_account_subscription_takes_the_place_of_the_first() -> None:
    async with world(accounts=("DU1", "DU2")) as sim:
        client = await sim.client()
        client.ask("reqAccountUpdates", subscribe="1", account="DU1")
        client.ask("reqAccountUpdates", subscribe="1", account="DU2")
        await client.wait_for("errMsg", code="2100")


async def test_a_third_account_summary_is_refused_until_one_is_cancelled() -> None:
    async with world() as sim:
        client = await sim.client()
        for request_id in ("1", "2", "3"):
            client.ask("reqAccountSummary", reqId=request_id, group="All", tags="Cushion")
        await client.wait_for("errMsg", reqId="3", code="322")
        client.ask("cancelAccountSummary", reqId="1")
        client.ask("reqAccountSummary", reqId="4", group="All", tags="Cushion")
        await client.wait_for("accountSummaryEnd", reqId="4")


async def test_quotes_bars_and_ticks_follow_the_market() -> None:
    clock = SteppedClock(datetime(2026, 1, 5, 17, 0, tzinfo=UTC))
    async with world(clock=clock) as sim:
        client = await sim.client()
        stock = {"symbol": "AAPL", "secType": "STK", "exchange": "SMART", "currency": "USD"}
        client.ask("reqMktData", reqId="1", **stock)
        client.ask("reqMktData", reqId="2", snapshot="1", **stock)
        client.ask("reqTickByTickData", reqId="3", tickType="BidAsk", **stock)
        client.ask("reqRealTimeBars", reqId="4", barSize="5", whatToShow="TRADES", **stock)
        await client.wait_for("tickSnapshotEnd", reqId="2")
        await client.settle()
        client.forget()
        sim.do("quote", symbol="AAPL", bid="100", ask="100.5")
        await client.wait_for("tickPrice", reqId="1", tickType="1", price="100")
        await client.wait_for("tickByTick", reqId="3", bidPrice="100", askPrice="100.5")
        sim.do("advance", seconds="5")
        await client.wait_for("realtimeBar", reqId="4", close="100.25")
        for name, number in (("cancelMktData", "1"), ("cancelTickByTickData", "3")):
            client.ask(name, reqId=number)
        await client.settle()
        client.forget()
        sim.do("quote", symbol="AAPL", bid="101")
        await client.settle()
        assert client.story() == []


async def test_look_ups_are_answered() -> None:
    async with world() as sim:
        client = await sim.client()
        client.ask("reqContractDetails", reqId="1", symbol="AAPL", secType="STK")
        await client.wait_for("contractDetailsEnd", reqId="1")
        rows = [values for name, values in client.received if name == "contractDetails"]
        # As IB: one for each exchange of each listing.
        assert len({(row["conId"], row["exchange"]) for row in rows}) == len(rows)
        assert len({row["conId"] for row in rows}) == 3
        client.ask("reqContractDetails", reqId="2", symbol="NOSUCH", secType="STK")
        await client.wait_for("errMsg", reqId="2", code="200")
        client.ask("reqMarketRule", marketRuleId="26")
        await client.wait_for("marketRule", marketRuleId="26")
        client.ask("reqMatchingSymbols", reqId="3", pattern="apple")
        assert (await client.wait_for("symbolSamples", reqId="3"))["samples"]
        client.ask("reqSecDefOptParams", reqId="4", underlyingSymbol="AAPL",
                   underlyingSecType="STK", underlyingConId="265598")  # fmt: skip
        await client.wait_for("securityDefinitionOptionParameterEnd", reqId="4")
        assert len(client.last("securityDefinitionOptionParameter")["strikes"]) == 11


@pytest.mark.parametrize(
    ("fields", "request_id", "code"),
    [
        (("25", "1", "7"), "7", "366"),
        (("2", "2", "5"), "5", "300"),
    ],
)
async def test_what_is_not_served_is_refused_aloud(
    fields: tuple[str, ...], request_id: str, code: str
) -> None:
    async with world() as sim:
        client = await sim.client()
        client.send(*fields)
        await client.wait_for("errMsg", reqId=request_id, code=code)


async def test_the_third_burst_over_the_limit_ends_the_connection() -> None:
    clock = SteppedClock(datetime(2026, 1, 5, 17, 0, tzinfo=UTC))
    async with world(clock=clock, messages_per_second=50) as sim:
        client = await sim.client()
        client.forget()
        for _ in range(3 * 51):
            client.ask("reqCurrentTime")
        await client.until(lambda: client.ended)
        assert client.story("errMsg") == ["errMsg 100"] * 3


async def test_the_moving_market_is_the_same_for_the_same_seed() -> None:
    paths = []
    for _ in range(2):
        clock = SteppedClock(datetime(2026, 1, 5, 17, 0, tzinfo=UTC))
        async with world(clock=clock, market="moving", seed=11) as sim:
            path = []
            for _ in range(50):
                path.append(sim.do("quote", symbol="AAPL")["last"])
                sim.do("advance", seconds="1")
            paths.append(path)
    assert paths[0] == paths[1]
    assert len(set(paths[0])) > 3


async def test_books_survive_a_stop_of_the_gateway(tmp_path: Path) -> None:
    file = tmp_path / "gateway.db"
    async with world(books=file) as sim:
        client = await sim.client()
        client.place()
        client.place(orderType="LMT", lmtPrice="1", tif="GTC")
        await client.settle()
        before = sim.books()
    async with world(books=file) as sim:
        connected = {"clients": [1], "subscriptions": {"1": []}}
        assert {**sim.books(), **connected} == before
        client = await sim.client()
        assert client.next_id == 3


async def test_a_mistake_in_one_answer_is_told_with_322_and_hurts_nobody(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with world() as sim:

        def broken(*_: object) -> None:
            raise ArithmeticError("a mistake of ours")

        sim.gateway.answers.actions = {**sim.gateway.answers.actions, "reqPnL": broken}
        other, client = await sim.client(2), await sim.client(1)
        client.ask("reqPnL", reqId="7", account="DU1234567")
        await client.wait_for("errMsg", reqId="7", code="322")
        client.place()
        await client.wait_for("commissionReport")
        other.place()
        await other.wait_for("commissionReport")
    assert "reqPnL" in caplog.text


async def test_an_order_id_of_zero_is_answered() -> None:
    async with world() as sim:
        client = await sim.client(0)
        sim.do("manual_order", symbol="AAPL", side="BUY", quantity="1", order_type="LMT",
               limit_price="1")  # fmt: skip
        client.forget()
        client.place(orderId="0")
        client.cancel(0)
        await client.settle()
        assert client.story() == ["errMsg 103", "errMsg 10147"]


async def test_a_request_before_start_api_is_refused_after_it() -> None:
    async with world() as sim:
        client = await sim.socket()
        client.ask("reqExecutions", reqId="7")
        client.send("71", "2", "1", "")
        await client.wait_for("errMsg", reqId="7", code="321")
        assert client.story()[:2] == ["managedAccts", "nextValidId"]


async def test_one_client_too_many_is_told_so_and_not_that_its_id_is_in_use() -> None:
    async with world(clients_max=1) as sim:
        await sim.client(1)
        extra = await sim.socket()
        extra.send("71", "2", "99", "")
        await extra.until(lambda: extra.ended)
        assert "in use" not in (await extra.wait_for("errMsg", code="326"))["text"]


async def test_an_execution_filter_with_a_bad_time_is_refused_and_the_session_goes_on() -> None:
    async with world() as sim:
        client = await sim.client()
        client.ask("reqExecutions", reqId="7", time="yesterday")
        await client.wait_for("errMsg", reqId="7", code="321")
        client.ask("reqExecutions", reqId="8")
        await client.wait_for("execDetailsEnd", reqId="8")


async def test_error_texts_are_seven_bit_with_java_escapes() -> None:
    async with world() as sim:
        client = await sim.client()
        sim.do("send_notice", code="2100", text="Börse \U0001f600")
        told = await client.wait_for("errMsg", code="2100")
        assert told["text"] == r"B\u00f6rse \ud83d\ude00"


async def test_a_line_of_quotes_in_use_and_one_too_many_are_refused() -> None:
    stock = {"symbol": "AAPL", "secType": "STK", "exchange": "SMART", "currency": "USD"}
    async with world(tickers_max=2) as sim:
        client = await sim.client()
        for request_id in ("1", "1", "2", "3"):
            client.ask("reqMktData", reqId=request_id, **stock)
        await client.wait_for("errMsg", reqId="1", code="102")
        await client.wait_for("errMsg", reqId="3", code="101")
        client.ask("cancelMktData", reqId="1")
        client.ask("reqMktData", reqId="3", **stock)
        await client.wait_for("tickPrice", reqId="3")
