"""P6, P7: folding the log again, at two lengths.

The rebuild reads, decodes and folds every event with the real folds, writes the shadow's rows and
compares them with the stored ones; the bare scan only reads. The peer folds a small log of its own.

    python -m tests.benchmark rebuild

OMS_TEST_BENCH_LOGS names the logs of P7 (`big_log`); each is folded once, in a process of its own,
a log of ten million events in a quarter of an hour.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import sqlite3
import time
from contextlib import closing
from pathlib import Path

from oms.store.rebuild import rebuild_check
from tests.benchmark import peer
from tests.benchmark.big_log import LENGTHS, events_in, lent, make
from tests.benchmark.flow import pendings
from tests.benchmark.measure import (
    Figures,
    Result,
    Row,
    folder,
    measure,
    print_table,
    quiet_collector,
)

SMALL = LENGTHS[0]
MEMORY_MAX_MB = 200
REPLAY = (
    Row("P6", "rebuild and compare", "rebuild", "scan", "bare scan", "/s", at_least=0.1),
    Row("P6", "rebuild and compare", "rebuild", "fold", "eventsourcing, folding", "/s", at_least=3),
    Row("", "rebuild and compare", "rebuild", "select", "eventsourcing, decoding", "/s"),
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


def in_child(path: Path) -> Figures:
    """Return what a rebuild takes in a new process."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_measured, (str(path),))


def _measured(path: str) -> Figures:
    result = rebuild_check(path)
    assert result.equal, result.first_difference
    # Of this process and of those that it started and waited for.
    spent = sum(os.times()[:4])
    return {
        "s": result.seconds,
        "us": result.seconds / result.events * 1e6,
        "cpu us": spent / result.events * 1e6,
        "MB": peak_megabytes(),
    }


def peak_megabytes() -> float:
    """Return the most memory that this process and those that it started have held at once."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    # Linux's ru_maxrss survives exec, so that a child would report its parent's peak.
    status = Path("/proc/self/status")
    if status.exists():
        line = next(x for x in status.read_text().splitlines() if x.startswith("VmHWM"))
        return int(line.split()[1]) / 1024 + children
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 + children


def scale(paths: list[Path]) -> list[Result]:
    """Rebuild the first and the last of some logs."""
    figures: Figures = {}
    for name, path in (("small", paths[0]), ("large", paths[-1])):
        found = in_child(path)
        figures |= {f"{name} {unit}": value for unit, value in found.items()}
    small, large = (f"{events_in(path):,}" for path in (paths[0], paths[-1]))
    beside = f"{small} events"
    rows = (
        Row("P7", f"rebuild, {large}", "large us", "small us", beside, "us", at_most=1.1),
        Row("", "the same, processor", "large cpu us", "small cpu us", beside, "us"),
        Row("P7", f"memory, {large}", "large MB", "small MB", beside, "MB", at_most=1.1),
        Row("P7", f"memory, {large}", "large MB", "", "", "MB", at_most=MEMORY_MAX_MB),
        Row("", f"the whole rebuild, {large}", "large s", "small s", beside, "s"),
    )
    return print_table(rows, [figures])


def main() -> list[Result]:
    """Print the tables."""
    with folder() as where:
        small = where / "small.sqlite"
        make(small, SMALL, open_orders=1_000)
        other = peer.Peer(where / "peer.sqlite", pendings(SMALL)) if peer.AVAILABLE else None
        if other is not None:
            other.save()

        def replay() -> Figures:
            figures = {"scan": scan(small), "rebuild": rebuilt(small)}
            if other is not None:
                figures |= {"select": other.select(), "fold": other.fold()}
            return figures

        results = print_table(REPLAY, measure(replay))
    print()
    with lent() as paths:
        return results + scale(paths)
