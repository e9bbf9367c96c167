"""The door through which numbers enter.

Prices, sizes and money come from the wire as text and stay Decimal until they are shown. IB writes
"not set" in several ways (broker notes: numbers); all of them become None here, and nowhere else:

| field | markers |
| --- | --- |
| integer | empty, the largest and the smallest integer of 32 and of 64 bits |
| number (price, size) | those as a decimal or a double, and the largest double of either sign |
| figure (margin, mark, result) | those, and a word for "there is none": N/A, NaN, Infinity |

A commission of -1 means "not known yet" as well, but a price of -1 is a price (spreads, futures),
so that rule belongs to the commission's own translator.
"""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation
from typing import Final

from oms.core.bounds import ASKED_NUMBER, MONEY, brief
from oms.errors import InvalidRequest

ZERO: Final = Decimal(0)
ONE: Final = Decimal(1)

#: A price or size as a caller gives it; a float is refused, see `number`.
Number = Decimal | int | str

#: What people write as a number. Python's own reading takes 1_000 as well, which in a price is a
#: slip of the hand, and digits of other scripts.
_WRITTEN: Final = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_UNSET_INTEGERS: Final = frozenset(
    {"2147483647", "-2147483648", "9223372036854775807", "-9223372036854775808"}
)
#: The same, and what is left of the 64-bit ones in a double.
_UNSET_NUMBERS: Final = frozenset(
    Decimal(text) for text in (*_UNSET_INTEGERS, "9223372036854776E3", "-9223372036854776E3")
)
#: No number of IB's is that large, but its largest double, whatever the digits of its spelling.
_UNSET_DOUBLES: Final = (
    (Decimal("1e300"), Decimal("1e309")),
    (Decimal("-1e309"), Decimal("-1e300")),
)
#: What IB writes for a figure that it could not calculate, in small letters.
_NO_FIGURE: Final = frozenset(
    {"n/a", "na", "nan", "infinity", "-infinity", "inf", "-inf", "∞", "-", "--", "null", "none"}
)


class NotANumber(ValueError):
    """A wire field that must be a number is not one."""


def decimal_from_wire(text: str) -> Decimal | None:
    """Return the number that a wire field holds, or None where IB wrote "not set".

    Raises `NotANumber` for anything else, NaN and infinities included: IB sends them only in broken
    messages.
    """
    if not text or text in _UNSET_INTEGERS:
        return None
    try:
        number = Decimal(text if _is_plain(text) else "")
    except InvalidOperation as error:
        raise NotANumber(f"expected a decimal number, found {brief(text)}") from error
    if not number.is_finite():
        raise NotANumber(f"expected a finite number, found {brief(text)}")
    # Compared and never calculated with: the sum of 1e9999999999 and anything is an overflow.
    if number in _UNSET_NUMBERS or any(low < number < high for low, high in _UNSET_DOUBLES):
        return None
    try:
        return MONEY.check(number)
    except ValueError as error:
        raise NotANumber(f"a number {error}") from error


def figure_from_wire(text: str) -> Decimal | None:
    """Return a figure that IB calculates, or None where it says that it has none.

    Unlike a price or a size it may be missing in a message that is whole: the rest of it counts.
    """
    return None if text.strip().lower() in _NO_FIGURE else decimal_from_wire(text)


def quantity_from_wire(text: str) -> Decimal:
    """Return a size that must be there; raises `NotANumber` where it is not."""
    number = decimal_from_wire(text)
    if number is None:
        raise NotANumber(f"expected a quantity, found {text!r}")
    return number


def integer_from_wire(text: str) -> int | None:
    """Return the integer that a wire field holds, or None where IB wrote "not set"."""
    if not text or text in _UNSET_INTEGERS:
        return None
    try:
        return int(text if _is_plain(text) else "")
    except ValueError as error:
        raise NotANumber(f"expected an integer, found {brief(text)}") from error


def _is_plain(text: str) -> bool:
    """Say whether Python's own reading, which takes 1_000 and digits of other scripts, is IB's."""
    return text.isascii() and "_" not in text


def parse_decimal(text: str) -> Decimal:
    """Return the Decimal that a person or a program wrote; raises `NotANumber` with the reason."""
    written = text.strip()
    try:
        found = Decimal(written)
    except InvalidOperation as error:
        raise NotANumber(f"{brief(text)} is not a decimal number") from error
    if not found.is_finite():
        raise NotANumber(f"{brief(text)} is not a finite number")
    if not _WRITTEN.fullmatch(written):
        raise NotANumber(f"{brief(text)} is not a decimal number in plain digits")
    return found


def number(name: str, value: object) -> Decimal:
    """Return a price or size that a caller gave; raises `InvalidRequest` naming what is wrong."""
    match value:
        case bool() | float():
            raise InvalidRequest(
                f"{name} must be a Decimal or text, found the {type(value).__name__} {value!r}",
                hint="write it in quotes: a binary float is not the number that you typed",
            )
        case Decimal():
            found = value
        case int():
            found = Decimal(value)
        case str():
            try:
                found = parse_decimal(value)
            except NotANumber as error:
                raise InvalidRequest(f"{name}: {error}") from error
        case _:
            raise InvalidRequest(f"{name} must be a Decimal or text, found {brief(value)}")
    try:
        found = ASKED_NUMBER.check(found)
    except ValueError as error:
        raise InvalidRequest(f"{name} {error}") from error
    return found if found else abs(found)  # no -0


def plain(number: Decimal | None) -> str:
    """Return the number as people write it: no exponent, no trailing zeros after the point, "" for
    None.
    """
    if number is None:
        return ""
    text = format(number, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in {"-0", ""} else text
