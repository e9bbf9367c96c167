"""Which stored rows a fold needs: records that have ended leave memory, and come back by name.

A fold says with each of its registrations (`Fold`) which rows an event can touch, and the caller
puts them back before it applies the event. A fold that forgets one sees no record where there is
one, and writes another row than a rebuild would.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

from oms.core.contracts import Contract
from oms.core.events import Context, Event, Finding
from oms.core.fold.books import NO_ORDER_IDS, Books, broker_key, name_of
from oms.core.fold.records import AnyRecord, BreakCase, Fill, Order, UnknownOrder
from oms.core.keys import can_be_key


class Want(NamedTuple):
    """Stored rows that an event may need: those of a table whose column has a value ("" is the
    key).

    A tuple, because two or three are made for every event, and put into a set.
    """

    table: str
    column: str
    value: str | int


Wants = tuple[Want, ...]


class _AboutOrder(Protocol):
    @property
    def order_id(self) -> str: ...


def nothing(event: Event, context: Context, books: Books) -> Wants:
    """Need no stored row: the fold reads no record, or live ones only, which never leave memory."""
    return ()


def our_order(event: _AboutOrder, context: Context, books: Books) -> Wants:
    """Need the order that the event names by our id."""
    return (Want("orders", "", event.order_id),)


def order_named(books: Books, order_ref: str, perm_id: int) -> Wants:
    """Name an order by orderRef and by permanent number, where a message carries them."""
    names = (order_ref, books.system.earlier_perm_ids.get(perm_id))
    found = tuple(Want("orders", "", name) for name in names if name)
    if perm_id:
        return (*found, Want("orders", "perm_id", perm_id))
    # Without a number the orderRef names it where one order has it, so all that have it count.
    return (*found, Want("orders", "order_ref", order_ref)) if can_be_key(order_ref) else found


def unknown_named(books: Books, perm_id: int) -> Wants:
    """Name the order that has a permanent number where our books do not have it; where an order in
    memory has the number, no other has it.
    """
    if not perm_id or books.owner_of(perm_id) is not None:
        return ()
    return (Want("unknown_orders", "", name_of(perm_id, "")),)


def fills_unclaimed(books: Books, perm_id: int) -> Wants:
    """Name the fills that an order gets with its permanent number."""
    if not perm_id or books.owner_of(perm_id) is not None:
        return ()
    shown = (_shown_by(fill) for fill in books.unclaimed(perm_id))
    return Want("fills", "perm_id", perm_id), *shown


def key_shown(order_ref: str) -> Wants:
    """Name what is remembered of an orderRef that IB has shown and that none of our orders has."""
    name = name_of(0, order_ref)
    return (Want("unknown_orders", "", name),) if name else ()


def order_numbered(context: Context, client_id: int, broker_order_id: int) -> Wants:
    """Name an order by its id in the session that the message came in."""
    if broker_order_id in NO_ORDER_IDS:
        return ()
    key = broker_key(context.session_epoch, client_id, broker_order_id)
    return (Want("orders", "broker_key", key),)


def position_in(account: str, contract: Contract) -> Want:
    """Name the position that an account has in a contract."""
    return Want("positions", "", f"{account}:{contract.con_id}")


def companions(record: AnyRecord) -> Wants:
    """Return the stored rows that must be in memory beside one that an event needs.

    A late commission names a fill, and moves the fill's order and position. An order that only its
    number names can lose its fills with that number. An order that becomes ours takes both records
    of its names with it.
    """
    if isinstance(record, UnknownOrder):
        return key_shown(record.order_ref)
    if isinstance(record, Order):
        by_number = record.is_executed and not record.named
        return (Want("fills", "order_id", record.order_id),) if by_number else ()
    if isinstance(record, BreakCase):
        return anomaly_of(record.finding)
    if not isinstance(record, Fill):
        return ()
    position = Want("positions", "", record.position_key)
    if record.order_id:
        return position, Want("orders", "", record.order_id)
    return position, _shown_by(record)


def anomaly_of(finding: Finding) -> Wants:
    """Name what a case is about that only a person closes; its key ends in its sequence."""
    if finding.subject != "message":
        return ()
    return (Want("anomalies", "", finding.key.rpartition(":")[2]),)


def _shown_by(fill: Fill) -> Want:
    """Name what the last event of a fill has shown: whoever claims the fill can add to it."""
    return Want("anomalies", "", str(fill.last_sequence))
