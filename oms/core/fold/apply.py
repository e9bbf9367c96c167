"""The folds: from the log to orders, fills, positions, sessions, breaks and runs.

`apply` is the only writer of the books. The live books, the rebuild, the question "as of" and the
tests all call it, so they cannot disagree. It reads no clock and does no I/O: the result depends on
the books and the envelope alone. The books are changed in place, because copying ten thousand
orders for each event is what a fold at 100,000 events a second cannot afford; a record inside is
replaced and never changed, so whoever got one keeps what it was.

Attribution happens here (decision D1, D7). A broker message belongs to the order whose id it
carries in orderRef, else to the one that owns its permId, else to the one that used its order id in
the same session and client id. An order id alone never reaches across sessions: IB hands them out
again.

Records that have ended may leave memory (`evictable`). `wanted` names the stored rows that an event
can touch and `companions` those that must stand beside them; the caller puts them back (`restore`)
before it applies the event, and the books are the same as if nothing had ever left. If the process
dies, nothing is lost: the log is the truth, and the rows carry the sequence they have reached.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple, get_args

from oms.core import codec
from oms.core.events import (
    AlarmCleared,
    AlarmRaised,
    BooksAdjusted,
    BreakAssigned,
    BreakClosed,
    BreakExplained,
    BreakOpened,
    BreakUpdated,
    CancelDenied,
    CancelIntended,
    CaseActionProposed,
    CommissionReceived,
    CommissionRestated,
    CompletedOrderReceived,
    Context,
    DoubtResolutionDenied,
    DoubtResolved,
    Envelope,
    Event,
    ExecutionReceived,
    ModifyDenied,
    ModifyIntended,
    NaturalKeyConflict,
    NoticeReceived,
    OpeningPositionRecorded,
    OpenOrderReceived,
    OrderAdopted,
    OrderBoundReceived,
    OrderDenied,
    OrderDoubted,
    OrderIntended,
    OrderMessageSent,
    OrderNotSent,
    OrderStatusReceived,
    PortfolioReceived,
    PositionReceived,
    SessionClosed,
    SessionReady,
)
from oms.core.fold import alarms, cases, fills, orders, sessions
from oms.core.fold.books import NO_ORDER_IDS, Books, broker_key, stem_and_revision
from oms.core.fold.records import TABLES, AnyRecord, Fill

__all__ = ["TABLES", "Books", "Want", "apply", "companions", "initial", "wanted"]


class Want(NamedTuple):
    """Stored rows that an event may need: those of a table whose column has a value ("" is the
    key).

    A tuple, because two or three are made for every event, and put into a set.
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


def wanted(event: Event, context: Context, books: Books) -> tuple[Want, ...]:
    """Return the stored rows that applying an event may need, whether or not memory holds them."""
    find = _WANTED.get(type(event))
    return () if find is None else find(event, context, books)


def companions(record: AnyRecord) -> tuple[Want, ...]:
    """Return the stored rows that must be in memory beside one that an event needs.

    A late commission names a fill, and moves the fill's order and position.
    """
    if not isinstance(record, Fill):
        return ()
    position = Want("positions", "", record.position_key)
    return (position, Want("orders", "", record.order_id)) if record.order_id else (position,)


_Wants = tuple[Want, ...]


def _for_execution(event: ExecutionReceived, context: Context, books: Books) -> _Wants:
    stem, revision = stem_and_revision(event.exec_id)
    position_key = f"{event.account}:{event.contract.con_id}"
    earlier = books.fill(f"{event.account}:{stem}")
    return (
        Want("fills", "", f"{event.account}:{stem}"),
        *(() if earlier is None else companions(earlier)),
        Want("positions", "", position_key),
        # A correction folds the position again over all its fills.
        *((Want("fills", "position_key", position_key),) if revision > 1 else ()),
        *_for_order(event.order_ref, event.perm_id),
        *_for_numbers(event, context),
    )


def _for_commission(
    event: CommissionReceived | CommissionRestated, context: Context, books: Books
) -> _Wants:
    fill = books.fill_of_execution(event.exec_id)
    if fill is not None:
        return companions(fill)
    # A report that came early and was joined is remembered: said again, it changes nothing.
    early = Want("early_commissions", "", event.exec_id)
    return early, Want("fills", "exec_id", event.exec_id)


def _for_open_order(event: OpenOrderReceived, context: Context, books: Books) -> _Wants:
    return _for_order(event.order_ref, event.perm_id) + _for_numbers(event, context)


def _for_completed(event: CompletedOrderReceived, context: Context, books: Books) -> _Wants:
    return _for_order(event.order_ref, event.perm_id)


def _for_status(
    event: OrderStatusReceived | OrderBoundReceived, context: Context, books: Books
) -> _Wants:
    return _for_order("", event.perm_id) + _for_numbers(event, context)


def _for_notice(event: NoticeReceived, context: Context, books: Books) -> _Wants:
    if event.subject_id in NO_ORDER_IDS:
        return ()
    key = broker_key(context.session_epoch, books.system.client_id, event.subject_id)
    return (Want("orders", "broker_key", key),)


def _for_message_sent(event: OrderMessageSent, context: Context, books: Books) -> _Wants:
    names = (event.order_ref, context.correlation_id)
    return tuple(Want("orders", "", name) for name in names if name)


def _for_our_word(event: _OurWord, context: Context, books: Books) -> _Wants:
    return (Want("orders", "", event.order_id),)


def _for_opening(event: OpeningPositionRecorded, context: Context, books: Books) -> _Wants:
    position_key = f"{event.account}:{event.contract.con_id}"
    return Want("positions", "", position_key), Want("fills", "position_key", position_key)


def _for_position(
    event: PositionReceived | PortfolioReceived, context: Context, books: Books
) -> _Wants:
    return (Want("positions", "", f"{event.account}:{event.contract.con_id}"),)


def _for_adjustment(event: BooksAdjusted, context: Context, books: Books) -> _Wants:
    contract = event.adjustment.contract
    if contract is None:
        return ()
    return (Want("positions", "", f"{event.adjustment.account}:{contract.con_id}"),)


def _for_conflict(event: NaturalKeyConflict, context: Context, books: Books) -> _Wants:
    if event.type_name != CommissionReceived.__name__:
        return ()
    told = codec.decode(event.type_name, 1, event.payload)
    assert isinstance(told, CommissionReceived)
    return _for_commission(told, context, books)


def _for_session(event: SessionReady | SessionClosed, context: Context, books: Books) -> _Wants:
    return (Want("sessions", "", str(context.session_epoch)),)


def _for_case(event: _AboutCase, context: Context, books: Books) -> _Wants:
    return (Want("breaks", "", event.break_id),)


def _for_alarm(event: AlarmRaised | AlarmCleared, context: Context, books: Books) -> _Wants:
    return (Want("alarms", "", event.alarm_id),)


def _for_order(order_id: str, perm_id: int) -> _Wants:
    by_number = (Want("orders", "perm_id", perm_id),) if perm_id else ()
    return (Want("orders", "", order_id), *by_number) if order_id else by_number


def _for_numbers(
    event: ExecutionReceived | OpenOrderReceived | OrderStatusReceived | OrderBoundReceived,
    context: Context,
) -> _Wants:
    if event.broker_order_id in NO_ORDER_IDS:
        return ()
    key = broker_key(context.session_epoch, event.client_id, event.broker_order_id)
    return (Want("orders", "broker_key", key),)


_OurWord = (
    OrderIntended
    | OrderDenied
    | OrderAdopted
    | OrderNotSent
    | ModifyIntended
    | ModifyDenied
    | CancelIntended
    | CancelDenied
    | OrderDoubted
    | DoubtResolutionDenied
    | DoubtResolved
)

_AboutCase = (
    BreakOpened | BreakUpdated | BreakClosed | BreakAssigned | BreakExplained | CaseActionProposed
)

#: What each event may need; the others need nothing but what is always in memory.
_WANTED: Final[dict[type[Event], Callable[[Any, Context, Books], _Wants]]] = {
    **dict.fromkeys(get_args(_OurWord), _for_our_word),
    OrderMessageSent: _for_message_sent,
    OrderStatusReceived: _for_status,
    OrderBoundReceived: _for_status,
    OpenOrderReceived: _for_open_order,
    CompletedOrderReceived: _for_completed,
    NoticeReceived: _for_notice,
    ExecutionReceived: _for_execution,
    CommissionReceived: _for_commission,
    CommissionRestated: _for_commission,
    OpeningPositionRecorded: _for_opening,
    PositionReceived: _for_position,
    PortfolioReceived: _for_position,
    SessionReady: _for_session,
    SessionClosed: _for_session,
    BooksAdjusted: _for_adjustment,
    NaturalKeyConflict: _for_conflict,
    **dict.fromkeys(get_args(_AboutCase), _for_case),
}

_FOLDS: Final[dict[type[Event], Callable[[Books, Envelope, Any], None]]] = {
    **orders.FOLDS,
    **fills.FOLDS,
    **sessions.FOLDS,
    **cases.FOLDS,
    **alarms.FOLDS,
}
