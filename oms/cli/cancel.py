"""The verb `cancel`: some orders, all of ours, or everything at IB."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from oms.cli.options import AsJson, Reason, Wait
from oms.cli.outcome import cancelled, current, everything_cancelled, report_orders
from oms.cli.output import print_json, say
from oms.cli.reading import asynchronous, reading
from oms.cli.request import append_requests
from oms.cli.tables import orders_table
from oms.cli.terminal import confirmed, show, waiting
from oms.core.bounds import CON_ID
from oms.core.events import CancelRequested, GlobalCancelRequested
from oms.core.fold.records import Order
from oms.core.words import counted
from oms.errors import InvalidRequest, NotFound, RequestTimedOut
from oms.history.names import find_order
from oms.report.record_json import order_json
from oms.store.reader import Reader
from oms.store.soundness import check_complete

app = typer.Typer()


@app.command()
@asynchronous
async def cancel(
    context: typer.Context,
    *,
    order_ids: Annotated[
        list[str] | None, typer.Argument(metavar="ORDER...", help="Any names of them.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Every order of ours at work.")] = False,
    foreign: Annotated[
        bool,
        typer.Option(
            "--foreign",
            help="With --all: also those of other clients and by hand, by IB's global cancel.",
        ),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before cancelling all.")] = False,
    account: Annotated[str | None, typer.Option(help="With --all: only this account.")] = None,
    symbol: Annotated[str | None, typer.Option(help="With --all: only this symbol.")] = None,
    contract: Annotated[
        int | None,
        typer.Option(
            min=CON_ID.low,
            max=CON_ID.high,
            metavar="CON_ID",
            help="With --all: only this contract.",
        ),
    ] = None,
    wait: Wait = 10.0,
    reason: Reason = "",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the orders; write and send nothing.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Cancel orders; cancels pass every check, also while trading is halted.

    --all means the orders that this daemon sent, each with an intent of its own in the log. Orders
    of other clients and those entered by hand can only be cancelled by IB's global cancel, which
    ends every order of the login and takes no selection: --all --foreign.

    Prints the orders as they ended; the columns are those of `oms orders`. An order that had ended
    before is printed too. The exit status is 1 when IB or we refused a cancel, and 6 when an order
    had not ended in time.

    \b
    oms cancel 3f9a12c4 77b0aa51
    oms cancel --all --symbol AAPL --yes
    oms cancel --all --foreign --yes --reason "leaving the desk"
    """
    chosen_by = {"account": account, "symbol": symbol and symbol.upper(), "con_id": contract}
    where = {name: value for name, value in chosen_by.items() if value is not None}
    _check(order_ids or [], where, every=every, foreign=foreign)
    # Those that are named can be cancelled on a damaged log too; what "all" are, it cannot say.
    async with reading(context, checked=every and not foreign) as reader:
        if order_ids:
            chosen = await _named(reader, order_ids)
        else:
            chosen = await _ours(reader, where, foreign=foreign)
        if not foreign and not any(order.live for order in chosen):
            check_complete(reader.url)  # before anybody reads that nothing is at work
        if dry_run:
            _show_only(chosen, foreign=foreign, as_json=as_json)
            return
        if every and (chosen or foreign) and not yes:
            _confirm(chosen, foreign=foreign)
        await _cancel(
            context, reader, chosen, wait=wait, reason=reason, foreign=foreign, as_json=as_json
        )


def _check(order_ids: Sequence[str], where: dict[str, Any], *, every: bool, foreign: bool) -> None:
    if bool(order_ids) is every:
        raise InvalidRequest("name the orders to cancel, or say --all")
    if where and not every:
        raise InvalidRequest("--account, --symbol and --contract choose among --all")
    if foreign and (where or not every):
        raise InvalidRequest(
            "--foreign is IB's global cancel: it goes with --all and takes no selection"
        )


async def _named(reader: Reader, texts: Sequence[str]) -> list[Order]:
    try:
        named = [await find_order(reader, text) for text in texts]
    except NotFound:
        check_complete(reader.url)  # its row may be one that is missing
        raise
    return list({order.order_id: order for order in named}.values())


async def _ours(reader: Reader, where: dict[str, Any], *, foreign: bool) -> list[Order]:
    """Return the live orders that this daemon's client can cancel; say what it cannot."""
    rows = await reader.rows("orders", {"live": 1, **where})
    live = [row for row in rows if isinstance(row, Order)]
    client_id = (await reader.system()).client_id
    # Those that people entered belong to client 0 as well: they are cancelled by name.
    ours = [
        o for o in live if o.origin == "ours" or (o.client_id == client_id and o.origin != "manual")
    ]
    others = len(live) - len(ours)
    if others and not foreign:
        say(
            f"{counted(others, 'order')} of other clients or by hand stay at work; only"
            " --all --foreign ends them"
        )
    return ours


async def _cancel(
    context: typer.Context,
    reader: Reader,
    chosen: list[Order],
    *,
    wait: float,
    reason: str,
    foreign: bool,
    as_json: bool,
) -> None:
    live = [one for one in chosen if one.live]
    for one in chosen:
        if not one.live:
            say(f"{one.order_id} has ended already: {one.state.value}")
    requests: list[Any] = [CancelRequested(order_id=o.order_id, reason=reason) for o in live]
    if foreign:
        requests.append(GlobalCancelRequested(reason=reason))
    receipts = append_requests(context, requests) if requests else []
    with waiting(f"waiting for {len(live)} cancels"):
        refusals = await cancelled(reader, live, receipts[: len(live)], wait)
        if foreign:
            refusals += await everything_cancelled(reader, receipts[-1].sequence, wait)
    after = [await current(reader, one.order_id) for one in chosen]
    report_orders(after, as_json=as_json)
    for words in refusals:
        say(f"the cancel was refused: {words}")
    if refusals:
        raise typer.Exit(1)
    if foreign:
        say("IB was asked to cancel every order of the login; `oms orders` shows what is left")
    late = [one.order_id for one in after if one.live]
    if late:
        raise RequestTimedOut(f"{', '.join(late)}: still not ended after {wait:g} s")


def _show_only(orders: list[Order], *, foreign: bool, as_json: bool) -> None:
    live = [one for one in orders if one.live]
    if as_json:
        print_json(
            "cancel_preview",
            orders=[order_json(one) for one in live],
            global_cancel=foreign,
        )
        return
    say(f"nothing was written; {_what(live, foreign=foreign)}")
    show(orders_table(live))


def _confirm(orders: list[Order], *, foreign: bool) -> None:
    what = _what(orders, foreign=foreign)
    if sys.stdin.isatty():
        show(orders_table(orders))
    confirmed(what, "Cancel them?", yes=False)


def _what(orders: Sequence[Order], *, foreign: bool) -> str:
    words = f"this would cancel {counted(len(orders), 'order')}"
    return f"{words} of ours, and every other order of the login at IB" if foreign else words
