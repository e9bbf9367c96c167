"""Client messages: the text fields of a frame as named values.

Every request of a TWS client up to server version 178 has a name here, those that the simulator
refuses too, so that a refusal can name what it refuses. Field names are IB's own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from oms.sim.protocol import numbers
from oms.sim.protocol.errors import WireError
from oms.sim.protocol.fields import is_digits
from oms.sim.protocol.frames import join, split
from oms.sim.protocol.layout import Conditions, Layout, Repeat, Since, Source, When
from oms.sim.protocol.order_parts import (
    ALGO,
    COMBO,
    CONTRACT,
    DELTA_NEUTRAL_CONTRACT,
    PEG_BENCH,
    SCALE,
    SHORT_LEG,
    competes_up_to_mid,
    has,
    is_combo,
    is_pegged_to_best,
    is_pegged_to_mid,
)

PLACE_ORDER: Final = Layout(
    "id orderId",
    CONTRACT,
    "secIdType secId",
    "action totalQuantity orderType lmtPrice auxPrice tif ocaGroup account openClose origin"
    " orderRef transmit parentId blockOrder sweepToFill displaySize triggerMethod outsideRth"
    " hidden",
    When(is_combo, COMBO),
    "sharesAllocation discretionaryAmt goodAfterTime goodTillDate faGroup faMethod faPercentage",
    Since(("faProfile",), until=177),
    "modelCode shortSaleSlot designatedLocation exemptCode ocaType rule80A settlingFirm allOrNone"
    " minQty percentOffset eTradeOnly firmQuoteOnly nbboPriceCap auctionStrategy startingPrice"
    " stockRefPrice delta stockRangeLower stockRangeUpper overridePercentageConstraints volatility"
    " volatilityType deltaNeutralOrderType deltaNeutralAuxPrice",
    When(
        has("deltaNeutralOrderType"),
        (
            "deltaNeutralConId deltaNeutralSettlingFirm deltaNeutralClearingAccount"
            " deltaNeutralClearingIntent deltaNeutralOpenClose deltaNeutralShortSale"
            " deltaNeutralShortSaleSlot deltaNeutralDesignatedLocation",
        ),
    ),
    "continuousUpdate referencePriceType trailStopPrice trailingPercent",
    *SCALE,
    "scaleTable activeStartTime activeStopTime hedgeType",
    When(has("hedgeType"), ("hedgeParam",)),
    "optOutSmartRouting clearingAccount clearingIntent notHeld",
    *DELTA_NEUTRAL_CONTRACT,
    *ALGO,
    "algoId whatIf orderMiscOptions solicited randomizeSize randomizePrice",
    PEG_BENCH,
    Conditions(),
    "adjustedOrderType triggerPrice lmtPriceOffset adjustedStopPrice adjustedStopLimitPrice"
    " adjustedTrailingAmount adjustableTrailingUnit extOperator softDollarTierName"
    " softDollarTierValue cashQty mifid2DecisionMaker mifid2DecisionAlgo mifid2ExecutionTrader"
    " mifid2ExecutionAlgo dontUseAutoPriceForHedge isOmsContainer discretionaryUpToLimitPrice"
    " usePriceMgmtAlgo",
    Since(("duration",), since=158),
    Since(("postToAts",), since=160),
    Since(("autoCancelParent",), since=162),
    Since(("advancedErrorOverride",), since=166),
    Since(("manualOrderTime",), since=169),
    Since(
        (
            When(lambda values: values.get("exchange") == "IBKRATS", ("minTradeQty",)),
            When(
                is_pegged_to_best,
                (
                    "minCompeteSize competeAgainstBestOffset",
                    When(competes_up_to_mid, ("midOffsetAtWhole midOffsetAtHalf",)),
                ),
            ),
            When(is_pegged_to_mid, ("midOffsetAtWhole midOffsetAtHalf",)),
        ),
        since=170,
    ),
)

_BY_ID: Final = "id version reqId"
_BARE: Final = "id version"


def _contract_request(*rest: Source) -> Layout:
    return Layout("id reqId", CONTRACT, *rest)


#: Message id: name, layout.
_REQUESTS: Final[Mapping[int, tuple[str, Layout]]] = {
    1: (
        "reqMktData",
        Layout(
            _BY_ID,
            CONTRACT,
            When(is_combo, (Repeat("comboLegs", SHORT_LEG),)),
            *DELTA_NEUTRAL_CONTRACT,
            "genericTicks snapshot regulatorySnapshot options",
        ),
    ),
    2: ("cancelMktData", Layout(_BY_ID)),
    3: ("placeOrder", PLACE_ORDER),
    4: (
        "cancelOrder",
        Layout("id version orderId", Since(("manualCancelOrderTime",), since=169)),
    ),
    5: ("reqOpenOrders", Layout(_BARE)),
    6: ("reqAccountUpdates", Layout("id version subscribe account")),
    7: (
        "reqExecutions",
        Layout(_BY_ID, "clientId acctCode time symbol secType exchange side"),
    ),
    8: ("reqIds", Layout("id version numIds")),
    9: (
        "reqContractDetails",
        Layout(
            _BY_ID,
            CONTRACT,
            "includeExpired secIdType secId",
            Since(("issuerId",), since=176),
        ),
    ),
    10: ("reqMktDepth", Layout(_BY_ID, CONTRACT, "numRows isSmartDepth options")),
    11: ("cancelMktDepth", Layout(_BY_ID, "isSmartDepth")),
    12: ("reqNewsBulletins", Layout("id version allMsgs")),
    13: ("cancelNewsBulletins", Layout(_BARE)),
    14: ("setServerLogLevel", Layout("id version logLevel")),
    15: ("reqAutoOpenOrders", Layout("id version autoBind")),
    16: ("reqAllOpenOrders", Layout(_BARE)),
    17: ("reqManagedAccts", Layout(_BARE)),
    18: ("requestFA", Layout("id version faDataType")),
    # The request's id came with the answer that ends it, at 157.
    19: ("replaceFA", Layout("id version faDataType xml reqId")),
    20: (
        "reqHistoricalData",
        _contract_request(
            "includeExpired endDateTime barSizeSetting durationStr useRTH whatToShow formatDate",
            When(is_combo, (Repeat("comboLegs", SHORT_LEG),)),
            "keepUpToDate chartOptions",
        ),
    ),
    21: (
        "exerciseOptions",
        Layout(
            _BY_ID,
            "conId symbol secType lastTradeDateOrContractMonth strike right multiplier exchange"
            " currency localSymbol tradingClass exerciseAction exerciseQuantity account override",
        ),
    ),
    # Its filters follow; none is acted on.
    22: (
        "reqScannerSubscription",
        Layout("id reqId numberOfRows instrument locationCode scanCode"),
    ),
    23: ("cancelScannerSubscription", Layout(_BY_ID)),
    24: ("reqScannerParameters", Layout(_BARE)),
    25: ("cancelHistoricalData", Layout(_BY_ID)),
    49: ("reqCurrentTime", Layout(_BARE)),
    50: (
        "reqRealTimeBars",
        Layout(_BY_ID, CONTRACT, "barSize whatToShow useRTH options"),
    ),
    51: ("cancelRealTimeBars", Layout(_BY_ID)),
    52: ("reqFundamentalData", Layout(_BY_ID)),
    53: ("cancelFundamentalData", Layout(_BY_ID)),
    54: ("calculateImpliedVolatility", Layout(_BY_ID, CONTRACT, "optionPrice underPrice")),
    55: ("calculateOptionPrice", Layout(_BY_ID, CONTRACT, "volatility underPrice")),
    56: ("cancelCalculateImpliedVolatility", Layout(_BY_ID)),
    57: ("cancelCalculateOptionPrice", Layout(_BY_ID)),
    58: ("reqGlobalCancel", Layout(_BARE)),
    59: ("reqMarketDataType", Layout("id version marketDataType")),
    61: ("reqPositions", Layout(_BARE)),
    62: ("reqAccountSummary", Layout(_BY_ID, "group tags")),
    63: ("cancelAccountSummary", Layout(_BY_ID)),
    64: ("cancelPositions", Layout(_BARE)),
    65: ("verifyRequest", Layout(_BARE)),
    66: ("verifyMessage", Layout(_BARE)),
    67: ("queryDisplayGroups", Layout(_BY_ID)),
    68: ("subscribeToGroupEvents", Layout(_BY_ID, "groupId")),
    69: ("updateDisplayGroup", Layout(_BY_ID, "contractInfo")),
    70: ("unsubscribeFromGroupEvents", Layout(_BY_ID)),
    71: ("startApi", Layout("id version clientId", Since(("capabilities",), since=72))),
    72: ("verifyAndAuthRequest", Layout(_BARE)),
    73: ("verifyAndAuthMessage", Layout(_BARE)),
    74: ("reqPositionsMulti", Layout(_BY_ID, "account modelCode")),
    75: ("cancelPositionsMulti", Layout(_BY_ID)),
    76: ("reqAccountUpdatesMulti", Layout(_BY_ID, "account modelCode ledgerAndNLV")),
    77: ("cancelAccountUpdatesMulti", Layout(_BY_ID)),
    78: (
        "reqSecDefOptParams",
        Layout("id reqId underlyingSymbol futFopExchange underlyingSecType underlyingConId"),
    ),
    79: ("reqSoftDollarTiers", Layout("id reqId")),
    80: ("reqFamilyCodes", Layout("id")),
    81: ("reqMatchingSymbols", Layout("id reqId pattern")),
    82: ("reqMktDepthExchanges", Layout("id")),
    83: ("reqSmartComponents", Layout("id reqId bboExchange")),
    84: ("reqNewsArticle", Layout("id reqId")),
    85: ("reqNewsProviders", Layout("id")),
    86: ("reqHistoricalNews", Layout("id reqId conId providerCodes")),
    87: ("reqHeadTimeStamp", _contract_request("includeExpired useRTH whatToShow formatDate")),
    88: ("reqHistogramData", _contract_request("includeExpired useRTH timePeriod")),
    89: ("cancelHistogramData", Layout("id reqId")),
    90: ("cancelHeadTimeStamp", Layout("id reqId")),
    91: ("reqMarketRule", Layout("id marketRuleId")),
    92: ("reqPnL", Layout("id reqId account modelCode")),
    93: ("cancelPnL", Layout("id reqId")),
    94: ("reqPnLSingle", Layout("id reqId account modelCode conId")),
    95: ("cancelPnLSingle", Layout("id reqId")),
    96: (
        "reqHistoricalTicks",
        _contract_request(
            "includeExpired startDateTime endDateTime numberOfTicks whatToShow useRTH ignoreSize"
            " miscOptions"
        ),
    ),
    97: (
        "reqTickByTickData",
        _contract_request("tickType numberOfTicks ignoreSize"),
    ),
    98: ("cancelTickByTickData", Layout("id reqId")),
    99: ("reqCompletedOrders", Layout("id apiOnly")),
    100: ("reqWshMetaData", Layout("id reqId")),
    101: ("cancelWshMetaData", Layout("id reqId")),
    102: ("reqWshEventData", Layout("id reqId")),
    103: ("cancelWshEventData", Layout("id reqId")),
    104: ("reqUserInfo", Layout("id reqId")),
}

LAYOUT_OF: Final[Mapping[str, Layout]] = dict(_REQUESTS.values())
NAMES: Final[Mapping[int, str]] = {number: name for number, (name, _) in _REQUESTS.items()}


@dataclass(frozen=True, slots=True)
class Request:
    """One client message of some version."""

    version: int
    number: int
    name: str
    values: Mapping[str, Any]
    fields: tuple[str, ...]

    @property
    def request_id(self) -> str:
        """The id that an error answer carries: the order id, the request id, or -1."""
        text = str(self.values.get("reqId", self.values.get("orderId", "")))
        return text if is_digits(text.removeprefix("-")) else "-1"

    def edited(self, changes: Mapping[str, str]) -> Request:
        """Return the same with other texts in some fields. Raises WireError for no number."""
        edited = replace(self, values={**self.values, **changes})
        numbers.check(edited.values)
        return edited

    def bent(self, bend: Callable[[bytes], bytes]) -> Request:
        """Return what a client of that version says with another payload. Raises WireError."""
        return parse(self.version, split(bend(join(self.fields))))


def parse(version: int, fields: Sequence[str]) -> Request:
    """Return the request in a field list. Raises WireError when the list cannot be read."""
    if not fields or not is_digits(fields[0]):
        raise WireError(f"{fields[0] if fields else ''!r} is not a message id")
    number = int(fields[0])
    if number not in _REQUESTS:
        raise WireError(f"{number} is not a message id of version {version}")
    name, layout = _REQUESTS[number]
    values = layout.decode(version, fields)
    numbers.check(values)
    return Request(version, number, name, values, tuple(fields))
