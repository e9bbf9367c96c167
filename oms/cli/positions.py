"""The verb `positions`: what is held by our books, beside what IB last said."""

from __future__ import annotations

from typing import Any, cast

import typer

from oms.cli.asking import BOOKS, FILTERS, Question, listed
from oms.cli.options import All, AsJson, with_options
from oms.cli.output import print_json
from oms.cli.reading import asynchronous
from oms.cli.tables import positions_table
from oms.cli.terminal import say_count, show
from oms.core.fold.records import Position
from oms.report.record_json import position_json

app = typer.Typer()


@app.command(cls=Question)
@with_options(FILTERS, BOOKS)
@asynchronous
async def positions(
    context: typer.Context, *, every: All = False, as_json: AsJson = False, **words: Any
) -> None:
    """List the positions of our books beside what IB last said; --all shows flat ones, too.

    --side BUY are those held long; --since and --until are about when a position last changed.
    --order, --state, --code, --actor, --strategy and --session: those that a fill of such an order,
    or of that session, moved.

    \b
    quantity   opening balance and executions, nothing else
    average    average price of what is held, without commissions
    realised   by average cost, in the contract's currency, without commissions
    at IB      what IB last said and when; a difference that lasts becomes a break

    \b
    oms positions
    oms positions --account DU1234567 --json
    oms positions --as-of 2026-06-01T14:03Z --by happened
    """
    where: dict[str, object] = {} if every else {"live": 1}
    found = await listed(context, "positions", words, where=where, as_json=as_json)
    if found is None:
        return
    place, chosen = found.place, cast("list[Position]", found.records)
    if as_json:
        values = [position_json(one) for one in chosen]
        print_json("positions", **place.json, positions=values)
        return
    place.say()
    show(positions_table(chosen, place.now))
    say_count(chosen, "position")
