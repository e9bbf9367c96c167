"""A backup becomes a log again in an empty place, and never in silence an older one."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from oms.clock import SystemClock
from oms.core.events import BackupRestored
from oms.errors import (
    ChainBroken,
    ConfigurationError,
    DatabaseDamaged,
    LogWentBack,
    MigrationNeeded,
    NotFound,
    OmsError,
    StoreUnavailable,
)
from oms.store import audit, head_file, schema
from oms.store.backend import connect, parse_url
from oms.store.backup import back_up, manifest_path
from oms.store.lease import read_all
from oms.store.log import append_foreign
from oms.store.loss import find_loss
from oms.store.rebuild import rebuild_check
from oms.store.restore import Restored, restore
from oms.store.soundness import check_database
from tests.conformance.conftest import Place
from tests.conformance.facts import gap, intent, session
from tests.conformance.test_backup import rows_of
from tests.conformance.test_event_log import lease, opened_log, stored

EVENTS = 23


@pytest.fixture
async def log(place: Place) -> Place:
    """Return a daemon's log of some events, of which rows are folded, and its head file."""
    orders = [intent(f"order-{number}") for number in range(EVENTS - 3)]
    async with opened_log(place, lease=lease(), projector=True) as opened:
        await opened.append_together([session(), *orders, gap("1"), gap("2")])
    return place


@pytest.fixture
def backup(log: Place, tmp_path: Path) -> Path:
    return back_up(log.url, tmp_path / "b.sqlite").path


def head_path(url: str) -> Path:
    return head_file.path_of(parse_url(url))


def grow(url: str) -> None:
    append_foreign(url, [gap("later")], clock=SystemClock(), needs_daemon=False)


async def test_what_was_backed_up_is_there_again_and_every_row_is_folded(
    log: Place, backup: Path, tmp_path: Path
) -> None:
    before = rows_of(log.url)
    url = f"sqlite:///{tmp_path}/new.sqlite"
    done = restore(backup, url, actor="person:test")
    assert (done.backup.sequence, done.head.sequence) == (EVENTS, EVENTS + 1)
    after = rows_of(url)
    assert set(before["events"]) < set(after["events"])
    for table in ("orders", "system", "sessions", "order_events"):
        assert after[table] == before[table]
    assert rebuild_check(url).equal
    check_database(url)
    with closing(connect(parse_url(url), "read")) as connection:
        (kept,) = read_all(connection)
    assert (kept.epoch, kept.heartbeat_at) == (1, None)
    fact = (await stored(Place(url)))[-1]
    assert isinstance(fact.event, BackupRestored)
    assert (fact.context.actor, fact.event.sequence) == ("person:test", EVENTS)
    assert fact.event.missing == "unknown"


def test_a_log_goes_to_the_other_database_and_back(
    log: Place, backup: Path, tmp_path: Path, postgresql_server: str
) -> None:
    other = _empty_postgresql(postgresql_server, tmp_path)
    restore(backup, other)
    again = back_up(other, tmp_path / "again.sqlite")
    url = f"sqlite:///{tmp_path}/back.sqlite"
    restore(again.path, url)
    first, last = rows_of(log.url), rows_of(url)
    assert set(first["events"]) < set(last["events"])
    assert last["orders"] == first["orders"]
    assert rebuild_check(url).equal


def _empty_postgresql(server: str, tmp_path: Path) -> str:
    name = f"restored_{tmp_path.name[-20:]}"
    Place(server).sql(f'CREATE DATABASE "{name}"')
    return server.replace("/postgres?", f"/{name}?")


# ── what may be missing ──────────────────────────────────────────────────────────────────────────


def in_place(log: Place, backup: Path, **options: Path) -> Restored:
    """Restore where the log was; its head file stays."""
    if log.is_sqlite:
        for end in ("", "-wal", "-shm"):
            Path(f"{parse_url(log.url).database}{end}").unlink(missing_ok=True)
    else:
        name = parse_url(log.url).database
        server = Place(log.url.replace(f"/{name}?", "/postgres?"))
        server.sql(f'DROP DATABASE "{name}"')
        server.sql(f'CREATE DATABASE "{name}"')
    return restore(backup, log.url, **options)


@pytest.mark.sample(2)
async def test_a_place_that_knows_more_starts_with_a_word_only(log: Place, backup: Path) -> None:
    async with opened_log(log, lease=lease(), projector=True) as opened:
        await opened.append_together([gap("a"), gap("b"), gap("c")])
    done = in_place(log, backup)
    assert done.missing == "events"
    assert "knows of 26 events" in done.text
    with pytest.raises(LogWentBack, match="knows of 26 events"):
        audit.verify(log.url)
    with pytest.raises(LogWentBack, match="knows of 26 events"):
        async with opened_log(log, lease=lease(), projector=True):
            pass
    async with opened_log(log, lease=lease(), projector=True, loss_accepted=True) as opened:
        await opened.append(gap("accepted"))
    assert find_loss(log.url) is None


async def test_a_later_end_of_the_length_of_the_restored_log_is_seen_as_well(
    log: Place, backup: Path
) -> None:
    async with opened_log(log, lease=lease(), projector=True) as opened:
        await opened.append(gap("one more"))
    assert in_place(log, backup).missing == "events"
    with pytest.raises(LogWentBack, match="is not the one that was written"):
        async with opened_log(log, lease=lease(), projector=True):
            pass


async def test_a_place_that_knows_the_end_of_the_backup_lacks_nothing(
    log: Place, backup: Path
) -> None:
    done = in_place(log, backup)
    assert (done.missing, done.text) == ("nothing", "")
    assert audit.verify(log.url).unknown == ""
    async with opened_log(log, lease=lease(), projector=True) as opened:
        await opened.append(gap("goes on"))


async def test_a_place_that_knows_nothing_starts_with_a_word_only(log: Place, backup: Path) -> None:
    head_path(log.url).unlink()
    done = in_place(log, backup)
    assert done.missing == "unknown"
    assert "whether the log had more events is not known" in done.text
    for _ in range(2):
        with pytest.raises(LogWentBack, match=r"was restored from a backup .* event 23") as caught:
            async with opened_log(log, lease=lease(), projector=True):
                pass
        assert "--accept-loss" in caught.value.hint
        # All of the backup holds: that nobody knows of more is no damage.
        assert "whether the log had more events is not known" in audit.verify(log.url).unknown
        grow(log.url)
    async with opened_log(log, lease=lease(), projector=True, loss_accepted=True) as opened:
        assert opened.loss is not None
        assert opened.loss.accepted("why").loss == "restored"
        await opened.append(gap("accepted"))
    assert find_loss(log.url) is None
    assert audit.verify(log.url).unknown == ""


def test_a_head_file_that_is_named_shows_that_nothing_is_missing(
    log: Place, backup: Path, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path}/new.sqlite"
    done = restore(backup, url, head=head_path(log.url))
    assert done.missing == "nothing"
    assert find_loss(url) is None
    kept = head_file.read(head_path(url))
    assert kept is not None
    assert (kept.head.sequence, kept.restored) == (EVENTS + 1, False)


def test_a_head_file_that_is_named_shows_what_is_missing(
    log: Place, backup: Path, tmp_path: Path
) -> None:
    grow(log.url)
    grow(log.url)
    url = f"sqlite:///{tmp_path}/new.sqlite"
    assert restore(backup, url, head=head_path(log.url)).missing == "events"
    found = find_loss(url)
    assert found is not None
    assert found.kept is not None
    assert found.kept.head.sequence == EVENTS + 2


def test_a_head_file_of_before_the_backup_shows_nothing(
    log: Place, backup: Path, tmp_path: Path
) -> None:
    old = shutil.copyfile(head_path(log.url), tmp_path / "old.head")
    grow(log.url)
    later = back_up(log.url, tmp_path / "later.sqlite")
    url = f"sqlite:///{tmp_path}/new.sqlite"
    assert restore(later.path, url, head=old).missing == "unknown"


def test_a_checkpoint_that_was_signed_later_shows_that_events_are_missing(
    backup: Path, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path}/new.sqlite"
    assert restore(backup, url, expected={EVENTS + 5: "00" * 32}).missing == "events"
    assert find_loss(url) is not None


def test_a_restore_that_died_before_its_end_is_repeated(
    log: Place, backup: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It dies when the head file is there and the database is not."""

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    head_path(log.url).unlink()
    with monkeypatch.context() as patch:
        patch.setattr("oms.store.restore._place", die)
        with pytest.raises(KeyboardInterrupt):
            in_place(log, backup)
    assert find_loss(log.url) is not None
    assert restore(backup, log.url).missing == "unknown"


# ── what is refused ──────────────────────────────────────────────────────────────────────────────


def test_a_place_that_is_not_empty_is_left_alone(log: Place, backup: Path) -> None:
    before = rows_of(log.url)
    with pytest.raises(ConfigurationError, match=r"the place is not empty: .* has a log of 23 ev"):
        restore(backup, log.url)
    assert rows_of(log.url) == before


async def test_a_daemon_that_runs_there_is_named(log: Place, backup: Path) -> None:
    async with opened_log(log, lease=lease(), projector=True):
        with pytest.raises(ConfigurationError, match=r"and the daemon of process .* runs on it"):
            restore(backup, log.url)


@pytest.mark.parametrize("end", ["", "-wal", "-journal"])
def test_a_file_that_is_there_is_left_alone(backup: Path, tmp_path: Path, end: str) -> None:
    file = tmp_path / f"new.sqlite{end}"
    file.write_text("mine")
    with pytest.raises(ConfigurationError, match="the place is not empty"):
        restore(backup, f"sqlite:///{tmp_path}/new.sqlite")
    assert file.read_text() == "mine"
    assert not list(tmp_path.glob("new.sqlite.*"))


async def test_a_place_of_another_log_is_refused(
    log: Place, backup: Path, tmp_path: Path, sqlite_template: Path
) -> None:
    other = Place(f"sqlite:///{tmp_path}/other.sqlite")
    shutil.copyfile(sqlite_template, tmp_path / "other.sqlite")
    async with opened_log(other, lease=lease(), projector=True) as opened:
        await opened.append(gap("other"))
    with pytest.raises(LogWentBack, match=r"is another log: other\.sqlite.head knows of") as caught:
        in_place(other, backup)
    assert "another place" in caught.value.hint
    assert not (tmp_path / "other.sqlite").exists()


DAMAGES: dict[str, tuple[Callable[[Path], object], type[OmsError], str]] = {
    "a byte of an event": (
        lambda path: _write(path, "UPDATE events SET payload = payload || ' ' WHERE sequence = 7"),
        ChainBroken,
        "event 7 does not carry",
    ),
    "the end is cut": (
        lambda path: _write(path, "DELETE FROM events WHERE sequence > 20"),
        ChainBroken,
        "the log ends at 20, but 23 events were appended",
    ),
    "a row": (
        lambda path: _write(path, "UPDATE system SET body = body || ' '"),
        DatabaseDamaged,
        "are not those that were written; its events hold",
    ),
    "another backup's manifest": (
        lambda path: _edit(path, sequence=22, hash="00" * 32),
        ChainBroken,
        "is not the one that its manifest describes",
    ),
    "a manifest cut short": (
        lambda path: manifest_path(path).write_text("{"),
        DatabaseDamaged,
        "the manifest .* is not one",
    ),
    "half of the file": (
        lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
        DatabaseDamaged,
        "damaged",
    ),
    "no database": (lambda path: path.write_text("minutes of a meeting"), DatabaseDamaged, "not a"),
    "a newer version's": (
        lambda path: (
            _write(path, "UPDATE alembic_version SET version_num = '9999'"),
            _write(path, "CREATE TABLE of_tomorrow (name TEXT)"),
            manifest_path(path).unlink(),
        ),
        MigrationNeeded,
        "9999, which this version does not know",
    ),
}


def _write(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for name in ("update", "delete"):
            connection.execute(f"DROP TRIGGER IF EXISTS events_refuse_{name}")
        connection.execute(statement)


def _edit(path: Path, **values: object) -> None:
    text = json.loads(manifest_path(path).read_text())
    manifest_path(path).write_text(json.dumps(text | values))


#: A backup is the same file, whatever kept the log.
of_sqlite = pytest.mark.parametrize("place", ["sqlite"], indirect=True)


@of_sqlite
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_backup_that_does_not_hold_is_refused(backup: Path, tmp_path: Path, damage: str) -> None:
    apply, error, words = DAMAGES[damage]
    apply(backup)
    with pytest.raises(error, match=words) as caught:
        restore(backup, f"sqlite:///{tmp_path}/new.sqlite")
    assert caught.value.exit_code in (2, 4)
    assert not list(tmp_path.glob("new.sqlite*"))


@of_sqlite
def test_rows_that_are_damaged_do_not_come_back(backup: Path, tmp_path: Path) -> None:
    _write(backup, "UPDATE system SET body = body || ' '")
    manifest_path(backup).unlink()
    url = f"sqlite:///{tmp_path}/new.sqlite"
    assert restore(backup, url).manifest is None
    check_database(url)
    assert rebuild_check(url).equal


@of_sqlite
def test_a_signed_head_that_differs_is_refused(backup: Path, tmp_path: Path) -> None:
    with pytest.raises(ChainBroken, match="event 5 has another hash than was noted"):
        restore(backup, f"sqlite:///{tmp_path}/new.sqlite", expected={5: "00" * 32})


@of_sqlite
def test_wrong_places_are_named(backup: Path, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="there is no backup"):
        restore(tmp_path / "none.sqlite", f"sqlite:///{tmp_path}/new.sqlite")
    with pytest.raises(StoreUnavailable, match="cannot be written"):
        restore(backup, f"sqlite:///{tmp_path}/none/new.sqlite")
    with pytest.raises(ConfigurationError, match="mysql"):
        restore(backup, "mysql://there/it")
    with pytest.raises(ConfigurationError, match="there is no head file"):
        restore(backup, f"sqlite:///{tmp_path}/new.sqlite", head=tmp_path / "none.head")


def test_a_backup_of_an_earlier_version_is_restored_with_the_tables_of_this_one(
    log: Place, tmp_path: Path
) -> None:
    made = back_up(log.url, tmp_path / "old.sqlite", revision=schema.REVISIONS[0])
    url = f"sqlite:///{tmp_path}/new.sqlite"
    restore(made.path, url)
    assert schema.current(url) == schema.HEAD
    assert rebuild_check(url).equal
