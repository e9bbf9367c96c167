"""The fields of a wire message, read as what they mean: numbers, ids, sides, contracts, moments.

Each reader raises `ValueError`, `LookupError` or `ArithmeticError` for a text that makes no sense.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from types import MappingProxyType
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from oms.broker.translate.zones import moment_in
from oms.core.contracts import Contract
from oms.core.events import Event, Side
from oms.core.money import (
    decimal_from_wire,
    figure_from_wire,
    integer_from_wire,
    quantity_from_wire,
)

Fields = Sequence[str]


class Translated(NamedTuple):
    """A fact, and when the broker says that it happened."""

    event: Event
    #: Aware UTC; None where the message names no time, or names it without a zone and none is set.
    occurred_at: datetime | None = None


#: Reads the fields of a message in a server version; None where it is not about us. The zone is
#: the one that TWS was logged in with.
Translator = Callable[[Fields, int, ZoneInfo | None], Translated | None]

#: The same few numbers come again and again: 0, 100, the prices around the market.
number_of: Final = lru_cache(maxsize=16_384)(decimal_from_wire)
quantity_of: Final = lru_cache(maxsize=16_384)(quantity_from_wire)
figure_of: Final = lru_cache(maxsize=16_384)(figure_from_wire)


def id_of(text: str) -> int:
    """Return an id, 0 where it is missing, as for the executions of other sessions (INC-26)."""
    return integer_from_wire(text) or 0


def perm_id_of(text: str) -> int:
    """Return a permanent number, 0 for whatever IB writes where there is none: no negative number
    is one.
    """
    return max(id_of(text), 0)


def flag_of(text: str) -> bool:
    """Return what 0 or 1 says; anything else shows that this is another field than expected."""
    if text in {"", "0"}:
        return False
    if text == "1":
        return True
    raise ValueError(f"expected 0 or 1, found {text!r}")


def count_of(text: str) -> int:
    """Return a number of repeated groups; a wrong one would move every field after it."""
    found = int(text)
    if found < 0:
        raise ValueError(f"expected a count, found {text!r}")
    return found


def at_least(number: int, fields: Fields) -> None:
    """Raise `IndexError` for a message that is shorter."""
    if len(fields) < number:
        raise IndexError


def required(name: str, text: str) -> str:
    """Return a text that may not be empty."""
    if not text:
        raise ValueError(f"{name} is empty")
    return text


#: Executions say BOT and SLD, orders BUY and SELL, institutions name the kind of sale as well.
_SIDES: Final[Mapping[str, Side]] = MappingProxyType(
    {"BUY": "BUY", "BOT": "BUY", "SELL": "SELL", "SLD": "SELL", "SSHORT": "SELL", "SLONG": "SELL"}
)
_RIGHTS: Final[Mapping[str, str]] = MappingProxyType(
    {"": "", "?": "", "0": "", "C": "C", "CALL": "C", "P": "P", "PUT": "P"}
)
#: Calendar spread options have a strike of zero or less; for everything else zero means none.
_WITH_STRIKE: Final = frozenset({"OPT", "FOP", "WAR", "IOPT"})


def side_of(text: str) -> Side:
    """Return the side that one of IB's words for it means."""
    side = _SIDES.get(text)
    if side is None:
        raise ValueError(f"expected a side, found {text!r}")
    return side


def _right(text: str) -> str:
    right = _RIGHTS.get(text)
    if right is None:
        raise ValueError(f"expected call or put, found {text!r}")
    return right


#: conId, symbol, secType, expiry, strike, right, multiplier, exchange, currency, localSymbol,
#: tradingClass: the same eleven in every message; only the exchange changes its meaning.
CONTRACT_FIELDS: Final = 11


@lru_cache(maxsize=8192)
def contract_of(fields: tuple[str, ...], exchange_is_primary: bool = False) -> Contract:
    """Return the contract that the eleven fields describe."""
    con_id, symbol, sec_type, expiry, strike, right, multiplier, exchange, currency, local, cls = (
        fields
    )
    price = number_of(strike)
    return Contract(
        con_id=id_of(con_id),
        symbol=symbol,
        sec_type=sec_type,
        currency=currency,
        exchange="" if exchange_is_primary else exchange,
        primary_exchange=exchange if exchange_is_primary else "",
        local_symbol=local,
        trading_class=cls,
        expiry=expiry,
        strike=price if price or sec_type in _WITH_STRIKE else None,
        right=_right(right),
        # A multiplier of 0 would make every value 0; IB writes it where there is none.
        multiplier=number_of(multiplier) or None,
    )


def contract_at(fields: Fields, start: int) -> Contract:
    """Return the contract whose fields begin at `start`."""
    part = tuple(fields[start : start + CONTRACT_FIELDS])
    if len(part) < CONTRACT_FIELDS:
        raise IndexError
    return contract_of(part)


@lru_cache(maxsize=4096)
def moment_from_wire(text: str, zone: ZoneInfo | None) -> datetime | None:
    """Return the instant that one of IB's time texts names, aware UTC; None where it names none.

    The forms (broker notes: times): `20260105 09:30:00 US/Eastern`, with any name that `zones`
    reads; `20260105-14:30:00`, which is UTC without saying so; and `20260105  09:30:00`, which
    means the zone of TWS's login. A text that cannot be read gives None rather than an error, since
    the fact beside it (an execution) matters more than its second; the text itself is kept.
    """
    text = text.replace("  ", " ", 1)
    clock, rest = text[:17], text[17:].strip()
    try:
        local = datetime.fromisoformat(f"{clock[:8]}T{clock[9:]}")
        if clock[8:9] == "-" and rest in {"", "Z"}:
            return local.replace(tzinfo=UTC)
        if rest:
            return moment_in(local, rest, zone)
        return None if zone is None else local.replace(tzinfo=zone).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
