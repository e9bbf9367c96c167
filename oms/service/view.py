"""The books as the event loop sees them: the records of the last commit, and a way to wait for the
next.

The fold lives in the log's writer thread. After each commit it publishes the records that changed;
this view keeps those that a caller can ask about (live orders and the last ended ones, open breaks,
positions, the state of the whole) and wakes whoever waits for an order. It never computes anything,
so it cannot disagree with the log.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Final, TypeVar

from oms.core.fold.records import (
    TABLE_OF,
    Alarm,
    Anomaly,
    AnyRecord,
    BreakCase,
    Order,
    OrderState,
    Position,
    SessionRecord,
    SystemRecord,
)

#: Ended orders, and closed cases, that stay at hand; older ones are read from the store.
ENDED_MAX: Final = 1_000


class View:
    """What the last commit left."""

    def __init__(self, records: Iterable[AnyRecord]) -> None:
        self.orders: dict[str, Order] = {}
        self.positions: dict[str, Position] = {}
        self.breaks: dict[str, BreakCase] = {}
        #: What stands for events that the books could not take.
        self.anomalies: dict[str, Anomaly] = {}
        self.alarms: dict[str, Alarm] = {}
        self.session: SessionRecord | None = None
        self.system = SystemRecord()
        self._ended: OrderedDict[str, None] = OrderedDict()
        self._closed: OrderedDict[str, None] = OrderedDict()
        self._in_doubt: dict[str, None] = {}
        #: Orders with a change or a cancel under way.
        self._asked: dict[str, None] = {}
        self._changed: asyncio.Event = asyncio.Event()
        self.take(records)

    def take(self, records: Iterable[AnyRecord]) -> None:
        """Take the records of a commit and wake everybody who waits."""
        for record in records:
            self._take_one(record)
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def take_changes(self, changes: dict[str, dict[str, AnyRecord]]) -> None:
        """Take what the log published."""
        self.take(record for table in changes.values() for record in table.values())

    def recall(self, order: Order) -> Order:
        """Take an order that was read from the store, and return it as it is now.

        Reading takes its time, and a commit that was published meanwhile is newer than the row.
        """
        known = self.orders.get(order.order_id)
        if known is not None:
            return known
        self.take([order])
        return order

    def restart(self, changes: dict[str, dict[str, AnyRecord]]) -> None:
        """Take the live records anew, and let go of those that are no more: the stored rows were
        replaced by a fold of the log.
        """
        for name, held in (
            ("orders", self.orders),
            ("positions", self.positions),
            ("breaks", self.breaks),
            ("anomalies", self.anomalies),
            ("alarms", self.alarms),
        ):
            fresh = changes.get(name, {})
            for key in [k for k, r in held.items() if r.live and k not in fresh]:
                del held[key]
        self._in_doubt = {k: None for k in self._in_doubt if k in self.orders}
        self._asked = {k: None for k in self._asked if k in self.orders}
        self.take_changes(changes)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Return when a condition holds; give it a deadline with `asyncio.timeout`."""
        while not condition():
            await self._changed.wait()

    def in_doubt(self) -> tuple[Order, ...]:
        """Return the orders whose outcome is not known."""
        return tuple(self.orders[i] for i in self._in_doubt)

    def left_unanswered(self) -> tuple[Order, ...]:
        """Return the orders with a change or a cancel that an earlier session sent."""
        asked = (self.orders[order_id] for order_id in self._asked)
        return tuple(o for o in asked if o.pending_epoch < self.system.session_epoch)

    def open_breaks(self) -> tuple[BreakCase, ...]:
        """Return the open cases."""
        return tuple(c for c in self.breaks.values() if c.live)

    def set_aside(self) -> tuple[Anomaly, ...]:
        """Return what stands for events that the books could not take."""
        return tuple(self.anomalies.values())

    def why_key_is_taken(self, order_id: str) -> str:
        """Say that an order of somebody else has the key of one that has not left, as IB shows it;
        "" where none does.
        """
        named = self.orders.get(order_id)
        if named is not None and (named.origin != "ours" or named.named):
            return f"IB has shown an order with the key {order_id}"
        return ""

    def _take_one(self, record: AnyRecord) -> None:
        match record:
            case Order():
                self._take_order(record)
            case Position():
                self.positions[record.key] = record
            case BreakCase():
                self.breaks[record.key] = record
                _forget_oldest(self.breaks, self._closed, record)
            case Anomaly():
                if record.kind == "set_aside":
                    _keep_live(self.anomalies, record)
            case SessionRecord():
                if self.session is None or record.epoch >= self.session.epoch:
                    self.session = record
            case Alarm():
                _keep_live(self.alarms, record)
            case SystemRecord():
                self.system = record
            case _:
                assert TABLE_OF[type(record)]

    def _take_order(self, order: Order) -> None:
        self.orders[order.order_id] = order
        if order.state is OrderState.IN_DOUBT:
            self._in_doubt[order.order_id] = None
        else:
            self._in_doubt.pop(order.order_id, None)
        if order.live and (order.cancel_pending or order.modify_pending):
            self._asked[order.order_id] = None
        else:
            self._asked.pop(order.order_id, None)
        _forget_oldest(self.orders, self._ended, order)


_Ending = TypeVar("_Ending", Alarm, Anomaly)


_Over = TypeVar("_Over", BreakCase, Order)


def _forget_oldest(held: dict[str, _Over], over: OrderedDict[str, None], record: _Over) -> None:
    """Note whether a record is over, and let go of the oldest of too many that are."""
    over.pop(record.key, None)
    if record.live:
        return
    over[record.key] = None
    while len(over) > ENDED_MAX:
        oldest, _ = over.popitem(last=False)
        del held[oldest]


def _keep_live(held: dict[str, _Ending], record: _Ending) -> None:
    if record.live:
        held[record.key] = record
    else:
        held.pop(record.key, None)
