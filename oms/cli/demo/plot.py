"""What the seed of a demo decides."""

from __future__ import annotations

import random
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, Self

_SYMBOLS: Final = ("AAPL", "MSFT", "AMZN", "GOOG", "META", "NVDA", "TSLA")


@dataclass(frozen=True, slots=True)
class Plot:
    """One story; the same seed always tells the same one."""

    #: Bought at the market, sold by hand in part, and bought again in the order that is cut off.
    market: str
    market_quantity: int
    by_hand_quantity: int
    doubtful_quantity: int
    #: Rests until it is filled in two parts while we are away.
    filled: str
    filled_quantity: int
    first_part: int
    #: Rests until the broker cancels it while we are away.
    cancelled: str
    cancelled_quantity: int
    bracket: str
    bracket_quantity: int
    #: How far below the market the resting orders stand, in tenths of a per cent.
    discount: int
    #: Whether the last order's bytes reach IB before the daemon is killed.
    arrives: bool

    @classmethod
    def of(cls, seed: int) -> Self:
        """Return the story of a seed."""
        dice = random.Random(seed)
        market, filled, cancelled, bracket = dice.sample(_SYMBOLS, 4)
        market_quantity = dice.randrange(40, 130, 10)
        filled_quantity = dice.randrange(20, 70, 10)
        return cls(
            market=market,
            market_quantity=market_quantity,
            by_hand_quantity=dice.randrange(5, market_quantity // 2, 5),
            doubtful_quantity=dice.randrange(5, 50, 5),
            filled=filled,
            filled_quantity=filled_quantity,
            first_part=dice.randrange(5, filled_quantity - 4),
            cancelled=cancelled,
            cancelled_quantity=dice.randrange(5, 45, 5),
            bracket=bracket,
            bracket_quantity=dice.randrange(5, 35, 5),
            discount=dice.randrange(8, 16),
            # Even and odd seeds tell the two ways in which it can end.
            arrives=seed % 2 == 1,
        )


def moved(price: Decimal, per_mille: int) -> Decimal:
    """Return a price moved by so many tenths of a per cent, on the tick of US stocks."""
    return (price * (1000 + per_mille) / 1000).quantize(Decimal("0.01"))
