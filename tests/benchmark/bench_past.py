"""P9, P10, P12: what questions about the past cost in logs of different sizes, in one table.

    OMS_TEST_BENCH_LOGS=one.sqlite,ten.sqlite python -m tests.benchmark past

Of each log: the size of what stands beside it and the time to make it, an order's story and a
search beside a raw read of the same events, the whole books as of the worst moments by either
clock, and the check of the chain beside a bare scan. `tests.benchmark.big_log` writes such logs;
without the variable a small one is made. The figures are kept as JSON in OMS_TEST_BENCH_JSON
(`past.json`), with the load of the machine; seconds of the processor stand beside those of the
clock, because others may be at work.
"""

from __future__ import annotations

import asyncio
import json
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
from oms.history.asof import By, books_at
from oms.history.making import bring_up
from oms.history.side import path_of
from oms.history.snapshots import CHUNK_EVENTS
from oms.store.audit import check_chain
from oms.store.backend import connect, parse_url
from oms.store.reader import Reader
from tests.benchmark.bench_ask import index_made, names_of_one, round_of
from tests.benchmark.big_log import make
from tests.benchmark.measure import folder, measure

EVENTS = 100_000
MOMENTS = int(os.environ.get("OMS_TEST_BENCH_MOMENTS", "12"))
CLOCKS: tuple[By, ...] = ("known", "happened")

Figures = dict[str, float]
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


async def one_order(url: str, moment: int, order_id: str) -> None:
    """Ask for one order as of a moment."""
    reader = await Reader.open(url)
    try:
        await (await books_at(reader, moment)).one("orders", order_id)
    finally:
        await reader.close()


def worst_moments(head: int) -> Iterator[int]:
    """Yield ends of snapshots' spans, where the most events are to be folded."""
    chance = random.Random(7)
    spans = head // CHUNK_EVENTS
    for _ in range(MOMENTS):
        yield chance.randrange(max(spans // 5, 1), max(spans, 2)) * CHUNK_EVENTS - 1


def figures_of(path: Path) -> Figures:
    """Return every figure of a log."""
    url = str(path)
    with closing(connect(parse_url(url), "read")) as log:
        head = int(log.rows("SELECT max(sequence) FROM events")[0][0])
    found: Figures = {"events": head, "log MB": path.stat().st_size / 1e6}
    (_, size, _), found["index s"], found["index cpu s"] = spent(lambda: index_made(path))
    found["index MB"] = size / 1e6
    _, found["snapshots s"], found["snapshots cpu s"] = spent(
        lambda: bring_up(url, lambda done, of: None)
    )
    found["snapshots MB"] = path_of(url).stat().st_size / 1e6 - found["index MB"]
    names = names_of_one(path)
    rounds = measure(round_of(path, names))
    for name in rounds[0]:
        found[f"{name} s"] = statistics.median(one[name] for one in rounds)
    for by in CLOCKS:
        asked = [
            spent(partial(asyncio.run, whole_books(url, moment, by)))
            for moment in worst_moments(head)
        ]
        found[f"as of, {by}, worst s"] = max(seconds for _, seconds, _ in asked)
        found[f"as of, {by}, worst cpu s"] = max(used for _, _, used in asked)
        found[f"as of, {by}, median cpu s"] = statistics.median(used for _, _, used in asked)
        found[f"as of, {by}, records"] = max(records for records, _, _ in asked)
    moment = next(worst_moments(head))
    one = one_order(url, moment, names["our id"])
    _, _, found["as of, one order, cpu s"] = spent(partial(asyncio.run, one))
    with closing(connect(parse_url(url), "read")) as log:

        def scan() -> None:
            with log.reading():
                for _ in log.scanned("SELECT * FROM events"):
                    pass

        _, found["scan s"], found["scan cpu s"] = spent(scan)
        end, found["verify s"], found["verify cpu s"] = spent(lambda: check_chain(log))
        assert end.hash != GENESIS
    found["verify, of a scan"] = found["scan cpu s"] / found["verify cpu s"]
    return found


def main() -> None:
    given = [one for one in os.environ.get("OMS_TEST_BENCH_LOGS", "").split(",") if one]
    with folder() as where:
        paths = [Path(one) for one in given]
        if not paths:
            paths = [where / "log.sqlite"]
            make(paths[0], EVENTS, open_orders=1_000)
        load = os.getloadavg()[0]
        figures = {path.name: figures_of(path) for path in paths}
    kept = Path(os.environ.get("OMS_TEST_BENCH_JSON", "past.json"))
    kept.write_text(json.dumps({"load": load, "cores": os.cpu_count(), "logs": figures}, indent=1))
    print(f"load {load:.1f} of {os.cpu_count()} cores; kept in {kept}\n")
    print("| what |" + "".join(f" {name} |" for name in figures))
    print("| --- |" + " ---: |" * len(figures))
    for what in next(iter(figures.values())):
        cells = (f" {one[what]:,.3f} |" for one in figures.values())
        print(f"| {what} |" + "".join(cells))


if __name__ == "__main__":
    main()
