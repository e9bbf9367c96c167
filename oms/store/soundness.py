"""Whether the database around the log is what was written: guards, indexes, rows.

`audit` checks the log itself; together they are `oms verify`.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing

from oms.clock import SystemClock
from oms.core.fold.records import TABLES
from oms.errors import ChainBroken, DatabaseDamaged
from oms.store import lease as leases
from oms.store.backend import Connection, SQLiteConnection, connect, parse_url
from oms.store.chain import Chain
from oms.store.differences import LAYOUTS, pages
from oms.store.layout import check_layout
from oms.store.projector import ROWS_DO_NOT_ADD_UP
from oms.store.rows import LIVE, Sums, check_row, digest_of, select_rows


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


def find_damage(url: str) -> str:
    """Return what would keep a daemon from starting on a database, "" for nothing; blocks the
    caller, for about as long as a start.
    """
    with closing(connect(parse_url(url), "read")) as connection:
        try:
            check_layout(connection)
            check_writable(connection)
            with connection.reading():
                chain = Chain(connection, SystemClock())
                chain.check_tail()
                _check_live_rows(connection, chain.row_sums())
        except (ChainBroken, DatabaseDamaged) as error:
            return error.message
    return ""


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
        written = Chain(connection, SystemClock()).row_sums()
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
