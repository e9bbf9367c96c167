"""The examination pack: what happened in a time, in one archive that can be checked without us.

It has every event of the time with its chain, the same in tables that people read, the reports, the
signed checkpoints, the public key, and a dictionary. The archive is one exact sequence of bytes
(docs/reference/log-format.md), the same for the same log and question.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import shutil
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from oms import report
from oms._version import __version__
from oms.core.codec import time_text
from oms.core.events import (
    ClockStepped,
    DaemonStarted,
    DaemonStopped,
    Envelope,
    ReconciliationCompleted,
    ServerTimeRead,
    StatementChecked,
)
from oms.core.fold.records import BreakCase
from oms.core.values import jsonable
from oms.errors import ConfigurationError
from oms.evidence.keys import Signer
from oms.evidence.sealing import sealed_manifest
from oms.history.asof import books_at
from oms.history.columns import (
    CLOCKS,
    COLUMNS,
    ORDER_EVENTS,
    Column,
    Row,
    Subject,
    clock_row,
    order_event_row,
)
from oms.history.dictionary import columns_in_words, events_in_words
from oms.history.export import (
    SCHEMA,
    Moved,
    Source,
    Stage,
    chain,
    failures,
    log_of,
    manifest_text,
    mask_of,
    refuse_empty,
    source_of,
    write_proofs,
)
from oms.history.formats import Made, Writer, made_of, writer_of
from oms.history.mask import Mask
from oms.history.proofs import Proofs
from oms.history.query import Query
from oms.store.reader import Reader
from oms.verify import Member, Note, archive_end

#: What the sizes of an archive can say; also what mail and file systems take.
_BYTES_MAX: Final = 2**32 - 1
_CHUNK: Final = 1 << 20
#: Events that are folded without snapshots rather than made snapshots of.
_EVENTS_MAX: Final = 100_000
_EVENTS: Final = "events.jsonl.gz"
#: Tables of the books as they were at the end of the time: positions, and what came in it.
_BOOKS: Final[tuple[Subject, ...]] = ("orders", "fills", "positions", "cases")
_LINES: Final = ("reconciliations", "statement_checks", "starts")

_README: Final = """\
Events {first} to {last} of the log {log},
recorded from {begin} to {end}.

events.jsonl.gz        every event, {stored}
order_events.csv       the same about orders: who did what and when, in sentences
                       (by what is known now: an order adopted later has its events of before)
orders.csv, fills.csv, cases.csv
                       what came to the books in this time, as it was at its end
positions.csv          what was held at its end
reconciliations.jsonl  each comparison with the broker: questions, answers, findings
statement_checks.jsonl each comparison with the broker's statement
clocks.csv             the gateway's clock against ours, and when ours was set
starts.jsonl           each start and end of the program, with versions and settings
checkpoints.jsonl      what was signed while the log grew; keys.txt has the public key
proofs.jsonl           hashes that tie the last events to a checkpoint that covers more than these
dictionary.json        what every file, column, event and field means
manifest.json          the question, and a digest of each file

To check it, with Python and its package cryptography:
    python verify.py THIS.zip --key PUBLIC_KEY
Take verify.py and the public key from somewhere else than from here.
"""

#: What is said of files that a masked pack has not.
_OF_CHAIN: Final = ("checkpoints.jsonl", "proofs.jsonl")
_MASKED: Final = """\

Accounts and names are masked: one word stands for each of them, everywhere. Who tries all account
numbers could find the one that fits a hash, so there is no hash of an event, no checkpoint and no
proof. The signature shows who made this, and that nothing of it was changed since; that the log
says so is shown by whoever has it, with the key of the mask: the same question gives these bytes.
"""


@dataclass(frozen=True, slots=True)
class Packed:
    """What was packed."""

    first: int
    last: int
    files: int
    #: Signed checkpoints in it.
    checkpoints: int


async def pack(
    reader: Reader,
    query: Query,
    out: Path,
    *,
    signer: Signer | None = None,
    notes: Sequence[Note] = (),
    moved: Moved = lambda done, total: None,
    room: int = 0,
    when_far: Callable[[], None] = lambda: None,
    mask_key: bytes = b"",
) -> Packed:
    """Write the pack of a time; it is there, whole and durable, when this ends.

    With a `mask_key` it has pseudonyms for accounts and names, and neither hashes nor checkpoints.
    `notes` are the signed checkpoints of the log; `room` is as for an export, `when_far`
    as for the books of a moment. Raises
    `ConfigurationError` for a place that exists or cannot be written, `InvalidRequest` for a time
    without events, `ExportFailed` where the disk is full, and `ChainBroken` where an event is not
    the one that was written.
    """
    stage = Stage(out, room)
    with failures(stage):
        stage.open(anew=True)
        source = await source_of(reader, "events", query)
        refuse_empty(source)
        mask = await mask_of(reader, mask_key, (await reader.head()).sequence)
        await _write_events(reader, source, stage, moved, mask)
        past = await books_at(reader, source.last, events_max=_EVENTS_MAX, when_far=when_far)
        for subject in _BOOKS:
            asked = Query() if subject == "positions" else query
            books = await source_of(reader, subject, asked, past)
            with _sheet(stage.folder, subject, COLUMNS[subject]) as sheet:
                async for rows in books.rows(0):
                    sheet.write(_masked(mask, COLUMNS[subject], rows))
        checkpoints = 0
        if mask is None:
            checkpoints = await write_proofs(stage.folder, Proofs(reader.url, notes), source)
        texts = await _texts(reader, source, signer, mask)
        _texts_in(stage.folder, texts)
        files = await asyncio.to_thread(_made_in, stage.folder)
        manifest = manifest_text(await _manifest(reader, query, source, files, mask))
        # No time of the machine's: the same log and question give the same bytes.
        at = time_text(await reader.recorded_at(source.last))
        seals = sealed_manifest(manifest, await log_of(reader, mask), at, signer)
        _texts_in(stage.folder, seals)
        await asyncio.to_thread(_archive, stage, [*seals, *(one.name for one in files)])
    return Packed(source.first, source.last, len(files), checkpoints)


def _masked(mask: Mask | None, columns: Sequence[Column], rows: Sequence[Row]) -> Sequence[Row]:
    return rows if mask is None else [mask.row(columns, row) for row in rows]


async def _write_events(
    reader: Reader, source: Source, stage: Stage, moved: Moved, mask: Mask | None
) -> None:
    cases = [row for row in await reader.rows("breaks") if isinstance(row, BreakCase)]
    names = [column.name for column in _event_columns(mask)]
    folder, done = stage.folder, 0
    with ExitStack() as stack:
        events = stack.enter_context(_compressed(folder / _EVENTS))
        about_orders = stack.enter_context(_sheet(folder, "order_events", ORDER_EVENTS))
        clocks = stack.enter_context(_sheet(folder, "clocks", CLOCKS))
        lines = {
            name: _Lines(stack.enter_context(_new(folder / f"{name}.jsonl")), mask)
            for name in _LINES
        }
        for start in await reader.events(
            0, before=source.first, type=DaemonStarted.__name__, reverse=True, limit=1
        ):
            # What ran when the time began.
            lines["starts"].write(report.event_json(start))
        async for page in source.rows(0):
            shown = _masked(mask, source.columns, page)
            events.write(b"".join(_line(dict(zip(names, row, strict=False))) for row in shown))
            links = await reader.links([int(str(row[0])) for row in page])
            wanted = {sequence for sequence, _ in links} | _apart(page)
            found = {e.sequence: e for e in await reader.envelopes(sorted(wanted))}
            about = [order_event_row(id_, found[at]) for at, id_ in sorted(links)]
            about_orders.write(_masked(mask, ORDER_EVENTS, about))
            for sequence in sorted(_apart(page)):
                _write_apart(found[sequence], cases, clocks, lines)
            done += len(page)
            stage.check_room()
            moved(done, source.total)


_APART: Final = {
    *(ReconciliationCompleted, StatementChecked),
    *(DaemonStarted, DaemonStopped, ServerTimeRead, ClockStepped),
}
_APART_NAMES: Final = {one.__name__ for one in _APART}


def _apart(page: Sequence[Row]) -> set[int]:
    return {int(str(row[0])) for row in page if row[1] in _APART_NAMES}


def _write_apart(
    envelope: Envelope,
    cases: Sequence[BreakCase],
    clocks: Writer,
    lines: Mapping[str, _Lines],
) -> None:
    """Write an event to the file of its kind."""
    match envelope.event:
        case ReconciliationCompleted() as run:
            then = report.open_when(cases, envelope)
            built = report.build(run, then, sequence=envelope.sequence)
            lines["reconciliations"].write(report.as_json(built))
        case StatementChecked():
            lines["statement_checks"].write(report.event_json(envelope))
        case DaemonStarted() | DaemonStopped():
            lines["starts"].write(report.event_json(envelope))
        case ServerTimeRead() | ClockStepped():
            clocks.write([clock_row(envelope)])
        case _:
            return  # its text cannot be read: it stands among the events as it is


class _Lines:
    """A file of JSON lines, masked where there is a mask."""

    def __init__(self, file: BinaryIO, mask: Mask | None) -> None:
        self._file = file
        self._mask = mask

    def write(self, value: object) -> None:
        """Add a line."""
        self._file.write(_line(value if self._mask is None else self._mask.value(value)))


def _event_columns(mask: Mask | None) -> Sequence[Column]:
    """Return the columns of events: the last is the hash."""
    return COLUMNS["events"] if mask is None else COLUMNS["events"][:-1]


async def _texts(
    reader: Reader, source: Source, signer: Signer | None, mask: Mask | None
) -> dict[str, str]:
    begin, end = [await reader.recorded_at(one) for one in (source.first, source.last)]
    columns = {
        _EVENTS: _event_columns(mask),
        "order_events.csv": ORDER_EVENTS,
        **{f"{subject}.csv": COLUMNS[subject] for subject in _BOOKS},
        "clocks.csv": CLOCKS,
    }
    dictionary = {
        "files": {name: columns_in_words(many) for name, many in columns.items()},
        "events": events_in_words(),
    }
    readme = _README.format(
        first=source.first,
        last=source.last,
        log=await log_of(reader, mask),
        begin=time_text(begin),
        end=time_text(end),
        stored="masked" if mask else "as it is stored, with its hash",
    )
    if mask is not None:
        kept = (line for line in readme.splitlines(True) if not line.startswith(_OF_CHAIN))
        readme = "".join(kept) + _MASKED
    return {
        "README.txt": readme,
        "dictionary.json": json.dumps(dictionary, indent=1, ensure_ascii=False) + "\n",
        "keys.txt": f"{signer.public}\n" if signer is not None else "",
    }


async def _manifest(
    reader: Reader, query: Query, source: Source, files: Sequence[Made], mask: Mask | None
) -> dict[str, object]:
    manifest: dict[str, object] = {
        "kind": "pack",
        "log": await log_of(reader, mask),
        "query": jsonable(query, with_defaults=False),
        "first": source.first,
        "last": source.last,
        "schema": SCHEMA,
        "versions": {"ib-oms": __version__},
        "files": [{"name": one.name, "bytes": one.bytes, "sha256": one.sha256} for one in files],
    }
    if mask is not None:
        return manifest | {"masked": mask.fingerprint}
    return manifest | {"chain": await chain(reader, [_EVENTS], source)}


def _texts_in(folder: Path, texts: Mapping[str, str | bytes]) -> None:
    for name, text in texts.items():
        with _new(folder / name) as file:
            file.write(text if isinstance(text, bytes) else text.encode())


def _made_in(folder: Path) -> list[Made]:
    return [made_of(path, rows=0) for path in sorted(folder.iterdir())]


def _archive(stage: Stage, names: Sequence[str]) -> None:
    """Put the files into one archive, and move that to its place."""
    members: list[Member] = []
    for name in names:
        path = stage.folder / name
        members.append(Member(name, path.stat().st_size, _crc(path)))
    end = archive_end(members)
    size = sum(len(one.header) + one.size for one in members) + len(end)
    if size > _BYTES_MAX:
        raise ConfigurationError(
            f"the pack would have {size:,} bytes; an archive holds less than 4 GiB",
            hint="pack shorter times, with --since and --until",
        )
    target = stage.folder / ".archive"
    with _new(target) as archive:
        for one in members:
            archive.write(one.header)
            with (stage.folder / one.name).open("rb") as file:
                shutil.copyfileobj(file, archive, _CHUNK)
        archive.write(end)
        archive.flush()
        os.fsync(archive.fileno())
    stage.end_with(target)


@contextmanager
def _sheet(folder: Path, name: str, columns: Sequence[Column]) -> Iterator[Writer]:
    writer = writer_of("csv", folder, name, columns)
    try:
        yield writer
        writer.end()
    finally:
        writer.close()


@contextmanager
def _compressed(path: Path) -> Iterator[gzip.GzipFile]:
    with _new(path) as file, gzip.GzipFile("", "wb", 6, file, mtime=0) as compressed:
        yield compressed


def _new(path: Path) -> BinaryIO:
    return open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")


def _line(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode() + b"\n"


def _crc(path: Path) -> int:
    crc = 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            crc = zlib.crc32(chunk, crc)
    return crc
