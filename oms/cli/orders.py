"""Verbs that look: orders, order, fills, positions, breaks and status."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from oms.cli.frame import (
    Account,
    AsJson,
    Symbol,
    perform,
    print_json,
    reading,
    say,
    show,
    write_json,
)

if TYPE_CHECKING:
    from oms.core.fold.records import AnyRecord, Order
    from oms.store.reader import Reader

All = Annotated[bool, typer.Option("--all", help="Those that have ended, too.")]
Limit = Annotated[int, typer.Option(min=1, max=1_000_000, help="Newest rows shown at most.")]


def register(app: typer.Typer) -> None:
    """Add the verbs of this file."""
    for verb in (orders, order, fills, positions, breaks):
        app.command()(verb)


def orders(
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
    changed   when the log last learnt something about it
    note      why it is in doubt, denied, rejected or refused a change

    \b
    oms orders --account DU1234567
    oms orders --all --symbol AAPL --json
    """

    async def work() -> None:
        from oms.cli.tables import orders_table
        from oms.report.record_json import order_json

        async with reading(context) as reader:
            reached = await _reached(reader)
            found = await (_newest_orders(reader, limit) if every else _live_orders(reader))
            ended = 0 if every else await reader.count("orders", {"live": 0})
        chosen = [o for o in found if _wanted(o, account, symbol)]
        if as_json:
            rows = [order_json(one) for one in chosen]
            print_json("orders", as_of_sequence=reached, orders=rows)
            return
        show(orders_table(chosen))
        _count(chosen, "order at work" if not every else "order")
        if ended:
            say(f"{ended:,} ended; `oms orders --all` shows them")

    perform(work())


def order(
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
    what it says   the event in one sentence, and who said it unless it was the broker
    ids            by which IB knows the things in it

    \b
    oms order 3f9a12c4
    oms order 3f9a12c4 --wire --json
    """

    async def work() -> None:
        from oms import report
        from oms.cli.ids import find_order

        async with reading(context) as reader:
            found = await find_order(reader, order_id)
            events = await reader.order_events(found.order_id)
        story = report.tell(found.order_id, events, found)
        if as_json:
            write_json(report.as_json(story))
        else:
            show(report.terminal(story, wire=wire))

    perform(work())


def fills(
    context: typer.Context,
    *,
    account: Account = None,
    symbol: Symbol = None,
    order_id: Annotated[
        str | None, typer.Option("--order", metavar="ORDER", help="Only this order's.")
    ] = None,
    limit: Limit = 100,
    as_json: AsJson = False,
) -> None:
    """List fills, the newest LIMIT in the order in which they were booked.

    \b
    time        the broker's
    commission  empty while IB has not reported it
    execution   IB's id; a correction has the same stem and a higher last number
    learnt      pushed as it happened, or backfilled: asked for after we had been away

    \b
    oms fills --symbol AAPL
    oms fills --order 3f9a12c4 --json
    """

    async def work() -> None:
        from oms.cli.ids import find_order
        from oms.cli.tables import fills_table
        from oms.core.fold.records import Fill
        from oms.report.record_json import fill_json

        async with reading(context) as reader:
            reached = await _reached(reader)
            where: dict[str, object] = _where(account, symbol)
            if order_id is not None:
                where["order_id"] = (await find_order(reader, order_id)).order_id
            rows = await reader.rows(
                "fills", where, order="booked_sequence", reverse=True, limit=limit
            )
        chosen = [row for row in reversed(rows) if isinstance(row, Fill)]
        if as_json:
            values = [fill_json(one) for one in chosen]
            print_json("fills", as_of_sequence=reached, fills=values)
            return
        show(fills_table(chosen))
        _count(chosen, "fill")

    perform(work())


def positions(
    context: typer.Context,
    *,
    account: Account = None,
    symbol: Symbol = None,
    every: All = False,
    as_json: AsJson = False,
) -> None:
    """List what is held by our books, beside what IB last said; --all shows flat ones, too.

    \b
    quantity   opening balance and executions, nothing else
    average    average price of what is held, without commissions
    realised   by average cost, in the contract's currency, without commissions
    at IB      what IB last said and when; a difference at rest is a break

    \b
    oms positions
    oms positions --account DU1234567 --json
    """

    async def work() -> None:
        from oms.cli.tables import positions_table
        from oms.clock import SystemClock
        from oms.core.fold.records import Position
        from oms.report.record_json import position_json

        async with reading(context) as reader:
            reached = await _reached(reader)
            rows = await reader.rows("positions", _where(account, symbol))
        chosen = [r for r in rows if isinstance(r, Position) and (every or r.live)]
        chosen.sort(key=lambda row: (row.account, row.contract.symbol, row.contract.con_id))
        if as_json:
            values = [position_json(one) for one in chosen]
            print_json("positions", as_of_sequence=reached, positions=values)
            return
        show(positions_table(chosen, SystemClock().now()))
        _count(chosen, "position")

    perform(work())


def breaks(
    context: typer.Context,
    *,
    break_id: Annotated[
        str | None, typer.Argument(metavar="BREAK", help="Tell the story of this one.")
    ] = None,
    account: Account = None,
    symbol: Symbol = None,
    every: All = False,
    as_json: AsJson = False,
) -> None:
    """List open differences between our books and the broker's; --all shows closed ones, too.

    With BREAK (any unique beginning) it tells the story of one: what differs, what would make both
    sides equal, and every event about it with who said it.

    \b
    severity   high: new orders in this account and contract are denied meanwhile
    age        since it was first seen; seen: in how many comparisons
    evidence   sequences in the log that show it: `oms log --after SEQ --limit 1`

    \b
    oms breaks
    oms breaks B3f9
    oms breaks --all --account DU1234567 --json
    """
    if break_id is not None:
        from oms.cli.case_story import tell_case

        tell_case(context, break_id, as_json=as_json)
        return

    async def work() -> None:
        from oms.cli.tables import breaks_table
        from oms.clock import SystemClock
        from oms.core.fold.records import BreakCase
        from oms.report.record_json import break_json

        async with reading(context) as reader:
            reached = await _reached(reader)
            where: dict[str, object] = {"account": account} if account else {}
            rows = await reader.rows("breaks", where if every else {**where, "status": "open"})
        cases = [row for row in rows if isinstance(row, BreakCase)]
        chosen = [c for c in cases if symbol is None or c.finding.symbol == symbol.upper()]
        chosen.sort(key=lambda case: case.opened_sequence)
        if as_json:
            values = [break_json(one) for one in chosen]
            print_json("breaks", as_of_sequence=reached, breaks=values)
            return
        show(breaks_table(chosen, SystemClock().now()))
        _count(chosen, "break" if every else "open break")

    perform(work())


# ── small parts ──────────────────────────────────────────────────────────────────────────────────


async def _reached(reader: Reader) -> int:
    """Return the sequence that the books have reached; rows read after this are at least as new."""
    return (await reader.checkpoints()).get("books", 0)


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
    from oms.core.fold.records import Order

    orders = [row for row in rows if isinstance(row, Order)]
    first = min((o.created_at for o in orders if o.created_at), default=None)
    return sorted(orders, key=lambda o: (o.created_at or first, o.intent_sequence, o.order_id))


def _wanted(order: Order, account: str | None, symbol: str | None) -> bool:
    return (account is None or order.account == account) and (
        symbol is None or order.contract.symbol == symbol.upper()
    )


def _where(account: str | None, symbol: str | None) -> dict[str, object]:
    where: dict[str, object] = {}
    if account is not None:
        where["account"] = account
    if symbol is not None:
        where["symbol"] = symbol.upper()
    return where


def _count(rows: Sequence[object], noun: str) -> None:
    from oms.core.words import counted

    plural = noun.replace("order", "orders", 1) if noun.startswith("order") else ""
    say(f"{counted(len(rows), noun, plural)}; times in UTC")
