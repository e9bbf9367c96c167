"""Comparing our books with the broker's statement: pure, one deal at a time, then what they add up
to.

Deals are matched by execution id; then quantity, price and commission must agree. Positions must
follow from our own, from the deals that the comparison has found on one side only (each is a break
of its own, and its consequences are not counted again), and from what the statement itself
explains: assignments, exercises, expiries, corporate actions, transfers. Cash must follow from the
deals.

What lies at the edge of the statement's days, in the evening hours that IB books to the next
trading day, is unknown where it does not agree, and never a break.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Final

from oms.core.compare.findings import Thing
from oms.core.compare.statement_rows import Cash, Change, Deal, OptionLife, StatedPosition
from oms.core.events import Finding
from oms.core.fold.books import stem_and_revision
from oms.core.fold.records import Fill, Position
from oms.core.money import ZERO, plain

#: Commissions agree when they do after rounding to the fewer decimals of both, and cents at least:
#: the API rounds what the statement spells out.
_CENTS: Final = -2


@dataclass(slots=True)
class Tally:
    """What the deals of one account's statement add up to, kept while they stream by."""

    account: str
    #: When the log began, in the statement's zone; deals before it are none of our books'.
    began: datetime | None = None
    deals: int = 0
    #: Keys of our fills that the statement names.
    named: set[str] = field(default_factory=set)
    #: Deals without an order, for our executions that tell of the same.
    booked: list[Deal] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    life: list[OptionLife] = field(default_factory=list)
    holdings: dict[int, StatedPosition] = field(default_factory=dict)
    cash: list[Cash] = field(default_factory=list)
    #: Per contract: what the statement has more than our books, in executions.
    more: dict[int, Decimal] = field(default_factory=lambda: defaultdict(Decimal))
    traded: dict[str, Decimal] = field(default_factory=lambda: defaultdict(Decimal))
    charged: dict[str, Decimal] = field(default_factory=lambda: defaultdict(Decimal))
    #: Currencies in which something was dealt whose cash the deals do not show.
    opaque: set[str] = field(default_factory=set)

    def add_cash_of(self, deal: Deal) -> None:
        """Count what a deal does to cash."""
        if deal.commission is None or deal.proceeds is None or deal.category in {"FUT", "FOP"}:
            self.opaque.add(deal.currency)
        self.traded[deal.currency] += deal.proceeds or ZERO
        self.charged[deal.commission_currency or deal.currency] -= deal.commission or ZERO
        if deal.category == "CASH":
            self.traded[deal.symbol.partition(".")[0]] += deal.quantity


def key_of(deal: Deal) -> str:
    """Return the key of our fill that a deal is about."""
    stem, _ = stem_and_revision(deal.exec_id)
    return f"{deal.account}:{stem}"


def deal_finding(deal: Deal, fill: Fill | None, tally: Tally) -> Finding:
    """Return what one deal with an execution id is found to be, and count it."""
    tally.deals += 1
    key = key_of(deal)
    signed = ZERO if deal.cancelled else deal.quantity
    if not deal.cancelled:
        tally.add_cash_of(deal)
    if fill is None:
        is_older = bool(tally.began and deal.at and deal.at < tally.began)
        if not is_older:
            tally.more[deal.con_id] += signed
        return _unbooked_finding(deal, signed, is_older=is_older)
    tally.named.add(key)
    tally.more[deal.con_id] += signed - fill.signed_quantity
    return _named_finding(deal, fill, signed)


def _unbooked_finding(deal: Deal, signed: Decimal, *, is_older: bool) -> Finding:
    thing = Thing(
        subject="statement_deal",
        name=key_of(deal),
        account=deal.account,
        con_id=deal.con_id,
        symbol=deal.symbol,
        ours="not booked",
        theirs=_deal_words(deal) if signed or is_older else "cancelled",
    )
    if is_older:
        return thing.unknown("it was dealt before the log began")
    if not signed:
        return thing.matched()
    text = f"execution {deal.exec_id} is in the statement and not in our books"
    return thing.broken("missing_fill", "high", text)


def _named_finding(deal: Deal, fill: Fill, signed: Decimal) -> Finding:
    thing = _booked(fill, _deal_words(deal) if signed else "cancelled")
    _, revision = stem_and_revision(deal.exec_id)
    differs = signed != fill.signed_quantity or (bool(signed) and deal.price != fill.price)
    if differs and revision != fill.revision:
        text = f"the statement has revision {revision}, our books {fill.revision}"
        return thing.broken("corrected_fill", "high", text)
    if differs:
        text = "one execution id, two contents"
        return thing.broken("contradiction", "high", text)
    if not signed or deal.commission is None or same_amount(deal.commission, fill.commission):
        return thing.matched()
    charged = "none" if fill.commission is None else plain(fill.commission)
    charge = replace(
        thing,
        ours=f"commission {charged}",
        theirs=f"commission {plain(deal.commission)} {deal.commission_currency}",
    )
    text = "the statement charges another commission than the broker reported"
    return charge.broken("commission_different", "low", text)


def _booked(fill: Fill, theirs: str) -> Thing:
    return Thing(
        subject="statement_deal",
        name=fill.key,
        account=fill.account,
        con_id=fill.contract.con_id,
        symbol=fill.contract.symbol,
        order_id=fill.order_id,
        ours=_fill_words(fill),
        theirs=theirs,
        evidence=(fill.booked_sequence,),
    )


def same_amount(one: Decimal, other: Decimal | None) -> bool:
    """Say whether two amounts agree after rounding to the fewer decimals of both, at least cents.

    None, where IB has not reported the amount, agrees with nothing charged.
    """
    if other is None:
        return not one
    places = max(_exponent(one), _exponent(other))
    step = Decimal(1).scaleb(min(places, _CENTS))
    return one.quantize(step, ROUND_HALF_EVEN) == other.quantize(step, ROUND_HALF_EVEN)


def _exponent(value: Decimal) -> int:
    exponent = value.normalize().as_tuple().exponent
    return exponent if isinstance(exponent, int) else 0


def unnamed_findings(
    fills: Iterable[Fill], edge: Iterable[Fill], tally: Tally
) -> Iterator[Finding]:
    """Yield a finding for each of our fills that the statement does not name.

    `fills` are those well inside its days, `edge` those that IB may have booked to a day beside.
    """
    booked = list(tally.booked)
    for fill, is_inside in [*((f, True) for f in fills), *((f, False) for f in edge)]:
        if fill.key in tally.named or not fill.quantity:
            continue
        told = next((d for d in booked if _tells_of(d, fill)), None)
        if told is not None:
            # We heard of an exercise as an execution; the statement has it as a deal of its own.
            booked.remove(told)
            tally.booked.remove(told)
            yield _booked(fill, _deal_words(told)).matched()
        elif is_inside:
            tally.more[fill.contract.con_id] -= fill.signed_quantity
            text = f"execution {fill.exec_id} is in our books and not in the statement"
            yield _booked(fill, "not named").broken("extra_fill", "high", text)
        else:
            text = f"execution {fill.exec_id} may be in the statement of the day before or after"
            yield _booked(fill, "not named").unknown(text)


def _tells_of(deal: Deal, fill: Fill) -> bool:
    same = deal.con_id == fill.contract.con_id and deal.quantity == fill.signed_quantity
    return same and deal.price == fill.price


def holding_findings(
    positions: Sequence[tuple[Position, Decimal, Decimal]], tally: Tally
) -> Iterator[Finding]:
    """Yield a finding for each contract that either side holds.

    `positions` are ours with what they held at the last day's end, and with what was dealt in the
    evening hours before it, which the statement may have left to the next day.
    """
    ours = {position.contract.con_id: (position, held, late) for position, held, late in positions}
    for con_id in sorted({*ours, *tally.holdings}):
        position, held, late = ours.get(con_id, (None, ZERO, ZERO))
        holding = tally.holdings.get(con_id)
        told = holding.quantity if holding else ZERO
        if not (held or told or late):
            continue
        symbol = position.contract.symbol if position else holding.symbol if holding else ""
        thing = Thing(
            subject="statement_position",
            name=f"{tally.account}:{con_id}",
            account=tally.account,
            con_id=con_id,
            symbol=symbol,
            ours=plain(held),
            theirs=plain(told),
        )
        yield _holding_finding(thing, held, told, late, tally)


def _holding_finding(
    thing: Thing, held: Decimal, told: Decimal, late: Decimal, tally: Tally
) -> Finding:
    excess = told - held - tally.more.get(thing.con_id, ZERO)
    if not excess:
        text = "" if told == held else "follows from the executions that differ"
        return thing.matched(text)
    explained, words = _explanation(thing.con_id, tally)
    if excess == explained:
        return thing.matched(f"explained by {words}")
    if excess in (-late, explained - late):
        text = f"{plain(late)} of it was dealt in the evening and may count for the next day"
        return thing.unknown(text)
    text = f"{plain(excess)} has no execution and no explanation in the statement"
    if words:
        text = f"{plain(excess)} has no execution; {words} explains {plain(explained)} of it"
    return thing.broken("quantity_drift", "high", text)


def _explanation(con_id: int, tally: Tally) -> tuple[Decimal, str]:
    kinds = {(one.con_id, one.quantity): one.kind for one in tally.life}
    parts: list[tuple[str, Decimal]] = []
    for deal in tally.booked:
        if deal.con_id == con_id:
            kind = kinds.get((con_id, deal.quantity), "a deal without an order")
            parts.append((kind, deal.quantity))
    if not parts:
        parts += [(one.kind, one.quantity) for one in tally.life if one.con_id == con_id]
    parts += [(c.kind, c.quantity) for c in tally.changes if c.con_id == con_id]
    words = ", ".join(f"{kind.replace('_', ' ')} of {plain(quantity)}" for kind, quantity in parts)
    return sum((quantity for _, quantity in parts), ZERO), words


def cash_findings(tally: Tally) -> Iterator[Finding]:
    """Yield a finding for each currency: what the statement says was traded and charged must follow
    from its deals, which were compared with ours one by one.
    """
    traded = tally.traded.copy()
    for deal in tally.booked:
        traded[deal.currency] += deal.proceeds or ZERO
    for cash in tally.cash:
        expected = (traded[cash.currency], tally.charged[cash.currency])
        found = (cash.traded, cash.commissions)
        is_said = cash.traded is not None and cash.commissions is not None
        thing = Thing(
            subject="statement_cash",
            name=f"{tally.account}:{cash.currency}",
            account=tally.account,
            symbol=cash.currency,
            ours=_cash_words(*expected),
            theirs=_cash_words(*found) if is_said else "not said",
        )
        if not is_said:
            yield thing.unknown("the query leaves out what was traded or charged")
        elif all(same_amount(one, other) for one, other in zip(expected, found, strict=True)):
            yield thing.matched()
        elif cash.currency in tally.opaque:
            yield thing.unknown("futures settle day by day, which executions do not show")
        else:
            text = "cash does not follow from the statement's deals"
            yield thing.broken("cash_drift", "medium", text)


def _cash_words(traded: Decimal | None, charged: Decimal | None) -> str:
    return f"traded {plain(traded)}, commissions {plain(charged)}"


def _deal_words(deal: Deal) -> str:
    side = "BUY" if deal.quantity > 0 else "SELL"
    return f"{side} {plain(abs(deal.quantity))} {deal.symbol} at {plain(deal.price)}"


def _fill_words(fill: Fill) -> str:
    return f"{fill.side} {plain(fill.quantity)} {fill.contract.symbol} at {plain(fill.price)}"
