"""The trading day: markets that open and close, orders that end with them, contracts that expire.

With `hours` at `regular` every class of contracts opens and closes by its own schedule.  With
`always` nothing closes; the day ends, and the next begins, at midnight in the gateway's zone: that
is when day orders end and when orders on the open and on the close have their auctions.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from oms.sim.broker import accounting, hours, matching
from oms.sim.broker.hours import Schedule
from oms.sim.broker.instruments import Contract
from oms.sim.broker.orders import Order
from oms.sim.clock import midnight_before

if TYPE_CHECKING:
    from oms.sim.broker.desk import Desk

EXPIRED_TEXT: Final = "Order Canceled - reason:The contract has expired."
SETTLEMENT_HOURS: Final = 2.5
"""Hours after midnight at which IB's back office books expiries: the field saw two to three."""


class TradingDay:
    """What is open now.  A person may open and close everything by command as well."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.always = desk.settings.hours == "always"
        now = desk.clock.now()
        self._regular = {one: self._should(one, one.regular, now) for one in hours.SCHEDULES}
        self._trading = {one: self._should(one, one.trading, now) for one in hours.SCHEDULES}

    def _should(self, schedule: Schedule, kind: hours.Hours, moment: datetime) -> bool:
        return self.always or schedule.is_open(moment, kind)

    def schedule(self, order: Order) -> Schedule:
        """The hours an order keeps; those of its first leg when it is a combination."""
        con_id, _ = order.exposure()[0]
        contract = self.desk.catalogue.by_id(con_id) or self.desk.contract(order.con_id)
        return hours.schedule_of(contract)

    def is_open(self, order: Order) -> bool:
        """True when an order may work now."""
        schedule = self.schedule(order)
        return (self._trading if order.flag("outsideRth") else self._regular)[schedule]

    def next_open(self, order: Order) -> datetime | None:
        """When a market that is closed will open for an order; None when nobody knows."""
        if self.always:
            return None
        schedule = self.schedule(order)
        kind = schedule.trading if order.flag("outsideRth") else schedule.regular
        return schedule.next_open(self.desk.clock.now(), kind)

    def told(self, contract: Contract) -> dict[str, str]:
        """The hours as contract details tell them: what is so here, open always or not."""
        schedule, now = hours.schedule_of(contract), self.desk.clock.now()
        values = {"timeZoneId": schedule.zone_id}
        if self.always:
            text = hours.always_text(now.astimezone(schedule.zone).date())
            return {**values, "tradingHours": text, "liquidHours": text}
        return {
            **values,
            "tradingHours": schedule.text(now, schedule.trading),
            "liquidHours": schedule.text(now, schedule.liquid),
        }

    def end_of_day(self, order: Order, since: datetime) -> datetime:
        """When a day order of that time ends."""
        if self.always:
            return midnight_before(since, self.desk.zone) + timedelta(days=1)
        schedule = self.schedule(order)
        kind = schedule.trading if order.flag("outsideRth") else schedule.regular
        return schedule.next_close(since, kind)

    # -- by the clock -----------------------------------------------------------------------------

    def follow(self) -> None:
        """Do what a gateway missed while it was down, then live by the clock."""
        now = self.desk.clock.now()
        for order in list(self.desk.books.live.values()):
            if order.tif == "DAY" and self.end_of_day(order, order.placed_at or now) <= now:
                self.desk.end(order, silent=True)
        self.expire_orders()
        midnight = midnight_before(now, self.desk.zone)
        begun = self.desk.books.meta("day")
        if begun is not None and begun < f"{midnight:%Y%m%d}":
            self._begin_day()
        self.desk.books.set_meta("day", f"{midnight:%Y%m%d}")
        if now >= midnight + timedelta(hours=SETTLEMENT_HOURS):
            self.desk.corporate.settle_expired()
        self._wait_for_midnight()
        self._wait_for_settlement()
        if not self.always:
            self._wait_for_change()
        # What was in the middle of its parts, or could trade while the gateway was down.
        for order in list(self.desk.books.live.values()):
            self.desk.work(order)

    def _call_at(self, moment: datetime, action: Callable[[], None]) -> None:
        seconds = (moment - self.desk.clock.now()).total_seconds()
        # A thousandth late: at the moment itself, rounded to float, it might still be before.
        self.desk.clock.call_later(max(seconds, 0.0) + 0.001, action)

    def _next_hour(self, hours_after_midnight: float) -> datetime:
        """The next time it is so late in the gateway's zone."""
        now, late = self.desk.clock.now(), timedelta(hours=hours_after_midnight)
        today = midnight_before(now, self.desk.zone) + late
        if today > now:
            return today
        # Thirty hours on is tomorrow, on the day of a clock change as well.
        tomorrow = midnight_before(now, self.desk.zone) + timedelta(hours=30)
        return midnight_before(tomorrow, self.desk.zone) + late

    def _wait_for_midnight(self) -> None:
        def midnight() -> None:
            if self.always and all(self._regular.values()):
                self.close(reopen=True)
                self.open()
            self.expire_orders()
            self._begin_day()
            self._wait_for_midnight()

        self._call_at(self._next_hour(0), midnight)

    def _begin_day(self) -> None:
        """P&L and the figures of the day begin again."""
        books = self.desk.books
        for (account, con_id), row in books.positions.items():
            gain = accounting.gain(self.desk, con_id, row)
            books.set_opening(account, con_id, row.realized, gain)
        self.desk.market.roll()
        books.set_meta("day", f"{midnight_before(self.desk.clock.now(), self.desk.zone):%Y%m%d}")

    def _wait_for_settlement(self) -> None:
        def settle() -> None:
            self.desk.corporate.settle_expired()
            self._wait_for_settlement()

        self._call_at(self._next_hour(SETTLEMENT_HOURS), settle)

    def _wait_for_change(self) -> None:
        now = self.desk.clock.now()
        change = min(
            schedule.next_change(now, kind)
            for schedule in hours.SCHEDULES
            for kind in (schedule.regular, schedule.trading)
        )

        def turn() -> None:
            self._turn(self.desk.clock.now() + timedelta(milliseconds=1))
            self._wait_for_change()

        self._call_at(change, turn)

    def _turn(self, moment: datetime) -> None:
        for schedule in hours.SCHEDULES:
            trading = schedule.is_open(moment, schedule.trading)
            regular = schedule.is_open(moment, schedule.regular)
            if self._regular[schedule] and not regular:
                self._close_regular(schedule)
            if self._trading[schedule] and not trading:
                self._close_trading(schedule)
            opened = (trading, regular) != (self._trading[schedule], self._regular[schedule])
            auction = regular and not self._regular[schedule]
            self._trading[schedule], self._regular[schedule] = trading, regular
            if opened and (trading or regular):
                self._go_to_work(schedule, auction=auction)

    # -- opening and closing ----------------------------------------------------------------------

    def open(self) -> None:
        """Open every market: orders on the open have their auction, what waited goes to work."""
        for schedule in hours.SCHEDULES:
            self._trading[schedule] = self._regular[schedule] = True
            self._go_to_work(schedule, auction=True)

    def close(self, *, reopen: bool = False) -> None:
        """Close every market: orders on the close have their auction, day orders end."""
        for schedule in hours.SCHEDULES:
            self._close_regular(schedule)
            self._close_trading(schedule)
            self._regular[schedule] = self._trading[schedule] = reopen

    def _orders(self, schedule: Schedule) -> list[Order]:
        return [one for one in self.desk.books.live.values() if self.schedule(one) is schedule]

    def _go_to_work(self, schedule: Schedule, *, auction: bool) -> None:
        for order in self._orders(schedule):
            if order.ended or "child" in order.why_held:
                continue
            if auction and order.tif == "OPG":
                self.desk.cross(order, "At the open order can not be executed")
            else:
                self.desk.work(order)

    def _close_regular(self, schedule: Schedule) -> None:
        for order in self._orders(schedule):
            at_close = order.kind in matching.AT_CLOSE and not order.why_held
            if not order.ended and at_close and self._regular[schedule]:
                self.desk.cross(order, "At the close order can not be executed")
        self._regular[schedule] = False
        self._end_day_orders(schedule, outside=False)

    def _close_trading(self, schedule: Schedule) -> None:
        self._trading[schedule] = False
        self._end_day_orders(schedule, outside=True)

    def _end_day_orders(self, schedule: Schedule, *, outside: bool) -> None:
        for order in self._orders(schedule):
            ends = order.tif == "DAY" and order.flag("outsideRth") == outside
            if not order.ended and ends:
                self.desk.end(order, silent=not self.desk.settings.expiry_notice)

    # -- expiry -----------------------------------------------------------------------------------

    def expire_orders(self) -> None:
        """No order outlives its contract."""
        catalogue = self.desk.catalogue
        for order in list(self.desk.books.live.values()):
            contracts = [catalogue.by_id(con_id) for con_id, _ in order.exposure()]
            if not order.ended and any(one and catalogue.expired(one) for one in contracts):
                self.desk.end(order, text=EXPIRED_TEXT)
