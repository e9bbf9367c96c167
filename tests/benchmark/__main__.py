"""Run the benchmarks: all of them, or those named.

    python -m tests.benchmark [append] [rebuild] [capture] ...

Each `bench_NAME.py` in this folder has a `main` that prints a markdown table of its figures beside
their limits, measured in the same run.
"""

from __future__ import annotations

import importlib
import logging
import platform
import sqlite3
import sys
from pathlib import Path

from oms.telemetry import configure

ORDER = ("append", "rebuild", "capture", "submit")


def names() -> list[str]:
    found = {p.stem.removeprefix("bench_") for p in Path(__file__).parent.glob("bench_*.py")}
    return [*(n for n in ORDER if n in found), *sorted(found - set(ORDER))]


def main(chosen: list[str]) -> None:
    unknown = set(chosen) - set(names())
    if unknown:
        sys.exit(f"no such benchmark: {', '.join(sorted(unknown))}; there are {', '.join(names())}")
    configure("ERROR")
    logging.disable(logging.WARNING)
    print(f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, ", end="")
    print(f"{platform.machine()}, {platform.system()}")
    for name in chosen or names():
        module = importlib.import_module(f"tests.benchmark.bench_{name}")
        print(f"\n## {name}\n", flush=True)
        module.main()


if __name__ == "__main__":
    main(sys.argv[1:])
