"""Making checkpoints of a log, and giving them to the places where they are kept.

A checkpoint is worth something once it stands where whoever can change the log cannot change it:
in a file on another disk, with a command that carries it away, or under the stamp of a time stamp
authority (RFC 3161). Each place is optional; what became of each is in the log.

If the process dies between signing and the event that says so, the file is ahead of the log, which
is right: the next checkpoint follows the file.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import shlex
import urllib.request
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Final

from oms.clock import Clock
from oms.core.codec import Head, time_text
from oms.core.events import CheckpointKept, CheckpointSigned
from oms.errors import ChainBroken
from oms.evidence.checkpoints import (
    NONE_BEFORE,
    CheckpointFile,
    checkpoint_text,
    newest,
    refuse_other_key,
)
from oms.evidence.keys import Signer
from oms.store.head_file import KeptHead
from oms.store.loss import refuse_loss_since
from oms.store.reader import Reader
from oms.verify import CHECKPOINT, MANIFEST, NEW_KEY, SEALS, Note

#: Events under one checkpoint at most: a proof of one of them reads the hashes of all.
RANGE_MAX: Final = 100_000
#: How long a command or a time stamp authority may take.
KEEP_SECONDS: Final = 30
#: Of an answer of a time stamp authority; a stamp has a few kilobytes.
STAMP_BYTES_MAX: Final = 100_000


@dataclass(frozen=True, slots=True)
class Places:
    """Where checkpoints are kept."""

    file: CheckpointFile
    #: A command that gets the note on its standard input; empty for none.
    command: str = ""
    #: The address of a time stamp authority; empty for none.
    timestamp_url: str = ""


async def seal(
    reader: Reader, signer: Signer, places: Places, clock: Clock
) -> AsyncIterator[CheckpointSigned]:
    """Sign what the log has beyond the last checkpoint, keep it, and yield what is to be written.

    One checkpoint, or several where there is much. Raises `ChainBroken` where the log is not the
    one that was signed before.
    """
    notes = places.file.notes()
    if not any(note.kind == CHECKPOINT for note in notes):
        # The file is new, or was lost: the log remembers every note that stood before a checkpoint.
        remembered = await _remembered(reader)
        for note in remembered:
            await asyncio.to_thread(places.file.append, note)
        notes = remembered + notes
    refuse_other_key(notes, signer, str(places.file.path))
    before = newest(notes)
    since = [note for note in notes if note.kind == NEW_KEY]
    if before is not None:
        after = notes.index(before.note)
        since = [note for note in notes[after:] if note.kind == NEW_KEY]
    end = (await reader.head()).sequence
    last, digest, log = 0, NONE_BEFORE, ""
    if before is not None:
        last, digest, log = before.last, before.note.digest, before.log
        found = await reader.hashes(last, last)
        if [one.hex() for one in found] != [before.head.hex()]:
            raise ChainBroken(
                f"the log does not have the event {last} that was signed: it was changed, cut, or "
                "an older copy was put in its place",
                sequence=before.first,
            )
    while last < end:
        first, last = last + 1, min(end, last + RANGE_MAX)
        hashes = await reader.hashes(first, last)
        log = log or hashes[0].hex()
        text = checkpoint_text(log, first, hashes, digest, time_text(clock.now()))
        note = signer.sign(text)
        digest = note.digest
        yield await _keep(note, first, last, places, since)
        since = []


def refuse_signed_loss(url: str, places: Places) -> None:
    """Raise `LogWentBack` where a log lacks events that were signed: the file of checkpoints may be
    there when the head file is gone.
    """
    last = newest(places.file.notes())
    if last is not None:
        kept = KeptHead(bytes.fromhex(last.log), Head(last.last, last.head))
        refuse_loss_since(url, places.file.path, kept)


async def _remembered(reader: Reader) -> list[Note]:
    notes: list[Note] = []
    after = 0
    while page := await reader.events(after, type=CheckpointSigned.__name__):
        after = page[-1].sequence
        for one in page:
            if isinstance(one.event, CheckpointSigned):
                notes += map(Note.read, one.event.key_notes)
                notes.append(replace(Note.read(one.event.note), stamp=one.event.timestamp))
    return notes


async def _keep(
    note: Note, first: int, last: int, places: Places, since: Sequence[Note]
) -> CheckpointSigned:
    """Keep a checkpoint; `since` are notes about keys that came after the one before it."""
    stamps, stamp = list[CheckpointKept](), b""
    if places.timestamp_url:
        with_stamp, stamp = await asyncio.to_thread(_stamped, note, places.timestamp_url)
        stamps.append(with_stamp)
    note = replace(note, stamp=base64.b64encode(stamp).decode())
    # Before anybody else has it: signed again, it would be another note of the same events.
    kept = [await _in_file(note, places.file)]
    if places.command:
        for one in (*since, note):
            done = await _with_command(one, places.command)
            if not done.ok:
                break
        kept.append(done)
    return CheckpointSigned(
        first=first,
        last=last,
        note=str(note),
        timestamp=note.stamp,
        kept=(*kept, *stamps),
        key_notes=tuple(map(str, since)),
    )


async def _in_file(note: Note, file: CheckpointFile) -> CheckpointKept:
    try:
        await asyncio.to_thread(file.append, note)
    except OSError as error:
        return CheckpointKept(place="file", ok=False, text=str(error))
    return CheckpointKept(place="file", ok=True)


async def _with_command(note: Note, command: str) -> CheckpointKept:
    try:
        program = await asyncio.create_subprocess_exec(
            *shlex.split(command),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
    except (OSError, ValueError) as error:
        return CheckpointKept(place="command", ok=False, text=f"it does not start: {error}")
    try:
        async with asyncio.timeout(KEEP_SECONDS):
            _, said = await program.communicate(str(note).encode())
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            program.kill()
        await program.wait()
        return CheckpointKept(place="command", ok=False, text=f"no end after {KEEP_SECONDS} s")
    if program.returncode == 0:
        return CheckpointKept(place="command", ok=True)
    words = said.decode(errors="replace").strip()[:200]
    return CheckpointKept(
        place="command", ok=False, text=f"exit status {program.returncode}: {words}"
    )


def _stamped(note: Note, url: str) -> tuple[CheckpointKept, bytes]:
    """Return how a time stamp authority answered, and its stamp."""
    try:
        from rfc3161_client import (  # noqa: PLC0415 - an extra, which few need
            PKIStatus,
            TimestampRequestBuilder,
            decode_timestamp_response,
        )
    except ImportError:
        words = "install the extra: pip install 'ib-oms[timestamp]'"
        return CheckpointKept(place="timestamp", ok=False, text=words), b""
    asked = TimestampRequestBuilder().data(str(note).encode()).build()
    request = urllib.request.Request(
        url, asked.as_bytes(), {"Content-Type": "application/timestamp-query"}
    )
    try:
        with urllib.request.urlopen(request, timeout=KEEP_SECONDS) as answer:
            stamp: bytes = answer.read(STAMP_BYTES_MAX)
    except (OSError, ValueError) as error:  # URLError is an OSError
        return CheckpointKept(place="timestamp", ok=False, text=str(error)[:200]), b""
    try:
        found = decode_timestamp_response(stamp)
    except ValueError as error:
        # Its certificates in another order than DER has sets in, as `openssl ts` writes them.
        is_of_this = asked.message_imprint.message in stamp
        words = f"{'kept as it came, but ' if is_of_this else ''}it cannot be read: {error}"
        kept = CheckpointKept(place="timestamp", ok=False, text=words[:200])
        return kept, stamp if is_of_this else b""
    status = PKIStatus(found.status)
    if status not in {PKIStatus.GRANTED, PKIStatus.GRANTED_WITH_MODS}:
        words = f"refused: {status.name} {' '.join(found.status_string)}"
        return CheckpointKept(place="timestamp", ok=False, text=words[:200]), b""
    stamp_of = found.tst_info
    if (stamp_of.message_imprint.message, stamp_of.nonce) != (
        asked.message_imprint.message,
        asked.nonce,
    ):
        words = "it answered with the stamp of something else"
        return CheckpointKept(place="timestamp", ok=False, text=words), b""
    return CheckpointKept(place="timestamp", ok=True), stamp


def failures(signed: Sequence[CheckpointSigned]) -> list[str]:
    """Return what did not take a checkpoint, in words."""
    return [
        f"the {kept.place} did not take the checkpoint at {one.last}: {kept.text}"
        for one in signed
        for kept in one.kept
        if not kept.ok
    ]


def places_of(file: Path, command: str, timestamp_url: str) -> Places:
    """Return the places that settings name."""
    return Places(CheckpointFile(file), command, timestamp_url)


def sealed_manifest(manifest: bytes, log: str, at: str, signer: Signer | None) -> dict[str, bytes]:
    """Return the manifest of an export or a pack and the files that hold it fast, by name.

    `log` is the hash of the log's first event. Without a signer, whoever can write the files can
    make others that agree with each other.
    """
    name, note, digests = SEALS
    files = {name: manifest}
    if signer is not None:
        text = f"{MANIFEST}\nlog {log}\nsha256 {sha256(manifest).hexdigest()}\nat {at}\n"
        files[note] = str(signer.sign(text)).encode()
    lines = (f"{sha256(content).hexdigest()}  {named}\n" for named, content in files.items())
    files[digests] = "".join(lines).encode()
    return files
