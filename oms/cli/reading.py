"""Reading the log, and running a verb's work."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import typer

from oms.cli.context import settings_of
from oms.cli.output import say
from oms.cli.terminal import progress
from oms.clock import SystemClock
from oms.history.index import WATCH, Moved, Watch
from oms.store.loss import tolerable_loss
from oms.store.reader import Reader
from oms.store.situation import time_of_log
from oms.store.tables import BOOKS_CHECKPOINT

Given = ParamSpec("Given")
Result = TypeVar("Result")


@asynccontextmanager
async def reading(context: typer.Context, *, checked: bool = True) -> AsyncIterator[Reader]:
    """Open the log for reading; it is closed when the verb ends. An older copy of the log is read
    all the same, with a word; a damaged one only where nothing is `checked`.
    """
    url = settings_of(context).database_url
    reader = await Reader.open(url, checked=checked)
    token = WATCH.set(Watch(_making_index, _say_not_kept))
    try:
        warn_of_loss(url)
        yield reader
    finally:
        WATCH.reset(token)
        await reader.close()


@contextmanager
def _making_index(missing: int) -> Iterator[Moved]:
    say(
        f"{missing:,} events are read once, so that each question finds its own;"
        " `oms run` does it as the log grows"
    )
    with progress("reading events") as moved:
        yield moved


def _say_not_kept(missing: int) -> None:
    say(
        f"this question reads {missing:,} events, and so will the next one: what finds events"
        " cannot be written beside the log"
    )
    say("hint: ask once as the user who owns the log, or start `oms run`")


def warn_of_loss(url: str) -> None:
    """Say it where events of the log are missing; raises `LogWentBack` where all are."""
    loss = tolerable_loss(url)
    if loss is not None:
        say(f"warning: {loss.text}")
        say(f"hint: {loss.error().hint}")


def perform(work: Coroutine[Any, Any, Result]) -> Result:
    """Run a verb's work; Ctrl-C ends it without a traceback."""
    return asyncio.run(work)


def asynchronous(verb: Callable[Given, Coroutine[Any, Any, None]]) -> Callable[Given, None]:
    """Return a verb that runs in an event loop of its own; Ctrl-C ends it without a traceback."""

    @wraps(verb)
    def run(*arguments: Given.args, **options: Given.kwargs) -> None:
        asyncio.run(verb(*arguments, **options))

    return run


async def log_now(reader: Reader) -> datetime:
    """Return the time of the log as of now, from which the ages of what it holds are counted."""
    return await time_of_log(reader, SystemClock().now(), socket.gethostname())


async def reached(reader: Reader) -> int:
    """Return the sequence that the books have reached; rows read after this are at least as new."""
    return (await reader.checkpoints()).get(BOOKS_CHECKPOINT, 0)
