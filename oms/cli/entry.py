"""Verbs that send: buy, sell, bracket, modify and cancel.

Each appends a request that the running daemon checks and carries out, then waits for the outcome
and prints it. What cannot be an order is refused here, before anything is written.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from oms.cli.frame import (
    Account,
    AsJson,
    Symbol,
    confirmed,
    perform,
    print_json,
    reading,
    say,
    settings_of,
    show,
    waiting,
)
from oms.cli.words import changes_of, number_of, order_request, show_request, side_of
from oms.errors import InvalidRequest, RequestTimedOut

if TYPE_CHECKING:
    from oms.core.events import OrderRequested
    from oms.core.records import Order
    from oms.store.reader import Reader
    from oms.store.writer import Receipt

Quantity = Annotated[str, typer.Argument(metavar="QTY", help="How many; above zero.")]
SymbolArgument = Annotated[str, typer.Argument(metavar="SYMBOL", help="Of a stock, such as AAPL.")]
Limit = Annotated[str | None, typer.Option(metavar="PRICE", help="Limit price; else market.")]
Stop = Annotated[str | None, typer.Option(metavar="PRICE", help="Stop price.")]
OfAccount = Annotated[
    str | None,
    typer.Option("--account", help="In which account; may be left out where there is one."),
]
Tif = Annotated[str, typer.Option(help="Time in force: DAY, GTC, IOC, FOK or OPG.")]
Exchange = Annotated[str, typer.Option(help="Where it is routed.")]
Currency = Annotated[str, typer.Option(help="In which the contract trades.")]
Key = Annotated[
    str | None,
    typer.Option("--order-id", metavar="KEY", help="Your own id: the same key twice is one order."),
]
Wait = Annotated[
    float, typer.Option(min=0, max=3600, metavar="SECONDS", help="How long to wait for IB's word.")
]
Reason = Annotated[str, typer.Option(help="Why, for whoever reads the log.")]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Show the request; write and send nothing.")
]
Order_ = Annotated[str, typer.Argument(metavar="ORDER", help="Any unique beginning of its id.")]


def register(app: typer.Typer) -> None:
    """Add the verbs of this file."""
    for verb in (buy, sell, bracket, modify, cancel):
        app.command()(verb)


def buy(
    context: typer.Context,
    *,
    quantity: Quantity,
    symbol: SymbolArgument,
    limit: Limit = None,
    stop: Stop = None,
    tif: Tif = "DAY",
    account: OfAccount = None,
    exchange: Exchange = "SMART",
    currency: Currency = "USD",
    order_id: Key = None,
    wait: Wait = 10.0,
    reason: Reason = "",
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Buy a stock: at the market, or with --limit, --stop or both.

    Prints the order as soon as IB has named it; the columns are those of `oms orders`. The exit
    status is 1 when it was denied or rejected, and 6 when its outcome is not known: never send it
    again then, `oms order ORDER` shows what became of it.

    \b
    oms buy 100 AAPL --limit 185.50
    oms buy 100 AAPL --order-id rebalance-2026-01-05-aapl --wait 30 --json
    """
    request = order_request(
        "BUY",
        quantity=quantity,
        symbol=symbol,
        limit=limit,
        stop=stop,
        tif=tif,
        account=account,
        exchange=exchange,
        currency=currency,
        order_id=order_id,
        reason=reason,
    )
    _send(context, request, wait, dry_run=dry_run, as_json=as_json)


def sell(
    context: typer.Context,
    *,
    quantity: Quantity,
    symbol: SymbolArgument,
    limit: Limit = None,
    stop: Stop = None,
    tif: Tif = "DAY",
    account: OfAccount = None,
    exchange: Exchange = "SMART",
    currency: Currency = "USD",
    order_id: Key = None,
    wait: Wait = 10.0,
    reason: Reason = "",
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Sell a stock: at the market, or with --limit, --stop or both.

    Prints the order as soon as IB has named it; columns and exit status are those of `oms buy`.

    \b
    oms sell 100 AAPL --stop 180 --tif GTC
    oms sell 50 MSFT --limit 415.25 --dry-run
    """
    request = order_request(
        "SELL",
        quantity=quantity,
        symbol=symbol,
        limit=limit,
        stop=stop,
        tif=tif,
        account=account,
        exchange=exchange,
        currency=currency,
        order_id=order_id,
        reason=reason,
    )
    _send(context, request, wait, dry_run=dry_run, as_json=as_json)


def bracket(
    context: typer.Context,
    *,
    side: Annotated[str, typer.Argument(metavar="BUY|SELL", help="Of the entry.")],
    quantity: Quantity,
    symbol: SymbolArgument,
    limit: Annotated[str, typer.Option(metavar="PRICE", help="Limit price of the entry.")],
    take_profit: Annotated[str, typer.Option(metavar="PRICE", help="Limit price of the exit.")],
    stop_loss: Annotated[str, typer.Option(metavar="PRICE", help="Stop price of the exit.")],
    tif: Tif = "DAY",
    account: OfAccount = None,
    exchange: Exchange = "SMART",
    currency: Currency = "USD",
    order_id: Key = None,
    wait: Wait = 10.0,
    reason: Reason = "",
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Send an entry with its take-profit and its stop-loss: three orders, intended together.

    The exits have the entry's id with -tp and -sl; they wait at IB until the entry fills, and the
    one cancels the other. Columns and exit status are those of `oms buy`.

    \b
    oms bracket BUY 100 AAPL --limit 185 --take-profit 195 --stop-loss 180
    oms bracket SELL 10 TSLA --limit 210 --take-profit 190 --stop-loss 220 --tif GTC
    """
    request = order_request(
        side_of(side),
        quantity=quantity,
        symbol=symbol,
        limit=limit,
        stop=None,
        tif=tif,
        account=account,
        exchange=exchange,
        currency=currency,
        order_id=order_id,
        reason=reason,
    )
    exits = {
        "take_profit": number_of("take-profit", take_profit),
        "stop_loss": number_of("stop-loss", stop_loss),
    }
    low, high = sorted(exits.values())
    if exits["take_profit"] != (high if request.terms.side == "BUY" else low) or low == high:
        raise InvalidRequest(
            f"a {request.terms.side} bracket needs its stop-loss on the losing side of its"
            f" take-profit, found take-profit {take_profit} and stop-loss {stop_loss}"
        )
    _send(context, request.model_copy(update=exits), wait, dry_run=dry_run, as_json=as_json)


def modify(
    context: typer.Context,
    *,
    order_id: Order_,
    limit: Annotated[str | None, typer.Option(metavar="PRICE", help="New limit price.")] = None,
    stop: Annotated[str | None, typer.Option(metavar="PRICE", help="New stop price.")] = None,
    quantity: Annotated[str | None, typer.Option(metavar="QTY", help="New whole quantity.")] = None,
    wait: Wait = 10.0,
    reason: Reason = "",
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Change a working order's price or quantity.

    Prints the order once IB shows the new terms; the columns are those of `oms orders`. The exit
    status is 1 when the change was refused, by us or by IB: the order then stays as it was.

    \b
    oms modify 3f9a12c4 --limit 186
    oms modify 3f9a12c4 --quantity 50 --reason "half is enough"
    """

    async def work() -> None:
        from oms.cli.find import find_order
        from oms.cli.outcome import modified, refuse
        from oms.core.events import ModifyRequested

        async with reading(context) as reader:
            found = await find_order(reader, order_id)
            changes = changes_of(found, limit, stop, quantity)
            request = ModifyRequested(order_id=found.order_id, reason=reason, **changes)
            if dry_run:
                show_request(request, as_json=as_json)
                return
            receipt = _append(context, [request])[0]
            with waiting(f"waiting for IB to change {order_id}"):
                refused, after = await modified(reader, found.order_id, receipt.sequence, wait)
        _report([after], as_json=as_json)
        if refused:
            refuse(f"the change was refused: {refused}")

    perform(work())


def cancel(
    context: typer.Context,
    *,
    order_ids: Annotated[
        list[str] | None, typer.Argument(metavar="ORDER...", help="Any unique beginnings.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Every order at work.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before cancelling all.")] = False,
    account: Account = None,
    symbol: Symbol = None,
    wait: Wait = 10.0,
    reason: Reason = "",
    as_json: AsJson = False,
) -> None:
    """Cancel orders; cancels pass every check, also while trading is halted.

    Prints the orders as they ended; the columns are those of `oms orders`. An order that has ended
    already is no error. The exit status is 1 when IB or we refused a cancel, and 6 when an end did
    not arrive in time.

    \b
    oms cancel 3f9a12c4 77b0aa51
    oms cancel --all --symbol AAPL --yes
    """
    if bool(order_ids) == every:
        raise InvalidRequest("name the orders to cancel, or say --all")

    async def work() -> None:
        from oms.cli.outcome import cancelled, current
        from oms.core.events import CancelRequested

        async with reading(context) as reader:
            chosen = await _chosen(reader, order_ids or [], account, symbol)
            live = [one for one in chosen if one.live]
            for one in chosen:
                if not one.live:
                    say(f"{one.order_id} has ended already: {one.state.value}")
            if live and every and not yes:
                _confirm(live)
            requests = [CancelRequested(order_id=o.order_id, reason=reason) for o in live]
            receipts = _append(context, requests) if requests else []
            with waiting(f"waiting for {len(live)} cancels"):
                refusals = await cancelled(reader, live, receipts, wait)
            after = [await current(reader, one.order_id) for one in chosen]
        _report(after, as_json=as_json)
        for words in refusals:
            say(f"the cancel was refused: {words}")
        if refusals:
            raise typer.Exit(1)
        late = [one.order_id for one in after if one.live]
        if late:
            raise RequestTimedOut(f"{', '.join(late)}: still not ended after {wait:g} s")

    perform(work())


# ── from a request to its outcome ────────────────────────────────────────────────────────────────


def _append(context: typer.Context, requests: list[Any]) -> list[Receipt]:
    from oms.cli.request import append

    url = settings_of(context).database_url
    return append(url, [(request, request.order_id) for request in requests])


def _send(
    context: typer.Context, request: OrderRequested, wait: float, *, dry_run: bool, as_json: bool
) -> None:
    async def work() -> None:
        if dry_run:
            show_request(request, as_json=as_json)
            return
        from oms.cli.outcome import answered, judge, rule

        async with reading(context) as reader:
            receipt = _append(context, [request])[0]
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
            legs = await reader.rows("orders", {"parent_order_id": order.order_id})
            named = await rule(reader, order)
        _report([order, *legs], as_json=as_json)
        judge(order, named, wait)

    perform(work())


async def _chosen(
    reader: Reader, texts: list[str], account: str | None, symbol: str | None
) -> list[Order]:
    from oms.cli.find import find_order
    from oms.core.records import Order

    if texts:
        named = [await find_order(reader, text) for text in texts]
        return list({order.order_id: order for order in named}.values())
    where: dict[str, object] = {"live": 1}
    if account is not None:
        where["account"] = account
    if symbol is not None:
        where["symbol"] = symbol.upper()
    return [row for row in await reader.rows("orders", where) if isinstance(row, Order)]


def _confirm(orders: list[Order]) -> None:
    from oms.cli.rows import orders_table
    from oms.report.words import counted

    count = counted(len(orders), "order")
    if sys.stdin.isatty():
        show(orders_table(orders))
    confirmed(f"this would cancel {count}", f"Cancel {count}?", yes=False)


def _report(orders: list[Any], *, as_json: bool) -> None:
    from oms.cli.rows import orders_table
    from oms.report.record_json import order_json

    if as_json:
        print_json("orders", orders=[order_json(order) for order in orders])
    else:
        show(orders_table(orders))
