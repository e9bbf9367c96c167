"""The archive: the log in segments of Parquet, with its chain, for as long as it must be kept.

A segment is a folder that the verifier checks alone: events and signed checkpoints as an export has
them, a manifest, the digests of both, and a signature where there is a key. Segments follow each
other without a gap, from the first event on. A segment is written under another name, read back and
checked against the log, made durable, and only then given its name; that it was archived is a fact
of the log.

An archive is a second copy, and the log can be restored from it, until a person has texts of whole
segments removed from the database. From then on the archive alone has them, and readers go on there
(`store.archived`); the log keeps every event's header and hash, and all that we said ourselves.
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final

from oms.clock import Clock
from oms.core.codec import GENESIS, Head, natural_key, time_text
from oms.core.events import Context, Pending, SegmentArchived, TextsRemoved
from oms.errors import (
    ChainBroken,
    ConfigurationError,
    NotFound,
    OmsError,
    StoreLocked,
    StoreUnavailable,
)
from oms.evidence.keys import Signer
from oms.evidence.sealing import sealed_manifest
from oms.files import whole_file
from oms.history.columns import STORED
from oms.history.formats import Made, made_of, writer_of
from oms.history.holds import Hold
from oms.history.proofs import Proofs
from oms.store import archived, schema
from oms.store.audit import Progress, hash_before, held_rows
from oms.store.backend import Connection, connect, parse_url
from oms.store.backup import sync_folder
from oms.store.chain import TAIL_EVENTS, Chain
from oms.store.copying import fill_with_events
from oms.store.envelopes import HASH, draft
from oms.store.mend import refuse_beside_daemon
from oms.store.tables import BOOKS_CHECKPOINT, EVENT_COLUMNS
from oms.verify import (
    CHECKPOINTS,
    HASHED,
    PROOFS,
    DamageError,
    Note,
    Options,
    Parcel,
    UncheckableError,
    check_parcel,
)

FORMAT: Final = 1
KIND: Final = "segment"
_EVENTS: Final = "events"
#: Of one segment: a minute of work, and some dozen megabytes.
SEGMENT_EVENTS: Final = 1_000_000
#: Events that are written, or read back, at a time.
_ROWS: Final = 10_000
_PART: Final = ".part"
_NAME: Final = re.compile(r"segment-(\d{12})-(\d{12})")
#: Where the columns of a segment, but for the hash, stand in a row of the log.
_ORDER: Final = tuple(EVENT_COLUMNS.index(name) for name in HASHED)


@dataclass(frozen=True, slots=True)
class Segment:
    """A segment, as its manifest describes it."""

    folder: Path
    log: str
    first: int
    last: int
    #: Hexadecimal: of the event before the first, and of the last.
    hash_before: str
    head: str
    #: Of the manifest.
    digest: str

    def archived(self) -> SegmentArchived:
        """Return the fact that it was archived."""
        return SegmentArchived(
            first=self.first,
            last=self.last,
            hash_before=self.hash_before,
            hash=self.head,
            folder=str(self.folder.resolve()),
            digest=self.digest,
        )


@dataclass(frozen=True, slots=True)
class Work:
    """What is archived, and how."""

    url: str
    folder: Path
    #: The hash of the log's first event.
    log: str
    clock: Clock
    signer: Signer | None = None
    #: What was signed of the log so far.
    notes: Sequence[Note] = ()
    #: Which program writes it.
    program: str = ""
    segment_events: int = SEGMENT_EVENTS


@dataclass(frozen=True, slots=True)
class Removal:
    """What may leave the database, who says so, and why."""

    url: str
    folder: Path
    #: The last event whose text may.
    last: int
    #: What nobody may discard, and where the log ended when that was looked up.
    holds: Sequence[Hold]
    head: Head
    actor: str
    reason: str
    clock: Clock
    #: Of these, the newest, every start reads the texts.
    kept_events: int = TAIL_EVENTS


def archive(work: Work, last: int, progress: Progress = lambda _, __: None) -> Iterator[Segment]:
    """Write what an archive lacks of a log, up to an event, and yield each segment as it stands.

    The last segment that was there already comes first: whoever yields it may not have been told.
    Blocks the caller and no writer. Raises `ChainBroken` where the log does not hold, or the
    archive is not of this log; what was finished stays.
    """
    done = segments(work.folder, work.log)
    if done:
        _check_continues(work.url, done[-1])
        yield done[-1]
    first = done[-1].last + 1 if done else 1
    while first <= last:
        end = min(last, first + work.segment_events - 1)
        yield _write(work, first, end, progress)
        first = end + 1


def segments(folder: Path, log: str = "") -> list[Segment]:
    """Return the segments of an archive in their order, by their manifests alone.

    Raises `NotFound` where there is no folder, and `ChainBroken` where one cannot be read, does not
    follow the one before, or is of another log.
    """
    if not folder.is_dir():
        raise NotFound(f"there is no folder {folder}", hint="make it, on a disk of its own")
    names = sorted(one.name for one in folder.iterdir() if _NAME.fullmatch(one.name))
    found: list[Segment] = []
    for name in names:
        one = _described(folder / name)
        expected = found[-1].last + 1 if found else 1
        before = found[-1].head if found else GENESIS.hex()
        if (one.first, one.hash_before) != (expected, before):
            raise ChainBroken(
                f"the archive {folder} has a gap: {name} does not follow event {expected - 1}",
                sequence=expected,
                hint=_HINT,
            )
        if one.log != (log or (found[0].log if found else one.log)):
            raise ChainBroken(f"{one.folder} is of another log", sequence=1, hint=_HINT)
        found.append(one)
    return found


def check_archive(
    folder: Path, url: str | None = None, progress: Progress | None = None
) -> list[Segment]:
    """Check every segment of an archive, and with `url` that the log has its events; return them.

    Raises `ChainBroken` with the first sequence that does not hold.
    """
    found = segments(folder)
    for one in found:
        _checked(one)
        if url is not None:
            _check_continues(url, one)
        if progress is not None:
            progress(one.last, found[-1].last)
    return found


def write_backup(folder: Path, path: Path, progress: Progress | None = None) -> Head:
    """Write the events of an archive into an empty SQLite file, as a backup has them, and return
    where they end; each segment is checked. Raises `ChainBroken`, and `NotFound` for no segment.
    """
    found = check_archive(folder)
    if not found:
        raise NotFound(f"{folder} has no segments", hint="name the folder of `oms db archive`")
    last = found[-1].last

    def pages() -> Iterator[list[tuple[Any, ...]]]:
        for one in found:
            yield from _rows_of(one)
            if progress is not None:
                progress(one.last, last)

    fill_with_events(path, pages())
    return Head(last, bytes.fromhex(found[-1].head))


def remove(
    work: Removal, progress: Progress = lambda _, __: None
) -> tuple[list[Segment], Segment | None, str]:
    """Remove from a database the texts of the broker's messages that an archive has, the oldest
    segment first; return those segments, and the next one, with why it stays.

    The archive and the events are checked before. What a segment loses, and the fact that says so,
    is one transaction; at the end the disk gets the room. Raises `ChainBroken` where log or archive
    does not hold, `LeaseHeld` beside a daemon, `StoreLocked` where the log went on since holds were
    looked up, and `StoreUnavailable` where the disk has no room to write the file anew.
    """
    found = check_archive(work.folder, work.url, progress)
    done: list[Segment] = []
    stays, why = None, ""
    with closing(connect(parse_url(work.url))) as connection:
        schema.check_connection(connection)
        refuse_beside_daemon(connection, work.clock)
        gone_to = max((one.last for one in archived.removed(connection)), default=0)
        books = Chain(connection, work.clock).checkpoint(BOOKS_CHECKPOINT)
        head = work.head
        for one in found:
            if one.last <= gone_to:
                continue
            if one.first <= gone_to:
                raise ConfigurationError(
                    f"{one.folder.name} begins before event {gone_to + 1}, and the texts up to"
                    f" {gone_to} were removed",
                    hint="name the archive that has them, or one that was cut as it was",
                )
            if why := _why_it_stays(work, one, books):
                stays = one
                break
            # Each event as it is here, against its hash: both copies are the same, or none goes.
            deque(held_rows(work.url, one.first, one.last), maxlen=0)
            head = _remove(connection, work, one, head)
            done.append(one)
            progress(one.last, found[-1].last)
        if gone_to or done:
            connection.give_back()
    return done, stays, why


def _why_it_stays(work: Removal, one: Segment, books: int) -> str:
    for hold in work.holds:
        if (hold.first or 1) <= one.last and (hold.last is None or one.first <= hold.last):
            return f"the legal hold {hold.name} covers its events"
    if one.last > work.last:
        return f"nothing after event {work.last} was to be removed"
    if one.last > work.head.sequence - work.kept_events:
        return f"a start reads the newest {work.kept_events:,} events"
    if one.last > books:
        return "the books do not have all of its events yet: start the daemon once"
    return ""


def _remove(connection: Connection, work: Removal, one: Segment, head: Head) -> Head:
    """Remove the texts that a segment has, and return where the log ends."""
    with connection.writing():
        refuse_beside_daemon(connection, work.clock)
        chain = Chain(connection, work.clock)
        chain.head = chain.checked_end()
        if chain.head != head:
            raise StoreLocked(
                f"{chain.head.sequence - head.sequence} events came after legal holds were looked"
                " up",
                hint="repeat: what was removed is said in the log, and the rest is where it was",
            )
        said = one.archived()
        facts = [] if _is_told(connection, said) else [said]
        why = TextsRemoved(
            first=said.first,
            last=said.last,
            folder=said.folder,
            digest=said.digest,
            reason=work.reason,
        )
        context = Context(actor=work.actor)
        chain.append([[draft(Pending(fact, context)) for fact in (*facts, why)]])
        segment = archived.Segment(one.first, one.last, one.digest, said.folder)
        archived.remove(connection, segment)
        return chain.end()


def _is_told(connection: Connection, fact: SegmentArchived) -> bool:
    key = natural_key(fact)
    return bool(connection.rows("SELECT sequence FROM events WHERE natural_key = ?", (key,)))


# ── one segment ──────────────────────────────────────────────────────────────────────────────────

_HINT: Final = (
    "the log itself is not touched and the OMS goes on; put the folder back from another copy, or"
    " write a new archive into an empty folder"
)


def _write(work: Work, first: int, last: int, progress: Progress) -> Segment:
    place = work.folder / f"segment-{first:012}-{last:012}"
    part = place.with_name(place.name + _PART)
    try:
        with _writing(part):
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir(mode=0o700)
            files, head = _write_events(part, work.url, first, last, progress)
            Proofs(work.url, work.notes).write(part, first, last)
            beside = [made_of(part / name, rows=0) for name in (CHECKPOINTS, PROOFS)]
            made_at = time_text(work.clock.now())
            manifest = {
                "kind": KIND,
                "format": FORMAT,
                "log": work.log,
                "program": work.program,
                "made_at": made_at,
                "files": [{"name": one.name, "sha256": one.sha256} for one in (*files, *beside)],
                "chain": {
                    "files": [one.name for one in files],
                    "first": first,
                    "last": last,
                    "hash_before": hash_before(work.url, first).hex(),
                    "head": head,
                },
            }
            text = f"{json.dumps(manifest, indent=1)}\n".encode()
            for name, content in sealed_manifest(text, work.log, made_at, work.signer).items():
                with whole_file(part / name) as file:
                    file.write(content)
            # Read back before it counts: what cannot be read is no archive.
            _checked(_described(part))
            sync_folder(part / _EVENTS)
            sync_folder(part)
            part.rename(place)
            sync_folder(work.folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return _described(place)


def _write_events(
    part: Path, url: str, first: int, last: int, progress: Progress
) -> tuple[tuple[Made, ...], str]:
    """Write events as an export does; return the files, and the hash of the last event."""
    writer = writer_of("parquet", part, _EVENTS, STORED)
    rows = held_rows(url, first, last)
    head, done = "", 0
    try:
        while page := list(islice(rows, _ROWS)):
            cells = [[*(row[place] for place in _ORDER), bytes(row[HASH]).hex()] for row in page]
            writer.write(cells)
            head, done = cells[-1][-1], done + len(page)
            progress(done, last - first + 1)
        return writer.end(), head
    finally:
        writer.close()


def _rows_of(segment: Segment) -> Iterator[list[tuple[Any, ...]]]:
    """Yield pages of rows as the log has them."""
    parcel = Parcel(segment.folder)
    events = (one for name in parcel.manifest["chain"]["files"] for one in parcel.events(name))
    back = tuple((*HASHED, "hash").index(name) for name in EVENT_COLUMNS)
    while page := list(islice(events, _ROWS)):
        rows = ([*columns, bytes.fromhex(str(digest))] for columns, digest in page)
        yield [tuple(row[place] for place in back) for row in rows]


def _described(folder: Path) -> Segment:
    """Return what the manifest of a segment says; raises `ChainBroken`."""
    try:
        parcel = Parcel(folder)
        chain = parcel.manifest["chain"]
        if parcel.manifest["kind"] != KIND:
            raise ValueError("it is no segment")
        first, last = int(chain["first"]), int(chain["last"])
        return Segment(
            folder, parcel.log, first, last, chain["hash_before"], chain["head"], parcel.digest
        )
    except (DamageError, UncheckableError, OSError, KeyError, ValueError, TypeError) as error:
        named = _NAME.match(folder.name)
        sequence = int(named[1]) if named else 1
        raise ChainBroken(
            f"the segment {folder} cannot be read: {error}", sequence=sequence, hint=_HINT
        ) from error


def _checked(segment: Segment) -> None:
    """Raise `ChainBroken` unless the events of a segment are there, and hold."""
    try:
        check_parcel(segment.folder, Options())
    except DamageError as error:
        sequence = error.sequence or segment.first
        raise ChainBroken(
            f"the segment {segment.folder}: {error}", sequence=sequence, hint=_HINT
        ) from error
    except UncheckableError as error:
        raise ConfigurationError(str(error), hint="pip install 'ib-oms[parquet]'") from error


def _check_continues(url: str, segment: Segment) -> None:
    """Raise `ChainBroken` unless the log has the last event of a segment."""
    try:
        found = hash_before(url, segment.last + 1).hex()
    except NotFound:
        found = ""
    if found != segment.head:
        raise ChainBroken(
            f"event {segment.last} of the log is not the one that {segment.folder} ends with",
            sequence=segment.last,
            hint="the archive is of another log or of another past of it: `oms verify` says whether"
            " the log holds; archive into an empty folder",
        )


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OmsError:
        raise
    except OSError as error:  # Arrow's are among them
        raise StoreUnavailable(
            f"{path} cannot be written: {error.strerror or error}",
            hint="check the folder, its rights and the space on its disk",
        ) from error
