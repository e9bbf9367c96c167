"""Waiting for what becomes of a request, and the exit status that it stands for.

Everything is read back from the log; a deadline that passes is an unknown outcome, never a failure.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NoReturn

import typer

from oms.cli.output import print_json, say
from oms.cli.request import looks
from oms.cli.tables import orders_table
from oms.cli.terminal import show
from oms.core.events import (
    CancelDenied,
    CancelIntended,
    GlobalCancelDenied,
    ModifyDenied,
    ModifyIntended,
    OrderDenied,
    OrderMessageSent,
)
from oms.core.fold.records import Order
from oms.core.receipt import Receipt
from oms.errors import DatabaseDamaged, OutcomeUnknown, RequestTimedOut
from oms.report.record_json import order_json
from oms.store.reader import Reader

#: Events after the request that are looked through at a time.
_LOOKED_THROUGH_MAX: Final = 10_000
_UNANSWERED: Final = frozenset({"INTENDED", "IN_FLIGHT"})


async def answered(reader: Reader, order_id: str, seconds: float) -> Order | None:
    """Return the order once IB has named it or it has ended, or as it is at the deadline."""
    order: Order | None = None
    async for _ in looks(reader, seconds):
        order = await stored_order(reader, order_id)
        if order is not None and order.state.value not in _UNANSWERED:
            break
    return order


async def rule(reader: Reader, order: Order) -> str:
    """Return the name of the rule that denied an order."""
    for envelope in await reader.order_events(order.order_id) if order.denied else ():
        if isinstance(envelope.event, OrderDenied):
            return envelope.event.rule
    return ""


def judge(order: Order, rule: str, seconds: float) -> None:
    """End with the exit status that the order's state stands for."""
    state = order.state.value
    if state == "DENIED":
        refuse(f"denied by the rule {rule!r}: {order.text}; nothing was sent")
    if state == "REJECTED":
        refuse(f"IB rejected it with code {order.code}: {order.text}")
    if state == "NOT_SENT":
        refuse(f"not sent: {order.text or 'the line was lost before it left'}")
    if state == "IN_DOUBT":
        raise OutcomeUnknown(f"order {order.order_id} is in doubt: {order.doubt}")
    if state in _UNANSWERED:
        raise RequestTimedOut(f"order {order.order_id} is still {state} after {seconds:g} s")


async def modified(
    reader: Reader, order_id: str, sequence: int, seconds: float
) -> tuple[str, Order]:
    """Return why the change was refused, or "", and the order; raises `RequestTimedOut`."""
    taken_up = False
    async for _ in looks(reader, seconds):
        denied = ""
        for envelope in await reader.events(sequence, order_id=order_id):
            caused = envelope.context.causation_sequence == sequence
            if caused and isinstance(envelope.event, ModifyDenied):
                denied = envelope.event.text
            taken_up = taken_up or (caused and isinstance(envelope.event, ModifyIntended))
        # After the events: a row from before the intent knows of no change that could be pending.
        order = await current(reader, order_id)
        if denied:
            return denied, order
        if taken_up and order.pending_terms is None and not order.modify_pending:
            return order.refusal, order
        if not order.live:
            return order.refusal or f"the order is {order.state.value}", order
    raise RequestTimedOut(
        f"IB has not shown the new terms of {order_id} after {seconds:g} s",
        hint="IB may still make the change; `oms order ID` shows what became of it",
    )


async def cancelled(
    reader: Reader, orders: Sequence[Order], receipts: Sequence[Receipt], seconds: float
) -> list[str]:
    """Wait until every order has ended or its cancel was refused; return the refusals."""
    open_ = {o.order_id: receipt.sequence for o, receipt in zip(orders, receipts, strict=True)}
    refusals: list[str] = []
    async for _ in looks(reader, seconds):
        for order_id, sequence in list(open_.items()):
            order = await current(reader, order_id)
            refusal = await _cancel_refusal(reader, order, sequence)
            if refusal:
                refusals.append(f"{order_id}: {refusal}")
            if refusal or not order.live:
                del open_[order_id]
        if not open_:
            break
    return refusals


async def everything_cancelled(reader: Reader, sequence: int, seconds: float) -> list[str]:
    """Wait until the global cancel has left; return why it did not."""
    async for _ in looks(reader, seconds):
        for envelope in await reader.events(sequence, limit=_LOOKED_THROUGH_MAX):
            match envelope.event:
                case GlobalCancelDenied(text=text):
                    return [text]
                case OrderMessageSent(kind="global_cancel"):
                    return []
                case _:
                    pass
    raise RequestTimedOut(f"the global cancel has not left after {seconds:g} s")


async def _cancel_refusal(reader: Reader, order: Order, sequence: int) -> str:
    if not order.live:
        return ""
    for envelope in await reader.events(sequence, order_id=order.order_id):
        if envelope.context.causation_sequence != sequence:
            continue
        if isinstance(envelope.event, CancelDenied):
            return envelope.event.text
        if isinstance(envelope.event, CancelIntended):
            # Read again: a row from before the intent may still hold an earlier refusal.
            order = await current(reader, order.order_id)
            return "" if order.cancel_pending or not order.live else order.refusal
    return ""


async def stored_order(reader: Reader, order_id: str) -> Order | None:
    """Return an order as the books have it, None where they do not."""
    found = await reader.one("orders", order_id)
    return found if isinstance(found, Order) else None


async def current(reader: Reader, order_id: str) -> Order:
    """Return an order that the books are known to have."""
    order = await stored_order(reader, order_id)
    if order is None:
        # An order never leaves the books: its name stands in an index, and its row is gone.
        raise DatabaseDamaged(f"the row of the order {order_id} is missing")
    return order


def refuse(words: str) -> NoReturn:
    """Say why it was refused, and end with exit status 1."""
    say(words)
    raise typer.Exit(1)


def report_orders(orders: Sequence[Order], *, as_json: bool) -> None:
    """Print orders as `oms orders` does."""
    if as_json:
        print_json("orders", orders=[order_json(order) for order in orders])
    else:
        show(orders_table(orders))
