"""A signed log: what an adversary changes is found, by our verifier and by a stranger's."""

from __future__ import annotations

import asyncio
import json
import random
import shutil
import sqlite3
import subprocess
import sys
import zipfile
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from pathlib import Path

import pytest

from oms import verify
from oms.cli import main
from oms.clock import SystemClock
from oms.core.codec import Head
from oms.core.events import Context, Pending
from oms.errors import LogWentBack
from oms.evidence.checkpoints import CheckpointFile, checkpoint_text, inclusion_path
from oms.evidence.keys import Signer, make_key, read_key
from oms.evidence.proof import prove_order
from oms.evidence.sealing import Places, seal, sealed_manifest
from oms.service.checkpoints import refuse_loss
from oms.settings import load
from oms.store import schema
from oms.store.head_file import HeadFile, KeptHead
from oms.store.reader import Reader
from tests import second_verifier
from tests.conformance.conftest import Place
from tests.conformance.facts import intent, status
from tests.conformance.test_event_log import filled

#: The checkpoints of the log stand at these events; it goes on to the last.
MARKS = (12, 17, 30)
EVENTS = 36

Row = list[object]


@dataclass(frozen=True)
class Signed:
    """A log with its checkpoints, in a folder."""

    database: Path
    checkpoints: Path
    signer: Signer

    @property
    def key(self) -> Path:
        return self.database.with_name("oms.key.pub")

    def verdict(self) -> tuple[int | None, str]:
        """Return the first sequence that does not hold and why; an empty text where all holds."""
        keys = [self.signer.public]
        try:
            notes = verify.read_notes(self.checkpoints.read_text(encoding="utf-8").splitlines())
            checkpoints = verify.checked_checkpoints(notes, keys)
            verify.check(self.database, verify.Options(keys, checkpoints))
        except verify.DamageError as error:
            return error.sequence, str(error)
        return None, ""

    def second(self) -> str:
        """Return what the stranger's verifier says."""
        return second_verifier.verdict(self.database, self.checkpoints, str(self.signer.public))


@pytest.fixture(scope="module")
def signer(tmp_path_factory: pytest.TempPathFactory) -> Signer:
    return make_key(tmp_path_factory.mktemp("key") / "oms.key", "paper")


@pytest.fixture
async def log(tmp_path: Path, sqlite_template: Path, signer: Signer) -> Signed:
    """A log of thirty-six events, three checkpoints, and six events after the last."""
    found = Signed(tmp_path / "log.sqlite", tmp_path / "log.checkpoints", signer)
    shutil.copyfile(sqlite_template, found.database)
    found.key.write_text(f"{signer.public}\n")
    place = Place(f"sqlite:///{found.database}")
    done = 0
    for mark in (*MARKS, EVENTS):
        facts = [
            intent(f"order-{n}") if n % 5 == 0 else status(n, "Submitted")
            for n in range(done, mark)
        ]
        await filled(place, facts)
        if mark != EVENTS:
            await checkpointed(found)
        done = mark
    return found


async def checkpointed(log: Signed) -> None:
    reader = await Reader.open(f"sqlite:///{log.database}")
    try:
        places = Places(CheckpointFile(log.checkpoints))
        async for one in seal(reader, log.signer, places, SystemClock()):
            assert all(kept.ok for kept in one.kept)
    finally:
        await reader.close()


async def test_a_signed_log_holds(log: Signed, capsys: pytest.CaptureFixture[str]) -> None:
    """Both verifiers agree, and the program says how far signatures reach."""
    assert log.verdict() == (None, "")
    assert log.second() == ""
    arguments = [str(log.database), "--key", str(log.key), "--checkpoints", str(log.checkpoints)]
    assert verify.main(arguments) == 0
    said = capsys.readouterr().out
    assert said.splitlines()[0] == f"ok  {EVENTS} events hold, 1 to {EVENTS}"
    assert said.splitlines()[2:] == [
        "3 signed checkpoints hold, to event 30",
        "events 31 to 36 stand under no checkpoint",
    ]


async def test_a_key_alone_takes_the_checkpoints_beside_the_log(
    log: Signed, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A key that nothing was held against would be a check that was not made."""
    make_key(tmp_path / "stranger.key", "paper")
    lines = tmp_path / "events.jsonl"
    with closing(sqlite3.connect(log.database)) as connection:
        names = ", ".join(verify.HASHED)
        rows = connection.execute(f"SELECT {names}, hash FROM events ORDER BY sequence").fetchall()
    events = [
        dict(zip((*verify.HASHED, "hash"), (*r[:-1], r[-1].hex()), strict=True)) for r in rows
    ]
    lines.write_text("".join(json.dumps(event) + "\n" for event in events))

    def said(*arguments: str | Path) -> tuple[int, str]:
        return verify.main([str(one) for one in arguments]), capsys.readouterr().out

    for path in (log.database, lines):
        status_, text = said(path, "--key", log.key)
        assert (status_, "nothing signed was found" in text) == (4, True)
        assert said(path)[0] == 0
        beside = path.with_name(f"{path.name}.checkpoints")
        shutil.copyfile(log.checkpoints, beside)
        status_, text = said(path, "--key", log.key)
        assert (status_, "3 signed checkpoints hold, to event 30" in text) == (0, True)
        status_, text = said(path, "--key", tmp_path / "stranger.key.pub")
        assert (status_, "a key that was not given" in text) == (4, True)
        beside.write_text("")
        assert said(path, "--key", log.key)[0] == 4
        assert said(path, "--key", log.key, "--checkpoints", log.checkpoints)[0] == 0
        assert said(path, "--key", log.key, "--checkpoints", beside)[0] == 4


@pytest.mark.parametrize("left", ["nothing", "an empty log", "no file", "an older copy"])
async def test_signatures_show_a_loss_where_the_head_file_is_gone_too(
    log: Signed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, left: str
) -> None:
    """A start looks at them before it makes tables; `oms verify` says it as well."""
    url = f"sqlite:///{log.database}"
    private = tmp_path / "signing.key"
    signer = make_key(private, "paper")
    log.checkpoints.unlink()
    await checkpointed(Signed(log.database, log.checkpoints, signer))
    monkeypatch.setenv("OMS_SIGNING_KEY_FILE", str(private))
    monkeypatch.setenv("OMS_CHECKPOINT_FILE", str(log.checkpoints))
    monkeypatch.setenv("OMS_DATABASE_URL", url)
    settings = load()
    refuse_loss(settings)
    match left:
        case "nothing":
            log.database.write_bytes(b"")
        case "an empty log":
            log.database.unlink()
            schema.upgrade(url)
        case "no file":
            log.database.unlink()
        case "an older copy":
            log.database.unlink()
            schema.upgrade(url)
            await filled(Place(url), [intent("order-0"), status(1, "Submitted")])
    left_there = log.database.read_bytes() if log.database.exists() else None
    with pytest.raises(LogWentBack, match=r"log.checkpoints knows of 36 events") as caught:
        refuse_loss(settings)
    assert str(log.checkpoints) in caught.value.hint
    for words in (["verify"], ["run"], ["run", "--accept-loss", "--reason", "x"]):
        assert await asyncio.to_thread(main, words) == 4
    assert (log.database.read_bytes() if log.database.exists() else None) == left_there
    log.checkpoints.rename(tmp_path / "evidence")
    refuse_loss(settings)


async def rewritten(log: Signed) -> None:
    """Change an event of a log that was signed, and hash everything after it anew."""
    Place(f"sqlite:///{log.database}").remove_guards()
    names = ", ".join(verify.HASHED)
    with closing(sqlite3.connect(log.database)) as connection:
        digest = verify.GENESIS
        for row in connection.execute(f"SELECT {names} FROM events ORDER BY sequence").fetchall():
            columns = [*row[:7], "person:forger", *row[8:]] if row[0] == 5 else row
            digest = verify.event_hash(digest, columns)
            connection.execute(
                "UPDATE events SET actor = ?, hash = ? WHERE sequence = ?",
                (columns[7], digest, row[0]),
            )
        connection.execute("UPDATE checkpoints SET hash = ? WHERE sequence = ?", (digest, EVENTS))
        connection.commit()


def keep_head(database: Path) -> None:
    """Write the head file of a log, as a daemon does."""
    with closing(sqlite3.connect(database)) as connection:
        rows = connection.execute("SELECT hash, sequence, recorded_at FROM events").fetchall()
    digest, sequence, at = rows[-1]
    kept = KeptHead(rows[0][0], Head(sequence, digest, datetime.fromisoformat(at)))
    file = HeadFile(database.with_name(f"{database.name}.head"), mode=0o600)
    file.write(kept)
    file.close()


@pytest.mark.parametrize("known_by", ["the checkpoints", "the head file"])
async def test_a_forged_log_is_not_exported_packed_or_proven(
    log: Signed,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    known_by: str,
) -> None:
    """A log that was changed and hashed anew holds in itself; our signature would make it true."""
    private = tmp_path / "signing.key"
    signer = make_key(private, "paper")
    log.checkpoints.unlink()
    if known_by == "the checkpoints":
        await checkpointed(Signed(log.database, log.checkpoints, signer))
    else:
        keep_head(log.database)
    monkeypatch.setenv("OMS_SIGNING_KEY_FILE", str(private))
    monkeypatch.setenv("OMS_CHECKPOINT_FILE", str(log.checkpoints))
    monkeypatch.setenv("OMS_DATABASE_URL", f"sqlite:///{log.database}")
    (tmp_path / "made").mkdir()
    (tmp_path / "archive").mkdir()

    async def statuses(name: str) -> list[int]:
        out = str(tmp_path / "made" / name)
        verbs = (["export", "events", out], ["export", "fills", out + "-f"], ["pack", out + ".zip"])
        return [await asyncio.to_thread(main, words) for words in verbs]

    assert await statuses("true") == [0, 0, 0]
    made = set((tmp_path / "made").iterdir())
    assert len(made) == 3
    await rewritten(log)
    assert await asyncio.to_thread(main, ["verify"]) == 4
    assert await statuses("forged") == [4, 4, 4]
    assert await asyncio.to_thread(main, ["db", "archive", str(tmp_path / "archive")]) == 4
    assert list((tmp_path / "archive").iterdir()) == []
    assert set((tmp_path / "made").iterdir()) == made
    capsys.readouterr()
    assert await asyncio.to_thread(main, ["prove", "order-0"]) == 4
    said = capsys.readouterr()
    assert (said.out, "nothing was written" in said.err) == ("", True)


# ── the adversary ────────────────────────────────────────────────────────────────────────────────


def change(rows: list[Row], at: int, dice: random.Random) -> None:
    """Change one column of an event."""
    column = dice.choice([1, 2, 3, 5, 6, 7, 11])
    row = rows[at]
    row[column] = row[column] + 1 if isinstance(row[column], int) else f"{row[column]}x"


def flip(rows: list[Row], at: int, dice: random.Random) -> None:
    """Flip one bit of the payload's text."""
    text = bytearray(str(rows[at][11]).encode())
    place = dice.randrange(len(text))
    text[place] ^= 1 << dice.randrange(5)
    rows[at][11] = text.decode()


def delete(rows: list[Row], at: int, dice: random.Random) -> None:
    """Remove an event and close the hole."""
    del rows[at]
    for number, row in enumerate(rows[at:], at + 1):
        row[0] = number


def insert(rows: list[Row], at: int, dice: random.Random) -> None:
    """Put a copy of another event in front of one."""
    rows.insert(at, list(dice.choice(rows)))
    for number, row in enumerate(rows[at:], at + 1):
        row[0] = number


def swap(rows: list[Row], at: int, dice: random.Random) -> None:
    """Exchange what two neighbours say."""
    one, other = rows[at], rows[at + 1]
    one[1:], other[1:] = other[1:], one[1:]


def cut(rows: list[Row], at: int, dice: random.Random) -> None:
    """Cut the log off."""
    del rows[at:]


ALTERATIONS = (change, flip, delete, insert, swap, cut)


def alter(
    database: Path, how: Callable[[list[Row], int, random.Random], None], dice: random.Random
) -> tuple[int, bool]:
    """Alter a log in the part that is signed; return the first event that differs, and whether the
    adversary hashed everything after it anew.
    """
    at, hashes_anew = dice.randrange(MARKS[-1] - 1), dice.random() < 0.5
    names = ", ".join(verify.HASHED)
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
        found = connection.execute(f"SELECT {names}, hash FROM events ORDER BY sequence").fetchall()
        rows = [list(row) for row in found]
        how(rows, at, dice)
        if hashes_anew:
            digest = b"" if not rows else verify.GENESIS
            for row in rows:
                digest = verify.event_hash(digest, row[:-1])
                row[-1] = digest
        connection.execute("DROP INDEX events_natural_key")  # two events may have one key now
        connection.execute("DELETE FROM events")
        marks = ", ".join("?" * len(rows[0])) if rows else ""
        if rows:
            connection.executemany(f"INSERT INTO events ({names}, hash) VALUES ({marks})", rows)
            # Whoever can do all this can write the end down anew as well.
            end = (rows[-1][0], rows[-1][-1])
            connection.execute("UPDATE checkpoints SET sequence = ?, hash = ?", end)
        else:
            connection.execute("DELETE FROM checkpoints")
        connection.commit()
    kept = [tuple(row[:-1]) for row in rows]
    before = [tuple(row[:-1]) for row in found]
    same = next(
        (n for n, row in enumerate(before) if n >= len(kept) or kept[n] != row), len(before)
    )
    return same + 1, hashes_anew


def tried(log: Signed, seeds: range) -> None:
    original = log.database.with_name("original.sqlite")
    Place(f"sqlite:///{log.database}").remove_guards()
    with closing(sqlite3.connect(log.database)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
    shutil.copyfile(log.database, original)
    for seed in seeds:
        shutil.copyfile(original, log.database)
        dice = random.Random(seed)
        how = ALTERATIONS[seed % len(ALTERATIONS)]
        first, hashes_anew = alter(log.database, how, dice)
        if first > EVENTS:
            continue  # a copy of an event in its own place: nothing differs
        sequence, text = log.verdict()
        at = f"seed {seed}: {how.__name__} at {first}, {text!r}"
        assert text, at
        assert log.second(), at
        if hashes_anew and how is not cut:
            # The chain holds; the checkpoint over the altered event proves that it was altered.
            covers = next(mark for mark in MARKS if first <= mark)
            begins = dict(zip(MARKS, (1, *(mark + 1 for mark in MARKS)), strict=False))[covers]
            assert sequence == begins, at
        else:
            assert sequence == first, at


async def test_whatever_an_adversary_alters_is_found_where_it_is(log: Signed) -> None:
    """Changes, flips, deletions, insertions, swaps and cuts, with hashes that fit and without."""
    tried(log, range(120))


@pytest.mark.long
async def test_a_thousand_alterations_are_found(log: Signed) -> None:
    tried(log, range(120, 1_120))


async def test_forged_and_missing_signatures_are_found(log: Signed, tmp_path: Path) -> None:
    """A checkpoint signed by another key, altered, left out, or of another log proves nothing."""
    lines = log.checkpoints.read_text(encoding="utf-8").splitlines()
    stranger = make_key(tmp_path / "stranger.key", "paper")
    notes = [json.loads(line)["note"] for line in lines]
    forged = str(stranger.sign(verify.Note.read(notes[1]).text))
    altered = notes[1].replace("first 13", "first 14")
    for name, changed in {
        "forged": [notes[0], forged, notes[2]],
        "altered": [notes[0], altered, notes[2]],
        "left out": [notes[0], notes[2]],
        "twice": [notes[0], notes[1], notes[1], notes[2]],
    }.items():
        text = "".join(json.dumps({"note": note}) + "\n" for note in changed)
        log.checkpoints.write_text(text, encoding="utf-8")
        assert log.verdict()[1], name
        assert log.second(), name


async def test_a_key_is_followed_by_another(log: Signed, tmp_path: Path) -> None:
    """Whoever trusts the first key trusts what the second one signs, and nobody else's."""
    successor = make_key(tmp_path / "next.key", "paper")
    CheckpointFile(log.checkpoints).append(log.signer.follow_with(successor.public, "2026-01-01"))
    await checkpointed(Signed(log.database, log.checkpoints, successor))
    assert log.verdict() == (None, "")
    assert log.second() == ""
    lost = Signed(log.database, log.checkpoints, make_key(tmp_path / "other.key", "paper"))
    assert "a key that was not given" in lost.verdict()[1]


async def test_a_lost_checkpoint_file_is_made_again_from_the_log(log: Signed) -> None:
    """The log remembers each note, so that the chain of checkpoints goes on."""
    before = log.checkpoints.read_text(encoding="utf-8")
    place = Place(f"sqlite:///{log.database}")
    reader = await Reader.open(place.url)
    try:
        places = Places(CheckpointFile(log.checkpoints))
        signed = [one async for one in seal(reader, log.signer, places, SystemClock())]
    finally:
        await reader.close()
    notes = [json.loads(line)["note"] for line in before.splitlines()]
    events = [signed[0].evolve(note=note) for note in notes] + signed
    await filled(place, [Pending(event, Context("daemon")) for event in events])
    log.checkpoints.unlink()
    await checkpointed(log)
    assert log.checkpoints.read_text(encoding="utf-8").startswith(before)
    assert log.verdict() == (None, "")


async def test_an_older_copy_of_the_log_is_not_signed_again(log: Signed) -> None:
    """Signing notices what verifying would."""
    Place(f"sqlite:///{log.database}").remove_guards()
    with closing(sqlite3.connect(log.database)) as connection:
        connection.execute("DELETE FROM events WHERE sequence > 20")
        connection.execute(
            "UPDATE checkpoints SET (sequence, hash) ="
            " (SELECT sequence, hash FROM events WHERE sequence = 20)"
        )
        connection.commit()
    with pytest.raises(Exception, match="does not have the event 30 that was signed"):
        await checkpointed(log)


# ── proofs and parcels ───────────────────────────────────────────────────────────────────────────


async def test_a_proof_shows_one_order_and_no_other(log: Signed, tmp_path: Path) -> None:
    """Its events are found under their checkpoints; of the others there are hashes only."""
    reader = await Reader.open(f"sqlite:///{log.database}")
    place = Place(f"sqlite:///{log.database}")
    for sequence in (1, 6, 16, 31):
        place.sql("INSERT INTO order_events (order_id, sequence) VALUES ('mine', ?)", (sequence,))
    try:
        proof, unsigned = await prove_order(reader, "mine", CheckpointFile(log.checkpoints).notes())
    finally:
        await reader.close()
    assert unsigned == [31]
    path = tmp_path / "proof.json"
    path.write_text(json.dumps(proof), encoding="utf-8")
    found = verify.check(path, verify.Options([log.signer.public]))
    assert (found.events, found.signed_to) == (3, 17)
    text = path.read_text(encoding="utf-8")
    assert "order-0" in text
    assert "order-10" not in text
    for entry, forged in ((0, "order-1"), (2, "order-7")):
        changed = json.loads(text)
        changed["events"][entry]["columns"][11] = forged
        path.write_text(json.dumps(changed), encoding="utf-8")
        with pytest.raises(verify.DamageError, match="is not one that was signed"):
            verify.check(path, verify.Options([log.signer.public]))


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 9, 100])
def test_every_leaf_of_a_tree_of_any_size_has_its_path(size: int) -> None:
    """The path leads to the root, from its own place only."""
    leaves = [bytes([n]) * 32 for n in range(size)]
    tree = verify.Tree()
    for leaf in leaves:
        tree.add(leaf)
    for index, leaf in enumerate(leaves):
        path = inclusion_path(leaves, index)
        assert verify.root_from_path(index, size, leaf, path) == tree.root()
        wrong = leaves[index - 1]
        assert size == 1 or verify.root_from_path(index, size, wrong, path) != tree.root()
        with pytest.raises(verify.DamageError):
            verify.root_from_path(index, size, leaf, [*path, leaf])


async def test_a_parcel_is_checked_file_by_file(log: Signed, tmp_path: Path) -> None:
    """A folder and an archive with a manifest: digests, signature, events, checkpoints."""
    folder = tmp_path / "export"
    folder.mkdir()
    names = ", ".join(verify.HASHED)
    with closing(sqlite3.connect(log.database)) as connection:
        rows = connection.execute(
            f"SELECT {names}, hash FROM events WHERE sequence BETWEEN 10 AND 33 ORDER BY sequence"
        ).fetchall()
        (before,) = connection.execute("SELECT hash FROM events WHERE sequence = 9").fetchone()
        (one,) = connection.execute("SELECT hash FROM events WHERE sequence = 1").fetchone()
    lines = [dict(zip((*verify.HASHED, "hash"), (*r[:-1], r[-1].hex()), strict=True)) for r in rows]
    (folder / "events.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    shutil.copyfile(log.checkpoints, folder / "checkpoints.jsonl")
    files = [
        {"name": name, "sha256": sha256((folder / name).read_bytes()).hexdigest()}
        for name in ("events.jsonl", "checkpoints.jsonl")
    ]
    chain = {"files": ["events.jsonl"], "first": 10, "last": 33, "hash_before": before.hex()}
    chain["head"] = lines[-1]["hash"]
    manifest = json.dumps({"log": one.hex(), "files": files, "chain": chain}).encode()

    def seal(signer: Signer | None) -> None:
        for name, content in sealed_manifest(manifest, one.hex(), "2026", signer).items():
            (folder / name).write_bytes(content)

    seal(log.signer)
    archive = tmp_path / "pack.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for path in folder.iterdir():
            file.write(path, path.name)
    options = verify.Options([log.signer.public])
    for place in (folder, archive):
        found = verify.check(place, options)
        assert (found.events, found.files, found.signed_to) == (24, 2, 30)
        assert found.manifest_signed
    (folder / "more.csv").touch()
    with pytest.raises(verify.DamageError, match=r"more\.csv is not in the manifest"):
        verify.check(folder, options)
    (folder / "more.csv").unlink()
    seal(make_key(tmp_path / "stranger.key", "paper"))
    with pytest.raises(verify.DamageError, match="a key that was not given"):
        verify.check(folder, options)
    seal(None)
    (folder / "manifest.note").unlink()
    assert verify.check(folder, verify.Options()).events == 24
    with pytest.raises(verify.DamageError, match="nobody signed this"):
        verify.check(folder, options)
    with (folder / "events.jsonl").open("a") as file:
        file.write("{}\n")
    with pytest.raises(verify.DamageError, match=r"events\.jsonl is not the file"):
        verify.check(folder, options)


# ── the program ──────────────────────────────────────────────────────────────────────────────────


def test_the_verifier_works_as_one_file(log: Signed, tmp_path: Path) -> None:
    """Copied elsewhere, with a Python that does not find this project."""
    place = tmp_path / "auditor"
    place.mkdir()
    copy = place / "verify.py"
    shutil.copyfile(Path(verify.__file__), copy)
    ended = subprocess.run(
        [sys.executable, "-P", copy, log.database, "--expect", f"2:{'0' * 64}"],
        cwd=place,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (ended.returncode, ended.stdout) == (
        4,
        "damaged: event 2 has another hash than was noted\n",
    )


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    """And one that is none, or that is not there."""
    path = tmp_path / "oms.key"
    signer = make_key(path, "paper")
    assert read_key(path).public == signer.public
    if sys.platform != "win32":
        assert path.stat().st_mode & 0o777 == 0o600
        path.chmod(0o644)
        with pytest.raises(Exception, match="other users can read"):
            read_key(path)
        path.chmod(0o600)
    with pytest.raises(Exception, match="exists already"):
        make_key(path, "paper")
    path.write_text("no key")
    with pytest.raises(Exception, match="no signing key"):
        read_key(path)


def test_text_of_a_checkpoint() -> None:
    """As docs/reference/log-format.md shows it."""
    text = checkpoint_text("ab", 5, [b"\1" * 32], "0" * 64, "2026-11-29T00:00:00.000000+00:00")
    root = sha256(b"\0" + b"\1" * 32).hexdigest()
    assert text == (
        f"ib-oms checkpoint 1\nlog ab\nfirst 5\nlast 5\nhead {'01' * 32}\nroot {root}\n"
        f"previous {'0' * 64}\nat 2026-11-29T00:00:00.000000+00:00\n"
    )
