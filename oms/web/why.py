"""Why something is as it is: the causal walk of `oms why`, as a page."""

from __future__ import annotations

from oms.history.why import why
from oms.report.why import why_json
from oms.web.page import Page, Visit


async def build(visit: Visit) -> Page:
    """Return what led to an event, an order, a position or a break."""
    found = await why(visit.reader, visit.name)
    return Page(
        title=f"Why {found.kind} {found.subject}",
        template="why",
        kind="why",
        values={"why": found},
        json=why_json(found),
    )
