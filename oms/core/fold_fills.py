"""Folds of executions, commissions and positions."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final

from oms.core import order as orders
from oms.core import position as positions
from oms.core.events import (
    CommissionReceived,
    Envelope,
    Event,
    ExecutionReceived,
    OpeningPositionRecorded,
    PortfolioReceived,
    PositionReceived,
)
from oms.core.ledger import (
    Books,
    learn,
    settle,
    stem_and_revision,
)
from oms.core.money import ZERO
from oms.core.records import (
    EarlyCommission,
    Fill,
    Order,
    Position,
    add_commission,
)


def _execution(books: Books, envelope: Envelope, event: ExecutionReceived) -> None:
    epoch = envelope.context.session_epoch
    order = books.attribute(
        event.order_ref, event.perm_id, epoch, event.client_id, event.broker_order_id
    )
    stem, revision = stem_and_revision(event.exec_id)
    earlier = books.get("fills", f"{event.account}:{stem}")
    assert earlier is None or isinstance(earlier, Fill)
    if order is not None:
        order = learn(
            books,
            envelope,
            order,
            perm_id=event.perm_id,
            client_id=event.client_id,
            broker_order_id=event.broker_order_id,
        )
        order = orders.seen_by_broker(order, envelope.sequence)
    if earlier is not None and earlier.revision >= revision:
        # An older revision that comes late: kept in the log, named by the fill, without effect.
        books.put(
            earlier.evolve(
                superseded=(*earlier.superseded, event.exec_id), last_sequence=envelope.sequence
            )
        )
    else:
        fill = _fill_from(event, envelope, order, earlier)
        fill = _with_early_commission(books, fill, envelope.sequence)
        books.put(fill)
        if order is not None:
            before = (
                (earlier.quantity, earlier.quantity * earlier.price) if earlier else (ZERO, ZERO)
            )
            order = with_fill(order, fill, *before)
            order = _with_commission(order, fill.commission_currency, _charged(fill, earlier))
        _move_position(books, envelope, fill, earlier)
    if order is not None:
        settle(books, order, envelope)


def _fill_from(
    event: ExecutionReceived, envelope: Envelope, order: Order | None, earlier: Fill | None
) -> Fill:
    stem, revision = stem_and_revision(event.exec_id)
    return Fill(
        account=event.account,
        stem=stem,
        exec_id=event.exec_id,
        revision=revision,
        order_id=order.order_id if order else (earlier.order_id if earlier else ""),
        contract=event.contract,
        side=event.side,
        quantity=event.quantity,
        price=event.price,
        venue=event.venue,
        time_text=event.time_text,
        occurred_at=envelope.context.occurred_at,
        perm_id=event.perm_id,
        client_id=event.client_id,
        broker_order_id=event.broker_order_id,
        order_ref=event.order_ref,
        liquidation=event.liquidation,
        backfilled=event.fetched,
        # A correction keeps its place in the order of fills: it restates what happened then.
        booked_sequence=earlier.booked_sequence if earlier else envelope.sequence,
        last_sequence=envelope.sequence,
        superseded=(*earlier.superseded, earlier.exec_id) if earlier else (),
        commission=earlier.commission if earlier else None,
        commission_currency=earlier.commission_currency if earlier else "",
        realised_pnl=earlier.realised_pnl if earlier else None,
    )


def _with_early_commission(books: Books, fill: Fill, sequence: int) -> Fill:
    early = books.get("early_commissions", fill.exec_id)
    if not isinstance(early, EarlyCommission) or early.joined:
        return fill
    books.put(early.evolve(joined=True))
    books.link(fill.order_id, early.sequence)
    return fill.evolve(
        commission=early.commission,
        commission_currency=early.currency,
        realised_pnl=early.realised_pnl,
        last_sequence=sequence,
    )


def with_fill(
    order: Order, fill: Fill, quantity_before: Decimal, notional_before: Decimal
) -> Order:
    """Count a fill on its order; of a combo only the combo's own executions, its legs are
    positions.
    """
    if (order.contract.sec_type == "BAG") != (fill.contract.sec_type == "BAG"):
        return order
    return order.evolve(
        filled=order.filled + fill.quantity - quantity_before,
        notional=order.notional + fill.quantity * fill.price - notional_before,
    )


def _charged(fill: Fill, earlier: Fill | None) -> Decimal:
    """Return what a fill adds to commissions; a correction may bring the report of its own."""
    before = earlier.commission if earlier and earlier.commission is not None else ZERO
    return (fill.commission if fill.commission is not None else ZERO) - before


def _with_commission(order: Order, currency: str, amount: Decimal) -> Order:
    return order.evolve(commissions=add_commission(order.commissions, currency, amount))


def _move_position(books: Books, envelope: Envelope, fill: Fill, earlier: Fill | None) -> None:
    if not positions.moves_position(fill):
        return
    position = _position_of(books, fill.account, fill)
    if earlier is None:
        position = positions.book(position, fill)
    else:
        position = positions.restate(position, books.fills_at(fill.position_key))
    _put_position(books, envelope, position)


def _position_of(
    books: Books, account: str, source: Fill | PositionReceived | PortfolioReceived
) -> Position:
    contract = source.contract
    found = books.get("positions", f"{account}:{contract.con_id}")
    return found if isinstance(found, Position) else Position(account=account, contract=contract)


def _put_position(books: Books, envelope: Envelope, position: Position) -> None:
    books.put(position.evolve(last_sequence=envelope.sequence, updated_at=envelope.recorded_at))


def _commission(books: Books, envelope: Envelope, event: CommissionReceived) -> None:
    fill = books.fill_of_execution(event.exec_id)
    if fill is None:
        books.put(
            EarlyCommission(
                exec_id=event.exec_id,
                commission=event.commission,
                currency=event.currency,
                realised_pnl=event.realised_pnl,
                sequence=envelope.sequence,
            )
        )
        return
    if event.commission is None:
        # IB's "not known yet": the report that counts comes later.
        books.put(fill.evolve(last_sequence=envelope.sequence))
        return
    known = fill.commission if fill.commission is not None else ZERO
    changed = event.commission - known
    books.put(
        fill.evolve(
            commission=event.commission,
            commission_currency=event.currency,
            realised_pnl=event.realised_pnl,
            last_sequence=envelope.sequence,
        )
    )
    order = books.order(fill.order_id)
    if order is not None:
        settle(books, _with_commission(order, event.currency, changed), envelope)
    if positions.moves_position(fill):
        position = _position_of(books, fill.account, fill)
        totals = add_commission(position.commissions, event.currency, changed)
        _put_position(books, envelope, position.evolve(commissions=totals))


def _broker_position(
    books: Books, envelope: Envelope, event: PositionReceived | PortfolioReceived
) -> None:
    position = _position_of(books, event.account, event)
    _put_position(
        books,
        envelope,
        position.evolve(
            broker_quantity=event.quantity,
            broker_average_cost=event.average_cost,
            broker_sequence=envelope.sequence,
            broker_at=envelope.recorded_at,
        ),
    )


def _opening(books: Books, envelope: Envelope, event: OpeningPositionRecorded) -> None:
    key = f"{event.account}:{event.contract.con_id}"
    found = books.get("positions", key)
    position = (
        found
        if isinstance(found, Position)
        else Position(account=event.account, contract=event.contract)
    )
    position = positions.open_with(position, event.quantity, event.average_cost)
    _put_position(books, envelope, positions.restate(position, books.fills_at(key)))


FOLDS: Final[dict[type[Event], Callable[[Books, Envelope, Any], None]]] = {
    ExecutionReceived: _execution,
    CommissionReceived: _commission,
    PositionReceived: _broker_position,
    PortfolioReceived: _broker_position,
    OpeningPositionRecorded: _opening,
}
