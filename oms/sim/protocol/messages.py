"""Server messages: named values as the text fields of a frame, for a server version.

`encode` is the only door. Names of values are IB's; a value left out is sent as the default that
stands beside its name in the layout, and those defaults are what a real gateway sends for a plain
order (right `?`, rule80A `0`, adjustedOrderType and deltaNeutralOrderType `None`, ocaType 3,
displaySize unset).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from oms.sim.protocol.errors import WireError
from oms.sim.protocol.frames import join
from oms.sim.protocol.layout import Conditions, Layout, Repeat, Since, Test, Values, When
from oms.sim.protocol.order_parts import (
    ALGO,
    COMBO,
    DELTA_NEUTRAL_CONTRACT,
    PEG_BENCH,
    SCALE,
    TAG,
    has,
)


def encode(name: str, version: int, values: Values) -> list[str]:
    """Return the whole field list of a message, its id first."""
    return OUTGOING[name].encode(version, values)


@dataclass(frozen=True, slots=True)
class ServerMessage:
    """One message on its way to a client of some version."""

    name: str
    version: int
    values: Values
    #: What a fault made of the payload; None while nothing did.
    bent_payload: bytes | None = None

    @property
    def payload(self) -> bytes:
        """The bytes of its frame, the length left out."""
        if self.bent_payload is not None:
            return self.bent_payload
        return join(encode(self.name, self.version, self.values))

    def edited(self, changes: Mapping[str, str]) -> ServerMessage:
        """Return the same with other texts in some fields."""
        return replace(self, values={**self.values, **changes})

    def bent(self, bend: Callable[[bytes], bytes]) -> ServerMessage:
        """Return the same with another payload."""
        return replace(self, bent_payload=bend(self.payload))


def decode(version: int, fields: Sequence[str]) -> tuple[str, dict[str, Any]]:
    """Return the name and the values of a server message: for transcripts and tests."""
    name = NAMES.get(fields[0] if fields else "")
    if name is None:
        raise WireError(f"{fields[:1]} is no server message")
    return name, LAYOUTS[name].decode(version, fields)


#: The message that ends a request's answer.
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
    "reqHistoricalNews": "historicalNewsEnd",
}

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
    "adjustedOrderType=None triggerPrice trailStopPrice lmtPriceOffset adjustedStopPrice"
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
    "trailStopPrice lmtPriceOffset cashQty=0 dontUseAutoPriceForHedge=0 isOmsContainer=0"
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


_SHORT_CONTRACT: Final = (
    "conId symbol secType lastTradeDateOrContractMonth strike=0 right multiplier"
)
_POSITION_CONTRACT: Final = (_SHORT_CONTRACT, "exchange currency localSymbol tradingClass")


#: A bond has a message of its own: a coupon and a maturity, no strike and no hours.
_BOND_CONTRACT_DETAILS: Final = Layout(
    "id=18",
    Since(("version=6",), until=164),
    "reqId symbol secType cusip coupon=0 maturity issueDate ratings bondType couponType"
    " convertible=0 callable=0 putable=0 descAppend exchange currency marketName tradingClass"
    " conId minTick",
    Since(("mdSizeMultiplier=1",), until=164),
    "orderTypes validExchanges nextOptionDate nextOptionType nextOptionPartial=0 notes longName"
    " evRule evMultiplier=0",
    Repeat("secIdList", TAG),
    "aggGroup=2147483647 marketRuleIds",
    Since(("minSize sizeIncrement suggestedSizeIncrement",), since=164),
)

#: One match of a symbol search: contract fields, and the types of derivatives on it.
_SAMPLE: Final = ("conId", "symbol", "secType", "primaryExchange", "currency")
_DERIVATIVES: Final = Repeat("derivativeSecTypes", ("derivativeSecType",))
#: One hit of a scanner.
SCANNED: Final = (
    *("rank", "conId", "symbol", "secType", "lastTradeDateOrContractMonth", "strike", "right"),
    *("exchange", "currency", "localSymbol", "marketName", "tradingClass"),
    *("distance", "benchmark", "projection", "legsStr"),
)


def _end(number: int) -> Layout:
    """The End messages that are a version and the request's id."""
    return Layout(f"id={number} version=1 reqId")


def _tick_kind(*kinds: str) -> Test:
    return lambda values: values.get("tickType") in kinds


LAYOUTS: Final[Mapping[str, Layout]] = {
    "tickPrice": Layout("id=1 version=6 reqId tickType price size attrMask=0"),
    "tickSize": Layout("id=2 version=6 reqId tickType size"),
    # No version field: it went at 131.
    "orderStatus": Layout(
        "id=3 orderId status filled=0 remaining=0 avgFillPrice=0 permId parentId=0"
        " lastFillPrice=0 clientId whyHeld mktCapPrice=0"
    ),
    # advancedOrderRejectJson is empty or valid JSON: one client parses it.
    "errMsg": Layout(
        "id=4 version=2 reqId=-1 code text", Since(("advancedOrderRejectJson",), since=166)
    ),
    "openOrder": _OPEN_ORDER,
    "updateAccountValue": Layout("id=6 version=2 key value currency account"),
    "updatePortfolio": Layout(
        "id=7 version=8",
        _SHORT_CONTRACT,
        "primaryExchange currency localSymbol tradingClass position marketPrice marketValue"
        " averageCost unrealizedPNL realizedPNL account",
    ),
    "updateAccountTime": Layout("id=8 version=1 time"),
    "nextValidId": Layout("id=9 version=1 orderId"),
    "contractDetails": _CONTRACT_DETAILS,
    "execDetails": _EXEC_DETAILS,
    "historicalData": Layout(
        "id=17 reqId startDate endDate",
        Repeat("bars", ("date", "open", "high", "low", "close", "volume", "wap", "count")),
    ),
    "updateMktDepth": Layout("id=12 version=1 reqId position operation side price size"),
    "updateMktDepthL2": Layout(
        "id=13 version=1 reqId position marketMaker operation side price size isSmartDepth=0"
    ),
    "managedAccts": Layout("id=15 version=1 accounts"),
    "bondContractDetails": _BOND_CONTRACT_DETAILS,
    "scannerParameters": Layout("id=19 version=1 xml"),
    "scannerData": Layout("id=20 version=3 reqId", Repeat("rows", SCANNED)),
    "tickOptionComputation": Layout(
        "id=21 reqId tickType tickAttrib=0 impliedVol delta optPrice pvDividend=0 gamma vega theta"
        " undPrice"
    ),
    "tickGeneric": Layout("id=45 version=6 reqId tickType value"),
    "tickString": Layout("id=46 version=6 reqId tickType value"),
    "currentTime": Layout("id=49 version=1 time"),
    "realtimeBar": Layout("id=50 version=3 reqId time open high low close volume wap count"),
    "contractDetailsEnd": _end(52),
    "openOrderEnd": Layout("id=53 version=1"),
    "accountDownloadEnd": Layout("id=54 version=1 account"),
    "execDetailsEnd": _end(55),
    "tickSnapshotEnd": _end(57),
    "marketDataType": Layout("id=58 version=1 reqId marketDataType"),
    "commissionReport": Layout(
        "id=59 version=1 execId commission currency realizedPNL=1.7976931348623157E308"
        " yield=1.7976931348623157E308 yieldRedemptionDate"
    ),
    "position": Layout("id=61 version=3 account", *_POSITION_CONTRACT, "position avgCost"),
    "positionEnd": Layout("id=62 version=1"),
    "accountSummary": Layout("id=63 version=1 reqId account tag value currency"),
    "accountSummaryEnd": _end(64),
    "displayGroupList": Layout("id=67 version=1 reqId groups"),
    "displayGroupUpdated": Layout("id=68 version=1 reqId contractInfo"),
    "positionMulti": Layout(
        "id=71 version=1 reqId account", *_POSITION_CONTRACT, "position avgCost modelCode"
    ),
    "positionMultiEnd": _end(72),
    "accountUpdateMulti": Layout("id=73 version=1 reqId account modelCode key value currency"),
    "accountUpdateMultiEnd": _end(74),
    "securityDefinitionOptionParameter": Layout(
        "id=75 reqId exchange underlyingConId tradingClass multiplier",
        Repeat("expirations", ("expiration",)),
        Repeat("strikes", ("strike",)),
    ),
    "securityDefinitionOptionParameterEnd": Layout("id=76 reqId"),
    "softDollarTiers": Layout("id=77 reqId", Repeat("tiers", ("name", "value", "displayName"))),
    "familyCodes": Layout("id=78", Repeat("codes", ("account", "familyCode"))),
    "symbolSamples": Layout(
        "id=79 reqId",
        Since((Repeat("samples", _SAMPLE, _DERIVATIVES),), until=176),
        Since((Repeat("samples", _SAMPLE, _DERIVATIVES, ("description", "issuerId")),), since=176),
    ),
    "mktDepthExchanges": Layout(
        "id=80",
        Repeat("exchanges", ("exchange", "secType", "listingExch", "serviceDataType", "aggGroup")),
    ),
    "tickReqParams": Layout("id=81 reqId minTick bboExchange snapshotPermissions=3"),
    "smartComponents": Layout(
        "id=82 reqId", Repeat("components", ("bitNumber", "exchange", "exchangeLetter"))
    ),
    "newsProviders": Layout("id=85", Repeat("providers", ("code", "name"))),
    "historicalNewsEnd": Layout("id=87 reqId hasMore=0"),
    "headTimestamp": Layout("id=88 reqId headTimestamp"),
    "histogramData": Layout("id=89 reqId", Repeat("points", ("price", "size"))),
    "historicalDataUpdate": Layout("id=90 reqId count date open close high low wap volume"),
    "marketRule": Layout("id=93 marketRuleId", Repeat("increments", ("lowEdge", "increment"))),
    "pnl": Layout("id=94 reqId dailyPnL unrealizedPnL realizedPnL"),
    "pnlSingle": Layout("id=95 reqId position dailyPnL unrealizedPnL realizedPnL value"),
    "historicalTicks": Layout(
        "id=96 reqId", Repeat("ticks", ("time", "unused", "price", "size")), "done=1"
    ),
    "historicalTicksBidAsk": Layout(
        "id=97 reqId",
        Repeat("ticks", ("time", "attrMask", "bidPrice", "askPrice", "bidSize", "askSize")),
        "done=1",
    ),
    "historicalTicksLast": Layout(
        "id=98 reqId",
        Repeat("ticks", ("time", "attrMask", "price", "size", "exchange", "specialConditions")),
        "done=1",
    ),
    "tickByTick": Layout(
        "id=99 reqId tickType time",
        When(_tick_kind("1", "2"), ("price size attrMask=0 exchange specialConditions",)),
        When(_tick_kind("3"), ("bidPrice askPrice bidSize askSize attrMask=0",)),
        When(_tick_kind("4"), ("midPoint",)),
    ),
    "orderBound": Layout("id=100 permId clientId orderId"),
    "completedOrder": _COMPLETED_ORDER,
    "completedOrdersEnd": Layout("id=102"),
    "historicalSchedule": Layout(
        "id=106 reqId startDateTime endDateTime timeZone",
        Repeat("sessions", ("startDateTime", "endDateTime", "refDate")),
    ),
    "userInfo": Layout("id=107 reqId whiteBrandingId"),
}

#: The frame that answers a client's versions: no message yet, so it has no id. The name is ours.
GREETING: Final = "serverVersion"
#: Everything that a gateway sends.
OUTGOING: Final[Mapping[str, Layout]] = {
    GREETING: Layout("serverVersion connectionTime"),
    **LAYOUTS,
}

#: Message id, as text, to IB's name of the message.
NAMES: Final[Mapping[str, str]] = {
    layout.encode(178, {})[0]: name for name, layout in LAYOUTS.items()
}
