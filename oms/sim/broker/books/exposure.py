"""What the live orders may still buy and sell: the exposure that the credit check counts.

Kept up to date order by order, so that a check costs the same on a day of many orders.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal

from oms.sim.broker.books.ledger import ZERO
from oms.sim.broker.books.orders import Order


@dataclass(slots=True)
class OneSide:
    """What waits on one side of one contract.

    Of the orders of one group (OCA, or the children of one parent) only the largest counts: one
    cancels the others.
    """

    alone: Decimal = ZERO
    groups: dict[str, dict[int, Decimal]] = field(default_factory=dict)

    @property
    def total(self) -> Decimal:
        """Return the most that may trade on this side."""
        return self.alone + sum((max(one.values()) for one in self.groups.values()), ZERO)

    def put(self, group: str, perm_id: int, quantity: Decimal) -> None:
        """Count an order."""
        if not group:
            self.alone += quantity
        else:
            self.groups.setdefault(group, {})[perm_id] = quantity

    def take(self, group: str, perm_id: int, quantity: Decimal) -> None:
        """Count an order no longer."""
        if not group:
            self.alone -= quantity
            return
        members = self.groups.get(group, {})
        members.pop(perm_id, None)
        if not members:
            self.groups.pop(group, None)


@dataclass(slots=True)
class BothSides:
    """Both sides of one contract in one account."""

    buys: OneSide = field(default_factory=OneSide)
    sells: OneSide = field(default_factory=OneSide)

    def worst(self, held: Decimal) -> Decimal:
        """Return the largest position, long or short, that a holding may become."""
        return max(abs(held), abs(held + self.buys.total), abs(held - self.sells.total))


class Exposure:
    """Live orders by account and contract; a combination counts in its legs."""

    def __init__(self) -> None:
        self._accounts: dict[str, dict[int, BothSides]] = {}
        self._known: dict[int, tuple[str, list[tuple[int, Decimal]]]] = {}

    def keep(self, order: Order) -> None:
        """Count an order as it is now, in place of what it was."""
        self.drop(order)
        # A child waits for its parent: it cannot trade, and what it closes is not there yet.
        if order.remaining <= 0 or order.waits_for_parent:
            return
        group = order.oca_group
        if not group and order.parent_perm_id:
            group = f"\0{order.parent_perm_id}"
        counted = [(con_id, order.remaining * ratio) for con_id, ratio in order.per_unit()]
        self._known[order.perm_id] = group, counted
        rows = self._accounts.setdefault(order.account, {})
        for con_id, signed in counted:
            row = rows.setdefault(con_id, BothSides())
            (row.buys if signed > 0 else row.sells).put(group, order.perm_id, abs(signed))

    def drop(self, order: Order) -> None:
        """Count an order no longer."""
        group, counted = self._known.pop(order.perm_id, ("", []))
        for con_id, signed in counted:
            row = self._accounts[order.account][con_id]
            (row.buys if signed > 0 else row.sells).take(group, order.perm_id, abs(signed))

    def contracts(self, account: str) -> list[int]:
        """Return con ids of everything an account has had orders for."""
        return list(self._accounts.get(account, ()))

    def worst(self, account: str, con_id: int, held: Decimal) -> Decimal:
        """Return the largest position, long or short, that a holding may become if orders fill."""
        row = self._accounts.get(account, {}).get(con_id)
        return abs(held) if row is None else row.worst(held)
