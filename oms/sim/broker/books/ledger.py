"""Positions, cash, margin and commission as IB counts them. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from typing import Final, assert_never

from oms.sim.broker.exchange.contracts import Contract, SecType
from oms.sim.broker.exchange.listings import INDEX_CFDS
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
    "CRYPTO": Decimal(1),
    "BOND": Decimal("0.3"),
    "WAR": Decimal(1),
    "FUND": Decimal("0.5"),
    "CMDTY": Decimal("0.1"),
}
#: One unit of the currency in US dollars. Fixed: no rate travels with an execution anyway.
RATES: Final = {
    "USD": Decimal(1),
    "EUR": Decimal("1.10"),
    "GBP": Decimal("1.28"),
    "CHF": Decimal("1.13"),
    "JPY": Decimal("0.0066"),
    "CAD": Decimal("0.73"),
    "AUD": Decimal("0.66"),
    "HKD": Decimal("0.128"),
    "MXN": Decimal("0.055"),
}
#: US dollars that a deal in currencies or metals costs at least.
_CURRENCY_LEAST: Final = Decimal("2.00")


def rate(currency: str, base: str) -> Decimal:
    """Return units of `base` for one of `currency`; an unknown currency counts one for one."""
    return RATES.get(currency, Decimal(1)) / RATES.get(base, Decimal(1))


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


@dataclass(frozen=True, slots=True)
class Charge:
    """A commission, in the currency in which it is charged."""

    amount: Decimal
    currency: str

    def in_currency(self, currency: str) -> Decimal:
        """Return it in another currency."""
        return self.amount * rate(self.currency, currency)


def cash_flows(
    contract: Contract, signed: Decimal, price: Decimal, realized: Decimal | None, charge: Charge
) -> dict[str, Decimal]:
    """Return what an execution does to cash, by currency.

    A future pays no price, only what it realises: the commission of what it opens is in its cost,
    and paid with that. A CFD pays what it realises, and each commission at once. A forex pair moves
    both of its currencies, and pays in the base currency of the account.
    """
    value = signed * price * contract.multiplier
    if contract.sec_type == "FUT":
        return {contract.currency: realized or ZERO}
    flows = {contract.currency: (realized or ZERO) if contract.sec_type == "CFD" else -value}
    if contract.sec_type == "CASH":
        flows[contract.symbol] = flows.get(contract.symbol, ZERO) + signed
    flows[charge.currency] = flows.get(charge.currency, ZERO) - charge.amount
    return flows


def margin(contract: Contract, quantity: Decimal, price: Decimal) -> Decimal:
    """Return the initial margin of a quantity, in the contract's currency."""
    value = abs(quantity * price * contract.multiplier)
    return value * INITIAL_MARGIN[contract.sec_type]


def charge_currency(contract: Contract, base: str) -> str:
    """Return the currency in which a commission is charged: that of the contract, for a currency
    pair the base currency of the account.
    """
    return base if contract.sec_type == "CASH" else contract.currency


def commission(
    contract: Contract, quantity: Decimal, price: Decimal, schedule: Commission, base: str
) -> Charge:
    """Return what an execution costs under the `fixed` or the `tiered` schedule; `none` is nothing.

    Stocks by the share with a minimum, at most 1 % of the value; options and futures by the
    contract; currencies 0.2 basis points and metals 0.15, at least 2 US dollars; crypto currencies
    0.18 %, at least 1.75 and at most 1 %; bonds 0.1 % of their face up to 10,000 and 0.025 % of
    what is above; warrants 0.1 %, at least 4; CFDs on an index 0.005 %, at least 1; funds 14.95, at
    most 3 %. Exchange and clearing charges are left out; a CFD has none at IB either.
    """
    currency = charge_currency(contract, base)
    if schedule == "none" or not quantity:
        return Charge(ZERO, currency)
    tiered = schedule == "tiered"
    value = abs(quantity * price * contract.multiplier)
    least = _CURRENCY_LEAST * rate("USD", currency)
    match contract.sec_type:
        case "OPT":
            charge = max(Decimal("1.00"), quantity * Decimal("0.65"))
        case "FUT" | "FOP":
            charge = quantity * Decimal("0.85" if tiered else "2.25")
        case "CASH":
            charge = max(least, value * rate(contract.currency, currency) * Decimal("0.00002"))
        case "CMDTY":
            charge = max(least, value * Decimal("0.000015"))
        case "CRYPTO":
            charge = min(max(Decimal("1.75"), value * Decimal("0.0018")), value / 100)
        case "BOND":
            face = quantity * 1000
            small = min(face, Decimal(10_000)) * Decimal("0.001")
            charge = max(Decimal("1.00"), small + max(face - 10_000, ZERO) * Decimal("0.00025"))
        case "WAR":
            charge = max(Decimal("4.00"), value * Decimal("0.001"))
        case "FUND":
            charge = min(Decimal("14.95"), value * Decimal("0.03"))
        case "CFD" if contract.symbol in INDEX_CFDS:
            charge = max(Decimal("1.00"), value * Decimal("0.00005"))
        case "STK" | "BAG" | "IND" | "CFD":
            each, smallest = ("0.0035", "0.35") if tiered else ("0.005", "1.00")
            charge = min(max(Decimal(smallest), quantity * Decimal(each)), value / 100)
        case other:
            assert_never(other)
    return Charge(charge.quantize(_CENT, rounding=ROUND_HALF_UP), currency)
