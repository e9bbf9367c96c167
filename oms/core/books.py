"""The folds: from the log to orders, fills, positions, sessions, breaks and runs.

`apply` is the only writer of the books. The live books, the rebuild, the question "as of" and the
tests all call it, so they cannot disagree. It reads no clock and does no I/O: the result depends on
the books and the envelope alone. The books are changed in place, because copying ten thousand
orders for each event is what a fold at 100,000 events a second cannot afford; every record inside
is frozen, so whoever got one keeps what it was.

Attribution happens here (design D1, D7). A broker message belongs to the order whose id it carries
in orderRef, else to the one that owns its permId, else to the one that used its order id in the
same session and client id. An order id alone never reaches across sessions: IB hands them out
again.

Records that have ended may leave memory (`evictable`); `wanted` names the stored rows that an event
can touch, and the caller puts them back (`restore`) before it applies the event. What happens if
the process dies: nothing, the log is the truth and the rows carry the sequence they have reached.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from oms.core import fold_cases, fold_fills, fold_orders, fold_sessions
from oms.core.events import (
    BreakClosed,
    BreakOpened,
    BreakUpdated,
    CancelDenied,
    CancelIntended,
    CommissionReceived,
    CompletedOrderReceived,
    Context,
    DoubtResolved,
    Envelope,
    Event,
    ExecutionReceived,
    ModifyDenied,
    ModifyIntended,
    NoticeReceived,
    OpeningPositionRecorded,
    OpenOrderReceived,
    OrderAdopted,
    OrderDenied,
    OrderIntended,
    OrderMessageSent,
    OrderNotSent,
    OrderStatusReceived,
    PortfolioReceived,
    PositionReceived,
)
from oms.core.ledger import Books, broker_key, stem_and_revision
from oms.core.records import (
    TABLES,
)

__all__ = ["TABLES", "Books", "Want", "apply", "initial", "wanted"]


@dataclass(frozen=True, slots=True)
class Want:
    """Stored rows that an event may need: those of a table whose column has a value ("" is the
    key).
    """

    table: str
    column: str
    value: str | int


def initial() -> Books:
    """Return empty books."""
    return Books()


def apply(books: Books, envelope: Envelope) -> Books:
    """Return the books after one more event; see the module's docstring for what is promised."""
    assert envelope.sequence == books.sequence + 1, (
        f"expected event {books.sequence + 1}, found {envelope.sequence}"
    )
    books.sequence = envelope.sequence
    fold = _FOLDS.get(type(envelope.event))
    if fold is not None:
        fold(books, envelope, envelope.event)
    return books


def wanted(event: Event, context: Context) -> tuple[Want, ...]:
    """Return the stored rows that applying an event may need, whatever the books hold."""
    epoch = context.session_epoch
    match event:
        case ExecutionReceived():
            stem, revision = stem_and_revision(event.exec_id)
            wants = [
                Want("fills", "", f"{event.account}:{stem}"),
                Want("positions", "", f"{event.account}:{event.contract.con_id}"),
                Want("early_commissions", "", event.exec_id),
                *_order_wants(event.order_ref, event.perm_id),
            ]
            if revision > 1:
                key = f"{event.account}:{event.contract.con_id}"
                wants.append(Want("fills", "position_key", key))
            return tuple(wants)
        case CommissionReceived():
            return (Want("fills", "exec_id", event.exec_id),)
        case OpenOrderReceived() | CompletedOrderReceived():
            return tuple(_order_wants(event.order_ref, event.perm_id))
        case OrderStatusReceived():
            return tuple(_order_wants("", event.perm_id))
        case NoticeReceived():
            return ()
        case OrderMessageSent():
            if context.correlation_id:
                return (Want("orders", "", context.correlation_id),)
            return (
                Want(
                    "orders",
                    "broker_key",
                    broker_key(epoch, event.client_id, event.broker_order_id),
                ),
            )
        case OrderAdopted():
            return (
                Want("orders", "", event.order_id),
                Want("fills", "perm_id", event.perm_id),
            )
        case OpeningPositionRecorded():
            key = f"{event.account}:{event.contract.con_id}"
            return (Want("positions", "", key), Want("fills", "position_key", key))
        case PositionReceived() | PortfolioReceived():
            return (Want("positions", "", f"{event.account}:{event.contract.con_id}"),)
        case (
            CancelIntended()
            | CancelDenied()
            | ModifyIntended()
            | ModifyDenied()
            | OrderNotSent()
            | DoubtResolved()
            | OrderIntended()
            | OrderDenied()
        ):
            return (Want("orders", "", event.order_id),)
        case BreakOpened() | BreakUpdated() | BreakClosed():
            return (Want("breaks", "", event.break_id),)
        case _:
            return ()


def _order_wants(order_ref: str, perm_id: int) -> list[Want]:
    wants = []
    if order_ref:
        wants.append(Want("orders", "", order_ref))
    if perm_id:
        wants.append(Want("orders", "perm_id", perm_id))
    return wants


_FOLDS: Final[dict[type[Event], Callable[[Books, Envelope, Any], None]]] = {
    **fold_orders.FOLDS,
    **fold_fills.FOLDS,
    **fold_sessions.FOLDS,
    **fold_cases.FOLDS,
}
