"""Account values, portfolio rows and margin previews from the books.  Reads, never writes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from typing import TYPE_CHECKING, Final

from oms.sim.instruments import Contract
from oms.sim.ledger import ZERO, commission, margin
from oms.sim.orders import Order
from oms.sim.wire import number

if TYPE_CHECKING:
    from oms.sim.desk import Desk

_CENT: Final = Decimal("0.01")

# One unit of the currency in US dollars.  Fixed: no rate travels with an execution anyway.
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


@dataclass(frozen=True, slots=True)
class Row:
    """One account value.  `per_currency` rows belong to the ledger, one set for each currency."""

    key: str
    value: str
    currency: str
    per_currency: bool = False


def rate(currency: str, base: str) -> Decimal:
    """Units of `base` for one unit of `currency`; an unknown currency counts one for one."""
    return RATES.get(currency, Decimal(1)) / RATES.get(base, Decimal(1))


@dataclass(frozen=True, slots=True)
class Totals:
    """An account in its base currency."""

    cash: Decimal
    positions: Decimal
    gross: Decimal
    unrealized: Decimal
    realized: Decimal
    initial_margin: Decimal

    @property
    def net(self) -> Decimal:
        return self.cash + self.positions

    @property
    def maintenance_margin(self) -> Decimal:
        return self.initial_margin / 2

    @property
    def available(self) -> Decimal:
        return self.net - self.initial_margin


def totals(desk: Desk, account: str) -> Totals:
    """The worth of an account now.

    A future is worth what it has gained or lost; a forex pair nothing, its currencies are in cash.
    """
    base = desk.settings.base_currency
    cash = sum(
        (
            amount * rate(currency, base)
            for (owner, currency), amount in desk.books.cash.items()
            if owner == account
        ),
        ZERO,
    )
    positions = gross = unrealized = realized = initial = ZERO
    for (owner, con_id), row in desk.books.positions.items():
        if owner != account:
            continue
        contract = desk.contract(con_id)
        factor = rate(contract.currency, base)
        last = desk.market.quote(contract).last
        value = row.quantity * last * contract.multiplier * factor
        gain = value - row.quantity * row.average_cost * factor
        if contract.sec_type != "CASH":
            positions += gain if contract.sec_type == "FUT" else value
        gross += abs(value)
        unrealized += gain
        realized += row.realized * factor
        initial += margin(contract, row.quantity, last) * factor
    return Totals(cash, positions, gross, unrealized, realized, initial)


def rows(desk: Desk, account: str) -> Iterator[Row]:
    """Every account value that is sent, in a fixed order."""
    base = desk.settings.base_currency
    total = totals(desk, account)
    yield Row("AccountType", "INDIVIDUAL", "")
    yield Row("AccountReady", "true", "")
    yield Row("AccountCode", account, "")
    yield Row("Cushion", _ratio(total.net - total.maintenance_margin, total.net), "")
    yield Row("DayTradesRemaining", "-1", "")
    yield Row("Leverage", _ratio(total.gross, total.net), "")
    yield Row("HighestSeverity", "0", "")
    for key, value in (
        ("NetLiquidation", total.net),
        ("TotalCashValue", total.cash),
        ("SettledCash", total.cash),
        ("AccruedCash", ZERO),
        ("BuyingPower", max(total.available, ZERO) * 2),
        ("EquityWithLoanValue", total.net),
        ("PreviousDayEquityWithLoanValue", total.net),
        ("GrossPositionValue", total.gross),
        ("RegTEquity", total.net),
        ("RegTMargin", total.initial_margin),
        ("SMA", max(total.available, ZERO)),
        ("InitMarginReq", total.initial_margin),
        ("MaintMarginReq", total.maintenance_margin),
        ("AvailableFunds", total.available),
        ("ExcessLiquidity", total.net - total.maintenance_margin),
        ("FullInitMarginReq", total.initial_margin),
        ("FullMaintMarginReq", total.maintenance_margin),
        ("FullAvailableFunds", total.available),
        ("FullExcessLiquidity", total.net - total.maintenance_margin),
        ("LookAheadInitMarginReq", total.initial_margin),
        ("LookAheadMaintMarginReq", total.maintenance_margin),
        ("LookAheadAvailableFunds", total.available),
        ("LookAheadExcessLiquidity", total.net - total.maintenance_margin),
    ):
        yield Row(key, _money(value), base)
    yield from _ledger(desk, account, total)


def _ledger(desk: Desk, account: str, total: Totals) -> Iterator[Row]:
    base = desk.settings.base_currency
    currencies = sorted(
        {currency for owner, currency in desk.books.cash if owner == account} | {base}
    )
    for currency in (*currencies, "BASE"):
        cash = total.cash if currency == "BASE" else desk.books.cash.get((account, currency), ZERO)
        exchange = Decimal(1) if currency == "BASE" else rate(currency, base)
        for key, value in (
            ("CashBalance", cash),
            ("TotalCashBalance", cash),
            ("StockMarketValue", total.positions if currency in ("BASE", base) else ZERO),
            ("NetLiquidationByCurrency", total.net if currency in ("BASE", base) else cash),
            ("UnrealizedPnL", total.unrealized if currency in ("BASE", base) else ZERO),
            ("RealizedPnL", total.realized if currency in ("BASE", base) else ZERO),
        ):
            yield Row(key, _money(value), currency, per_currency=True)
        yield Row("ExchangeRate", number(exchange), currency, per_currency=True)
        yield Row("RealCurrency", currency, currency, per_currency=True)


def portfolio_row(desk: Desk, account: str, contract: Contract) -> dict[str, str]:
    """The amounts of an updatePortfolio message."""
    row = desk.books.position(account, contract.con_id)
    last = desk.market.quote(contract).last
    value = row.quantity * last * contract.multiplier
    unrealized = value - row.quantity * row.average_cost
    return {
        "position": number(row.quantity),
        "marketPrice": number(last),
        "marketValue": _money(value),
        "averageCost": number(row.average_cost),
        "unrealizedPNL": _money(unrealized),
        "realizedPNL": _money(row.realized),
    }


def preview(desk: Desk, order: Order, contract: Contract) -> dict[str, str]:
    """The margin and commission fields of a whatIf answer."""
    total = totals(desk, order.account)
    price = order.limit_price or desk.quote(order).ask
    factor = rate(contract.currency, desk.settings.base_currency)
    held = desk.books.position(order.account, contract.con_id).quantity
    after = held + order.quantity * (1 if order.is_buy else -1)
    change = (margin(contract, after, price) - margin(contract, held, price)) * factor
    charge = commission(contract, order.quantity, price, desk.settings.commission)
    return {
        "whatIf": "1",
        "initMarginBefore": _money(total.initial_margin),
        "maintMarginBefore": _money(total.maintenance_margin),
        "equityWithLoanBefore": _money(total.net),
        "initMarginChange": _money(change),
        "maintMarginChange": _money(change / 2),
        "equityWithLoanChange": _money(-charge),
        "initMarginAfter": _money(total.initial_margin + change),
        "maintMarginAfter": _money(total.maintenance_margin + change / 2),
        "equityWithLoanAfter": _money(total.net - charge),
        "commission": number(charge),
        "minCommission": number(charge),
        "maxCommission": number(charge),
        "commissionCurrency": contract.currency,
    }


def _money(value: Decimal) -> str:
    return str(value.quantize(_CENT, rounding=ROUND_HALF_UP))


def _ratio(part: Decimal, whole: Decimal) -> str:
    return "0" if not whole else number((part / whole).quantize(Decimal("0.0001")))
