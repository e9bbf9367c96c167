"""Folds of executions, commissions and positions."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from oms.core import codec
from oms.core.contracts import Contract
from oms.core.events import (
    BooksAdjusted,
    CashOpened,
    CommissionReceived,
    CommissionRestated,
    Context,
    Envelope,
    ExecutionReceived,
    NaturalKeyConflict,
    OpeningPositionRecorded,
    PortfolioReceived,
    PositionReceived,
)
from oms.core.fold import combos, positions
from oms.core.fold import order_state as orders
from oms.core.fold.books import (
    Books,
    count,
    learn_perm_id,
    set_system,
    settle,
    stem_and_revision,
)
from oms.core.fold.disputes import dispute, is_copy, show_dispute
from oms.core.fold.fold import Fold
from oms.core.fold.ownership import (
    disprove,
    executed_alike,
    fills_in_question,
    named_by,
    note_unknown,
)
from oms.core.fold.records import (
    AdjustmentMade,
    Anomaly,
    EarlyCommission,
    Fill,
    Order,
    OrderChanges,
    Position,
    PositionChanges,
    SessionRecord,
    add_commission,
)
from oms.core.fold.times import note_time
from oms.core.fold.wants import (
    Want,
    Wants,
    companions,
    nothing,
    order_named,
    order_numbered,
    position_in,
    unknown_named,
)
from oms.core.money import ZERO


def _execution(books: Books, envelope: Envelope, event: ExecutionReceived) -> None:
    disprove(books, envelope, event)
    epoch, sequence = envelope.context.session_epoch, envelope.sequence
    order = books.attribute(
        event.order_ref, event.perm_id, epoch, event.client_id, event.broker_order_id
    )
    stem, revision = stem_and_revision(event.exec_id)
    earlier = books.fill(f"{event.account}:{stem}")
    if order is None and earlier is not None:
        order = books.order(earlier.order_id)
    if order is None:
        order = executed_alike(books, epoch, _fill_from(event, envelope, None, earlier))
    changes: OrderChanges = {}
    if order is None:
        note_unknown(books, envelope, event)
    elif not is_copy(order, event):
        # An execution can be fetched in a later session, so it teaches no order id.
        changes = learn_perm_id(books, envelope, order, event.perm_id)
        changes |= named_by(order, event.order_ref)
        if order.terms_known:
            changes |= orders.seen_by_broker(order, sequence)
    if earlier is not None and earlier.revision >= revision:
        # An older revision that comes late: kept in the log, named by the fill, without effect.
        if event.exec_id != earlier.exec_id and event.exec_id not in earlier.superseded:
            superseded = (*earlier.superseded, event.exec_id)
            books.put(earlier.evolve(superseded=superseded).after(earlier, sequence))
    else:
        note_time(books, envelope, event.time_text, pushed=not event.fetched)
        fill = _fill_from(event, envelope, order, earlier)
        fill = _with_early_commission(books, fill).after(earlier, sequence)
        if order is not None:
            fill = _held_against(books, order, fill)
            counts_it = earlier is not None and earlier.order_id == order.order_id
            changes |= counted(order, fill, earlier if counts_it else None)
            _link_told(books, fill, but=sequence)
        books.put(fill)
        _move_position(books, envelope, fill, earlier)
    if order is not None:
        settle(books, envelope, order, changes)


def _fill_from(
    event: ExecutionReceived, envelope: Envelope, order: Order | None, earlier: Fill | None
) -> Fill:
    stem, revision = stem_and_revision(event.exec_id)
    return Fill(
        account=event.account,
        stem=stem,
        exec_id=event.exec_id,
        revision=revision,
        order_id=order.order_id if order else "",
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
        booked_at=earlier.booked_at if earlier else envelope.recorded_at,
        last_sequence=envelope.sequence,
        superseded=(*earlier.superseded, earlier.exec_id) if earlier else (),
        commission=earlier.commission if earlier else None,
        commission_currency=earlier.commission_currency if earlier else "",
        realised_pnl=earlier.realised_pnl if earlier else None,
    )


def _held_against(books: Books, order: Order, fill: Fill) -> Fill:
    """Return a fill of an order with what it contradicts, which is kept for the reconciler."""
    disputed = dispute(order, fill)
    if (order.order_id, disputed) != (fill.order_id, fill.disputed):
        fill = fill.evolve(order_id=order.order_id, disputed=disputed)
    show_dispute(books, order, fill)
    return fill


def _with_early_commission(books: Books, fill: Fill) -> Fill:
    *before, _ = _charged_as(fill.exec_id)
    for exec_id in before:
        fill = _charged_before(books, fill, exec_id)
    early = books.get("early_commissions", fill.exec_id)
    if not isinstance(early, EarlyCommission) or early.joined:
        return fill
    fill = _joined(books, fill, early)
    if early.commission is None:
        return fill
    return fill.evolve(
        commission=early.commission,
        commission_currency=early.currency,
        commission_sequence=early.sequence,
        realised_pnl=early.realised_pnl,
    )


def _charged_as(exec_id: str) -> tuple[str, ...]:
    """Return the ids under which an execution can have been charged: its revisions up to this."""
    stem, revision = stem_and_revision(exec_id)
    return (*(f"{stem}.{number:02}" for number in range(1, revision)), exec_id)


def _charged_before(books: Books, fill: Fill, exec_id: str) -> Fill:
    """Give a fill what was charged for a revision that our books never had."""
    early = books.get("early_commissions", exec_id)
    if not isinstance(early, EarlyCommission) or early.joined:
        return fill
    fill = _joined(books, fill, early)
    if early.commission is None:
        return fill
    return fill.evolve(
        commission=early.commission,
        commission_currency=early.currency,
        realised_pnl=early.realised_pnl,
    )


def _joined(books: Books, fill: Fill, early: EarlyCommission) -> Fill:
    books.put(early.evolve(joined=True))
    return fill.evolve(told_sequences=(*fill.told_sequences, early.sequence))


def counted(order: Order, fill: Fill, earlier: Fill | None = None) -> OrderChanges:
    """Count a fill on its order, in place of the revision that it corrects.

    What cannot be the order's own is summed beside what it has filled.
    """
    changes: OrderChanges = {}
    before = earlier.commission if earlier and earlier.commission is not None else ZERO
    charged = (fill.commission if fill.commission is not None else ZERO) - before
    if charged:
        currency = fill.commission_currency
        changes["commissions"] = add_commission(order.commissions, currency, charged)
    filled, notional, disputed, parts = order.filled, order.notional, order.disputed, order.parts
    revisions = [(fill, 1)] if earlier is None else [(earlier, -1), (fill, 1)]
    for one, sign in revisions:
        if one.disputed:
            disputed += sign * one.quantity
        elif order.contract.is_combo:
            parts = combos.with_fill(parts, one, sign)
        elif one.contract.con_id == order.contract.con_id or order.terms_known:
            # Of an order that only executions show, these may be the legs of a combo.
            filled += sign * one.quantity
            notional += sign * one.quantity * one.price
    if order.contract.is_combo:
        filled, notional = combos.filled_of(order.contract.legs, parts)
        changes["parts"] = parts
    if earlier is not None and order.status_filled is not None:
        # What IB claimed had counted the execution that is now restated.
        restated = filled - order.filled + disputed - order.disputed
        changes["status_filled"] = order.status_filled + restated
    changes |= {"filled": filled, "notional": notional, "disputed": disputed}
    if not order.terms_known and filled > order.terms.quantity:
        # Its executions are all that is known of it: it asked for at least as much.
        changes["terms"] = order.terms.evolve(quantity=filled)
    return changes


def claim_fills(books: Books, order: Order, perm_id: int) -> OrderChanges:
    """Give an order the fills of its permanent number that came before it was known."""
    changes: OrderChanges = {}
    for fill in books.unclaimed(perm_id):
        claimed = _held_against(books, order, fill)
        books.put(claimed)
        _link_told(books, claimed)
        counts = counted(order, claimed)
        order = order.evolve(**counts)
        changes |= counts
    return changes


def _link_told(books: Books, fill: Fill, but: int = 0) -> None:
    """Let the order of a fill have what was told of it, also before it was known whose it is."""
    for sequence in sorted(fill.told - {but}):
        books.link(fill.order_id, sequence)


def _move_position(books: Books, envelope: Envelope, fill: Fill, earlier: Fill | None) -> None:
    if earlier is not None and earlier.position_key != fill.position_key:
        # A correction into another contract: it is taken back in the one and booked in the other.
        _book(books, envelope, _taken_back(earlier))
        earlier = None
    if earlier is None:
        _book(books, envelope, fill)
    elif positions.is_booked(fill):
        position = _position_of(books, fill.account, fill.contract)
        changes = positions.restated(position, books.fills_at(fill.position_key))
        _put_moved(books, envelope, position, changes)


def _book(books: Books, envelope: Envelope, fill: Fill) -> None:
    if positions.is_booked(fill):
        position = _position_of(books, fill.account, fill.contract)
        _put_moved(books, envelope, position, positions.booked(position, (fill,)))


def _taken_back(fill: Fill) -> Fill:
    charged = fill.commission
    return fill.evolve(quantity=-fill.quantity, commission=None if charged is None else -charged)


def _position_of(books: Books, account: str, contract: Contract) -> Position:
    found = books.get("positions", f"{account}:{contract.con_id}")
    return found if isinstance(found, Position) else Position(account=account, contract=contract)


def _put_moved(
    books: Books, envelope: Envelope, position: Position, changes: PositionChanges
) -> None:
    sequence, at = envelope.sequence, envelope.recorded_at
    books.put(
        position.evolve(
            **changes, moved_sequence=sequence, moved_at=at, last_sequence=sequence, updated_at=at
        )
    )


def _commission(books: Books, envelope: Envelope, event: CommissionReceived) -> None:
    fill = _fill_charged(books, event.exec_id)
    if fill is None:
        _keep_early(books, envelope, event)
        return
    is_older = fill.exec_id != event.exec_id
    if event.commission is None:
        return  # IB's "not known yet".
    if is_older and fill.commission_sequence:
        # What a revision cost whose correction has its own cost.
        fill = fill.after(fill, envelope.sequence)
        books.put(fill)
        if fill.order_id:
            _link_told(books, fill)
        return
    known = fill.commission if fill.commission is not None else ZERO
    changed = event.commission - known
    # What a corrected execution had is not what IB said for its correction.
    is_other = fill.commission_sequence and changed
    books.put(
        fill.after(
            fill,
            envelope.sequence,
            commission=event.commission,
            commission_currency=event.currency,
            commission_sequence=0 if is_older else envelope.sequence,
            commission_was=known if is_other else fill.commission_was,
            realised_pnl=event.realised_pnl,
        )
    )
    order = books.order(fill.order_id)
    if order is not None:
        totals = add_commission(order.commissions, event.currency, changed)
        settle(books, envelope, order, {"commissions": totals})
    if positions.is_booked(fill):
        position = _position_of(books, fill.account, fill.contract)
        totals = add_commission(position.commissions, event.currency, changed)
        books.put(
            position.evolve(
                commissions=totals,
                last_sequence=envelope.sequence,
                updated_at=envelope.recorded_at,
            )
        )


def _fill_charged(books: Books, exec_id: str) -> Fill | None:
    """Return the fill that an execution is or was, before its correction."""
    found = books.fill_of_execution(exec_id)
    if found is not None:
        return found
    revision = stem_and_revision(exec_id)[1]
    fills = (books.fill(key) for key in _keys_of(books, exec_id))
    return next((fill for fill in fills if fill is not None and revision < fill.revision), None)


def _keys_of(books: Books, exec_id: str) -> tuple[str, ...]:
    """Return the keys that an execution's fill may have: a commission does not name the account."""
    session = books.get("sessions", str(books.system.session_epoch))
    # One that is over may have left memory, where a rebuild still has it.
    if not isinstance(session, SessionRecord) or not session.live:
        return ()
    stem, _ = stem_and_revision(exec_id)
    return tuple(f"{account}:{stem}" for account in session.accounts)


def _keep_early(books: Books, envelope: Envelope, event: CommissionReceived) -> None:
    early = books.get("early_commissions", event.exec_id)
    if isinstance(early, EarlyCommission) and early.commission is not None:
        return  # "Not known yet" repeated after the report says nothing.
    books.put(
        EarlyCommission(
            exec_id=event.exec_id,
            commission=event.commission,
            currency=event.currency,
            realised_pnl=event.realised_pnl,
            sequence=envelope.sequence,
        )
    )


def _broker_position(
    books: Books, envelope: Envelope, event: PositionReceived | PortfolioReceived
) -> None:
    position = _position_of(books, event.account, event.contract)
    books.put(
        position.evolve(
            **_mark(event, envelope.recorded_at),
            broker_quantity=event.quantity,
            broker_average_cost=event.average_cost,
            broker_sequence=envelope.sequence,
            broker_at=envelope.recorded_at,
            last_sequence=envelope.sequence,
            updated_at=envelope.recorded_at,
        )
    )


def _mark(event: PositionReceived | PortfolioReceived, at: datetime) -> dict[str, object]:
    """Return what only a portfolio row says; a position row leaves the last one standing."""
    if isinstance(event, PositionReceived):
        return {}
    return {
        # 0 is what IB writes where it has no price.
        "broker_price": event.market_price or None,
        "broker_realised_pnl": event.realised_pnl,
        "broker_unrealised_pnl": event.unrealised_pnl,
        "broker_marked_at": at,
    }


def _conflict(books: Books, envelope: Envelope, event: NaturalKeyConflict) -> None:
    """Take a commission that IB says anew for an execution; of any other fact the first counts."""
    told = _commission_in(event)
    if told is not None:
        _commission(books, envelope, told)
    elif envelope.context.actor == "broker":
        # By another actor: somebody used an order id twice. It is refused, and no contradiction of
        # the broker's.
        text = (
            f"{event.key} came again with other contents; event {event.stored_sequence} has the"
            " first"
        )
        count(
            books,
            Anomaly(
                sequence=envelope.sequence,
                kind="contradiction",
                text=text,
                about=f"key {event.key}",
                last_sequence=envelope.sequence,
            ),
        )


def _commission_in(event: NaturalKeyConflict) -> CommissionReceived | None:
    if event.type_name != CommissionReceived.__name__:
        return None
    told = codec.decode(event.type_name, 1, event.payload)
    assert isinstance(told, CommissionReceived)
    return told


def _commission_restated(books: Books, envelope: Envelope, event: CommissionRestated) -> None:
    told = CommissionReceived(
        exec_id=event.exec_id,
        commission=event.commission,
        currency=event.currency,
        realised_pnl=event.realised_pnl,
    )
    _commission(books, envelope, told)


def _adjusted(books: Books, envelope: Envelope, event: BooksAdjusted) -> None:
    wanted = event.adjustment
    if wanted.contract is None:
        key = f"{wanted.account}:{wanted.currency}"
        known = books.system.cash_adjusted
        set_system(books, cash_adjusted={**known, key: known.get(key, ZERO) + wanted.quantity})
        return
    position = _position_of(books, wanted.account, wanted.contract)
    made = AdjustmentMade(
        sequence=envelope.sequence,
        quantity=wanted.quantity,
        price=wanted.price,
        ratio=wanted.ratio,
        moves_cash=wanted.moves_cash,
        held=None if wanted.ratio is None else position.quantity,
    )
    _put_moved(books, envelope, position, positions.adjusted(position, made))


def _cash_opened(books: Books, envelope: Envelope, event: CashOpened) -> None:
    key = f"{event.account}:{event.currency}"
    known = books.system.cash_openings
    set_system(books, cash_openings={**known, key: event.amount - event.explained})


def _opening(books: Books, envelope: Envelope, event: OpeningPositionRecorded) -> None:
    position = _position_of(books, event.account, event.contract)
    fills = books.fills_at(position.key)
    changes = positions.opened(position, event.quantity, event.average_cost, fills)
    _put_moved(books, envelope, position, changes)


def _for_execution(event: ExecutionReceived, context: Context, books: Books) -> Wants:
    stem, revision = stem_and_revision(event.exec_id)
    position = position_in(event.account, event.contract)
    earlier = books.fill(f"{event.account}:{stem}")
    return (
        Want("fills", "", f"{event.account}:{stem}"),
        *(Want("early_commissions", "", one) for one in _charged_as(event.exec_id)),
        *(() if earlier is None else companions(earlier)),
        position,
        # A correction folds the position again over all its fills.
        *((Want("fills", "position_key", position.value),) if revision > 1 else ()),
        *order_named(books, event.order_ref, event.perm_id),
        *unknown_named(books, event.perm_id),
        *order_numbered(context, event.client_id, event.broker_order_id),
        *fills_in_question(books, context, event),
    )


def _for_commission(
    event: CommissionReceived | CommissionRestated, context: Context, books: Books
) -> Wants:
    fill = _fill_charged(books, event.exec_id)
    if fill is not None:
        return companions(fill)
    # A report that came early and was joined is remembered: said again, it changes nothing.
    early = Want("early_commissions", "", event.exec_id)
    corrected = (Want("fills", "", key) for key in _keys_of(books, event.exec_id))
    return early, Want("fills", "exec_id", event.exec_id), *corrected


def _for_position(
    event: PositionReceived | PortfolioReceived, context: Context, books: Books
) -> Wants:
    return (position_in(event.account, event.contract),)


def _for_opening(event: OpeningPositionRecorded, context: Context, books: Books) -> Wants:
    position = position_in(event.account, event.contract)
    return position, Want("fills", "position_key", position.value)


def _for_conflict(event: NaturalKeyConflict, context: Context, books: Books) -> Wants:
    told = _commission_in(event)
    return () if told is None else _for_commission(told, context, books)


def _for_adjustment(event: BooksAdjusted, context: Context, books: Books) -> Wants:
    contract = event.adjustment.contract
    return () if contract is None else (position_in(event.adjustment.account, contract),)


FOLDS: Final = (
    Fold(ExecutionReceived, _execution, _for_execution),
    Fold(CommissionReceived, _commission, _for_commission),
    Fold(PositionReceived, _broker_position, _for_position),
    Fold(PortfolioReceived, _broker_position, _for_position),
    Fold(OpeningPositionRecorded, _opening, _for_opening),
    Fold(NaturalKeyConflict, _conflict, _for_conflict),
    Fold(BooksAdjusted, _adjusted, _for_adjustment),
    Fold(CommissionRestated, _commission_restated, _for_commission),
    Fold(CashOpened, _cash_opened, nothing),
)
