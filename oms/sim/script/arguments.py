"""The fields of one command, read with their types and bounds. Pure.

Whatever a line holds, it is either a value that the books can keep for ever, or an error that names
the field, what is wrong with it and what would be right.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from math import isfinite
from typing import Any, Final

from oms.sim.protocol.fields import is_written_otherwise
from oms.sim.protocol.layout import Layout

#: With these, and so many decimals, no product of them has more digits than a Decimal keeps.
QUANTITY_MAX: Final = Decimal("1e9")
PRICE_MAX: Final = Decimal("1e7")
CASH_MAX: Final = Decimal("1e15")
DECIMALS_MAX: Final = 8
SECONDS_MAX: Final = 10 * 365 * 86_400.0
INTEGER_MAX: Final = 2**31 - 1
TEXT_MAX: Final = 10_000
#: A message is sent, or lost, at most so often by one command.
TIMES_MAX: Final = 10_000
_RATIO: Final = re.compile(r"\d{1,9}(\.\d{1,9})?|\d{1,9}:\d{1,9}", re.ASCII)


class CommandError(Exception):
    """A command that cannot be done, and what to try instead."""

    def __init__(self, text: str, hint: str = "") -> None:
        super().__init__(text)
        self.hint = hint


class Fields:
    """The fields of one command. A field that the verb does not have is an error."""

    def __init__(self, verb: str, names: Sequence[str], values: Mapping[str, Any]) -> None:
        known = {name.rstrip("?") for name in names}
        listed = ", ".join(names) or "none"
        unknown = set(values) - known
        if unknown:
            raise CommandError(f"{verb} has no field {min(unknown)!r}", listed)
        missing = [name for name in names if not name.endswith("?") and values.get(name) is None]
        if missing:
            raise CommandError(f"{verb} needs the field {missing[0]!r}", listed)
        self._values = values

    def has(self, name: str) -> bool:
        """Return True for a field that is given."""
        return self._values.get(name) is not None

    def text(self, name: str, default: str = "") -> str:
        """Return a text that a message can hold."""
        value = self._values.get(name)
        return default if value is None else _text(name, value)

    def choice(self, name: str, known: Sequence[str], default: str = "") -> str:
        """Return one of the words in `known`; it may be given in any case."""
        text = self.text(name, default)
        for one in known:
            if one.lower() == text.lower():
                return one
        raise CommandError(f"{name} {text!r} is not known", "one of " + ", ".join(known))

    def integer(
        self, name: str, default: int = 0, *, least: int = -INTEGER_MAX, most: int = INTEGER_MAX
    ) -> int:
        """Return an integer from `least` to `most`."""
        text = self.text(name, str(default))
        try:
            value = int(_plain(text))
        except ValueError as error:
            raise CommandError(f"{name} {text[:40]!r} is not an integer") from error
        if not least <= value <= most:
            raise CommandError(f"{name} {text[:40]} is out of bounds", f"{least} to {most}")
        return value

    def integer_or_none(self, name: str, *, least: int = -INTEGER_MAX) -> int | None:
        """Return an integer, None when it is not given."""
        return self.integer(name, least=least) if self.has(name) else None

    def amount(self, name: str, *, least: Decimal | None = None, most: Decimal) -> Decimal:
        """Return a finite amount of at most `most` either way, and not below `least`."""
        text = self.text(name)
        try:
            value = Decimal(_plain(text))
        except (ValueError, InvalidOperation) as error:
            raise CommandError(f"{name} {text[:40]!r} is not an amount") from error
        if not value.is_finite():
            raise CommandError(f"{name} {text[:40]!r} is not a finite amount")
        lowest = -most if least is None else least
        if not lowest <= value <= most:
            raise CommandError(f"{name} {text[:40]} is out of bounds", f"{lowest:f} to {most:f}")
        if not value:
            return Decimal(0)  # 0e9999999999 would be written out with as many zeros
        # Not `normalize`, which takes 1e-9999999999 for nothing.
        _, digits, exponent = value.as_tuple()
        zeros = len(digits) - len("".join(map(str, digits)).rstrip("0"))
        if isinstance(exponent, int) and -exponent - zeros > DECIMALS_MAX:
            raise CommandError(f"{name} has more than {DECIMALS_MAX} decimals", "round it")
        return value

    def ratio(self, name: str) -> Fraction:
        """Return a number of new units for an old one: `4`, `0.25` or `1:3`."""
        text = self.text(name)
        # A fraction would calculate 1e9999999999.
        if _RATIO.fullmatch(text) is None or not Fraction(text.partition(":")[2] or 1):
            raise CommandError(f"{name} {text[:40]!r} is not a ratio", "such as 4 or 1:3")
        return Fraction(text.replace(":", "/", 1))

    def price(self, name: str) -> Decimal:
        """Return a price, which may be negative."""
        return self.amount(name, most=PRICE_MAX)

    def price_or_none(self, name: str) -> Decimal | None:
        """Return a price, None when it is not given."""
        return self.price(name) if self.has(name) else None

    def quantity(self, name: str, *, signed: bool = False, zero: bool = False) -> Decimal:
        """Return a quantity above zero; with `signed` any but zero, with `zero` zero too."""
        value = self.amount(name, least=None if signed else Decimal(0), most=QUANTITY_MAX)
        if not value and not zero:
            raise CommandError(f"{name} is zero", "an amount, such as 100")
        return value

    def quantity_or_none(self, name: str, *, zero: bool = False) -> Decimal | None:
        """Return a quantity, None when it is not given."""
        return self.quantity(name, zero=zero) if self.has(name) else None

    def seconds(self, name: str, default: float = 0.0) -> float:
        """Return a duration of ten years at most."""
        return self._float(name, default, SECONDS_MAX)

    def probability(self, name: str, default: float = 1.0) -> float:
        """Return a number from 0 to 1."""
        return self._float(name, default, 1.0)

    def _float(self, name: str, default: float, most: float) -> float:
        text = self.text(name, str(default))
        try:
            value = float(_plain(text))
        except ValueError as error:
            raise CommandError(f"{name} {text[:40]!r} is not a number") from error
        if not isfinite(value) or not 0.0 <= value <= most:
            raise CommandError(f"{name} {text[:40]} is out of bounds", f"0 to {most:g}")
        return value

    def flag(self, name: str) -> bool:
        """Return a yes or no; no when it is not given."""
        return self.choice(name, ("1", "true", "yes", "0", "false", "no"), "no") in (
            *("1", "true", "yes"),
        )

    def mapping(self, name: str) -> dict[str, str]:
        """Return the texts of an object by their names."""
        value = self._values.get(name)
        if value is None:
            return {}
        if not isinstance(value, Mapping):
            raise CommandError(f"{name} is not an object", f'{name}.FIELD=TEXT or {{"FIELD": ...}}')
        return {str(key): _text(f"{name}.{key}", text) for key, text in value.items()}

    def message_fields(self, name: str, layout: Layout | None) -> dict[str, str]:
        """Return texts by the fields of a message; one that it does not have is an error."""
        wanted = self.mapping(name)
        known = layout.names() if layout is not None else frozenset(wanted)
        for field in wanted:
            if field not in known:
                raise CommandError(f"{name}.{field} is no field of it", ", ".join(sorted(known)))
        return wanted

    def texts(self, name: str) -> list[str]:
        """Return the texts of a list, or of one text with `|` between its parts."""
        value = self._values.get(name)
        if value is None:
            return []
        if isinstance(value, str):
            return _text(name, value).split("|")
        if not isinstance(value, list | tuple):
            raise CommandError(f"{name} is not a list", f'{name}="a|b|c" or ["a", "b", "c"]')
        return [_text(f"{name}[{at}]", one) for at, one in enumerate(value)]


def _plain(text: str) -> str:
    """Return a number as text; raises ValueError for what is one in Python alone."""
    if is_written_otherwise(text):
        raise ValueError(text)
    return text


def _text(name: str, value: Any) -> str:
    """The text of one value: a field of a message ends at a NUL and is UTF-8."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, str | int | float):
        raise CommandError(f"{name} is not a text", f"it is {type(value).__name__}")
    try:
        text = str(value)
    except ValueError as error:  # Python writes no integer of more than 4,300 digits
        raise CommandError(f"{name} has more than 4,300 digits") from error
    if len(text) > TEXT_MAX:
        raise CommandError(f"{name} has {len(text)} characters", f"at most {TEXT_MAX}")
    if "\0" in text:
        raise CommandError(f"{name} has a NUL in it", "fields end at a NUL; raw_bytes sends any")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise CommandError(f"{name} is no text that UTF-8 can write", str(error)) from error
    return text
