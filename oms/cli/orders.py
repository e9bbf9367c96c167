"""The verbs `orders` and `order`: what is at work, and one order's whole story."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, cast

import typer

from oms import report
from oms.cli.options import Account, All, AsJson, Limit, Symbol
from oms.cli.output import print_json, say, write_json
from oms.cli.reading import asynchronous, reached, reading
from oms.cli.tables import orders_table
from oms.cli.terminal import say_count, show
from oms.core.fold.records import AnyRecord, Order
from oms.history.names import find_order
from oms.report.record_json import order_json
from oms.store.reader import Reader

app = typer.Typer()


@app.command()
@asynchronous
async def orders(
    context: typer.Context,
    *,
    account: Account = None,
    symbol: Symbol = None,
    every: All = False,
    limit: Limit = 100,
    as_json: AsJson = False,
) -> None:
    """List orders at work, the oldest first; with --all the newest LIMIT, whatever their state.

    \b
    order     our id; any unique beginning is accepted by every verb
    what      side, quantity, contract, type, prices and time in force
    state     ours: WORKING, PARTIALLY_FILLED, IN_DOUBT (perhaps sent, outcome unknown) ...
    filled    from executions, after corrections; average is their price without commissions
    changed   when the log last recorded something about it
    note      why it is in doubt, was denied or rejected, or why a change was refused

    \b
    oms orders --account DU1234567
    oms orders --all --symbol AAPL --json
    """
    async with reading(context) as reader:
        sequence = await reached(reader)
        found = await (_newest_orders(reader, limit) if every else _live_orders(reader))
        ended = 0 if every else await reader.count("orders", {"live": 0})
    chosen = [o for o in found if _wanted(o, account, symbol)]
    if as_json:
        rows = [order_json(one) for one in chosen]
        print_json("orders", as_of_sequence=sequence, orders=rows)
        return
    show(orders_table(chosen))
    say_count(chosen, "order at work" if not every else "order")
    if ended:
        say(f"{ended:,} ended; `oms orders --all` shows them")


@app.command()
@asynchronous
async def order(
    context: typer.Context,
    *,
    order_id: Annotated[str, typer.Argument(metavar="ORDER", help="Any unique beginning.")],
    wire: Annotated[bool, typer.Option("--wire", help="The broker's own fields, too.")] = False,
    as_json: AsJson = False,
) -> None:
    """Tell an order's whole story: every event about it, in the order of the log.

    \b
    seq            index in the log; `oms log --after SEQ` goes on from there
    recorded       when we wrote it, UTC; broker's time: when it happened, as IB says
    what it says   the event in one sentence; who said it, where it was not the broker
    ids            IB's ids of what the event is about

    \b
    oms order 3f9a12c4
    oms order 3f9a12c4 --wire --json
    """
    async with reading(context) as reader:
        found = await find_order(reader, order_id)
        events = await reader.order_events(found.order_id)
    story = report.tell(found.order_id, events, found)
    if as_json:
        write_json(report.as_json(story))
    else:
        show(report.terminal(story, wire=wire))


async def _live_orders(reader: Reader) -> list[Order]:
    return _by_age(await reader.rows("orders", {"live": 1}))


async def _newest_orders(reader: Reader, limit: int) -> list[Order]:
    """Return the newest orders; an order enters the books by one of three facts."""
    born: dict[str, int] = {}
    for fact in ("OrderIntended", "OrderDenied", "OrderAdopted"):
        for envelope in await reader.events(type=fact, reverse=True, limit=limit):
            event = cast(Any, envelope.event)
            born.setdefault(event.order_id, envelope.sequence)
    newest = sorted(born, key=lambda key: born[key])[-limit:]
    return _by_age(await reader.rows("orders", {"order_id": newest}))


def _by_age(rows: Iterable[AnyRecord]) -> list[Order]:
    orders = [row for row in rows if isinstance(row, Order)]
    first = min((o.created_at for o in orders if o.created_at), default=None)
    return sorted(orders, key=lambda o: (o.created_at or first, o.intent_sequence, o.order_id))


def _wanted(order: Order, account: str | None, symbol: str | None) -> bool:
    return (account is None or order.account == account) and (
        symbol is None or order.contract.symbol == symbol.upper()
    )
