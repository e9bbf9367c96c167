"""The life of one order: facts in, state out.

The state is never set. It follows from facts that only ever accumulate (was it sent, did the broker
name it, did it end, what do its executions add up to), because IB repeats, skips and reorders its
messages, and a machine of allowed transitions would have to guess at each gap. What the rules below
promise:

- silence changes nothing, except that a lost line turns what was sent and not answered into doubt;
- an error code ends an order only where the table in `codes` says so, and never a live one on its
own, but 202;
- a fill is always booked, after an end too; the end then stands beside it and the contradiction is
shown;
- an end by IB's word for the order (Filled, Cancelled) is not taken back by a late repetition of an
older status, while an
  end that we concluded from a code is taken back as soon as IB shows the order alive.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from oms.core.codes import CodeMeaning, ends, meaning
from oms.core.events import (
    CompletedOrderReceived,
    NoticeReceived,
    OpenOrderReceived,
    OrderStatusReceived,
    Terms,
)
from oms.core.records import End, Order, OrderState

#: IB's words for an order that is at work (broker-semantics B1).
_WORKING = frozenset({"PreSubmitted", "Submitted"})
_CANCELLED = frozenset({"Cancelled", "ApiCancelled"})
_NOT_YET = frozenset({"PendingSubmit", "ApiPending"})


def state_of(order: Order) -> OrderState:
    """Return the state that the facts of an order add up to."""
    if order.denied:
        return OrderState.DENIED
    if order.filled and order.filled >= order.terms.quantity:
        return OrderState.FILLED
    if order.end:
        return OrderState(order.end.upper())
    if order.not_sent:
        return OrderState.NOT_SENT
    if order.doubt:
        return OrderState.IN_DOUBT
    if not order.sent:
        return OrderState.INTENDED
    if not order.acknowledged:
        return OrderState.IN_FLIGHT
    if order.cancel_pending:
        return OrderState.CANCEL_PENDING
    if order.modify_pending:
        return OrderState.MODIFY_PENDING
    if order.held:
        return OrderState.HELD
    return OrderState.PARTIALLY_FILLED if order.filled else OrderState.WORKING


def settle(order: Order, sequence: int, at: datetime) -> Order:
    """Return the order with its state drawn from its facts, and the times that follow from the
    change.
    """
    state = state_of(order)
    changes: dict[str, object] = {"last_sequence": sequence, "updated_at": at}
    if state is not order.state:
        changes["state"] = state
    settled = order.evolve(**changes)
    if not settled.live and order.ended_at is None:
        return settled.evolve(ended_at=at, end_sequence=sequence)
    if settled.live and order.ended_at is not None:
        return settled.evolve(ended_at=None, end_sequence=0)
    return settled


def seen_by_broker(order: Order, sequence: int) -> Order:
    """Return the order with the fact that the broker named it: it was sent, it is not in doubt."""
    if order.acknowledged and not order.doubt and not order.not_sent:
        return order
    return order.evolve(
        sent=True,
        acknowledged=True,
        acknowledged_sequence=order.acknowledged_sequence or sequence,
        doubt="",
        not_sent=False,
    )


def on_status(order: Order, status: str, why_held: str, sequence: int, epoch: int) -> Order:
    """Return the order after IB named its status, in orderStatus or openOrder."""
    if status in _NOT_YET:
        # The gateway has it, IB's server has not: sent, not acknowledged, and no longer in doubt.
        return order.evolve(sent=True, doubt="", not_sent=False, status=status)
    order = seen_by_broker(order, sequence).evolve(status=status, why_held=why_held)
    if status == "Filled":
        return order.evolve(end="filled", **_NOTHING_PENDING)
    if status in _CANCELLED:
        return order.evolve(end=_end_of_cancelled(order), **_NOTHING_PENDING)
    if status == "Inactive":
        if is_reject(order.code) and why_held != "locate":
            return order.evolve(end="rejected", **_NOTHING_PENDING)
        # Ambiguous by IB's own texts: held, or dead without a word. It stays live until evidence
        # comes.
        return order.evolve(held=True)
    if status == "PendingCancel":
        return order.evolve(cancel_pending=True)
    if status in _WORKING:
        return _working(order, epoch)
    return order


_NOTHING_PENDING: dict[str, object] = {
    "held": False,
    "cancel_pending": False,
    "modify_pending": False,
    "pending_terms": None,
}


def _end_of_cancelled(order: Order) -> End:
    """IB reports price-check and venue rejects as Cancelled; the code before it tells which."""
    if order.end:
        return order.end
    ours = order.cancel_pending or order.filled
    return "rejected" if is_reject(order.code) and not ours else "cancelled"


def _working(order: Order, epoch: int) -> Order:
    changes: dict[str, object] = {"held": False}
    if order.end == "rejected":
        # Concluded from a code; IB shows it alive, so the conclusion was wrong.
        changes["end"] = ""
    if order.cancel_pending and order.pending_epoch < epoch:
        changes |= {
            "cancel_pending": False,
            "refusal": "the cancel was sent in an earlier session; IB shows the order working",
        }
    return order.evolve(**changes)


def on_order_status(order: Order, event: OrderStatusReceived, sequence: int, epoch: int) -> Order:
    """Return the order after an orderStatus."""
    if _is_late_repetition(order, event):
        return order
    order = on_status(order, event.status, event.why_held, sequence, epoch)
    return order.evolve(status_filled=event.filled)


def _is_late_repetition(order: Order, event: OrderStatusReceived) -> bool:
    """Say whether a working status comes after IB's own word for the end: repeats arrive late
    (INC-71, INC-74).
    """
    ended_by_word = order.end in {"filled", "cancelled"} or order.state is OrderState.FILLED
    return ended_by_word and event.status in (_WORKING | _NOT_YET | {"PendingCancel"})


def on_open_order(order: Order, event: OpenOrderReceived, sequence: int, epoch: int) -> Order:
    """Return the order after an openOrder: status, and the terms as IB has them."""
    ended_by_word = order.end in {"filled", "cancelled"}
    if not (ended_by_word and event.status in _WORKING | _NOT_YET | {"PendingCancel"}):
        order = on_status(order, event.status, order.why_held, sequence, epoch)
    changes: dict[str, object] = {
        "broker_limit_price": event.limit_price,
        "broker_stop_price": event.stop_price,
        "broker_quantity": event.quantity,
    }
    if event.warning_text:
        changes["warning"] = event.warning_text
    if order.pending_terms is not None and _fits(order.pending_terms, event):
        changes |= {
            "terms": order.pending_terms,
            "pending_terms": None,
            "modify_pending": False,
        }
    return order.evolve(**changes)


def _fits(terms: Terms, event: OpenOrderReceived) -> bool:
    return terms.quantity == event.quantity and same_prices(
        terms, event.limit_price, event.stop_price
    )


def same_prices(terms: Terms, limit_price: Decimal | None, stop_price: Decimal | None) -> bool:
    """Say whether IB's prices are the ones we asked for; IB fills fields that a type does not use
    with 0.
    """
    return (terms.limit_price is None or terms.limit_price == limit_price) and (
        terms.stop_price is None or terms.stop_price == stop_price
    )


def on_completed(order: Order, event: CompletedOrderReceived, sequence: int) -> Order:
    """Return the order after IB listed it among the day's completed orders: its true end."""
    order = seen_by_broker(order, sequence).evolve(
        status=event.status,
        text=event.completed_status or order.text,
        **_NOTHING_PENDING,
    )
    if event.filled_quantity is not None:
        order = order.evolve(status_filled=event.filled_quantity)
    return order.evolve(end=_end_of_completed(order, event))


def _end_of_completed(order: Order, event: CompletedOrderReceived) -> End:
    words = f"{event.completed_status} {event.completed_time}".lower()
    if event.status == "Filled":
        return "filled"
    if "expire" in words:
        return "expired"
    if event.status == "Inactive" or "reject" in words:
        return "rejected"
    return order.end or "cancelled"


def on_notice(order: Order, event: NoticeReceived, sequence: int) -> Order:
    """Return the order after an error or a warning that names it; `codes` decides (D9)."""
    what = meaning(event.code)
    if what.kind == "warning":
        return order.evolve(warning=f"{event.code} {event.text}")
    if what.kind == "held":
        return seen_by_broker(order, sequence).evolve(held=True, why_held=event.text)
    if what.kind in {"cancel_reject"}:
        return order.evolve(cancel_pending=False, refusal=f"{event.code} {event.text}")
    if _refuses_modify(order, what):
        return order.evolve(
            modify_pending=False, pending_terms=None, refusal=f"{event.code} {event.text}"
        )
    order = order.evolve(code=event.code, text=event.text, advanced_reject=event.advanced_reject)
    verdict = ends(event.code, order.acknowledged)
    if verdict != "ends":
        return order
    end: End = "cancelled" if what.kind == "cancelled" else "rejected"
    order = seen_by_broker(order, sequence)
    return order.evolve(end=order.end or end, **_NOTHING_PENDING)


def is_reject(code: int) -> bool:
    """Say whether a code refuses an order, or a change of one."""
    return meaning(code).kind in {"reject", "reject_or_modify_reject"}


def _refuses_modify(order: Order, what: CodeMeaning) -> bool:
    """Say whether a code refuses the change and leaves the order on its old terms.

    For 201 that is not documented (broker-semantics E); if IB has kept neither, the next openOrder
    or completedOrder says so, and terms that differ are a break.
    """
    if what.kind == "modify_reject":
        return True
    return order.modify_pending and order.acknowledged and is_reject(what.code)
