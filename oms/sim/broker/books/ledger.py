"""Positions, cash, margin and commission as IB counts them. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from typing import Final, assert_never

from oms.sim.broker.exchange.contracts import Contract, SecType
from oms.sim.settings import Commission

ZERO: Final = Decimal(0)
_CENT: Final = Decimal("0.01")
_COST_DIGITS: Final = Decimal("0.00000001")

#: Part of an order's value that must be free. Maintenance margin is half of it.
INITIAL_MARGIN: Final[Mapping[SecType, Decimal]] = {
    "STK": Decimal("0.5"),
    "OPT": Decimal(1),
    "FOP": Decimal(1),
    "FUT": Decimal("0.1"),
    "CASH": Decimal("0.03"),
    "BAG": Decimal("0.5"),
    "IND": Decimal(1),
    "CFD": Decimal("0.2"),
}


@dataclass(frozen=True, slots=True)
class Position:
    """What an account holds of a contract."""

    #: Below zero for a short.
    quantity: Decimal = ZERO
    #: Per unit, times the multiplier, with commission in it. That of a short is positive too: what
    #: a unit brought in, commission taken off.
    average_cost: Decimal = ZERO
    #: P&L of all that was closed so far.
    realized: Decimal = ZERO

    def after(
        self, signed: Decimal, price: Decimal, multiplier: Decimal, commission: Decimal
    ) -> tuple[Position, Decimal | None]:
        """Return the position after an execution, and its P&L: None when it only opened.

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
            realized = realized.quantize(_COST_DIGITS, rounding=ROUND_HALF_UP)
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


def cash_flows(
    contract: Contract, signed: Decimal, price: Decimal, realized: Decimal | None, charge: Decimal
) -> dict[str, Decimal]:
    """Return what an execution does to cash, by currency.

    A future pays no price, only what it realises: the commission of what it opens is in its cost,
    and paid with that. A CFD pays what it realises, and each commission at once. A forex pair moves
    both of its currencies.
    """
    value = signed * price * contract.multiplier
    if contract.sec_type == "FUT":
        return {contract.currency: realized or ZERO}
    if contract.sec_type == "CFD":
        return {contract.currency: (realized or ZERO) - charge}
    flows = {contract.currency: -value - charge}
    if contract.sec_type == "CASH":
        flows[contract.symbol] = flows.get(contract.symbol, ZERO) + signed
    return flows


def margin(contract: Contract, quantity: Decimal, price: Decimal) -> Decimal:
    """Return the initial margin of a quantity, in the contract's currency."""
    value = abs(quantity * price * contract.multiplier)
    return value * INITIAL_MARGIN[contract.sec_type]


def commission(
    contract: Contract, quantity: Decimal, price: Decimal, schedule: Commission
) -> Decimal:
    """Return what an execution costs under the `fixed` or the `tiered` schedule; `none` is nothing.

    Stocks by the share with a minimum, at most 1 % of the value; options and futures by the
    contract; forex 0.2 basis points, at least 2. Exchange and clearing charges of the tiered
    schedule are left out.
    """
    if schedule == "none" or not quantity:
        return ZERO
    tiered = schedule == "tiered"
    value = abs(quantity * price * contract.multiplier)
    match contract.sec_type:
        case "OPT":
            charge = max(Decimal("1.00"), quantity * Decimal("0.65"))
        case "FUT" | "FOP":
            charge = quantity * Decimal("0.85" if tiered else "2.25")
        case "CASH":
            charge = max(Decimal("2.00"), value * Decimal("0.00002"))
        case "STK" | "BAG" | "IND" | "CFD":
            each, least = ("0.0035", "0.35") if tiered else ("0.005", "1.00")
            charge = min(max(Decimal(least), quantity * Decimal(each)), value / 100)
        case other:
            assert_never(other)
    return charge.quantize(_CENT, rounding=ROUND_HALF_UP)
