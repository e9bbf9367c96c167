"""P10: the whole books as of any moment, and what the snapshots beside the log cost.

The books of a moment by either clock: every live order, every position, the newest fills, breaks
and account values. The peer is the fold that an answer without snapshots would be.

    python -m tests.benchmark asof

OMS_TEST_BENCH_LOG is an existing log (`tests.benchmark.big_log` writes one); else a small one is
made, of OMS_TEST_BENCH_EVENTS (100,000 by default). Snapshots that are missing are made first.
"""

from __future__ import annotations

import asyncio
import os
import random
import statistics
import time
from contextlib import closing
from pathlib import Path

from oms.history.asof import By, books_at
from oms.history.making import CHUNK_EVENTS, bring_up, read_events
from oms.history.side import path_of
from oms.store.backend import connect, parse_url
from oms.store.reader import Reader
from tests.benchmark.big_log import make
from tests.benchmark.measure import folder

EVENTS = int(os.environ.get("OMS_TEST_BENCH_EVENTS", "100000"))
MOMENTS = int(os.environ.get("OMS_TEST_BENCH_MOMENTS", "20"))
GOAL_SECONDS = 0.6


async def asked(url: str, moment: int, by: By) -> tuple[float, int]:
    """Return the seconds that the whole books of a moment take, and how many records they are."""
    reader = await Reader.open(url)
    try:
        began = time.perf_counter()
        books = await books_at(reader, moment, by)
        orders = await books.rows("orders", {"live": 1})
        positions = await books.rows("positions", {"live": 1})
        fills = await books.rows("fills", order="booked_sequence", reverse=True, limit=100)
        others = [*await books.rows("breaks", {"live": 1}), *await books.rows("account_values")]
        seconds = time.perf_counter() - began
    finally:
        await reader.close()
    return seconds, len(orders) + len(positions) + len(fills) + len(others)


def folded(url: str) -> float:
    """Return the events a second that reading and decoding alone would take."""
    with closing(connect(parse_url(url), "read")) as log:
        began, count = time.perf_counter(), 0
        for page in read_events(log, 0, CHUNK_EVENTS):
            count += len(page)
        return count / (time.perf_counter() - began)


def main() -> None:
    given = os.environ.get("OMS_TEST_BENCH_LOG")
    with folder() as where:
        path = Path(given) if given else where / "log.sqlite"
        if not given:
            make(path, EVENTS)
        url = str(path)
        began = time.perf_counter()
        made = bring_up(url, lambda done, of: None)
        seconds = time.perf_counter() - began
        with closing(connect(parse_url(url), "read")) as log:
            head = int(log.rows("SELECT max(sequence) FROM events")[0][0])
        beside, size = path_of(url).stat().st_size / 1e6, path.stat().st_size / 1e6
        print(f"{head:,} events, {size:,.0f} MB; snapshots {beside:,.0f} MB, ", end="")
        print(f"{made:,} steps in {seconds:,.0f} s; an event is decoded {folded(url):,.0f}/s\n")
        chance = random.Random(7)
        # Ends of a chunk are the worst: most events are to be folded.
        moments = [chance.randrange(1, head + 1) for _ in range(MOMENTS)]
        moments += [n * CHUNK_EVENTS - 1 for n in (1, head // CHUNK_EVENTS // 2 or 1)]
        print("| P10, whole books | median s | worst s | goal s | records |")
        print("| --- | --- | --- | --- | --- |")
        for by in ("known", "happened"):
            figures = [asyncio.run(asked(url, moment, by)) for moment in moments if moment <= head]
            times = [seconds for seconds, _ in figures]
            row = (statistics.median(times), max(times), GOAL_SECONDS, max(n for _, n in figures))
            print(f"| {by} | {row[0]:.3f} | {row[1]:.3f} | {row[2]} | {row[3]:,} |")


if __name__ == "__main__":
    main()
