"""The account statement of the next morning, in the XML of IB's Flex queries.

Written from the broker's books alone. Attribute names, signs and forms are those of an activity
Flex query with the sections Trades (executions), Open Positions, Cash Report, Option Exercises,
Assignments and Expirations, Corporate Actions and Transfers: sales have negative quantities,
commissions paid are negative, times are `yyyymmdd;hhmmss` in the gateway's zone, and a deal without
an order (an assignment) is a BookTrade without an execution id.

It is a statement of the days named as of now: positions and cash are those of this moment.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Final, assert_never
from xml.sax.saxutils import quoteattr
from zoneinfo import ZoneInfo

from oms.sim.broker.books.books import ChangeKind, LifeRow
from oms.sim.broker.books.executions import Execution
from oms.sim.broker.books.ledger import ZERO, cash_flows
from oms.sim.broker.exchange.contracts import Contract
from oms.sim.broker.floor import Floor
from oms.sim.protocol.fields import number

_OPTION_LIFE: Final = {
    "exercise": "Exercise",
    "assignment": "Assignment",
    "expiry": "Expiration",
}
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
        self.zone: ZoneInfo = floor.zone
        start = datetime.combine(first, datetime.min.time(), self.zone)
        self.start, self.end = start, start + (last - first) + timedelta(days=1)
        self.executions = [
            one
            for one in floor.books.executions()
            if one.account == account and self.start <= one.time < self.end and one.moves_position
        ]
        #: Changes that nobody traded, by the section that they are in.
        self.option_life: list[LifeRow] = []
        self.corporate_actions: list[LifeRow] = []
        self.transfers: list[LifeRow] = []
        for row in floor.books.life(account):
            if self.start <= row.at < self.end:
                self._section(row.kind).append(row)

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
        now = self.floor.clock.now().astimezone(self.zone)
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
        for one in self.executions:
            if not one.superseded:
                yield self._deal(one)
        for row in self.option_life:
            yield self._book_deal(row)

    def _deal(self, one: Execution) -> str:
        contract = self.floor.contract(one.con_id)
        at = one.time.astimezone(self.zone)
        charge = one.commission
        proceeds = -one.signed * one.price * contract.multiplier
        busted = not one.quantity
        return self._row(
            "Trade",
            contract,
            tradeID=str(one.perm_id),
            dateTime=f"{at:%Y%m%d;%H%M%S}",
            tradeDate=f"{at:%Y%m%d}",
            transactionType="TradeCancel" if busted else "ExchTrade",
            exchange=one.venue,
            quantity=number(one.signed),
            tradePrice=number(one.price),
            proceeds=number(proceeds),
            ibCommission="" if charge is None else number(-charge),
            ibCommissionCurrency=one.commission_currency or contract.currency,
            netCash=number(proceeds - (charge or ZERO)),
            buySell="BUY" if one.side == "BOT" else "SELL",
            ibOrderID=str(one.perm_id),
            ibExecID=one.exec_id,
            orderReference=one.order_ref,
            notes="Co" if one.revision > 1 else "",
        )

    def _book_deal(self, row: LifeRow) -> str:
        contract = self.floor.contract(row.con_id)
        moment = row.at.astimezone(self.zone)
        proceeds = -row.quantity * row.price * contract.multiplier
        return self._row(
            "Trade",
            contract,
            tradeID="",
            dateTime=f"{moment:%Y%m%d;%H%M%S}",
            tradeDate=f"{moment:%Y%m%d}",
            transactionType="BookTrade",
            exchange="--",
            quantity=number(row.quantity),
            tradePrice=number(row.price),
            proceeds=number(proceeds),
            ibCommission="0",
            ibCommissionCurrency=contract.currency,
            netCash=number(proceeds),
            buySell="BUY" if row.quantity > 0 else "SELL",
            ibOrderID="",
            ibExecID="",
            orderReference="",
            notes=_CODES[row.kind],
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
                date=self._day(row.at),
                transactionType=_OPTION_LIFE[row.kind] if is_option else leg,
                quantity=number(row.quantity),
                tradePrice=number(row.price),
            )

    def _corporate_actions(self) -> Iterator[str]:
        for row in self.corporate_actions:
            yield self._row(
                "CorporateAction",
                self.floor.contract(row.con_id),
                reportDate=self._day(row.at),
                type=_ACTIONS[row.kind],
                quantity=number(row.quantity),
                actionDescription=row.kind.replace("_", " "),
            )

    def _transfers(self) -> Iterator[str]:
        for row in self.transfers:
            yield self._row(
                "Transfer",
                self.floor.contract(row.con_id),
                date=self._day(row.at),
                type="FOP",
                direction="IN" if row.quantity > 0 else "OUT",
                quantity=number(row.quantity),
            )

    # ── what is held ─────────────────────────────────────────────────────────────────────────────

    def _positions(self) -> Iterator[str]:
        for (account, con_id), row in self.floor.books.positions.items():
            if account == self.account and row.quantity:
                contract = self.floor.contract(con_id)
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
        for one in self.executions:
            if one.superseded:
                continue
            contract = self.floor.contract(one.con_id)
            charge = one.commission or ZERO
            charges[one.commission_currency or contract.currency] -= charge
            flows = cash_flows(contract, one.signed, one.price, one.realized, charge)
            for currency, amount in flows.items():
                # The charge has a line of its own.
                own = amount + (charge if currency == contract.currency else ZERO)
                (sales if own > 0 else purchases)[currency] += own
        for row in self.option_life:
            contract = self.floor.contract(row.con_id)
            own = -row.quantity * row.price * contract.multiplier
            (sales if own > 0 else purchases)[contract.currency] += own
        held = {c: v for (owner, c), v in self.floor.books.cash.items() if owner == self.account}
        for currency in sorted({*held, *charges, *sales, *purchases}):
            ending = held.get(currency, ZERO)
            flow = charges[currency] + sales[currency] + purchases[currency]
            yield _row(
                "CashReportCurrency",
                accountId=self.account,
                currency=currency,
                levelOfDetail="Currency",
                fromDate=f"{self.first:%Y%m%d}",
                toDate=f"{self.last:%Y%m%d}",
                startingCash=number(ending - flow),
                commissions=number(charges[currency]),
                netTradesSales=number(sales[currency]),
                netTradesPurchases=number(purchases[currency]),
                endingCash=number(ending),
            )

    # ── rows ─────────────────────────────────────────────────────────────────────────────────────

    def _day(self, at: datetime) -> str:
        return f"{at.astimezone(self.zone):%Y%m%d}"

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


def _row(tag: str, **fields: str) -> str:
    return _open(tag, **fields)[:-1] + " />"


def _open(tag: str, **fields: str) -> str:
    words = "".join(f" {name}={quoteattr(value)}" for name, value in fields.items())
    return f"<{tag}{words}>"
