"""The verb `quote`: the market of a contract as IB says it is now."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

import typer

from oms.cli.options import CONTRACT, AsJson, Wait, with_options
from oms.cli.outcome import refuse
from oms.cli.output import print_json
from oms.cli.parse import contract_of
from oms.cli.reading import asynchronous, log_now, reading
from oms.cli.request import ask
from oms.cli.tables import age, price
from oms.cli.terminal import show, table
from oms.core.events import QuoteAnswered, QuoteRequested
from oms.core.money import plain
from oms.report.record_json import contract_json, time

app = typer.Typer()


@app.command()
@with_options(CONTRACT)
@asynchronous
async def quote(
    context: typer.Context,
    *,
    wait: Wait = 30.0,
    as_json: AsJson = False,
    **words: Any,
) -> None:
    """Show the market of a contract as IB says it is now.

    The running daemon asks IB, and the answer is kept in the log. CONTRACT and its options are
    those of `oms buy`. The exit status is 1 when IB gives no quote.

    \b
    bid, ask   what others offer, with their sizes
    last       price of the last trade; close: of the day before
    kind       live, or delayed where the account has no subscription
    heard      how long ago

    \b
    oms quote AAPL
    oms quote EUR.USD --json
    """
    contract = contract_of(words)
    request_id = uuid.uuid4().hex
    async with reading(context) as reader:
        request = QuoteRequested(request_id=request_id, contract=contract)
        answer = await ask(context, reader, request, QuoteAnswered, wait)
        now = await log_now(reader)
    assert isinstance(answer, QuoteAnswered)
    if answer.refusal:
        refuse(f"no quote of {contract}: {answer.refusal}")
    _show_quote(answer, now, as_json=as_json)


def _show_quote(answer: QuoteAnswered, now: datetime, *, as_json: bool) -> None:
    numbers = {
        name: getattr(answer, name)
        for name in ("bid", "bid_size", "ask", "ask_size", "last", "close")
    }
    if as_json:
        print_json(
            "quote",
            contract=None if answer.contract is None else contract_json(answer.contract),
            **{name: None if value is None else plain(value) for name, value in numbers.items()},
            market_type=answer.market_type,
            heard_at=time(answer.heard_at),
        )
        return
    made = table("contract", *numbers, "kind", "heard", right=tuple(numbers))
    cells = [price(value) for value in numbers.values()]
    heard = age(answer.heard_at, now)
    made.add_row(str(answer.contract), *cells, answer.market_type, heard)
    show(made)
