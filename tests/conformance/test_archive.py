"""An archive has every event of the log, with its chain, and is checked without the program."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from oms import verify
from oms.clock import SystemClock
from oms.core.events import Context, Pending, SegmentArchived
from oms.errors import ChainBroken, NotFound, StoreUnavailable
from oms.evidence.keys import make_key, public_path
from oms.history.archive import Segment, Work, archive, check_archive, segments, write_backup
from oms.store.log import append_foreign
from oms.store.rebuild import rebuild_check
from oms.store.restore import restore
from tests.conformance.conftest import Place
from tests.conformance.facts import gap, intent, session
from tests.conformance.test_backup import rows_of
from tests.conformance.test_event_log import filled, stored

pytest.importorskip("pyarrow", reason="the archive is written in Parquet")

EVENTS = 25


@pytest.fixture
async def log(place: Place) -> Place:
    orders = [intent(f"order-{number}") for number in range(EVENTS - 3)]
    await filled(place, [session(), *orders, gap("1"), gap("2")])
    return place


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "archive"
    made.mkdir()
    return made


def work(log: Place, folder: Path, **changed: object) -> Work:
    (first,) = log.sql("SELECT hash FROM events WHERE sequence = 1")
    options = {"clock": SystemClock(), "segment_events": 10, "program": "test"} | changed
    return Work(log.url, folder, bytes(first[0]).hex(), **options)  # type: ignore[arg-type]


def names(found: list[Segment]) -> list[tuple[int, int]]:
    return [(one.first, one.last) for one in found]


def test_each_segment_is_checked_alone_and_follows_the_one_before(log: Place, folder: Path) -> None:
    made = list(archive(work(log, folder), EVENTS))
    assert names(made) == [(1, 10), (11, 20), (21, 25)]
    assert made == segments(folder) == check_archive(folder, log.url)
    assert made[1].hash_before == made[0].head
    (head,) = log.sql(f"SELECT hash FROM events WHERE sequence = {EVENTS}")
    assert made[-1].head == bytes(head[0]).hex()
    for one in made:
        assert verify.main([str(one.folder), "--expect", f"{one.last}:{one.head}"]) == 0
    assert {p.stat().st_mode & 0o777 for p in folder.rglob("*") if p.is_file()} == {0o600}


def test_an_archive_goes_on_after_its_last_segment(log: Place, folder: Path) -> None:
    list(archive(work(log, folder), 12))
    append_foreign(log.url, [gap("later")], clock=SystemClock(), needs_daemon=False)
    made = list(archive(work(log, folder), EVENTS + 1))
    # The last one first: whether the log was told of it is not known here.
    assert names(made) == [(11, 12), (13, 22), (23, 26)]
    assert names(segments(folder)) == [(1, 10), (11, 12), (13, 22), (23, 26)]


async def test_a_segment_is_told_once(log: Place, folder: Path) -> None:
    for _ in range(2):
        for one in archive(work(log, folder), 10):
            fact = Pending(one.archived(), Context("person:test"))
            append_foreign(log.url, [fact], clock=SystemClock(), needs_daemon=False)
    told = [one.event for one in await stored(log) if isinstance(one.event, SegmentArchived)]
    assert [(one.first, one.last) for one in told] == [(1, 10)]


def test_a_signature_is_checked_with_the_public_key(
    log: Place, folder: Path, tmp_path: Path
) -> None:
    signer = make_key(tmp_path / "key", "test-key")
    (one,) = archive(work(log, folder, signer=signer, segment_events=100), EVENTS)
    key = str(public_path(tmp_path / "key"))
    assert verify.main([str(one.folder), "--key", key]) == 0
    (one.folder / "manifest.note").unlink()
    assert verify.main([str(one.folder), "--key", key]) == 4


def test_a_log_is_restored_from_its_archive(log: Place, folder: Path, tmp_path: Path) -> None:
    list(archive(work(log, folder), EVENTS))
    head = write_backup(folder, tmp_path / "b.sqlite")
    assert head.sequence == EVENTS
    url = f"sqlite:///{tmp_path}/new.sqlite"
    restore(tmp_path / "b.sqlite", url, named=str(folder))
    before, after = rows_of(log.url), rows_of(url)
    assert set(before["events"]) < set(after["events"])
    assert before["orders"] == after["orders"]
    assert rebuild_check(url).equal


def test_a_log_that_does_not_hold_is_not_archived(log: Place, folder: Path) -> None:
    log.remove_guards()
    log.sql("UPDATE events SET payload = replace(payload, '{', '{ ') WHERE sequence = 13")
    with pytest.raises(ChainBroken, match="event 13") as caught:
        list(archive(work(log, folder), EVENTS))
    assert caught.value.sequence == 13
    assert [path.name for path in folder.iterdir()] == ["segment-000000000001-000000000010"]


def _flip(path: Path) -> None:
    found = bytearray(path.read_bytes())
    found[len(found) // 2] ^= 1
    path.write_bytes(found)


def _part(folder: Path) -> Path:
    return _second(folder) / "events" / "part-00001.parquet"


def _second(folder: Path) -> Path:
    return sorted(folder.iterdir())[1]


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "a byte of the events": (lambda f: _flip(_part(f)), "is not the file that the"),
    "a byte of the manifest": (lambda f: _flip(_second(f) / "manifest.json"), "cannot be read"),
    "the events are gone": (lambda f: _part(f).unlink(), "is missing"),
    "a file is added": (lambda f: (_second(f) / "x").write_text("x"), "is not in the manifest"),
    "a segment is gone": (lambda f: shutil.rmtree(_second(f)), "does not follow event 10"),
    "the first one is gone": (lambda f: shutil.rmtree(sorted(f.iterdir())[0]), "follow event 0"),
}


@pytest.mark.parametrize("place", ["sqlite"], indirect=True)
@pytest.mark.parametrize("damage", DAMAGES)
def test_an_archive_that_does_not_hold_is_named(log: Place, folder: Path, damage: str) -> None:
    list(archive(work(log, folder), EVENTS))
    apply, words = DAMAGES[damage]
    apply(folder)
    with pytest.raises(ChainBroken, match=words) as caught:
        check_archive(folder, log.url)
    assert caught.value.sequence in (1, 11)
    assert "the log itself is not touched" in caught.value.hint


async def test_an_archive_of_another_log_is_refused(
    log: Place, folder: Path, tmp_path: Path, sqlite_template: Path
) -> None:
    list(archive(work(log, folder), 10))
    other = Place(f"sqlite:///{tmp_path}/other.sqlite")
    shutil.copyfile(sqlite_template, tmp_path / "other.sqlite")
    await filled(other, [gap(str(number)) for number in range(20)])
    with pytest.raises(ChainBroken, match="is of another log"):
        list(archive(work(other, folder), 20))
    with pytest.raises(ChainBroken, match="event 10 of the log is not the one"):
        check_archive(folder, other.url)
    assert names(segments(folder)) == [(1, 10)]


def test_what_was_not_finished_is_no_segment(
    log: Place, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("oms.history.archive.sync_folder", full)
        with pytest.raises(StoreUnavailable, match="No space left on device"):
            list(archive(work(log, folder), EVENTS))
    assert list(folder.iterdir()) == []
    (folder / "segment-000000000001-000000000010.part").mkdir()
    assert segments(folder) == []
    assert len(list(archive(work(log, folder), 10))) == 1


def test_what_is_no_archive_is_named(log: Place, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="there is no folder"):
        segments(tmp_path / "none")
    with pytest.raises(NotFound, match="has no segments"):
        write_backup(folder, tmp_path / "b.sqlite")
    (folder / "segment-000000000001-000000000010").mkdir()
    with pytest.raises(ChainBroken, match="cannot be read"):
        segments(folder)
