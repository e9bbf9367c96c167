"""One connection to SQLite or PostgreSQL, as the writer thread and the batch jobs use it.

SQLAlchemy makes the connection and knows the URL; the hot statements go to the driver itself,
because a Core execution costs as much as SQLite's own work for a small transaction
(docs/decisions/0002-one-writer-thread.md). Statements are written once, with `?` for a value. What
a driver raises leaves this module as an error of our tree (`driver_errors`).
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import quote

from sqlalchemy import create_engine, event
from sqlalchemy.engine import URL, Engine, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.pool import NullPool

from oms.core.bounds import ASKED_TEXT
from oms.errors import ConfigurationError, StoreError, StoreLocked, StoreUnavailable
from oms.store import space
from oms.store.driver_errors import driver_errors, needs_driver
from oms.store.tables import METADATA, SEGMENTS

Access = Literal["write", "read"]
Value = str | int | float | bytes | None

#: How long a statement waits for another writer's transaction before it gives up.
BUSY_TIMEOUT_SECONDS: Final = 5
#: Values in one statement. SQLite's default ceiling is 32,766 and PostgreSQL's 65,535, but a
#: prepared statement is as large as its values are many, and each connection keeps some: with the
#: largest ones a rebuild held 70 MB of them, and was no faster.
VALUES_MAX: Final = 4_096
#: Rows of a part of a table that is read from end to end.
_SCANNED_ROWS: Final = 1_000
#: Of all writers of one PostgreSQL database, the one that holds this advisory lock appends.
ADVISORY_LOCK: Final = 0x6F6D_735F_6C6F_67

#: But that one which no daemon writes, and which a database that is about to be upgraded lacks.
_TABLES: Final = ", ".join(name for name in METADATA.tables if name != SEGMENTS.name)
#: Pages that are copied at a time: 2 MB, some milliseconds.
_COPIED_PAGES: Final = 512

#: Each pragma with its reason. `wal_autocheckpoint` and the page size stay at SQLite's defaults:
#: a longer WAL makes single commits slower, because a recycled WAL is overwritten in place.
SQLITE_WRITE_PRAGMAS: Final = (
    # Readers never wait for the writer nor it for them; one fsync per commit instead of two.
    "PRAGMA journal_mode = WAL",
    # A commit that was acknowledged survives a power cut. NORMAL would lose the last ones, and
    # gains nothing once commits are grouped.
    "PRAGMA synchronous = FULL",
    # Off by default in SQLite; costs nothing while no table declares a foreign key.
    "PRAGMA foreign_keys = ON",
    # Another writer (the shell appends requests) holds the lock for milliseconds: wait for it.
    f"PRAGMA busy_timeout = {BUSY_TIMEOUT_SECONDS * 1000}",
    # Projection rows of the orders at work stay in memory; the default 2 MB does not hold them.
    "PRAGMA cache_size = -32768",
    # Sorting for a report must not need a writable temporary folder.
    "PRAGMA temp_store = MEMORY",
    # A schema that was tampered with must not run functions with side effects.
    "PRAGMA trusted_schema = OFF",
)
SQLITE_READ_PRAGMAS: Final = (
    # Belt to the braces of mode=ro: a statement that writes fails, whatever the file allows.
    "PRAGMA query_only = ON",
    f"PRAGMA busy_timeout = {BUSY_TIMEOUT_SECONDS * 1000}",
    "PRAGMA temp_store = MEMORY",
    "PRAGMA trusted_schema = OFF",
)


def parse_url(text: str) -> URL:
    """Return a database URL without its driver; raises `ConfigurationError` for other databases.

    A bare path means a SQLite file.
    """
    try:
        ASKED_TEXT.check(text)
    except ValueError as error:
        raise ConfigurationError(f"the address of a database {error}") from error
    if "://" not in text:
        # Not pasted into a URL: in a path, a question mark is a letter like any other.
        return URL.create("sqlite", database=text)
    try:
        url = make_url(text)
    except (ArgumentError, ValueError) as error:  # a port that is no number
        raise ConfigurationError("the address is not a database URL") from error
    name = url.get_backend_name()
    if name not in ("sqlite", "postgresql"):
        raise ConfigurationError(f"expected a sqlite or postgresql URL, found {name!r}")
    if name == "sqlite" and (not url.database or url.database == ":memory:"):
        # Neither a second process nor a read-only connection can reach it, and it cannot survive.
        raise ConfigurationError("expected the path of a SQLite file, found a database in memory")
    if name == "sqlite" and url.query:
        # Not with what was found: it may hold a password.
        raise ConfigurationError(
            "a SQLite URL takes no options here",
            hint="leave out the question mark and all after it",
        )
    return url.set(drivername=name)


def sync_engine(url: URL, access: Access) -> Engine:
    """Return an engine whose connections are set up for the log."""
    if url.get_backend_name() == "sqlite":
        engine = create_engine(
            _sqlite_url(url, access).set(drivername="sqlite+pysqlite"),
            poolclass=NullPool,
            # Large inserts leave large prepared statements behind; the default keeps 128.
            connect_args={"isolation_level": None, "cached_statements": 32},
        )
        event.listen(engine, "connect", _set_pragmas(access))
        return engine
    with needs_driver():
        return create_engine(
            url.set(drivername="postgresql+psycopg"),
            poolclass=NullPool,
            # The end of a connection undoes what is open; where the server has cut it, a rollback
            # before that would only print a traceback.
            pool_reset_on_return=None,
            connect_args=_postgresql_arguments(access),
        )


def connect(url: URL, access: Access = "write") -> Connection:
    """Open a connection of one's own; raises `StoreUnavailable` where the database is not there."""
    engine = sync_engine(url, access)
    if url.get_backend_name() == "sqlite":
        if access == "write":
            _check_one_name(Path(url.database or ""))
        space.check_opening(Path(url.database or ""), writing=access == "write")
        return SQLiteConnection(engine, Path(url.database or ""))
    return PostgreSQLConnection(engine, place_of(url))


def _check_one_name(path: Path) -> None:
    """Raise `StoreUnavailable` where a file has a second name in its file system: `-wal` and `-shm`
    go by name, so who opens it by the other one writes over what stands in ours.
    """
    try:
        names = path.stat().st_nlink
    except OSError:
        return  # opening says why
    if names > 1:
        raise StoreUnavailable(
            f"the database file {path} has {names} names (hard links)",
            hint="nothing is written, because two names of one file destroy it: copy it"
            " (`oms db backup FILE`), keep one name, and remove the others; a symbolic link is no"
            " second name",
        )


def is_absent(url: URL) -> bool:
    """Say whether a database is a SQLite file that is not there. One that cannot be looked at is
    there: to open it says why.
    """
    if url.get_backend_name() != "sqlite":
        return False
    try:
        Path(url.database or "").stat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False


def place_of(url: URL) -> str:
    """Return where a database is, as people may read it: without user and password."""
    if url.get_backend_name() == "sqlite":
        return url.database or ""
    port = f":{url.port}" if url.port else ""
    return f"{url.database or ''} at {url.host or 'this machine'}{port}"


def _raise(error: StoreLocked) -> None:
    raise error


class Connection(ABC):
    """A connection in autocommit mode; transactions are opened by name."""

    backend_name: str
    placeholder: str
    #: ORDER BY of a text key, the same in every database whatever its locale.
    binary_order: str
    #: Condition on a column that is given its values as one parameter, so that the statement's
    #: text does not depend on their number and is compiled once.
    membership: str

    def __init__(self, engine: Engine, place: str) -> None:
        self._engine = engine
        #: Where the database is, for messages.
        self.place = place
        #: What was free on its disk when the last transaction began; None where nobody can tell.
        self.free_bytes: int | None = None
        self._connect()

    def reconnect(self) -> None:
        """Connect anew; what was open is undone, unless the database has taken it by then.

        Raises `StoreCutOff` where the server does not answer.
        """
        with contextlib.suppress(StoreError):
            self.close()
        self._connect()

    def rows(self, statement: str, values: Sequence[Value] = ()) -> list[tuple[Any, ...]]:
        """Run a query and return every row."""
        with driver_errors(self.place):
            self._cursor.execute(self._own(statement), values)
            found: list[tuple[Any, ...]] = self._cursor.fetchall()
            return found

    def scanned(self, statement: str) -> Generator[list[tuple[Any, ...]], None, None]:
        """Run a query and yield every row, in parts; others may be run meanwhile. Inside of
        `reading` only.
        """
        with driver_errors(self.place), closing(self._scanning_cursor()) as cursor:
            cursor.execute(self._own(statement))
            while rows := cursor.fetchmany(_SCANNED_ROWS):
                yield rows

    def execute(self, statement: str, values: Sequence[Value] = ()) -> int:
        """Run a statement that returns no rows; return how many rows it changed."""
        with driver_errors(self.place):
            self._cursor.execute(self._own(statement), values)
            return int(self._cursor.rowcount)

    def insert(self, head: str, rows: Sequence[Sequence[Value]], tail: str = "") -> None:
        """Insert rows with as few statements as the database allows.

        Not `executemany`: it gives the interpreter lock away once a row, and with a busy event loop
        beside it waits five milliseconds for each to come back (measured: 400 rows a second
        instead of 36,000).
        """
        width = len(rows[0]) if rows else 0
        step = VALUES_MAX // width if rows else 1
        for start in range(0, len(rows), step):
            part = rows[start : start + step]
            statement = _multi_insert(head, tail, width, len(part), self.placeholder)
            with driver_errors(self.place):
                self._cursor.execute(statement, list(chain.from_iterable(part)))

    def among(self, select: str, column: str, values: Sequence[str | int]) -> list[tuple[Any, ...]]:
        """Return the rows of a query whose column has one of the values."""
        return self.rows(f"{select} WHERE {column} {self.membership}", (self.members(values),))

    @contextmanager
    def writing(self, when_locked: Callable[[StoreLocked], None] = _raise) -> Iterator[None]:
        """Run a block in a transaction that no other writer can enter: all of it is durable at the
        end of the block, or nothing of it. What the block raises is raised, whatever the undoing
        of it may raise.

        `when_locked` hears of each vain attempt to begin, and raises where there shall be no other.
        """
        try:
            self._begin(when_locked)
            yield
            self.execute("COMMIT")
            self._check_after_commit()
        except BaseException:
            self._rollback()
            raise

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Run a block in a transaction that sees one state of the database from start to end."""
        try:
            self._begin_read()
            yield
        finally:
            self._rollback()

    def interrupt(self) -> None:
        """End the statement that another thread runs on this connection, with an error there."""
        with driver_errors(self.place):
            self._interrupt()

    def _begin(self, when_locked: Callable[[StoreLocked], None]) -> None:
        while True:
            try:
                self._begin_write()
            except StoreLocked as error:
                self._rollback()
                when_locked(error)
            else:
                return

    def _rollback(self) -> None:
        try:
            self._cursor.execute("ROLLBACK")
        except Exception:  # noqa: BLE001  # nothing to undo, or the connection is gone
            return

    def close(self) -> None:
        """Close the connection."""
        with driver_errors(self.place):
            self._cursor.close()
            self._facade.close()

    def _connect(self) -> None:
        with driver_errors(self.place):
            # SQLAlchemy's facade is kept, not the driver's object alone: letting go of it closes
            # the connection under us.
            # Any: the two drivers share PEP 249 but no type.
            facade: Any = self._engine.raw_connection()
            self._facade = facade
            self._driver: Any = facade.driver_connection
            self._cursor: Any = self._driver.cursor()

    def _scanning_cursor(self) -> Any:
        return self._driver.cursor()

    @abstractmethod
    def give_back(self) -> None:
        """Give the disk the room of what was removed; raises `StoreUnavailable` where that needs
        more than is free. Nobody may write meanwhile.
        """

    @abstractmethod
    def _begin_write(self) -> None: ...

    @abstractmethod
    def _check_after_commit(self) -> None:
        """Raise `StoreUnavailable` where what was committed may be where no reader finds it."""

    @abstractmethod
    def _begin_read(self) -> None: ...

    @abstractmethod
    def _interrupt(self) -> None: ...

    @abstractmethod
    def changed_elsewhere(self) -> bool:
        """Say whether another connection may have committed since this was last asked."""

    @abstractmethod
    def _own(self, statement: str) -> str: ...

    @abstractmethod
    def members(self, values: Sequence[str | int]) -> Any:
        """Return the parameter that goes with `membership`."""


class SQLiteConnection(Connection):
    """A connection to a SQLite file."""

    backend_name = "sqlite"
    placeholder = "?"
    binary_order = "COLLATE BINARY"
    membership = "IN (SELECT value FROM json_each(?))"

    def __init__(self, engine: Engine, path: Path) -> None:
        super().__init__(engine, str(path))
        self._path = path
        #: The files of the database as they were when this connection began to use them. The first
        #: write makes `-wal` and `-shm`, or keeps those of others; nobody ends them while we run.
        self._identities = {path: _file_identity(path)}
        self._size = 0

    def _begin_write(self) -> None:
        self._check_files()
        self.free_bytes = space.check_writing(self._path)
        # As a writer: a transaction that begins as a reader can fail when it turns into a writer.
        self.execute("BEGIN IMMEDIATE")

    def _check_after_commit(self) -> None:
        if len(self._identities) == 1:
            real = self._path.resolve()
            beside = (real.with_name(f"{real.name}{end}") for end in ("-wal", "-shm"))
            self._identities |= {file: _file_identity(file) for file in beside}
        self._check_files()

    def _check_files(self) -> None:
        """Raise `StoreUnavailable` where a file is no longer the one that was opened.

        Writes to a file that was moved or deleted succeed, and no reader finds them.
        """
        for file, identity in self._identities.items():
            if _file_identity(file) != identity:
                raise StoreUnavailable(
                    f"the database file {file} was moved, replaced or deleted while it was open",
                    hint="no order is sent any more; put the file back and start the daemon again, "
                    "which says whether events are missing",
                )
        try:
            size = self._path.stat().st_size
        except OSError:
            return  # gone since the line above; the next look says so
        if size < self._size:
            # Nothing of ours makes it smaller: pages that others read are gone.
            raise StoreUnavailable(
                f"the database file {self._path} was cut to {size} bytes while it was open",
                hint="no order is sent any more; see docs/operating/restore.md",
            )
        self._size = size

    def check_writable(self) -> None:
        """Raise `DatabaseDamaged` where the file says of itself that it may not be written; nothing
        is written, and it passes where this user may not write it.

        With this connection open, the other is not the last one, which would empty the `-wal`.
        """
        address = f"file:{quote(str(self._path))}?mode=rw"
        with (
            suppress(StoreUnavailable),
            driver_errors(self.place),
            closing(sqlite3.connect(address, 0, uri=True, isolation_level=None)) as other,
        ):
            other.execute("BEGIN IMMEDIATE")
            other.execute("ROLLBACK")

    def _begin_read(self) -> None:
        self.execute("BEGIN")  # the state is that of the first read

    def _interrupt(self) -> None:
        self._driver.interrupt()

    def copy_to(self, path: Path, step: Callable[[int, int], None]) -> None:
        """Copy the whole database, as it is at one moment, into an empty file.

        No writer waits for it. `step` hears of each step: the pages that are left, and how many
        there are; what it raises ends the copy.
        """

        def stepped(_: int, left: int, pages: int) -> None:
            step(left, pages)

        # One snapshot for all steps: without it, each commit of another program would make SQLite
        # begin again with the first page, and a busy log would never be copied.
        with self.reading(), driver_errors(f"{path}, to which {self.place} is copied"):
            self.rows("SELECT count(*) FROM sqlite_master")
            target = sqlite3.connect(path, isolation_level=None)
            try:
                # The file counts once it is whole; until then its journal is of no use.
                target.execute("PRAGMA synchronous = OFF")
                self._driver.backup(target, pages=_COPIED_PAGES, progress=stepped)
                # Without a `-wal` it is one file, which can be read where nothing can be written.
                target.execute("PRAGMA journal_mode = DELETE")
            finally:
                target.close()

    def give_back(self) -> None:
        """Write the file anew: the pages of short rows stay as many as they were."""
        free, needed = space.free_bytes(self._path.parent), 2 * self._path.stat().st_size
        if free is not None and free < needed:
            raise StoreUnavailable(
                f"{self._path} keeps its size: to write it anew needs {needed:,} bytes free on its"
                f" disk, {free:,} are",
                hint="free space there and repeat: what was removed is removed",
            )
        # The copy that is made meanwhile has the size of the file: not in memory.
        self.execute("PRAGMA temp_store = FILE")
        self.execute("VACUUM")
        self.rows("PRAGMA wal_checkpoint(TRUNCATE)")

    _data_version = 0

    def changed_elsewhere(self) -> bool:
        """Ask SQLite's own counter, which our own commits leave alone."""
        self._check_files()
        before, self._data_version = self._data_version, self.rows("PRAGMA data_version")[0][0]
        return bool(before != self._data_version)

    def _own(self, statement: str) -> str:
        return statement

    def members(self, values: Sequence[str | int]) -> Any:
        """Return a JSON array: SQLite has no array of values."""
        return json.dumps(list(values))


class PostgreSQLConnection(Connection):
    """A connection to a PostgreSQL database."""

    backend_name = "postgresql"
    placeholder = "%s"
    binary_order = 'COLLATE "C"'
    membership = "= ANY(?)"

    def _connect(self) -> None:
        super()._connect()
        # Transactions are opened by name here, not by the driver.
        self._driver.autocommit = True

    def _scanning_cursor(self) -> Any:
        # One that has a name stays with the server, which hands over a part at a time.
        return self._driver.cursor(name="scanned")

    def _begin_write(self) -> None:
        self.execute("BEGIN")
        self.rows(f"SELECT pg_advisory_xact_lock({ADVISORY_LOCK})")
        # Now, while nothing has been folded: a table that another program has locked can be waited
        # for. The statements to come would take the same locks.
        self.execute(f"LOCK TABLE {_TABLES} IN ROW EXCLUSIVE MODE")

    def give_back(self) -> None:
        """Nothing: the server uses the room again."""

    def _check_after_commit(self) -> None:
        """Nothing: the server keeps its own files."""

    def _begin_read(self) -> None:
        self.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")

    def _interrupt(self) -> None:
        self._driver.cancel()

    def changed_elsewhere(self) -> bool:
        """Return True: the server does not tell, so the caller must look."""
        return True

    def _own(self, statement: str) -> str:
        return statement.replace("?", "%s")

    def members(self, values: Sequence[str | int]) -> Any:
        """Return a list, which the driver makes an array of."""
        return list(values)


def _file_identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


@lru_cache(maxsize=256)
def _multi_insert(head: str, tail: str, width: int, count: int, placeholder: str) -> str:
    row = f"({','.join([placeholder] * width)})"
    return f"{head} VALUES {','.join([row] * count)} {tail}"


def _sqlite_url(url: URL, access: Access) -> URL:
    """Return the URL that opens a SQLite file in one mode."""
    # mode=rw: a wrong path is an error, never a new and empty log. Migration creates the file.
    mode = "ro" if access == "read" else "rw"
    file = f"file:{quote(url.database or '')}"
    return url.set(database=file, query={"mode": mode, "uri": "true"})


def _set_pragmas(access: Access) -> Callable[[Any, object], None]:
    """Return what SQLAlchemy calls with each new SQLite connection."""
    pragmas = SQLITE_WRITE_PRAGMAS if access == "write" else SQLITE_READ_PRAGMAS

    def set_pragmas(driver: Any, _record: object) -> None:
        """Run every pragma on a connection."""
        cursor = driver.cursor()
        for pragma in pragmas:
            cursor.execute(pragma)
        cursor.close()

    return set_pragmas


def _postgresql_arguments(access: Access) -> dict[str, Any]:
    """Return what each new PostgreSQL connection is opened with."""
    options = [
        f"-c lock_timeout={BUSY_TIMEOUT_SECONDS * 1000}",
        # Acknowledged means durable, whatever the server's default says.
        "-c synchronous_commit=on",
    ]
    if access == "read":
        options.append("-c default_transaction_read_only=on")
    return {"options": " ".join(options), "connect_timeout": 10}
