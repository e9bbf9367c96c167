"""Our adapter keeps the contract of the interface, against the simulator over TCP."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

import oms
from oms.core.adapter import BrokerAdapter
from oms.service.adapter import IBBrokerAdapter
from tests.conformance.broker_adapter import BrokerAdapterContract, Stage
from tests.simulator import Simulator, running_simulator
from tests.world import new_database, settings_for

pytestmark = pytest.mark.slow


class SimulatorStage(Stage):
    def __init__(self, simulator: Simulator, database: Path) -> None:
        self.simulator = simulator
        self.database = database
        self.contract = oms.Stock("AAPL")
        self.adapters: list[BrokerAdapter] = []

    def adapter(self, **options: Any) -> BrokerAdapter:
        settings = settings_for(self.simulator.port, self.database)
        self.adapters.append(IBBrokerAdapter(settings, ready_seconds=10, **options))
        return self.adapters[-1]

    async def quote(self, bid: str, ask: str) -> None:
        await self.simulator.do("quote", symbol="AAPL", bid=bid, ask=ask)

    async def fill(self, order_id: str, quantity: int, price: str) -> None:
        await self.simulator.do("fill", order_ref=order_id, quantity=quantity, price=price)

    async def correct(self, order_id: str, price: str) -> None:
        await self.simulator.do("correct", order_ref=order_id, price=price)

    async def hold_commissions(self) -> Callable[[], Any]:
        await self.simulator.do("fault", direction="out", message="commissionReport", action="hold")
        return lambda: self.simulator.do("release")

    async def silence_orders(self) -> None:
        await self.simulator.do("silence", request="placeOrder", mode="answer")

    async def lose_line(self) -> None:
        await self.simulator.do("cut")


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[SimulatorStage]:
    async with running_simulator() as simulator:
        database = tmp_path / "oms.sqlite"
        new_database(database)
        made = SimulatorStage(simulator, database)
        await made.quote("299.50", "300.50")
        yield made
        for adapter in made.adapters:
            await adapter.disconnect()


class TestIBBrokerAdapter(BrokerAdapterContract):
    """The tests are the contract's."""
