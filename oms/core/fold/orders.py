"""Folds of what we wanted and what IB said about orders."""

from __future__ import annotations

from typing import Final

from oms.core.bounds import ASKED_TEXT
from oms.core.codes import TOO_FAST
from oms.core.events import (
    AccountValueReceived,
    BrokerMessageUnreadable,
    CancelDenied,
    CancelIntended,
    CancelRequested,
    CompletedOrderReceived,
    Context,
    DoubtResolutionDenied,
    DoubtResolutionRequested,
    DoubtResolved,
    Envelope,
    ModifyDenied,
    ModifyIntended,
    ModifyRequested,
    NoticeReceived,
    OpenOrderReceived,
    OrderAdopted,
    OrderBoundReceived,
    OrderDenied,
    OrderDoubted,
    OrderIntended,
    OrderMessageSent,
    OrderNotSent,
    OrderRequested,
    OrderStatusReceived,
    RequestNotTaken,
)
from oms.core.fold import changes as changes_asked
from oms.core.fold import order_state as orders
from oms.core.fold.books import (
    NO_ORDER_IDS,
    Books,
    count,
    learn_order_id,
    learn_perm_id,
    note_broker_order_id,
    note_shown_order_id,
    set_system,
    settle,
    take_in,
)
from oms.core.fold.fills import claim_fills
from oms.core.fold.fold import Fold
from oms.core.fold.ownership import (
    disprove,
    fills_in_question,
    loss_of_number,
    named_by,
    note_unknown,
    refused_there,
    refuses_number,
    shown_alike,
)
from oms.core.fold.records import AccountValue, Anomaly, Order, OrderChanges, OrderState
from oms.core.fold.times import note_time
from oms.core.fold.wants import (
    Want,
    Wants,
    fills_unclaimed,
    key_shown,
    nothing,
    order_named,
    order_numbered,
    our_order,
    unknown_named,
)


def _requested(
    books: Books,
    envelope: Envelope,
    event: OrderRequested | ModifyRequested | CancelRequested | DoubtResolutionRequested,
) -> None:
    """Change nothing: a request is where an order's story begins, not yet an order."""
    books.link(event.order_id, envelope.sequence)


def _intended(books: Books, envelope: Envelope, event: OrderIntended) -> None:
    earlier = books.order(event.order_id)
    if earlier is not None and not earlier.denied:
        # IB has shown an order with this key a moment ago: that one is the order, and this intent
        # does not leave.
        books.link(event.order_id, envelope.sequence)
        return
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
        closing=event.closing,
        rule_warning=event.warning,
        order_ref=event.order_id,
        # Whoever asks after the intent sees it, and does not send.
        named=books.is_shown(event.order_id),
        created_at=envelope.recorded_at,
        intent_sequence=envelope.sequence,
    )
    settle(books, envelope, order, {})


def _denied(books: Books, envelope: Envelope, event: OrderDenied) -> None:
    if books.order(event.order_id) is not None:
        # Two callers with one key at the same moment: the order that left stands.
        books.link(event.order_id, envelope.sequence)
        return
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
    settle(books, envelope, order, {})


def _modify_intended(books: Books, envelope: Envelope, event: ModifyIntended) -> None:
    order = books.order(event.order_id)
    if order is None:
        return
    changes: OrderChanges = {
        **changes_asked.asked(order, event.terms),
        "revision": event.revision,
        "refusal": "",
        "said_gone": "",
        "rule_warning": event.warning or order.rule_warning,
        "pending_epoch": books.system.session_epoch,
        "pending_sequence": envelope.sequence,
    }
    settle(books, envelope, order, changes)


def _cancel_intended(books: Books, envelope: Envelope, event: CancelIntended) -> None:
    order = books.order(event.order_id)
    if order is None:
        return
    changes: OrderChanges = {
        "cancel_pending": True,
        "refusal": "",
        "said_gone": "",
        "pending_epoch": books.system.session_epoch,
        "pending_sequence": envelope.sequence,
    }
    settle(books, envelope, order, changes)


def _modify_denied(books: Books, envelope: Envelope, event: ModifyDenied) -> None:
    order = books.order(event.order_id)
    if order is None:
        return
    changes: OrderChanges = {"refusal": event.text}
    if event.intended:
        changes |= changes_asked.withdrawn(order)
    settle(books, envelope, order, changes)


def _cancel_denied(books: Books, envelope: Envelope, event: CancelDenied) -> None:
    order = books.order(event.order_id)
    if order is not None:
        settle(books, envelope, order, {"cancel_pending": False, "refusal": event.text})


def _not_taken(books: Books, envelope: Envelope, event: RequestNotTaken) -> None:
    order = books.order(event.order_id)
    if order is None or not order.live or order.pending_sequence > max(event.evidence):
        return  # It has ended, or something was asked for since.
    match event.request:
        case "modify" if order.modify_pending:
            settle(books, envelope, order, changes_asked.given_up(order, event.text))
        case "cancel" if order.cancel_pending:
            dropped: OrderChanges = {"cancel_pending": False, "refusal": event.text}
            settle(books, envelope, order, dropped)
        case _:
            return  # IB was faster.


def _resolution_denied(books: Books, envelope: Envelope, event: DoubtResolutionDenied) -> None:
    order = books.order(event.order_id)
    if order is not None:
        settle(books, envelope, order, {"refusal": event.text})


def _message_sent(books: Books, envelope: Envelope, event: OrderMessageSent) -> None:
    note_broker_order_id(books, event.client_id, event.broker_order_id)
    if event.kind == "what_if":
        return
    # What others wrote into orderRef can be the id of another order here.
    order = books.order(envelope.context.correlation_id or "") or books.order(event.order_ref)
    if order is None:
        return
    epoch = envelope.context.session_epoch
    if event.kind == "place":
        for older in books.unanswered_at(event.client_id, event.broker_order_id):
            if older.order_id != order.order_id and not older.number_lost:
                settle(books, envelope, older, loss_of_number(books, older, envelope.sequence))
    changes = learn_order_id(books, envelope, order, event.client_id, event.broker_order_id)
    if event.kind == "place":
        changes["sent"] = True
        changes["sent_sequence"] = order.sent_sequence or envelope.sequence
        changes["not_sent"] = False
    if order.cancel_pending or order.modify_pending:
        changes["pending_epoch"] = epoch
    settle(books, envelope, order, changes)


def _not_sent(books: Books, envelope: Envelope, event: OrderNotSent) -> None:
    order = books.order(event.order_id)
    if order is not None and not order.sent:
        settle(books, envelope, order, {"not_sent": True, "text": event.text})
        _leave_group(books, envelope, event.order_id)


def _doubted(books: Books, envelope: Envelope, event: OrderDoubted) -> None:
    order = books.order(event.order_id)
    if order is None or order.state is not OrderState.IN_FLIGHT or order.status:
        return  # IB was faster
    doubt: OrderChanges = {"doubt": event.text, "doubt_sequence": envelope.sequence}
    settle(books, envelope, order, doubt)


def _doubt_resolved(books: Books, envelope: Envelope, event: DoubtResolved) -> None:
    order = books.order(event.order_id)
    by_person = event.run_id is None
    in_question = by_person or event.outcome == "refused"
    if order is None or not order.live or not (order.doubt or in_question):
        return  # Evidence was faster: the order is known by now, and a verdict about it is void.
    changes: OrderChanges = {"doubt": "", "doubt_sequence": 0}
    if event.outcome == "refused":
        asked_at = min(event.evidence, default=0)
        if order.acknowledged or order.last_sequence > asked_at:
            return  # IB, or we, said more of it since the broker was asked.
        # The text stays IB's.
        changes |= {"end": "rejected", "concluded": True, "held": False, "cancel_pending": False}
    elif event.outcome == "not_received" and not order.acknowledged:
        changes |= {"not_sent": True, "text": event.text}
    else:
        changes |= {"end": "cancelled" if order.terms_known else "filled", "concluded": True}
        changes["text"] = event.text
    settle(books, envelope, order, changes)
    _leave_group(books, envelope, event.order_id)


#: IB's server says it, so that what it refuses had been transmitted.
_REFUSED_BY_SERVER: Final = 201


def _leave_group(books: Books, envelope: Envelope, order_id: str) -> None:
    """Put in doubt what the gateway holds for the last order of a group, which will not transmit
    it: IB shows no order that was not transmitted, so that nothing will be heard of it.
    """
    last = books.order(order_id)
    if last is None or last.live or not (last.transmit and last.group_id) or last.perm_ids:
        return
    if last.code == _REFUSED_BY_SERVER:
        return
    for order in books.unanswered():
        if order.group_id != last.group_id or order.transmit or order.doubt or not order.sent:
            continue
        text = f"the last order of its group is {last.state.value} and did not transmit it"
        settle(books, envelope, order, {"doubt": text, "doubt_sequence": envelope.sequence})


#: Why an order that was adopted from its executions alone is in doubt.
_ONLY_EXECUTIONS: Final = "IB has named only its executions; whether more of it works is not known"


def _adopted(books: Books, envelope: Envelope, event: OrderAdopted) -> None:
    earlier = books.order(event.order_id)
    if not event.perm_id or (earlier is not None and not earlier.denied):
        # Earlier versions took 0 for a permanent number: it names nothing.
        return
    take_in(books, event.perm_id, event.order_ref)
    if 0 < event.evidence < envelope.sequence:
        books.link(event.order_id, event.evidence)
    order = Order(
        order_id=event.order_id,
        origin=event.origin,
        account=event.account,
        contract=event.contract,
        terms=event.terms,
        actor=envelope.context.actor,
        sent=True,
        acknowledged=True,
        perm_ids=(event.perm_id,),
        client_id=event.client_id,
        broker_order_id=event.broker_order_id,
        order_ref=event.order_ref,
        named=True,
        created_at=envelope.recorded_at,
        intent_sequence=envelope.sequence,
        acknowledged_sequence=envelope.sequence,
    )
    changes: OrderChanges
    if event.ended:
        changes = orders.on_adopted_end(order, event.status, event.completed_status)
    elif event.status:
        epoch = envelope.context.session_epoch
        changes = orders.on_status(order, event.status, "", envelope.sequence, epoch)
        # Only an open order says under which id it goes in this session.
        changes |= learn_order_id(books, envelope, order, event.client_id, event.broker_order_id)
    else:
        changes = {"doubt": _ONLY_EXECUTIONS, "doubt_sequence": envelope.sequence}
    changes |= claim_fills(books, order, event.perm_id)
    settle(books, envelope, order, changes)


def _order_status(books: Books, envelope: Envelope, event: OrderStatusReceived) -> None:
    epoch = envelope.context.session_epoch
    order = books.attribute(None, event.perm_id, epoch, event.client_id, event.broker_order_id)
    if order is None:
        return
    changes = orders.on_order_status(order, event, envelope.sequence, epoch)
    changes |= _learn_ids(books, envelope, order, event)
    settle(books, envelope, order, changes)


def _open_order(books: Books, envelope: Envelope, event: OpenOrderReceived) -> None:
    if event.what_if:
        return
    disprove(books, envelope, event)
    epoch = envelope.context.session_epoch
    order = books.attribute(
        event.order_ref, event.perm_id, epoch, event.client_id, event.broker_order_id
    )
    if order is None:
        order = shown_alike(books, epoch, event)
    if order is None:
        note_unknown(books, envelope, event)
        return
    changes = orders.on_open_order(order, event, envelope.sequence, epoch)
    changes |= _learn_ids(books, envelope, order, event)
    changes |= named_by(order, event.order_ref)
    settle(books, envelope, order, changes)


def _learn_ids(
    books: Books,
    envelope: Envelope,
    order: Order,
    event: OrderStatusReceived | OpenOrderReceived | OrderBoundReceived,
) -> OrderChanges:
    changes: OrderChanges = {}
    if order.origin != "ours" or order.client_id in {0, event.client_id}:
        # What another client sent under our key is not what we can change under its number.
        changes = learn_order_id(books, envelope, order, event.client_id, event.broker_order_id)
    if changes or not order.acknowledged:
        note_shown_order_id(books, event.client_id, event.broker_order_id)
    if event.perm_id and event.perm_id not in order.perm_ids:
        changes |= learn_perm_id(books, envelope, order, event.perm_id)
        changes |= claim_fills(books, order, event.perm_id)
    return changes


def _completed(books: Books, envelope: Envelope, event: CompletedOrderReceived) -> None:
    disprove(books, envelope, event)
    order = books.attribute(event.order_ref, event.perm_id, 0, 0, 0)
    if event.completed_time:
        note_time(books, envelope, event.completed_time, pushed=False)
    if order is None:
        note_unknown(books, envelope, event)
        return
    changes = orders.on_completed(order, event, envelope.sequence)
    changes |= named_by(order, event.order_ref)
    changes |= learn_perm_id(books, envelope, order, event.perm_id)
    changes |= claim_fills(books, order, event.perm_id)
    settle(books, envelope, order, changes)


def _notice(books: Books, envelope: Envelope, event: NoticeReceived) -> None:
    epoch, system = envelope.context.session_epoch, books.system
    if event.code == TOO_FAST:
        set_system(books, too_fast_at=envelope.recorded_at)
    if event.subject_id in NO_ORDER_IDS or epoch != system.session_epoch:
        return
    order = refused_there(books, epoch, event)
    if order is None:
        order = books.at_number(epoch, system.client_id, event.subject_id)
    if order is None:
        return
    if refuses_number(order, event.code):
        # The number was never its own, and what was heard of it was another's.
        order = order.evolve(**loss_of_number(books, order, envelope.sequence))
    settle(books, envelope, order, orders.on_notice(order, event, envelope.sequence))
    _leave_group(books, envelope, order.order_id)


def _account_value(books: Books, envelope: Envelope, event: AccountValueReceived) -> None:
    value = AccountValue(
        account=event.account,
        name=event.key,
        currency=event.currency,
        value=event.value,
        sequence=envelope.sequence,
        at=envelope.recorded_at,
    )
    known = books.get("account_values", value.key)
    said_in = known.said_in if isinstance(known, AccountValue) else ()
    books.put(value.evolve(said_in=said_in) if said_in else value)


def _bound(books: Books, envelope: Envelope, event: OrderBoundReceived) -> None:
    order = books.attribute(None, event.perm_id, 0, 0, 0)
    if order is not None:
        settle(books, envelope, order, _learn_ids(books, envelope, order, event))


def _unreadable(books: Books, envelope: Envelope, event: BrokerMessageUnreadable) -> None:
    text = f"message {event.message_id} could not be translated: {event.reason}"
    count(
        books,
        Anomaly(
            sequence=envelope.sequence,
            kind="unreadable_message",
            text=ASKED_TEXT.fitted(text),
            about=f"message {event.message_id}",
            times=event.times,
            last_sequence=envelope.sequence,
        ),
    )


def _for_message_sent(event: OrderMessageSent, context: Context, books: Books) -> Wants:
    names = (event.order_ref, context.correlation_id)
    return tuple(Want("orders", "", name) for name in names if name)


def _for_intended(event: OrderIntended, context: Context, books: Books) -> Wants:
    return our_order(event, context, books) + key_shown(event.order_id)


def _for_adopted(event: OrderAdopted, context: Context, books: Books) -> Wants:
    names = (Want("orders", "", event.order_id), *key_shown(event.order_ref))
    return names + unknown_named(books, event.perm_id) + fills_unclaimed(books, event.perm_id)


def _for_status(event: OrderStatusReceived, context: Context, books: Books) -> Wants:
    by_id = order_numbered(context, event.client_id, event.broker_order_id)
    by_name = order_named(books, "", event.perm_id) + unknown_named(books, event.perm_id)
    return by_name + by_id + fills_unclaimed(books, event.perm_id)


def _for_open_order(event: OpenOrderReceived, context: Context, books: Books) -> Wants:
    by_id = order_numbered(context, event.client_id, event.broker_order_id)
    by_name = order_named(books, event.order_ref, event.perm_id)
    new = unknown_named(books, event.perm_id) + fills_unclaimed(books, event.perm_id)
    return by_name + by_id + new + fills_in_question(books, context, event)


def _for_completed(event: CompletedOrderReceived, context: Context, books: Books) -> Wants:
    by_name = order_named(books, event.order_ref, event.perm_id)
    new = unknown_named(books, event.perm_id) + fills_unclaimed(books, event.perm_id)
    return by_name + new + fills_in_question(books, context, event)


def _for_notice(event: NoticeReceived, context: Context, books: Books) -> Wants:
    return order_numbered(context, books.system.client_id, event.subject_id)


def _for_value(event: AccountValueReceived, context: Context, books: Books) -> Wants:
    return (Want("account_values", "", f"{event.account}:{event.key}:{event.currency}"),)


def _for_bound(event: OrderBoundReceived, context: Context, books: Books) -> Wants:
    return order_named(books, "", event.perm_id)


FOLDS: Final = (
    Fold(OrderRequested, _requested, nothing),
    Fold(ModifyRequested, _requested, nothing),
    Fold(CancelRequested, _requested, nothing),
    Fold(DoubtResolutionRequested, _requested, nothing),
    Fold(DoubtResolutionDenied, _resolution_denied, our_order),
    Fold(OrderIntended, _intended, _for_intended),
    Fold(OrderDenied, _denied, our_order),
    Fold(ModifyIntended, _modify_intended, our_order),
    Fold(ModifyDenied, _modify_denied, our_order),
    Fold(CancelIntended, _cancel_intended, our_order),
    Fold(CancelDenied, _cancel_denied, our_order),
    Fold(OrderMessageSent, _message_sent, _for_message_sent),
    Fold(OrderNotSent, _not_sent, our_order),
    Fold(OrderDoubted, _doubted, nothing),
    Fold(DoubtResolved, _doubt_resolved, nothing),
    Fold(RequestNotTaken, _not_taken, nothing),
    Fold(OrderAdopted, _adopted, _for_adopted),
    Fold(OrderStatusReceived, _order_status, _for_status),
    Fold(OpenOrderReceived, _open_order, _for_open_order),
    Fold(CompletedOrderReceived, _completed, _for_completed),
    Fold(NoticeReceived, _notice, _for_notice),
    Fold(AccountValueReceived, _account_value, _for_value),
    Fold(OrderBoundReceived, _bound, _for_bound),
    Fold(BrokerMessageUnreadable, _unreadable, nothing),
)
