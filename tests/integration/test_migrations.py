"""A database is brought up to date with a copy made before, or refused with a reason."""

from __future__ import annotations

import io
import sqlite3
import stat
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import event, inspect
from sqlalchemy.engine import Engine

from oms.clock import ManualClock
from oms.core.events import Context, Pending, TradingHaltedByPerson
from oms.errors import (
    ChainBroken,
    ConfigurationError,
    DatabaseDamaged,
    MigrationNeeded,
    StoreError,
    StoreUnavailable,
)
from oms.store import schema, space
from oms.store.backend import Connection, Value, connect, parse_url, sync_engine
from oms.store.backup import back_up, check_copy, read_manifest
from oms.store.envelopes import SELECT_HEAD, head_of
from oms.store.head_file import HeadFile, KeptHead, path_of
from oms.store.log import append_foreign
from oms.store.loss import find_loss, identity
from oms.store.rebuild import rebuild_check
from oms.store.tables import METADATA, PROJECTIONS
from oms.store.upgrade import upgrade_database
from oms.store.writer import Writer

NOON = datetime(2026, 11, 20, 12, 30, tzinfo=UTC)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a folder?" / "log #1.sqlite"


@pytest.fixture
def url(path: Path) -> str:
    path.parent.mkdir()
    return str(path)


def test_missing_file_is_created_with_every_table(url: str, path: Path) -> None:
    assert schema.current(url) is None
    assert schema.upgrade(url) == schema.Upgrade(None, schema.HEAD, None)
    assert schema.current(url) == schema.HEAD
    schema.check_current(url)
    assert list(path.parent.glob("*.bak")) == []


def test_tables_are_those_that_the_program_expects(url: str) -> None:
    schema.upgrade(url)
    engine = sync_engine(parse_url(url), "read")
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, METADATA) == []
        found = {index["name"] for t in METADATA.tables for index in _indexes(connection, t)}
    expected = {index.name for table in METADATA.tables.values() for index in table.indexes}
    assert found == expected


def test_upgrade_of_a_current_database_changes_nothing(url: str, path: Path) -> None:
    schema.upgrade(url)
    before = path.read_bytes()
    assert schema.upgrade(url) == schema.Upgrade(schema.HEAD, schema.HEAD, None)
    assert path.read_bytes() == before


def test_older_database_is_backed_up_before_it_is_changed(url: str, path: Path) -> None:
    events = a_log(url)
    _undo_to(path, "0004")
    with pytest.raises(MigrationNeeded, match="revision 0004, this version needs"):
        schema.check_current(url)
    done = upgrade_database(url, clock=ManualClock(NOON))
    copy = path.with_name("log #1.sqlite.0004.20261120T123000.000000Z.bak")
    assert done == schema.Upgrade("0004", schema.HEAD, copy, folded=True)
    assert schema.current(str(copy)) == "0004"
    assert check_copy(parse_url(str(copy)))[1].sequence == len(events)
    assert events_of(copy) == events
    manifest = read_manifest(copy)
    assert manifest is not None
    assert manifest.revision == "0004"
    assert _rights(copy) == "-rw-------"


def test_upgrade_without_a_backup_is_refused_where_one_cannot_be_made(
    url: str, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_log(url)
    _undo_to(path, "0004")
    monkeypatch.setattr(space, "free_bytes", lambda _: 10_000_000)
    with pytest.raises(StoreUnavailable, match="no copy can be made"):
        upgrade_database(url)
    assert schema.current(url) == "0004"
    assert not list(path.parent.glob("*.bak*"))
    assert upgrade_database(url, backup=False).after == schema.HEAD


def test_rows_are_folded_anew_also_where_the_upgrade_died_before(url: str, path: Path) -> None:
    """Tables and rows are two steps; the revision alone does not say that the second was made."""
    a_log(url)
    folding = Writer(parse_url(url), clock=ManualClock(NOON), projector=True)
    folding.open()
    folding.close()
    _undo_to(path, schema.REVISIONS[-2])
    _write(path, "UPDATE system SET body = replace(body, 'lunch', 'dinner')")
    schema.upgrade(url)
    with pytest.raises(MigrationNeeded, match="still to be folded"):
        rebuild_check(url)
    assert upgrade_database(url).folded
    assert rebuild_check(url).equal


def test_damaged_log_is_not_upgraded(url: str, path: Path) -> None:
    a_log(url)
    _undo_to(path, "0004")
    _write(path, "DROP TRIGGER events_refuse_update")
    _write(path, "UPDATE events SET payload = payload || ' ' WHERE sequence = 1")
    with pytest.raises(ChainBroken, match="no backup was made: event 1"):
        upgrade_database(url)
    assert schema.current(url) == "0004"


@pytest.mark.parametrize("revision", schema.REVISIONS[:-1])
def test_the_way_back_and_forth_keeps_every_event(url: str, path: Path, revision: str) -> None:
    """What is written since an upgrade goes back with it; the head file sees nothing missing."""
    a_log(url)
    kept = HeadFile(path_of(parse_url(url)), mode=0o600)
    events = a_log(url)
    with closing(connect(parse_url(url), "read")) as connection:
        (end,) = connection.rows(SELECT_HEAD)
        kept.write(KeptHead(identity(connection), head_of(end)))
    kept.close()
    back = back_up(url, path.with_name("back.sqlite"), revision=revision).path
    path.unlink()
    back.rename(path)
    assert schema.current(url) == revision
    assert find_loss(url) is None
    assert events_of(path) == events
    done = upgrade_database(url, clock=ManualClock(NOON))
    assert (done.before, done.after) == (revision, schema.HEAD)
    assert events_of(path)[: len(events)] == events
    assert rebuild_check(url).equal


def a_log(url: str) -> list[tuple[object, ...]]:
    """Write some events, and return all of the log."""
    schema.upgrade(url)
    halts = [
        Pending(TradingHaltedByPerson(reason=f"lunch {number}"), Context(actor="person:test"))
        for number in range(5)
    ]
    append_foreign(url, halts, clock=ManualClock(NOON), needs_daemon=False)
    return events_of(Path(url))


def events_of(path: Path) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("SELECT * FROM events ORDER BY sequence").fetchall()


#: What takes the tables back to the revision before each one.
_UNDO: dict[str, tuple[str, ...]] = {
    "0011": tuple(
        f"ALTER TABLE leases DROP COLUMN {name}"
        for name in ("waiting", "oldest_seconds", "append_seconds")
    ),
    "0010": ("ALTER TABLE leases DROP COLUMN address",),
    "0009": (
        "DROP TABLE segments",
        "DROP TRIGGER events_refuse_update",
        "CREATE TRIGGER events_refuse_update BEFORE UPDATE ON events\nBEGIN SELECT RAISE(ABORT,"
        " 'the log is append-only: events are never updated'); END",
    ),
    "0008": (),
    "0007": ("DROP INDEX order_events_sequence",),
    "0006": (
        "ALTER TABLE leases DROP COLUMN log_time_at",
        "ALTER TABLE leases DROP COLUMN claim",
        "DROP INDEX fills_perm_id",
    ),
    "0005": (
        *(f"ALTER TABLE {table} DROP COLUMN digest" for table in PROJECTIONS),
        "ALTER TABLE checkpoints DROP COLUMN row_sum",
        "ALTER TABLE checkpoints DROP COLUMN live_row_sum",
    ),
    "0004": (
        "DROP INDEX orders_order_ref",
        "ALTER TABLE orders DROP COLUMN order_ref",
        "DROP TABLE unknown_orders",
    ),
    "0003": ("DELETE FROM alarms",),
    "0002": ("DROP TABLE alarms",),
}


@pytest.mark.parametrize("revision", ["0001", "0002", "0003", "0004", "0005"])
def test_rows_that_an_earlier_version_left_are_folded_anew(
    url: str, path: Path, revision: str
) -> None:
    schema.upgrade(url)
    halt = Pending(TradingHaltedByPerson(reason="lunch"), Context(actor="person:test"))
    append_foreign(url, [halt], clock=ManualClock(NOON), needs_daemon=False)
    row = "('1', 'contradiction', '', 1, '{}')"
    _write(path, f"INSERT INTO anomalies (anomaly_key, kind, order_id, live, body) VALUES {row}")
    _undo_to(path, revision)
    done = upgrade_database(url, clock=ManualClock(NOON))
    assert (done.before, done.after) == (revision, schema.HEAD)
    assert rebuild_check(url).equal
    again = path.read_bytes()
    assert upgrade_database(url).backup is None
    assert path.read_bytes() == again


def test_newer_database_is_refused_and_left_alone(url: str, path: Path) -> None:
    schema.upgrade(url)
    _write(path, "CREATE TABLE of_tomorrow (name TEXT)")
    _write(path, "UPDATE alembic_version SET version_num = '9999'")
    before = path.read_bytes()
    for attempt in (schema.check_current, schema.upgrade):
        with pytest.raises(MigrationNeeded, match="9999, which this version does not know") as e:
            attempt(url)
        assert "upgrade ib-oms" in e.value.hint
    assert path.read_bytes() == before
    assert list(path.parent.glob("*.bak")) == []


def test_upgrade_that_fails_leaves_nothing_half_done(
    url: str, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path.touch()
    _write(path, "CREATE TABLE order_events (x)")
    with pytest.raises(StoreError, match="order_events"):
        schema.upgrade(url)
    with closing(sqlite3.connect(path)) as connection:
        names = connection.execute("SELECT name FROM sqlite_master").fetchall()
    assert names == [("order_events",)]


def test_tables_are_those_of_the_revision_that_the_database_names(url: str, path: Path) -> None:
    """But for a revision after which none changed: rows are folded anew then."""
    schema.upgrade(url)
    for revision in (*schema.REVISIONS[:-1], "9999"):
        _write(path, f"UPDATE alembic_version SET version_num = '{revision}'")
        later = [one for one in schema.REVISIONS if one > revision]
        if later and schema.ROWS_ONLY.issuperset(later):
            assert schema.current(url) == revision
        else:
            with pytest.raises(DatabaseDamaged, match=f"revision {revision}, but its tables are"):
                schema.current(url)


def test_rows_only_revisions_change_no_table() -> None:
    """Their scripts do nothing."""
    scripts = Path(__file__).parents[2] / "migrations" / "versions"
    empty = {
        path.name[:4]
        for path in scripts.glob("[0-9]*.py")
        if path.read_text(encoding="utf-8").rstrip().endswith("def upgrade() -> None:\n    pass")
    }
    assert empty == schema.ROWS_ONLY


def test_upgrade_over_several_revisions_is_one_commit(url: str) -> None:
    commits = []

    def count(connection: object) -> None:
        commits.append(connection)

    event.listen(Engine, "commit", count)
    try:
        schema.upgrade(url)
    finally:
        event.remove(Engine, "commit", count)
    assert len(commits) == 1


@pytest.mark.parametrize("revision", [None, "0004"])
def test_look_while_the_tables_are_made_sees_them_before_or_after(
    url: str, path: Path, monkeypatch: pytest.MonkeyPatch, revision: str | None
) -> None:
    """The demo looked while its daemon made the tables, and called them damaged."""
    if revision is None:
        path.touch()
        connect(parse_url(url)).close()
    else:
        schema.upgrade(url)
        _undo_to(path, revision)
    read = Connection.rows
    looks = 0

    def rows(connection: Connection, statement: str, values: Sequence[Value] = ()) -> object:
        """Have the tables made between the first answer and the next question."""
        nonlocal looks
        found = read(connection, statement, values)
        looks += 1
        if looks == 1:
            schema.upgrade(url)
        return found

    monkeypatch.setattr(Connection, "rows", rows)
    assert schema.current(url) == revision
    assert schema.current(url) == schema.HEAD


def test_database_without_tables_is_refused(url: str, path: Path) -> None:
    path.touch()
    with pytest.raises(MigrationNeeded, match="no tables") as caught:
        schema.check_current(url)
    assert "oms db upgrade" in caught.value.hint
    assert schema.upgrade(url).before is None


def test_file_that_is_no_database_is_refused(url: str, path: Path) -> None:
    path.write_text("these are minutes of a meeting" * 100)
    with pytest.raises(StoreError, match="not a database"):
        schema.upgrade(url)
    assert path.read_text().startswith("these are minutes")


def test_folder_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="cannot be created") as caught:
        schema.upgrade(f"sqlite:///{tmp_path}/missing/log.sqlite")
    assert "folder" in caught.value.hint


def test_revisions_that_the_program_knows_are_the_scripts() -> None:
    scripts = ScriptDirectory.from_config(schema.alembic_config())
    found = tuple(s.revision for s in reversed(list(scripts.walk_revisions())))
    assert found == schema.REVISIONS


def test_alembic_alone_sees_the_same_history(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """`alembic current` with the checkout's own configuration, as a developer runs it."""
    schema.upgrade(url)
    monkeypatch.setenv("OMS_DATABASE_URL", url)
    out = io.StringIO()
    config = schema.alembic_config()
    config.stdout = out
    command.current(config)
    assert out.getvalue().strip() == f"{schema.HEAD} (head)"


def test_missing_scripts_are_a_broken_installation(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(schema, "__file__", str(tmp_path / "oms" / "store" / "schema.py"))
    with pytest.raises(ConfigurationError, match="missing"):
        schema.script_location()


def _rights(path: Path) -> str:
    return stat.filemode(path.stat().st_mode)


def _write(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(statement)


def _undo_to(path: Path, revision: str) -> None:
    """Take the tables back to an earlier revision."""
    for undone in (number for number in _UNDO if number > revision):
        for statement in _UNDO[undone]:
            _write(path, statement)
    _write(path, f"UPDATE alembic_version SET version_num = '{revision}'")


def _indexes(connection: object, table: str) -> list[dict[str, object]]:
    return inspect(connection).get_indexes(table)  # type: ignore[no-any-return, return-value]
