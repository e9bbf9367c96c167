"""Regular trading hours: 09:30 to 16:00 on weekdays in the gateway's zone.  No holidays.  Pure."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

OPENS: Final = time(9, 30)
CLOSES: Final = time(16, 0)


def is_open(moment: datetime, zone: ZoneInfo) -> bool:
    local = moment.astimezone(zone)
    return local.weekday() < 5 and OPENS <= local.time() < CLOSES


def next_change(moment: datetime, zone: ZoneInfo) -> datetime:
    """The next opening or close after `moment`, as UTC."""
    local = moment.astimezone(zone)
    day = local.date()
    while True:
        if day.weekday() < 5:
            for at in (OPENS, CLOSES):
                change = datetime.combine(day, at, tzinfo=zone).astimezone(UTC)
                if change > moment:
                    return change
        day += timedelta(days=1)


def next_open(moment: datetime, zone: ZoneInfo) -> datetime:
    """The next opening after `moment`, as UTC."""
    change = next_change(moment, zone)
    return change if is_open(change, zone) else next_change(change, zone)
