"""A log that lacks events or rows is refused by everybody who reads it, with the same advice."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from oms.cli import main
from oms.clock import SystemClock
from oms.core.fold.records import TABLES
from oms.errors import ChainBroken, DatabaseDamaged, MigrationNeeded
from oms.settings import load
from oms.store import audit, head_file, schema
from oms.store.backend import parse_url
from oms.store.log import append_foreign
from oms.store.mend import mend
from oms.store.reader import Reader
from oms.store.rebuild import rebuild, rebuild_check
from oms.store.soundness import check_database, find_damage
from oms.store.upgrade import upgrade_database
from oms.web.app import create_app
from tests.conformance.conftest import Place
from tests.conformance.facts import execution, gap, intent, opened, sent, session
from tests.conformance.test_event_log import lease, opened_log

ROWS = ("orders", "fills", "positions", "sessions", "system", "order_events")
#: Of a log of nine events: what is done to it, and whether the log can make it again.
LACKING = {
    "the end": ("DELETE FROM events WHERE sequence > 7", False),
    "all but the first": ("DELETE FROM events WHERE sequence > 1", False),
    "the beginning": ("DELETE FROM events WHERE sequence < 3", False),
    "an event": ("DELETE FROM events WHERE sequence = 4", False),
    "every event": ("DELETE FROM events", False),
    "every event, and where they ended": ("DELETE FROM events; DELETE FROM checkpoints", False),
    "how far its rows went": ("DELETE FROM checkpoints WHERE name = 'books'", True),
    **{f"the rows of {table}": (f"DELETE FROM {table}", True) for table in ROWS},
}
on_a_file = pytest.mark.parametrize("place", ["sqlite"], indirect=True)
NO_ROWS = (
    ";".join(f"DELETE FROM {table}" for table in (*TABLES, "order_events"))
    + "; DELETE FROM checkpoints WHERE name = 'books'"
)
#: What a process leaves that dies between the new tables and the rows.
DIED = (
    "UPDATE checkpoints SET row_sum = NULL, live_row_sum = NULL; INSERT INTO checkpoints"
    " (name, sequence, hash) VALUES ('upgrade', 0, X'')"
)
ON_A_SERVER = ("the end", "every event, and where they ended", "the rows of fills")


@pytest.fixture
async def log(place: Place) -> Place:
    """A daemon's log of nine events."""
    await fill(place)
    return place


async def fill(place: Place) -> None:
    facts = [session(), intent("o-1"), sent("o-1", 1), opened("o-1", 1)]
    facts += [execution("e.01", order_id="o-1", broker_order_id=1), *map(gap, "abcd")]
    async with opened_log(place, lease=lease()) as written:
        await written.append_together(facts)


def head_path(place: Place) -> Path:
    return head_file.path_of(parse_url(place.url))


def damage(place: Place, statements: str) -> None:
    """Do what the owner of the database can do, and put the guards back."""
    if not place.is_sqlite:
        place.sql("ALTER TABLE events DISABLE TRIGGER USER")
        for statement in statements.split(";"):
            place.sql(statement)
        place.sql("ALTER TABLE events ENABLE TRIGGER USER")
        return
    guards = place.sql("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'")
    for statement in (*(f"DROP TRIGGER {name}" for name, _ in guards), *statements.split(";")):
        place.sql(statement)
    for _, text in guards:
        place.sql(text)


async def read(place: Place) -> None:
    await (await Reader.open(place.url)).close()


async def verify(place: Place) -> None:
    audit.verify(place.url)
    check_database(place.url)


async def start(place: Place) -> None:
    async with opened_log(place, lease=lease()):
        pass


async def look(place: Place) -> None:
    """Do as `oms status` and the pages."""
    if (damage := find_damage(place.url)) is not None:
        raise damage


@pytest.mark.parametrize(
    ("place", "lacking"),
    [("sqlite", one) for one in LACKING] + [("postgresql", one) for one in ON_A_SERVER],
    indirect=["place"],
)
async def test_everybody_says_the_same_of_a_log_that_lacks_something(
    log: Place, lacking: str
) -> None:
    """Also where no head file is beside it: what its own tables say is enough."""
    statements, is_mended = LACKING[lacking]
    ways: tuple[Callable[[Place], Awaitable[None]], ...] = (read, verify, start, look)
    for way in ways:
        await way(log)
    head_path(log).unlink()
    damage(log, statements)
    advice = set()
    for way in (read, verify, start, look):
        with pytest.raises(DatabaseDamaged if is_mended else ChainBroken) as caught:
            await way(log)
        advice.add(caught.value.hint)
    assert len(advice) == 1
    if is_mended:
        assert not rebuild_check(log.url).equal
        assert not rebuild(log.url).equal
        for way in ways:
            await way(log)
    else:
        for fold in (rebuild, rebuild_check):
            with pytest.raises(ChainBroken):
                fold(log.url)


@on_a_file
async def test_rows_that_are_to_be_folded_are_shown_by_nobody_and_folded_by_an_upgrade(
    log: Place,
) -> None:
    """A backup with the tables of an older version has none; an upgrade that died has old ones."""
    for statements in (NO_ROWS, DIED):
        damage(log, statements)
        for way in (read, verify, look):
            with pytest.raises(MigrationNeeded, match="still to be folded") as caught:
                await way(log)
            assert "`oms db upgrade`" in caught.value.hint
        assert upgrade_database(log.url).folded
        for way in (read, verify, start, look):
            await way(log)
        assert rebuild_check(log.url).equal


@on_a_file
async def test_rows_that_were_never_folded_are_folded_by_a_start(log: Place) -> None:
    damage(log, NO_ROWS)
    await start(log)
    for way in (read, verify, look):
        await way(log)


@on_a_file
@pytest.mark.parametrize("lacking", ["the end", "every event"])
async def test_end_that_is_cut_off_is_no_loss_that_anybody_can_accept(
    log: Place, lacking: str
) -> None:
    """The head file knows of more as well, and advised what does not help."""
    damage(log, LACKING[lacking][0])
    for way in (read, verify, start, look):
        with pytest.raises(ChainBroken, match="appended") as caught:
            await way(log)
        assert "chain-broken" in caught.value.hint


@on_a_file
async def test_checkpoint_of_the_log_is_made_again_from_the_head_file(log: Place) -> None:
    damage(log, "DELETE FROM checkpoints")
    with pytest.raises(DatabaseDamaged, match="where the log ended"):
        await read(log)
    assert "the checkpoint log" in mend(log.url)
    assert not rebuild(log.url).equal
    for way in (read, verify, start, look):
        await way(log)


@on_a_file
@pytest.mark.parametrize("beside", ["nothing", "the head of before"])
async def test_checkpoint_of_the_log_is_not_made_up(log: Place, beside: str) -> None:
    before = head_path(log).read_bytes()
    await read(log)
    append_foreign(log.url, [gap()], clock=SystemClock(), needs_daemon=False)
    head_path(log).write_bytes(before) if beside != "nothing" else head_path(log).unlink()
    damage(log, "DELETE FROM checkpoints WHERE name = 'log'")
    with pytest.raises(DatabaseDamaged, match="where the log ended"):
        mend(log.url)


@pytest.mark.parametrize(
    "lacking", ["the end", "the beginning", "how far its rows went", "the rows of fills"]
)
async def test_every_verb_and_page_refuses_a_log_that_lacks_something(
    lacking: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    place = Place(f"sqlite:///{tmp_path}/log.sqlite")
    schema.upgrade(place.url)
    await fill(place)
    head_path(place).unlink()
    monkeypatch.setenv("OMS_DATABASE_URL", place.url)
    damage(place, LACKING[lacking][0])
    for words in VERBS:
        assert await asyncio.to_thread(main, words.split()) == 4, words
        said = " ".join("".join(capsys.readouterr()).split())
        assert ("`oms rebuild`" if LACKING[lacking][1] else "chain-broken.md") in said, words
    assert await answers(place) == ["down", *["refused"] * (len(PAGES) - 1)]


VERBS = (
    "status",
    "orders",
    "orders --count",
    "orders --as-of 5",
    "order o-1",
    "fills",
    "positions",
    "breaks",
    "log",
    "why o-1",
    "why 3",
    "report list",
    "export orders out",
    "history build",
    "history check",
    "pnl",
    "cancel o-1 --wait 0",
    "cancel --all --yes",
)
PAGES = ("/", "/orders", "/fills", "/positions", "/breaks", "/log")


async def answers(place: Place) -> list[str]:
    """Return what each page says: the front page is shown, and says that it is down."""
    app = create_app(load(), now=lambda: datetime.now(UTC))
    found = []
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as web:
        assert (await web.get("/health")).status_code == 503
        for page in PAGES:
            answer = await web.get(page)
            is_shown = answer.status_code == 200 and "database is damaged" in answer.text
            found.append("down" if is_shown else "refused" if answer.status_code >= 500 else "")
    return found
