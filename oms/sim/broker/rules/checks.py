"""What the gateway refuses before an order reaches the market. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final, assert_never
from zoneinfo import ZoneInfo

from oms.sim.broker.books.orders import SIDES, Order
from oms.sim.broker.exchange.contracts import CONVERSION_VENUE, Contract
from oms.sim.clock import order_time

ORDER_ID_MAX: Final = 2**31 - 1
OFF_TICK: Final = "The price does not conform to the minimum price variation for this contract."
READ_ONLY: Final = (
    "Error validating request.-'bW' : cause - The API interface is currently in Read-Only mode."
)
NO_CONTRACT: Final = "No security definition has been found for the request"
INVALID: Final = "Error validating request.-'b9' : cause - "
#: Kinds of contract whose price may be below zero: a combo's is a difference, oil has been.
NEGATIVE_PRICES: Final = frozenset(("BAG", "FUT"))
NOT_TRADED: Final = "The contract is not available for trading."
#: 478 (erdewit/ib_insync#641, #693); what contradicts the con id follows.
CONFLICT: Final = (
    "Parameters in request conflicts with contract parameters received by contract id: "
)
EXPIRED: Final = "Invalid order: contract expired."
TIFS: Final = frozenset(("DAY", "GTC", "IOC", "FOK", "GTD", "OPG"))
#: The time in force of a crypto order that may rest, and for how long.
MINUTES: Final = "Minutes"
MINUTES_LONG: Final = timedelta(minutes=5)
#: Units of the base currency under which IDEALPRO routes an order as an odd lot.
ODD_LOT_BELOW: Final = 25_000
#: The smallest part of a share that a person may order.
FRACTION: Final = Decimal("0.0001")


class Refusal(Exception):
    """A request the gateway turns down with an error message and nothing else.

    `request_id` is None for the order's own id.
    """

    def __init__(self, code: int, text: str, request_id: int | None = None) -> None:
        super().__init__(f"{code} {text}")
        self.code = code
        self.text = text
        self.request_id = request_id


def check(
    order: Order, contract: Contract, now: datetime, zone: ZoneInfo, *, by_person: bool = False
) -> None:
    """Raise the Refusal that IB gives for an order that cannot be, or do nothing.

    `by_person` is for an order entered at TWS, where fractions of a share are for sale.
    """
    if order.side not in SIDES:
        raise Refusal(321, f"{INVALID}Invalid side {order.side}")
    if contract.sec_type == "IND":
        raise Refusal(201, f"Order rejected - reason:{NOT_TRADED}")
    if order.kind is None:
        raise Refusal(387, "Unsupported order type for this exchange and security type.")
    if contract.sec_type == "CRYPTO":
        _check_crypto(order)
    _check_quantity(order, contract, by_person=by_person)
    _check_prices(order, contract)
    if order.tif not in TIFS and contract.sec_type != "CRYPTO":
        raise Refusal(10052, f"Invalid time in force:{order.tif}")
    if order.tif == "GTD" and not order.terms.get("goodTillDate"):
        raise Refusal(337, "Good till date is required for this time in force.")
    for name, code in (("goodTillDate", 343), ("goodAfterTime", 334)):
        text = str(order.terms.get(name, ""))
        if text and order_time(text, zone) is None:
            raise Refusal(code, f"The time or time-zone entered is invalid: {text}")
    until = order_time(str(order.terms.get("goodTillDate", "")), zone)
    if order.tif == "GTD" and until is not None and until <= now:
        raise Refusal(343, "The date, time, or time-zone entered is invalid: it is in the past")


def _check_crypto(order: Order) -> None:
    """A market order buys for an amount and ends at once; a limit one may rest five minutes."""
    reason = "Order rejected - reason:"
    if order.kind not in ("MKT", "LMT"):
        raise Refusal(387, "Unsupported order type for this exchange and security type.")
    if order.kind == "MKT" and order.is_buy and not order.price("cashQty"):
        raise Refusal(10289, "You must set Cash Quantity for this order")
    if order.kind == "MKT" and order.tif != "IOC":
        raise Refusal(201, f"{reason}The crypto MKT order must be IOC")
    if order.tif not in ("IOC", MINUTES):
        raise Refusal(201, f"{reason}The crypto LMT order must be Minutes or IOC")


def _check_quantity(order: Order, contract: Contract, *, by_person: bool) -> None:
    if order.quantity == 0:
        raise Refusal(434, "The order size cannot be zero.")
    if order.quantity < 0:
        raise Refusal(321, INVALID + "Invalid quantity")
    step = contract.size_increment
    if by_person and contract.sec_type == "STK":
        step = min(step, FRACTION)
    shown = order.price("displaySize")
    if shown is not None and shown >= order.quantity:
        raise Refusal(10020, "Display size should be smaller than order size.")
    if order.quantity % step:
        raise Refusal(10243, "Fractional-sized order cannot be placed via API.")


def _check_prices(order: Order, contract: Contract) -> None:
    for price in _needed_prices(order):
        if price is None:
            raise Refusal(403, "Invalid price for this order type.")
        if price % contract.increment(price):
            raise Refusal(110, OFF_TICK)
        if price < 0 and contract.sec_type not in NEGATIVE_PRICES:
            raise Refusal(321, INVALID + "Order price must be positive")


def _needed_prices(order: Order) -> list[Decimal | None]:
    """Return the prices that an order of this kind must have; of a trailing stop those it has."""
    match order.kind:
        case "MKT" | "MTL" | "MOC" | None:
            return []
        case "LMT" | "LOC":
            return [order.limit_price]
        case "STP" | "MIT":
            return [order.aux_price]
        case "STP LMT" | "LIT":
            return [order.limit_price, order.aux_price]
        case "TRAIL" | "TRAIL LIMIT":
            _check_trail(order)
            given = (order.price("trailStopPrice"), order.limit_price)
            return [price for price in given if price]
        case other:
            assert_never(other)


def _check_trail(order: Order) -> None:
    """A trailing stop keeps one distance, an amount or a percentage; a limit one two."""
    amount, percent = order.aux_price, order.price("trailingPercent")
    if not amount and not percent:
        raise Refusal(158, "You must specify an offset amount or a percent offset value.")
    if amount and percent:
        text = "Trailing amount and trailing percent cannot both be specified"
        raise Refusal(321, INVALID + text)
    if percent is not None and not 0 < percent < 100 and not amount:
        raise Refusal(159, "The percent offset value must be between 0% and 100%.")
    if amount is not None and amount < 0:
        raise Refusal(158, "You must specify an offset amount or a percent offset value.")
    if order.kind != "TRAIL LIMIT":
        return
    offset, limit = order.price("lmtPriceOffset"), order.limit_price
    if offset is None and not limit:
        raise Refusal(321, INVALID + "Limit price or limit price offset is required")
    if offset and limit:
        raise Refusal(321, INVALID + "Limit price and limit price offset cannot both be specified")


def warning(order: Order, contract: Contract) -> str | None:
    """Return the 399 of an order that is taken all the same."""
    is_traded = contract.sec_type == "CASH" and order.exchange != CONVERSION_VENUE
    if is_traded and order.quantity < ODD_LOT_BELOW:
        return (
            f"Order Message:\n{order.side} {order.quantity} {contract.local_symbol} Forex\n"
            "Warning: your order size is below the minimum and will be routed as an odd lot order."
        )
    return None
