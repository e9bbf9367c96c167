"""What an order asks for, as we asked and as IB has it: translated and compared."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from oms.core.events import CompletedOrderReceived, OpenOrderReceived, Terms

#: Terms of an open order that must be the ones that were asked for. Not among them: the first stop
#: price of a trailing stop, because IB writes the stop as it is now.
_COMPARED: Final = (
    "side",
    "quantity",
    "order_type",
    "limit_price",
    "stop_price",
    "tif",
    "outside_rth",
    "oca_group",
    "oca_type",
    "trail_amount",
    "trail_percent",
    "limit_offset",
    "good_till",
    "all_or_none",
    "min_quantity",
    "display_size",
    "hidden",
)
#: IB fills these in where we left them out: its words only count where we said something.
_FILLED_IN: Final = frozenset(
    {"limit_price", "stop_price", "trail_amount", "trail_percent", "limit_offset", "display_size"}
)
#: Group types under which IB makes the other orders smaller when one of them fills.
_REDUCING: Final = frozenset({2, 3})


def terms_of(event: OpenOrderReceived | CompletedOrderReceived, quantity: Decimal) -> Terms:
    """Return what IB says an order asks for; it writes 0 into prices that a type does not use."""
    limit_price, stop_price = event.limit_price or None, event.stop_price or None
    if isinstance(event, CompletedOrderReceived):
        return Terms(
            side=event.side,
            quantity=quantity,
            order_type=event.order_type,
            limit_price=limit_price,
            stop_price=stop_price,
            tif=event.tif,
        )
    return Terms(
        side=event.side,
        quantity=quantity,
        order_type=event.order_type,
        limit_price=limit_price,
        stop_price=stop_price,
        tif=event.tif,
        outside_rth=event.outside_rth,
        oca_group=event.oca_group,
        oca_type=event.oca_type,
        trail_amount=event.trail_amount,
        trail_percent=event.trail_percent,
        trail_stop_price=event.trail_stop_price,
        limit_offset=event.limit_offset,
        good_till=event.good_till,
        all_or_none=event.all_or_none,
        min_quantity=event.min_quantity,
        display_size=event.display_size,
        hidden=event.hidden,
    )


def differing(asked: Terms, event: OpenOrderReceived) -> tuple[str, ...]:
    """Return the names of the terms that IB has otherwise than asked for."""
    found = terms_of(event, event.quantity)
    return tuple(name for name in _COMPARED if _differs(asked, found, event, name))


def _differs(asked: Terms, found: Terms, event: OpenOrderReceived, name: str) -> bool:
    ours, theirs = getattr(asked, name), getattr(found, name)
    if ours == theirs:
        return False
    if name in _FILLED_IN:
        # A price of 0 is a price for spreads, and IB's way to say "none" for the rest.
        return ours is not None and ours != getattr(event, name)
    if name == "good_till":
        # IB may write the day without the hour, or a zone that we cannot read.
        return ours is None or event.good_till is not None
    if name == "oca_type":
        return bool(asked.oca_group) and bool(event.oca_type)
    return True


def changed_names(old: Terms, new: Terms) -> frozenset[str]:
    """Return the names of the terms that differ between two versions of an order."""
    return frozenset(n for n in _COMPARED if getattr(old, n) != getattr(new, n))


def is_reduced(terms: Terms, parent_order_id: str, event: OpenOrderReceived) -> bool:
    """Say whether IB itself has made an order smaller, as its kind lets IB do.

    The members of a reducing OCA group shrink with each other's fills, and the exits of a bracket
    with an entry that ends partly filled (broker notes: modifying).
    """
    shrinks = bool(parent_order_id) or (
        bool(terms.oca_group) and (event.oca_type or terms.oca_type) in _REDUCING
    )
    return shrinks and event.quantity < terms.quantity
