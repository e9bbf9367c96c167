"""The filters that ask a page for the books as of a moment."""

from __future__ import annotations

from typing import Final

from oms.errors import ConfigurationError
from oms.history.asof import PastBooks, books_at, by_of
from oms.history.moments import moment_of
from oms.store.reader import Reader
from oms.web.query import Query

#: The moment, and which of the two answers about it.
AS_OF: Final = "as_of"
BY: Final = "by"
PAST: Final = (AS_OF, BY)
#: Events that are folded for a page at most: a few seconds. Snapshots leave 1,250.
EVENTS_MAX: Final = 100_000


async def asked_for(reader: Reader, query: Query, zone: str) -> PastBooks | None:
    """Return the past that a query asks for, None where it asks for now; days begin in a zone."""
    text = query.text(AS_OF)
    by = by_of(query.text(BY) or "known")
    if not text:
        if query.text(BY):
            raise ConfigurationError(
                f"{BY} without {AS_OF} asks for nothing", hint=f"say of which moment: {AS_OF}=..."
            )
        return None
    moment = moment_of(text, query.calendar(zone))
    return await books_at(reader, moment, by, events_max=EVENTS_MAX)
