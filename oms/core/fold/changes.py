"""Changes of an order that were asked for, and what IB has said to them.

IB does not say which change an answer is about: a refusal names the order's number alone, and an
openOrder shows the terms that hold. So every change that was asked for is kept until IB shows its
terms or those of a later one, or until as many were refused as are unanswered. A change that was
given up, because IB shows the order on other terms in a later session, is remembered: what waited
in a dead line can still arrive, and then its terms are what was asked for.
"""

from __future__ import annotations

from oms.core.events import OpenOrderReceived, Terms
from oms.core.fold.records import Order, OrderChanges
from oms.core.terms import changed_names, differing


def asked(order: Order, terms: Terms) -> OrderChanges:
    """Return what changes when new terms are asked for, on top of what is unanswered."""
    return {
        "modify_pending": True,
        "pending_terms": terms,
        "earlier_terms": order.unanswered_terms,
    }


def shown(order: Order, event: OpenOrderReceived) -> tuple[Terms, OrderChanges] | None:
    """Return which change an openOrder shows, and what is left of those that were asked for; None
    where it shows none.
    """
    wanted = order.unanswered_terms
    for index in range(len(wanted) - 1, -1, -1):
        changed = changed_names(order.terms, wanted[index])
        if not _holds(wanted[index], changed, event):
            continue
        if not changed and index and not order.changes_refused:
            continue  # It goes back to the terms before: they may hold still, and not again.
        left = _left(wanted[index + 1 :], order.changes_refused - index)
        return wanted[index], left | {"given_up_terms": ()}
    late = order.given_up_terms
    for index in range(len(late) - 1, -1, -1):
        changed = changed_names(order.terms, late[index])
        if changed and _holds(late[index], changed, event):
            return late[index], {"given_up_terms": late[index + 1 :], "refusal": ""}
    return None


def _holds(terms: Terms, changed: frozenset[str], event: OpenOrderReceived) -> bool:
    # Only what the change is about: IB may have its own way with the rest, and a break says so.
    return not changed & set(differing(terms, event))


def refused(order: Order, said: str) -> OrderChanges:
    """Return what changes when IB refuses one of the changes, whichever it is."""
    if not order.modify_pending:
        # The oldest of those that were given up: it will not come any more.
        return {"given_up_terms": order.given_up_terms[1:], "refusal": said}
    return _left(order.unanswered_terms, order.changes_refused + 1) | {"refusal": said}


def withdrawn(order: Order) -> OrderChanges:
    """Return what changes when the newest change did not leave."""
    return _left(order.earlier_terms, order.changes_refused)


def given_up(order: Order, why: str) -> OrderChanges:
    """Return what changes when IB has not taken what an earlier session asked for."""
    late = (*order.given_up_terms, *order.unanswered_terms)
    return _left((), 0) | {"given_up_terms": late, "refusal": why}


def settled() -> OrderChanges:
    """Return what changes when nothing can be answered any more."""
    return _left((), 0) | {"given_up_terms": ()}


def _left(wanted: tuple[Terms, ...], refusals: int) -> OrderChanges:
    """Keep the changes that are unanswered, unless so many of them were refused."""
    is_pending = len(wanted) > max(0, refusals)
    return {
        "modify_pending": is_pending,
        "pending_terms": wanted[-1] if is_pending else None,
        "earlier_terms": wanted[:-1] if is_pending else (),
        "changes_refused": max(0, refusals) if is_pending else 0,
    }
