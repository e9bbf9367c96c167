"""Exports: what the log and the books hold, as files of one documented form.

An export is made in a folder beside its place, `OUT.part`, and moved there in one step once all of
it is durable: `OUT` is whole or is not there. What is kept so far stands in `OUT.part.json`, so
that the same command goes on where an interrupted one ended; what it finds there is checked against
its digests first. On a full disk everything is removed, because the daemon may need the room.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import os
import shutil
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any, Final

from oms._version import __version__
from oms.core.bounds import Count, SequenceNumber, Word
from oms.core.codec import time_text
from oms.core.fold.records import AnyRecord, Fill, Order, Position
from oms.core.values import Value, jsonable, read_with_model
from oms.errors import ChainBroken, ConfigurationError, ExportFailed, InvalidRequest, OmsError
from oms.evidence.keys import Signer
from oms.evidence.sealing import sealed_manifest
from oms.files import whole_file
from oms.history import index
from oms.history.asof import PastBooks, as_of_json
from oms.history.clocks import Readings, readings
from oms.history.columns import COLUMNS, Column, Row, Subject, event_row, record_row
from oms.history.formats import (
    DECIMALS,
    DIGITS,
    Form,
    Made,
    NotKept,
    check_form,
    check_made,
    made_of,
    writer_of,
)
from oms.history.mask import Mask, Names
from oms.history.proofs import Proofs
from oms.history.query import Query, matching, range_of
from oms.history.records import Choice, choice
from oms.history.snapshots import born
from oms.report.clock import ClockBound
from oms.store.reader import Reader
from oms.store.space import free_bytes
from oms.verify import CHECKPOINTS, GENESIS, PROOFS, Note, event_hash

#: Number of the form of exports; it changes where a column changes its meaning.
SCHEMA: Final = 1
#: Events and records that are read at a time.
_PAGE: Final = 1_000
#: Rows after which what is written is made durable.
_KEPT_ROWS: Final = 50_000

Moved = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Request:
    """What is to be exported, and how."""

    subject: Subject
    form: Form
    query: Query
    #: The key of pseudonyms; empty shows everything as it is.
    mask_key: bytes = b""


class Progress(Value):
    """What an export has kept, and of which log."""

    #: What was asked for, as text that is the same for the same request.
    request: str
    #: Where the log ended when the export began: it holds nothing later.
    last: SequenceNumber
    head: Word
    files: tuple[Made, ...] = ()


@dataclass(frozen=True, slots=True)
class Exported:
    """What was exported."""

    rows: Count
    #: Rows that an earlier, interrupted run had kept.
    resumed: Count
    files: tuple[Made, ...]
    last: SequenceNumber


async def export(
    reader: Reader,
    request: Request,
    out: Path,
    *,
    signer: Signer | None = None,
    moved: Moved = lambda done, total: None,
    room: int = 0,
    past: PastBooks | None = None,
    notes: Sequence[Note] = (),
) -> Exported:
    """Export to a folder that does not exist yet; it is there, whole and durable, when this ends.

    Of the books those of now, or of `past`. It ends as on a full disk where fewer bytes than `room`
    would stay free. Events come with the signed `notes` of the log that cover them.

    Raises `ConfigurationError` for a place that exists or cannot be written, and for a value that
    the form cannot hold, `ExportFailed` where the disk is full, and `ChainBroken` where an event is
    not the one that was written.
    """
    check_form(request.form, request.subject)
    stage = Stage(out, room)
    with failures(stage):
        stage.open()
        proofs = Proofs(reader.url, notes)
        return await _export(reader, request, stage, proofs, signer=signer, moved=moved, past=past)


async def _export(
    reader: Reader,
    request: Request,
    stage: Stage,
    proofs: Proofs,
    *,
    signer: Signer | None,
    moved: Moved,
    past: PastBooks | None,
) -> Exported:
    columns = _columns(request)
    progress = await _kept(reader, request, stage, past)
    end = min(request.query.before or progress.last + 1, progress.last + 1)
    source = await source_of(reader, request.subject, request.query.evolve(before=end), past)
    refuse_empty(source)
    mask = await mask_of(reader, request.mask_key, progress.last)
    if not progress.files:
        stage.clear()
    try:
        writer = writer_of(request.form, stage.folder, request.subject, columns, progress.files)
    except NotKept:
        progress = progress.evolve(files=())
        stage.clear()
        writer = writer_of(request.form, stage.folder, request.subject, columns)
    rows = resumed = sum(one.rows for one in progress.files)
    try:
        async for page in source.rows(resumed):
            shown = [mask.row(source.columns, row) for row in page] if mask else page
            await asyncio.to_thread(writer.write, [row[: len(columns)] for row in shown])
            rows += len(page)
            if rows // _KEPT_ROWS != (rows - len(page)) // _KEPT_ROWS:
                files = await asyncio.to_thread(writer.keep)
                stage.keep(progress.evolve(files=files))
            moved(rows, source.total)
        files = await asyncio.to_thread(writer.end)
    finally:
        writer.close()
    await asyncio.to_thread(check_made, stage.folder, files)
    described = await _manifest(reader, request, files, source, mask)
    if mask is None and request.subject == "events":
        await write_proofs(stage.folder, proofs, source)
        beside = [made_of(stage.folder / name, rows=0) for name in (CHECKPOINTS, PROOFS)]
        described["files"] = jsonable((*files, *beside))
    if mask is None:
        described["head"] = {"sequence": progress.last, "hash": progress.head}
    manifest = manifest_text(described)
    log = await log_of(reader, mask)
    # No time of the machine's: the same request gives the same bytes.
    at = time_text(await reader.recorded_at(progress.last))
    stage.end(sealed_manifest(manifest, log, at, signer))
    return Exported(rows, resumed, files, progress.last)


def _columns(request: Request) -> tuple[Column, ...]:
    """Return the columns; the hash of an event would betray what its mask hides, to whoever tries
    all numbers.
    """
    every = COLUMNS[request.subject]
    return every[:-1] if request.subject == "events" and request.mask_key else every


async def mask_of(reader: Reader, key: bytes, last: int) -> Mask | None:
    """Return what masks a log up to an event, None without a key."""
    if not key:
        return None
    names = Names()
    async for page in _events(reader, range(1, last + 1)):
        for row in page:
            wire = None if row[12] is None else str(row[12])
            names.learn(str(row[1]), str(row[7]), str(row[11]), wire)
    return Mask(key, names.terms, names.parts)


# ── where rows come from ─────────────────────────────────────────────────────────────────────────


class Source(ABC):
    """Rows in their order, and how many there are."""

    def __init__(self, columns: tuple[Column, ...], total: int, first: int, last: int) -> None:
        self.columns = columns
        #: Of the books: the moment that they are of.
        self.moment: dict[str, object] | None = None
        self.total = total
        #: The range of the log that was asked for, whichever of it is in the rows.
        self.first, self.last = first, last
        #: Whether every event of the range is in the rows, and of events which ones are.
        self.is_whole = False
        self.bits: index.Bits = {}

    @abstractmethod
    def rows(self, after: int) -> AsyncIterator[list[Row]]:
        """Yield pages of rows behind the first `after`."""


class _Events(Source):
    """Events, as they are stored, each held against its hash."""

    def __init__(self, reader: Reader, bits: index.Bits, first: int, last: int) -> None:
        super().__init__(COLUMNS["events"], index.size(bits), first, last)
        self.is_whole = self.total == last - first + 1
        self._reader = reader
        self.bits = bits

    async def rows(self, after: int) -> AsyncIterator[list[Row]]:
        """Yield pages of rows behind the first `after`."""
        wanted = (
            range(self.first + after, self.last + 1)
            if self.is_whole
            else islice(index.sequences(self.bits), after, None)
        )
        async for page in _events(self._reader, wanted):
            yield [event_row(row) for row in page]


async def _events(reader: Reader, wanted: Iterable[int]) -> AsyncIterator[list[Row]]:
    sequences = iter(wanted)
    while page := list(islice(sequences, _PAGE)):
        stored = await reader.stored(page)
        yield list(await asyncio.to_thread(_checked, page, stored))


def _checked(wanted: Sequence[int], stored: Sequence[Sequence[Any]]) -> Iterator[Row]:
    """Yield rows of stored events; raises `ChainBroken` with the first that does not hold."""
    rows = {int(row[0]): row for row in stored}
    for sequence in wanted:
        row = rows.get(sequence)
        if row is None:
            raise ChainBroken(f"expected event {sequence}, found none", sequence=sequence)
        *columns, digest, before = row
        previous = GENESIS if sequence == 1 else before
        if previous is None or event_hash(bytes(previous), columns) != bytes(digest):
            raise ChainBroken(
                f"event {sequence} does not carry the hash of its contents and of the event before",
                sequence=sequence,
            )
        yield [*columns, bytes(digest).hex()]


class _Records(Source):
    """Records of the books, as they are now or as they were."""

    def __init__(
        self,
        subject: Subject,
        pages: AsyncIterator[list[AnyRecord]],
        chosen: Choice,
        total: int,
        clocks: Readings,
    ) -> None:
        super().__init__(COLUMNS[subject], total, chosen.known.first, chosen.known.last)
        self._pages = pages
        self._chosen = chosen
        self._clocks = clocks

    async def rows(self, after: int) -> AsyncIterator[list[Row]]:
        """Yield pages of rows behind the first `after`."""
        async for page in self._pages:
            chosen = await self._chosen.of(page)
            skipped, after = min(after, len(chosen)), max(0, after - len(chosen))
            yield [record_row(record, self._clock_of(record)) for record in chosen[skipped:]]

    def _clock_of(self, record: AnyRecord) -> ClockBound | None:
        match record:
            case Fill():
                return self._clocks.of_fill(record)
            case Order() | Position():
                at = record.updated_at
                return None if at is None else self._clocks.at(record.last_sequence, at)
            case _:
                return None


def refuse_empty(source: Source) -> None:
    """Raise `InvalidRequest` where the range that was asked for has no event."""
    if source.first > source.last:
        raise InvalidRequest("the log has no event in that time", hint="`oms log` shows when")


#: What an export of records cannot be chosen by.
_OF_EVENTS: Final = ("type", "correlation", "limit", "sort")
_TABLES: Final = {"orders": "orders", "fills": "fills", "positions": "positions", "cases": "breaks"}


async def source_of(
    reader: Reader, subject: Subject, query: Query, past: PastBooks | None = None
) -> Source:
    """Return the rows that meet a query, of the books those of now or of the past.

    Raises `InvalidRequest` for a condition that records have not, and events of the past.
    """
    if subject == "events":
        if past is not None:
            raise InvalidRequest(
                "an event is what it was from its first moment", hint="leave --as-of out: --until"
            )
        first, last = await range_of(reader, query)
        return _Events(reader, await matching(reader, query), first, last)
    for name in _OF_EVENTS:
        if getattr(query, name) not in (None, ()):
            raise InvalidRequest(
                f"{subject} cannot be chosen by {name}", hint="leave it out, or export events"
            )
    if subject == "positions" and not (query.since is query.until is query.after is None):
        raise InvalidRequest(
            "positions are what is held now: they have no --since and no --until",
            hint="--as-of has them at a moment; `oms export fills` has what was bought and sold",
        )
    table = _TABLES[subject]
    # Positions have no place in the log: where it ends is no condition of them.
    asked = query.evolve(before=None) if subject == "positions" else query
    chosen = await choice(reader, table, asked, past)
    pages = reader.stream(table) if past is None else _past(past, table)
    total = await (reader if past is None else past).count(table)
    clocks = Readings(())
    if subject != "cases":
        until = None if past is None else past.sequence
        # An order or a position goes on after the range in which it began.
        last = chosen.known.last if subject == "fills" else (await reader.head()).sequence
        clocks = await readings(reader, chosen.known.first, last, until=until)
    source = _Records(subject, pages, chosen, total, clocks)
    source.moment = as_of_json(past.as_of) if past is not None else None
    return source


async def _past(books: PastBooks, table: str) -> AsyncIterator[list[AnyRecord]]:
    records = await books.rows(table)
    yield sorted(records, key=lambda record: (born(record), record.key))


# ── the folder ───────────────────────────────────────────────────────────────────────────────────


class Stage:
    """The folder beside its place in which an export is made."""

    def __init__(self, out: Path, room: int = 0) -> None:
        self.out = out
        self._room = room
        self.folder = out.with_name(f"{out.name}.part")
        self._progress = out.with_name(f"{out.name}.part.json")
        self._is_ours = False

    def open(self, *, anew: bool = False) -> None:
        """Make the folder where no earlier run has; `anew` drops what that left.

        Raises `ConfigurationError` where the place is taken, or where such a folder is not ours.
        """
        if self.out.exists():
            raise ConfigurationError(
                f"{self.out} exists already", hint="name another folder, or remove it"
            )
        if not self.out.parent.is_dir():
            raise ConfigurationError(
                f"there is no folder {self.out.parent}", hint="make it, or name another place"
            )
        if self.folder.exists() and self.progress() is None:
            raise ConfigurationError(
                f"{self.folder} is not of an export that could go on",
                hint="name another place, or remove that folder",
            )
        self._is_ours = True
        if anew:
            self.remove()
        if not self.folder.exists():
            self.keep(Progress(request="", last=0, head=""))
            self.folder.mkdir(mode=0o700)

    def clear(self) -> None:
        """Drop what an earlier run left in the folder, of whatever it was."""
        shutil.rmtree(self.folder)
        self.folder.mkdir(mode=0o700)

    def progress(self) -> Progress | None:
        """Return what an earlier run has kept; None where there was none."""
        try:
            return read_with_model(Progress, self._progress.read_text())
        except (OSError, ValueError):
            return None

    def keep(self, progress: Progress) -> None:
        """Note what is durable now; raises `OSError` where the disk is as good as full."""
        self.check_room()
        with whole_file(self._progress) as file:
            file.write(json.dumps(jsonable(progress)).encode())

    def check_room(self) -> None:
        """Raise `OSError` where the disk is as good as full."""
        free = free_bytes(self.out.parent)
        if free is not None and free < self._room:
            left = f"less than {self._room:,} bytes would stay free for the log"
            raise OSError(errno.ENOSPC, left)

    def end(self, seals: Mapping[str, bytes]) -> None:
        """Add the manifest, and move the folder to its place in one step."""
        for name, content in seals.items():
            with whole_file(self.folder / name) as file:
                file.write(content)
        for folder in (*self.folder.iterdir(), self.folder):
            if folder.is_dir():
                durable(folder)
        # A folder that was made there meanwhile has files in it, and is not replaced.
        self.folder.rename(self.out)
        durable(self.out.parent)
        self._progress.unlink(missing_ok=True)

    def end_with(self, file: Path) -> None:
        """Move a durable file to the place in one step, and leave nothing else."""
        if self.out.exists():
            raise FileExistsError(errno.EEXIST, "it was made by another program meanwhile")
        file.rename(self.out)
        durable(self.out.parent)
        self.remove()

    def remove(self) -> None:
        """Leave nothing beside the place, where it is ours."""
        if not self._is_ours:
            return
        shutil.rmtree(self.folder, ignore_errors=True)
        with contextlib.suppress(OSError):
            self._progress.unlink(missing_ok=True)


def durable(folder: Path) -> None:
    """Make durable which files are in a folder, where a system can."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def failures(stage: Stage) -> Iterator[None]:
    """Say what became of an export that cannot be written; only an interruption, or an error that
    can pass, leaves what the next run goes on with.
    """
    try:
        yield
    except OmsError as error:
        if not error.transient:
            stage.remove()
        raise
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
            stage.remove()
            raise ExportFailed(
                f"{stage.out} cannot be written: {error.strerror}; nothing of it was left"
            ) from error
        raise ConfigurationError(
            f"{stage.out} cannot be written: {error.strerror}", hint="check the folder's rights"
        ) from error


async def _kept(reader: Reader, request: Request, stage: Stage, past: PastBooks | None) -> Progress:
    """Return what an earlier run has kept of the same request, or a beginning."""
    head = await reader.head()
    name = _name_of(request, past)
    wanted = Progress(request=name, last=head.sequence, head=head.hash.hex())
    found = stage.progress()
    if found is None or found.request != wanted.request:
        return wanted
    if request.subject != "events" and found.last != head.sequence:
        return wanted  # the books have moved on, and their rows with them
    at = await reader.hashes(found.last, found.last)
    return found if [one.hex() for one in at] == [found.head] else wanted


def _name_of(request: Request, past: PastBooks | None) -> str:
    key = sha256(b"request" + request.mask_key).hexdigest() if request.mask_key else ""
    query = jsonable(request.query, with_defaults=False)
    moment = as_of_json(past.as_of) if past is not None else None
    return json.dumps([SCHEMA, request.subject, request.form, query, key, moment])


# ── the manifest ─────────────────────────────────────────────────────────────────────────────────


async def _manifest(
    reader: Reader, request: Request, made: Sequence[Made], source: Source, mask: Mask | None
) -> dict[str, object]:
    columns = [{"name": one.name, "kind": one.kind} for one in _columns(request)]
    query: dict[str, object] = jsonable(request.query, with_defaults=False)
    if mask is not None:
        query = mask.query(query)
    manifest: dict[str, object] = {
        "kind": "export",
        "log": await log_of(reader, mask),
        "subject": request.subject,
        "format": request.form,
        "query": query,
        "rows": sum(one.rows for one in made),
        "first": source.first,
        "last": source.last,
        "as_of": source.moment,
        "masked": mask.fingerprint if mask is not None else None,
        "schema": SCHEMA,
        "decimal": f"decimal128({DIGITS}, {DECIMALS})" if request.form == "parquet" else "text",
        "columns": columns,
        "versions": _versions(request.form),
        "files": jsonable(tuple(made)),
    }
    if request.subject == "events" and mask is None:
        names = [one.name for one in made]
        if source.is_whole:
            manifest["chain"] = await chain(reader, names, source)
        else:
            manifest["events"] = names
    return manifest


async def log_of(reader: Reader, mask: Mask | None = None) -> str:
    """Return by what a log is known: the hash of its first event, whose account a mask hides."""
    log = (await reader.hashes(1, 1) or [GENESIS])[0].hex()
    return mask.pseudonym(log) if mask is not None else log


async def chain(reader: Reader, names: Sequence[str], source: Source) -> dict[str, object]:
    """Return what a manifest says of a whole range of events."""
    first, last = source.first, source.last
    before = await reader.hashes(first - 1, first - 1)
    (head,) = await reader.hashes(last, last)
    return {
        "files": list(names),
        "first": first,
        "last": last,
        "hash_before": (before[0] if before else GENESIS).hex(),
        "head": head.hex(),
    }


async def write_proofs(folder: Path, proofs: Proofs, source: Source) -> int:
    """Write the signed notes that cover events, and what shows that these stand under them; return
    how many checkpoints there are.
    """
    chosen = None if source.is_whole else index.sequences(source.bits)
    return await asyncio.to_thread(proofs.write, folder, source.first, source.last, chosen)


def manifest_text(manifest: Mapping[str, object]) -> bytes:
    """Return a manifest as it is written."""
    return json.dumps(manifest, indent=1, ensure_ascii=False).encode() + b"\n"


def _versions(form: Form) -> dict[str, str]:
    versions = {"ib-oms": __version__}
    if form == "parquet":
        versions["pyarrow"] = version("pyarrow")
    return versions
