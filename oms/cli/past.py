"""The options `--as-of` and `--by`: the books as of a moment instead of now."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Annotated, Any

import typer

from oms.cli.context import settings_of
from oms.cli.output import say
from oms.cli.reading import log_now, reached, reading
from oms.cli.terminal import progress
from oms.clock import SystemClock
from oms.errors import InvalidRequest
from oms.history.asof import Bookshelf, PastBooks, as_of_json, books_at, by_of
from oms.history.making import bring_up
from oms.history.moments import Calendar, moment_of
from oms.history.side import Unusable
from oms.store.reader import Reader

AsOf = Annotated[
    str | None,
    typer.Option(
        "--as-of",
        metavar="MOMENT",
        help="The books at a time with its zone, at the beginning of a day, or at a sequence.",
    ),
]
WhichOf = Annotated[
    str | None,
    typer.Option(
        "--by",
        metavar="known|happened",
        help="With --as-of: what we knew then (as without it), or what had happened by what we"
        " know now.",
    ),
]
#: Events that are folded without snapshots rather than made snapshots of: a few seconds.
_EVENTS_MAX = 100_000


@dataclass(frozen=True, slots=True)
class Shelf:
    """Where a verb's records are: in the database, or in the past asked for."""

    reader: Reader
    past: PastBooks | None
    #: The event that the records have reached, or are newer than.
    sequence: int
    #: The moment from which every age is counted.
    now: datetime

    @property
    def books(self) -> Bookshelf:
        """Return where the records are."""
        return self.reader if self.past is None else self.past

    @property
    def json(self) -> dict[str, Any]:
        """Return what an answer says about its moment."""
        about: dict[str, Any] = {"as_of_sequence": self.sequence}
        return about if self.past is None else {**about, "as_of": as_of_json(self.past.as_of)}

    def say(self) -> None:
        """Say beside a table of the past what it is about."""
        if self.past is not None:
            say(f"{self.past.as_of.words}; ages are counted from then")
            for words in self.past.as_of.presumed:
                say(f"presumed: {words}")


def calendar(context: typer.Context, zone: str | None) -> Calendar:
    """Return what words about time mean to a verb; `zone` is what its `--zone` says."""
    said = zone or settings_of(context).day_zone
    return Calendar(said, SystemClock().now(), is_said=bool(zone))


@asynccontextmanager
async def shelf(
    context: typer.Context, as_of: str | None, by: str | None, zone: str | None = None
) -> AsyncIterator[Shelf]:
    """Open the log for reading, now or as of a moment."""
    if as_of is None and by is not None:
        raise InvalidRequest("--by belongs to --as-of", hint="say of which moment: --as-of MOMENT")
    which = by_of(by or "known")
    settings = settings_of(context)
    async with reading(context) as reader:
        if as_of is None:
            yield Shelf(reader, None, await reached(reader), await log_now(reader))
            return
        moment = moment_of(as_of, calendar(context, zone))
        make = partial(make_snapshots, settings.database_url)
        past = await books_at(reader, moment, which, events_max=_EVENTS_MAX, when_far=make)
        yield Shelf(reader, past, past.sequence, past.now)


def make_snapshots(url: str) -> None:
    """Make the snapshots that are missing; where nothing can be written, say so."""
    say("snapshots of the past are made once for all questions; `oms run` makes them as well")
    try:
        with progress("making snapshots") as moved:
            bring_up(url, moved)
    except Unusable as error:
        say(f"snapshots cannot be kept: {error}; the log is folded for this answer alone")
