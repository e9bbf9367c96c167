"""Orders and fills in the few words that reports and tables use."""

from __future__ import annotations

from decimal import Decimal

from oms.core.events import (
    CompletedOrderReceived,
    OpenOrderReceived,
    Terms,
)
from oms.core.money import plain
from oms.core.records import Fill, Order


def describe_order(order: Order) -> str:
    """Return an order's state in few words."""
    words = f"{order.state.value} {describe_terms(order.terms)} {order.contract.symbol}"
    return f"{words}, {plain(order.filled)} filled" if order.filled else words


def describe_terms(terms: Terms) -> str:
    """Return what an order asks for in few words."""
    words = [terms.side, plain(terms.quantity), terms.order_type]
    if terms.limit_price is not None:
        words.append(plain(terms.limit_price))
    if terms.stop_price is not None:
        words.append(f"stop {plain(terms.stop_price)}")
    words.append(terms.tif)
    return " ".join(w for w in words if w)


def describe_fill(fill: Fill) -> str:
    """Return a fill in few words."""
    return f"{fill.side} {plain(fill.quantity)} {fill.contract.symbol} @ {plain(fill.price)}"


def terms_of(event: OpenOrderReceived | CompletedOrderReceived, quantity: Decimal) -> Terms:
    """Return what IB says an order asks for; it writes 0 into prices that a type does not use."""
    return Terms(
        side=event.side,
        quantity=quantity,
        order_type=event.order_type,
        limit_price=event.limit_price or None,
        stop_price=event.stop_price or None,
        tif=event.tif,
    )
