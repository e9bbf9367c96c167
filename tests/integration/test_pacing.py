"""All that leaves, against a gateway that counts: one pace, and what a refusal makes of it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

import oms
from oms.core.events import NoticeReceived, SessionOpened
from tests.integration.conftest import StartSimulator
from tests.world import AAPL, LOW, MSFT, World, a_world

pytestmark = pytest.mark.slow

ORDER = oms.Limit("BUY", 1, LOW)


async def refused(world: World) -> list[NoticeReceived]:
    return [notice for notice in await world.log(NoticeReceived) if notice.code == 100]


async def test_orders_and_questions_together_stay_below_what_ib_allows(
    tmp_path: Path, start_simulator: StartSimulator
) -> None:
    """The simulator counts every message of any sliding second, handshake and questions too."""
    simulator = await start_simulator("--messages-per-second", "50")
    async with a_world(tmp_path, simulator) as world:
        manager = await world.start()
        # Each look-up, question and preview is a message of its own beside the orders.
        async with asyncio.TaskGroup() as everything:
            orders = everything.create_task(manager.submit_many([(AAPL, ORDER)] * 150))
            everything.create_task(world.reconcile())
            everything.create_task(manager.qualify(MSFT))
            everything.create_task(manager.what_if(AAPL, ORDER))
        await world.until(lambda: all(ticket.order.acknowledged for ticket in orders.result()))
        assert await refused(world) == []
        assert len(await world.log(SessionOpened)) == 1
        await world.agree()


async def test_a_refusal_slows_down_what_leaves_before_ib_ends_the_session(
    tmp_path: Path, start_simulator: StartSimulator
) -> None:
    simulator = await start_simulator("--messages-per-second", "20")
    async with a_world(tmp_path, simulator) as world:
        manager = await world.start(watch_interval_seconds=0.1)
        tickets = await manager.submit_many([(AAPL, ORDER)] * 60)
        await world.until(lambda: sum(t.order.acknowledged for t in tickets) >= 58)
        assert len(await refused(world)) <= 2  # the third would end the session
        await world.until(lambda: "too_fast:pace" in world.view.alarms)
        assert len(await world.log(SessionOpened)) == 1
