"""The verb `positions`: what is held by our books, beside what IB last said."""

from __future__ import annotations

import typer

from oms.cli.options import Account, All, AsJson, Symbol
from oms.cli.output import print_json
from oms.cli.reading import asynchronous, reached, reading, where
from oms.cli.tables import positions_table
from oms.cli.terminal import say_count, show
from oms.clock import SystemClock
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
    """
    async with reading(context) as reader:
        sequence = await reached(reader)
        rows = await reader.rows("positions", where(account, symbol))
    chosen = [r for r in rows if isinstance(r, Position) and (every or r.live)]
    chosen.sort(key=lambda row: (row.account, row.contract.symbol, row.contract.con_id))
    if as_json:
        values = [position_json(one) for one in chosen]
        print_json("positions", as_of_sequence=sequence, positions=values)
        return
    show(positions_table(chosen, SystemClock().now()))
    say_count(chosen, "position")
