"""Plays every incident and prints the count: played, right, not expressible.

    python -m tests.incidents [INC-01 ...]

Exit status 0 when nothing ends otherwise than its file says.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import tempfile
import tomllib
from pathlib import Path

import structlog

from tests.incidents_player import play

HERE = Path(__file__).parent


async def main(names: list[str]) -> int:
    """Play those whose name starts so, or all; returns the exit status."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    logging.disable(logging.CRITICAL)
    files = [
        one
        for one in sorted(HERE.glob("*.scenario"))
        if not names or one.stem.startswith(tuple(names))
    ]
    right: list[str] = []
    wrong: dict[str, str] = {}
    for file in files:
        with tempfile.TemporaryDirectory() as folder:
            # Two levels: the empty database that all are copied from stands beside the folder.
            inner = Path(folder) / "played" / "incident"
            inner.mkdir(parents=True)
            try:
                await play(file, inner)
                right.append(file.stem)
            except Exception as error:  # noqa: BLE001 (whatever it is, it is counted)
                wrong[file.stem] = f"{type(error).__name__}: {error}"
    incidents = {"-".join(one.stem.split("-")[:2]) for one in files}
    print(f"incidents       {len(incidents)}, in {len(files)} files")
    print(f"right           {len(right)}")
    print(f"wrong           {len(wrong)}")
    for name, reason in wrong.items():
        print(f"    {name:<20}{reason}")
    if not names:
        unplayed = tomllib.loads((HERE / "not_expressible.toml").read_text(encoding="utf-8"))
        for kind, rows in unplayed.items():
            print(f"{kind.replace('_', ' '):<16}{len(rows)}")
            for name, reason in rows.items():
                print(f"    {name:<20}{reason}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1:])))
