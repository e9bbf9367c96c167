"""A statement's deals beside our fills: pure.

First by execution id. What differs or has no id is then compared by what it says (contract, order,
quantity, price, time), then by the sums of its order; only what is left after that is a break, or
unknown where the row has nothing that an execution could be known by.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, tzinfo
from decimal import Decimal
from itertools import chain, islice
from typing import Final

from oms.core.compare.statement_alike import (
    EVIDENCE_MAX,
    Contents,
    booked,
    charged,
    contents,
    deal_words,
    nearest,
    of_order,
    row_words,
    same_price,
    same_quantity,
    summed,
    sums_agree,
    thing_of,
)
from oms.core.compare.statement_days import Span
from oms.core.compare.statement_deals import Deal, Net
from oms.core.compare.statement_rows import Heading
from oms.core.events import Finding
from oms.core.fold.books import stem_and_revision
from oms.core.fold.records import Fill
from oms.core.money import ZERO, plain

#: Deals of these classes do not reach the API as executions.
_UNTOLD: Final = frozenset({"FUND"})
#: Fills of a contract that a deal without an execution id is compared with.
_ALIKE_MAX: Final = 2_000


_UNREAD: Final = "a row that could not be read may be about the same deal"
_BEFORE: Final = "it was dealt before the log began"
_PERHAPS_BEFORE: Final = (
    "the query leaves out when it was dealt, which may be before the log began: add the field Trade"
    " Date"
)
#: What is said of a fill at the edge of the days.
BESIDE: Final = "may be in the statement of the day before or after"
_OF_NO_KIND: Final = (
    "the query leaves out whether it was dealt or booked without an order, as an assignment is: add"
    " the field Transaction Type"
)
_OF_NO_DAY: Final = (
    "the query leaves out when it was dealt, and it may be a deal of a day before that is booked"
    " again: add the field Trade Date"
)
#: What is said of a fill that rows without any number may be about.
_NAMELESS: Final = "may be in rows without an execution id and an order's number"
#: What a cancel lacks that may be about a deal of these days or of a day before.
_PLACELESS: Final = "without a day and a deal's number (add the field Trade Date)"
#: Deals, each with the fill of its execution id where we have one.
Open = Sequence[tuple[Net, Fill | None]]


@dataclass(slots=True)
class Dealt:
    """What matching the deals of an account has found so far; later statements go on from it."""

    account: str
    #: The time that the log has of it; what was dealt outside is none of our books'.
    span: Span
    #: Of the statement's texts, which name none.
    zone: tzinfo
    #: Keys of our fills that a statement names, with the last day of the first that does.
    named: dict[str, date] = field(default_factory=dict)
    #: Deals without an order, which explain positions.
    booked: list[Deal] = field(default_factory=list)
    #: Deals that cannot be matched, which explain positions too.
    loose: list[Deal] = field(default_factory=list)
    #: Contracts of which such a deal may be an execution that our books have.
    nameless: set[int] = field(default_factory=set)
    #: Per contract: what the statement has more than our books, in executions.
    more: dict[int, Decimal] = field(default_factory=lambda: defaultdict(Decimal))
    #: Contracts of which a row could not be read; 0 for a row that names none.
    unread: set[int] = field(default_factory=set)

    def name(self, key: str, last: date) -> None:
        """Note that the statement up to a day names a fill."""
        self.named[key] = min(self.named.get(key, last), last)

    def is_unread(self, con_id: int) -> bool:
        """Say whether a row that could not be read may be about a contract."""
        return bool(self.unread & {0, con_id})

    def outside(self, deal: Deal, first: date) -> str:
        """Return why our books need not have a deal: it was made outside the time of the log; of a
        row without a day that is known where the log has all days from the `first` on.
        """
        began, day, at = self.span.began, deal.day, self.at(deal)
        if at is not None:
            if at < began.replace(microsecond=0):
                return _BEFORE
            return self.span.unknown_at(at)
        since = began.astimezone(self.zone).date()
        if day is None:
            return _PERHAPS_BEFORE if first <= since else ""
        return _BEFORE if day < since else ""

    def at(self, deal: Deal) -> datetime | None:
        """Return when a deal was made, None where the row does not say."""
        if deal.at is None or deal.at.tzinfo is not None:
            return deal.at
        return deal.at.replace(tzinfo=self.zone)


def by_id(one: Net, fill: Fill | None) -> Finding | None:
    """Return what one deal with an execution id is found to be; None where it differs or is not
    booked, which `Rest` is told.
    """
    for told in (one, *one.readings):
        if fill is not None and same_quantity(told, fill) and same_price(told, fill.price):
            return charged(told, fill)
    return None


class Rest:
    """What one statement leaves after its deals were matched by execution id, and what becomes of
    it.
    """

    def __init__(
        self,
        dealt: Dealt,
        days: Heading,
        *,
        inside: Sequence[Fill],
        edge: Sequence[Fill],
        earlier: Sequence[Fill],
        unsure: str,
    ) -> None:
        """`inside` are our fills well inside the statement's days, `edge` those that it need not
        name, for `unsure`; `earlier` those of
        any day that a cancel may take back.
        """
        self._dealt = dealt
        self._unsure = unsure
        self._first, self._last = days.first, days.last
        self._certain = {fill.key for fill in inside}
        self._earlier = earlier
        self._loose_before = len(dealt.loose)
        #: Contract, quantity and price of deals of no day that nothing agrees with.
        self._placeless: set[tuple[str, Decimal, Decimal | None]] = set()
        #: Our fills that nothing names so far, by contract and key, and by what they say.
        self._unnamed: dict[int, dict[str, Fill]] = defaultdict(dict)
        self._by_contents: dict[Contents, list[Fill]] = defaultdict(list)
        for fill in (*inside, *edge):
            if fill.key not in dealt.named and fill.quantity and not fill.contract.is_combo:
                self._unnamed[fill.contract.con_id][fill.key] = fill
                self._by_contents[contents(fill)].append(fill)

    def findings(self, opened: Open) -> Iterator[Finding]:
        """Yield a finding for each deal that has no execution id or that `by_id` left, and for each
        of our fills that no deal names.
        """
        left: list[tuple[Net, Fill | None]] = []
        for one, fill in opened:
            is_alone = fill is None and one.quantity and not one.is_outside
            told = None
            if is_alone and one.deal.level == "execution":
                told = self._told(one)
            if told is None:
                left.append((one, fill))
            else:
                # Of an exercise we may have heard as an execution, which a statement has as a deal
                # of its own.
                self._take(told)
                yield charged(one, told)
        self._placeless = {
            (one.deal.thing, one.quantity, one.price)
            for one, fill in left
            if fill is None and not (one.is_outside or one.deal.when or one.deal.exec_id)
        }
        for group in _by_order(left):
            agreeing = self._agreeing(group)
            if agreeing is None:
                for one, fill in group:
                    finding = self._left(one, fill)
                    if finding is not None:
                        yield finding
                continue
            for fill in agreeing:
                self._take(fill)
            yield from summed([one for one, _ in group], agreeing)
        for fills in self._unnamed.values():
            for fill in fills.values():
                unsure = ""
                if self._may_be_nameless(fill):
                    unsure = _NAMELESS
                    self._dealt.nameless.add(fill.contract.con_id)
                if fill.key not in self._certain:
                    unsure = self._unsure
                yield _unnamed(fill, unsure, self._dealt)

    def _may_be_nameless(self, fill: Fill) -> bool:
        """Say whether the rows of this statement that nothing names may be parts of a fill."""
        parts = (
            abs(deal.quantity)
            for deal in self._dealt.loose[self._loose_before :]
            if deal.con_id == fill.contract.con_id
            and deal.kind == "exchange"
            and (deal.quantity > 0) == (fill.signed_quantity > 0)
        )
        return sum(parts, ZERO) >= fill.quantity

    def _told(self, one: Net) -> Fill | None:
        """Return the fill that a deal tells of, by its contents."""
        deal = one.deal
        at = self._dealt.at(deal)
        if at is not None and one.price is not None:
            key = (deal.con_id, one.quantity, one.price, at.astimezone(UTC))
            alike = self._by_contents.get(key, [])
            while alike and alike[-1].key not in self._unnamed[deal.con_id]:
                alike.pop()
            if alike and nearest(one, alike[-1:], at):
                return alike.pop()
        # At another time than ours: one of them is enough, however many are alike.
        earlier = (
            fill
            for fill in self._earlier
            if fill.key not in self._dealt.named
            # Of a row without a day only its order says which day's execution it is.
            and (deal.when or (deal.perm_id and deal.perm_id == fill.perm_id))
        )
        return nearest(one, islice(chain(self._of(deal), earlier), _ALIKE_MAX), at)

    def _of(self, deal: Deal) -> Iterable[Fill]:
        return self._unnamed.get(deal.con_id, {}).values()

    def _take(self, fill: Fill) -> None:
        self._unnamed.get(fill.contract.con_id, {}).pop(fill.key, None)
        self._dealt.name(fill.key, self._last)

    def _agreeing(self, group: Open) -> list[Fill] | None:
        """Return the fills whose sums are those of some deals; None where there are none."""
        deal = group[0][0].deal
        if deal.kind != "exchange" or group[0][0].is_outside:
            return None
        nets = [one for one, _ in group]
        named = [fill for _, fill in group if fill is not None]
        others = list(self._of(deal))
        if deal.level == "execution" or deal.perm_id:
            perm_ids = {one.deal.perm_id for one in nets} - {0}
            others = [fill for fill in others if fill.perm_id in perm_ids]
        for chosen in (others, [fill for fill in others if fill.key in self._certain]):
            fills = [*named, *chosen]
            if fills and sums_agree(nets, fills):
                return fills
        return None

    def _left(self, one: Net, fill: Fill | None) -> Finding | None:
        """Return what nothing agrees with; None for a deal without an order, which explains a
        position.
        """
        deal, dealt = one.deal, self._dealt
        if one.is_outside:
            return self._taken_back(one)
        if fill is not None:
            dealt.more[deal.con_id] += one.quantity - fill.signed_quantity
            if dealt.is_unread(deal.con_id):
                return booked(fill, deal_words(one)).unknown(_UNREAD)
            return _different(one, fill)
        thing = thing_of(one, "not booked")
        if not one.quantity:
            return thing.matched()
        if deal.kind == "book":
            dealt.booked.append(deal)
            return None
        if one.is_unsure:
            dealt.loose.append(deal)
            return thing.unknown(f"a cancel {_PLACELESS} may be about it")
        if why := dealt.outside(deal, self._first):
            return thing.unknown(why)
        if deal.level == "order" and not deal.perm_id:
            # Executions of it may be any of the contract.
            dealt.unread.add(deal.con_id)
            text = "the query leaves out the number of orders: add the field IB Order ID"
            return thing.unknown(text)
        if dealt.is_unread(deal.con_id):
            dealt.loose.append(deal)
            return thing.unknown(_UNREAD)
        if deal.level == "order":
            return self._order_differs(one)
        if not deal.says_kind:
            dealt.loose.append(deal)
            return thing.unknown(_OF_NO_KIND)
        if deal.when is None and not deal.exec_id:
            dealt.loose.append(deal)
            return thing.unknown(_OF_NO_DAY)
        if deal.exec_id or (deal.perm_id and deal.category not in _UNTOLD):
            dealt.more[deal.con_id] += one.quantity
            text = f"{row_words(deal)} is in the statement and not in our books"
            return thing.broken("missing_fill", "high", text)
        dealt.loose.append(deal)
        text = (
            f"{row_words(deal)} has neither an execution id nor an order's number, and none of"
            " our executions agrees with it in contract, quantity, price and time"
        )
        return thing.unknown(text)

    def _taken_back(self, one: Net) -> Finding:
        """Return what a cancel is found to be whose original is in none of the statements."""
        deal, dealt = one.deal, self._dealt
        original = replace(one, quantity=-one.quantity)
        standing = (f for f in self._earlier if f.key not in dealt.named)
        told = nearest(original, standing, dealt.at(deal))
        words = row_words(deal)
        if one.is_unsure or (deal.thing, original.quantity, one.price) in self._placeless:
            dealt.loose.append(deal)
            text = f"{words} is a cancel {_PLACELESS}: it may be about a deal of any day"
            return thing_of(one, "not booked").unknown(text)
        if told is not None and told.quantity:
            self._take(told)
            dealt.more[deal.con_id] -= told.signed_quantity
            text = f"{words} takes execution {told.exec_id} back, which our books still have"
            return booked(told, "cancelled").broken("corrected_fill", "high", text)
        busted = [f for f in of_order(deal, self._earlier) if not f.quantity]
        if busted:
            return booked(busted[0], "cancelled").matched()
        dealt.loose.append(deal)
        text = f"{words} takes a deal back that is in no statement here and not in our books"
        return thing_of(one, "not booked").unknown(text)

    def _order_differs(self, one: Net) -> Finding:
        deal = one.deal
        fills = of_order(deal, self._of(deal))
        for fill in fills:
            self._take(fill)
        ours = sum((fill.signed_quantity for fill in fills), ZERO)
        self._dealt.more[deal.con_id] += one.quantity - ours
        if not fills:
            text = f"order {deal.perm_id} is in the statement and not in our books"
            return thing_of(one, "not booked").broken("missing_fill", "high", text)
        value = sum((fill.signed_quantity * fill.price for fill in fills), ZERO)
        average = plain(value / ours) if ours else "no price"
        thing = replace(
            thing_of(one, f"{plain(ours)} at {average} in {len(fills)} executions"),
            order_id=fills[0].order_id,
            evidence=tuple(fill.booked_sequence for fill in fills[:EVIDENCE_MAX]),
        )
        if any(fill.key not in self._certain for fill in fills):
            return thing.unknown("a part of it may be in the statement of the day before or after")
        text = f"the executions of order {deal.perm_id} do not add up to what the statement has"
        return thing.broken("contradiction", "high", text)


def _by_order(opened: Open) -> Iterator[Open]:
    """Yield what is left in groups that may agree in their sums: what is of one order.

    Parts without any number belong to the deals of their contract that differ, if to any; orders
    without a number are the sum of what was dealt in their contract.
    """
    groups: dict[tuple[str, str], list[tuple[Net, Fill | None]]] = defaultdict(list)
    parts = {one.deal.thing for one, fill in opened if fill is None and _is_part(one.deal)}
    differing = {one.deal.thing for one, fill in opened if fill is not None}
    for number, (one, fill) in enumerate(opened):
        deal = one.deal
        key = (f"row {number}", "")
        if deal.kind != "exchange" or one.is_outside:
            pass
        elif deal.thing in parts & differing and (fill is not None or _is_part(deal)):
            key = ("parts", deal.thing)
        elif deal.perm_id or deal.level == "order":
            key = (f"order {deal.perm_id}", deal.thing)
        groups[key].append((one, fill))
    yield from groups.values()


def _is_part(deal: Deal) -> bool:
    """Say whether a row has no number by which it could be told from others."""
    return not deal.exec_id and not deal.perm_id and deal.level == "execution"


# ── what is left ─────────────────────────────────────────────────────────────────────────────────


def _different(one: Net, fill: Fill) -> Finding:
    thing = booked(fill, deal_words(one))
    _, revision = stem_and_revision(one.deal.exec_id)
    if revision != fill.revision:
        text = f"the statement has revision {revision}, our books {fill.revision}"
        return thing.broken("corrected_fill", "high", text)
    if not one.quantity:
        return thing.broken("corrected_fill", "high", "the statement takes the execution back")
    return thing.broken("contradiction", "high", "one execution id, two contents")


def _unnamed(fill: Fill, unsure: str, dealt: Dealt) -> Finding:
    thing = booked(fill, "not named")
    if dealt.is_unread(fill.contract.con_id):
        text = f"execution {fill.exec_id} may be in a row that could not be read"
        return thing.unknown(text)
    if unsure:
        return thing.unknown(f"execution {fill.exec_id} {unsure}")
    dealt.more[fill.contract.con_id] -= fill.signed_quantity
    text = f"execution {fill.exec_id} is in our books and not in the statement"
    return thing.broken("extra_fill", "high", text)
