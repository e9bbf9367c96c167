"""The verbs of `doubt`: orders whose outcome is not known."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from oms.cli.options import AsJson, WaitForDaemon, Yes
from oms.cli.outcome import current, refuse, report_orders
from oms.cli.reading import asynchronous, reading
from oms.cli.request import append_requests, looks
from oms.cli.tables import orders_table
from oms.cli.terminal import confirmed, show, waiting
from oms.core.events import DoubtResolutionDenied, DoubtResolutionRequested
from oms.core.fold.records import Order
from oms.errors import InvalidRequest, RequestTimedOut
from oms.history.names import find_order
from oms.store.reader import Reader

app = typer.Typer(
    name="doubt",
    no_args_is_help=True,
    help="Orders in doubt: perhaps sent, outcome unknown.",
)


@app.command("list")
@asynchronous
async def list_doubts(context: typer.Context, as_json: AsJson = False) -> None:
    """List the orders in doubt, the oldest doubt first.

    The columns are those of `oms orders`. Every comparison asks IB about each. An answer settles
    it, or a person with `oms doubt resolve`.

    \b
    oms doubt list
    oms doubt list --json
    """
    async with reading(context) as reader:
        rows = await reader.rows("orders", {"state": "IN_DOUBT"})
    orders = [row for row in rows if isinstance(row, Order)]
    report_orders(sorted(orders, key=lambda one: one.doubt_sequence), as_json=as_json)


@app.command("resolve")
@asynchronous
async def resolve_doubt(
    context: typer.Context,
    *,
    order_id: Annotated[str, typer.Argument(metavar="ORDER", help="Any name of it.")],
    outcome: Annotated[
        Literal["not_received", "ended"],
        typer.Option(help="IB never received it, or it has ended there."),
    ],
    reason: Annotated[str, typer.Option(help="How you know; kept for ever.")],
    yes: Yes = False,
    wait: WaitForDaemon = 10.0,
    as_json: AsJson = False,
) -> None:
    """Settle an order in doubt: say what became of it, and how you know.

    Nothing is sent. What IB says later still counts. Ask IB first (`oms reconcile`), and look at
    TWS or at the statement. Prints the order; the columns are those of `oms orders`.

    \b
    oms doubt resolve 3f9a12c4 --outcome not_received --reason "IB support: never arrived" --yes
    oms doubt resolve 3f9a12c4 --outcome ended --reason "cancelled in the statement of 5 January"
    """
    if not reason.strip():
        raise InvalidRequest("--reason is empty: say how you know what became of the order")
    async with reading(context) as reader:
        found = await find_order(reader, order_id)
        if found.state.value != "IN_DOUBT":
            raise InvalidRequest(f"order {found.order_id} is {found.state.value}, not in doubt")
        if not yes:
            show(orders_table([found]))
        words = f"this would settle {found.order_id} as {outcome.replace('_', ' ')}"
        confirmed(f"{words}; IB is not asked about it any more", "Settle it?", yes=yes)
        request = DoubtResolutionRequested(order_id=found.order_id, outcome=outcome, reason=reason)
        (receipt,) = append_requests(context, [request])
        with waiting("waiting for the daemon"):
            refusal, after = await _settled(reader, found.order_id, receipt.sequence, wait)
    report_orders([after], as_json=as_json)
    if refusal:
        refuse(f"refused: {refusal}")


async def _settled(
    reader: Reader, order_id: str, sequence: int, seconds: float
) -> tuple[str, Order]:
    """Return why the daemon refused, or "", and the order; raises `RequestTimedOut`."""
    async for _ in looks(reader, seconds):
        after = await current(reader, order_id)
        for one in await reader.events(sequence, type=DoubtResolutionDenied.__name__):
            is_answer = one.context.causation_sequence == sequence
            if is_answer and isinstance(one.event, DoubtResolutionDenied):
                return one.event.text, after
        if after.state.value != "IN_DOUBT":
            return "", after
    raise RequestTimedOut(f"{order_id} is still in doubt after {seconds:g} s")
