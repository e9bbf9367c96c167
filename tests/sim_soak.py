"""Simulated trading with faults: no exception, no leak, and books that add up.

    python -m tests.sim_soak --seconds 3600 --seed 7

Three clients place, change and cancel at random on a moving market, lose their connections and come
back, while every kind of fault hits one message in a hundred. The clock is stepped, so that an hour
takes minutes. It prints its verdict; exit status 0 when it is good.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import random
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

from oms.sim.clock import SteppedClock
from oms.sim.gateway.faults import Ratio, random_faults
from tests.integration.sim_world import WireClient, World, world

SEED = 20260105
SYMBOLS = ("AAPL", "MSFT", "SPY", "IBM")
ACT_EVERY_SECONDS = 5
OBJECTS_GROWTH_MAX = 0.10
OUTAGE_EVERY_SECONDS = 900


class Errors(logging.Handler):
    """Keeps what the simulator logs as an error."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())


@dataclass
class Verdict:
    """What a run has shown."""

    seconds: int
    executions: int
    connects: int
    objects_early: int
    objects_late: int
    errors: list[str]

    @property
    def failures(self) -> list[str]:
        """What is wrong, in words."""
        found = [f"logged: {text}" for text in self.errors]
        if self.objects_late > self.objects_early * (1 + OBJECTS_GROWTH_MAX):
            found.append(f"objects grew from {self.objects_early:,} to {self.objects_late:,}")
        if self.executions <= self.seconds / 10:
            found.append(f"only {self.executions} executions")
        if self.connects <= 3:
            found.append("no connection was ever lost")
        return found


async def soak(seconds: int, seed: int = SEED, say: Callable[[str], None] | None = None) -> Verdict:
    """Trade for so many simulated seconds; raises AssertionError when the books do not add up."""
    errors = Errors()
    logging.getLogger("oms.sim").addHandler(errors)
    clock = SteppedClock(datetime(2026, 1, 5, 15, 0, tzinfo=UTC))
    settings = {"market": "moving", "seed": seed, "liquidity": "touch", "parts": 2}
    try:
        async with world(clock=clock, **settings) as sim:
            for fault in random_faults(Ratio(0.01)):
                sim.gateway.faults.add(fault)
            traders = [Trader(sim, number, seed) for number in (1, 2, 3)]
            # Measured late enough for caches to be full, and then once more at the end.
            await run(sim, traders, seconds // 2, say)
            early = objects()
            await run(sim, traders, seconds - seconds // 2, say)
            late = objects()
            for trader in traders:
                await trader.lose()
            check_books(sim)
            executions = len(sim.books()["executions"])
    finally:
        logging.getLogger("oms.sim").removeHandler(errors)
    connects = sum(trader.connects for trader in traders)
    return Verdict(seconds, executions, connects, early, late, errors.texts)


async def run(
    sim: World, traders: list[Trader], seconds: int, say: Callable[[str], None] | None
) -> None:
    for second in range(seconds):
        if second % OUTAGE_EVERY_SECONDS == OUTAGE_EVERY_SECONDS // 2:
            sim.do("nightly_reset", seconds="30")
        if say is not None and second % 300 == 0:
            say(f"{sim.do('time')['time']} {len(sim.gateway.books.live)} live orders")
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

    def __init__(self, sim: World, client_id: int, seed: int) -> None:
        self.sim = sim
        self.client_id = client_id
        self.connects = 0
        self.rng = random.Random(f"{seed}:{client_id}")
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


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.sim_soak")
    parser.add_argument("--seconds", type=int, default=3600, help="simulated (default: an hour)")
    parser.add_argument("--seed", type=int, default=SEED)
    options = parser.parse_args()
    logging.getLogger("oms.sim").setLevel(logging.ERROR)
    begun = time.monotonic()

    def say(line: str) -> None:
        sys.stderr.write(line + "\n")

    verdict = asyncio.run(soak(options.seconds, options.seed, say))
    took = time.monotonic() - begun
    print(f"simulated       {verdict.seconds} s in {took:.0f} s, seed {options.seed}")
    print(f"executions      {verdict.executions}")
    print(f"connections     {verdict.connects}")
    print(
        f"objects         {verdict.objects_early:,} half-way, {verdict.objects_late:,} at the end"
    )
    print("books           orders, executions and positions add up")
    for failure in verdict.failures:
        print(f"FAILED          {failure}")
    print(f"verdict         {'failed' if verdict.failures else 'good: no exception, no leak'}")
    return 1 if verdict.failures else 0


if __name__ == "__main__":
    sys.exit(main())
