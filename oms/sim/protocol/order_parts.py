"""Parts that the field lists of several messages share: the contract, legs, scale, algo."""

from __future__ import annotations

from typing import Final

from oms.sim.protocol.fields import to_bool, to_decimal
from oms.sim.protocol.layout import Repeat, Test, Values, When

CONTRACT: Final = (
    "conId symbol secType lastTradeDateOrContractMonth strike right multiplier exchange"
    " primaryExchange currency localSymbol tradingClass"
)
TAG: Final = ("tag", "value")
LEG: Final = (
    "conId",
    "ratio",
    "action",
    "exchange",
    "openClose",
    "shortSaleSlot",
    "designatedLocation",
    "exemptCode",
)
SHORT_LEG: Final = ("conId", "ratio", "action", "exchange")


def is_combo(values: Values) -> bool:
    """A test for `When`: the contract is a combination."""
    return values.get("secType") == "BAG"


def has(name: str) -> Test:
    """A test for `When`: the field is there and not empty."""
    return lambda values: values.get(name, "") != ""


def is_set(name: str) -> Test:
    """A test for `When`: the flag is on."""
    return lambda values: to_bool(values.get(name, ""))


def has_scale(values: Values) -> bool:
    """A test for `When`: a scaled order has its increment."""
    increment = to_decimal(values.get("scalePriceIncrement", ""))
    return increment is not None and increment > 0


def is_pegged_to_benchmark(values: Values) -> bool:
    """A test for `When`: the order is pegged to another contract."""
    return values.get("orderType") in ("PEG BENCH", "PEGBENCH")


def is_pegged_to_best(values: Values) -> bool:
    """A test for `When`: the order is pegged to the best price."""
    return values.get("orderType") in ("PEG BEST", "PEGBEST")


def is_pegged_to_mid(values: Values) -> bool:
    """A test for `When`: the order is pegged to the midpoint."""
    return values.get("orderType") in ("PEG MID", "PEGMID")


def competes_up_to_mid(values: Values) -> bool:
    """A test for `When`: the order competes as far as the midpoint."""
    return values.get("competeAgainstBestOffset") == "Infinite"


SCALE: Final = (
    "scaleInitLevelSize scaleSubsLevelSize scalePriceIncrement",
    When(
        has_scale,
        (
            "scalePriceAdjustValue scalePriceAdjustInterval scaleProfitOffset scaleAutoReset"
            " scaleInitPosition scaleInitFillQty scaleRandomPercent",
        ),
    ),
)
DELTA_NEUTRAL_CONTRACT: Final = (
    "deltaNeutralContract=0",
    When(
        is_set("deltaNeutralContract"),
        ("deltaNeutralContractConId deltaNeutralContractDelta deltaNeutralContractPrice",),
    ),
)
ALGO: Final = ("algoStrategy", When(has("algoStrategy"), (Repeat("algoParams", TAG),)))
PEG_BENCH: Final = When(
    is_pegged_to_benchmark,
    (
        "referenceContractId isPeggedChangeAmountDecrease peggedChangeAmount"
        " referenceChangeAmount referenceExchangeId",
    ),
)
COMBO: Final = (
    Repeat("comboLegs", LEG),
    Repeat("orderComboLegs", ("price",)),
    Repeat("smartComboRoutingParams", TAG),
)
