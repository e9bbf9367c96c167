"""Orders, fills, counts and ages in the few words that reports and tables use."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final, assert_never

from oms.core.events import Origin, Terms
from oms.core.fold.records import Fill, Order
from oms.core.money import plain

#: A clock that is ahead by less than this is no news.
SKEW_MAX: Final = timedelta(seconds=2)
#: Nouns that are counted in words of their own.
_COUNTED_AS: Final = {"cash": ("cash balance", "cash balances")}


def describe_order(order: Order) -> str:
    """Return an order's state in few words."""
    words = f"{order.state.value} {describe_terms(order.terms)} {order.contract.symbol}"
    if order.filled:
        words += f", {plain(order.filled)} filled"
    return f"{words}, {describe_disputed(order)}" if order.disputed else words


def describe_origin(origin: Origin, client_id: int) -> str:
    """Return what is known of who sent an order."""
    match origin:
        case "ours":
            return "sent by us"
        case "manual":
            return "sent by client 0, which is TWS or a program with that client id"
        case "other_client":
            return f"sent by client {client_id}"
        case "previous_session":
            return f"sent by client {client_id}, our own client id, but not from this log"
        case "unknown":
            return "IB does not say which client sent it"
    assert_never(origin)


def describe_disputed(order: Order) -> str:
    """Return how much was executed under an order's name that cannot be its own."""
    return f"{plain(order.disputed)} executed otherwise than asked"


def describe_terms(terms: Terms, name: str = "") -> str:
    """Return what an order asks for in a trader's words: `BUY 100 AAPL LMT 185.5 DAY`."""
    words = [terms.side, plain(terms.quantity), name, terms.order_type, *_prices(terms), terms.tif]
    if terms.good_till is not None:
        words.append(f"till {terms.good_till:%Y-%m-%d %H:%M:%S %Z}")
    words += _attributes(terms)
    return " ".join(w for w in words if w)


def _prices(terms: Terms) -> list[str]:
    words = [] if terms.limit_price is None else [plain(terms.limit_price)]
    for name, price in (("stop", terms.stop_price), ("trailing", terms.trail_amount)):
        if price is not None:
            words.append(f"{name} {plain(price)}")
    if terms.trail_percent is not None:
        words.append(f"trailing {plain(terms.trail_percent)} %")
    for name, price in (("from", terms.trail_stop_price), ("limit offset", terms.limit_offset)):
        if price is not None:
            words.append(f"{name} {plain(price)}")
    return words


def _attributes(terms: Terms) -> list[str]:
    flags = {
        "outside regular hours": terms.outside_rth,
        "all or none": terms.all_or_none,
        "hidden": terms.hidden,
    }
    sizes = {"at least": terms.min_quantity, "showing": terms.display_size}
    return [
        *(name for name, is_set in flags.items() if is_set),
        *(f"{name} {plain(size)}" for name, size in sizes.items() if size is not None),
        *([f"OCA {terms.oca_group}"] if terms.oca_group else []),
    ]


def describe_fill(fill: Fill) -> str:
    """Return a fill in few words."""
    return f"{fill.side} {plain(fill.quantity)} {fill.contract.symbol} @ {plain(fill.price)}"


def describe_amount(amount: Decimal | None, currency: str) -> str:
    """Return `1.5 USD`; "" where the amount is not known."""
    return "" if amount is None else f"{plain(amount)} {currency}".rstrip()


def counted(count: int, noun: str, plural: str = "") -> str:
    """Return `1 order`, `12,345 orders`."""
    one, many = _COUNTED_AS.get(noun, (noun, plural or f"{noun}s"))
    return f"{count:,} {one if count == 1 else many}"


def ago(at: datetime, now: datetime) -> str:
    """Return how old something is; a time to come says so, because then two clocks disagree."""
    age = now - at
    if age < -SKEW_MAX:
        return f"{duration(-age)} in the future"
    return f"{duration(max(age, timedelta()))} ago"


def duration(span: timedelta) -> str:
    """Return a duration in its two largest units, as people say it."""
    seconds = Decimal(span // timedelta(microseconds=1)) / 1_000_000
    if seconds < 1:
        return f"{1000 * seconds:.0f} ms"
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    if days:
        return f"{days} d {hour} h"
    if hours:
        return f"{hours} h {minute} min"
    return f"{minutes} min {second} s" if minutes else f"{second} s"
