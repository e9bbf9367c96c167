"""What stands in the books for an event that they cannot take."""

from __future__ import annotations

from typing import Final

from oms.core.bounds import ASKED_TEXT
from oms.core.events import Context, Envelope, EventSetAside
from oms.core.fold.books import Books
from oms.core.fold.fold import Fold
from oms.core.fold.records import Anomaly, Order
from oms.core.fold.wants import Want, Wants


def set_aside(books: Books, envelope: Envelope, reason: str, wants: Wants) -> None:
    """Show an event as left out, with what it says of itself and of the only order it can be about.

    `wants` are the rows that were asked for; no others are looked at: they may have left memory.
    """
    event = envelope.event
    order = _only_order(books, wants)
    contract = getattr(event, "contract", None) or (order.contract if order is not None else None)
    name = event.type_name if isinstance(event, EventSetAside) else type(event).__name__
    books.put(
        Anomaly(
            sequence=envelope.sequence,
            kind="set_aside",
            text=ASKED_TEXT.fitted(
                f"event {envelope.sequence} ({name}) is left out of the books: {reason}"
            ),
            order_id=order.order_id
            if order is not None
            else getattr(event, "order_id", None) or "",
            account=getattr(event, "account", "") or (order.account if order is not None else ""),
            con_id=getattr(event, "con_id", 0) if contract is None else contract.con_id,
            symbol=getattr(event, "symbol", "") if contract is None else contract.symbol,
        )
    )
    if order is not None:
        books.link(order.order_id, envelope.sequence)


def _only_order(books: Books, wants: Wants) -> Order | None:
    found: dict[str, Order] = {}
    for table, column, value in wants:
        order = None
        if table == "orders" and not column:
            order = books.order(str(value))
        elif table == "orders" and column == "perm_id":
            order = books.owner_of(int(value))
        if order is not None:
            found[order.order_id] = order
    return next(iter(found.values())) if len(found) == 1 else None


def _unreadable(books: Books, envelope: Envelope, event: EventSetAside) -> None:
    set_aside(books, envelope, event.reason, _order_named(event, envelope.context, books))


def _order_named(event: EventSetAside, context: Context, books: Books) -> Wants:
    return (Want("orders", "", event.order_id),) if event.order_id else ()


FOLDS: Final = (Fold(EventSetAside, _unreadable, _order_named),)
