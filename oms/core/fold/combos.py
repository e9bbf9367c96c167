"""What of a combo is filled: its own executions, or whole sets of its legs.

IB executes a combo as one execution of the combo and one of each leg. Either tells how much is
filled, the larger of the two counts, and one leg alone fills nothing.
"""

from __future__ import annotations

from decimal import Decimal

from oms.core.contracts import ComboLeg
from oms.core.fold.records import ComboPart, Fill
from oms.core.money import ZERO, plain

Parts = tuple[ComboPart, ...]


def with_fill(parts: Parts, fill: Fill, sign: int) -> Parts:
    """Return what a combo's executions add up to, with one more (1) or one less (-1)."""
    key = 0 if fill.contract.is_combo else fill.contract.con_id
    before = _part(parts, key)
    quantity = before.quantity + sign * fill.quantity
    notional = before.notional + sign * fill.quantity * fill.price
    others = [part for part in parts if part.con_id != key]
    return tuple(
        sorted(
            [*others, ComboPart(con_id=key, quantity=quantity, notional=notional)],
            key=lambda p: p.con_id,
        )
    )


def filled_of(legs: tuple[ComboLeg, ...], parts: Parts) -> tuple[Decimal, Decimal]:
    """Return how much of the combo is filled, and for how much: its price times that."""
    own, sets = _part(parts, 0), _sets(legs, parts)
    if sets <= own.quantity:
        return own.quantity, own.notional
    price = sum((_sign(leg) * leg.ratio * _part(parts, leg.con_id).price for leg in legs), ZERO)
    return sets, own.notional + (sets - own.quantity) * price


def uneven(legs: tuple[ComboLeg, ...], parts: Parts, filled: Decimal) -> str:
    """Return what is executed of each leg where that is not what is filled; "" where it is."""
    found = [(leg, _part(parts, leg.con_id).quantity) for leg in legs]
    if all(executed == leg.ratio * filled for leg, executed in found):
        return ""
    words = (f"{plain(done)} of {leg.con_id} (ratio {leg.ratio})" for leg, done in found)
    return f"its legs do not go with {plain(filled)} filled: {', '.join(words)}"


def _sets(legs: tuple[ComboLeg, ...], parts: Parts) -> Decimal:
    return min((_part(parts, leg.con_id).quantity // leg.ratio for leg in legs), default=ZERO)


def _part(parts: Parts, con_id: int) -> ComboPart:
    return next(
        (part for part in parts if part.con_id == con_id),
        ComboPart(con_id=con_id, quantity=ZERO, notional=ZERO),
    )


def _sign(leg: ComboLeg) -> int:
    return 1 if leg.side == "BUY" else -1
