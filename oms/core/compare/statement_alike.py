"""When a deal of a statement and fills of ours say the same, and how findings name them: pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Final

from oms.core.compare.findings import Thing
from oms.core.compare.statement_deals import Deal, Net
from oms.core.events import Finding
from oms.core.fold.records import Fill
from oms.core.money import ZERO, plain

#: Commissions agree when they do after rounding to the fewer decimals of both, and cents at least:
#: the API rounds what the statement spells out.
_CENTS: Final = -2
#: Decimals of an average price, at least.
_AVERAGE: Final = -4
#: A statement counts bonds in units of nominal, and the API may in tens to thousands of them.
_NOMINALS: Final = frozenset(Decimal(10) ** power for power in (1, 2, 3))
#: The API quotes some futures in cents whose price a statement has in whole units (priceMagnifier).
_MAGNIFIERS: Final = frozenset({Decimal(100), Decimal("0.01")})
_BONDS: Final = frozenset({"BOND", "BILL"})
#: Two clocks, and a time zone that was set wrongly, may lie between two texts of one deal.
_SAME_TIME: Final = timedelta(days=1)
_NO_PRICE: Final = "the query leaves out the price: add the field Trade Price"
#: Executions of an order that a finding names.
EVIDENCE_MAX: Final = 20


# ── one deal beside one fill ─────────────────────────────────────────────────────────────────────


def same_quantity(one: Net, fill: Fill) -> bool:
    """Say whether a deal and a fill are of the same quantity."""
    category = one.deal.category or fill.contract.sec_type
    return same_holding(category, one.quantity, fill.signed_quantity)


def _is_nominal(category: str, theirs: Decimal, ours: Decimal) -> bool:
    return category in _BONDS and bool(ours) and theirs / ours in _NOMINALS


def same_holding(category: str, theirs: Decimal, ours: Decimal) -> bool:
    """Say whether two quantities are the same, which a statement counts in nominal for bonds."""
    return theirs == ours or _is_nominal(category, theirs, ours)


def same_price(one: Net, ours: Decimal) -> bool:
    """Say whether a deal has our price, or none that could differ."""
    if not one.quantity or one.price is None or one.price == ours:
        return True
    return bool(ours and one.price) and ours / one.price in _MAGNIFIERS


def charged(one: Net, fill: Fill) -> Finding:
    """Return that a deal and a fill agree, or that they were charged differently."""
    thing = booked(fill, deal_words(one))
    if one.quantity and one.price is None and not one.replaced:
        return thing.unknown(_NO_PRICE)
    charges = {one.commission}
    if one.replaced:
        # The cancels are left out, and with them what they gave back.
        charges |= {one.deal.commission, *(deal.commission for deal in one.replaced)}
    if not one.quantity or any(c is None or same_amount(c, fill.commission) for c in charges):
        return thing.matched()
    ours = "none" if fill.commission is None else plain(fill.commission)
    charge = replace(
        thing,
        ours=f"commission {ours}",
        theirs=f"commission {plain(one.commission)} {one.deal.commission_currency}",
    )
    if fill.commission is None:
        text = "the statement charges a commission that the broker has not reported"
        return charge.broken("commission_missing", "low", text)
    text = "the statement charges another commission than the broker reported"
    return charge.broken("commission_different", "low", text)


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


#: Contract, signed quantity, price, time.
Contents = tuple[int, Decimal, Decimal, datetime | None]


def contents(fill: Fill) -> Contents:
    """Return what a fill says."""
    at = fill.occurred_at
    # A statement tells times to the second.
    at = at.astimezone(UTC).replace(microsecond=0) if at is not None else None
    return fill.contract.con_id, fill.signed_quantity, fill.price, at


def nearest(one: Net, fills: Iterable[Fill], at: datetime | None) -> Fill | None:
    """Return the fill that a deal of a time tells of, by its contents; of several the nearest."""
    deal = one.deal

    def apart(fill: Fill) -> timedelta:
        if at is None or fill.occurred_at is None:
            return timedelta()
        return abs(fill.occurred_at - at)

    told = [
        fill
        for fill in fills
        if fill.contract.con_id == deal.con_id
        and same_quantity(one, fill)
        and same_price(one, fill.price)
        and apart(fill) <= _SAME_TIME
        and (not deal.perm_id or not fill.perm_id or deal.perm_id == fill.perm_id)
        # Another execution id is another execution, but for the same second of the same order.
        and (not deal.exec_id or (deal.perm_id == fill.perm_id and bool(at) and not apart(fill)))
    ]
    return min(told, key=apart, default=None)


# ── sums of orders ───────────────────────────────────────────────────────────────────────────────


def summed(nets: Sequence[Net], fills: Sequence[Fill]) -> Iterator[Finding]:
    """Yield that the deals of an order agree with its fills, and whether their charges do."""
    charges = [one.commission for one in nets]
    theirs = None if None in charges else sum((c for c in charges if c is not None), ZERO)
    ours = sum((fill.commission or ZERO for fill in fills), ZERO)
    for one in nets:
        if one.quantity and one.price is None:
            yield thing_of(one, "").unknown(_NO_PRICE)
        else:
            yield thing_of(one, "").matched(f"the sums of order {fills[0].perm_id} agree")
    if theirs is not None and not same_amount(theirs, ours):
        first = nets[0]
        thing = replace(
            thing_of(first, f"commission {plain(ours)}"),
            theirs=f"commission {plain(theirs)} {first.deal.commission_currency}",
            order_id=fills[0].order_id,
            evidence=tuple(fill.booked_sequence for fill in fills[:EVIDENCE_MAX]),
        )
        text = "the statement charges another commission than the broker reported"
        yield thing.broken("commission_different", "low", text)


def of_order(deal: Deal, fills: Iterable[Fill]) -> list[Fill]:
    """Return the fills of a deal's order and contract."""
    return [f for f in fills if f.perm_id == deal.perm_id and f.contract.con_id == deal.con_id]


def sums_agree(nets: Sequence[Net], fills: Sequence[Fill]) -> bool:
    """Say whether deals and fills are of the same quantity and average price, as far as the query
    has prices.
    """
    theirs = sum((one.quantity for one in nets), ZERO)
    ours = sum((fill.signed_quantity for fill in fills), ZERO)
    if not same_holding(nets[0].deal.category or fills[0].contract.sec_type, theirs, ours):
        return False
    prices = [one.price for one in nets if one.quantity]
    if not theirs or None in prices:
        return True
    stated = sum((one.quantity * (one.price or ZERO) for one in nets), ZERO) / theirs
    average = sum((fill.signed_quantity * fill.price for fill in fills), ZERO) / ours
    # An order's price is an average, which IB rounds to four decimals or more.
    places = min(_exponent(price) for price in prices if price is not None)
    return abs(stated - average) < Decimal(1).scaleb(min(places, _AVERAGE))


# ── words ────────────────────────────────────────────────────────────────────────────────────────


def booked(fill: Fill, theirs: str) -> Thing:
    """Return a fill of ours with what the statement has."""
    return Thing(
        subject="statement_deal",
        name=fill.key,
        account=fill.account,
        con_id=fill.contract.con_id,
        symbol=fill.contract.symbol,
        order_id=fill.order_id,
        ours=_words(fill.signed_quantity, fill.contract.symbol, fill.price),
        theirs=theirs,
        evidence=(fill.booked_sequence,),
    )


def thing_of(one: Net, ours: str) -> Thing:
    """Return a deal of the statement with what we have."""
    return Thing(
        subject="statement_deal",
        name=one.key,
        account=one.deal.account,
        con_id=one.deal.con_id,
        symbol=one.deal.symbol,
        ours=ours,
        theirs=deal_words(one),
    )


def row_words(deal: Deal) -> str:
    """Return by what a person finds a row."""
    line = f" (line {deal.place[0]})" if deal.place[0] else ""
    return f"execution {deal.exec_id}" if deal.exec_id else f"the deal{line}"


def deal_words(one: Net) -> str:
    """Return what is left of a deal."""
    if not one.quantity:
        return "cancelled"
    return _words(one.quantity, one.deal.symbol, one.price)


def _words(quantity: Decimal, symbol: str, price: Decimal | None) -> str:
    side = "BUY" if quantity > 0 else "SELL"
    at = "" if price is None else f" at {plain(price)}"
    return f"{side} {plain(abs(quantity))} {symbol}{at}"
