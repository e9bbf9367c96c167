"""Reading the log, and running a verb's work."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import typer

from oms.cli.context import settings_of
from oms.store.reader import Reader
from oms.store.tables import BOOKS_CHECKPOINT

Given = ParamSpec("Given")
Result = TypeVar("Result")


@asynccontextmanager
async def reading(context: typer.Context) -> AsyncIterator[Reader]:
    """Open the log for reading; it is closed when the verb ends."""
    reader = await Reader.open(settings_of(context).database_url)
    try:
        yield reader
    finally:
        await reader.close()


def perform(work: Coroutine[Any, Any, Result]) -> Result:
    """Run a verb's work; Ctrl-C ends it without a traceback."""
    return asyncio.run(work)


def asynchronous(verb: Callable[Given, Coroutine[Any, Any, None]]) -> Callable[Given, None]:
    """Return a verb that runs in an event loop of its own; Ctrl-C ends it without a traceback."""

    @wraps(verb)
    def run(*arguments: Given.args, **options: Given.kwargs) -> None:
        asyncio.run(verb(*arguments, **options))

    return run


async def reached(reader: Reader) -> int:
    """Return the sequence that the books have reached; rows read after this are at least as new."""
    return (await reader.checkpoints()).get(BOOKS_CHECKPOINT, 0)


def where(account: str | None, symbol: str | None) -> dict[str, object]:
    """Return the condition on rows that the options `--account` and `--symbol` stand for."""
    condition: dict[str, object] = {}
    if account is not None:
        condition["account"] = account
    if symbol is not None:
        condition["symbol"] = symbol.upper()
    return condition
