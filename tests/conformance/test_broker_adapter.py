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
from tests.integration.sim_world import World, world
from tests.world import new_database, settings_for

pytestmark = pytest.mark.slow


class SimulatorStage(Stage):
    def __init__(self, sim: World, database: Path) -> None:
        self.sim = sim
        self.database = database
        self.contract = oms.Stock("AAPL")
        self.adapters: list[BrokerAdapter] = []

    def adapter(self, **options: Any) -> BrokerAdapter:
        settings = settings_for(self.sim.port, self.database)
        self.adapters.append(IBBrokerAdapter(settings, ready_seconds=10, **options))
        return self.adapters[-1]

    async def quote(self, bid: str, ask: str) -> None:
        self.sim.do("quote", symbol="AAPL", bid=bid, ask=ask)

    async def fill(self, order_id: str, quantity: int, price: str) -> None:
        self.sim.do("fill", order_ref=order_id, quantity=quantity, price=price)

    async def correct(self, order_id: str, price: str) -> None:
        self.sim.do("correct", order_ref=order_id, price=price)

    async def hold_commissions(self) -> Callable[[], Any]:
        self.sim.do("fault", direction="out", message="commissionReport", action="hold")
        return self._release

    async def _release(self) -> None:
        self.sim.do("release")

    async def silence_orders(self) -> None:
        self.sim.do("silence", request="placeOrder", mode="answer")

    async def lose_line(self) -> None:
        self.sim.do("cut")


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[SimulatorStage]:
    # In this process, because it is there at once; the wire between the two is the same.
    async with world() as sim:
        database = tmp_path / "oms.sqlite"
        new_database(database)
        made = SimulatorStage(sim, database)
        await made.quote("299.50", "300.50")
        yield made
        for adapter in made.adapters:
            await adapter.disconnect()


class TestIBBrokerAdapter(BrokerAdapterContract):
    """The tests are the contract's."""
