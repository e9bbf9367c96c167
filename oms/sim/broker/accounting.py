"""Account values, portfolio rows and margin previews from the books.  Reads, never writes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from typing import TYPE_CHECKING, Final

from oms.sim.broker.instruments import Contract
from oms.sim.broker.ledger import ZERO, Position, commission, margin
from oms.sim.broker.orders import Order
from oms.sim.protocol.frames import number

if TYPE_CHECKING:
    from oms.sim.broker.desk import Desk

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


_TAGS: Final = """
AccountType NetLiquidation TotalCashValue SettledCash AccruedCash BuyingPower EquityWithLoanValue
PreviousDayEquityWithLoanValue PreviousEquityWithLoanValue GrossPositionValue RegTEquity ReqTEquity
RegTMargin ReqTMargin SMA InitMarginReq MaintMarginReq AvailableFunds ExcessLiquidity Cushion
FullInitMarginReq FullMaintMarginReq FullAvailableFunds FullExcessLiquidity LookAheadNextChange
LookAheadInitMarginReq LookAheadMaintMarginReq LookAheadAvailableFunds LookAheadExcessLiquidity
HighestSeverity DayTradesRemaining DayTradesRemainingT+1 DayTradesRemainingT+2
DayTradesRemainingT+3 DayTradesRemainingT+4 Leverage
"""
TAGS: Final = frozenset(_TAGS.split())
"""What an account summary may ask for, beside the ledgers; both spellings of the RegT ones."""


def rate(currency: str, base: str) -> Decimal:
    """Units of `base` for one unit of `currency`; an unknown currency counts one for one."""
    return RATES.get(currency, Decimal(1)) / RATES.get(base, Decimal(1))


@dataclass(slots=True)
class Worth:
    """What the positions of an account come to: in one currency, or in all."""

    stocks: Decimal = ZERO
    options: Decimal = ZERO
    futures: Decimal = ZERO
    gross: Decimal = ZERO
    unrealized: Decimal = ZERO
    realized: Decimal = ZERO
    margin: Decimal = ZERO

    @property
    def net(self) -> Decimal:
        return self.stocks + self.options + self.futures

    def add(self, other: Worth, factor: Decimal) -> None:
        for name in self.__slots__:
            setattr(self, name, getattr(self, name) + getattr(other, name) * factor)


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


def gain(desk: Desk, con_id: int, row: Position) -> Decimal:
    """Unrealised P&L of a position, in its contract's currency."""
    contract = desk.contract(con_id)
    value = desk.market.quote(contract).last * contract.multiplier
    return row.quantity * (value - row.average_cost)


def realized_today(desk: Desk, account: str, con_id: int) -> Decimal:
    before, _ = desk.books.openings.get((account, con_id), (ZERO, ZERO))
    return desk.books.position(account, con_id).realized - before


def daily(desk: Desk, account: str, con_id: int) -> Decimal:
    """What a position has gained since the day began, realised or not."""
    _, before = desk.books.openings.get((account, con_id), (ZERO, ZERO))
    now = gain(desk, con_id, desk.books.position(account, con_id))
    return realized_today(desk, account, con_id) + now - before


def daily_total(desk: Desk, account: str) -> Decimal:
    """The same of a whole account, in its base currency."""
    base = desk.settings.base_currency
    return sum(
        (
            daily(desk, account, con_id) * rate(desk.contract(con_id).currency, base)
            for owner, con_id in desk.books.positions
            if owner == account
        ),
        ZERO,
    )


def worths(desk: Desk, account: str) -> dict[str, Worth]:
    """The positions of an account by currency, each in its own.

    A future is worth what it has gained or lost; a forex pair nothing, its currencies are in cash.
    """
    found: dict[str, Worth] = {}
    for (owner, con_id), row in desk.books.positions.items():
        if owner != account:
            continue
        contract = desk.contract(con_id)
        worth = found.setdefault(contract.currency, Worth())
        worth.realized += realized_today(desk, account, con_id)
        if not row.quantity:
            continue
        last = desk.market.quote(contract).last
        value = row.quantity * last * contract.multiplier
        gained = value - row.quantity * row.average_cost
        if contract.sec_type == "FUT":
            worth.futures += gained
        elif contract.sec_type in ("OPT", "FOP"):
            worth.options += value
        elif contract.sec_type != "CASH":
            worth.stocks += value
        worth.gross += abs(value)
        worth.unrealized += gained
        worth.margin += margin(contract, row.quantity, last)
    return found


def totals(desk: Desk, account: str) -> Totals:
    """The worth of an account now, in its base currency."""
    base = desk.settings.base_currency
    cash = sum(
        (
            amount * rate(currency, base)
            for (owner, currency), amount in desk.books.cash.items()
            if owner == account
        ),
        ZERO,
    )
    whole = Worth()
    for currency, worth in worths(desk, account).items():
        whole.add(worth, rate(currency, base))
    return Totals(cash, whole.net, whole.gross, whole.unrealized, whole.realized, whole.margin)


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
    yield Row("LookAheadNextChange", "0", "")
    for day in range(1, 5):
        yield Row(f"DayTradesRemainingT+{day}", "-1", "")
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
    """The ledger: a set of rows for each currency, and one for all of them in the base currency."""
    base = desk.settings.base_currency
    found = worths(desk, account)
    cash = {
        currency: amount
        for (owner, currency), amount in desk.books.cash.items()
        if owner == account
    }
    whole = Worth()
    for currency, worth in found.items():
        whole.add(worth, rate(currency, base))
    for currency in sorted({*cash, *found, base}):
        yield from _ledger_of(
            currency, cash.get(currency, ZERO), found.get(currency, Worth()), rate(currency, base)
        )
    yield from _ledger_of("BASE", total.cash, whole, Decimal(1))


def _ledger_of(currency: str, cash: Decimal, worth: Worth, exchange: Decimal) -> Iterator[Row]:
    for key, value in (
        ("CashBalance", cash),
        ("TotalCashBalance", cash),
        ("AccruedCash", ZERO),
        ("StockMarketValue", worth.stocks),
        ("OptionMarketValue", worth.options),
        ("FutureOptionValue", ZERO),
        ("FuturesPNL", worth.futures),
        ("NetLiquidationByCurrency", cash + worth.net),
        ("UnrealizedPnL", worth.unrealized),
        ("RealizedPnL", worth.realized),
        ("NetDividend", ZERO),
    ):
        yield Row(key, _money(value), currency, per_currency=True)
    yield Row("ExchangeRate", number(exchange), currency, per_currency=True)
    yield Row("RealCurrency", currency, currency, per_currency=True)
    yield Row("Currency", currency, currency, per_currency=True)


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
        "realizedPNL": _money(realized_today(desk, account, contract.con_id)),
    }


def preview(desk: Desk, order: Order) -> dict[str, str]:
    """The margin and commission fields of a whatIf answer.

    What the books will show when the order has filled at its price: at the touch if it crosses
    it, else at its limit.  A fill is a print, so that what is held already is worth the new price.
    """
    total = totals(desk, order.account)
    base = desk.settings.base_currency
    change = equity = charge = ZERO
    for contract, signed, price in _previewed(desk, order):
        factor = rate(contract.currency, base)
        held = desk.books.position(order.account, contract.con_id).quantity
        last = desk.market.quote(contract).last
        # The fill of a combination is no print of its legs.
        mark = last if order.terms.get("comboLegs") else price
        fee = commission(contract, abs(signed), price, desk.settings.commission)
        after = margin(contract, held + signed, mark) - margin(contract, held, last)
        change += after * factor
        if contract.sec_type == "CASH":
            # The two currencies change places, at rates that are not the pair's price.
            equity += signed * (rate(contract.symbol, base) - price * factor)
        else:
            gained = held * (mark - last) + signed * (mark - price)
            equity += gained * contract.multiplier * factor
        equity -= fee * factor
        charge += fee * factor / rate(desk.contract(order.con_id).currency, base)
    return {
        "whatIf": "1",
        "initMarginBefore": _money(total.initial_margin),
        "maintMarginBefore": _money(total.maintenance_margin),
        "equityWithLoanBefore": _money(total.net),
        "initMarginChange": _money(change),
        "maintMarginChange": _money(change / 2),
        "equityWithLoanChange": _money(equity),
        "initMarginAfter": _money(total.initial_margin + change),
        "maintMarginAfter": _money(total.maintenance_margin + change / 2),
        "equityWithLoanAfter": _money(total.net + equity),
        "commission": number(charge),
        "minCommission": number(charge),
        "maxCommission": number(charge),
        "commissionCurrency": desk.contract(order.con_id).currency,
    }


def _previewed(desk: Desk, order: Order) -> Iterator[tuple[Contract, Decimal, Decimal]]:
    """The fills an order would have: contract, signed quantity, price; a combo's are its legs'."""
    quote = desk.quote(order)
    touch = quote.ask if order.is_buy else quote.bid
    limit = order.limit_price
    crosses = limit is None or (touch <= limit if order.is_buy else touch >= limit)
    price = touch if limit is None or crosses else limit
    if desk.contract(order.con_id).sec_type == "BAG":
        for leg, ratio, leg_price in desk.back_office.leg_prices(order, price):
            yield leg, order.quantity * ratio * (1 if order.is_buy else -1), leg_price
        return
    contract = desk.contract(order.con_id)
    yield contract, order.quantity * (1 if order.is_buy else -1), price


def _money(value: Decimal) -> str:
    return str(value.quantize(_CENT, rounding=ROUND_HALF_UP))


def _ratio(part: Decimal, whole: Decimal) -> str:
    return "0" if not whole else number((part / whole).quantize(Decimal("0.0001")))
