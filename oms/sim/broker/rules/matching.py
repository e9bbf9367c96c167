"""When an order trades, and at what price. Pure.

The rule: an order that crosses the touch trades at the touch; the touch does not move because of
it. A stop is triggered by the last price, a price-touched order the other way round. A trailing
stop follows the last price and never steps back.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from oms.sim.broker.books.orders import Kind, Order
from oms.sim.broker.exchange.market import Quote
from oms.sim.protocol.fields import to_int

#: Stops that follow the market.
TRAILING: Final[frozenset[Kind | None]] = frozenset({"TRAIL", "TRAIL LIMIT"})
STOPS: Final = TRAILING | {"STP", "STP LMT"}
#: If-touched orders.
TOUCHED: Final[frozenset[Kind | None]] = frozenset({"MIT", "LIT"})
#: Orders that wait for a price before they go to work.
TRIGGERED: Final = STOPS | TOUCHED
AT_CLOSE: Final[frozenset[Kind | None]] = frozenset({"MOC", "LOC"})
LIMITED: Final[frozenset[Kind | None]] = frozenset({"LMT", "STP LMT", "TRAIL LIMIT", "LIT", "LOC"})
#: Times in force of orders that do not rest.
IMMEDIATE: Final = frozenset({"IOC", "FOK"})


@dataclass(frozen=True, slots=True)
class Decision:
    """What a quote does to an order."""

    triggered: bool
    #: None when it does not trade.
    price: Decimal | None = None
    #: Where a trailing stop stands now.
    trail_price: Decimal | None = None


def decide(order: Order, quote: Quote, printed: Decimal | None = None) -> Decision:
    """Return what a quote does to an order that may work.

    `printed` is the price at which others have traded just now: a limit that is as good stood
    before them, and trades at its own price.
    """
    trail = trail_price(order, quote.last) if order.kind in TRAILING else None
    if order.kind in TRIGGERED and not order.triggered:
        level = trail if trail is not None else order.aux_price
        if level is None or not _triggered(order, quote, level):
            return Decision(triggered=False, trail_price=trail)
    touch = quote.ask if order.is_buy else quote.bid
    if order.kind in LIMITED or (order.kind == "MTL" and order.filled):
        limit = limit_price(order, trail)
        price = None
        if limit is not None and within(order, touch, limit):
            price = touch
        elif limit is not None and printed is not None and within(order, printed, limit):
            price = limit
        return Decision(triggered=True, price=price, trail_price=trail)
    return Decision(triggered=True, price=touch, trail_price=trail)


def _triggered(order: Order, quote: Quote, level: Decimal) -> bool:
    """True when the price that the order's trigger method looks at has reached its level.

    1 and 4 look at the bid or the ask, 7 at that or the last, 8 at the midpoint, all others at the
    last. The double methods ask for no second print here.
    """
    method = to_int(order.terms.get("triggerMethod", ""))
    touch = quote.ask if order.is_buy else quote.bid
    prices = {1: [touch], 4: [touch], 7: [touch, quote.last], 8: [(quote.bid + quote.ask) / 2]}
    return any(_reached(order, price, level) for price in prices.get(method, [quote.last]))


def _reached(order: Order, last: Decimal, level: Decimal) -> bool:
    """A buy stop waits for the price to rise to its level, a buy if-touched for it to fall."""
    upwards = order.is_buy == (order.kind in STOPS)
    return last >= level if upwards else last <= level


def within(order: Order, price: Decimal, limit: Decimal) -> bool:
    """Say whether a price is as good as a limit, or better."""
    return price <= limit if order.is_buy else price >= limit


def trail_price(order: Order, last: Decimal) -> Decimal:
    """Return where the stop stands after `last`: it only ever moves towards the market."""
    if order.triggered and order.trail_price is not None:
        return order.trail_price
    percent = order.price("trailingPercent")
    amount = last * percent / 100 if percent else order.aux_price or Decimal(0)
    now = last + amount if order.is_buy else last - amount
    before = order.trail_price
    if before is None:
        before = order.price("trailStopPrice")
    if before is None:
        return now
    return min(before, now) if order.is_buy else max(before, now)


def limit_price(order: Order, trail: Decimal | None) -> Decimal | None:
    """Return the limit of a limited order; that of a trailing one hangs on its stop."""
    if order.kind != "TRAIL LIMIT" or trail is None:
        return order.limit_price
    offset = order.price("lmtPriceOffset")
    if offset is None:
        return order.limit_price
    return trail + offset if order.is_buy else trail - offset


def held_for(order: Order, child: bool) -> str:
    """Return the whyHeld text of an order that is not working yet."""
    reasons = ["child"] if child else []
    if order.kind in TRIGGERED and not order.triggered:
        reasons.append("trigger")
    return ",".join(reasons)


@dataclass(frozen=True, slots=True)
class Cut:
    """How fills are cut up."""

    #: What every piece but the last is a multiple of.
    increment: Decimal
    #: Pieces of the whole order, at most.
    parts: int


def pieces(order: Order, offered: Decimal, cut: Cut) -> list[Decimal]:
    """Return the fills that `offered` units make; none when the order does not take them.

    Fill-or-kill and all-or-none orders trade wholly and at once or not at all; a minimum quantity
    is the size of the first fill, or more.
    """
    least = order.price("minQty") if not order.filled else None
    whole = order.tif == "FOK" or order.flag("allOrNone")
    if offered <= 0 or (whole and offered < order.remaining):
        return []
    if least is not None and offered < min(least, order.remaining):
        return []
    if whole or cut.parts <= 1:
        return [offered]
    piece = (order.quantity / cut.parts) // cut.increment * cut.increment
    if piece <= 0:
        return [offered]
    first = max(piece, least or piece)
    made: list[Decimal] = []
    # The last piece takes what does not divide.
    while offered >= first + piece:
        made.append(first)
        offered -= first
        first = piece
    return [*made, offered]


def reduced(other: Order, quantity: Decimal) -> Decimal:
    """Return what is left of an OCA member when another one has traded `quantity`.

    Type 1 leaves nothing, types 2 and 3 the rest. Nothing here is on its way to an exchange while
    another member fills, so that the block of type 2 has nothing to hold back.
    """
    return other.remaining - quantity if other.oca_type != 1 else Decimal(0)
