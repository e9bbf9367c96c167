"""The deals of a statement, and what is left of them after what was cancelled and booked again.

A row is not an execution. IB takes a deal back with a row of its own (a TradeCancel, which has no
execution id and names the original), and books a corrected one under the number of the first,
sometimes under the same execution id. Fractions, funds and what people at IB enter have no
execution id at all. What a query leaves out is made good from what it has, as far as that is
evidence.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from decimal import Decimal
from typing import Final, Literal

from oms.core.compare.statement_fields import Attributes
from oms.core.fold.books import stem_and_revision
from oms.core.money import ZERO

#: Dealt at a venue, booked without an order (assignment, exercise, expiry), or taken back.
DealKind = Literal["exchange", "book", "cancel"]
#: What a row is: one execution, or the sum of an order.
DealLevel = Literal["execution", "order"]

_CANCELS: Final = frozenset({"TradeCancel", "FracShareCancel"})
#: IB's codes of a deal without an order: assignment, exercise, expiry.
_BOOKED: Final = frozenset({"A", "Ex", "Ep", "AEx", "MEx"})
_LEVELS: Final[dict[str, DealLevel]] = {"EXECUTION": "execution", "ORDER": "order"}
_LEVEL_OF_TAG: Final[dict[str, DealLevel]] = {
    "Trade": "execution",
    "TradeConfirm": "execution",
    "Order": "order",
}


@dataclass(frozen=True, slots=True)
class Deal:
    """One row about a deal."""

    account: str
    kind: DealKind
    level: DealLevel
    #: Empty where IB gives none.
    exec_id: str
    #: 0 where the query leaves it out.
    con_id: int
    symbol: str
    category: str
    #: Negative for a sale, and for a purchase that is taken back.
    quantity: Decimal
    #: None where the query leaves it out.
    price: Decimal | None
    #: Positive where it was paid; None where the query leaves it out.
    commission: Decimal | None
    currency: str
    #: What it did to cash, the commission excluded; None where the query leaves it out.
    proceeds: Decimal | None
    commission_currency: str = ""
    #: IB's permanent number of the order, 0 where there is none.
    perm_id: int = 0
    #: Number of the deal; the one that is booked again has that of the first.
    deal_number: str = ""
    #: Number of the row, growing as rows are booked.
    row_number: int = 0
    original_deal: str = ""
    original_row: int = 0
    model: str = ""
    #: Aware where the row names a zone, else in the statement's.
    at: datetime | None = None
    #: The days of the deal and of the statement that has it.
    day: date | None = None
    report_day: date | None = None
    #: Line and column of the file.
    place: tuple[int, int] = (0, 0)
    #: Whether the row says if it was dealt at a venue.
    says_kind: bool = True

    @property
    def key(self) -> str:
        """Return the key of our fill that it names, or a name that the row has for ever."""
        if self.exec_id:
            stem, _ = stem_and_revision(self.exec_id)
            return f"{self.account}:{stem}"
        if self.level == "order" and self.perm_id:
            return f"{self.account}:order {self.perm_id} of {self.thing}"
        number = self.deal_number or self.original_deal
        if number:
            return f"{self.account}:deal {number}"
        when = f"{self.at or self.day or ''}".replace(" ", "T")
        return f"{self.account}:deal of {self.thing} {self.quantity} at {self.price} {when}".strip()

    @property
    def order(self) -> tuple[str, str, int] | None:
        """Return the order and contract, whose executions all have one side; None where the row
        does not say, or takes one back.
        """
        if not self.perm_id or self.kind == "cancel" or self.level != "execution":
            return None
        return self.account, self.thing, self.perm_id

    @property
    def when(self) -> date | None:
        """Return the time of the deal, its day where the row has no time."""
        return self.at or self.day

    @property
    def thing(self) -> str:
        """Return what was dealt, by the best name that the row has."""
        return str(self.con_id or self.symbol)


def read_deal(row: Attributes, place: tuple[int, int] = (0, 0)) -> Deal | None:
    """Return what a row says; None for a level of detail that repeats what others say (a lot, a
    summary).

    Raises `RowUnreadable`.
    """
    level = _level(row)
    if level is None:
        return None
    exec_id = row.text("ibExecID", "execID")
    kind = _kind(row, exec_id)
    con_id = row.con_id("conid")
    if not con_id and not exec_id:
        raise row.without("conid")
    charge = row.number_or_none("ibCommission", "commission")
    return Deal(
        account=row.text("accountId"),
        kind=kind,
        level=level,
        exec_id=exec_id,
        con_id=con_id,
        symbol=row.text("symbol"),
        category=row.text("assetCategory"),
        quantity=row.number("quantity"),
        price=row.number_or_none("tradePrice", "price"),
        commission=None if charge is None else -charge,
        currency=row.text("currency"),
        proceeds=row.number_or_none("proceeds"),
        commission_currency=row.text("ibCommissionCurrency", "commissionCurrency"),
        perm_id=row.number_of("ibOrderID", "orderID") or row.number_of("origOrderID"),
        deal_number=row.text("tradeID"),
        row_number=row.number_of("transactionID"),
        original_deal=row.text("origTradeID"),
        original_row=row.number_of("origTransactionID"),
        model=row.text("model"),
        at=row.moment("dateTime", "tradeDate", "tradeTime"),
        day=row.day_or_none("tradeDate", "dateTime", "origTradeDate"),
        report_day=row.day_or_none("reportDate"),
        place=place,
        says_kind=bool(exec_id)
        or any(map(row.has, ("transactionType", "exchange", "notes", "code"))),
    )


def _level(row: Attributes) -> DealLevel | None:
    text = row.text("levelOfDetail")
    return _LEVELS.get(text) if text else _LEVEL_OF_TAG[row.tag]


def _kind(row: Attributes, exec_id: str) -> DealKind:
    """Return what a row is; a query may leave out the type, and orders have none."""
    kind = row.text("transactionType")
    codes = set(row.text("notes", "code").replace(",", ";").split(";"))
    if kind in _CANCELS or "Ca" in codes or row.text("buySell").endswith("(Ca.)"):
        return "cancel"
    if kind or exec_id:
        return "book" if kind == "BookTrade" else "exchange"
    if (
        row.text("origTradeID")
        or row.number_of("origTransactionID")
        or row.number_of("origOrderID")
    ):
        return "cancel"
    is_nowhere = row.has("exchange") and not row.text("exchange") and row.tag == "Trade"
    return "book" if is_nowhere or codes & _BOOKED else "exchange"


# ── what is left ─────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Net:
    """One deal after what was cancelled and booked again."""

    #: The row that counts: the last one that stands, else what was cancelled.
    deal: Deal
    #: 0 where it was cancelled.
    quantity: Decimal
    price: Decimal | None
    #: Of all its rows, as the statement charges them; None where a row leaves it out.
    commission: Decimal | None
    #: Rows that another one replaces though nothing cancels them: the query leaves cancels out.
    replaced: tuple[Deal, ...] = ()
    #: What it takes back is in none of the statements at hand.
    is_outside: bool = False
    #: A cancel that names neither a number nor a day takes it back, or a deal of a day before; or
    #: it is that cancel.
    is_unsure: bool = False
    #: All of its rows.
    rows: tuple[Deal, ...] = ()

    @classmethod
    def of(cls, deal: Deal) -> Net:
        """Return a deal that nothing changed."""
        return cls(deal, deal.quantity, deal.price, deal.commission, rows=(deal,))

    @property
    def readings(self) -> tuple[Net, ...]:
        """Return what else it may be: the sum of its rows, where these may be parts for models that
        the query leaves out; nothing, where a cancel may be about it.
        """
        found = (replace(self, quantity=ZERO, is_unsure=False),) if self.is_unsure else ()
        if not self.replaced:
            return found
        quantity = self.quantity + sum((deal.quantity for deal in self.replaced), ZERO)
        return (replace(self, quantity=quantity, replaced=()), *found)

    @property
    def key(self) -> str:
        """Return the key of our fill that it is about, or a name of its own."""
        return self.deal.key


@dataclass(slots=True)
class _Group:
    """The rows of one deal."""

    booked: list[Deal] = field(default_factory=list)
    cancels: list[Deal] = field(default_factory=list)
    #: Rows that a cancel takes back.
    taken: set[tuple[int, int]] = field(default_factory=set)
    #: A cancel may be about one of them, or about a deal of a day before.
    is_unsure: bool = False


def net(rows: Sequence[Deal], first: date) -> list[Net]:
    """Return what is left of some rows, in the order of the file; `first` is the first day that
    the statements cover.
    """
    groups: dict[str, _Group] = defaultdict(_Group)
    booked = _Booked()
    cancels: list[Deal] = []
    numbered: dict[tuple[str, str, str], _Group] = {}
    for number, deal in enumerate(_with_cancels(sorted(rows, key=_order))):
        if deal.kind == "cancel":
            cancels.append(deal)
            continue
        group = groups[deal.key if deal.exec_id else f"row {number}"]
        if deal.deal_number:
            # Booked again without the execution id of the first.
            group = numbered.setdefault((deal.thing, deal.model, deal.deal_number), group)
        group.booked.append(deal)
        booked.add(deal, group)
    found: list[Net] = []
    for cancel in cancels:
        meant = booked.taken_back(cancel, first) or booked.in_its_place(cancel)
        if meant is not None:
            meant.cancels.append(cancel)
        elif cancel.exec_id:
            found.append(replace(Net.of(cancel), quantity=ZERO))
        else:
            unsure = booked.note_unsure(cancel)
            found.append(replace(Net.of(cancel), is_outside=True, is_unsure=unsure))
    _put_together(groups.values())
    found += [_net(group) for group in groups.values() if group.booked]
    return sorted(found, key=lambda one: one.deal.place)


def _with_cancels(rows: Sequence[Deal]) -> Iterator[Deal]:
    """Yield rows, those as cancels that have no execution id and are of the other side than their
    order: a query may leave out all that says so.
    """
    buys: dict[tuple[str, str, int], bool] = {}
    for deal in sorted(rows, key=lambda deal: not deal.exec_id):
        if deal.order is not None:
            buys.setdefault(deal.order, deal.quantity > 0)
    for deal in rows:
        is_other = deal.order is not None and buys[deal.order] != (deal.quantity > 0)
        yield replace(deal, kind="cancel") if is_other and not deal.exec_id else deal


def _put_together(groups: Iterable[_Group]) -> None:
    """Put what was booked without any number of its own to the deal of the same order, as far as
    rows name orders, and of the same second (day, where rows have no time) that was taken back: it
    was booked in its place.
    """
    gone: dict[tuple[str, str, int, date], _Group] = {}
    for group in groups:
        deal = group.booked[0] if group.booked else None
        is_whole = len(group.taken) == len(group.booked)
        if deal and deal.when and (deal.perm_id or deal.at) and is_whole:
            gone[deal.thing, deal.model, deal.perm_id, deal.when] = group
    for group in groups:
        deal = group.booked[0] if group.booked and not group.cancels else None
        if deal is None or deal.exec_id or deal.deal_number or deal.when is None:
            continue
        first = gone.pop((deal.thing, deal.model, deal.perm_id, deal.when), None)
        if first is not None:
            first.booked += group.booked
            group.booked = []


#: What a cancel and the deal that it takes back have in common, the sign of the quantity aside.
_Contents = tuple[str, str, Decimal, Decimal | None, datetime | None]


class _Booked:
    """What was booked, found by its number or by its contents; add it in its order."""

    def __init__(self) -> None:
        self._by_number: dict[tuple[str, str], list[tuple[Deal, _Group]]] = defaultdict(list)
        self._by_contents: dict[_Contents, list[tuple[Deal, _Group]]] = defaultdict(list)

    def add(self, deal: Deal, group: _Group) -> None:
        """Take a deal."""
        if deal.deal_number:
            self._by_number[deal.thing, deal.deal_number].append((deal, group))
        contents = (deal.thing, deal.model, deal.quantity, deal.price)
        self._by_contents[*contents, deal.at].append((deal, group))
        if deal.at is not None:
            # For a cancel that names no time.
            self._by_contents[*contents, None].append((deal, group))

    def taken_back(self, cancel: Deal, first: date) -> _Group | None:
        """Return the rows of the deal that a cancel takes back, and note that it does; None where
        it is not here.
        """
        numbered = self._by_number.get((cancel.thing, cancel.original_deal), [])
        contents = (cancel.thing, cancel.model, -cancel.quantity, cancel.price, cancel.at)
        told = numbered or self._by_contents.get(contents, [])
        equal = (
            (deal, group)
            for deal, group in told
            if deal.place not in group.taken
            and (deal.quantity, deal.price) == (-cancel.quantity, cancel.price)
            and (numbered or (_may_be_meant(cancel, deal) and not _is_unsure(cancel, deal)))
        )
        # Without numbers the order of rows is no evidence, but what was dealt in these days is in
        # these statements.
        is_here = cancel.day is not None and cancel.day >= first and not cancel.original_row
        fallback: tuple[Deal, _Group] | None = None
        for deal, group in equal:
            if _is_before(deal, cancel):
                group.taken.add(deal.place)
                return group
            fallback = fallback or (deal, group)
        if fallback is None or not is_here:
            return None
        deal, group = fallback
        group.taken.add(deal.place)
        return group

    def note_unsure(self, cancel: Deal) -> bool:
        """Say whether a cancel may be about deals that are here as well as about one of a day
        before, and note it of them.
        """
        contents = (cancel.thing, cancel.model, -cancel.quantity, cancel.price, cancel.at)
        alike = [
            group
            for deal, group in self._by_contents.get(contents, [])
            if _may_be_meant(cancel, deal) and _is_unsure(cancel, deal)
        ]
        for group in alike:
            group.is_unsure = True
        return bool(alike)

    def in_its_place(self, cancel: Deal) -> _Group | None:
        """Return the rows of what was booked in place of a deal that a cancel takes back."""
        again = self._by_number.get((cancel.thing, cancel.original_deal), [])
        return again[0][1] if again else None


def _may_be_meant(cancel: Deal, deal: Deal) -> bool:
    """Say whether no number and no day of two rows says that a cancel is about another deal."""
    if cancel.original_deal and deal.deal_number:
        return False
    if cancel.day and deal.day and cancel.day != deal.day:
        return False
    return not cancel.perm_id or not deal.perm_id or cancel.perm_id == deal.perm_id


def _is_unsure(cancel: Deal, deal: Deal) -> bool:
    """Say whether nothing tells a deal from one of a day before that has the same contents."""
    if cancel.original_row and deal.row_number:
        return False
    return cancel.day is None or deal.day is None


def _is_before(deal: Deal, cancel: Deal) -> bool:
    if cancel.original_row and deal.row_number:
        return cancel.original_row == deal.row_number
    if cancel.row_number and deal.row_number:
        return deal.row_number < cancel.row_number
    if cancel.report_day and deal.report_day and cancel.report_day != deal.report_day:
        return deal.report_day < cancel.report_day
    return deal.place < cancel.place


def _order(deal: Deal) -> tuple[date, int, int, tuple[int, int]]:
    """Return what puts rows in the order in which they were booked."""
    _, revision = stem_and_revision(deal.exec_id)
    return deal.report_day or date.min, deal.row_number, revision, deal.place


def _net(group: _Group) -> Net:
    booked = group.booked
    rows = (*booked, *group.cancels)
    standing = [deal for deal in booked if deal.place not in group.taken]
    charges = [deal.commission for deal in rows]
    commission = None if None in charges else sum((c for c in charges if c is not None), ZERO)
    named = next((deal for deal in reversed(booked) if deal.exec_id), booked[-1])
    if not standing:
        return Net(named, ZERO, named.price, commission, rows=rows)
    # An allocation to several models has one execution id; within one model the last row counts.
    last = {deal.model: deal for deal in standing}
    replaced = tuple(deal for deal in standing if last[deal.model] is not deal)
    prices = {deal.price for deal in last.values()}
    counts = standing[-1]
    if not counts.exec_id and named.exec_id:
        counts = replace(counts, exec_id=named.exec_id)
    return Net(
        deal=counts,
        quantity=sum((deal.quantity for deal in last.values()), ZERO),
        price=standing[-1].price if len(prices) == 1 else None,
        commission=commission,
        replaced=replaced,
        is_unsure=group.is_unsure,
        rows=rows,
    )
