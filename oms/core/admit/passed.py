"""Orders that passed the rules lately: what the rules that look back count.

An order counts from the moment in which it passed, not from the commit of its intent: a burst of a
thousand calls in one turn of the loop meets the limit at the right place. One that passed and was
then not intended (its caller gave up, its key was taken) counts for its minute all the same; the
limits err on the side of fewer orders.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from oms.core.admit.frequency import RATE_SECONDS
from oms.core.admit.proposal import Recent, likeness
from oms.core.contracts import Identity
from oms.core.events import OrderIntended
from oms.core.fold.records import Order


class Passed:
    """Remembers what passed, for as long as a rule can ask for it."""

    def __init__(self, horizon: timedelta | None) -> None:
        """`horizon` is how long back the rules look, None where none does."""
        self._horizon = horizon or timedelta()
        #: Oldest first.
        self._recent: deque[Recent] = deque()
        #: New orders and new terms that the books may not have yet, by order id.
        self._on_the_way: dict[str, _OnTheWay] = {}

    def recall(self, recent: Iterable[Recent]) -> None:
        """Begin with what was sent before this daemon began, oldest first."""
        self._recent = deque(recent)

    def add(self, intents: Sequence[OrderIntended], now: datetime) -> None:
        """Count orders as sent; the same key twice is one order."""
        self._recent = deque(self.before({one.order_id for one in intents}))
        for one in intents:
            like = likeness(one.account, one.contract, one.terms)
            self._recent.append(Recent(one.order_id, now, like))
            self._on_the_way[one.order_id] = _OnTheWay(one, 0, now)

    def add_change(self, changed: OrderIntended, revision: int, now: datetime) -> None:
        """Count new terms of an order as sent, under the revision that they will have."""
        self._on_the_way[changed.order_id] = _OnTheWay(changed, revision, now)

    @property
    def on_the_way(self) -> dict[str, OrderIntended]:
        """What passed and the books may not have yet, by order id; `forget_old` comes first."""
        return {order_id: one.intent for order_id, one in self._on_the_way.items()}

    def forget_old(self, now: datetime, known: Mapping[str, Order]) -> None:
        """Drop what no rule can ask for any more; `known` are the orders that the books have."""
        while self._recent and self._recent[0].at <= now - self._horizon:
            self._recent.popleft()
        # An intent is durable within moments; one that is not by then never will be.
        oldest = now - timedelta(seconds=RATE_SECONDS)
        for order_id, one in list(self._on_the_way.items()):
            order = known.get(order_id)
            if (order is not None and order.revision >= one.revision) or one.at <= oldest:
                del self._on_the_way[order_id]

    def before(self, keys: Collection[str]) -> tuple[Recent, ...]:
        """Return what passed lately, oldest first, without these orders themselves."""
        return tuple(one for one in self._recent if one.order_id not in keys)

    def at_work(self, order: OrderIntended, orders: Mapping[str, Order]) -> int:
        """Return how many others are at work in an order's contract and account."""
        place, own = _place(order), order.order_id
        live = sum(o.live and o.order_id != own and _place(o) == place for o in orders.values())
        return live + sum(
            _place(one.intent) == place and order_id not in orders and order_id != own
            for order_id, one in self._on_the_way.items()
        )


@dataclass(frozen=True, slots=True)
class _OnTheWay:
    intent: OrderIntended
    #: 0 for a new order.
    revision: int
    at: datetime


#: Account and contract.
_Place = tuple[str, Identity]


def _place(one: OrderIntended | Order) -> _Place:
    return one.account, one.contract.identity


def same_place(one: OrderIntended, other: OrderIntended) -> bool:
    """Say whether two orders are in one contract of one account."""
    return _place(one) == _place(other)
