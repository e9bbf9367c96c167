"""What clients find out about contracts, and the rules of each class of them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from oms.sim.clock import SteppedClock
from tests.integration.sim_world import WireClient, world

D = Decimal
MONDAY_NOON = datetime(2026, 1, 5, 17, 0, tzinfo=UTC)  # 12:00 in New York
OPTION = {"symbol": "AAPL", "secType": "OPT", "right": "C", "strike": "190",
          "lastTradeDateOrContractMonth": "20260116", "exchange": "SMART",
          "currency": "USD"}  # fmt: skip


async def details(client: WireClient, **contract: str) -> list[dict[str, Any]]:
    """The rows that answer a look-up."""
    client.forget()
    client.ask("reqContractDetails", reqId="7", **contract)
    await client.settle()
    return [values for name, values in client.received if name.endswith("ontractDetails")]


def numbers(row: dict[str, Any]) -> dict[str, str]:
    return {one["tag"]: one["value"] for one in row["secIdList"]}


def luhn_holds(text: str) -> bool:
    """The check of an ISIN, written another way: every second digit doubled, from the right."""
    digits = "".join(str(int(letter, 36)) for letter in text)
    doubled = [int(digit) * (1 + at % 2) for at, digit in enumerate(reversed(digits))]
    return sum(one // 10 + one % 10 for one in doubled) % 10 == 0


# -- numbers --------------------------------------------------------------------------------------


async def test_a_share_has_one_isin_that_holds_wherever_it_is_listed() -> None:
    async with world() as sim:
        client = await sim.client()
        seen: dict[str, str] = {}
        for symbol in ("AAPL", "AMD", "SPY", "SAP", "VOD"):
            rows = await details(client, symbol=symbol, secType="STK")
            (isin,) = {numbers(row)["ISIN"] for row in rows}
            assert len(isin) == 12
            assert luhn_holds(isin)
            seen[isin] = symbol
        assert len(seen) == 5
        assert [isin[:2] for isin in seen] == ["US", "US", "US", "DE", "GB"]


async def test_what_has_no_number_at_ib_has_none_here() -> None:
    async with world(clock=SteppedClock(MONDAY_NOON)) as sim:
        client = await sim.client()
        for contract in (
            OPTION,
            {"symbol": "ES", "secType": "FUT", "exchange": "CME"},
            {"symbol": "EUR", "secType": "CASH", "currency": "USD"},
            {"symbol": "SPX", "secType": "IND"},
            {"symbol": "IBUS500", "secType": "CFD"},
            {"symbol": "BTC", "secType": "CRYPTO"},
        ):
            rows = await details(client, **contract)
            assert rows, contract
            assert [row["secIdList"] for row in rows] == [[]] * len(rows), contract


async def test_a_share_is_found_by_its_isin_and_by_its_cusip() -> None:
    async with world() as sim:
        client = await sim.client()
        (row,) = await details(client, symbol="AAPL", secType="STK", exchange="SMART",
                               currency="USD")  # fmt: skip
        isin = numbers(row)["ISIN"]
        for kind, number in (("ISIN", isin), ("CUSIP", isin[2:11])):
            rows = await details(client, secType="STK", secIdType=kind, secId=number,
                                 exchange="SMART", currency="USD")  # fmt: skip
            assert [one["conId"] for one in rows] == ["265598"]
        assert await details(client, secType="STK", secIdType="ISIN", secId="US0000000000") == []
        assert client.story()[-1] == "errMsg 200"


async def test_a_bond_is_found_by_any_isin_whose_check_digit_holds() -> None:
    async with world() as sim:
        client = await sim.client()
        (row,) = await details(client, secType="BOND", secIdType="ISIN", secId="US03076KAA60")
        assert client.story()[0] == "bondContractDetails"
        assert numbers(row) == {"CUSIP": "03076KAA6", "ISIN": "US03076KAA60"}
        (again,) = await details(client, secType="BOND", symbol="03076KAA6", exchange="SMART")
        assert again["conId"] == row["conId"]
        assert await details(client, secType="BOND", secIdType="ISIN", secId="US03076KAA61") == []
        (german,) = await details(client, secType="BOND", secIdType="ISIN", secId="DE0001102580")
        assert (german["currency"], numbers(german)) == ("EUR", {"ISIN": "DE0001102580"})
        order_id = client.place(conId=row["conId"], symbol="", secType="BOND", totalQuantity="5")
        await client.wait_for("orderStatus", orderId=str(order_id), status="Filled")
        price = D(client.last("execDetails")["price"])
        # Five pieces of 1,000, at a price in per cent; the charge is 0.1 % of the face.
        assert sim.books()["commissions"][0]["commission"] == "5"
        assert D(sim.books()["cash"][0]["amount"]) == 1_000_000 - price * 50 - 5


# -- look-ups -------------------------------------------------------------------------------------


async def test_a_symbol_alone_has_a_row_for_every_exchange_of_every_listing() -> None:
    async with world() as sim:
        client = await sim.client()
        rows = await details(client, symbol="AMD", secType="STK")
        assert len({row["conId"] for row in rows}) == 3
        assert {row["currency"] for row in rows} == {"USD", "EUR", "MXN"}
        exchanges = {row["exchange"] for row in rows if row["currency"] == "USD"}
        assert exchanges == {"SMART", "AMEX", "NYSE", "ARCA", "ISLAND", "IEX", "NASDAQ"}
        assert len(await details(client, symbol="AMD", secType="STK", exchange="SMART",
                                 currency="USD")) == 1  # fmt: skip
        assert len(await details(client, conId="4391")) == 1


async def test_the_details_name_the_listing_exchange_of_a_share_and_of_nothing_else() -> None:
    async with world(clock=SteppedClock(MONDAY_NOON)) as sim:
        client = await sim.client()
        told = {}
        for contract in (
            {"symbol": "AAPL", "secType": "STK", "exchange": "SMART", "currency": "USD"},
            OPTION,
            {"symbol": "CL", "secType": "CONTFUT", "exchange": "NYMEX"},
            {"symbol": "EUR", "secType": "CASH", "exchange": "IDEALPRO", "currency": "USD"},
        ):
            (row,) = await details(client, **contract)
            told[row["secType"]] = row["primaryExchange"]
        assert told == {"STK": "NASDAQ", "OPT": "", "CONTFUT": "", "CASH": ""}


async def test_a_search_names_the_kinds_of_derivatives() -> None:
    async with world() as sim:
        client = await sim.client()
        client.ask("reqMatchingSymbols", reqId="3", pattern="amd")
        samples = (await client.wait_for("symbolSamples", reqId="3"))["samples"]
        found = {(one["currency"], one["primaryExchange"]): one for one in samples}
        kinds = [one["derivativeSecType"] for one in found["USD", "NASDAQ"]["derivativeSecTypes"]]
        assert kinds == ["CFD", "OPT", "BAG"]
        assert found["EUR", "IBIS2"]["derivativeSecTypes"] == []


async def test_the_chain_of_a_future_and_of_an_index_reaches_some_per_cent_round_its_price() -> (
    None
):
    async with world(clock=SteppedClock(MONDAY_NOON)) as sim:
        client = await sim.client()
        (future,) = await details(client, symbol="ES", secType="CONTFUT", exchange="CME")
        for con_id, kind, exchange in ((future["conId"], "FUT", "CME"), ("416904", "IND", "SMART")):
            client.ask("reqSecDefOptParams", reqId="4", underlyingSymbol="x", futFopExchange="",
                       underlyingSecType=kind, underlyingConId=con_id)  # fmt: skip
            await client.settle()
            chains = [
                row for name, row in client.received if name == "securityDefinitionOptionParameter"
            ]
            assert chains[0]["exchange"] == exchange
            strikes = [D(one["strike"]) for one in chains[0]["strikes"]]
            assert len(strikes) == 11
            assert strikes[0] < 5300 * D("0.96") < 5300 * D("1.04") < strikes[-1]
            expiry = chains[0]["expirations"][0]["expiration"]
            asked = {"secType": "FOP" if kind == "FUT" else "OPT", "exchange": exchange}
            rows = await details(
                client, symbol="ES" if kind == "FUT" else "SPX", right="P",
                lastTradeDateOrContractMonth=expiry, strike=str(strikes[0]), **asked
            )  # fmt: skip
            assert [row["multiplier"] for row in rows] == [chains[0]["multiplier"]]


async def test_a_continuous_future_is_the_one_that_expires_first() -> None:
    async with world(clock=SteppedClock(MONDAY_NOON)) as sim:
        client = await sim.client()
        futures = await details(client, symbol="ES", secType="FUT", exchange="CME")
        (row,) = await details(client, symbol="ES", secType="CONTFUT", exchange="CME")
        first = min(futures, key=lambda one: str(one["lastTradeDate"]))
        assert row == {**first, "secType": "CONTFUT"}
        # It is for look-ups and history; its con id is that of the future.
        order_id = client.place(symbol="ES", secType="CONTFUT", exchange="CME")
        assert (await client.wait_for("errMsg", reqId=str(order_id)))["code"] == "321"
        client.ask("reqMktData", reqId="8", symbol="ES", secType="CONTFUT", exchange="CME")
        assert (await client.wait_for("errMsg", reqId="8"))["code"] == "321"
        client.ask("reqMktData", reqId="9", conId=row["conId"], secType="CONTFUT", exchange="CME")
        await client.wait_for("tickPrice", reqId="9")


# -- classes --------------------------------------------------------------------------------------


async def test_a_crypto_currency_is_bought_for_an_amount_and_sold_by_the_piece() -> None:
    btc = {"symbol": "BTC", "secType": "CRYPTO", "exchange": "PAXOS", "currency": "USD"}
    async with world() as sim:
        client = await sim.client()
        sim.do("quote", symbol="BTC", sec_type="CRYPTO", exchange="PAXOS",
               bid="64000", ask="64010")  # fmt: skip
        bought = client.place(**btc, cashQty="1000", totalQuantity="0", tif="IOC")
        await client.wait_for("orderStatus", orderId=str(bought), status="Filled")
        filled = D(client.last("execDetails")["shares"])
        assert filled == D("0.01562255")  # 1000 / 64010, down to eight decimals
        assert sim.books()["commissions"][0]["commission"] == "1.8"  # 0.18 %
        sold = client.place(**btc, action="SELL", totalQuantity=str(filled), tif="IOC")
        await client.wait_for("orderStatus", orderId=str(sold), status="Filled")
        assert [row["quantity"] for row in sim.books()["positions"]] == ["0"]


#: Orders for crypto that IB takes none of, and the code of each.
REFUSED: tuple[tuple[dict[str, str], str], ...] = (
    ({"totalQuantity": "1", "tif": "IOC"}, "10289"),
    ({"cashQty": "100", "totalQuantity": "0", "tif": "DAY"}, "201"),
    ({"orderType": "LMT", "lmtPrice": "64000", "totalQuantity": "1", "tif": "GTC"}, "201"),
    ({"action": "SELL", "totalQuantity": "1", "tif": "IOC"}, "201"),
    ({"orderType": "STP", "auxPrice": "64000", "totalQuantity": "1", "tif": "IOC"}, "387"),
    ({"orderType": "LMT", "lmtPrice": "64000", "totalQuantity": "0.000000001", "tif": "IOC"},
     "10243"),
)  # fmt: skip


async def test_what_ib_takes_of_no_order_for_crypto() -> None:
    """A size, the day, till cancelled, a short sale, a stop, and too small a part."""
    btc = {"symbol": "BTC", "secType": "CRYPTO", "exchange": "PAXOS", "currency": "USD"}
    async with world() as sim:
        client = await sim.client()
        for order, code in REFUSED:
            order_id = client.place(**btc, **order)
            refusal = await client.wait_for("errMsg", reqId=str(order_id))
            assert refusal["code"] == code, order
            # The id of an order that was refused with an error alone is free.
            client.next_id = order_id + 1


async def test_a_crypto_order_of_minutes_ends_after_five_of_them() -> None:
    btc = {"symbol": "BTC", "secType": "CRYPTO", "exchange": "PAXOS", "currency": "USD"}
    async with world(clock=SteppedClock(MONDAY_NOON)) as sim:
        client = await sim.client()
        order_id = client.place(**btc, orderType="LMT", lmtPrice="1000", tif="Minutes",
                                totalQuantity="0.5")  # fmt: skip
        await client.wait_for("orderStatus", orderId=str(order_id), status="Submitted")
        sim.do("advance", seconds="299")
        assert sim.books()["orders"][0]["status"] == "Submitted"
        sim.do("advance", seconds="2")
        await client.wait_for("orderStatus", orderId=str(order_id), status="Cancelled")


#: A contract, a size, and what a deal costs at a price.
CHARGES: tuple[tuple[dict[str, str], str, Callable[[Decimal], Decimal]], ...] = (
    ({"symbol": "IBUS500", "secType": "CFD"}, "10", lambda price: price * 10 / 20_000),
    ({"symbol": "IBM", "secType": "CFD"}, "1000", lambda _: D(5)),
    ({"symbol": "XAUUSD", "secType": "CMDTY"}, "1", lambda _: D(2)),
    ({"symbol": "VINIX", "secType": "FUND", "exchange": "FUNDSERV"}, "10", lambda _: D("14.95")),
    ({"symbol": "SAP", "secType": "WAR", "exchange": "FWB", "right": "C", "strike": "180",
      "currency": "EUR", "lastTradeDateOrContractMonth": "20260320"}, "100", lambda _: D(4)),
)  # fmt: skip


async def test_each_class_is_charged_by_its_own_schedule() -> None:
    async with world(clock=SteppedClock(MONDAY_NOON)) as sim:
        client = await sim.client()
        for contract, quantity, charge in CHARGES:
            assert len(await details(client, **contract)) == 1, contract
            order = {"exchange": "SMART", "currency": "USD", **contract}
            order_id = client.place(**order, totalQuantity=quantity)
            await client.wait_for("orderStatus", orderId=str(order_id), status="Filled")
            price = D(client.last("execDetails")["price"])
            told = D(client.last("commissionReport")["commission"])
            assert abs(told - charge(price)) < D("0.01"), contract


# -- options --------------------------------------------------------------------------------------


async def quoted(client: WireClient, **asked: str) -> dict[str, dict[str, str]]:
    """The ticks of a snapshot by their type; those of the model under `o` and the type."""
    client.forget()
    client.ask("reqMktData", reqId="5", snapshot="1", **asked)
    await client.wait_for("tickSnapshotEnd", reqId="5")
    return {
        ("o" if name == "tickOptionComputation" else "") + values["tickType"]: values
        for name, values in client.received
        if "tickType" in values
    }


async def test_an_option_quote_brings_the_models_figures_unasked() -> None:
    async with world(clock=SteppedClock(MONDAY_NOON)) as sim:
        client = await sim.client()
        ticks = await quoted(client, **OPTION)
        model = {name: float(text) for name, text in ticks["o13"].items() if name != "id"}
        assert 0.15 <= model["impliedVol"] <= 0.60
        assert 0.3 < model["delta"] < 0.7
        assert model["gamma"] > 0 > model["theta"]
        assert model["vega"] > 0
        stock = await quoted(client, symbol="AAPL", secType="STK", exchange="SMART",
                             currency="USD")  # fmt: skip
        assert model["undPrice"] == float(stock["4"]["price"])
        assert "o13" not in stock
        bid, ask = float(ticks["1"]["price"]), float(ticks["2"]["price"])
        assert bid <= model["optPrice"] <= ask
        assert float(ticks["o10"]["optPrice"]) == bid
        volatilities = [float(ticks[kind]["impliedVol"]) for kind in ("o10", "o13", "o11")]
        assert volatilities == sorted(volatilities)
        client.ask("reqMarketDataType", marketDataType="3")
        assert {kind for kind in await quoted(client, **OPTION) if kind.startswith("o")} == {
            "o80", "o81", "o82", "o83",
        }  # fmt: skip


async def test_an_option_moves_with_its_stock_and_so_do_its_figures() -> None:
    async with world(clock=SteppedClock(MONDAY_NOON)) as sim:
        client = await sim.client()
        sim.do("quote", symbol="AAPL", last="190")
        client.ask("reqMktData", reqId="5", **OPTION)
        before = await client.wait_for("tickOptionComputation", reqId="5", tickType="13")
        resting = client.place(**OPTION, action="SELL", totalQuantity="1", orderType="LMT",
                               lmtPrice="20")  # fmt: skip
        await client.wait_for("orderStatus", orderId=str(resting), status="Submitted")
        client.forget()
        sim.do("quote", symbol="AAPL", last="215")
        after = await client.wait_for("tickOptionComputation", reqId="5", tickType="13")
        assert float(after["delta"]) > float(before["delta"]) + 0.3
        await client.wait_for("tickPrice", reqId="5", tickType="1")
        # The order rests on the option: it fills when the stock has moved.
        await client.wait_for("orderStatus", orderId=str(resting), status="Filled")


async def test_a_client_has_a_volatility_and_a_price_calculated() -> None:
    async with world(clock=SteppedClock(MONDAY_NOON)) as sim:
        client = await sim.client()
        client.ask("calculateOptionPrice", reqId="5", **OPTION, volatility="0.35",
                   underPrice="188")  # fmt: skip
        priced = await client.wait_for("tickOptionComputation", reqId="5")
        assert (priced["tickType"], priced["impliedVol"], priced["undPrice"]) == (
            "53", "0.35", "188",
        )  # fmt: skip
        client.ask("calculateImpliedVolatility", reqId="6", **OPTION, underPrice="188",
                   optionPrice=priced["optPrice"])  # fmt: skip
        found = await client.wait_for("tickOptionComputation", reqId="6")
        assert abs(float(found["impliedVol"]) - 0.35) < 1e-5
        client.ask("calculateImpliedVolatility", reqId="7", **OPTION, underPrice="288",
                   optionPrice="3")  # fmt: skip
        none = await client.wait_for("tickOptionComputation", reqId="7")
        assert (none["impliedVol"], none["delta"], none["optPrice"]) == ("-1", "-2", "3")


# -- money ----------------------------------------------------------------------------------------


async def preview(client: WireClient, **order: Any) -> dict[str, Decimal]:
    """The amounts of a whatIf answer."""
    client.place(**order, whatIf="1")
    await client.settle()
    told = client.last("openOrder")
    return {name: D(text) for name, text in told.items() if name.endswith("Change")}


async def test_a_buy_far_below_the_market_asks_for_margin_whatever_is_held() -> None:
    async with world() as sim:
        client = await sim.client()
        sim.do("quote", symbol="AAPL", bid="189.99", ask="190.01", last="190")
        far = {"orderType": "LMT", "lmtPrice": "20", "totalQuantity": "10"}
        alone = await preview(client, **far)
        assert alone["initMarginChange"] == 100
        assert alone["equityWithLoanChange"] == -1
        client.place(totalQuantity="1000")
        await client.settle()
        assert await preview(client, **far) == alone
        # A sale that rests gives back the margin of the market for what it closes.
        told = await preview(client, action="SELL", orderType="LMT", lmtPrice="900",
                             totalQuantity="100")  # fmt: skip
        assert told["initMarginChange"] == -100 * D("190.01") / 2
        # A stop trades at its price at the earliest.
        told = await preview(client, orderType="STP", auxPrice="280", totalQuantity="10")
        assert told["initMarginChange"] == 10 * D(280) / 2


async def test_a_currency_deal_is_charged_in_the_base_currency_of_the_account() -> None:
    async with world(base_currency="EUR") as sim:
        client = await sim.client()
        pair = {"secType": "CASH", "exchange": "IDEALPRO"}
        client.place(**pair, symbol="EUR", currency="GBP", totalQuantity="30000")
        client.place(**pair, symbol="USD", currency="JPY", totalQuantity="1000000")
        await client.settle()
        charges = [(row["commission"], row["currency"]) for row in sim.books()["commissions"]]
        # The least is two dollars: 1.82 euro; the other is 0.2 basis points of a million dollars.
        assert charges[0] == ("1.82", "EUR")
        assert charges[1][1] == "EUR"
        assert D("17.5") < D(charges[1][0]) < D("18.6")
        report = client.last("commissionReport")
        assert (report["commission"], report["currency"]) == charges[1]
        cash = {row["currency"]: D(row["amount"]) for row in sim.books()["cash"]}
        assert cash["EUR"] == 1_000_000 + 30_000 - D(charges[0][0]) - D(charges[1][0])
        assert cash["USD"] == 1_000_000


async def combination(client: WireClient, **order: Any) -> list[dict[str, Any]]:
    """Place a vertical spread and return its executions: of the whole, then of the legs."""
    legs = []
    for strike, action in (("190", "BUY"), ("200", "SELL")):
        (row,) = await details(client, **{**OPTION, "strike": strike})
        legs.append({"conId": row["conId"], "ratio": "1", "action": action, "exchange": "SMART"})
    client.forget()
    order_id = client.place(symbol="AAPL", secType="BAG", exchange="SMART", comboLegs=legs,
                            totalQuantity="1", **order)  # fmt: skip
    await client.wait_for("orderStatus", orderId=str(order_id), status="Filled")
    return [values for name, values in client.received if name == "execDetails"]


@pytest.mark.parametrize("action", ["BUY", "SELL"])
async def test_the_legs_of_a_combination_fill_at_their_own_touch(action: str) -> None:
    async with world(clock=SteppedClock(MONDAY_NOON)) as sim:
        client = await sim.client()
        whole, bought, sold = await combination(client, action=action)
        for leg, strike in ((bought, "190"), (sold, "200")):
            ticks = await quoted(client, **{**OPTION, "strike": strike})
            touch = ticks["2"] if leg["side"] == "BOT" else ticks["1"]
            assert leg["price"] == touch["price"]
        assert D(whole["price"]) == D(bought["price"]) - D(sold["price"])


async def test_the_legs_of_a_combination_share_what_it_fills_beside_their_touch() -> None:
    async with world(clock=SteppedClock(MONDAY_NOON), fills="manual") as sim:
        client = await sim.client()
        legs = []
        for strike, action in (("190", "BUY"), ("200", "SELL")):
            (row,) = await details(client, **{**OPTION, "strike": strike})
            ticks = await quoted(client, **{**OPTION, "strike": strike})
            legs.append((row["conId"], action, D(ticks["4"]["price"])))
        order_id = client.place(
            symbol="AAPL", secType="BAG", exchange="SMART", totalQuantity="1",
            comboLegs=[{"conId": con_id, "ratio": "1", "action": action, "exchange": "SMART"}
                       for con_id, action, _ in legs])  # fmt: skip
        await client.settle()
        net = legs[0][2] - legs[1][2]
        sim.do("fill", order="last", price=str(net))
        await client.wait_for("orderStatus", orderId=str(order_id), status="Filled")
        rows = [values for name, values in client.received if name == "execDetails"]
        assert D(rows[1]["price"]) - D(rows[2]["price"]) == net
        for row, (_, _, last) in zip(rows[1:], legs, strict=True):
            assert abs(D(row["price"]) - last) <= D("0.05")
