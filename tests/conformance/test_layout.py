"""What guards the log is checked, word for word, before anybody trades on it."""

from __future__ import annotations

import json
from contextlib import closing

import pytest

from oms.clock import SystemClock
from oms.errors import ChainBroken, DatabaseDamaged, StoreError
from oms.store.backend import connect, parse_url
from oms.store.layout import check_layout, layout_of
from oms.store.log import EventLog
from tests.conformance.conftest import Place
from tests.conformance.facts import gap
from tests.conformance.test_event_log import filled
from tests.conftest import ROOT

STORED = ROOT / "oms" / "store" / "layout.json"
COLUMNS = "type, version, recorded_at, lease_epoch, session_epoch, actor, hash, payload"


def test_layout_is_what_the_migrations_make(place: Place, update_docs: bool) -> None:
    """`--update-docs` writes down what they make now."""
    name = "sqlite" if place.is_sqlite else "postgresql"
    with closing(connect(parse_url(place.url), "read")) as connection:
        found = layout_of(connection)
    stored = json.loads(STORED.read_text(encoding="utf-8")) if STORED.exists() else {}
    if update_docs:
        stored[name] = dict(sorted(found.items()))
        text = json.dumps(dict(sorted(stored.items(), reverse=True)), indent=1)
        STORED.write_text(text + "\n", encoding="utf-8")
    assert found == stored[name]


CHANGES = {
    "an index dropped": "DROP INDEX orders_perm_id",
    "the unique index dropped": "DROP INDEX events_natural_key",
    "a column added": "ALTER TABLE orders ADD COLUMN note TEXT",
}
SQLITE_CHANGES = {
    "a trigger dropped": "DROP TRIGGER events_refuse_update",
    "a trigger added": "CREATE TRIGGER x AFTER INSERT ON events BEGIN SELECT 1; END",
    "a table added": "CREATE TABLE notes (text)",
    "a view added": "CREATE VIEW notes AS SELECT 1",
}
POSTGRESQL_CHANGES = {
    "a trigger dropped": "DROP TRIGGER events_refuse_change ON events",
    "a trigger off": "ALTER TABLE events DISABLE TRIGGER events_refuse_gap",
    "a function emptied": "CREATE OR REPLACE FUNCTION events_refuse_gap() RETURNS trigger"
    " LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$",
}


@pytest.mark.parametrize("change", [*CHANGES, *SQLITE_CHANGES, *POSTGRESQL_CHANGES])
async def test_no_daemon_starts_on_a_changed_layout(place: Place, change: str) -> None:
    own = CHANGES | (SQLITE_CHANGES if place.is_sqlite else POSTGRESQL_CHANGES)
    if change not in own:
        pytest.skip("of the other database")
    await filled(place, [gap()])
    with closing(connect(parse_url(place.url), "read")) as connection:
        check_layout(connection)
    place.sql(own[change])
    with pytest.raises(DatabaseDamaged) as caught:
        await EventLog.open(place.url, clock=SystemClock(), lease=None)
    assert caught.value.exit_code == 4


@pytest.mark.parametrize("sequence", [0, 3, 99_999])
async def test_event_that_leaves_a_gap_is_refused(place: Place, sequence: int) -> None:
    """Both databases refuse it by themselves, whatever program tries."""
    await filled(place, [gap()])
    with pytest.raises(StoreError, match="append-only"):
        place.sql(forged(sequence))
    place.sql(forged(2))


async def test_forged_row_behind_the_end_stops_the_start(place: Place) -> None:
    """Of a log from before the guard: the first event that was not appended is named."""
    await filled(place, [gap()])
    place.remove_guards()
    place.sql(forged(99_999))
    with pytest.raises(ChainBroken) as caught:
        await EventLog.open(place.url, clock=SystemClock(), lease=None)
    assert (caught.value.sequence, caught.value.exit_code) == (2, 4)


def forged(sequence: int) -> str:
    return (
        f"INSERT INTO events (sequence, {COLUMNS})"
        f" SELECT {sequence}, {COLUMNS} FROM events WHERE sequence = 1"
    )
