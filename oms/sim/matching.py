"""When an order trades, and at what price.  Pure.

The rule: an order that crosses the touch trades at the touch, wholly; the touch does not move
because of it.  A stop is triggered by the last price.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from oms.sim.market import Quote
from oms.sim.orders import Order

STOPS: Final = frozenset(("STP", "STP LMT"))
SUPPORTED: Final = frozenset(("MKT", "LMT")) | STOPS
LIMITED: Final = frozenset(("LMT", "STP LMT"))


@dataclass(frozen=True, slots=True)
class Decision:
    """What a quote does to an order: `price` is None when it does not trade."""

    triggered: bool
    price: Decimal | None


def decide(order: Order, quote: Quote) -> Decision:
    if order.order_type in STOPS and not order.triggered:
        stop = order.aux_price
        hit = stop is not None and (quote.last >= stop if order.is_buy else quote.last <= stop)
        if not hit:
            return Decision(triggered=False, price=None)
    touch = quote.ask if order.is_buy else quote.bid
    if order.order_type in LIMITED:
        limit = order.limit_price
        crosses = limit is not None and (touch <= limit if order.is_buy else touch >= limit)
        return Decision(triggered=True, price=touch if crosses else None)
    return Decision(triggered=True, price=touch)


def held_for(order: Order, child: bool) -> str:
    """The whyHeld text of an order that is not working yet."""
    reasons = ["child"] if child else []
    if order.order_type in STOPS and not order.triggered:
        reasons.append("trigger")
    return ",".join(reasons)


def parts(quantity: Decimal, count: int, increment: Decimal) -> list[Decimal]:
    """`quantity` cut into at most `count` parts on the size increment, the rest in the last."""
    if count <= 1:
        return [quantity]
    piece = (quantity / count) // increment * increment
    if piece <= 0:
        return [quantity]
    return [piece] * (count - 1) + [quantity - piece * (count - 1)]
