"""Reads texts that the database has no more from the archive that has them.

Of a segment whose texts were removed, the rows of the broker's messages have an empty text in
`wire`, which nothing that was stored has, and no payload but for facts with a natural key. All
else stays in every row, the hash among it. Whoever reads texts of events has them made whole here.

What is read was written by `history.archive`. The manifest of a segment has the digest that the
log says, and its files those that the manifest says, or nothing of it counts; and whoever checks
the chain holds each text against the hash that stayed in the database.
"""

from __future__ import annotations

import hashlib
import json
from bisect import bisect
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from oms.core.codec import GENESIS, decode_stored
from oms.core.events import TextsRemoved
from oms.errors import ArchiveUnavailable, ChainBroken
from oms.store.backend import Connection
from oms.store.envelopes import SELECT_EVENTS, Row, follow
from oms.store.tables import EVENT_COLUMNS

if TYPE_CHECKING:
    import pyarrow

#: What stands in `wire` of an event whose texts were removed.
REMOVED: Final = ""
INSERT_SEGMENT: Final = "INSERT INTO segments (first, last, digest, folder)"
_REMOVE: Final = (
    f"UPDATE events SET wire = '{REMOVED}',"
    f" payload = CASE WHEN natural_key IS NULL THEN '{REMOVED}' ELSE payload END"
    " WHERE sequence BETWEEN ? AND ? AND wire IS NOT NULL"
)
#: A row that the log does not name counts for nothing: by it, texts could be taken away, and an
#: archive that never was would be away.
SELECT_SEGMENTS: Final = (
    "SELECT first, last, digest, folder FROM segments WHERE EXISTS"
    " (SELECT 1 FROM events WHERE natural_key = 'segment:' || segments.digest) ORDER BY first"
)
PAYLOAD: Final = EVENT_COLUMNS.index("payload")
_VERSION: Final = EVENT_COLUMNS.index("version")

#: Groups of rows in memory: of 10,000 events, some megabytes each.
_GROUPS: Final = 8
_HINT: Final = (
    "the database and the newer events are not touched; put the segment back from another copy of"
    " the archive; docs/operating/backup.md"
)


class Segment(NamedTuple):
    """A segment that alone has texts of these events, as the table of segments has it."""

    first: int
    last: int
    digest: str
    folder: str


def removed(connection: Connection) -> list[Segment]:
    """Return the segments whose texts were removed from a database, as the log says."""
    return [Segment._make(row) for row in connection.rows(SELECT_SEGMENTS)]


def told(connection: Connection) -> list[Segment]:
    """Return the segments whose texts were removed, as the facts of the log say; raises
    `ChainBroken` where such a fact is not the one that was written.
    """
    found: dict[int, Segment] = {}
    kind = TextsRemoved.__name__
    for row in connection.rows(f"{SELECT_EVENTS} WHERE type = ? ORDER BY sequence", (kind,)):
        before = connection.rows("SELECT hash FROM events WHERE sequence = ?", (row[0] - 1,))
        follow(bytes(before[0][0]) if before else GENESIS, row[0], row)
        said = decode_stored(kind, row[_VERSION], row[PAYLOAD])
        if isinstance(said, TextsRemoved):
            found[said.first] = Segment(said.first, said.last, said.digest, said.folder)
    return list(found.values())


def refuse_altered(connection: Connection) -> None:
    """Raise `ChainBroken` where the table of segments says what the log does not: an archive that
    is looked for where it never was is not away.
    """
    known = set(told(connection))
    for one in removed(connection):
        if one not in known:
            raise ChainBroken(
                f"the table of segments says of the events {one.first} to {one.last} what no event"
                " says",
                sequence=one.first,
                hint="`oms rebuild` writes down again which segments the log names",
            )


def remove(connection: Connection, segment: Segment) -> None:
    """Remove from a database the texts of the broker's messages in a segment, which the log must
    say is archived. In a transaction of the caller.
    """
    connection.insert(INSERT_SEGMENT, [segment])
    connection.execute(_REMOVE, (segment.first, segment.last))


def is_removed(connection: Connection, segment: Segment) -> bool:
    """Say whether the database lacks texts of a segment."""
    select = "SELECT sequence FROM events WHERE sequence BETWEEN ? AND ? AND wire = ? LIMIT 1"
    return bool(connection.rows(select, (segment.first, segment.last, REMOVED)))


def lacks_text(row: Row, payload: int = PAYLOAD) -> bool:
    """Say whether texts of a row were removed. Behind `payload` stands `wire`, or NULL for it where
    that is not asked for.
    """
    return REMOVED in (row[payload], row[payload + 1])


def filled(
    connection: Connection, rows: Iterable[tuple[Any, ...]], payload: int = PAYLOAD
) -> list[tuple[Any, ...]]:
    """Return rows of events, the sequence first in each, with every text that they had.

    Raises `ArchiveUnavailable` where the archive that has one cannot be read now, and `ChainBroken`
    where it is not the one that was written.
    """
    whole: list[tuple[Any, ...]] = list(rows)
    segments: Sequence[Segment] | None = None
    for at, row in enumerate(whole):
        # `lacks_text`, which would take twice as long for each event of a log.
        if row[payload] == REMOVED or row[payload + 1] == REMOVED:
            segments = removed(connection) if segments is None else segments
            try:
                texts = zip(row[payload : payload + 2], _texts(row[0], segments), strict=True)
            except ArchiveUnavailable:
                refuse_altered(connection)
                raise
            found = (kept if kept != REMOVED else text for kept, text in texts)
            whole[at] = (*row[:payload], *found, *row[payload + 2 :])
    return whole


def _texts(sequence: int, segments: Sequence[Segment]) -> tuple[str, str | None]:
    """Return payload and wire of an event."""
    at = bisect(segments, sequence, key=lambda one: one.first) - 1
    if at < 0 or segments[at].last < sequence:
        raise ChainBroken(
            f"event {sequence} has lost its text, and no segment of an archive has it",
            sequence=sequence,
            hint="`oms rebuild` writes down again which segments the log names; where that helps"
            " nothing, restore a backup: docs/operating/chain-broken.md",
        )
    groups = _groups(segments[at])
    group = groups[bisect(groups, sequence, key=lambda one: one.first) - 1] if groups else None
    found = _read(group).get(sequence) if group is not None else None
    if found is None:
        raise _broken(segments[at], f"it has no event {sequence}", sequence)
    return found


class _Group(NamedTuple):
    first: int
    path: Path
    number: int


@lru_cache(maxsize=_GROUPS)
def _read(group: _Group) -> dict[int, tuple[str, str | None]]:
    try:
        with _arrow().parquet.ParquetFile(group.path) as file:
            table = file.read_row_group(group.number, ["sequence", "payload", "wire"])
        columns = (table.column(name).to_pylist() for name in ("sequence", "payload", "wire"))
        return {sequence: (payload, wire) for sequence, payload, wire in zip(*columns, strict=True)}
    except OSError as error:
        why = error.strerror or error
        raise ArchiveUnavailable(f"{group.path} cannot be read: {why}") from error
    except (KeyError, ValueError, TypeError) as error:
        # It was whole when this process first looked at it.
        text = f"{group.path} is not the file that was written"
        raise ChainBroken(text, sequence=group.first, hint=_HINT) from error


@lru_cache
def _groups(segment: Segment) -> list[_Group]:
    """Return where the events of a segment stand; raises `ChainBroken` where it is not the one that
    was written. That its files are whole is looked at once.
    """
    arrow = _arrow()
    folder = Path(segment.folder)
    if not folder.is_dir() and not any(folder.parent.glob("segment-*")):
        raise ArchiveUnavailable(f"the archive {folder.parent} is not there")
    found: list[_Group] = []
    try:
        _check(segment, "manifest.json", segment.digest)
        manifest = json.loads((folder / "manifest.json").read_bytes())
        digests = {one["name"]: one["sha256"] for one in manifest["files"]}
        for name in manifest["chain"]["files"]:
            path = folder / name
            _check(segment, name, digests[name])
            with arrow.parquet.ParquetFile(path) as file:
                for number in range(file.metadata.num_row_groups):
                    column = file.metadata.row_group(number).column(0)
                    found.append(_Group(column.statistics.min, path, number))
    except FileNotFoundError as error:
        raise _broken(segment, f"{Path(error.filename).name} is missing") from None
    except OSError as error:
        raise ArchiveUnavailable(f"{folder} cannot be read: {error.strerror or error}") from error
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise _broken(segment, f"it cannot be read: {error}") from error
    return found


def _check(segment: Segment, name: str, expected: str) -> None:
    with (Path(segment.folder) / name).open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != expected:
        raise _broken(segment, f"{name} is not the file that was written")


def _broken(segment: Segment, why: str, sequence: int = 0) -> ChainBroken:
    text = f"the segment {segment.folder}: {why}"
    return ChainBroken(text, sequence=sequence or segment.first, hint=_HINT)


def _arrow() -> pyarrow:
    try:
        import pyarrow as found  # noqa: PLC0415 - an extra, which few need
        import pyarrow.parquet  # noqa: PLC0415 - the same
    except ImportError:
        raise ArchiveUnavailable(
            "texts of old events stand in an archive of Parquet files, and the package pyarrow,"
            " which reads them, is not installed",
            hint="install the extra: pip install 'ib-oms[parquet]'",
        ) from None
    return found
