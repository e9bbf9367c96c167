"""Orders that are linked: children and their parent, and groups that cancel one another (OCA)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import assert_never

from oms.sim.broker.books.ledger import ZERO
from oms.sim.broker.books.orders import Order
from oms.sim.broker.combos import quote_of
from oms.sim.broker.floor import Floor
from oms.sim.broker.rules import matching


class LinkedOrders:
    """What the fill or the end of one order means for the others.

    `end` cancels an order and `work` brings it to the market: both are the life of an order, which
    comes back here with what follows from that.
    """

    def __init__(
        self, floor: Floor, *, end: Callable[[Order], None], work: Callable[[Order], None]
    ) -> None:
        self.floor = floor
        self.books = floor.books
        self._end = end
        self._work = work
        #: Called with every order that ended unfilled: what was attached to it ends too.
        self.on_end: list[Callable[[Order], None]] = []

    def filled(self, order: Order, quantity: Decimal) -> None:
        """Do what follows a fill: the order's children go to work, its rivals go or shrink."""
        if order.ended or self.floor.settings.children == "partial":
            for child in self.books.live.children(order):
                if not child.ended:
                    self._follow(child, order, quantity)
        for other in self._rivals(order):
            left = matching.reduced(other, quantity)
            if other.ended:
                continue
            if left <= 0:
                self._end(other)
            else:
                other.quantity = other.filled + left
                self.books.save(other)
                self.floor.notify.order(other)
        parent = self.books.live.get(order.parent_perm_id)
        if order.ended and parent is not None and not parent.ended:
            # What the child closed was only a part of the entry: the rest of it has no exit now.
            self._end(parent)

    def _rivals(self, order: Order) -> Iterable[Order]:
        match self.floor.settings.oca:
            case "kept":
                return self.books.live.one_cancels_other(order)
            case "ignored":
                return ()
            case other:
                assert_never(other)

    def ended(self, order: Order) -> None:
        """End the children with their parent, and a parent that asked for it with its child.

        Children that work for what the parent has filled stay: they guard a position.
        """
        for child in self.books.live.children(order):
            if child.ended:
                continue
            if child.whole is None:
                self._end(child)
            else:
                child.whole = None
                self.books.save(child)
        for tell in self.on_end:
            tell(order)
        parent = self.books.live.get(order.parent_perm_id)
        if order.flag("autoCancelParent") and parent is not None and not parent.ended:
            self._end(parent)

    def _follow(self, child: Order, parent: Order, quantity: Decimal) -> None:
        """The parent has filled `quantity` more: the child works for its share of that."""
        held = child.waits_for_parent
        whole = child.quantity if child.whole is None else child.whole
        before = ZERO if held else self._share(child, parent, whole, parent.filled - quantity)
        share = self._share(child, parent, whole, parent.filled)
        child.whole = None if parent.ended else whole
        if held:
            if share:
                child.quantity = share
                self._release(child)
        elif share > before:
            child.quantity = min(child.quantity + share - before, whole)
            self.books.save(child)
            self.floor.notify.order(child)
            self._work(child)

    def _share(self, child: Order, parent: Order, whole: Decimal, filled: Decimal) -> Decimal:
        """The part of a child's size that belongs to what its parent has filled."""
        if filled >= parent.quantity:
            return whole
        step = self.floor.contract(child.con_id).size_increment
        return whole * filled / parent.quantity // step * step

    def _release(self, child: Order) -> None:
        child.why_held = matching.held_for(child, child=False)
        if child.kind in matching.TRAILING:
            child.trail_price = matching.trail_price(child, quote_of(self.floor, child).last)
        self.books.save(child)
        if child.why_held:
            self.floor.notify.order(child)
        self._work(child)
