"""What an option is worth: Black and Scholes, without interest and dividends. Pure.

Every option is taken as European, on a stock, an index or a future alike; a year has 365 days. The
one place of the simulator that calculates in floats: a model has no exact values, and what leaves
it is rounded.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import erf, exp, log, pi, sqrt

DAYS_A_YEAR = 365
#: Between these an implied volatility is looked for.
_LOWEST, _HIGHEST = 0.0001, 20.0
_HALVINGS = 60


@dataclass(frozen=True, slots=True)
class Terms:
    """What the value of an option hangs on, but for its volatility."""

    spot: float
    strike: float
    #: Until it expires; 0 and less is over.
    years: float
    is_call: bool

    @property
    def intrinsic(self) -> float:
        """Return what exercise would bring now."""
        gain = self.spot - self.strike if self.is_call else self.strike - self.spot
        return max(gain, 0.0)


@dataclass(frozen=True, slots=True)
class Valued:
    """An option at a volatility: its price and what that hangs on."""

    volatility: float
    price: float
    delta: float
    gamma: float
    #: For a point of volatility, and for a day.
    vega: float
    theta: float


def value(terms: Terms, volatility: float) -> Valued:
    """Return the price of an option and its greeks."""
    spread = volatility * sqrt(max(terms.years, 0.0))
    sign = 1 if terms.is_call else -1
    if spread <= 0 or terms.spot <= 0 or terms.strike <= 0:
        delta = float(sign) if terms.intrinsic > 0 else 0.0
        return Valued(volatility, terms.intrinsic, delta, 0.0, 0.0, 0.0)
    d1 = log(terms.spot / terms.strike) / spread + spread / 2
    d2 = d1 - spread
    density = exp(-d1 * d1 / 2) / sqrt(2 * pi)
    price = sign * (terms.spot * _normal(sign * d1) - terms.strike * _normal(sign * d2))
    return Valued(
        volatility=volatility,
        price=max(price, 0.0),
        delta=sign * _normal(sign * d1),
        gamma=density / (terms.spot * spread),
        vega=terms.spot * density * sqrt(terms.years) / 100,
        theta=-terms.spot * density * volatility / (2 * sqrt(terms.years)) / DAYS_A_YEAR,
    )


def implied_volatility(terms: Terms, price: float) -> float | None:
    """Return the volatility at which an option has this price; None where none makes it."""
    if terms.years <= 0 or price <= terms.intrinsic:
        return None
    low, high = _LOWEST, _HIGHEST
    if not value(terms, low).price <= price <= value(terms, high).price:
        return None
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if value(terms, middle).price < price:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _normal(x: float) -> float:
    return (1 + erf(x / sqrt(2))) / 2
