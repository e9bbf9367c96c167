"""A backup is the log of one moment, whatever keeps it, and says so only when it was checked."""

from __future__ import annotations

import json
import os
import shutil
import stat
from contextlib import closing
from pathlib import Path

import pytest

from oms import verify
from oms.clock import SystemClock
from oms.errors import ChainBroken, ConfigurationError, DatabaseDamaged, NotFound, StoreUnavailable
from oms.store import audit, copying, schema, space
from oms.store.backend import Connection, connect, parse_url
from oms.store.backup import Backup, back_up, check_copy, manifest_path, read_manifest
from oms.store.log import append_foreign
from oms.store.rebuild import rebuild_check
from oms.store.soundness import check_database
from oms.store.tables import METADATA
from oms.store.upgrade import upgrade_database
from tests.conformance.conftest import Place
from tests.conformance.facts import gap, intent, session
from tests.conformance.test_event_log import filled, opened_log

TABLES = sorted(METADATA.tables)
EVENTS = 23


@pytest.fixture
async def log(place: Place) -> Place:
    """Return a log of some events of which rows are folded."""
    orders = [intent(f"order-{number}") for number in range(EVENTS - 3)]
    await filled(place, [session(), *orders, gap("1"), gap("2")])
    return place


def rows_of(url: str) -> dict[str, list[tuple[object, ...]]]:
    """Return every row of every table, sorted by its text."""
    with closing(connect(parse_url(url), "read")) as connection:
        return {name: sorted(_rows(connection, name), key=repr) for name in TABLES}


def _rows(connection: Connection, table: str) -> list[tuple[object, ...]]:
    columns = ", ".join(column.name for column in METADATA.tables[table].columns)
    return [tuple(row) for row in connection.rows(f"SELECT {columns} FROM {table}")]


def test_a_backup_has_every_row_of_its_moment_and_is_checked(log: Place, tmp_path: Path) -> None:
    before = rows_of(log.url)
    made = back_up(log.url, tmp_path / "b.sqlite", program="test 1")
    append_foreign(log.url, [gap("later")], clock=SystemClock(), needs_daemon=False)
    assert rows_of(str(made.path)) == before
    head = audit.verify(str(made.path))
    assert (made.manifest.sequence, made.manifest.hash) == (head.head_sequence, head.head_hash)
    assert rebuild_check(str(made.path)).equal
    check_database(str(made.path))
    assert verify.main([str(made.path), "--expect", f"{EVENTS}:{head.head_hash}"]) == 0
    assert read_manifest(made.path) == made.manifest
    assert made.manifest.program == "test 1"
    assert sorted(path.name for path in tmp_path.glob("b.sqlite*")) == [
        "b.sqlite",
        "b.sqlite.json",
    ]
    assert {stat.S_IMODE(p.stat().st_mode) for p in tmp_path.glob("b.sqlite*")} == {0o600}


async def test_a_backup_beside_a_writer_is_of_one_moment(place: Place, tmp_path: Path) -> None:
    async with opened_log(place, projector=True) as log:
        for number in range(50):
            await log.append(gap(str(number)))
        during: list[int] = []

        def append(_: int, __: int) -> None:
            """Write while it is copied."""
            if not during:
                facts = [gap(f"during {number}") for number in range(2_000)]
                append_foreign(place.url, facts, clock=SystemClock(), needs_daemon=False)
            during.append(1)

        made = back_up(place.url, tmp_path / "b.sqlite", append)
    assert made.manifest.sequence == 50
    assert during


def test_a_log_is_copied_to_its_end_while_each_step_meets_a_commit(
    tmp_path: Path, sqlite_template: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite begins a copy anew when another program commits; ours must come to its end."""
    monkeypatch.setattr("oms.store.backend._COPIED_PAGES", 16)
    path = tmp_path / "log.sqlite"
    shutil.copyfile(sqlite_template, path)
    facts = [gap(f"{number:05}" * 40) for number in range(4_000)]
    append_foreign(str(path), facts, clock=SystemClock(), needs_daemon=False)
    steps = 0

    def append(_: int, __: int) -> None:
        nonlocal steps
        steps += 1
        assert steps < 200, "it began anew"
        append_foreign(str(path), [gap(str(steps))], clock=SystemClock(), needs_daemon=False)

    made = back_up(str(path), tmp_path / "b.sqlite", append)
    assert made.manifest.sequence == 4_000
    assert steps > 20


def test_a_damaged_log_makes_no_backup_and_takes_none_away(log: Place, tmp_path: Path) -> None:
    folder = tmp_path / "backups"
    folder.mkdir()
    first = back_up(log.url, folder, keep=1)
    log.remove_guards()
    log.sql("UPDATE events SET payload = replace(payload, '{', '{ ') WHERE sequence = 3")
    with pytest.raises(ChainBroken, match="no backup was made: event 3") as caught:
        back_up(log.url, folder, keep=1)
    assert caught.value.sequence == 3
    assert sorted(folder.iterdir()) == sorted([first.path, manifest_path(first.path)])


def test_a_damaged_row_makes_no_backup(log: Place, tmp_path: Path) -> None:
    log.sql("UPDATE system SET body = replace(body, '{', '{ ')")
    with pytest.raises(DatabaseDamaged, match="no backup was made: the row"):
        back_up(log.url, tmp_path / "b.sqlite")
    assert not list(tmp_path.glob("b.sqlite*"))


def test_the_newest_backups_of_this_log_stay_and_nothing_else_goes(
    log: Place, tmp_path: Path
) -> None:
    folder = tmp_path / "backups"
    folder.mkdir()
    other = _of_another_log(back_up(log.url, folder))
    (folder / "notes.json").write_text("[]")
    first = back_up(log.url, folder, keep=2)
    first.path.with_name(f"{first.path.name}.history").touch()
    made = [first, *(back_up(log.url, folder, keep=2) for _ in range(3))]
    assert [len(one.removed) for one in made] == [0, 0, 1, 1]
    left = {path.name for path in folder.glob("*.sqlite")}
    assert left == {other.name, made[2].path.name, made[3].path.name}
    assert (folder / "notes.json").exists()
    assert not list(folder.glob(f"{first.path.name}*"))


def _of_another_log(made: Backup) -> Path:
    text = json.loads(manifest_path(made.path).read_text())
    manifest_path(made.path).write_text(json.dumps(text | {"log": "00" * 32}))
    return made.path


def test_a_backup_for_an_earlier_version_has_its_tables_and_every_event(
    log: Place, tmp_path: Path
) -> None:
    for revision in schema.REVISIONS[:-1]:
        made = back_up(log.url, tmp_path / f"{revision}.sqlite", revision=revision)
        assert schema.current(str(made.path)) == revision
        assert check_copy(parse_url(str(made.path)))[1].sequence == made.manifest.sequence
        with closing(connect(parse_url(str(made.path)), "read")) as connection:
            found = sorted(_rows(connection, "events"), key=repr)
            assert connection.rows("SELECT count(*) FROM orders") == [(0,)]
            assert connection.rows("SELECT name FROM checkpoints WHERE name = 'books'") == []
        assert found == rows_of(log.url)["events"]


@pytest.mark.parametrize("taken", ["b.sqlite", "b.sqlite.json"])
def test_a_backup_replaces_nothing(log: Place, tmp_path: Path, taken: str) -> None:
    (tmp_path / taken).write_text("mine")
    with pytest.raises(ConfigurationError, match="exists already"):
        back_up(log.url, tmp_path / "b.sqlite")
    assert (tmp_path / taken).read_text() == "mine"


def test_no_room_means_no_backup_and_a_free_disk(
    log: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(space, "free_bytes", lambda _: copying.RESERVE_BYTES - 1)
    with pytest.raises(StoreUnavailable, match="no copy can be made"):
        back_up(log.url, tmp_path / "b.sqlite")
    assert not list(tmp_path.glob("b.sqlite*"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_named(log: Place, tmp_path: Path) -> None:
    folder = tmp_path / "closed"
    folder.mkdir(0o500)
    with pytest.raises(StoreUnavailable, match=r"closed.* cannot be written"):
        back_up(log.url, folder / "b.sqlite")


def test_a_log_without_events_is_nothing_to_back_up(place: Place, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="has no events"):
        back_up(place.url, tmp_path / "b.sqlite")
    assert not list(tmp_path.glob("b.sqlite*"))


def test_keep_needs_a_folder(log: Place, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="needs a folder"):
        back_up(log.url, tmp_path / "b.sqlite", keep=3)


def test_unknown_revision_is_refused(log: Place, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="'9999' is no revision"):
        back_up(log.url, tmp_path / "b.sqlite", revision="9999")
    assert not list(tmp_path.glob("b.sqlite*"))


def test_a_manifest_that_is_none_is_refused(tmp_path: Path) -> None:
    for text in ("{", "[]", '{"kind": "oms_backup", "format": 2}', '{"kind": "oms_backup"}'):
        (tmp_path / "b.sqlite.json").write_text(text)
        with pytest.raises(DatabaseDamaged, match="manifest"):
            read_manifest(tmp_path / "b.sqlite")
    assert read_manifest(tmp_path / "none.sqlite") is None


def test_a_database_on_a_server_is_backed_up_before_its_tables_change(
    postgresql_server: str, tmp_path: Path, sqlite_template: Path
) -> None:
    log = Place(f"sqlite:///{shutil.copyfile(sqlite_template, tmp_path / 'log.sqlite')}")
    append_foreign(log.url, [gap("1"), gap("2")], clock=SystemClock(), needs_daemon=False)
    before = schema.REVISIONS[-2]
    old = back_up(log.url, tmp_path / "old.sqlite", revision=before).path
    name = f"upgraded_{tmp_path.name[-20:]}"
    Place(postgresql_server).sql(f'CREATE DATABASE "{name}"')
    url = postgresql_server.replace("/postgres?", f"/{name}?")
    schema._migrate(parse_url(url), before)
    with (
        closing(connect(parse_url(str(old)), "read")) as source,
        closing(connect(parse_url(url))) as target,
    ):
        copying.copy_log(source, target, rows=False)
    done = upgrade_database(url)
    assert (done.before, done.after) == (before, schema.HEAD)
    assert done.backup is not None
    assert schema.current(str(done.backup)) == before
    assert check_copy(parse_url(str(done.backup)))[1].sequence == 2
    assert rebuild_check(url).equal
