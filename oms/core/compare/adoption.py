"""Orders that IB names and our books do not have: what their adoption writes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from decimal import Decimal

from oms.core.compare.sides import Answers, OurSide, Row, Scope
from oms.core.events import (
    CompletedOrderReceived,
    ExecutionReceived,
    OpenOrderReceived,
    OrderAdopted,
    Origin,
    Terms,
)
from oms.core.fold.books import stem_and_revision
from oms.core.money import ZERO
from oms.core.terms import terms_of


def adoptions(ours: OurSide, answers: Answers, scope: Scope) -> Iterator[OrderAdopted]:
    """Yield an adoption for every order that IB names and that our books do not have.

    Open orders come first, then the day's completed ones, then executions that no order claims: the
    fuller row wins.
    """
    seen: set[int] = set()
    for row in answers.open_orders:
        event = row.event
        if ours.owner(event.order_ref, event.perm_id) is None and event.perm_id not in seen:
            seen.add(event.perm_id)
            yield _adopt_open(row, scope)
    for done_row in answers.completed_orders:
        done = done_row.event
        if ours.owner(done.order_ref, done.perm_id) is None and done.perm_id not in seen:
            seen.add(done.perm_id)
            yield _adopt_completed(done_row, answers, scope)
    for executed_row in answers.executions:
        execution = executed_row.event
        known = ours.owner(execution.order_ref, execution.perm_id)
        if known is None and execution.perm_id and execution.perm_id not in seen:
            seen.add(execution.perm_id)
            yield _adopt_executed(executed_row, answers, scope)


def adopted_order_id(perm_id: int) -> str:
    """Return our id for an order that IB named first: the same row gives the same id, so adoption
    is idempotent.
    """
    return f"perm-{perm_id}"


def _origin(client_id: int, broker_order_id: int, scope: Scope) -> Origin:
    if client_id == scope.client_id and broker_order_id > 0:
        return "previous_session"
    return "manual" if client_id == 0 else "other_client"


def _adopt_open(row: Row[OpenOrderReceived], scope: Scope) -> OrderAdopted:
    event = row.event
    return OrderAdopted(
        order_id=adopted_order_id(event.perm_id),
        origin=_origin(event.client_id, event.broker_order_id, scope),
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
    row: Row[CompletedOrderReceived], answers: Answers, scope: Scope
) -> OrderAdopted:
    event = row.event
    executed = [r.event for r in answers.executions if r.event.perm_id == event.perm_id]
    client_id = executed[0].client_id if executed else 0
    broker_order_id = executed[0].broker_order_id if executed else 0
    # totalQuantity is 0 for filled orders in field samples (broker notes: completed orders): what
    # was filled is the least it can have been.
    own = (one for one in executed if one.contract.is_combo is event.contract.is_combo)
    quantity = event.quantity or event.filled_quantity or _executed_quantity(own)
    return OrderAdopted(
        order_id=adopted_order_id(event.perm_id),
        origin=_origin(client_id, broker_order_id, scope),
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


def _adopt_executed(row: Row[ExecutionReceived], answers: Answers, scope: Scope) -> OrderAdopted:
    named = [r.event for r in answers.executions if r.event.perm_id == row.event.perm_id]
    # The execution of a combo stands for the order, those of its legs do not.
    event = next((one for one in named if one.contract.is_combo), row.event)
    same = [one for one in named if one.contract.con_id == event.contract.con_id]
    return OrderAdopted(
        order_id=adopted_order_id(event.perm_id),
        origin=_origin(event.client_id, event.broker_order_id, scope),
        account=event.account,
        contract=event.contract,
        # Only the executions are known: type and size are those of what was done, the rest is open.
        terms=Terms(side=event.side, quantity=_executed_quantity(same), order_type="", tif=""),
        perm_id=event.perm_id,
        client_id=event.client_id,
        broker_order_id=event.broker_order_id,
        order_ref=event.order_ref,
        status="",
        # Complete answers list it nowhere, so nothing of it is at work any more.
        ended=answers.complete("open_orders", "completed_orders"),
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
