"""Reports for people at a terminal, as rich renderables.

The verdict is said in words; colour only repeats it. Everything from outside goes in as `Text`, so
that a bracket in a broker's message is not taken for markup.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from oms.core.events import Finding, Verdict
from oms.core.fold.records import BreakCase
from oms.core.words import counted, duration
from oms.report.clock import clock_text
from oms.report.reconciliation import BreakGroup, Item, RepairGroup, Report
from oms.report.story import Story, StoryEntry
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

#: Repaired things that are listed; a night's backfill would otherwise push the verdict off the
#: screen. Breaks and unknowns are never cut.
ROWS_MAX: Final = 20
#: Letters of a screen on which a story's six columns leave room for the sentence.
STORY_COLUMNS_MIN: Final = 110

_STYLES: Final[dict[Verdict, str]] = {"clean": "green", "broken": "red", "unknown": "yellow"}


def reconciliation_terminal(report: Report) -> RenderableType:
    """Return a reconciliation report for a terminal."""
    parts: list[RenderableType] = [_verdict(report), _questions(report)]
    parts += [_break_group(group) for group in report.breaks]
    if report.unknown:
        parts.append(_unknown(report.unknown))
    parts += [_repaired(group) for group in report.repaired]
    if report.older_cases:
        parts.append(_older(report.older_cases, report.run.finished_at))
    if report.match_count:
        counts = ", ".join(counted(n, subject) for subject, n in report.matches_by_subject)
        parts.append(Text(f"In agreement: {counts}"))
    steps = Table.grid("", "", padding=(0, 1))
    for number, step in enumerate(report.next_steps):
        steps.add_row(Text("" if number else "Next", style="bold"), Text(step))
    return Group(*_spaced([*parts, steps]))


def story_terminal(story: Story, *, wire: bool = False) -> RenderableType:
    """Return an order's story for a terminal; `wire` adds the broker's fields as they came."""
    title = Text(f"Order {story.order_id}", style="bold")
    clock = Text(f"Note: {clock_text(story.clock)}", style="dim")
    events = _Events(story, wire=wire)
    return Group(*_spaced([Group(title, Text(story.headline)), events, clock]))


@dataclass(frozen=True, slots=True)
class _Events:
    """The events of a story as a table that fits the screen.

    Six columns leave the sentence a few letters a line on a narrow one; there the type, the
    broker's time and the ids stand above and below the sentence instead of beside it.
    """

    story: Story
    wire: bool

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if options.max_width >= STORY_COLUMNS_MIN:
            table = _table("seq", "recorded (UTC)", "broker's time", "type", "what it says", "ids")
            fixed = table.columns[:4]
        else:
            table = _table("seq", "recorded (UTC)", "what it says")
            fixed = table.columns[:2]
        for column in fixed:
            column.no_wrap = True
        table.columns[0].justify = "right"
        for entry in self.story.entries:
            cells = _story_cells(entry, wire=self.wire)
            table.add_row(*(cells if len(table.columns) == len(cells) else _folded(cells)))
        yield table


def _folded(cells: tuple[str, str, str, str, Text, Text]) -> tuple[str, str, Text]:
    sequence, recorded, occurred, kind, said, ids = cells
    head = Text(kind, style="bold")
    if occurred:
        head.append(f"  at the broker's {occurred}", style="not bold dim")
    tail = Text("\n").append_text(ids) if ids else Text()
    return sequence, recorded, Text.assemble(head, "\n", said, tail)


def _story_cells(entry: StoryEntry, *, wire: bool) -> tuple[str, str, str, str, Text, Text]:
    envelope = entry.envelope
    said = Text(entry.sentence)
    if envelope.context.actor != "broker":
        said.append(f"  [{envelope.context.actor}]", style="dim")
    if wire and envelope.wire is not None:
        said.append(f"\n{wire_text(envelope)}", style="dim")
    # What the sentence names already need not stand beside it again.
    said_already = set(re.split(r"[\s,()]+", entry.sentence))
    ids = " ".join(f"{label} {value}" for label, value in entry.ids if value not in said_already)
    return (
        str(envelope.sequence),
        f"{envelope.recorded_at.astimezone(UTC):%m-%d %H:%M:%S.%f}"[:-3],
        _clock(envelope.context.occurred_at),
        type(envelope.event).__name__,
        said,
        Text(ids, style="dim"),
    )


def _verdict(report: Report) -> RenderableType:
    run = report.run
    style = _STYLES[report.verdict]
    text = Text(report.headline, style="bold")
    for reason in report.reasons:
        text.append(f"\n{reason}", style="not bold")
    text.append(
        f"\n{trigger_words(run.trigger)}, {moment(run.started_at)}, took "
        f"{duration(run.finished_at - run.started_at)}; accounts "
        f"{', '.join(run.accounts) or 'none'}; books at event {run.books_sequence}",
        style="not bold dim",
    )
    for span in report.timeline[:-1]:
        text.append(
            f"\n{moment(span.start)}  {duration(span.end - span.start)} {span.label}",
            style="not bold dim",
        )
    title = Text(f" {VERDICTS[report.verdict].upper()} ", style=f"bold {style}")
    return Panel(text, title=title, title_align="left", border_style=style, padding=(0, 1))


def _questions(report: Report) -> RenderableType:
    table = _table(
        "asked for", "outcome", "rows", "took", "reaches back to", title="What was asked"
    )
    table.columns[2].justify = table.columns[3].justify = "right"
    for question in report.run.questions:
        complete = question.outcome == "complete"
        outcome = Text(OUTCOMES[question.outcome], style="" if complete else "bold yellow")
        if question.code or question.text:
            outcome.append(f" ({question.code}: {question.text})", style="not bold")
        reach = moment(question.reaches_back_to)
        note = f" ({question.reach})" if question.reach and reach else question.reach
        table.add_row(
            query_words(question.kind),
            outcome,
            f"{question.rows:,}",
            duration(question.answered_at - question.asked_at),
            Text(f"{reach}{note}" if complete else ""),
        )
    return table


def _break_group(group: BreakGroup) -> RenderableType:
    title = f"{group.words.title} ({counted(len(group.items), 'break')})"
    table = _table("case", "severity", "what", "ours", "theirs", "evidence", title=title)
    for item in group.items:
        table.add_row(*_item_cells(item))
    return Group(table, Text(group.words.meaning, style="dim"))


def _item_cells(item: Item) -> Sequence[RenderableType]:
    finding = item.finding
    return (
        Text(item.case.break_id if item.case is not None else ""),
        finding.severity or "",
        _what(finding),
        Text(finding.ours or "nothing"),
        Text(finding.theirs or "nothing"),
        _evidence(finding.evidence),
    )


def _unknown(findings: Sequence[Finding]) -> RenderableType:
    table = _table("what", "ours", "theirs", "why", "evidence", title="Unknown")
    for finding in findings:
        table.add_row(
            _what(finding, text=False),
            Text(finding.ours),
            Text(finding.theirs),
            Text(finding.text),
            _evidence(finding.evidence),
        )
    return table


def _repaired(group: RepairGroup) -> RenderableType:
    table = _table("what", "before", "now", "theirs", "evidence", title=group.title)
    for finding in group.findings[:ROWS_MAX]:
        table.add_row(
            _what(finding),
            Text(before_words(finding.repair)),
            Text(finding.ours),
            Text(finding.theirs),
            _evidence(finding.evidence),
        )
    if len(group.findings) > ROWS_MAX:
        table.add_row(f"and {len(group.findings) - ROWS_MAX:,} more; see the HTML or JSON form")
    return table


def _older(cases: Sequence[BreakCase], at: datetime) -> RenderableType:
    table = _table("case", "age", "seen", "class", "what", title="Open cases of earlier runs")
    for case in cases:
        break_class = case.finding.break_class
        table.add_row(
            Text(case.break_id),
            duration(at - case.opened_at),
            str(case.seen),
            BREAKS[break_class].title if break_class else "",
            _what(case.finding),
        )
    return table


def _what(finding: Finding, *, text: bool = True) -> Text:
    what = Text(" ".join(p for p in (finding.subject, finding.symbol, finding.account) if p))
    if text and finding.text:
        what.append(f"\n{finding.text}", style="dim")
    if finding.order_id:
        what.append(f"\norder {finding.order_id}", style="dim")
    return what


def _evidence(sequences: Iterable[int]) -> str:
    return " ".join(f"#{sequence}" for sequence in sequences)


def _clock(at: datetime | None) -> str:
    return f"{at.astimezone(UTC):%H:%M:%S}" if at is not None else ""


def _table(*headers: str, title: str | None = None) -> Table:
    return Table(
        *headers,
        title=Text(title, style="bold") if title else None,
        title_justify="left",
        header_style="dim",
        box=None,
        pad_edge=False,
    )


def _spaced(parts: Sequence[RenderableType]) -> list[RenderableType]:
    spaced: list[RenderableType] = []
    for part in parts:
        spaced += [part, Text()]
    return spaced[:-1]
