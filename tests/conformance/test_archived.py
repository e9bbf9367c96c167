"""Texts that an archive has leave the database, and nothing else changes: not an answer, not a
hash, not what is booked twice or found to be wrong.
"""

from __future__ import annotations

import json
import random
import shutil
import sqlite3
import sys
from asyncio import to_thread
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from oms import verify
from oms.cli import main
from oms.clock import SystemClock
from oms.core.events import (
    Envelope,
    ExecutionReceived,
    HoldPlaced,
    NaturalKeyConflict,
    Pending,
    TextsRemoved,
)
from oms.errors import ArchiveUnavailable, ChainBroken, ConfigurationError, LeaseHeld, OmsError
from oms.evidence.checkpoints import CheckpointFile
from oms.evidence.keys import make_key
from oms.evidence.sealing import Places, seal
from oms.history import index
from oms.history.archive import Removal, Segment, Work, archive, check_archive, remove
from oms.history.asof import By
from oms.history.holds import standing
from oms.store import archived, audit
from oms.store.backend import connect, parse_url
from oms.store.backup import back_up
from oms.store.mend import mend
from oms.store.reader import Reader
from oms.store.rebuild import rebuild, rebuild_check
from oms.store.recheck import Recheck
from oms.store.restore import restore
from tests.auditor import Auditor
from tests.conformance.conftest import Place
from tests.conformance.facts import execution, gap, lives
from tests.conformance.test_event_log import filled, lease, opened_log, stored
from tests.pasts import Copy, past

pytest.importorskip("pyarrow", reason="the archive is written in Parquet")

SEGMENT = 40
KEPT = 30


@dataclass
class Archived:
    """A log of which an archive has some texts alone."""

    place: Place
    folder: Path
    #: The events as they were before the texts left.
    before: list[Envelope]

    @property
    def url(self) -> str:
        return self.place.url

    @property
    def gone_to(self) -> int:
        return int(self.place.sql("SELECT coalesce(max(last), 0) FROM segments")[0][0])


async def a_log(place: Place, seed: int = 1, orders: int = 30) -> Place:
    await filled(place, list(lives(seed, orders)))
    return place


def written(place: Place, folder: Path, segment_events: int = SEGMENT) -> list[Segment]:
    """Archive a whole log."""
    folder.mkdir(exist_ok=True)
    (last,) = place.sql("SELECT max(sequence) FROM events")[0]
    (log,) = place.sql("SELECT hash FROM events WHERE sequence = 1")[0]
    work = Work(place.url, folder, bytes(log).hex(), SystemClock(), segment_events=segment_events)
    return list(archive(work, last))


@asynccontextmanager
async def reading(place: Place, **options: Any) -> AsyncIterator[Reader]:
    reader = await Reader.open(place.url, **options)
    try:
        yield reader
    finally:
        await reader.close()


async def removal(place: Place, folder: Path, **changed: Any) -> Removal:
    async with reading(place) as reader:
        head, holds = await reader.head(), await standing(reader)
    work = Removal(
        url=place.url,
        folder=folder,
        last=head.sequence,
        holds=holds,
        head=head,
        actor="person:test",
        reason="a test",
        clock=SystemClock(),
        kept_events=KEPT,
    )
    return replace(work, **changed)


async def everything(place: Place) -> dict[str, Any]:
    """Return what readers say of a log."""
    async with reading(place) as reader:
        events = await reader.events(limit=1_000_000)
        sequences = [one.sequence for one in events]
        some = sequences[3:200:7]
        return {
            "events": events,
            "some": await reader.envelopes(some, reverse=True),
            "one": await reader.event(7),
            "statuses": await reader.events(type="OrderStatusReceived", session=1, limit=5),
            "stories": [await reader.order_events(f"order-{n}") for n in range(1, 31)],
            "stored": [tuple(row) for row in await reader.stored(some)],
            "columns": [tuple(row) for row in await reader.stored_columns("order-2")],
            "terms": terms_of(place.url, sequences[-1]),
            "audit": audit.verify(place.url).head_hash,
            "past": [await to_thread(_past, place.url, at, "known") for at in (5, 60)],
            "happened": await to_thread(_past, place.url, 60, "happened"),
        }


def size_of(place: Place) -> int:
    return Path(parse_url(place.url).database or "").stat().st_size


def _past(url: str, at: int, by: By) -> Copy:
    return past(url, at, by)[1]


def terms_of(url: str, last: int) -> dict[Any, list[int]]:
    """Return what the events of a log are found by."""
    with closing(connect(parse_url(url), "read")) as log:
        found = index.read(log, 1, last, 0)
    return {term: list(index.sequences(bits)) for term, bits in found.items()}


@pytest.fixture
async def log(place: Place, tmp_path: Path) -> Archived:
    await a_log(place)
    folder = tmp_path / "archive"
    written(place, folder)
    before = await stored(place)
    done, stays, why = remove(await removal(place, folder))
    assert [(one.first, one.last) for one in done] == [(1, 40), (41, 80), (81, 120), (121, 160)]
    assert (stays, why) != (None, "")
    return Archived(place, folder, before)


# ── nothing else changes ─────────────────────────────────────────────────────────────────────────


async def test_every_reader_gives_the_same_answer_as_before(place: Place, tmp_path: Path) -> None:
    await a_log(place)
    written(place, tmp_path / "archive")
    before = await everything(place)
    remove(await removal(place, tmp_path / "archive"))
    after = await everything(place)
    told = len(before["events"])
    assert after["events"][:told] == before["events"]
    for name in ("some", "one", "statuses", "stories", "stored", "columns", "past", "happened"):
        assert after[name] == before[name], name
    for term, sequences in before["terms"].items():
        assert [one for one in after["terms"][term] if one <= told] == sequences
    assert rebuild_check(place.url).equal


async def test_texts_of_the_broker_leave_and_all_else_stays(log: Archived) -> None:
    rows = log.place.sql(
        "SELECT sequence, natural_key, payload, wire FROM events ORDER BY sequence"
    )
    for (sequence, key, payload, wire), before in zip(
        rows[: log.gone_to], log.before, strict=False
    ):
        assert sequence == before.sequence
        assert wire == (None if before.wire is None else "")
        assert (payload == "") == (wire == "" and key is None)
    assert not any(row[3] == "" for row in rows[log.gone_to :])
    assert sum(row[3] == "" for row in rows) > log.gone_to / 2


async def test_who_removed_what_and_why_is_said_in_the_log(log: Archived) -> None:
    found = check_archive(log.folder, log.url)
    async with reading(log.place) as reader:
        told = await reader.events(type="TextsRemoved")
    assert [one.context.actor for one in told] == ["person:test"] * 4
    assert told[1].event == TextsRemoved(
        first=41,
        last=80,
        folder=str(log.folder / "segment-000000000041-000000000080"),
        digest=found[1].digest,
        reason="a test",
    )
    segments = log.place.sql("SELECT first, last, digest FROM segments ORDER BY first")
    assert segments == [(one.first, one.last, one.digest) for one in found[:4]]


@pytest.mark.sample(3)
@pytest.mark.parametrize("number", range(6))
@pytest.mark.parametrize("place", ["sqlite"], indirect=True)
async def test_a_fold_of_both_is_the_fold_of_the_log_wherever_it_is_cut(
    place: Place, tmp_path: Path, seed: int, number: int
) -> None:
    rnd = random.Random(f"{seed}-{number}")
    await a_log(place, rnd.randrange(1_000), rnd.randrange(3, 40))
    before = place.sql("SELECT name, row_sum FROM checkpoints WHERE name = 'books'")
    folder = tmp_path / "archive"
    written(place, folder, rnd.randrange(1, 90))
    kept = rnd.randrange(40)
    done, _, _ = remove(await removal(place, folder, kept_events=kept))
    assert rebuild_check(place.url).equal
    assert audit.verify(place.url).events == place.sql("SELECT count(*) FROM events")[0][0]
    # From nothing: every row is made again from archive and table.
    place.sql("UPDATE orders SET body = '{}'")
    place.sql("DELETE FROM order_events")
    assert not rebuild(place.url).equal
    assert rebuild_check(place.url).equal
    if not done:
        assert place.sql("SELECT name, row_sum FROM checkpoints WHERE name = 'books'") == before


@pytest.fixture
def short_tail(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a start read no more than the removal left: these logs are shorter than a real tail."""
    monkeypatch.setattr("oms.store.chain.TAIL_EVENTS", KEPT)


@pytest.mark.usefixtures("short_tail")
async def test_the_same_execution_again_is_booked_once(log: Archived) -> None:
    known = next(
        one
        for one in log.before
        if isinstance(one.event, ExecutionReceived) and one.sequence <= log.gone_to
    )
    fills = log.place.sql("SELECT count(*) FROM fills")
    again = Pending(known.event.evolve(fetched=True), known.context, ("11", "again"))
    other = Pending(known.event.evolve(price=known.event.price + 1), known.context, ("11", "x"))
    shutil.rmtree(log.folder)  # nobody needs it for this
    async with opened_log(log.place) as opened:
        receipt = await opened.append(again)
        assert (receipt.sequence, receipt.duplicate) == (known.sequence, True)
        receipt = await opened.append(other)
    assert receipt.conflict
    (kind,) = log.place.sql(f"SELECT type FROM events WHERE sequence = {receipt.sequence}")[0]
    assert kind == NaturalKeyConflict.__name__
    assert log.place.sql("SELECT count(*) FROM fills") == fills


async def test_a_log_goes_on_and_loses_the_texts_of_its_next_segments(log: Archived) -> None:
    gone_to = log.gone_to
    await filled(log.place, list(lives(7, 30))[1:])
    written(log.place, log.folder)
    done, _, _ = remove(await removal(log.place, log.folder))
    assert done[0].first == gone_to + 1
    assert log.gone_to > gone_to
    assert audit.verify(log.url).events > 200
    assert rebuild_check(log.url).equal


@pytest.mark.parametrize("place", ["sqlite"], indirect=True)
async def test_the_verb_says_what_left_and_what_stays(
    place: Place,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    await a_log(place, orders=150)
    folder = str(tmp_path / "archive")
    written(place, tmp_path / "archive", 400)
    monkeypatch.setenv("OMS_DATABASE_URL", place.url)
    monkeypatch.setattr("oms.cli.db.Removal", partial(Removal, kept_events=KEPT))
    size = size_of(place)
    capsys.readouterr()
    words = ("db", "archive", folder, "--remove", "--reason", "old", "--json")
    assert await to_thread(main, words) == 0
    said = json.loads(capsys.readouterr().out)
    assert [one["last"] for one in said["segments"]] == [400, 800]
    assert said["left"].endswith("a start reads the newest 30 events")
    assert size_of(place) < size
    assert await to_thread(main, words) == 0
    assert json.loads(capsys.readouterr().out)["segments"] == []
    assert await to_thread(main, words[:4]) == 2
    assert await to_thread(main, ("order", "order-1")) == 0
    assert await to_thread(main, ("verify",)) == 0


# ── what stays ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("place", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("first", "last", "gone_to"),
    [(None, None, 0), (41, 41, 40), (100, None, 80), (None, 40, 0), (161, 170, 160)],
)
async def test_what_a_hold_covers_stays(
    place: Place, tmp_path: Path, first: int | None, last: int | None, gone_to: int
) -> None:
    await a_log(place)
    placed = HoldPlaced(name="case", reason="a letter", first=first, last=last)
    await filled(place, [Pending(placed, gap().context)])
    written(place, tmp_path / "archive")
    done, stays, why = remove(await removal(place, tmp_path / "archive", kept_events=0))
    assert max((one.last for one in done), default=0) == gone_to
    assert stays is not None
    assert stays.first == gone_to + 1
    assert why == "the legal hold case covers its events"


@pytest.mark.parametrize("place", ["sqlite"], indirect=True)
async def test_what_is_needed_or_was_not_named_stays(place: Place, tmp_path: Path) -> None:
    await a_log(place)
    folder = tmp_path / "archive"
    written(place, folder)
    _, stays, why = remove(await removal(place, folder, kept_events=5_000))
    assert (stays is not None, why) == (True, "a start reads the newest 5,000 events")
    done, _, why = remove(await removal(place, folder, last=79))
    assert ([one.last for one in done], why) == ([40], "nothing after event 79 was to be removed")
    moved = "SET sequence = s, hash = h FROM (SELECT sequence AS s, hash AS h FROM events) AS one"
    place.sql(f"UPDATE checkpoints {moved} WHERE name = 'books' AND s = 60")
    done, _, why = remove(await removal(place, folder))
    assert (done, why) == (
        [],
        "the books do not have all of its events yet: start the daemon once",
    )


async def test_nothing_is_removed_beside_a_daemon_or_after_a_new_fact(
    place: Place, tmp_path: Path
) -> None:
    await a_log(place)
    folder = tmp_path / "archive"
    written(place, folder)
    async with opened_log(place, lease=lease()):
        with pytest.raises(LeaseHeld, match="is served by"):
            remove(await removal(place, folder))
    asked = await removal(place, folder)
    await filled(place, [gap("meanwhile")])
    with pytest.raises(OmsError, match="1 events came after legal holds were looked up"):
        remove(asked)
    assert place.sql("SELECT count(*) FROM segments") == [(0,)]


@pytest.mark.parametrize("place", ["sqlite"], indirect=True)
async def test_nothing_is_removed_where_log_or_archive_does_not_hold(
    place: Place, tmp_path: Path
) -> None:
    await a_log(place)
    folder = tmp_path / "archive"
    written(place, folder)
    for path in folder.glob("segment-000000000041*/events/*"):
        path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(ChainBroken) as caught:
        remove(await removal(place, folder))
    assert caught.value.sequence == 41
    shutil.rmtree(folder)
    written(place, folder)
    place.remove_guards()
    place.sql("UPDATE events SET wire = '[]' WHERE sequence = 50")
    with pytest.raises(ChainBroken, match="event 50"):
        remove(await removal(place, folder))
    assert place.sql("SELECT max(last) FROM segments") == [(40,)]


@pytest.mark.parametrize("place", ["sqlite"], indirect=True)
async def test_an_archive_that_is_cut_elsewhere_does_not_take_over(
    log: Archived, tmp_path: Path
) -> None:
    written(log.place, tmp_path / "other", 75)
    with pytest.raises(ConfigurationError, match="begins before event 161"):
        remove(await removal(log.place, tmp_path / "other"))


# ── guards ───────────────────────────────────────────────────────────────────────────────────────


FORBIDDEN = (
    "DELETE FROM events WHERE sequence = 3",
    "DELETE FROM events WHERE sequence <= 160",
    # Not archived, another text, a column more, a text back, a fact of our own.
    "UPDATE events SET payload = '', wire = '' WHERE sequence > 160 AND wire IS NOT NULL",
    "UPDATE events SET payload = '{}' WHERE payload = ''",
    "UPDATE events SET wire = '[]' WHERE sequence <= 160",
    "UPDATE events SET wire = '', actor = 'x' WHERE sequence <= 160",
    "UPDATE events SET payload = '' WHERE sequence <= 160 AND wire IS NULL",
    "UPDATE events SET payload = '' WHERE sequence <= 160 AND natural_key IS NOT NULL",
)


async def test_guards_let_nothing_go_but_texts_of_an_archived_segment(log: Archived) -> None:
    for statement in FORBIDDEN:
        with pytest.raises(OmsError, match="append-only"):
            log.place.sql(statement)
    assert audit.verify(log.url).events > 160


async def test_a_segment_that_the_log_does_not_name_opens_no_guard(place: Place) -> None:
    await a_log(place)
    place.sql("INSERT INTO segments (first, last, digest, folder) VALUES (1, 99, 'x', '/x')")
    with pytest.raises(OmsError, match="append-only"):
        place.sql("UPDATE events SET payload = '', wire = '' WHERE sequence = 5")


@pytest.mark.parametrize("place", ["sqlite"], indirect=True)
async def test_which_segments_have_texts_alone_is_made_again_from_the_log(log: Archived) -> None:
    rows = "SELECT first, last, digest, folder FROM segments ORDER BY first"
    wanted = log.place.sql(rows)
    for change in (
        "DELETE FROM segments WHERE first > 1",
        "UPDATE segments SET digest = '00', last = 3 WHERE first = 1",
        "DROP TABLE segments",
    ):
        log.place.sql(change)
        assert mend(log.url)
        assert log.place.sql(rows) == wanted
    assert mend(log.url) == ()
    assert audit.verify(log.url).events > 160


# ── damage ───────────────────────────────────────────────────────────────────────────────────────


def _second(log: Archived) -> Path:
    return log.folder / "segment-000000000041-000000000080"


def _part(log: Archived) -> Path:
    return _second(log) / "events" / "part-00001.parquet"


def _flip(path: Path) -> None:
    found = bytearray(path.read_bytes())
    found[len(found) // 2] ^= 1
    path.write_bytes(found)


def _by_force(*statements: str) -> Callable[[Archived], None]:
    def apply(log: Archived) -> None:
        log.place.remove_guards()
        for statement in statements:
            log.place.sql(statement)

    return apply


#: The fact that texts of the second segment were removed, and where it says that they are.
TOLD = "(SELECT sequence FROM events WHERE type = 'TextsRemoved' AND payload LIKE '%:41,%')"
WHERE = "json_extract(payload, '$.folder')"
#: What is done, and the first event that does not hold then; 42: the first that has lost its text.
DAMAGES: dict[str, tuple[Callable[[Archived], object], int]] = {
    "a byte of the texts": (lambda log: _flip(_part(log)), 41),
    "a byte of the manifest": (lambda log: _flip(_second(log) / "manifest.json"), 41),
    "the texts are gone": (lambda log: _part(log).unlink(), 41),
    "the manifest is gone": (lambda log: (_second(log) / "manifest.json").unlink(), 41),
    "the segment is gone": (lambda log: shutil.rmtree(_second(log)), 41),
    "another segment in its place": (
        lambda log: (
            shutil.rmtree(_second(log)),
            shutil.copytree(log.folder / "segment-000000000001-000000000040", _second(log)),
        ),
        41,
    ),
    "no row of the segment": (_by_force("DELETE FROM segments WHERE first = 41"), 42),
    "a row that names another": (
        _by_force("UPDATE segments SET digest = '00' WHERE first = 41"),
        42,
    ),
    "a row that the log does not name, of an archive that is nowhere": (
        _by_force(
            "UPDATE segments SET digest = 'x', folder = '/nowhere/segment-1' WHERE first = 41"
        ),
        42,
    ),
    "a row that looks for the archive elsewhere": (
        _by_force("UPDATE segments SET folder = '/nowhere/segment-1' WHERE first = 41"),
        41,
    ),
    "a fact that looks for the archive elsewhere": (
        _by_force(
            "UPDATE segments SET folder = '/nowhere/segment-1' WHERE first = 41",
            f"UPDATE events SET payload = replace(payload, {WHERE}, '/nowhere/segment-1')"
            f" WHERE sequence = {TOLD}",
        ),
        -3,
    ),
    "a row that says too much": (
        _by_force("UPDATE segments SET last = 999 WHERE first = 121"),
        0,
    ),
    "a text more is gone": (
        _by_force(
            "UPDATE events SET payload = '', wire = '' WHERE sequence ="
            " (SELECT max(sequence) FROM events WHERE type = 'OrderStatusReceived')"
        ),
        -1,
    ),
    "the payload of a key": (
        _by_force(
            "UPDATE events SET payload = replace(payload, 'NASDAQ', 'NYSE') WHERE sequence ="
            " (SELECT min(sequence) FROM events WHERE type = 'ExecutionReceived')"
        ),
        -2,
    ),
    "a hash": (_by_force("UPDATE events SET hash = zeroblob(32) WHERE sequence = 50"), 50),
    "an event": (_by_force("DELETE FROM events WHERE sequence = 50"), 50),
}


def _first_wrong(log: Archived, given: int) -> int:
    """Return the sequence that a damage names, found where it depends on the history."""
    asked = {
        -1: "SELECT max(sequence) FROM events WHERE type = 'OrderStatusReceived'",
        -2: "SELECT min(sequence) FROM events WHERE type = 'ExecutionReceived'",
        -3: f"SELECT {TOLD}",
    }
    found = log.place.sql(asked[given])[0][0] if given in asked else given
    if given == 42:
        query = "SELECT min(sequence) FROM events WHERE sequence > 40 AND wire = ''"
        found = log.place.sql(query)[0][0]
    return int(found)


@pytest.mark.sample(3)
@pytest.mark.parametrize("place", ["sqlite"], indirect=True)
@pytest.mark.parametrize("damage", DAMAGES)
async def test_what_does_not_hold_is_found_at_its_first_event(
    log: Archived, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    apply, given = DAMAGES[damage]
    _forget()
    apply(log)
    first = _first_wrong(log, given)
    path = str(parse_url(log.url).database)
    if not first:  # it covers what nobody has removed
        assert audit.verify(log.url).events > 160
        assert verify.main([path]) == 0
        return
    with pytest.raises(ChainBroken) as caught:
        audit.verify(log.url)
    assert (caught.value.sequence, caught.value.exit_code) == (first, 4)
    capsys.readouterr()
    assert verify.main([path, "--json"]) == 4
    assert json.loads(capsys.readouterr().out)["sequence"] == first
    with pytest.raises(ChainBroken):
        await stored(log.place)


@pytest.mark.parametrize("place", ["sqlite"], indirect=True)
async def test_a_file_that_is_cut_while_it_is_in_use_is_damage(log: Archived) -> None:
    _forget()
    assert audit.verify(log.url).events > 160
    archived._read.cache_clear()
    for path in log.folder.glob("segment-*/events/*.parquet"):
        path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ChainBroken, match="is not the file that was written"):
        audit.verify(log.url)


def _forget() -> None:
    """Do what a new program does: look at each segment again."""
    archived._groups.cache_clear()
    archived._read.cache_clear()


# ── without the archive ──────────────────────────────────────────────────────────────────────────


@asynccontextmanager
async def away(log: Archived) -> AsyncIterator[None]:
    """Take the archive away."""
    _forget()
    elsewhere = log.folder.with_name("elsewhere")
    log.folder.rename(elsewhere)
    yield
    elsewhere.rename(log.folder)
    _forget()


@pytest.mark.usefixtures("short_tail")
async def test_without_the_archive_the_daemon_works_and_old_texts_have_a_clear_error(
    log: Archived, tmp_path: Path
) -> None:
    async with away(log):
        async with opened_log(log.place, lease=lease()) as opened:
            await opened.append(gap("without it"))
            await opened.append(execution("new.01"))
        Recheck(log.url, SystemClock()).run()
        made = back_up(log.url, tmp_path / "b.sqlite")
        assert made.manifest.sequence > 160
        async with reading(log.place) as reader:
            assert len(await reader.events(type="TextsRemoved")) == 4
            assert (await reader.events(type="OrderIntended", limit=1))[0].sequence < 10
            assert await reader.events(log.gone_to)
            with pytest.raises(ArchiveUnavailable, match="is not there") as caught:
                await reader.order_events("order-1")
        assert "ln -s" in caught.value.hint
        with pytest.raises(ArchiveUnavailable):
            audit.verify(log.url)
        assert audit.verify(log.url, from_sequence=log.gone_to + 1).events
        with pytest.raises(ArchiveUnavailable):
            rebuild_check(log.url)
    assert audit.verify(log.url).events
    assert rebuild_check(log.url).equal


@pytest.mark.parametrize("place", ["sqlite"], indirect=True)
async def test_a_missing_package_is_named(log: Archived, monkeypatch: pytest.MonkeyPatch) -> None:
    _forget()
    for name in ("pyarrow", "pyarrow.parquet"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ArchiveUnavailable, match="the package pyarrow") as caught:
        audit.verify(log.url)
    assert "ib-oms[parquet]" in caught.value.hint


@pytest.mark.parametrize("place", ["sqlite"], indirect=True)
async def test_an_auditor_reads_the_archive_with_no_package(log: Archived, tmp_path: Path) -> None:
    """A backup whose old texts are in segments, a key, one file; wherever the archive is."""
    signer = make_key(tmp_path / "oms.key", "paper")
    async with reading(log.place) as reader:
        places = Places(CheckpointFile(tmp_path / "checkpoints"))
        (signed,) = [one async for one in seal(reader, signer, places, SystemClock())]
    await filled(log.place, [Pending(signed, gap().context)])
    backup = back_up(log.url, tmp_path / "b.sqlite").path
    auditor = Auditor(tmp_path / "auditor")
    arguments = [backup, "--key", tmp_path / "oms.key.pub"]
    code, said = auditor.checks(*arguments)
    assert (code, "1 signed checkpoint holds, to event" in said) == (0, True), said
    elsewhere = tmp_path / "elsewhere"
    log.folder.rename(elsewhere)
    code, said = auditor.checks(*arguments)
    assert (code, "name the archive with --archive" in said) == (2, True)
    assert auditor.checks(*arguments, "--archive", elsewhere)[0] == 0
    _flip(elsewhere / _second(log).name / "events" / "part-00001.parquet")
    code, said = auditor.checks(*arguments, "--archive", elsewhere)
    assert (code, "is not the file that the manifest was made for" in said) == (4, True)


# ── copies ───────────────────────────────────────────────────────────────────────────────────────


async def test_a_backup_and_the_archive_are_the_whole_log(log: Archived, tmp_path: Path) -> None:
    back_up(log.url, tmp_path / "b.sqlite")
    url = f"sqlite:///{tmp_path}/new.sqlite"
    restore(tmp_path / "b.sqlite", url)
    with closing(connect(parse_url(url), "read")) as copy:
        assert audit.check_chain(copy).sequence == len(log.before) + 9
    assert rebuild_check(url).equal
    assert (await stored(Place(url)))[: len(log.before)] == log.before
    # An archive alone is one too, from its first event to its last.
    assert verify.main([str(tmp_path / "new.sqlite"), "--archive", str(log.folder)]) == 0


async def test_the_version_before_gets_every_text(log: Archived, tmp_path: Path) -> None:
    back_up(log.url, tmp_path / "b.sqlite", revision="0008")
    with closing(sqlite3.connect(tmp_path / "b.sqlite")) as copy:
        assert copy.execute("SELECT count(*) FROM events WHERE wire = ''").fetchone() == (0,)
    assert verify.main([str(tmp_path / "b.sqlite")]) == 0


async def test_a_log_is_archived_again_from_its_archive(log: Archived, tmp_path: Path) -> None:
    made = written(log.place, tmp_path / "second", 1_000)
    assert check_archive(tmp_path / "second", log.url) == made
