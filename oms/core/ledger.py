"""The books themselves: every record that is in memory, and the ways to find one."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from oms.core import order as orders
from oms.core.events import (
    Envelope,
)
from oms.core.records import (
    TABLE_OF,
    TABLES,
    Anomaly,
    AnyRecord,
    Fill,
    Order,
    SystemRecord,
)

_R = TypeVar("_R", bound=AnyRecord)
#: What IB writes where an order has no id of ours: manual orders, and errors about nothing.
NO_ORDER_IDS: Final = frozenset({0, -1})


@dataclass(slots=True)
class Books:
    """What the log adds up to."""

    tables: dict[str, dict[str, AnyRecord]] = field(
        default_factory=lambda: {name: {} for name in TABLES}
    )
    #: The sequence of the last event applied.
    sequence: int = 0
    _touched: dict[str, set[str]] = field(default_factory=lambda: {name: set() for name in TABLES})
    _links: list[tuple[str, int]] = field(default_factory=list)
    _by_perm_id: dict[int, str] = field(default_factory=dict)
    _by_broker_key: dict[str, str] = field(default_factory=dict)
    _fill_by_exec_id: dict[str, str] = field(default_factory=dict)
    _unclaimed: dict[int, set[str]] = field(default_factory=dict)
    #: Orders that left, or may have left, and that the broker has not named.
    _unanswered: set[str] = field(default_factory=set)
    _ended: OrderedDict[tuple[str, str], None] = field(default_factory=OrderedDict)

    # ── what the store needs ──

    def get(self, table: str, key: str) -> AnyRecord | None:
        """Return a record that is in memory."""
        return self.tables[table].get(key)

    def restore(self, table: str, record: AnyRecord) -> None:
        """Put a stored record back into memory, unless a newer one is there."""
        if record.key not in self.tables[table]:
            self._keep(table, record)

    def touched(self) -> dict[str, set[str]]:
        """Return the keys that were written since the last `clear_touched`, by table."""
        return self._touched

    def links(self) -> list[tuple[str, int]]:
        """Return which order each event was about, since the last `clear_touched`."""
        return self._links

    def clear_touched(self) -> None:
        """Forget what was written; the caller has stored it."""
        self._touched = {name: set() for name in TABLES}
        self._links = []

    def evictable(self) -> list[tuple[str, str]]:
        """Return the records that may leave memory, oldest first."""
        return list(self._ended)

    def evict(self, table: str, key: str) -> None:
        """Take a record out of memory; its row stays."""
        self._ended.pop((table, key), None)
        record = self.tables[table].pop(key, None)
        if isinstance(record, Order):
            for perm_id in record.perm_ids:
                self._by_perm_id.pop(perm_id, None)
            self._by_broker_key.pop(record.broker_key, None)
        elif isinstance(record, Fill):
            self._fill_by_exec_id.pop(record.exec_id, None)

    # ── what the folds need ──

    def put(self, record: AnyRecord) -> None:
        """Write a record: keep it, index it, mark it for the store."""
        table = TABLE_OF[type(record)]
        self._keep(table, record)
        self._touched[table].add(record.key)

    def order(self, order_id: str) -> Order | None:
        """Return an order by our id."""
        found = self.tables["orders"].get(order_id)
        assert found is None or isinstance(found, Order)
        return found

    def fill_of_execution(self, exec_id: str) -> Fill | None:
        """Return the fill whose current revision has this execution id."""
        key = self._fill_by_exec_id.get(exec_id)
        found = self.tables["fills"].get(key) if key is not None else None
        assert found is None or isinstance(found, Fill)
        return found

    @property
    def system(self) -> SystemRecord:
        """Return the state of the whole."""
        found = self.tables["system"].get("system")
        assert found is None or isinstance(found, SystemRecord)
        return found if found is not None else SystemRecord()

    def all(self, kind: type[_R]) -> list[_R]:
        """Return every record of a kind that is in memory, in the order of first sight."""
        found = self.tables[TABLE_OF[kind]].values()
        return [r for r in found if isinstance(r, kind)]

    def attribute(
        self, order_ref: str, perm_id: int, epoch: int, client_id: int, broker_order_id: int
    ) -> Order | None:
        """Return the order that a broker message belongs to: by orderRef, permId, then session."""
        if order_ref:
            found = self.order(order_ref)
            if found is not None:
                return found
        if perm_id:
            owner = self._by_perm_id.get(perm_id)
            if owner is not None:
                return self.order(owner)
        if broker_order_id in NO_ORDER_IDS:
            return None
        owner = self._by_broker_key.get(broker_key(epoch, client_id, broker_order_id))
        return self.order(owner) if owner is not None else None

    def unanswered(self) -> list[Order]:
        """Return the orders that may be at the broker without its having named them."""
        return [o for o in (self.order(i) for i in sorted(self._unanswered)) if o is not None]

    def fills_at(self, position_key: str) -> list[Fill]:
        """Return the fills of a position that are in memory."""
        return [f for f in self.all(Fill) if f.position_key == position_key]

    def claim(self, perm_id: int) -> list[Fill]:
        """Return the fills of a permanent number that no order has claimed."""
        keys = sorted(self._unclaimed.get(perm_id, ()))
        return [f for f in (self.tables["fills"].get(k) for k in keys) if isinstance(f, Fill)]

    def link(self, order_id: str, sequence: int) -> None:
        """Say that an event is part of an order's story."""
        self._links.append((order_id, sequence))

    def _keep(self, table: str, record: AnyRecord) -> None:
        self.tables[table][record.key] = record
        match record:
            case Order():
                self._index_order(record)
            case Fill():
                self._index_fill(record)
            case _:
                pass

    def _index_order(self, order: Order) -> None:
        key = order.order_id
        for perm_id in order.perm_ids:
            self._by_perm_id.setdefault(perm_id, key)
        if order.broker_key:
            self._by_broker_key[order.broker_key] = key
        if order.live and not order.acknowledged:
            self._unanswered.add(key)
        else:
            self._unanswered.discard(key)
        if order.live:
            self._ended.pop(("orders", key), None)
        else:
            self._ended[("orders", key)] = None

    def _index_fill(self, fill: Fill) -> None:
        self._fill_by_exec_id[fill.exec_id] = fill.key
        if fill.order_id:
            waiting = self._unclaimed.get(fill.perm_id)
            if waiting is not None:
                waiting.discard(fill.key)
        elif fill.perm_id:
            self._unclaimed.setdefault(fill.perm_id, set()).add(fill.key)
        self._ended[("fills", fill.key)] = None


def broker_key(epoch: int, client_id: int, broker_order_id: int) -> str:
    """Return the name of an order id inside its session."""
    return f"{epoch}:{client_id}:{broker_order_id}"


def stem_and_revision(exec_id: str) -> tuple[str, int]:
    """Return what a correction shares with the execution it corrects, and which revision this is.

    IB numbers revisions after the last dot: 0000e0d5.5f3a1b2c.01.02 corrects .01 (broker-semantics
    B5).
    """
    stem, dot, last = exec_id.rpartition(".")
    if dot and last.isdecimal():
        return stem, int(last)
    return exec_id, 0


def set_system(books: Books, **changes: Any) -> None:
    books.put(books.system.evolve(**changes))


def settle(books: Books, order: Order, envelope: Envelope) -> None:
    books.put(orders.settle(order, envelope.sequence, envelope.recorded_at))
    books.link(order.order_id, envelope.sequence)


def learn(
    books: Books,
    envelope: Envelope,
    order: Order,
    *,
    perm_id: int,
    client_id: int = 0,
    broker_order_id: int = 0,
) -> Order:
    """Add the ids that a broker message shows to the order it belongs to."""
    changes: dict[str, Any] = {}
    if perm_id and perm_id not in order.perm_ids:
        changes["perm_ids"] = (*order.perm_ids, perm_id)
        if order.perm_ids:
            text = f"IB shows order {order.order_id} under {order.perm_id} and {perm_id}"
            books.put(
                Anomaly(
                    sequence=envelope.sequence,
                    kind="two_perm_ids",
                    text=text,
                    order_id=order.order_id,
                    account=order.account,
                    con_id=order.contract.con_id,
                    symbol=order.contract.symbol,
                )
            )
    if broker_order_id not in NO_ORDER_IDS:
        key = broker_key(envelope.context.session_epoch, client_id, broker_order_id)
        if key != order.broker_key:
            changes |= {
                "broker_key": key,
                "client_id": client_id,
                "broker_order_id": broker_order_id,
            }
            note_broker_order_id(books, client_id, broker_order_id)
    return order.evolve(**changes) if changes else order


def note_broker_order_id(books: Books, client_id: int, broker_order_id: int) -> None:
    highest = books.system.highest_broker_order_ids
    if broker_order_id > highest.get(client_id, 0):
        set_system(books, highest_broker_order_ids={**highest, client_id: broker_order_id})
