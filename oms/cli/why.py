"""The verb `why`: from an event, an order, a position, a break and more back to what led to it."""

from __future__ import annotations

from typing import Annotated

import typer

from oms.cli.options import AsJson
from oms.cli.output import write_json
from oms.cli.reading import asynchronous, reading
from oms.cli.terminal import show
from oms.history.why import why as answer
from oms.report.why import why_json
from oms.report.why_view import why_terminal

app = typer.Typer()


@app.command()
@asynchronous
async def why(
    context: typer.Context,
    *,
    subject: Annotated[
        str,
        typer.Argument(
            metavar="SEQUENCE|ORDER|POSITION|...",
            help="An event's sequence; any name of an order; ACCOUNT:CONID; the id of a break, an"
            " execution, an alarm or a request.",
        ),
    ],
    wire: Annotated[
        bool, typer.Option("--wire", help="The fields of messages as they stood, too.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Say why something is as it is: what was asked, checked, intended, sent and heard.

    \b
    when          what each clock says: IB's, ours at the socket, ours in the log; UTC
    because of    an earlier event. One that the event names itself stands as it is;
                  "presumed": IB does not mark what it answers;
                  "attributed": nothing in it names us, the fold has joined the two
    passed        the rules that an order passed, each with the limit that it kept
    held          of a position: what is held after each fill, correction or adjustment

    \b
    oms why 812
    oms why 3f9a12c4 --wire
    oms why 0000e0d5.5f3a1b2c.01.01
    oms why DU1234567:265598 --json
    """
    async with reading(context) as reader:
        found = await answer(reader, subject)
    if as_json:
        write_json(why_json(found))
    else:
        show(why_terminal(found, wire=wire))
