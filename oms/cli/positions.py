"""The verb `positions`: what is held by our books, beside what IB last said."""

from __future__ import annotations

import typer

from oms.cli.options import Account, All, AsJson, Symbol
from oms.cli.output import print_json
from oms.cli.past import AsOf, WhichOf, shelf
from oms.cli.reading import asynchronous, where
from oms.cli.tables import positions_table
from oms.cli.terminal import say_count, show
from oms.core.fold.records import Position
from oms.report.record_json import position_json

app = typer.Typer()


@app.command()
@asynchronous
async def positions(
    context: typer.Context,
    *,
    account: Account = None,
    symbol: Symbol = None,
    every: All = False,
    as_of: AsOf = None,
    by: WhichOf = None,
    as_json: AsJson = False,
) -> None:
    """List the positions of our books beside what IB last said; --all shows flat ones, too.

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
    async with shelf(context, as_of, by) as found:
        rows = await found.books.rows("positions", where(account, symbol))
    chosen = [r for r in rows if isinstance(r, Position) and (every or r.live)]
    chosen.sort(key=lambda row: (row.account, row.contract.symbol, row.contract.con_id))
    if as_json:
        values = [position_json(one) for one in chosen]
        print_json("positions", **found.json, positions=values)
        return
    found.say()
    show(positions_table(chosen, found.now))
    say_count(chosen, "position")
