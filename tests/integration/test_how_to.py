"""The programs in docs/how-to are run as they are printed."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import oms
from oms.core.fold.records import OrderState
from oms.service.adapter import IBBrokerAdapter
from tests.conftest import ROOT
from tests.integration.conftest import Simulator
from tests.world import World, look_again, new_database, settings_for

pytestmark = pytest.mark.slow

D = Decimal


def programs(page: str) -> dict[str, Any]:
    """Return what the Python on a page defines."""
    text = (ROOT / "docs" / "how-to" / page).read_text(encoding="utf-8")
    names: dict[str, Any] = {}
    for block in re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
        exec(compile(block, page, "exec"), names)
    return names


@pytest.fixture
async def om(world: World) -> AsyncIterator[oms.OrderManager]:
    await world.simulator.do("quote", symbol="AAPL", bid="299.5", ask="300.5", last="300")
    yield await world.start()
    await world.agree()


async def test_a_bracket_follows_its_signal_and_only_once(
    world: World, om: oms.OrderManager
) -> None:
    buy_the_breakout = programs("write-a-strategy.md")["buy_the_breakout"]
    waiting = asyncio.ensure_future(buy_the_breakout(om, "AAPL", "310"))
    async with asyncio.timeout(60):
        while not (await world.simulator.do("clients"))["subscriptions"]["7"]:
            await look_again()
    assert not waiting.done()
    await world.simulator.do("quote", symbol="AAPL", bid="311", ask="312", last="311.5")
    entry, profit, loss = await asyncio.wait_for(waiting, 60)
    await world.rest(entry, OrderState.FILLED)
    await world.rest(profit)
    await world.rest(loss)
    assert (profit.order.terms.limit_price, loss.order.terms.stop_price) == (D(322), D(307))
    again = await buy_the_breakout(om, "AAPL", "310")
    assert [one.order_id for one in again] == [entry.order_id, profit.order_id, loss.order_id]
    assert await world.received(entry.order_id) == 1


async def test_one_of_two_ends_the_other(world: World, om: oms.OrderManager) -> None:
    leave_either_way = programs("write-a-strategy.md")["leave_either_way"]
    await world.bought(10)
    contract = await om.qualify(oms.Stock("AAPL"))
    take, stop = await leave_either_way(om, contract, 10, "320", "280")
    await world.simulator.do("quote", symbol="AAPL", bid="321", ask="322")
    assert (await take.done(5)).state is OrderState.FILLED
    assert (await stop.done(5)).state is OrderState.CANCELLED


async def test_a_rebalance_reaches_its_target_and_then_rests(
    world: World, om: oms.OrderManager
) -> None:
    rebalance = programs("write-a-strategy.md")["rebalance"]
    await world.simulator.do("quote", symbol="MSFT", bid="399.5", ask="400.5", last="400")
    targets = {"AAPL": "0.3", "MSFT": "0.1"}
    orders = await rebalance(om, targets, "2026-03-02")
    assert [order.state for order in orders] == [OrderState.FILLED] * 2
    assert (world.position("AAPL"), world.position("MSFT")) == (D(1000), D(250))
    # The same day again sends nothing again; nothing is missing on the next.
    await rebalance(om, targets, "2026-03-02")
    assert (world.position("AAPL"), world.position("MSFT")) == (D(1000), D(250))


async def test_an_engine_that_knows_only_the_interface_keeps_its_own_book(
    simulator: Simulator, tmp_path: Path
) -> None:
    database = tmp_path / "oms.sqlite"
    new_database(database)
    await simulator.do("quote", symbol="AAPL", bid="299.5", ask="300.5", last="300")
    broker = IBBrokerAdapter(settings_for(simulator.port, database), engine="test")
    engine = programs("write-an-engine.md")["Engine"](broker, oms.Stock("AAPL"), 290, 10)
    running = asyncio.ensure_future(engine.run())
    async with asyncio.timeout(60):
        while "7" not in (told := (await simulator.do("clients"))["subscriptions"]) or not any(
            name.startswith("MktData") for name in told["7"]
        ):
            assert not running.done(), running.exception()
    await simulator.do("quote", symbol="AAPL", bid="284", ask="285", last="285")
    await asyncio.wait_for(running, 60)
    assert engine.ready
    assert (engine.held, [price for _, price in engine.fills.values()]) == (10, [D(285)])
