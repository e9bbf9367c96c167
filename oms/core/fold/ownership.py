"""Whose a number is: what an order gets by its number alone, and what is taken back from it.

Until IB has shown an order under its own orderRef, a number is all that joins a message to it, and
what joined by number alone is a presumption. IB can have another order under that number: an older
one of the same client id, or one of another log. The message that says so carries another orderRef,
or it is code 103, which refuses the number; then the presumption falls with everything that was
taken from it, and the number with it.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Final

from oms.core.events import (
    CompletedOrderReceived,
    Context,
    Envelope,
    ExecutionReceived,
    NoticeReceived,
    OpenOrderReceived,
)
from oms.core.fold import order_state as orders
from oms.core.fold.books import Books, broker_key, name_of, settle
from oms.core.fold.disputes import dispute
from oms.core.fold.records import Fill, Order, OrderChanges, UnknownOrder
from oms.core.fold.wants import Want, Wants
from oms.core.keys import can_be_key
from oms.core.money import ZERO

#: By how much IB's clock may be behind ours.
_CLOCKS_MAX: Final = timedelta(minutes=1)
#: An order id is in use, or not above those that the gateway knows of this client.
DUPLICATE_ORDER_ID: Final = 103
Shown = OpenOrderReceived | ExecutionReceived | CompletedOrderReceived


def disprove(books: Books, envelope: Envelope, event: Shown) -> None:
    """Take from our orders the numbers that IB shows to be another order's."""
    for order in _disproved(books, envelope.context, event):
        settle(books, envelope, order, loss_of_number(books, order, envelope.sequence))


def loss_of_number(books: Books, order: Order, sequence: int) -> OrderChanges:
    """Return what an order is without its number, and let go of the fills that came by it."""
    changes = orders.without_number(order, sequence)
    if order.is_executed:
        # None of its fills brought its orderRef, or the order were named.
        for fill in books.all(Fill):
            if fill.order_id == order.order_id:
                books.put(fill.evolve(order_id="", disputed=""))
        changes |= {"filled": ZERO, "notional": ZERO, "commissions": ()}
        changes |= {"disputed": ZERO, "parts": ()}
    return changes


def note_unknown(books: Books, envelope: Envelope, event: Shown) -> None:
    """Remember an order that IB has shown and that our books do not have, by its names.

    An execution or a completed order that lost its orderRef may still turn out to be ours.
    """
    if event.order_ref or isinstance(event, OpenOrderReceived):
        key = event.order_ref if can_be_key(event.order_ref) else ""
        for name in {name_of(event.perm_id, ""), name_of(0, key)} - {""}:
            books.put(
                UnknownOrder(
                    name=name, perm_id=event.perm_id, order_ref=key, sequence=envelope.sequence
                )
            )


def named_by(order: Order, order_ref: str) -> OrderChanges:
    """Return that IB has shown the order under its own orderRef, where that is news."""
    return {"named": True} if not order.named and order.is_keyed(order_ref) else {}


def refuses_number(order: Order, code: int) -> bool:
    """Say whether a code says that an order never had its number. A change that comes too soon gets
    the same code (INC-34).
    """
    return code == DUPLICATE_ORDER_ID and not (order.named or order.modify_pending)


def refused_there(books: Books, epoch: int, event: NoticeReceived) -> Order | None:
    """Return the order of ours that a refusal under another order's number answers: in this session
    we sent it there, and IB has said nothing else of it.
    """
    client_id, number = books.system.client_id, event.subject_id
    owner = books.at_number(epoch, client_id, number)
    if not orders.is_refusal(event.code) or (owner is not None and owner.modify_pending):
        return None
    sent_as = broker_key(epoch, client_id, number)
    found = (o for o in books.unanswered_at(client_id, number) if o.broker_key == sent_as)
    return next((o for o in found if o.number_lost), None)


def executed_alike(books: Books, epoch: int, fill: Fill) -> Order | None:
    """Return the one order of ours that a fill without an orderRef fits: by client id and order id,
    account, contract, side and time.
    """
    if fill.order_ref:
        return None
    return _numbered_alike(books, epoch, fill, lambda order: could_be_of(order, fill))


def shown_alike(books: Books, epoch: int, event: OpenOrderReceived) -> Order | None:
    """Return the one order of ours that an open order without an orderRef fits: by client id and
    order id, account, contract and terms.
    """
    if event.order_ref:
        return None
    return _numbered_alike(books, epoch, event, lambda order: _is_shown_by(order, event))


def could_be_of(order: Order, fill: Fill) -> bool:
    """Say whether a fill can be one of an order, by account, contract, side and time."""
    executed_at, created_at = fill.occurred_at, order.created_at
    if executed_at and created_at and executed_at < created_at - _CLOCKS_MAX:
        return False
    return not dispute(order, fill)


def fills_in_question(books: Books, context: Context, event: Shown) -> Wants:
    """Name the fills of the orders that lose their number by a message."""
    losing = _disproved(books, context, event)
    return tuple(Want("fills", "order_id", o.order_id) for o in losing if o.is_executed)


# ── inside ──


def _disproved(books: Books, context: Context, event: Shown) -> list[Order]:
    owner = books.owner_of(event.perm_id)
    candidates = [] if owner is None or owner.named else [owner]
    # A fetched execution and a completed order can be older than the number's owner.
    if isinstance(event, OpenOrderReceived) or (
        isinstance(event, ExecutionReceived) and not event.fetched
    ):
        client_id, number = event.client_id, event.broker_order_id
        there = books.at_number(context.session_epoch, client_id, number)
        if there is not None and not there.named:
            candidates.append(there)
        if isinstance(event, OpenOrderReceived):
            # A client id's numbers outlive the session: the same number names one order at IB.
            candidates += books.unanswered_at(client_id, number)
    if not candidates:
        return candidates
    found = {o.order_id: o for o in candidates if not o.named and _is_anothers(o, event)}
    return list(found.values())


def _is_anothers(order: Order, event: Shown) -> bool:
    """Say whether a message names another order than the one that its number was presumed to be.

    One without an orderRef can have lost it: an open order is another one where its terms are
    others, unless IB has shown ours under this number before.
    """
    if order.number_lost or order.order_ref == event.order_ref:
        return False
    if event.order_ref or not isinstance(event, OpenOrderReceived):
        return bool(event.order_ref)
    return order.broker_quantity is None and not _is_shown_by(order, event)


def _numbered_alike(
    books: Books, epoch: int, named: Fill | OpenOrderReceived, fits: Callable[[Order], bool]
) -> Order | None:
    """Return the order of ours that left under a number, where one fits; of two, none is taken.

    Orders that IB has not named may have left in an earlier session: IB answers later, under the
    numbers that they had.
    """
    client_id, number, perm_id = named.client_id, named.broker_order_id, named.perm_id
    if books.is_unknown(perm_id):
        return None
    at_number = books.at_number(epoch, client_id, number)
    found = {o.order_id: o for o in books.unanswered_at(client_id, number)}
    if at_number is not None:
        found[at_number.order_id] = at_number
    fitting = [
        o
        for o in found.values()
        if not (o.number_lost or o.named or (perm_id and o.perm_ids)) and fits(o)
    ]
    return fitting[0] if len(fitting) == 1 else None


def _is_shown_by(order: Order, event: OpenOrderReceived) -> bool:
    asked, shown = order.asked_terms, event
    return (
        (order.account, order.contract.con_id) == (shown.account, shown.contract.con_id)
        and (asked.side, asked.order_type) == (shown.side, shown.order_type)
        and asked.quantity == shown.quantity
        and (asked.limit_price or None) == (shown.limit_price or None)
    )
