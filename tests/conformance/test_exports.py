"""Exports and packs: exact, whole or not there, the same after an interruption, and checked."""

from __future__ import annotations

import asyncio
import contextlib
import csv
import gzip
import hashlib
import io
import json
import os
import random
import re
import shutil
import subprocess
import sys
import warnings
import zipfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from oms import verify
from oms.clock import SystemClock
from oms.core.events import (
    BreakAssigned,
    BreakOpened,
    Context,
    DaemonStarted,
    Finding,
    NaturalKeyConflict,
    NoticeReceived,
    Pending,
    ServerTimeRead,
    Stamp,
)
from oms.core.wire_names import names_of
from oms.errors import ChainBroken, ConfigurationError, DatabaseDamaged, InvalidRequest
from oms.evidence.checkpoints import CheckpointFile
from oms.evidence.keys import Signer, make_key
from oms.evidence.sealing import Places, seal
from oms.history.asof import books_at
from oms.history.columns import COLUMNS, Subject
from oms.history.export import Exported, Request, export
from oms.history.formats import Form, writer_of
from oms.history.pack import pack
from oms.history.query import Query, parse
from oms.store.reader import Reader
from tests.auditor import Auditor
from tests.conformance.conftest import Place
from tests.conformance.facts import (
    ACCOUNT,
    NOON,
    commission,
    execution,
    gap,
    intent,
    lives,
    sent,
    status,
)
from tests.conformance.test_event_log import filled
from tests.shell import Shell

FORMS: tuple[Form, ...] = ("jsonl", "csv", "parquet")
SUBJECTS: tuple[Subject, ...] = ("events", "orders", "fills", "positions", "cases")
KEY = b"a key of thirty-two bytes or so."


def needs(form: Form) -> None:
    if form == "parquet":
        pytest.importorskip("pyarrow", reason="the extra ib-oms[parquet] is not installed")


@asynccontextmanager
async def reading(place: Place) -> AsyncIterator[Reader]:
    reader = await Reader.open(place.url)
    try:
        yield reader
    finally:
        await reader.close()


async def exported(
    place: Place, out: Path, subject: Subject = "events", form: Form = "jsonl", **more: Any
) -> Exported:
    """Export with conditions, `key` of a mask and `signer`."""
    key, signer = more.pop("key", b""), more.pop("signer", None)
    async with reading(place) as reader:
        return await export(reader, Request(subject, form, parse(more), key), out, signer=signer)


def digests(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def rows_of(folder: Path, subject: Subject, form: Form) -> list[dict[str, Any]]:
    """Read an export as another program would, every value as text of the JSON form."""
    if form == "jsonl":
        text = (folder / f"{subject}.jsonl").read_text(encoding="utf-8")
        return [json.loads(line) for line in text.splitlines()]
    kinds = {column.name: column.kind for column in COLUMNS[subject]}
    if form == "csv":
        text = (folder / f"{subject}.csv").read_bytes().decode("utf-8-sig")
        found = csv.DictReader(io.StringIO(text, newline=""))
        return [{name: _typed(kinds[name], one) for name, one in row.items()} for row in found]
    from pyarrow import parquet

    table = parquet.read_table(folder / subject)
    return [{name: _plain(one) for name, one in row.items()} for row in table.to_pylist()]


def _typed(kind: str, text: str) -> Any:
    if not text:
        return None
    match kind:
        case "integer":
            return int(text)
        case "flag":
            return text == "true"
        case _:
            return text.removeprefix("'")


def _plain(value: Any) -> Any:
    match value:
        case Decimal():
            text = f"{value:f}"
            return text.rstrip("0").rstrip(".") if "." in text else text
        case datetime():
            return value.astimezone(UTC).isoformat(timespec="microseconds")
        case _:
            return value


def without_empty(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """CSV knows no difference between no text and an empty one."""
    return [{n: v for n, v in row.items() if v not in (None, "")} for row in rows]


def rounded(rows: list[dict[str, Any]], subject: Subject, form: Form) -> list[dict[str, Any]]:
    """Parquet has eighteen decimals of what came of a division, which has no end."""
    quotients = {column.name for column in COLUMNS[subject] if column.kind == "quotient"}
    if form != "parquet":
        return rows
    step = Decimal("1e-18")
    return [
        {
            name: _plain(Decimal(value).quantize(step)) if name in quotients and value else value
            for name, value in row.items()
        }
        for row in rows
    ]


@pytest.fixture
async def log(tmp_path: Path, sqlite_template: Path) -> Place:
    """A log of sixty lives with corrections and commissions that come late."""
    path = tmp_path / "log.sqlite"
    shutil.copyfile(sqlite_template, path)
    place = Place(f"sqlite:///{path}")
    await filled(place, list(lives(7, 60)))
    return place


@pytest.mark.parametrize("form", FORMS)
async def test_every_form_has_the_same_rows_and_is_checked(
    place: Place, tmp_path: Path, form: Form
) -> None:
    """What the JSON lines say is what the others say, on both databases, and it verifies."""
    needs(form)
    await filled(place, list(lives(3, 25)))
    for subject in SUBJECTS:
        out = tmp_path / subject
        made = await exported(place, out, subject, form)
        await exported(place, tmp_path / f"{subject}.lines", subject, "jsonl")
        wanted = rows_of(tmp_path / f"{subject}.lines", subject, "jsonl")
        found_rows = without_empty(rows_of(out, subject, form))
        assert found_rows == without_empty(rounded(wanted, subject, form))
        found = verify.check(out, verify.Options())
        assert found.events == (made.rows if subject == "events" else 0)
        assert made.rows == len(wanted) > 0 or subject == "cases"
        async with reading(place) as reader:
            head = await reader.head()
        manifest = json.loads((out / "manifest.json").read_text())
        assert manifest["head"] == {"sequence": head.sequence, "hash": head.hash.hex()}
    async with reading(place) as reader:
        packed = await pack(reader, Query(since=5), tmp_path / "pack.zip")
    assert verify.check(tmp_path / "pack.zip", verify.Options()).last == packed.last


async def test_a_fills_file_has_what_accountants_ask_for(log: Place, tmp_path: Path) -> None:
    """Commission, currency and value; a correction says what it replaced, a bust is a zero."""
    facts = [
        intent("mine"),
        execution("0001.a.01.01", 7, order_id="mine", price="10.25"),
        commission("0001.a.01.01", "1.05"),
        execution("0001.a.01.02", 0, order_id="mine", price="10.25"),
        execution("0002.a.01.01", 3, order_id="mine", price="0.10"),
    ]
    await filled(log, facts)
    await exported(log, tmp_path / "out", "fills", order="mine")
    busted, booked = rows_of(tmp_path / "out", "fills", "jsonl")
    assert (busted["status"], busted["quantity"], json.loads(busted["superseded"])) == (
        *("busted", "0"),
        ["0001.a.01.01"],
    )
    wanted = {
        "status": "booked",
        "account": ACCOUNT,
        "order_id": "mine",
        "side": "BUY",
        "quantity": "3",
        "price": "0.1",
        "value": "0.3",
        "currency": "USD",
        "symbol": "S0",
        "date_utc": "2026-11-20",
        "occurred_at": "2026-11-20T12:00:00.000000+00:00",
        "time_text": "20261120 12:00:01 UTC",
        "commission": None,
        "superseded": "[]",
    }
    assert {name: booked[name] for name in wanted} == wanted


async def test_times_at_the_socket_and_the_gateways_clock_are_columns(
    log: Place, tmp_path: Path
) -> None:
    read = ServerTimeRead(server_time=NOON, offset_ms=-40, round_trip_ms=2, error_ms=5)
    bought = execution("0009.a.01.01", 7, order_id="mine")
    at = NOON + timedelta(milliseconds=3)
    facts = [
        intent("mine"),
        replace(sent("mine", 90), wire=("3", "90"), stamp=Stamp(at, 178)),
        replace(bought, stamp=Stamp(at, 178, 4)),
        Pending(read, Context("daemon")),
    ]
    await filled(log, facts)
    await exported(log, tmp_path / "out", order="mine")
    told = {row["type"]: row for row in rows_of(tmp_path / "out", "events", "jsonl")}
    names = ("received_at", "sent_at", "server", "decoder")
    text = "2026-11-20T12:00:00.003000+00:00"
    assert [told["OrderIntended"][name] for name in names] == [None] * 4
    assert [told["OrderMessageSent"][name] for name in names] == [None, text, 178, None]
    assert [told["ExecutionReceived"][name] for name in names] == [text, None, 178, 4]
    await exported(log, tmp_path / "fills", "fills", "csv")
    fills = {row["order_id"]: row for row in rows_of(tmp_path / "fills", "fills", "csv")}
    assert fills["mine"]["clock_offset_ms"] == -40
    assert fills["mine"]["clock_error_ms"] >= 5
    # The verifier reads both as it reads those without.
    for name in ("out", "fills"):
        assert verify.main([str(tmp_path / name)]) == 0


async def test_fills_of_a_year_are_those_that_happened_in_it(log: Place, tmp_path: Path) -> None:
    """By the log's clock they came later; by the broker's, on the day that it names."""
    day = {"since": "2026-11-20", "until": "2026-11-21"}
    fills = len(log.sql("SELECT 1 FROM fills"))
    head = max(sequence for (sequence,) in log.sql("SELECT sequence FROM events"))
    async with reading(log) as reader:
        past = await books_at(reader, head, "happened")
        request = Request("fills", "jsonl", parse(day))
        made = await export(reader, request, tmp_path / "happened", past=past)
    assert made.rows == fills > 0
    with pytest.raises(InvalidRequest, match="nothing before"):
        await exported(log, tmp_path / "known", "fills", **day)
    with pytest.raises(InvalidRequest, match="no event in that time"):
        await exported(log, tmp_path / "orders", "orders", since="2099-01-01")


async def test_what_a_spreadsheet_would_calculate_is_text(tmp_path: Path) -> None:
    """An apostrophe in front, another before one that was there; numbers stay numbers."""
    columns = COLUMNS["positions"]
    names = [column.name for column in columns]
    row: list[Any] = [None] * len(columns)
    for name, text in {
        "account": "=cmd|' /C calc'!A0",
        "symbol": "'quoted",
        "local_symbol": "@SUM(A1)",
        "sec_type": "＝1",
        "quantity": "-5",
        "currency": "\t=1",
        "exchange": "a\r\nb,c",
    }.items():
        row[names.index(name)] = text
    writer = writer_of("csv", tmp_path, "positions", columns)
    writer.write([row])
    writer.end()
    text = (tmp_path / "positions.csv").read_bytes().decode("utf-8-sig")
    (found,) = csv.DictReader(io.StringIO(text, newline=""))
    assert found["account"] == "'=cmd|' /C calc'!A0"
    assert (found["symbol"], found["local_symbol"]) == ("''quoted", "'@SUM(A1)")
    assert (found["sec_type"], found["currency"]) == ("'＝1", "'\t=1")
    assert (found["quantity"], found["exchange"]) == ("-5", "a\r\nb,c")


async def test_fills_open_where_a_comma_stands_before_decimals(log: Place, tmp_path: Path) -> None:
    """As a spreadsheet of Germany reads it: the same rows, and only numbers have other signs."""
    for form in ("csv", "csv-semicolon"):
        await exported(log, tmp_path / form, "fills", form)
        assert verify.main([str(tmp_path / form)]) == 0
    text = (tmp_path / "csv-semicolon" / "fills.csv").read_bytes().decode("utf-8-sig")
    found = list(csv.DictReader(io.StringIO(text, newline=""), delimiter=";"))
    numbers = {one.name for one in COLUMNS["fills"] if one.kind in {"number", "quotient"}}
    assert {"price", "value", "commission", "realised_pnl"} <= numbers
    assert any("," in row["price"] for row in found)
    assert not any("." in row[name] for row in found for name in numbers)
    same = [{n: v.replace(",", ".") if n in numbers else v for n, v in r.items()} for r in found]
    text = (tmp_path / "csv" / "fills.csv").read_bytes().decode("utf-8-sig")
    assert same == list(csv.DictReader(io.StringIO(text, newline="")))
    with pytest.raises(InvalidRequest, match="events are not written with semicolons"):
        await exported(log, tmp_path / "events", "events", "csv-semicolon")


@pytest.mark.parametrize(
    ("number", "fits"),
    [
        ("99999999999999999999.999999999999999999", True),
        ("-0.000000000000000001", True),
        ("100000000000000000000", False),
        ("0.0000000000000000001", False),
        ("1" + "0" * 60, False),
    ],
)
async def test_parquet_holds_a_number_exactly_or_names_it(
    tmp_path: Path, number: str, fits: bool
) -> None:
    """Twenty digits before the point and eighteen behind it; the other forms hold all."""
    needs("parquet")
    columns = COLUMNS["positions"]
    row: list[Any] = [None] * len(columns)
    row[[column.name for column in columns].index("quantity")] = number
    for form in FORMS:
        writer = writer_of(form, tmp_path, "positions", columns)
        writer.write([row])
        if fits or form != "parquet":
            writer.end()
            (found,) = rows_of(tmp_path, "positions", form)
            assert found["quantity"] == number
        else:
            with pytest.raises(ConfigurationError, match=r"quantity of .* is "):
                writer.end()


async def test_a_part_of_the_log_has_its_own_chain(log: Place, tmp_path: Path) -> None:
    """A range is checked from the hash before it, a choice of events with the hashes of others."""
    await exported(log, tmp_path / "range", since=20, until=60)
    found = verify.check(tmp_path / "range", verify.Options())
    assert (found.events, found.first, found.last) == (40, 20, 59)
    await exported(log, tmp_path / "some", type="OrderIntended")
    manifest = json.loads((tmp_path / "some" / "manifest.json").read_text())
    assert "chain" not in manifest
    assert manifest["rows"] == 60
    assert verify.check(tmp_path / "some", verify.Options()).events == 60
    await exported(log, tmp_path / "none", type="CheckpointSigned")
    assert verify.check(tmp_path / "none", verify.Options()).events == 0


async def test_what_was_altered_in_the_database_is_not_exported(log: Place, tmp_path: Path) -> None:
    """An export that would hide damage ends with it, and nothing is there."""
    log.remove_guards()
    log.sql("UPDATE events SET payload = payload || ' ' WHERE sequence = 40")
    with pytest.raises(ChainBroken) as error:
        await exported(log, tmp_path / "out")
    assert error.value.sequence == 40
    log.sql("UPDATE fills SET body = replace(body, '10.25', '10.35')")
    with pytest.raises(DatabaseDamaged, match="is not what was written"):
        await exported(log, tmp_path / "out", "fills")
    with pytest.raises(ChainBroken):
        async with reading(log) as reader:
            await pack(reader, Query(), tmp_path / "out.zip")
    assert left_in(tmp_path) == set()


# ── interrupted ──────────────────────────────────────────────────────────────────────────────────


def left_in(folder: Path) -> set[str]:
    """Return what stands beside the log and its files."""
    return {path.name for path in folder.iterdir() if not path.name.startswith("log.")}


CHILD = """
import asyncio, os, sys
from pathlib import Path
from oms.history import export, formats
from oms.history.query import Query
from oms.store.reader import Reader
export._PAGE, export._KEPT_ROWS = 20, 40
formats.PART_ROWS, formats.GROUP_ROWS = 60, 20
url, out, subject, form, steps = sys.argv[1:]
left = int(steps)
def moved(done, total):
    global left
    left -= 1
    if not left:
        os.kill(os.getpid(), 9)
async def main():
    reader = await Reader.open(url)
    request = export.Request(subject, form, Query(), b"")
    made = await export.export(reader, request, Path(out), moved=moved)
    await reader.close()
    print(made.resumed)
asyncio.run(main())
"""


def child(place: Place, out: Path, form: Form, steps: int, subject: str = "events") -> int:
    """Export in a process that kills itself after so many pages; return what it had resumed."""
    arguments = [place.url, str(out), subject, form, str(steps)]
    ended = subprocess.run(
        [sys.executable, "-c", CHILD, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert ended.returncode == (-9 if steps else 0), ended.stderr
    return int(ended.stdout) if not steps else -1


@pytest.mark.slow
@pytest.mark.parametrize(
    "form", ["jsonl", *(pytest.param(one, marks=pytest.mark.long) for one in ("csv", "parquet"))]
)
async def test_a_killed_export_goes_on_to_the_same_bytes(
    log: Place, tmp_path: Path, form: Form
) -> None:
    """Killed twice, it holds what one run would have, though the log has grown meanwhile."""
    needs(form)
    child(log, tmp_path / "whole", form, 0)
    child(log, tmp_path / "cut", form, 7)
    assert not (tmp_path / "cut").exists()
    await filled(log, [status(1, "Filled")])
    child(log, tmp_path / "cut", form, 5)
    resumed = child(log, tmp_path / "cut", form, 0)
    assert resumed >= 180
    assert digests(tmp_path / "cut") == digests(tmp_path / "whole")
    assert left_in(tmp_path) == {"whole", "cut"}


@pytest.mark.slow
async def test_another_export_to_the_same_place_begins_anew(log: Place, tmp_path: Path) -> None:
    """What was left of the first is not in the second."""
    needs("parquet")
    child(log, tmp_path / "out", "parquet", 7)
    child(log, tmp_path / "out", "csv", 0)
    assert {*digests(tmp_path / "out")} == {
        *("events.csv", "checkpoints.jsonl", "proofs.jsonl"),
        *("manifest.json", "manifest.sha256"),
    }
    assert verify.check(tmp_path / "out", verify.Options()).events > 0


@pytest.mark.slow
@pytest.mark.parametrize("form", ["csv", pytest.param("parquet", marks=pytest.mark.long)])
async def test_what_was_altered_meanwhile_is_made_anew(
    log: Place, tmp_path: Path, form: Form
) -> None:
    """Nothing that an earlier run left is trusted; nor are rows of books that have moved on."""
    needs(form)
    child(log, tmp_path / "whole", form, 0)
    child(log, tmp_path / "cut", form, 7)
    part = next(path for path in (tmp_path / "cut.part").rglob("*.*") if path.is_file())
    with part.open("r+b") as file:
        file.seek(100)
        file.write(b"X")
    assert child(log, tmp_path / "cut", form, 0) == 0
    assert digests(tmp_path / "cut") == digests(tmp_path / "whole")


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.skipif(sys.platform == "win32", reason="there is no limit of a file's size")
async def test_a_full_disk_leaves_nothing(
    sqlite_template: Path, tmp_path: Path, form: Form
) -> None:
    """No folder, no part of one; the error says what to do."""
    needs(form)
    shutil.copyfile(sqlite_template, tmp_path / "log.sqlite")
    log = Place(f"sqlite:///{tmp_path / 'log.sqlite'}")
    await filled(log, list(lives(7, 400)))
    verb = f"{sys.executable} -m oms.cli --database {log.url} export events out"
    ended = await asyncio.to_thread(
        subprocess.run,
        ["bash", "-c", f"ulimit -f 60; exec {verb} --format {form}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert ended.returncode == 1, ended.stderr
    assert "nothing of it was left" in ended.stderr
    assert left_in(tmp_path) == set()


async def test_places_that_cannot_be_used_are_refused(log: Place, tmp_path: Path) -> None:
    """What is there is never overwritten, and a folder that is missing is not made."""
    (tmp_path / "out").mkdir()
    (tmp_path / "mine.part").mkdir()
    (tmp_path / "mine.part" / "kept").touch()
    for out, words in (
        (tmp_path / "out", "exists already"),
        (tmp_path / "no" / "x", "no folder"),
        (tmp_path / "mine", "is not of an export"),
    ):
        with pytest.raises(ConfigurationError, match=words):
            await exported(log, out)
        with pytest.raises(ConfigurationError, match=words):
            async with reading(log) as reader:
                await pack(reader, Query(), out)
    assert (tmp_path / "mine.part" / "kept").exists()


# ── altered ──────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Sealed:
    """A signed export and a pack of one log."""

    folder: Path
    archive: Path
    signer: Signer

    def verdict(self, path: Path) -> str:
        try:
            verify.check(path, verify.Options([self.signer.public]))
        except verify.DamageError as error:
            return str(error)
        return ""


@pytest.fixture
async def sealed(log: Place, tmp_path: Path) -> Sealed:
    signer = make_key(tmp_path / "oms.key", "paper")
    places = Places(CheckpointFile(tmp_path / "log.checkpoints"))
    async with reading(log) as reader:
        async for one in seal(reader, signer, places, SystemClock()):
            assert one.last
        notes = places.file.notes()
        await pack(reader, Query(), tmp_path / "pack.zip", signer=signer, notes=notes)
        await pack(reader, Query(), tmp_path / "again.zip", signer=signer, notes=notes)
        request = Request("events", "jsonl", Query())
        await export(reader, request, tmp_path / "out", signer=signer, notes=notes)
    assert (tmp_path / "pack.zip").read_bytes() == (tmp_path / "again.zip").read_bytes()
    return Sealed(tmp_path / "out", tmp_path / "pack.zip", signer)


def flip(content: bytes, dice: random.Random) -> bytes:
    at = dice.randrange(len(content))
    return content[:at] + bytes([content[at] ^ 1 << dice.randrange(8)]) + content[at + 1 :]


def cut(content: bytes, dice: random.Random) -> bytes:
    return content[: dice.randrange(len(content))]


def delete_line(content: bytes, dice: random.Random) -> bytes:
    lines = content.splitlines(keepends=True)
    del lines[dice.randrange(len(lines))]
    return b"".join(lines)


def swap_lines(content: bytes, dice: random.Random) -> bytes:
    lines = content.splitlines(keepends=True)
    at = dice.randrange(max(1, len(lines) - 1))
    lines[at : at + 2] = lines[at : at + 2][::-1]
    return b"".join(lines)


def insert(content: bytes, dice: random.Random) -> bytes:
    at = dice.randrange(len(content))
    return content[:at] + bytes([dice.randrange(256)]) + content[at:]


HOW = (flip, cut, delete_line, swap_lines, insert)


def rehashed(folder: Path, dice: random.Random) -> None:
    """Do what an adversary does who knows the format: write digests and hashes anew."""
    lines = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    at = dice.randrange(len(lines))
    lines[at]["payload"] = lines[at]["payload"].replace("1", "2")
    previous = verify.GENESIS
    for line in lines:
        previous = verify.event_hash(previous, [line[name] for name in verify.HASHED])
        line["hash"] = previous.hex()
    (folder / "events.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["chain"]["head"] = previous.hex()
    manifest["log"] = lines[0]["hash"]
    manifest["files"][0]["sha256"] = digests(folder)["events.jsonl"]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    seals = "".join(f"{digests(folder)[name]}  {name}\n" for name in verify.SEALS[:2])
    (folder / "manifest.sha256").write_text(seals)


async def test_whatever_is_altered_in_an_export_or_a_pack_is_found(
    sealed: Sealed, tmp_path: Path
) -> None:
    """Two hundred alterations, of every file and of the archive's own bytes."""
    assert sealed.verdict(sealed.folder) == sealed.verdict(sealed.archive) == ""
    names = sorted(path.name for path in sealed.folder.iterdir() if path.stat().st_size)
    altered = tmp_path / "altered"
    for seed in range(200):
        dice = random.Random(seed)
        how = HOW[seed % len(HOW)]
        if seed % 2:
            target = altered.with_suffix(".zip")
            before = sealed.archive.read_bytes()
            target.write_bytes(after := how(before, dice))
        else:
            target = altered
            shutil.rmtree(altered, ignore_errors=True)
            shutil.copytree(sealed.folder, altered)
            file = altered / dice.choice(names)
            before = file.read_bytes()
            file.write_bytes(after := how(before, dice))
        if after != before:
            assert sealed.verdict(target), f"seed {seed}: {how.__name__}"
            assert verify.main([str(target)]) == 4 or "manifest.note" in str(file), seed


async def test_an_adversary_who_hashes_all_anew_is_found_by_the_signature(
    sealed: Sealed, tmp_path: Path
) -> None:
    """Without the key it holds, which is why the page says what needs one."""
    for seed in range(10):
        altered = tmp_path / f"altered-{seed}"
        shutil.copytree(sealed.folder, altered)
        rehashed(altered, random.Random(seed))
        assert "not of this manifest" in sealed.verdict(altered)
        (altered / "manifest.note").unlink()
        manifest = digests(altered)["manifest.json"]
        (altered / "manifest.sha256").write_text(f"{manifest}  manifest.json\n")
        assert verify.main([str(altered)]) == 0
        assert "nobody signed this" in sealed.verdict(altered)


async def test_a_pack_is_checked_with_nothing_but_the_verifier(
    sealed: Sealed, tmp_path: Path
) -> None:
    """One file and `cryptography`, in a Python that finds nothing else."""
    auditor = Auditor(tmp_path / "auditor")
    key = auditor.folder / "oms.pub"
    key.write_text(f"{sealed.signer.public}\n")
    code, said = auditor.checks(sealed.archive, "--key", key)
    assert code == 0, said
    assert "the signature of paper under the manifest holds" in said
    assert "1 signed checkpoint holds, to event" in said
    key.write_text(f"{make_key(tmp_path / 'stranger.key', 'paper').public}\n")
    code, said = auditor.checks(sealed.archive, "--key", key)
    assert (code, "a key that was not given" in said) == (4, True)


async def test_a_pack_says_which_of_its_events_no_checkpoint_covers(
    log: Place, sealed: Sealed, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A checkpoint that ends behind the range speaks for it; none has been made since."""
    key = tmp_path / "oms.key.pub"
    with zipfile.ZipFile(sealed.archive) as archive:
        last = json.loads(archive.read("manifest.json"))["last"]
    await filled(log, [intent("new"), intent("newer")])
    notes = CheckpointFile(tmp_path / "log.checkpoints").notes()
    for name, query, words in (
        ("before", Query(since=20, until=60), ""),
        ("over", Query(since=20), f"events {last + 1} to {last + 2} stand under no checkpoint"),
        ("one", Query(since=last + 2), f"event {last + 2} stands under no checkpoint"),
        ("signed", Query(since=20, until=last + 1), ""),
    ):
        out = tmp_path / f"{name}.zip"
        async with reading(log) as reader:
            await pack(reader, query, out, signer=sealed.signer, notes=notes)
        assert verify.main([str(out), "--key", str(key)]) == 0
        said = [line for line in capsys.readouterr().out.splitlines() if "no checkpoint" in line]
        assert said == ([words] if words else []), name


async def test_a_range_without_an_event_is_refused(log: Place, tmp_path: Path) -> None:
    """As a pack of it is; conditions that nothing meets leave an empty file."""
    for subject in ("events", "fills", "cases"):
        with pytest.raises(InvalidRequest, match="no event in that time"):
            await exported(log, tmp_path / "out", subject, after=10_000)
    assert left_in(tmp_path) == set()
    assert (await exported(log, tmp_path / "out", "fills", symbol="NONE")).rows == 0


async def test_a_pack_of_another_log_is_refused(
    sealed: Sealed, sqlite_template: Path, tmp_path: Path
) -> None:
    """The checkpoints of one log say nothing for another."""
    path = tmp_path / "other.sqlite"
    shutil.copyfile(sqlite_template, path)
    other = Place(f"sqlite:///{path}")
    await filled(other, list(lives(8, 5)))
    async with reading(other) as reader:
        await pack(reader, Query(), tmp_path / "other.zip", signer=sealed.signer)
    keys = [sealed.signer.public]
    lines = (tmp_path / "log.checkpoints").read_text().splitlines()
    checkpoints = verify.checked_checkpoints(verify.read_notes(lines), keys)
    verify.check(tmp_path / "other.zip", verify.Options(keys))
    with pytest.raises(verify.DamageError, match="of another log"):
        verify.check(tmp_path / "other.zip", verify.Options(keys, checkpoints))


async def test_a_pack_of_the_past_is_the_one_that_was_made_then(
    log: Place, sealed: Sealed, tmp_path: Path
) -> None:
    """The books in it are those of its end, whatever a correction says since; which order an event
    belongs to is told by what is known now, and all that was told then is told again.
    """
    with zipfile.ZipFile(sealed.archive) as archive:
        then = {name: archive.read(name) for name in archive.namelist()}
        last = json.loads(then["manifest.json"])["last"]
    more = [intent("new"), execution("0009.z.01.01", 5, order_id="new"), *corrections(log)]
    await filled(log, more)
    async with reading(log) as reader:
        notes = CheckpointFile(tmp_path / "log.checkpoints").notes()
        query = Query(until=last + 1)
        await pack(reader, query, tmp_path / "past.zip", signer=sealed.signer, notes=notes)
    with zipfile.ZipFile(tmp_path / "past.zip") as archive:
        again = {name: archive.read(name) for name in archive.namelist()}
    told, told_again = (set(one.pop("order_events.csv").splitlines()) for one in (then, again))
    assert told < told_again
    for name in {*then} - {"manifest.json", "manifest.note", "manifest.sha256"}:
        assert again[name] == then[name], name
    await exported(log, tmp_path / "now", "positions")
    async with reading(log) as reader:
        past = await books_at(reader, last)
        request = Request("positions", "csv", Query())
        await export(reader, request, tmp_path / "past", past=past)
    assert (tmp_path / "past" / "positions.csv").read_bytes() == then["positions.csv"]
    assert len(rows_of(tmp_path / "now", "positions", "jsonl")) > 0
    manifest = json.loads((tmp_path / "past" / "manifest.json").read_text())
    assert manifest["as_of"]["sequence"] == last


def corrections(log: Place) -> list[Pending]:
    """Take back what the first fill of the log was."""
    ((exec_id,),) = log.sql("SELECT exec_id FROM fills ORDER BY booked_sequence LIMIT 1")
    stem = str(exec_id).rpartition(".")[0]
    return [execution(f"{stem}.09", 0, number=2)]


async def test_a_pack_has_every_file_that_it_names(sealed: Sealed) -> None:
    """Orders event by event with who and when, books, and a dictionary of all of it."""
    with zipfile.ZipFile(sealed.archive) as archive:
        names = archive.namelist()
        assert names[:3] == ["manifest.json", "manifest.note", "manifest.sha256"]
        text = archive.read("order_events.csv").decode("utf-8-sig")
        rows = list(csv.DictReader(io.StringIO(text, newline="")))
        assert {row["actor"] for row in rows} >= {"strategy:test", "broker"}
        first = next(row for row in rows if row["type"] == "OrderIntended")
        assert first["said"].startswith("We are about to send: BUY 100")
        dictionary = json.loads(archive.read("dictionary.json"))
        assert dictionary["events"]["OrderDenied"]["meaning"].startswith("Our own check refused")
        assert "shape" not in dictionary["events"]["Terms"]["fields"]
        for name in names:
            if name.endswith(".csv"):
                assert name in dictionary["files"]


# ── masked ───────────────────────────────────────────────────────────────────────────────────────


def personal_facts() -> list[Pending]:
    """Facts that name accounts, people and machines wherever a fact can."""
    said = Context("broker", session_epoch=1)
    of_model = [
        {"modelCode": "Smith Family", "acctNumber": "F1112223"}.get(name, "11")
        for name in names_of(["11"] * 31, 178)
    ]
    assert {"Smith Family", "F1112223"} < set(of_model)
    return [
        Pending(gap("the line to tower.home").event, Context("daemon"), tuple(of_model)),
        Pending(
            NoticeReceived(
                subject_id=3, code=201, text=f"Order rejected: {ACCOUNT} of Anna Müller"
            ),
            said,
            ("4", "2", "3", "201", f"Rejected for U7654321 and xx{ACCOUNT}xx", "x"),
        ),
        Pending(
            BreakAssigned(break_id="B12345678", assignee="Anna Müller"), Context("person:anna")
        ),
        Pending(
            DaemonStarted(
                program_version="1", host="tower.home", process_id=1, client_id=1, mode="paper"
            ),
            Context("daemon"),
        ),
        Pending(NoticeReceived(subject_id=3, code=399, text="ask ANNA at tower.home"), said),
        # What the log cannot take twice has a digest over its words as its key.
        Pending(
            NaturalKeyConflict(
                key=f"execution:{ACCOUNT}:1",
                type_name="ExecutionReceived",
                stored_sequence=1,
                payload=json.dumps({"account": ACCOUNT, "text": "of M\u00fcller"}),
            ),
            said,
        ),
        Pending(
            BreakOpened(
                break_id="B87654321",
                run_id="R1",
                finding=Finding(
                    result="break",
                    subject="cash",
                    break_class="cash_drift",
                    severity="low",
                    key=f"cash:{ACCOUNT}:USD",
                    account=ACCOUNT,
                    theirs=f"{ACCOUNT} has 5 USD",
                    text="Anna knows",
                ),
            ),
            Context("reconciler"),
        ),
        Pending(BreakAssigned(break_id="B87654321", assignee="buy"), Context("strategy:day")),
    ]


#: Whom and what those facts name.
PERSONAL = (
    ACCOUNT,
    *("U7654321", "F1112223", "Smith Family", "anna", "Müller", "tower.home", "strategy:test"),
    *("B12345678", "B87654321"),
)


@pytest.mark.parametrize("form", FORMS)
async def test_no_masked_name_is_left_in_any_byte(log: Place, tmp_path: Path, form: Form) -> None:
    """Accounts, people, strategies, machines: in columns, payloads, wire fields and free words."""
    needs(form)
    await filled(log, personal_facts())
    seen: set[str] = set()
    for subject in SUBJECTS:
        out = tmp_path / subject
        await exported(
            log, out, subject, form, key=KEY, account=ACCOUNT if subject == "fills" else None
        )
        manifest = json.loads((out / "manifest.json").read_text())
        assert "chain" not in manifest
        assert manifest["masked"]
        assert "head" not in manifest
        texts = [path.read_bytes() for path in out.rglob("*") if path.is_file()]
        if form == "parquet":
            texts.append(repr(rows_of(out, subject, form)).encode())
        for text in texts:
            for name in PERSONAL:
                assert name.lower().encode() not in text.lower(), (subject, name)
            if subject == "events" and b'"files"' not in text:
                assert not re.search(rb"(?<![0-9a-f])[0-9a-f]{64}(?!  )", text), subject
        sides = {row["side"] for row in rows_of(out, subject, form) if "side" in row}
        assert sides <= {"BUY", "SELL"}
        seen |= {row["account"] for row in rows_of(out, subject, form) if "account" in row}
        assert verify.main([str(out)]) == 0
    (pseudonym,) = seen - {None, ""}
    assert pseudonym.startswith("masked-")


async def test_a_masked_pack_names_nobody_and_says_what_it_cannot_prove(
    log: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In any of its files; the same log and key give the same bytes, another byte is found."""
    await filled(log, personal_facts())
    signer = make_key(tmp_path / "oms.key", "paper")
    paths = [tmp_path / "one.zip", tmp_path / "two.zip"]
    async with reading(log) as reader:
        for path in paths:
            made = await pack(reader, Query(), path, signer=signer, mask_key=KEY)
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert made.checkpoints == 0
    with zipfile.ZipFile(paths[0]) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    files["events.jsonl.gz"] = gzip.decompress(files["events.jsonl.gz"])
    assert not {"checkpoints.jsonl", "proofs.jsonl"} & files.keys()
    manifest = json.loads(files["manifest.json"])
    assert ("chain" in manifest, bool(manifest["masked"])) == (False, True)
    digests = b"".join(files.pop(name) for name in verify.SEALS)
    for name, content in files.items():
        assert not re.search(rb"(?<![0-9a-f])[0-9a-f]{64}", content), name
        for person in PERSONAL:
            assert person.lower().encode() not in (content + digests).lower(), (name, person)
    assert b"checkpoints.jsonl" not in files["README.txt"]
    assert b'"hash"' not in files["events.jsonl.gz"]
    assert b"masked-" in files["order_events.csv"]
    key = str(tmp_path / "oms.key.pub")
    capsys.readouterr()
    assert verify.main([str(paths[0]), "--key", key]) == 0
    said = capsys.readouterr().out
    assert "the signature of paper under the manifest holds" in said
    assert "its accounts and names are masked" in said
    content = bytearray(paths[0].read_bytes())
    content[len(content) // 2] ^= 1
    paths[1].write_bytes(content)
    assert verify.main([str(paths[1]), "--key", key]) == 4


async def test_a_pseudonym_is_of_its_key(log: Place, tmp_path: Path) -> None:
    """The same key gives the same words, in every export; another key gives others."""
    keys = {"one": KEY, "same": KEY, "other": KEY[::-1]}
    accounts = {}
    for name, key in keys.items():
        await exported(log, tmp_path / name, "fills", key=key)
        accounts[name] = rows_of(tmp_path / name, "fills", "jsonl")[0]["account"]
    assert accounts["one"] == accounts["same"] != accounts["other"]
    assert digests(tmp_path / "one") == digests(tmp_path / "same")


async def test_conditions_that_records_have_not_are_refused(log: Place, tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="fills cannot be chosen by type"):
        await exported(log, tmp_path / "out", "fills", type="ExecutionReceived")
    with pytest.raises(InvalidRequest, match="no --since"):
        await exported(log, tmp_path / "out", "positions", since="2026-01-01")


async def test_the_programs_of_the_reference_read_an_export(
    log: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each block of Python of the page runs, and prints sums that are right."""
    for package in ("duckdb", "pandas", "pyarrow"):
        pytest.importorskip(package, reason=f"{package} is not installed: ib-oms[readers]")
    await exported(log, tmp_path / "fills", "fills", "parquet")
    await exported(log, tmp_path / "sheet", "fills", "csv")
    await exported(log, tmp_path / "events", "events", "jsonl")
    page = Path(__file__).parents[2] / "docs" / "reference" / "export.md"
    blocks = page.read_text(encoding="utf-8").split("```python\n")[1:]
    monkeypatch.chdir(tmp_path)
    said = ""
    for block in blocks:
        with contextlib.redirect_stdout(io.StringIO()) as printed, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the other programs, about each other
            exec(block.partition("```")[0], {})
        said += printed.getvalue()
    fills = rows_of(tmp_path / "fills", "fills", "parquet")
    paid = sum(Decimal(row["commission"] or 0) for row in fills)
    assert len(blocks) == 2
    assert str(paid) in said
    assert "('OrderIntended', 60)" in said


# ── from the shell ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.slow
async def test_bad_input_is_said_with_what_to_do(log: Place, tmp_path: Path) -> None:
    """A place that exists, a form that is none, a key that is missing, short or open to others."""
    shell = Shell(tmp_path, {"OMS_DATABASE_URL": log.url})
    key = tmp_path / "mask.key"
    (tmp_path / "there").mkdir()
    out, masked = ("export", "fills", "out"), ("--mask", "--key", "mask.key")
    for arguments, words in (
        (("export", "fills", "there"), "exists already"),
        (("export", "fills", "no/out"), "there is no folder"),
        (("export", "trades", "out"), "trades"),
        ((*out, "--format", "xlsx"), "xlsx"),
        ((*out, "--mask"), "needs --key"),
        ((*out, "--key", "mask.key"), "--key is the key of --mask"),
        ((*out, *masked), "cannot be read"),
        ((*out, "--since", "2026-06-01T10:00"), "no time zone"),
        (("pack", "there"), "exists already"),
        (("pack", "x.zip", "--since", "2099-01-01"), "no event in that time"),
        ((*out, "--since", "2099-01-01"), "no event in that time"),
        (("export", "events", "out", "--since", "2099-01-01"), "no event in that time"),
    ):
        said = await shell.oms(*arguments, expect=2)
        assert words in said.err, arguments
    if sys.platform != "win32":
        endless = ("--mask", "--key", os.devnull)
        assert "not a regular file" in (await shell.oms(*out, *endless, expect=2)).err
    key.write_bytes(b"short")
    key.chmod(0o600)
    assert "could be guessed" in (await shell.oms(*out, *masked, expect=2)).err
    if sys.platform != "win32":
        key.write_bytes(KEY)
        key.chmod(0o644)
        assert "chmod 600" in (await shell.oms(*out, *masked, expect=2)).err
    assert left_in(tmp_path) == {"there", "mask.key"}


@pytest.mark.slow
async def test_an_export_and_a_pack_say_what_they_made(log: Place, tmp_path: Path) -> None:
    """As JSON; signed where a key is set."""
    signer = make_key(tmp_path / "oms.key", "paper")
    shell = Shell(tmp_path, {"OMS_DATABASE_URL": log.url, "OMS_SIGNING_KEY_FILE": "oms.key"})
    await shell.oms("checkpoint")
    said = (await shell.oms("export", "fills", "out", "--format", "csv", "--json")).json
    assert {name: said[name] for name in ("kind", "out", "resumed", "files", "signed")} == {
        "kind": "export",
        "out": "out",
        "resumed": 0,
        "files": ["fills.csv"],
        "signed": True,
    }
    said = (await shell.oms("pack", "out.zip", "--json")).json
    assert (said["first"], said["checkpoints"], said["signed"]) == (1, 1, True)
    for path in (tmp_path / "out", tmp_path / "out.zip"):
        assert verify.check(path, verify.Options([signer.public])).manifest_signed


async def test_parquet_without_its_package_names_the_extra(
    log: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To write it; nothing is left of what could not be written. It is checked without."""
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ConfigurationError, match="pyarrow") as error:
        await exported(log, tmp_path / "out", form="parquet")
    assert "ib-oms[parquet]" in error.value.hint
    assert left_in(tmp_path) == set()
    monkeypatch.undo()
    needs("parquet")
    await exported(log, tmp_path / "out", form="parquet")
    code, said = Auditor(tmp_path / "auditor").checks(tmp_path / "out")
    assert (code, "events hold" in said) == (0, True)
