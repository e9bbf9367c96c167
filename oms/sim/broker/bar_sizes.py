"""The sizes of bars, and where one begins. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import Final, Literal, assert_never
from zoneinfo import ZoneInfo

HOUR: Final = 3_600


@dataclass(frozen=True, slots=True)
class Size:
    """How long a bar is; a day, a week and a month are as long as their sessions."""

    unit: Literal["seconds", "day", "week", "month"]
    #: Of a bar within a day.
    seconds: int = 0

    @property
    def within_day(self) -> bool:
        """True for what is shorter than a session."""
        return self.unit == "seconds"

    def period(self, day: date) -> tuple[int, ...]:
        """Return what two sessions have in common that are in one bar, or in one run of bars."""
        match self.unit:
            case "seconds" | "day":
                return (day.toordinal(),)
            case "week":
                return day.isocalendar()[:2]
            case "month":
                return day.year, day.month
            case other:
                assert_never(other)

    def begin(self, second: int, zone: ZoneInfo) -> int:
        """Return where the bar begins that a second is in: at full hours of the exchange's zone.

        Only the first bar of a session begins elsewhere.
        """
        if self.seconds < HOUR:
            return second - second % self.seconds
        local = datetime.fromtimestamp(second, zone)
        hour = local.hour - local.hour % (self.seconds // HOUR)
        return int(local.replace(hour=hour, minute=0, second=0).timestamp())


_SECONDS: Final = {f"{n} secs": n for n in (1, 5, 10, 15, 30)}
_MINUTES: Final = {
    "1 min": 60,
    **{f"{n} mins": n * 60 for n in (2, 3, 5, 10, 15, 20, 30)},
}
_HOURS: Final = {"1 hour": HOUR, **{f"{n} hours": n * HOUR for n in (2, 3, 4, 8)}}
#: By IB's names. Weeks and months have two each.
SIZES: Final = {
    **{name: Size("seconds", n) for name, n in (_SECONDS | _MINUTES | _HOURS).items()},
    "1 day": Size("day"),
    "1W": Size("week"),
    "1M": Size("month"),
}
OTHER_NAMES: Final = {
    "1 week": SIZES["1W"],
    "1 W": SIZES["1W"],
    "1 month": SIZES["1M"],
    "1 M": SIZES["1M"],
}
