"""Which markets are open now, and when an order's own opens or closes.

With `hours` at `regular` every class of contracts opens and closes by its own schedule. With
`always` nothing closes by itself. `day` is who opens and closes.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta

from oms.sim.broker.books.orders import Order
from oms.sim.broker.exchange import hours
from oms.sim.broker.exchange.contracts import Contract
from oms.sim.broker.exchange.hours import Hours, Schedule
from oms.sim.broker.exchange.listings import third_friday
from oms.sim.broker.floor import Floor
from oms.sim.clock import midnight_before


class OpenMarkets:
    """The state of every schedule: open for trading at all, and in its regular hours."""

    def __init__(self, floor: Floor) -> None:
        self.floor = floor
        self.always = floor.settings.hours == "always"
        now = floor.clock.now()
        #: Open for orders that say outsideRth.
        self.trading = {
            one: self.always or one.is_open(now, one.trading) for one in hours.SCHEDULES
        }
        #: Open for all others.
        self.regular = {
            one: self.always or one.is_open(now, one.regular) for one in hours.SCHEDULES
        }

    def schedule(self, order: Order) -> Schedule:
        """Return the hours an order keeps; those of its first leg when it is a combination."""
        con_id, _ = order.per_unit()[0]
        contract = self.floor.catalogue.by_id(con_id) or self.floor.contract(order.con_id)
        return hours.schedule_of(contract)

    def is_open(self, order: Order) -> bool:
        """Say whether an order may work now."""
        return (self.trading if order.flag("outsideRth") else self.regular)[self.schedule(order)]

    def next_open(self, order: Order) -> datetime | None:
        """Return when a closed market opens for an order; None when only a command opens it."""
        if self.always:
            return None
        schedule, kept = self._kept(order)
        return schedule.next_open(self.floor.clock.now(), kept)

    def end_of_day(self, order: Order, since: datetime) -> datetime:
        """Return when a day order of that time ends."""
        if self.always:
            return midnight_before(since, self.floor.zone) + timedelta(days=1)
        schedule, kept = self._kept(order)
        return schedule.next_close(since, kept)

    def told(self, contract: Contract) -> dict[str, str]:
        """Return the hours as contract details tell them: what is so here, open always or not."""
        schedule, now = hours.schedule_of(contract), self.floor.clock.now()
        values = {
            "timeZoneId": schedule.zone_id,
            "lastTradeDate": self._last_day(contract, schedule),
        }
        if self.always:
            text = hours.always_text(now.astimezone(schedule.zone).date())
            return {**values, "tradingHours": text, "liquidHours": text}
        return {
            **values,
            "tradingHours": schedule.text(now, schedule.trading),
            "liquidHours": schedule.text(now, schedule.liquid),
        }

    def _last_day(self, contract: Contract, schedule: Schedule) -> str:
        """Return a contract's last day, of a weekly option its last moment in the gateway's zone.

        For a login in Shanghai that is the day after (erdewit/ib_insync#605).
        """
        if contract.sec_type != "OPT":
            return contract.expiry
        day = date.fromisoformat(contract.expiry)
        if day == third_friday(day.year, day.month):
            return contract.expiry
        closes = datetime.combine(day, schedule.liquid[1], tzinfo=schedule.zone)
        return f"{closes.astimezone(self.floor.zone):%Y%m%d %H:%M:%S} {self.floor.zone.key}"

    def _kept(self, order: Order) -> tuple[Schedule, Hours]:
        schedule = self.schedule(order)
        return schedule, schedule.trading if order.flag("outsideRth") else schedule.regular
