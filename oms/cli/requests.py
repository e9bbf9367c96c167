"""The verb `requests`: what people have asked the daemon for, and what became of it."""

from __future__ import annotations

from typing import Annotated, Any, Final

import typer

from oms.cli.asking import (
    BOOKS,
    FILTERS,
    Question,
    asked,
    say_none,
    show_count,
    which_and_key,
)
from oms.cli.ids import short
from oms.cli.options import AsJson, with_options
from oms.cli.output import print_json
from oms.cli.past import shelf
from oms.cli.reading import asynchronous
from oms.cli.tables import clock
from oms.cli.terminal import say_count, show, table
from oms.history.query import count
from oms.history.requests import among_requests
from oms.history.requests import requests as find
from oms.report.requests import BECAME, Asked, asked_json
from oms.report.sentences import sentence

app = typer.Typer()

#: Requests that are shown where no limit is given.
_SHOWN: Final = 50


@app.command(cls=Question)
@with_options(FILTERS, BOOKS)
@asynchronous
async def requests(
    context: typer.Context,
    *,
    type_name: Annotated[
        list[str] | None,
        typer.Option("--type", metavar="TYPE", help="Only this kind, such as CancelRequested."),
    ] = None,
    as_json: AsJson = False,
    **words: Any,
) -> None:
    """List what people have asked the daemon for, and what became of each request.

    With --as-of, as it was then: what was answered later waits.

    \b
    seq      the request in the log: `oms why SEQ` says what it led to
    who      the person who asked
    became   done, refused, under way, or waits for the daemon
    answer   what the daemon wrote to it last; what IB did then is in `oms order`

    \b
    oms requests
    oms requests --actor person:anna --during 2026-06 --json
    oms requests --type CancelRequested --count --by actor
    oms requests --as-of 2026-06-01T14:03Z
    """
    query = asked(context, {**words, "type": type_name}, _SHOWN)
    which, key = which_and_key(words)
    async with shelf(context, words["as_of"], which, words["zone"]) as place:
        last = None if place.past is None else place.sequence
        if words["count"]:
            counted = await count(place.reader, among_requests(query, last), key)
            show_count(counted, as_json=as_json)
            return
        found = await find(place.reader, query, last)
        if not found and not as_json:
            await say_none(place.reader, query)
    if as_json:
        print_json("requests", **place.json, requests=[asked_json(one) for one in found])
        return
    if place.past is not None:
        place.say()
    _show(found)
    say_count(found, "request")


def _show(found: list[Asked]) -> None:
    made = table(
        *("seq", "asked", "who", "what", "about", "became", "answer"),
        right=("seq",),
        wrap=("what", "answer"),
    )
    for one in found:
        made.add_row(
            str(one.envelope.sequence),
            clock(one.envelope.recorded_at),
            one.envelope.context.actor,
            sentence(one.envelope),
            short(one.about),
            BECAME[one.became],
            one.answer,
        )
    show(made)
