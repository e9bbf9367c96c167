"""The verb `log`: the events themselves, as they were written."""

from __future__ import annotations

import asyncio
import difflib
from datetime import UTC
from typing import Annotated, Final

import typer
from rich.table import Table
from rich.text import Text

from oms import report
from oms.cli.ids import find_order, short
from oms.cli.output import write_json
from oms.cli.reading import perform, reading
from oms.cli.terminal import show, table
from oms.core.bounds import SEQUENCE
from oms.core.events import EVENT_TYPES, Envelope
from oms.errors import InvalidRequest
from oms.report.wire import wire_text
from oms.store.reader import Reader

app = typer.Typer()

#: How often `--follow` looks for new events.
FOLLOW_SECONDS: Final = 0.2

#: Events of one look.
_PAGE: Final = 1_000


@app.command()
def log(
    context: typer.Context,
    *,
    order_id: Annotated[
        str | None, typer.Option("--order", metavar="ORDER", help="Only events about this order.")
    ] = None,
    type_name: Annotated[
        str | None, typer.Option("--type", metavar="TYPE", help="Only events of this type.")
    ] = None,
    after: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=SEQUENCE.high,
            metavar="SEQ",
            help="Begin after this sequence; else at the end.",
        ),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=1_000_000, help="Events shown at most.")] = 50,
    follow: Annotated[bool, typer.Option("--follow", help="Go on as events are written.")] = False,
    wire: Annotated[bool, typer.Option("--wire", help="The broker's own fields, too.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object per event and line.")
    ] = False,
) -> None:
    """Show events of the log: the last LIMIT, or with --after the first LIMIT from there.

    \b
    seq       index in the whole log, gapless
    recorded  when we wrote it, UTC
    who       broker, daemon, reconciler, strategy:NAME or person:NAME
    type      name of the fact; docs/reference/events.md describes each
    order     the order, run or request that it belongs to

    \b
    oms log --order 3f9a12c4 --wire
    oms log --type ExecutionReceived --follow --json
    """

    async def work() -> None:
        async with reading(context) as reader:
            order = (await find_order(reader, order_id)).order_id if order_id else None
            type_known = _known_type(type_name)
            sequence = after if after is not None else 0
            found = await reader.events(
                sequence, limit=limit, type=type_known, order_id=order, reverse=after is None
            )
            envelopes = sorted(found, key=lambda envelope: envelope.sequence)
            _print(envelopes, wire=wire, as_json=as_json)
            if follow:
                last = envelopes[-1].sequence if envelopes else (await reader.head()).sequence
                await _follow(reader, last, type_known, order, wire=wire, as_json=as_json)

    try:
        perform(work())
    except KeyboardInterrupt:
        return  # the way to end --follow


async def _follow(
    reader: Reader,
    last: int,
    type_name: str | None,
    order_id: str | None,
    *,
    wire: bool,
    as_json: bool,
) -> None:
    while True:
        new = await reader.events(last, limit=_PAGE, type=type_name, order_id=order_id)
        _print(new, wire=wire, as_json=as_json)
        last = new[-1].sequence if new else last
        if len(new) < _PAGE:
            await asyncio.sleep(FOLLOW_SECONDS)


def _known_type(name: str | None) -> str | None:
    if name is None or name in EVENT_TYPES:
        return name
    by_lower = {known.lower(): known for known in EVENT_TYPES}
    if name.lower() in by_lower:
        return by_lower[name.lower()]
    close = difflib.get_close_matches(name.lower(), by_lower, 3)
    raise InvalidRequest(
        f"no event type is called {name!r}",
        hint="did you mean " + ", ".join(by_lower[c] for c in close) + "?"
        if close
        else "docs/reference/events.md lists them",
    )


def _print(envelopes: list[Envelope], *, wire: bool, as_json: bool) -> None:
    if as_json:
        for envelope in envelopes:
            write_json({"schema": 1, "kind": "event", **report.event_json(envelope)})
        return
    if envelopes:
        show(_table(envelopes, wire=wire))


def _table(envelopes: list[Envelope], *, wire: bool) -> Table:
    made = table(
        *("seq", "recorded (UTC)", "who", "type", "order", "what it says"),
        right=("seq",),
        wrap=("what it says",),
    )
    for envelope in envelopes:
        said = Text(report.sentence(envelope))
        if wire and envelope.wire is not None:
            said.append(f"\n{wire_text(envelope)}", style="dim")
        made.add_row(
            str(envelope.sequence),
            f"{envelope.recorded_at.astimezone(UTC):%m-%d %H:%M:%S.%f}"[:-3],
            envelope.context.actor,
            type(envelope.event).__name__,
            short(envelope.context.correlation_id or ""),
            said,
        )
    return made
