"""Folds of what we wanted and what IB said about orders."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from oms.core import order as orders
from oms.core.events import (
    AccountValueReceived,
    BrokerMessageUnreadable,
    CancelDenied,
    CancelIntended,
    CompletedOrderReceived,
    DoubtResolved,
    Envelope,
    Event,
    ModifyDenied,
    ModifyIntended,
    NaturalKeyConflict,
    NoticeReceived,
    OpenOrderReceived,
    OrderAdopted,
    OrderBoundReceived,
    OrderDenied,
    OrderIntended,
    OrderMessageSent,
    OrderNotSent,
    OrderStatusReceived,
)
from oms.core.fold_fills import with_fill
from oms.core.ledger import (
    NO_ORDER_IDS,
    Books,
    broker_key,
    learn,
    note_broker_order_id,
    settle,
)
from oms.core.money import ZERO
from oms.core.records import (
    AccountValue,
    Anomaly,
    Order,
    SessionRecord,
)


def _intended(books: Books, envelope: Envelope, event: OrderIntended) -> None:
    order = Order(
        order_id=event.order_id,
        origin="ours",
        account=event.account,
        contract=event.contract,
        terms=event.terms,
        actor=envelope.context.actor,
        parent_order_id=event.parent_order_id or "",
        group_id=event.group_id or "",
        reason=event.reason,
        transmit=event.transmit,
        order_ref=event.order_id,
        created_at=envelope.recorded_at,
        intent_sequence=envelope.sequence,
    )
    settle(books, order, envelope)


def _denied(books: Books, envelope: Envelope, event: OrderDenied) -> None:
    order = Order(
        order_id=event.order_id,
        origin="ours",
        account=event.account,
        contract=event.contract,
        terms=event.terms,
        actor=envelope.context.actor,
        denied=True,
        text=event.text,
        created_at=envelope.recorded_at,
        intent_sequence=envelope.sequence,
    )
    settle(books, order, envelope)


def _modify_intended(books: Books, envelope: Envelope, event: ModifyIntended) -> None:
    order = books.order(event.order_id)
    if order is None:
        return
    settle(
        books,
        order.evolve(
            modify_pending=True,
            pending_terms=event.terms,
            revision=event.revision,
            refusal="",
            pending_epoch=books.system.session_epoch,
        ),
        envelope,
    )


def _cancel_intended(books: Books, envelope: Envelope, event: CancelIntended) -> None:
    order = books.order(event.order_id)
    if order is None:
        return
    pending = {"cancel_pending": True, "refusal": "", "pending_epoch": books.system.session_epoch}
    settle(books, order.evolve(**pending), envelope)


def _modify_denied(books: Books, envelope: Envelope, event: ModifyDenied) -> None:
    order = books.order(event.order_id)
    if order is not None:
        changes = {"modify_pending": False, "pending_terms": None, "refusal": event.text}
        settle(books, order.evolve(**changes), envelope)


def _cancel_denied(books: Books, envelope: Envelope, event: CancelDenied) -> None:
    order = books.order(event.order_id)
    if order is not None:
        settle(books, order.evolve(cancel_pending=False, refusal=event.text), envelope)


def _message_sent(books: Books, envelope: Envelope, event: OrderMessageSent) -> None:
    note_broker_order_id(books, event.client_id, event.broker_order_id)
    order_id = event.order_ref or envelope.context.correlation_id or ""
    order = books.order(order_id)
    if order is None:
        return
    epoch = envelope.context.session_epoch
    order = order.evolve(
        client_id=event.client_id,
        broker_order_id=event.broker_order_id,
        broker_key=broker_key(epoch, event.client_id, event.broker_order_id),
    )
    if event.kind == "place":
        order = order.evolve(
            sent=True, sent_sequence=order.sent_sequence or envelope.sequence, not_sent=False
        )
    settle(books, order, envelope)


def _not_sent(books: Books, envelope: Envelope, event: OrderNotSent) -> None:
    order = books.order(event.order_id)
    if order is not None and not order.sent:
        settle(books, order.evolve(not_sent=True, text=event.text), envelope)


def _doubt_resolved(books: Books, envelope: Envelope, event: DoubtResolved) -> None:
    order = books.order(event.order_id)
    if order is None or not order.doubt:
        return  # Evidence was faster: the order is known by now, and a verdict about it is void.
    changes: dict[str, Any] = {"doubt": "", "text": event.text, "doubt_sequence": 0}
    if event.outcome == "not_received":
        changes["not_sent"] = True
    else:
        changes["end"] = "cancelled"
    settle(books, order.evolve(**changes), envelope)


def _adopted(books: Books, envelope: Envelope, event: OrderAdopted) -> None:
    if books.order(event.order_id) is not None:
        return
    epoch = envelope.context.session_epoch
    order = Order(
        order_id=event.order_id,
        origin=event.origin,
        account=event.account,
        contract=event.contract,
        terms=event.terms,
        actor=envelope.context.actor,
        sent=True,
        acknowledged=True,
        perm_ids=(event.perm_id,) if event.perm_id else (),
        client_id=event.client_id,
        broker_order_id=event.broker_order_id,
        broker_key=broker_key(epoch, event.client_id, event.broker_order_id)
        if event.broker_order_id not in NO_ORDER_IDS
        else "",
        order_ref=event.order_ref,
        created_at=envelope.recorded_at,
        intent_sequence=envelope.sequence,
        acknowledged_sequence=envelope.sequence,
    )
    for fill in books.claim(event.perm_id):
        books.put(fill.evolve(order_id=event.order_id))
        books.link(event.order_id, fill.booked_sequence)
        order = with_fill(order, fill, ZERO, ZERO)
    order = orders.on_status(order, event.status, "", envelope.sequence, epoch)
    settle(books, order, envelope)


def _order_status(books: Books, envelope: Envelope, event: OrderStatusReceived) -> None:
    epoch = envelope.context.session_epoch
    order = books.attribute("", event.perm_id, epoch, event.client_id, event.broker_order_id)
    if order is None:
        return
    order = learn(
        books,
        envelope,
        order,
        perm_id=event.perm_id,
        client_id=event.client_id,
        broker_order_id=event.broker_order_id,
    )
    settle(books, orders.on_order_status(order, event, envelope.sequence, epoch), envelope)


def _open_order(books: Books, envelope: Envelope, event: OpenOrderReceived) -> None:
    if event.what_if:
        return
    epoch = envelope.context.session_epoch
    order = books.attribute(
        event.order_ref, event.perm_id, epoch, event.client_id, event.broker_order_id
    )
    if order is None:
        return
    order = learn(
        books,
        envelope,
        order,
        perm_id=event.perm_id,
        client_id=event.client_id,
        broker_order_id=event.broker_order_id,
    )
    settle(books, orders.on_open_order(order, event, envelope.sequence, epoch), envelope)


def _completed(books: Books, envelope: Envelope, event: CompletedOrderReceived) -> None:
    order = books.attribute(event.order_ref, event.perm_id, 0, 0, 0)
    if order is None:
        return
    order = learn(books, envelope, order, perm_id=event.perm_id)
    settle(books, orders.on_completed(order, event, envelope.sequence), envelope)


def _notice(books: Books, envelope: Envelope, event: NoticeReceived) -> None:
    epoch = envelope.context.session_epoch
    session = books.get("sessions", str(epoch))
    if event.subject_id in NO_ORDER_IDS or not isinstance(session, SessionRecord):
        return
    order = books.attribute("", 0, epoch, session.client_id, event.subject_id)
    if order is not None:
        settle(books, orders.on_notice(order, event, envelope.sequence), envelope)


def _account_value(books: Books, envelope: Envelope, event: AccountValueReceived) -> None:
    books.put(
        AccountValue(
            account=event.account,
            name=event.key,
            currency=event.currency,
            value=event.value,
            sequence=envelope.sequence,
            at=envelope.recorded_at,
        )
    )


def _bound(books: Books, envelope: Envelope, event: OrderBoundReceived) -> None:
    order = books.attribute("", event.perm_id, 0, 0, 0)
    if order is not None:
        order = learn(
            books,
            envelope,
            order,
            perm_id=event.perm_id,
            client_id=event.client_id,
            broker_order_id=event.broker_order_id,
        )
        settle(books, order, envelope)


def _unreadable(books: Books, envelope: Envelope, event: BrokerMessageUnreadable) -> None:
    text = f"message {event.message_id} could not be translated: {event.reason}"
    books.put(Anomaly(sequence=envelope.sequence, kind="unreadable_message", text=text))


def _conflict(books: Books, envelope: Envelope, event: NaturalKeyConflict) -> None:
    text = (
        f"{event.key} came again with other contents; event {event.stored_sequence} has the first"
    )
    books.put(Anomaly(sequence=envelope.sequence, kind="contradiction", text=text))


FOLDS: Final[dict[type[Event], Callable[[Books, Envelope, Any], None]]] = {
    OrderIntended: _intended,
    OrderDenied: _denied,
    ModifyIntended: _modify_intended,
    ModifyDenied: _modify_denied,
    CancelIntended: _cancel_intended,
    CancelDenied: _cancel_denied,
    OrderMessageSent: _message_sent,
    OrderNotSent: _not_sent,
    DoubtResolved: _doubt_resolved,
    OrderAdopted: _adopted,
    OrderStatusReceived: _order_status,
    OpenOrderReceived: _open_order,
    CompletedOrderReceived: _completed,
    NoticeReceived: _notice,
    AccountValueReceived: _account_value,
    OrderBoundReceived: _bound,
    BrokerMessageUnreadable: _unreadable,
    NaturalKeyConflict: _conflict,
}
