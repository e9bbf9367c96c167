"""The days of a statement: which of our fills lie in them, at their edge, and after them.

They are days of New York, where IB makes statements, whatever the gateway's zone, and trading days:
from the evening on IB may book a deal to the next one, and what is dealt at a weekend or on a
holiday may be booked to the day after it. What may belong to either day is unknown where it does
not agree.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, tzinfo
from decimal import Decimal
from types import MappingProxyType
from typing import Final

from oms.core.compare.findings import Thing
from oms.core.compare.statement_rows import Heading
from oms.core.events import Finding
from oms.core.fold.records import Fill, Position, SessionRecord
from oms.core.money import ZERO

#: From here on IB may book a deal to the next trading day. It cuts securities off at 20:20, but a
#: market of the Far East is in its next day by then; sessions of currencies end at 17:00.
EVENING: Final = time(17)
#: CME's day of index futures has ended at 15:30 in Chicago (IBKR knowledge base, 594).
_EVENINGS: Final[Mapping[str, time]] = MappingProxyType({"FUT": time(16, 30), "FOP": time(16, 30)})
_SATURDAY: Final = 5
_DAY: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Span:
    """The time that the log has of an account: from its first session to the end of the last."""

    began: datetime
    #: None while a session stands.
    ended: datetime | None = None

    def unknown_at(self, moment: datetime) -> str:
        """Return why our books may lack what happened until a moment; "" where they do not."""
        if self.ended is None or moment <= self.ended:
            return ""
        return (
            f"the log has no session after {self.ended:%Y-%m-%d %H:%M} UTC; start the daemon and"
            " check again"
        )


def spans_of(sessions: Iterable[SessionRecord]) -> dict[str, Span]:
    """Return each account that a session served, with the time that the log has of it."""
    found: dict[str, Span] = {}
    for session in sorted(sessions, key=lambda one: one.epoch):
        for account in session.accounts:
            first = found.get(account)
            began = session.opened_at if first is None else min(first.began, session.opened_at)
            found[account] = Span(began, session.closed_at)
    return found


@dataclass(frozen=True, slots=True)
class StatementDays:
    """The days of one account's statement, in the zone of statements.

    What happened after IB made it is in none of it, where that was before the last day's end.
    """

    heading: Heading
    zone: tzinfo

    @property
    def begin(self) -> datetime:
        """Return a moment before anything that the statement may have."""
        return self._at(_before(self.heading.first), time())

    @property
    def end(self) -> datetime:
        """Return the first moment after the last day."""
        return self._at(self.heading.last + _DAY, time())

    def inside_and_edge(self, fills: Iterable[Fill]) -> tuple[list[Fill], list[Fill]]:
        """Split what happened in the days from what IB may book to a day beside."""
        first, last = self.heading.first, self.heading.last
        inside, edge = [], []
        for fill in fills:
            if fill.occurred_at is None:
                edge.append(fill)
                continue
            low, high = self._days_of(fill, fill.occurred_at)
            if self._is_later(fill.occurred_at):
                high = max(high, last + _DAY)
            if first <= low and high <= last:
                inside.append(fill)
            elif low <= last and first <= high:
                edge.append(fill)
        return inside, edge

    def held(
        self,
        positions: Iterable[Position],
        fills: Iterable[Fill],
        named: Mapping[str, date] = MappingProxyType({}),
    ) -> list[tuple[Position, Decimal, Decimal]]:
        """Return our positions with what they held at the end of the last day, and with what of it
        may count for the next; `fills` are those from the days on, `named` the last days of the
        statements that name some of them, so that it is known where these count.
        """
        after: dict[int, Decimal] = {}
        late: dict[int, Decimal] = {}
        for fill in fills:
            at, con_id = fill.happened_by, fill.contract.con_id
            if at is None:
                continue
            low, high = self._days_of(fill, at)
            # A fill whose time cannot be read may lie on either side of the end.
            is_after = low > self.heading.last or self._is_later(at)
            if is_after and fill.occurred_at is not None:
                after[con_id] = after.get(con_id, ZERO) + fill.signed_quantity
            elif is_after or (
                high > self.heading.last and named.get(fill.key, high) > self.heading.last
            ):
                late[con_id] = late.get(con_id, ZERO) + fill.signed_quantity
        return [
            (p, p.quantity - after.get(p.contract.con_id, ZERO), late.get(p.contract.con_id, ZERO))
            for p in positions
        ]

    @property
    def moment(self) -> datetime:
        """Return the moment of which positions are: the end of the last day, or before it where IB
        made the statement then.
        """
        made = self.heading.made
        if made is None:
            return self.end
        if made.tzinfo is None:
            made = made.replace(tzinfo=self.zone)
        return made if self._at(_before(self.heading.last), time()) <= made < self.end else self.end

    def _is_later(self, moment: datetime) -> bool:
        return self.moment < self.end and moment > self.moment

    def before_the_log(self, began: datetime) -> Finding | None:
        """Return that nothing of ours can be held against it, because the log began later."""
        if began < self.end:
            return None
        heading = self.heading
        days = Thing(
            subject="statement_days",
            name=f"{heading.account}:{heading.first}",
            account=heading.account,
            ours=f"the log began at {began:%Y-%m-%d %H:%M} UTC",
            theirs=f"{heading.first} to {heading.last}",
        )
        return days.unknown("the statement's days were over before the log began")

    def _days_of(self, fill: Fill, moment: datetime) -> tuple[date, date]:
        """Return the first and the last day that IB may book a fill to."""
        there = moment.astimezone(self.zone)
        day = there.date()
        evening = _EVENINGS.get(fill.contract.sec_type, EVENING)
        is_over = there.time() >= evening or _is_closed(day)
        return day, _after(day) if is_over else day

    def _at(self, day: date, moment: time) -> datetime:
        return datetime.combine(day, moment, self.zone)


# ── trading days ─────────────────────────────────────────────────────────────────────────────────


def _after(day: date) -> date:
    """Return the next trading day."""
    day += _DAY
    while _is_closed(day):
        day += _DAY
    return day


def _before(day: date) -> date:
    """Return the trading day before."""
    day -= _DAY
    while _is_closed(day):
        day -= _DAY
    return day


def _is_closed(day: date) -> bool:
    """Say whether New York has no trading day: what trades all the same counts for the next."""
    return day.weekday() >= _SATURDAY or _is_holiday(day)


def _is_holiday(day: date) -> bool:
    """Say whether a weekday is a holiday of New York's exchanges, those that move with Easter
    included; a holiday of a Saturday is kept on Friday, that of a Sunday on Monday.
    """
    fixed = {(1, 1), (6, 19), (7, 4), (12, 25)}
    near = [day]
    if day.weekday() == 0:
        near.append(day - _DAY)
    elif day.weekday() == 4:
        near.append(day + _DAY)
    if any((one.month, one.day) in fixed for one in near):
        return True
    week = (day.day - 1) // 7 + 1
    is_last = (day + timedelta(days=7)).month != day.month
    moving = {(1, 0, 3), (2, 0, 3), (9, 0, 1), (11, 3, 4)}
    if (day.month, day.weekday(), week) in moving or (
        is_last and (day.month, day.weekday()) == (5, 0)
    ):
        return True
    return day == _easter(day.year) - timedelta(days=2)


def _easter(year: int) -> date:
    """Return Easter Sunday of the Gregorian calendar (Meeus, Jones and Butcher)."""
    century, of_century = divmod(year, 100)
    lag = (century - (century + 8) // 25 + 1) // 3
    epact = (19 * (year % 19) + century - century // 4 - lag + 15) % 30
    to_sunday = (32 + 2 * (century % 4) + 2 * (of_century // 4) - epact - of_century % 4) % 7
    shift = (year % 19 + 11 * epact + 22 * to_sunday) // 451
    month, day = divmod(epact + to_sunday - 7 * shift + 114, 31)
    return date(year, month, day + 1)
