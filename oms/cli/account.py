"""The verbs `account` and `pnl`: what accounts have, and what their holdings have made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Annotated, Any, Final

import typer

from oms.cli.asking import FILTERS, Question, asked, say_none
from oms.cli.options import AsJson, with_options
from oms.cli.output import print_json, say, write
from oms.cli.past import AsOf, Shelf, WhichOf, shelf
from oms.cli.reading import asynchronous
from oms.cli.tables import age, price
from oms.cli.terminal import show, table
from oms.core.money import plain
from oms.core.portfolio import Account, Figure, Holding
from oms.history import records
from oms.history.portfolio import read_accounts
from oms.history.query import Query
from oms.report.record_json import account_json, figure_json, holding_json

app = typer.Typer()

OfAccount = Annotated[
    list[str] | None, typer.Option("--account", help="Only this account; may be repeated.")
]

#: Figures of an account in the order in which they are shown.
_FIGURES: Final = (
    *("net_liquidation", "total_cash", "buying_power", "gross_position_value"),
    *("initial_margin", "maintenance_margin", "available_funds", "excess_liquidity"),
    *("realised_pnl", "unrealised_pnl"),
)

_MONEY: Final = ("cash", "rate", "net liquidation")


@app.command()
@asynchronous
async def account(
    context: typer.Context,
    *,
    account: OfAccount = None,
    as_of: AsOf = None,
    by: WhichOf = None,
    as_json: AsJson = False,
) -> None:
    """Show what accounts have: cash, net liquidation, buying power, margin, each with its age.

    The figures are IB's, from the log; IB is not asked. A figure that is not known shows why.

    \b
    oms account
    oms account --account DU1234567 --json
    oms account --as-of 2026-06-01T14:03Z
    """
    async with shelf(context, as_of, by) as place:
        found = await _accounts(place, account)
    if as_json:
        about = {} if place.past is None else place.json
        print_json("accounts", **about, accounts=[account_json(one) for one in found])
        return
    place.say()
    for one in found:
        _show_account(one, place.now)


@app.command(cls=Question)
@with_options(FILTERS)
@asynchronous
async def pnl(
    context: typer.Context,
    *,
    as_of: AsOf = None,
    by: WhichOf = None,
    as_json: AsJson = False,
    **words: Any,
) -> None:
    """Show what each holding has made, realised and not, in its currency and the base currency.

    The conditions are those of `oms positions` and say which holdings are listed; the last line is
    the whole account.

    \b
    realised, unrealised   ours, by average cost, multiplier included, commissions excluded
    price                  the newest that was heard: a quote, or IB's mark
    base                   in the account's currency, by IB's exchange rate
    age                    of the oldest part of the figures

    \b
    oms pnl
    oms pnl --account DU1234567 --json
    oms pnl --class OPT --as-of 2026-06-01T14:03Z --by happened
    """
    query = asked(context, words)
    async with shelf(context, as_of, by, words["zone"]) as place:
        found = await _narrowed(place, query, await _accounts(place, query.account))
    if as_json:
        about = {} if place.past is None else place.json
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
        print_json("pnl", **about, accounts=rows)
        return
    place.say()
    for one in found:
        _show_pnl(one, place.now)


async def _accounts(place: Shelf, names: Sequence[str] | None) -> tuple[Account, ...]:
    found = await read_accounts(place.books, accounts=names or ())
    if not found:
        say("no account is known yet; the first reconciliation asks IB for them")
    return found


async def _narrowed(place: Shelf, query: Query, accounts: Sequence[Account]) -> Sequence[Account]:
    """Return accounts with the holdings that answer a query."""
    if query.evolve(account=(), reverse=False) == Query():
        return accounts
    found = await records.find(place.reader, "positions", query, None, place.past)
    keys = {one.key for one in found}
    if not keys:
        await say_none(place.reader, query, "holding")
    return [
        replace(
            one,
            holdings=tuple(h for h in one.holdings if f"{h.account}:{h.contract.con_id}" in keys),
        )
        for one in accounts
    ]


def _show_account(one: Account, now: datetime) -> None:
    ready = {True: "", False: ", IB resets its servers", None: ""}[one.is_ready]
    write(f"{one.account}  base currency {one.base_currency or 'unknown'}{ready}")
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


def _show_pnl(one: Account, now: datetime) -> None:
    write(f"{one.account}  base currency {one.base_currency or 'unknown'}")
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
    return price(figure.value) if figure.is_known else "unknown"
