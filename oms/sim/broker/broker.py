"""IB behind its gateway: the parts of the broker, put together."""

from __future__ import annotations

from oms.sim.broker.back_office import BackOffice
from oms.sim.broker.day import TradingDay
from oms.sim.broker.derivatives import Derivatives
from oms.sim.broker.floor import Notify, open_floor
from oms.sim.broker.intake import Intake
from oms.sim.broker.open_markets import OpenMarkets
from oms.sim.broker.order_life import OrderLife
from oms.sim.clock import Clock
from oms.sim.settings import Settings


class Broker:
    """Each part takes the floor, and of the parts below it what it needs."""

    def __init__(self, settings: Settings, *, clock: Clock, notify: Notify) -> None:
        self.floor = open_floor(settings, clock, notify)
        self.markets = OpenMarkets(self.floor)
        self.back_office = BackOffice(self.floor)
        self.orders = OrderLife(self.floor, self.markets, self.back_office)
        self.derivatives = Derivatives(
            self.floor, end=self.orders.end, next_exec_id=self.back_office.next_exec_id
        )
        self.day = TradingDay(self.floor, self.markets, self.orders, self.derivatives)
        self.intake = Intake(self.floor, self.orders)

    def resume(self) -> None:
        """Set the timers of what lives, do what was missed while down, then live by the clock."""
        for order in list(self.floor.books.live.values()):
            self.orders.arm(order)
        self.day.follow()
