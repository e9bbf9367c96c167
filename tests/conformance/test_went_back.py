"""A log that lacks events which were in it is never taken for a whole one, whatever keeps it."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from oms.clock import SystemClock
from oms.core.events import TradingHaltedByPerson
from oms.errors import ChainBroken, ConfigurationError, LogWentBack, OmsError, StoreUnavailable
from oms.store import audit, head_file, schema
from oms.store.backend import parse_url
from oms.store.log import append_foreign
from oms.store.loss import Against, find_loss, refuse_loss
from oms.store.reader import Reader
from oms.store.situation import read_situation
from oms.store.upgrade import _back_up, upgrade_database
from tests.conformance.conftest import Place
from tests.conformance.facts import gap, intent
from tests.conformance.test_event_log import lease, opened_log

EVENTS = 12
BACKED_UP = 5


@pytest.fixture
async def log(place: Place) -> Place:
    """A daemon's log of twelve events, with backup copies of when it had five and none."""
    place.save("empty")
    await grown(place, BACKED_UP)
    place.save("older")
    await grown(place, EVENTS - BACKED_UP)
    return place


async def grown(place: Place, events: int, **options: bool) -> None:
    async with opened_log(place, lease=lease(), projector=True, **options) as opened:
        for number in range(events):
            await opened.append(gap(str(number)))


def head_path(place: Place) -> Path:
    return head_file.path_of(parse_url(place.url))


def loss_of(place: Place) -> str | None:
    found = find_loss(place.url)
    return None if found is None else found.kind


def rewrite(place: Place) -> None:
    """Leave a log of the same beginning with other events after it."""
    place.restore("older")
    others = [gap("other") for _ in range(20)]
    append_foreign(place.url, others, clock=SystemClock(), needs_daemon=False)


def begin_anew(place: Place) -> None:
    """Leave a log that was another one's from its first event."""
    head = head_path(place)
    head.rename(head.with_suffix(".away"))
    place.restore("empty")
    others = [gap("other") for _ in range(20)]
    append_foreign(place.url, others, clock=SystemClock(), needs_daemon=False)
    head.with_suffix(".away").rename(head)


KINDS: dict[str, Callable[[Place], object]] = {
    "behind": lambda place: place.restore("older"),
    "emptied": lambda place: place.restore("empty"),
    "another_past": rewrite,
    "another_log": begin_anew,
    "unreadable": lambda place: head_path(place).write_text("nonsense"),
}


async def test_head_file_names_the_end_after_every_commit(place: Place) -> None:
    async with opened_log(place, lease=lease()) as opened:
        for number in range(1, 6):
            receipt = await opened.append(gap(str(number)))
            kept = head_file.read(head_path(place))
            assert kept is not None
            assert (receipt.sequence, kept.head) == (number, opened.head)
    assert loss_of(place) is None


async def test_intent_is_covered_before_anybody_may_send_it(place: Place) -> None:
    async with opened_log(place, lease=lease(), projector=True) as opened:
        covered: list[int] = []

        def look(_: object) -> None:
            kept = head_file.read(head_path(place))
            covered.append(kept.head.sequence if kept else 0)

        opened.append(intent("k1")).add_done_callback(look)
        await opened.flush()
        assert covered == [1]


@pytest.mark.parametrize("kind", KINDS)
async def test_log_that_went_back_is_left_alone_until_a_person_accepts_it(
    log: Place, kind: str
) -> None:
    KINDS[kind](log)
    assert loss_of(log) == kind
    for _ in range(2):
        with pytest.raises(LogWentBack):
            await grown(log, 1)
        with pytest.raises(LogWentBack):
            upgrade_database(log.url)
        assert loss_of(log) == kind
    await grown(log, 1, loss_accepted=True)
    assert loss_of(log) is None
    await grown(log, 1)


@pytest.mark.parametrize("kind", KINDS)
async def test_audit_names_a_log_that_went_back(log: Place, kind: str) -> None:
    KINDS[kind](log)
    with pytest.raises(ChainBroken) as caught:
        audit.verify(log.url)
    assert caught.value.exit_code == 4


async def test_log_whose_table_is_gone_is_no_empty_one(log: Place) -> None:
    log.sql("DROP TABLE events")
    assert loss_of(log) == "emptied"
    with pytest.raises(LogWentBack):
        audit.verify(log.url)
    with pytest.raises(LogWentBack):
        await Reader.open(log.url)
    with pytest.raises(LogWentBack):
        await grown(log, 1)


async def test_rest_of_a_log_that_went_back_can_be_read(log: Place) -> None:
    log.restore("older")
    reader = await Reader.open(log.url)
    try:
        assert (await reader.head()).sequence == 5
        situation = await read_situation(
            reader, SystemClock().now(), host="here", resets=(), reconcile_interval_seconds=0
        )
    finally:
        await reader.close()
    assert "ends at event 5" in situation.loss


async def test_log_that_others_wrote_on_lacks_nothing(log: Place) -> None:
    """A halt of the shell while no daemon runs: it is covered too, and its loss is noticed."""
    halt = gap().__class__(TradingHaltedByPerson(reason="lunch"), gap().context)
    append_foreign(log.url, [halt], clock=SystemClock(), needs_daemon=False)
    assert loss_of(log) is None
    log.restore("older")
    assert loss_of(log) == "behind"


async def test_shell_never_makes_a_head_file_and_leaves_one_that_tells_of_a_loss(
    log: Place,
) -> None:
    log.restore("older")
    append_foreign(log.url, [gap()], clock=SystemClock(), needs_daemon=False)
    assert loss_of(log) == "behind"
    head_path(log).unlink()
    append_foreign(log.url, [gap()], clock=SystemClock(), needs_daemon=False)
    assert not head_path(log).exists()
    refuse_loss(log.url)


async def test_log_without_a_head_file_gets_one(log: Place) -> None:
    head_path(log).unlink()
    await grown(log, 0)
    kept = head_file.read(head_path(log))
    assert kept is not None
    assert kept.head.sequence == EVENTS


async def test_daemon_that_cannot_write_the_head_file_tells_nobody_that_a_fact_is_stored(
    log: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    async with opened_log(log, fails=True, lease=lease()) as opened:
        await opened.append(gap())
        monkeypatch.setattr("oms.store.head_file._encoded", full)
        with pytest.raises(StoreUnavailable, match="head file"):
            await opened.append(gap())
        monkeypatch.undo()
    assert loss_of(log) is None


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes in the file system")
@pytest.mark.parametrize("put", [os.mkdir, os.mkfifo])
async def test_head_file_that_is_no_file_is_one_that_cannot_be_read(
    log: Place, put: Callable[[Path], None]
) -> None:
    """Nobody waits for a pipe."""
    head_path(log).unlink()
    put(head_path(log))
    assert loss_of(log) == "unreadable"
    with pytest.raises(LogWentBack, match="cannot be read"):
        await grown(log, 1)
    head_path(log).rmdir() if head_path(log).is_dir() else head_path(log).unlink()


async def test_look_that_meets_halves_of_two_writes_looks_again(
    log: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = head_path(log).read_bytes()
    looks = iter([b"half" + whole[4:324] + b"half" + whole[324 + 4 :], whole])
    monkeypatch.setattr(head_file, "_contents", lambda _: next(looks))
    assert loss_of(log) is None


async def test_password_of_the_address_is_in_no_message(tmp_path: Path) -> None:
    url = parse_url("postgresql://u:one@host/db?password=two&sslpassword=three")
    place = Against.of(url).place
    assert not any(secret in place for secret in ("one", "two", "three"))
    with pytest.raises(ConfigurationError, match="takes no options") as caught:
        parse_url("sqlite:///oms.sqlite?password=two")
    assert "two" not in str(caught.value)


@pytest.mark.skipif(os.name == "nt", reason="goes by the number of names")
async def test_database_of_two_names_is_not_written(tmp_path: Path) -> None:
    """`-wal` goes by the name: two programs at two names destroy each other's pages."""
    path = tmp_path / "oms.sqlite"
    schema.upgrade(str(path))
    place = Place(f"sqlite:///{path}")
    await grown(place, 1)
    (tmp_path / "link.sqlite").symlink_to(path)
    await grown(Place(f"sqlite:///{tmp_path}/link.sqlite"), 1)
    (tmp_path / "other.sqlite").hardlink_to(path)
    for name in ("oms.sqlite", "other.sqlite"):
        with pytest.raises(StoreUnavailable, match="2 names") as caught:
            await grown(Place(f"sqlite:///{tmp_path / name}"), 1)
        assert "oms db backup" in caught.value.hint
    (tmp_path / "other.sqlite").unlink()
    await grown(place, 1)


def modes_in(folder: Path) -> dict[str, int]:
    return {one.name: stat.S_IMODE(one.stat().st_mode) for one in folder.iterdir()}


async def test_every_file_of_a_log_is_for_its_owner_alone(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        path = tmp_path / "oms.sqlite"
        schema.upgrade(str(path))
        place = Place(f"sqlite:///{path}")
        async with opened_log(place, lease=lease()) as opened:
            await opened.append(gap())
            await asyncio.to_thread(_back_up, str(path), schema.HEAD, SystemClock(), None)
            modes = modes_in(tmp_path)
    finally:
        os.umask(before)
    beside = {f"oms.sqlite{ending}" for ending in ("", "-wal", "-shm", ".head")}
    assert beside < modes.keys()
    assert set(modes.values()) == {0o600}


async def test_damage_inside_the_log_is_no_loss_that_could_be_accepted(log: Place) -> None:
    """Its own bookmark names the end that is missing: no backup looks so."""
    log.remove_guards()
    log.sql(f"DELETE FROM events WHERE sequence > {EVENTS - 1}")
    with pytest.raises(OmsError) as caught:
        await grown(log, 1, loss_accepted=True)
    assert type(caught.value) is ChainBroken
