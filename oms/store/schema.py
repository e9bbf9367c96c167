"""Which version of the tables a database has, and how it gets the newest one.

Alembic does the work and is imported only then: a daemon that starts on a current database asks one
question.
"""

from __future__ import annotations

import importlib.resources
import re
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sqlalchemy import event
from sqlalchemy.engine import URL

from oms.errors import (
    ConfigurationError,
    DatabaseDamaged,
    MigrationNeeded,
    StoreUnavailable,
)
from oms.store.backend import Connection, connect, is_absent, parse_url, place_of, sync_engine
from oms.store.driver_errors import driver_errors
from oms.store.layout import differences

if TYPE_CHECKING:
    from alembic.config import Config

#: Every revision that this program knows, oldest first; the last one is what it needs. A test
#: compares them with the scripts.
REVISIONS: Final = (
    *("0001", "0002", "0003", "0004", "0005", "0006", "0007", "0008", "0009", "0010", "0011"),
)
HEAD: Final = REVISIONS[-1]
#: Those that change no table: they are there to have rows folded anew.
ROWS_ONLY: Final = frozenset(("0003", "0008"))

_TABLE_EXISTS: Final = {
    "sqlite": "SELECT count(*) FROM sqlite_master WHERE name = 'alembic_version'",
    "postgresql": "SELECT count(*) FROM pg_tables WHERE tablename = 'alembic_version'"
    " AND schemaname = current_schema()",
}


_EVENTS_EXIST: Final = {
    name: query.replace("alembic_version", "events") for name, query in _TABLE_EXISTS.items()
}


@dataclass(frozen=True, slots=True)
class Upgrade:
    """What an upgrade did."""

    #: None for a database that was empty.
    before: str | None
    after: str
    #: What was made before, where there were events and a backup was wanted.
    backup: Path | None = None
    #: Whether the rows were folded anew.
    folded: bool = False


def current(url: str) -> str | None:
    """Return the revision of a database, None where it has no tables or does not exist yet."""
    parsed = parse_url(url)
    if is_absent(parsed):
        return None
    with closing(connect(parsed, "read")) as connection:
        return revision_of(connection)


def check_current(url: str) -> None:
    """Raise `MigrationNeeded` unless the database has the tables of this version, and
    `DatabaseDamaged` where it says nothing of its tables or something that is not so.
    """
    _check(current(url))


def check_connection(connection: Connection) -> None:
    """Do the same on a connection that is open."""
    _check(revision_of(connection))


def revision_of(connection: Connection) -> str | None:
    """Return the revision that a database says it has, None where it has no tables at all; raises
    `DatabaseDamaged` where what it says is missing, or is not so.
    """
    # One state of it: between two looks a daemon's first start may make the tables.
    with connection.reading():
        exists = connection.rows(_TABLE_EXISTS[connection.backend_name])[0][0]
        rows = connection.rows("SELECT version_num FROM alembic_version") if exists else []
        if not rows and has_log(connection):
            raise DatabaseDamaged("the database does not say of which revision its tables are")
        if not rows:
            return None
        revision = rows[0][0]
        if len(rows) > 1 or not re.fullmatch(r"\d{4}", str(revision), re.ASCII):
            raise DatabaseDamaged(f"the database is at revision {revision!r}, which never was one")
        has_others = any(one > revision and one not in ROWS_ONLY for one in REVISIONS)
        if (has_others or revision not in REVISIONS) and not differences(connection):
            raise DatabaseDamaged(
                f"the database says that it is at revision {revision}, but its tables are those of"
                f" {HEAD}",
                hint="were it written by a newer version, upgrade ib-oms; if not, the row of"
                " alembic_version was altered: docs/operating/damaged.md",
            )
        return str(revision)


def check_known(connection: Connection) -> None:
    """Raise `MigrationNeeded` where a database has no tables, or those of a newer version."""
    revision = revision_of(connection)
    if revision != HEAD:
        _check_known(revision or "none")


def has_log(connection: Connection) -> bool:
    """Say whether a database has the table of events, of whatever version."""
    return bool(connection.rows(_EVENTS_EXIST[connection.backend_name])[0][0])


def upgrade(url: str) -> Upgrade:
    """Bring a database to the tables of this version, creating the SQLite file where needed.

    Returns what it did; an up-to-date database is left alone. Raises `MigrationNeeded` where the
    database is newer than this program, and `StoreUnavailable` where it cannot be written; it is
    unchanged then.
    """
    parsed = parse_url(url)
    before = current(url)
    if before == HEAD:
        return Upgrade(before, HEAD)
    if before is not None:
        _check_known(before)
    elif parsed.get_backend_name() == "sqlite":
        _create(parsed)
    _migrate(parsed)
    return Upgrade(before, HEAD)


def create(path: Path, revision: str) -> None:
    """Make a SQLite file with the tables of a revision, and no rows; raises `ConfigurationError`
    for a revision that this program does not know, and `StoreUnavailable`.
    """
    if revision not in REVISIONS:
        raise ConfigurationError(
            f"{revision!r} is no revision of the tables",
            hint=f"this version knows {', '.join(REVISIONS)}; `oms db current` names the newest",
        )
    url = URL.create("sqlite", database=str(path))
    _create(url)
    _migrate(url, revision)


def script_location() -> Path:
    """Return the folder of the migrations: beside the package in a checkout, inside it when
    installed.
    """
    inside = Path(str(importlib.resources.files("oms"))) / "_migrations"
    beside = Path(__file__).resolve().parents[2] / "migrations"
    for folder in (inside, beside):
        if (folder / "env.py").is_file():
            return folder
    raise ConfigurationError(
        "the migrations are missing from this installation", hint="reinstall ib-oms"
    )


def alembic_config() -> Config:
    """Return Alembic's configuration without a database."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(script_location()).replace("%", "%%"))
    return config


def _check(revision: str | None) -> None:
    if revision == HEAD:
        return
    if revision is None:
        raise MigrationNeeded(
            "the database is not there, or has no tables yet",
            hint="is OMS_DATABASE_URL right? to make a new one, run `oms db upgrade`",
        )
    _check_known(revision)
    raise MigrationNeeded(f"the database is at revision {revision}, this version needs {HEAD}")


def _check_known(revision: str) -> None:
    if revision not in REVISIONS:
        raise MigrationNeeded(
            f"the database is at revision {revision}, which this version does not know",
            hint="it was written by a newer version: upgrade ib-oms; or go back with what that"
            " version's `oms db backup FILE --revision " + HEAD + "` writes, or with the backup"
            " that its upgrade made",
        )


def _migrate(url: URL, revision: str = HEAD) -> None:
    from alembic import command

    engine = sync_engine(url, "write")
    if url.get_backend_name() == "sqlite":
        # All of an upgrade or nothing: left alone, the driver would commit every statement.
        event.listen(engine, "begin", lambda c: c.exec_driver_sql("BEGIN IMMEDIATE"))
    config = alembic_config()
    try:
        with driver_errors(place_of(url)), engine.connect() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, revision)
    finally:
        engine.dispose()


def _create(url: URL) -> None:
    """Make an empty file; connections never do, so that a wrong path is not a new and empty log."""
    path = Path(url.database or "")
    try:
        path.touch(mode=0o600, exist_ok=True)
    except OSError as error:
        raise StoreUnavailable(
            f"{path} cannot be created: {error.strerror}",
            hint="check the path in OMS_DATABASE_URL and its folder",
        ) from error
