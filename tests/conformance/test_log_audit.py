"""Every way to falsify a log is found, at the first sequence that is false."""

from __future__ import annotations

import random
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from oms.clock import SystemClock
from oms.core import codec
from oms.core.answer_rows import LastAnswer, key_of, line_of, set_digest_of, told_by
from oms.core.codec import Header
from oms.core.events import Context, Pending, PositionReceived, QueryAnswered, Question, Stamp
from oms.errors import ChainBroken, MigrationNeeded, NotFound
from oms.store import audit
from oms.store.answer_digests import check_answers
from oms.store.backend import connect, parse_url
from oms.store.envelopes import HASH, SELECT_EVENTS
from oms.store.log import EventLog, append_foreign
from oms.store.rebuild import rebuild
from tests.conformance.conftest import Place
from tests.conformance.facts import ACCOUNT, BROKER, NOON, contract, execution, gap, status
from tests.conformance.test_event_log import filled, opened_log, stored

EVENTS = 20


@pytest.fixture
async def log(place: Place) -> Place:
    """Return a log of twenty events that nobody guards any more."""
    await filled(place, [gap(str(n)) if n % 2 else status(n, "Submitted") for n in range(18)])
    await filled(place, [execution("e.01"), gap("last")])
    place.remove_guards()
    return place


async def test_untouched_log_holds(log: Place) -> None:
    """The result names the head, so that it can be kept elsewhere; progress ends at the end."""
    told: list[tuple[int, int]] = []
    result = audit.verify(log.url, lambda done, of: told.append((done, of)))
    head = log.sql(f"SELECT hash FROM events WHERE sequence = {EVENTS}")[0][0]
    assert (result.events, result.head_sequence) == (EVENTS, EVENTS)
    assert result.head_hash == bytes(head).hex()
    assert told == [(EVENTS, EVENTS)]


async def test_events_that_come_while_a_log_is_verified_are_no_damage(
    log: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A daemon appends between the look at the end and the first page: nothing is wrong."""
    true = audit.head_of

    def meanwhile(row: Any) -> Any:
        append_foreign(log.url, [gap("new")] * 3, clock=SystemClock(), needs_daemon=False)
        return true(row)

    monkeypatch.setattr(audit, "head_of", meanwhile)
    assert audit.verify(log.url).head_sequence == EVENTS
    assert len(log.sql("SELECT sequence FROM events")) == EVENTS + 3


async def test_log_that_goes_on_with_stamped_messages_holds_and_reads(place: Place) -> None:
    """Messages of an earlier version have no stamp: both forms stand in one chain."""
    plain = replace(status(1, "Submitted"), wire=("3", "1", "Submitted"))
    stamp = Stamp(NOON, 178, 1)
    await filled(place, [plain, replace(plain, stamp=stamp)])
    assert audit.verify(place.url).events == 2
    before, after = await stored(place)
    assert (before.wire, before.received_at) == (plain.wire, None)
    assert (after.wire, after.received_at) == (plain.wire, stamp.at)
    rebuild(place.url)
    assert audit.verify(place.url).events == 2


async def test_empty_log_holds(place: Place) -> None:
    """Before the first event the head is 32 zero bytes."""
    result = audit.verify(place.url)
    assert (result.events, result.head_hash) == (0, "00" * 32)


async def test_verification_can_begin_in_the_middle(log: Place) -> None:
    """The event before is taken at its word; beyond the end there is nothing to verify."""
    log.sql("UPDATE events SET payload = '{}' WHERE sequence = 3")
    assert audit.verify(log.url, from_sequence=5).events == EVENTS - 4
    assert audit.verify(log.url, from_sequence=EVENTS + 1).events == 0
    with pytest.raises(NotFound):
        audit.verify(log.url, from_sequence=EVENTS + 2)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("payload", '\'{"cause":"forged"}\''),
        ("wire", "'[\"forged\"]'"),
        ("type", "'GapClosed'"),
        ("version", "2"),
        ("recorded_at", "'2026-11-20T12:00:00.000001+00:00'"),
        ("occurred_at", "'2026-11-20T12:00:00.000001+00:00'"),
        ("lease_epoch", "99"),
        ("session_epoch", "99"),
        ("actor", "'person:eve'"),
        ("correlation_id", "'other'"),
        ("causation_sequence", "1"),
        ("natural_key", "'execution:x:y'"),
    ],
)
async def test_changed_column_is_found(log: Place, column: str, value: str) -> None:
    """No column of an event is outside the hash."""
    log.sql(f"UPDATE events SET {column} = {value} WHERE sequence = 8")
    assert broken_at(log) == 8


async def test_changed_hash_is_found(log: Place) -> None:
    """The hash itself is forged."""
    forged = "zeroblob(32)" if log.is_sqlite else "'\\x00'::bytea"
    log.sql(f"UPDATE events SET hash = {forged} WHERE sequence = 8")
    assert broken_at(log) == 8


@pytest.mark.parametrize("sequence", [1, 8, EVENTS - 1])
async def test_deleted_event_is_found(log: Place, sequence: int) -> None:
    """A hole shows where it is."""
    log.sql(f"DELETE FROM events WHERE sequence = {sequence}")
    assert broken_at(log) == sequence


async def test_deleted_event_whose_hole_was_closed_is_found(log: Place) -> None:
    """The events after it are renumbered."""
    log.sql("DELETE FROM events WHERE sequence = 8")
    for sequence in range(9, EVENTS + 1):
        log.sql(f"UPDATE events SET sequence = {sequence - 1} WHERE sequence = {sequence}")
    assert broken_at(log) == 8


async def test_swapped_events_are_found(log: Place) -> None:
    """Two events change places, with everything that belongs to them."""
    for old, new in ((8, -1), (11, 8), (-1, 11)):
        log.sql(f"UPDATE events SET sequence = {new} WHERE sequence = {old}")
    assert broken_at(log) == 8


@pytest.mark.parametrize("left", [0, 1, EVENTS - 1])
async def test_cut_log_is_found(log: Place, left: int) -> None:
    """What is left holds by itself; the checkpoint says that there was more."""
    log.sql(f"DELETE FROM events WHERE sequence > {left}")
    assert broken_at(log) == left + 1
    with pytest.raises(ChainBroken) as caught:
        await EventLog.open(log.url, **opening())
    assert caught.value.sequence == left + 1


async def test_end_that_was_written_anew_is_found(log: Place) -> None:
    """From the eighth event on every hash fits its forged contents; the checkpoint does not."""
    rewrite(log, 8)
    assert broken_at(log) == EVENTS
    with pytest.raises(ChainBroken):
        await EventLog.open(log.url, **opening())


async def test_inserted_event_is_found(log: Place) -> None:
    """An event is put between two others, the later ones are renumbered."""
    for sequence in range(EVENTS, 7, -1):
        log.sql(f"UPDATE events SET sequence = {sequence + 1} WHERE sequence = {sequence}")
    columns = "version, recorded_at, lease_epoch, session_epoch, actor, hash, payload"
    log.sql(
        f"INSERT INTO events (sequence, type, {columns})"
        f" SELECT 8, 'GapOpened', {columns} FROM events WHERE sequence = 3"
    )
    assert broken_at(log) == 8


async def test_forged_event_of_another_program_stops_the_daemon(place: Place) -> None:
    """A running daemon verifies what others append before it folds it."""
    async with opened_log(place, fails=True, projector=True) as running:
        await running.append(gap())
        columns = "version, recorded_at, lease_epoch, session_epoch, actor, payload"
        place.sql(
            f"INSERT INTO events (sequence, type, hash, {columns})"
            f" SELECT 2, type, hash, {columns} FROM events WHERE sequence = 1"
        )
        with pytest.raises(ChainBroken) as caught:
            await running.append(gap())
        assert caught.value.sequence == 2


async def test_flipped_bit_in_the_file_is_found(tmp_path: Path, sqlite_template: Path) -> None:
    """Bit rot in the text of an event, in the file itself, valid text or not."""
    marks = {4: b"mark-of-the-fourth", 9: b"mark-of-the-ninth"}
    for bit in (0x01, 0x80):
        path = tmp_path / f"log{bit}.sqlite"
        shutil.copyfile(sqlite_template, path)
        place = Place(f"sqlite:///{path}")
        facts = [gap(marks.get(n, b"plain").decode()) for n in range(1, 13)]
        await filled(place, facts)
        assert not path.with_name(f"{path.name}-wal").exists()
        contents = bytearray(path.read_bytes())
        contents[contents.index(marks[9]) + 3] ^= bit
        path.write_bytes(contents)
        assert broken_at(place) == 9


async def test_database_of_another_version_is_not_judged(place: Place) -> None:
    """A log of unknown layout is neither good nor bad."""
    place.sql("ALTER TABLE events ADD COLUMN of_tomorrow TEXT")
    place.sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(MigrationNeeded):
        audit.verify(place.url)


def broken_at(place: Place) -> int:
    with pytest.raises(ChainBroken) as caught:
        audit.verify(place.url)
    assert caught.value.exit_code == 4
    return caught.value.sequence


def opening() -> dict[str, Any]:
    return {"clock": SystemClock(), "lease": None}


def rewrite(place: Place, first: int) -> None:
    """Forge every event from a sequence on, with hashes that fit."""
    with closing(connect(parse_url(place.url))) as connection:
        rows = connection.rows(f"{SELECT_EVENTS} ORDER BY sequence")
        digest = bytes(rows[first - 2][HASH])
        for row in rows[first - 1 :]:
            payload = row[12].replace("Submitted", "Cancelled")
            digest = codec.link(digest, Header(*row[:HASH]), payload, row[13])
            connection.execute(
                "UPDATE events SET payload = ?, hash = ? WHERE sequence = ?",
                (payload, digest, row[0]),
            )


# ── a long log, and answers ──────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("place", ["sqlite"], indirect=True)
async def test_several_processes_find_what_one_does(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first event that does not hold, in whichever part it is, and at its edges."""
    monkeypatch.setattr(audit, "PART_EVENTS", 40)
    await filled(place, [gap(f"{number}") for number in range(150)])
    moved: list[tuple[int, int]] = []

    def both(**options: Any) -> tuple[int, str]:
        found = []
        for processes in (1, 2):
            try:
                found.append((0, audit.verify(place.url, processes=processes, **options).head_hash))
            except ChainBroken as error:
                found.append((error.sequence, error.message))
        assert found[0] == found[1]
        return found[0]

    sound = audit.verify(place.url, lambda *at: moved.append(at), processes=2)
    # Threads from here on: they start at once.
    monkeypatch.setattr(audit, "ProcessPoolExecutor", lambda count, *_: ThreadPoolExecutor(count))
    assert moved == [(40, 150), (80, 150), (120, 150), (150, 150)]
    assert both(from_sequence=35) == (0, sound.head_hash)
    assert both(expected={81: "00"})[0] == 81
    place.remove_guards()
    for sequence in (120, 81, 80):
        place.sql(f"UPDATE events SET actor = 'x' WHERE sequence = {sequence}")
        assert both()[0] == sequence
        assert both(expected={79: "00"})[0] == 79


async def answers(place: Place, count: int, chance: random.Random) -> list[int]:
    """Write answers about positions, each with some rows that are new, gone or as before; return
    the events that tell of them.
    """
    before: LastAnswer | None = None
    rows: dict[int, str] = {}
    lines: dict[int, str] = {}
    told: list[int] = []
    async with opened_log(place) as opened:
        for number in range(count):
            for gone in [one for one in rows if chance.random() < 0.1]:
                del rows[gone]
            for _ in range(chance.randrange(4)):
                held, of = Decimal(number), contract(chance.randrange(40))
                event = PositionReceived(account=ACCOUNT, contract=of, quantity=held)
                receipt = await opened.append(Pending(event, BROKER, ("61",)))
                rows[receipt.sequence] = key_of(event)
                lines[receipt.sequence] = line_of(type(event).__name__, codec.encode(event))
            question = Question(
                query_id=f"q{number}",
                kind="positions",
                outcome="complete",
                asked_at=NOON,
                answered_at=NOON,
                asked_sequence=1,
                set_digest=set_digest_of([lines[one] for one in rows]),
                **told_by(rows, before, whole=True)._asdict(),
            )
            answered = QueryAnswered(run_id="run", question=question)
            receipt = await opened.append(Pending(answered, Context("daemon")))
            told.append(receipt.sequence)
            links = before.links + 1 if before is not None and question.like else 0
            before = LastAnswer(receipt.sequence, dict(rows), links)
    return told


async def test_every_answer_is_held_against_the_digest_of_its_rows(place: Place, seed: int) -> None:
    """Also where the check begins later; a log that was hashed anew may hold and name others."""
    chance = random.Random(seed)
    told = await answers(place, 70, chance)
    assert check_answers(place.url) == len(told)
    for _ in range(5):
        first = chance.randrange(1, told[-1])
        left = [one for one in told if one >= first]
        assert check_answers(place.url, first=first) == len(left)
    place.remove_guards()
    sequence = chance.choice(told)
    (payload,) = place.sql(f"SELECT payload FROM events WHERE sequence = {sequence}")[0]
    for altered in (
        payload.replace('"set_digest":"', '"set_digest":"0'),
        payload.replace('"answered_at"', '"taken_in":[{"first":1,"last":1000000000}],"answered_at"')
        if '"taken_in"' not in payload
        else re.sub(r'"taken_in":\[.*?\]', '"taken_in":[{"first":1,"last":1000000000}]', payload),
    ):
        place.sql(f"UPDATE events SET payload = '{altered}' WHERE sequence = {sequence}")
        with pytest.raises(ChainBroken, match="is not made of the rows") as caught:
            check_answers(place.url)
        assert caught.value.sequence == sequence
