"""Simulated trading with faults: no exception, no leak, and books that add up.

Ten minutes of it by default, an hour with `--benchmark`.
"""

from __future__ import annotations

import gc
import logging
import random
from collections import defaultdict
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from oms.sim.clock import SteppedClock
from oms.sim.faults import weather
from tests.integration.sim_world import WireClient, World, world

SEED = 20260105
SYMBOLS = ("AAPL", "MSFT", "SPY", "IBM")
ACT_EVERY_SECONDS = 5
OBJECTS_GROWTH_MAX = 0.10


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [600, pytest.param(3600, marks=pytest.mark.benchmark)])
async def test_trading_with_faults_leaves_no_error_no_leak_and_books_that_add_up(
    caplog: pytest.LogCaptureFixture, seconds: int
) -> None:
    caplog.set_level(logging.WARNING)
    clock = SteppedClock(datetime(2026, 1, 5, 15, 0, tzinfo=UTC))
    settings = {"market": "moving", "seed": SEED, "liquidity": "touch", "parts": 2}
    async with world(clock=clock, **settings) as sim:
        for fault in weather(0.01):
            sim.gateway.faults.add(fault)
        traders = [Trader(sim, number) for number in (1, 2, 3)]
        await run(sim, traders, seconds // 2)
        early = objects()
        await run(sim, traders, seconds // 2)
        late = objects()
        for trader in traders:
            await trader.lose()
        check_books(sim)
        executions = len(sim.books()["executions"])
    assert executions > seconds / 10
    assert sum(trader.connects for trader in traders) > 3, "no connection was ever lost"
    assert late <= early * (1 + OBJECTS_GROWTH_MAX)
    assert [one.message for one in caplog.records if one.levelno >= logging.ERROR] == []


async def run(sim: World, traders: list[Trader], seconds: int) -> None:
    for second in range(seconds):
        sim.do("advance", seconds="1")
        if second % ACT_EVERY_SECONDS == 0:
            for trader in traders:
                await trader.act()


def objects() -> int:
    gc.collect()
    return len(gc.get_objects())


def check_books(sim: World) -> None:
    """Executions are the truth: orders and positions must be what they add up to."""
    books = sim.books()
    held: dict[tuple[str, int], Decimal] = defaultdict(Decimal)
    filled: dict[int, Decimal] = defaultdict(Decimal)
    for row in books["executions"]:
        sign = 1 if row["side"] == "BOT" else -1
        held[row["account"], row["con_id"]] += sign * Decimal(row["quantity"])
        filled[row["perm_id"]] += Decimal(row["quantity"])
    positions = {
        (row["account"], row["con_id"]): Decimal(row["quantity"]) for row in books["positions"]
    }
    assert positions == dict(held)
    for row in books["orders"]:
        assert Decimal(row["filled"]) == filled[row["perm_id"]], row
        assert Decimal(row["remaining"]) >= 0, row
        assert (row["status"] == "Filled") == (Decimal(row["remaining"]) == 0), row
    assert len({row["exec_id"] for row in books["executions"]}) == len(books["executions"])


class Trader:
    """A client that places, changes and cancels at random, and comes back when it is lost."""

    def __init__(self, sim: World, client_id: int) -> None:
        self.sim = sim
        self.client_id = client_id
        self.connects = 0
        self.rng = random.Random(f"{SEED}:{client_id}")
        self.client: WireClient | None = None
        self.orders: list[tuple[int, dict[str, str]]] = []

    async def act(self) -> None:
        try:
            await self._act()
        except ConnectionError:
            await self.lose()

    async def lose(self) -> None:
        if self.client is not None:
            await self.client.stop()
            self.client = None

    async def _act(self) -> None:
        client = self.client
        if client is None or client.ended:
            await self.lose()
            client = self.client = await WireClient.start(self.sim.port, self.client_id)
            self.connects += 1
        if self.orders and self.rng.random() < 0.2:
            order_id, _ = self.orders.pop(self.rng.randrange(len(self.orders)))
            client.cancel(order_id)
        elif self.orders and self.rng.random() < 0.2:
            order_id, terms = self.orders[-1]
            client.place(**terms, orderId=str(order_id))
        else:
            terms = self._terms()
            self.orders.append((client.place(**terms), terms))
            if len(self.orders) > 10:
                client.cancel(self.orders.pop(0)[0])
        if self.rng.random() < 0.1:
            client.ask("reqExecutions", reqId="7")
            client.ask("reqOpenOrders")
        await client.settle()
        client.forget()

    def _terms(self) -> dict[str, str]:
        symbol = self.rng.choice(SYMBOLS)
        quote = self.sim.do("quote", symbol=symbol)
        side = self.rng.choice(("BUY", "SELL"))
        kind = self.rng.choice(("MKT", "LMT", "STP", "TRAIL"))
        near = Decimal(quote["last"]) + self.rng.randint(-10, 10) * Decimal("0.01")
        return {
            "symbol": symbol,
            "action": side,
            "orderType": kind,
            "totalQuantity": str(self.rng.randint(1, 9) * 10),
            "lmtPrice": str(near),
            "auxPrice": "0.05" if kind == "TRAIL" else str(near),
            "tif": self.rng.choice(("DAY", "IOC", "GTC")),
        }
