"""`oms breaks BREAK`: one break from its first sight to its end, with who said what."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import typer

from oms.cli.frame import perform, print_json, reading, show, table

if TYPE_CHECKING:
    from oms.core.events import Envelope
    from oms.core.fold.records import BreakCase
    from oms.store.reader import Reader

#: The facts that name a break.
_ABOUT: Final = (
    "BreakOpened",
    "BreakUpdated",
    "BreakAssigned",
    "BreakExplained",
    "CaseRequested",
    "CaseRequestDenied",
    "CaseActionProposed",
    "BooksAdjusted",
    "BreakClosed",
)
_PAGE: Final = 1_000


def tell_case(context: typer.Context, break_id: str, *, as_json: bool) -> None:
    """Print the story of a break."""

    async def work() -> tuple[BreakCase, list[Envelope]]:
        from oms.cli.ids import find_break

        async with reading(context) as reader:
            case = await find_break(reader, break_id)
            return case, await _story(reader, case)

    case, events = perform(work())
    if as_json:
        from oms.report import event_json
        from oms.report.record_json import break_json

        print_json("break", **break_json(case), events=[event_json(e) for e in events])
        return
    from oms.cli.tables import breaks_table
    from oms.clock import SystemClock
    from oms.report.words import BREAKS

    show(breaks_table([case], SystemClock().now()))
    finding = case.finding
    if finding.text:
        typer.echo(finding.text)
    if finding.proposed is not None:
        from oms.report.case_sentences import describe_adjustment

        typer.echo(f"to make both sides equal: {describe_adjustment(finding.proposed)}")
    if case.live and finding.break_class is not None:
        typer.echo(f"next: {BREAKS[finding.break_class].action}")
    _show_events(events)


async def _story(reader: Reader, case: BreakCase) -> list[Envelope]:
    """Return the events about a break, and those that its finding names as evidence."""
    found: dict[int, Envelope] = {}
    for kind in _ABOUT:
        after = 0
        while True:
            page = await reader.events(after, type=kind, limit=_PAGE)
            for envelope in page:
                if getattr(envelope.event, "break_id", "") == case.break_id:
                    found[envelope.sequence] = envelope
            if len(page) < _PAGE:
                break
            after = page[-1].sequence
    for sequence in case.finding.evidence:
        if sequence not in found:
            found[sequence] = await reader.event(sequence)
    return [found[sequence] for sequence in sorted(found)]


def _show_events(events: list[Envelope]) -> None:
    from oms.report import sentence

    made = table(
        *("seq", "recorded (UTC)", "who", "what it says"), right=("seq",), wrap=("what it says",)
    )
    for envelope in events:
        made.add_row(
            str(envelope.sequence),
            f"{envelope.recorded_at:%Y-%m-%d %H:%M:%S}",
            envelope.context.actor,
            sentence(envelope),
        )
    show(made)
