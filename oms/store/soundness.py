"""Whether the database around the log is what was written: guards, indexes, rows.

`audit` checks the log itself; together they are `oms verify`.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from typing import Final

from oms.clock import SystemClock
from oms.core.codec import Head
from oms.core.fold.records import TABLES
from oms.errors import ChainBroken, DatabaseDamaged
from oms.store import lease as leases
from oms.store.backend import Connection, SQLiteConnection, connect, parse_url
from oms.store.chain import Chain
from oms.store.differences import LAYOUTS, pages
from oms.store.layout import check_layout
from oms.store.projector import ROWS_DO_NOT_ADD_UP
from oms.store.rows import LIVE, Sums, check_row, digest_of, select_rows

#: Rows, links included, that a reader adds up before it shows any: ten milliseconds.
FEW_ROWS: Final = 5_000


def check_database(url: str) -> None:
    """Raise `DatabaseDamaged` with the first thing that is not as it was written; blocks the caller
    and no writer.
    """
    with closing(connect(parse_url(url), "read")) as connection:
        check_open_database(connection)


def check_open_database(connection: Connection) -> None:
    """Do the same on a connection that is open."""
    check_layout(connection)
    check_writable(connection)
    check_indexes(connection)
    check_rows(connection)
    leases.read_all(connection)


def find_damage(url: str) -> ChainBroken | DatabaseDamaged | None:
    """Return what would keep a daemon from starting on a database, None for nothing; blocks the
    caller, for about as long as a start.
    """
    with closing(connect(parse_url(url), "read")) as connection:
        try:
            check_writable(connection)
            with connection.reading():
                chain = Chain(connection, SystemClock())
                check_start(connection, chain)
                chain.check_folded()
                _check_live_rows(connection, chain.row_sums())
        except (ChainBroken, DatabaseDamaged) as error:
            return error
    return None


def check_start(connection: Connection, chain: Chain) -> Head:
    """Return where the log ends; raises `ChainBroken` or `DatabaseDamaged` where its ends, its last
    events, the tables around it or what their rows add up to are not what was written.
    """
    end = chain.checked_end()
    chain.check_tail()
    check_layout(connection)
    if not chain.is_unfolded():  # such a start folds all
        chain.books_end()
        _check_digests(connection, chain.row_sums())
    return end


def check_complete(url: str) -> None:
    """Raise `ChainBroken` or `DatabaseDamaged` where events or rows are missing that were written,
    as far as some milliseconds tell: the ends of the log, its last events, the live rows, and all
    rows where they are few. In a list of what is left nobody would see it.
    """
    with closing(connect(parse_url(url), "read")) as connection, connection.reading():
        chain = Chain(connection, SystemClock())
        chain.check_gapless(chain.checked_end())
        chain.books_end()
        _check_digests(connection, chain.row_sums())


def _check_digests(connection: Connection, written: Sums) -> None:
    """Hold the sums against the digests alone: what a row holds is checked where it is read."""
    try:
        if _live_digests(connection) != written.live:
            raise DatabaseDamaged(ROWS_DO_NOT_ADD_UP.format("the live rows"))
        if _few_digests(connection) not in (None, written.every):
            raise DatabaseDamaged(ROWS_DO_NOT_ADD_UP.format("the rows"))
    except TypeError as error:  # text, where SQLite was told so
        raise DatabaseDamaged(f"the digest of a row cannot be read: {error}") from error


def _live_digests(connection: Connection) -> int:
    found = Sums()
    for table in TABLES:
        for (digest,) in connection.rows(f"SELECT digest FROM {table} WHERE live = 1"):
            found.add(digest, live=True)
    return found.live


def _few_digests(connection: Connection) -> int | None:
    """Return what all rows add up to, None where they are many."""
    found, left = Sums(), FEW_ROWS
    for table, layout in LAYOUTS.items():
        columns = "digest" if table in TABLES else ", ".join(layout.columns)
        rows = connection.rows(f"SELECT {columns} FROM {table} LIMIT {left + 1}")
        left -= len(rows)
        if left < 0:
            return None
        for row in rows:
            found.add(row[0] if table in TABLES else digest_of(table, row), live=False)
    return found.every


def _check_live_rows(connection: Connection, written: Sums) -> None:
    found = Sums()
    for table in TABLES:
        for row in connection.rows(f"{select_rows(table)} WHERE live = 1"):
            found.add(check_row(table, row), live=True)
    if found.live != written.live:
        raise DatabaseDamaged(ROWS_DO_NOT_ADD_UP.format("the live rows"))


def check_writable(connection: Connection) -> None:
    """Raise where a file can be read and its header keeps everybody from writing it."""
    if isinstance(connection, SQLiteConnection):
        connection.check_writable()


def check_indexes(connection: Connection) -> None:
    """Raise where pages are damaged, or an index lacks a row; PostgreSQL's are left to its tools.

    Not `quick_check`: it does not miss a row that is absent from a unique index.
    """
    if connection.backend_name != "sqlite":
        return
    found = [str(row[0]) for row in connection.rows("PRAGMA integrity_check(3)")]
    if found != ["ok"]:
        raise DatabaseDamaged(f"the file is damaged: {'; '.join(found)}")


def check_rows(connection: Connection, rest: Callable[[], None] = lambda: None) -> None:
    """Raise where a row is not what was written, or one was deleted, added or put back.

    `rest` is called after each page of rows; one state of the database is held all the while.
    """
    found = Sums()
    with connection.reading():
        chain = Chain(connection, SystemClock())
        chain.books_end()
        written = chain.row_sums()
        for table, layout in LAYOUTS.items():
            for page in pages(connection, layout, None):
                for row in page:
                    if table in TABLES:
                        found.add(check_row(table, row), live=bool(row[LIVE]))
                    else:
                        found.add(digest_of(table, row), live=False)
                rest()
    if found != written:
        raise DatabaseDamaged(ROWS_DO_NOT_ADD_UP.format("the rows"))
