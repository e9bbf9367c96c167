"""Every request of the official client, in its own bytes: none of them is left to hang.

Goal: a client that asks anything gets the answer, or a refusal with the request's own id and a code
that is not taken for a warning; what IB leaves unanswered is named here, with the reason.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Final

import pytest
from ib_async import Contract

from oms.sim.protocol import requests
from tests.conformance.test_wire import REQUESTS, sent_by_client
from tests.integration.sim_world import WireClient, world

#: The first message that answers, or the code of the refusal.
ANSWERED: Final[dict[str, str | int]] = {
    "reqMktData": "marketDataType",
    "cancelOrder": 10147,
    "reqOpenOrders": "openOrderEnd",
    "reqAccountUpdates": "updateAccountValue",
    "reqExecutions": "execDetailsEnd",
    "reqIds": "nextValidId",
    "reqContractDetails": "contractDetails",
    "reqMktDepth": "updateMktDepthL2",
    "reqAllOpenOrders": "openOrderEnd",
    "reqManagedAccts": "managedAccts",
    # IB's own word to an account that is no advisor's.
    "requestFA": 321,
    "replaceFA": 321,
    "exerciseOptions": 322,
    "reqScannerSubscription": "scannerData",
    "reqScannerParameters": "scannerParameters",
    "cancelScannerSubscription": 162,
    "reqHistoricalData": "historicalData",
    # The answer was whole: there is no query left to cancel.
    "cancelHistoricalData": 366,
    "reqHeadTimeStamp": "headTimestamp",
    "reqHistogramData": "histogramData",
    "reqHistoricalTicks": "historicalTicksLast",
    "reqCurrentTime": "currentTime",
    "reqFundamentalData": 430,
    "calculateImpliedVolatility": "tickOptionComputation",
    "calculateOptionPrice": "tickOptionComputation",
    "reqPositions": "positionEnd",
    "reqAccountSummary": "accountSummary",
    "verifyRequest": 322,
    "verifyMessage": 322,
    "queryDisplayGroups": "displayGroupList",
    "subscribeToGroupEvents": "displayGroupUpdated",
    "updateDisplayGroup": "displayGroupUpdated",
    "startApi": 501,
    "verifyAndAuthRequest": 322,
    "verifyAndAuthMessage": 322,
    "reqPositionsMulti": "positionMultiEnd",
    "reqAccountUpdatesMulti": "accountUpdateMulti",
    "reqSecDefOptParams": "securityDefinitionOptionParameter",
    "reqSoftDollarTiers": "softDollarTiers",
    "reqFamilyCodes": "familyCodes",
    "reqMatchingSymbols": "symbolSamples",
    "reqMktDepthExchanges": "mktDepthExchanges",
    "reqSmartComponents": "smartComponents",
    "reqNewsArticle": 10172,
    "reqNewsProviders": "newsProviders",
    "reqHistoricalNews": "historicalNewsEnd",
    "reqMarketRule": "marketRule",
    "reqPnL": "pnl",
    "reqPnLSingle": "pnlSingle",
    "reqTickByTickData": "tickByTick",
    "reqCompletedOrders": "completedOrdersEnd",
    "reqWshMetaData": 10276,
    "reqWshEventData": 10276,
    "reqUserInfo": "userInfo",
}
#: What IB leaves without an answer, at once or for ever, and no client waits for.
SILENT: Final = {
    "cancelMktData": "it ends a subscription",
    "cancelMktDepth": "it ends a subscription",
    "reqNewsBulletins": "there is no bulletin",
    "cancelNewsBulletins": "it ends a subscription",
    "setServerLogLevel": "it sets something",
    "reqAutoOpenOrders": "it sets something",
    "reqRealTimeBars": "the first bar is five seconds away",
    "cancelRealTimeBars": "it ends a subscription",
    "cancelFundamentalData": "there is nothing to end",
    "cancelCalculateImpliedVolatility": "what was asked is answered",
    "cancelCalculateOptionPrice": "what was asked is answered",
    "reqGlobalCancel": "there are no orders",
    "reqMarketDataType": "it sets something",
    "cancelAccountSummary": "it ends a subscription",
    "cancelPositions": "it ends a subscription",
    "unsubscribeFromGroupEvents": "it ends a subscription",
    "cancelPositionsMulti": "it ends a subscription",
    "cancelAccountUpdatesMulti": "it ends a subscription",
    "cancelPnL": "it ends a subscription",
    "cancelPnLSingle": "it ends a subscription",
    "cancelTickByTickData": "it ends a subscription",
    "cancelHeadTimeStamp": "what was asked is answered",
    "cancelHistogramData": "what was asked is answered",
    "cancelWshMetaData": "there is nothing to end",
    "cancelWshEventData": "there is nothing to end",
}
#: Codes that ib_async and ib_insync take for a warning: who waits for an answer waits on.
WARNINGS: Final = frozenset({105, 110, 165, 202, 321, 329, 399, 404, 434, 492, 10167})
#: Refusals without an id: of what carries none.
WITHOUT_ID: Final = frozenset(
    (
        *("verifyRequest", "verifyMessage", "verifyAndAuthRequest", "verifyAndAuthMessage"),
        *("startApi", "requestFA"),
    )
)

_STOCK = Contract(conId=265598, symbol="AAPL", secType="STK", exchange="SMART", currency="USD")
_OPTION = Contract(
    symbol="AAPL", secType="OPT", exchange="SMART", currency="USD", right="C", strike=190,
    lastTradeDateOrContractMonth="20300118", multiplier="100",
)  # fmt: skip


def _asked(version: int, name: str) -> list[str]:
    """The request as ib_async writes it, about something that is there."""
    arguments = list(REQUESTS[name])
    for at, one in enumerate(arguments):
        if isinstance(one, Contract):
            arguments[at] = _OPTION if name.startswith(("calculate", "exercise")) else _STOCK
        elif one == "DU1":
            arguments[at] = "DU1234567"
        elif dataclasses.is_dataclass(one) and hasattr(one, "scanCode"):
            arguments[at] = dataclasses.replace(
                one, instrument="STK", locationCode="STK.US", scanCode="MOST_ACTIVE"
            )
    known = {"reqSmartComponents": ("9c0001",), "reqMktDepth": (5, True, [])}
    for offset, value in enumerate(known.get(name, ()), start=1 + (name == "reqMktDepth")):
        arguments[offset] = value
    if name == "reqPnLSingle":
        arguments[-1] = 265598
    if name == "reqHistoricalTicks":
        arguments[3] = "20260105 12:00:00 US/Eastern"
    return sent_by_client(version, name, *arguments)


def test_every_request_is_in_one_of_the_lists() -> None:
    named = {*ANSWERED, *SILENT, "placeOrder"}
    assert named == set(requests.NAMES.values())


@pytest.mark.parametrize("version", [157, 163, 178])
async def test_no_request_of_the_official_client_is_left_to_hang(version: int) -> None:
    async with world() as sim:
        client = await sim.client(client_id=0, versions=f"v157..{version}")
        # A subscription comes before what ends it, whatever the numbers of the messages.
        # `settle` asks reqUserInfo each time, and takes its answer.
        for name in sorted({*ANSWERED, *SILENT} - {"reqUserInfo"}, key=_in_order):
            client.forget()
            client.send(*_asked(version, name))
            await client.settle()
            _check(client, name)


def _in_order(name: str) -> tuple[bool, bool, int]:
    ends = name.startswith(("cancel", "unsubscribe", "update"))
    number = next(number for number, known in requests.NAMES.items() if known == name)
    return ends, name.startswith("unsubscribe"), number


def _check(client: WireClient, name: str) -> None:
    expected = ANSWERED.get(name)
    if expected is None:
        assert client.story() == [], (name, SILENT[name])
    elif isinstance(expected, int):
        (refusal,) = [values for kind, values in client.received if kind == "errMsg"]
        assert refusal["code"] == str(expected), (name, refusal)
        own = {"cancelOrder": "5", "replaceFA": "9"}.get(name, "9")
        assert refusal["reqId"] == ("-1" if name in WITHOUT_ID else own), name
        assert expected not in WARNINGS or name in ("requestFA", "replaceFA"), name
    else:
        assert client.received, name
        kind, values = client.received[0]
        assert (kind, values.get("reqId", "9")) == (expected, "9"), (name, client.received[:2])


async def test_what_is_asked_of_nothing_that_is_there_is_refused_with_the_own_id() -> None:
    """An unknown contract, exchange, scanner, or subscription to end."""
    wrong: dict[str, tuple[dict[str, Any], int]] = {
        "reqSmartComponents": ({"bboExchange": "x"}, 322),
        "reqMktDepth": ({"symbol": "ZZZZ", "secType": "STK"}, 200),
        "reqScannerSubscription": ({"scanCode": "NOTHING", "locationCode": "STK.US"}, 162),
        "cancelScannerSubscription": ({}, 365),
        "cancelMktDepth": ({}, 310),
        "calculateOptionPrice": ({"symbol": "ZZZZ", "secType": "OPT"}, 200),
        "calculateImpliedVolatility": ({"conId": "265598", "exchange": "SMART"}, 322),
        "exerciseOptions": ({"symbol": "ZZZZ", "secType": "OPT"}, 200),
    }
    async with world() as sim:
        client = await sim.client()
        for name, (values, code) in wrong.items():
            client.ask(name, reqId="44", **values)
            await client.settle()
            assert client.last("errMsg")["reqId"] == "44", name
            assert client.last("errMsg")["code"] == str(code), name
