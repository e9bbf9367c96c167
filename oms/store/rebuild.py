"""Folds the log again from its first event and compares the result with the stored projections.

The live books, written event by event over months, must equal a fold of the whole log in one go;
that they do is what makes them projections and not a second truth. The shadow is a temporary SQLite
file whatever the database is, filled by the same projector, so memory stays flat however long the
log is.
"""

from __future__ import annotations

import gc
import socket
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

from sqlalchemy.engine import URL

from oms.clock import Clock, SystemClock
from oms.core.records import TABLES, decode_record, differing_fields
from oms.errors import LeaseHeld, StoreUnavailable
from oms.store import lease as leases
from oms.store import schema
from oms.store.audit import Progress
from oms.store.backend import Connection, connect, parse_url, sync_engine
from oms.store.envelopes import SELECT_FACTS, envelope
from oms.store.projector import Projector
from oms.store.tables import BOOKS_CHECKPOINT, METADATA, ORDER_EVENTS, PROJECTIONS

PAGE_ROWS: Final = 1_000
#: Events between two writes of the shadow: the more, the more often a row that changes often is
#: written once, and the more rows wait in memory.
EVENTS_PER_WRITE: Final = 10_000
#: Ended orders and fills that stay in memory. Fewer than in the daemon: here nobody waits for the
#: one that a late message reads back.
SHADOW_RECORDS_MAX: Final = 2_000


#: Columns that the fold searches the shadow by (`books.wanted`), besides the keys. It needs no
#: index for readers: they would be a third of the work of writing it.
_SOUGHT: Final = frozenset({"perm_id", "broker_key", "exec_id", "position_key"})


@dataclass(frozen=True, slots=True)
class Difference:
    """A row that the two folds do not agree about."""

    table: str
    key: str
    #: The stored row's record as text, None where only the rebuilt one exists.
    ours: str | None
    rebuilt: str | None
    #: The fields in which the records differ; empty where one of them is missing.
    fields: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RebuildResult:
    """What a rebuild found."""

    equal: bool
    #: How many events were folded: the sequence that both sides have reached.
    events: int
    #: Rows compared, by table.
    tables: dict[str, int]
    differences: int
    first_difference: Difference | None
    seconds: float


def rebuild_check(
    url: str,
    progress: Progress | None = None,
    *,
    clock: Clock | None = None,
    resident_records_max: int = SHADOW_RECORDS_MAX,
) -> RebuildResult:
    """Fold the log from zero up to where the projections stand, and compare row for row.

    Changes nothing and may run beside the daemon; blocks the caller.
    """
    time = clock if clock is not None else SystemClock()
    started = time.monotonic()
    with closing(connect(parse_url(url), "read")) as source:
        schema.check_connection(source)
        with _shadow(resident_records_max) as shadow:
            shadow.follow(source, _checkpoint(source), progress)
            # The daemon has gone on meanwhile: what is left is small, and from here on both sides
            # are compared in one snapshot.
            source.begin_read()
            shadow.follow(source, _checkpoint(source), None)
            counts, number, first = _compare(source, shadow.connection)
            source.rollback()
            return RebuildResult(
                equal=number == 0,
                events=shadow.sequence,
                tables=counts,
                differences=number,
                first_difference=first,
                seconds=time.monotonic() - started,
            )


def rebuild(
    url: str,
    progress: Progress | None = None,
    *,
    clock: Clock | None = None,
    resident_records_max: int = SHADOW_RECORDS_MAX,
) -> RebuildResult:
    """Replace the projections by a fold of the whole log, in one transaction.

    Returns what differed before. Raises `LeaseHeld` where there is a difference and a daemon is at
    work: its books in memory would be another truth. Nothing is changed then.
    """
    time = clock if clock is not None else SystemClock()
    started = time.monotonic()
    with closing(connect(parse_url(url))) as target, _shadow(resident_records_max) as shadow:
        schema.check_connection(target)
        shadow.follow(target, _head(target), progress)
        target.begin_write()
        try:
            shadow.follow(target, _head(target), None)
            counts, number, first = _compare(target, shadow.connection)
            if number or _checkpoint(target) != shadow.sequence:
                _refuse_beside_daemon(target, time)
                _replace(target, shadow)
            target.commit()
        except BaseException:
            target.rollback()
            raise
        return RebuildResult(
            number == 0, shadow.sequence, counts, number, first, time.monotonic() - started
        )


class _Shadow:
    """The projections of a fold from zero, in a database of their own."""

    def __init__(self, connection: Connection, resident_records_max: int) -> None:
        self.connection = connection
        self.sequence = 0
        self._projector = Projector(connection, resident_records_max=resident_records_max)

    def follow(self, source: Connection, to: int, progress: Progress | None) -> None:
        """Fold the events of a log up to a sequence."""
        first = self.sequence
        self.connection.begin_write()
        with _collector_at_rest():
            while self.sequence < to:
                self._fold_page(source, to)
                if progress is not None:
                    progress(self.sequence - first, to - first)
        self._projector.write()
        self.connection.commit()

    def _fold_page(self, source: Connection, to: int) -> None:
        rows = source.rows(
            f"{SELECT_FACTS} WHERE sequence > ? AND sequence <= ? ORDER BY sequence"
            f" LIMIT {PAGE_ROWS}",
            (self.sequence, to),
        )
        if not rows:
            raise StoreUnavailable(f"the log has no event {self.sequence + 1}")
        self._projector.fold([envelope(row) for row in rows])
        self.sequence = rows[-1][0]
        if self._projector.behind >= EVENTS_PER_WRITE:
            self._projector.write()


@contextmanager
def _collector_at_rest() -> Iterator[None]:
    """Keep the garbage collector from walking the books again and again.

    A fold makes no cycles, so there is nothing to be found; the more records were in memory, the
    longer each event took.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@contextmanager
def _shadow(resident_records_max: int) -> Iterator[_Shadow]:
    with tempfile.TemporaryDirectory(prefix="oms-rebuild-") as folder:
        path = Path(folder) / "shadow.sqlite"
        path.touch()
        url = URL.create("sqlite", database=str(path))
        engine = sync_engine(url, "write")
        METADATA.create_all(engine, tables=[*PROJECTIONS.values(), ORDER_EVENTS])
        with engine.begin() as tables:
            for table in PROJECTIONS.values():
                for index in table.indexes:
                    if not _SOUGHT.issuperset(index.columns.keys()):
                        index.drop(tables)
        engine.dispose()
        with closing(connect(url)) as connection:
            # Nobody needs it after a power cut.
            connection.rows("PRAGMA journal_mode = OFF")
            connection.execute("PRAGMA synchronous = OFF")
            yield _Shadow(connection, resident_records_max)


def _checkpoint(connection: Connection) -> int:
    rows = connection.rows("SELECT sequence FROM checkpoints WHERE name = ?", (BOOKS_CHECKPOINT,))
    return int(rows[0][0]) if rows else 0


def _head(connection: Connection) -> int:
    return int(connection.rows("SELECT coalesce(max(sequence), 0) FROM events")[0][0])


# ── comparing ────────────────────────────────────────────────────────────────────────────────────


def _compare(
    ours: Connection, rebuilt: Connection
) -> tuple[dict[str, int], int, Difference | None]:
    counts: dict[str, int] = {}
    number = 0
    first: Difference | None = None
    for table, layout in _LAYOUTS.items():
        counts[table], after = _equal_rows(ours, rebuilt, layout)
        for key, one, other in _pairs(ours, rebuilt, layout, after):
            counts[table] += 1
            if one != other:
                number += 1
                first = first if first is not None else _difference(table, key, one, other)
    return counts, number, first


Row = tuple[Any, ...]


class _Layout(NamedTuple):
    """How the rows of a table are read in the order of their keys."""

    table: str
    #: The key's first.
    columns: tuple[str, ...]
    key_width: int


_LAYOUTS: Final = {
    **{
        name: _Layout(name, (spec.key_name, *spec.columns, "live", "body"), 1)
        for name, spec in TABLES.items()
    },
    "order_events": _Layout("order_events", ("order_id", "sequence"), 2),
}


def _equal_rows(ours: Connection, rebuilt: Connection, layout: _Layout) -> tuple[int, Row | None]:
    """Return how many rows from the first on are equal, page by page, and the key of the last.

    Nearly always they all are, and pages are compared faster than rows.
    """
    count = 0
    after: Row | None = None
    left, right = _pages(ours, layout, None), _pages(rebuilt, layout, None)
    for one, other in zip(left, right, strict=False):
        if one != other:
            break
        count, after = count + len(one), one[-1][: layout.key_width]
    return count, after


def _pairs(
    ours: Connection, rebuilt: Connection, layout: _Layout, after: Row | None
) -> Iterator[tuple[Row, Row | None, Row | None]]:
    """Yield every key above one that either side has, with the row of each side."""
    key_width = layout.key_width
    left, right = _ordered(ours, layout, after), _ordered(rebuilt, layout, after)
    one, other = next(left, None), next(right, None)
    while one is not None or other is not None:
        if one == other and one is not None:
            yield one[:key_width], one, other
            one, other = next(left, None), next(right, None)
        elif other is None or (one is not None and _key(one, key_width) < _key(other, key_width)):
            assert one is not None
            yield one[:key_width], one, None
            one = next(left, None)
        elif one is None or _key(other, key_width) < _key(one, key_width):
            yield other[:key_width], None, other
            other = next(right, None)
        else:
            yield one[:key_width], one, other
            one, other = next(left, None), next(right, None)


def _ordered(connection: Connection, layout: _Layout, after: Row | None = None) -> Iterator[Row]:
    """Yield the rows of a table above a key, in the order of their keys."""
    for page in _pages(connection, layout, after):
        yield from page


def _pages(connection: Connection, layout: _Layout, after: Row | None) -> Iterator[list[Row]]:
    """Yield the rows above a key, by keys that are compared byte for byte as both databases can."""
    table, columns, key_width = layout
    keys = [f"{columns[0]} {connection.binary_order}", *columns[1:key_width]]
    # A row value comparison, so that a page begins after the last row of the page before.
    above = f"WHERE ({', '.join(keys)}) > ({', '.join('?' * key_width)})"
    page = f"SELECT {', '.join(columns)} FROM {table}"
    end = f"ORDER BY {', '.join(keys)} LIMIT {PAGE_ROWS}"
    while rows := connection.rows(f"{page} {above if after else ''} {end}", after or ()):
        yield rows
        after = rows[-1][:key_width]


def _key(row: Row, width: int) -> tuple[Any, ...]:
    # UTF-8 keeps the order of code points, so both databases and Python sort text alike.
    return tuple(v.encode() if isinstance(v, str) else v for v in row[:width])


def _difference(table: str, key: Row, one: Row | None, other: Row | None) -> Difference:
    if table not in TABLES:
        return Difference(table, f"{key[0]} at {key[1]}", _text(one), _text(other))
    if one is None or other is None:
        return Difference(table, key[0], _text(one), _text(other))
    fields = differing_fields(decode_record(table, one[-1]), decode_record(table, other[-1]))
    return Difference(table, key[0], _text(one), _text(other), fields)


def _text(row: Row | None) -> str | None:
    return None if row is None else str(row[-1])


# ── replacing ────────────────────────────────────────────────────────────────────────────────────


def _refuse_beside_daemon(connection: Connection, clock: Clock) -> None:
    host, now = socket.gethostname(), clock.now()
    for lease in leases.read_all(connection):
        if lease.held(now, host):
            raise LeaseHeld(
                f"{lease.name} is served by {lease.holder} on {lease.host}, process "
                f"{lease.process_id}; its books are in memory",
                hint="stop the daemon, rebuild, and start it again",
            )


def _replace(target: Connection, shadow: _Shadow) -> None:
    for table, layout in _LAYOUTS.items():
        columns = layout.columns
        target.execute(f"DELETE FROM {table}")
        page: list[Row] = []
        for row in _ordered(shadow.connection, layout):
            page.append(row)
            if len(page) == PAGE_ROWS:
                target.insert(f"INSERT INTO {table} ({', '.join(columns)})", page)
                page = []
        target.insert(f"INSERT INTO {table} ({', '.join(columns)})", page)
    rows = target.rows("SELECT hash FROM events WHERE sequence = ?", (shadow.sequence,))
    target.insert(
        "INSERT INTO checkpoints (name, sequence, hash)",
        [(BOOKS_CHECKPOINT, shadow.sequence, row[0]) for row in rows],
        "ON CONFLICT (name) DO UPDATE SET sequence = excluded.sequence, hash = excluded.hash",
    )
