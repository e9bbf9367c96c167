"""The orders that a strategy can ask for, in the words of a trader.

Each returns `Terms`: nothing here is sent. Numbers are Decimals or their text; a float is refused,
because 512.35 as a float is not 512.35.
"""

from __future__ import annotations

from decimal import Decimal

from oms.core.events import Side, Terms
from oms.core.money import NotANumber, parse_decimal
from oms.errors import InvalidRequest

Number = Decimal | int | str


def Market(side: Side, quantity: Number, *, tif: str = "DAY") -> Terms:
    """Buy or sell at whatever the market gives."""
    return Terms(side=side, quantity=number("quantity", quantity), order_type="MKT", tif=tif)


def Limit(
    side: Side, quantity: Number, price: Number, *, tif: str = "DAY", outside_rth: bool = False
) -> Terms:
    """Buy at this price or lower, sell at this price or higher."""
    return Terms(
        side=side,
        quantity=number("quantity", quantity),
        order_type="LMT",
        limit_price=number("limit price", price),
        tif=tif,
        outside_rth=outside_rth,
    )


def Stop(side: Side, quantity: Number, price: Number, *, tif: str = "DAY") -> Terms:
    """Become a market order once the market trades through this price."""
    return Terms(
        side=side,
        quantity=number("quantity", quantity),
        order_type="STP",
        stop_price=number("stop price", price),
        tif=tif,
    )


def StopLimit(
    side: Side, quantity: Number, stop: Number, limit: Number, *, tif: str = "DAY"
) -> Terms:
    """Become a limit order once the market trades through the stop price."""
    return Terms(
        side=side,
        quantity=number("quantity", quantity),
        order_type="STP LMT",
        stop_price=number("stop price", stop),
        limit_price=number("limit price", limit),
        tif=tif,
    )


def number(name: str, value: object) -> Decimal:
    """Return a price or size that a caller gave; raises `InvalidRequest` naming what is wrong."""
    match value:
        case bool() | float():
            raise InvalidRequest(
                f"{name} must be a Decimal or text, found the {type(value).__name__} {value!r}",
                hint="write it in quotes: a binary float is not the number that you typed",
            )
        case Decimal():
            if not value.is_finite():
                raise InvalidRequest(f"{name} must be a number, found {value}")
            return value
        case int():
            return Decimal(value)
        case str():
            try:
                return parse_decimal(value)
            except NotANumber as error:
                raise InvalidRequest(f"{name}: {error}") from error
        case _:
            raise InvalidRequest(f"{name} must be a Decimal or text, found {value!r}")
