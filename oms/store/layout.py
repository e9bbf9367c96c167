"""Whether tables, indexes and triggers are, word for word, those that the migrations make.

A dropped guard lets anybody change the log, and a dropped unique index lets the same execution in
twice; neither is seen in the rows. `layout.json` has what a database of this version must have, as
each of the two databases words it; a test makes it from the migrations.
"""

from __future__ import annotations

import importlib.resources
import json
from functools import cache
from typing import Final, NamedTuple

from oms.errors import DatabaseDamaged
from oms.store.backend import Connection
from oms.store.tables import METADATA

#: Objects that are named in one message.
_NAMED_MAX: Final = 3
_TABLES: Final = ", ".join(f"'{name}'" for name in sorted([*METADATA.tables, "alembic_version"]))
#: Kind, name and text of each object. Of PostgreSQL, whose schema others may share, only what
#: belongs to our tables; of a SQLite file, everything.
_QUERIES: Final = {
    "sqlite": (
        "SELECT type, name, sql FROM sqlite_master WHERE sql IS NOT NULL"
        " AND substr(name, 1, 7) <> 'sqlite_'",
    ),
    "postgresql": (
        # What it is, whether it outlives a crash, and what may stand between it and its rows.
        "SELECT 'table', relname, relkind::text || relpersistence::text"
        " || CASE WHEN relrowsecurity THEN ' SECURED' ELSE '' END FROM pg_class"
        " WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'p')"
        f" AND relname IN ({_TABLES})",
        "SELECT 'rule', rulename || ' ON ' || tablename, definition FROM pg_rules"
        f" WHERE schemaname = current_schema() AND tablename IN ({_TABLES})",
        "SELECT 'column', table_name || '.' || column_name, data_type || ' ' || is_nullable"
        " || ' ' || coalesce(collation_name, '') FROM information_schema.columns"
        f" WHERE table_schema = current_schema() AND table_name IN ({_TABLES})",
        "SELECT 'index', indexname, replace(indexdef, quote_ident(current_schema()) || '.', '')"
        " || CASE WHEN i.indisvalid THEN '' ELSE ' INVALID' END"
        " FROM pg_indexes JOIN pg_index i"
        " ON i.indexrelid = (quote_ident(schemaname) || '.' || quote_ident(indexname))::regclass"
        f" WHERE schemaname = current_schema() AND tablename IN ({_TABLES})",
        "SELECT 'trigger', tgname,"
        " replace(pg_get_triggerdef(t.oid), quote_ident(current_schema()) || '.', '')"
        " || CASE tgenabled WHEN 'O' THEN '' ELSE ' DISABLED' END"
        " FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid"
        " WHERE NOT tgisinternal AND c.relnamespace = current_schema()::regnamespace"
        f" AND c.relname IN ({_TABLES})",
        "SELECT 'function', proname, prosrc FROM pg_proc"
        " WHERE pronamespace = current_schema()::regnamespace"
        " AND left(proname, 13) = 'events_refuse'",
    ),
}


def layout_of(connection: Connection) -> dict[str, str]:
    """Return the text of each object of a database, white space evened out, by kind and name."""
    return {
        f"{kind} {name}": " ".join(str(text).split())
        for query in _QUERIES[connection.backend_name]
        for kind, name, text in connection.rows(query)
    }


class Compared(NamedTuple):
    """Objects that are not as they must be, by kind and name."""

    missing: list[str]
    altered: list[str]
    #: Those that nobody of us made.
    foreign: list[str]

    @property
    def every(self) -> list[str]:
        """Return all of them."""
        return [*self.missing, *self.altered, *self.foreign]


def compared(connection: Connection) -> Compared:
    """Return what of a database is not what the migrations make."""
    wanted, found = expected(connection.backend_name), layout_of(connection)
    return Compared(
        sorted(wanted.keys() - found.keys()),
        sorted(name for name in wanted.keys() & found.keys() if wanted[name] != found[name]),
        sorted(found.keys() - wanted.keys()),
    )


def differences(connection: Connection) -> list[str]:
    """Return the same in words."""
    found = compared(connection)
    return [
        *(f"the {name} is missing" for name in found.missing),
        *(f"the {name} is not as it was made" for name in found.altered),
        *(f"the {name} is not ours" for name in found.foreign),
    ]


def check_layout(connection: Connection) -> None:
    """Raise `DatabaseDamaged` unless the database has exactly what the migrations make."""
    found = differences(connection)
    if found:
        more = f", and {len(found) - _NAMED_MAX} more" if len(found) > _NAMED_MAX else ""
        raise DatabaseDamaged(f"{', '.join(found[:_NAMED_MAX])}{more}")


def expected(backend_name: str) -> dict[str, str]:
    """Return the text of each object that a database of this version has, by kind and name."""
    return _expected()[backend_name]


@cache
def _expected() -> dict[str, dict[str, str]]:
    text = importlib.resources.files("oms.store").joinpath("layout.json").read_text("utf-8")
    found: dict[str, dict[str, str]] = json.loads(text)
    return found
