"""Orders that IB names and our books do not have: what their adoption writes."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import assert_never

from oms.core.compare.nameless import rows_in_question
from oms.core.compare.sides import Answers, OrderRow, OurSide, Row, Scope
from oms.core.events import (
    CompletedOrderReceived,
    ExecutionReceived,
    OpenOrderReceived,
    OrderAdopted,
    Origin,
    Terms,
)
from oms.core.fold.books import stem_and_revision
from oms.core.keys import can_be_key, is_numbered, numbered_id
from oms.core.money import ZERO
from oms.core.terms import terms_of


def adoptions(ours: OurSide, answers: Answers, scope: Scope) -> Iterator[OrderAdopted]:
    """Yield an adoption for every order that IB names and that our books do not have.

    Open orders come first, then the day's completed ones, then executions that no order claims: the
    fuller row wins. What has no permanent number is no order yet, and what may be an order of ours
    is not adopted (`nameless`).
    """
    in_question = rows_in_question(ours, answers)
    refs = frozenset(o.order_ref for o in ours.orders.values())
    new = _New(ours, answers, scope, refs, _carriers(answers), _executed(answers))
    seen: set[int] = set()
    for row in answers.order_rows():
        perm_id = row.event.perm_id
        if not perm_id or perm_id in seen or row.sequence in in_question:
            continue
        if ours.owner(row.event.order_ref, perm_id) is None:
            seen.add(perm_id)
            yield new.adopted(row)


def _carriers(answers: Answers) -> dict[str, set[int]]:
    """Return which permanent numbers IB shows under each orderRef."""
    found: dict[str, set[int]] = {}
    for row in answers.order_rows():
        if row.event.order_ref and row.event.perm_id:
            found.setdefault(row.event.order_ref, set()).add(row.event.perm_id)
    return found


def _executed(answers: Answers) -> dict[int, list[ExecutionReceived]]:
    """Return the executions of each permanent number."""
    found: dict[int, list[ExecutionReceived]] = {}
    for row in answers.executions:
        found.setdefault(row.event.perm_id, []).append(row.event)
    return found


@dataclass(frozen=True, slots=True)
class _New:
    """What adopting an order needs beside the row that names it."""

    ours: OurSide
    answers: Answers
    scope: Scope
    #: The orderRefs of the orders that our books have.
    refs: Collection[str]
    #: Permanent numbers by the orderRef that they come with.
    carriers: Mapping[str, Collection[int]]
    #: Executions by permanent number.
    executed: Mapping[int, Sequence[ExecutionReceived]]

    def adopted(self, row: OrderRow) -> OrderAdopted:
        """Return the adoption of the order that a row names."""
        event = row.event
        order_id = self._id_of(event.order_ref, event.perm_id)
        named = self.executed.get(event.perm_id, ())
        match event:
            case OpenOrderReceived():
                return _adopt_open(Row(event, row.sequence), order_id, self.scope)
            case CompletedOrderReceived():
                seen = Row(event, row.sequence)
                return _adopt_completed(seen, order_id, named, self.scope)
            case ExecutionReceived():
                executed = Row(event, row.sequence)
                # Complete answers list it nowhere, so nothing of it is at work any more.
                ended = self.answers.complete("open_orders", "completed_orders")
                return _adopt_executed(executed, order_id, named, self.scope, ended=ended)
            case _:
                assert_never(event)

    def _id_of(self, order_ref: str, perm_id: int) -> str:
        """Return our id for an order that IB named first; the same rows give the same id.

        Its orderRef where that is a key and one order has it: whoever sends with that key means
        this order. IB lets many orders have one orderRef, and then it is the id of none.
        """
        alone = len(self.carriers.get(order_ref, ())) == 1
        if not alone or not can_be_key(order_ref) or is_numbered(order_ref):
            return numbered_id(perm_id)
        namesake = self.ours.orders.get(order_ref)
        is_free = order_ref not in self.refs and (namesake is None or namesake.denied)
        return order_ref if is_free else numbered_id(perm_id)


def _origin(client_id: int, broker_order_id: int, order_ref: str, scope: Scope) -> Origin:
    # A person's order has client id 0, and bound to client 0 perhaps a number like its own; what we
    # send carries a reference.
    is_manual = client_id == 0 and not order_ref
    if client_id == scope.client_id and broker_order_id > 0 and not is_manual:
        return "previous_session"
    return "manual" if client_id == 0 else "other_client"


def _adopt_open(row: Row[OpenOrderReceived], order_id: str, scope: Scope) -> OrderAdopted:
    event = row.event
    return OrderAdopted(
        order_id=order_id,
        origin=_origin(event.client_id, event.broker_order_id, event.order_ref, scope),
        account=event.account,
        contract=event.contract,
        terms=terms_of(event, event.quantity),
        perm_id=event.perm_id,
        client_id=event.client_id,
        broker_order_id=event.broker_order_id,
        order_ref=event.order_ref,
        status=event.status,
        evidence=row.sequence,
        run_id=scope.run_id,
    )


def _adopt_completed(
    row: Row[CompletedOrderReceived],
    order_id: str,
    executed: Sequence[ExecutionReceived],
    scope: Scope,
) -> OrderAdopted:
    event = row.event
    # The row names no client: without its executions, who sent it is not known.
    client_id = executed[0].client_id if executed else 0
    broker_order_id = executed[0].broker_order_id if executed else 0
    origin: Origin = "unknown"
    if executed:
        origin = _origin(client_id, broker_order_id, event.order_ref, scope)
    # totalQuantity is 0 for filled orders in field samples (broker notes: completed orders): what
    # was filled is the least it can have been.
    own = (one for one in executed if one.contract.is_combo is event.contract.is_combo)
    quantity = event.quantity or event.filled_quantity or _executed_quantity(own)
    return OrderAdopted(
        order_id=order_id,
        origin=origin,
        account=event.account,
        contract=event.contract,
        terms=terms_of(event, quantity),
        perm_id=event.perm_id,
        client_id=client_id,
        broker_order_id=broker_order_id,
        order_ref=event.order_ref,
        status=event.status,
        ended=True,
        completed_status=event.completed_status,
        evidence=row.sequence,
        run_id=scope.run_id,
    )


def _adopt_executed(
    row: Row[ExecutionReceived],
    order_id: str,
    named: Sequence[ExecutionReceived],
    scope: Scope,
    *,
    ended: bool,
) -> OrderAdopted:
    # The execution of a combo stands for the order, those of its legs do not.
    event = next((one for one in named if one.contract.is_combo), row.event)
    same = [one for one in named if one.contract.con_id == event.contract.con_id]
    return OrderAdopted(
        order_id=order_id,
        origin=_origin(event.client_id, event.broker_order_id, event.order_ref, scope),
        account=event.account,
        contract=event.contract,
        # Only the executions are known: type and size are those of what was done, the rest is open.
        terms=Terms(side=event.side, quantity=_executed_quantity(same), order_type="", tif=""),
        perm_id=event.perm_id,
        client_id=event.client_id,
        broker_order_id=event.broker_order_id,
        order_ref=event.order_ref,
        status="",
        ended=ended,
        evidence=row.sequence,
        run_id=scope.run_id,
    )


def _executed_quantity(executions: Iterable[ExecutionReceived]) -> Decimal:
    """Return what executions add up to, the highest revision of each stem counting."""
    latest: dict[str, tuple[int, Decimal]] = {}
    for event in executions:
        stem, revision = stem_and_revision(event.exec_id)
        if stem not in latest or revision > latest[stem][0]:
            latest[stem] = (revision, event.quantity)
    return sum((quantity for _, quantity in latest.values()), ZERO)
