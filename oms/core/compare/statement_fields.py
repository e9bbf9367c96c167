"""The attributes of one row of a statement, each asked for by name and type.

Which attributes a row has, and in which form days and times are written, is chosen by whoever made
the query. All forms that IB offers are read; what can be two days is refused, and a time whose zone
is not known is no time.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from types import MappingProxyType
from typing import Final

from oms.core.bounds import CON_ID, MOMENT, PERM_ID, PROSE, WORD, Whole

#: IB's words for no value.
_NONE: Final = frozenset({"", "--", "N/A", "MULTI"})
#: Before the point, and behind it: more than any amount has, and few enough to calculate with.
_DIGITS: Final = 15
_ID_DIGITS_MAX: Final = 18
_FORM: Final = re.compile(
    r"(?P<day>\d{8}|\d{4}-\d\d-\d\d|\d\d?/\d\d?/(?:\d{4}|\d\d)|\d\d?-[A-Za-z]{3}-(?:\d{4}|\d\d))"
    r"(?:[;,T ]\s*|)(?P<time>\d{6}|\d\d:\d\d:\d\d|)"
    r"\s*(?P<zone>[A-Z]{2,5}|[+-]\d\d:?\d\d|)"
)
_TWO_DAYS: Final = ("%m/%d/%Y", "%d/%m/%Y", "%m/%d/%y", "%d/%m/%y")
_DAYS: Final = ("%Y%m%d", "%Y-%m-%d", "%d-%b-%Y", "%d-%b-%y", *_TWO_DAYS)
#: The zone of all statements, as a query with "time zone" names it.
_OURS: Final = frozenset({"EST", "EDT", "ET"})
#: Hours east of Greenwich of the other zones that it may name.
_ZONES: Final[Mapping[str, int]] = MappingProxyType(
    {
        "CST": -6,
        "CDT": -5,
        "MST": -7,
        "MDT": -6,
        "PST": -8,
        "PDT": -7,
        "UTC": 0,
        "GMT": 0,
        "BST": 1,
        "CET": 1,
        "CEST": 2,
        "HKT": 8,
        "SGT": 8,
        "JST": 9,
    }
)


class RowUnreadable(ValueError):
    """A row of the statement cannot be understood."""


class Attributes:
    """The attributes of one element."""

    def __init__(self, tag: str, values: Mapping[str, str]) -> None:
        self.tag = tag
        self._values = values

    def has(self, name: str) -> bool:
        """Say whether the query asked for it, whatever it is."""
        return name in self._values

    def text(self, *names: str) -> str:
        """Return the first text of those names that says something, else ""."""
        for name in names:
            value = self._values.get(name, "").strip()
            if len(value) > WORD.length:
                found = f"{value[:40]!r} and {len(value) - 40:,} more characters"
                raise RowUnreadable(f"<{self.tag}> {name}={found} is longer than any of IB's")
            if value not in _NONE:
                return value
        return ""

    def text_if_short(self, name: str) -> str:
        """Return a text, "" where it is too long to be one of IB's."""
        try:
            return self.text(name)
        except RowUnreadable:
            return ""

    def prose(self, name: str) -> str:
        """Return what people at IB wrote, however long."""
        return PROSE.fitted(self._values.get(name, "").strip())

    def needed(self, name: str) -> str:
        """Return a text that must be there."""
        value = self.text(name)
        if not value:
            raise self.without(name)
        return value

    def without(self, name: str) -> RowUnreadable:
        """Return that the row lacks what it needs."""
        if self.has(name):
            return RowUnreadable(f"<{self.tag}> has an empty {name}")
        return RowUnreadable(
            f"<{self.tag}> has no {name}: add this field to the section of the Flex query"
        )

    def number(self, *names: str) -> Decimal:
        """Return a number that must be there."""
        found = self.number_or_none(*names)
        if found is None:
            raise self.without(names[0])
        return found

    def number_or_none(self, *names: str) -> Decimal | None:
        """Return the first number of those names, None where IB writes none."""
        text = self.text(*names).replace(",", "")
        if not text:
            return None
        try:
            value = Decimal(text)
        except InvalidOperation as error:
            raise RowUnreadable(f"<{self.tag}> {names[0]}={text[:40]!r} is not a number") from error
        if not value.is_finite():
            raise RowUnreadable(f"<{self.tag}> {names[0]}={text[:40]!r} is not finite")
        if not -_DIGITS <= value.adjusted() <= _DIGITS or len(text) > 2 * _DIGITS:
            raise RowUnreadable(f"<{self.tag}> {names[0]}={text[:40]!r} is no amount of IB's")
        return value

    def con_id(self, *names: str) -> int:
        """Return the id of a contract, 0 where the row has none."""
        text = self.text(*names)
        if not text:
            return 0
        found = _id_of(text, CON_ID)
        if found is None:
            raise RowUnreadable(f"<{self.tag}> {names[0]}={text[:40]!r} is not an id")
        return found

    def number_of(self, *names: str) -> int:
        """Return a number that IB gave to something, 0 where there is none: no row is unreadable
        for the lack of it.
        """
        return _id_of(self.text(*names), PERM_ID) or 0

    def day(self, name: str) -> date:
        """Return a day that must be there."""
        text = self.needed(name)
        found = _moment(text)
        if found is None:
            raise RowUnreadable(
                f"<{self.tag}> {name}={text[:40]!r} is not a day, or may be two: choose yyyyMMdd as"
                " the query's date format"
            )
        return found.date()

    def day_or_none(self, *names: str) -> date | None:
        """Return a day, None where the row has none that can be read."""
        found = _moment(self.text(*names))
        return found.date() if found else None

    def moment(self, name: str, day: str, time: str) -> datetime | None:
        """Return a time, from one field or from two; None where it is a day only.

        Aware where the row names a zone, else in the statement's.
        """
        for text in (self.text(name), f"{self.text(day)};{self.text(time)}"):
            found = _moment(text, needs_time=True)
            if found is not None:
                return found
        return None


def _id_of(text: str, bound: Whole) -> int | None:
    if not (text.isascii() and text.isdecimal() and len(text) <= _ID_DIGITS_MAX):
        return None
    found = int(text)
    return found if found <= bound.high else None


def _moment(text: str, *, needs_time: bool = False) -> datetime | None:
    parts = _FORM.fullmatch(text)
    if parts is None or (needs_time and not parts["time"]):
        return None
    day, clock = _day(parts["day"]), _clock(parts["time"])
    if day is None or clock is None:
        return None
    moment, zone = datetime.combine(day, clock), parts["zone"]
    if not zone or zone in _OURS:
        return moment
    hours = _ZONES.get(zone)
    if hours is not None:
        return moment.replace(tzinfo=timezone(timedelta(hours=hours)))
    offset = _read(zone, "%z")
    return moment.replace(tzinfo=offset.tzinfo) if offset else None


@lru_cache(maxsize=1024)
def _day(text: str) -> date | None:
    """Return the one day that a text can be."""
    days = {found.date() for form in _DAYS if (found := _read(text, form))}
    found_day = days.pop() if len(days) == 1 else None
    # A day at the end of the calendar has none beside it.
    is_one = found_day and MOMENT.first.date() <= found_day < MOMENT.last.date()
    return found_day if is_one else None


def _clock(text: str) -> time | None:
    try:
        return time.fromisoformat(text) if text else time()
    except ValueError:
        return None


def _read(text: str, form: str) -> datetime | None:
    try:
        return datetime.strptime(text, form)  # noqa: DTZ007 - a part of a time
    except ValueError:
        return None
