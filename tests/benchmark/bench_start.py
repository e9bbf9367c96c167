"""P8: ready after a crash, and appending, in logs of two lengths.

Of each a copy is made. Its start is measured as a kill -9 leaves it, with the rows of the last
commit; then events are appended in bulk with projections; then 10,000 that nobody folds, and the
start after that folds them.

    python -m tests.benchmark start

OMS_TEST_BENCH_LOGS names the logs (`big_log`). The disk of OMS_TEST_BENCH_DIR must have room for
the largest of them once more.
"""

from __future__ import annotations

import asyncio
import shutil
import statistics
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from oms.clock import SystemClock
from oms.core.events import Pending
from oms.store.log import EventLog
from tests.benchmark.big_log import events_in, lent
from tests.benchmark.flow import day
from tests.benchmark.measure import (
    ROUNDS,
    Figures,
    Result,
    Row,
    folder,
    print_table,
    quiet_collector,
    remove,
)

TAIL = 10_000
BULK = 20_000
CHUNK = 10_000
READY_MAX_SECONDS = 0.15
#: The first order of what is appended: above the number of any that a log has.
FIRST = 100_000_000


async def append(path: Path, facts: Iterator[Pending], count: int, *, projector: bool) -> float:
    """Append facts as one daemon would; return the events a second."""
    log = await EventLog.open(str(path), clock=SystemClock(), lease=None, projector=projector)
    began = time.perf_counter()
    for first in range(0, count, CHUNK):
        for fact in islice(facts, min(CHUNK, count - first)):
            log.append(fact)
        await log.flush()
    rate = count / (time.perf_counter() - began)
    await log.close()
    return rate


async def start(path: Path) -> tuple[float, float]:
    """Return the seconds until a log is ready, of the clock and of the processor."""
    with quiet_collector():
        began, used = time.perf_counter(), time.process_time()
        log = await EventLog.open(str(path), clock=SystemClock(), lease=None)
        seconds, cpu = time.perf_counter() - began, time.process_time() - used
    await log.close()
    return seconds, cpu


def figures_of(path: Path, copy: Path) -> Figures:
    """Return what a log costs; the copy is changed."""
    remove(copy)
    for end in ("", "-wal"):  # what others still read has not left the second
        if Path(f"{path}{end}").exists():
            shutil.copyfile(f"{path}{end}", f"{copy}{end}")
    facts = day(8, first=FIRST)
    killed = [asyncio.run(start(copy)) for _ in range(ROUNDS)]
    found = {
        "start": statistics.median(seconds for seconds, _ in killed),
        "start cpu": statistics.median(cpu for _, cpu in killed),
        "rate": asyncio.run(append(copy, facts, BULK, projector=True)),
    }
    behind = []
    for _ in range(min(ROUNDS, 3)):
        asyncio.run(append(copy, facts, TAIL, projector=False))
        behind.append(asyncio.run(start(copy)))
    found["tail"] = statistics.median(seconds for seconds, _ in behind)
    found["tail cpu"] = statistics.median(cpu for _, cpu in behind)
    remove(copy)
    return found


def main() -> list[Result]:
    """Print the table."""
    with lent() as paths, folder() as where:
        figures: Figures = {}
        for name, path in (("small", paths[0]), ("large", paths[-1])):
            found = figures_of(path, where / "copy.sqlite")
            figures |= {f"{name} {what}": value for what, value in found.items()}
        small, large = (f"{events_in(path):,}" for path in (paths[0], paths[-1]))
    beside, tail, most = f"{small} events", f"{TAIL:,} unfolded", READY_MAX_SECONDS
    rows = (
        Row("P8", f"start after a kill, {large}", "large start", "", "", "s", at_most=most),
        Row("P8", f"start, {tail}, {large}", "large tail", "", "", "s", at_most=most),
        Row("P8", "start after a kill", "large start", "small start", beside, "s", at_most=1.1),
        Row("P8", f"start, {tail}", "large tail", "small tail", beside, "s", at_most=1.1),
        Row("", "start after a kill, processor", "large start cpu", "small start cpu", beside, "s"),
        Row("", f"start, {tail}, processor", "large tail cpu", "small tail cpu", beside, "s"),
        Row("", "bulk, projected", "large rate", "small rate", beside, "/s"),
    )
    return print_table(rows, [figures])
