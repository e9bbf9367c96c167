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

from oms.core.bounds import NUMBER, Units
from oms.core.values import Value
from oms.errors import InvalidRequest

#: Splits are ratios of small numbers (3 for 2, 100 for 97), of whole percents (103 for 100), or of
#: one to a number (1 for 250).
_EACH_MAX: Final = 100
_OF_PERCENT_MAX: Final = 200
_OF_ONE_MAX: Final = 1_000
#: Companies choose these, whole percents and one to a number; another ratio comes of an exchange.
_USUAL_MAX: Final = 10
#: How far costs may be apart for two positions to be one and the same before and after.
COST_TOLERANCE: Final = Decimal("0.005")
#: How far they are apart at most where both are known with their commissions: IB rounds its own.
#: Two ratios of the sizes above differ by more.
_EXACT: Final = Fraction(1, 50_000)
#: IB shows parts of a share to four decimals.
_SHOWN_STEP: Final = Fraction(1, 10_000)
_WRITTEN: Final = re.compile(r"\s*(\d{1,6})\s*(?::|for)\s*(\d{1,6})\s*", re.ASCII)


class Ratio(Value):
    """So many new units for so many old ones: `new=1, old=3` is a reverse split."""

    new: Units
    old: Units

    @classmethod
    def of_quotient(cls, quotient: Decimal) -> Self:
        """Return the two numbers up to 100 that a quotient was made of, as early logs held it."""
        # Bounded first: a fraction spells every digit of its number out.
        exact = Fraction(NUMBER.check(quotient)).limit_denominator(_EACH_MAX)
        return cls(new=exact.numerator, old=exact.denominator)

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

    @property
    def is_usual(self) -> bool:
        """Say whether companies choose such ratios for splits and dividends in shares."""
        small, large = sorted((self.new, self.old))
        return small == 1 or large <= _USUAL_MAX or _EACH_MAX % self.old == 0

    def may_leave(self, held: Decimal, told: Decimal) -> bool:
        """Say whether IB may show `told` for what was `held`: exactly what the ratio gives, that to
        four decimals, or the whole units of it, with the fraction paid in cash.
        """
        if not held or (told and (held > 0) != (told > 0)):
            return False
        missing = abs(Fraction(held)) * self.new / self.old - abs(Fraction(told))
        is_whole = told == told.to_integral_value()
        return abs(missing) < _SHOWN_STEP or (is_whole and 0 <= missing < 1)


def ratios_between(
    held: Decimal,
    told: Decimal,
    cost_held: Decimal,
    cost_told: Decimal,
    *,
    is_exact: bool = False,
) -> tuple[Ratio, ...]:
    """Return the ratios that explain both quantities and what one unit cost before and after, the
    nearest to the costs first.

    Of several the one is taken that the costs agree with to IB's rounding, where these are known
    exactly, commissions included; else the only usual one. Where neither decides, all that fit as
    well are returned, and none of them is evidence.
    """
    if not held or not told or cost_held <= 0 or cost_told <= 0:
        return ()
    rate = Fraction(cost_held) / Fraction(cost_told)

    def apart(ratio: Ratio) -> Fraction:
        return abs(Fraction(ratio.new, ratio.old) / rate - 1)

    near = sorted(_near(rate), key=apart)
    fitting = [r for r in near if r.new != r.old and r.may_leave(held, told)]
    if is_exact and fitting and apart(fitting[0]) <= _EXACT:
        return (fitting[0],)
    usual = [ratio for ratio in fitting if ratio.is_usual]
    return tuple(usual or fitting)


def _near(rate: Fraction) -> Iterator[Ratio]:
    """Yield the ratios of splits that are as near to a rate as costs can tell."""
    tolerance = Fraction(COST_TOLERANCE)
    low, high = rate * (1 - tolerance), rate * (1 + tolerance)
    for old in range(1, _EACH_MAX + 1):
        most = _OF_PERCENT_MAX if _EACH_MAX % old == 0 else _EACH_MAX
        most = _OF_ONE_MAX if old == 1 else most
        for new in range(max(1, math.ceil(low * old)), min(most, math.floor(high * old)) + 1):
            if math.gcd(new, old) == 1:
                yield Ratio(new=new, old=old)
    for old in range(max(_EACH_MAX + 1, math.ceil(1 / high)), _OF_ONE_MAX + 1):
        if not low <= Fraction(1, old):
            return
        yield Ratio(new=1, old=old)
