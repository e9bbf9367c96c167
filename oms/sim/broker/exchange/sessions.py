"""The sessions of a contract, day by day: when there are bars. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from oms.sim.broker.exchange.contracts import Contract
from oms.sim.broker.exchange.hours import Hours, Schedule, schedule_of


@dataclass(frozen=True, slots=True)
class Session:
    """The trading of one day, in seconds since 1970: from `opens` up to, not including, `closes`.

    It belongs to the day on which it closes.
    """

    day: date
    opens: int
    closes: int
    #: The part of it that is the regular session.
    regular_opens: int
    regular_closes: int

    def span(self, *, regular: bool) -> tuple[int, int]:
        """Return where its bars begin and end."""
        return (self.regular_opens, self.regular_closes) if regular else (self.opens, self.closes)


@dataclass(frozen=True, slots=True)
class Sessions:
    """The sessions by the exchanges' hours; of a gateway whose markets never close, whole days in
    its zone, from the day on which it first looked at a contract.
    """

    always: bool
    zone: ZoneInfo

    def local_zone(self, contract: Contract) -> ZoneInfo:
        """Return the zone by which the bars of a contract begin at full hours."""
        return schedule_of(contract).zone

    def latest(self, contract: Contract, second: int, since: int) -> Session:
        """Return the last session that had begun at a moment."""
        day = self._today(contract, second) + timedelta(days=1)
        found = self.between(contract, day - timedelta(days=6), day, since)
        return [one for one in found if one.opens <= second][-1]

    def day_of(self, contract: Contract, second: int, since: int) -> date:
        """Return the day of the session that a moment is in, or comes before."""
        day = self._today(contract, second)
        found = self.between(contract, day, day + timedelta(days=5), since)
        return next(one.day for one in found if second < one.closes)

    def _today(self, contract: Contract, second: int) -> date:
        zone = self.zone if self.always else self.local_zone(contract)
        return datetime.fromtimestamp(second, zone).date()

    def between(self, contract: Contract, first: date, last: date, since: int) -> Iterator[Session]:
        """Yield the sessions of the days from `first` to `last`, of a contract whose first quote
        was at `since`.
        """
        schedule = schedule_of(contract)
        origin = datetime.fromtimestamp(since, self.zone).date()
        whole_from = _midnight(self.zone, origin) if self.always else None
        for day in (first + timedelta(days=n) for n in range((last - first).days + 1)):
            if whole_from is not None and day >= origin:
                opens, closes = _midnight(self.zone, day), _midnight(self.zone, day + timedelta(1))
                yield Session(day, opens, closes, opens, closes)
                continue
            if day.weekday() >= 5:
                continue
            found = _session(schedule, day)
            if whole_from is None or found.opens < whole_from:
                cut = whole_from is not None and found.closes > whole_from
                yield _until(found, whole_from) if cut and whole_from is not None else found


def _until(session: Session, end: int) -> Session:
    """Return a session as far as it comes before a moment."""
    return replace(
        session,
        closes=min(session.closes, end),
        regular_opens=min(session.regular_opens, end),
        regular_closes=min(session.regular_closes, end),
    )


@lru_cache(maxsize=4_096)
def _midnight(zone: ZoneInfo, day: date) -> int:
    return int(datetime.combine(day, time(), tzinfo=zone).timestamp())


@lru_cache(maxsize=65_536)
def _session(schedule: Schedule, day: date) -> Session:
    opens, closes = _span(schedule, day, schedule.trading)
    # Futures and currencies have no second session; IB's useRTH leaves theirs whole, but for what
    # their liquid hours say.
    regular_opens, regular_closes = _span(schedule, day, schedule.liquid)
    return Session(day, opens, closes, max(opens, regular_opens), min(closes, regular_closes))


def _span(schedule: Schedule, day: date, hours: Hours) -> tuple[int, int]:
    opens, closes = schedule.session(day, hours)
    return int(opens.timestamp()), int(closes.timestamp())
