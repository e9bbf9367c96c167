"""A reconciliation report as one HTML file that needs nothing else: no script, no font, no link.

It can be mailed, printed and kept beside the log. Every value is escaped by the template engine.
"""

from __future__ import annotations

from typing import Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from oms.core.events import Verdict
from oms.core.shown import shown
from oms.core.words import counted, duration
from oms.report.case_sentences import describe_adjustment
from oms.report.reconciliation import Report, Span
from oms.report.sentences import sentence
from oms.report.wire import wire_text
from oms.report.words import (
    BREAKS,
    OUTCOMES,
    VERDICTS,
    before_words,
    moment,
    query_words,
    trigger_words,
)

#: Rows of a table that asks for no action; JSON has them all. A busy account's day would otherwise
#: make a file that no mail server takes. Breaks and unknowns are never cut.
ROWS_MAX: Final = 500

#: The verdict's sign, beside the word: colour alone is not enough.
_SIGNS: Final[dict[Verdict, str]] = {"clean": "✓", "broken": "✕", "unknown": "?"}


def reconciliation_html(report: Report) -> str:
    """Return a reconciliation report as a self-contained HTML document."""
    environment = Environment(
        loader=PackageLoader("oms.report"),
        autoescape=True,
        finalize=shown_in_markup,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "moment": moment,
        "duration": duration,
        "query_words": query_words,
        "trigger_words": trigger_words,
        "sentence": sentence,
        "commands": _commands,
        "before_words": before_words,
        "adjustment": describe_adjustment,
        "wire_text": wire_text,
    }
    return environment.get_template("reconciliation.html.j2").render(
        report=report,
        run=report.run,
        verdict=VERDICTS[report.verdict],
        sign=_SIGNS[report.verdict],
        outcomes=OUTCOMES,
        classes=BREAKS,
        counted=counted,
        shares=_shares(report.timeline),
        known={envelope.sequence for envelope in report.events[:ROWS_MAX]},
        rows_max=ROWS_MAX,
    )


def shown_in_markup(value: object) -> object:
    """Return what a template writes as it may be shown; markup stays markup."""
    if isinstance(value, Markup):
        return Markup(shown(value))
    return shown(value) if isinstance(value, str) else value


def _commands(text: str) -> Markup:
    """Return text with what stands between backticks set as code; all of it is escaped."""
    parts = text.split("`")
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if position % 2 else Markup("{}").format(part)
        for position, part in enumerate(parts)
    )


def _shares(timeline: tuple[Span, ...]) -> list[tuple[Span, int]]:
    """Return each span with its share of the bar, from 1 to 100.

    A night's gap and a run of seconds stand on one bar, so the share grows with the square root of
    the duration: order and rough size stay readable, and nothing vanishes.
    """
    lengths = [max((span.end - span.start).total_seconds(), 0) ** 0.5 for span in timeline]
    whole = max(lengths, default=0) or 1
    return [
        (span, max(round(100 * length / whole), 1))
        for span, length in zip(timeline, lengths, strict=True)
    ]
