"""Which fields of a request are numbers and flags, whatever the request uses them for.

IB reads the whole message before it acts on it, so a text in any of them is a frame that cannot be
read (320) and nothing of it is done, also in a field that the simulator only keeps: in openOrder it
would come back and break the decoder of every client that is told of the order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from oms.sim.protocol.errors import WireError
from oms.sim.protocol.fields import to_bool, to_decimal, to_int

_INTEGERS: Final = (
    "reqId clientId barSize numberOfTicks formatDate marketDataType marketRuleId underlyingConId"
    " conId origin parentId displaySize triggerMethod shortSaleSlot exemptCode ocaType minQty"
    " auctionStrategy volatilityType referencePriceType scaleInitLevelSize scaleSubsLevelSize"
    " scalePriceAdjustInterval scaleInitPosition scaleInitFillQty adjustableTrailingUnit"
    " usePriceMgmtAlgo duration postToAts minTradeQty minCompeteSize deltaNeutralConId"
    " deltaNeutralShortSaleSlot deltaNeutralContractConId referenceContractId volume ratio"
    " numRows faDataType exerciseAction exerciseQuantity numberOfRows groupId"
)
_AMOUNTS: Final = (
    "strike totalQuantity lmtPrice auxPrice discretionaryAmt percentOffset nbboPriceCap"
    " startingPrice stockRefPrice delta stockRangeLower stockRangeUpper volatility"
    " deltaNeutralAuxPrice trailStopPrice trailingPercent scalePriceIncrement"
    " scalePriceAdjustValue scaleProfitOffset triggerPrice lmtPriceOffset adjustedStopPrice"
    " adjustedStopLimitPrice adjustedTrailingAmount cashQty competeAgainstBestOffset"
    " midOffsetAtWhole midOffsetAtHalf peggedChangeAmount referenceChangeAmount"
    " deltaNeutralContractDelta deltaNeutralContractPrice price percent changePercent"
    " optionPrice underPrice"
)
_FLAGS: Final = (
    "transmit blockOrder sweepToFill outsideRth hidden allOrNone eTradeOnly firmQuoteOnly"
    " overridePercentageConstraints continuousUpdate optOutSmartRouting notHeld whatIf solicited"
    " randomizeSize randomizePrice dontUseAutoPriceForHedge isOmsContainer"
    " discretionaryUpToLimitPrice autoCancelParent deltaNeutralShortSale scaleAutoReset"
    " scaleRandomPercent isPeggedChangeAmountDecrease conditionsIgnoreRth conditionsCancelOrder"
    " isMore snapshot regulatorySnapshot includeExpired subscribe useRTH ledgerAndNLV apiOnly"
    " autoBind ignoreSize isSmartDepth allMsgs keepUpToDate"
)
_READ: Final[Mapping[str, Callable[[str], object]]] = {
    **dict.fromkeys(_INTEGERS.split(), to_int),
    **dict.fromkeys(_AMOUNTS.split(), to_decimal),
    **dict.fromkeys(_FLAGS.split(), to_bool),
}


def check(values: Mapping[str, Any]) -> None:
    """Raise WireError when a field of a request, a leg or a condition is not of its kind."""
    for name, value in values.items():
        # Nearly all of an order is empty or zero, and zero is of every kind.
        if value in ("", "0"):
            continue
        if isinstance(value, list):
            for group in value:
                check(group)
            continue
        read = _READ.get(name)
        if read is not None:
            try:
                read(value)
            except WireError as error:
                raise WireError(f"{name}: {error}") from error
