"""The verb `fills`: what was executed, after corrections."""

from __future__ import annotations

from typing import Any, cast

import typer

from oms.cli.asking import BOOKS, FILTERS, Question, listed
from oms.cli.options import AsJson, with_options
from oms.cli.output import print_json, say
from oms.cli.reading import asynchronous
from oms.cli.tables import fills_table
from oms.cli.terminal import say_count, show
from oms.core.fold.records import Fill
from oms.report.clock import clock_json
from oms.report.record_json import fill_json

app = typer.Typer()


@app.command(cls=Question)
@with_options(FILTERS, BOOKS)
@asynchronous
async def fills(context: typer.Context, *, as_json: AsJson = False, **words: Any) -> None:
    """List fills, the newest in the order in which they were booked.

    --state, --code, --actor and --strategy are those of the order; --since and --until are about
    when the log recorded a fill.

    \b
    time        the broker's
    commission  empty while IB has not reported it
    execution   IB's id; a correction has the same stem and a higher last number
    learnt      pushed as it happened, or backfilled: fetched after a gap

    \b
    oms fills --symbol AAPL --since today
    oms fills --order 3f9a12c4 --json
    oms fills --as-of 2026-06-01T14:03Z --by happened
    """
    found = await listed(context, "fills", words, where={}, limit=100, as_json=as_json)
    if found is None:
        return
    place, chosen = found.place, cast("list[Fill]", found.records)
    if as_json:
        clocks = found.clocks
        values = [
            {**fill_json(one), "broker_clock": clock_json(clocks.of_fill(one))} for one in chosen
        ]
        print_json("fills", **place.json, fills=values)
        return
    place.say()
    show(fills_table(chosen))
    if words_of_clocks := found.clocks.worst(chosen):
        say(f"Note: {words_of_clocks}")
    say_count(chosen, "fill")
