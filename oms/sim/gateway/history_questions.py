"""What a historical question asks for, and IB's refusals of what cannot be asked. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from oms.sim.broker.bar_sizes import OTHER_NAMES, SIZES, Size
from oms.sim.broker.exchange.contracts import Contract
from oms.sim.broker.history import RATES
from oms.sim.broker.rules.checks import Refusal
from oms.sim.protocol.fields import is_digits

INVALID: Final = "Error validating request.-'bH' : cause - "
FAILED: Final = "Historical Market Data Service error message:"
PACED: Final = FAILED + "Historical data request pacing violation"
BAD_TIME: Final = (
    "The date, time, or time-zone entered is invalid. The correct format is yyyymmdd hh:mm:ss"
    " xx/xxxx where yyyymmdd and xx/xxxx are optional. E.g.: 20031126 15:59:00 US/Eastern  Note"
    " that there is a space between the date and time, and between the time and time-zone.  If no"
    " date is specified, current date is assumed. If no time-zone is specified, local time-zone is"
    " assumed(deprecated).  You can also provide yyyymmddd-hh:mm:ss time is in UTC. Note that"
    " there is a dash between the date and time in UTC notation."
)
NO_ZONE: Final = (
    "Warning: You submitted request with date-time attributes without explicit time zone."
    " Please switch to use yyyymmdd-hh:mm:ss in UTC or use instrument time zone, like US/Eastern."
    " Implied time zone functionality will be removed in the next API release"
)
TICKS_MAX: Final = 1_000

PRINTED: Final = frozenset(("TRADES",))
QUOTED: Final = frozenset(("MIDPOINT", "BID", "ASK", "BID_ASK"))
#: What IB has of each class of contracts (IB: historical bar types); others have trades and quotes.
SERVED: Final[Mapping[str, frozenset[str]]] = {
    "STK": PRINTED | QUOTED | {*RATES, "ADJUSTED_LAST"},
    "IND": PRINTED | {"HISTORICAL_VOLATILITY", "OPTION_IMPLIED_VOLATILITY"},
    "CASH": QUOTED,
    "CFD": QUOTED,
    "CMDTY": QUOTED,
    "CRYPTO": QUOTED | {"AGGTRADES"},
    "BAG": frozenset(),
}
#: What may be asked for; some of it IB has of no contract that is traded here.
SHOWN: Final = frozenset(
    (
        *("TRADES", "MIDPOINT", "BID", "ASK", "BID_ASK", "ADJUSTED_LAST", "AGGTRADES"),
        *("HISTORICAL_VOLATILITY", "OPTION_IMPLIED_VOLATILITY", "FEE_RATE", "REBATE_RATE"),
        *("YIELD_BID", "YIELD_ASK", "YIELD_BID_ASK", "YIELD_LAST", "SCHEDULE"),
    )
)
#: What can be kept up to date: what bars of five seconds are made of.
LIVE: Final = frozenset(("TRADES", "MIDPOINT", "BID", "ASK"))
#: The longest time, in seconds, that bars of so many seconds are given for.
_LONGEST: Final = {1: 2_000, 5: 10_000, 10: 14_400, 15: 28_800, 30: 86_400}
#: More than IB gives at a time.
BARS_MAX: Final = 60_000
_UNITS: Final = {"S": "seconds", "D": "days", "W": "weeks", "M": "months", "Y": "years"}
_UNIT_DAYS: Final = {"D": 1, "W": 7, "M": 30, "Y": 365}
_UNIT_MAX: Final = {"S": (86_400, "days"), "D": (365, "years"), "W": (52, "years"),
                    "M": (12, "years"), "Y": (50, "")}  # fmt: skip
SCHEDULE_SINCE: Final = 165
ZONES_SINCE: Final = 174


@dataclass(frozen=True, slots=True)
class Duration:
    """How far back a question goes: sessions, or for `S` seconds of trading."""

    count: int
    unit: str

    def first_day(self, last: date) -> date:
        """Return the first day of a time that ends with `last`, for weeks, months and years."""
        if self.unit == "W":
            return last - timedelta(days=7 * self.count - 1)
        months = self.count * (12 if self.unit == "Y" else 1)
        years, month = divmod(last.year * 12 + last.month - 1 - months, 12)
        day = min(last.day, _days_in(years, month + 1))
        return date(years, month + 1, day) + timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Question:
    """A question for bars, read."""

    shows: str
    size: Size
    duration: Duration
    #: None for now.
    end: datetime | None
    regular: bool
    date_form: int
    up_to_date: bool
    #: The end was given without a zone.
    zone_implied: bool


def read(values: Mapping[str, str], version: int, zone: ZoneInfo, now: datetime) -> Question:
    """Return what reqHistoricalData asks for. Raises the Refusal of what cannot be asked."""
    size = SIZES.get(values["barSizeSetting"]) or OTHER_NAMES.get(values["barSizeSetting"])
    if size is None:
        legal = ", ".join(SIZES)
        raise Refusal(
            321, f"{INVALID}Historical data bar size setting is invalid. Legal ones are: {legal}"
        )
    shows = shown(values["whatToShow"], version)
    duration = duration_of(values["durationStr"])
    text, up_to_date = values["endDateTime"].strip(), values["keepUpToDate"] in ("1", "true")
    if text and up_to_date:
        raise Refusal(321, INVALID + "End date not supported with keepUpToDate")
    if text and shows == "ADJUSTED_LAST":
        raise Refusal(321, INVALID + "End date not supported with adjusted last")
    if up_to_date and (shows not in LIVE or (size.within_day and size.seconds < 5)):
        raise Refusal(321, INVALID + "keepUpToDate is not supported for this bar type or size")
    if shows == "SCHEDULE" and size.unit != "day":
        raise Refusal(321, INVALID + "Only '1 day' bar size is supported for SCHEDULE")
    date_form = date_form_of(values["formatDate"])
    _check_length(size, duration)
    end = moment(text, "End Date/Time", zone, now) if text else None
    return Question(
        shows,
        size,
        duration,
        end,
        values["useRTH"] in ("1", "true"),
        date_form,
        up_to_date,
        zone_implied=end is not None and zone_implied(text),
    )


def shown(name: str, version: int) -> str:
    """Return whatToShow. Raises the Refusal of what IB does not know at that version."""
    if name not in SHOWN or (name == "SCHEDULE" and version < SCHEDULE_SINCE):
        raise Refusal(321, INVALID + "What to show field is missing or incorrect.")
    return name


def date_form_of(text: str) -> int:
    """Return formatDate. Raises the Refusal of another than 1 to 3."""
    if text not in ("1", "2", "3"):
        raise Refusal(321, INVALID + f"Invalid date format: {text[:40]}")
    return int(text)


def duration_of(text: str) -> Duration:
    """Return a duration such as `3 D`; no unit is seconds. Raises the Refusal of none."""
    count, _, unit = text.strip().partition(" ")
    unit = unit.strip().upper() or "S"
    if not is_digits(count) or not 0 < int(count) < 10**7 or unit not in _UNITS:
        raise Refusal(
            321,
            f"{INVALID}Historical data query duration [{text[:40]}] is invalid."
            " Format is 'integer{SPACE}unit (S|D|W|M|Y)'.",
        )
    most, larger = _UNIT_MAX[unit]
    if int(count) > most:
        if not larger:
            raise Refusal(162, FAILED + "Time length exceed max.")
        raise Refusal(
            321,
            f"{INVALID}Historical data requests for durations longer than {most} {_UNITS[unit]}"
            f" must be made in {larger}.",
        )
    return Duration(int(count), unit)


def _check_length(size: Size, duration: Duration) -> None:
    """Refuse more bars than IB gives at a time."""
    if not size.within_day:
        return
    if duration.unit == "S":
        length = duration.count
    else:
        length = duration.count * _UNIT_DAYS[duration.unit] * 86_400
    if length > _LONGEST.get(size.seconds, BARS_MAX * size.seconds * 2):
        too_small = duration.unit != "S" and size.seconds in _LONGEST
        raise Refusal(
            162,
            FAILED + (f"invalid step: {size.seconds}" if too_small else "Time length exceed max."),
        )


def check_served(contract: Contract, shows: str, exchange: str) -> None:
    """Refuse what IB has not of that contract."""
    served = SERVED.get(contract.sec_type, PRINTED | QUOTED)
    if "AGGTRADES" in served and shows == "TRADES":
        raise Refusal(
            10299, "Expected what to show is AGGTRADES, please use that instead of TRADES."
        )
    if shows != "SCHEDULE" and shows not in served:
        raise no_answer(contract, shows, exchange)


def no_answer(contract: Contract, shows: str, exchange: str) -> Refusal:
    """Return the Refusal of a question that nothing is found for."""
    venue = exchange or contract.primary_exchange
    name = shows.replace("_", " ").title().replace(" ", "_")
    return Refusal(
        162, f"{FAILED}HMDS query returned no data: {contract.local_symbol}@{venue} {name}"
    )


def moment(text: str, field: str, zone: ZoneInfo, now: datetime) -> datetime:
    """Return the time in a field: `yyyymmdd hh:mm:ss [zone]`, `yyyymmdd-hh:mm:ss` in UTC, or a
    time of today without its date. Raises the Refusal of another text.
    """
    words = text.split()
    try:
        if "-" in text[:9]:
            return datetime.strptime(text, "%Y%m%d-%H:%M:%S").replace(tzinfo=UTC)
        named = zone
        if words and ":" not in words[-1]:
            named = _zone(words.pop())
        if len(words) == 1:
            words.insert(0, f"{now.astimezone(named):%Y%m%d}")
        local = datetime.strptime(" ".join(words), "%Y%m%d %H:%M:%S")  # noqa: DTZ007
        return local.replace(tzinfo=named).astimezone(UTC)
    except (ValueError, KeyError, OSError, OverflowError) as error:
        raise Refusal(10314, f"{field}: {BAD_TIME}") from error


def _zone(name: str) -> ZoneInfo:
    # IB takes names such as US/Eastern, and UTC: neither EST nor GMT.
    if "/" not in name and name != "UTC":
        raise ValueError(name)
    return ZoneInfo(name)


def zone_implied(text: str) -> bool:
    """Say whether a time names no zone."""
    return "-" not in text[:9] and ":" in text.rsplit(maxsplit=1)[-1]


#: What the period of a histogram may be called: `3 days`, `1 week`.
_PERIODS: Final = {"second": "S", "minute": "S", "hour": "S", "day": "D", "week": "W",
                   "month": "M", "year": "Y"}  # fmt: skip
_PERIOD_SECONDS: Final = {"minute": 60, "hour": 3_600}


def period_of(text: str) -> Duration:
    """Return the period of a histogram. Raises the Refusal of none."""
    count, _, word = text.strip().partition(" ")
    name = word.strip().lower().removesuffix("s")
    if name in _PERIODS and is_digits(count):
        seconds = _PERIOD_SECONDS.get(name, 1)
        return duration_of(f"{int(count) * seconds} {_PERIODS[name]}")
    return duration_of(text)


def _days_in(year: int, month: int) -> int:
    following = date(year + month // 12, month % 12 + 1, 1)
    return (following - timedelta(days=1)).day
