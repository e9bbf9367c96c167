"""How a verb asks the running daemon for something: a fact in the log, and patience.

The request is durable, or nothing is: without a daemon it is refused before anything is written.
The answer is read back from the log, so what the verb reports is what an auditor will find.
"""

from __future__ import annotations

import asyncio
import getpass
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Final

from oms.clock import SystemClock
from oms.core.events import Context, Event, Pending
from oms.store.log import append_foreign

if TYPE_CHECKING:
    from oms.store.writer import Receipt

#: How often the log is looked at for the answer: the daemon's own poll is as long.
LOOK_SECONDS: Final = 0.05


def append(url: str, requests: Sequence[tuple[Event, str]]) -> list[Receipt]:
    """Append requests, each with its correlation id, all or none; raises `DaemonNotRunning`."""
    actor = person()
    pendings = [
        Pending(event, Context(actor=actor, correlation_id=correlation_id))
        for event, correlation_id in requests
    ]
    return append_foreign(url, pendings, clock=SystemClock())


def person() -> str:
    """Return who asks: the login of whoever runs the verb."""
    try:
        login = getpass.getuser()
    except (KeyError, OSError):
        login = "unknown"  # a container without a user table
    return f"person:{login}"


async def looks(seconds: float) -> AsyncIterator[None]:
    """Yield until the deadline, at least once: one look at the log a time."""
    clock = SystemClock()
    deadline = clock.monotonic() + seconds
    while True:
        yield
        if clock.monotonic() >= deadline:
            return
        await asyncio.sleep(LOOK_SECONDS)
