"""Positions, cash and commission as IB counts them.  Pure."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from typing import Final

from oms.sim.instruments import Contract

ZERO: Final = Decimal(0)
_CENT: Final = Decimal("0.01")
_COST_DIGITS: Final = Decimal("0.00000001")


@dataclass(frozen=True, slots=True)
class Position:
    """Signed quantity, and cost per unit times the multiplier with commission in it.

    The cost of a short is positive too: what a unit brought in, commission taken off.
    """

    quantity: Decimal = ZERO
    average_cost: Decimal = ZERO
    realized: Decimal = ZERO

    def after(
        self, signed: Decimal, price: Decimal, multiplier: Decimal, commission: Decimal
    ) -> tuple[Position, Decimal | None]:
        """The position after an execution, and the P&L it realised (None when it only opened).

        Commission goes into the cost of what is opened and off the P&L of what is closed, in
        proportion to the quantities.
        """
        size = abs(signed)
        unit = price * multiplier
        closing = min(size, abs(self.quantity)) if self.quantity * signed < 0 else ZERO
        opening = size - closing
        commission_closing = commission * closing / size if size else ZERO
        commission_opening = commission - commission_closing
        realized: Decimal | None = None
        if closing:
            direction = 1 if self.quantity > 0 else -1
            realized = (unit - self.average_cost) * closing * direction - commission_closing
        quantity = self.quantity + signed
        if opening:
            sign = 1 if signed > 0 else -1
            cost_opening = unit * opening + commission_opening * sign
            kept = abs(self.quantity) if not closing else ZERO
            average = (self.average_cost * kept + cost_opening) / (kept + opening)
        else:
            average = self.average_cost if quantity else ZERO
        cost = average.quantize(_COST_DIGITS, rounding=ROUND_HALF_UP)
        total = self.realized + (realized or ZERO)
        return Position(quantity, cost, total), realized


def commission_fixed(contract: Contract, quantity: Decimal, price: Decimal) -> Decimal:
    """IB's fixed schedule for US stocks: 0.005 a share, at least 1.00, at most 1 % of the value."""
    value = abs(quantity * price * contract.multiplier)
    charge = max(Decimal("1.00"), quantity * Decimal("0.005"))
    charge = min(charge, value / 100)
    return charge.quantize(_CENT, rounding=ROUND_HALF_UP)
