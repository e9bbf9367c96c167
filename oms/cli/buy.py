"""The verbs `buy`, `sell` and `bracket`.

Each appends a request that the running daemon checks and carries out, then waits for the outcome
and prints it. What cannot be an order is refused here, before anything is written.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from oms.cli.dry_run import show_order
from oms.cli.options import CONTRACT, GROUPING, QUANTITY, SENDING, TERMS, with_options
from oms.cli.outcome import answered, judge, report_orders, rule
from oms.cli.output import say
from oms.cli.parse import order_request, side_of
from oms.cli.reading import asynchronous, reading
from oms.cli.request import append_requests
from oms.cli.terminal import waiting
from oms.core.admit.groups import NewOrder, bracket_of, check_same
from oms.core.events import OrderRequested, Side
from oms.core.fold.records import Order
from oms.core.money import number
from oms.errors import InvalidRequest, RequestTimedOut

app = typer.Typer()


@app.command()
@with_options(QUANTITY, CONTRACT, TERMS, GROUPING, SENDING)
@asynchronous
async def buy(context: typer.Context, **words: Any) -> None:
    """Buy: at the market, or with the prices that the options name.

    CONTRACT is a symbol for a stock, a pair for currencies (EUR.USD), SYMBOL/EXPIRY@EXCHANGE for a
    future, SYMBOL/EXPIRY/STRIKE/RIGHT for an option; the options name everything else. --limit,
    --stop or both make a limit, stop or stop-limit order; --trail or --trail-percent a trailing
    stop, with --limit-offset a trailing stop-limit; --at an order for the opening or the closing
    auction.

    Prints the order as soon as IB has named it; the columns are those of `oms orders`. The exit
    status is 1 when it was denied or rejected, and 6 when its outcome is not known: never send it
    again then, `oms order ORDER` shows what became of it. With --dry-run the status is 1 when a
    rule would deny it. An open break denies new orders in its contract, but lets one with --closing
    pass.

    \b
    oms buy 100 AAPL --limit 185.50
    oms buy 100 AAPL --order-id rebalance-2026-01-05-aapl --wait 30 --json
    oms buy 2 ES/202609@CME --trail 12.50 --tif GTC
    oms buy 5 AAPL/20260918/200/C --limit 3.20 --dry-run
    oms buy 20000 EUR.USD --limit 1.0825 --tif GTD --good-till 2026-01-05T20:00:00Z
    """
    await _order(context, "BUY", words)


@app.command()
@with_options(QUANTITY, CONTRACT, TERMS, GROUPING, SENDING)
@asynchronous
async def sell(context: typer.Context, **words: Any) -> None:
    """Sell: at the market, or with the prices that the options name.

    Contracts, options, columns and exit status are those of `oms buy`.

    \b
    oms sell 100 AAPL --stop 180 --tif GTC
    oms sell 50 MSFT --limit 415.25 --dry-run
    oms sell 100 AAPL --trail-percent 2 --stop 181 --limit-offset 0.10
    oms sell 100 AAPL --at close
    oms sell 100 AAPL --closing
    """
    await _order(context, "SELL", words)


@app.command()
@with_options(QUANTITY, CONTRACT, TERMS, SENDING)
@asynchronous
async def bracket(
    context: typer.Context,
    *,
    side: Annotated[str, typer.Argument(metavar="BUY|SELL", help="Of the entry.")],
    take_profit: Annotated[str, typer.Option(metavar="PRICE", help="Limit price of the exit.")],
    stop_loss: Annotated[str, typer.Option(metavar="PRICE", help="Stop price of the exit.")],
    **words: Any,
) -> None:
    """Send an entry with its take-profit and its stop-loss: three orders, intended together.

    The entry is any order of `oms buy`. The exits have the entry's id with -tp and -sl; they wait
    at IB until the entry fills; when one exit fills, IB cancels the other. Columns and exit status
    are those of `oms buy`.

    \b
    oms bracket BUY 100 AAPL --limit 185 --take-profit 195 --stop-loss 180
    oms bracket SELL 10 TSLA --limit 210 --take-profit 190 --stop-loss 220 --tif GTC
    """
    request = order_request(side_of(side), words)
    exits = {
        "take_profit": number("take-profit", take_profit),
        "stop_loss": number("stop-loss", stop_loss),
    }
    # Here as well as in the daemon: what cannot be a bracket is refused before it is written.
    bracket_of(NewOrder(request.contract, request.terms, request.order_id), **exits)
    await _send(context, request.evolve(**exits), words)


async def _order(context: typer.Context, side: Side, words: Mapping[str, Any]) -> None:
    await _send(context, order_request(side, words), words)


async def _send(context: typer.Context, request: OrderRequested, words: Mapping[str, Any]) -> None:
    wait, as_json = words["wait"], words["as_json"]
    async with reading(context) as reader:
        if words["dry_run"]:
            await show_order(context, reader, request, as_json=as_json)
            return

        receipt = append_requests(context, [request])[0]
        if receipt.conflict:
            raise InvalidRequest(
                f"order id {request.order_id} stands for another order already",
                hint="nothing was sent, the attempt is in the log;"
                f" `oms order {request.order_id}` shows the order that has this id",
            )
        if receipt.duplicate:
            say(f"order {request.order_id} was asked for before; this is what became of it")
        with waiting(f"order {request.order_id}: waiting for IB's word"):
            order = await answered(reader, request.order_id, wait)
        if order is None:
            raise RequestTimedOut(
                f"the daemon has not taken up order {request.order_id} after {wait:g} s"
            )
        if order.origin != "ours":
            # The daemon says the same; it writes nothing where the order is there.
            check_same(NewOrder(request.contract, request.terms, request.order_id), order)
            say(f"IB has an order with the key {order.order_id} already; nothing was sent")
        rows = await reader.rows("orders", {"parent_order_id": order.order_id})
        legs = [row for row in rows if isinstance(row, Order)]
        named = await rule(reader, order)
    report_orders([order, *legs], as_json=as_json)
    judge(order, named, wait)
