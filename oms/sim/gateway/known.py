"""What the gateway knows of IB: everything, and in an outage what it knew when the line went."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from datetime import datetime

from oms.sim.broker.books.ledger import Position
from oms.sim.broker.books.orders import Order
from oms.sim.broker.floor import Floor


@dataclass(frozen=True, slots=True)
class _Then:
    at: datetime
    orders: list[Order]
    positions: Mapping[tuple[str, int], Position]


class Known:
    """Live orders, positions and the time of the newest execution that clients may be told of."""

    def __init__(self, floor: Floor) -> None:
        self._floor = floor
        self._then: _Then | None = None

    def keep(self) -> None:
        """Know nothing new from now on."""
        books = self._floor.books
        orders = deepcopy(list(books.live.values()))
        self._then = _Then(self._floor.clock.now(), orders, dict(books.positions))

    def forget(self) -> None:
        """Know everything again."""
        self._then = None

    def orders(self) -> list[Order]:
        """Return the live orders."""
        return list(self._floor.books.live.values()) if self._then is None else self._then.orders

    def positions(self) -> Mapping[tuple[str, int], Position]:
        """Return the positions, by account and con id."""
        return self._floor.books.positions if self._then is None else self._then.positions

    def has(self, moment: datetime) -> bool:
        """Say whether the gateway has heard of what was executed then."""
        return self._then is None or moment <= self._then.at
