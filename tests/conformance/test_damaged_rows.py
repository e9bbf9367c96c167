"""A row that is not what was written stops the start, and `oms verify` finds it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from oms.clock import SystemClock
from oms.errors import DatabaseDamaged
from oms.store import audit, schema
from oms.store.log import EventLog
from oms.store.mend import mend
from oms.store.rebuild import rebuild, rebuild_check
from oms.store.soundness import check_database, find_damage
from tests.conformance.conftest import Place
from tests.conformance.facts import execution, gap, intent, opened, sent, session
from tests.conformance.test_event_log import filled, lease, opened_log


@pytest.fixture
async def traded(place: Place) -> Place:
    """Return a log of two orders, one of them filled, whose rows are sound."""
    await filled(place, [session(), intent("o-1"), sent("o-1", 1), opened("o-1", 1)])
    await filled(place, [intent("o-2"), execution("e.01", order_id="o-1"), gap()])
    check_database(place.url)
    await filled(place, [gap("again")])
    return place


LIVE = {
    "a position": "UPDATE positions SET body = replace(body, '100', '900')",
    "a column": "UPDATE orders SET state = 'HELD' WHERE order_id = 'o-2'",
    "a live row hidden": "UPDATE orders SET live = 0 WHERE order_id = 'o-2'",
    "an order deleted": "DELETE FROM orders WHERE order_id = 'o-2'",
    "a digest lost": "UPDATE positions SET digest = NULL",
    "the sum lost": "UPDATE checkpoints SET live_row_sum = NULL WHERE name = 'books'",
}
ENDED = {
    "an ended order": "UPDATE orders SET body = replace(body, '100', '900') WHERE live = 0",
    "an ended order deleted": "DELETE FROM orders WHERE live = 0",
    "a fill deleted": "DELETE FROM fills",
    "a link deleted": "DELETE FROM order_events WHERE sequence = 3",
    "a link added": "INSERT INTO order_events (order_id, sequence) VALUES ('o-2', 1)",
}


@pytest.mark.sample(3)
@pytest.mark.parametrize("change", [*LIVE, *ENDED])
async def test_altered_rows_are_found_and_made_again(traded: Place, change: str) -> None:
    """Live rows at the start already, the rest by the check of everything; a rebuild mends both."""
    traded.sql((LIVE | ENDED)[change])
    with pytest.raises(DatabaseDamaged) as caught:
        check_database(traded.url)
    assert caught.value.exit_code == 4
    if change in LIVE:
        with pytest.raises(DatabaseDamaged):
            await EventLog.open(traded.url, clock=SystemClock(), lease=None)
    rebuild(traded.url)
    check_database(traded.url)
    assert rebuild_check(traded.url).equal
    await filled(traded, [gap("and again")])
    check_database(traded.url)


async def test_sums_follow_rows_that_left_memory(place: Place) -> None:
    """Ended orders are written again long after they were forgotten."""
    async with opened_log(place, resident_records_max=1) as log:
        await log.append(session())
        for number in range(1, 8):
            name = f"o-{number}"
            await log.append_together([intent(name), sent(name, number), opened(name, number)])
            await log.append(execution(f"e{number}.01", order_id=name, broker_order_id=number))
        for n in range(1, 8):
            await log.append(execution(f"e{n}.02", 90, order_id=f"o-{n}", broker_order_id=n))
    check_database(place.url)
    assert rebuild_check(place.url).equal


async def test_row_absent_from_a_unique_index_is_found(tmp_path: Path) -> None:
    """The pages are whole, and the same execution could be stored twice."""
    path = tmp_path / "log.sqlite"
    schema.upgrade(str(path))
    place = Place(f"sqlite:///{path}")
    await filled(place, [session(), execution("e.01"), gap()])
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA writable_schema = ON")
        where = "WHERE name = 'events_natural_key'"
        text = "CREATE UNIQUE INDEX events_natural_key ON events (natural_key) WHERE {}"
        change = f"UPDATE sqlite_master SET sql = ? {where}"
        (before,) = connection.execute(f"SELECT sql FROM sqlite_master {where}").fetchone()
        connection.execute(change, (text.format("sequence < 0"),))
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("REINDEX events_natural_key")
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute(change, (before,))
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA quick_check").fetchone() == ("ok",)
    with pytest.raises(DatabaseDamaged, match="events_natural_key"):
        check_database(str(path))


@pytest.mark.parametrize("version", [3, 255])
async def test_file_whose_header_keeps_it_from_being_written_is_damaged(
    tmp_path: Path, version: int
) -> None:
    """SQLite speaks of a missing permission; `verify` must not call whole what nobody can start."""
    path = tmp_path / "log.sqlite"
    schema.upgrade(str(path))
    await filled(Place(f"sqlite:///{path}"), [session(), gap()])
    contents = bytearray(path.read_bytes())
    contents[18] = version
    path.write_bytes(contents)
    with pytest.raises(DatabaseDamaged, match="its header says"):
        check_database(str(path))
    assert "its header says" in str(find_damage(str(path)))
    with pytest.raises(DatabaseDamaged, match="its header says"):
        await EventLog.open(str(path), clock=SystemClock(), lease=lease())
    with pytest.raises(DatabaseDamaged, match="its header says") as caught:
        mend(str(path))
    assert "restore the newest backup" in caught.value.hint
    assert path.read_bytes() == contents


MARKS = {
    "no number": "UPDATE checkpoints SET sequence = 'x' WHERE name = '{}'",
    "below zero": "UPDATE checkpoints SET sequence = -1 WHERE name = '{}'",
    "no hash": "UPDATE checkpoints SET hash = 'x' WHERE name = '{}'",
}


@pytest.mark.parametrize("name", ["log", "books", "verified"])
@pytest.mark.parametrize("mark", MARKS)
async def test_checkpoint_that_cannot_be_read_is_damage(
    tmp_path: Path, mark: str, name: str
) -> None:
    place = Place(f"sqlite:///{tmp_path}/log.sqlite")
    schema.upgrade(place.url)
    await filled(place, [session(), gap()])
    place.sql(
        "INSERT INTO checkpoints SELECT 'verified', sequence, hash, NULL, NULL FROM checkpoints"
        " WHERE name = 'log'"
    )
    place.sql(MARKS[mark].format(name))
    with pytest.raises(DatabaseDamaged, match=f"checkpoint '{name}' cannot be read"):
        audit.verify(place.url)
    if name == "log":
        with pytest.raises(DatabaseDamaged, match="cannot be read") as caught:
            mend(place.url)
        assert "restore" in caught.value.hint
    else:
        assert mend(place.url) == (f"the checkpoint {name}",)
        rebuild(place.url)
        audit.verify(place.url)
        check_database(place.url)


async def test_log_whose_end_was_not_written_down_does_not_hold(place: Place) -> None:
    """No daemon starts on it, so `verify` must say so too."""
    await filled(place, [session(), gap()])
    place.sql("DELETE FROM checkpoints WHERE name = 'log'")
    with pytest.raises(DatabaseDamaged, match="does not say where the log ended"):
        audit.verify(place.url)
