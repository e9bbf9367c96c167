"""Throws every hostile value at every door, and prints the figures.

    python -m tests.hostile [--part 1/50] [events] [wires] [settings] [lines]
    python -m tests.hostile live [--lines 1200] [--seed 7] [--minutes 30]

Exit status 0 when each value is kept or refused in words: no traceback, no hang, no other status
than those of docs/reference/exit-codes.md. All of it takes about half an hour on one core.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
import tempfile
from pathlib import Path

import structlog

from tests.hostile.live import play_live
from tests.hostile.play import DOORS, play


def main() -> int:
    """Play the doors that are named, or all; return the exit status."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("doors", nargs="*", choices=[*DOORS, "live", []], default=[])
    words.add_argument("--part", default="1/1", help="first/step: only each so-manieth value")
    words.add_argument("--lines", type=int, default=1_200, help="at a daemon that serves")
    words.add_argument("--seed", type=int, default=1, help="which lines, and in which order")
    words.add_argument("--minutes", type=float, default=60, help="end then, with what was thrown")
    given = words.parse_args()
    first, step = map(int, given.part.split("/"))
    faults = 0
    for door in given.doors or [*DOORS, "live"]:
        with tempfile.TemporaryDirectory() as folder:
            if door == "live":
                figures = asyncio.run(
                    play_live(Path(folder), given.seed, given.lines, given.minutes * 60)
                )
            else:
                figures = play(door, Path(folder), first - 1, step)
        print(figures, flush=True)
        for fault in figures.faults:
            print(f"  {fault}")
        faults += len(figures.faults)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
