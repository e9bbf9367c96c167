"""The filters of a page, read from its address.

A filter that is not known or cannot be read is refused. To pass over it would show everything under
the name of a filter.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import urlencode

from starlette.datastructures import QueryParams

from oms.errors import ConfigurationError
from oms.history import query as history
from oms.history.moments import Calendar

#: Every page takes it: seconds between two readings, 0 for none.
REFRESH: Final = "refresh"
REFRESHES: Final = (0, 5, 15, 60)
#: The zone in which days of `since` and `until` begin.
ZONE: Final = "zone"
#: What each list can be asked for, as in the shell (docs/reference/query.md). Which end of a list
#: is shown is the page's own to say, and so is the most that it shows.
CONDITIONS: Final = tuple(name for name in history.CONDITIONS if name not in {"reverse", "limit"})
#: The same as filters of a page of records; of the log, `type` and `correlation` besides.
RECORD_FILTERS: Final = (
    *(name for name in CONDITIONS if name not in {"type", "correlation"}),
    *(ZONE, "limit", "count_by"),
)
#: Longest filter; nothing that can be looked for is longer.
TEXT_LENGTH_MAX: Final = 200


class Query:
    """The parameters of one request; what cannot be used raises `ConfigurationError`."""

    def __init__(self, parameters: QueryParams, known: Sequence[str]) -> None:
        self._values: dict[str, str] = {}
        for name, value in parameters.multi_items():
            if name not in (*known, REFRESH):
                close = difflib.get_close_matches(name, known, n=1)
                meant = f"did you mean {close[0]}?" if close else f"known: {', '.join(known)}"
                raise _refused(f"{name!r} is not a filter of this page", meant if known else "")
            if name in self._values:
                raise _refused(f"the filter {name!r} is given twice", "give it once")
            if len(value) > TEXT_LENGTH_MAX:
                raise _refused(f"the filter {name!r} is too long", f"{TEXT_LENGTH_MAX} at most")
            if value.strip():
                self._values[name] = value.strip()

    def __bool__(self) -> bool:
        return any(name != REFRESH for name in self._values)

    def text(self, name: str) -> str:
        """Return a filter's text, "" where it is not set."""
        return self._values.get(name, "")

    def number(self, name: str, default: int | None = None, *, low: int = 0) -> int | None:
        """Return a whole number of at least `low`."""
        text = self.text(name)
        if not text:
            return default
        # isdecimal alone takes digits of every script, and int() as many as there are.
        if not (text.isascii() and text.isdecimal() and len(text) <= 18) or int(text) < low:
            raise _refused(f"{name} = {text!r} cannot be used", f"a whole number from {low} up")
        return int(text)

    def choice(self, name: str, options: Sequence[str], default: str = "") -> str:
        """Return one of the options, however it is capitalised."""
        text = self.text(name)
        if not text:
            return default
        found = next((option for option in options if option.lower() == text.lower()), None)
        if found is None:
            close = difflib.get_close_matches(text, options, n=3) or options
            raise _refused(f"{name} = {text!r} is not known", f"one of: {', '.join(close)}")
        return found

    def asked(self, zone: str, **more: object) -> history.Query:
        """Return the question that the parameters ask, days beginning in a zone, as every list of
        the shell would be asked it.
        """
        given: dict[str, object] = {n: v for n, v in self._values.items() if n in CONDITIONS}
        return history.parse({**given, **more}, self.calendar(zone))

    def calendar(self, zone: str) -> Calendar:
        """Return what words about time mean, days beginning in a zone where none is said."""
        said = self.text(ZONE)
        return Calendar(said or zone, is_said=bool(said))

    def refresh(self, default: int) -> int:
        """Return the seconds between two readings, 0 for none."""
        allowed = [str(seconds) for seconds in REFRESHES]
        return int(self.choice(REFRESH, allowed, str(default)))

    def link(self, **changes: object) -> str:
        """Return the query with some parameters changed; None or "" takes one out."""
        merged: Mapping[str, object] = {**self._values, **changes}
        kept = {name: value for name, value in merged.items() if value not in (None, "")}
        return f"?{urlencode(kept)}" if kept else "?"

    def values(self) -> dict[str, str]:
        """Return the filters that are set, as JSON answers repeat them."""
        return {name: value for name, value in self._values.items() if name != REFRESH}


def conditions(**values: object) -> dict[str, object]:
    """Return the conditions on rows that filters set; those that are empty set none."""
    return {name: value for name, value in values.items() if value not in ("", None)}


def _refused(message: str, hint: str) -> ConfigurationError:
    return ConfigurationError(message, hint=hint)
