"""New units for old ones, as a split or an exchange has them: two whole numbers, never their
quotient.

A third has no Decimal: 300 shares times 0.333... are 99.99..., which no broker holds. So the ratio
stays a pair, quantities are multiplied before they are divided, and the quantity that IB shows is
taken where it follows from the pair under IB's own rounding.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from typing import Final, Self

from pydantic import Field, model_validator

from oms.core.values import Value
from oms.errors import InvalidRequest

#: Splits are ratios of small numbers (3 for 2, 100 for 97), or of one to a number (1 for 250).
_EACH_MAX: Final = 100
_OF_ONE_MAX: Final = 1_000
#: How far costs may be apart for two positions to be one and the same before and after.
COST_TOLERANCE: Final = Decimal("0.005")
#: IB shows parts of a share to four decimals.
_SHOWN_STEP: Final = Fraction(1, 10_000)
_WRITTEN: Final = re.compile(r"\s*(\d{1,6})\s*(?::|for)\s*(\d{1,6})\s*")


class Ratio(Value):
    """So many new units for so many old ones: `new=1, old=3` is a reverse split."""

    new: int = Field(ge=1)
    old: int = Field(ge=1)

    @model_validator(mode="before")
    @classmethod
    def _from_quotient(cls, written: object) -> object:
        """Read what logs held before: one Decimal, made of two numbers up to 100."""
        if isinstance(written, str | Decimal):
            exact = Fraction(written).limit_denominator(_EACH_MAX)
            return {"new": exact.numerator, "old": exact.denominator}
        return written

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the ratio that a person wrote: `1:3` is one new unit for three old ones."""
        found = _WRITTEN.fullmatch(text)
        if found is None or not int(found[1]) or not int(found[2]):
            raise InvalidRequest(
                f"a ratio is two whole numbers, new units for old ones, found {text!r}",
                hint="a reverse split of three shares into one is 1:3, a split of one into two 2:1",
            )
        return cls(new=int(found[1]), old=int(found[2]))

    def __str__(self) -> str:
        return f"{self.new}:{self.old}"

    @property
    def words(self) -> str:
        """Return the ratio as people say it."""
        return f"{self.new} for {self.old}"

    def of(self, quantity: Decimal) -> Decimal:
        """Return what a quantity becomes."""
        return quantity * self.new / self.old

    def price_of(self, price: Decimal) -> Decimal:
        """Return what a price per unit becomes: the whole stays the same."""
        return price * self.old / self.new

    def may_leave(self, held: Decimal, told: Decimal) -> bool:
        """Say whether IB may show `told` for what was `held`: exactly what the ratio gives, that to
        four decimals, or the whole units of it, with the fraction paid in cash.
        """
        if (held > 0) != (told >= 0):
            return False
        missing = abs(Fraction(held)) * self.new / self.old - abs(Fraction(told))
        is_whole = told == told.to_integral_value()
        return abs(missing) < _SHOWN_STEP or (is_whole and 0 <= missing < 1)


def ratio_between(
    held: Decimal, told: Decimal, cost_held: Decimal, cost_told: Decimal
) -> Ratio | None:
    """Return the ratio that explains both quantities and what one unit cost before and after, None
    where there is none: the simplest, which may leave a fraction, and the nearest to the costs.
    """
    if not held or not told or cost_held <= 0 or cost_told <= 0:
        return None
    rate = Fraction(cost_held) / Fraction(cost_told)
    fitting = [r for r in _near(rate) if r.new != r.old and r.may_leave(held, told)]

    def unlikely(ratio: Ratio) -> Fraction:
        apart = abs(Fraction(ratio.new, ratio.old) / rate - 1) / Fraction(COST_TOLERANCE)
        leaves_fraction = Fraction(held) * ratio.new / ratio.old != Fraction(told)
        return (ratio.new + ratio.old) * (2 if leaves_fraction else 1) * (1 + apart)

    return min(fitting, key=unlikely, default=None)


def _near(rate: Fraction) -> Iterator[Ratio]:
    """Yield the ratios of splits that are as near to a rate as costs can tell."""
    tolerance = Fraction(COST_TOLERANCE)
    low, high = rate * (1 - tolerance), rate * (1 + tolerance)
    for old in range(1, _EACH_MAX + 1):
        most = _OF_ONE_MAX if old == 1 else _EACH_MAX
        for new in range(max(1, math.ceil(low * old)), min(most, math.floor(high * old)) + 1):
            if math.gcd(new, old) == 1:
                yield Ratio(new=new, old=old)
    for old in range(max(_EACH_MAX + 1, math.ceil(1 / high)), _OF_ONE_MAX + 1):
        if not low <= Fraction(1, old):
            return
        yield Ratio(new=1, old=old)
