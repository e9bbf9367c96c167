"""Reports: one value, three renderings that say the same.

`build` makes a reconciliation report from the run's event, `tell` an order's story from its events;
`terminal`, `as_json` and `html` show them. Nothing here asks anything or decides anything.
"""

from __future__ import annotations

from typing import Any

from rich.console import RenderableType

from oms.report import case_sentences  # noqa: F401 - it registers its sentences
from oms.report.json_view import event_json, reconciliation_json, story_json
from oms.report.reconciliation import EVIDENCE_MAX, Report, build, evidence_of, open_when
from oms.report.sentences import sentence
from oms.report.story import Story, tell
from oms.report.terminal_view import reconciliation_terminal, story_terminal

__all__ = [
    "EVIDENCE_MAX",
    "Report",
    "Story",
    "as_json",
    "build",
    "event_json",
    "evidence_of",
    "html",
    "open_when",
    "sentence",
    "tell",
    "terminal",
]


def terminal(report: Report | Story, *, wire: bool = False) -> RenderableType:
    """Return a report for a terminal; `wire` adds the broker's own fields to a story."""
    if isinstance(report, Story):
        return story_terminal(report, wire=wire)
    return reconciliation_terminal(report)


def as_json(report: Report | Story) -> dict[str, Any]:
    """Return a report as JSON values; the contract is `docs/reference/json-output.md`."""
    return story_json(report) if isinstance(report, Story) else reconciliation_json(report)


def html(report: Report) -> str:
    """Return a reconciliation report as one self-contained HTML document."""
    # Only this rendering needs the template engine, and the command line should start fast.
    from oms.report.html_view import reconciliation_html

    return reconciliation_html(report)
