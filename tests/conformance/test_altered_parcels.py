"""Exports and packs whose ends lie in the middle of what a checkpoint covers: whatever an adversary
alters in them is found, by our verifier and by a stranger's.
"""

from __future__ import annotations

import asyncio
import csv
import gzip
import io
import json
import random
import shutil
import sqlite3
import zipfile
import zlib
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from hashlib import sha256
from importlib.util import find_spec
from itertools import takewhile
from pathlib import Path
from typing import Any

import pytest

from oms import verify
from oms.clock import SystemClock
from oms.errors import ChainBroken
from oms.evidence.checkpoints import CheckpointFile, root_of, roots_beside
from oms.evidence.keys import Signer, make_key
from oms.evidence.sealing import Places, seal, sealed_manifest
from oms.history.archive import Work, archive
from oms.history.columns import STORED
from oms.history.export import Request, export
from oms.history.formats import Form, writer_of
from oms.history.pack import pack
from oms.history.query import Query
from oms.store.reader import Reader
from tests import second_verifier
from tests.conformance.conftest import Place
from tests.conformance.facts import intent, status
from tests.conformance.test_event_log import filled

#: The checkpoints of the log stand at these events; it goes on to the last.
MARKS = (12, 17, 30, 47)
EVENTS = 52
#: Of each parcel: its events, and the last of them that a checkpoint covers.
PARCELS = {
    "early.zip": (Query(since=8, until=26), 25),
    "tree.zip": (Query(since=19, until=24), 23),
    "all.zip": (Query(), 47),
    "lines": (Query(since=5, until=40), 39),
    "sheet": (Query(since=14, until=17), 16),
    "late": (Query(since=45), 47),
    "parts": (Query(since=10, until=41), 40),
    "segment": (Query(since=18, until=36), 35),
    "some": (Query(type=("OrderIntended",)), 46),
}

if find_spec("pyarrow") is None:  # an extra, which these are written with
    PARCELS = {name: one for name, one in PARCELS.items() if name not in ("parts", "segment")}

Row = list[Any]
How = Callable[[list[Row], int, random.Random], None]


@dataclass(frozen=True)
class World:
    """A signed log, and what was handed out of it."""

    folder: Path
    signer: Signer

    @property
    def place(self) -> Place:
        return Place(f"sqlite:///{self.folder / 'log.sqlite'}")

    @property
    def checkpoints(self) -> CheckpointFile:
        return CheckpointFile(self.folder / "log.checkpoints")

    async def hand_out(self, name: str, query: Query, *, signer: Signer | None = None) -> Path:
        reader = await Reader.open(self.place.url)
        out, notes = self.folder / name, self.checkpoints.notes()
        signer = signer or self.signer
        try:
            if name == "segment":
                return await asyncio.to_thread(self._segment, query, signer, notes)
            if name.endswith(".zip"):
                await pack(reader, query, out, signer=signer, notes=notes)
            else:
                form: Form = {"sheet": "csv", "parts": "parquet"}.get(name, "jsonl")
                await export(
                    reader, Request("events", form, query), out, signer=signer, notes=notes
                )
        finally:
            await reader.close()
        return out

    def _segment(self, query: Query, signer: Signer, notes: Sequence[verify.Note]) -> Path:
        """Archive the log to the end of a range, which is a segment of its own."""
        assert isinstance(query.since, int)
        assert isinstance(query.until, int)
        (log,) = self.place.sql("SELECT hash FROM events WHERE sequence = 1")[0]
        folder = self.folder / "archive"
        folder.mkdir()
        work = Work(self.place.url, folder, log.hex(), SystemClock(), signer, notes)
        first, end = query.since, query.until
        list(archive(replace(work, segment_events=first - 1), first - 1))
        *_, found = archive(replace(work, segment_events=end - first), end - 1)
        return found.folder

    def verdict(self, path: Path) -> tuple[int | None, str]:
        """Return the first sequence that does not hold and why; an empty text where all holds."""
        try:
            verify.check(path, verify.Options([self.signer.public]))
        except verify.DamageError as error:
            return error.sequence, str(error)
        return None, ""

    def second(self, path: Path) -> str:
        return second_verifier.parcel_verdict(path, str(self.signer.public))

    async def sign(self) -> None:
        reader = await Reader.open(self.place.url)
        try:
            async for _ in seal(reader, self.signer, Places(self.checkpoints), SystemClock()):
                pass
        finally:
            await reader.close()


@pytest.fixture
async def world(tmp_path: Path, sqlite_template: Path) -> World:
    shutil.copyfile(sqlite_template, tmp_path / "log.sqlite")
    found = World(tmp_path, make_key(tmp_path / "oms.key", "paper"))
    done = 0
    for mark in (*MARKS, EVENTS):
        facts = [
            intent(f"order-{n}") if n % 3 == 0 else status(n, "Submitted")
            for n in range(done, mark)
        ]
        await filled(found.place, facts)
        if mark != EVENTS:
            await found.sign()
        done = mark
    return found


@pytest.mark.parametrize("name", PARCELS)
async def test_a_part_of_the_log_holds_and_says_what_is_not_signed(world: World, name: str) -> None:
    """Both verifiers take it; every event that a checkpoint covers is held against one."""
    query, signed_to = PARCELS[name]
    path = await world.hand_out(name, query)
    assert world.second(path) == ""
    found = verify.check(path, verify.Options([world.signer.public]))
    assert found.signed_to == signed_to
    covering = [mark for mark in MARKS if mark >= found.first]
    assert found.checkpoints == next(
        (n for n, mark in enumerate(covering, 1) if mark >= signed_to), 0
    )
    unsigned = [words for words in found.notes if "under no checkpoint" in words]
    wanted = {
        "some": "2 events from 49 to 52 stand under no checkpoint",
        "all.zip": "events 48 to 52 stand under no checkpoint",
        "late": "events 48 to 52 stand under no checkpoint",
    }
    assert unsigned == ([wanted[name]] if name in wanted else [])


async def test_a_checkpoint_that_is_kept_elsewhere_is_held_against_it_too(
    world: World, tmp_path: Path
) -> None:
    """Who can sign can sign another history; two that differ are found, and an older file of notes
    does not make less of what the newer ones in it prove.
    """
    path = await world.hand_out("lines", PARCELS["lines"][0])
    lines = world.checkpoints.path.read_text().splitlines(keepends=True)
    keys = [world.signer.public]

    def checked(lines: list[str]) -> verify.Finding:
        notes = verify.read_notes(lines)
        return verify.check(path, verify.Options(keys, verify.checked_checkpoints(notes, keys)))

    assert checked(lines).signed_to == checked(lines[:2]).signed_to == 39
    text = verify.Note.read(json.loads(lines[2])["note"]).text
    other = world.signer.sign(text.replace("root ", "root 00")).__str__()
    with pytest.raises(verify.DamageError, match="two different checkpoints end at 30"):
        checked([*lines[:2], json.dumps({"note": other})])
    other = str(world.signer.sign(text.replace("last 30", "last 29")))
    with pytest.raises(verify.DamageError, match="at 29 and 30 contradict each other"):
        checked([*lines[:2], json.dumps({"note": other})])


async def test_a_proof_that_was_altered_is_found(world: World) -> None:
    """Though our key signed it: it says neither less nor more than the checkpoints do."""
    path = await world.hand_out("some", PARCELS["some"][0])
    altered = world.folder / "altered"
    events = {row[0]: n for n, row in enumerate(Parcel(path).rows)}

    def said(alter: Callable[[Parcel, list[Any]], None], *, verdict: str) -> None:
        parcel = Parcel(path)
        lines = [json.loads(one) for one in parcel.files["proofs.jsonl"].splitlines()]
        alter(parcel, lines)
        parcel.files["proofs.jsonl"] = "".join(json.dumps(one) + "\n" for one in lines).encode()
        parcel.write(altered, digests_anew=True, signer=world.signer)
        found, second = world.verdict(altered)[1], world.second(altered)
        assert (verdict in found, bool(found), bool(second)) == (True, bool(verdict), bool(verdict))

    said(lambda parcel, lines: None, verdict="")
    for alter, verdict in (
        (lambda _, lines: lines[1].update(last=16), "under the checkpoint at 17 is missing"),
        (lambda _, lines: lines[1]["before"].append("00"), "an event from 13 to 17 is missing"),
        (lambda _, lines: lines.append(lines[-1] | {"first": 60, "last": 61}), "are missing"),
        (lambda _, lines: lines.pop(), "nothing proves event 49"),
        (lambda _, lines: lines[-1].update(first=50), "nothing proves event 49"),
        (lambda _, lines: lines[1]["roots"].append("00"), "that the checkpoint at 17 was signed"),
        (lambda _, lines: lines[1]["roots"].pop(), "is cut off"),
        (lambda parcel, _: parcel.rows.insert(3, parcel.rows[1]), "stands behind event"),
    ):
        said(alter, verdict=verdict)

    def change(parcel: Parcel, lines: list[Any]) -> None:
        parcel.rows[events[52]][11] += " "

    # No checkpoint covers it: its hash says that it was altered, where that was not made anew.
    said(change, verdict="event 52 does not carry the hash")


async def test_a_hash_that_was_noted_is_looked_for_in_a_choice_of_events(world: World) -> None:
    path = await world.hand_out("some", PARCELS["some"][0])
    digests = {row[0]: row[-1] for row in Parcel(path).rows}

    def checked(sequence: int, digest: str) -> verify.Finding:
        return verify.check(path, verify.Options(expected={sequence: digest}))

    assert checked(13, digests[13]).events == len(digests)
    assert "event 14, of which a hash was noted, is not in this" in checked(14, "00").notes
    with pytest.raises(verify.DamageError, match="event 13 has another hash than was noted"):
        checked(13, digests[16])


async def test_a_stretch_that_was_hashed_anew_is_not_handed_out(world: World) -> None:
    """Its seam lies behind the last event that is asked for, and before the next checkpoint."""
    world.place.remove_guards()
    names = ", ".join(verify.HASHED)
    with closing(sqlite3.connect(world.folder / "log.sqlite")) as log:
        (digest,) = log.execute("SELECT hash FROM events WHERE sequence = 18").fetchone()
        for row in log.execute(
            f"SELECT {names} FROM events WHERE sequence BETWEEN 19 AND 25 ORDER BY sequence"
        ).fetchall():
            columns = [*row[:7], "person:forger", *row[8:]]
            digest = verify.event_hash(digest, columns)
            log.execute(
                "UPDATE events SET actor = ?, hash = ? WHERE sequence = ?",
                ("person:forger", digest, row[0]),
            )
        log.commit()
    for name, query in (
        ("early.zip", Query(since=8, until=23)),
        ("lines", Query(since=8, until=23)),
        ("some", Query(type=("OrderIntended",), until=26)),
    ):
        with pytest.raises(ChainBroken, match="18 to 30 are not those that were signed"):
            await world.hand_out(name, query)
        assert not (world.folder / name).exists()


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 13])
def test_some_leaves_and_the_roots_beside_them_give_the_root(size: int) -> None:
    """For every choice of leaves; with one root less, one more, or a leaf less they do not."""
    leaves = [bytes([n]) * 32 for n in range(size)]
    for choice in range(1, 1 << size):
        places = [n for n in range(size) if choice >> n & 1]
        known = [(100 + n, leaves[n]) for n in places]
        roots = list(roots_beside(leaves, places))
        left = iter(roots)
        assert verify.root_of_some(known, 100, size, left) == root_of(leaves)
        assert next(left, None) is None
        other = [(at, bytes(32)) for at, _ in known[:1]] + known[1:]
        if places[0]:
            assert verify.root_of_some(other, 100, size, iter(roots)) != root_of(leaves)
        if roots:
            with pytest.raises(verify.DamageError, match="is cut off"):
                verify.root_of_some(known, 100, size, iter(roots[:-1]))


# ── the adversary ────────────────────────────────────────────────────────────────────────────────


def change(rows: list[Row], at: int, dice: random.Random) -> None:
    """Change one column of an event."""
    column = dice.choice([1, 2, 3, 5, 6, 7, 11])
    row = rows[at]
    row[column] = row[column] + 1 if isinstance(row[column], int) else f"{row[column]}x"


def flip(rows: list[Row], at: int, dice: random.Random) -> None:
    """Flip one bit of a payload."""
    text = bytearray(str(rows[at][11]).encode())
    text[dice.randrange(len(text))] ^= 1 << dice.randrange(5)
    rows[at][11] = text.decode()


def delete(rows: list[Row], at: int, dice: random.Random) -> None:
    """Take an event away."""
    del rows[at]


def insert(rows: list[Row], at: int, dice: random.Random) -> None:
    """Put a copy of another event in front of one."""
    rows.insert(at, [rows[at][0], *dice.choice(rows)[1:]])


def swap(rows: list[Row], at: int, dice: random.Random) -> None:
    """Exchange what two neighbours say."""
    one, other = rows[at - 1], rows[at]
    one[1:], other[1:] = other[1:], one[1:]


def cut(rows: list[Row], at: int, dice: random.Random) -> None:
    """Cut it off."""
    del rows[at:]


HOW: tuple[How, ...] = (change, flip, delete, insert, swap, cut)


class Parcel:
    """The files of an export or a pack, in the hands of somebody who knows the format."""

    def __init__(self, path: Path) -> None:
        if path.is_file():
            with zipfile.ZipFile(path) as archive:
                self.files = {name: archive.read(name) for name in archive.namelist()}
        else:
            inside = (one for one in path.rglob("*") if one.is_file())
            self.files = {one.relative_to(path).as_posix(): one.read_bytes() for one in inside}
        self.manifest = json.loads(self.files["manifest.json"])
        self._chain = self.manifest.get("chain")
        (self._name,) = self._chain["files"] if self._chain else self.manifest["events"]
        names = [*verify.HASHED, "hash"]
        content = self.files[self._name]
        if self._name.endswith(".csv"):
            found = csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline=""))
            self.rows = [[row[name].removeprefix("'") for name in names] for row in found]
            for row in self.rows:
                for column in (0, 2, 5, 6):
                    row[column] = int(row[column])
        elif self._name.endswith(".parquet"):
            self.rows = _rows_of_parquet(content)
        else:
            plain = gzip.decompress(content) if self._name.endswith(".gz") else content
            events = map(json.loads, plain.decode().splitlines())
            self.rows = [[event[name] for name in names] for event in events]

    def hash_anew(self) -> None:
        """Number and hash the events so that they follow each other, as they did before."""
        if self._chain is not None:
            before = bytes.fromhex(self._chain["hash_before"])
            for sequence, row in enumerate(self.rows, self._chain["first"]):
                row[0] = sequence
                before = verify.event_hash(before, row[:-1])
                row[-1] = before.hex()
            self._chain |= {"last": self._chain["first"] + len(self.rows) - 1, "head": before.hex()}
            if self._chain["first"] == 1 and self.rows:
                self.manifest["log"] = self.rows[0][-1]
            return
        lines = map(json.loads, self.files["proofs.jsonl"].decode().splitlines())
        lone = (bytes.fromhex(one) for line in lines for one in line["before"])
        before, after = verify.GENESIS, 0
        for row in self.rows:
            if row[0] != after + 1:
                before = next(lone, verify.GENESIS)
            before, after = verify.event_hash(before, row[:-1]), row[0]
            row[-1] = before.hex()

    def write(self, path: Path, *, digests_anew: bool, signer: Signer | None) -> None:
        names = [*verify.HASHED, "hash"]
        if self._name.endswith(".csv"):
            text = io.StringIO()
            csv.writer(text).writerows([names, *self.rows])
            content = b"\xef\xbb\xbf" + text.getvalue().encode()
        elif self._name.endswith(".parquet"):
            content = _parquet_of(self.rows, path.parent / "rows")
        else:
            lines = (dict(zip(names, row, strict=True)) for row in self.rows)
            content = "".join(json.dumps(line) + "\n" for line in lines).encode()
        self.files[self._name] = gzip.compress(content) if path.suffix == ".zip" else content
        if digests_anew:
            for one in self.manifest["files"]:
                one["sha256"] = sha256(self.files[one["name"]]).hexdigest()
            manifest = json.dumps(self.manifest).encode()
            log = str(self.manifest["log"])
            seals = sealed_manifest(manifest, log, "2026", signer)
            seals.setdefault("manifest.note", self.files["manifest.note"])
            digests = [f"{sha256(seals[n]).hexdigest()}  {n}\n" for n in verify.SEALS[:2]]
            self.files |= seals | {"manifest.sha256": "".join(digests).encode()}
        if path.suffix != ".zip":
            shutil.rmtree(path, ignore_errors=True)
            path.mkdir()
            for name, one in self.files.items():
                (path / name).parent.mkdir(exist_ok=True)
                (path / name).write_bytes(one)
            return
        members = [verify.Member(n, len(c), zlib.crc32(c)) for n, c in self.files.items()]
        bodies = zip(members, self.files.values(), strict=True)
        made = b"".join(one.header + content for one, content in bodies)
        path.write_bytes(made + verify.archive_end(members))


def _rows_of_parquet(content: bytes) -> list[Row]:
    from pyarrow import parquet

    rows = [list(row.values()) for row in parquet.read_table(io.BytesIO(content)).to_pylist()]
    for row in rows:
        row[3:5] = [at and at.isoformat(timespec="microseconds") for at in row[3:5]]
    return [[*row[: len(verify.HASHED)], row[-1]] for row in rows]


def _parquet_of(rows: list[Row], folder: Path) -> bytes:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    writer = writer_of("parquet", folder, "events", STORED)
    for row in rows:
        if row[3].endswith("x"):  # no time any more: a later one is as wrong
            later = datetime.fromisoformat(row[3][:-1]) + timedelta(microseconds=1)
            row[3] = later.isoformat(timespec="microseconds")
    writer.write(rows)
    (made,) = writer.end()
    return (folder / made.name).read_bytes()


async def tried(world: World, seeds: range) -> None:
    parcels = {name: await world.hand_out(name, query) for name, (query, _) in PARCELS.items()}
    for seed in seeds:
        dice = random.Random(seed)
        name = dice.choice(list(PARCELS))
        how = HOW[seed % len(HOW)]
        parcel = Parcel(parcels[name])
        before = [row[:-1] for row in parcel.rows]
        covered = sum(row[0] <= PARCELS[name][1] for row in before)
        #: 0: he alters events alone; 1: digests too; 2: hashes too; 3: the log, before we sign it.
        depth = dice.randrange(4)
        how(parcel.rows, dice.randrange(1, covered), dice)
        if depth >= 2:
            parcel.hash_anew()
        after = [row[:-1] for row in parcel.rows]
        kept = sum(
            1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(before, after, strict=False))
        )
        if before == after or (depth == 3 and kept >= covered):
            continue  # a copy of an event in its own place: nothing that was signed differs
        altered = world.folder / f"altered{parcels[name].suffix}"
        signer = world.signer if depth == 3 else None
        parcel.write(altered, digests_anew=depth > 0, signer=signer)
        at = f"seed {seed}: {how.__name__} of {name}, depth {depth}"
        (sequence, said), second = world.verdict(altered), world.second(altered)
        if how is cut and depth == 3 and not said:
            # A shorter one of which we sign that it is shorter: it ends where a checkpoint does.
            assert parcel.rows[-1][0] in MARKS, at
            assert not second, at
            continue
        assert said, at
        assert second, at
        assert sequence is None or sequence >= before[0][0], at


async def test_whatever_an_adversary_alters_in_a_parcel_is_found(world: World) -> None:
    """Changes, flips, deletions, insertions, swaps and cuts, also with digests and hashes that fit,
    and also where the log itself was altered so before our own key signed the parcel.
    """
    await tried(world, range(90))


@pytest.mark.long
async def test_a_thousand_alterations_of_parcels_are_found(world: World) -> None:
    await tried(world, range(90, 1_200))
