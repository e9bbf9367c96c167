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
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

from sqlalchemy.engine import URL

from oms.clock import Clock, SystemClock
from oms.core.codec import time_text
from oms.core.events import Context, Pending, ProjectionsRebuilt
from oms.core.fold.records import TABLES, decode_record, differing_fields
from oms.errors import LeaseHeld, StoreUnavailable
from oms.store import lease as leases
from oms.store import schema
from oms.store.audit import Progress
from oms.store.backend import Connection, connect, parse_url, sync_engine
from oms.store.envelopes import (
    INSERT_EVENTS,
    SELECT_FACTS,
    SELECT_HEAD,
    chained,
    draft,
    envelope,
    head_of,
)
from oms.store.projector import Projector
from oms.store.tables import BOOKS_CHECKPOINT, LOG_CHECKPOINT, METADATA, ORDER_EVENTS, PROJECTIONS

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


#: Rows that are swapped beside a daemon: more would hold up its append longer than it waits.
SWAP_ROWS_MAX: Final = 50_000
#: How often rows may differ again because a daemon wrote from wrong books meanwhile.
SWAPS_MAX: Final = 5


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
    """Fold the log into a shadow, and swap the rows that differ, while readers and a daemon go on.

    The fold and the comparison hold nobody up. The swap is one transaction: readers see the rows
    before it or after it, a writer waits for it, and `ProjectionsRebuilt` in it makes a daemon load
    its books again from the rows. Then both are compared once more, because the daemon may have
    written from wrong books between the comparison and the swap.

    Returns what differed at first. Raises `LeaseHeld`, and changes nothing, where a daemon is at
    work and more rows differ than its append can wait for.
    """
    time = clock if clock is not None else SystemClock()
    started = time.monotonic()
    with closing(connect(parse_url(url))) as target, _shadow(resident_records_max) as shadow:
        schema.check_connection(target)
        shadow.follow(target, _head(target), progress)
        compared = _compared(target, shadow)
        first = compared
        for _ in range(SWAPS_MAX):
            if not compared.differing and compared.checkpoint == shadow.sequence:
                break
            if len(compared.differing) > SWAP_ROWS_MAX:
                _refuse_beside_daemon(target, time)
            _swap(target, shadow, compared, time)
            compared = _compared(target, shadow)
        else:
            raise StoreUnavailable(f"rows differ from the log again after {SWAPS_MAX} swaps")
        return RebuildResult(
            not first.differing,
            shadow.sequence,
            first.counts,
            len(first.differing),
            first.difference,
            time.monotonic() - started,
        )


class _Shadow:
    """The projections of a fold from zero, in a database of their own."""

    def __init__(self, connection: Connection, resident_records_max: int) -> None:
        self.connection = connection
        self.sequence = 0
        self._projector = Projector(connection, resident_records_max=resident_records_max)

    def follow(
        self, source: Connection, to: int, progress: Progress | None
    ) -> set[tuple[str, Row]]:
        """Fold the events of a log up to a sequence; return the last rows that they touched."""
        first = self.sequence
        touched: set[tuple[str, Row]] = set()
        self.connection.begin_write()
        with _collector_at_rest():
            while self.sequence < to:
                touched = self._fold_page(source, to, touched)
                if progress is not None:
                    progress(self.sequence - first, to - first)
        self._projector.write()
        self.connection.commit()
        return touched

    def _fold_page(
        self, source: Connection, to: int, touched: set[tuple[str, Row]]
    ) -> set[tuple[str, Row]]:
        rows = source.rows(
            f"{SELECT_FACTS} WHERE sequence > ? AND sequence <= ? ORDER BY sequence"
            f" LIMIT {PAGE_ROWS}",
            (self.sequence, to),
        )
        if not rows:
            raise StoreUnavailable(f"the log has no event {self.sequence + 1}")
        changes = self._projector.fold([envelope(row) for row in rows])
        self.sequence = rows[-1][0]
        if self._projector.behind >= EVENTS_PER_WRITE:
            self._projector.write()
        # Of a long fold nobody asks for them, and they would be every row.
        kept = touched if len(touched) < SWAP_ROWS_MAX else set()
        return kept | {(table, (key,)) for table, found in changes.items() for key in found}


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


@dataclass(frozen=True, slots=True)
class _Compared:
    counts: dict[str, int]
    #: Table and key of every row that differs.
    differing: list[tuple[str, Row]]
    difference: Difference | None
    #: The sequence that the stored rows say they have reached.
    checkpoint: int


def _compared(target: Connection, shadow: _Shadow) -> _Compared:
    """Compare both sides in one snapshot, at the end of the log as it is in it."""
    target.begin_read()
    try:
        shadow.follow(target, _head(target), None)
        checkpoint = _checkpoint(target)
        differing: list[tuple[str, Row]] = []
        counts, _, first = _compare(target, shadow.connection, differing)
    finally:
        target.rollback()
    return _Compared(counts, differing, first, checkpoint)


def _compare(
    ours: Connection, rebuilt: Connection, differing: list[tuple[str, Row]] | None = None
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
                if differing is not None:
                    differing.append((table, key))
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
    return Difference(table, key[0], _text(one), _text(other), _fields(table, one, other))


def _fields(table: str, one: Row, other: Row) -> tuple[str, ...]:
    """Return what differs between two rows of one key: fields of the record, else columns."""
    if one[-1] != other[-1]:
        try:
            fields = differing_fields(
                decode_record(table, one[-1]), decode_record(table, other[-1])
            )
        except ValueError:
            return ("body",)  # Somebody wrote into it what is no record.
        if fields:
            return fields
    pairs = zip(_LAYOUTS[table].columns, one, other, strict=True)
    return tuple(name for name, left, right in pairs if left != right)


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


def _swap(target: Connection, shadow: _Shadow, compared: _Compared, clock: Clock) -> None:
    """Put the shadow's rows in place of those that differ, and say so in the log."""
    target.begin_write()
    try:
        since = shadow.sequence
        touched = shadow.follow(target, _head(target), None)
        keys = {*compared.differing, *touched}
        for table, layout in _LAYOUTS.items():
            if table in TABLES:
                found = [key for name, key in keys if name == table]
                _replace(target, shadow.connection, layout, found)
        _replace_links(target, shadow.connection, since, compared.differing)
        _say_rebuilt(target, shadow, len(compared.differing), clock)
        target.commit()
    except BaseException:
        target.rollback()
        raise


def _replace(target: Connection, rebuilt: Connection, layout: _Layout, keys: Sequence[Row]) -> None:
    table, columns, _ = layout
    for start in range(0, len(keys), PAGE_ROWS):
        part = [key[0] for key in keys[start : start + PAGE_ROWS]]
        members = (target.members(part),)
        target.execute(f"DELETE FROM {table} WHERE {columns[0]} {target.membership}", members)
        rows = rebuilt.among(f"SELECT {', '.join(columns)} FROM {table}", columns[0], part)
        if rows:
            target.insert(f"INSERT INTO {table} ({', '.join(columns)})", rows)


def _replace_links(
    target: Connection, rebuilt: Connection, since: int, differing: Sequence[tuple[str, Row]]
) -> None:
    """Replace the links of orders that differ, and all that came after the comparison."""
    orders = sorted({key[0] for table, key in differing if table == "order_events"})
    for start in range(0, len(orders), PAGE_ROWS):
        part = orders[start : start + PAGE_ROWS]
        members = (target.members(part),)
        target.execute(f"DELETE FROM order_events WHERE order_id {target.membership}", members)
        _insert_links(target, rebuilt.among(_SELECT_LINKS, "order_id", part))
    target.execute("DELETE FROM order_events WHERE sequence > ?", (since,))
    _insert_links(target, rebuilt.rows(f"{_SELECT_LINKS} WHERE sequence > ?", (since,)))


_SELECT_LINKS: Final = "SELECT order_id, sequence FROM order_events"


def _insert_links(target: Connection, rows: Sequence[Row]) -> None:
    if rows:
        head = "INSERT INTO order_events (order_id, sequence)"
        target.insert(head, rows, "ON CONFLICT DO NOTHING")


def _say_rebuilt(target: Connection, shadow: _Shadow, differences: int, clock: Clock) -> None:
    """Append the fact of the swap: a daemon that follows the log finds the rows ahead of its books,
    and loads them again.
    """
    head = head_of(target.rows(SELECT_HEAD)[0])
    event = ProjectionsRebuilt(up_to_sequence=shadow.sequence, differences=differences)
    fact = draft(Pending(event, Context(actor="rebuild")))
    now = clock.now()
    moment = now if head.recorded_at is None or now > head.recorded_at else head.recorded_at
    sequence = head.sequence + 1
    row, digest = chained(head.hash, fact, sequence, time_text(moment), 0)
    target.insert(INSERT_EVENTS, [row])
    target.insert(
        "INSERT INTO checkpoints (name, sequence, hash)",
        [(name, sequence, digest) for name in (BOOKS_CHECKPOINT, LOG_CHECKPOINT)],
        "ON CONFLICT (name) DO UPDATE SET sequence = excluded.sequence, hash = excluded.hash",
    )
