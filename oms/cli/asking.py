"""The question that a list verb is asked: the same options everywhere, read by the one parser."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final

import typer
from typer.core import TyperCommand

from oms.cli.options import Options
from oms.cli.output import print_json, say
from oms.cli.past import Shelf, calendar, shelf
from oms.cli.terminal import show, table
from oms.core.fold.records import AnyRecord, Fill
from oms.errors import InvalidRequest
from oms.history import records
from oms.history.clocks import Readings, around_fills
from oms.history.query import KEYS, Counted, Query, beyond, parse, unknown_names
from oms.store.reader import Reader

_WHICH: Final = "Which ones (each can be given more than once: one of the values)"
_WHEN: Final = "From when to when"
_HOW_MANY: Final = "How many, in which order"


def _several(metavar: str, help_: str, *names: str) -> tuple[Any, Any]:
    option = typer.Option(*names, metavar=metavar, help=help_, rich_help_panel=_WHICH)
    return Annotated[list[str] | None, option], None


def _one(metavar: str, help_: str, panel: str, *names: str) -> tuple[Any, Any]:
    option = typer.Option(*names, metavar=metavar, help=help_, rich_help_panel=panel)
    return Annotated[str | None, option], None


SORT: Final[Options] = {
    "sort": _one("KEY", "In this order; with - before it, the largest first.", _HOW_MANY),
}
#: What every list takes; docs/reference/query.md has the whole language.
FILTERS: Final[Options] = {
    "order": _several("ORDER", "Of this order, by any of its names."),
    "account": _several("ACCOUNT", "In this account."),
    "symbol": _several("SYMBOL", "Of this symbol."),
    "con_id": _several("CON_ID", "Of the contract with this number of IB's."),
    "klass": _several("CLASS", "Of this security type, class of break, kind of alarm.", "--class"),
    "side": _several("SIDE", "BUY or SELL."),
    "state": _several("STATE", "About orders in this state now."),
    "code": _several("CODE", "With this code of IB's."),
    "actor": _several("ACTOR", "Of who did it: broker, daemon, person:NAME, strategy:NAME."),
    "strategy": _several("NAME", "Of this strategy, and of all its orders."),
    "session": _several("NUMBER", "In this session with the gateway."),
    "since": _one("MOMENT", "From then on: a day, a month, a time and zone, a sequence.", _WHEN),
    "until": _one("MOMENT", "Before then: it is not part of the range itself.", _WHEN),
    "during": _one("DAY|MONTH", "In this day or month: 2026-06-01, 2026-06, yesterday.", _WHEN),
    "zone": _one("ZONE", "In which days begin, as Europe/Berlin; else OMS_DAY_ZONE.", _WHEN),
    "after": _one("SEQ", "The first ones after this sequence: the next page.", _HOW_MANY),
    "before": _one("SEQ", "The last ones before this sequence: the page before.", _HOW_MANY),
    "limit": _one("N", "At most so many.", _HOW_MANY),
}
COUNTS: Final[Options] = {
    "count": (
        Annotated[
            bool,
            typer.Option("--count", help="Only how many there are.", rich_help_panel=_HOW_MANY),
        ],
        False,
    ),
    "by": _one("KEY", f"With --count, for each value of {', '.join(KEYS)}.", _HOW_MANY),
}
#: What lists of the books take besides.
BOOKS: Final[Options] = {
    **SORT,
    "count": COUNTS["count"],
    "as_of": _one("MOMENT", "The books at a moment, as --since writes them.", _WHEN, "--as-of"),
    "by": (
        Annotated[
            list[str] | None,
            typer.Option(
                metavar="KEY|known|happened",
                help="With --count: for each value of a key, such as symbol. With --as-of: what we"
                " knew then (as without it), or what had happened by what we know now.",
                rich_help_panel=_HOW_MANY,
            ),
        ],
        None,
    ),
}
_WHICH_BOOKS: Final = frozenset({"known", "happened"})


#: Options that are no condition.
_NOT_ASKED: Final = frozenset({"count", "by", "zone", "as_of"})


class Question(TyperCommand):
    """A verb whose help shows its options in groups, as plain text."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the verb's own options first, and then each group under its name."""
        groups: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                panel = getattr(parameter, "rich_help_panel", None) or "Options"
                groups.setdefault(panel, []).append(record)
        for panel, options in groups.items():
            with formatter.section(panel):
                formatter.write_dl(options)


def asked(context: typer.Context, words: Mapping[str, Any], limit: int | None = None) -> Query:
    """Return the query that the options of a verb make.

    Pages go forward from `--after`; else the newest are found first. Raises `InvalidRequest`.
    """
    given = {name: value for name, value in words.items() if name not in _NOT_ASKED}
    if words.get("by") and not (words.get("count") or words.get("as_of")):
        raise InvalidRequest(
            "--by belongs to --as-of, and with a key to --count", hint="`--count --by symbol`"
        )
    given["limit"] = given.get("limit") or limit
    given["reverse"] = given.get("after") is None
    return parse(given, calendar(context, words.get("zone")))


def which_and_key(words: Mapping[str, Any]) -> tuple[str | None, str]:
    """Return what `--by` says: which books, and by which key is counted."""
    said = words["by"] or ()
    which = [one for one in said if one.lower() in _WHICH_BOOKS]
    keys = [one for one in said if one.lower() not in _WHICH_BOOKS]
    if keys and not words["count"]:
        # Said by what reads it: a word that is none.
        which += keys
    if max(len(which), len(keys)) > 1:
        raise InvalidRequest("--by is given twice", hint="one key, and one of known and happened")
    return (which[0] if which else None), (keys[0] if keys else "")


@dataclass(frozen=True, slots=True)
class Listed:
    """What a list verb shows."""

    place: Shelf
    records: list[AnyRecord]
    #: How many have ended, where those that live are shown; else 0.
    ended: int
    #: Of fills: the readings of the gateway's clock around them.
    clocks: Readings


async def listed(
    context: typer.Context,
    table: str,
    words: Mapping[str, Any],
    *,
    where: Mapping[str, object],
    limit: int | None = None,
    as_json: bool,
) -> Listed | None:
    """Return the records that a verb is asked for, now or as of a moment; None where only their
    number was asked for, and is shown.
    """
    query = asked(context, words, limit)
    which_of, key = which_and_key(words)
    async with shelf(context, words["as_of"], which_of, words["zone"]) as place:
        if words["count"]:
            counted = await records.count(
                place.reader, table, query, key, where=where, past=place.past
            )
            place.say()
            if not counted.total and not as_json:
                await say_none(place.reader, query)
            show_count(counted, as_json=as_json)
            return None
        found = await records.find(place.reader, table, query, where, place.past)
        if not found and not as_json:
            await say_none(place.reader, query)
        ended = await place.books.count(table, {"live": 0}) if "live" in where else 0
        fills = [one for one in found if isinstance(one, Fill)]
        return Listed(place, found, ended, await around_fills(place.reader, fills))


async def say_none(reader: Reader, query: Query, noun: str = "") -> None:
    """Say that nothing answers a question, and which of its names no event names."""
    unknown = await unknown_names(reader, query)
    for words, hint in unknown:
        say(words)
        say(f"hint: {hint}")
    after_the_end = await beyond(reader, query)
    if after_the_end:
        say(after_the_end)
    if noun and not unknown:
        say(f"no {noun} meets this question")


def show_count(counted: Counted, *, as_json: bool) -> None:
    """Print how many there are, for each value of a key where one was named."""
    if as_json:
        values = [{"value": value, "count": number} for value, number in counted.counts]
        print_json("count", by=counted.key or None, total=counted.total, counts=values)
        return
    made = table(counted.key or "", "count", right=("count",))
    for value, number in counted.counts:
        made.add_row(value or "(none)", f"{number:,}")
    made.add_row("all", f"{counted.total:,}")
    show(made)
