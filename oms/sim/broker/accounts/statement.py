"""The account statement of the next morning, in the XML of IB's Flex queries.

Written from the broker's books alone, in the attributes, signs and forms of an activity Flex query
with the sections Trades (executions), Open Positions, Cash Report, Option Exercises, Assignments
and Expirations, Corporate Actions and Transfers:

- Days and times are New York's, `yyyymmdd;hhmmss`, whatever the gateway's zone; which day a deal
  belongs to is IB's rule (`trading_day`).
- Sales have negative quantities, commissions paid are negative.
- A deal stays as it was booked. What corrects it are two rows more: a TradeCancel without a number
  and an execution id of its own, all signs turned, that names the original, and the deal booked
  again under the original's number; a bust is the cancel alone.
- A deal without an order (an assignment, an expiry) is a BookTrade without an execution id, at
  16:20.
- Currency pairs are no positions, and a combination is only its legs.
- What futures gain day by day is no purchase and no sale: Cash Settling MTM.

It is a statement of the days named as of now: positions and cash are those of this moment.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Final, assert_never
from xml.sax.saxutils import quoteattr

from oms.sim.broker.accounts.trading_day import NEW_YORK, trading_day
from oms.sim.broker.books.books import ChangeKind, LifeRow
from oms.sim.broker.books.executions import Execution
from oms.sim.broker.books.ledger import ZERO, cash_flows, rate
from oms.sim.broker.exchange.contracts import Contract
from oms.sim.broker.floor import Floor
from oms.sim.protocol.fields import number

_OPTION_LIFE: Final = {
    "exercise": "Exercise",
    "assignment": "Assignment",
    "expiry": "Expiration",
}
#: Numbers that IB gives deals, and those of what nobody traded.
_FIRST_DEAL: Final = 1_400_000_001
_FIRST_BOOKED: Final = 1_900_000_001
_CODES: Final = {"exercise": "Ex", "assignment": "A", "expiry": "Ep"}
_ACTIONS: Final = {"split": "FS", "symbol_change": "IC"}


def statement(floor: Floor, accounts: Sequence[str], first: date, last: date) -> str:
    """Return the XML of one statement an account, for the days from `first` to `last`."""
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        _open("FlexQueryResponse", queryName="oms-sim", type="AF"),
        _open("FlexStatements", count=str(len(accounts))),
    ]
    for account in accounts:
        lines += _Statement(floor, account, first, last).lines()
    return "\n".join([*lines, "</FlexStatements>", "</FlexQueryResponse>"]) + "\n"


class _Statement:
    """One account's."""

    def __init__(self, floor: Floor, account: str, first: date, last: date) -> None:
        self.floor = floor
        self.account = account
        self.first, self.last = first, last
        #: Revisions of every execution of the days, oldest first, by their number at IB.
        self.deals: dict[int, list[Execution]] = {}
        #: Changes that nobody traded, by the section that they are in.
        self.option_life: list[LifeRow] = []
        self.corporate_actions: list[LifeRow] = []
        self.transfers: list[LifeRow] = []
        numbers: dict[str, int] = {}
        for one in floor.books.executions():
            deal_number = numbers.setdefault(one.stem, _FIRST_DEAL + len(numbers))
            contract = floor.contract(one.con_id)
            is_booked = one.is_dealt and contract.sec_type != "BAG"
            if one.account == account and is_booked and self._covers(one.time, contract):
                self.deals.setdefault(deal_number, []).append(one)
        for row in floor.books.life(account):
            if self._covers(row.at, floor.contract(row.con_id)):
                self._section(row.kind).append(row)

    def _covers(self, moment: datetime, contract: Contract) -> bool:
        return self.first <= trading_day(moment, contract.sec_type) <= self.last

    def _section(self, kind: ChangeKind) -> list[LifeRow]:
        match kind:
            case "exercise" | "assignment" | "expiry":
                return self.option_life
            case "split" | "symbol_change":
                return self.corporate_actions
            case "transfer":
                return self.transfers
            case _:
                assert_never(kind)

    def lines(self) -> Iterator[str]:
        """Yield the lines of the account's statement."""
        now = self.floor.clock.now().astimezone(NEW_YORK)
        yield _open(
            "FlexStatement",
            accountId=self.account,
            fromDate=f"{self.first:%Y%m%d}",
            toDate=f"{self.last:%Y%m%d}",
            period="",
            whenGenerated=f"{now:%Y%m%d;%H%M%S}",
        )
        for section, rows in (
            ("CashReport", self._cash()),
            ("OpenPositions", self._positions()),
            ("Trades", self._deals()),
            ("OptionEAE", self._option_life()),
            ("CorporateActions", self._corporate_actions()),
            ("Transfers", self._transfers()),
        ):
            yield f"<{section}>"
            yield from rows
            yield f"</{section}>"
        yield "</FlexStatement>"

    # ── trades ───────────────────────────────────────────────────────────────────────────────────

    def _deals(self) -> Iterator[str]:
        for deal_number, revisions in self.deals.items():
            before: Execution | None = None
            for one in revisions:
                if before is not None:
                    yield self._cancel(before, one, deal_number)
                if one.quantity:
                    yield self._deal(one, before, deal_number)
                before = one
        for number_, row in enumerate(self.option_life):
            yield self._book_deal(row, _FIRST_BOOKED + number_)

    def _deal(self, one: Execution, before: Execution | None, deal_number: int) -> str:
        charge = _charge(one, before)
        return self._dealt(
            one,
            one.signed,
            charge=charge,
            tradeID=str(deal_number),
            reportDate=self._day(one.time, one.con_id),
            transactionType="ExchTrade",
            exchange=one.venue,
            notes="" if before is None else "Co",
            origTradePrice="0",
            origTradeDate="",
            origTradeID="",
            origOrderID="0",
            transactionID=_row_number(deal_number, one, 2),
            buySell=_buy_or_sell(one),
            ibExecID=one.exec_id,
            orderReference=one.order_ref,
        )

    def _cancel(self, old: Execution, new: Execution, deal_number: int) -> str:
        """The row that takes a deal back: its charge too, where nothing is booked in its place."""
        return self._dealt(
            old,
            -old.signed,
            charge=None if new.quantity else _charge(new, old),
            tradeID="",
            reportDate=self._day(old.time, old.con_id),
            transactionType="TradeCancel",
            exchange="--",
            notes="Ca",
            origTradePrice=number(old.price),
            origTradeDate=self._day(old.time, old.con_id),
            origTradeID=str(deal_number),
            origOrderID=str(old.perm_id),
            transactionID=_row_number(deal_number, new, 1),
            buySell=f"{_buy_or_sell(old)} (Ca.)",
            ibExecID="",
            orderReference="",
        )

    def _dealt(
        self, one: Execution, signed: Decimal, *, charge: Decimal | None, **fields: str
    ) -> str:
        contract = self.floor.contract(one.con_id)
        proceeds = -signed * one.price * contract.multiplier
        charged = -(charge or ZERO)
        return self._row(
            "Trade",
            contract,
            dateTime=f"{one.time.astimezone(NEW_YORK):%Y%m%d;%H%M%S}",
            tradeDate=self._day(one.time, one.con_id),
            quantity=number(signed),
            tradePrice=number(one.price),
            tradeMoney=number(-proceeds),
            proceeds=number(proceeds),
            taxes="0",
            ibCommission=number(charged),
            ibCommissionCurrency=one.commission_currency or contract.currency,
            netCash=number(_net_cash(contract, proceeds) + charged),
            openCloseIndicator="",
            ibOrderID=str(one.perm_id),
            levelOfDetail="EXECUTION",
            **fields,
        )

    def _book_deal(self, row: LifeRow, deal_number: int) -> str:
        contract = self.floor.contract(row.con_id)
        proceeds = -row.quantity * row.price * contract.multiplier
        day = self._day(row.at, row.con_id)
        return self._row(
            "Trade",
            contract,
            tradeID=str(deal_number),
            dateTime=f"{day};162000",
            tradeDate=day,
            reportDate=day,
            transactionType="BookTrade",
            exchange="--",
            quantity=number(row.quantity),
            tradePrice=number(row.price),
            tradeMoney=number(-proceeds),
            proceeds=number(proceeds),
            taxes="0",
            ibCommission="0",
            ibCommissionCurrency=contract.currency,
            netCash=number(_net_cash(contract, proceeds)),
            openCloseIndicator="",
            notes=_CODES[row.kind],
            origTradePrice="0",
            origTradeDate="",
            origTradeID="",
            origOrderID="0",
            transactionID=str(deal_number * 10),
            buySell="BUY" if row.quantity > 0 else "SELL",
            ibOrderID=str(deal_number * 10),
            ibExecID="",
            orderReference="",
            levelOfDetail="EXECUTION",
        )

    # ── what changed without a trade ─────────────────────────────────────────────────────────────

    def _option_life(self) -> Iterator[str]:
        for row in self.option_life:
            contract = self.floor.contract(row.con_id)
            is_option = contract.sec_type != "STK"
            leg = "Buy" if row.quantity > 0 else "Sell"
            yield self._row(
                "OptionEAE",
                contract,
                date=self._day(row.at, row.con_id),
                transactionType=_OPTION_LIFE[row.kind] if is_option else leg,
                quantity=number(row.quantity),
                tradePrice=number(row.price),
            )

    def _corporate_actions(self) -> Iterator[str]:
        for row in self.corporate_actions:
            yield self._row(
                "CorporateAction",
                self.floor.contract(row.con_id),
                reportDate=self._day(row.at, row.con_id),
                dateTime=f"{self._day(row.at, row.con_id)};202500",
                type=_ACTIONS[row.kind],
                quantity=number(row.quantity),
                actionDescription=row.kind.replace("_", " "),
            )

    def _transfers(self) -> Iterator[str]:
        for row in self.transfers:
            yield self._row(
                "Transfer",
                self.floor.contract(row.con_id),
                date=self._day(row.at, row.con_id),
                type="FOP",
                direction="IN" if row.quantity > 0 else "OUT",
                quantity=number(row.quantity),
            )

    # ── what is held ─────────────────────────────────────────────────────────────────────────────

    def _positions(self) -> Iterator[str]:
        for (account, con_id), row in self.floor.books.positions.items():
            contract = self.floor.contract(con_id)
            if account == self.account and row.quantity and contract.sec_type != "CASH":
                yield self._row(
                    "OpenPosition",
                    contract,
                    reportDate=f"{self.last:%Y%m%d}",
                    position=number(row.quantity),
                    costBasisPrice=number(row.average_cost / contract.multiplier),
                    side="Long" if row.quantity > 0 else "Short",
                    levelOfDetail="SUMMARY",
                )

    def _cash(self) -> Iterator[str]:
        charges: dict[str, Decimal] = defaultdict(Decimal)
        sales: dict[str, Decimal] = defaultdict(Decimal)
        purchases: dict[str, Decimal] = defaultdict(Decimal)
        settled: dict[str, Decimal] = defaultdict(Decimal)
        for one in (revisions[-1] for revisions in self.deals.values()):
            contract = self.floor.contract(one.con_id)
            charge = one.charge(contract)
            charges[charge.currency] -= charge.amount
            flows = cash_flows(contract, one.signed, one.price, one.realized, charge)
            for currency, amount in flows.items():
                # The charge has a line of its own.
                own = amount + (charge.amount if currency == charge.currency else ZERO)
                if contract.sec_type == "FUT":
                    settled[currency] += own
                    continue
                (sales if own > 0 else purchases)[currency] += own
        for row in self.option_life:
            contract = self.floor.contract(row.con_id)
            own = -row.quantity * row.price * contract.multiplier
            (sales if own > 0 else purchases)[contract.currency] += own
        held = {c: v for (owner, c), v in self.floor.books.cash.items() if owner == self.account}
        rows = {
            currency: {
                "startingCash": held.get(currency, ZERO)
                - sum(
                    (part[currency] for part in (charges, sales, purchases, settled)), start=ZERO
                ),
                "commissions": charges[currency],
                "netTradesSales": sales[currency],
                "netTradesPurchases": purchases[currency],
                "cashSettlingMtm": settled[currency],
                "endingCash": held.get(currency, ZERO),
            }
            for currency in sorted({*held, *charges, *sales, *purchases, *settled})
        }
        base = self.floor.settings.base_currency
        summary: dict[str, Decimal] = defaultdict(Decimal)
        for currency, amounts in rows.items():
            for name, amount in amounts.items():
                summary[name] += amount * rate(currency, base)
        yield self._cash_row("BASE_SUMMARY", "BaseCurrency", summary)
        for currency, amounts in rows.items():
            yield self._cash_row(currency, "Currency", amounts)

    def _cash_row(self, currency: str, level: str, amounts: Mapping[str, Decimal]) -> str:
        return _row(
            "CashReportCurrency",
            accountId=self.account,
            currency=currency,
            levelOfDetail=level,
            fromDate=f"{self.first:%Y%m%d}",
            toDate=f"{self.last:%Y%m%d}",
            **{name: number(amount) for name, amount in amounts.items()},
        )

    # ── rows ─────────────────────────────────────────────────────────────────────────────────────

    def _day(self, at: datetime, con_id: int) -> str:
        return f"{trading_day(at, self.floor.contract(con_id).sec_type):%Y%m%d}"

    def _row(self, tag: str, contract: Contract, **fields: str) -> str:
        return _row(
            tag,
            accountId=self.account,
            currency=contract.currency,
            assetCategory=contract.sec_type,
            symbol=contract.local_symbol or contract.symbol,
            conid=str(contract.con_id),
            multiplier=number(contract.multiplier),
            **fields,
        )


def _charge(one: Execution, before: Execution | None) -> Decimal | None:
    """What a row adds to what its deal was charged so far."""
    if one.commission is None:
        return None
    return one.commission - ((before.commission if before else None) or ZERO)


def _net_cash(contract: Contract, proceeds: Decimal) -> Decimal:
    """IB shows none for a currency pair, nor for what settles day by day."""
    return ZERO if contract.sec_type in ("CASH", "FUT") else proceeds


def _buy_or_sell(one: Execution) -> str:
    return "BUY" if one.side == "BOT" else "SELL"


def _row_number(deal_number: int, one: Execution, step: int) -> str:
    """A number of each row, growing as the rows were booked."""
    return str(deal_number * 100 + one.revision * 2 + step)


def _row(tag: str, **fields: str) -> str:
    return _open(tag, **fields)[:-1] + " />"


def _open(tag: str, **fields: str) -> str:
    words = "".join(f" {name}={quoteattr(value)}" for name, value in fields.items())
    return f"<{tag}{words}>"
