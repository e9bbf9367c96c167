"""Whether an order that exists may be changed, cancelled, or its doubt resolved by a person."""

from __future__ import annotations

from typing import Literal

from oms.core.admit.rule import Denial
from oms.core.events import Terms
from oms.core.fold.books import NO_ORDER_IDS
from oms.core.fold.records import Order, OrderState
from oms.core.money import plain
from oms.core.words import describe_origin
from oms.errors import InvalidRequest


def change_denial(order: Order, terms: Terms, *, client_id: int) -> Denial | None:
    """Return why an order cannot have new terms, whatever they are worth; None where it can."""
    state = order.state.value
    if not order.live or not order.acknowledged:
        text = f"the order is {state}; only a working order can be changed"
        return Denial("state", state, "working", text)
    cancel = cancel_under_way(order)
    if cancel is not None:
        return cancel
    if order.number_lost:
        number = str(order.broker_order_id)
        text = f"IB has another order under its number {number}, and a change would go to that one"
        return Denial("owner", number, "a number of its own", text)
    if not _is_own(order, client_id):
        text = _not_ours_to("change", order)
        return Denial("owner", str(order.client_id), str(client_id), text)
    if terms.quantity <= order.filled:
        text = f"{order.filled} are filled already; the new quantity must be above that"
        return Denial("filled", plain(terms.quantity), plain(order.filled), text)
    return None


def cancel_under_way(order: Order) -> Denial | None:
    """Return why an order whose cancel IB has not answered cannot be changed, None without one.

    A change that meets the cancel on its way is refused, or brings the order back to life.
    """
    if not order.cancel_pending:
        return None
    text = "its cancel is under way; change the order once IB has refused the cancel"
    return Denial("state", order.state.value, "no cancel under way", text)


def cancel_refusal(order: Order, *, client_id: int, has_number: bool) -> str:
    """Return why an order cannot be cancelled, "" where it can; `has_number` says that the outbox
    has given it a number, whether its bytes have left or not.
    """
    if order.number_lost:
        return number_refusal(order)
    if order.origin == "ours" and not order.sent:
        return "" if has_number else "the order has not left; there is nothing to cancel at IB"
    if not _is_own(order, client_id):
        return _not_ours_to("cancel", order)
    return ""


def number_refusal(order: Order) -> str:
    """Return why nothing can be cancelled under a number that is another order's."""
    return (
        f"IB has another order under its number {order.broker_order_id}, and a cancel would end"
        " that one"
    )


def _not_ours_to(verb: str, order: Order) -> str:
    if order.origin == "manual":
        who = describe_origin(order.origin, order.client_id)
        return f"it was {who}; only TWS, or client 0 once IB has bound it, can {verb} it"
    return f"another client owns the order; only its owner can {verb} it"


def check_resolution(order: Order, outcome: Literal["not_received", "ended"], reason: str) -> None:
    """Raise `InvalidRequest` where a person cannot resolve the doubt about an order so."""
    if not reason.strip():
        raise InvalidRequest("resolve a doubt with a reason; the log keeps it")
    if order.state is not OrderState.IN_DOUBT:
        raise InvalidRequest(
            f"order {order.order_id} is {order.state.value}; only an order in doubt can be resolved"
        )
    if outcome == "not_received" and (order.acknowledged or order.filled):
        raise InvalidRequest(
            f"IB has named order {order.order_id}, so it was received; it can only have ended"
        )


def _is_own(order: Order, client_id: int) -> bool:
    # A person's order that is bound to client 0 goes by a number below -1.
    return order.client_id == client_id and order.broker_order_id not in NO_ORDER_IDS
