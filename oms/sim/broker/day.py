"""The trading day: markets that open and close, orders that end with them, contracts that expire.

With `hours` at `regular` every class of contracts opens and closes by its own schedule. With
`always` nothing closes; the day ends, and the next begins, at midnight in the gateway's zone: that
is when day orders end and when orders on the open and on the close have their auctions.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from oms.sim.broker.accounts import accounting
from oms.sim.broker.books.orders import Order
from oms.sim.broker.derivatives import Derivatives
from oms.sim.broker.exchange import hours
from oms.sim.broker.exchange.hours import Schedule
from oms.sim.broker.floor import Floor
from oms.sim.broker.open_markets import OpenMarkets
from oms.sim.broker.order_life import OrderLife
from oms.sim.broker.rules import matching
from oms.sim.clock import call_at, midnight_before

EXPIRED_TEXT: Final = "Order Canceled - reason:The contract has expired."
#: Hours after midnight at which IB's back office books expiries: the field saw two to three.
SETTLEMENT_HOURS: Final = 2.5


class TradingDay:
    """Opens and closes the markets, by the clock or by command, and does what goes with it."""

    def __init__(
        self, floor: Floor, markets: OpenMarkets, orders: OrderLife, derivatives: Derivatives
    ) -> None:
        self.floor = floor
        self.markets = markets
        self.orders = orders
        self.derivatives = derivatives

    # ── by the clock ─────────────────────────────────────────────────────────────────────────────

    def follow(self) -> None:
        """Do what a gateway missed while it was down, then live by the clock."""
        now = self.floor.clock.now()
        for order in list(self.floor.books.live.values()):
            if order.tif == "DAY" and self.markets.end_of_day(order, order.placed_at or now) <= now:
                self.orders.end(order, silent=True)
        self.expire_orders()
        midnight = midnight_before(now, self.floor.zone)
        begun = self.floor.books.meta("day")
        if begun is not None and begun < f"{midnight:%Y%m%d}":
            self._begin_day()
        self.floor.books.set_meta("day", f"{midnight:%Y%m%d}")
        if now >= midnight + timedelta(hours=SETTLEMENT_HOURS):
            self.derivatives.settle_expired()
        self._wait_for_midnight()
        self._wait_for_settlement()
        if not self.markets.always:
            self._wait_for_change()
        # What was in the middle of its parts, or could trade while the gateway was down.
        for order in list(self.floor.books.live.values()):
            self.orders.work(order)

    def _next_hour(self, hours_after_midnight: float) -> datetime:
        """The next time it is so late in the gateway's zone."""
        now, late = self.floor.clock.now(), timedelta(hours=hours_after_midnight)
        today = midnight_before(now, self.floor.zone) + late
        if today > now:
            return today
        # Thirty hours on is tomorrow, on the day of a clock change as well.
        tomorrow = midnight_before(now, self.floor.zone) + timedelta(hours=30)
        return midnight_before(tomorrow, self.floor.zone) + late

    def _wait_for_midnight(self) -> None:
        call_at(self.floor.clock, self._next_hour(0), self._midnight)

    def _midnight(self) -> None:
        if self.markets.always and all(self.markets.regular.values()):
            self.close(reopen=True)
            self.open()
        self.expire_orders()
        self._begin_day()
        self._wait_for_midnight()

    def _begin_day(self) -> None:
        """P&L and the figures of the day begin again."""
        books = self.floor.books
        for (account, con_id), row in books.positions.items():
            gain = accounting.gain(self.floor, con_id, row)
            books.set_opening(account, con_id, row.realized, gain)
        self.floor.market.roll()
        # An option is worth less with every day.
        for contract in map(self.floor.contract, self.floor.market.quoted):
            for option in self.floor.market.follow(contract):
                self.orders.on_quote(option)
        books.set_meta("day", f"{midnight_before(self.floor.clock.now(), self.floor.zone):%Y%m%d}")

    def _wait_for_settlement(self) -> None:
        call_at(self.floor.clock, self._next_hour(SETTLEMENT_HOURS), self._settle)

    def _settle(self) -> None:
        self.derivatives.settle_expired()
        self._wait_for_settlement()

    def _wait_for_change(self) -> None:
        now = self.floor.clock.now()
        change = min(
            schedule.next_change(now, kind)
            for schedule in hours.SCHEDULES
            for kind in (schedule.regular, schedule.trading)
        )
        call_at(self.floor.clock, change, self._turn)

    def _turn(self) -> None:
        moment = self.floor.clock.now() + timedelta(milliseconds=1)
        for schedule in hours.SCHEDULES:
            trading = schedule.is_open(moment, schedule.trading)
            regular = schedule.is_open(moment, schedule.regular)
            if self.markets.regular[schedule] and not regular:
                self._close_regular(schedule)
            if self.markets.trading[schedule] and not trading:
                self._close_trading(schedule)
            opened = (trading, regular) != (
                self.markets.trading[schedule],
                self.markets.regular[schedule],
            )
            auction = regular and not self.markets.regular[schedule]
            self.markets.trading[schedule], self.markets.regular[schedule] = trading, regular
            if opened and (trading or regular):
                self._go_to_work(schedule, auction=auction)
        self._wait_for_change()

    # ── opening and closing ──────────────────────────────────────────────────────────────────────

    def open(self) -> None:
        """Open every market: orders on the open have their auction, what waited goes to work."""
        for schedule in hours.SCHEDULES:
            self.markets.trading[schedule] = self.markets.regular[schedule] = True
            self._go_to_work(schedule, auction=True)

    def close(self, *, reopen: bool = False) -> None:
        """Close every market: orders on the close have their auction, day orders end."""
        for schedule in hours.SCHEDULES:
            self._close_regular(schedule)
            self._close_trading(schedule)
            self.markets.regular[schedule] = self.markets.trading[schedule] = reopen

    def _orders_of(self, schedule: Schedule) -> list[Order]:
        return [
            one for one in self.floor.books.live.values() if self.markets.schedule(one) is schedule
        ]

    def _go_to_work(self, schedule: Schedule, *, auction: bool) -> None:
        for order in self._orders_of(schedule):
            if order.ended or order.waits_for_parent:
                continue
            if auction and order.tif == "OPG":
                self.orders.cross(order, "At the open order can not be executed")
            else:
                self.orders.work(order)

    def _close_regular(self, schedule: Schedule) -> None:
        for order in self._orders_of(schedule):
            at_close = order.kind in matching.AT_CLOSE and not order.why_held
            if not order.ended and at_close and self.markets.regular[schedule]:
                self.orders.cross(order, "At the close order can not be executed")
        self.markets.regular[schedule] = False
        self._end_day_orders(schedule, outside=False)

    def _close_trading(self, schedule: Schedule) -> None:
        self.markets.trading[schedule] = False
        self._end_day_orders(schedule, outside=True)

    def _end_day_orders(self, schedule: Schedule, *, outside: bool) -> None:
        for order in self._orders_of(schedule):
            ends = order.tif == "DAY" and order.flag("outsideRth") == outside
            if not order.ended and ends:
                self.orders.end(order, silent=not self.floor.settings.expiry_notice)

    # ── expiry ───────────────────────────────────────────────────────────────────────────────────

    def expire_orders(self) -> None:
        """End the orders that would outlive their contracts."""
        catalogue = self.floor.catalogue
        for order in list(self.floor.books.live.values()):
            contracts = [catalogue.by_id(con_id) for con_id, _ in order.per_unit()]
            if not order.ended and any(one and catalogue.expired(one) for one in contracts):
                self.orders.end(order, text=EXPIRED_TEXT)
