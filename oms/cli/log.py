"""The verb `log`: the events themselves, as they were written."""

from __future__ import annotations

import asyncio
from datetime import UTC
from typing import Annotated, Any, Final

import typer

from oms import report
from oms.cli.asking import COUNTS, FILTERS, SORT, Question, asked, say_none, show_count
from oms.cli.ids import short
from oms.cli.listing import Listing
from oms.cli.options import with_options
from oms.cli.output import write_json
from oms.cli.reading import perform, reading
from oms.cli.terminal import show, table
from oms.core.events import Envelope
from oms.errors import InvalidRequest
from oms.history.query import Query, count, orders_of, search
from oms.report.wire import wire_text
from oms.store.reader import Reader

app = typer.Typer()

#: How often `--follow` looks for new events.
FOLLOW_SECONDS: Final = 0.2

#: Events that are shown where no limit is given.
_SHOWN: Final = 50


@app.command(cls=Question)
@with_options(FILTERS, SORT, COUNTS)
def log(
    context: typer.Context,
    *,
    type_name: Annotated[
        list[str] | None,
        typer.Option("--type", metavar="TYPE", help="Only events of this type."),
    ] = None,
    correlation: Annotated[
        str | None,
        typer.Option(metavar="ID", help="Only what names this run, request, order or question."),
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", help="Go on as events are written.")] = False,
    wire: Annotated[bool, typer.Option("--wire", help="The broker's own fields, too.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object per event and line.")
    ] = False,
    **words: Any,
) -> None:
    """Show events of the log: the last ones, or with --after the first ones from there.

    --sort is by sequence, happened (IB's time) or what can be counted by, such as type.

    An event that names no account or contract, such as a status, is found by those of its order.
    Each event that is shown has its hash checked; a wrong one ends the verb with status 4.

    \b
    seq       index in the whole log, gapless
    recorded  when we wrote it, UTC
    who       broker, daemon, reconciler, strategy:NAME or person:NAME
    type      name of the fact; docs/reference/events.md describes each
    order     the order, run or request that it belongs to; with ~ before it, the
              message is IB's and the books attribute it to the order (`oms why SEQ`: by what)

    \b
    oms log --code 201 --during 2026-06 --count --by symbol
    oms log --order 3f9a12c4 --wire
    oms log --type ExecutionReceived --follow --json
    """
    query = asked(context, {**words, "type": type_name, "correlation": correlation}, _SHOWN)
    if follow and words["count"]:
        raise InvalidRequest("--count counts what is there; it does not go with --follow")
    if follow and query.sort is not None:
        raise InvalidRequest("--follow goes with the log; it does not go with --sort")

    async def work() -> None:
        async with reading(context) as reader:
            if words["count"]:
                counted = await count(reader, query, words["by"] or "")
                show_count(counted, as_json=as_json)
                if not counted.total:
                    await say_none(reader, query)
                return
            found = [envelope async for envelope in search(reader, query)]
            envelopes = found
            if query.sort is None:
                envelopes = sorted(found, key=lambda envelope: envelope.sequence)
            await _print(reader, envelopes, wire=wire, as_json=as_json)
            if not found:
                await say_none(reader, query, "" if follow else "event")
            if follow:
                last = envelopes[-1].sequence if envelopes else (await reader.head()).sequence
                await _follow(reader, last, query, wire=wire, as_json=as_json)

    try:
        perform(work())
    except KeyboardInterrupt:
        return  # the way to end --follow


async def _follow(reader: Reader, last: int, query: Query, *, wire: bool, as_json: bool) -> None:
    while True:
        head = (await reader.head()).sequence
        if head > last:
            page = query.evolve(after=last, before=head + 1, limit=None, reverse=False)
            found = [one async for one in search(reader, page)]
            await _print(reader, found, wire=wire, as_json=as_json)
            last = head
        await asyncio.sleep(FOLLOW_SECONDS)


async def _print(reader: Reader, envelopes: list[Envelope], *, wire: bool, as_json: bool) -> None:
    orders = await orders_of(reader, envelopes)
    if as_json:
        for envelope in envelopes:
            row = report.event_json(envelope)
            ids = orders.get(envelope.sequence, [])
            write_json({"schema": 1, "kind": "event", **row, "order_ids": ids})
        return
    if envelopes:
        show(_table(envelopes, orders, wire=wire))


def _table(envelopes: list[Envelope], orders: dict[int, list[str]], *, wire: bool) -> Listing:
    made = table(
        *("seq", "recorded (UTC)", "who", "type", "order", "what it says"),
        right=("seq",),
        wrap=("what it says",),
    )
    for envelope in envelopes:
        said = report.sentence(envelope)
        if wire and envelope.wire is not None:
            said += f"\n{wire_text(envelope)}"
        made.add_row(
            str(envelope.sequence),
            f"{envelope.recorded_at.astimezone(UTC):%m-%d %H:%M:%S.%f}"[:-3],
            envelope.context.actor,
            type(envelope.event).__name__,
            _belongs_to(envelope, orders.get(envelope.sequence, [])),
            said,
        )
    return made


def _belongs_to(envelope: Envelope, order_ids: list[str]) -> str:
    if not order_ids:
        return short(envelope.context.correlation_id or "")
    first = order_ids[0]
    mark = "~" if envelope.context.actor == "broker" else ""
    more = f" +{len(order_ids) - 1}" if order_ids[1:] else ""
    return f"{mark}{short(first)}{more}"
