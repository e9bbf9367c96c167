"""The text of one field: numbers, flags and names as a gateway reads and writes them. Pure."""

from __future__ import annotations

import re
import struct
from decimal import Decimal, InvalidOperation
from typing import Final

from oms.sim.protocol.errors import WireError

#: How IB spells "not set", by the type of the field.
UNSET_DOUBLE: Final = "1.7976931348623157E308"
UNSET_INTEGER: Final = "2147483647"
UNSET_LONG: Final = "9223372036854775807"

#: Past this a number is IB's "not set": the largest double, however a client spells it.
_UNSET_ABOVE = Decimal("1e300")
_LONG_MAX = 2**63 - 1
#: Python's numbers may have blanks round them and underscores within; a gateway's may not.
_NO_NUMBER = re.compile(r"[_\s]|[^\x00-\x7f]")
#: Far beyond any order, and small enough that sums and remainders keep all their digits.
_AMOUNT_MAX = Decimal("1e15")
#: More than a double has. Written out, 1e-9999999999 and 0e9999999999 would fill the memory.
_DECIMALS_MAX = 400


def to_decimal(text: str) -> Decimal | None:
    """Return the number in a field, or None when the field says "not set" in any of the spellings.

    Raises WireError when the text is no number.
    """
    if text in ("", "Infinite"):
        return None
    if is_written_otherwise(text):
        raise WireError(f"{text[:40]!r} is not a number")
    try:
        number = Decimal(text)
    except InvalidOperation as error:
        raise WireError(f"{text[:40]!r} is not a number") from error
    # Compared and never calculated with: `abs` of 1e9999999999 is an overflow.
    if not number.is_finite() or number > _UNSET_ABOVE or number < -_UNSET_ABOVE:
        return None
    if not -_AMOUNT_MAX <= number <= _AMOUNT_MAX:
        raise WireError(f"{text[:40]!r} is more than an amount holds")
    if not number:
        return Decimal(0)
    if number.as_tuple().exponent < -_DECIMALS_MAX:  # type: ignore[operator]  # it is finite
        raise WireError(f"{text[:40]!r} has more decimals than an amount holds")
    return number


def is_written_otherwise(text: str) -> bool:
    """Say whether a text is a number for Python alone: blanks round it, underscores within, digits
    of another script.
    """
    return _NO_NUMBER.search(text) is not None


def to_int(text: str, default: int = 0) -> int:
    """Return the integer in a field; `default` when empty or one of IB's unset integers."""
    if text in ("", UNSET_INTEGER, UNSET_LONG):
        return default
    if is_written_otherwise(text):
        raise WireError(f"{text[:40]!r} is not an integer")
    try:
        value = int(text)
    except ValueError as error:
        raise WireError(f"{text[:40]!r} is not an integer") from error
    if abs(value) > _LONG_MAX:
        raise WireError(f"{text[:40]!r} is more than a long holds")
    return value


def is_digits(text: str) -> bool:
    """Return True for ASCII digits and nothing else, at most those of a long.

    str.isdigit takes superscripts too, and int refuses them, and texts of thousands of digits.
    """
    return len(text) < 20 and text.isascii() and text.isdigit()


def to_bool(text: str) -> bool:
    """Return a flag, which is 1 and 0, or true and false; empty is False."""
    if text in ("", "0", "false", "False"):
        return False
    if text in ("1", "true", "True"):
        return True
    raise WireError(f"{text!r} is not a boolean")


def number(value: Decimal | int | None) -> str:
    """Return plain decimal text without exponent or trailing zeros; empty for None."""
    if value is None:
        return ""
    if isinstance(value, int):
        return str(value)
    text = format(value, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text


def ascii7(text: str) -> str:
    r"""Return non-ASCII characters as \uXXXX, which is how the gateway sends names and error texts.

    It writes UTF-16, so that a character beyond the basic plane is two of them.
    """
    if text.isascii():
        return text
    units = text.encode("utf-16-be", errors="surrogatepass")
    codes = (code for (code,) in struct.iter_unpack(">H", units))
    return "".join(chr(code) if code < 0x80 else f"\\u{code:04x}" for code in codes)
