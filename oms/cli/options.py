"""Options that several verbs share, each said once, and the way to give them to a verb.

A verb names the groups that it takes and receives them as one mapping of keyword arguments; the
signature that typer reads is put together here.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Final, TypeVar

import typer

from oms.core.bounds import CON_ID

Verb = TypeVar("Verb", bound=Callable[..., None])
#: Name -> what typer reads and the default.
Options = Mapping[str, tuple[Any, Any]]

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
Account = Annotated[str | None, typer.Option(metavar="ACCOUNT", help="Only this account.")]
All = Annotated[bool, typer.Option("--all", help="Those that have ended, too.")]
InAccount = Annotated[str | None, typer.Option("--account", help="In which account.")]


def check_seconds(value: float) -> float:
    """Return a time to wait; what is no number, or zero with a sign, passes every bound."""
    if math.isnan(value) or (not value and math.copysign(1, value) < 0):
        raise typer.BadParameter(f"{value} is no time to wait; 0 is the least")
    return value


Wait = Annotated[
    float,
    typer.Option(
        min=0, max=3600, metavar="SECONDS", callback=check_seconds, help="How long to wait for IB."
    ),
]
WaitForDaemon = Annotated[
    float,
    typer.Option(
        min=0,
        max=3600,
        metavar="SECONDS",
        callback=check_seconds,
        help="How long to wait for the daemon.",
    ),
]
Reason = Annotated[str, typer.Option(help="Why; kept in the log.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask first.")]


def _text(help_: str, *names: str, metavar: str | None = None) -> Any:
    return Annotated[str | None, typer.Option(*names, metavar=metavar, help=help_)]


def _flag(name: str, help_: str) -> Any:
    return Annotated[bool, typer.Option(name, help=help_)]


QUANTITY: Final[Options] = {
    "quantity": (
        Annotated[str, typer.Argument(metavar="QTY", help="How many; above zero.")],
        inspect.Parameter.empty,
    ),
}
#: What is traded, in one compact word or with options.
CONTRACT: Final[Options] = {
    "contract": (
        Annotated[
            str,
            typer.Argument(
                metavar="CONTRACT",
                help="AAPL, EUR.USD, ES/202609@CME, AAPL/20260918/200/C; options say the rest.",
            ),
        ],
        inspect.Parameter.empty,
    ),
    "sec_type": (
        _text("STK, OPT, FUT, FOP, CASH, BAG or IND; else by the form of CONTRACT."),
        None,
    ),
    "expiry": (_text("Of a derivative: yyyymmdd, or yyyymm of a future."), None),
    "strike": (_text("Of an option.", metavar="PRICE"), None),
    "right": (_text("Of an option: C or P."), None),
    "multiplier": (_text("Units of the underlying per contract, where several fit."), None),
    "trading_class": (_text("Of a derivative, where several fit."), None),
    "exchange": (_text("Where it is routed; SMART, or what CONTRACT says after @."), None),
    "primary_exchange": (_text("Of a stock that several exchanges list."), None),
    "currency": (_text("In which the contract trades; else USD."), None),
    "con_id": (
        Annotated[
            int,
            typer.Option(
                min=CON_ID.low, max=CON_ID.high, help="IB's number of the contract, where known."
            ),
        ],
        0,
    ),
    "leg": (
        Annotated[
            list[str] | None,
            typer.Option(
                metavar="SIDE:RATIO:CON_ID[@EXCHANGE]",
                help="A leg of a combo, such as BUY:1:265598; once for each.",
            ),
        ],
        None,
    ),
}
#: What the order asks for beside side and quantity.
TERMS: Final[Options] = {
    "limit": (_text("Limit price.", metavar="PRICE"), None),
    "stop": (_text("Stop price; of a trailing stop, where it begins.", metavar="PRICE"), None),
    "trail": (_text("Trailing stop: how far behind the market.", metavar="AMOUNT"), None),
    "trail_percent": (_text("The same in percent of the market.", metavar="PERCENT"), None),
    "limit_offset": (
        _text("Trailing stop-limit: how far the limit is from the stop.", metavar="AMOUNT"),
        None,
    ),
    "at": (_text("open or close: trade in that auction."), None),
    "tif": (_text("Time in force: DAY (the default), GTC, IOC, FOK, OPG or GTD."), None),
    "good_till": (_text("End of a GTD order: 2026-01-05T20:00:00Z.", metavar="TIME"), None),
    "outside_rth": (_flag("--outside-rth", "Also outside regular trading hours."), False),
    "all_or_none": (_flag("--all-or-none", "Fill all of it at once or nothing."), False),
    "min_quantity": (_text("Least that one fill may have.", metavar="QTY"), None),
    "display": (_text("How much of it the book shows.", metavar="QTY"), None),
    "hidden": (_flag("--hidden", "Show none of it in the book."), False),
}
GROUPING: Final[Options] = {
    "oca_group": (
        _text(
            "Name of a group: when one order fills, IB cancels or reduces the others.",
            metavar="NAME",
        ),
        None,
    ),
    "oca_type": (
        Annotated[
            int,
            typer.Option(
                min=1,
                max=3,
                help="1 cancels the others, 2 reduces them, 3 reduces without overfill guard.",
            ),
        ],
        1,
    ),
    "closing": (
        _flag(
            "--closing",
            "It only takes from what is held, never through zero; an open break lets it pass.",
        ),
        False,
    ),
}
SENDING: Final[Options] = {
    "account": (_text("In which account; may be left out where there is one."), None),
    "order_id": (
        _text("Your own id: the same key twice is one order.", "--order-id", metavar="KEY"),
        None,
    ),
    "wait": (Wait, 10.0),
    "reason": (Reason, ""),
    "dry_run": (
        _flag("--dry-run", "Show the order and what each rule says; write and send nothing."),
        False,
    ),
    "as_json": (AsJson, False),
}


def with_options(*groups: Options) -> Callable[[Verb], Verb]:
    """Give a verb the options of groups; it receives them as keyword arguments."""

    def decorate(verb: Verb) -> Verb:
        own = inspect.signature(verb, eval_str=True)
        kept = [p for p in own.parameters.values() if p.kind is not p.VAR_KEYWORD]
        added = [
            inspect.Parameter(
                name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation
            )
            for group in groups
            for name, (annotation, default) in group.items()
        ]
        # Arguments stand on the command line in the order of the signature: the verb's own first.
        verb.__signature__ = own.replace(parameters=[*kept, *added])  # type: ignore[attr-defined]
        verb.__annotations__ = {p.name: p.annotation for p in (*kept, *added)}
        return verb

    return decorate
