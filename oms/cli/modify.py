"""The verb `modify`: change an order that is at work."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from oms.cli.dry_run import show_change
from oms.cli.options import TERMS, AsJson, Reason, Wait, with_options
from oms.cli.outcome import modified, refuse, report_orders
from oms.cli.parse import changes_of
from oms.cli.reading import asynchronous, reading
from oms.cli.request import append_requests
from oms.cli.terminal import waiting
from oms.core.events import ModifyRequested
from oms.history.names import find_order

app = typer.Typer()

#: What a change can name: the terms, but for those that make another order of it.
_CHANGES = {
    name: TERMS[name]
    for name in (
        *("limit", "stop", "trail", "trail_percent", "limit_offset", "tif", "good_till"),
        *("min_quantity", "display"),
    )
}


@app.command()
@with_options(_CHANGES)
@asynchronous
async def modify(
    context: typer.Context,
    *,
    order_id: Annotated[str, typer.Argument(metavar="ORDER", help="Any name of it.")],
    quantity: Annotated[str | None, typer.Option(metavar="QTY", help="New whole quantity.")] = None,
    outside_rth: Annotated[
        bool | None,
        typer.Option("--outside-rth/--inside-rth", help="Also outside regular hours, or not."),
    ] = None,
    all_or_none: Annotated[
        bool | None, typer.Option("--all-or-none/--in-parts", help="All at once, or in parts.")
    ] = None,
    wait: Wait = 10.0,
    reason: Reason = "",
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Show the request and what each rule says; write and send nothing."
        ),
    ] = False,
    as_json: AsJson = False,
    **words: Any,
) -> None:
    """Change a working order's prices, quantity or time in force.

    Prints the order once IB shows the new terms; the columns are those of `oms orders`. The exit
    status is 1 when the change was refused, by us or by IB: the order then stays as it was. With
    --dry-run it is 1 when a rule would deny the change.

    \b
    oms modify 3f9a12c4 --limit 186
    oms modify 3f9a12c4 --quantity 50 --reason "half is enough"
    """
    given = {**words, "quantity": quantity, "outside_rth": outside_rth, "all_or_none": all_or_none}
    async with reading(context) as reader:
        found = await find_order(reader, order_id)
        request = ModifyRequested(
            order_id=found.order_id, reason=reason, **changes_of(found, given)
        )
        if dry_run:
            await show_change(context, reader, found, request, as_json=as_json)
            return
        receipt = append_requests(context, [request])[0]
        with waiting(f"waiting for IB to change {order_id}"):
            refused, after = await modified(reader, found.order_id, receipt.sequence, wait)
    report_orders([after], as_json=as_json)
    if refused:
        refuse(f"the change was refused: {refused}")
