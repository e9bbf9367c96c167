"""The verb `alarms`: what has lasted too long."""

from __future__ import annotations

from typing import Any, Final, cast

import typer

from oms.cli.asking import BOOKS, FILTERS, Question, listed
from oms.cli.options import All, AsJson, with_options
from oms.cli.output import print_json, say
from oms.cli.reading import asynchronous
from oms.cli.tables import alarms_table
from oms.cli.terminal import say_count, show
from oms.core.fold.records import Alarm
from oms.report.record_json import alarm_json

app = typer.Typer()

#: Filters that are about alarms which are over as well.
_OF_THE_PAST: Final = ("since", "until", "during", "after", "before")


@app.command(cls=Question)
@with_options(FILTERS, BOOKS)
@asynchronous
async def alarms(
    context: typer.Context, *, every: All = False, as_json: AsJson = False, **words: Any
) -> None:
    """List alarms that stand; with --all, or with a time, those that are over, too.

    --class is the kind of alarm; --since and --until are about when it was raised last.

    \b
    kind     docs/operating/alarms.md has what each means, and what to do
    age      how long that has lasted of which it is about
    raised   how often
    event    the one that raised it last: `oms why SEQ`

    \b
    oms alarms
    oms alarms --class order_silent --during yesterday --json
    oms alarms --all --count --by class
    oms alarms --as-of 2026-06-01T14:03Z
    """
    every = every or any(words[name] for name in _OF_THE_PAST)
    where: dict[str, object] = {} if every else {"live": 1}
    limit = 100 if every else None
    found = await listed(context, "alarms", words, where=where, limit=limit, as_json=as_json)
    if found is None:
        return
    place, chosen = found.place, cast("list[Alarm]", found.records)
    if as_json:
        print_json("alarms", **place.json, alarms=[alarm_json(one) for one in chosen])
        return
    place.say()
    show(alarms_table(chosen, place.now))
    say_count(chosen, "alarm")
    if found.ended:
        say(f"{found.ended:,} are over; `oms alarms --all` shows them")
