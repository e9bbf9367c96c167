"""P6, P7, P8: folding the log again, and starting after a crash.

The rebuild reads, decodes and folds every event with the real folds, writes the shadow's rows and
compares them with the stored ones; the bare scan only reads. Starting is `EventLog.open`: on a log
as a kill -9 leaves it, where the rows are those of the last commit, and on one to which other
programs have appended 10,000 events that nobody has folded.

    python -m tests.benchmark rebuild

OMS_TEST_BENCH_EVENTS is the size of the small log (20,000 by default); the large one has ten times
as many, and 1,000,000 gives the figures of the goals.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import resource
import shutil
import sqlite3
import time
from contextlib import closing
from itertools import islice
from pathlib import Path

from oms.clock import SystemClock
from oms.store import schema
from oms.store.log import EventLog
from oms.store.rebuild import rebuild_check
from tests.benchmark import peer
from tests.benchmark.flow import day, pendings
from tests.benchmark.measure import (
    ROUNDS,
    Figures,
    Row,
    folder,
    measure,
    print_table,
    quiet_collector,
)

SMALL = int(os.environ.get("OMS_TEST_BENCH_EVENTS", "20000"))
LARGE = 10 * SMALL
TAIL = 10_000
CHUNK = 10_000

REPLAY = (
    Row("P6", "rebuild and compare", "rebuild", "scan", "bare scan", "/s", at_least=0.2),
    Row("P6", "rebuild and compare", "rebuild", "select", "peer, decode only", "/s", at_least=3),
    Row("P6", "rebuild and compare", "rebuild", "fold", "peer, repository", "/s", at_least=8),
)
SCALE = (
    Row("P7", "rebuild, ten times the events", "large us", "small us", "small", "us", at_most=1.1),
    Row("P7", "memory, ten times the events", "large MB", "small MB", "small", "MB", at_most=1.1),
    Row("P8", "start after a kill", "large start", "small start", "small", "s", at_most=1.1),
    Row("P8", f"start, {TAIL:,} unfolded", "large tail", "small tail", "small", "s", at_most=1.1),
)


def scan(path: Path) -> float:
    """Return the events a second that sqlite3 reads, with nothing done to them."""
    with closing(sqlite3.connect(path)) as connection:
        began, count = time.perf_counter(), 0
        for _ in connection.execute("SELECT sequence, type, payload FROM events"):
            count += 1
        return count / (time.perf_counter() - began)


def rebuilt(path: Path) -> float:
    """Return the events a second of a whole rebuild and comparison."""
    with quiet_collector():
        result = rebuild_check(str(path))
    assert result.equal, result.first_difference
    return result.events / result.seconds


async def start(path: Path) -> float:
    """Return the seconds until a log whose rows trail it by the tail is ready."""
    with quiet_collector():
        began = time.perf_counter()
        log = await EventLog.open(str(path), clock=SystemClock(), lease=None)
        seconds = time.perf_counter() - began
    await log.close()
    return seconds


def in_child(path: Path) -> tuple[float, float]:
    """Return the microseconds an event and the peak memory of a rebuild in a new process."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_measured, (str(path),))


def _measured(path: str) -> tuple[float, float]:
    result = rebuild_check(path)
    return result.seconds / result.events * 1e6, _peak_megabytes()


def _peak_megabytes() -> float:
    # Linux's ru_maxrss survives exec, so that a child would report its parent's peak.
    status = Path("/proc/self/status")
    if status.exists():
        line = next(x for x in status.read_text().splitlines() if x.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


async def make(path: Path, count: int) -> None:
    """Write a log with its projections, and a tail beyond them."""
    schema.upgrade(str(path))
    facts = day()
    for projector, part in ((True, count - TAIL), (False, TAIL)):
        log = await EventLog.open(str(path), clock=SystemClock(), lease=None, projector=projector)
        for first in range(0, part, CHUNK):
            for fact in islice(facts, min(CHUNK, part - first)):
                log.append(fact)
            await log.flush()
        await log.close()


def main() -> None:
    with folder() as where:
        small, large, copy = where / "small.sqlite", where / "large.sqlite", where / "copy.sqlite"
        asyncio.run(make(small, SMALL))
        other = peer.Peer(where / "peer.sqlite", pendings(SMALL)) if peer.AVAILABLE else None
        if other is not None:
            other.save()

        def replay() -> Figures:
            figures = {"scan": scan(small), "rebuild": rebuilt(small)}
            if other is not None:
                figures |= {"select": other.select(), "fold": other.fold()}
            return figures

        print_table(REPLAY, measure(replay))
        asyncio.run(make(large, LARGE))

        def scale() -> Figures:
            figures: Figures = {}
            for name, path in (("small", small), ("large", large)):
                figures[f"{name} us"], figures[f"{name} MB"] = in_child(path)
                shutil.copyfile(path, copy)
                figures[f"{name} tail"] = asyncio.run(start(copy))
                figures[f"{name} start"] = asyncio.run(start(copy))
            return figures

        print(f"\nSmall: {SMALL:,} events, large: {LARGE:,}. Start: wanted <= 0.15 s.\n")
        print_table(SCALE, measure(scale, rounds=min(ROUNDS, 3)))


if __name__ == "__main__":
    main()
