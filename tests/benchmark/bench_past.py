"""P10, P12: the books as of a moment, the check of the chain, and what stands beside a log.

Of each log: the size of what stands beside it and the processor's time to make it, the whole books
as of the worst moments by either clock, one order as of a moment, and the check of the chain beside
a bare scan. Seconds are those of the processor, because others may be at work.

    python -m tests.benchmark past

OMS_TEST_BENCH_LOGS names the logs (`big_log`). What stands beside a log and is not made yet is made
first, and the snapshots of ten million events take an hour.
"""

from __future__ import annotations

import asyncio
import os
import random
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TypeVar

from oms.core.codec import GENESIS
from oms.history import index
from oms.history.asof import By, books_at
from oms.history.making import bring_up, standing
from oms.history.side import opened, path_of
from oms.history.snapshots import CHUNK_EVENTS
from oms.store.audit import check_chain
from oms.store.backend import connect, parse_url
from oms.store.reader import Reader
from tests.benchmark.big_log import events_in, lent
from tests.benchmark.measure import Figures, Result, Row, print_table

MOMENTS = int(os.environ.get("OMS_TEST_BENCH_MOMENTS", "12"))
CLOCKS: tuple[By, ...] = ("known", "happened")
AS_OF_MAX_SECONDS = 0.6

_Result = TypeVar("_Result")


def spent(work: Callable[[], _Result]) -> tuple[_Result, float, float]:
    """Return a result, and the seconds of the clock and of the processor that it took."""
    began, used = time.perf_counter(), time.process_time()
    result = work()
    return result, time.perf_counter() - began, time.process_time() - used


async def whole_books(url: str, moment: int, by: By) -> int:
    """Ask for all that is live at a moment, and return how many records that is."""
    reader = await Reader.open(url)
    try:
        books = await books_at(reader, moment, by)
        found = [*await books.rows("orders", {"live": 1}), *await books.rows("positions")]
        found += await books.rows("fills", order="booked_sequence", reverse=True, limit=100)
        return len(found)
    finally:
        await reader.close()


async def one_order(url: str, moment: int) -> None:
    """Ask for one order as of a moment at which it had ended."""
    reader = await Reader.open(url)
    try:
        (fill,) = await reader.highest("fills", "booked_sequence", moment // 2, limit=1)
        books = await books_at(reader, moment)
        assert await books.one("orders", str(fill.columns()["order_id"])) is not None
    finally:
        await reader.close()


def worst_moments(head: int) -> Iterator[int]:
    """Yield ends of snapshots' spans, where the most events are to be folded."""
    chance = random.Random(7)
    spans = head // CHUNK_EVENTS
    for _ in range(MOMENTS):
        yield chance.randrange(max(spans // 5, 1), max(spans, 2)) * CHUNK_EVENTS - 1


def made(path: Path) -> None:
    """Make what stands beside a log and is not made yet, and print what that took."""
    url = str(path)

    def find() -> None:
        with closing(connect(parse_url(url), "read")) as log, opened(log, url, write=True) as side:
            index.catch_up(log, side, index.folded(log))

    for name, make in (("index", find), ("snapshots", partial(bring_up, url, _silent))):
        _, clock, cpu = spent(make)
        size = path_of(url).stat().st_size / 1e6
        print(
            f"{path.name}: {name} in {clock:,.1f} s ({cpu:,.1f} s of the processor); with it",
            end="",
        )
        print(f" {size:,.0f} MB stand beside {path.stat().st_size / 1e6:,.0f} MB", flush=True)


def _silent(done: int, of: int) -> None: ...


def figures_of(path: Path) -> Figures:
    """Return every figure of a log."""
    url, head = str(path), events_in(path)
    found: Figures = {"bytes": path.stat().st_size / head}
    made(path)
    found["beside"] = path_of(url).stat().st_size / head
    reached = min(standing(url))
    for by in CLOCKS:
        asked = [
            spent(partial(asyncio.run, whole_books(url, moment, by)))
            for moment in worst_moments(reached)
        ]
        found[f"{by} worst"] = max(used for _, _, used in asked)
        found[f"{by} median"] = statistics.median(used for _, _, used in asked)
    one = [spent(partial(asyncio.run, one_order(url, m)))[2] for m in worst_moments(reached)]
    found["one order"] = statistics.median(one)
    with closing(connect(parse_url(url), "read")) as log:

        def scan() -> None:
            with log.reading():
                for _ in log.scanned("SELECT * FROM events"):
                    pass

        _, clock, cpu = spent(scan)
        found["scan"], found["scan cpu"] = head / clock, head / cpu
        end, clock, cpu = spent(lambda: check_chain(log))
        found["verify"], found["verify cpu"] = head / clock, head / cpu
        assert end.hash != GENESIS
    return found


def main() -> list[Result]:
    """Print a table for each log."""
    results = []
    with lent() as paths:
        for path in dict.fromkeys((paths[0], paths[-1])):
            at = f"{events_in(path):,} events"
            rows = [
                Row("P10", f"as {by}, {kind}, {at}", f"{by} {kind}", "", "", "s", None, wanted)
                for by in CLOCKS
                for kind, wanted in (("worst", AS_OF_MAX_SECONDS), ("median", None))
            ]
            rows += [
                Row("", f"one ended order as known, {at}", "one order", "", "", "s"),
                Row("P12", f"verify, {at}", "verify", "scan", "bare scan", "/s", at_least=0.45),
                Row("", f"verify, processor, {at}", "verify cpu", "scan cpu", "bare scan", "/s"),
                Row("", f"the log, {at}", "bytes", "", "", "bytes an event"),
                Row("", f"beside it, {at}", "beside", "", "", "bytes an event"),
            ]
            results += print_table(tuple(rows), [figures_of(path)])
            print()
    return results
