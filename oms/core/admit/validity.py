"""Whether terms can mean an order at all: pure rules over terms, and over nothing else.

What cannot mean an order is the caller's slip: `InvalidRequest`, and no trace of it is left. What
means an order that its contract, its venue or a limit does not take is an ordinary outcome, a
`Denial` (`rules`), and goes into the log.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Final

from oms.core.bounds import ASKED_NUMBER, brief
from oms.core.events import Terms
from oms.core.keys import ORDER_ID_LENGTH_MAX, can_be_key, is_numbered
from oms.core.money import plain
from oms.errors import InvalidRequest

#: What order entry can send; adopted orders can be of any type.
ORDER_TYPES: Final = frozenset(
    {"MKT", "LMT", "STP", "STP LMT", "TRAIL", "TRAIL LIMIT", "MOC", "LOC"}
)
TIMES_IN_FORCE: Final = frozenset({"DAY", "GTC", "IOC", "FOK", "OPG", "GTD"})
TRAILING: Final = frozenset({"TRAIL", "TRAIL LIMIT"})
ON_CLOSE: Final = frozenset({"MOC", "LOC"})
_NEEDS_LIMIT: Final = frozenset({"LMT", "STP LMT", "LOC"})
_NEEDS_STOP: Final = frozenset({"STP", "STP LMT"})
#: Of a trailing percentage; a hundred would be a stop at zero.
_PERCENT_MAX: Final = Decimal(100)
#: IB's order group types: cancel all with block, reduce with block, reduce without block.
OCA_TYPES: Final = (1, 2, 3)
#: IB's fields for these two are 32-bit integers.
_WHOLE_MAX: Final = Decimal(2**31 - 2)


def validate(terms: Terms) -> None:
    """Raise `InvalidRequest` where terms cannot mean an order."""
    for rule in _RULES:
        rule(terms)


def _words(terms: Terms) -> None:
    if terms.side not in {"BUY", "SELL"}:
        raise InvalidRequest(f"side must be BUY or SELL, found {brief(terms.side)}")
    if terms.order_type not in ORDER_TYPES:
        known = ", ".join(sorted(ORDER_TYPES))
        raise InvalidRequest(f"order type must be one of {known}, found {brief(terms.order_type)}")
    if terms.tif not in TIMES_IN_FORCE:
        known = ", ".join(sorted(TIMES_IN_FORCE))
        raise InvalidRequest(f"time in force must be one of {known}, found {brief(terms.tif)}")


def _quantity(terms: Terms) -> None:
    _above_zero("quantity", terms.quantity)


def _prices(terms: Terms) -> None:
    kind = terms.order_type
    _price("limit price", terms.limit_price, kind in _NEEDS_LIMIT, kind)
    _price("stop price", terms.stop_price, kind in _NEEDS_STOP, kind)


def _price(name: str, price: Decimal | None, needed: bool, order_type: str) -> None:
    if needed and price is None:
        raise InvalidRequest(f"a {order_type} order needs a {name}")
    if not needed and price is not None:
        raise InvalidRequest(f"a {order_type} order takes no {name}, found {plain(price)}")
    if price is not None:
        _readable(name, price)


def _trail(terms: Terms) -> None:
    kind = terms.order_type
    trails = {
        "trailing amount": terms.trail_amount,
        "trailing percent": terms.trail_percent,
    }
    given = {name: value for name, value in trails.items() if value is not None}
    if kind not in TRAILING:
        others = given | {
            "trailing stop's first price": terms.trail_stop_price,
            "limit offset": terms.limit_offset,
        }
        for name, value in others.items():
            if value is not None:
                raise InvalidRequest(f"a {kind} order takes no {name}, found {plain(value)}")
        return
    if len(given) != 1:
        raise InvalidRequest(
            f"a {kind} order trails by an amount or by a percentage, exactly one of them; found"
            f" {' and '.join(given) or 'neither'}"
        )
    for name, value in given.items():
        _above_zero(name, value)
    if terms.trail_percent is not None and terms.trail_percent >= _PERCENT_MAX:
        raise InvalidRequest(
            f"trailing percent must be below 100, found {plain(terms.trail_percent)}"
        )
    if terms.trail_stop_price is not None:
        _readable("trailing stop's first price", terms.trail_stop_price)
    _limit_offset(terms)


def _limit_offset(terms: Terms) -> None:
    offset = terms.limit_offset
    if terms.order_type == "TRAIL":
        if offset is not None:
            raise InvalidRequest(f"a TRAIL order takes no limit offset, found {plain(offset)}")
        return
    if offset is None or terms.trail_stop_price is None:
        missing = "a limit offset" if offset is None else "its first stop price"
        raise InvalidRequest(f"a TRAIL LIMIT order needs {missing}")
    _readable("limit offset", offset)
    if offset < 0:
        raise InvalidRequest(f"limit offset must not be below zero, found {plain(offset)}")


def _time_in_force(terms: Terms) -> None:
    kind, tif = terms.order_type, terms.tif
    if tif == "OPG" and kind not in {"MKT", "LMT"}:
        raise InvalidRequest(f"only MKT and LMT orders go into the opening auction, found {kind}")
    if kind in ON_CLOSE and tif != "DAY":
        raise InvalidRequest(f"a {kind} order is for today's close, tif DAY; found {tif}")
    if (tif == "GTD") is (terms.good_till is None):
        found = "none" if terms.good_till is None else f"one with tif {tif}"
        raise InvalidRequest(f"tif GTD and an end (good_till) go together, found {found}")
    if terms.good_till is not None and terms.good_till.utcoffset() is None:
        raise InvalidRequest(f"good_till must name its zone, found {terms.good_till}")
    if terms.good_till is not None and terms.good_till.microsecond:
        raise InvalidRequest(f"good_till must be a whole second, found {terms.good_till}")
    if terms.outside_rth and (kind in ON_CLOSE or tif == "OPG"):
        raise InvalidRequest("an auction order cannot work outside regular trading hours")


def _sizes(terms: Terms) -> None:
    for name, size in (
        ("minimum quantity", terms.min_quantity),
        ("display size", terms.display_size),
    ):
        if size is None:
            continue
        _above_zero(name, size)
        if size != size.to_integral_value() or size > _WHOLE_MAX:
            raise InvalidRequest(f"{name} must be a whole number, found {brief(size)}")
        if size > terms.quantity:
            raise InvalidRequest(
                f"{name} {plain(size)} is above the quantity {plain(terms.quantity)}"
            )
    if terms.all_or_none and terms.min_quantity is not None:
        raise InvalidRequest("all-or-none and a minimum quantity exclude each other")
    if terms.hidden and terms.display_size is not None:
        raise InvalidRequest("a hidden order has no display size")


def _group(terms: Terms) -> None:
    if bool(terms.oca_group) is not bool(terms.oca_type):
        raise InvalidRequest("an OCA group and its type go together: 1, 2 or 3")
    if terms.oca_type and terms.oca_type not in OCA_TYPES:
        raise InvalidRequest(f"OCA type must be 1, 2 or 3, found {terms.oca_type}")
    if not terms.oca_group.isprintable():
        raise InvalidRequest(f"an OCA group is printable text, found {brief(terms.oca_group)}")


_RULES: Final[tuple[Callable[[Terms], None], ...]] = (
    _words,
    _quantity,
    _prices,
    _trail,
    _time_in_force,
    _sizes,
    _group,
)


def _above_zero(name: str, value: Decimal) -> None:
    if not value.is_finite() or value <= 0:
        raise InvalidRequest(f"{name} must be above zero, found {brief(value)}")
    _readable(name, value)


def _readable(name: str, value: Decimal) -> None:
    try:
        ASKED_NUMBER.check(value)
    except ValueError as error:
        raise InvalidRequest(f"{name} {error}") from error


def check_order_id(order_id: str) -> None:
    """Raise `InvalidRequest` where a caller's key cannot travel to IB and back unchanged."""
    if not can_be_key(order_id):
        raise InvalidRequest(
            f"order id {brief(order_id)} cannot travel to IB and back",
            hint=f"use up to {ORDER_ID_LENGTH_MAX} letters, digits and . _ : -",
        )
    if is_numbered(order_id):
        raise InvalidRequest(
            f"order id {brief(order_id)} has the form that orders of others get",
            hint="take a key that is not perm- and a number",
        )
