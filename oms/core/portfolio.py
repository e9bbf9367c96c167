"""What the accounts hold and what it is worth: our books beside IB's words, each with its time.

Pure: from the rows of positions and account values, and prices that were heard, to one value that
the command line, the pages and the broker interface show. The rules:

- Quantity, average price and realised result are ours, from executions (`fold.positions`). IB's
  quantity and average cost stand beside them and are never mixed in.
- A price is the newest that was heard: a quote, or the mark that IB sent with its portfolio row.
- A result in the base currency needs IB's exchange rate; it carries that rate and its time.
- What is not known is None with a reason, never zero; what is calculated is as old as the oldest
  price or rate in it. What the books have is true now, and its time is when it last moved.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final

from oms.core.contracts import Contract
from oms.core.fold.positions import unrealised_pnl
from oms.core.fold.records import AccountValue, Position
from oms.core.money import ONE, ZERO, NotANumber, decimal_from_wire
from oms.core.money_rules import CASH_TAGS
from oms.core.quotes import Quote

#: The ledger that IB adds up over all currencies, in the base currency.
BASE: Final = "BASE"
#: IB's name of the rate that turns an amount of a currency into the base currency.
EXCHANGE_RATE: Final = "ExchangeRate"


@dataclass(frozen=True, slots=True)
class Figure:
    """A number with its currency, its time and its source, or the reason why there is none."""

    value: Decimal | None
    #: Empty for what is not an amount of money.
    currency: str = ""
    #: When the oldest of its parts was said, aware UTC; None where no time belongs to it.
    at: datetime | None = None
    #: `books`, `IB`, `quote`, or what it was calculated from.
    source: str = ""
    #: Why the value is None; empty where it is known.
    reason: str = ""

    @property
    def is_known(self) -> bool:
        """Say whether there is a value."""
        return self.value is not None

    def age_seconds(self, now: datetime) -> Decimal | None:
        """Return how old the value is, None where no time belongs to it."""
        if self.at is None:
            return None
        age = now - self.at
        return Decimal(age.days * 86_400 + age.seconds) + Decimal(age.microseconds) / 1_000_000


@dataclass(frozen=True, slots=True)
class Mark:
    """A price that was heard of a contract."""

    price: Decimal
    at: datetime
    source: str = "quote"


def mark_of(quote: Quote) -> Mark | None:
    """Return what a quote says something is worth now; yesterday's close is not worth a mark."""
    middle = quote.middle
    if middle is not None:
        return Mark(middle, quote.at)
    return None if quote.last is None else Mark(quote.last, quote.last_at or quote.at)


@dataclass(frozen=True, slots=True)
class Holding:
    """What an account holds of a contract; in its currency unless it says base."""

    account: str
    contract: Contract
    #: Ours, from executions; signed: short is negative.
    quantity: Decimal
    #: What IB says it is.
    broker_quantity: Figure
    #: Ours, per unit, without commissions; unknown where nothing is held.
    average_price: Figure
    #: IB's: per unit, times multiplier, with commissions.
    broker_average_cost: Figure
    last_price: Figure
    market_value: Figure
    #: Since the log began, by average cost, without commissions.
    realised_pnl: Figure
    unrealised_pnl: Figure
    #: Per currency.
    commissions: tuple[tuple[str, Decimal], ...]
    #: Units of the base currency for one of the contract's.
    rate: Figure
    market_value_base: Figure
    realised_pnl_base: Figure
    unrealised_pnl_base: Figure
    #: IB's own results, since its daily reset, from its portfolio row.
    broker_realised_pnl: Figure
    broker_unrealised_pnl: Figure

    @property
    def currency(self) -> str:
        """Return the contract's currency."""
        return self.contract.currency


@dataclass(frozen=True, slots=True)
class CurrencyBalance:
    """What an account has in one currency, by IB's ledger."""

    currency: str
    cash: Figure
    #: Units of the base currency for one of this.
    rate: Figure
    net_liquidation: Figure
    realised_pnl: Figure
    unrealised_pnl: Figure


@dataclass(frozen=True, slots=True)
class Account:
    """One account: IB's figures of it, and what it holds."""

    account: str
    #: Empty until IB has said it.
    base_currency: str
    #: False while IB resets its servers: its figures are not reliable. None where it has not said.
    is_ready: bool | None
    net_liquidation: Figure
    total_cash: Figure
    buying_power: Figure
    gross_position_value: Figure
    initial_margin: Figure
    maintenance_margin: Figure
    available_funds: Figure
    excess_liquidity: Figure
    balances: tuple[CurrencyBalance, ...]
    holdings: tuple[Holding, ...]
    #: Sums over the holdings, in the base currency; unknown as soon as one of them is.
    realised_pnl: Figure
    unrealised_pnl: Figure
    #: IB's own sums, since its daily reset.
    broker_realised_pnl: Figure
    broker_unrealised_pnl: Figure


def accounts_of(
    positions: Iterable[Position],
    values: Iterable[AccountValue],
    marks: Mapping[int, Mark] | None = None,
) -> tuple[Account, ...]:
    """Return every account that the rows name, sorted; `marks` are prices by con_id."""
    held: dict[str, list[Position]] = defaultdict(list)
    for position in positions:
        held[position.account].append(position)
    said: dict[str, dict[tuple[str, str], AccountValue]] = defaultdict(dict)
    for value in values:
        if value.account:
            said[value.account][value.name, value.currency] = value
    names = sorted({*held, *said})
    return tuple(_account(name, held[name], _Said(name, said[name]), marks or {}) for name in names)


class _Said:
    """What IB said of one account."""

    def __init__(self, account: str, values: Mapping[tuple[str, str], AccountValue]) -> None:
        self.account = account
        self.values = values
        bases = [c for name, c in values if name == "NetLiquidation" and c not in ("", BASE)]
        self.base_currency = bases[0] if len(bases) == 1 else ""

    def figure(self, name: str, currency: str) -> Figure:
        """Return one value as a number; `currency` is the key, which BASE is as well."""
        shown = self.base_currency if currency == BASE else currency
        found = self.values.get((name, currency))
        if found is None:
            return Figure(None, shown, reason=f"IB has not said {name} of {self.account}")
        try:
            number = decimal_from_wire(found.value)
        except NotANumber:
            number = None
        if number is None:
            reason = f"IB wrote {found.value!r} as {name} of {self.account}"
            return Figure(None, shown, found.at, "IB", reason)
        return Figure(number, shown, found.at, "IB")

    def cash(self, currency: str) -> Figure:
        """Return a balance, by the tag that counts."""
        return next(
            (f for tag in CASH_TAGS if (f := self.figure(tag, currency)).is_known),
            self.figure(CASH_TAGS[-1], currency),
        )

    def total(self, name: str) -> Figure:
        """Return a value of the whole account, in the base currency."""
        if not self.base_currency:
            return Figure(None, reason=self.no_base())
        return self.figure(name, self.base_currency)

    def rate(self, currency: str) -> Figure:
        """Return units of the base currency for one of this."""
        if not self.base_currency:
            return Figure(None, reason=self.no_base())
        if currency == self.base_currency:
            return Figure(ONE, source="the base currency itself")
        found = self.figure(EXCHANGE_RATE, currency)
        reason = found.reason
        if found.value is None and not found.source:
            reason = f"IB has sent no exchange rate of {currency} for {self.account}"
        if found.value is not None and found.value <= 0:
            reason = f"IB sent {found.value} as the exchange rate of {currency}"
            return Figure(None, at=found.at, source="IB", reason=reason)
        return Figure(found.value, at=found.at, source=found.source, reason=reason)

    def no_base(self) -> str:
        """Say that the base currency is not known."""
        return f"IB has not said the base currency of {self.account}"


def _account(
    name: str, positions: Sequence[Position], said: _Said, marks: Mapping[int, Mark]
) -> Account:
    ready = said.values.get(("AccountReady", ""))
    holdings = tuple(
        _holding(one, said, marks.get(one.contract.con_id))
        for one in sorted(positions, key=lambda p: (p.contract.symbol, p.contract.con_id))
        if one.live or one.fill_count
    )
    currencies = sorted({c for n, c in said.values if n in (*CASH_TAGS, EXCHANGE_RATE)} - {BASE})
    base = said.base_currency
    return Account(
        account=name,
        base_currency=base,
        is_ready=None if ready is None else ready.value == "true",
        net_liquidation=said.total("NetLiquidation"),
        total_cash=said.total("TotalCashValue"),
        buying_power=said.total("BuyingPower"),
        gross_position_value=said.total("GrossPositionValue"),
        initial_margin=said.total("InitMarginReq"),
        maintenance_margin=said.total("MaintMarginReq"),
        available_funds=said.total("AvailableFunds"),
        excess_liquidity=said.total("ExcessLiquidity"),
        balances=tuple(_balance(currency, said) for currency in currencies if currency),
        holdings=holdings,
        realised_pnl=_sum(base, [(h.contract, h.realised_pnl_base) for h in holdings]),
        unrealised_pnl=_sum(base, [(h.contract, h.unrealised_pnl_base) for h in holdings]),
        broker_realised_pnl=said.figure("RealizedPnL", BASE),
        broker_unrealised_pnl=said.figure("UnrealizedPnL", BASE),
    )


def _balance(currency: str, said: _Said) -> CurrencyBalance:
    return CurrencyBalance(
        currency=currency,
        cash=said.cash(currency),
        rate=said.rate(currency),
        net_liquidation=said.figure("NetLiquidationByCurrency", currency),
        realised_pnl=said.figure("RealizedPnL", currency),
        unrealised_pnl=said.figure("UnrealizedPnL", currency),
    )


def _holding(position: Position, said: _Said, quoted: Mark | None) -> Holding:
    currency = position.contract.currency
    mark = _newest(position, quoted)
    rate = said.rate(currency)
    realised = Figure(position.realised_pnl, currency, position.moved_at, "books")
    value, unrealised = _at_mark(position, mark)
    base = said.base_currency
    return Holding(
        account=position.account,
        contract=position.contract,
        quantity=position.quantity,
        broker_quantity=_broker(position, position.broker_quantity, ""),
        average_price=_average(position),
        broker_average_cost=_broker(position, position.broker_average_cost, currency),
        last_price=_no_price(position)
        if mark is None
        else Figure(mark.price, currency, mark.at, mark.source),
        market_value=value,
        realised_pnl=realised,
        unrealised_pnl=unrealised,
        commissions=position.commissions,
        rate=rate,
        market_value_base=_converted(value, rate, base),
        realised_pnl_base=_converted(realised, rate, base),
        unrealised_pnl_base=_converted(unrealised, rate, base),
        broker_realised_pnl=_marked(position, position.broker_realised_pnl),
        broker_unrealised_pnl=_marked(position, position.broker_unrealised_pnl),
    )


def _newest(position: Position, quoted: Mark | None) -> Mark | None:
    price, at = position.broker_price, position.broker_marked_at
    if price is None or at is None:
        return quoted
    if quoted is not None and quoted.at >= at:
        return quoted
    return Mark(price, at, "IB")


def _at_mark(position: Position, mark: Mark | None) -> tuple[Figure, Figure]:
    """Return market value and unrealised result; of nothing both are zero at any price."""
    currency = position.contract.currency
    if not position.quantity:
        nothing = Figure(ZERO, currency, position.moved_at, "books")
        return nothing, nothing
    if mark is None:
        unknown = _no_price(position)
        return unknown, unknown
    value = mark.price * position.quantity * position.contract.units
    source = f"books and {mark.source}"
    # As old as the price: that the quantity has not moved since makes it no older.
    return (
        Figure(value, currency, mark.at, source),
        Figure(unrealised_pnl(position, mark.price), currency, mark.at, source),
    )


def _no_price(position: Position) -> Figure:
    reason = f"no price of {position.contract} has been heard"
    return Figure(None, position.contract.currency, reason=reason)


def _average(position: Position) -> Figure:
    currency = position.contract.currency
    if not position.quantity:
        return Figure(None, currency, position.moved_at, "books", "nothing is held")
    return Figure(position.average_price, currency, position.moved_at, "books")


def _broker(position: Position, value: Decimal | None, currency: str) -> Figure:
    if value is None:
        return Figure(None, currency, reason=f"IB has not named {position.contract}")
    return Figure(value, currency, position.broker_at, "IB")


def _marked(position: Position, value: Decimal | None) -> Figure:
    currency = position.contract.currency
    if value is None:
        reason = f"IB has sent no portfolio row of {position.contract}"
        return Figure(None, currency, reason=reason)
    return Figure(value, currency, position.broker_marked_at, "IB")


def _converted(amount: Figure, rate: Figure, base: str) -> Figure:
    """Return an amount in the base currency; as old as the older of amount and rate."""
    if amount.value == ZERO:
        return Figure(ZERO, base, amount.at, amount.source)
    if amount.value is None or rate.value is None:
        return Figure(None, base, reason=amount.reason or rate.reason)
    if rate.at is None:
        return Figure(amount.value * rate.value, base, amount.at, amount.source)
    # What the books have is true now, whenever it last moved; a price is as old as it is.
    at = rate.at if amount.source == "books" else _oldest(amount.at, rate.at)
    return Figure(amount.value * rate.value, base, at, f"{amount.source} at IB's rate")


def _sum(base: str, parts: Sequence[tuple[Contract, Figure]]) -> Figure:
    """Return a sum, or why there is none: one unknown part makes the whole unknown."""
    if not base:
        return Figure(None, reason="IB has not said the base currency of the account")
    unknown = [figure.reason for _, figure in parts if figure.value is None]
    if unknown:
        more = f", and of {len(unknown) - 1} more holdings" if len(unknown) > 1 else ""
        return Figure(None, base, reason=f"{unknown[0]}{more}")
    total = sum((figure.value for _, figure in parts if figure.value is not None), ZERO)
    return Figure(total, base, _oldest(*(figure.at for _, figure in parts)), "the holdings")


def _oldest(*times: datetime | None) -> datetime | None:
    known = [at for at in times if at is not None]
    return min(known) if known else None
