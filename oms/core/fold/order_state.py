"""The life of one order: facts in, state out.

The state is never set. It follows from facts that only ever accumulate (was it sent, did the broker
name it, did it end, what do its executions add up to), because IB repeats, skips and reorders its
messages, and a machine of allowed transitions would have to guess at each gap. A rule reads the
order as it was and says what changes; `settled` applies the changes in one copy and draws the
state. What the rules promise:

- silence changes nothing, except that a lost line turns what was sent and not answered into doubt;
- an error code ends an order only where the table in `codes` says so, and never a live one on its
  own, but 202;
- a fill is always booked, after an end too; the end then stands beside it and the contradiction is
  shown;
- an end by IB's word for the order (Filled, Cancelled, a completed order) is not taken back by a
  late repetition of an older status; an end that was concluded, from a code or by a person, is
  taken back as soon as IB shows the order at work.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from typing import Final

from oms.core.codes import (
    NOT_FOUND,
    CodeMeaning,
    ends,
    may_refuse,
    meaning,
    says_gone,
    state_named,
)
from oms.core.events import (
    CompletedOrderReceived,
    NoticeReceived,
    OpenOrderReceived,
    OrderStatusReceived,
    Terms,
)
from oms.core.fold import changes as changes_asked
from oms.core.fold.records import ENDED, End, Order, OrderChanges, OrderState
from oms.core.money import ZERO
from oms.core.terms import changed_names, is_resized, terms_of

#: IB's words for an order that is at work (broker notes: status).
_WORKING: Final = frozenset({"PreSubmitted", "Submitted"})
_CANCELLED: Final = frozenset({"Cancelled", "ApiCancelled"})
_NOT_YET: Final = frozenset({"PendingSubmit", "ApiPending"})
#: IB's reason to hold an order back, whatever status it writes beside it; code 404 says the same.
_LOCATE: Final = "locate"
#: What an order that has ended may still be called by a message that was under way.
_OLDER: Final = _WORKING | _NOT_YET | {"PendingCancel", "Inactive"}
_FINAL: Final = _CANCELLED | {"Filled"}


def state_of(order: Order) -> OrderState:
    """Return the state that the facts of an order add up to."""
    if order.denied:
        return OrderState.DENIED
    if order.filled and order.terms_known and order.filled >= _asked(order):
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


def _asked(order: Order) -> Decimal:
    """Return the size that would fill the order: while a larger one is on its way, that one, and
    of one that IB has made smaller the whole: it may have grown again without a word to us.
    """
    return max(order.largest_asked, *(terms.quantity for terms in order.unanswered_terms), ZERO)


def settled(order: Order, changes: OrderChanges, sequence: int, at: datetime) -> Order:
    """Return the order with changes applied, its state drawn from its facts, and the times that
    follow.
    """
    changes["last_sequence"] = sequence
    changes["updated_at"] = at
    new = order.evolve(**changes)
    state = state_of(new)
    if state is order.state and (order.ended_at is None) is (state not in ENDED):
        return new
    if state not in ENDED:
        return new.evolve(state=state, ended_at=None, end_sequence=0)
    if order.ended_at is None:
        return new.evolve(state=state, ended_at=at, end_sequence=sequence)
    return new.evolve(state=state)


def filled_past_its_end(order: Order) -> bool:
    """Say whether an order's executions add up to more than IB counted when it ended the order.

    More than the order asked for is a difference of its own.
    """
    claimed = order.status_filled
    if not order.end or not order.claim_is_final or claimed is None:
        return False
    return claimed < order.filled <= order.largest_asked


def filled_after_its_end(was: Order, order: Order) -> bool:
    """Say whether an execution came after an end of which IB has not said what was filled."""
    if was.end in {"", "filled"} or (was.claim_is_final and was.status_filled is not None):
        return False
    counted = max(was.filled, was.status_filled or ZERO)
    return counted < order.filled <= order.largest_asked


def ended_twice(was: Order, order: Order) -> bool:
    """Say whether IB ends an order anew with another sum, and no execution explains it: more was
    filled after the end, or what was filled is cancelled.
    """
    first, then = was.status_filled, order.status_filled
    if not was.end or not was.claim_is_final or first is None or then is None:
        return False
    if was.end == "filled":
        return order.status in _CANCELLED and then < first and order.filled < first
    return order.status in _FINAL and then > first and was.filled < then


def seen_by_broker(order: Order, sequence: int) -> OrderChanges:
    """Record that the broker named the order: it was sent, it is not in doubt."""
    if order.acknowledged and not order.doubt and not order.not_sent:
        return {}
    return {
        "sent": True,
        "acknowledged": True,
        "acknowledged_sequence": order.acknowledged_sequence or sequence,
        "doubt": "",
        "not_sent": False,
    }


def without_number(order: Order, sequence: int) -> OrderChanges:
    """Take back what was heard of an order under a number that is another's.

    Whether IB has it is not known then; a refusal of the number says that IB has not.
    """
    changes: OrderChanges = {"number_lost": True}
    if not order.acknowledged and not order.status:
        return changes
    changes |= {
        "acknowledged": False,
        "acknowledged_sequence": 0,
        "perm_ids": (),
        "ended_perm_ids": (),
        "status": "",
        "why_held": "",
        "warning": "",
        "held": False,
        "end": "",
        "concluded": False,
        "cancel_pending": False,
        "modify_pending": False,
        "pending_terms": None,
        "status_filled": None,
        "claim_is_final": False,
        "doubt": f"IB has another order under its number {order.broker_order_id}",
        "doubt_sequence": sequence,
    }
    return changes


def on_status(order: Order, status: str, why_held: str, sequence: int, epoch: int) -> OrderChanges:
    """Take IB's name for the order's status, from orderStatus, openOrder or an adoption."""
    if status in _NOT_YET:
        # The gateway has it, IB's server has not: sent, not acknowledged, and no longer in doubt.
        return {"sent": True, "doubt": "", "not_sent": False, "status": status}
    changes = seen_by_broker(order, sequence)
    changes["status"] = status
    changes["why_held"] = why_held
    if status in _WORKING:
        changes |= _working(order)
        changes["held"] = _is_located(why_held)
        return changes
    if status == "Filled":
        return changes | _ended("filled")
    if status in _CANCELLED:
        return changes | _ended(_end_of_cancelled(order))
    if status == "Inactive":
        if is_reject(order.code) and not _is_located(why_held):
            return changes | _ended("rejected", concluded=True)
        # Ambiguous by IB's own texts: held, or dead without a word. It stays live until evidence
        # comes.
        changes["held"] = True
    elif status == "PendingCancel":
        changes["cancel_pending"] = True
        changes["pending_epoch"] = epoch
    return changes


def _ended(end: End, *, concluded: bool = False) -> OrderChanges:
    return {
        "end": end,
        "concluded": concluded,
        "held": False,
        "cancel_pending": False,
        **changes_asked.settled(),
    }


def _end_of_cancelled(order: Order) -> End:
    """IB reports price-check and venue rejects as Cancelled; the code before it tells which."""
    if order.end and not (order.concluded and order.end == "filled"):
        return order.end
    ours = order.cancel_pending or order.filled
    return "rejected" if is_reject(order.code) and not ours else "cancelled"


def _is_located(why_held: str) -> bool:
    """Say whether IB holds an order until it has found shares to borrow; reasons come by commas."""
    return _LOCATE in why_held.split(",")


def _working(order: Order) -> OrderChanges:
    changes: OrderChanges = {}
    if order.concluded:
        # IB shows it alive, so the conclusion was wrong.
        changes["end"] = ""
        changes["concluded"] = False
    return changes


def _while_another_lives(order: Order, perm_id: int, changes: OrderChanges) -> OrderChanges:
    """Keep an order open of which IB has ended one of several permanent numbers.

    A change that meets a degraded line can leave the old order at work beside the new one; the
    cancel of one is not the end of the other (INC-21). A message that names no number (0) ends
    none of several.
    """
    numbers = {*order.perm_ids, perm_id} - {0}
    if not changes.get("end") or len(numbers) < 2:
        return changes
    over = {*order.ended_perm_ids, perm_id} - {0}
    changes["ended_perm_ids"] = tuple(sorted(over))
    left = sorted(numbers - over)
    if not left:
        return changes
    # What the message claims of the whole order is true of one number only.
    for fact in ("end", "concluded", "status", "held", "status_filled", "claim_is_final"):
        changes.pop(fact, None)  # type: ignore[misc]
    names = " and ".join(str(number) for number in left)
    changes["refusal"] = f"one of its permanent numbers ended; {names} may still be at work"
    return changes


def on_order_status(
    order: Order, event: OrderStatusReceived, sequence: int, epoch: int
) -> OrderChanges:
    """Take an orderStatus: IB's word for the order, and how much it claims was filled."""
    if _is_late_repetition(order, event.status):
        return {}
    changes = on_status(order, event.status, event.why_held, sequence, epoch)
    if event.filled is not None:
        changes["status_filled"] = event.filled
        changes["claim_is_final"] = event.status in _FINAL
    return _while_another_lives(order, event.perm_id, changes)


def _is_late_repetition(order: Order, status: str) -> bool:
    """Say whether an older status comes after the end: repeats arrive late (INC-71, INC-74)."""
    if status not in _OLDER:
        return False
    if order.end:
        return not order.concluded
    return order.state is OrderState.FILLED


#: Orders whose terms are somebody else's to choose.
_FOREIGN: Final = frozenset({"manual", "other_client", "unknown"})


def on_open_order(
    order: Order, event: OpenOrderReceived, sequence: int, epoch: int
) -> OrderChanges:
    """Take an openOrder: status, and the terms as IB has them."""
    changes: OrderChanges = {}
    if not _is_late_repetition(order, event.status):
        changes = on_status(order, event.status, order.why_held, sequence, epoch)
        changes = _while_another_lives(order, event.perm_id, changes)
    changes["broker_limit_price"] = event.limit_price
    changes["broker_quantity"] = event.quantity
    if event.warning_text:
        changes["warning"] = event.warning_text
    answer = changes_asked.shown(order, event)
    if answer is not None:
        changes |= _answered(order, *answer, event)
    if not order.terms_known or order.origin in _FOREIGN:
        # Nobody here asked for all of them: whoever owns the order may change it.
        changes["terms"] = terms_of(event, event.quantity)
    elif answer is None and _is_exit_of_another_log(order, event):
        changes["terms"] = order.terms.evolve(quantity=event.quantity)
        changes["asked_sizes"] = (max(order.largest_asked, event.quantity),)
    elif answer is None:
        changes |= _resized(order, order.terms, order.asked_sizes, event)
    if order.announced and order.origin not in _FOREIGN:
        changes["terms"] = _as_announced(order, changes.get("terms", order.terms), event)
    return changes


def _is_exit_of_another_log(order: Order, event: OpenOrderReceived) -> bool:
    """Say whether IB shows an exit of ours in another size whose intent is in another log: how far
    it may grow with its entry is not known here.
    """
    is_exit = order.origin == "previous_session" and bool(event.parent_broker_order_id)
    return is_exit and event.quantity != order.terms.quantity


def _as_announced(order: Order, terms: Terms, event: OpenOrderReceived) -> Terms:
    """Return terms with what IB said it would set itself, as it has set them."""
    shown = terms_of(event, event.quantity)
    told = {name: getattr(shown, name) for name in order.announced}
    if shown.quantity > terms.quantity:
        told.pop("quantity", None)  # announced was a smaller size
    return terms.evolve(**told)


def _resized(
    order: Order, terms: Terms, asked: tuple[Decimal, ...], event: OpenOrderReceived
) -> OrderChanges:
    """Return terms in the size that IB works, where it may have chosen that by itself."""
    asked = asked or (terms.quantity,)
    if not is_resized(max(asked), terms, order.parent_order_id, event):
        return {}
    return {"terms": terms.evolve(quantity=event.quantity), "asked_sizes": asked}


def _answered(
    order: Order, wanted: Terms, left: OrderChanges, event: OpenOrderReceived
) -> OrderChanges:
    # A change of the price repeats the size: IB may go by that one, or by the whole.
    repeats = order.asked_sizes and "quantity" not in changed_names(order.terms, wanted)
    asked = (*order.asked_sizes, wanted.quantity) if repeats else ()
    asked = tuple(dict.fromkeys(asked))
    taken: OrderChanges = {"terms": wanted, "asked_sizes": asked}
    return taken | left | _resized(order, wanted, asked, event)


def on_completed(order: Order, event: CompletedOrderReceived, sequence: int) -> OrderChanges:
    """Take IB's row among the day's completed orders: the order's true end."""
    words = f"{event.completed_status} {event.completed_time}"
    changes = seen_by_broker(order, sequence) | _ended(
        _end_of_completed(order, event.status, words)
    )
    changes["status"] = event.status
    if event.completed_status and not (order.code and order.text):
        # The words that came with the code say why; the row says only what (INC-02).
        changes["text"] = event.completed_status
    if event.filled_quantity is not None:
        changes["status_filled"] = event.filled_quantity
        changes["claim_is_final"] = True
    if not order.terms_known:
        # totalQuantity is 0 for filled orders in field samples (broker notes: completed orders).
        quantity = event.quantity or event.filled_quantity or order.terms.quantity
        changes["terms"] = terms_of(event, quantity)
    return _while_another_lives(order, event.perm_id, changes)


def on_adopted_end(order: Order, status: str, completed_status: str) -> OrderChanges:
    """Take the end of an order that was over before our books knew it."""
    changes = _ended(_end_of_completed(order, status, completed_status), concluded=not status)
    changes["status"] = status
    changes["text"] = completed_status
    return changes


def _end_of_completed(order: Order, status: str, words: str) -> End:
    words = words.lower()
    if status == "Filled":
        return "filled"
    if "expire" in words:
        return "expired"
    if status == "Inactive" or "reject" in words:
        return "rejected"
    if not status and not order.terms_known:
        # Only executions are known of it, and they have come to an end.
        return "filled"
    return order.end or "cancelled"


def on_notice(order: Order, event: NoticeReceived, sequence: int) -> OrderChanges:
    """Take an error or a warning that names the order; `codes` decides (D9)."""
    changes: OrderChanges = {}
    is_first = not order.acknowledged and not order.answered_sequence
    # That IB does not find it is an answer to the cancel, and none to the order.
    if order.live and is_first and event.code not in NOT_FOUND:
        changes["answered_sequence"] = sequence
    return changes | _on_code(order, event, sequence)


def _on_code(order: Order, event: NoticeReceived, sequence: int) -> OrderChanges:
    what = meaning(event.code)
    said = f"{event.code} {event.text}"
    if what.kind == "warning":
        announced = tuple(dict.fromkeys((*order.announced, *what.sets)))
        return {"warning": said, "announced": announced}
    if what.kind == "held":
        located: OrderChanges = {"held": True, "why_held": _LOCATE, "warning": said}
        return seen_by_broker(order, sequence) | located
    gone = said if says_gone(event.code, event.text) else ""
    if what.kind == "cancel_reject" and (order.cancel_pending or order.acknowledged):
        # 10148 names the state, and PendingCancel means that the cancel is still under way.
        still_pending = order.cancel_pending and state_named(event.text) == "PendingCancel"
        return {"cancel_pending": still_pending, "refusal": said, "said_gone": gone}
    if _refuses_modify(order, what):
        return changes_asked.refused(order, said) | {"said_gone": gone}
    changes: OrderChanges = {
        "code": event.code,
        "code_sequence": sequence,
        "text": event.text,
        "advanced_reject": event.advanced_reject,
    }
    if not order.end or order.concluded:
        changes |= _end_by_code(order, what, event.text, sequence)
    elif order.end == "cancelled" and what.kind == "cancelled" and "expire" in event.text.lower():
        changes["end"] = "expired"
    return _while_another_lives(order, 0, changes)


def _end_by_code(order: Order, what: CodeMeaning, text: str, sequence: int) -> OrderChanges:
    if what.kind == "cancelled":
        end: End = "expired" if "expire" in text.lower() else "cancelled"
        return seen_by_broker(order, sequence) | _ended(order.end or end)
    if not is_reject(what.code):
        return {}
    if order.held and order.status == "Inactive" and not _is_located(order.why_held):
        # The 201 usually comes first; the order of the two must not decide.
        return _ended("rejected", concluded=True)
    if ends(what.code, order.acknowledged) != "ends" or order.modify_pending:
        # While a change is under way and IB has named neither, the code may be about either.
        return {}
    return seen_by_broker(order, sequence) | _ended("rejected", concluded=True)


def answered_with(order: Order) -> str:
    """Return the words with which IB answered the number of an order before it said anything else
    of the order; "" where it did not.
    """
    if not order.answered_sequence or order.acknowledged:
        return ""
    return f"{order.code} {order.text}" if order.code else order.warning or order.refusal


def may_be_refused(order: Order) -> bool:
    """Say whether a code that can refuse a new order is all that IB has said of one: its absence
    from every list then shows that it was refused.
    """
    return bool(answered_with(order)) and bool(order.code) and may_refuse(order.code)


def request_answered_with(order: Order) -> str:
    """Return the words of a code that came after a cancel or a change was asked for and that does
    not settle it, but may have refused it; "" where there is none.
    """
    is_asked = order.acknowledged and (order.cancel_pending or order.modify_pending)
    if not is_asked or order.code_sequence < order.pending_sequence or not may_refuse(order.code):
        return ""
    return f"{order.code} {order.text}"


def is_listed(order: Order, orders: Iterable[Order]) -> bool:
    """Say whether IB lists an order that it has. One that waits at the gateway for the rest of its
    group is on no list, until an order of the group that transmits it has been seen at IB.
    """
    return order.transmit or any(
        o.group_id == order.group_id and o.transmit and o.perm_ids for o in orders if o.group_id
    )


def is_reject(code: int) -> bool:
    """Say whether a code refuses an order, or a change of one."""
    return meaning(code).kind in {"reject", "reject_or_modify_reject", "protocol"}


def is_refusal(code: int) -> bool:
    """Say whether a code refuses what was sent: an order, or a change of one."""
    return is_reject(code) or meaning(code).kind == "modify_reject"


def _refuses_modify(order: Order, what: CodeMeaning) -> bool:
    """Say whether a code refuses the change and leaves the order on its old terms.

    For 201 that is not documented (broker notes: modifying); if IB has kept neither, the next
    openOrder or completedOrder says so, and terms that differ are a break. A change that comes too
    soon is answered with 103, the order's own id (INC-34).
    """
    if what.kind == "modify_reject":
        return order.acknowledged or order.modify_pending
    if not order.modify_pending:
        return False
    return what.code == 103 or (order.acknowledged and is_reject(what.code))
