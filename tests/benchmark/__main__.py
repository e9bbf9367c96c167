"""Run the benchmarks: all of them, or those named.

    python -m tests.benchmark [append] [rebuild] [capture] ...

Each `bench_NAME.py` in this folder has a `main` that prints its figures beside their limits and
peers, measured in the same round. At the end all of them stand in one table, goal by goal, and in
the file that OMS_TEST_BENCH_JSON names (`bench.json`), with the load of the machine.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import platform
import sqlite3
import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from oms.telemetry import configure
from tests.benchmark.measure import Result, print_all

ORDER = ("append", "rebuild", "capture", "submit")
#: Wanted, and not measured yet.
LATER = Result(
    "P13", "PostgreSQL, 4 writers", 0, "", "", None, "comes with several daemons", 0, None
)


def names() -> list[str]:
    """Return the names of all benchmarks, in the order in which they run."""
    found = {p.stem.removeprefix("bench_") for p in Path(__file__).parent.glob("bench_*.py")}
    return [*(n for n in ORDER if n in found), *sorted(found - set(ORDER))]


def main(chosen: Sequence[str]) -> None:
    """Run the benchmarks chosen, all where none is."""
    unknown = set(chosen) - set(names())
    if unknown:
        sys.exit(f"no such benchmark: {', '.join(sorted(unknown))}; there are {', '.join(names())}")
    configure("ERROR")
    logging.disable(logging.WARNING)
    began, load = datetime.now(UTC), os.getloadavg()
    print(f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, ", end="")
    print(
        f"{platform.machine()}, {platform.system()}, load {load[0]:.1f} of {os.cpu_count()} cores"
    )
    results: list[Result] = []
    for name in chosen or names():
        module = importlib.import_module(f"tests.benchmark.bench_{name}")
        print(f"\n## {name}\n", flush=True)
        results += module.main()
    if not chosen:
        results.append(LATER)
    print(f"\n## all, load {os.getloadavg()[1]:.1f}\n")
    print_all(results)
    kept = Path(os.environ.get("OMS_TEST_BENCH_JSON", "bench.json"))
    figures = {
        "began": began.isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "cores": os.cpu_count(),
        "load": [load[0], *os.getloadavg()],
        "results": [asdict(one) for one in results],
    }
    kept.write_text(json.dumps(figures, indent=1), encoding="utf-8")
    print(f"\nKept in {kept}.")


if __name__ == "__main__":
    main(sys.argv[1:])
