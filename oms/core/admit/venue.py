"""What the venue of a contract takes: the steps of its prices and sizes, as IB has told them."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class PriceStep:
    """From this price on, prices are multiples of the increment."""

    low_edge: Decimal
    increment: Decimal


@dataclass(frozen=True, slots=True)
class VenueRules:
    """What the venue of a contract takes; None and empty where IB did not say."""

    #: The finest step of any venue; a venue may ask for a coarser one, see `price_steps`.
    min_tick: Decimal | None = None
    #: IB's market rule: the steps of the contract's own exchange, from the lowest edge up.
    price_steps: tuple[PriceStep, ...] = ()
    min_size: Decimal | None = None
    size_increment: Decimal | None = None
    #: The size that IB suggests to step by; advice, and no rule.
    suggested_size_increment: Decimal | None = None
    #: Prices are quoted in units of 1/this: 100 for pence.
    price_magnifier: int = 1
    #: Units of one contract where the contract does not say it: of a combo, its legs'.
    units: Decimal | None = None

    def step_at(self, price: Decimal) -> Decimal | None:
        """Return the price step that holds at a price."""
        steps = [one.increment for one in self.price_steps if one.low_edge <= abs(price)]
        return steps[-1] if steps else self.min_tick
