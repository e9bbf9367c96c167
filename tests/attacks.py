"""Runs the four suites of attacks one after the other, and prints the figures of each.

    python -m tests.attacks [--small] [--seed 7] [input] [broker] [damage] [fencing]

Hostile input at every door, a hostile gateway, damage to the database, and pauses of a daemon that
another takes over from. Exit status 0 when none found anything. All of it takes about two hours on
two cores, `--small` a quarter of one.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

_BROKER: Final = (
    "tests/integration/test_hostile_gateway.py",
    "tests/integration/test_hostile_peer.py",
    "tests/integration/test_floods.py",
    "tests/unit/test_hearing.py",
    "tests/unit/test_frames.py",
)


@dataclass(frozen=True)
class Suite:
    """One suite, as a command of this Python."""

    whole: Sequence[str]
    small: Sequence[str]


SUITES: Final = {
    "input": Suite(
        ("-m", "tests.hostile", "--seed", "{seed}"),
        ("-m", "tests.hostile", "--seed", "{seed}", "--part", "1/20", "--lines", "200"),
    ),
    "broker": Suite(
        ("-m", "pytest", "-q", "-n", "0", "--seed", "{seed}", "-m", "long or not long", *_BROKER),
        ("-m", "pytest", "-q", "-n", "0", "--seed", "{seed}", *_BROKER),
    ),
    "damage": Suite(
        ("-m", "tests.damage", "--seed", "{seed}"),
        ("-m", "tests.damage", "--seed", "{seed}", "--each", "10"),
    ),
    "fencing": Suite(
        ("-m", "tests.crash.pauses", "--seed", "{seed}", "--random", "20"),
        ("-m", "tests.crash.pauses", "--seed", "{seed}", "--random", "4"),
    ),
}


def main() -> int:
    """Run the suites that are named, or all; return the exit status."""
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("suites", nargs="*", choices=[*SUITES, []], default=[])
    words.add_argument("--small", action="store_true", help="a part of each")
    words.add_argument("--seed", default="1")
    given = words.parse_args()
    lines = []
    for name in given.suites or SUITES:
        suite = SUITES[name]
        command = [
            one.format(seed=given.seed) for one in (suite.small if given.small else suite.whole)
        ]
        print(f"\n── {name}: python {' '.join(command)}", flush=True)
        began = time.monotonic()
        status = subprocess.run([sys.executable, *command], check=False).returncode
        verdict = "nothing found" if status == 0 else f"FOUND SOMETHING, exit status {status}"
        lines.append((status, f"{name:8} {verdict}, {time.monotonic() - began:.0f} s"))
    print("\n" + "\n".join(line for _, line in lines))
    return int(any(status for status, _ in lines))


if __name__ == "__main__":
    sys.exit(main())
