"""What the accounts are worth, and what they have gained. Reads the books, never writes."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import assert_never

from oms.sim.broker.books.ledger import ZERO, Position, margin, rate
from oms.sim.broker.floor import Floor


@dataclass(slots=True)
class Worth:
    """What the positions of an account come to: in one currency, or in all."""

    stocks: Decimal = ZERO
    options: Decimal = ZERO
    #: What they have gained or lost.
    futures: Decimal = ZERO
    cfds: Decimal = ZERO
    crypto: Decimal = ZERO
    bonds: Decimal = ZERO
    warrants: Decimal = ZERO
    funds: Decimal = ZERO
    #: Long and short positions, both counted above zero.
    gross: Decimal = ZERO
    unrealized: Decimal = ZERO
    #: Since the day began.
    realized: Decimal = ZERO
    #: Initial margin.
    margin: Decimal = ZERO

    @property
    def net(self) -> Decimal:
        """Return what all kinds come to."""
        traded = self.stocks + self.options + self.futures + self.cfds
        return traded + self.crypto + self.bonds + self.warrants + self.funds

    def add(self, other: Worth, factor: Decimal) -> None:
        """Add another worth, at a rate of exchange."""
        for name in self.__slots__:
            setattr(self, name, getattr(self, name) + getattr(other, name) * factor)


@dataclass(frozen=True, slots=True)
class Totals:
    """An account in its base currency."""

    cash: Decimal
    #: What futures have gained or lost, which IB's total cash has in it.
    futures: Decimal
    #: What the positions are worth.
    positions: Decimal
    gross: Decimal
    unrealized: Decimal
    realized: Decimal
    initial_margin: Decimal

    @property
    def net(self) -> Decimal:
        """Return what the account is worth."""
        return self.cash + self.positions

    @property
    def maintenance_margin(self) -> Decimal:
        """Return the margin that must stay."""
        return self.initial_margin / 2

    @property
    def available(self) -> Decimal:
        """Return what is free for new positions."""
        return self.net - self.initial_margin


def gain(floor: Floor, con_id: int, row: Position) -> Decimal:
    """Return the unrealised P&L of a position, in its contract's currency."""
    contract = floor.contract(con_id)
    value = floor.market.quote(contract).last * contract.multiplier
    return row.quantity * (value - row.average_cost)


def realized_today(floor: Floor, account: str, con_id: int) -> Decimal:
    """Return what a position has realised since the day began."""
    before, _ = floor.books.openings.get((account, con_id), (ZERO, ZERO))
    return floor.books.position(account, con_id).realized - before


def daily(floor: Floor, account: str, con_id: int) -> Decimal:
    """Return what a position has gained since the day began, realised or not."""
    _, before = floor.books.openings.get((account, con_id), (ZERO, ZERO))
    now = gain(floor, con_id, floor.books.position(account, con_id))
    return realized_today(floor, account, con_id) + now - before


def daily_total(floor: Floor, account: str) -> Decimal:
    """Return what an account has gained since the day began, in its base currency."""
    base = floor.settings.base_currency
    return sum(
        (
            daily(floor, account, con_id) * rate(floor.contract(con_id).currency, base)
            for owner, con_id in floor.books.positions
            if owner == account
        ),
        ZERO,
    )


def worths(floor: Floor, account: str) -> dict[str, Worth]:
    """Return the positions of an account by currency, each in its own.

    A future and a CFD are worth what they have gained or lost; a forex pair nothing, its currencies
    are in cash.
    """
    found: dict[str, Worth] = {}
    for (owner, con_id), row in floor.books.positions.items():
        if owner != account:
            continue
        contract = floor.contract(con_id)
        worth = found.setdefault(contract.currency, Worth())
        worth.realized += realized_today(floor, account, con_id)
        if not row.quantity:
            continue
        last = floor.market.quote(contract).last
        value = row.quantity * last * contract.multiplier
        gained = value - row.quantity * row.average_cost
        match contract.sec_type:
            case "FUT":
                worth.futures += gained
            case "CFD":
                worth.cfds += gained
            case "OPT" | "FOP":
                worth.options += value
            case "STK" | "BAG" | "IND" | "CMDTY":
                worth.stocks += value
            case "CRYPTO":
                worth.crypto += value
            case "BOND":
                worth.bonds += value
            case "WAR":
                worth.warrants += value
            case "FUND":
                worth.funds += value
            case "CASH":
                pass
            case other:
                assert_never(other)
        worth.gross += abs(value)
        worth.unrealized += gained
        worth.margin += margin(contract, row.quantity, last)
    return found


def totals(floor: Floor, account: str) -> Totals:
    """Return the worth of an account now, in its base currency."""
    base = floor.settings.base_currency
    cash = sum(
        (
            amount * rate(currency, base)
            for (owner, currency), amount in floor.books.cash.items()
            if owner == account
        ),
        ZERO,
    )
    whole = Worth()
    for currency, worth in worths(floor, account).items():
        whole.add(worth, rate(currency, base))
    return Totals(
        cash=cash,
        futures=whole.futures,
        positions=whole.net,
        gross=whole.gross,
        unrealized=whole.unrealized,
        realized=whole.realized,
        initial_margin=whole.margin,
    )
