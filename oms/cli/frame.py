"""What every verb shares: options, settings, the reader, results to stdout and words to stderr."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, NoReturn, TypeVar

import typer
from typer.core import TyperGroup

from oms.errors import InvalidRequest, OmsError

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table

    from oms.settings import Settings
    from oms.store.reader import Reader

Result = TypeVar("Result")

#: Number of the JSON contract, in every answer; docs/reference/json-output.md.
SCHEMA: Final = 1
#: Options that belong to the program and are taken after the verb as well.
_GLOBAL_OPTIONS: Final = ("--database", "--config")

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
Account = Annotated[str | None, typer.Option(metavar="ACCOUNT", help="Only this account.")]
Symbol = Annotated[str | None, typer.Option(metavar="SYMBOL", help="Only this symbol.")]


@dataclass(frozen=True, slots=True)
class Given:
    """The global options as they were given."""

    database: str | None = None
    config: Path | None = None


class Verbs(TyperGroup):
    """The verbs, with two habits: global options stand anywhere, and an expected failure is a
    message, a hint and an exit status, never a traceback.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Move the global options before the verb."""
        return super().parse_args(ctx, hoisted(args))

    def invoke(self, ctx: Any) -> Any:
        """Run the verb; an error of our tree ends it."""
        try:
            return super().invoke(ctx)
        except OmsError as error:
            fail(error)


def hoisted(arguments: list[str]) -> list[str]:
    """Return the arguments with the global options in front, wherever they stood before `--`."""
    front: list[str] = []
    rest: list[str] = []
    pending = iter(arguments)
    for argument in pending:
        if argument == "--":
            rest += [argument, *pending]
        elif argument in _GLOBAL_OPTIONS:
            front += [argument, *([value] if (value := next(pending, None)) is not None else [])]
        elif argument.startswith(tuple(f"{option}=" for option in _GLOBAL_OPTIONS)):
            front.append(argument)
        else:
            rest.append(argument)
    return front + rest


def fail(error: OmsError) -> NoReturn:
    """Say what is wrong and what to do next, and end with the error's exit status."""
    say(f"error: {error.message}")
    if error.hint:
        say(f"hint: {error.hint}")
    raise typer.Exit(error.exit_code)


def say(words: str) -> None:
    """Write words for a person to stderr."""
    typer.echo(words, err=True)


def settings_of(context: typer.Context) -> Settings:
    """Return the settings; `--database` and `--config` outrank every other source."""
    from oms import settings, telemetry

    given: Given = context.obj
    environment = dict(os.environ)
    if given.config is not None:
        environment[settings.CONFIG_VARIABLE] = str(given.config)
    loaded = settings.load(environment=environment, database_url=given.database)
    # A verb answers a person: what the store has to report while it does is of no interest.
    telemetry.configure("ERROR", loaded.log_format)
    return loaded


def confirmed(what: str, question: str, *, yes: bool) -> None:
    """Let a person say yes to something dangerous; a program has to have said it already.

    Raises `InvalidRequest` where nobody can be asked.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise InvalidRequest(what, hint="nothing was written; repeat it with --yes")
    say(what)
    typer.confirm(question, abort=True, err=True)


@asynccontextmanager
async def reading(context: typer.Context) -> AsyncIterator[Reader]:
    """Open the log for reading; it is closed when the verb ends."""
    from oms.store.reader import Reader

    reader = await Reader.open(settings_of(context).database_url)
    try:
        yield reader
    finally:
        await reader.close()


def perform(work: Coroutine[Any, Any, Result]) -> Result:
    """Run a verb's work; Ctrl-C ends it without a traceback."""
    return asyncio.run(work)


# ── showing ──────────────────────────────────────────────────────────────────────────────────────


def print_json(kind: str, **values: object) -> None:
    """Write one JSON object: the number of the contract, what it is, and the values."""
    write_json({"schema": SCHEMA, "kind": kind, **values})


def write_json(value: object) -> None:
    """Write a JSON value on one line: programs read lines."""
    typer.echo(json.dumps(value, ensure_ascii=False))


def show(*renderables: RenderableType) -> None:
    """Write what a person reads to stdout."""
    console = _console()
    for renderable in renderables:
        console.print(renderable)


def table(*headers: str, right: tuple[str, ...] = (), wrap: tuple[str, ...] = ()) -> Table:
    """Return an empty table; `right` names columns of numbers, `wrap` those that may be folded on a
    narrow screen.
    """
    from rich.table import Table

    made = Table(box=None, pad_edge=False, header_style="dim")
    for header in headers:
        side = "right" if header in right else "left"
        made.add_column(header, justify=side, no_wrap=header not in wrap)  # type: ignore[arg-type]
    return made


@contextmanager
def progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """Show how far a long piece of work is, on stderr and only to a person."""
    if not sys.stderr.isatty():
        yield lambda done, total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    columns = ("{task.description}", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        bar = bars.add_task(what, total=None)
        yield lambda done, total: bars.update(bar, completed=done, total=total)


@contextmanager
def waiting(words: str) -> Iterator[None]:
    """Say on stderr what is waited for; a person sees that something moves."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status(words):
        yield


def _console() -> Console:
    from rich.console import Console

    # A pipe has no width; 80 columns would cut the ids that the next program looks for.
    width = None if sys.stdout.isatty() or "COLUMNS" in os.environ else 200
    return Console(width=width, highlight=False, markup=False, emoji=False)
