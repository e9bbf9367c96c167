"""Plays every kind of damage to the files of a database, and prints the figures.

    python -m tests.damage [--each 100] [--seed 1] [--kind flip] [--postgresql]

Exit status 0 when each is found or proven to change nothing, and no verb ends with a traceback or
another status than 0 and 4.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
from pathlib import Path

import structlog

from tests.conformance.conftest import postgresql
from tests.damage.play import play
from tests.damage.postgresql import play_postgresql


def main() -> int:
    """Play; return the exit status."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--each", type=int, default=100, help="of each kind that goes by chance")
    words.add_argument("--seed", type=int, default=1)
    words.add_argument("--kind", action="append", help="only damages of this kind")
    words.add_argument("--postgresql", action="store_true", help="damages of a server as well")
    given = words.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        figures = play(Path(folder), given.seed, given.each, kinds=given.kind)
    every = [figures]
    if given.postgresql:
        with postgresql() as address:
            every.append(play_postgresql(address, given.seed, max(given.each // 10, 1)))
    for one in every:
        print(one)
        for fault in one.faults:
            print(f"  {fault}")
    return 1 if any(one.faults for one in every) else 0


if __name__ == "__main__":
    sys.exit(main())
