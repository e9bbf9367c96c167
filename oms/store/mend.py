"""Makes again what stands around the log and follows from this version or from the log itself: the
revision, tables of rows, guards, indexes, leases. `rebuild` fills the rows.

The log is not touched. What only a backup can bring back, and what nobody of us made, is named with
what to do about it. A run that is cut off is repeated.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Final

from sqlalchemy.engine import URL
from sqlalchemy.schema import CreateTable

from oms.clock import Clock, SystemClock
from oms.errors import DatabaseDamaged, LeaseHeld, StoreError, StoreUnavailable
from oms.store import archived, schema
from oms.store import lease as leases
from oms.store.backend import Connection, connect, parse_url
from oms.store.chain import Chain, end_unknown
from oms.store.envelopes import SELECT_MARKS, mark_of
from oms.store.head_file import KeptHead
from oms.store.layout import check_layout, compared, expected
from oms.store.loss import Against
from oms.store.soundness import check_indexes, check_writable
from oms.store.tables import (
    CHECKPOINTS,
    LEASES,
    LOG_CHECKPOINT,
    METADATA,
    ORDER_EVENTS,
    PROJECTIONS,
    SEGMENTS,
)

RESTORE: Final = (
    "no order leaves; the log cannot make this again: restore the newest backup that `oms verify` "
    "finds whole; docs/operating/restore.md"
)
_REVISIONS: Final = "alembic_version"
#: Tables whose rows follow from the log, and leases: of one that is lost the next daemon needs an
#: epoch above every one of the log.
_MADE_AGAIN: Final = frozenset(
    {
        *PROJECTIONS,
        ORDER_EVENTS.name,
        LEASES.name,
        CHECKPOINTS.name,
        SEGMENTS.name,
        _REVISIONS,
    }
)


def mend(url: str, clock: Clock | None = None) -> tuple[str, ...]:
    """Make again what is missing or not as it was made, and return what that was; nothing is
    written where nothing is wrong.

    Raises `DatabaseDamaged` where the log cannot make it again, and `LeaseHeld` where a daemon is
    at work.
    """
    kept = Against.of(parse_url(url)).kept
    with closing(connect(parse_url(url))) as connection:
        check_writable(connection)
        if not _is_wrong(connection):
            return ()
        refuse_beside_daemon(connection, clock if clock is not None else SystemClock())
        with needs_backup():
            made = [*_mended_revision(connection), *_mended_tables(connection)]
            with connection.writing():
                made += [*_mended_objects(connection), *_mended_leases(connection)]
                made += [*_mended_marks(connection, kept), *_mended_indexes(connection)]
                made += _mended_segments(connection)
        return tuple(made)


@contextmanager
def needs_backup() -> Iterator[None]:
    """Have damage that is met in the block name a backup as the way out, not the rebuild that has
    just met it.
    """
    try:
        yield
    except DatabaseDamaged as error:
        error.hint = RESTORE if error.hint == DatabaseDamaged.default_hint else error.hint
        raise


def refuse_beside_daemon(connection: Connection, clock: Clock) -> None:
    """Raise `LeaseHeld` where a daemon serves this log."""
    host, now = socket.gethostname(), clock.now()
    held: list[leases.Lease] = []
    with contextlib.suppress(DatabaseDamaged):  # nobody can be read; who holds one loses it
        held = leases.read_all(connection)
    for lease in held:
        if lease.held(now, host):
            raise LeaseHeld(
                f"{lease.name} is served by {lease.holder} on {lease.host}, process "
                f"{lease.process_id}; its books are in memory",
                hint="stop the daemon, repeat, and start it again",
            )


def _is_wrong(connection: Connection) -> bool:
    try:
        schema.check_connection(connection)
        check_layout(connection)
        leases.read_all(connection)
        for row in connection.rows(SELECT_MARKS):
            mark_of(row)
        with connection.reading():
            Chain(connection, SystemClock()).checked_end()
        check_indexes(connection)
        return bool(_missing_segments(connection))
    except DatabaseDamaged:
        return True


def _mended_revision(connection: Connection) -> Iterator[str]:
    """Write down that the tables are of this version where all of them are."""
    try:
        schema.check_connection(connection)
    except DatabaseDamaged:
        if any(_REVISIONS not in name for name in compared(connection).every):
            raise
        with connection.writing():
            _make_table(connection, _REVISIONS)
            connection.execute(f"INSERT INTO {_REVISIONS} VALUES (?)", (schema.HEAD,))
        yield f"the revision of the tables ({schema.HEAD})"


def _mended_tables(connection: Connection) -> Iterator[str]:
    """Make tables that are missing: a transaction of PostgreSQL begins by locking all."""
    _check_made_again(connection)
    for name in compared(connection).missing:
        kind, _, table = name.partition(" ")
        if kind == "table":
            _make_table(connection, table)
            yield f"the {name}"


def _mended_objects(connection: Connection) -> Iterator[str]:
    """Make tables anew that are not as they were made, and then guards and indexes."""
    found = compared(connection)
    tables = {t for name in found.every if (t := _table_of(name))}
    for table in sorted(tables):
        _make_table(connection, table)
        yield f"the table {table}"
    found = compared(connection)
    # Functions before the triggers that call them.
    for name in sorted([*found.missing, *found.altered]):
        _make_object(connection, name, is_there=name in found.altered)
        yield f"the {name}"
    check_layout(connection)


def _check_made_again(connection: Connection) -> None:
    """Raise `DatabaseDamaged` where something else than what can be made again is wrong."""
    found = compared(connection)
    lost = sorted({t for name in found.every if (t := _table_of(name))} - _MADE_AGAIN)
    lost = [table for table in lost if table in METADATA.tables]
    if lost:
        raise DatabaseDamaged(f"the table {lost[0]} is not as it was made, or missing")
    foreign = [name for name in found.foreign if not name.startswith("column ")]
    if foreign:
        raise DatabaseDamaged(
            f"the {foreign[0]} is not ours",
            hint="nothing was changed; the database is for the log alone: save what you need of it,"
            f" take it away by hand (DROP {foreign[0].upper().partition(' ')[0]}"
            f" {foreign[0].partition(' ')[2]}), and repeat",
        )


def _mended_leases(connection: Connection) -> Iterator[str]:
    """Take away leases that cannot be read; a daemon that holds one finds it gone, and stops."""
    try:
        leases.read_all(connection)
    except DatabaseDamaged:
        _make_table(connection, LEASES.name)
        yield "the leases"


def _mended_segments(connection: Connection) -> Iterator[str]:
    """Write down again which segments of an archive have texts alone."""
    for one in _missing_segments(connection):
        connection.execute(f"DELETE FROM {SEGMENTS.name} WHERE first = ?", (one.first,))
        connection.insert(archived.INSERT_SEGMENT, [one])
        yield f"the segment {one.folder}"


def _missing_segments(connection: Connection) -> list[archived.Segment]:
    """Return the segments that the log names, that have texts alone, and that no row names."""
    known = set(archived.removed(connection))
    return [
        one
        for one in archived.told(connection)
        if one not in known and archived.is_removed(connection, one)
    ]


def _mended_marks(connection: Connection, kept: KeptHead | None) -> Iterator[str]:
    """Take away checkpoints that cannot be read, and write that of the log anew where it ends at
    the event that its head file knows of: where it ended follows from nothing else.
    """
    chain = Chain(connection, SystemClock())
    end = chain.end()
    is_known = kept is not None and not kept.restored and kept.head == end
    for row in connection.rows(SELECT_MARKS):
        try:
            mark_of(row)
        except DatabaseDamaged:
            if row[0] == LOG_CHECKPOINT and not is_known:
                raise
            connection.execute("DELETE FROM checkpoints WHERE name = ?", (row[0],))
            if row[0] != LOG_CHECKPOINT:
                yield f"the checkpoint {row[0]}"
    if end.sequence and not chain.checkpoint(LOG_CHECKPOINT):
        if not is_known:
            end_unknown()
        chain.head = end
        chain.write_checkpoint(LOG_CHECKPOINT)
        yield f"the checkpoint {LOG_CHECKPOINT}"


def _mended_indexes(connection: Connection) -> Iterator[str]:
    """Make indexes anew from the rows of their tables where one does not fit them."""
    try:
        check_indexes(connection)
    except DatabaseDamaged:
        for table in METADATA.tables:
            _reindex(connection, table)
        yield "the indexes"
    check_indexes(connection)


def _reindex(connection: Connection, table: str) -> None:
    try:
        connection.execute(f"REINDEX {table}")
    except (DatabaseDamaged, StoreUnavailable):
        raise
    except StoreError as error:
        # Two rows of one key.
        if table not in _MADE_AGAIN:
            raise DatabaseDamaged(f"the indexes of {table} do not fit its rows: {error}") from error
        _make_table(connection, table)
        for name in compared(connection).missing:
            _make_object(connection, name, is_there=False)


def _table_of(name: str) -> str:
    """Return the table whose own text an object's name stands for, "" for what belongs to one."""
    kind, _, rest = name.partition(" ")
    return rest.partition(".")[0] if kind in ("table", "column") else ""


def _make_table(connection: Connection, table: str) -> None:
    """Make an empty table in place of what is there, without its indexes."""
    connection.execute(f"DROP TABLE IF EXISTS {table}")
    if connection.backend_name == "sqlite" or table == _REVISIONS:
        text = expected("sqlite")[f"table {table}"]
    else:
        dialect = URL.create("postgresql+psycopg").get_dialect()()
        text = str(CreateTable(METADATA.tables[table]).compile(dialect=dialect))
    connection.execute(text)


def _make_object(connection: Connection, name: str, *, is_there: bool) -> None:
    kind, _, rest = name.partition(" ")
    text = expected(connection.backend_name)[name]
    if connection.backend_name == "postgresql":
        # A value would stand there.
        text = text.replace("%", "%%")
        if kind == "function":
            text = (
                f"CREATE OR REPLACE FUNCTION {rest}() RETURNS trigger LANGUAGE plpgsql"
                f" AS $guard$ {text} $guard$"
            )
    if is_there and kind != "function":
        on_events = " ON events" if kind == "trigger" and connection.placeholder == "%s" else ""
        connection.execute(f"DROP {kind.upper()} {rest}{on_events}")
    try:
        connection.execute(text)
    except (DatabaseDamaged, StoreUnavailable):
        raise
    except StoreError as error:
        raise DatabaseDamaged(f"the {name} cannot be made again: {error}") from error
