"""P9: questions about the log and its books at two lengths, warm and cold.

An order's story beside a raw read of the same events: by their sequences, with the driver alone.
Then what the verbs and pages ask: the newest orders, fills of a day, rejects of a month, positions,
status, filters of the log. Warm is a reader that has been asked before, each time about another
order or day. Cold is a new connection to files of which the system's memory has nothing.

    python -m tests.benchmark ask

OMS_TEST_BENCH_LOGS names the logs (`big_log`). What stands beside each is made first.
"""

from __future__ import annotations

import asyncio
import os
import random
import sqlite3
import time
from collections.abc import Awaitable, Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from oms.history import index, query, records
from oms.history.names import resolve
from oms.history.query import Query, parse
from oms.history.side import opened, path_of
from oms.store.backend import connect, parse_url
from oms.store.reader import Reader
from oms.store.situation import read_situation
from tests.benchmark.big_log import BEGIN, events_in, lent
from tests.benchmark.flow import ACCOUNTS, CONTRACTS
from tests.benchmark.measure import Figures, Result, Row, percentile, print_table

WARM = int(os.environ.get("OMS_TEST_BENCH_ASKED", "60"))
COLD = 20
LIMIT = 100
JUNE = {"since": "2026-06-01", "until": "2026-07-01"}
COLD_MAX_MS = 10
#: Of the time at the short log: what does not grow stays below.
GROWTH_MAX = 1.5


class Case(NamedTuple):
    """An order that a question is about, and a day of the log."""

    order_id: str
    exec_id: str
    perm_id: int
    sequences: list[int]
    day: datetime


Asked = Callable[[Reader, Case], Awaitable[object]]


async def story(reader: Reader, case: Case) -> object:
    return await reader.order_events(case.order_id)


async def story_by_execution(reader: Reader, case: Case) -> object:
    return await reader.order_events(await resolve(reader, case.exec_id))


async def story_by_number(reader: Reader, case: Case) -> object:
    return await reader.order_events(await resolve(reader, str(case.perm_id)))


async def newest_orders(reader: Reader, _: Case) -> object:
    return await records.find(reader, "orders", parse({"limit": LIMIT}))


async def fills_of_a_day(reader: Reader, case: Case) -> object:
    asked = Query(since=case.day, until=case.day + timedelta(days=1), limit=LIMIT)
    return await records.find(reader, "fills", asked)


async def positions(reader: Reader, _: Case) -> object:
    return await reader.rows("positions")


async def status(reader: Reader, _: Case) -> object:
    now = datetime.now(UTC)
    return await read_situation(reader, now, host="bench", resets=(), reconcile_interval_seconds=0)


def events(**words: object) -> Asked:
    async def search(reader: Reader, _: Case) -> object:
        asked = parse({"limit": LIMIT, "reverse": True, **words})
        return [one async for one in query.search(reader, asked)]

    return search


async def counted(reader: Reader, _: Case) -> object:
    return await query.count(reader, parse(JUNE), "symbol")


STORY = "story of one order"
QUESTIONS: dict[str, Asked] = {
    STORY: story,
    "story by an execution": story_by_execution,
    "story by the permanent number": story_by_number,
    "newest 100 orders": newest_orders,
    "100 fills of a day": fills_of_a_day,
    "100 rejects 201 of June": events(code=201, **JUNE),
    "all positions": positions,
    "status": status,
    "an account's newest 100 events": events(account=ACCOUNTS[0]),
    "a symbol's newest 100 events": events(symbol=CONTRACTS[7].symbol),
    "newest 100 cancellations by type": events(type="OrderIntended"),
    "events of June by symbol": counted,
}


def cases_of(path: Path) -> list[Case]:
    """Return orders with executions from everywhere in a log."""
    chance, found = random.Random(7), []
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as log:
        (head,) = log.execute("SELECT max(booked_sequence) FROM fills").fetchone()
        while len(found) < WARM:
            order_id, exec_id, perm_id = log.execute(
                "SELECT order_id, exec_id, perm_id FROM fills WHERE order_id <> ''"
                " AND booked_sequence >= ? ORDER BY booked_sequence LIMIT 1",
                (chance.randrange(1, head),),
            ).fetchone()
            day = BEGIN + timedelta(days=chance.randrange(1, 364))
            found.append(Case(order_id, exec_id, perm_id, [], day))
    return found


def forget(path: Path) -> None:
    """Take the files of a log out of the system's memory."""
    for one in (path, Path(f"{path}-wal"), path_of(str(path))):
        if one.exists():
            file = os.open(one, os.O_RDONLY)
            os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(file)


def raw(path: Path, cases: list[Case]) -> list[float]:
    """Return the seconds of reading the events of each order with the driver alone."""
    seconds = []
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as log:
        for case in cases:
            marks = ",".join("?" * len(case.sequences))
            began = time.perf_counter()
            log.execute(
                f"SELECT * FROM events WHERE sequence IN ({marks})", case.sequences
            ).fetchall()
            seconds.append(time.perf_counter() - began)
    return seconds


async def warm(path: Path, asked: Asked, cases: list[Case]) -> list[float]:
    """Return the seconds of a question about each case."""
    reader = await Reader.open(str(path))
    try:
        await asked(reader, cases[0])
        seconds = []
        for case in cases:
            began = time.perf_counter()
            await asked(reader, case)
            seconds.append(time.perf_counter() - began)
        return seconds
    finally:
        await reader.close()


async def cold(path: Path, asked: Asked, case: Case) -> float:
    """Return the seconds of a question of which the system's memory has nothing."""
    reader = await Reader.open(str(path))
    try:
        forget(path)
        began = time.perf_counter()
        await asked(reader, case)
        return time.perf_counter() - began
    finally:
        await reader.close()


def figures_of(path: Path) -> Figures:
    """Return the figures of each question of a log, in milliseconds."""
    with (
        closing(connect(parse_url(str(path)), "read")) as log,
        opened(log, str(path), write=True) as side,
    ):
        index.catch_up(log, side, index.folded(log))
    cases, found = cases_of(path), Figures()
    for case in cases:
        case.sequences.extend(asyncio.run(_sequences(path, case.order_id)))
    raw(path, cases)
    found["raw p50"] = percentile(raw(path, cases), 50) * 1e3
    for name, asked in QUESTIONS.items():
        seconds = asyncio.run(warm(path, asked, cases))
        without = [asyncio.run(cold(path, asked, case)) for case in cases[:COLD]]
        for share in (50, 99):
            found[f"{name} p{share}"] = percentile(seconds, share) * 1e3
            found[f"{name} cold p{share}"] = percentile(without, share) * 1e3
    return found


async def _sequences(path: Path, order_id: str) -> list[int]:
    reader = await Reader.open(str(path))
    try:
        return await reader.sequences_of([order_id])
    finally:
        await reader.close()


def main() -> list[Result]:
    """Print what each question takes in each log, and how it grows."""
    with lent() as paths:
        by_log = {path: figures_of(path) for path in (paths[0], paths[-1])}
        lengths = [f"{events_in(path):,}" for path in by_log]
    small, large = by_log.values()
    print("| milliseconds |" + "".join(f" {n} p50 | p99 | cold p50 | p99 |" for n in lengths))
    print("|---|" + "---:|" * 8)
    for name in QUESTIONS:
        kinds = ("p50", "p99", "cold p50", "cold p99")
        cells = [one[f"{name} {kind}"] for one in (small, large) for kind in kinds]
        print(f"| {name} |" + "".join(f" {cell:.2f} |" for cell in cells))
    print()
    figures = {f"small {name}": value for name, value in small.items()}
    figures |= {f"large {name}": value for name, value in large.items()}
    at = f"{lengths[1]} events"
    rows = [
        Row(
            "P9", f"{STORY}, {at}", f"large {STORY} p50", "large raw p50", "raw read", "ms", None, 5
        ),
        Row("P9", f"cold p99, {at}", f"large {STORY} cold p99", "", "", "ms", None, COLD_MAX_MS),
    ]
    beside = f"{lengths[0]} events"
    for name in QUESTIONS:
        ours, limit = f"large {name} p50", f"small {name} p50"
        rows.append(Row("", f"{name}, {at}", ours, limit, beside, "ms", at_most=GROWTH_MAX))
    return print_table(tuple(rows), [figures])
