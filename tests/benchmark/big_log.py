"""Write a log of many events for the benchmarks that ask about the past.

    python -m tests.benchmark.big_log FILE EVENTS

The flow of `flow.day`, spread over a year: the clock of the log goes forward between transactions,
and each execution happened a few seconds before it was recorded, one in a thousand an hour before.
Ten million events take about a quarter of an hour and 14 GB.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path

from oms.clock import ManualClock
from oms.core.events import ExecutionReceived, Pending
from oms.store import schema
from oms.store.log import EventLog
from oms.telemetry import configure
from tests.benchmark.flow import day

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
YEAR_SECONDS = 365 * 86_400
CHUNK = 1_000


async def make(path: Path, count: int, *, open_orders: int = 10_000) -> None:
    """Write so many events of one year, with their projections."""
    schema.upgrade(str(path))
    clock = ManualClock(BEGIN)
    facts = _timed(day(open_orders=open_orders), clock)
    log = await EventLog.open(str(path), clock=clock, lease=None)
    for first in range(0, count, CHUNK):
        for fact in islice(facts, min(CHUNK, count - first)):
            log.append(fact)
        await log.flush()
        clock.advance(YEAR_SECONDS * CHUNK / count)
    await log.close()


def _timed(facts: Iterator[Pending], clock: ManualClock) -> Iterator[Pending]:
    for number, fact in enumerate(facts):
        if isinstance(fact.event, ExecutionReceived):
            late = timedelta(hours=1) if number % 1_000 == 0 else timedelta(seconds=2)
            context = replace(fact.context, occurred_at=clock.now() - late)
            yield replace(fact, context=context)
        else:
            yield fact


if __name__ == "__main__":
    configure("ERROR")
    asyncio.run(make(Path(sys.argv[1]), int(sys.argv[2])))
