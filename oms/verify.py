"""Check a log, an export, a pack or a proof, with this file and nothing else of the program.

    python verify.py FILE [--key PUB ...] [--checkpoints NOTES] [--expect SEQ:HASH]
                          [--archive FOLDER] [--json]
    python verify.py NOTES --stamps FOLDER

It needs Python 3.11 or later, and the package `cryptography` where signatures are checked. Copy it
to wherever the auditor works: it opens what it checks for reading only, and imports nothing of the
program whose log it judges. docs/reference/log-format.md describes what it checks, well enough that
a stranger can write another one.

FILE is a SQLite database, a folder or `.zip` with a `manifest.json` (an export or an examination
pack), a `.jsonl` of events, or a proof. With --key a database is held against the checkpoints in
NOTES, else in FILE.checkpoints beside it, else those that the log itself remembers; that none is
found is a failure. Texts that left a database
are read from the archive that it names, or from --archive. The exit status
is 0 where all of it holds, 4 where something does not, 2 where it could not be checked. With
--stamps FILE is a file of notes: its time stamps are written to FOLDER, for `openssl ts -verify`.
"""

from __future__ import annotations

import argparse
import base64
import csv
import gzip
import hashlib
import io
import json
import re
import sqlite3
import struct
import sys
import zipfile
import zlib
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import IO, Any, Final

#: The hash before the first event.
GENESIS: Final = bytes(32)
#: The columns of an event that its hash covers, in their order.
HASHED: Final = (
    "sequence",
    "type",
    "version",
    "recorded_at",
    "occurred_at",
    "lease_epoch",
    "session_epoch",
    "actor",
    "correlation_id",
    "causation_sequence",
    "natural_key",
    "payload",
    "wire",
)
#: The first line of what a signature stands under says what was signed.
CHECKPOINT: Final = "ib-oms checkpoint 1"
NEW_KEY: Final = "ib-oms new key 1"
MANIFEST: Final = "ib-oms manifest 1"
#: The algorithm byte of Ed25519 in signed notes (C2SP signed-note).
ED25519: Final = b"\x01"
#: What stands in place of a text that left a database.
REMOVED: Final = ""
#: Events of a database that are read at a time.
PAGE_ROWS: Final = 2_000
#: Beside the files that a manifest names: itself, the signature under it, and the digests of both.
SEALS: Final = ("manifest.json", "manifest.note", "manifest.sha256")
#: The type of the events by which a log remembers its checkpoints.
REMEMBERED: Final = "CheckpointSigned"
#: In an export or a pack: its signed notes, and what shows that its events stand under them.
CHECKPOINTS: Final = "checkpoints.jsonl"
PROOFS: Final = "proofs.jsonl"
#: In the archive of a pack every file is stored as it is, with the first day that an archive can
#: say, and the rights and the maker that Unix would give: so its bytes follow from its files.
DOS_DAY: Final = (1 << 5) | 1
MADE_BY: Final = (3 << 8) | 20
RIGHTS: Final = 0o100644 << 16
#: An export that somebody put into an archive may be compressed.
COMPRESSIONS: Final = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
ENCRYPTED: Final = 1
#: What reading an altered archive can end in.
ARCHIVE_ERRORS: Final = (
    *(OSError, EOFError, ValueError, KeyError, TypeError, RuntimeError, ArithmeticError),
    *(zipfile.BadZipFile, zlib.error, struct.error, csv.Error),
)

#: Parts of a Parquet file that are in memory at a time: those that this program writes are smaller.
FOOTER_BYTES_MAX: Final = 1 << 22
GROUP_BYTES_MAX: Final = 1 << 28
GROUP_ROWS_MAX: Final = 1 << 20
PAGE_BYTES_MAX: Final = 1 << 26
THRIFT_DEPTH_MAX: Final = 16
#: Times in Parquet are counted from here.
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
#: What reading a Parquet file can end in.
PARQUET_ERRORS: Final = (*ARCHIVE_ERRORS, LookupError, AttributeError, RecursionError)

#: What reading JSON of a file can end with, nested a hundred thousand times included.
JSON_ERRORS: Final = (ValueError, KeyError, TypeError, RecursionError)

#: An event as a file has it: its columns in `HASHED`, and its hash as bytes or hexadecimal digits.
Stored = tuple[Sequence[object], object]


class DamageError(Exception):
    """Something does not hold."""

    def __init__(self, message: str, sequence: int | None = None) -> None:
        super().__init__(message)
        #: The first event that does not hold; None where none can be named.
        self.sequence = sequence


class UncheckableError(Exception):
    """What was given cannot be checked: it is no log, or something is missing."""


# ── the chain ────────────────────────────────────────────────────────────────────────────────────


def event_hash(previous: bytes, columns: Sequence[object]) -> bytes:
    """Return the hash of an event from the hash of the one before and its columns in `HASHED`."""
    # A list, and no call for what is text already: half of a log's check is this line.
    texts = ["" if c is None else c if type(c) is str else str(c) for c in columns]
    text = "\x1f".join(texts)
    return hashlib.sha256(previous + text.encode()).digest()


def leaf_hash(content: bytes) -> bytes:
    """Return the hash of a leaf of a Merkle tree (RFC 6962, 2.1)."""
    return hashlib.sha256(b"\x00" + content).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of a node of a Merkle tree (RFC 6962, 2.1)."""
    return hashlib.sha256(b"\x01" + left + right).digest()


class Tree:
    """The root of a Merkle tree over leaves that come one after the other (RFC 6962, 2.1)."""

    def __init__(self) -> None:
        #: Hashes of the perfect subtrees so far, the largest first, with the number of leaves.
        self._peaks: list[tuple[int, bytes]] = []
        self.size = 0

    def add(self, content: bytes) -> None:
        """Add a leaf."""
        size, top = 1, leaf_hash(content)
        while self._peaks and self._peaks[-1][0] == size:
            top = node_hash(self._peaks.pop()[1], top)
            size *= 2
        self._peaks.append((size, top))
        self.size += 1

    def root(self) -> bytes:
        """Return the root; the hash of nothing for a tree without leaves."""
        if not self._peaks:
            return hashlib.sha256().digest()
        top = self._peaks[-1][1]
        for _, peak in reversed(self._peaks[:-1]):
            top = node_hash(peak, top)
        return top


def root_from_path(index: int, size: int, content: bytes, path: Sequence[bytes]) -> bytes:
    """Return the root that an inclusion path leads to (RFC 9162, 2.1.3.2).

    Raises `DamageError` for a path of the wrong length.
    """
    node, last = index, size - 1
    top = leaf_hash(content)
    for sibling in path:
        if last == 0:
            raise DamageError("the proof's path is longer than its tree is high")
        if node & 1 or node == last:
            top = node_hash(sibling, top)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            top = node_hash(top, sibling)
        node, last = node >> 1, last >> 1
    if last != 0 or not 0 <= index < size:
        raise DamageError("the proof's path is shorter than its tree is high")
    return top


def root_of_some(
    known: Sequence[tuple[int, bytes]], first: int, size: int, roots: Iterator[bytes]
) -> bytes:
    """Return the root of a tree over `size` leaves, which are numbered from `first` on, of which
    some are `known`; each part of it without such a leaf has the next of `roots`.

    Raises `DamageError` where those are too few.
    """
    if not known:
        root = next(roots, None)
        if root is None:
            raise DamageError(f"the proof of the events {first} to {first + size - 1} is cut off")
        return root
    if size == 1:
        return leaf_hash(known[0][1])
    half = 1 << (size - 1).bit_length() - 1
    cut = bisect_left(known, first + half, key=lambda leaf: leaf[0])
    left = root_of_some(known[:cut], first, half, roots)
    return node_hash(left, root_of_some(known[cut:], first + half, size - half, roots))


# ── signed notes ─────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class PublicKey:
    """A key that signatures are checked with; its text is `NAME+HASH+BASE64`, one line."""

    name: str
    #: 32 bytes of Ed25519.
    key: bytes

    @property
    def hash(self) -> bytes:
        """Return the four bytes by which a signature names its key."""
        return hashlib.sha256(self.name.encode() + b"\n" + ED25519 + self.key).digest()[:4]

    def __str__(self) -> str:
        """Return the line that `read` takes."""
        key = base64.b64encode(ED25519 + self.key).decode()
        return f"{self.name}+{self.hash.hex()}+{key}"

    @classmethod
    def read(cls, text: str) -> PublicKey:
        """Return the key that a line holds; raises `UncheckableError`."""
        name, _, rest = text.strip().partition("+")
        digest, _, encoded = rest.partition("+")
        try:
            raw = base64.b64decode(encoded, validate=True)
        except ValueError:  # `binascii.Error` is one
            raw = b""
        found = cls(name, raw[1:])
        if raw[:1] != ED25519 or len(raw) != 33 or found.hash.hex() != digest:
            raise UncheckableError(f"not a public key: {text.strip()[:80]!r}")
        return found


@dataclass(frozen=True)
class Note:
    """A text and the signature under it, as C2SP's signed-note format has them."""

    #: Ends with a line feed; the signature covers its bytes.
    text: str
    signer: str
    key_hash: bytes
    signature: bytes
    #: What a time stamp authority answered (RFC 3161), as base64; it stands beside the note.
    stamp: str = field(default="", compare=False)

    @property
    def kind(self) -> str:
        """Return the first line: what was signed."""
        return self.text.partition("\n")[0]

    @property
    def digest(self) -> str:
        """Return the hash by which the next note names this one."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    def fields(self) -> dict[str, str]:
        """Return the lines `NAME VALUE` after the first."""
        lines = self.text.splitlines()[1:]
        return dict(line.partition(" ")[::2] for line in lines)

    def __str__(self) -> str:
        """Return the note as it is stored."""
        signature = base64.b64encode(self.key_hash + self.signature).decode()
        return f"{self.text}\n— {self.signer} {signature}\n"

    @classmethod
    def read(cls, text: str) -> Note:
        """Return the note that a text holds; raises `DamageError`."""
        body, separator, line = text.rpartition("\n\n— ")
        signer, _, encoded = line.strip().partition(" ")
        try:
            raw = base64.b64decode(encoded, validate=True)
        except ValueError:  # `binascii.Error` is one
            raw = b""
        if not separator or len(raw) != 68:
            raise DamageError(f"not a signed note: {text[:60]!r}")
        return cls(body + "\n", signer, raw[:4], raw[4:])

    def check(self, keys: Iterable[PublicKey]) -> None:
        """Raise `DamageError` unless one of the keys has signed this."""
        from cryptography.exceptions import InvalidSignature  # noqa: PLC0415 - only where needed
        from cryptography.hazmat.primitives.asymmetric.ed25519 import (  # noqa: PLC0415
            Ed25519PublicKey,
        )

        for key in keys:
            if key.name == self.signer and key.hash == self.key_hash:
                try:
                    public = Ed25519PublicKey.from_public_bytes(key.key)
                    public.verify(self.signature, self.text.encode())
                except InvalidSignature:
                    raise DamageError(
                        f"the signature of {self.signer} does not fit what it stands under"
                    ) from None
                return
        raise DamageError(f"{self.signer} {self.key_hash.hex()} signed, a key that was not given")


@dataclass(frozen=True)
class Checkpoint:
    """What a signed checkpoint says of the log: these events, with this root, end in this hash."""

    note: Note
    log: str
    first: int
    last: int
    head: bytes
    root: bytes
    previous: str

    @classmethod
    def of(cls, note: Note) -> Checkpoint:
        """Return what a note says; raises `DamageError`."""
        found = note.fields()
        try:
            return cls(
                note,
                found["log"],
                int(found["first"]),
                int(found["last"]),
                bytes.fromhex(found["head"]),
                bytes.fromhex(found["root"]),
                found["previous"],
            )
        except (KeyError, ValueError) as error:
            raise DamageError(f"a checkpoint without a readable {error}") from None


def checked_checkpoints(notes: Iterable[Note], keys: Sequence[PublicKey]) -> list[Checkpoint]:
    """Return the checkpoints whose signatures and links hold, oldest first.

    Keys are trusted as `followers` says. Raises `DamageError` where one is not signed, or does not
    follow the one before.
    """
    given = list(notes)
    followers(given, keys)
    found: list[Checkpoint] = []
    for note in given:
        if note.kind == CHECKPOINT:
            one = Checkpoint.of(note)
            if found:
                _check_follows(found[-1], one)
            found.append(one)
        elif note.kind != NEW_KEY:
            raise DamageError(f"a note of a kind that is not known: {note.kind!r}")
    return found


def followers(notes: Iterable[Note], keys: Sequence[PublicKey]) -> list[PublicKey]:
    """Return the keys that are trusted after some notes: those given, and each that is named by a
    note about a new key; that note ends the trust in the keys that have signed before.

    Raises `DamageError` for a note that none of those trusted before it signed.
    """
    trusted, used, replaced = list(keys), set[bytes](), set[bytes]()
    for note in notes:
        if note.key_hash in replaced:
            raise DamageError(f"{note.signer} {note.key_hash.hex()} signed after it was replaced")
        note.check(trusted)
        used.add(note.key_hash)
        if note.kind == NEW_KEY:
            successor = _key_in(note)
            replaced |= used - {successor.hash}
            trusted = [*(one for one in trusted if one.hash not in replaced), successor]
    return trusted


def _key_in(note: Note) -> PublicKey:
    try:
        return PublicKey.read(note.fields().get("key", ""))
    except UncheckableError as error:
        raise DamageError(f"a note about a new key: {error}") from None


def _check_follows(before: Checkpoint, one: Checkpoint) -> None:
    if one.log != before.log:
        raise DamageError(f"the checkpoint at {one.last} is of another log")
    if one.first != before.last + 1 or one.previous != before.note.digest:
        raise DamageError(
            f"the checkpoint at {one.last} does not follow the one at {before.last}",
            sequence=before.last + 1,
        )


# ── what is checked ──────────────────────────────────────────────────────────────────────────────


@dataclass
class Finding:
    """What was checked, and what held."""

    events: int = 0
    first: int = 0
    last: int = 0
    head: str = ""
    files: int = 0
    #: Of an export or a pack: whether the signature under its manifest was checked.
    manifest_signed: bool = False
    #: Signed checkpoints that the events were held against, and the last event under one.
    checkpoints: int = 0
    signed_to: int = 0
    notes: list[str] = field(default_factory=list)


class Walk:
    """Follows the chain event by event and holds it against checkpoints and noted hashes."""

    def __init__(
        self,
        checkpoints: Sequence[Checkpoint] = (),
        expected: dict[int, str] | None = None,
        *,
        before: tuple[int, bytes] = (0, GENESIS),
        keep_from: int | None = None,
    ) -> None:
        """`before` is the event that the walk begins after, and its hash; the hashes from
        `keep_from` on are kept.
        """
        self._keep_from = keep_from
        self.kept: list[tuple[int, bytes]] = []
        self.found = Finding(first=before[0] + 1, last=before[0], head=before[1].hex())
        #: The hash of event 1, where the walk came by it: which log this is.
        self.log = ""
        self._digest = before[1]
        self._by_end = {one.last: one for one in checkpoints}
        self._first_of = {one.first for one in checkpoints}
        self._checkpoints = checkpoints
        self._expected = dict(expected or {})
        self._tree: Tree | None = None
        if before[0] in self._by_end and self._by_end[before[0]].head != before[1]:
            raise DamageError(
                f"event {before[0]} is not the one that a checkpoint was signed at", before[0]
            )

    def step(self, columns: Sequence[object], stored: object) -> None:
        """Take the next event: its columns in `HASHED` and its stored hash, bytes or hexadecimal.

        Raises `DamageError` where it does not follow.
        """
        expected = self.found.last + 1
        if columns[0] != expected:
            raise DamageError(f"expected event {expected}, found {columns[0]}", expected)
        digest = event_hash(self._digest, columns)
        head = digest.hex()
        if stored not in (digest, head):
            raise DamageError(
                f"event {expected} does not carry the hash of its contents and of the event before",
                expected,
            )
        self._digest = digest
        self.found.events += 1
        self.found.last = expected
        self.found.head = head
        if expected == 1:
            self.log = head
            if self._checkpoints and self._checkpoints[0].log != head:
                raise DamageError("the checkpoints are of another log", 1)
        if expected in self._expected and self._expected.pop(expected) != head:
            raise DamageError(f"event {expected} has another hash than was noted", expected)
        self._hold_against_checkpoint(expected, digest)
        if self._keep_from is not None and expected >= self._keep_from:
            self.kept.append((expected, digest))

    def expect(self, sequence: int, digest: str) -> None:
        """Take a hash that was noted elsewhere; raises `DamageError` where two differ."""
        if self._expected.setdefault(sequence, digest) != digest:
            raise DamageError(f"event {sequence} has another hash than was noted", sequence)

    def end(self) -> Finding:
        """Return what held; raises `DamageError` where the log ends before it should."""
        last = self._checkpoints[-1].last if self._checkpoints else 0
        noted = max(self._expected, default=0)
        if max(last, noted) > self.found.last:
            raise DamageError(
                f"the log ends at {self.found.last}, but had {max(last, noted)} events",
                self.found.last + 1,
            )
        for sequence in self._expected:
            self.found.notes.append(f"event {sequence}, of which a hash was noted, is not in this")
        return self.found

    def _hold_against_checkpoint(self, sequence: int, digest: bytes) -> None:
        if sequence in self._first_of:
            self._tree = Tree()
        if self._tree is not None:
            self._tree.add(digest)
        mark = self._by_end.get(sequence)
        if mark is None:
            return
        if mark.head != digest:
            first = max(mark.first, self.found.first)
            raise DamageError(
                f"the events {first} to {mark.last} are not those that were signed", first
            )
        if self._tree is not None and self._tree.root() != mark.root:
            raise DamageError(f"the checkpoint at {mark.last} has another root", mark.first)
        self.found.checkpoints += 1
        self.found.signed_to = sequence


@dataclass(frozen=True)
class Stretch:
    """What proves the events of a file that are in a range of the log, which has others as well."""

    #: Of a checkpoint where there is one at `last`.
    first: int
    last: int
    #: The hash of the event before each one of the file that does not follow another one of it.
    before: list[bytes]
    #: The roots of the parts of the checkpoint's tree that have none of them, from the left.
    roots: list[bytes]

    @classmethod
    def read(cls, line: str) -> Stretch:
        """Return what a line of `PROOFS` says."""
        said = json.loads(line)
        before, roots = (list(map(bytes.fromhex, said[name])) for name in ("before", "roots"))
        return cls(int(said["first"]), int(said["last"]), before, roots)

    def check(self, known: Sequence[tuple[int, bytes]], mark: Checkpoint) -> None:
        """Raise `DamageError` unless these events, with their hashes, stand under a checkpoint."""
        roots = iter(self.roots)
        size = mark.last - mark.first + 1
        root = root_of_some(known, mark.first, size, roots)
        if (self.first, root, next(roots, None)) != (mark.first, mark.root, None):
            events = f"event {known[0][0]} is not one"
            if len(known) > 1:
                events = f"the events {known[0][0]} to {known[-1][0]} are not those"
            raise DamageError(
                f"{events} that the checkpoint at {mark.last} was signed over", known[0][0]
            )


class Some:
    """Holds events that are no whole range each against its hash, and all against checkpoints."""

    def __init__(
        self, stretches: Iterator[Stretch], marks: Marks, expected: dict[int, str] | None = None
    ) -> None:
        self.found = Finding()
        self._stretches = stretches
        self._stretch: Stretch | None = None
        self._before: Iterator[bytes] = iter(())
        self._marks = marks
        self._expected = dict(expected or {})
        self._digest = GENESIS
        self._known: list[tuple[int, bytes]] = []
        self._unsigned: list[int] = []

    def step(self, columns: Sequence[object], stored: object) -> None:
        """Take the next event; raises `DamageError` where it does not hold."""
        sequence, after = columns[0], self.found.last
        if not isinstance(sequence, int) or sequence <= after:
            raise DamageError(f"event {sequence} stands behind event {after}", after)
        while self._stretch is None or sequence > self._stretch.last:
            self._end_stretch()
            self._stretch = next(self._stretches, None)
            if self._stretch is None:
                raise DamageError(f"nothing proves event {sequence}", sequence)
            self._before = iter(self._stretch.before)
        follows = sequence == after + 1
        before = self._digest if follows else next(self._before, None)
        if before is None or sequence < self._stretch.first:
            raise DamageError(f"nothing proves event {sequence}", sequence)
        self._digest = event_hash(before, columns)
        if stored != self._digest.hex():
            raise DamageError(
                f"event {sequence} does not carry the hash of its contents and of the event before",
                sequence,
            )
        if self._expected.pop(sequence, stored) != stored:
            raise DamageError(f"event {sequence} has another hash than was noted", sequence)
        self._known.append((sequence, self._digest))
        self.found.first = self.found.first or sequence
        self.found.last = sequence
        self.found.events += 1

    def end(self) -> Finding:
        """Return what held; raises `DamageError`."""
        self._end_stretch()
        if next(self._stretches, None) is not None:
            raise DamageError(f"events after {self.found.last} are missing", self.found.last + 1)
        for sequence in self._expected:
            self.found.notes.append(f"event {sequence}, of which a hash was noted, is not in this")
        return self.found

    def unsigned(self) -> Iterator[str]:
        """Yield which events stand under no checkpoint, in words."""
        if self._unsigned:
            first, last = self._unsigned[0], self._unsigned[-1]
            yield f"{len(self._unsigned)} events from {first} to {last} stand under no checkpoint"

    def _end_stretch(self) -> None:
        if self._stretch is None:
            return
        if next(self._before, None) is not None:
            raise DamageError(
                f"an event from {self._stretch.first} to {self._stretch.last} is missing",
                self._stretch.first,
            )
        mark = self._marks.ending_at(self._stretch.last)
        if mark is not None:
            self._stretch.check(self._known, mark)
            self.found.checkpoints += 1
            self.found.signed_to = self._known[-1][0]
        else:
            self._marks.refuse_hidden(self._stretch.first, self._stretch.last)
            self._unsigned += [sequence for sequence, _ in self._known]
        self._known = []


class Marks:
    """The checkpoints that an export or a pack is held against."""

    def __init__(self, own: Sequence[Checkpoint], given: Sequence[Checkpoint]) -> None:
        """`own` come with it. Raises `DamageError` where the two contradict each other."""
        self._own = own
        by_end = {one.last: one for one in given}
        for one in own:
            if by_end.setdefault(one.last, one).note.digest != one.note.digest:
                raise DamageError(f"two different checkpoints end at {one.last}", one.first)
        self.all = [by_end[last] for last in sorted(by_end)]
        for before, one in pairwise(self.all):
            if one.log != before.log or one.first <= before.last:
                raise DamageError(
                    f"the checkpoints at {before.last} and {one.last} contradict each other",
                    one.first,
                )
        self._by_end = by_end

    def ending_at(self, last: int) -> Checkpoint | None:
        """Return the checkpoint that ends with an event."""
        return self._by_end.get(last)

    def over(self, sequence: int) -> Checkpoint | None:
        """Return the checkpoint that covers an event."""
        return next((one for one in self.all if one.first <= sequence <= one.last), None)

    def refuse_hidden(self, first: int, last: int) -> None:
        """Raise `DamageError` where a range is not held against a checkpoint that came with it."""
        for one in self._own:
            if one.first <= last and first <= one.last:
                raise DamageError(
                    f"the proof that events stand under the checkpoint at {one.last} is missing",
                    max(first, one.first),
                )


class Texts:
    """Texts that left a database, from the segments of an archive, one event after the other."""

    def __init__(self, database: sqlite3.Connection, archive: Path | None) -> None:
        self._database = database
        self._archive = archive
        self._last = 0
        self._events: Iterator[Stored] = iter(())

    def whole(self, columns: Sequence[object]) -> Sequence[object]:
        """Return the columns of an event in `HASHED` with every text that they had."""
        sequence = columns[0]
        if (columns[-1] != REMOVED and columns[-2] != REMOVED) or not isinstance(sequence, int):
            return columns
        if sequence > self._last:
            self._open(sequence)
        try:
            found = next(texts for texts, _ in self._events if texts[0] == sequence)
        except (StopIteration, *ARCHIVE_ERRORS) as error:
            raise DamageError(f"the archive has no event {sequence}: {error}", sequence) from None
        texts = zip(columns[-2:], found[-2:], strict=True)
        return [*columns[:-2], *(text if kept == REMOVED else kept for kept, text in texts)]

    def _open(self, sequence: int) -> None:
        rows = self._database.execute(
            "SELECT first, last, digest, folder FROM segments WHERE ? BETWEEN first AND last"
            # One that the log does not name is nobody's.
            " AND EXISTS (SELECT 1 FROM events WHERE natural_key = 'segment:' || segments.digest)",
            (sequence,),
        ).fetchall()
        if not rows:
            raise DamageError(
                f"event {sequence} has lost its text, and no segment of an archive has it", sequence
            )
        first, self._last, digest, named = rows[0]
        folder = Path(named) if self._archive is None else self._archive / Path(named).name
        if not folder.is_dir() and any(folder.parent.glob("segment-*")):
            raise DamageError(f"{folder} is missing", first)
        if not folder.is_dir():
            self._refuse_altered(first, self._last, digest, named)
            raise UncheckableError(
                f"{folder} has texts of the events {first} to {self._last}, and is not there: name"
                " the archive with --archive"
            )
        try:
            parcel = Parcel(folder)
            if parcel.digest != digest:
                raise DamageError(f"{folder} is not the segment that the database names")
            parcel.check_files()
        except (DamageError, UncheckableError) as error:
            raise DamageError(f"{folder}: {error}", first) from None
        names = parcel.manifest["chain"]["files"]
        self._events = (event for name in names for event in parcel.events(name))

    def _refuse_altered(self, *row: object) -> None:
        """Raise `DamageError` where no event says what a row of the table of segments does: an
        archive that is looked for where it never was is not away.
        """
        columns = ", ".join(f"said.{name}" for name in HASHED)
        for before, digest, *said in self._database.execute(
            f"SELECT before.hash, said.hash, {columns} FROM events AS said JOIN events AS before"
            " ON before.sequence = said.sequence - 1 WHERE said.type = 'TextsRemoved'"
        ):
            if event_hash(before, said) != digest:
                raise DamageError(
                    f"event {said[0]} does not carry the hash of its contents", said[0]
                )
            try:
                fact = json.loads(str(said[-2]))
                told = tuple(fact[name] for name in ("first", "last", "digest", "folder"))
            except JSON_ERRORS:
                continue
            if told == row:
                return
        raise DamageError(
            f"the table of segments says of the events {row[0]} to {row[1]} what no event says",
            row[0] if isinstance(row[0], int) else None,
        )


def walk_database(
    path: Path, walk: Walk, progress: Callable[[int], None], archive: Path | None = None
) -> None:
    """Follow the log of a SQLite database to its end."""
    select = f"SELECT {', '.join(HASHED)}, hash FROM events WHERE sequence > ? ORDER BY sequence"
    try:
        with _opened(path) as database:
            # The end that the program wrote down beside the log, before the log may grow further.
            marks = "SELECT sequence, hash FROM checkpoints WHERE name = 'log' AND sequence > 0"
            for sequence, digest in database.execute(marks).fetchall():
                walk.expect(sequence, digest.hex())
            # Pages: one long read would keep a daemon's write-ahead log from being emptied.
            page, texts = f"{select} LIMIT {PAGE_ROWS}", Texts(database, archive)
            while rows := database.execute(page, (walk.found.last,)).fetchall():
                for row in rows:
                    walk.step(texts.whole(row[:-1]), row[-1])
                progress(walk.found.last)
    except sqlite3.Error as error:
        after = walk.found.last + 1
        raise DamageError(f"the database cannot be read at event {after}: {error}", after) from None


def _opened(path: Path) -> closing[sqlite3.Connection]:
    return closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True))


def walk_events(events: Iterator[Stored], walk: Walk | Some) -> None:
    """Follow the events of a file; one that cannot be read is damage behind the one before."""
    while True:
        try:
            columns, stored = next(events)
        except StopIteration:
            return
        except (*JSON_ERRORS, csv.Error) as error:
            after = walk.found.last + 1
            words = f"what stands behind event {after - 1} cannot be read: {error}"
            raise DamageError(words, after) from None
        walk.step(columns, stored)


def json_events(lines: Iterable[str]) -> Iterator[Stored]:
    """Yield the events of JSON lines."""
    for line in lines:
        row = json.loads(line)
        yield [row[name] for name in HASHED], row["hash"]


def csv_events(file: IO[bytes]) -> Iterator[Stored]:
    """Yield the events of a CSV file. Text that a spreadsheet would take for a formula has an
    apostrophe in front.
    """
    # A payload is longer than the field of a table that people type.
    csv.field_size_limit(2**31 - 1)
    with io.TextIOWrapper(file, "utf-8-sig", newline="") as text:
        for row in csv.DictReader(text):
            texts = [row[name].removeprefix("'") for name in HASHED]
            yield [int(row["sequence"]), *texts[1:]], row["hash"]


# ── Parquet ──────────────────────────────────────────────────────────────────────────────────────


def parquet_events(file: IO[bytes]) -> Iterator[Stored]:
    """Yield the events of a Parquet file: in plain values, as this program writes them, with no
    package; in others, as it wrote them before, with `pyarrow`.

    Raises `ValueError` for what is no such file.
    """
    try:
        optional, groups = _parquet_groups(file)
        plain = all(one.is_plain for group in groups for one in group.values())
        for row in _plain_rows(file, optional, groups) if plain else _rows_with_arrow(file):
            columns = list(row)
            columns[3:5] = (c and c.isoformat(timespec="microseconds") for c in columns[3:5])
            yield columns[:-1], columns[-1]
    except PARQUET_ERRORS as error:
        raise ValueError(f"it is no Parquet file of events: {error}") from None


@dataclass(frozen=True)
class Chunk:
    """The values of a column in a group of rows."""

    rows: int
    #: 2 is INT64, 6 is BYTE_ARRAY.
    kind: int
    #: 0 is none, 2 is gzip.
    codec: int
    offset: int
    size: int
    has_dictionary: bool

    @property
    def is_plain(self) -> bool:
        """Say whether `_plain_values` reads it."""
        return self.kind in (2, 6) and self.codec in (0, 2) and not self.has_dictionary


def _parquet_groups(file: IO[bytes]) -> tuple[set[str], list[dict[str, Chunk]]]:
    """Return which columns can be null, and where the values of each are, a group of rows after the
    other; numbers are those of parquet.thrift.
    """
    end = file.seek(-8, io.SEEK_END)
    size, mark = struct.unpack("<I4s", _taken(file, 8))
    if mark != b"PAR1" or size > min(end, FOOTER_BYTES_MAX):
        raise ValueError("its end is not that of one")
    file.seek(end - size)
    footer = _thrift_struct(io.BytesIO(_taken(file, size)))
    optional = {one[4].decode() for one in footer[2][1:] if one.get(3) == 1}
    groups, offset = [], 0
    for group in footer[4]:
        chunks = {}
        for one in (column[3] for column in group[1]):
            name = b".".join(one[3]).decode()
            chunks[name] = Chunk(group[3], one[1], one[4], one[9], one[7], 11 in one)
        groups.append({name: chunks[name] for name in (*HASHED, "hash")})
        if group[3] > GROUP_ROWS_MAX or sum(c.size for c in chunks.values()) > GROUP_BYTES_MAX:
            raise ValueError("a group of its rows is too large")
        for chunk in groups[-1].values():
            # Going back in an archive that is compressed begins again with its first byte.
            if chunk.offset < offset:
                raise ValueError("its columns are not in their order")
            offset = chunk.offset
    return optional, groups


def _plain_rows(
    file: IO[bytes], optional: set[str], groups: Sequence[dict[str, Chunk]]
) -> Iterator[tuple[Any, ...]]:
    for group in groups:
        columns = [_plain_values(file, one, name in optional) for name, one in group.items()]
        for at in (3, 4):
            columns[at] = (
                c if c is None else EPOCH + timedelta(microseconds=c) for c in columns[at]
            )
        yield from zip(*columns, strict=True)


def _plain_values(file: IO[bytes], chunk: Chunk, is_optional: bool) -> Iterator[Any]:
    """Yield the values of a column, page by page: a page is the most that is in memory."""
    file.seek(chunk.offset)
    pages, left = io.BytesIO(_taken(file, chunk.size)), chunk.rows
    while left:
        head = _thrift_struct(pages)
        page, count, encoding = _taken(pages, head[3]), head[5][1], head[5][2]
        if not 0 < count <= left or (head[1], encoding) != (0, 0):
            raise ValueError("a page of it has other values than it should")
        left -= count
        if chunk.codec:
            page = _inflated(page, head[2])
        there, at = [1] * count, 0
        if is_optional:
            at = 4 + int.from_bytes(page[:4], "little")
            there = _levels(io.BytesIO(page[4:at]), count)
        values = _integers(page, at, sum(there)) if chunk.kind == 2 else _texts(page, at)
        yield from (next(values) if one else None for one in there)


def _integers(page: bytes, at: int, count: int) -> Iterator[int]:
    return iter(struct.unpack_from(f"<{count}q", page, at))


def _texts(page: bytes, at: int) -> Iterator[str]:
    while at < len(page):
        end = at + 4 + int.from_bytes(page[at : at + 4], "little")
        if end > len(page):
            raise ValueError("a text of it is cut off")
        yield page[at + 4 : end].decode()
        at = end
    raise ValueError("a page of it has too few values")


def _levels(stream: IO[bytes], count: int) -> list[int]:
    """Return for each value whether it is there: runs of one bit, and bits in eights."""
    found: list[int] = []
    while len(found) < count:
        run = _varint(stream)
        if run & 1:
            for byte in _taken(stream, run >> 1):
                found += (byte >> bit & 1 for bit in range(8))
        else:
            found += [_taken(stream, 1)[0]] * min(run >> 1, count)
    return found[:count]


def _inflated(page: bytes, size: int) -> bytes:
    if not 0 <= size <= PAGE_BYTES_MAX:
        raise ValueError("a page of it is too large")
    stream = zlib.decompressobj(wbits=31)
    found = stream.decompress(page, size + 1)
    if len(found) != size or not stream.eof:
        raise ValueError("a page of it has another size than it says")
    return found


def _taken(stream: IO[bytes], size: int) -> bytes:
    if not 0 <= size <= GROUP_BYTES_MAX or len(found := stream.read(size)) != size:
        raise ValueError("it is cut off")
    return found


def _varint(stream: IO[bytes]) -> int:
    found = 0
    for shift in range(0, 70, 7):
        byte = _taken(stream, 1)[0]
        found |= (byte & 127) << shift
        if byte < 128:
            return found
    raise ValueError("a number of it has no end")


def _thrift_struct(stream: IO[bytes], depth: int = 0) -> dict[int, Any]:
    """Return the fields of a struct in Thrift's compact protocol, by their numbers."""
    found: dict[int, Any] = {}
    field_id = 0
    while head := _taken(stream, 1)[0]:
        field_id = field_id + (head >> 4) if head >> 4 else _zigzag(stream)
        kind = head & 15
        # True and false stand in the head itself.
        found[field_id] = kind == 1 if kind in (1, 2) else _thrift_value(stream, kind, depth)
    return found


def _thrift_value(stream: IO[bytes], kind: int, depth: int) -> Any:
    if depth > THRIFT_DEPTH_MAX:
        raise ValueError("it is nested too deep")
    match kind:
        case 1 | 2 | 3:
            return _taken(stream, 1)[0]
        case 4 | 5 | 6:
            return _zigzag(stream)
        case 7:
            return _taken(stream, 8)
        case 8:
            return _taken(stream, _varint(stream))
        case 9 | 10:
            head = _taken(stream, 1)[0]
            count = head >> 4 if head >> 4 < 15 else _varint(stream)
            return [_thrift_value(stream, head & 15, depth + 1) for _ in range(count)]
        case 12:
            return _thrift_struct(stream, depth + 1)
        case _:
            raise ValueError("it has a field of no kind that Parquet has")


def _zigzag(stream: IO[bytes]) -> int:
    found = _varint(stream)
    return found >> 1 ^ -(found & 1)


def _rows_with_arrow(file: IO[bytes]) -> Iterator[Iterable[Any]]:
    try:
        from pyarrow.parquet import ParquetFile  # noqa: PLC0415 - only where needed
    except ImportError:
        raise UncheckableError(
            "events are in Parquet of an earlier version: install the Python package pyarrow to"
            " check their chain; the files in which they stand are those of their manifest"
        ) from None
    file.seek(0)
    with ParquetFile(file) as table:
        for batch in table.iter_batches(PAGE_ROWS, columns=[*HASHED, "hash"]):
            yield from (row.values() for row in batch.to_pylist())


# ── folders and archives ─────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Member:
    """A file in the archive of a pack."""

    name: str
    size: int
    crc: int

    @property
    def header(self) -> bytes:
        """Return what stands before its bytes: stored as they are, of no time."""
        name = self.name.encode()
        fields = (20, 0, 0, 0, DOS_DAY, self.crc, self.size, self.size, len(name), 0)
        return struct.pack("<4s5H3L2H", b"PK\x03\x04", *fields) + name


def archive_end(members: Sequence[Member]) -> bytes:
    """Return what stands behind the last member of a pack: its table of contents."""
    table, offset = b"", 0
    for one in members:
        name = one.name.encode()
        sizes = (one.crc, one.size, one.size, len(name), 0, 0, 0, 0)
        fields = (MADE_BY, 20, 0, 0, 0, DOS_DAY, *sizes, RIGHTS, offset)
        table += struct.pack("<4s6H3L5H2L", b"PK\x01\x02", *fields) + name
        offset += len(one.header) + one.size
    count = len(members)
    counts = (0, 0, count, count, len(table), offset, 0)
    return table + struct.pack("<4s4H2LH", b"PK\x05\x06", *counts)


class Parcel:
    """Files with a manifest: an export's folder, or a pack's archive."""

    def __init__(self, path: Path) -> None:
        """Open it; raises `UncheckableError` where it never had a manifest, and `DamageError` where
        that is not the one that was written.
        """
        self._path = path
        self._archive = zipfile.ZipFile(path) if path.is_file() else None
        names = self._names()
        if not names & set(SEALS):
            if self._archive is not None and SEALS[0].encode() in self._beginning():
                raise DamageError(f"the table of contents of {path} was altered")
            raise UncheckableError(f"{path} has no manifest.json: it is no export and no pack")
        for one in self._archive.infolist() if self._archive is not None else ():
            if one.flag_bits & ENCRYPTED or one.compress_type not in COMPRESSIONS:
                raise DamageError(f"{one.filename} is stored in a way that no pack has")
        self._check_seals()
        manifest = self.read("manifest.json")
        try:
            self.manifest: dict[str, Any] = json.loads(manifest)
            self.files: dict[str, str] = {
                entry["name"]: entry["sha256"] for entry in self.manifest["files"]
            }
        except JSON_ERRORS as error:
            raise DamageError(f"the manifest of {path} cannot be read") from error
        self.digest = hashlib.sha256(manifest).hexdigest()
        self.log = str(self.manifest.get("log", ""))

    def open(self, name: str) -> IO[bytes]:
        """Open one of the files; raises `DamageError` where it is missing."""
        try:
            if self._archive is not None:
                return self._archive.open(name)
            return (self._path / name).open("rb")
        except (OSError, KeyError):
            raise DamageError(f"{name} is missing") from None

    def read(self, name: str) -> bytes:
        """Return all of one of the files."""
        with self.open(name) as file:
            return file.read()

    def check_files(self) -> int:
        """Hold each file against the digest that the manifest has of it; return how many."""
        for name, digest in self.files.items():
            if Path(name).is_absolute() or ".." in Path(name).parts:
                raise DamageError(f"the manifest names {name!r}, which lies outside")
            with self.open(name) as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != digest:  # type: ignore[arg-type]
                    raise DamageError(f"{name} is not the file that the manifest was made for")
        beside = self._names() - self.files.keys() - set(SEALS)
        if beside:
            raise DamageError(f"{min(beside)} is not in the manifest")
        if self._archive is not None and self.manifest.get("kind") == "pack":
            self._check_frame(self._archive)
        return len(self.files)

    def note(self) -> Note | None:
        """Return the signature under the manifest, None where there is none."""
        if "manifest.note" not in self._names():
            return None
        note = Note.read(self.read("manifest.note").decode())
        said = note.fields()
        if note.kind != MANIFEST or said.get("sha256") != self.digest:
            raise DamageError("the note beside the manifest is not of this manifest")
        if said.get("log") != self.log:
            raise DamageError("the note beside the manifest is of another log")
        return note

    def lines(self, name: str) -> Iterator[str]:
        """Yield the lines of a file, without the compression of one that ends in `.gz`."""
        with self.open(name) as file:
            if name.endswith(".gz"):
                with gzip.open(file) as plain:
                    yield from map(bytes.decode, plain)
            else:
                yield from map(bytes.decode, file)

    def events(self, name: str) -> Iterator[Stored]:
        """Yield the events of a file."""
        if name.endswith(".parquet"):
            with self.open(name) as file:
                yield from parquet_events(file)
        elif name.endswith(".csv"):
            with self.open(name) as file:
                yield from csv_events(file)
        else:
            yield from json_events(self.lines(name))

    def stretches(self) -> Iterator[Stretch]:
        """Yield what proves its events, in their order."""
        if PROOFS in self.files:
            yield from map(Stretch.read, self.lines(PROOFS))

    def _beginning(self) -> bytes:
        """Return where the name of the first file of an archive stands."""
        with self._path.open("rb") as file:
            return file.read(64)

    def _names(self) -> set[str]:
        if self._archive is not None:
            return set(self._archive.namelist())
        inside = self._path.rglob("*")
        # Programs that look at a folder leave hidden files in it.
        names = {p.relative_to(self._path).as_posix() for p in inside if p.is_file()}
        return {name for name in names if not name.startswith(".")}

    def _check_seals(self) -> None:
        """Hold manifest and note against the line that `sha256sum -c` reads."""
        seals = [name for name in SEALS[:2] if name in self._names()]
        lines = (f"{hashlib.sha256(self.read(name)).hexdigest()}  {name}\n" for name in seals)
        if self.read(SEALS[2]) != "".join(lines).encode():
            raise DamageError("the manifest is not the one that its digest was made for")

    def _check_frame(self, archive: zipfile.ZipFile) -> None:
        """Check that nothing but its files is in a pack, and each where it belongs."""
        members = [Member(one.filename, one.file_size, one.CRC) for one in archive.infolist()]
        end = archive_end(members)
        with self._path.open("rb") as file:
            for one in members:
                if file.read(len(one.header)) != one.header:
                    raise DamageError(f"the archive was altered before {one.name}")
                file.seek(one.size, io.SEEK_CUR)
            if file.read(len(end) + 1) != end:
                raise DamageError("the archive was altered behind its last file")


def check_parcel(path: Path, options: Options) -> Finding:
    """Check an export or a pack: digests of its files, its signature, its events, its
    checkpoints.
    """
    try:
        return _check_parcel(Parcel(path), options)
    except UncheckableError:
        raise
    except ARCHIVE_ERRORS as error:
        raise DamageError(f"{path} cannot be read: {error}") from None


def _check_parcel(parcel: Parcel, options: Options) -> Finding:
    files = parcel.check_files()
    notes: list[Note] = []
    if options.keys and CHECKPOINTS in parcel.files:
        notes = read_notes(parcel.lines(CHECKPOINTS))
    marks = Marks(checked_checkpoints(notes, options.keys), options.checkpoints)
    if marks.all and marks.all[0].log != parcel.log:
        raise DamageError("this is of another log than the checkpoints")
    seal, said = parcel.note(), []
    if seal is None and options.keys:
        raise DamageError("nobody signed this: without --key its digests alone are checked")
    if seal is not None:
        if options.keys:
            seal.check(followers(notes, options.keys))
        words = "holds" if options.keys else "was not checked: give --key"
        said.append(f"the signature of {seal.signer} under the manifest {words}")
    if "chain" in parcel.manifest:
        found = _check_chain(parcel, marks, options)
    elif "events" in parcel.manifest:
        found = _check_some(parcel, marks, options)
    elif options.expected:
        raise UncheckableError("it has no events as they are stored: leave --expect out")
    else:
        found = Finding(notes=["no events as they are stored are in it: it has no chain to check"])
        if parcel.manifest.get("masked"):
            found.notes[0] += (
                "; its accounts and names are masked, which a hash would show to who tries all of"
                " them: that it is of this log is shown by who has the log and the key of the mask,"
                " and makes the same bytes again"
            )
    found.files = files
    found.manifest_signed = bool(options.keys)
    found.notes[:0] = said
    return found


def _check_chain(parcel: Parcel, marks: Marks, options: Options) -> Finding:
    """Check a whole range of events."""
    chain = parcel.manifest["chain"]
    first, last = int(chain["first"]), int(chain["last"])
    inside = [one for one in marks.all if one.last <= last]
    over = marks.over(last)
    edge = over if over not in inside else None
    walk = Walk(
        inside,
        options.expected,
        before=(first - 1, bytes.fromhex(chain["hash_before"])),
        keep_from=edge.first if edge is not None else None,
    )
    for name in chain["files"]:
        walk_events(parcel.events(name), walk)
    found = walk.end()
    if (found.last, found.head) != (last, chain["head"]):
        raise DamageError(f"its events end at {found.last}, not at {last}")
    if first == 1 and found.events and walk.log != parcel.log:
        raise DamageError("its events are of another log than its manifest", 1)
    stretches = {one.last: one for one in parcel.stretches()}
    if edge is not None and edge.last in stretches:
        # Of a tree that goes on behind the last event; what came before is under the hashes.
        stretches[edge.last].check(walk.kept, edge)
        found.checkpoints += 1
        found.signed_to = last
    elif edge is not None:
        marks.refuse_hidden(max(first, edge.first), last)
    found.notes += _unsigned(found, is_signed=bool(options.keys))
    return found


def _check_some(parcel: Parcel, marks: Marks, options: Options) -> Finding:
    """Check events that are no whole range."""
    some = Some(parcel.stretches(), marks, options.expected)
    for name in parcel.manifest["events"]:
        walk_events(parcel.events(name), some)
    found = some.end()
    if options.keys:
        found.notes += some.unsigned()
    return found


# ── a proof of some events ───────────────────────────────────────────────────────────────────────


def check_proof(proof: dict[str, Any], keys: Sequence[PublicKey]) -> Finding:
    """Check that each event of a proof stands in the log under a signed checkpoint.

    It shows the events of one order, and of all others no more than hashes.
    """
    notes = [Note.read(text) for text in proof["notes"]]
    followers(notes, keys)
    by_end = {one.last: one for one in map(Checkpoint.of, _of_kind(notes, CHECKPOINT))}
    found = Finding(checkpoints=len(by_end))
    for entry in proof["events"]:
        sequence = int(entry["columns"][0])
        mark = by_end.get(int(entry["checkpoint"]))
        if mark is None or not mark.first <= sequence <= mark.last:
            raise DamageError(f"event {sequence} stands under no checkpoint of the proof", sequence)
        digest = event_hash(bytes.fromhex(entry["hash_before"]), entry["columns"])
        path = [bytes.fromhex(sibling) for sibling in entry["path"]]
        size = mark.last - mark.first + 1
        if root_from_path(sequence - mark.first, size, digest, path) != mark.root:
            raise DamageError(f"event {sequence} is not one that was signed", sequence)
        found.events += 1
        found.first = min(found.first or sequence, sequence)
        found.last = max(found.last, sequence)
        found.signed_to = max(found.signed_to, mark.last)
    return found


def _of_kind(notes: Iterable[Note], kind: str) -> Iterator[Note]:
    return (note for note in notes if note.kind == kind)


# ── the program ──────────────────────────────────────────────────────────────────────────────────


@dataclass
class Options:
    """What the check is given beside the file."""

    keys: list[PublicKey] = field(default_factory=list)
    checkpoints: list[Checkpoint] = field(default_factory=list)
    #: Hashes that somebody noted, by sequence.
    expected: dict[int, str] = field(default_factory=dict)
    #: Where texts that left a database are now; None for where it says.
    archive: Path | None = None


def read_keys(path: Path) -> list[PublicKey]:
    """Return the public keys of a file, one a line; raises `UncheckableError`."""
    lines = [line for line in _text_of(path).splitlines() if line.strip()]
    if not lines:
        raise UncheckableError(f"{path} holds no public key")
    return [PublicKey.read(line) for line in lines]


def read_notes(lines: Iterable[str]) -> list[Note]:
    """Return the signed notes of a checkpoint file, one JSON object with `note` a line."""
    notes: list[Note] = []
    for number, line in enumerate(lines, 1):
        try:
            said = json.loads(line)
            note = Note.read(said["note"])
            notes.append(replace(note, stamp=str(said.get("timestamp", ""))))
        except (*JSON_ERRORS, AttributeError):
            raise DamageError(f"line {number} of the checkpoints cannot be read") from None
    return notes


def write_stamps(notes: Iterable[Note], folder: Path) -> list[str]:
    """Write each checkpoint that was stamped, and its stamp, for `openssl ts -verify`; return the
    names of the notes.
    """
    folder.mkdir(exist_ok=True)
    named: list[str] = []
    for note in notes:
        if note.stamp:
            name = folder / f"{Checkpoint.of(note).last}.note"
            name.write_bytes(str(note).encode())
            name.with_suffix(".tsr").write_bytes(base64.b64decode(note.stamp))
            named.append(name.name)
    return named


def read_expected(text: str) -> tuple[int, str]:
    """Return the sequence and the hash of `SEQ:HASH`; raises `UncheckableError`."""
    sequence, _, digest = text.partition(":")
    digest = digest.strip().lower()
    if not sequence.strip().isdecimal() or not re.fullmatch("[0-9a-f]{64}", digest):
        raise UncheckableError(f"not SEQ:HASH with 64 hexadecimal digits: {text[:90]!r}")
    return int(sequence), digest


def check(
    path: Path, options: Options, progress: Callable[[int], None] = lambda _: None
) -> Finding:
    """Check whatever a path holds.

    Raises `DamageError` where something does not hold, and `UncheckableError` where it is nothing
    that this program knows.
    """
    if path.is_dir():
        return check_parcel(path, options)
    try:
        with path.open("rb") as file:
            start = file.read(16)
    except OSError as error:
        raise UncheckableError(f"{path} cannot be read: {error.strerror}") from None
    if start.startswith(b"PK") or path.suffix == ".zip":
        return check_parcel(path, options)
    if start.startswith(b"SQLite format 3\0"):
        signed, said = _signed(path, options, _remembered_in_database)
        walk = Walk(signed, options.expected)
        walk_database(path, walk, progress, options.archive)
        return _ended(walk, said, is_signed=bool(options.keys))
    if start.startswith(b'{"sequence"'):
        return _check_lines(path, options)
    try:
        proof = json.loads(_text_of(path))
        is_proof = proof["proof"] == 1
    except JSON_ERRORS:
        is_proof = False
    if not is_proof:
        raise UncheckableError(
            f"{path} is no SQLite database, export, pack or proof of this program"
        )
    if not options.keys:
        raise UncheckableError("a proof is checked with a public key: give --key")
    return check_proof(proof, options.keys)


def _check_lines(path: Path, options: Options) -> Finding:
    signed, said = _signed(path, options, _remembered_in_lines)
    with path.open(encoding="utf-8") as file:
        walk = Walk(signed, options.expected)
        walk_events(json_events(file), walk)
        return _ended(walk, said, is_signed=bool(options.keys))


def _signed(
    path: Path, options: Options, remembered: Callable[[Path], Iterator[str]]
) -> tuple[Sequence[Checkpoint], list[str]]:
    """Return the checkpoints that a log is held against, and what is to be said of them: those
    given, else those of the file that the program writes beside it, else those that the log itself
    remembers, as the payloads of its events.

    Raises `DamageError` where there is a key and nothing is signed.
    """
    if options.checkpoints or not options.keys:
        return options.checkpoints, []
    beside = path.with_name(f"{path.name}.checkpoints")
    if beside.exists() and (found := _read_checkpoints(beside, options.keys)):
        return found, []
    notes = [note for payload in remembered(path) for note in _notes_of(payload)]
    followers(notes, options.keys)
    # That they follow each other, the chain of the events that remember them says.
    found = [*map(Checkpoint.of, _of_kind(notes, CHECKPOINT))]
    if not found:
        raise DamageError(
            f"nothing signed was found: there is no checkpoint in {beside}, and the log itself "
            "remembers none; name the file with --checkpoints, or have the log signed (`oms "
            "checkpoint`); without --key the hashes alone are checked"
        )
    return found, [
        f"no checkpoint is in {beside.name}: those that the log itself remembers were checked, and"
        " whoever cut it may have cut off the newest; who has that file names it with --checkpoints"
    ]


def _notes_of(payload: str) -> list[Note]:
    """Return the signed notes that an event `CheckpointSigned` remembers."""
    try:
        said = json.loads(payload)
        return [Note.read(text) for text in (*said.get("key_notes", ()), said["note"])]
    except (*JSON_ERRORS, AttributeError):
        raise DamageError("an event that remembers a checkpoint cannot be read") from None


def _remembered_in_database(path: Path) -> Iterator[str]:
    try:
        with _opened(path) as database:
            select = "SELECT payload FROM events WHERE type = ? ORDER BY sequence"
            yield from (str(row[0]) for row in database.execute(select, (REMEMBERED,)))
    except sqlite3.Error as error:
        raise DamageError(f"the database cannot be read: {error}") from None


def _remembered_in_lines(path: Path) -> Iterator[str]:
    with path.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            # A line that cannot be read is said where the events are followed.
            with suppress(*JSON_ERRORS):
                if f'"{REMEMBERED}"' in line and (row := json.loads(line))["type"] == REMEMBERED:
                    yield row["payload"]


def _read_checkpoints(path: Path, keys: Sequence[PublicKey]) -> list[Checkpoint]:
    return checked_checkpoints(read_notes(_text_of(path).splitlines()), keys)


def _ended(walk: Walk, said: Iterable[str], *, is_signed: bool) -> Finding:
    """Return what held, and which events no checkpoint covers where some should."""
    found = walk.end()
    found.notes += [*_unsigned(found, is_signed=is_signed), *said]
    return found


def _unsigned(found: Finding, *, is_signed: bool) -> Iterator[str]:
    """Yield which events of a range stand under no checkpoint, in words."""
    if is_signed and found.events and found.signed_to < found.last:
        first = max(found.first, found.signed_to + 1)
        words = f"events {first} to {found.last} stand"
        if first == found.last:
            words = f"event {first} stands"
        yield f"{words} under no checkpoint"


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise UncheckableError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UncheckableError(f"{path} is no text") from None


def _options(given: argparse.Namespace) -> Options:
    options = Options(expected=dict(map(read_expected, given.expect)), archive=given.archive)
    for path in given.key:
        options.keys += read_keys(path)
    if given.checkpoints is not None:
        if not options.keys:
            raise UncheckableError("checkpoints are checked with a public key: give --key")
        options.checkpoints = _read_checkpoints(given.checkpoints, options.keys)
        if not options.checkpoints:
            raise DamageError(f"nothing signed was found: {given.checkpoints} has no checkpoint")
    return options


def _say(found: Finding) -> Iterator[str]:
    if found.events:
        hold = _counted(found.events, "event holds", "events hold")
        yield f"ok  {hold}, {found.first} to {found.last}"
    if found.head:
        yield f"head {found.last}:{found.head}"
    if found.files:
        yield _counted(found.files, "file is", "files are") + " as the manifest says"
    if found.checkpoints:
        hold = _counted(found.checkpoints, "signed checkpoint holds", "signed checkpoints hold")
        yield f"{hold}, to event {found.signed_to}"
    elif not found.manifest_signed:
        yield "no signature was checked: whoever can write the file can make a log that holds"
    yield from found.notes


def _counted(count: int, one: str, many: str) -> str:
    return f"{count:,} {one if count == 1 else many}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program and return its exit status."""
    parser = argparse.ArgumentParser(
        prog="verify", description="Check a log, an export, a pack or a proof."
    )
    parser.add_argument("file", type=Path, help="a database, a folder, an archive, or a proof")
    parser.add_argument("--key", type=Path, action="append", default=[], help="a public key")
    parser.add_argument(
        "--checkpoints", type=Path, help="the file of signed checkpoints; else FILE.checkpoints"
    )
    parser.add_argument(
        "--expect", action="append", default=[], metavar="SEQ:HASH", help="a hash that you noted"
    )
    parser.add_argument(
        "--archive", type=Path, help="where the archive is that has texts of a database's events"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--stamps", type=Path, metavar="FOLDER", help="where to write time stamps")
    given = parser.parse_args(arguments)
    try:
        if given.stamps is not None:
            named = write_stamps(read_notes(_text_of(given.file).splitlines()), given.stamps)
            sys.stdout.write("".join(f"{name}\n" for name in named))
            return 0
        found = check(given.file, _options(given), _shown)
    except DamageError as error:
        _print(given.json, {"ok": False, "sequence": error.sequence, "text": str(error)})
        return 4
    except UncheckableError as error:
        _print(given.json, {"ok": None, "text": str(error)})
        return 2
    except ImportError:
        _print(given.json, {"ok": None, "text": "install the Python package cryptography first"})
        return 2
    if given.json:
        sys.stdout.write(json.dumps({"ok": True, **vars(found)}) + "\n")
    else:
        sys.stdout.write("\n".join(_say(found)) + "\n")
    return 0


def _shown(done: int) -> None:
    """Show a person how far a long database was checked."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r{done:,} events \r")


def _print(as_json: bool, said: dict[str, Any]) -> None:
    if as_json:
        sys.stdout.write(json.dumps(said) + "\n")
    else:
        word = "not checked" if said["ok"] is None else "damaged"
        sys.stdout.write(f"{word}: {said['text']}\n")


if __name__ == "__main__":
    sys.exit(main())
