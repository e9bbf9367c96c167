"""The books themselves: every record that is in memory, and the ways to find one.

Attribution happens here (decision D1, D7). A broker message belongs to the order whose id it
carries in orderRef, else to the one that owns its permId, else to the one that used its order id in
the same session and client id. An order id alone never reaches across sessions: IB hands them out
again; and it gives an order its first permId only, until the orderRef shows another owner.

What IB names and no order has is remembered as well (`UnknownOrder`), so that it is taken for no
order of ours later.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection
from dataclasses import dataclass, field, fields
from functools import lru_cache
from typing import Final, TypeVar

from oms.core.events import Envelope, Event, ExecutionReceived
from oms.core.fold import order_state as orders
from oms.core.fold.records import (
    TABLE_OF,
    TABLES,
    Anomaly,
    AnyRecord,
    EarlyCommission,
    Fill,
    Order,
    OrderChanges,
    OrderState,
    SystemRecord,
    UnknownOrder,
)
from oms.core.keys import can_be_key
from oms.core.money import ZERO, plain

_R = TypeVar("_R", bound=AnyRecord)
#: What IB writes where an order has no id in this session: manual orders, executions of other
#: sessions, and errors about nothing (INC-22, INC-26, INC-169).
NO_ORDER_IDS: Final = frozenset({0, -1, 2147483647})
#: IB writes two.
REVISION_DIGITS_MAX: Final = 3
#: Open anomalies that count their repeats: more kinds at a time are one kind.
KINDS_MAX: Final = 50
_NOTHING_SAID: Final = SystemRecord()


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
    #: What each record was before the event that is being applied, None for a new one.
    _before: dict[tuple[str, str], AnyRecord | None] = field(default_factory=dict)
    _links_before: int = 0
    #: Events whose rows could not be found out, with the reason, by sequence.
    unprepared: dict[int, str] = field(default_factory=dict)
    _by_perm_id: dict[int, str] = field(default_factory=dict)
    _by_broker_key: dict[str, str] = field(default_factory=dict)
    #: Orders of others by the key that they have beside their ids.
    _by_shared_ref: dict[str, set[str]] = field(default_factory=dict)
    _fill_by_exec_id: dict[str, str] = field(default_factory=dict)
    _unclaimed: dict[int, set[str]] = field(default_factory=dict)
    #: Orders that left, or may have left, and that the broker has not named.
    _unanswered: set[str] = field(default_factory=set)
    #: The same by client id and order id.
    _unanswered_at: dict[tuple[int, int], set[str]] = field(default_factory=dict)
    #: Live orders by the groups in which the fill of one ends the others.
    _by_group: dict[str, set[str]] = field(default_factory=dict)
    #: Open anomalies that count later ones of the same kind, by what they are about.
    _counting: dict[str, str] = field(default_factory=dict)
    #: What may leave memory, oldest first.
    _ended: OrderedDict[tuple[str, str], None] = field(default_factory=OrderedDict)

    # ── what the store needs ──

    def get(self, table: str, key: str) -> AnyRecord | None:
        """Return a record that is in memory."""
        return self.tables[table].get(key)

    def holds(self, table: str, column: str, value: str | int) -> bool:
        """Say whether memory is known to have every stored row whose column has a value; "" is the
        key.
        """
        if not column:
            return value in self.tables[table]
        match table, column:
            case "orders", "perm_id":
                return value in self._by_perm_id
            case "orders", "broker_key":
                return value in self._by_broker_key
            case "fills", "exec_id":
                return value in self._fill_by_exec_id
        return False

    def restore(self, table: str, record: AnyRecord) -> None:
        """Put a stored record back into memory, unless a newer one is there."""
        if record.key not in self.tables[table]:
            self._keep(table, record.key, record)

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

    def begin(self) -> None:
        """Remember from here what an event changes, for `undo`."""
        self._before.clear()
        self._links_before = len(self._links)

    def changed(self) -> list[AnyRecord]:
        """Return every record that was written since `begin`, as it is now."""
        return [self.tables[table][key] for table, key in self._before]

    def changes(self) -> list[tuple[AnyRecord | None, AnyRecord]]:
        """Return every record that was written since `begin`, as it was and as it is now."""
        return [(before, self.tables[t][key]) for (t, key), before in self._before.items()]

    def take_back(self) -> None:
        """Take back an event that wrote records which no index tells from those before, and that no
        other was applied with since `clear_touched`.
        """
        for (table, key), record in self._before.items():
            assert record is not None, "a new record is found by its indexes"
            self._keep(table, key, record)
        self.clear_touched()
        self.sequence -= 1

    def undo(self) -> None:
        """Take back everything since `begin`; the indexes are made again from the records."""
        for (table, key), record in self._before.items():
            if record is None:
                self.tables[table].pop(key, None)
                self._touched[table].discard(key)
            else:
                self.tables[table][key] = record
        del self._links[self._links_before :]
        clean = Books()
        for table, records in self.tables.items():
            for record in records.values():
                clean.restore(table, record)
        clean.sequence, clean._touched, clean._links = self.sequence, self._touched, self._links
        clean.unprepared = self.unprepared
        for one in fields(self):
            setattr(self, one.name, getattr(clean, one.name))

    def evictable(self) -> list[tuple[str, str]]:
        """Return the records that may leave memory, oldest first."""
        return list(self._ended)

    def evict(self, table: str, key: str) -> None:
        """Take a record out of memory; its row stays, and `apply.wanted` asks for it back."""
        self._ended.pop((table, key), None)
        record = self.tables[table].pop(key, None)
        if isinstance(record, Order):
            for perm_id in record.perm_ids:
                if self._by_perm_id.get(perm_id) == key:
                    del self._by_perm_id[perm_id]
            if self._by_broker_key.get(record.number_key) == key:
                del self._by_broker_key[record.number_key]
            if record.shared_ref is not None:
                self._by_shared_ref[record.shared_ref].discard(key)
        elif isinstance(record, Fill):
            self._fill_by_exec_id.pop(record.exec_id, None)
            if record.is_unclaimed:
                self._forget_unclaimed(record)

    # ── what the folds need ──

    def put(self, record: AnyRecord) -> None:
        """Write a record: keep it, index it, mark it for the store."""
        table, key = TABLE_OF[type(record)], record.key
        before = self.tables[table].get(key)
        self._before.setdefault((table, key), before)
        self._replace(table, key, before, record)
        self._touched[table].add(key)

    def order(self, order_id: str) -> Order | None:
        """Return an order by our id."""
        found = self.tables["orders"].get(order_id)
        assert found is None or isinstance(found, Order)
        return found

    def fill(self, key: str) -> Fill | None:
        """Return a fill by account and stem."""
        found = self.tables["fills"].get(key)
        assert found is None or isinstance(found, Fill)
        return found

    def fill_of_execution(self, exec_id: str) -> Fill | None:
        """Return the fill whose current revision has this execution id."""
        key = self._fill_by_exec_id.get(exec_id)
        return None if key is None else self.fill(key)

    @property
    def system(self) -> SystemRecord:
        """Return the state of the whole."""
        found = self.tables["system"].get("system")
        assert found is None or isinstance(found, SystemRecord)
        return found if found is not None else _NOTHING_SAID

    def all(self, kind: type[_R]) -> list[_R]:
        """Return every record of a kind that is in memory, in the order of first sight."""
        found = self.tables[TABLE_OF[kind]].values()
        return [r for r in found if isinstance(r, kind)]

    def attribute(
        self,
        order_ref: str | None,
        perm_id: int,
        epoch: int,
        client_id: int,
        broker_order_id: int,
    ) -> Order | None:
        """Return the order that a broker message belongs to: by orderRef, permId, then session.

        `order_ref` is None for messages that carry none. One that does carry it is never given to
        an order with another: executions and open orders are answered in later sessions as well,
        under order ids that may name another order by then (INC-18, INC-19).
        """
        if order_ref:
            keyed = self.order(order_ref)
            if keyed is not None and keyed.is_keyed(order_ref):
                return keyed
            if not perm_id and (only := self._only_one_with(order_ref)) is not None:
                return only
        if perm_id:
            owner = self.owner_of(perm_id)
            if owner is not None:
                return owner
            if self.is_unknown(perm_id):
                return None
        found = self.at_number(epoch, client_id, broker_order_id)
        if found is None or (order_ref is not None and order_ref != found.order_ref):
            return None
        # Another permanent number is another order, or ours sent twice: its orderRef will say.
        return None if perm_id and found.perm_ids else found

    def owner_of(self, perm_id: int) -> Order | None:
        """Return the order that has a permanent number."""
        owner = self._by_perm_id.get(perm_id)
        return None if owner is None else self.order(owner)

    def at_number(self, epoch: int, client_id: int, broker_order_id: int) -> Order | None:
        """Return the order that goes under an order id in a session."""
        if broker_order_id in NO_ORDER_IDS:
            return None
        owner = self._by_broker_key.get(broker_key(epoch, client_id, broker_order_id))
        return None if owner is None else self.order(owner)

    def _only_one_with(self, order_ref: str) -> Order | None:
        """Return the order of somebody else that has an orderRef, where no second one has it."""
        ids = {order_ref, *self._by_shared_ref.get(order_ref, ())}
        found = [o for i in ids if (o := self.order(i)) is not None and o.order_ref == order_ref]
        return found[0] if len(found) == 1 else None

    def unanswered(self) -> list[Order]:
        """Return the orders that may be at the broker without its having named them."""
        return [o for o in (self.order(i) for i in sorted(self._unanswered)) if o is not None]

    def rivals(self, order: Order) -> list[Order]:
        """Return the live orders that the fill of an order ends, by its groups."""
        keys = {key for group in order.groups for key in self._by_group.get(group, ())}
        found = (self.order(key) for key in sorted(keys - {order.order_id}))
        return [other for other in found if other is not None and other.live]

    def unanswered_at(self, client_id: int, broker_order_id: int) -> list[Order]:
        """Return those of them that left under a number, in whichever session."""
        keys = self._unanswered_at.get((client_id, broker_order_id))
        if keys is None:
            return []
        return [o for o in (self.order(key) for key in sorted(keys)) if o is not None]

    def is_unknown(self, perm_id: int) -> bool:
        """Say whether a permanent number is that of an order that our books do not have."""
        return self._is_unknown(name_of(perm_id, ""))

    def is_shown(self, order_ref: str) -> bool:
        """Say whether IB has shown an orderRef on an order that our books do not have."""
        return self._is_unknown(name_of(0, order_ref))

    def fills_at(self, position_key: str) -> list[Fill]:
        """Return the fills of a position that are in memory."""
        return [f for f in self.all(Fill) if f.position_key == position_key]

    @property
    def counted(self) -> Collection[str]:
        """Return what the open anomalies that count are about."""
        return self._counting.keys()

    def counting(self, about: str) -> Anomaly | None:
        """Return the open anomaly that counts what is about this."""
        key = self._counting.get(about)
        found = None if key is None else self.tables["anomalies"][key]
        assert found is None or isinstance(found, Anomaly)
        return found

    def unclaimed(self, perm_id: int) -> list[Fill]:
        """Return the fills of a permanent number that no order has claimed."""
        keys = self._unclaimed.get(perm_id)
        if not keys:
            return []
        return [f for f in (self.fill(k) for k in sorted(keys)) if f is not None]

    def link(self, order_id: str, sequence: int) -> None:
        """Say that an event is part of an order's story."""
        self._links.append((order_id, sequence))

    def _is_unknown(self, name: str) -> bool:
        found = self.tables["unknown_orders"].get(name)
        return isinstance(found, UnknownOrder) and not found.taken_in

    def _keep(self, table: str, key: str, record: AnyRecord) -> None:
        self._replace(table, key, self.tables[table].get(key), record)

    def _replace(self, table: str, key: str, before: AnyRecord | None, record: AnyRecord) -> None:
        self.tables[table][key] = record
        if isinstance(record, Order):
            if isinstance(before, Order) and _same_names(before, record):
                return
            self._index_order(key, before, record)
        elif isinstance(record, Fill):
            self._index_fill(key, before, record)
        elif isinstance(record, Anomaly) and record.about:
            if record.live:
                self._counting[record.about] = key
            elif self._counting.get(record.about) == key:
                del self._counting[record.about]
        stays = _stays(record)
        if before is not None and _stays(before) is stays:
            return
        if stays:
            self._ended.pop((table, key), None)
        else:
            self._ended[table, key] = None

    def _index_order(self, key: str, before: AnyRecord | None, order: Order) -> None:
        assert before is None or isinstance(before, Order)
        if before is None or before.perm_ids is not order.perm_ids:
            for perm_id in () if before is None else before.perm_ids:
                if perm_id not in order.perm_ids and self._by_perm_id.get(perm_id) == key:
                    del self._by_perm_id[perm_id]
            for perm_id in order.perm_ids:
                self._by_perm_id.setdefault(perm_id, key)
        if before is None or (
            not _same_number(before, order) and before.number_key != order.number_key
        ):
            if before is not None and self._by_broker_key.get(before.number_key) == key:
                del self._by_broker_key[before.number_key]
            if order.number_key:
                self._by_broker_key[order.number_key] = key
        if before is None and order.shared_ref is not None:
            self._by_shared_ref.setdefault(order.shared_ref, set()).add(key)
        if before is None or before.live is not order.live or before.terms is not order.terms:
            self._index_groups(key, before, order)
        if before is not None and before.acknowledged and order.acknowledged:
            return
        if not order.acknowledged and order.live:
            self._unanswered.add(key)
        elif self._unanswered:
            self._unanswered.discard(key)
        was, now = None if before is None else _waits_at(before), _waits_at(order)
        if was == now:
            return
        if was is not None:
            self._unanswered_at[was].discard(key)
            if not self._unanswered_at[was]:
                del self._unanswered_at[was]
        if now is not None:
            self._unanswered_at.setdefault(now, set()).add(key)

    def _index_groups(self, key: str, before: Order | None, order: Order) -> None:
        left = before.groups if before is not None and before.live else ()
        for group in left:
            self._by_group[group].discard(key)
        for group in order.groups if order.live else ():
            self._by_group.setdefault(group, set()).add(key)
        for group in left:
            if not self._by_group[group]:
                del self._by_group[group]

    def _index_fill(self, key: str, before: AnyRecord | None, fill: Fill) -> None:
        assert before is None or isinstance(before, Fill)
        if before is None or before.exec_id != fill.exec_id:
            if before is not None:
                del self._fill_by_exec_id[before.exec_id]
            self._fill_by_exec_id[fill.exec_id] = key
        if before is not None and before.is_unclaimed:
            self._forget_unclaimed(before)
        if fill.is_unclaimed:
            self._unclaimed.setdefault(fill.perm_id, set()).add(key)

    def _forget_unclaimed(self, fill: Fill) -> None:
        waiting = self._unclaimed[fill.perm_id]
        waiting.discard(fill.key)
        if not waiting:
            del self._unclaimed[fill.perm_id]


def _stays(record: AnyRecord) -> bool:
    """Say whether a record must be in memory: a live one, but where a flood can make any number and
    the events that need one name it.
    """
    if isinstance(record, EarlyCommission):
        return False
    if isinstance(record, Anomaly) and not record.about and record.kind != "set_aside":
        return False
    return record.live


def _waits_at(order: Order) -> tuple[int, int] | None:
    """Return the number under which an order left that IB has not named, None for any other."""
    if order.acknowledged or not order.live or order.broker_order_id in NO_ORDER_IDS:
        return None
    return order.client_id, order.broker_order_id


def _same_number(before: Order, order: Order) -> bool:
    return before.broker_key is order.broker_key and before.number_lost is order.number_lost


def _same_names(before: Order, order: Order) -> bool:
    """Say whether every index and the life of an order are as they were: so it is for nine events
    of ten. What was not changed is the same object, so this asks for identity and may say no.
    """
    return (
        order.state is before.state
        and _same_number(before, order)
        and order.perm_ids is before.perm_ids
        and order.acknowledged is before.acknowledged
        and order.terms is before.terms
    )


def name_of(perm_id: int, order_ref: str) -> str:
    """Return what names an order that our books do not have; "" where nothing does."""
    if perm_id:
        return f"perm:{perm_id}"
    return f"ref:{order_ref}" if can_be_key(order_ref) else ""


def broker_key(epoch: int, client_id: int, broker_order_id: int) -> str:
    """Return the name of an order id inside its session."""
    return f"{epoch}:{client_id}:{broker_order_id}"


@lru_cache(maxsize=4_096)
def stem_and_revision(exec_id: str) -> tuple[str, int]:
    """Return what a correction shares with the execution it corrects, and which revision this is.

    IB numbers revisions after the last dot: 0000e0d5.5f3a1b2c.01.02 corrects .01 (broker notes:
    executions). A longer number is no revision but part of the name.
    """
    stem, dot, last = exec_id.rpartition(".")
    if dot and len(last) <= REVISION_DIGITS_MAX and last.isdecimal():
        return stem, int(last)
    return exec_id, 0


def set_system(books: Books, **changes: object) -> None:
    """Change the state of the whole."""
    books.put(books.system.evolve(**changes))


def settle(books: Books, envelope: Envelope, order: Order, changes: OrderChanges) -> None:
    """Write an order as an event has left it, and make the event part of its story."""
    new = orders.settled(order, changes, envelope.sequence, envelope.recorded_at)
    books.put(new)
    books.link(order.order_id, envelope.sequence)
    if new.end and (text := _said_of_its_end(envelope.event, order, new)):
        show(books, _contradiction(new, envelope.sequence, text))
    if new.state is OrderState.FILLED and order.state is not OrderState.FILLED:
        for rival in books.rivals(new):
            settle(books, envelope, rival, {"rival_filled": new.order_id})


def _said_of_its_end(event: Event, was: Order, order: Order) -> str:
    """Say what was filled or heard of an order against its end; "" where nothing was."""
    sum_of_executions = f"its executions add up to {plain(order.filled)}"
    if orders.filled_past_its_end(order) and not orders.filled_past_its_end(was):
        return (
            f"IB ended order {order.order_id} as {order.status or order.end} with"
            f" {plain(order.status_filled or ZERO)} filled, and {sum_of_executions}"
        )
    if isinstance(event, ExecutionReceived):
        # One that is fetched may have happened before the end.
        is_late = not event.fetched and orders.filled_after_its_end(was, order)
        words = f"IB ended order {order.order_id} as {was.end} before an execution came"
        return f"{words}, and {sum_of_executions}" if is_late else ""
    if not orders.ended_twice(was, order):
        return ""
    return (
        f"IB ended order {order.order_id} with {plain(was.status_filled or ZERO)} filled, and then"
        f" as {order.status} with {plain(order.status_filled or ZERO)}"
    )


def _contradiction(order: Order, sequence: int, text: str) -> Anomaly:
    return Anomaly(
        sequence=sequence,
        kind="contradiction",
        text=text,
        order_id=order.order_id,
        account=order.account,
        con_id=order.contract.con_id,
        symbol=order.contract.symbol,
        severity="medium",
    )


def count(books: Books, anomaly: Anomaly) -> None:
    """Keep something that may come again and again: the open one about the same counts it.

    Beyond `KINDS_MAX` things at a time the rest is one thing, so that no flood of new kinds makes a
    flood of cases.
    """
    known = books.counting(anomaly.about)
    if known is None and len(books.counted) >= KINDS_MAX:
        anomaly = anomaly.evolve(about="others")
        known = books.counting(anomaly.about)
    if known is None:
        books.put(anomaly)
    else:
        times = known.times + anomaly.times
        books.put(known.evolve(times=times, last_sequence=anomaly.sequence))


def show(books: Books, anomaly: Anomaly) -> None:
    """Keep something that must not be passed over; one event can show two."""
    other = books.get("anomalies", anomaly.key)
    if isinstance(other, Anomaly):
        anomaly = other.evolve(text=f"{other.text}; {anomaly.text}")
    books.put(anomaly)


def learn_perm_id(books: Books, envelope: Envelope, order: Order, perm_id: int) -> OrderChanges:
    """Add a permanent number to the order that it belongs to; a second one is an anomaly."""
    if not perm_id or perm_id in order.perm_ids:
        return {}
    if order.perm_ids:
        earlier = books.system.earlier_perm_ids
        set_system(books, earlier_perm_ids={**earlier, order.perm_id: order.order_id})
        found = Anomaly(
            sequence=envelope.sequence,
            kind="two_perm_ids",
            text=f"IB shows order {order.order_id} under {order.perm_id} and {perm_id}",
            order_id=order.order_id,
            account=order.account,
            con_id=order.contract.con_id,
            symbol=order.contract.symbol,
        )
        show(books, found)
    take_in(books, perm_id)
    return {"perm_ids": (*order.perm_ids, perm_id)}


def learn_order_id(
    books: Books, envelope: Envelope, order: Order, client_id: int, broker_order_id: int
) -> OrderChanges:
    """Take over the order id under which the order goes in this session."""
    if broker_order_id in NO_ORDER_IDS:
        return {}
    key = broker_key(envelope.context.session_epoch, client_id, broker_order_id)
    if key == order.number_key:
        return {}
    note_broker_order_id(books, client_id, broker_order_id)
    return {
        "broker_key": key,
        "client_id": client_id,
        "broker_order_id": broker_order_id,
        "number_lost": False,
    }


def note_broker_order_id(books: Books, client_id: int, broker_order_id: int) -> None:
    """Remember the highest order id of a client, so that none is used twice."""
    highest = books.system.highest_broker_order_ids
    if broker_order_id not in NO_ORDER_IDS and broker_order_id > highest.get(client_id, 0):
        set_system(books, highest_broker_order_ids={**highest, client_id: broker_order_id})


def note_shown_order_id(books: Books, client_id: int, broker_order_id: int) -> None:
    """Remember the highest order id under which IB has shown an order of a client."""
    shown = books.system.shown_broker_order_ids
    if broker_order_id not in NO_ORDER_IDS and broker_order_id > shown.get(client_id, 0):
        set_system(books, shown_broker_order_ids={**shown, client_id: broker_order_id})


def take_in(books: Books, perm_id: int, order_ref: str = "") -> None:
    """Note that an order of our books has these names now."""
    numbered = books.get("unknown_orders", name_of(perm_id, ""))
    shown = numbered.order_ref if isinstance(numbered, UnknownOrder) else ""
    for name in {name_of(perm_id, ""), name_of(0, order_ref), name_of(0, shown)} - {""}:
        found = books.get("unknown_orders", name)
        if isinstance(found, UnknownOrder) and not found.taken_in:
            books.put(found.evolve(taken_in=True))
