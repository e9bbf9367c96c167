"""The verb `fills`: what was executed, after corrections."""

from __future__ import annotations

from typing import Annotated

import typer

from oms.cli.options import Account, AsJson, Limit, Symbol
from oms.cli.output import print_json
from oms.cli.past import AsOf, WhichOf, shelf
from oms.cli.reading import asynchronous, where
from oms.cli.tables import fills_table
from oms.cli.terminal import say_count, show
from oms.core.fold.records import Fill
from oms.history.names import find_order
from oms.report.record_json import fill_json

app = typer.Typer()


@app.command()
@asynchronous
async def fills(
    context: typer.Context,
    *,
    account: Account = None,
    symbol: Symbol = None,
    order_id: Annotated[
        str | None, typer.Option("--order", metavar="ORDER", help="Only this order's.")
    ] = None,
    limit: Limit = 100,
    as_of: AsOf = None,
    by: WhichOf = None,
    as_json: AsJson = False,
) -> None:
    """List fills, the newest LIMIT in the order in which they were booked.

    \b
    time        the broker's
    commission  empty while IB has not reported it
    execution   IB's id; a correction has the same stem and a higher last number
    learnt      pushed as it happened, or backfilled: fetched after a gap

    \b
    oms fills --symbol AAPL
    oms fills --order 3f9a12c4 --json
    oms fills --as-of 2026-06-01T14:03Z --by happened
    """
    async with shelf(context, as_of, by) as found:
        condition = where(account, symbol)
        if order_id is not None:
            condition["order_id"] = (await find_order(found.reader, order_id)).order_id
        rows = await found.books.rows(
            "fills", condition, order="booked_sequence", reverse=True, limit=limit
        )
    chosen = [row for row in reversed(rows) if isinstance(row, Fill)]
    if as_json:
        values = [fill_json(one) for one in chosen]
        print_json("fills", **found.json, fills=values)
        return
    found.say()
    show(fills_table(chosen))
    say_count(chosen, "fill")
