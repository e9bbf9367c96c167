"""Many seeds of the precision proof: python -m tests.precision --seeds 1000 --jobs 2"""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from oms import telemetry
from tests.precision.schedule import Outcome, classes, play, summary


def main() -> int:
    """Play the seeds, print precision and recall, and name every seed that failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.precision", description=__doc__)
    parser.add_argument("--seeds", type=int, default=50, help="how many")
    parser.add_argument("--first", type=int, default=0, help="the first one")
    parser.add_argument("--jobs", type=int, default=1, help="processes at a time")
    asked = parser.parse_args()
    began = time.monotonic()
    seeds = range(asked.first, asked.first + asked.seeds)
    if asked.jobs > 1:
        with ProcessPoolExecutor(asked.jobs) as pool:
            outcomes = list(pool.map(play_one, seeds, chunksize=5))
    else:
        outcomes = [play_one(seed) for seed in seeds]
    print(classes(outcomes))
    print(summary(outcomes))
    print(f"{time.monotonic() - began:.0f} s")
    return 0 if all(one.ok for one in outcomes) else 1


def play_one(seed: int) -> Outcome:
    """Play one seed in a folder of its own."""
    telemetry.configure("ERROR", "console")
    logging.getLogger("ib_async").setLevel(logging.CRITICAL)
    with tempfile.TemporaryDirectory() as folder:
        try:
            return asyncio.run(play(Path(folder), seed))
        except BaseException:
            print(f"seed {seed} broke", file=sys.stderr)
            raise


if __name__ == "__main__":
    sys.exit(main())
