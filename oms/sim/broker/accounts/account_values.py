"""The account values and the portfolio rows that clients are sent."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from typing import Final

from oms.sim.broker.accounts.accounting import Totals, Worth, realized_today, totals, worths
from oms.sim.broker.books.ledger import ZERO, rate
from oms.sim.broker.exchange.contracts import Contract
from oms.sim.broker.floor import Floor
from oms.sim.protocol.fields import number

_CENT: Final = Decimal("0.01")


@dataclass(frozen=True, slots=True)
class Row:
    """One account value."""

    key: str
    value: str
    #: Empty for what is no amount.
    currency: str
    #: A row of the ledger, of which there is one set for each currency.
    per_currency: bool = False


_TAGS: Final = """
AccountType NetLiquidation TotalCashValue SettledCash AccruedCash BuyingPower EquityWithLoanValue
PreviousDayEquityWithLoanValue PreviousEquityWithLoanValue GrossPositionValue RegTEquity ReqTEquity
RegTMargin ReqTMargin SMA InitMarginReq MaintMarginReq AvailableFunds ExcessLiquidity Cushion
FullInitMarginReq FullMaintMarginReq FullAvailableFunds FullExcessLiquidity LookAheadNextChange
LookAheadInitMarginReq LookAheadMaintMarginReq LookAheadAvailableFunds LookAheadExcessLiquidity
HighestSeverity DayTradesRemaining DayTradesRemainingT+1 DayTradesRemainingT+2
DayTradesRemainingT+3 DayTradesRemainingT+4 Leverage
"""
#: What an account summary may ask for, beside the ledgers; both spellings of the RegT ones.
TAGS: Final = frozenset(_TAGS.split())


def rows(floor: Floor, account: str) -> Iterator[Row]:
    """Yield every account value that is sent, in a fixed order."""
    base = floor.settings.base_currency
    total = totals(floor, account)
    yield Row("AccountType", "INDIVIDUAL", "")
    yield Row("AccountReady", "true", "")
    yield Row("AccountCode", account, "")
    yield Row("Cushion", _ratio(total.net - total.maintenance_margin, total.net), "")
    yield Row("DayTradesRemaining", "-1", "")
    yield Row("Leverage", _ratio(total.gross, total.net), "")
    yield Row("HighestSeverity", "0", "")
    yield Row("LookAheadNextChange", "0", "")
    for day in range(1, 5):
        yield Row(f"DayTradesRemainingT+{day}", "-1", "")
    for key, value in (
        ("NetLiquidation", total.net),
        ("TotalCashValue", total.cash + total.futures),
        ("SettledCash", total.cash + total.futures),
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
        yield Row(key, money(value), base)
    yield from _ledger(floor, account, total)


def _ledger(floor: Floor, account: str, total: Totals) -> Iterator[Row]:
    """The ledger: a set of rows for each currency, and one for all of them in the base currency."""
    base = floor.settings.base_currency
    found = worths(floor, account)
    cash = {
        currency: amount
        for (owner, currency), amount in floor.books.cash.items()
        if owner == account
    }
    whole, swept = Worth(), ZERO
    for currency, worth in found.items():
        whole.add(worth, rate(currency, base))
    for currency in sorted({*cash, *found, base}):
        kept = floor.books.deposited(account, currency)
        swept += kept * rate(currency, base)
        yield from _ledger_of(
            currency, cash.get(currency, ZERO), found.get(currency, Worth()), rate(currency, base),
            kept,
        )  # fmt: skip
    yield from _ledger_of("BASE", total.cash, whole, Decimal(1), swept)


def _ledger_of(
    currency: str, cash: Decimal, worth: Worth, exchange: Decimal, deposited: Decimal
) -> Iterator[Row]:
    """One set of rows. Cash has in it what futures gained; `CashBalance` has twice what a bank
    deposit program keeps.
    """
    total = cash + worth.futures
    for key, value in (
        ("CashBalance", total + deposited),
        ("TotalCashBalance", total),
        ("AccruedCash", ZERO),
        ("StockMarketValue", worth.stocks),
        ("OptionMarketValue", worth.options),
        ("FutureOptionValue", ZERO),
        ("FuturesPNL", worth.futures),
        ("NetLiquidationByCurrency", cash + worth.net),
        ("UnrealizedPnL", worth.unrealized),
        ("RealizedPnL", worth.realized),
        ("NetDividend", ZERO),
        ("MutualFundValue", worth.funds),
        ("CorporateBondValue", worth.bonds),
        ("WarrantValue", worth.warrants),
        ("Cryptocurrency", worth.crypto),
    ):
        yield Row(key, money(value), currency, per_currency=True)
    yield Row("ExchangeRate", number(exchange), currency, per_currency=True)
    yield Row("RealCurrency", currency, currency, per_currency=True)
    yield Row("Currency", currency, currency, per_currency=True)


def portfolio_row(floor: Floor, account: str, contract: Contract) -> dict[str, str]:
    """Return the amounts of an updatePortfolio message."""
    row = floor.books.position(account, contract.con_id)
    last = floor.market.quote(contract).last
    value = row.quantity * last * contract.multiplier
    unrealized = value - row.quantity * row.average_cost
    return {
        "position": number(row.quantity),
        "marketPrice": number(last),
        "marketValue": money(value),
        "averageCost": number(row.average_cost),
        "unrealizedPNL": money(unrealized),
        "realizedPNL": money(realized_today(floor, account, contract.con_id)),
    }


def money(value: Decimal) -> str:
    """Return an amount in whole cents."""
    return str(value.quantize(_CENT, rounding=ROUND_HALF_UP))


def _ratio(part: Decimal, whole: Decimal) -> str:
    return "0" if not whole else number((part / whole).quantize(Decimal("0.0001")))
