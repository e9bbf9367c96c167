"""A verifier of logs by a stranger: written from docs/reference/log-format.md alone.

It shares no code with `oms`, and is as short as the format allows. `verdict` returns an empty text
where a database and its checkpoints hold, else the first thing that does not.
"""

from __future__ import annotations

import json
import sqlite3
from base64 import b64decode
from contextlib import closing
from hashlib import sha256
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

COLUMNS = (
    "sequence,type,version,recorded_at,occurred_at,lease_epoch,session_epoch,actor,"
    "correlation_id,causation_sequence,natural_key,payload,wire"
)


def verdict(database: Path, checkpoints: Path | None = None, key: str = "") -> str:
    hashes = [bytes(32)]
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        for *columns, stored in connection.execute(
            f"SELECT {COLUMNS},hash FROM events ORDER BY sequence"
        ):
            if columns[0] != len(hashes):
                return f"{len(hashes)} is missing"
            text = "\x1f".join("" if c is None else str(c) for c in columns)
            hashes.append(sha256(hashes[-1] + text.encode()).digest())
            if hashes[-1] != stored:
                return f"{columns[0]} has another hash"
        ends = connection.execute("SELECT sequence,hash FROM checkpoints WHERE name='log'")
        if any(hashes[end : end + 1] != [digest] for end, digest in ends):
            return "cut"
    if checkpoints is None:
        return ""
    notes = [json.loads(line)["note"] for line in checkpoints.read_text().splitlines()]
    return _signed(hashes, notes, dict([_key(key)]))


def _key(line: str) -> tuple[bytes, Ed25519PublicKey]:
    name, _, raw = line.strip().split("+", 2)
    key = b64decode(raw)
    return sha256(name.encode() + b"\n" + key).digest()[:4], Ed25519PublicKey.from_public_bytes(
        key[1:]
    )


def _signed(hashes: list[bytes], notes: list[str], keys: dict[bytes, Ed25519PublicKey]) -> str:
    previous, after = "0" * 64, 1
    for note in notes:
        text, _, line = note.rpartition("\n\n")
        text += "\n"
        raw = b64decode(line.split(" ")[2])
        try:
            keys[raw[:4]].verify(raw[4:], text.encode())
        except (KeyError, InvalidSignature):
            return "not signed"
        kind, *lines = text.splitlines()
        said = dict(one.split(" ", 1) for one in lines)
        if kind == "ib-oms new key 1":
            keys.update([_key(said["key"])])
            continue
        first, last = int(said["first"]), int(said["last"])
        if (first, said["previous"]) != (after, previous):
            return f"the checkpoint at {last} does not follow"
        if last >= len(hashes) or hashes[last].hex() != said["head"]:
            return f"{first} to {last} are others"
        if said["log"] != hashes[1].hex():
            return "another log"
        if _root(hashes[first : last + 1]).hex() != said["root"]:
            return f"the checkpoint at {last} has another root"
        previous, after = sha256(text.encode()).hexdigest(), last + 1
    return ""


def _root(leaves: list[bytes]) -> bytes:
    if len(leaves) == 1:
        return sha256(b"\0" + leaves[0]).digest()
    half = 1 << (len(leaves) - 1).bit_length() - 1
    return sha256(b"\1" + _root(leaves[:half]) + _root(leaves[half:])).digest()
