"""A verifier of logs, exports and packs by a stranger: written from docs/reference/log-format.md
alone.

It shares no code with `oms`, and is as short as the format allows. `verdict` returns an empty text
where a database and its checkpoints hold, else the first thing that does not; `parcel_verdict` does
so for an export of events, or a pack.
"""

from __future__ import annotations

import csv
import gzip
import json
import sqlite3
import struct
import zlib
from base64 import b64decode
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from io import StringIO
from itertools import pairwise
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

COLUMNS = (
    "sequence,type,version,recorded_at,occurred_at,lease_epoch,session_epoch,actor,"
    "correlation_id,causation_sequence,natural_key,payload,wire"
)
Said = dict[str, str]


class WrongError(Exception):
    """What does not hold."""


def verdict(database: Path, checkpoints: Path | None = None, key: str = "") -> str:
    """Hold a database against a file of checkpoints, with a key alone against those that its log
    remembers.
    """
    hashes, remembered = [bytes(32)], list[str]()
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        for *columns, stored in connection.execute(
            f"SELECT {COLUMNS},hash FROM events ORDER BY sequence"
        ):
            if columns[0] != len(hashes):
                return f"{len(hashes)} is missing"
            hashes.append(_hash(hashes[-1], columns))
            if hashes[-1] != stored:
                return f"{columns[0]} has another hash"
            if columns[1] == "CheckpointSigned":
                event = json.loads(columns[11])
                remembered += [*event.get("key_notes", ()), event["note"]]
        ends = connection.execute("SELECT sequence,hash FROM checkpoints WHERE name='log'")
        if any(hashes[end : end + 1] != [digest] for end, digest in ends):
            return "cut"
    if not key:
        return ""
    notes = "".join(json.dumps({"note": note}) + "\n" for note in remembered)
    try:
        lines = notes if checkpoints is None else checkpoints.read_text()
        for said in _checkpoints(lines, dict(map(_key, key.splitlines())), from_first=True):
            first, last = int(said["first"]), int(said["last"])
            if last >= len(hashes) or hashes[last].hex() != said["head"]:
                return f"{first} to {last} are others"
            if said["log"] != hashes[1].hex():
                return "another log"
            if _root(hashes[first : last + 1]).hex() != said["root"]:
                return f"the checkpoint at {last} has another root"
    except WrongError as error:
        return str(error)
    return ""


def _hash(before: bytes, columns: list[Any]) -> bytes:
    text = "\x1f".join("" if c is None else str(c) for c in columns)
    return sha256(before + text.encode()).digest()


# ── notes ──


def _key(line: str) -> tuple[bytes, Ed25519PublicKey]:
    name, _, raw = line.strip().split("+", 2)
    key = b64decode(raw)
    return sha256(name.encode() + b"\n" + key).digest()[:4], Ed25519PublicKey.from_public_bytes(
        key[1:]
    )


def _note(note: str, keys: dict[bytes, Ed25519PublicKey]) -> tuple[str, str, Said]:
    """Return the text of a note that one of the keys signed, its kind, and what it says."""
    text, _, line = note.rpartition("\n\n")
    text += "\n"
    raw = b64decode(line.split(" ")[2])
    try:
        keys[raw[:4]].verify(raw[4:], text.encode())
    except (KeyError, InvalidSignature):
        raise WrongError("not signed") from None
    kind, *lines = text.splitlines()
    return text, kind, dict(one.split(" ", 1) for one in lines)


def _checkpoints(
    lines: str, keys: dict[bytes, Ed25519PublicKey], *, from_first: bool = False
) -> list[Said]:
    found: list[Said] = []
    used: set[bytes] = set()
    previous, after = ("0" * 64, 1) if from_first else ("", 0)
    for line in lines.splitlines():
        note = json.loads(line)["note"]
        text, kind, said = _note(note, keys)
        used.add(b64decode(note.split(" ")[-1])[:4])
        if kind == "ib-oms new key 1":
            for one in used:
                keys.pop(one, None)
            keys.update([_key(said["key"])])
            continue
        if after and (int(said["first"]), said["previous"]) != (after, previous):
            raise WrongError(f"the checkpoint at {said['last']} does not follow")
        found.append(said)
        previous, after = sha256(text.encode()).hexdigest(), int(said["last"]) + 1
    return found


def _root(leaves: list[bytes]) -> bytes:
    if len(leaves) == 1:
        return sha256(b"\0" + leaves[0]).digest()
    half = 1 << (len(leaves) - 1).bit_length() - 1
    return sha256(b"\1" + _root(leaves[:half]) + _root(leaves[half:])).digest()


# ── exports and packs ──


def parcel_verdict(path: Path, key: str) -> str:
    """Return the first thing of an export's folder or a pack that does not hold, else nothing."""
    try:
        _check_parcel(path, dict([_key(key)]))
    except WrongError as error:
        return str(error)
    except (ArithmeticError, LookupError, OSError, StopIteration, TypeError, ValueError) as error:
        return f"unreadable: {error!r}"
    except (csv.Error, struct.error, zlib.error, EOFError) as error:
        return f"unreadable: {error!r}"
    return ""


def _check_parcel(path: Path, keys: dict[bytes, Ed25519PublicKey]) -> None:
    if path.is_file():
        files = _unpacked(path.read_bytes())
    else:
        inside = (one for one in path.rglob("*") if one.is_file())
        files = {one.relative_to(path).as_posix(): one.read_bytes() for one in inside}
    manifest = json.loads(files["manifest.json"])
    digests = {name: sha256(content).hexdigest() for name, content in files.items()}
    lines = "".join(f"{digests[one]}  {one}\n" for one in ("manifest.json", "manifest.note"))
    named = {one["name"]: one["sha256"] for one in manifest["files"]}
    seals = {f"manifest.{one}" for one in ("json", "note", "sha256")}
    if files["manifest.sha256"] != lines.encode() or named != {
        name: digest for name, digest in digests.items() if name not in seals
    }:
        raise WrongError("another file")
    marks = _checkpoints(files["checkpoints.jsonl"].decode(), keys)
    _, kind, said = _note(files["manifest.note"].decode(), keys)
    if kind != "ib-oms manifest 1" or said["sha256"] != digests["manifest.json"]:
        raise WrongError("the manifest is not signed")
    if {one["log"] for one in (*marks, said)} != {manifest["log"]}:
        raise WrongError("another log")
    proofs = [json.loads(line) for line in files["proofs.jsonl"].decode().splitlines()]
    if "chain" in manifest:
        chain = manifest["chain"]
        rows = [row for one in chain["files"] for row in _rows(one, files[one])]
        _check_range(chain, rows, marks, proofs, manifest["log"])
    else:
        rows = [row for one in manifest["events"] for row in _rows(one, files[one])]
        _check_some(rows, marks, proofs)


def _unpacked(content: bytes) -> dict[str, bytes]:
    """Return the files of a pack; it is made again from them, and must be the same bytes."""
    files: dict[str, bytes] = {}
    made = table = b""
    at = 0
    while content[at : at + 4] == b"PK\x03\x04":
        size, length = struct.unpack_from("<L4xH", content, at + 18)[0:2]
        name = content[at + 30 : at + 30 + length]
        one = content[at + 30 + length : at + 30 + length + size]
        same = struct.pack("<4H3L2H", 0, 0, 0, 33, zlib.crc32(one), size, size, length, 0)
        header = b"PK\x03\x04\x14\x00" + same + name
        table += b"PK\x01\x02\x14\x03\x14\x00" + same + bytes(6)
        table += struct.pack("<2L", 0o100644 << 16, at) + name
        made += header + one
        at += len(header) + size
        files[name.decode()] = one
    count = len(files)
    end = struct.pack("<4H2LH", 0, 0, count, count, len(table), at, 0)
    if content != made + table + b"PK\x05\x06" + end:
        raise WrongError("another archive")
    return files


def _rows(name: str, content: bytes) -> Iterator[tuple[list[Any], str]]:
    names = COLUMNS.split(",")
    if name.endswith(".csv"):
        for row in csv.DictReader(StringIO(content.decode("utf-8-sig"), newline="")):
            columns = [row[one].removeprefix("'") for one in names]
            yield [int(columns[0]), *columns[1:]], row["hash"]
        return
    if name.endswith(".parquet"):
        for *columns, stored in _parquet(content, [*names, "hash"]):
            for at in (3, 4):
                if columns[at] is not None:
                    moment = datetime.fromtimestamp(0, UTC) + timedelta(microseconds=columns[at])
                    columns[at] = f"{moment:%Y-%m-%dT%H:%M:%S.%f}+00:00"
            yield columns, stored
        return
    plain = gzip.decompress(content) if name.endswith(".gz") else content
    for line in plain.decode().split("\n")[:-1]:
        event = json.loads(line)
        yield [event[one] for one in names], event["hash"]


def _parquet(content: bytes, names: list[str]) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of a Parquet file in the form that the page describes."""
    begin = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
    footer = _Compact(content, begin).struct()
    nullable = {one[4].decode(): one.get(3) == 1 for one in footer[2][1:]}
    for group in footer[4]:
        columns = []
        for name in names:
            (said,) = (c[3] for c in group[1] if c[3][3] == [name.encode()])
            columns.append(_column(content, said, group[3], nullable[name]))
        yield from zip(*columns, strict=True)


def _column(content: bytes, said: dict[int, Any], rows: int, nullable: bool) -> list[Any]:
    found: list[Any] = []
    at = said[9]
    while len(found) < rows:
        reader = _Compact(content, at)
        page = reader.struct()
        at = reader.at + page[3]
        if page[1] or page[5][2] or said[4] != 2:
            raise ValueError("another form")
        plain = gzip.decompress(content[reader.at : at])
        count = page[5][1]
        there = [True] * count
        if nullable:
            length = int.from_bytes(plain[:4], "little")
            there = _Compact(plain[: 4 + length], 4).bits(count)
            plain = plain[4 + length :]
        for one in there:
            size = 8 if said[1] == 2 else 4 + int.from_bytes(plain[:4], "little")
            value, plain = (plain[:size], plain[size:]) if one else (None, plain)
            if value is not None and len(value) < size:
                raise ValueError("cut")
            number = said[1] == 2 and value is not None
            found.append(
                int.from_bytes(value or b"", "little", signed=True)
                if number
                else value and value[4:].decode()
            )
    return found


class _Compact:
    """Thrift's compact protocol, and the runs of bits of Parquet, from a place on."""

    def __init__(self, content: bytes, at: int) -> None:
        self.content, self.at = content, at

    def byte(self) -> int:
        self.at += 1
        return self.content[self.at - 1]

    def unsigned(self) -> int:
        low = self.byte()
        return low if low < 128 else low - 128 + 128 * self.unsigned()

    def signed(self) -> int:
        found = self.unsigned()
        return -(found + 1) // 2 if found % 2 else found // 2

    def struct(self) -> dict[int, Any]:
        found: dict[int, Any] = {}
        number = 0
        while head := self.byte():
            number = number + head // 16 if head // 16 else self.signed()
            found[number] = head % 16 == 1 if head % 16 < 3 else self.value(head % 16)
        return found

    def value(self, kind: int) -> Any:
        if kind < 4:
            return self.byte()
        if kind < 7:
            return self.signed()
        if kind < 9:
            size = 8 if kind == 7 else self.unsigned()
            self.at += size
            return self.content[self.at - size : self.at]
        if kind < 11:
            head = self.byte()
            size = self.unsigned() if head // 16 == 15 else head // 16
            return [self.value(head % 16) for _ in range(size)]
        return self.struct()

    def bits(self, count: int) -> list[bool]:
        found: list[bool] = []
        while len(found) < count:
            head = self.unsigned()
            if head % 2:
                for _ in range(head // 2):
                    found += [c == "1" for c in f"{self.byte():08b}"[::-1]]
            else:
                found += [self.byte() == 1] * (head // 2)
        return found[:count]


def _check_range(
    chain: dict[str, Any],
    rows: list[tuple[list[Any], str]],
    marks: list[Said],
    proofs: list[dict[str, Any]],
    log: str,
) -> None:
    first, last = chain["first"], chain["last"]
    if [row[0] for row, _ in rows] != list(range(first, last + 1)):
        raise WrongError("other sequences")
    hashes = {first - 1: bytes.fromhex(chain["hash_before"])}
    for columns, stored in rows:
        hashes[columns[0]] = _hash(hashes[columns[0] - 1], columns)
        if hashes[columns[0]].hex() != stored:
            raise WrongError(f"{columns[0]} has another hash")
    if hashes[last].hex() != chain["head"] or hashes.get(1, bytes.fromhex(log)).hex() != log:
        raise WrongError("another end")
    for mark in marks:
        end = int(mark["last"])
        if end in hashes and hashes[end].hex() != mark["head"]:
            raise WrongError(f"the checkpoint at {end} was signed over others")
        if int(mark["first"]) <= last < end:
            known = {one: digest for one, digest in hashes.items() if one >= first}
            _check_proof(mark, known, next(one for one in proofs if one["last"] == end))


def _check_some(
    rows: list[tuple[list[Any], str]], marks: list[Said], proofs: list[dict[str, Any]]
) -> None:
    by_end = {int(one["last"]): one for one in marks}
    hashes, done = {0: bytes(32)}, 0
    sequences = [row[0] for row, _ in rows]
    if any(one >= other for one, other in pairwise(sequences)):
        raise WrongError("another order")
    for proof in proofs:
        before = iter(proof["before"])
        inside = {}
        while done < len(rows) and proof["first"] <= sequences[done] <= proof["last"]:
            columns, stored = rows[done]
            at = columns[0]
            if at - 1 not in hashes:
                hashes[at - 1] = bytes.fromhex(next(before))
            hashes[at] = inside[at] = _hash(hashes[at - 1], columns)
            if hashes[at].hex() != stored:
                raise WrongError(f"{at} has another hash")
            done += 1
        if next(before, None) is not None:
            raise WrongError("an event is missing")
        if proof["last"] in by_end:
            _check_proof(by_end[proof["last"]], inside, proof)
        elif any(int(one["first"]) <= at <= int(one["last"]) for one in marks for at in inside):
            raise WrongError("no proof")
    if done < len(rows):
        raise WrongError("no proof")


def _check_proof(mark: Said, known: dict[int, bytes], proof: dict[str, Any]) -> None:
    roots = iter(proof["roots"])

    def root(first: int, end: int) -> bytes:
        if not any(first <= one < end for one in known):
            return bytes.fromhex(next(roots))
        if end - first == 1:
            return sha256(b"\0" + known[first]).digest()
        half = first + (1 << (end - first - 1).bit_length() - 1)
        left = root(first, half)
        return sha256(b"\1" + left + root(half, end)).digest()

    found = root(int(mark["first"]), int(mark["last"]) + 1)
    if found.hex() != mark["root"] or next(roots, None) is not None:
        raise WrongError(f"the checkpoint at {mark['last']} was signed over others")
