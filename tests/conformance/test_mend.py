"""`oms rebuild` makes again what stands around the log, and `oms verify` holds after it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from oms.cli import main
from oms.errors import DatabaseDamaged
from oms.store import schema
from oms.store.mend import mend
from oms.store.soundness import check_database
from tests.conformance.conftest import Place
from tests.conformance.facts import execution, gap, intent, opened, sent, session
from tests.conformance.test_event_log import filled, lease, opened_log

BOTH = {
    "an index dropped": "DROP INDEX orders_perm_id",
    "the unique index dropped": "DROP INDEX events_natural_key",
    "another index of that name": "DROP INDEX orders_state; CREATE INDEX orders_state"
    " ON orders (account)",
    "a table of rows dropped": "DROP TABLE orders",
    "the links dropped": "DROP TABLE order_events",
    # Before the leases are dropped.
    "a lease that cannot be read": "UPDATE leases SET heartbeat_at = 'never'",
    "the leases dropped": "DROP TABLE leases",
    "a column added": "ALTER TABLE orders ADD COLUMN note TEXT",
    "the revision gone": "DELETE FROM alembic_version",
    "the table of the revision gone": "DROP TABLE alembic_version",
    "the revision of an older version": "UPDATE alembic_version SET version_num = '0001'",
    "a row altered": "UPDATE orders SET state = 'HELD'",
    "the sums of the rows gone": "UPDATE checkpoints SET row_sum = NULL",
    "the mark of the rows gone": "DELETE FROM checkpoints WHERE name = 'books'",
}
SQLITE = {
    "a guard dropped": "DROP TRIGGER events_refuse_update",
    "every guard dropped": "DROP TRIGGER events_refuse_update; DROP TRIGGER events_refuse_delete;"
    " DROP TRIGGER events_refuse_gap",
    "another guard of that name": "DROP TRIGGER events_refuse_gap; CREATE TRIGGER events_refuse_gap"
    " BEFORE INSERT ON events BEGIN SELECT 1\\; END",
}
POSTGRESQL = {
    "a guard dropped": "DROP TRIGGER events_refuse_change ON events",
    "a guard off": "ALTER TABLE events DISABLE TRIGGER events_refuse_gap",
    "a function emptied": "CREATE OR REPLACE FUNCTION events_refuse_gap() RETURNS trigger"
    " LANGUAGE plpgsql AS $$ BEGIN RETURN NULL\\; END $$",
    "a function dropped": "DROP FUNCTION events_refuse() CASCADE",
    "the key of a table dropped": "ALTER TABLE orders DROP CONSTRAINT orders_pkey",
    "rows that outlive no crash": "ALTER TABLE orders SET UNLOGGED",
}
FOREIGN = {
    "a table": "CREATE TABLE notes (text TEXT)",
    "a trigger": "CREATE TRIGGER x AFTER INSERT ON events BEGIN SELECT 1\\; END",
    "an index": "CREATE INDEX x ON events (type)",
}


@pytest.fixture
async def traded(place: Place) -> Place:
    """Return the log of a daemon that has ended, with orders and a fill."""
    async with opened_log(place, lease=lease(), projector=True) as log:
        for fact in (session(), intent("o-1"), sent("o-1", 1), opened("o-1", 1)):
            await log.append(fact)
        await log.append(execution("e.01", order_id="o-1"))
    await filled(place, [intent("o-2"), gap()])
    check_database(place.url)
    return place


async def test_what_follows_from_the_log_is_made_again(
    traded: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One after the other, on one log: each rebuild must leave nothing behind."""
    monkeypatch.setenv("OMS_DATABASE_URL", traded.url)
    changes = BOTH | (SQLITE if traded.is_sqlite else POSTGRESQL)
    for change in changes:
        _do(traded, changes[change])
        statuses = [await _oms(*words) for words in (("verify",), ("rebuild",), ("verify",))]
        said = capsys.readouterr()
        assert statuses == [4, 4, 0], (change, said)
        assert "FAILED" in said.out, (change, said)
    statuses = [await _oms(*words) for words in (("rebuild", "--check"), ("rebuild",))]
    assert statuses == [0, 0]
    await filled(traded, [gap("goes on")])
    assert await _oms("verify") == 0


@pytest.mark.parametrize("kind", FOREIGN)
async def test_what_nobody_of_us_made_is_left_and_named_with_the_way_out(
    traded: Place, kind: str
) -> None:
    if not traded.is_sqlite and kind != "an index":
        pytest.skip("others may share the schema of a server")
    _do(traded, FOREIGN[kind])
    with pytest.raises(DatabaseDamaged, match="is not ours") as caught:
        mend(traded.url)
    way_out = caught.value.hint.partition("(")[2].partition(")")[0]
    traded.sql(way_out)
    check_database(traded.url)


async def test_log_itself_is_left_to_a_backup(traded: Place) -> None:
    traded.sql("ALTER TABLE events ADD COLUMN note TEXT")
    with pytest.raises(DatabaseDamaged, match="the table events") as caught:
        mend(traded.url)
    assert "restore" in caught.value.hint


async def test_two_events_of_one_key_are_named_where_their_index_is_made_again(
    traded: Place,
) -> None:
    traded.remove_guards()
    traded.sql("DROP INDEX events_natural_key")
    columns = "type, version, recorded_at, lease_epoch, session_epoch, actor, hash, payload"
    traded.sql(
        f"INSERT INTO events (sequence, natural_key, {columns})"
        f" SELECT 99, natural_key, {columns} FROM events WHERE natural_key IS NOT NULL LIMIT 1"
    )
    with pytest.raises(DatabaseDamaged, match="cannot be made again") as caught:
        mend(traded.url)
    assert "restore" in caught.value.hint


async def test_what_was_made_again_is_a_fact_of_the_log(
    traded: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    traded.sql("DROP INDEX orders_state")
    monkeypatch.setenv("OMS_DATABASE_URL", traded.url)
    await _oms("rebuild")
    select = "SELECT payload FROM events WHERE type = 'ProjectionsRebuilt'"
    assert [row[0] for row in traded.sql(select)] == [
        '{"up_to_sequence":7,"differences":0,"mended":["the index orders_state"]}'
    ]


@pytest.mark.parametrize("damage", ["no database", "a page of nothing"])
async def test_file_that_only_a_backup_can_bring_back_is_not_sent_in_a_circle(
    tmp_path: Path,
    damage: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """`oms rebuild` must not name itself as the way out."""
    path = tmp_path / "log.sqlite"
    schema.upgrade(str(path))
    await filled(Place(f"sqlite:///{path}"), [session(), gap()])
    contents = bytearray(path.read_bytes())
    contents[:16] = b"x" * 16 if damage == "no database" else contents[:16]
    contents[8192:] = bytes(len(contents) - 8192)
    path.write_bytes(contents)
    monkeypatch.setenv("OMS_DATABASE_URL", str(path))
    assert await _oms("verify") == 4
    capsys.readouterr()
    assert await _oms("rebuild") == 4
    said = capsys.readouterr().err
    assert "restore the newest backup" in said
    assert "then `oms rebuild`" not in said


async def test_rows_that_no_daemon_has_folded_yet_are_no_damage(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A halt that the shell appended after the daemon's end."""
    await filled(place, [session()])
    async with opened_log(place, projector=False) as log:
        await log.append(gap())
    monkeypatch.setenv("OMS_DATABASE_URL", place.url)
    for words in (("rebuild", "--check"), ("rebuild",), ("verify",)):
        assert await _oms(*words) == 0, capsys.readouterr()


async def test_no_epoch_comes_twice_where_the_row_of_the_lease_is_gone(traded: Place) -> None:
    async with opened_log(traded, lease=lease()) as log:
        await log.append(gap("second"))
        before = log.lease_epoch
    traded.sql("DELETE FROM leases")
    async with opened_log(traded, lease=lease()) as log:
        assert log.lease_epoch == before + 1


async def _oms(*words: str) -> int:
    return await asyncio.to_thread(main, words)


def _do(place: Place, statements: str) -> None:
    for statement in statements.replace("\\;", "\0").split(";"):
        place.sql(statement.replace("\0", ";"))
