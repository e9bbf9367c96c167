"""The verb `what-if`: what an order would change of the margin, and cost."""

from __future__ import annotations

import uuid
from typing import Annotated, Any

import typer

from oms.cli.dry_run import against
from oms.cli.options import CONTRACT, QUANTITY, TERMS, AsJson, InAccount, Wait, with_options
from oms.cli.outcome import refuse
from oms.cli.output import print_json, say, write
from oms.cli.parse import contract_of, side_of, terms_of
from oms.cli.reading import asynchronous, reading
from oms.cli.request import ask
from oms.cli.terminal import show, table
from oms.core.admit.rules import Ruling
from oms.core.admit.validity import validate
from oms.core.events import OrderRequested, WhatIfAnswered, WhatIfRequested
from oms.core.money import plain

app = typer.Typer()


@app.command("what-if")
@with_options(QUANTITY, CONTRACT, TERMS)
@asynchronous
async def what_if(
    context: typer.Context,
    *,
    side: Annotated[str, typer.Argument(metavar="BUY|SELL", help="Of the order.")],
    account: InAccount = None,
    wait: Wait = 30.0,
    as_json: AsJson = False,
    **words: Any,
) -> None:
    """Ask IB what an order would change of the margin and cost in commission.

    It never becomes an order, and what our own rules hold against such an order is said below the
    figures. CONTRACT and the options are those of `oms buy`. The exit status is 1
    when IB or our own rules refuse it; amounts are in the account's base currency.

    \b
    before, change, after   of the initial margin, the maintenance margin and equity with loan

    \b
    oms what-if BUY 100 AAPL --limit 185.50
    oms what-if SELL 2 ES/202609@CME --json
    """
    terms = terms_of(side_of(side), words)
    validate(terms)
    request = WhatIfRequested(
        request_id=uuid.uuid4().hex,
        account=account or "",
        contract=contract_of(words),
        terms=terms,
    )
    async with reading(context) as reader:
        answer = await ask(context, reader, request, WhatIfAnswered, wait)
        order = OrderRequested(
            order_id=request.request_id,
            account=request.account,
            contract=request.contract,
            terms=terms,
        )
        ours = await against(context, reader, order)
    assert isinstance(answer, WhatIfAnswered)
    if answer.refusal:
        refuse(f"IB does not say what it would cost: {answer.refusal}")
    _show_what_if(answer, ours, as_json=as_json)


def _show_what_if(answer: WhatIfAnswered, ours: tuple[Ruling, ...], *, as_json: bool) -> None:
    kinds = ("initial_margin", "maintenance_margin", "equity_with_loan")
    steps = ("before", "change", "after")
    found = {
        kind: {step: plain(getattr(answer, f"{kind}_{step}")) or None for step in steps}
        for kind in kinds
    }
    costs = ("commission", "commission_min", "commission_max")
    commission = {name: plain(getattr(answer, name)) or None for name in costs}
    if as_json:
        print_json(
            "what_if",
            **found,
            **commission,
            commission_currency=answer.commission_currency,
            warning=answer.warning_text,
            checks=[{"rule": one.rule, "outcome": one.outcome, "text": one.text} for one in ours],
        )
        return
    made = table("", *steps, right=steps)
    for kind, row in found.items():
        made.add_row(kind.replace("_", " "), *(row[step] or "unknown" for step in steps))
    show(made)
    low, high = commission["commission_min"], commission["commission_max"]
    span = commission["commission"] or (f"{low} to {high}" if low and high else "unknown")
    write(f"commission {span} {answer.commission_currency}".rstrip())
    if answer.warning_text:
        say(f"IB warns: {answer.warning_text}")
    for one in ours:
        does = "would deny it" if one.outcome == "denied" else "warns"
        say(f"our rule {one.rule!r} {does}: {one.text}")
