"""What orders of one group do to each other: sizes of a bracket's exits, and what ends the others.

TWS has two ways: the exits work in the size that the entry has filled, and grow with it, or keep
their whole size. In both, what one exit has filled is taken off those that would else close more
than there is; exits that share the entry between them need not reduce each other. Where sizes
differ, IB may reduce by the same part instead of the same number (TWS API: one cancels
all).
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from oms.core.compare.sides import OurSide
from oms.core.fold.records import Order
from oms.core.money import ZERO, plain
from oms.core.terms import REDUCING


def unexplained_size(order: Order, size: Decimal, ours: OurSide) -> str:
    """Return why the size in which IB works an exit follows from nothing; "" where it does."""
    parent = ours.orders.get(order.parent_order_id)
    asked = order.asked_sizes or (order.terms.quantity,)
    if parent is None:
        return "" if size in asked else "its entry is not in our books"
    taken = _filled_by_siblings(order, ours)
    followed = {base for whole in asked for base in _bases(whole, parent)}
    # An exit that the other one has used up is shown with nothing, or less.
    if size in asked or size <= ZERO < taken:
        return ""
    if any(size in _reduced(base, order, parent, ours) for base in followed):
        return ""
    words = f"its entry has filled {plain(parent.filled)} of {plain(parent.terms.quantity)}"
    return f"{words}, the other exit {plain(taken)}" if taken else words


def ends_the_other(filled: Order, order: Order, ours: OurSide) -> bool:
    """Say whether the fill of one order leaves nothing for another of its group to do."""
    asked = (order.asked_sizes or (order.terms.quantity,))[0]
    parent = ours.orders.get(order.parent_order_id)
    if parent is not None and filled.parent_order_id == order.parent_order_id:
        # Exits may share an entry between them; together they close no more than it has filled.
        closed = _filled_by_siblings(order, ours)
        return not parent.live and closed + order.terms.quantity > parent.filled
    return order.terms.oca_type not in REDUCING or filled.filled >= asked


def _bases(whole: Decimal, parent: Order) -> Iterator[Decimal]:
    yield whole
    for filled in (parent.filled, parent.status_filled or parent.filled):
        yield min(filled, whole)
        if parent.terms.quantity:
            share = whole * filled / parent.terms.quantity
            yield share
            yield share // 1


def _reduced(base: Decimal, order: Order, parent: Order, ours: OurSide) -> Iterator[Decimal]:
    """Yield what the other exits may have left of a size."""
    rivals = [
        other
        for other in _siblings(order, ours)
        if _whole(order) + _whole(other) > parent.terms.quantity
    ]
    yield base - _filled_by_siblings(order, ours)
    yield base - sum((other.filled for other in rivals), ZERO)
    part = sum(
        (other.filled * _whole(order) / _whole(other) for other in rivals if _whole(other)), ZERO
    )
    yield base - part
    yield (base - part) // 1


def _whole(order: Order) -> Decimal:
    return max(order.asked_sizes, default=order.terms.quantity)


def _siblings(order: Order, ours: OurSide) -> Iterator[Order]:
    for other in ours.orders.values():
        if other.parent_order_id == order.parent_order_id and other is not order:
            yield other


def _filled_by_siblings(order: Order, ours: OurSide) -> Decimal:
    return sum((other.filled for other in _siblings(order, ours)), ZERO)
