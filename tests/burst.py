"""A burst of orders over a line that is cut at a random byte: nothing lost, nothing double.

    python -m tests.burst --seeds 200 --orders 1000

Goal: nothing is sent that is not written, nothing twice, and nothing is made up, where that is
hardest to keep. Method: as many orders as asked for are handed over at once, with the pace off,
through a relay that dies after a number of bytes which the seed draws, in one of the two
directions; what it has taken from the client still reaches the gateway, as with a real line. The
OMS reconnects and finds out. Then every order must be at work or not sent, the simulator must have
received each at most once, exactly those that are at work, and both sides' books, the log and its
rebuild must agree.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import oms
from oms.core.fold.records import ENDED, Order, OrderState
from tests.simulator import Simulator, running_simulator
from tests.world import AAPL, LOW, World, a_world

#: About what one order and its first answers take on the wire.
BYTES_OUT = 230
BYTES_IN = 1_300
LINE_SECONDS_MAX = 60
_CHUNK = 16_384


class Relay:
    """A line between client and gateway that dies once, after a number of bytes."""

    def __init__(self, port: int, *, outgoing: bool) -> None:
        self._port = port
        self._outgoing = outgoing
        #: Bytes that may still pass; None for no end.
        self.budget: int | None = None
        self.cuts = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one connection to its end."""
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", self._port)
        up = asyncio.ensure_future(self._carry(reader, inner_writer, counted=self._outgoing))
        down = asyncio.ensure_future(self._carry(inner_reader, writer, counted=not self._outgoing))
        await asyncio.wait({up, down}, return_when=asyncio.FIRST_COMPLETED)
        # The client sees the line die; the gateway still gets what had passed, and then the end.
        writer.transport.abort()
        inner_writer.close()
        up.cancel()
        down.cancel()
        await asyncio.gather(up, down, return_exceptions=True)

    async def _carry(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, counted: bool
    ) -> None:
        while chunk := await reader.read(_CHUNK):
            if counted and self.budget is not None:
                passed, self.budget = chunk[: self.budget], max(self.budget - len(chunk), 0)
                writer.write(passed)
                await writer.drain()
                if not self.budget:
                    self.budget = None
                    self.cuts += 1
                    return
            else:
                writer.write(chunk)
                await writer.drain()


@asynccontextmanager
async def a_relay(port: int, *, outgoing: bool) -> AsyncIterator[tuple[Relay, int]]:
    """Run a relay to a port; give it and its own port."""
    relay = Relay(port, outgoing=outgoing)
    server = await asyncio.start_server(relay.serve, "127.0.0.1", 0)
    try:
        yield relay, server.sockets[0].getsockname()[1]
    finally:
        server.close()


@dataclass(frozen=True)
class Outcome:
    """What became of one burst."""

    seed: int
    direction: str
    cut_after: int
    states: Counter[str]
    seconds: float


async def burst(directory: Path, simulator: Simulator, seed: int, orders: int) -> Outcome:
    """Send the orders over the line that dies, and hold both sides to each other."""
    rng = random.Random(seed)
    outgoing = rng.random() < 0.5
    cut_after = rng.randint(1, orders * (BYTES_OUT if outgoing else BYTES_IN))
    began = time.monotonic()
    async with (
        a_relay(simulator.port, outgoing=outgoing) as (relay, port),
        a_world(directory, simulator) as world,
    ):
        manager = await world.start(
            port=port, messages_per_second_max=10_000, request_timeout_seconds=20
        )
        aapl = await manager.qualify(AAPL)
        ids = [f"s{seed}-{n}" for n in range(orders)]
        relay.budget = cut_after
        await manager.submit_many(
            [oms.NewOrder(aapl, oms.Limit("BUY", 1, LOW), order_id=i) for i in ids]
        )
        async with asyncio.timeout(LINE_SECONDS_MAX):
            await world.view.until(lambda: _is_settled(world, relay))
        states = await _hold_to(world, ids)
    direction = "to the gateway" if outgoing else "from the gateway"
    return Outcome(seed, direction, cut_after, states, time.monotonic() - began)


def _is_settled(world: World, relay: Relay) -> bool:
    """Say whether the line came back where it was cut, and every outcome is known."""
    if relay.budget is not None and relay.cuts == 0:
        return all(o.acknowledged or o.state in ENDED for o in world.view.orders.values())
    in_motion = {OrderState.INTENDED, OrderState.IN_FLIGHT, OrderState.IN_DOUBT}
    if any(o.state in in_motion for o in world.view.orders.values()):
        return False
    return world.view.system.ready


async def _hold_to(world: World, ids: Sequence[str]) -> Counter[str]:
    """Assert the promises; return how many orders are in which state."""
    placed: Counter[str] = Counter()
    for row in (await world.books())["placements"]:
        placed[row["order_ref"]] += row["received"]
    states: Counter[str] = Counter()
    for order_id in ids:
        order = await world.oms.reader.one("orders", order_id)
        assert isinstance(order, Order), f"{order_id} is lost"
        assert placed[order_id] <= 1, f"{order_id} was received {placed[order_id]} times"
        expected = OrderState.WORKING if placed[order_id] else OrderState.NOT_SENT
        assert order.state is expected, f"{order_id} is {order.state}, IB has {placed[order_id]}"
        states[order.state.value] += 1
    await world.agree()
    return states


async def run(seeds: Sequence[int], orders: int) -> None:
    """Run a burst for each seed, each with its own gateway and log; raise at the first failure."""
    for seed in seeds:
        with tempfile.TemporaryDirectory(prefix="oms-burst-") as name:
            here = Path(name) / "burst"
            here.mkdir()
            async with running_simulator("--seed", str(seed)) as simulator:
                outcome = await burst(here, simulator, seed, orders)
        told = ", ".join(f"{n} {state}" for state, n in sorted(outcome.states.items()))
        print(
            f"seed {seed}: cut after {outcome.cut_after} bytes {outcome.direction}: {told};"
            f" none lost, none double ({outcome.seconds:.1f} s)",
            flush=True,
        )


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m tests.burst", description=__doc__)
    parser.add_argument("--first", type=int, default=1, help="the first seed")
    parser.add_argument("--seeds", type=int, default=200, help="how many seeds")
    parser.add_argument("--orders", type=int, default=1_000, help="orders in a burst")
    chosen = parser.parse_args()
    oms_logs_off()
    asyncio.run(run(range(chosen.first, chosen.first + chosen.seeds), chosen.orders))
    print(f"{chosen.seeds} bursts of {chosen.orders} orders: no loss, no double")


def oms_logs_off() -> None:
    """Keep the program's own messages off the screen."""
    import logging

    from oms.telemetry import configure

    configure("CRITICAL")
    logging.disable(logging.CRITICAL)


if __name__ == "__main__":
    main()
