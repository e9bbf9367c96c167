"""Positions and realised P&L from fills, by average cost.

The rule: a fill that opens or adds moves the average price by quantity; a fill that reduces
realises ``(price - average) * closed quantity * multiplier`` and leaves the average; a fill that
crosses zero closes at its price and opens the rest there. Commissions are kept beside, per
currency, never mixed into prices: IB's own average cost includes them (broker notes: positions) and
is shown beside ours as a hint, not used.

A correction restates: the position is folded again over all its fills in booking order, because an
average depends on the order of fills and a mere reversal would leave the wrong one behind.

An adjustment (a split, an assignment, a transfer that a person or a policy booked) has its place
among the fills. A split divides the average and changes the quantity by what IB showed, IB's own
rounding of fractions included; any other moves the position like a fill at its price, or at the
position's own average, which realises nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import assert_never

from oms.core.fold.records import AdjustmentMade, Fill, Position, PositionChanges, add_commission
from oms.core.money import ZERO
from oms.core.money_rules import CONVERSION_VENUE, rule_of


def is_booked(fill: Fill) -> bool:
    """Say whether a fill is in the books of its contract: that of a combo is not, its legs' are."""
    return rule_of(fill.contract.sec_type).cash != "legs"


def is_conversion(fill: Fill) -> bool:
    """Say whether a fill only converts currencies: both balances move, and no position."""
    is_pair = rule_of(fill.contract.sec_type).cash == "pair"
    return is_pair and CONVERSION_VENUE in (fill.venue, fill.contract.exchange)


def booked(position: Position, fills: Iterable[Fill]) -> PositionChanges:
    """Return what more fills, in booking order, change about a position."""
    quantity, average = position.quantity, position.average_price
    realised, commissions = position.realised_pnl, position.commissions
    converted, converted_cost = position.converted, position.converted_cost
    closed_at_zero, count = position.closed_at_zero, position.fill_count
    for fill in fills:
        gained = ZERO
        if is_conversion(fill):
            converted += fill.signed_quantity
            converted_cost += fill.signed_quantity * fill.price
        else:
            quantity, average, gained = _move(quantity, average, fill.signed_quantity, fill.price)
        if gained:
            realised += gained * fill.contract.units
            closed_at_zero += ZERO if fill.price else gained * fill.contract.units
        if fill.commission is not None:
            commissions = add_commission(commissions, fill.commission_currency, fill.commission)
        count += 1
    return {
        "quantity": quantity,
        "average_price": average,
        "realised_pnl": realised,
        "commissions": commissions,
        "converted": converted,
        "converted_cost": converted_cost,
        "closed_at_zero": closed_at_zero,
        "fill_count": count,
    }


def as_opened(position: Position) -> Position:
    """Return a position as it was at its opening balance, before anything moved it."""
    return position.evolve(
        quantity=position.opening_quantity,
        average_price=position.opening_average_price,
        realised_pnl=ZERO,
        commissions=(),
        converted=ZERO,
        converted_cost=ZERO,
        closed_at_zero=ZERO,
        fill_count=0,
        uncashed=ZERO,
    )


def restated(position: Position, fills: Iterable[Fill]) -> PositionChanges:
    """Return the position folded again from its opening balance over fills and adjustments."""
    fresh = as_opened(position)
    waiting = sorted(fills, key=lambda f: f.booked_sequence)
    for made in position.adjustments:
        earlier = [f for f in waiting if f.booked_sequence < made.sequence]
        waiting = waiting[len(earlier) :]
        fresh = fresh.evolve(**booked(fresh, earlier))
        fresh = fresh.evolve(**moved_by(fresh, made))
    changes = booked(fresh, waiting)
    changes["uncashed"] = fresh.uncashed
    return changes


def adjusted(position: Position, made: AdjustmentMade) -> PositionChanges:
    """Return what an adjustment changes about a position; it is the newest that moves it."""
    changes = moved_by(position, made)
    changes["adjustments"] = (*position.adjustments, made)
    return changes


def explained_cash(position: Position) -> Decimal | None:
    """Return what fills and adjustments have done to the cash in the contract's currency; None
    where it does not follow from them (`money_rules`). Commissions are beside it.
    """
    match rule_of(position.contract.sec_type).cash:
        case "price" | "pair":
            # By average cost every fill changes `realised - cost` by exactly what it pays or
            # brings, so that the cash follows from the position itself, corrections included.
            units = position.contract.units
            cost = position.quantity * position.average_price
            opening = position.opening_quantity * position.opening_average_price
            paid = (cost - opening) * units + position.converted_cost
            return position.realised_pnl - paid - position.uncashed
        case "result":
            # IB's cost of what was held before the log has commissions in it that were paid then.
            is_ours = not position.opening_quantity or not position.realised_pnl
            return position.realised_pnl if is_ours else None
        case "settled":
            return None if position.quantity else position.realised_pnl
        case "legs":
            return ZERO
        case "unknown":
            return None
        case other:
            assert_never(other)


def explained_units(position: Position) -> Decimal:
    """Return what a pair's fills and adjustments have done to the cash in its first currency."""
    uncashed = sum((m.quantity for m in position.adjustments if not m.moves_cash), ZERO)
    return position.quantity - position.opening_quantity + position.converted - uncashed


def moved_by(position: Position, made: AdjustmentMade) -> PositionChanges:
    """Return what an adjustment moves about a position."""
    quantity, average, units = position.quantity, position.average_price, position.contract.units
    if made.ratio is not None:
        held = quantity if made.held is None else made.held
        after = held + made.quantity + made.ratio.of(quantity - held)
        price, gained = made.ratio.price_of(average) if after else ZERO, ZERO
    else:
        at = made.price if made.price is not None else average
        after, price, gained = _move(quantity, average, made.quantity, at)
    realised = gained * units
    changes: PositionChanges = {
        "quantity": after,
        "average_price": price,
        "realised_pnl": position.realised_pnl + realised,
    }
    if realised and made.price == ZERO:
        changes["closed_at_zero"] = position.closed_at_zero + realised
    if not made.moves_cash:
        cost = (after * price - quantity * average) * units
        changes["uncashed"] = position.uncashed + realised - cost
    return changes


def opened(
    position: Position, quantity: Decimal, average_cost: Decimal, fills: Iterable[Fill]
) -> PositionChanges:
    """Return the position with what the account held before the log knew it.

    `average_cost` is IB's: per unit, times multiplier, commissions included. The opening is older
    than every fill, so what has been booked already is folded again on top of it.
    """
    opening: PositionChanges = {
        "opening_quantity": quantity,
        "opening_average_price": average_cost / position.contract.units,
    }
    return opening | restated(position.evolve(**opening), fills)


def unrealised_pnl(position: Position, mark: Decimal) -> Decimal:
    """Return what closing at a price would realise, in the contract's currency, commissions
    excluded.
    """
    return (mark - position.average_price) * position.quantity * position.contract.units


def _move(
    held: Decimal, average: Decimal, change: Decimal, price: Decimal
) -> tuple[Decimal, Decimal, Decimal]:
    """Return quantity, average price and realised points after a signed change at a price."""
    after = held + change
    if held == 0 or (held > 0) == (change > 0):
        return after, (held * average + change * price) / after if after else ZERO, ZERO
    closed = min(abs(change), abs(held))
    direction = 1 if held > 0 else -1
    gained = (price - average) * closed * direction
    if after == 0:
        return ZERO, ZERO, gained
    crossed = (after > 0) != (held > 0)
    return after, price if crossed else average, gained
