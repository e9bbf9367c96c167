"""Damage to a PostgreSQL log: what the owner of the database can do with a shell."""

from __future__ import annotations

import asyncio
import random
import shutil
from collections.abc import Iterator
from contextlib import closing

from oms.clock import SystemClock
from oms.store import head_file
from oms.store.backend import connect, parse_url
from oms.store.layout import expected
from oms.store.log import EventLog
from oms.store.tables import METADATA
from tests.benchmark.flow import pendings
from tests.conformance.conftest import Place
from tests.damage.damages import EVENTS, ROWS
from tests.damage.play import FOUND, LEASE, VERBS, Figures, run, start_of

#: What PostgreSQL refuses by the types of its columns, or words in another way.
_OF_SQLITE = ("X'", "= 'x'", "'x',", "1e300", "= 7")
OBJECTS = (
    "ALTER TABLE events DISABLE TRIGGER ALL",
    "ALTER TABLE events ENABLE ROW LEVEL SECURITY",
    "ALTER TABLE events SET UNLOGGED",
    "ALTER TABLE events ALTER COLUMN payload DROP NOT NULL",
    "CREATE RULE lost AS ON INSERT TO events DO INSTEAD NOTHING",
    "CREATE OR REPLACE FUNCTION events_refuse() RETURNS trigger LANGUAGE plpgsql"
    " AS $$ BEGIN RETURN NULL; END $$",
    "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'events_natural_key'::regclass",
    "ALTER TABLE orders RENAME TO orders_of_old",
)


def play_postgresql(address: str, seed: int, wanted: int) -> Figures:
    """Play damages of each kind, each in a copy of one log."""
    sound = address.replace("/postgres?", "/oms_sound?")
    _on(address, 'CREATE DATABASE "oms_sound" TEMPLATE oms_template')
    asyncio.run(_make(sound))
    whole, figures = content(sound), Figures()
    for number, (kind, statement) in enumerate(_damages(random.Random(seed), wanted)):
        name = f"oms_damaged_{number}"
        _on(address, f'CREATE DATABASE "{name}" TEMPLATE "oms_sound"')
        url = address.replace("/postgres?", f"/{name}?")
        shutil.copy(head_file.path_of(parse_url(sound)), head_file.path_of(parse_url(url)))
        figures.played[kind] += 1
        place = Place(url)
        place.sql("ALTER TABLE events DISABLE TRIGGER USER")
        place.sql(statement)
        if "DISABLE" not in statement and statement != "DROP TABLE events":
            place.sql("ALTER TABLE events ENABLE TRIGGER USER")
        faults = _faults(url, kind, whole, figures)
        figures.faults += [f"{kind} {statement}: {fault}" for fault in faults]
        _on(address, f'DROP DATABASE "{name}"')
    return figures


def _faults(url: str, kind: str, whole: list[str], figures: Figures) -> Iterator[str]:
    code, said = run(url, "verify")
    if code not in (0, FOUND):
        yield f"verify ended with {code}: {said}"
    if code == 0 and content(url) != whole:
        yield "verify found nothing, and what can be read has changed"
    figures.found[kind] += code == FOUND
    started, said = start_of(url)
    if started not in (0, FOUND):
        yield f"the start ended with {started}: {said}"
    if code == 0 and started != 0:
        yield f"verify found nothing, and the start ended with {started}: {said}"
    for words in VERBS:
        if "ORDER" not in words:
            each, said = run(url, *words)
            if each not in (0, FOUND):
                yield f"{words[0]} ended with {each}: {said}"


def _damages(chance: random.Random, wanted: int) -> Iterator[tuple[str, str]]:
    for text in EVENTS:
        for _ in range(wanted):
            if not any(mark in text for mark in _OF_SQLITE):
                yield "event", text.format(chance.randrange(1, 300))
    for statement in ROWS:
        if not any(mark in statement for mark in _OF_SQLITE):
            yield "row", statement
    for statement in OBJECTS:
        yield "object", statement
    for name in expected("postgresql"):
        kind, _, rest = name.partition(" ")
        if kind == "trigger":
            yield "object", f"DROP TRIGGER {rest} ON events"
        elif kind == "table":
            yield "object", f"DROP TABLE {rest}"
        elif kind == "index" and not rest.endswith(("_pkey", "_pkc")):
            yield "object", f"DROP INDEX {rest}"


async def _make(url: str) -> None:
    log = await EventLog.open(url, clock=SystemClock(), lease=LEASE)
    for fact in pendings(400):
        await log.append(fact)
    await log.close()


def content(url: str) -> list[str]:
    """Return all that can be read of a database, but who holds the lease."""
    with closing(connect(parse_url(url), "read")) as connection:
        names = sorted(METADATA.tables.keys() - {"leases"})
        return sorted(f"{name} {row}" for name in names for row in connection.rows(f"TABLE {name}"))


def _on(address: str, statement: str) -> None:
    Place(address).sql(statement)
