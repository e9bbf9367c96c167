"""Positions and realised P&L from fills, by average cost.

The rule: a fill that opens or adds moves the average price by quantity; a fill that reduces
realises ``(price - average) * closed quantity * multiplier`` and leaves the average; a fill that
crosses zero closes at its price and opens the rest there. Commissions are kept beside, per
currency, never mixed into prices: IB's own average cost includes them (broker-semantics B9) and is
shown beside ours as a hint, not used.

A correction restates: the position is folded again over all its fills in booking order, because an
average depends on the order of fills and a mere reversal would leave the wrong one behind.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from oms.core.money import ZERO
from oms.core.records import Fill, Position, add_commission


def moves_position(fill: Fill) -> bool:
    """Say whether a fill moves a position: the execution of a combo does not, its legs do."""
    return fill.contract.sec_type != "BAG"


def book(position: Position, fill: Fill) -> Position:
    """Return the position after one more fill."""
    quantity, average, gained = _move(
        position.quantity,
        position.average_price,
        fill.signed_quantity,
        fill.price,
    )
    commissions = position.commissions
    if fill.commission is not None:
        commissions = add_commission(commissions, fill.commission_currency, fill.commission)
    return position.evolve(
        quantity=quantity,
        average_price=average,
        realised_pnl=position.realised_pnl + gained * fill.contract.units,
        commissions=commissions,
        fill_count=position.fill_count + 1,
    )


def restate(position: Position, fills: Iterable[Fill]) -> Position:
    """Return the position folded again from its opening balance over all its fills."""
    fresh = position.evolve(
        quantity=position.opening_quantity,
        average_price=position.opening_average_price,
        realised_pnl=ZERO,
        commissions=(),
        fill_count=0,
    )
    for fill in sorted(fills, key=lambda f: f.booked_sequence):
        fresh = book(fresh, fill)
    return fresh


def open_with(position: Position, quantity: Decimal, average_cost: Decimal) -> Position:
    """Return the position with what the account held before the log knew it.

    `average_cost` is IB's: per unit, times multiplier, commissions included. The opening is older
    than every fill, so what has been booked already must be folded again on top of it; see
    `restate`.
    """
    return position.evolve(
        opening_quantity=quantity,
        opening_average_price=average_cost / position.contract.units,
    )


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
