"""Moments as people write them: a time with its zone, a day in a named zone, a sequence."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Final
from zoneinfo import ZoneInfo

from oms.clock import SystemClock
from oms.core.bounds import MOMENT, SEQUENCE, brief
from oms.errors import InvalidRequest

_DIGITS_MAX: Final = 19
_DAY: Final = re.compile(r"\d{4}-\d{1,2}-\d{1,2}", re.ASCII)
_DAY_WITH_OFFSET: Final = re.compile(
    r"(\d{4}-\d{1,2}-\d{1,2})(Z|[+-]\d\d:?\d\d)", re.ASCII | re.IGNORECASE
)
_EXAMPLES: Final = (
    "2026-06-01 (a day), 2026-06-01T14:03Z, 2026-06-01T14:03+02:00,"
    " '2026-06-01 14:03 Europe/Berlin', today, yesterday, or a sequence of the log"
)

#: A moment: a time, or a sequence of the log.
Moment = datetime | int


@dataclass(frozen=True, slots=True)
class Calendar:
    """What a day without a zone means, and which day is today."""

    zone: str = "UTC"
    now: datetime = field(default_factory=lambda: SystemClock().now())


def moment_of(text: str, calendar: Calendar) -> Moment:
    """Return the moment that a text names: of a day its beginning.

    Raises `InvalidRequest` for a time without a zone, a day or a time that does not exist or is
    there twice, and a zone that is not known.
    """
    text = text.strip()
    if text.isascii() and text.isdecimal():
        if len(text) > _DIGITS_MAX or int(text) > SEQUENCE.high:
            raise InvalidRequest(f"{brief(text)} is too large for a sequence of the log")
        return int(text)
    said, _, zone_name = text.partition(" ")
    if _is_clock(zone_name):
        clock, _, zone_name = zone_name.partition(" ")
        said = f"{said}T{clock}"
    zone = _zone(zone_name.strip()) if zone_name.strip() else None
    day = _day(said, zone or _zone(calendar.zone), calendar.now)
    if day is not None:
        midnight = datetime.combine(day, time())
        return _existing(midnight, zone or _zone(calendar.zone), said)
    return _time(said, zone, text)


def _time(said: str, zone: tzinfo | None, text: str) -> datetime:
    day = _DAY_WITH_OFFSET.fullmatch(said)
    if day is not None:
        raise InvalidRequest(
            f"{brief(text)} is a day with {day[2]} and no time",
            hint=f"write {day[1]}T00:00{day[2]}, or the day with a zone: '{day[1]} UTC'",
        )
    try:
        found = datetime.fromisoformat(said)
    except ValueError as error:
        # Of a text that is no time at all it only says that.
        reason = "" if str(error).startswith("Invalid isoformat") else f": {error}"
        raise InvalidRequest(
            f"{brief(text)} is no moment{reason}", hint=f"write {_EXAMPLES}"
        ) from error
    if found.tzinfo is not None and zone is not None:
        raise InvalidRequest(f"{brief(text)} names two zones", hint="leave one of them out")
    if found.tzinfo is None and zone is None:
        raise InvalidRequest(
            f"{brief(text)} has no time zone",
            hint="end it with Z for UTC, with +02:00, or with a space and a zone: Europe/Berlin",
        )
    return _bounded(found) if zone is None else _existing(found, zone, text)


def _is_clock(text: str) -> bool:
    return text[:1].isdigit() and ":" in text


def _day(said: str, zone: tzinfo, now: datetime) -> date | None:
    word = said.lower()
    if word in {"today", "yesterday"}:
        today = now.astimezone(zone).date()
        return today if word == "today" else today - timedelta(days=1)
    if _DAY.fullmatch(said) is None:
        return None
    try:
        return date(*(int(part) for part in said.split("-")))
    except ValueError as error:
        raise InvalidRequest(
            f"there is no day {said}: {error}", hint=f"write {_EXAMPLES}"
        ) from error


def _zone(name: str) -> tzinfo:
    if name.upper() in {"UTC", "Z"}:
        return UTC
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, KeyError) as error:  # KeyError: ZoneInfoNotFoundError
        raise InvalidRequest(
            f"no time zone is called {brief(name)}",
            hint="write a name of the IANA list, such as Europe/Berlin or America/New_York",
        ) from error


def _existing(local: datetime, zone: tzinfo, text: str) -> datetime:
    """Return a local time of a zone; raises where its clocks never showed it or showed it twice."""
    found = local.replace(tzinfo=zone)
    if found.astimezone(UTC).astimezone(zone).replace(tzinfo=None) != local:
        raise InvalidRequest(
            f"{brief(text)} does not exist in {zone}: the clocks were put forward over it",
            hint="write the time with its offset, such as 2026-03-29T03:30+02:00",
        )
    if found.utcoffset() != found.replace(fold=1).utcoffset():
        raise InvalidRequest(
            f"{brief(text)} was there twice in {zone}: the clocks were put back over it",
            hint="write the time with its offset, such as 2026-10-25T02:30+02:00",
        )
    return _bounded(found)


def _bounded(found: datetime) -> datetime:
    try:
        return MOMENT.check(found).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise InvalidRequest(f"the time {error}") from error
