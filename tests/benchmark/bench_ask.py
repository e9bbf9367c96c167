"""P10: questions about the past, beside a raw read of the rows that answer them.

An order's story by each kind of its names, a code over a month, an account's newest fifty, and a
count by symbol. The raw read takes the same events by their sequences from the same file, with the
driver alone: what no answer can do without. A count reads no event; beside it stands the raw read
of the events that it counts.

    python -m tests.benchmark ask

OMS_TEST_BENCH_LOG names a log that `tests.benchmark.big_log` has made; without it one of 100,000
events is made. What stands beside the log is made first, and how long that took is printed.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path

from oms.history import index, query
from oms.history.names import resolve
from oms.history.query import Query, parse
from oms.history.side import opened, path_of
from oms.store.backend import connect, parse_url
from oms.store.reader import Reader
from tests.benchmark.big_log import make
from tests.benchmark.measure import Figures, Row, folder, measure, print_table

EVENTS = 100_000
MONTH = {"since": "2026-06-01", "until": "2026-07-01"}
QUESTIONS: dict[str, Query] = {
    "rejects 201 in June": parse({"code": 201, **MONTH}),
    "an account's newest 50 in June": parse(
        {"account": "DU1000001", "limit": 50, "reverse": True, **MONTH}
    ),
}
NAMES = ("our id", "permanent number", "number in a session", "execution")


def index_made(path: Path) -> tuple[float, int, int]:
    """Return the seconds that the index took, its bytes, and the events of the log."""
    began = time.perf_counter()
    url = str(path)
    with closing(connect(parse_url(url), "read")) as log, opened(log, url, write=True) as side:
        last = index.folded(log)
        index.catch_up(log, side, last)
    return time.perf_counter() - began, path_of(url).stat().st_size, last.sequence


def names_of_one(path: Path) -> dict[str, str]:
    """Return the names of an order in the middle of the log that has executions."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        middle = connection.execute("SELECT max(booked_sequence) / 2 FROM fills").fetchone()[0]
        query_ = (
            "SELECT order_id, exec_id, perm_id FROM fills WHERE order_id <> ''"
            " AND booked_sequence >= ? ORDER BY booked_sequence LIMIT 1"
        )
        order_id, exec_id, perm_id = connection.execute(query_, (middle,)).fetchone()
        (key,) = connection.execute(
            "SELECT broker_key FROM orders WHERE order_id = ?", (order_id,)
        ).fetchone()
    session, _, number = key.split(":")
    return dict(zip(NAMES, (order_id, str(perm_id), f"{session}:{number}", exec_id), strict=True))


def raw(path: Path, sequences: list[int]) -> float:
    """Return the seconds of reading events with the driver alone."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        began = time.perf_counter()
        for start in range(0, len(sequences), 500):
            part = sequences[start : start + 500]
            marks = ",".join("?" * len(part))
            connection.execute(f"SELECT * FROM events WHERE sequence IN ({marks})", part).fetchall()
        return time.perf_counter() - began


async def timed(path: Path, ask: Callable[[Reader], Awaitable[list[int]]]) -> tuple[float, float]:
    """Return the seconds of a question, and of the raw read of what it found."""
    reader = await Reader.open(str(path))
    try:
        began = time.perf_counter()
        found = await ask(reader)
        seconds = time.perf_counter() - began
    finally:
        await reader.close()
    return seconds, raw(path, found)


def round_of(path: Path, names: dict[str, str]) -> Callable[[], Figures]:
    def round_() -> Figures:
        figures: Figures = {}
        for name, text in names.items():

            async def story(reader: Reader, text: str = text) -> list[int]:
                events = await reader.order_events(await resolve(reader, text))
                return [one.sequence for one in events]

            figures[name], figures[f"{name} raw"] = asyncio.run(timed(path, story))
        for name, asked in QUESTIONS.items():

            async def search(reader: Reader, asked: Query = asked) -> list[int]:
                return [one.sequence async for one in query.search(reader, asked)]

            figures[name], figures[f"{name} raw"] = asyncio.run(timed(path, search))

        async def count(reader: Reader) -> list[int]:
            asked = parse(MONTH)
            await query.count(reader, asked, "symbol")
            first, last = await query.range_of(reader, asked)
            return list(range(first, last + 1))

        figures["count"], figures["count raw"] = asyncio.run(timed(path, count))
        return figures

    return round_


def main() -> None:
    given = os.environ.get("OMS_TEST_BENCH_LOG")
    with folder() as where:
        path = Path(given) if given else where / "log.sqlite"
        if not given:
            make(path, EVENTS, open_orders=1_000)
        seconds, size, events = index_made(path)
        print(f"{events:,} events; what stands beside them took {seconds:.1f} s", end="")
        print(f" and {size / 1e6:,.1f} MB\n")
        names = names_of_one(path)
        rows = [Row("", f"story by {name}", name, f"{name} raw", "raw", "s") for name in names]
        rows += [Row("", name, name, f"{name} raw", "raw", "s") for name in QUESTIONS]
        rows.append(Row("", "events of June by symbol", "count", "count raw", "raw", "s"))
        print_table(tuple(rows), measure(round_of(path, names)))


if __name__ == "__main__":
    main()
