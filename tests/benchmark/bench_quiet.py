"""What a quiet hour adds to the log: one account with 20 positions and 10 resting orders.

Everything that the daemon does by the clock it does 60 times as often as its settings say by
default, so that a minute is an hour; the gateway does nothing by the clock where no price moves.
Beside it the same hour with a difference that nobody has closed.

    python -m tests.benchmark quiet
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections import Counter
from pathlib import Path
from typing import Any, Final

import oms
from oms.settings import Settings
from tests.benchmark.measure import Result, Row, folder, print_table
from tests.simulator import running_simulator
from tests.world import World, a_world

FASTER: Final = 60
HOUR_SECONDS: Final = 3600 / FASTER
#: What is done by the clock, and how often.
PERIODS: Final = (
    *("glance_interval_seconds", "reconcile_interval_seconds", "account_refresh_seconds"),
    *("clock_check_seconds", "watch_interval_seconds", "recheck_interval_seconds"),
)
HELD: Final = (
    *("AAPL", "MSFT", "AMZN", "GOOG", "GOOGL", "META", "NVDA", "TSLA", "NFLX", "AMD"),
    *("INTC", "CSCO", "PEP", "COST", "IBM", "GE", "F", "BAC", "JPM", "WMT"),
)
RESTING: Final = HELD[:10]
EVENTS_MAX: Final = 150


def faster() -> dict[str, Any]:
    """Return the default periods, divided."""
    defaults = {name: Settings.model_fields[name].default for name in PERIODS}
    return {name: max(seconds / FASTER, 0.1) for name, seconds in defaults.items()}


def counted(database: Path) -> tuple[Counter[str], int]:
    """Return the events by type, and the bytes of the database."""
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as log:
        types = Counter(dict(log.execute("SELECT type, count(*) FROM events GROUP BY 1")))
        pages, free, size = (
            log.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("page_count", "freelist_count", "page_size")
        )
    return types, (pages - free) * size


async def hour(world: World) -> tuple[Counter[str], int]:
    """Return what an hour adds."""
    await world.oms.log.flush()
    types, size = counted(world.database)
    await asyncio.sleep(HOUR_SECONDS)
    await world.oms.log.flush()
    after, size_after = counted(world.database)
    return after - types, size_after - size


async def hours(where: Path) -> list[tuple[str, Counter[str], int]]:
    """Return what each kind of hour adds."""
    async with running_simulator() as simulator, a_world(where, simulator) as world:
        await world.start(**faster())
        for symbol in HELD:
            await world.bought(contract=oms.Stock(symbol))
        for symbol in RESTING:
            await world.resting(price="1", contract=oms.Stock(symbol))
        await world.reconcile()
        await world.oms.gateway.accounts.refresh()
        found = [("nothing happens", *await hour(world))]
        await world.simulator.do("position_adjust", symbol="AAPL", quantity=5)
        await world.until(world.open_cases)
        found.append(("one break is open", *await hour(world)))
    return found


def main() -> list[Result]:
    """Print what each hour adds."""
    with folder() as where:
        found = asyncio.run(hours(where))
    print("| hour in which | events | bytes | events a day | MB a day | what |")
    print("|---|---:|---:|---:|---:|---|")
    for name, types, size in found:
        events = types.total()
        what = ", ".join(f"{number} {kind}" for kind, number in types.most_common(6))
        print(
            f"| {name} | {events} | {size:,} | {24 * events:,} | {24 * size / 1e6:.1f} | {what} |"
        )
    print()
    rows = tuple(
        Row("", f"quiet hour, {name}", name, "", "", "events", at_most=EVENTS_MAX - 1)
        for name, _, _ in found
    )
    return print_table(rows, [{name: types.total() for name, types, _ in found}])


if __name__ == "__main__":
    main()
