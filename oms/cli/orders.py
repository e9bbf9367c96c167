"""The verbs `orders` and `order`: what is at work, and one order's whole story."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, cast

import typer

from oms import report
from oms.cli.options import Account, All, AsJson, Limit, Symbol
from oms.cli.output import print_json, say, write_json
from oms.cli.past import AsOf, Shelf, WhichOf, shelf
from oms.cli.reading import asynchronous
from oms.cli.tables import orders_table
from oms.cli.terminal import say_count, show
from oms.core.fold.records import AnyRecord, Order
from oms.errors import NotFound
from oms.history.asof import Bookshelf
from oms.history.names import find_order
from oms.report.record_json import order_json

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
    as_of: AsOf = None,
    by: WhichOf = None,
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
    oms orders --as-of 2026-06-01T14:03Z --by happened
    """
    async with shelf(context, as_of, by) as place:
        found = await (_newest_orders(place, limit) if every else _live_orders(place.books))
        ended = 0 if every else await place.books.count("orders", {"live": 0})
    chosen = [o for o in found if _wanted(o, account, symbol)]
    if as_json:
        rows = [order_json(one) for one in chosen]
        print_json("orders", **place.json, orders=rows)
        return
    place.say()
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
    as_of: AsOf = None,
    by: WhichOf = None,
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
    oms order 3f9a12c4 --as-of 2026-06-01T14:03Z
    """
    async with shelf(context, as_of, by) as place:
        name = (await find_order(place.reader, order_id)).order_id
        found = await place.books.one("orders", name)
        events = await place.books.order_events(name)
    assert found is None or isinstance(found, Order)
    if found is None and not events:
        raise NotFound(
            f"there was no order {name} yet", hint="`oms order ORDER` tells its story as of now"
        )
    story = report.tell(name, events, found)
    if as_json:
        about = {} if place.past is None else {"as_of": place.json["as_of"]}
        write_json({**report.as_json(story), **about})
    else:
        place.say()
        show(report.terminal(story, wire=wire))


async def _live_orders(books: Bookshelf) -> list[Order]:
    return _by_age(await books.rows("orders", {"live": 1}))


async def _newest_orders(place: Shelf, limit: int) -> list[Order]:
    """Return the newest orders; an order enters the books by one of three facts."""
    if place.past is not None:
        return _by_age(await place.past.rows("orders", limit=limit))
    reader = place.reader
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
