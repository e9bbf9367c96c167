"""Moments as people write them: a time with its zone, a day or a month in a named zone, a sequence.

A time is written after its day and before its zone; what stands for a day alone begins with it.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from functools import cache
from typing import Final
from zoneinfo import ZoneInfo, available_timezones

from oms.clock import SystemClock
from oms.core.bounds import MOMENT, SEQUENCE, brief
from oms.errors import InvalidRequest

_DIGITS_MAX: Final = 19
_DAYS: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_MONTHS: Final = (
    *("january", "february", "march", "april", "may", "june", "july", "august"),
    *("september", "october", "november", "december"),
)
_MONTH: Final = rf"(?:{'|'.join(f'{one}|{one[:3]}' for one in _MONTHS)})"
#: DAY TIME ZONE, each of which can be left out.
_FORM: Final = re.compile(
    rf"(?P<day>\d{{4}}-\d{{1,2}}(?:-\d{{1,2}})?|today|yesterday|{'|'.join(_DAYS)}"
    rf"|{_MONTH}(?: \d{{4}})?)?"
    r"(?:(?:^|T| )(?P<clock>\d{1,2}:\d\d(?::\d\d(?:[.,]\d{1,9})?)?))?"
    r"(?: ?(?P<offset>Z|[+-]\d\d:?\d\d))?"
    r"(?: (?P<zone>[^\d\s].*))?",
    re.ASCII | re.IGNORECASE,
)
_EXAMPLES: Final = (
    "2026-06-01 (a day), 2026-06 or 'June 2026' (a month), today, yesterday, monday,"
    " 2026-06-01T14:03Z, 2026-06-01T14:03+02:00, '2026-06-01 14:03 Europe/Berlin',"
    " 'today 14:03 New York', or a sequence of the log"
)

#: A moment: a time, or a sequence of the log.
Moment = datetime | int


@dataclass(frozen=True, slots=True)
class Calendar:
    """What a day without a zone means, and which day is today."""

    zone: str = "UTC"
    now: datetime = field(default_factory=lambda: SystemClock().now())
    #: The zone was said with the question, so that a time without one is in it.
    is_said: bool = False

    def __post_init__(self) -> None:
        """Raise `InvalidRequest` for a zone that is not known."""
        _zone(self.zone)


def moment_of(text: str, calendar: Calendar) -> Moment:
    """Return the moment that a text names: of a day or a month its beginning.

    Raises `InvalidRequest` for a time without a zone, a day or a time that does not exist or is
    there twice, and a zone that is not known.
    """
    text = " ".join(text.split())
    if text.isascii() and text.isdecimal():
        if len(text) > _DIGITS_MAX or int(text) > SEQUENCE.high:
            raise InvalidRequest(f"{brief(text)} is too large for a sequence of the log")
        return int(text)
    form = _FORM.fullmatch(text)
    if form is None or not text:
        return _bounded(_iso(text))
    if form["clock"] is None:
        return _begin_and_end(form, calendar, text)[0]
    return _time(form, calendar, text)


def span_of(text: str, calendar: Calendar) -> tuple[datetime, datetime]:
    """Return the beginning of the day or the month that a text names, and of the one after it.

    Raises `InvalidRequest` for what is neither.
    """
    text = " ".join(text.split())
    form = _FORM.fullmatch(text)
    if form is None or not form["day"] or form["clock"] is not None:
        raise InvalidRequest(
            f"{brief(text)} is no day and no month",
            hint="write 2026-06-01, 2026-06, 'June 2026', today, yesterday or monday; with a"
            " zone: '2026-06-01 New York'",
        )
    return _begin_and_end(form, calendar, text)


def _begin_and_end(form: re.Match[str], calendar: Calendar, text: str) -> tuple[datetime, datetime]:
    day = form["day"]
    if not day:
        raise _no_moment(text)
    if form["offset"]:
        example = f"{day}T00:00{form['offset']}"
        raise InvalidRequest(
            f"{brief(text)} is a day with {form['offset']} and no time",
            hint=f"write {example}, or the day with a zone: '{day} UTC'",
        )
    zone = _zone(form["zone"] or calendar.zone)
    first, after = _days(day, zone, calendar.now)
    return _begin(first, zone), _begin(after, zone)


def _time(form: re.Match[str], calendar: Calendar, text: str) -> datetime:
    if form["offset"] and form["zone"]:
        raise InvalidRequest(f"{brief(text)} names two zones", hint="leave one of them out")
    try:
        hour, _, rest = form["clock"].partition(":")
        clock = time.fromisoformat(f"{hour:0>2}:{rest}")
        if form["offset"]:
            zone = datetime.fromisoformat(f"2000-01-01T00:00{form['offset'].upper()}").tzinfo
        elif form["zone"] or calendar.is_said:
            zone = _zone(form["zone"] or calendar.zone)
        else:
            raise InvalidRequest(
                f"{brief(text)} has no time zone",
                hint="end it with Z for UTC, with +02:00, or with a space and a zone:"
                " Europe/Berlin, New York; or say it with --zone",
            )
    except ValueError as error:
        raise InvalidRequest(
            f"{brief(text)} is no moment: {error}", hint=f"write {_EXAMPLES}"
        ) from error
    assert zone is not None
    first, after = _days(form["day"] or "today", zone, calendar.now)
    if (after - first).days > 1:
        raise InvalidRequest(
            f"{brief(text)} is a time of a whole month", hint="name the day: 2026-06-01T14:03Z"
        )
    return _existing(datetime.combine(first, clock), zone, text)


def _iso(text: str) -> datetime:
    """Return a time in one of the other forms of ISO 8601."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise _no_moment(text) from error
    if found.tzinfo is None:
        raise _no_moment(text)
    return found


def _no_moment(text: str) -> InvalidRequest:
    return InvalidRequest(f"{brief(text)} is no moment", hint=f"write {_EXAMPLES}")


def _days(said: str, zone: tzinfo, now: datetime) -> tuple[date, date]:
    """Return the first day of a day or a month, and the first after it."""
    word = said.lower()
    today = now.astimezone(zone).date()
    if word in {"today", "yesterday"}:
        first = today if word == "today" else today - timedelta(days=1)
        return first, first + timedelta(days=1)
    if word in _DAYS:
        first = today - timedelta(days=(today.weekday() - _DAYS.index(word)) % 7)
        return first, first + timedelta(days=1)
    try:
        year, month, *day = _numbers(word, today)
        first = date(year, month, *day or (1,))
        if day:
            return first, first + timedelta(days=1)
        return first, date(year + month // 12, month % 12 + 1, 1)
    except (ValueError, OverflowError) as error:
        what = "day" if word.count("-") > 1 else "month"
        raise InvalidRequest(
            f"there is no {what} {said}: {error}", hint=f"write {_EXAMPLES}"
        ) from error


def _numbers(word: str, today: date) -> Sequence[int]:
    """Return year, month and perhaps day; of a month alone the year in which it last began."""
    if word[0].isdigit():
        return [int(part) for part in word.split("-")]
    name, _, year = word.partition(" ")
    month = [one[:3] for one in _MONTHS].index(name[:3]) + 1
    return (int(year) if year else today.year - (month > today.month)), month


def _zone(name: str) -> tzinfo:
    """Return a zone by its name of the IANA list, or by the city at the end of one."""
    if name.upper() in {"UTC", "Z"}:
        return UTC
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, KeyError) as error:  # KeyError: ZoneInfoNotFoundError
        known = _zones()
        asked = name.lower().replace(" ", "_")
        found = known.get(asked, ())
        if len(found) == 1:
            return ZoneInfo(found[0])
        close = difflib.get_close_matches(asked, known, 3)
        offered = found or [full for one in close for full in known[one]]
        raise InvalidRequest(
            f"{brief(name)} names several time zones"
            if found
            else f"no time zone is called {brief(name)}",
            hint=f"did you mean {' or '.join(offered)}?"
            if offered
            else "write a name of the IANA list, such as Europe/Berlin or America/New_York, or a"
            " city of it: New York",
        ) from error


@cache
def _zones() -> dict[str, tuple[str, ...]]:
    """Return the zones of the IANA list by name and by city, in small letters."""
    found: dict[str, tuple[str, ...]] = {}
    for name in sorted(available_timezones()):
        found[name.lower()] = (name,)
    for name in sorted(available_timezones()):
        city = name.rpartition("/")[2].lower()
        if "/" in name and found.get(city) != (city,):
            found[city] = (*found.get(city, ()), name)
    return found


def _begin(day: date, zone: tzinfo) -> datetime:
    """Return when a day begins: where clocks skip its midnight, with that."""
    try:
        return _bounded(datetime.combine(day, time(), zone))
    except OverflowError as error:
        raise InvalidRequest(f"the time {error}") from error


def _existing(local: datetime, zone: tzinfo, text: str) -> datetime:
    """Return a local time of a zone; raises where its clocks never showed it or showed it twice."""
    try:
        found = local.replace(tzinfo=zone)
        shown = found.astimezone(UTC).astimezone(zone).replace(tzinfo=None)
    except OverflowError as error:
        raise InvalidRequest(f"the time {error}") from error
    if shown != local:
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
