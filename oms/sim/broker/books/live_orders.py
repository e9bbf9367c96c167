"""The orders that live, and what connects them: in memory, so that a fill need not look at all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal

from oms.sim.broker.books.exposure import Exposure
from oms.sim.broker.books.orders import ConditionKind, Order

#: What connects orders, and which of its kind: a con id, a perm id, a group of an account.
GroupKey = tuple[Literal["contract", "parent", "account", "oca"], int | str]


class LiveOrders(Mapping[int, Order]):
    """Live orders by perm id, in the order in which they came. The books keep it up to date."""

    def __init__(self) -> None:
        #: What they may still buy and sell.
        self.exposure = Exposure()
        self._orders: dict[int, Order] = {}
        self._by_client: dict[tuple[int, int], Order] = {}
        self._groups: dict[GroupKey, dict[int, None]] = {}
        self._keys_of: dict[int, list[GroupKey]] = {}

    def __getitem__(self, perm_id: int) -> Order:
        return self._orders[perm_id]

    def __iter__(self) -> Iterator[int]:
        return iter(self._orders)

    def __len__(self) -> int:
        return len(self._orders)

    def keep(self, order: Order) -> None:
        """Take in an order, or note what it is now."""
        self._orders[order.perm_id] = order
        self.exposure.keep(order)
        if order.order_id:
            self._by_client[order.client_id, order.order_id] = order
        keys = _keys(order)
        if keys != self._keys_of.get(order.perm_id):
            self._leave_groups(order)
            self._keys_of[order.perm_id] = keys
            for key in keys:
                self._groups.setdefault(key, {})[order.perm_id] = None

    def drop(self, order: Order) -> None:
        """Forget an order, if it is there."""
        if self._orders.pop(order.perm_id, None) is None:
            return
        self.exposure.drop(order)
        self._by_client.pop((order.client_id, order.order_id), None)
        self._leave_groups(order)

    def _leave_groups(self, order: Order) -> None:
        for key in self._keys_of.pop(order.perm_id, ()):
            members = self._groups.get(key, {})
            members.pop(order.perm_id, None)
            if not members:
                self._groups.pop(key, None)

    # ── who is connected ─────────────────────────────────────────────────────────────────────────

    def of_client(self, client_id: int, order_id: int) -> Order | None:
        """Return the order of an API identity."""
        return self._by_client.get((client_id, order_id))

    def rebind(self, order: Order, client_id: int, order_id: int) -> None:
        """Give an order another API identity."""
        self._by_client.pop((order.client_id, order.order_id), None)
        order.client_id, order.order_id = client_id, order_id
        self.keep(order)

    def affected_by(self, con_id: int) -> list[Order]:
        """Return the orders that look at a contract's quote."""
        return self._members(("contract", con_id))

    def watching(self) -> list[Order]:
        """Return the orders that wait for an execution, or for the account's margin."""
        return self._members(("account", ""))

    def children(self, parent: Order) -> list[Order]:
        """Return the orders that are attached to another."""
        return self._members(("parent", parent.perm_id))

    def one_cancels_other(self, order: Order) -> list[Order]:
        """Return the others of its OCA group; the children of one parent are a group too."""
        if order.oca_group:
            members = self._members(("oca", f"{order.account}:{order.oca_group}"))
        elif order.parent_perm_id:
            members = self._members(("parent", order.parent_perm_id))
        else:
            return []
        return [other for other in members if other.perm_id != order.perm_id]

    def _members(self, key: GroupKey) -> list[Order]:
        return [self._orders[perm_id] for perm_id in self._groups.get(key, ())]


def _keys(order: Order) -> list[GroupKey]:
    keys: list[GroupKey] = [("contract", con_id) for con_id in sorted(order.contracts)]
    if order.parent_perm_id:
        keys.append(("parent", order.parent_perm_id))
    watched = (ConditionKind.MARGIN, ConditionKind.EXECUTION)
    if any(one.get("condType") in watched for one in order.terms.get("conditions", ())):
        keys.append(("account", ""))
    if order.oca_group:
        keys.append(("oca", f"{order.account}:{order.oca_group}"))
    return keys
