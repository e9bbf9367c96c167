"""Whether tables, indexes and triggers are, word for word, those that the migrations make.

A dropped guard lets anybody change the log, and a dropped unique index lets the same execution in
twice; neither is seen in the rows. `layout.json` has what a database of this version must have, as
each of the two databases words it; a test makes it from the migrations.
"""

from __future__ import annotations

import importlib.resources
import json
from functools import cache
from typing import Final

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


def differences(connection: Connection) -> list[str]:
    """Return what is missing, what is not as it was made, and what nobody of us made."""
    expected, found = _expected()[connection.backend_name], layout_of(connection)
    return [
        *(f"the {name} is missing" for name in sorted(expected.keys() - found.keys())),
        *(
            f"the {name} is not as it was made"
            for name in sorted(expected.keys() & found.keys())
            if expected[name] != found[name]
        ),
        *(f"the {name} is not ours" for name in sorted(found.keys() - expected.keys())),
    ]


def check_layout(connection: Connection) -> None:
    """Raise `DatabaseDamaged` unless the database has exactly what the migrations make."""
    found = differences(connection)
    if found:
        more = f", and {len(found) - _NAMED_MAX} more" if len(found) > _NAMED_MAX else ""
        raise DatabaseDamaged(f"{', '.join(found[:_NAMED_MAX])}{more}")


@cache
def _expected() -> dict[str, dict[str, str]]:
    text = importlib.resources.files("oms.store").joinpath("layout.json").read_text("utf-8")
    expected: dict[str, dict[str, str]] = json.loads(text)
    return expected
