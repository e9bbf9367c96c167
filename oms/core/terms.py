"""What an order asks for, as we asked and as IB has it: translated and compared."""

from __future__ import annotations

from decimal import Decimal
from operator import attrgetter
from typing import Final

from oms.core.events import CompletedOrderReceived, Event, OpenOrderReceived, Terms
from oms.core.members import members

#: Terms of an open order that must be the ones that were asked for. Not among them: the first stop
#: price of a trailing stop, because IB writes the stop as it is now.
_COMPARED: Final = tuple(name for name in members(Terms) if name != "trail_stop_price")
#: What both sides say of an order, which nearly always is the same word for word.
_WORDS: Final = attrgetter(*_COMPARED)
#: IB fills these in where we left them out: its words only count where we said something.
_FILLED_IN: Final = frozenset(
    {"limit_price", "stop_price", "trail_amount", "trail_percent", "limit_offset", "display_size"}
)
#: The terms that IB names in each of its messages about an order.
_SAID: Final[dict[type[Event], tuple[str, ...]]] = {
    cls: tuple(name for name in members(Terms) if name in members(cls))
    for cls in (OpenOrderReceived, CompletedOrderReceived)
}
#: Group types under which IB makes the other orders smaller when one of them fills.
REDUCING: Final = frozenset({2, 3})


def terms_of(event: OpenOrderReceived | CompletedOrderReceived, quantity: Decimal) -> Terms:
    """Return what IB says an order asks for; it writes 0 into prices that a type does not use."""
    said = {name: getattr(event, name) for name in _SAID[type(event)]}
    prices = {name: said[name] or None for name in ("limit_price", "stop_price")}
    return Terms(**{**said, **prices, "quantity": quantity})


def differing(asked: Terms, event: OpenOrderReceived) -> tuple[str, ...]:
    """Return the names of the terms that IB has otherwise than asked for."""
    if _WORDS(asked) == _WORDS(event):
        return ()
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
        # The wire has whole seconds. IB may write the day alone, or a zone that we cannot read.
        if ours is None:
            return True
        return event.good_till is not None and ours.replace(microsecond=0) != event.good_till
    if name == "oca_type":
        return bool(asked.oca_group) and bool(event.oca_type)
    return True


def changed_names(old: Terms, new: Terms) -> frozenset[str]:
    """Return the names of the terms that differ between two versions of an order."""
    return frozenset(n for n in _COMPARED if getattr(old, n) != getattr(new, n))


def is_resized(
    asked: Decimal, terms: Terms, parent_order_id: str, event: OpenOrderReceived
) -> bool:
    """Say whether IB itself may have changed an order's size, as its kind lets IB do; `asked` is
    the largest size that we asked for.

    The members of a reducing OCA group shrink with each other's fills. The exits of a bracket
    follow what the entry has filled, up and down, and never pass what was asked for
    (broker notes: modifying); whether a size does follow from it is for the comparison to say.
    """
    if event.quantity == terms.quantity:
        return False
    if parent_order_id:
        return event.quantity <= asked
    is_reducing = bool(terms.oca_group) and (event.oca_type or terms.oca_type) in REDUCING
    return is_reducing and event.quantity < terms.quantity
