"""How many there are of each value of a key, on every list: the filter `count_by`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from oms.history import query, records
from oms.history.query import Counted
from oms.web.page import Json, Visit

COUNT_BY: Final = "count_by"


async def counted_records(
    visit: Visit, table: str, asked: query.Query, where: Mapping[str, object]
) -> Counted | None:
    """Return how many records answer a question, by the key that the page is asked for; None where
    it is asked for none.
    """
    by = visit.query.text(COUNT_BY)
    if not by:
        return None
    return await records.count(visit.reader, table, asked, by, where=where, past=visit.past)


async def counted_events(visit: Visit, asked: query.Query) -> Counted | None:
    """Return the same of events."""
    by = visit.query.text(COUNT_BY)
    return await query.count(visit.reader, asked, by) if by else None


def counts_json(counted: Counted | None) -> Json:
    """Return the counts as JSON values; nothing where none were asked for."""
    if counted is None:
        return {}
    values = [{"value": value, "count": number} for value, number in counted.counts]
    return {"total": counted.total, "counts": values}
