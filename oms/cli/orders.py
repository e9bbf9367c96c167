"""The verbs `orders` and `order`: what is at work, and one order's whole story."""

from __future__ import annotations

from typing import Annotated, Any, Final, cast

import typer

from oms import report
from oms.cli.asking import BOOKS, FILTERS, Question, listed
from oms.cli.options import All, AsJson, with_options
from oms.cli.output import print_json, say, write_json
from oms.cli.past import AsOf, WhichOf, shelf
from oms.cli.reading import asynchronous
from oms.cli.tables import orders_table
from oms.cli.terminal import say_count, show
from oms.core.fold.records import Order
from oms.errors import NotFound
from oms.history.clocks import clock_at
from oms.history.names import find_order
from oms.report.record_json import order_json

app = typer.Typer()

#: Filters that are about orders which have ended as well.
_OF_THE_PAST: Final = ("state", "since", "until", "during", "code", "order", "after", "before")


@app.command(cls=Question)
@with_options(FILTERS, BOOKS)
@asynchronous
async def orders(
    context: typer.Context, *, every: All = False, as_json: AsJson = False, **words: Any
) -> None:
    """List orders at work, the oldest first; with --all the newest, whatever their state.

    --state, --since, --until, --code and --order look at those that have ended, too. A code is one
    that any event about the order has; --since and --until are about when it began.

    \b
    order     our id; any unique beginning is accepted by every verb
    what      side, quantity, contract, type, prices and time in force
    state     ours: WORKING, PARTIALLY_FILLED, IN_DOUBT (perhaps sent, outcome unknown) ...
    filled    from executions, after corrections; average is their price without commissions
    changed   when the log last recorded something about it
    note      why it is in doubt, was denied or rejected, or why a change was refused

    \b
    oms orders --account DU1234567
    oms orders --all --symbol AAPL --sort -filled --json
    oms orders --as-of 2026-06-01T14:03Z --by happened
    oms orders --state REJECTED --since yesterday --count --by symbol
    """
    every = every or any(words[name] for name in _OF_THE_PAST)
    where: dict[str, object] = {} if every else {"live": 1}
    # Orders at work are few, and a person wants to see all of them.
    limit = 100 if every else None
    found = await listed(context, "orders", words, where=where, limit=limit, as_json=as_json)
    if found is None:
        return
    place, chosen = found.place, cast("list[Order]", found.records)
    if as_json:
        rows = [order_json(one) for one in chosen]
        print_json("orders", **place.json, orders=rows)
        return
    place.say()
    show(orders_table(chosen))
    say_count(chosen, "order at work" if not every else "order")
    if found.ended:
        say(f"{found.ended:,} ended; `oms orders --all` shows them")


@app.command()
@asynchronous
async def order(
    context: typer.Context,
    *,
    order_id: Annotated[str, typer.Argument(metavar="ORDER", help="Any name of it.")],
    wire: Annotated[bool, typer.Option("--wire", help="The broker's own fields, too.")] = False,
    as_of: AsOf = None,
    by: WhichOf = None,
    as_json: AsJson = False,
) -> None:
    """Tell an order's whole story: every event about it, in the order of the log.

    ORDER is our id or any unique beginning of it, IB's permanent number, SESSION:NUMBER (a number
    alone where one order has it), an orderRef or an execution id. Each event has its hash checked;
    a wrong one ends the verb with status 4.

    \b
    seq            index in the log; `oms log --after SEQ` goes on from there
    recorded       when we wrote it, UTC; broker's time: when it happened, as IB says
    what it says   the event in one sentence; who said it, where it was not the broker
    ids            IB's ids of what the event is about

    \b
    oms order 3f9a12c4
    oms order 3:17
    oms order 0000e0d5.5f3a1b2c.01.01 --wire --json
    oms order 3f9a12c4 --as-of 2026-06-01T14:03Z
    """
    async with shelf(context, as_of, by) as place:
        name = (await find_order(place.reader, order_id)).order_id
        found = await place.books.one("orders", name)
        events = await place.books.order_events(name)
        clock = await clock_at(place.reader, events[-1]) if events else None
    assert found is None or isinstance(found, Order)
    if found is None and not events:
        raise NotFound(
            f"there was no order {name} yet", hint="`oms order ORDER` tells its story as of now"
        )
    story = report.tell(name, events, found, clock)
    if as_json:
        about = {} if place.past is None else {"as_of": place.json["as_of"]}
        write_json({**report.as_json(story), **about})
    else:
        place.say()
        show(report.terminal(story, wire=wire))
