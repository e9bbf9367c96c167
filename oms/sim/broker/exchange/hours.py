"""When the exchanges trade: a schedule for each class of contract. No holidays. Pure.

A schedule has two sets of hours, as IB's contract details have: the trading hours, and within them
the liquid ones, which are what an order without outsideRth may use. A session that opens in the
evening belongs to the day on which it closes; there is one each weekday.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cached_property
from itertools import pairwise
from typing import Final
from zoneinfo import ZoneInfo

from oms.sim.broker.exchange.contracts import Contract

#: Days in the tradingHours and liquidHours of contract details, today's first.
DAYS_TOLD: Final = 6

Hours = tuple[time, time]


def _hours(text: str) -> Hours:
    opens, _, closes = text.partition("-")
    return time.fromisoformat(opens), time.fromisoformat(closes)


@dataclass(frozen=True)
class Schedule:
    """The hours of one class of contracts."""

    name: str
    #: What IB calls the time zone.
    zone_id: str
    #: The same zone in the database of today.
    zone_name: str
    trading: Hours
    liquid: Hours
    #: Beyond the liquid hours an order needs outsideRth. Futures and currencies trade whenever
    #: their exchange does.
    splits_day: bool = True

    @cached_property
    def zone(self) -> ZoneInfo:
        """Return the time zone of today's database."""
        return ZoneInfo(self.zone_name)

    @property
    def regular(self) -> Hours:
        """Return the hours in which an order works that does not say outsideRth."""
        return self.liquid if self.splits_day else self.trading

    def is_open(self, moment: datetime, hours: Hours) -> bool:
        """Say whether a moment is within the hours."""
        return any(opens <= moment < closes for opens, closes in self._near(moment, hours))

    def next_change(self, moment: datetime, hours: Hours) -> datetime:
        """Return the next opening or close after `moment`, as UTC."""
        return min(one for pair in self._near(moment, hours) for one in pair if one > moment)

    def next_open(self, moment: datetime, hours: Hours) -> datetime:
        """Return the next opening after `moment`, as UTC."""
        return min(opens for opens, _ in self._near(moment, hours) if opens > moment)

    def next_close(self, moment: datetime, hours: Hours) -> datetime:
        """Return the next close after `moment`, as UTC."""
        return min(closes for _, closes in self._near(moment, hours) if closes > moment)

    def text(self, moment: datetime, hours: Hours) -> str:
        """Return the hours of the next days in IB's form and the schedule's zone.

        `20260105:0400-20260105:2000;...;20260110:CLOSED`
        """
        today = moment.astimezone(self.zone).date()
        told = []
        for day in (today + timedelta(days=n) for n in range(DAYS_TOLD)):
            opens, closes = self.session(day, hours)
            told.append(
                f"{opens:%Y%m%d:%H%M}-{closes:%Y%m%d:%H%M}"
                if day.weekday() < 5
                else f"{day:%Y%m%d}:CLOSED"
            )
        return ";".join(told)

    def _near(self, moment: datetime, hours: Hours) -> Iterator[tuple[datetime, datetime]]:
        """The sessions round a moment, as UTC: yesterday's to next week's."""
        day = moment.astimezone(self.zone).date() - timedelta(days=1)
        for _ in range(7):
            if day.weekday() < 5:
                opens, closes = self.session(day, hours)
                yield opens.astimezone(UTC), closes.astimezone(UTC)
            day += timedelta(days=1)

    def session(self, day: date, hours: Hours) -> tuple[datetime, datetime]:
        """Return when the session of a day opens and closes, in the schedule's zone."""
        opens, closes = hours
        first = day if opens < closes else day - timedelta(days=1)
        return (
            datetime.combine(first, opens, tzinfo=self.zone),
            datetime.combine(day, closes, tzinfo=self.zone),
        )


def _schedule(text: str, *, splits_day: bool = True) -> Schedule:
    name, zone_id, zone_name, trading, liquid = text.split()
    return Schedule(name, zone_id, zone_name, _hours(trading), _hours(liquid), splits_day)


US_STOCKS: Final = _schedule("us-stocks US/Eastern America/New_York 04:00-20:00 09:30-16:00")
US_OPTIONS: Final = _schedule("us-options US/Eastern America/New_York 09:30-16:00 09:30-16:00")
FOREX: Final = _schedule(
    "forex US/Eastern America/New_York 17:15-17:00 17:15-17:00", splits_day=False
)
#: Sunday afternoon to Friday afternoon, but for a quarter of an hour a day.
CRYPTO: Final = _schedule(
    "crypto US/Eastern America/New_York 16:15-16:00 16:15-16:00", splits_day=False
)
_CHICAGO: Final = "US/Central America/Chicago 17:00-16:00 08:30-16:00"
_NEW_YORK: Final = "US/Eastern America/New_York 18:00-17:00 09:30-17:00"
_BY_EXCHANGE: Final = {
    "CME": _schedule(f"cme {_CHICAGO}", splits_day=False),
    "CBOT": _schedule(f"cbot {_CHICAGO}", splits_day=False),
    "NYMEX": _schedule(f"nymex {_NEW_YORK}", splits_day=False),
    "COMEX": _schedule(f"comex {_NEW_YORK}", splits_day=False),
    "IBIS": _schedule("xetra MET Europe/Berlin 09:00-17:30 09:00-17:30"),
    "IBIS2": _schedule("xetra2 MET Europe/Berlin 09:00-17:30 09:00-17:30"),
    "FWB": _schedule("frankfurt MET Europe/Berlin 08:00-22:00 08:00-22:00"),
    "LSE": _schedule("lse GB-Eire Europe/London 08:00-16:30 08:00-16:30"),
    "LSEETF": _schedule("lse-etf GB-Eire Europe/London 08:00-16:30 08:00-16:30"),
    "MEXI": _schedule("mexico Mexico/General America/Mexico_City 08:30-15:00 08:30-15:00"),
}
SCHEDULES: Final = (US_STOCKS, US_OPTIONS, FOREX, CRYPTO, *_BY_EXCHANGE.values())


def schedule_of(contract: Contract) -> Schedule:
    """Return the schedule of a contract; a combination's goes by its first leg, not by this."""
    if contract.sec_type == "CASH":
        return FOREX
    if contract.sec_type == "OPT":
        return US_OPTIONS
    if contract.sec_type == "CRYPTO":
        return CRYPTO
    return _BY_EXCHANGE.get(contract.primary_exchange, US_STOCKS)


def always_text(today: date) -> str:
    """Return the hours of a gateway whose markets never close."""
    days = [today + timedelta(days=n) for n in range(DAYS_TOLD + 1)]
    return ";".join(f"{day:%Y%m%d}:0000-{after:%Y%m%d}:0000" for day, after in pairwise(days))
