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
    refuse_empty,
    source_of,
    write_proofs,
)
from oms.history.formats import Made, Writer, made_of, writer_of
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

events.jsonl.gz        every event, as it is stored, with its hash
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
) -> Packed:
    """Write the pack of a time; it is there, whole and durable, when this ends.

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
        await _write_events(reader, source, stage, moved)
        past = await books_at(reader, source.last, events_max=_EVENTS_MAX, when_far=when_far)
        for subject in _BOOKS:
            asked = Query() if subject == "positions" else query
            books = await source_of(reader, subject, asked, past)
            with _sheet(stage.folder, subject, COLUMNS[subject]) as sheet:
                async for rows in books.rows(0):
                    sheet.write(rows)
        checkpoints = await write_proofs(stage.folder, Proofs(reader.url, notes), source)
        texts = await _texts(reader, source, signer)
        _texts_in(stage.folder, texts)
        files = await asyncio.to_thread(_made_in, stage.folder)
        manifest = manifest_text(await _manifest(reader, query, source, files))
        # No time of the machine's: the same log and question give the same bytes.
        at = time_text(await reader.recorded_at(source.last))
        seals = sealed_manifest(manifest, await log_of(reader), at, signer)
        _texts_in(stage.folder, seals)
        await asyncio.to_thread(_archive, stage, [*seals, *(one.name for one in files)])
    return Packed(source.first, source.last, len(files), checkpoints)


async def _write_events(reader: Reader, source: Source, stage: Stage, moved: Moved) -> None:
    cases = [row for row in await reader.rows("breaks") if isinstance(row, BreakCase)]
    names = [column.name for column in source.columns]
    folder, done = stage.folder, 0
    with ExitStack() as stack:
        events = stack.enter_context(_compressed(folder / _EVENTS))
        about_orders = stack.enter_context(_sheet(folder, "order_events", ORDER_EVENTS))
        clocks = stack.enter_context(_sheet(folder, "clocks", CLOCKS))
        lines = {name: stack.enter_context(_new(folder / f"{name}.jsonl")) for name in _LINES}
        for start in await reader.events(
            0, before=source.first, type=DaemonStarted.__name__, reverse=True, limit=1
        ):
            # What ran when the time began.
            lines["starts"].write(_line(report.event_json(start)))
        async for page in source.rows(0):
            events.write(b"".join(_line(dict(zip(names, row, strict=True))) for row in page))
            links = await reader.links([int(str(row[0])) for row in page])
            wanted = {sequence for sequence, _ in links} | _apart(page)
            found = {e.sequence: e for e in await reader.envelopes(sorted(wanted))}
            about_orders.write([order_event_row(id_, found[at]) for at, id_ in sorted(links)])
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
    lines: Mapping[str, BinaryIO],
) -> None:
    """Write an event to the file of its kind."""
    match envelope.event:
        case ReconciliationCompleted() as run:
            then = report.open_when(cases, envelope)
            built = report.build(run, then, sequence=envelope.sequence)
            lines["reconciliations"].write(_line(report.as_json(built)))
        case StatementChecked():
            lines["statement_checks"].write(_line(report.event_json(envelope)))
        case DaemonStarted() | DaemonStopped():
            lines["starts"].write(_line(report.event_json(envelope)))
        case ServerTimeRead() | ClockStepped():
            clocks.write([clock_row(envelope)])
        case _:
            return  # its text cannot be read: it stands among the events as it is


async def _texts(reader: Reader, source: Source, signer: Signer | None) -> dict[str, str]:
    begin, end = [await reader.recorded_at(one) for one in (source.first, source.last)]
    columns = {
        _EVENTS: COLUMNS["events"],
        "order_events.csv": ORDER_EVENTS,
        **{f"{subject}.csv": COLUMNS[subject] for subject in _BOOKS},
        "clocks.csv": CLOCKS,
    }
    dictionary = {
        "files": {name: columns_in_words(many) for name, many in columns.items()},
        "events": events_in_words(),
    }
    return {
        "README.txt": _README.format(
            first=source.first,
            last=source.last,
            log=await log_of(reader),
            begin=time_text(begin),
            end=time_text(end),
        ),
        "dictionary.json": json.dumps(dictionary, indent=1, ensure_ascii=False) + "\n",
        "keys.txt": f"{signer.public}\n" if signer is not None else "",
    }


async def _manifest(
    reader: Reader, query: Query, source: Source, files: Sequence[Made]
) -> dict[str, object]:
    return {
        "kind": "pack",
        "log": await log_of(reader),
        "query": jsonable(query, with_defaults=False),
        "first": source.first,
        "last": source.last,
        "schema": SCHEMA,
        "versions": {"ib-oms": __version__},
        "files": [{"name": one.name, "bytes": one.bytes, "sha256": one.sha256} for one in files],
        "chain": await chain(reader, [_EVENTS], source),
    }


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
