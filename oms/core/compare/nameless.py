"""Rows of answers that name no order: 0 is no permanent number, and an orderRef can be missing.

A row that lacks what would tell one order from another is never taken into the books, because two
of them would become one. It is reported as what IB said, and its case waits for a person: that IB
lists it no more says nothing of what became of it. And while a row may be an order of ours
that IB has not named, that order is not "never received", and the row is no order of somebody else.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator

from oms.core.compare.findings import Thing
from oms.core.compare.sides import Answers, OurSide, Row, Scope
from oms.core.contracts import Contract, may_be_same
from oms.core.events import CompletedOrderReceived, ExecutionReceived, Finding, OpenOrderReceived
from oms.core.fold.books import NO_ORDER_IDS, stem_and_revision
from oms.core.fold.ownership import could_be_of
from oms.core.fold.records import Order
from oms.core.money import ZERO
from oms.core.terms import terms_of
from oms.core.words import describe_terms

#: Begins the names of things that have no name of their own.
_PREFIX = "nameless-"
_OrderRow = Row[OpenOrderReceived] | Row[CompletedOrderReceived]


def rows_that_may_be(order: Order, ours: OurSide, answers: Answers) -> tuple[int, ...]:
    """Return the sequences of rows without an orderRef that may be this order of ours."""
    if order.origin != "ours" or order.named or order.perm_ids or not (order.live and order.sent):
        return ()
    found = [r.sequence for r in answers.completed_orders if _may_be(order, r, ours, answers)]
    found += [r.sequence for r in answers.executions if _may_be_done_by(order, r, ours)]
    return tuple(found)


def rows_in_question(ours: OurSide, answers: Answers) -> frozenset[int]:
    """Return the sequences of rows that may be orders of ours: they are adopted by nobody."""
    return frozenset(
        sequence
        for order in ours.orders.values()
        for sequence in rows_that_may_be(order, ours, answers)
    )


def nameless_findings(ours: OurSide, answers: Answers, scope: Scope) -> Iterator[Finding]:
    """Yield what each order is found to be that IB lists without a permanent number, and that no
    order of ours owns.
    """
    in_question = rows_in_question(ours, answers)
    rows: tuple[_OrderRow, ...] = (*answers.open_orders, *answers.completed_orders)
    times: Counter[str] = Counter()
    for row in rows:
        event = row.event
        if event.perm_id or ours.owner(event.order_ref, 0) is not None:
            continue
        said = _said(row)
        times[said] += 1
        name = f"{_PREFIX}{hashlib.sha256(said.encode()).hexdigest()[:8]}-{times[said]}"
        if row.sequence in in_question or (scope.accounts and event.account not in scope.accounts):
            continue
        yield _thing(name, row, said).broken(
            "unknown_order",
            "medium",
            "IB lists an order without a permanent number, and no order of ours has its orderRef;"
            " look for it in TWS, it is not taken into our books",
        )


# ── inside ──


def _thing(name: str, row: _OrderRow, said: str) -> Thing:
    event = row.event
    return Thing(
        subject="order",
        name=name,
        account=event.account,
        con_id=event.contract.con_id,
        symbol=event.contract.symbol,
        ours="no order",
        theirs=said,
        evidence=(row.sequence,),
    )


def _said(row: _OrderRow) -> str:
    """Return what IB says of the order, as far as it stays the same while the order lives."""
    event = row.event
    terms = describe_terms(terms_of(event, event.quantity or ZERO), event.contract.symbol)
    names = [f"con id {event.contract.con_id}", f"account {event.account}"]
    if isinstance(event, OpenOrderReceived):
        names.append(f"client {event.client_id}, order id {event.broker_order_id}")
    if event.order_ref:
        names.append(f"orderRef {event.order_ref!a}")
    return f"{terms}, {', '.join(names)}"


def _may_be(
    order: Order, row: Row[CompletedOrderReceived], ours: OurSide, answers: Answers
) -> bool:
    event, asked = row.event, order.terms
    if event.order_ref or ours.owner("", event.perm_id) is not None:
        return False
    if not _shows_no_other(order, event.perm_id, answers):
        return False
    # IB leaves the size of filled orders out (broker notes: completed orders).
    size = event.quantity or event.filled_quantity or ZERO
    return (
        order.account == event.account
        and _is_of_contract(order, event.contract)
        and (asked.side, asked.order_type) == (event.side, event.order_type)
        and (asked.limit_price or None) == (event.limit_price or None)
        and (asked.quantity == size if event.quantity else size <= asked.quantity)
    )


def _shows_no_other(order: Order, perm_id: int, answers: Answers) -> bool:
    """Say whether the executions of a permanent number leave open that it is this order's."""
    own = (order.client_id, order.broker_order_id)
    return all(
        r.event.client_id == own[0] and r.event.broker_order_id in {own[1], *NO_ORDER_IDS}
        for r in answers.executions
        if perm_id and r.event.perm_id == perm_id
    )


def _may_be_done_by(order: Order, row: Row[ExecutionReceived], ours: OurSide) -> bool:
    event = row.event
    fill = ours.fills.get(f"{event.account}:{stem_and_revision(event.exec_id)[0]}")
    if event.order_ref or event.client_id != order.client_id or fill is None or fill.order_id:
        return False
    numbers = {order.broker_order_id, *NO_ORDER_IDS}
    return event.broker_order_id in numbers and could_be_of(order, fill)


def _is_of_contract(order: Order, shown: Contract) -> bool:
    asked = order.contract
    if asked.con_id and shown.con_id:
        return asked.con_id == shown.con_id
    return may_be_same(asked, shown)
