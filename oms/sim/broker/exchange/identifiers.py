"""Made-up identifiers of securities, with check digits that hold. Pure.

ISIN: ISO 6166, two letters of a country, nine characters, a check digit by Luhn over the letters as
two digits each. CUSIP: eight characters and a check digit by Luhn over every second value.
"""

from __future__ import annotations

import zlib
from typing import Final

#: Digits and letters in the order of their values; letters that look like digits are left out of
#: made-up numbers, as their makers leave them out.
_VALUES: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_MADE_OF: Final = "0123456789BCDFGHJKLMNPQRSTVWXYZ"


def _made_cusip(name: str) -> str:
    """Return a CUSIP for whatever has this name, the same one for ever."""
    number = zlib.crc32(f"CUSIP.{name}".encode())
    text = ""
    for _ in range(8):
        number, at = divmod(number, len(_MADE_OF))
        text = _MADE_OF[at] + text
    # The first six are the issuer's and begin with a digit.
    text = f"{zlib.crc32(name.encode()) % 10}{text[1:]}"
    return text + _cusip_check(text)


def made_isin(country: str, name: str) -> str:
    """Return an ISIN of a country; that of the United States has the CUSIP in it."""
    if country == "US":
        return isin_of_cusip(_made_cusip(name))
    text = f"{country}{zlib.crc32(f'ISIN.{name}'.encode()) % 10**9:09d}"
    return text + _isin_check(text)


def isin_of_cusip(cusip: str) -> str:
    """Return the ISIN that a CUSIP makes."""
    return f"US{cusip}" + _isin_check(f"US{cusip}")


def is_isin(text: str) -> bool:
    """Say whether a text is an ISIN whose check digit holds."""
    is_shaped = _is_shaped(text, 12) and text[:2].isalpha()
    return is_shaped and _isin_check(text[:-1]) == text[-1]


def is_cusip(text: str) -> bool:
    """Say whether a text is a CUSIP whose check digit holds."""
    return _is_shaped(text, 9) and _cusip_check(text[:-1]) == text[-1]


def _is_shaped(text: str, length: int) -> bool:
    return len(text) == length and all(letter in _VALUES for letter in text)


def _cusip_check(text: str) -> str:
    total = 0
    for at, letter in enumerate(text):
        value = _VALUES.index(letter) * (2 if at % 2 else 1)
        total += value // 10 + value % 10
    return str(-total % 10)


def _isin_check(text: str) -> str:
    digits = "".join(str(_VALUES.index(letter)) for letter in text)
    total = 0
    for at, digit in enumerate(reversed(digits)):
        value = int(digit) * (1 if at % 2 else 2)
        total += value // 10 + value % 10
    return str(-total % 10)
