"""How a verb asks the running daemon for something: a fact in the log, and patience.

The request is durable, or nothing is: without a daemon it is refused before anything is written.
The answer is read back from the log, so what the verb reports is what an auditor will find.
"""

from __future__ import annotations

import asyncio
import getpass
import socket
from collections.abc import AsyncIterator, Sequence
from typing import Final

import typer

from oms.cli.context import settings_of
from oms.cli.terminal import waiting
from oms.clock import SystemClock
from oms.core.events import Context, Event, Pending, QuoteRequested, WhatIfRequested
from oms.core.receipt import Receipt
from oms.errors import OutcomeUnknown, RequestTimedOut
from oms.store.log import append_foreign
from oms.store.reader import Reader

#: How often the log is looked at for the answer: the daemon's own poll is as long.
LOOK_SECONDS: Final = 0.05
#: How often it is checked that a daemon is there to answer.
DAEMON_LOOK_SECONDS: Final = 1.0


def append(
    url: str, requests: Sequence[tuple[Event, str | None]], *, needs_daemon: bool = True
) -> list[Receipt]:
    """Append facts, each with its correlation id, all or none.

    Raises `DaemonNotRunning` where one is needed and none runs; a request is, a halt is not.
    """
    actor = person()
    pendings = [
        Pending(event, Context(actor=actor, correlation_id=correlation_id))
        for event, correlation_id in requests
    ]
    return append_foreign(url, pendings, clock=SystemClock(), needs_daemon=needs_daemon)


def append_requests(context: typer.Context, requests: Sequence[Event]) -> list[Receipt]:
    """Append requests, each joined to the order that it is about; raises `DaemonNotRunning`."""
    url = settings_of(context).database_url
    return append(url, [(request, getattr(request, "order_id", None)) for request in requests])


def person() -> str:
    """Return who asks: the login that runs the verb."""
    try:
        login = getpass.getuser()
    except (KeyError, OSError):
        login = "unknown"  # a container without a user table
    return f"person:{login}"


async def ask(
    context: typer.Context,
    reader: Reader,
    request: QuoteRequested | WhatIfRequested,
    answer: type[Event],
    seconds: float,
) -> Event:
    """Append a question for IB and return the daemon's answer to it; raises `RequestTimedOut`."""
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


async def looks(reader: Reader, seconds: float) -> AsyncIterator[None]:
    """Yield until the deadline, at least once: one look at the log a time.

    Raises `OutcomeUnknown` when the daemon goes away: then no answer will come.
    """
    clock = SystemClock()
    deadline = clock.monotonic() + seconds
    look_for_daemon = clock.monotonic() + DAEMON_LOOK_SECONDS
    while True:
        yield
        now = clock.monotonic()
        if now >= deadline:
            return
        if now >= look_for_daemon:
            look_for_daemon = now + DAEMON_LOOK_SECONDS
            if not await daemon_runs(reader):
                # What it wrote just before it went is an answer all the same.
                yield
                raise OutcomeUnknown(
                    "the daemon went away before the outcome was known",
                    hint="the request is in the log; start the daemon and look at `oms log`",
                )
        await asyncio.sleep(LOOK_SECONDS)


async def daemon_runs(reader: Reader) -> bool:
    """Say whether any daemon on this log shows signs of life, or runs here and waits to write."""
    now, host = SystemClock().now(), socket.gethostname()
    leases = await reader.leases()
    return any(lease.held(now, host) or lease.is_alive(host) for lease in leases)
