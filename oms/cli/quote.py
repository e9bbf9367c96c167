"""Verbs about prices and money: quote, what-if, account and pnl."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from oms.cli.frame import AsJson, perform, print_json, reading, say, show, table, waiting
from oms.cli.options import CONTRACT, QUANTITY, TERMS, with_options
from oms.errors import RequestTimedOut

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from oms.core.events import Event, QuoteAnswered, WhatIfAnswered
    from oms.core.portfolio import Account, Figure, Holding
    from oms.store.reader import Reader

Wait = Annotated[
    float, typer.Option(min=0, max=3600, metavar="SECONDS", help="How long to wait for IB.")
]
InAccount = Annotated[str | None, typer.Option("--account", help="In which account.")]
OfAccount = Annotated[
    list[str] | None, typer.Option("--account", help="Only this account; may be repeated.")
]
#: Figures of an account in the order in which they are shown.
_FIGURES: Final = (
    *("net_liquidation", "total_cash", "buying_power", "gross_position_value"),
    *("initial_margin", "maintenance_margin", "available_funds", "excess_liquidity"),
    *("realised_pnl", "unrealised_pnl"),
)


def register(app: typer.Typer) -> None:
    """Add the verbs of this file."""
    app.command()(quote)
    app.command("what-if")(what_if)
    app.command()(account)
    app.command()(pnl)


@with_options(CONTRACT)
def quote(
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

    async def work() -> None:
        from oms.cli.parse import contract_of
        from oms.core.events import QuoteAnswered, QuoteRequested

        contract = contract_of(words)
        request_id = uuid.uuid4().hex
        async with reading(context) as reader:
            request = QuoteRequested(request_id=request_id, contract=contract)
            answer = await _asked(context, reader, request, QuoteAnswered, wait)
        assert isinstance(answer, QuoteAnswered)
        if answer.refusal:
            from oms.cli.outcome import refuse

            refuse(f"no quote of {contract}: {answer.refusal}")
        _show_quote(answer, as_json=as_json)

    perform(work())


@with_options(QUANTITY, CONTRACT, TERMS)
def what_if(
    context: typer.Context,
    *,
    side: Annotated[str, typer.Argument(metavar="BUY|SELL", help="Of the order.")],
    account: InAccount = None,
    wait: Wait = 30.0,
    as_json: AsJson = False,
    **words: Any,
) -> None:
    """Ask IB what an order would change of the margin and cost in commission.

    It never becomes an order. CONTRACT and the options are those of `oms buy`. The exit status is 1
    when IB or our own rules refuse it; amounts are in the account's base currency.

    \b
    before, change, after   of the initial margin, the maintenance margin and equity with loan

    \b
    oms what-if BUY 100 AAPL --limit 185.50
    oms what-if SELL 2 ES/202609@CME --json
    """

    async def work() -> None:
        from oms.cli.outcome import refuse
        from oms.cli.parse import contract_of, side_of, terms_of
        from oms.core.admit.validity import validate
        from oms.core.events import WhatIfAnswered, WhatIfRequested

        terms = terms_of(side_of(side), words)
        validate(terms)
        request = WhatIfRequested(
            request_id=uuid.uuid4().hex,
            account=account or "",
            contract=contract_of(words),
            terms=terms,
        )
        async with reading(context) as reader:
            answer = await _asked(context, reader, request, WhatIfAnswered, wait)
        assert isinstance(answer, WhatIfAnswered)
        if answer.refusal:
            refuse(f"IB does not say what it would cost: {answer.refusal}")
        _show_what_if(answer, as_json=as_json)

    perform(work())


def account(context: typer.Context, *, account: OfAccount = None, as_json: AsJson = False) -> None:
    """Show what accounts have: cash, net liquidation, buying power, margin, each with its age.

    IB's figures as the log has them; nothing is asked. What is not known says why.

    \b
    oms account
    oms account --account DU1234567 --json
    """

    async def work() -> None:
        from oms.clock import SystemClock
        from oms.report.record_json import account_json

        found = await _accounts(context, account)
        if as_json:
            print_json("accounts", accounts=[account_json(one) for one in found])
            return
        for one in found:
            _show_account(one, SystemClock().now())

    perform(work())


def pnl(context: typer.Context, *, account: OfAccount = None, as_json: AsJson = False) -> None:
    """Show what each holding has made, realised and not, in its currency and the base currency.

    \b
    realised, unrealised   ours, by average cost, multiplier included, commissions excluded
    price                  the newest that was heard: a quote, or IB's mark
    base                   in the account's currency, by IB's exchange rate
    age                    of the oldest part of the figures

    \b
    oms pnl
    oms pnl --account DU1234567 --json
    """

    async def work() -> None:
        from oms.clock import SystemClock
        from oms.report.record_json import figure_json, holding_json

        found = await _accounts(context, account)
        if as_json:
            rows = [
                {
                    "account": one.account,
                    "base_currency": one.base_currency,
                    "realised_pnl": figure_json(one.realised_pnl),
                    "unrealised_pnl": figure_json(one.unrealised_pnl),
                    "holdings": [holding_json(holding) for holding in one.holdings],
                }
                for one in found
            ]
            print_json("pnl", accounts=rows)
            return
        for one in found:
            _show_pnl(one, SystemClock().now())

    perform(work())


# ── asking ───────────────────────────────────────────────────────────────────────────────────────


async def _asked(
    context: typer.Context, reader: Reader, request: Any, answer: type[Event], seconds: float
) -> Event:
    """Append a request and return the daemon's answer to it; raises `RequestTimedOut`."""
    from oms.cli.frame import settings_of
    from oms.cli.request import append, looks

    url = settings_of(context).database_url
    (receipt,) = append(url, [(request, request.request_id)])
    with waiting("asking IB"):
        async for _ in looks(reader, seconds):
            for envelope in await reader.events(receipt.sequence, type=answer.__name__):
                if getattr(envelope.event, "request_id", "") == request.request_id:
                    return envelope.event
    raise RequestTimedOut(
        f"no answer after {seconds:g} s",
        hint="`oms status` shows whether there is a line to IB; nothing was sent",
    )


async def _accounts(context: typer.Context, names: Sequence[str] | None) -> tuple[Account, ...]:
    from oms.service.portfolio import read_accounts

    async with reading(context) as reader:
        found = await read_accounts(reader, accounts=names or ())
    if not found:
        say("the books know no account yet; they do after the first reconciliation")
    return found


# ── showing ──────────────────────────────────────────────────────────────────────────────────────


def _show_quote(answer: QuoteAnswered, *, as_json: bool) -> None:
    from oms.cli.tables import age, price
    from oms.clock import SystemClock
    from oms.core.money import plain
    from oms.report.record_json import contract_json, time

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
    heard = age(answer.heard_at, SystemClock().now())
    made.add_row(str(answer.contract), *cells, answer.market_type, heard)
    show(made)


def _show_what_if(answer: WhatIfAnswered, *, as_json: bool) -> None:
    from oms.core.money import plain

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
        )
        return
    made = table("", *steps, right=steps)
    for kind, row in found.items():
        made.add_row(kind.replace("_", " "), *(row[step] or "unknown" for step in steps))
    show(made)
    low, high = commission["commission_min"], commission["commission_max"]
    span = commission["commission"] or (f"{low} to {high}" if low and high else "unknown")
    typer.echo(f"commission {span} {answer.commission_currency}".rstrip())
    if answer.warning_text:
        say(f"IB warns: {answer.warning_text}")


def _show_account(one: Account, now: datetime) -> None:
    from oms.cli.tables import age

    ready = {True: "", False: ", IB resets its servers", None: ""}[one.is_ready]
    typer.echo(f"{one.account}  base currency {one.base_currency or 'unknown'}{ready}")
    made = table("figure", "value", "currency", "age", "source", right=("value",), wrap=("source",))
    for name in _FIGURES:
        figure: Figure = getattr(one, name)
        made.add_row(
            name.replace("_", " "),
            _value(figure),
            figure.currency,
            age(figure.at, now),
            figure.source if figure.is_known else figure.reason,
        )
    show(made)
    if one.balances:
        currencies = table("currency", "cash", "rate", "net liquidation", "age", right=_MONEY)
        for balance in one.balances:
            currencies.add_row(
                balance.currency,
                _value(balance.cash),
                _value(balance.rate),
                _value(balance.net_liquidation),
                age(balance.cash.at, now),
            )
        show(currencies)


_MONEY: Final = ("cash", "rate", "net liquidation")


def _show_pnl(one: Account, now: datetime) -> None:
    from oms.cli.tables import age

    typer.echo(f"{one.account}  base currency {one.base_currency or 'unknown'}")
    numbers = ("quantity", "average", "price", "realised", "unrealised", "base")
    made = table("contract", *numbers, "age", "not known because", right=numbers)
    for holding in one.holdings:
        made.add_row(*_pnl_row(holding), age(holding.unrealised_pnl.at, now), _why(holding))
    made.add_row(
        "all",
        *("", "", ""),
        _value(one.realised_pnl),
        _value(one.unrealised_pnl),
        one.base_currency,
        age(one.unrealised_pnl.at, now),
        one.unrealised_pnl.reason,
    )
    show(made)


def _pnl_row(holding: Holding) -> list[str]:
    from oms.core.money import plain

    return [
        str(holding.contract),
        plain(holding.quantity),
        *(
            _value(figure)
            for figure in (
                holding.average_price,
                holding.last_price,
                holding.realised_pnl,
                holding.unrealised_pnl,
                holding.unrealised_pnl_base,
            )
        ),
    ]


def _why(holding: Holding) -> str:
    figures = (holding.unrealised_pnl, holding.unrealised_pnl_base)
    return next((figure.reason for figure in figures if figure.reason), "")


def _value(figure: Figure) -> str:
    from oms.cli.tables import price

    return price(figure.value) if figure.is_known else "unknown"
