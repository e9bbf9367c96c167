"""What a person sees of it: tables, progress and questions."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any, Final

import typer
from rich.console import Console, ConsoleOptions, RenderableType
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TimeRemainingColumn,
)
from rich.segment import Segment
from rich.text import Text

from oms.cli.listing import Listing
from oms.cli.output import say
from oms.core.shown import shown
from oms.core.words import counted
from oms.errors import InvalidRequest

#: A pipe that is closed meanwhile ends the drawing.
_LINES_AT_A_TIME: Final = 200


class Screen(Console):
    """A console on which no text from outside can do anything but be read."""

    def render_str(self, text: str, **options: Any) -> Text:
        """Return a cell's text as it may be shown, before its width is measured."""
        return super().render_str(shown(text), **options)

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Render with what was put together elsewhere as it may be shown, too."""
        for segment in super().render(renderable, options):
            text, style, control = segment
            yield segment if control or text.isprintable() else Segment(shown(text), style)


def show(*shown_things: RenderableType | Listing) -> None:
    """Write what a person reads to stdout; a list of many rows is written as it is drawn."""
    console = _console()
    for one in shown_things:
        if isinstance(one, Listing):
            _write_listing(console, one)
        else:
            console.print(one)


def _write_listing(console: Console, listing: Listing) -> None:
    lines = listing.lines(console.width)
    console.print(Text(next(lines), style="dim", no_wrap=True, overflow="ignore"), crop=False)
    while page := list(islice(lines, _LINES_AT_A_TIME)):
        typer.echo("\n".join(page))


def table(*headers: str, right: tuple[str, ...] = (), wrap: tuple[str, ...] = ()) -> Listing:
    """Return an empty table; `right` names columns of numbers, `wrap` those that may be folded on a
    narrow screen.
    """
    return Listing(headers, right=right, wrap=wrap)


class _RateColumn(ProgressColumn):
    def render(self, task: Task) -> Text:
        """Return how many are done a second; nothing until that can be said."""
        return Text(f"{task.speed:,.0f}/s" if task.speed else "")


@contextmanager
def progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """Show how far a long piece of work is, how fast it goes and how long it will take, on stderr
    and only to a person.
    """
    if not sys.stderr.isatty():
        yield lambda done, total: None
        return

    counts = (MofNCompleteColumn(), _RateColumn(), TimeRemainingColumn())
    with Progress(
        "{task.description}", BarColumn(), *counts, console=Console(stderr=True), transient=True
    ) as bars:
        bar = bars.add_task(what, total=None)
        yield lambda done, total: bars.update(bar, completed=done, total=total)


@contextmanager
def waiting(words: str) -> Iterator[None]:
    """Say on stderr what is waited for; a person sees that something moves."""
    if not sys.stderr.isatty():
        yield
        return

    with Console(stderr=True).status(words):
        yield


def confirmed(what: str, question: str, *, yes: bool) -> None:
    """Let a person say yes to something dangerous; a program must have passed --yes.

    Raises `InvalidRequest` where no person can be asked.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise InvalidRequest(what, hint="nothing was written; repeat it with --yes")
    say(what)
    typer.confirm(question, abort=True, err=True)


def _console() -> Console:
    # A pipe has no width; 80 columns would cut the ids that the next program looks for.
    width = None if sys.stdout.isatty() or "COLUMNS" in os.environ else 200
    return Screen(width=width, highlight=False, markup=False, emoji=False)


def say_count(rows: Sequence[object], noun: str) -> None:
    """Say how many rows were shown, and in which zone their times are."""
    plural = noun.replace("order", "orders", 1) if noun.startswith("order") else ""
    say(f"{counted(len(rows), noun, plural)}; times in UTC")
