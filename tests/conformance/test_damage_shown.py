"""What would keep a daemon from starting is said by `oms status` and by the probe of the pages."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from oms.cli import main
from oms.cli.outcome import current
from oms.errors import DatabaseDamaged
from oms.settings import load
from oms.store import schema
from oms.store.reader import Reader
from oms.web.app import create_app
from tests.conformance.conftest import Place
from tests.conformance.facts import intent, opened, sent, session
from tests.conformance.test_event_log import filled

DAMAGES = {
    "a live row": ("UPDATE orders SET state = 'HELD'", "orders is not what was written"),
    "a guard": ("DROP TRIGGER events_refuse_update", "events_refuse_update is missing"),
    "an index": ("DROP INDEX events_natural_key", "events_natural_key is missing"),
}


@pytest.mark.parametrize("damage", DAMAGES)
async def test_damage_is_shown_and_status_ends_with_4(
    damage: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    statement, words = DAMAGES[damage]
    place = Place(f"sqlite:///{tmp_path}/log.sqlite")
    schema.upgrade(place.url)
    await filled(place, [session(), intent("o-1"), sent("o-1", 1), opened("o-1", 1)])
    monkeypatch.setenv("OMS_DATABASE_URL", place.url)
    assert not (await _reasons()).get("database_damaged")
    place.sql(statement)
    assert words in (await _reasons())["database_damaged"]
    assert await asyncio.to_thread(main, ["status", "--json"]) == 4
    assert words in capsys.readouterr().out


@pytest.mark.parametrize("header", ["version = 'v'", "version = x'00'", "actor = x'ff00'"])
async def test_index_is_made_of_a_log_with_a_header_of_another_type(
    header: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lists that are answered by the index ended with a traceback."""
    place = Place(f"sqlite:///{tmp_path}/log.sqlite")
    schema.upgrade(place.url)
    await filled(place, [session(), intent("o-1"), sent("o-1", 1), opened("o-1", 1)])
    monkeypatch.setenv("OMS_DATABASE_URL", place.url)
    place.remove_guards()
    place.sql(f"UPDATE events SET {header} WHERE sequence = 2")
    assert await asyncio.to_thread(main, ["orders", "--all", "--json"]) in (0, 4)
    assert await asyncio.to_thread(main, ["verify"]) == 4


async def test_order_whose_row_is_gone_is_damage_and_no_bug_of_ours(tmp_path: Path) -> None:
    """A page of nothing left its name in an index; the verb ended with a traceback."""
    url = f"sqlite:///{tmp_path}/log.sqlite"
    schema.upgrade(url)
    reader = await Reader.open(url)
    try:
        with pytest.raises(DatabaseDamaged, match="the row of the order o-1 is missing"):
            await current(reader, "o-1")
    finally:
        await reader.close()


async def _reasons() -> dict[str, str]:
    """Return what the probe says is wrong."""
    app = create_app(load(), now=lambda: datetime.now(UTC))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as web:
        answer = (await web.get("/health")).json()
    return {reason["code"]: reason["text"] for reason in answer["reasons"]}
