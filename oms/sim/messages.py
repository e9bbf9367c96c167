"""Server messages: named values as the text fields of a frame, for a server version.

Each function returns the whole field list, message id first.  Defaults in the long layouts are what
a real gateway sends for a plain order (A6 of the notes on the wire: right `?`, rule80A `0`,
adjustedOrderType and deltaNeutralOrderType `None`, ocaType 3, displaySize unset).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from oms.sim.layout import Conditions, Layout, Repeat, Since, Values, When
from oms.sim.requests import (
    ALGO,
    COMBO,
    DELTA_NEUTRAL_CONTRACT,
    PEG_BENCH,
    SCALE,
    TAG,
    has,
)

Fields = list[str]

NAMES: Final[Mapping[int, str]] = {
    1: "tickPrice",
    2: "tickSize",
    3: "orderStatus",
    4: "errMsg",
    5: "openOrder",
    6: "updateAccountValue",
    7: "updatePortfolio",
    8: "updateAccountTime",
    9: "nextValidId",
    10: "contractDetails",
    11: "execDetails",
    15: "managedAccts",
    45: "tickGeneric",
    46: "tickString",
    49: "currentTime",
    50: "realtimeBar",
    52: "contractDetailsEnd",
    53: "openOrderEnd",
    54: "accountDownloadEnd",
    55: "execDetailsEnd",
    57: "tickSnapshotEnd",
    58: "marketDataType",
    59: "commissionReport",
    61: "position",
    62: "positionEnd",
    63: "accountSummary",
    64: "accountSummaryEnd",
    71: "positionMulti",
    72: "positionMultiEnd",
    73: "accountUpdateMulti",
    74: "accountUpdateMultiEnd",
    75: "securityDefinitionOptionParameter",
    76: "securityDefinitionOptionParameterEnd",
    77: "softDollarTiers",
    78: "familyCodes",
    79: "symbolSamples",
    81: "tickReqParams",
    93: "marketRule",
    94: "pnl",
    95: "pnlSingle",
    99: "tickByTick",
    100: "orderBound",
    101: "completedOrder",
    102: "completedOrdersEnd",
    107: "userInfo",
}

END_OF: Final[Mapping[str, str]] = {
    "reqOpenOrders": "openOrderEnd",
    "reqAllOpenOrders": "openOrderEnd",
    "reqCompletedOrders": "completedOrdersEnd",
    "reqExecutions": "execDetailsEnd",
    "reqPositions": "positionEnd",
    "reqPositionsMulti": "positionMultiEnd",
    "reqAccountSummary": "accountSummaryEnd",
    "reqAccountUpdates": "accountDownloadEnd",
    "reqAccountUpdatesMulti": "accountUpdateMultiEnd",
    "reqContractDetails": "contractDetailsEnd",
    "reqMktData": "tickSnapshotEnd",
    "reqSecDefOptParams": "securityDefinitionOptionParameterEnd",
}
"""The message that ends a request's answer."""

_CONTRACT: Final = (
    "conId symbol secType lastTradeDateOrContractMonth strike=0 right=? multiplier exchange"
    " currency localSymbol tradingClass"
)
_PEGGED_TAIL: Final = Since(
    ("minTradeQty minCompeteSize competeAgainstBestOffset midOffsetAtWhole midOffsetAtHalf",),
    since=170,
)

_OPEN_ORDER: Final = Layout(
    "id=5 orderId",
    _CONTRACT,
    "action totalQuantity orderType lmtPrice=0.0 auxPrice=0.0 tif=DAY ocaGroup account openClose"
    " origin=0 orderRef clientId permId outsideRth=0 hidden=0 discretionaryAmt=0 goodAfterTime"
    " sharesAllocation faGroup faMethod faPercentage",
    Since(("faProfile",), until=177),
    "modelCode goodTillDate rule80A=0 percentOffset settlingFirm shortSaleSlot=0"
    " designatedLocation exemptCode=-1 auctionStrategy=0 startingPrice stockRefPrice delta"
    " stockRangeLower stockRangeUpper displaySize=2147483647 blockOrder=0 sweepToFill=0"
    " allOrNone=0 minQty ocaType=3 eTradeOnly=0 firmQuoteOnly=0 nbboPriceCap parentId=0"
    " triggerMethod=0 volatility volatilityType=0 deltaNeutralOrderType=None deltaNeutralAuxPrice",
    When(
        lambda values: values.get("deltaNeutralOrderType", "None") != "",
        (
            "deltaNeutralConId=0 deltaNeutralSettlingFirm deltaNeutralClearingAccount"
            " deltaNeutralClearingIntent deltaNeutralOpenClose=? deltaNeutralShortSale=0"
            " deltaNeutralShortSaleSlot=0 deltaNeutralDesignatedLocation",
        ),
    ),
    "continuousUpdate=0 referencePriceType=0 trailStopPrice trailingPercent basisPoints"
    " basisPointsType comboLegsDescrip",
    *COMBO,
    *SCALE,
    "hedgeType",
    When(has("hedgeType"), ("hedgeParam",)),
    "optOutSmartRouting=0 clearingAccount clearingIntent=IB notHeld=0",
    *DELTA_NEUTRAL_CONTRACT,
    *ALGO,
    "solicited=0 whatIf=0 status initMarginBefore maintMarginBefore equityWithLoanBefore"
    " initMarginChange maintMarginChange equityWithLoanChange initMarginAfter maintMarginAfter"
    " equityWithLoanAfter commission minCommission maxCommission commissionCurrency warningText"
    " randomizeSize=0 randomizePrice=0",
    PEG_BENCH,
    Conditions(),
    "adjustedOrderType=None triggerPrice stopPrice lmtPriceOffset adjustedStopPrice"
    " adjustedStopLimitPrice adjustedTrailingAmount adjustableTrailingUnit=0 softDollarTierName"
    " softDollarTierValue softDollarTierDisplayName cashQty=0 dontUseAutoPriceForHedge=0"
    " isOmsContainer=0 discretionaryUpToLimitPrice=0 usePriceMgmtAlgo=0",
    Since(("duration",), since=158),
    Since(("postToAts",), since=160),
    Since(("autoCancelParent=0",), since=162),
    _PEGGED_TAIL,
)

_COMPLETED_ORDER: Final = Layout(
    "id=101",
    _CONTRACT,
    "action totalQuantity orderType lmtPrice=0.0 auxPrice=0.0 tif=DAY ocaGroup account openClose"
    " origin=0 orderRef permId outsideRth=0 hidden=0 discretionaryAmt=0 goodAfterTime faGroup"
    " faMethod faPercentage",
    Since(("faProfile",), until=177),
    "modelCode goodTillDate rule80A=0 percentOffset settlingFirm shortSaleSlot=0"
    " designatedLocation exemptCode=-1 startingPrice stockRefPrice delta stockRangeLower"
    " stockRangeUpper displaySize=2147483647 sweepToFill=0 allOrNone=0 minQty ocaType=3"
    " triggerMethod=0 volatility volatilityType=0 deltaNeutralOrderType=None deltaNeutralAuxPrice",
    When(
        lambda values: values.get("deltaNeutralOrderType", "None") != "",
        (
            "deltaNeutralConId=0 deltaNeutralShortSale=0 deltaNeutralShortSaleSlot=0"
            " deltaNeutralDesignatedLocation",
        ),
    ),
    "continuousUpdate=0 referencePriceType=0 trailStopPrice trailingPercent comboLegsDescrip",
    *COMBO,
    *SCALE,
    "hedgeType",
    When(has("hedgeType"), ("hedgeParam",)),
    "clearingAccount clearingIntent=IB notHeld=0",
    *DELTA_NEUTRAL_CONTRACT,
    *ALGO,
    "solicited=0 status randomizeSize=0 randomizePrice=0",
    PEG_BENCH,
    Conditions(),
    "stopPrice lmtPriceOffset cashQty=0 dontUseAutoPriceForHedge=0 isOmsContainer=0"
    " autoCancelDate filledQuantity refFuturesConId=0 autoCancelParent=0 shareholder"
    " imbalanceOnly=0 routeMarketableToBbo=0 parentPermId=9223372036854775807 completedTime"
    " completedStatus",
    _PEGGED_TAIL,
)

_EXEC_DETAILS: Final = Layout(
    "id=11 reqId=-1 orderId conId symbol secType lastTradeDateOrContractMonth strike=0.0 right"
    " multiplier exchange currency localSymbol tradingClass execId time acctNumber venue side"
    " shares price permId clientId liquidation=0 cumQty avgPrice orderRef evRule evMultiplier"
    " modelCode lastLiquidity",
    Since(("pendingPriceRevision=0",), since=178),
)

_CONTRACT_DETAILS: Final = Layout(
    "id=10",
    Since(("version=8",), until=164),
    "reqId symbol secType lastTradeDate strike=0 right exchange currency localSymbol marketName"
    " tradingClass conId minTick",
    Since(("mdSizeMultiplier=100",), until=164),
    "multiplier orderTypes validExchanges priceMagnifier=1 underConId=0 longName primaryExchange"
    " contractMonth industry category subcategory timeZoneId tradingHours liquidHours evRule"
    " evMultiplier=0",
    Repeat("secIdList", TAG),
    "aggGroup=1 underSymbol underSecType marketRuleIds realExpirationDate stockType",
    # Version 163 alone carries the increment by itself; the three size rules came with 164.
    Since(("suggestedSizeIncrement",), since=163, until=164),
    Since(("minSize sizeIncrement suggestedSizeIncrement",), since=164),
)


def open_order(version: int, values: Values) -> Fields:
    return _OPEN_ORDER.encode(version, values)


def completed_order(version: int, values: Values) -> Fields:
    return _COMPLETED_ORDER.encode(version, values)


def exec_details(version: int, values: Values) -> Fields:
    return _EXEC_DETAILS.encode(version, values)


def contract_details(version: int, values: Values) -> Fields:
    return _CONTRACT_DETAILS.encode(version, values)


def order_status(values: Values) -> Fields:
    """No version field: it went at 131."""
    return [
        "3",
        *(
            values[name]
            for name in (
                "orderId",
                "status",
                "filled",
                "remaining",
                "avgFillPrice",
                "permId",
                "parentId",
                "lastFillPrice",
                "clientId",
                "whyHeld",
                "mktCapPrice",
            )
        ),
    ]


def err_msg(version: int, request_id: int | str, code: int, text: str, json: str = "") -> Fields:
    """`json` is the advanced reject: empty, or valid JSON, which one client parses."""
    fields = ["4", "2", str(request_id), str(code), text]
    return [*fields, json] if version >= 166 else fields


def next_valid_id(order_id: int) -> Fields:
    return ["9", "1", str(order_id)]


def managed_accounts(accounts: Iterable[str]) -> Fields:
    return ["15", "1", ",".join(accounts)]


def current_time(epoch_seconds: int) -> Fields:
    return ["49", "1", str(epoch_seconds)]


def tick_price(request_id: str, tick: int, price: str, size: str, mask: int = 0) -> Fields:
    return ["1", "6", request_id, str(tick), price, size, str(mask)]


def tick_size(request_id: str, tick: int, size: str) -> Fields:
    return ["2", "6", request_id, str(tick), size]


def tick_string(request_id: str, tick: int, text: str) -> Fields:
    return ["46", "6", request_id, str(tick), text]


def tick_snapshot_end(request_id: str) -> Fields:
    return ["57", "1", request_id]


def tick_request_parameters(request_id: str, minimum_tick: str, exchanges: str) -> Fields:
    return ["81", request_id, minimum_tick, exchanges, "3"]


def market_price_type(request_id: str, kind: int) -> Fields:
    return ["58", "1", request_id, str(kind)]


def commission_report(values: Values) -> Fields:
    return [
        "59",
        "1",
        *(
            values[name]
            for name in (
                "execId",
                "commission",
                "currency",
                "realizedPNL",
                "yield",
                "yieldRedemptionDate",
            )
        ),
    ]


def position(account: str, contract: Mapping[str, str], quantity: str, cost: str) -> Fields:
    return ["61", "3", account, *_short_contract(contract, exchange=""), quantity, cost]


def position_multi(
    request_id: str, account: str, contract: Mapping[str, str], quantity: str, cost: str
) -> Fields:
    row = _short_contract(contract, exchange="")
    return ["71", "1", request_id, account, *row, quantity, cost, ""]


def update_portfolio(account: str, contract: Mapping[str, str], amounts: Iterable[str]) -> Fields:
    """`amounts`: position, market price, market value, average cost, unrealised, realised."""
    row = _short_contract(contract, exchange=contract["primaryExchange"])
    return ["7", "8", *row, *amounts, account]


def account_value(account: str, key: str, value: str, currency: str) -> Fields:
    return ["6", "2", key, value, currency, account]


def account_time(text: str) -> Fields:
    return ["8", "1", text]


def account_summary(request_id: str, account: str, tag: str, value: str, currency: str) -> Fields:
    return ["63", "1", request_id, account, tag, value, currency]


def account_update_multi(  # noqa: PLR0917 (a row of six texts, in wire order)
    request_id: str, account: str, model: str, key: str, value: str, currency: str
) -> Fields:
    return ["73", "1", request_id, account, model, key, value, currency]


def account_download_end(account: str) -> Fields:
    return ["54", "1", account]


def open_order_end() -> Fields:
    return ["53", "1"]


def position_end() -> Fields:
    return ["62", "1"]


def completed_orders_end() -> Fields:
    return ["102"]


def end(name: str, request_id: str) -> Fields:
    """The End messages that are a version and the request's id."""
    number = {
        "contractDetailsEnd": "52",
        "execDetailsEnd": "55",
        "accountSummaryEnd": "64",
        "positionMultiEnd": "72",
        "accountUpdateMultiEnd": "74",
    }[name]
    return [number, "1", request_id]


def order_bound(perm_id: int, client_id: int, order_id: int) -> Fields:
    return ["100", str(perm_id), str(client_id), str(order_id)]


def _short_contract(contract: Mapping[str, str], exchange: str) -> list[Any]:
    """The eleven contract fields of position and portfolio rows."""
    return [
        contract["conId"],
        contract["symbol"],
        contract["secType"],
        contract["lastTradeDateOrContractMonth"],
        contract["strike"],
        contract["right"],
        contract["multiplier"],
        exchange,
        contract["currency"],
        contract["localSymbol"],
        contract["tradingClass"],
    ]


def values_of(version: int, name: str, fields: Fields) -> Mapping[str, Any]:
    """Named values of a message, as far as a fault may choose by them."""
    layout = _LONG.get(name)
    if layout is not None:
        return layout.decode(version, fields)
    return dict(zip(_SHORT.get(name, ()), fields, strict=False))


_LONG: Final = {
    "openOrder": _OPEN_ORDER,
    "completedOrder": _COMPLETED_ORDER,
    "execDetails": _EXEC_DETAILS,
}
_SHORT: Final[Mapping[str, tuple[str, ...]]] = {
    "orderStatus": (
        "id",
        "orderId",
        "status",
        "filled",
        "remaining",
        "avgFillPrice",
        "permId",
        "parentId",
        "lastFillPrice",
        "clientId",
        "whyHeld",
    ),
    "errMsg": ("id", "version", "reqId", "code", "text"),
    "commissionReport": ("id", "version", "execId", "commission", "currency"),
    "execDetailsEnd": ("id", "version", "reqId"),
    "position": ("id", "version", "account", "conId", "symbol"),
}
