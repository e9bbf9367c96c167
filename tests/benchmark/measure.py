"""How the benchmarks measure: variants interleaved round by round, medians, ratios of one round.

Absolute rates of a virtual machine move by a third between runs; the ratio of two variants that ran
one after the other in the same round does not, so that is what the goals are about.
"""

from __future__ import annotations

import gc
import os
import statistics
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

ROUNDS = int(os.environ.get("OMS_TEST_BENCH_ROUNDS", "5"))

#: Figures of one round by name. A figure that could not be had is left out.
Figures = dict[str, float]


@dataclass(frozen=True)
class Row:
    """One line of the table: a figure of ours beside a limit or a peer of the same round."""

    goal: str
    what: str
    ours: str
    #: "" for a figure whose goal is absolute.
    limit: str
    limit_name: str
    unit: str
    #: The goal is a ratio of ours to the limit: at least this for rates, at most for times.
    at_least: float | None = None
    at_most: float | None = None


@dataclass(frozen=True)
class Result:
    """What came out for a row: medians, and the ratio of them that the goal is about."""

    goal: str
    what: str
    ours: float
    unit: str
    limit: str
    limit_value: float | None
    wanted: str
    #: The ratio, or where the goal is absolute the figure itself.
    measured: float
    #: None where nothing is wanted.
    met: bool | None


def measure(round_: Callable[[], Figures], rounds: int = ROUNDS) -> list[Figures]:
    """Run a round several times, after one that warms up and is not counted."""
    round_()
    return [round_() for _ in range(rounds)]


def print_table(rows: tuple[Row, ...], rounds: list[Figures]) -> list[Result]:
    """Print a markdown table of medians, with the spread of ours and the median ratio."""
    print("| goal | what | ours | limit | ratio | wanted | |")
    print("|---|---|---:|---:|---:|---:|---|")
    results = []
    for row in rows:
        ours = [r[row.ours] for r in rounds if row.ours in r]
        limit = [r[row.limit] for r in rounds if row.limit in r]
        if not ours or (row.limit and not limit):
            print(f"| {row.goal} | {row.what} | | {row.limit_name}: not available | | | |")
            continue
        result = _result(row, ours, limit)
        results.append(result)
        beside = row.limit_name
        if result.limit_value is not None:
            beside += f": {figure(result.limit_value)}"
        print(
            f"| {row.goal} | {row.what} | {_spread(ours, row.unit)} | {beside} "
            f"| {figure(result.measured)} | {result.wanted} | {verdict(result)} |",
            flush=True,
        )
    return results


def _result(row: Row, ours: list[float], limit: list[float]) -> Result:
    value = statistics.median(limit) if limit else None
    measured = statistics.median(ours)
    if limit:
        measured = statistics.median(a / b for a, b in zip(ours, limit, strict=True))
    wanted, met = "", None
    if row.at_least is not None:
        wanted, met = f">= {row.at_least}", measured >= row.at_least
    elif row.at_most is not None:
        wanted, met = f"<= {row.at_most}", measured <= row.at_most
    if wanted and not row.limit:
        wanted += f" {row.unit}"
    middle = statistics.median(ours)
    return Result(
        row.goal, row.what, middle, row.unit, row.limit_name, value, wanted, measured, met
    )


def verdict(result: Result) -> str:
    """Return whether a goal is met, in a word."""
    return "" if result.met is None else "met" if result.met else "missed"


def print_all(results: list[Result]) -> None:
    """Print what came out for every goal in one table, in the order of the goals."""
    print("| goal | what | limit or peer | wanted | measured | |")
    print("|---|---|---|---:|---:|---|")
    for one in sorted(results, key=lambda r: int(r.goal[1:] or 99)):
        if not one.unit:
            print(f"| {one.goal} | {one.what} | | {one.wanted} | | |")
            continue
        beside = one.limit
        if one.limit_value is not None:
            beside += f": {figure(one.limit_value)} {one.unit}"
        ours = f"{figure(one.ours)} {one.unit}"
        measured = f"{figure(one.measured)} ({ours})" if one.limit_value is not None else ours
        print(
            f"| {one.goal} | {one.what} | {beside} | {one.wanted} | {measured} | {verdict(one)} |"
        )


def figure(value: float) -> str:
    """Return a figure with three digits that count, and none behind the point above a thousand."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


@contextmanager
def quiet_collector() -> Iterator[None]:
    """Keep the garbage collector from walking what a benchmark has prepared."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


@contextmanager
def folder() -> Iterator[Path]:
    """Lend a folder on the disk that OMS_TEST_BENCH_DIR names, the temporary one without it."""
    with TemporaryDirectory(prefix="oms-bench-", dir=os.environ.get("OMS_TEST_BENCH_DIR")) as name:
        yield Path(name)


def remove(path: Path) -> None:
    """Remove a SQLite database with the files beside it."""
    for suffix in ("", "-wal", "-shm", ".head"):
        Path(f"{path}{suffix}").unlink(missing_ok=True)


def percentile(values: list[float], percent: float) -> float:
    """Return the value below which that share of them lies."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(percent / 100 * len(ordered)))]


def _spread(values: list[float], unit: str) -> str:
    low, middle, high = min(values), statistics.median(values), max(values)
    return f"{figure(middle)} {unit} ({figure(low)}–{figure(high)})"
