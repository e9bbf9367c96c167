"""Market data as IB writes it, made into numbers without passing through float. Pure.

ib_async's own handlers do not run for these messages: they parse prices to float and share one
mutable ticker among all who ask for a contract.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from types import MappingProxyType
from typing import Any, Final

from oms.core.money import NotANumber, decimal_from_wire, integer_from_wire
from oms.core.quotes import FeedKind, MarketType

Fields = Sequence[str]

#: Every server message that is about a market; see `read`. Option greeks (21), generic ticks (45)
#: and exchange-for-physical (47) come along with quotes and are not used.
MARKET_MESSAGES: Final = frozenset({"1", "2", "21", "45", "46", "47", "50", "57", "58", "81", "99"})
MARKET_TYPES: Final[Mapping[str, MarketType]] = MappingProxyType(
    {"1": "live", "2": "frozen", "3": "delayed", "4": "delayed_frozen"}
)
#: IB's tick types, live and delayed, as fields of a quote.
_PRICES: Final[Mapping[str, str]] = MappingProxyType(
    {"1": "bid", "2": "ask", "4": "last", "6": "high", "7": "low", "9": "close", "14": "open"}
    | {"66": "bid", "67": "ask", "68": "last", "72": "high", "73": "low", "75": "close"}
    | {"76": "open"}
)
_SIZES: Final[Mapping[str, str]] = MappingProxyType(
    {"0": "bid_size", "3": "ask_size", "5": "last_size", "8": "volume"}
    | {"69": "bid_size", "70": "ask_size", "71": "last_size", "74": "volume"}
)
#: The size that travels with a price.
_SIZE_OF: Final[Mapping[str, str]] = MappingProxyType(
    {"bid": "bid_size", "ask": "ask_size", "last": "last_size"}
)
_LAST_TIMES: Final = frozenset({"45", "88"})
_TICK_KINDS: Final[Mapping[str, FeedKind]] = MappingProxyType(
    {"1": "last", "2": "all_last", "3": "bid_ask", "4": "midpoint"}
)


@dataclass(frozen=True, slots=True)
class QuoteChange:
    """Fields of a quote that have other values now; None where IB says there is none any more."""

    fields: Mapping[str, Decimal | datetime | MarketType | None]


@dataclass(frozen=True, slots=True)
class SnapshotEnd:
    """A snapshot is complete."""


@dataclass(frozen=True, slots=True)
class TickRead:
    """A tick without its contract."""

    fields: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class BarRead:
    """A bar without its contract."""

    fields: Mapping[str, Any]


Reading = QuoteChange | SnapshotEnd | TickRead | BarRead


def read(wire: Fields) -> tuple[int, Reading] | None:
    """Return the request that a message answers and what it says; None where it says nothing of
    use.

    Raises `NotANumber` or `IndexError` for a message that cannot be read.
    """
    reader = _READERS.get(wire[0])
    return reader(wire) if reader is not None else None


def _price(wire: Fields) -> tuple[int, Reading] | None:
    name = _PRICES.get(wire[3])
    if name is None:
        return None
    price, size = decimal_from_wire(wire[4]), decimal_from_wire(wire[5])
    if price == -1 and not size:
        # IB's spelling of "no quote on this side"; with a size, a spread is quoted below zero.
        price = size = None
    fields: dict[str, Decimal | datetime | MarketType | None] = {name: price}
    if name in _SIZE_OF:
        fields[_SIZE_OF[name]] = size
    return int(wire[2]), QuoteChange(fields)


def _size(wire: Fields) -> tuple[int, Reading] | None:
    name = _SIZES.get(wire[3])
    return (int(wire[2]), QuoteChange({name: decimal_from_wire(wire[4])})) if name else None


def _text(wire: Fields) -> tuple[int, Reading] | None:
    if wire[3] not in _LAST_TIMES or not wire[4]:
        return None
    return int(wire[2]), QuoteChange({"last_at": _time(wire[4])})


def _market_type(wire: Fields) -> tuple[int, Reading] | None:
    kind = MARKET_TYPES.get(wire[3])
    return (int(wire[2]), QuoteChange({"market_type": kind})) if kind is not None else None


def _snapshot_end(wire: Fields) -> tuple[int, Reading]:
    return int(wire[2]), SnapshotEnd()


def _bar(wire: Fields) -> tuple[int, Reading]:
    return int(wire[2]), BarRead(
        {
            "at": _time(wire[3]),
            "open": _number(wire[4]),
            "high": _number(wire[5]),
            "low": _number(wire[6]),
            "close": _number(wire[7]),
            "volume": decimal_from_wire(wire[8]),
            "average": decimal_from_wire(wire[9]),
            "count": integer_from_wire(wire[10]),
        }
    )


def _tick(wire: Fields) -> tuple[int, Reading] | None:
    kind = _TICK_KINDS.get(wire[2])
    if kind is None:
        return None
    fields: dict[str, Any] = {"kind": kind, "at": _time(wire[3])}
    match kind:
        case "bid_ask":
            names = ("bid", "ask", "bid_size", "ask_size")
            fields |= zip(names, map(decimal_from_wire, wire[4:8]), strict=True)
        case "midpoint":
            fields["price"] = _number(wire[4])
        case _:
            fields |= {
                "price": _number(wire[4]),
                "size": decimal_from_wire(wire[5]),
                "exchange": wire[7],
                "conditions": wire[8],
            }
    return int(wire[1]), TickRead(fields)


def _number(text: str) -> Decimal:
    number = decimal_from_wire(text)
    if number is None:
        raise NotANumber(f"expected a price, found {text!r}")
    return number


def _time(text: str) -> datetime:
    seconds = integer_from_wire(text)
    if seconds is None:
        raise NotANumber(f"expected seconds since 1970, found {text!r}")
    return datetime.fromtimestamp(seconds, UTC)


_READERS: Final[Mapping[str, Callable[[Fields], tuple[int, Reading] | None]]] = MappingProxyType(
    {
        "1": _price,
        "2": _size,
        "46": _text,
        "50": _bar,
        "57": _snapshot_end,
        "58": _market_type,
        "99": _tick,
    }
)
