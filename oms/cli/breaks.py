"""The verb `breaks`: open differences, and one of them from its first sight to its end."""

from __future__ import annotations

from typing import Annotated, Any, cast

import typer

from oms.cli.asking import BOOKS, FILTERS, Question, listed, which_and_key
from oms.cli.ids import find_break
from oms.cli.options import All, AsJson, with_options
from oms.cli.output import print_json, write
from oms.cli.past import Shelf, shelf
from oms.cli.reading import asynchronous
from oms.cli.tables import breaks_table
from oms.cli.terminal import say_count, show, table
from oms.core.events import Envelope
from oms.core.fold.records import BreakCase
from oms.errors import NotFound
from oms.history.why import about_break
from oms.report import event_json, sentence
from oms.report.case_sentences import describe_adjustment
from oms.report.record_json import break_json
from oms.report.words import BREAKS, witness_words
from oms.store.reader import Reader

app = typer.Typer()


@app.command(cls=Question)
@with_options(FILTERS, BOOKS)
@asynchronous
async def breaks(
    context: typer.Context,
    *,
    break_id: Annotated[
        str | None, typer.Argument(metavar="BREAK", help="Tell the story of this one.")
    ] = None,
    every: All = False,
    as_json: AsJson = False,
    **words: Any,
) -> None:
    """List open differences between our books and the broker's; --all shows closed ones, too.

    With BREAK (any unique beginning) it tells the story of one: what differs, what would make both
    sides equal, and every event about it with who said it.

    \b
    severity   high: while it is open, new orders in this account and contract are denied
    age        since it was first seen; seen: in how many comparisons
    evidence   sequences in the log that show it: `oms log --after SEQ --limit 1`

    \b
    oms breaks
    oms breaks B3f9
    oms breaks --all --account DU1234567 --json
    oms breaks --as-of 2026-06-01T14:03Z
    oms breaks B3f9 --as-of yesterday
    """
    if break_id is not None:
        which, _ = which_and_key(words)
        async with shelf(context, words["as_of"], which, words["zone"]) as place:
            await _tell(place, break_id, as_json=as_json)
        return
    where: dict[str, object] = {} if every else {"status": "open"}
    found = await listed(context, "breaks", words, where=where, as_json=as_json)
    if found is None:
        return
    place, chosen = found.place, cast("list[BreakCase]", found.records)
    if as_json:
        values = [break_json(one) for one in chosen]
        print_json("breaks", **place.json, breaks=values)
        return
    place.say()
    show(breaks_table(chosen, place.now))
    say_count(chosen, "break" if every else "open break")


async def _tell(place: Shelf, break_id: str, *, as_json: bool) -> None:
    """Print the story of a break, as of a moment to there."""
    name = (await find_break(place.reader, break_id)).break_id
    case = await place.books.one("breaks", name)
    if not isinstance(case, BreakCase):
        raise NotFound(
            f"there was no break {name} yet", hint="`oms breaks BREAK` tells its story as of now"
        )
    last = None if place.past is None else place.sequence
    events = await _story(place.reader, case, last)
    if as_json:
        about = {} if place.past is None else {"as_of": place.json["as_of"]}
        rows = [event_json(e) for e in events]
        print_json("break", **break_json(case), events=rows, **about)
        return

    place.say()
    show(breaks_table([case], place.now))
    finding = case.finding
    for one in case.findings:
        if one.text:
            write(f"{witness_words(one)}: {one.text}" if case.also else one.text)
    if case.proposed is not None:
        write(f"to make both sides equal: {describe_adjustment(case.proposed)}")
    if case.live and finding.break_class is not None:
        write(f"next: {BREAKS[finding.break_class].action}")
    _show_events(events)


async def _story(reader: Reader, case: BreakCase, last: int | None) -> list[Envelope]:
    """Return the events about a break, and those that its finding names as evidence."""
    about = await about_break(reader, case)
    found = {one.sequence: one for one in about if last is None or one.sequence <= last}
    for sequence in {number for one in case.findings for number in one.evidence}:
        if sequence not in found:
            found[sequence] = await reader.event(sequence)
    return [found[sequence] for sequence in sorted(found)]


def _show_events(events: list[Envelope]) -> None:
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
