"""The days of a statement: which of our fills lie in them, at their edge, and after them.

From the evening on IB may book a deal to the next trading day; what happened then belongs to either
day, and is unknown where it does not agree.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, tzinfo
from decimal import Decimal
from typing import Final

from oms.core.compare.findings import Thing
from oms.core.compare.statement_rows import Heading
from oms.core.events import Finding
from oms.core.fold.records import Fill, Position
from oms.core.money import ZERO

#: From here on IB may book a deal to the next trading day, in the gateway's zone.
EVENING: Final = time(17)


@dataclass(frozen=True, slots=True)
class StatementDays:
    """The days of one account's statement, in the gateway's zone, whose days IB's are."""

    heading: Heading
    zone: tzinfo

    @property
    def begin(self) -> datetime:
        """Return the first moment of the first day."""
        return self._at(self.heading.first, time())

    @property
    def end(self) -> datetime:
        """Return the first moment after the last day."""
        return self._at(self.heading.last + timedelta(days=1), time())

    def inside_and_edge(self, fills: Iterable[Fill]) -> tuple[list[Fill], list[Fill]]:
        """Split what happened in the days from what IB may book to a day beside."""
        begin, end, evening = self.begin, self.end, self._evening
        evening_before = self._at(self.heading.first - timedelta(days=1), EVENING)
        inside, edge = [], []
        for fill in fills:
            at = fill.occurred_at
            if at is None:
                edge.append(fill)
            elif begin <= at < evening:
                inside.append(fill)
            elif evening_before <= at < end:
                edge.append(fill)
        return inside, edge

    def held(
        self, positions: Iterable[Position], fills: Iterable[Fill]
    ) -> list[tuple[Position, Decimal, Decimal]]:
        """Return our positions with what they held at the end of the last day, and with what of it
        was dealt in its evening; `fills` are those from the days on.
        """
        end, evening = self.end, self._evening
        after: dict[int, Decimal] = {}
        late: dict[int, Decimal] = {}
        for fill in fills:
            con_id, at = fill.contract.con_id, fill.occurred_at
            if at is not None and at >= end:
                after[con_id] = after.get(con_id, ZERO) + fill.signed_quantity
            elif at is not None and at >= evening:
                late[con_id] = late.get(con_id, ZERO) + fill.signed_quantity
        return [
            (p, p.quantity - after.get(p.contract.con_id, ZERO), late.get(p.contract.con_id, ZERO))
            for p in positions
        ]

    def before_the_log(self, began: datetime | None) -> Finding | None:
        """Return that nothing of ours can be held against it, because the log began later."""
        if began is not None and began < self.end:
            return None
        heading = self.heading
        since = f"at {began:%Y-%m-%d %H:%M} UTC" if began else "not yet"
        days = Thing(
            subject="statement_days",
            name=f"{heading.account}:{heading.first}",
            account=heading.account,
            ours=f"the log began {since}",
            theirs=f"{heading.first} to {heading.last}",
        )
        return days.unknown("the statement's days were over before the log began")

    @property
    def _evening(self) -> datetime:
        return self._at(self.heading.last, EVENING)

    def _at(self, day: date, moment: time) -> datetime:
        return datetime.combine(day, moment, self.zone)
