"""P7, P8: starting after a crash, and the memory of a long run, at several lengths of the log.

One log grows through the lengths. At each: the seconds of `EventLog.open` as a kill -9 leaves it
(the rows are those of the last commit), the same with 10,000 events that another program appended
and nobody has folded, and the memory of the process that has written the log from its first event.

    python -m tests.benchmark start

OMS_TEST_BENCH_LENGTHS names the lengths, "10000,100000" without it; "10000,100000,1000000" takes a
quarter of an hour, and each million of events a gigabyte of disk.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import statistics
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from oms.clock import SystemClock
from oms.core.events import Pending
from oms.store import schema
from oms.store.log import EventLog
from tests.benchmark.bench_rebuild import CHUNK, TAIL, start
from tests.benchmark.flow import day
from tests.benchmark.measure import ROUNDS, folder, remove

LENGTHS = [int(n) for n in os.environ.get("OMS_TEST_BENCH_LENGTHS", "10000,100000").split(",")]


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


def megabytes() -> float:
    """Return the memory that this process holds now."""
    status = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return int(next(x for x in status if x.startswith("VmRSS")).split()[1]) / 1024


def main() -> None:
    with folder() as where:
        path, copy = where / "log.sqlite", where / "copy.sqlite"
        schema.upgrade(str(path))
        facts, length = day(), 0
        print("| events | file MB | appended /s | start s | start, 10,000 unfolded s | memory MB |")
        print("|---:|---:|---:|---:|---:|---:|")
        for wanted in LENGTHS:
            rate = asyncio.run(append(path, facts, wanted - length, projector=True))
            length, memory = wanted, megabytes()
            killed = statistics.median(asyncio.run(start(path)) for _ in range(ROUNDS))
            remove(copy)
            shutil.copyfile(path, copy)
            tail = islice(day(), length, None)
            asyncio.run(append(copy, tail, TAIL, projector=False))
            behind = asyncio.run(start(copy))
            print(
                f"| {length:,} | {path.stat().st_size / 1e6:,.0f} | {rate:,.0f} | {killed:.3f} "
                f"| {behind:.2f} | {memory:.0f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
