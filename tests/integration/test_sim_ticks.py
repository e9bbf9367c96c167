"""What a quote brings beside itself: generic ticks, by IB's table."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Final

from oms.sim.clock import SteppedClock
from tests.integration.sim_world import WireClient, world

D = Decimal
MONDAY_NOON = datetime(2026, 1, 5, 17, 0, tzinfo=UTC)  # 12:00 in New York
CONTRACTS: Final = {
    "STK": {"symbol": "AAPL", "secType": "STK", "exchange": "SMART", "currency": "USD"},
    "ETF": {"symbol": "SPY", "secType": "STK", "exchange": "SMART", "currency": "USD"},
    "OPT": {"symbol": "AAPL", "secType": "OPT", "right": "P", "strike": "190", "exchange": "SMART",
            "currency": "USD", "lastTradeDateOrContractMonth": "20260116"},
    "FUT": {"symbol": "ES", "secType": "CONTFUT", "exchange": "CME"},
    "IND": {"symbol": "SPX", "secType": "IND", "exchange": "CBOE"},
    "CASH": {"symbol": "EUR", "secType": "CASH", "exchange": "IDEALPRO", "currency": "USD"},
    "BOND": {"symbol": "AAPL", "secType": "BOND", "exchange": "SMART"},
}  # fmt: skip


async def told(client: WireClient, kind: str, series: str) -> dict[str, str]:
    """The ticks that a subscription brings at once, by their type."""
    client.forget()
    contract = CONTRACTS[kind]
    client.ask("reqContractDetails", reqId="4", **contract)
    await client.wait_for("contractDetailsEnd", reqId="4")
    con_id = next(values["conId"] for _, values in client.received if "conId" in values)
    client.ask("reqMktData", reqId="5", conId=con_id, secType=contract["secType"],
               exchange=contract["exchange"], genericTicks=series)  # fmt: skip
    client.ask("cancelMktData", reqId="5")
    await client.settle()
    return {
        values["tickType"]: values.get("price") or values.get("value") or values["size"]
        for name, values in client.received
        if name in ("tickPrice", "tickSize", "tickGeneric", "tickString")
    }


#: What of which contract brings which ticks.
SERIES: Final[tuple[tuple[str, str, set[str]], ...]] = (
    ("STK", "100", {"29", "30"}),
    ("OPT", "100", {"29", "30"}),
    ("STK", "101", {"27", "28"}),
    ("OPT", "101", {"27", "28"}),
    ("STK", "104", {"23"}),
    ("STK", "105", {"87"}),
    ("STK", "106", {"24"}),
    ("IND", "162", {"31"}),
    ("STK", "165", {"15", "16", "17", "18", "19", "20", "21"}),
    ("STK", "220", {"78"}),
    ("STK", "221", {"37"}),
    ("STK", "232", {"37"}),
    ("CASH", "232", {"37"}),
    ("STK", "233", {"48"}),
    ("STK", "236", {"46", "89"}),
    ("STK", "293,294,295", {"54", "55", "56"}),
    ("STK", "318", {"57"}),
    ("STK", "375", {"77"}),
    ("STK", "411", {"58"}),
    ("STK", "456", {"59"}),
    ("BOND", "460", {"60"}),
    ("ETF", "576,577,578,614,623", {"92", "93", "94", "95", "96", "97", "98", "99"}),
    ("FUT", "588", {"86"}),
    ("STK", "595", {"63", "64", "65"}),
    ("STK", "619", {"79"}),
    # Legal, and IB is silent.
    ("STK", "225,258,292,586,587", set()),
    ("STK", "577", set()),
    ("CASH", "101,106,236,588", set()),
)


async def test_a_series_brings_its_ticks() -> None:
    async with world(clock=SteppedClock(MONDAY_NOON)) as sim:
        client = await sim.client()
        plain = {kind: await told(client, kind, "") for kind in CONTRACTS}
        for kind, series, expected in SERIES:
            asked = await told(client, kind, series)
            assert {"1", "2", "4", "45", "49"} <= asked.keys(), kind
            assert asked.keys() - plain[kind].keys() == expected, (kind, series)
            assert {tick: asked[tick] for tick in plain[kind]} == plain[kind], (kind, series)


async def test_the_values_of_series_agree_with_the_quote_and_with_each_other() -> None:
    async with world(clock=SteppedClock(MONDAY_NOON)) as sim:
        client = await sim.client()
        ticks = await told(client, "STK", "104,106,165,233,236")
        assert D(ticks["23"]) < D(ticks["24"])
        lows, highs = (
            [D(ticks[at]) for at in ("15", "17", "19")],
            [D(ticks[at]) for at in ("16", "18", "20")],
        )
        assert lows == sorted(lows, reverse=True)
        assert highs == sorted(highs)
        assert lows[0] <= D(ticks["7"]) <= D(ticks["6"]) <= highs[0]
        price, size, moment, volume, average, single = ticks["48"].split(";")
        assert (price, size, volume) == (ticks["4"], ticks["5"], ticks["8"])
        assert moment == str(int(MONDAY_NOON.timestamp() * 1000))
        assert (ticks["45"], single) == (moment[:-3], "true")
        assert D(ticks["7"]) <= D(average) <= D(ticks["6"])
        assert ticks["46"] == "3"
        put = await told(client, "OPT", "100,101")
        assert (put["27"], put["29"]) == ("0", "0")
        assert int(put["28"]) >= 100


async def test_a_print_brings_its_series_and_a_quote_without_one_does_not() -> None:
    async with world(clock=SteppedClock(MONDAY_NOON)) as sim:
        client = await sim.client()
        client.ask("reqMktData", reqId="5", **CONTRACTS["STK"], genericTicks="233")
        await client.settle()
        client.forget()
        sim.do("quote", symbol="AAPL", size="300")
        await client.settle()
        assert "tickString" not in client.story()
        client.place(totalQuantity="7")
        await client.settle()
        sim.do("quote", symbol="AAPL", size="200")
        text = (await client.wait_for("tickString", tickType="48"))["value"]
        assert text.split(";")[1] == "7"


#: What IB knows not, or not for this type.
REFUSED: Final = (
    *(("STK", series) for series in ("107", "256", "499", "506", "233,9999", "162", "abc", "²")),
    *(("IND", "595"), ("CASH", "456"), ("OPT", "576")),
)


async def test_a_list_with_anything_else_is_refused_in_ibs_words() -> None:
    async with world(clock=SteppedClock(MONDAY_NOON)) as sim:
        client = await sim.client()
        for kind, series in REFUSED:
            assert await told(client, kind, series) == {}, (kind, series)
            refusal = next(values for name, values in client.received if name == "errMsg")
            assert (refusal["reqId"], refusal["code"]) == ("5", "321")
            if series.isascii():
                assert f"Incorrect generic tick list of {series}." in refusal["text"]
            assert "100(Option Volume),101(Option Open Interest)" in refusal["text"]


async def test_news_alone_and_snapshots_take_lists_as_ib_does() -> None:
    async with world() as sim:
        client = await sim.client()
        client.ask("reqMktData", reqId="5", **CONTRACTS["STK"], genericTicks="mdoff,292:BRFG")
        await client.settle()
        assert client.story()[-3:] == ["marketDataType", "tickReqParams", "tickGeneric"]
        client.ask("reqMktData", reqId="6", **CONTRACTS["STK"], genericTicks="233", snapshot="1")
        refusal = await client.wait_for("errMsg", reqId="6", code="321")
        assert "not applicable to generic ticks" in refusal["text"]
        client.ask("cancelMktData", reqId="5")
        client.ask("reqMarketDataType", marketDataType="3")
        late = await told(client, "STK", "233,236")
        # What lags behind has none of the exchange's figures; what is to borrow is IB's own.
        assert {"46", "89", "88", "90"} <= late.keys()
        assert not {"48", "45", "1"} & late.keys()
