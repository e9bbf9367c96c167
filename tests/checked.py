"""A day of trading that is over: the OMS's file and the simulator's books, at rest and equal."""

from __future__ import annotations

import asyncio
import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import oms
from oms.core.fold.records import OrderState
from oms.sim.checker import check, read_file
from tests.simulator import running_simulator
from tests.world import MSFT, a_world

Edit = Callable[[sqlite3.Connection], object]


@dataclass
class Day:
    """The file of a day and the broker's books beside it."""

    database: Path
    books: dict[str, Any]

    def copy(self, folder: Path) -> Day:
        """Return the same day in another folder, free to be spoilt."""
        shutil.copyfile(self.database, folder / "oms.sqlite")
        return Day(folder / "oms.sqlite", json.loads(json.dumps(self.books)))

    def edit(self, change: Edit) -> None:
        """Change the file as nobody can who keeps to the program: the guards go first."""
        with closing(sqlite3.connect(self.database)) as connection, connection:
            for guard in ("update", "delete", "gap"):
                connection.execute(f"DROP TRIGGER events_refuse_{guard}")
            change(connection)

    def failed(self) -> set[str]:
        """Return the names of the claims that do not hold."""
        return {claim.name for claim in check(read_file(self.database), self.books) if not claim.ok}


def spent(folder: Path) -> Day:
    """Trade for a day: filled, resting, changed, cancelled, rejected, by hand."""
    return asyncio.run(_spend(folder))


async def _spend(folder: Path) -> Day:
    async with running_simulator() as simulator, a_world(folder, simulator) as world:
        manager = await world.start()
        await world.bought(10)
        changed = await world.resting(5)
        await changed.modify(limit="11")
        await world.rest(changed, OrderState.WORKING)
        await world.rest(await _cancelled(await world.resting(7)), OrderState.CANCELLED)
        greedy = await manager.submit(MSFT, oms.Market("BUY", 10_000_000))
        await world.rest(greedy, OrderState.REJECTED)
        await simulator.do("manual_order", symbol="MSFT", side="BUY", quantity="3")
        await world.agree()
        books = await world.books()
        await world.stop()
        return Day(world.database, books)


async def _cancelled(ticket: oms.Ticket) -> oms.Ticket:
    await ticket.cancel()
    return ticket
