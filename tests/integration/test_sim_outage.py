"""The line to IB is lost: what is answered without it, what is not, and what comes back."""

from __future__ import annotations

from datetime import UTC, datetime

from oms.sim.clock import SteppedClock
from tests.integration.sim_world import STOCK, world

NOON = datetime(2026, 1, 5, 17, 0, tzinfo=UTC)
MICROSOFT = {**STOCK, "symbol": "MSFT"}
BARS = {
    "barSizeSetting": "1 min",
    "durationStr": "600 S",
    "whatToShow": "TRADES",
    "useRTH": "0",
    "formatDate": "2",
    "keepUpToDate": "0",
}


async def test_the_gateway_tells_in_an_outage_what_it_knew_when_the_line_went() -> None:
    async with world(clock=SteppedClock(NOON), fills="manual") as sim:
        client = await sim.client()
        order_id = client.place(orderType="LMT", lmtPrice="190")
        await client.wait_for("orderStatus", orderId=str(order_id), status="Submitted")
        sim.do("outage")
        sim.do("advance", seconds="1")
        sim.do("fill", order="1", price="190")
        for restored in (False, True):
            if restored:
                sim.do("restore", code="1102", reports="never")
            client.forget()
            client.ask("reqAllOpenOrders")
            await client.wait_for("openOrderEnd")
            client.ask("reqExecutions", reqId="1", clientId="0")
            await client.wait_for("execDetailsEnd", reqId="1")
            client.ask("reqPositions")
            await client.wait_for("positionEnd")
            told = [] if restored else ["openOrder Submitted", "orderStatus Submitted"]
            new = ["execDetails", "commissionReport"] if restored else []
            story = client.story("openOrder", "orderStatus", "execDetails", "commissionReport")
            assert story == [*told, *new]
            assert ("position" in client.story()) is restored


async def test_what_only_ib_can_answer_is_not_answered() -> None:
    async with world(clock=SteppedClock(NOON)) as sim:
        client = await sim.client()
        client.ask("reqContractDetails", reqId="1", **STOCK)
        await client.wait_for("contractDetailsEnd", reqId="1")
        sim.do("outage")
        await client.settle()
        client.forget()
        client.ask("reqContractDetails", reqId="2", **MICROSOFT)
        client.ask("reqHistoricalData", reqId="3", **STOCK, **BARS)
        client.ask("reqMatchingSymbols", reqId="4", pattern="A")
        client.ask("reqCompletedOrders", apiOnly="0")
        client.ask("reqCurrentTime")
        await client.settle()
        assert client.story() == ["currentTime"]
        # The gateway has looked this one up before.
        client.ask("reqContractDetails", reqId="5", **STOCK)
        await client.wait_for("contractDetailsEnd", reqId="5")
        sim.do("restore", code="1102")
        await client.settle()
        assert not {"historicalData", "symbolSamples", "completedOrdersEnd"} & set(client.story())
        client.ask("reqHistoricalData", reqId="6", **STOCK, **BARS)
        await client.wait_for("historicalData", reqId="6")


async def test_quotes_stand_still_in_an_outage_and_go_on_where_the_market_is() -> None:
    async with world(clock=SteppedClock(NOON)) as sim:
        client = await sim.client()
        client.ask("reqMktData", reqId="1", **STOCK)
        await client.wait_for("tickPrice", reqId="1")
        sim.do("outage")
        await client.settle()
        client.forget()
        client.ask("reqMktData", reqId="2", **MICROSOFT)
        client.ask("reqMktData", reqId="3", **MICROSOFT)
        client.ask("cancelMktData", reqId="3")
        sim.do("quote", symbol="AAPL", bid="150")
        await client.settle()
        assert client.story() == []
        sim.do("restore", code="1102")
        await client.wait_for("tickPrice", reqId="1", tickType="1", price="150")
        await client.wait_for("tickPrice", reqId="2", tickType="1")
        await client.settle()
        assert {values["reqId"] for name, values in client.received if name == "tickPrice"} == {
            "1",
            "2",
        }


async def test_after_1101_every_subscription_is_gone_and_the_ids_are_free() -> None:
    async with world(clock=SteppedClock(NOON)) as sim:
        client = await sim.client()
        client.ask("reqMktData", reqId="1", **STOCK)
        client.ask("reqHistoricalData", reqId="2", **STOCK, **{**BARS, "keepUpToDate": "1"})
        await client.wait_for("historicalData", reqId="2")
        sim.do("outage")
        client.ask("reqMktData", reqId="3", **MICROSOFT)
        await client.settle()
        sim.do("restore", code="1101")
        await client.settle()
        client.forget()
        sim.do("quote", symbol="AAPL", bid="150")
        sim.do("quote", symbol="MSFT", bid="150")
        sim.do("advance", seconds="10")
        await client.settle()
        assert client.story() == []
        client.ask("reqMktData", reqId="1", **STOCK)
        await client.wait_for("tickPrice", reqId="1", tickType="1", price="150")
