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
    limit: str
    limit_name: str
    unit: str
    #: The goal is a ratio of ours to the limit: at least this for rates, at most for times.
    at_least: float | None = None
    at_most: float | None = None


def measure(round_: Callable[[], Figures], rounds: int = ROUNDS) -> list[Figures]:
    """Run a round several times, after one that warms up and is not counted."""
    round_()
    return [round_() for _ in range(rounds)]


def print_table(rows: tuple[Row, ...], rounds: list[Figures]) -> None:
    """Print a markdown table of medians, with the spread of ours and the median ratio."""
    print("| goal | what | ours | limit | ratio | wanted | |")
    print("|---|---|---:|---:|---:|---:|---|")
    for row in rows:
        ours = [r[row.ours] for r in rounds if row.ours in r]
        limit = [r[row.limit] for r in rounds if row.limit in r]
        if not ours or not limit:
            print(f"| {row.goal} | {row.what} | | {row.limit_name}: not available | | | |")
            continue
        ratio = statistics.median(a / b for a, b in zip(ours, limit, strict=True))
        print(
            f"| {row.goal} | {row.what} | {_spread(ours, row.unit)} "
            f"| {row.limit_name}: {statistics.median(limit):,.{_digits(limit)}f} | {ratio:.2f} "
            f"| {_wanted(row)} | {_verdict(row, ratio)} |",
            flush=True,
        )


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
    n = _digits(values)
    low, high = min(values), max(values)
    return f"{statistics.median(values):,.{n}f} {unit} ({low:,.{n}f}–{high:,.{n}f})"


def _digits(values: list[float]) -> int:
    return 0 if statistics.median(values) >= 1000 else 3


def _wanted(row: Row) -> str:
    if row.at_least is not None:
        return f">= {row.at_least}"
    return f"<= {row.at_most}" if row.at_most is not None else ""


def _verdict(row: Row, ratio: float) -> str:
    if row.at_least is None and row.at_most is None:
        return ""
    met = ratio >= row.at_least if row.at_least is not None else ratio <= (row.at_most or 0)
    return "met" if met else "missed"
