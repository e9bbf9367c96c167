"""The broker's statement as values: what a row of a Flex query says, with money as Decimal.

A statement is the last witness: made by another system of the broker, the next morning, from what
was cleared. Which attributes a row has is chosen by whoever made the query, so that each row names
what it lacks; rows of sections that are not compared are passed over.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from types import MappingProxyType
from typing import Final, Literal

from oms.core.money import ZERO

#: What makes a position differ from its executions, and is no error.
ChangeKind = Literal[
    "assignment", "exercise", "expiry", "split", "symbol_change", "corporate_action", "transfer"
]


class RowUnreadable(ValueError):
    """A row of the statement cannot be understood."""


@dataclass(frozen=True, slots=True)
class Heading:
    """Whose statement it is, and of which days."""

    account: str
    first: date
    last: date
    #: IB's text of when it was made, in no named zone.
    generated: str


@dataclass(frozen=True, slots=True)
class Deal:
    """One execution, or one deal without an order (a BookTrade: assignment, exercise, expiry)."""

    account: str
    #: Empty for a deal without an order.
    exec_id: str
    con_id: int
    symbol: str
    category: str
    #: Negative for a sale.
    quantity: Decimal
    price: Decimal
    #: Positive where it was paid; None where the query leaves it out.
    commission: Decimal | None
    currency: str
    #: What it did to cash, the commission excluded; None where the query leaves it out.
    proceeds: Decimal | None
    commission_currency: str = ""
    #: The order's reference, ours where we sent it.
    order_ref: str = ""
    cancelled: bool = False
    #: In the zone of the account's statements, which the file does not name; None where the text
    #: has another form than IB's usual ones.
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class StatedPosition:
    """A position at the end of the last day."""

    account: str
    con_id: int
    symbol: str
    quantity: Decimal


@dataclass(frozen=True, slots=True)
class Cash:
    """Cash of one currency over the days."""

    account: str
    currency: str
    ending: Decimal
    #: Negative where it was paid.
    commissions: Decimal | None
    #: Sales and purchases together.
    traded: Decimal | None


@dataclass(frozen=True, slots=True)
class Change:
    """A position that changed without a deal: a corporate action or a transfer."""

    account: str
    con_id: int
    symbol: str
    quantity: Decimal
    kind: ChangeKind
    text: str = ""


@dataclass(frozen=True, slots=True)
class OptionLife:
    """What a BookTrade of an option, or of what it delivered, was."""

    account: str
    con_id: int
    kind: ChangeKind
    quantity: Decimal


StatementRow = Heading | Deal | StatedPosition | Cash | Change | OptionLife

_BOOK: Final = "BookTrade"
#: Rows of a section that say the same once more, at another level of detail.
_DETAIL: Final = frozenset({"", "EXECUTION", "SUMMARY", "Currency"})
_OPTION_KINDS: Final[Mapping[str, ChangeKind]] = MappingProxyType(
    {"Assignment": "assignment", "Exercise": "exercise", "Expiration": "expiry"}
)
_ACTION_KINDS: Final[Mapping[str, ChangeKind]] = MappingProxyType(
    {"FS": "split", "RS": "split", "FI": "split", "IC": "symbol_change"}
)


def read_row(tag: str, attributes: Mapping[str, str]) -> StatementRow | None:
    """Return what an element says, None where it is of no section that is compared.

    Raises `RowUnreadable` naming the element, the attribute and its value.
    """
    read = _READERS.get(tag)
    if read is None or attributes.get("levelOfDetail", "") not in _DETAIL:
        return None
    return read(_Attributes(tag, attributes))


class _Attributes:
    """The attributes of one element, each asked for by name and type."""

    def __init__(self, tag: str, values: Mapping[str, str]) -> None:
        self._tag = tag
        self._values = values

    def text(self, name: str, default: str | None = None) -> str:
        """Return a text; without a default it must be there."""
        value = self._values.get(name, default)
        if value is None:
            raise RowUnreadable(
                f"<{self._tag}> has no {name}: add this field to the section of the Flex query"
            )
        return value

    def number(self, name: str) -> Decimal:
        """Return a number that must be there."""
        found = self.number_or_none(name)
        if found is None:
            raise RowUnreadable(f"<{self._tag}> has no {name}, which must be a number")
        return found

    def number_or_none(self, name: str) -> Decimal | None:
        """Return a number, None where IB writes none."""
        text = self._values.get(name, "").replace(",", "")
        if not text or text == "--":
            return None
        try:
            value = Decimal(text)
        except InvalidOperation as error:
            raise RowUnreadable(f"<{self._tag}> {name}={text!r} is not a number") from error
        if not value.is_finite():
            raise RowUnreadable(f"<{self._tag}> {name}={text!r} is not finite")
        return value

    def whole(self, name: str) -> int:
        """Return an id."""
        text = self.text(name)
        if not text.isdecimal() or len(text) > 12:
            raise RowUnreadable(f"<{self._tag}> {name}={text!r} is not an id")
        return int(text)

    def day(self, name: str) -> date:
        """Return a day."""
        text = self.text(name)
        try:
            return date.fromisoformat(text)
        except ValueError as error:
            raise RowUnreadable(f"<{self._tag}> {name}={text!r} is not a day") from error


def _heading(row: _Attributes) -> Heading:
    heading = Heading(
        account=row.text("accountId"),
        first=row.day("fromDate"),
        last=row.day("toDate"),
        generated=row.text("whenGenerated", ""),
    )
    if heading.first > heading.last:
        raise RowUnreadable(f"the statement begins on {heading.first} and ends on {heading.last}")
    return heading


def _deal(row: _Attributes) -> Deal:
    kind = row.text("transactionType", "ExchTrade")
    exec_id = row.text("ibExecID", "" if kind == _BOOK else None)
    if not exec_id and kind != _BOOK:
        raise RowUnreadable(
            "<Trade> has no ibExecID: choose the level of detail Execution, and the field"
            " IB Execution ID"
        )
    charge = row.number_or_none("ibCommission")
    return Deal(
        account=row.text("accountId"),
        exec_id=exec_id,
        con_id=row.whole("conid"),
        symbol=row.text("symbol", ""),
        category=row.text("assetCategory", ""),
        quantity=row.number("quantity"),
        price=row.number("tradePrice"),
        commission=None if charge is None else -charge,
        currency=row.text("currency", ""),
        proceeds=row.number_or_none("proceeds"),
        commission_currency=row.text("ibCommissionCurrency", ""),
        order_ref=row.text("orderReference", ""),
        cancelled=kind == "TradeCancel",
        at=_moment(row.text("dateTime", "")),
    )


def _moment(text: str) -> datetime | None:
    digits = "".join(c for c in text if c.isdecimal())
    try:
        return datetime.strptime(digits, "%Y%m%d%H%M%S")  # noqa: DTZ007 - the file names no zone
    except ValueError:
        return None


def _holding(row: _Attributes) -> StatedPosition:
    return StatedPosition(
        account=row.text("accountId"),
        con_id=row.whole("conid"),
        symbol=row.text("symbol", ""),
        quantity=row.number("position"),
    )


def _cash(row: _Attributes) -> Cash | None:
    currency = row.text("currency")
    if currency == "BASE_SUMMARY":
        return None
    sales, purchases = (
        row.number_or_none("netTradesSales"),
        row.number_or_none("netTradesPurchases"),
    )
    known = sales is not None and purchases is not None
    return Cash(
        account=row.text("accountId"),
        currency=currency,
        ending=row.number("endingCash"),
        commissions=row.number_or_none("commissions"),
        traded=(sales or ZERO) + (purchases or ZERO) if known else None,
    )


def _corporate_action(row: _Attributes) -> Change:
    return Change(
        account=row.text("accountId"),
        con_id=row.whole("conid"),
        symbol=row.text("symbol", ""),
        quantity=row.number("quantity"),
        kind=_ACTION_KINDS.get(row.text("type", ""), "corporate_action"),
        text=row.text("actionDescription", ""),
    )


def _transfer(row: _Attributes) -> Change | None:
    if not row.text("conid", ""):
        return None  # Cash was transferred, which its own section shows.
    quantity = row.number("quantity")
    if row.text("direction", "").upper() == "OUT":
        quantity = -abs(quantity)
    return Change(
        account=row.text("accountId"),
        con_id=row.whole("conid"),
        symbol=row.text("symbol", ""),
        quantity=quantity,
        kind="transfer",
        text=row.text("type", ""),
    )


def _option_life(row: _Attributes) -> OptionLife | None:
    kind = _OPTION_KINDS.get(row.text("transactionType", ""))
    if kind is None:
        return None
    return OptionLife(
        account=row.text("accountId"),
        con_id=row.whole("conid"),
        kind=kind,
        quantity=row.number("quantity"),
    )


_READERS: Final[Mapping[str, Callable[[_Attributes], StatementRow | None]]] = MappingProxyType(
    {
        "FlexStatement": _heading,
        "Trade": _deal,
        "OpenPosition": _holding,
        "CashReportCurrency": _cash,
        "CorporateAction": _corporate_action,
        "Transfer": _transfer,
        "OptionEAE": _option_life,
    }
)
