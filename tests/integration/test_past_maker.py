"""A daemon makes snapshots of its log as it grows."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path

import pytest

from oms.clock import SystemClock
from oms.history import making
from oms.history.making import standing
from oms.history.side import Unusable
from oms.service import past
from oms.service.past import PastMaker
from oms.store import schema
from oms.store.log import EventLog
from tests.benchmark.flow import pendings
from tests.pasts import beside

#: Instead of 5,000, so that a short log has some.
CHUNK = 50


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(past, "CHUNK_EVENTS", CHUNK)
    monkeypatch.setattr(past, "_LOOK_SECONDS", 0.01)
    monkeypatch.setattr(past, "_AGAIN_SECONDS", 0.01)
    monkeypatch.setattr(past, "_SHARE", 1.0)
    monkeypatch.setattr(making.Maker.__init__, "__kwdefaults__", {"chunk_events": CHUNK})


async def until(url: str, sequence: int) -> None:
    """Return when both lines have reached an event."""
    async with asyncio.timeout(60):
        while True:
            with suppress(Unusable):
                if await asyncio.to_thread(standing, url) == (sequence, sequence):
                    return
            await asyncio.sleep(0.01)


async def test_snapshots_follow_the_log_and_are_made_again_where_they_are_lost(
    tmp_path: Path,
) -> None:
    url = str(tmp_path / "oms.sqlite")
    schema.upgrade(url)
    facts = pendings(230, open_orders=20)
    log = await EventLog.open(url, clock=SystemClock(), lease=None)
    serving = asyncio.create_task(PastMaker(log=log, url=url, clock=SystemClock()).serve())
    try:
        for fact in facts[:120]:
            log.append(fact)
        await log.flush()
        await until(url, 100)
        with beside(url) as (_, side):
            side.execute("UPDATE {}marks SET digest = hash WHERE name = 'snapshots'")
        for fact in facts[120:]:
            log.append(fact)
        await log.flush()
        await until(url, 200)
    finally:
        serving.cancel()
        with suppress(asyncio.CancelledError):
            await serving
        await log.close()
