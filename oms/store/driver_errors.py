"""The errors of database drivers, turned into those of our tree, with the cause kept."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from sqlalchemy.exc import DBAPIError, NoSuchModuleError

from oms.errors import (
    ConfigurationError,
    DatabaseDamaged,
    OmsError,
    StoreCutOff,
    StoreError,
    StoreLocked,
    StoreUnavailable,
)
from oms.store.space import FREE_SPACE

#: What a driver's text holds, and what to do about it.
_LOCKED: Final = ("locked", "lock timeout", "canceling statement due to lock")
_UNAVAILABLE: Final = (
    (("readonly", "read-only"), "make the file and its folder writable for this user"),
    (("full", "no space", "disk i/o", "quota"), FREE_SPACE),
    (
        ("unable to open", "permission denied"),
        "check the path in OMS_DATABASE_URL, and that its folder can be written: SQLite needs that"
        " to read, too",
    ),
)
#: What SQLite says of a file whose bytes cannot be: pages, the schema, the header, text.
_DAMAGED: Final = (
    "not a database",
    "malformed",
    "unsupported file format",
    "could not decode to utf-8",
    "invalid page",  # PostgreSQL
    "could not read block",
)
#: psycopg's classes for what is not there, and for a server that is gone; as names, because the
#: driver is optional.
_UNKNOWN: Final = frozenset({"UndefinedTable", "UndefinedColumn"})
_LOST: Final = frozenset({"OperationalError", "InterfaceError"})
#: SQLSTATE classes and codes of a server that cannot be reached, starts, stops or ends a
#: connection. What libpq says by itself has none.
_CUT_OFF: Final = ("08", "57P", "25P03")


@contextmanager
def needs_driver() -> Iterator[None]:
    """Say how to get the optional driver where it is missing."""
    try:
        yield
    except (ModuleNotFoundError, NoSuchModuleError) as error:
        raise ConfigurationError(
            "the PostgreSQL driver is not installed", hint="pip install 'ib-oms[postgres]'"
        ) from error


@contextmanager
def driver_errors(place: str) -> Iterator[None]:
    """Turn what a driver raises about the database of a place into an error of our tree."""
    try:
        yield
    except OmsError:
        raise
    except DBAPIError as error:
        raise _translated(error.orig or error, place) from error
    except UnicodeDecodeError as error:
        # SQLite's own message repeats a damaged name, and the driver cannot read it.
        raise DatabaseDamaged(f"the file {place} is damaged: {error}") from error
    except Exception as error:
        if type(error).__module__.partition(".")[0] not in ("sqlite3", "psycopg"):
            raise
        raise _translated(error, place) from error


def _says_that_it_is_newer(error: BaseException, place: str) -> bool:
    """Say whether a SQLite file refuses writes by its header. SQLite says that in the words of a
    missing permission; to read the header ourselves would take the locks of this process away.
    """
    return (
        getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_READONLY
        and os.access(place, os.W_OK)
        and os.access(Path(place).resolve().parent, os.W_OK)
    )


def _translated(error: BaseException, place: str) -> OmsError:
    text = " ".join(str(error).split())
    lower = text.lower()
    if _is_cut_off(error):
        return StoreCutOff(f"the database {place} does not answer: {text}")
    if any(mark in lower for mark in _DAMAGED):
        return DatabaseDamaged(f"the file {place} is damaged, or is not a database: {text}")
    if _says_that_it_is_newer(error, place):
        return DatabaseDamaged(
            f"the file {place} is damaged, or a later SQLite wrote it: its header says that this"
            f" one ({sqlite3.sqlite_version}) may not write it",
            hint="no order leaves; where a later SQLite wrote it, use that one; else restore the"
            " newest backup that `oms verify` finds whole; docs/operating/restore.md",
        )
    if any(mark in lower for mark in _LOCKED):
        return StoreLocked(f"another program holds the database {place}: {text}")
    for marks, hint in _UNAVAILABLE:
        if any(mark in lower for mark in marks):
            return StoreUnavailable(f"the log in {place} cannot be used: {text}", hint=hint)
    if "no such table" in lower or "no such column" in lower or type(error).__name__ in _UNKNOWN:
        # Whether the database is of this version was asked before.
        return DatabaseDamaged(f"the database {place} is damaged: {text}")
    if isinstance(error, sqlite3.OperationalError):
        return StoreUnavailable(f"the log in {place} cannot be used: {text}")
    return StoreError(f"the database {place} refused: {text}")


def _is_cut_off(error: BaseException) -> bool:
    if type(error).__module__.partition(".")[0] != "psycopg":
        return False
    state: str | None = getattr(error, "sqlstate", None)
    return type(error).__name__ in _LOST if state is None else state.startswith(_CUT_OFF)
