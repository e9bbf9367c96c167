"""A file beside the log in which answers are prepared: it can be lost and never decides anything.

Of a SQLite log `oms.sqlite` it is `oms.sqlite.history`; of a log in PostgreSQL it is a schema of
the same database, `oms_history`. Indexes inside the log's own tables would cost append rate and
wait for its one writer (decision 0127). All in it is made from the log and can be made anew: a file
that is damaged, of another log, of another past of this log, or of another version is thrown away.

It knows its log by the hash of the first event, and each part of it by the sequence and the hash of
the last event that it has taken (`mark`).
"""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import UnionType
from typing import Any, Final, Protocol

from oms.core.codec import Head
from oms.errors import OmsError, StoreError
from oms.store.backend import Connection, Value, connect, parse_url
from oms.store.schema import REVISIONS

#: Of everything in the file; raised with each change of a table or of what stands in it. The tables
#: of the log are part of it: an upgrade may fold rows anew, and what was found by them with it.
VERSION: Final = f"6/{REVISIONS[-1]}"

_CACHE_KIB: Final = 32_768
#: For a question that folds many events while it reads, as long as that takes at most.
_WAIT_SECONDS: Final = 60.0
#: One writer of the schema at a time, on PostgreSQL.
_ADVISORY_LOCK: Final = 0x6F6D_735F_6869_73

TABLES: Final = {
    "about": "version TEXT NOT NULL, first BLOB NOT NULL",
    "marks": "name TEXT PRIMARY KEY, sequence BIGINT NOT NULL, hash BLOB NOT NULL,"
    " digest BLOB NOT NULL",
    "terms": "term INTEGER PRIMARY KEY, kind TEXT NOT NULL, value TEXT NOT NULL,"
    " digest BLOB NOT NULL",
    "postings": "term INTEGER NOT NULL, block INTEGER NOT NULL, digest BLOB NOT NULL,"
    " bits BLOB NOT NULL,"
    " PRIMARY KEY (term, block)",
}


class Unusable(Exception):
    """What stands beside the log cannot be used: it is not there, not of this log, or damaged."""


class Unready(Unusable):
    """It cannot be used now, which says nothing against what is in it: another program has it, the
    disk is full, its folder cannot be written. It is never thrown away for that.
    """


class _Database(Protocol):
    """The part of a connection that both databases offer."""

    def rows(self, statement: str, values: Sequence[Value] = ()) -> list[tuple[Any, ...]]:
        """Run a query and return every row."""
        ...

    def execute(self, statement: str, values: Sequence[Value] = ()) -> int:
        """Run a statement; return how many rows it changed."""
        ...

    def close(self) -> None:
        """Close the connection."""
        ...


class Side:
    """What stands beside one log. Open it with `opened`; one thread at a time uses it."""

    def __init__(self, database: _Database, schema: str = "") -> None:
        self._database = database
        self._schema = schema
        self._is_writing = False

    def rows(
        self, types: Sequence[type | UnionType], statement: str, values: Sequence[Value] = ()
    ) -> list[tuple[Any, ...]]:
        """Run a query and return every row; `{}` stands before the name of a table.

        Raises `Unusable` for a row whose values are not of these types: that is damage.
        """
        found = self._database.rows(statement.replace("{}", self._schema), values)
        for row in found:
            if not all(map(isinstance, row, types)):
                raise Unusable("a row holds what it cannot hold")
        return found

    def execute(self, statement: str, values: Sequence[Value] = ()) -> None:
        """Run a statement that returns no rows."""
        self._database.execute(statement.replace("{}", self._schema), values)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Run a block in a transaction that no other writer can enter; a block inside of another is
        part of its transaction.
        """
        if self._is_writing:
            yield
            return
        self._database.execute("BEGIN" if self._schema else "BEGIN IMMEDIATE")
        self._is_writing = True
        try:
            if self._schema:
                self._database.rows(f"SELECT pg_advisory_xact_lock({_ADVISORY_LOCK})")
            yield
            self._database.execute("COMMIT")
        except BaseException:
            with suppress(Unusable, StoreError):
                self._database.execute("ROLLBACK")
            raise
        finally:
            self._is_writing = False

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Run a block in a transaction that sees one state from start to end."""
        self._database.execute(
            "BEGIN" + (" ISOLATION LEVEL REPEATABLE READ" if self._schema else "")
        )
        try:
            yield
        finally:
            with suppress(Unusable, StoreError):
                self._database.execute("ROLLBACK")

    def mark(self, name: str) -> tuple[Head, bytes]:
        """Return the last event that a part has taken, and what that part adds up to."""
        query = "SELECT sequence, hash, digest FROM {}marks WHERE name = ?"
        rows = self.rows((int, bytes, bytes), query, (name,))
        return (Head(*rows[0][:2]), rows[0][2]) if rows else (Head(), b"")

    def set_mark(self, name: str, head: Head, digest: bytes) -> None:
        """Note the last event that a part has taken, and what that part adds up to."""
        self.execute("DELETE FROM {}marks WHERE name = ?", (name,))
        values = (name, head.sequence, head.hash, digest)
        self.execute(
            "INSERT INTO {}marks (name, sequence, hash, digest) VALUES (?, ?, ?, ?)", values
        )

    def check(self, log: Connection) -> None:
        """Raise `Unusable` unless this is of the log and of nothing else."""
        about = self.rows((str, bytes), "SELECT version, first FROM {}about")
        if about != [(VERSION, _hash_at(log, 1))]:
            raise Unusable("it was made by another version or from another log")
        for sequence, digest in self.rows((int, bytes), "SELECT sequence, hash FROM {}marks"):
            if _hash_at(log, sequence) != digest:
                raise Unusable(f"the log has another event {sequence}")

    def make(self, log: Connection) -> None:
        """Make every table, empty."""
        with self.writing():
            if self._schema:
                name = self._schema.removesuffix(".")
                self._database.execute(f"DROP SCHEMA IF EXISTS {name} CASCADE")
                self._database.execute(f"CREATE SCHEMA {name}")
            for name, columns in TABLES.items():
                self.execute(f"DROP TABLE IF EXISTS {{}}{name}")
                self.create(name, columns, by_key=name == "postings")
            first = _hash_at(log, 1)
            self.execute("INSERT INTO {}about (version, first) VALUES (?, ?)", (VERSION, first))

    def create(self, table: str, columns: str, *, by_key: bool = False) -> None:
        """Make a table; one `by_key` is kept in the order of its key where a database can."""
        columns = columns.replace("BLOB", "BYTEA") if self._schema else columns
        kept = " WITHOUT ROWID" if by_key and not self._schema else ""
        self.execute(f"CREATE TABLE {{}}{table} ({columns}){kept}")

    def close(self) -> None:
        """Close the connection."""
        self._database.close()


@contextmanager
def opened(log: Connection, url: str, *, write: bool) -> Iterator[Side]:
    """Lend what stands beside a log; `log` is a connection to it.

    Where it cannot be used it is made anew for a writer. Raises `Unusable` for a reader, and where
    nothing can be written.
    """
    if not _hash_at(log, 1):
        raise Unusable("the log is empty")
    try:
        side = _open(url, write=write)
        try:
            if write:
                side = _sound(side, log, url)
            else:
                side.check(log)
            yield side
        finally:
            with suppress(Unusable, StoreError):
                side.close()
    except StoreError as error:
        raise (Unready if error.transient else Unusable)(error.message) from error


def discard(url: str) -> None:
    """Throw away what stands beside a log, so that the next writer makes it anew."""
    parsed = parse_url(url)
    if parsed.get_backend_name() == "sqlite":
        _unlink(path_of(url))
        return
    with suppress(OmsError, Unusable):
        side = _open(url, write=True)
        side.execute("DROP TABLE IF EXISTS {}about")
        side.close()


def path_of(url: str) -> Path:
    """Return the file beside a SQLite log."""
    # SQLite looks for its own files beside the file that a link leads to.
    log = Path(parse_url(url).database or "").resolve()
    return log.with_name(f"{log.name}.history")


# ── inside ──


def _sound(side: Side, log: Connection, url: str) -> Side:
    try:
        side.check(log)
    except (Unusable, StoreError) as error:
        side.close()
        if isinstance(error, Unready) or (isinstance(error, StoreError) and error.transient):
            raise
        if parse_url(url).get_backend_name() == "sqlite":
            _unlink(path_of(url))
        side = _open(url, write=True)
        side.make(log)
    return side


def _hash_at(log: Connection, sequence: int) -> bytes:
    rows = log.rows("SELECT hash FROM events WHERE sequence = ?", (sequence,))
    return bytes(rows[0][0]) if rows else b""


def _open(url: str, *, write: bool) -> Side:
    parsed = parse_url(url)
    if parsed.get_backend_name() == "sqlite":
        return Side(_File(path_of(url), like=Path(parsed.database or ""), write=write))
    connection = connect(parsed, "write" if write else "read")
    own = str(connection.rows("SELECT current_schema()")[0][0])
    return Side(connection, "oms_history." if own == "public" else f'"{own}_history".')


def _unlink(path: Path) -> None:
    for end in ("", "-journal"):
        try:
            path.with_name(path.name + end).unlink(missing_ok=True)
        except OSError as error:
            raise Unusable(f"{path} cannot be removed: {error.strerror}") from error


class _File:
    """A connection to the file beside a SQLite log."""

    def __init__(self, path: Path, *, like: Path, write: bool) -> None:
        try:
            if write:
                with suppress(FileExistsError):
                    # Who may not read the log may not read what is found in it.
                    mode = stat.S_IMODE(like.stat().st_mode)
                    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode))
            access = "rw" if write else "ro"
            self._connection = sqlite3.connect(
                f"{path.as_uri()}?mode={access}",
                uri=True,
                isolation_level=None,
                timeout=_WAIT_SECONDS,
            )
            if write:
                # Whole after a power cut, but for the last steps; a lost one is made again.
                self._connection.execute("PRAGMA synchronous = NORMAL")
                # What a transaction changes is in memory until its end, so that no reader waits.
                self._connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        except OSError as error:
            raise Unready(f"{path} cannot be written: {error.strerror}") from error
        except sqlite3.Error as error:
            raise _unusable(error, f"{path} cannot be opened: {error}") from error

    def rows(self, statement: str, values: Sequence[Value] = ()) -> list[tuple[Any, ...]]:
        """Run a query and return every row."""
        with _as_unusable():
            return self._connection.execute(statement, values).fetchall()

    def execute(self, statement: str, values: Sequence[Value] = ()) -> int:
        """Run a statement that returns no rows."""
        with _as_unusable():
            return self._connection.execute(statement, values).rowcount

    def close(self) -> None:
        """Close the connection."""
        with _as_unusable():
            self._connection.close()


@contextmanager
def _as_unusable() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise _unusable(error, str(error)) from error
    # A flipped bit can leave text that is none, or a number where bytes are expected.
    except (UnicodeDecodeError, OverflowError) as error:
        raise Unusable(str(error)) from error


#: What SQLite says where a file is not damaged (its primary result codes), and of those what it
#: says where it may be.
_PASSING: Final = frozenset(
    (
        *(sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR),
        *(sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM),
        *(sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_INTERRUPT, sqlite3.SQLITE_PROTOCOL),
    )
)
_LASTING: Final = frozenset((sqlite3.SQLITE_IOERR_SHORT_READ, sqlite3.SQLITE_IOERR_CORRUPTFS))


def _unusable(error: sqlite3.Error, words: str) -> Unusable:
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT)
    passes = code & 0xFF in _PASSING and code not in _LASTING
    return Unready(words) if passes else Unusable(words)
