"""The broker's statement as values: what a row of a Flex query says, with money as Decimal.

A statement is the last witness: made by another system of the broker, the next morning, from what
was cleared. Which attributes a row has is chosen by whoever made the query, so that each row names
what it lacks; rows of sections that are not compared are passed over.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import Decimal
from types import MappingProxyType
from typing import Final, Literal

from oms.core.compare.statement_deals import Deal, read_deal
from oms.core.compare.statement_fields import Attributes, RowUnreadable
from oms.core.money import ZERO

#: Elements that are rows about deals.
DEAL_TAGS: Final = frozenset({"Trade", "TradeConfirm", "Order"})
#: What makes a position differ from its executions, and is no error.
ChangeKind = Literal[
    "assignment", "exercise", "expiry", "split", "symbol_change", "corporate_action", "transfer"
]


@dataclass(frozen=True, slots=True)
class Heading:
    """Whose statement it is, and of which days."""

    account: str
    first: date
    last: date
    #: IB's text of when it was made, and the time that it is, in the zone of statements where the
    #: text names none.
    generated: str
    made: datetime | None = None
    #: IB's word for the days, such as LastBusinessDay.
    period: str = ""
    #: Name and kind of the query: AF for activity, TCF for trade confirmations.
    query: str = ""
    kind: str = ""


@dataclass(frozen=True, slots=True)
class StatedPosition:
    """A position at the end of the last day."""

    account: str
    con_id: int
    symbol: str
    quantity: Decimal
    category: str = ""
    model: str = ""
    #: The level of detail, "" where the query leaves it out.
    level: str = ""

    @property
    def is_lot(self) -> bool:
        """Say whether it is a part of the position."""
        return "LOT" in self.level


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

    def with_more(self, other: Cash) -> Cash:
        """Return it together with that of another model."""
        return replace(
            self,
            ending=self.ending + other.ending,
            commissions=_sum(self.commissions, other.commissions),
            traded=_sum(self.traded, other.traded),
        )


def _sum(one: Decimal | None, other: Decimal | None) -> Decimal | None:
    return None if one is None or other is None else one + other


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


@dataclass(frozen=True, slots=True)
class Unread:
    """A row that cannot be understood, and why."""

    account: str
    tag: str
    #: 0 where that is unreadable, too.
    con_id: int
    symbol: str
    reason: str
    line: int


@dataclass(frozen=True, slots=True)
class Section:
    """A section came, with rows or without."""

    account: str
    name: str


@dataclass(frozen=True, slots=True)
class PassedOver:
    """A row came that repeats others or is of a level of detail that is not compared."""

    account: str
    section: str


StatementRow = (
    Heading | Deal | StatedPosition | Cash | Change | OptionLife | Unread | Section | PassedOver
)

_OPTION_KINDS: Final[Mapping[str, ChangeKind]] = MappingProxyType(
    {"Assignment": "assignment", "Exercise": "exercise", "Expiration": "expiry"}
)
_ACTION_KINDS: Final[Mapping[str, ChangeKind]] = MappingProxyType(
    {"FS": "split", "RS": "split", "FI": "split", "IC": "symbol_change"}
)


def read_row(
    tag: str, attributes: Mapping[str, str], place: tuple[int, int] = (0, 0)
) -> StatementRow | None:
    """Return what an element says, None where it is of no section that is compared; `place` is its
    line and column.

    Raises `RowUnreadable` for a heading, without which no other row can be placed.
    """
    row = Attributes(tag, attributes)
    if tag == "FlexStatement":
        return _heading(row)
    try:
        if tag in DEAL_TAGS:
            return read_deal(row, place)
        read = _READERS.get(tag)
        return read(row) if read else None
    except RowUnreadable as error:
        return Unread(
            account=row.text_if_short("accountId"),
            tag=tag,
            con_id=_id_if_one(row),
            symbol=row.text_if_short("symbol"),
            reason=str(error),
            line=place[0],
        )


def _heading(row: Attributes) -> Heading:
    heading = Heading(
        account=row.text("accountId"),
        first=row.day("fromDate"),
        last=row.day("toDate"),
        generated=row.text("whenGenerated"),
        made=row.moment("whenGenerated", "", ""),
        period=row.text("period"),
    )
    if heading.first > heading.last:
        raise RowUnreadable(f"the statement begins on {heading.first} and ends on {heading.last}")
    return heading


def _holding(row: Attributes) -> StatedPosition:
    return StatedPosition(
        account=row.text("accountId"),
        con_id=_con_id(row),
        symbol=row.text("symbol"),
        quantity=row.number("position"),
        category=row.text("assetCategory"),
        model=row.text("model"),
        level=row.text("levelOfDetail"),
    )


def _cash(row: Attributes) -> Cash | None:
    currency = row.needed("currency")
    if currency == "BASE_SUMMARY" or row.text("levelOfDetail") == "BaseCurrency":
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


def _corporate_action(row: Attributes) -> Change | None:
    if _is_lot(row):
        return None
    return Change(
        account=row.text("accountId"),
        con_id=_con_id(row),
        symbol=row.text("symbol"),
        quantity=row.number("quantity"),
        kind=_ACTION_KINDS.get(row.text("type"), "corporate_action"),
        text=row.prose("actionDescription"),
    )


def _transfer(row: Attributes) -> Change | None:
    if _is_lot(row) or not row.text("conid"):
        return None  # A part of another row; or cash, which its own section shows.
    quantity = row.number("quantity")
    direction = row.needed("direction").upper()
    if direction == "OUT":
        quantity = -abs(quantity)
    return Change(
        account=row.text("accountId"),
        con_id=_con_id(row),
        symbol=row.text("symbol"),
        quantity=quantity,
        kind="transfer",
        text=row.text("type"),
    )


def _dealt_elsewhere(row: Attributes) -> Change:
    """Return what was dealt at another broker and delivered here, or here for another."""
    return Change(
        account=row.text("accountId"),
        con_id=_con_id(row),
        symbol=row.text("symbol"),
        quantity=row.number("quantity"),
        kind="transfer",
        text=row.prose("brokerName"),
    )


def _option_life(row: Attributes) -> OptionLife | None:
    kind = _OPTION_KINDS.get(row.text("transactionType"))
    if kind is None:
        return None
    return OptionLife(
        account=row.text("accountId"),
        con_id=_con_id(row),
        kind=kind,
        quantity=row.number("quantity"),
    )


def _is_lot(row: Attributes) -> bool:
    """Say whether a row is a part of what another row of its section says."""
    return "LOT" in row.text("levelOfDetail")


def _id_if_one(row: Attributes) -> int:
    try:
        return row.con_id("conid")
    except RowUnreadable:
        return 0


def _con_id(row: Attributes) -> int:
    found = row.con_id("conid")
    if not found:
        raise row.without("conid")
    return found


_READERS: Final[Mapping[str, Callable[[Attributes], StatementRow | None]]] = MappingProxyType(
    {
        "OpenPosition": _holding,
        "CashReportCurrency": _cash,
        "CorporateAction": _corporate_action,
        "Transfer": _transfer,
        "TradeTransfer": _dealt_elsewhere,
        "OptionEAE": _option_life,
    }
)
