"""The orders that a strategy can ask for, in the words of a trader.

Each returns `Terms`: nothing here is sent. Numbers are Decimals or their text; a float is refused,
because 512.35 as a float is not 512.35. What every order can have besides its price stands in
`Extras`; which of it goes with which type is checked by `admit.validity` when it is
submitted.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Final, TypedDict, Unpack, cast

from oms.core.asked import door
from oms.core.events import Side, Terms
from oms.core.money import Number, number
from oms.errors import InvalidRequest

#: Terms that are numbers, by name: what a caller gives may be text.
NUMBERS: Final = {
    "quantity": "quantity",
    "limit_price": "limit price",
    "stop_price": "stop price",
    "trail_amount": "trailing amount",
    "trail_percent": "trailing percent",
    "trail_stop_price": "trailing stop's first price",
    "limit_offset": "limit offset",
    "min_quantity": "minimum quantity",
    "display_size": "display size",
}


class Extras(TypedDict, total=False):
    """What goes with any order; the time in force is DAY unless said otherwise."""

    #: DAY, GTC, IOC, FOK, OPG, or GTD with `good_till`.
    tif: str
    #: An aware time.
    good_till: datetime
    #: Also outside regular trading hours.
    outside_rth: bool
    all_or_none: bool
    min_quantity: Number
    display_size: Number
    hidden: bool


class Changes(TypedDict, total=False):
    """What `modify` can change of an order; what is left out or None stays as it is."""

    quantity: Number | None
    limit: Number | None
    stop: Number | None
    trail_amount: Number | None
    trail_percent: Number | None
    limit_offset: Number | None
    tif: str | None
    good_till: datetime | None
    outside_rth: bool | None
    all_or_none: bool | None
    min_quantity: Number | None
    display_size: Number | None


#: The name of each change, by that of the term that it changes.
_CHANGE_OF: Final = {
    {"limit": "limit_price", "stop": "stop_price"}.get(name, name): name
    for name in Changes.__annotations__
}
_TERM_OF: Final = {name: term for term, name in _CHANGE_OF.items()}


def as_changes(terms: Mapping[str, object]) -> Changes:
    """Return the changes that new values of terms ask for; what is None or no term is left out."""
    named = {name: terms.get(term) for term, name in _CHANGE_OF.items()}
    return cast(Changes, {name: value for name, value in named.items() if value is not None})


def changed(terms: Terms, changes: Changes) -> Terms:
    """Return terms with changes; raises `InvalidRequest` where there are none, or no numbers.

    A trailing amount takes the place of a percentage and the reverse; another time in force than
    GTD takes the end away.
    """
    new = _read_numbers({_TERM_OF.get(name, name): value for name, value in changes.items()})
    if not new:
        raise InvalidRequest(f"a change needs one of {', '.join(Changes.__annotations__)}")
    if "trail_amount" in new and "trail_percent" not in new:
        new["trail_percent"] = None
    elif "trail_percent" in new and "trail_amount" not in new:
        new["trail_amount"] = None
    if new.get("tif", "GTD") != "GTD":
        new["good_till"] = new.get("good_till")
    return terms.evolve(**new)


@door
def Market(side: Side, quantity: Number, **extras: Unpack[Extras]) -> Terms:
    """Buy or sell at whatever the market gives."""
    return _terms(side, quantity, "MKT", extras)


@door
def Limit(side: Side, quantity: Number, price: Number, **extras: Unpack[Extras]) -> Terms:
    """Buy at this price or lower, sell at this price or higher."""
    return _terms(side, quantity, "LMT", extras, limit_price=_exact("limit_price", price))


@door
def Stop(side: Side, quantity: Number, price: Number, **extras: Unpack[Extras]) -> Terms:
    """Become a market order once the market trades through this price."""
    return _terms(side, quantity, "STP", extras, stop_price=_exact("stop_price", price))


@door
def StopLimit(
    side: Side, quantity: Number, stop: Number, limit: Number, **extras: Unpack[Extras]
) -> Terms:
    """Become a limit order once the market trades through the stop price."""
    return _terms(
        side,
        quantity,
        "STP LMT",
        extras,
        stop_price=_exact("stop_price", stop),
        limit_price=_exact("limit_price", limit),
    )


@door
def TrailingStop(
    side: Side,
    quantity: Number,
    *,
    amount: Number | None = None,
    percent: Number | None = None,
    stop: Number | None = None,
    **extras: Unpack[Extras],
) -> Terms:
    """Follow the market at this distance, an amount or a percentage, and become a market order once
    the market comes back to the stop. `stop` is where it begins; left out, IB begins at the market.
    """
    return _terms(
        side,
        quantity,
        "TRAIL",
        extras,
        trail_amount=amount,
        trail_percent=percent,
        trail_stop_price=stop,
    )


@door
def TrailingStopLimit(
    side: Side,
    quantity: Number,
    *,
    limit_offset: Number,
    stop: Number,
    amount: Number | None = None,
    percent: Number | None = None,
    **extras: Unpack[Extras],
) -> Terms:
    """Follow the market like `TrailingStop`, and become a limit order whose price is that far from
    the stop, on its worse side.
    """
    return _terms(
        side,
        quantity,
        "TRAIL LIMIT",
        extras,
        trail_amount=amount,
        trail_percent=percent,
        trail_stop_price=_exact("trail_stop_price", stop),
        limit_offset=_exact("limit_offset", limit_offset),
    )


@door
def MarketOnClose(side: Side, quantity: Number) -> Terms:
    """Trade in the closing auction at its price."""
    return _terms(side, quantity, "MOC", {})


@door
def LimitOnClose(side: Side, quantity: Number, price: Number) -> Terms:
    """Trade in the closing auction at this price or better."""
    return _terms(side, quantity, "LOC", {}, limit_price=_exact("limit_price", price))


@door
def MarketOnOpen(side: Side, quantity: Number) -> Terms:
    """Trade in the opening auction at its price."""
    return _terms(side, quantity, "MKT", {"tif": "OPG"})


@door
def LimitOnOpen(side: Side, quantity: Number, price: Number) -> Terms:
    """Trade in the opening auction at this price or better."""
    return _terms(side, quantity, "LMT", {"tif": "OPG"}, limit_price=_exact("limit_price", price))


def _terms(
    side: Side, quantity: Number, order_type: str, extras: Extras, **numbers: Number | None
) -> Terms:
    given = {"quantity": _exact("quantity", quantity), **numbers, **extras}
    return Terms(side=side, order_type=order_type, **_read_numbers(given))  # type: ignore[arg-type]  # checked by the model


def _read_numbers(given: Mapping[str, object]) -> dict[str, object]:
    """Return terms with their numbers as Decimals, without those that are None."""
    return {
        name: _exact(name, value) if name in NUMBERS else value
        for name, value in given.items()
        if value is not None
    }


def _exact(name: str, value: object) -> Decimal:
    return number(NUMBERS[name], value)
