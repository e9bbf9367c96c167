"""The check of the whole database beside a running daemon."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

import oms
from oms.core.fold.records import OrderState
from oms.errors import StoreUnavailable
from oms.store.recheck import Recheck
from tests.world import AAPL, LOW, World

pytestmark = pytest.mark.slow


def alter_event(path: Path) -> Callable[[], None]:
    """Alter the third event, with its guards dropped and put back; return what mends it."""

    def change(statement: str) -> None:
        with closing(sqlite3.connect(path)) as other, other:
            where = "FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'events'"
            guards = other.execute(f"SELECT name, sql {where}").fetchall()
            for name, _ in guards:
                other.execute(f"DROP TRIGGER {name}")
            other.execute(f"UPDATE events SET {statement} WHERE sequence = 3")
            for _, text in guards:
                other.execute(text)

    change("payload = payload || ' '")
    return lambda: change("payload = trim(payload)")


def thin_index(path: Path) -> Callable[[], None]:
    """Take every row out of an index that keeps an execution from being stored twice."""
    name = "events_natural_key"

    def word(text: str) -> None:
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("PRAGMA writable_schema = ON")
            other.execute("UPDATE sqlite_master SET sql = ? WHERE name = ?", (text, name))
            other.execute("PRAGMA writable_schema = RESET")

    def reindex() -> None:
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute(f"REINDEX {name}")

    with closing(sqlite3.connect(path)) as other:
        (before,) = other.execute(
            "SELECT sql FROM sqlite_master WHERE name = ?", (name,)
        ).fetchone()
    word(f"CREATE UNIQUE INDEX {name} ON events (natural_key) WHERE sequence < 0")
    reindex()
    word(before)
    return reindex


@pytest.mark.parametrize(
    ("damage", "words"), [(alter_event, "event 3"), (thin_index, "events_natural_key")]
)
async def test_damage_under_a_running_daemon_stops_new_orders_until_it_is_mended(
    world: World, damage: Callable[[Path], Callable[[], None]], words: str
) -> None:
    """Cancels pass."""
    fast = {"recheck_interval_seconds": 0.05, "watch_interval_seconds": 0.1}
    manager = await world.start(**fast)
    ticket = await manager.submit(AAPL, oms.Limit("BUY", 1, LOW))
    await world.rest(ticket)
    mend = damage(world.database)
    await world.until(lambda: world.oms.log.damage != "")
    with pytest.raises(StoreUnavailable, match=words):
        await manager.submit(AAPL, oms.Limit("BUY", 1, LOW))
    await world.until(lambda: "log_damaged:log" in world.view.alarms)
    assert words in world.view.alarms["log_damaged:log"].text
    await ticket.cancel()
    assert (await ticket.done()).state is OrderState.CANCELLED
    mend()
    await world.until(lambda: "log_damaged:log" not in world.view.alarms)
    await world.rest(await manager.submit(AAPL, oms.Limit("BUY", 1, LOW)))
    await world.agree()


async def test_damage_that_was_found_stops_new_orders_after_a_restart(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    manager = await world.start(recheck_interval_seconds=0.05, watch_interval_seconds=0.1)
    await world.rest(await manager.submit(AAPL, oms.Limit("BUY", 1, LOW)))
    thin_index(world.database)
    await world.until(lambda: "log_damaged:log" in world.view.alarms)
    await world.stop()

    def run(_: Recheck) -> None:
        """Come to no end."""
        raise StoreUnavailable

    monkeypatch.setattr(Recheck, "run", run)
    manager = await world.start()
    with pytest.raises(StoreUnavailable, match="the last check failed"):
        await manager.submit(AAPL, oms.Limit("BUY", 1, LOW))
