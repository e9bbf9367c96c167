"""The simulator's bytes through ib_async's decoder, and ib_async's requests through the simulator.

Goal: the two ends agree field by field at every server version that ib_async knows.  Method: each
server message is encoded with a different value in every field, decoded by ib_async, and compared
under IB's own field names; each request of ib_async's client is sent and read back.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import logging
import struct
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ib_async import (
    ComboLeg,
    Contract,
    DeltaNeutralContract,
    ExecutionCondition,
    ExecutionFilter,
    MarginCondition,
    Order,
    OrderComboLeg,
    OrderState,
    PercentChangeCondition,
    PriceCondition,
    ScannerSubscription,
    SoftDollarTier,
    TagValue,
    TimeCondition,
    VolumeCondition,
    WshEventData,
)
from ib_async.client import Client
from ib_async.decoder import Decoder
from ib_async.objects import Execution

from oms.sim.protocol import frames, messages, requests
from oms.sim.protocol.errors import WireError
from oms.sim.protocol.fields import UNSET_INTEGER, to_decimal
from oms.sim.protocol.versions import parse_versions

VERSIONS = range(157, 179)
PLACE_ORDER_FIELDS = {178: 114, 177: 114, 176: 115}
"""Counts seen on the wire from every client tried, for a plain order."""
COUNTS_AT_178 = {
    "tickPrice": 7,
    "tickSize": 5,
    "orderStatus": 12,
    "errMsg": 6,
    "updateAccountValue": 6,
    "updatePortfolio": 20,
    "updateAccountTime": 3,
    "nextValidId": 3,
    "contractDetails": 40,
    "execDetails": 32,
    "managedAccts": 3,
    "currentTime": 3,
    "openOrder": 135,
    "openOrderEnd": 2,
    "positionEnd": 2,
    "accountDownloadEnd": 3,
    "marketDataType": 4,
    "commissionReport": 8,
    "position": 16,
    "accountSummary": 7,
    "positionMulti": 18,
    "accountUpdateMulti": 8,
    "tickReqParams": 5,
    "orderBound": 4,
    "completedOrder": 100,
    "completedOrdersEnd": 1,
    "execDetailsEnd": 3,
}


def at_every_version(check: Callable[..., None]) -> Callable[..., None]:
    """Make one test of a check at each server version; a failure names the version."""

    def test(**case: Any) -> None:
        for version in VERSIONS:
            try:
                check(version=version, **case)
            except Exception as error:
                error.add_note(f"at server version {version}")
                raise

    case = [one for one in inspect.signature(check).parameters.values() if one.name != "version"]
    functools.update_wrapper(test, check, updated=())
    test.__signature__ = inspect.Signature(case)  # type: ignore[attr-defined]
    return test


# -- the other end ---------------------------------------------------------------------------------


class Recorder:
    """Stands where ib_async's wrapper stands, and keeps every call."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, tuple[Any, ...]]] = []
        self.ib = SimpleNamespace(TimezoneTWS="")
        self.defaultTimezone = UTC

    def __getattr__(self, name: str) -> Any:
        return lambda *arguments: self.calls.append((name, arguments))


class _Loud(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        raise AssertionError(record.getMessage())


def decode(version: int, fields: Sequence[str]) -> list[tuple[str, tuple[Any, ...]]]:
    """The calls that ib_async makes of a field list.  What it only logs fails the test."""
    recorder = Recorder()
    decoder = Decoder(recorder, version)  # type: ignore[arg-type]
    loud = _Loud(logging.ERROR)
    decoder.logger.addHandler(loud)
    try:
        decoder.interpret(list(fields))
    finally:
        decoder.logger.removeHandler(loud)
    return recorder.calls


def decode_order(
    name: str, version: int, values: Mapping[str, Any]
) -> tuple[Contract, Order, OrderState]:
    ((_, arguments),) = decode(version, messages.encode(name, version, values))
    contract, order, state = arguments[-3:]
    return contract, order, state


def sent_by_client(version: int, name: str, *arguments: Any) -> list[str]:
    """The field list that ib_async's own client writes for a request."""
    written: list[str] = []
    client = Client(Recorder())
    client.connState = Client.CONNECTED
    client._serverVersion = version
    client.sendMsg = written.append  # type: ignore[method-assign,assignment]
    getattr(client, name)(*arguments)
    return frames.split(written[0].encode())


# -- values ----------------------------------------------------------------------------------------

NOT_DECODED = frozenset(("id", "sharesAllocation", "deltaNeutralContract"))
"""Fields that ib_async skips, or reads as the presence of a group."""
NOT_ORDER_FIELDS = frozenset(
    ("id", "sharesAllocation", "deltaNeutralContract", "orderId", "orderMiscOptions")
)
RENAMED = {
    "softDollarTierName": "name",
    "softDollarTierValue": "val",
    "softDollarTierDisplayName": "displayName",
}
GROUPS: dict[str, Any] = {
    "orderType": "PEG BENCH",
    "comboLegs": [
        {"conId": "11", "ratio": "1", "action": "BUY", "exchange": "SMART", "exemptCode": "-1"},
        {"conId": "12", "ratio": "2", "action": "SELL", "exchange": "SMART", "exemptCode": "-1"},
    ],
    "orderComboLegs": [{"price": "1.5"}, {"price": "2.5"}],
    "smartComboRoutingParams": [{"tag": "NonGuaranteed", "value": "1"}],
    "scalePriceIncrement": "0.05",
    "scaleRandomPercent": "1",
    "hedgeType": "P",
    "hedgeParam": "3",
    "deltaNeutralContract": "1",
    "deltaNeutralContractConId": "99",
    "deltaNeutralContractDelta": "0.5",
    "deltaNeutralContractPrice": "10.25",
    "algoStrategy": "Vwap",
    "algoParams": [{"tag": "maxPctVol", "value": "0.1"}],
    "referenceContractId": "77",
    "referenceExchangeId": "NYSE",
    "conditions": [
        {"condType": "1", "conjunction": "a", "isMore": "1", "price": "190.5", "conId": "265598",
         "exch": "SMART", "triggerMethod": "2"},
        {"condType": "3", "conjunction": "o", "isMore": "0", "time": "20260101 10:00:00"},
        {"condType": "4", "conjunction": "a", "isMore": "1", "percent": "30"},
        {"condType": "5", "conjunction": "a", "secType": "STK", "exch": "SMART",
         "symbol": "AAPL"},
        {"condType": "6", "conjunction": "a", "isMore": "1", "volume": "1000", "conId": "265598",
         "exch": "SMART"},
        {"condType": "7", "conjunction": "a", "isMore": "1", "changePercent": "1.5",
         "conId": "265598", "exch": "SMART"},
    ],
    "conditionsIgnoreRth": "1",
    "conditionsCancelOrder": "0",
}  # fmt: skip


def wire_unset() -> int:
    return int(UNSET_INTEGER)


def find(field: str, *holders: Any) -> tuple[Any, str]:
    """The object and the attribute that hold a field of that name."""
    name = RENAMED.get(field, field)
    candidates = holders[-1:] if field in RENAMED else holders[:-1]
    for holder in candidates:
        if any(one.name == name for one in dataclasses.fields(holder)):
            return holder, name
    raise AssertionError(f"{field} is a field of nothing in ib_async")


def read(holder: Any, attribute: str, text: str) -> Any:
    """The text as the type that ib_async gives to an attribute."""
    kind = type(next(one.default for one in dataclasses.fields(holder) if one.name == attribute))
    return bool(int(text)) if kind is bool else kind(text)


def sample_values(name: str, version: int, *holders: Any) -> dict[str, Any]:
    """A different value for every plain field of a message, of the type its name has."""
    blank = messages.decode(version, messages.encode(name, version, {}))[1]
    values: dict[str, Any] = {}
    for number, (field, text) in enumerate(blank.items(), start=1):
        if field in ("id", "version"):
            values[field] = text
        elif isinstance(text, str):
            values[field] = sample(field, number, holders)
    return values


def sample(field: str, number: int, holders: Sequence[Any]) -> str:
    for holder in holders:
        for one in dataclasses.fields(holder):
            if one.name == RENAMED.get(field, field):
                kind = type(one.default)
                if kind is bool:
                    return "1"
                return {int: str(number), float: f"{number}.25"}.get(kind, f"text{number}")
    return f"text{number}"


def order_values(name: str, version: int) -> dict[str, Any]:
    values = sample_values(name, version, Order(), Contract(), OrderState())
    values |= {"orderType": "LMT", "secType": "STK", "deltaNeutralContract": "0"}
    values |= {"algoStrategy": "", "hedgeType": "", "scalePriceIncrement": ""}
    del values["algoStrategy"], values["hedgeType"], values["scalePriceIncrement"]
    return values


def full_order() -> tuple[Order, Contract]:
    """An order and a contract with a different value in every plain field."""
    order, contract = Order(), Contract()
    for holder in (order, contract):
        for number, one in enumerate(dataclasses.fields(holder), start=1):
            if isinstance(one.default, bool):
                setattr(holder, one.name, True)
            elif isinstance(one.default, str):
                setattr(holder, one.name, f"text{number}")
            elif isinstance(one.default, int | float):
                setattr(holder, one.name, type(one.default)(number))
    order.orderType, contract.secType = "VOL", "STK"
    order.algoStrategy = ""
    order.softDollarTier = SoftDollarTier("tier", "value", "")
    return order, contract


_STOCK = Contract(conId=1, symbol="AAPL", secType="STK", exchange="SMART", currency="USD")
REQUESTS: dict[str, tuple[Any, ...]] = {
    "reqMktData": (9, _STOCK, "", False, False, []),
    "cancelMktData": (9,),
    "cancelOrder": (5,),
    "reqOpenOrders": (),
    "reqAccountUpdates": (True, "DU1"),
    "reqExecutions": (9, ExecutionFilter()),
    "reqIds": (1,),
    "reqContractDetails": (9, _STOCK),
    "reqMktDepth": (9, _STOCK, 5, False, []),
    "cancelMktDepth": (9, False),
    "reqNewsBulletins": (True,),
    "cancelNewsBulletins": (),
    "setServerLogLevel": (1,),
    "reqAutoOpenOrders": (True,),
    "reqAllOpenOrders": (),
    "reqManagedAccts": (),
    "requestFA": (1,),
    "replaceFA": (9, 1, "x"),
    "reqHistoricalData": (9, _STOCK, "", "1 D", "1 min", "TRADES", True, 1, False, []),
    "exerciseOptions": (9, _STOCK, 1, 1, "DU1", 0),
    "reqScannerSubscription": (9, ScannerSubscription(), [], []),
    "cancelScannerSubscription": (9,),
    "reqScannerParameters": (),
    "cancelHistoricalData": (9,),
    "reqCurrentTime": (),
    "reqRealTimeBars": (9, _STOCK, 5, "TRADES", True, []),
    "cancelRealTimeBars": (9,),
    "reqFundamentalData": (9, _STOCK, "x", []),
    "cancelFundamentalData": (9,),
    "calculateImpliedVolatility": (9, _STOCK, 1.5, 100.0, []),
    "calculateOptionPrice": (9, _STOCK, 0.5, 100.0, []),
    "cancelCalculateImpliedVolatility": (9,),
    "cancelCalculateOptionPrice": (9,),
    "reqGlobalCancel": (),
    "reqMarketDataType": (1,),
    "reqPositions": (),
    "reqAccountSummary": (9, "All", "NetLiquidation"),
    "cancelAccountSummary": (9,),
    "cancelPositions": (),
    "verifyRequest": ("x", "y"),
    "verifyMessage": ("x",),
    "queryDisplayGroups": (9,),
    "subscribeToGroupEvents": (9, 1),
    "updateDisplayGroup": (9, "x"),
    "unsubscribeFromGroupEvents": (9,),
    "startApi": (),
    "verifyAndAuthRequest": ("x", "y", "z"),
    "verifyAndAuthMessage": ("x", "y"),
    "reqPositionsMulti": (9, "DU1", ""),
    "cancelPositionsMulti": (9,),
    "reqAccountUpdatesMulti": (9, "DU1", "", False),
    "cancelAccountUpdatesMulti": (9,),
    "reqSecDefOptParams": (9, "AAPL", "", "STK", 265598),
    "reqSoftDollarTiers": (9,),
    "reqFamilyCodes": (),
    "reqMatchingSymbols": (9, "AA"),
    "reqMktDepthExchanges": (),
    "reqSmartComponents": (9, "x"),
    "reqNewsArticle": (9, "x", "y", []),
    "reqNewsProviders": (),
    "reqHistoricalNews": (9, 1, "x", "", "", 1, []),
    "reqHeadTimeStamp": (9, _STOCK, "TRADES", True, 1),
    "reqHistogramData": (9, _STOCK, True, "1 D"),
    "cancelHistogramData": (9,),
    "cancelHeadTimeStamp": (9,),
    "reqMarketRule": (26,),
    "reqPnL": (9, "DU1", ""),
    "cancelPnL": (9,),
    "reqPnLSingle": (9, "DU1", "", 1),
    "cancelPnLSingle": (9,),
    "reqHistoricalTicks": (9, _STOCK, "", "", 1, "TRADES", True, False, []),
    "reqTickByTickData": (9, _STOCK, "Last", 0, False),
    "cancelTickByTickData": (9,),
    "reqCompletedOrders": (True,),
    "reqWshMetaData": (9,),
    "cancelWshMetaData": (9,),
    "reqWshEventData": (9, WshEventData()),
    "cancelWshEventData": (9,),
    "reqUserInfo": (9,),
}

_ROW = {
    "conId": "265598",
    "symbol": "AAPL",
    "secType": "STK",
    "exchange": "",
    "currency": "USD",
    "localSymbol": "AAPL",
    "tradingClass": "NMS",
    "strike": "0",
}
_ROW_CONTRACT = Contract(
    conId=265598, symbol="AAPL", secType="STK", currency="USD", localSymbol="AAPL",
    tradingClass="NMS",
)  # fmt: skip


def plain(value: Any) -> Any:
    """Dataclasses and tuples as lists, to compare them with what was sent."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return [plain(getattr(value, one.name)) for one in dataclasses.fields(value)]
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    return value


SHORT: dict[str, tuple[dict[str, Any], list[Any]]] = {
    "tickPrice": (
        {"reqId": "9", "tickType": "1", "price": "1.5", "size": "100"},
        [9, 1, 1.5, 100.0],
    ),
    "tickSize": ({"reqId": "9", "tickType": "0", "size": "100"}, [9, 0, 100.0]),
    "orderStatus": (
        {"orderId": "5", "status": "Submitted", "filled": "1", "remaining": "2",
         "avgFillPrice": "1.5", "permId": "77", "parentId": "4", "lastFillPrice": "1.25",
         "clientId": "3", "whyHeld": "child", "mktCapPrice": "0.5"},
        [5, "Submitted", 1.0, 2.0, 1.5, 77, 4, 1.25, 3, "child", 0.5],
    ),
    "updateAccountValue": (
        {"key": "Cash", "value": "1.00", "currency": "USD", "account": "DU1"},
        ["Cash", "1.00", "USD", "DU1"],
    ),
    "updatePortfolio": (
        {**_ROW, "primaryExchange": "", "position": "1", "marketPrice": "2", "marketValue": "3",
         "averageCost": "4", "unrealizedPNL": "5", "realizedPNL": "6", "account": "DU1"},
        [_ROW_CONTRACT, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, "DU1"],
    ),
    "updateAccountTime": ({"time": "10:00"}, ["10:00"]),
    "nextValidId": ({"orderId": "5"}, [5]),
    "managedAccts": ({"accounts": "DU1,DU2"}, ["DU1,DU2"]),
    "tickOptionComputation": (
        {"reqId": "9", "tickType": "13", "impliedVol": "0.5", "delta": "0.25", "optPrice": "3",
         "gamma": "1", "vega": "2", "theta": "-1", "undPrice": "100"},
        [9, 13, 0, 0.5, 0.25, 3.0, 0.0, 1.0, 2.0, -1.0, 100.0],
    ),
    "tickGeneric": ({"reqId": "9", "tickType": "49", "value": "1"}, [9, 49, 1.0]),
    "tickString": ({"reqId": "9", "tickType": "45", "value": "17"}, [9, 45, "17"]),
    "currentTime": ({"time": "17"}, [17]),
    "realtimeBar": (
        {"reqId": "9", "time": "17", "open": "1", "high": "2", "low": "0.5", "close": "1.5",
         "volume": "7", "wap": "1.25", "count": "3"},
        [9, 17, 1.0, 2.0, 0.5, 1.5, 7.0, 1.25, 3],
    ),
    "contractDetailsEnd": ({"reqId": "9"}, [9]),
    "openOrderEnd": ({}, []),
    "accountDownloadEnd": ({"account": "DU1"}, ["DU1"]),
    "execDetailsEnd": ({"reqId": "9"}, [9]),
    "tickSnapshotEnd": ({"reqId": "9"}, [9]),
    "marketDataType": ({"reqId": "9", "marketDataType": "3"}, [9, 3]),
    "position": (
        {**_ROW, "account": "DU1", "position": "5", "avgCost": "1.5"},
        ["DU1", _ROW_CONTRACT, 5.0, 1.5],
    ),
    "positionEnd": ({}, []),
    "accountSummary": (
        {"reqId": "9", "account": "DU1", "tag": "Cash", "value": "1", "currency": "USD"},
        [9, "DU1", "Cash", "1", "USD"],
    ),
    "accountSummaryEnd": ({"reqId": "9"}, [9]),
    "positionMulti": (
        {**_ROW, "reqId": "9", "account": "DU1", "position": "5", "avgCost": "1.5"},
        [9, "DU1", "", _ROW_CONTRACT, 5.0, 1.5],
    ),
    "positionMultiEnd": ({"reqId": "9"}, [9]),
    "accountUpdateMulti": (
        {"reqId": "9", "account": "DU1", "key": "Cash", "value": "1", "currency": "USD"},
        [9, "DU1", "", "Cash", "1", "USD"],
    ),
    "accountUpdateMultiEnd": ({"reqId": "9"}, [9]),
    "securityDefinitionOptionParameterEnd": ({"reqId": "9"}, [9]),
    "tickReqParams": ({"reqId": "9", "minTick": "0.01", "bboExchange": "a"}, [9, 0.01, "a", 3]),
    "pnl": (
        {"reqId": "9", "dailyPnL": "1", "unrealizedPnL": "2", "realizedPnL": "3"},
        [9, 1.0, 2.0, 3.0],
    ),
    "pnlSingle": (
        {"reqId": "9", "position": "5", "dailyPnL": "1", "unrealizedPnL": "2",
         "realizedPnL": "3", "value": "4"},
        [9, 5.0, 1.0, 2.0, 3.0, 4.0],
    ),
    "orderBound": ({"permId": "77", "clientId": "0", "orderId": "-1"}, [77, 0, -1]),
    "completedOrdersEnd": ({}, []),
    "errMsg": (
        {"reqId": "5", "code": "201", "text": "no", "advancedOrderRejectJson": ""},
        [5, 201, "no", ""],
    ),
    "userInfo": ({"reqId": "9", "whiteBrandingId": "x"}, [9, "x"]),
    "updateMktDepth": (
        {"reqId": "9", "position": "1", "operation": "2", "side": "0", "price": "1.5",
         "size": "100"},
        [9, 1, 2, 0, 1.5, 100.0],
    ),
    "updateMktDepthL2": (
        {"reqId": "9", "position": "1", "marketMaker": "NSDQ", "operation": "2", "side": "1",
         "price": "1.5", "size": "100", "isSmartDepth": "1"},
        [9, 1, "NSDQ", 2, 1, 1.5, 100.0, True],
    ),
    "scannerParameters": ({"xml": "<a/>"}, ["<a/>"]),
    "displayGroupList": ({"reqId": "9", "groups": "1|2"}, [9, "1|2"]),
    "displayGroupUpdated": ({"reqId": "9", "contractInfo": "265598@SMART"}, [9, "265598@SMART"]),
    "historicalNewsEnd": ({"reqId": "9", "hasMore": "1"}, [9, True]),
    "headTimestamp": ({"reqId": "9", "headTimestamp": "20010102-14:30:00"},
                      [9, "20010102-14:30:00"]),
}  # fmt: skip

_NOTHING = "1.7976931348623157E308"
_AT_17 = datetime.fromtimestamp(17, UTC)
GROUPED: dict[str, tuple[dict[str, Any], list[Any]]] = {
    "commissionReport": (
        {"execId": "a.01", "commission": "1.25", "currency": "USD", "realizedPNL": "-3.5"},
        [["a.01", 1.25, "USD", -3.5, float(_NOTHING), 0]],
    ),
    "softDollarTiers": (
        {"reqId": "9", "tiers": [{"name": "a", "value": "b", "displayName": "c"}]},
        [9, [["a", "b", "c"]]],
    ),
    "mktDepthExchanges": (
        {"exchanges": [{"exchange": "ARCA", "secType": "STK", "listingExch": "NYSE",
                        "serviceDataType": "Deep2", "aggGroup": "3"}]},
        [[["ARCA", "STK", "NYSE", "Deep2", 3]]],
    ),
    "smartComponents": (
        {"reqId": "9", "components": [{"bitNumber": "1", "exchange": "ARCA",
                                       "exchangeLetter": "P"}]},
        [9, [[1, "ARCA", "P"]]],
    ),
    "newsProviders": ({"providers": [{"code": "BRFG", "name": "x"}]}, [[["BRFG", "x"]]]),
    "familyCodes": ({"codes": [{"account": "DU1", "familyCode": "x"}]}, [[["DU1", "x"]]]),
    "marketRule": (
        {"marketRuleId": "26", "increments": [{"lowEdge": "0", "increment": "0.01"}]},
        [26, [[0.0, 0.01]]],
    ),
    "securityDefinitionOptionParameter": (
        {"reqId": "9", "exchange": "CBOE", "underlyingConId": "5", "tradingClass": "AAPL",
         "multiplier": "100", "expirations": [{"expiration": "20260116"}],
         "strikes": [{"strike": "190"}, {"strike": "195.5"}]},
        [9, "CBOE", "5", "AAPL", "100", ["20260116"], [190.0, 195.5]],
    ),
    "historicalDataUpdate": (
        {"reqId": "9", "count": "3", "date": "17", "open": "1", "close": "1.5", "high": "2",
         "low": "0.5", "wap": "1.25", "volume": "7"},
        [9, ["17", 1.0, 2.0, 0.5, 1.5, 7.0, 1.25, 3]],
    ),
    "histogramData": (
        {"reqId": "9", "points": [{"price": "1.5", "size": "7"}]}, [9, [[1.5, 7]]],
    ),
    "historicalTicks": (
        {"reqId": "9", "ticks": [{"time": "17", "unused": "0", "price": "1.5", "size": "7"}]},
        [9, [[_AT_17, 1.5, 7.0]], True],
    ),
    "historicalTicksBidAsk": (
        {"reqId": "9", "ticks": [{"time": "17", "attrMask": "2", "bidPrice": "1", "askPrice": "2",
                                  "bidSize": "3", "askSize": "4"}]},
        [9, [[_AT_17, [True, False], 1.0, 2.0, 3.0, 4.0]], True],
    ),
    "historicalTicksLast": (
        {"reqId": "9", "done": "0",
         "ticks": [{"time": "17", "attrMask": "2", "price": "1.5", "size": "7", "exchange": "X",
                    "specialConditions": "y"}]},
        [9, [[_AT_17, [False, True], 1.5, 7.0, "X", "y"]], False],
    ),
    "historicalSchedule": (
        {"reqId": "9", "startDateTime": "a", "endDateTime": "b", "timeZone": "US/Eastern",
         "sessions": [{"startDateTime": "c", "endDateTime": "d", "refDate": "20260304"}]},
        [9, "a", "b", "US/Eastern", [["c", "d", "20260304"]]],
    ),
    "tickByTick": (
        {"reqId": "9", "tickType": "3", "time": "17", "bidPrice": "1", "askPrice": "2",
         "bidSize": "3", "askSize": "4"},
        [9, 17, 1.0, 2.0, 3.0, 4.0, [False, False]],
    ),
}  # fmt: skip


# -- what the simulator sends ---------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(COUNTS_AT_178))
def test_a_message_has_the_field_count_of_the_wire_notes(name: str) -> None:
    assert len(messages.encode(name, 178, {})) == COUNTS_AT_178[name]


@pytest.mark.parametrize("name", ["openOrder", "completedOrder"])
@at_every_version
def test_every_field_of_an_order_message_arrives(name: str, version: int) -> None:
    """Goal: no field is off by one at any version.  Method: a different value in each."""
    sent = order_values(name, version)
    contract, order, state = decode_order(name, version, sent)
    for field, text in sent.items():
        # At exactly 158 ib_async leaves the last field unread; every other client reads it.
        unread = (version, field) == (158, "duration")
        if isinstance(text, str) and field not in NOT_DECODED and not unread:
            holder, attribute = find(field, contract, order, state, order.softDollarTier)
            assert getattr(holder, attribute) == read(holder, attribute, text), field


@pytest.mark.parametrize("name", ["openOrder", "completedOrder"])
@at_every_version
def test_the_optional_groups_of_an_order_message_arrive(name: str, version: int) -> None:
    sent = order_values(name, version) | GROUPS
    contract, order, _ = decode_order(name, version, sent)
    assert [leg.conId for leg in contract.comboLegs] == [11, 12]
    assert [leg.exemptCode for leg in contract.comboLegs] == [-1, -1]
    assert [leg.price for leg in order.orderComboLegs] == [1.5, 2.5]
    assert order.smartComboRoutingParams == [TagValue("NonGuaranteed", "1")]
    assert (order.scalePriceIncrement, order.scaleRandomPercent) == (0.05, True)
    assert (order.hedgeType, order.hedgeParam) == ("P", "3")
    assert contract.deltaNeutralContract == DeltaNeutralContract(99, 0.5, 10.25)
    assert (order.algoStrategy, order.algoParams) == ("Vwap", [TagValue("maxPctVol", "0.1")])
    assert (order.referenceContractId, order.referenceExchangeId) == (77, "NYSE")
    assert order.conditions == [
        PriceCondition(1, "a", True, 190.5, 265598, "SMART", 2),
        TimeCondition(3, "o", False, "20260101 10:00:00"),
        MarginCondition(4, "a", True, 30),
        ExecutionCondition(5, "a", "STK", "SMART", "AAPL"),
        VolumeCondition(6, "a", True, 1000, 265598, "SMART"),
        PercentChangeCondition(7, "a", True, 1.5, 265598, "SMART"),
    ]
    assert (order.conditionsIgnoreRth, order.conditionsCancelOrder) == (True, False)
    # What stands after the groups is still in step.
    assert order.minTradeQty == (int(sent["minTradeQty"]) if version >= 170 else wire_unset())


@at_every_version
def test_every_field_of_an_execution_arrives(version: int) -> None:
    sent = sample_values("execDetails", version, Execution(), Contract())
    sent |= {"reqId": "9", "time": "20260102 10:00:00 America/New_York", "venue": "ARCA"}
    (call,) = decode(version, messages.encode("execDetails", version, sent))
    _, (request_id, contract, execution) = call
    assert request_id == 9
    assert execution.time.isoformat() == "2026-01-02T15:00:00+00:00"
    assert execution.exchange == "ARCA"
    assert contract.exchange == sent["exchange"]
    for field in ("execId", "acctNumber", "side", "shares", "price", "permId", "clientId"):
        assert getattr(execution, field) == read(execution, field, sent[field]), field
    for field in ("cumQty", "avgPrice", "orderRef", "evRule", "modelCode", "lastLiquidity"):
        assert getattr(execution, field) == read(execution, field, sent[field]), field
    assert execution.pendingPriceRevision is (version >= 178)


@at_every_version
def test_every_field_of_contract_details_arrives(version: int) -> None:
    sent = {
        **sample_values("contractDetails", version),
        "reqId": "9",
        "conId": "265598",
        "strike": "190.5",
        "minTick": "0.01",
        "priceMagnifier": "100",
        "underConId": "4",
        "evMultiplier": "7",
        "aggGroup": "3",
        "lastTradeDate": "20260320-15:00:00-US/Central",
        "minSize": "0.0001",
        "sizeIncrement": "0.001",
        "suggestedSizeIncrement": "100",
        "secIdList": [{"tag": "ISIN", "value": "US0378331005"}],
    }
    ((_, (request_id, details)),) = decode(
        version, messages.encode("contractDetails", version, sent)
    )
    contract = details.contract
    assert (request_id, contract.conId, contract.strike) == (9, 265598, 190.5)
    assert contract.lastTradeDateOrContractMonth == "20260320"
    assert (details.lastTradeTime, details.timeZoneId) == ("15:00:00", "US/Central")
    assert details.secIdList == [TagValue("ISIN", "US0378331005")]
    assert (details.marketRuleIds, details.stockType) == (sent["marketRuleIds"], sent["stockType"])
    assert (details.minTick, details.priceMagnifier, details.evMultiplier) == (0.01, 100, 7)
    if version >= 163:
        assert details.suggestedSizeIncrement == 100
    if version >= 164:
        assert (details.minSize, details.sizeIncrement) == (0.0001, 0.001)


@at_every_version
def test_every_field_of_bond_contract_details_arrives(version: int) -> None:
    sent = {
        **sample_values("bondContractDetails", version),
        "secIdList": [{"tag": "CUSIP", "value": "037833BX7"}],
    }
    sent |= {"reqId": "9", "conId": "7", "coupon": "4", "minTick": "0.001", "aggGroup": "3"}
    sent |= {"maturity": "20460223 12:30:00 US/Eastern", "evMultiplier": "7"}
    sent |= {"convertible": "1", "callable": "0", "putable": "1", "nextOptionPartial": "1"}
    sent |= {"minSize": "2", "sizeIncrement": "1", "suggestedSizeIncrement": "5"}
    fields = messages.encode("bondContractDetails", version, sent)
    ((_, (request_id, details)),) = decode(version, fields)
    contract = details.contract
    assert (request_id, contract.conId, details.coupon, details.minTick) == (9, 7, 4, 0.001)
    assert (details.maturity, details.lastTradeTime) == ("20460223", "12:30:00")
    for name in ("cusip", "issueDate", "ratings", "bondType", "couponType", "descAppend",
                 "marketName", "orderTypes", "validExchanges", "nextOptionDate", "nextOptionType",
                 "notes", "longName", "evRule", "marketRuleIds"):  # fmt: skip
        assert getattr(details, name) == sent[name], name
    for name in ("symbol", "secType", "exchange", "currency", "tradingClass"):
        assert getattr(contract, name) == sent[name], name
    flags = (details.convertible, details.callable, details.putable, details.nextOptionPartial)
    assert flags == (True, False, True, True)
    assert (details.evMultiplier, details.aggGroup) == (7, 3)
    assert details.secIdList == [TagValue("CUSIP", "037833BX7")]
    if version >= 164:
        assert (details.minSize, details.sizeIncrement) == (2, 1)


@at_every_version
def test_every_field_of_a_scanner_row_arrives(version: int) -> None:
    row = {**dict.fromkeys(messages.SCANNED, "x"), "rank": "3", "conId": "7", "strike": "1.5"}
    row |= {"distance": "d", "benchmark": "b", "projection": "p", "legsStr": "l"}
    values = {"reqId": "9", "rows": [row, row]}
    first, _, end = decode(version, messages.encode("scannerData", version, values))
    assert first[1][:2] == (9, 3)
    assert first[1][3:] == ("d", "b", "p", "l")
    assert (first[1][2].contract.conId, first[1][2].contract.strike) == (7, 1.5)
    assert end == ("scannerDataEnd", (9,))


def test_every_message_has_a_test_of_its_values() -> None:
    by_field = {"openOrder", "completedOrder", "execDetails", "contractDetails"}
    by_field |= {"bondContractDetails", "scannerData", "symbolSamples", "historicalData"}
    assert set(messages.LAYOUTS) == by_field | set(SHORT) | set(GROUPED)


@pytest.mark.parametrize("name", sorted(SHORT.keys()))
@at_every_version
def test_a_message_reaches_the_wrapper_with_its_values(name: str, version: int) -> None:
    """Goal: nothing is lost to a count or a parse.  Method: one call, with the values sent."""
    values, expected = SHORT[name]
    ((_, arguments),) = decode(version, messages.encode(name, version, values))
    assert list(arguments) == expected


@pytest.mark.parametrize("name", sorted(GROUPED.keys()))
@at_every_version
def test_a_message_with_groups_reaches_the_wrapper(name: str, version: int) -> None:
    """Goal: repeated groups are counted as ib_async counts them."""
    values, expected = GROUPED[name]
    ((_, arguments),) = decode(version, messages.encode(name, version, values))
    assert plain(arguments) == expected


@pytest.mark.parametrize("name", sorted(messages.LAYOUTS))
@at_every_version
def test_a_message_reads_back_to_the_values_sent(name: str, version: int) -> None:
    fields = messages.encode(name, version, {})
    again = messages.decode(version, fields)
    assert again[0] == name
    assert messages.encode(name, version, again[1]) == fields


# -- what ib_async sends ---------------------------------------------------------------------------


@pytest.mark.parametrize("version", [176, 177, 178])
def test_a_plain_order_has_the_field_count_of_the_wire_notes(version: int) -> None:
    fields = sent_by_client(version, "placeOrder", 5, Contract(), Order(orderType="LMT"))
    assert len(fields) == PLACE_ORDER_FIELDS[version]


@at_every_version
def test_every_field_of_an_order_is_understood(version: int) -> None:
    order, contract = full_order()
    fields = sent_by_client(version, "placeOrder", 5, contract, order)
    request = requests.parse(version, fields)
    assert request.values["orderId"] == "5"
    for field, text in request.values.items():
        if not isinstance(text, str) or field in NOT_ORDER_FIELDS:
            continue
        holder, attribute = find(field, contract, order, OrderState(), order.softDollarTier)
        value = getattr(holder, attribute)
        expected = {True: "1", False: "0"}.get(value, str(value)) if value is not None else ""
        assert text == expected, field
    assert requests.PLACE_ORDER.encode(version, request.values) == fields


@pytest.mark.parametrize("order_type", ["LMT", "PEG BENCH", "PEG BEST", "PEG MID"])
@at_every_version
def test_an_order_with_every_group_is_understood_to_the_last_field(
    version: int, order_type: str
) -> None:
    """Goal: no group shifts what follows.  Method: the decoder must use up the whole frame."""
    order, contract = full_order()
    order.orderType = order_type
    order.competeAgainstBestOffset = float("inf")
    contract.secType = "BAG"
    contract.exchange = "IBKRATS"
    contract.comboLegs = [ComboLeg(11, 1, "BUY", "SMART"), ComboLeg(12, 2, "SELL", "SMART")]
    contract.deltaNeutralContract = DeltaNeutralContract(99, 0.5, 10.25)
    order.orderComboLegs = [OrderComboLeg(1.5), OrderComboLeg(2.5)]
    order.smartComboRoutingParams = [TagValue("NonGuaranteed", "1")]
    order.algoStrategy, order.algoParams = "Vwap", [TagValue("maxPctVol", "0.1")]
    order.conditions = [PriceCondition(price=1.5, conId=3, exch="SMART"), TimeCondition(time="x")]
    fields = sent_by_client(version, "placeOrder", 5, contract, order)
    request = requests.parse(version, fields)
    assert requests.PLACE_ORDER.encode(version, request.values) == fields


@at_every_version
def test_every_request_of_the_client_is_understood(version: int) -> None:
    """Goal: no request is unknown.  Method: call each public sender of ib_async's client."""
    for name, arguments in REQUESTS.items():
        fields = sent_by_client(version, name, *arguments)
        request = requests.parse(version, fields)
        assert request.name == name
        layout_fields = [text for text in request.values.values() if isinstance(text, str)]
        assert len(layout_fields) <= len(fields)


def test_no_request_of_the_client_is_left_out() -> None:
    senders = {
        name
        for name, member in inspect.getmembers(Client, inspect.isfunction)
        if "self.send(" in inspect.getsource(member)
    }
    assert senders - {"send"} == set(REQUESTS) | {"placeOrder"}


@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        ("reqExecutions", (9, ExecutionFilter(3, "DU1", "20260101-10:00:00", "AAPL", "STK",
                                              "SMART", "BUY")),
         {"reqId": "9", "clientId": "3", "acctCode": "DU1", "time": "20260101-10:00:00",
          "symbol": "AAPL", "secType": "STK", "exchange": "SMART", "side": "BUY"}),
        ("cancelOrder", (7, "20260101-10:00:00"), {"orderId": "7",
                                                   "manualCancelOrderTime": "20260101-10:00:00"}),
        ("reqAccountSummary", (9, "All", "NetLiquidation,$LEDGER:ALL"),
         {"reqId": "9", "group": "All", "tags": "NetLiquidation,$LEDGER:ALL"}),
        ("reqMktData", (9, Contract(conId=5), "233", True, False, []),
         {"reqId": "9", "conId": "5", "genericTicks": "233", "snapshot": "1"}),
        ("reqPnLSingle", (9, "DU1", "", 5),
         {"reqId": "9", "account": "DU1", "modelCode": "", "conId": "5"}),
    ],
)  # fmt: skip
def test_a_request_is_read_under_its_names(
    name: str, arguments: tuple[Any, ...], expected: Mapping[str, str]
) -> None:
    values = requests.parse(178, sent_by_client(178, name, *arguments)).values
    assert {field: values[field] for field in expected} == expected


# -- frames ----------------------------------------------------------------------------------------


@given(st.lists(st.binary(max_size=40), max_size=8), st.lists(st.integers(1, 30), max_size=60))
def test_frames_come_out_whole_however_the_stream_is_cut(
    payloads: list[bytes], cuts: list[int]
) -> None:
    stream = b"".join(frames.frame(payload) for payload in payloads)
    reader = frames.FrameReader()
    seen: list[bytes] = []
    start = 0
    for cut in [*cuts, len(stream)]:
        seen += reader.feed(stream[start : start + cut])
        start += cut
    seen += reader.feed(stream[start:])
    assert seen == payloads


def test_a_frame_beyond_the_limit_is_refused() -> None:
    with pytest.raises(WireError):
        frames.FrameReader().feed(struct.pack(">I", frames.FRAME_LENGTH_MAX + 1))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"v157..178", (157, 178)),
        (b"v100..226 +PACEAPI", (100, 226)),
        (b"v178", (178, 178)),
        (b"v100..193\0", (100, 193)),
    ],
)
def test_a_version_range_is_read_in_every_spelling(text: bytes, expected: tuple[int, int]) -> None:
    assert parse_versions(text) == expected


@pytest.mark.parametrize(
    "text", ["", "1.7976931348623157E308", "1.7976931348623157e+308", "Infinite", "NaN"]
)
def test_an_unset_number_is_none_in_every_spelling(text: str) -> None:
    assert to_decimal(text) is None


@at_every_version
def test_bars_reach_the_wrapper_one_by_one_and_their_end(version: int) -> None:
    bar = {"date": "20260304", "open": "1", "high": "2", "low": "0.5", "close": "1.5",
           "volume": "7", "wap": "1.25", "count": "3"}  # fmt: skip
    values = {"reqId": "9", "startDate": "a", "endDate": "b", "bars": [bar, bar]}
    calls = decode(version, messages.encode("historicalData", version, values))
    shown = [9, ["20260304", 1.0, 2.0, 0.5, 1.5, 7.0, 1.25, 3]]
    assert [plain(arguments) for _, arguments in calls] == [shown, shown, [9, "a", "b"]]


@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        ("reqHistoricalData",
         (9, Contract(conId=5), "20260304-15:00:00", "2 D", "1 min", "TRADES", True, 2, True, []),
         {"reqId": "9", "conId": "5", "endDateTime": "20260304-15:00:00", "durationStr": "2 D",
          "barSizeSetting": "1 min", "whatToShow": "TRADES", "useRTH": "1", "formatDate": "2",
          "keepUpToDate": "1"}),
        ("reqHistoricalTicks",
         (9, Contract(conId=5), "", "20260304-15:00:00", 100, "BID_ASK", True, True, []),
         {"reqId": "9", "conId": "5", "startDateTime": "", "endDateTime": "20260304-15:00:00",
          "numberOfTicks": "100", "whatToShow": "BID_ASK", "useRTH": "1", "ignoreSize": "1"}),
        ("reqHeadTimeStamp", (9, Contract(conId=5), "TRADES", True, 1),
         {"reqId": "9", "conId": "5", "useRTH": "1", "whatToShow": "TRADES", "formatDate": "1"}),
        ("reqHistogramData", (9, Contract(conId=5), True, "3 days"),
         {"reqId": "9", "conId": "5", "useRTH": "1", "timePeriod": "3 days"}),
        ("cancelHistoricalData", (9,), {"reqId": "9"}),
        ("cancelHeadTimeStamp", (9,), {"reqId": "9"}),
        ("cancelHistogramData", (9,), {"reqId": "9"}),
    ],
)  # fmt: skip
@at_every_version
def test_a_historical_question_is_read_under_its_names(
    version: int, name: str, arguments: tuple[Any, ...], expected: Mapping[str, str]
) -> None:
    values = requests.parse(version, sent_by_client(version, name, *arguments)).values
    assert {field: values[field] for field in expected} == expected


@at_every_version
def test_a_symbol_search_reaches_the_wrapper(version: int) -> None:
    row = {"conId": "265598", "symbol": "AAPL", "secType": "STK", "primaryExchange": "NASDAQ",
           "currency": "USD", "description": "APPLE"}  # fmt: skip
    kinds = [{"derivativeSecType": kind} for kind in ("CFD", "OPT")]
    values = {"reqId": "9", "samples": [{**row, "derivativeSecTypes": kinds}, row]}
    fields = messages.encode("symbolSamples", version, values)
    ((_, (request_id, found)),) = decode(version, fields)
    assert (request_id, [one.contract.conId for one in found]) == (9, [265598, 265598])
    assert [one.derivativeSecTypes for one in found] == [["CFD", "OPT"], []]
    assert found[1].contract.description == ("APPLE" if version >= 176 else "")


@pytest.mark.parametrize(
    ("kind", "rest", "expected"),
    [
        ("1", {"price": "1", "size": "2", "exchange": "X"}, [9, 1, 17, 1.0, 2.0]),
        ("4", {"midPoint": "1.5"}, [9, 17, 1.5]),
    ],
)
def test_a_tick_reaches_the_wrapper_in_its_own_form(
    kind: str, rest: dict[str, str], expected: list[Any]
) -> None:
    values = {"reqId": "9", "tickType": kind, "time": "17", **rest}
    ((_, arguments),) = decode(178, messages.encode("tickByTick", 178, values))
    assert list(arguments)[: len(expected)] == expected
