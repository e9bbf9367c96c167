"""Write a log of many events for the benchmarks that ask about the past.

    python -m tests.benchmark.big_log FILE EVENTS

A million events take 2 minutes and 0.9 GB, ten million ten times as much.

The flow of `flow.day`, spread over a year: the clock of the log goes forward between transactions,
and each execution happened a few seconds before it was recorded, one in a thousand an hour before.
The events are written first and folded then, in the log's own tables, which is faster than a
daemon's way: rows of orders at work are written once in 100,000 events.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path

from oms.clock import ManualClock
from oms.core.events import ExecutionReceived, Pending
from oms.store import schema
from oms.store.backend import connect, parse_url
from oms.store.chain import Chain
from oms.store.envelopes import draft
from oms.store.shadow import SHADOW_RECORDS_MAX, Shadow
from oms.store.tables import BOOKS_CHECKPOINT
from oms.store.writer import Writer
from oms.telemetry import configure
from tests.benchmark.flow import day
from tests.benchmark.measure import folder

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
YEAR_SECONDS = 365 * 86_400
CHUNK = 1_000
#: Events between two writes of all rows.
STEP = 100_000
#: Of the logs that are made where none is given.
LENGTHS = (20_000, 200_000)


@contextmanager
def lent() -> Iterator[list[Path]]:
    """Lend the logs that OMS_TEST_BENCH_LOGS names, the shortest first; two are made where it names
    none, the second ten times as long as the first.
    """
    given = [Path(one) for one in os.environ.get("OMS_TEST_BENCH_LOGS", "").split(",") if one]
    if given:
        yield given
        return
    with folder() as where:
        paths = []
        for length in LENGTHS:
            paths.append(where / f"{length}.sqlite")
            make(paths[-1], length, open_orders=1_000)
        yield paths


def events_in(path: Path) -> int:
    """Return how many events a log has."""
    with closing(connect(parse_url(str(path)), "read")) as log:
        return int(log.rows("SELECT max(sequence) FROM events")[0][0])


def make(path: Path, count: int, *, open_orders: int = 10_000, say: bool = False) -> None:
    """Write so many events of one year, and their projections."""
    schema.upgrade(str(path))
    clock = ManualClock(BEGIN)
    facts = _timed(day(open_orders=open_orders), clock)
    writer = Writer(parse_url(str(path)), clock=clock, projector=False)
    writer.open()
    for first in range(0, count, CHUNK):
        writer.write([[draft(fact)] for fact in islice(facts, min(CHUNK, count - first))])
        clock.advance(YEAR_SECONDS * CHUNK / count)
        if say and first % STEP == 0:
            print(f"{first:,} events written", flush=True)
    writer.close()
    fold(path, count, say=say)


def fold(path: Path, count: int, *, say: bool = False) -> None:
    """Make the projections of a log that has none."""
    with closing(connect(parse_url(str(path)))) as log:
        rows = Shadow(log, SHADOW_RECORDS_MAX)
        for last in (*range(STEP, count, STEP), count):
            rows.follow(log, last)
            if say:
                print(f"{last:,} events folded", flush=True)
        with log.writing():
            chain = Chain(log, ManualClock(BEGIN))
            chain.head = chain.checked_end()
            chain.write_checkpoint(BOOKS_CHECKPOINT, rows.sums)


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
    make(Path(sys.argv[1]), int(sys.argv[2]), say=True)
