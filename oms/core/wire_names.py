"""What the fields of a message on the wire are called, by its id and the version of the protocol.

IB's own names, in the order in which IB's clients read and write them (broker notes). Fields in
groups have the name of the group and a number: `comboLegs[1].ratio`. The log stores no names: they
follow from what it stores.

The promise: every field has a name, whatever the fields hold. Where a message ends early, holds a
count that is none, or is of an unknown kind, what cannot be told is called `field N`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from types import MappingProxyType
from typing import Final

#: The versions that we speak (broker notes: versions).
_OLDEST_VERSION: Final = 157
_NEWEST_VERSION: Final = 178

_CONTRACT: Final = (
    "conId symbol secType lastTradeDateOrContractMonth strike right multiplier exchange currency"
    " localSymbol tradingClass"
)
_CONDITIONS: Final = MappingProxyType(
    {
        "1": "conjunction isMore price conId exchange triggerMethod",
        "3": "conjunction isMore time",
        "4": "conjunction isMore percent",
        "5": "conjunction secType exchange symbol",
        "6": "conjunction isMore volume conId exchange",
        "7": "conjunction isMore changePercent conId exchange",
    }
)


class _Unnamed(Exception):
    """What follows cannot be told apart."""


class _Naming:
    """Names one field after the other."""

    def __init__(self, fields: Sequence[str], version: int) -> None:
        self.names: list[str] = []
        self.version = version
        self._fields = fields
        self._values: dict[str, str] = {}

    def take(self, names: str, group: str = "") -> None:
        """Name the next fields."""
        for name in names.split():
            if len(self.names) == len(self._fields):
                raise _Unnamed
            self._values[name] = self._fields[len(self.names)]
            self.names.append(f"{group}{name}")

    def __getitem__(self, name: str) -> str:
        """Return the text of the field that had this name last."""
        return self._values[name]

    def repeat(self, group: str, names: str) -> None:
        """Name a count, and as many groups of fields."""
        self.take(group)
        text = self[group]
        if not text.isdecimal():
            raise _Unnamed
        for number in range(int(text)):
            self.take(names, f"{group}[{number}].")


def names_of(
    fields: Sequence[str], server_version: int = 0, *, sent: bool = False
) -> tuple[str, ...]:
    """Return the name of each field of a message; `sent` is one of ours.

    Version 0 is one that nobody wrote down: named is what has the same name in all that we speak.
    """
    if not server_version:
        oldest = names_of(fields, _OLDEST_VERSION, sent=sent)
        newest = names_of(fields, _NEWEST_VERSION, sent=sent)
        both = enumerate(zip(oldest, newest, strict=True))
        return tuple(one if one == other else f"field {at}" for at, (one, other) in both)
    naming = _Naming(fields, server_version)
    known = (_SENT if sent else _RECEIVED).get(fields[0] if fields else "")
    try:
        if known is not None:
            naming.take("message")
            known(naming)
    except _Unnamed:
        pass
    rest = range(len(naming.names), len(fields))
    return (*naming.names, *(f"field {number}" for number in rest))


def named(
    fields: Sequence[str], server_version: int = 0, *, sent: bool = False
) -> list[tuple[str, str]]:
    """Return the fields of a message, each with its name."""
    names = names_of(fields, server_version, sent=sent)
    return list(zip(names, fields, strict=True))


_Walk = Callable[[_Naming], None]


def _plain(names: str) -> _Walk:
    return lambda naming: naming.take(names)


def _error(naming: _Naming) -> None:
    naming.take("version id errorCode errorMsg")
    if naming.version >= 166:
        naming.take("advancedOrderRejectJson")


def _execution(naming: _Naming) -> None:
    naming.take(
        f"reqId orderId {_CONTRACT} execId time acctNumber venue side shares price permId clientId"
        " liquidation cumQty avgPrice orderRef evRule evMultiplier modelCode lastLiquidity"
    )
    if naming.version >= 178:
        naming.take("pendingPriceRevision")


def _open_order(naming: _Naming) -> None:
    naming.take(
        f"orderId {_CONTRACT} action totalQuantity orderType lmtPrice auxPrice tif ocaGroup account"
        " openClose origin orderRef clientId permId outsideRth hidden discretionaryAmt"
        " goodAfterTime sharesAllocation faGroup faMethod faPercentage"
    )
    if naming.version < 177:
        naming.take("faProfile")
    naming.take(
        "modelCode goodTillDate rule80A percentOffset settlingFirm shortSaleSlot designatedLocation"
        " exemptCode auctionStrategy startingPrice stockRefPrice delta stockRangeLower"
        " stockRangeUpper displaySize blockOrder sweepToFill allOrNone minQty ocaType eTradeOnly"
        " firmQuoteOnly nbboPriceCap parentId triggerMethod volatility volatilityType"
        " deltaNeutralOrderType deltaNeutralAuxPrice"
    )
    if naming["deltaNeutralOrderType"]:
        naming.take(_DELTA_NEUTRAL)
    naming.take(
        "continuousUpdate referencePriceType trailStopPrice trailingPercent basisPoints"
        " basisPointsType comboLegsDescrip"
    )
    _combo(naming)
    _scale(naming)
    _hedge(naming)
    naming.take("optOutSmartRouting clearingAccount clearingIntent notHeld")
    _delta_neutral_contract(naming)
    _algo(naming)
    naming.take(
        "solicited whatIf status initMarginBefore maintMarginBefore equityWithLoanBefore"
        " initMarginChange maintMarginChange equityWithLoanChange initMarginAfter maintMarginAfter"
        " equityWithLoanAfter commission minCommission maxCommission commissionCurrency warningText"
        " randomizeSize randomizePrice"
    )
    _peg_bench(naming)
    _conditions(naming)
    naming.take(
        "adjustedOrderType triggerPrice trailStopPrice lmtPriceOffset adjustedStopPrice"
        " adjustedStopLimitPrice adjustedTrailingAmount adjustableTrailingUnit softDollarTierName"
        " softDollarTierValue softDollarTierDisplayName cashQty dontUseAutoPriceForHedge"
        " isOmsContainer discretionaryUpToLimitPrice usePriceMgmtAlgo"
    )
    for since, name in ((158, "duration"), (160, "postToAts"), (162, "autoCancelParent")):
        if naming.version >= since:
            naming.take(name)
    _pegged_tail(naming)


def _completed_order(naming: _Naming) -> None:
    naming.take(
        f"{_CONTRACT} action totalQuantity orderType lmtPrice auxPrice tif ocaGroup account"
        " openClose origin orderRef permId outsideRth hidden discretionaryAmt goodAfterTime faGroup"
        " faMethod faPercentage"
    )
    if naming.version < 177:
        naming.take("faProfile")
    naming.take(
        "modelCode goodTillDate rule80A percentOffset settlingFirm shortSaleSlot designatedLocation"
        " exemptCode startingPrice stockRefPrice delta stockRangeLower stockRangeUpper displaySize"
        " sweepToFill allOrNone minQty ocaType triggerMethod volatility volatilityType"
        " deltaNeutralOrderType deltaNeutralAuxPrice"
    )
    if naming["deltaNeutralOrderType"]:
        naming.take(
            "deltaNeutralConId deltaNeutralShortSale deltaNeutralShortSaleSlot"
            " deltaNeutralDesignatedLocation"
        )
    naming.take(
        "continuousUpdate referencePriceType trailStopPrice trailingPercent comboLegsDescrip"
    )
    _combo(naming)
    _scale(naming)
    _hedge(naming)
    naming.take("clearingAccount clearingIntent notHeld")
    _delta_neutral_contract(naming)
    _algo(naming)
    naming.take("solicited status randomizeSize randomizePrice")
    _peg_bench(naming)
    _conditions(naming)
    naming.take(
        "trailStopPrice lmtPriceOffset cashQty dontUseAutoPriceForHedge isOmsContainer"
        " autoCancelDate filledQuantity refFuturesConId autoCancelParent shareholder imbalanceOnly"
        " routeMarketableToBbo parentPermId completedTime completedStatus"
    )
    _pegged_tail(naming)


def _place_order(naming: _Naming) -> None:
    naming.take(
        "orderId conId symbol secType lastTradeDateOrContractMonth strike right multiplier exchange"
        " primaryExchange currency localSymbol tradingClass secIdType secId action totalQuantity"
        " orderType lmtPrice auxPrice tif ocaGroup account openClose origin orderRef transmit"
        " parentId blockOrder sweepToFill displaySize triggerMethod outsideRth hidden"
    )
    exchange = naming["exchange"]
    if naming["secType"] == "BAG":
        _combo(naming)
    naming.take(
        "sharesAllocation discretionaryAmt goodAfterTime goodTillDate faGroup faMethod faPercentage"
    )
    if naming.version < 177:
        naming.take("faProfile")
    naming.take(
        "modelCode shortSaleSlot designatedLocation exemptCode ocaType rule80A settlingFirm"
        " allOrNone minQty percentOffset eTradeOnly firmQuoteOnly nbboPriceCap auctionStrategy"
        " startingPrice stockRefPrice delta stockRangeLower stockRangeUpper"
        " overridePercentageConstraints volatility volatilityType deltaNeutralOrderType"
        " deltaNeutralAuxPrice"
    )
    if naming["deltaNeutralOrderType"]:
        naming.take(_DELTA_NEUTRAL)
    naming.take("continuousUpdate referencePriceType trailStopPrice trailingPercent")
    _scale(naming)
    naming.take("scaleTable activeStartTime activeStopTime")
    _hedge(naming)
    naming.take("optOutSmartRouting clearingAccount clearingIntent notHeld")
    _delta_neutral_contract(naming)
    _algo(naming)
    naming.take("algoId whatIf orderMiscOptions solicited randomizeSize randomizePrice")
    _peg_bench(naming)
    _conditions(naming)
    naming.take(
        "adjustedOrderType triggerPrice lmtPriceOffset adjustedStopPrice adjustedStopLimitPrice"
        " adjustedTrailingAmount adjustableTrailingUnit extOperator softDollarTierName"
        " softDollarTierValue cashQty mifid2DecisionMaker mifid2DecisionAlgo mifid2ExecutionTrader"
        " mifid2ExecutionAlgo dontUseAutoPriceForHedge isOmsContainer discretionaryUpToLimitPrice"
        " usePriceMgmtAlgo"
    )
    newer = (
        *((158, "duration"), (160, "postToAts"), (162, "autoCancelParent")),
        *((166, "advancedErrorOverride"), (169, "manualOrderTime")),
    )
    for since, name in newer:
        if naming.version >= since:
            naming.take(name)
    if naming.version < 170:
        return
    if exchange == "IBKRATS":
        naming.take("minTradeQty")
    if naming["orderType"] in {"PEG BEST", "PEGBEST"}:
        naming.take("minCompeteSize competeAgainstBestOffset")
        if naming["competeAgainstBestOffset"] == "Infinite":
            naming.take("midOffsetAtWhole midOffsetAtHalf")
    elif naming["orderType"] in {"PEG MID", "PEGMID"}:
        naming.take("midOffsetAtWhole midOffsetAtHalf")


def _cancel_order(naming: _Naming) -> None:
    naming.take("version orderId")
    if naming.version >= 169:
        naming.take("manualCancelOrderTime")


# ── what several have ────────────────────────────────────────────────────────────────────────────

_DELTA_NEUTRAL: Final = (
    "deltaNeutralConId deltaNeutralSettlingFirm deltaNeutralClearingAccount"
    " deltaNeutralClearingIntent deltaNeutralOpenClose deltaNeutralShortSale"
    " deltaNeutralShortSaleSlot deltaNeutralDesignatedLocation"
)


def _combo(naming: _Naming) -> None:
    naming.repeat(
        "comboLegs",
        "conId ratio action exchange openClose shortSaleSlot designatedLocation exemptCode",
    )
    naming.repeat("orderComboLegs", "price")
    naming.repeat("smartComboRoutingParams", "tag value")


def _scale(naming: _Naming) -> None:
    naming.take("scaleInitLevelSize scaleSubsLevelSize scalePriceIncrement")
    try:
        # The largest double stands for none.
        is_scaled = 0 < Decimal(naming["scalePriceIncrement"] or "0") < Decimal("1e300")
    except InvalidOperation:
        raise _Unnamed from None
    if is_scaled:
        naming.take(
            "scalePriceAdjustValue scalePriceAdjustInterval scaleProfitOffset scaleAutoReset"
            " scaleInitPosition scaleInitFillQty scaleRandomPercent"
        )


def _hedge(naming: _Naming) -> None:
    naming.take("hedgeType")
    if naming["hedgeType"]:
        naming.take("hedgeParam")


def _delta_neutral_contract(naming: _Naming) -> None:
    naming.take("deltaNeutralContract")
    if naming["deltaNeutralContract"] == "1":
        naming.take("deltaNeutralContractConId deltaNeutralContractDelta deltaNeutralContractPrice")


def _algo(naming: _Naming) -> None:
    naming.take("algoStrategy")
    if naming["algoStrategy"]:
        naming.repeat("algoParams", "tag value")


def _peg_bench(naming: _Naming) -> None:
    if naming["orderType"] in {"PEG BENCH", "PEGBENCH"}:
        naming.take(
            "referenceContractId isPeggedChangeAmountDecrease peggedChangeAmount"
            " referenceChangeAmount referenceExchangeId"
        )


def _conditions(naming: _Naming) -> None:
    naming.take("conditions")
    count = naming["conditions"]
    if not count.isdecimal():
        raise _Unnamed
    for number in range(int(count)):
        group = f"conditions[{number}]."
        naming.take("type", group)
        kind = _CONDITIONS.get(naming["type"])
        if kind is None:
            raise _Unnamed
        naming.take(kind, group)
    if int(count):
        naming.take("conditionsIgnoreRth conditionsCancelOrder")


def _pegged_tail(naming: _Naming) -> None:
    if naming.version >= 170:
        naming.take(
            "minTradeQty minCompeteSize competeAgainstBestOffset midOffsetAtWhole midOffsetAtHalf"
        )


_RECEIVED: Final[Mapping[str, _Walk]] = MappingProxyType(
    {
        "3": _plain(
            "orderId status filled remaining avgFillPrice permId parentId lastFillPrice clientId"
            " whyHeld mktCapPrice"
        ),
        "4": _error,
        "5": _open_order,
        "6": _plain("version key value currency account"),
        "7": _plain(
            "version conId symbol secType lastTradeDateOrContractMonth strike right multiplier"
            " primaryExchange currency localSymbol tradingClass position marketPrice marketValue"
            " averageCost unrealizedPNL realizedPNL account"
        ),
        "9": _plain("version orderId"),
        "11": _execution,
        "15": _plain("version accounts"),
        "53": _plain("version"),
        "54": _plain("version account"),
        "55": _plain("version reqId"),
        "59": _plain("version execId commission currency realizedPNL yield yieldRedemptionDate"),
        "61": _plain(f"version account {_CONTRACT} position avgCost"),
        "62": _plain("version"),
        "63": _plain("version reqId account tag value currency"),
        "64": _plain("version reqId"),
        "71": _plain(f"version reqId account {_CONTRACT} position avgCost modelCode"),
        "72": _plain("version reqId"),
        "73": _plain("version reqId account modelCode key value currency"),
        "74": _plain("version reqId"),
        "100": _plain("permId clientId orderId"),
        "101": _completed_order,
        "102": _plain(""),
    }
)
_SENT: Final[Mapping[str, _Walk]] = MappingProxyType(
    {"3": _place_order, "4": _cancel_order, "58": _plain("version")}
)
