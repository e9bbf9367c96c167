"""How fast the simulator is, beside the client library that reads it.

    pytest tests/benchmark/bench_sim.py -s --benchmark

Four figures: order messages a second to one client over a socket, the same with 32 clients
connected, ib_async's decoding rate for the same bytes, and the memory of a day of orders.
"""

from __future__ import annotations

import asyncio
import resource
import time
from datetime import UTC
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ib_async.decoder import Decoder

from oms.sim.gateway.gateway import Gateway
from oms.sim.protocol import frames, messages
from oms.sim.protocol.requests import LAYOUT_OF, PLACE_ORDER
from oms.sim.settings import Settings
from tests.benchmark.measure import Result
from tests.integration.sim_world import STOCK

pytestmark = pytest.mark.benchmark

ORDERS = 4_000
MESSAGES_PER_ORDER = 8
MESSAGES_PER_PART = 4
TARGET_MESSAGES_PER_SECOND = 5_000
DAY_ORDERS = 100_000
DAY_GROWTH_MAX_BYTES = 64 * 1024 * 1024
SECONDS_MAX = 600
PART_ORDERS = 2_000
#: Some turns of 5 ms.
LATENCY_P99_MAX_SECONDS = 0.15
WATCHED = ("AAPL", "MSFT", "SPY", "QQQ", "NVDA", "AMZN", "TSLA", "KO", "PEP", "IBM", "GOOG", "META")


@pytest.mark.parametrize("clients", [1, 32])
async def test_order_messages_to_one_client(clients: int, tmp_path: Path) -> None:
    gateway = Gateway(Settings(port=0, books=tmp_path / "gateway.db", cash=10**12))
    port = await gateway.start()
    idle = [await Reader.start(port, number) for number in range(2, clients + 1)]
    reader = await Reader.start(port, 1)
    burst = b"".join(order_frame(number) for number in range(1, ORDERS + 1))
    # Time of one core, gateway and reading client together: the machine may be busy otherwise.
    begun = time.process_time()
    reader.writer.write(burst)
    await reader.read_until(ORDERS * MESSAGES_PER_ORDER)
    seconds = time.process_time() - begun
    rate = ORDERS * MESSAGES_PER_ORDER / seconds
    decoded = decode_rate(reader.payloads)
    print(
        f"\n{clients} clients: {rate:,.0f} order messages a second of one core to one of them"
        f" ({ORDERS / seconds:,.0f} orders); ib_async decodes the same bytes at {decoded:,.0f}"
    )
    for one in [reader, *idle]:
        one.writer.close()
    await gateway.stop()
    assert rate >= TARGET_MESSAGES_PER_SECOND


async def test_latency_with_parts_and_a_moving_market() -> None:
    """How long a client waits for the time of day while orders fill in parts and prices move."""
    moving = {"market": "moving", "step_seconds": 0.2, "parts": 5, "part_seconds": 1}
    gateway = Gateway(Settings(port=0, cash=10**12, **moving))
    port = await gateway.start()
    reader, asker = await Reader.start(port, 1), await Reader.start(port, 2)
    reader.keep = False
    for number, symbol in enumerate(WATCHED, start=1):
        asked = {**STOCK, "id": "1", "version": "11", "reqId": str(number), "symbol": symbol}
        fields = LAYOUT_OF["reqMktData"].encode(178, asked)
        reader.writer.write(frames.frame(frames.join(fields)))
    orders = (order_frame(number, quantity=5) for number in range(1, PART_ORDERS + 1))
    reader.writer.write(b"".join(orders))
    reading = asyncio.create_task(reader.read_until(PART_ORDERS * (5 * MESSAGES_PER_PART + 4)))
    waits = []
    while not reading.done():
        # Time of one core, gateway and clients together: the machine may be busy otherwise.
        sent = time.process_time()
        asker.writer.write(frames.frame(frames.join(["49", "1"])))
        await asker.read_one("currentTime")
        waits.append(time.process_time() - sent)
        await asyncio.sleep(0.01)
    waits.sort()
    p99 = waits[len(waits) * 99 // 100]
    print(
        f"\n{PART_ORDERS:,} orders in 5 parts and {len(WATCHED)} moving quotes: an answer takes"
        f" {waits[len(waits) // 2] * 1000:.1f} ms at the median, {p99 * 1000:.0f} ms at p99,"
        f" {waits[-1] * 1000:.0f} ms at most"
    )
    for one in (reader, asker):
        one.writer.close()
    await gateway.stop()
    assert p99 <= LATENCY_P99_MAX_SECONDS


async def test_a_day_of_orders_in_bounded_memory(tmp_path: Path) -> None:
    file = tmp_path / "gateway.db"
    gateway = Gateway(Settings(port=0, books=file, cash=10**12))
    port = await gateway.start()
    reader = await Reader.start(port, 1)
    reader.keep = False
    await trade(reader, 1, 5_000)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    begun = time.perf_counter()
    await trade(reader, 5_001, DAY_ORDERS)
    seconds = time.perf_counter() - begun
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before
    print(
        f"\n{DAY_ORDERS:,} orders in {seconds:.0f} s: memory grew by {grown / 2**20:.0f} MiB,"
        f" books {file.stat().st_size / 2**20:.0f} MiB"
    )
    reader.writer.close()
    await gateway.stop()
    assert grown <= DAY_GROWTH_MAX_BYTES


async def trade(reader: Reader, first: int, last: int) -> None:
    for start in range(first, last + 1, 500):
        stop = min(start + 500, last + 1)
        reader.writer.write(b"".join(order_frame(number) for number in range(start, stop)))
        await reader.read_until(reader.count + (stop - start) * MESSAGES_PER_ORDER)


def order_frame(number: int, quantity: int = 1) -> bytes:
    order = {**STOCK, "id": "3", "orderId": str(number), "action": "BUY"}
    order |= {"totalQuantity": str(quantity)}
    order |= {"orderType": "MKT", "tif": "DAY", "transmit": "1", "orderRef": f"order-{number}"}
    return frames.frame(frames.join(PLACE_ORDER.encode(178, order)))


def decode_rate(payloads: list[bytes]) -> float:
    """Messages a second that ib_async's decoder reads, handlers left out."""
    recorder: Any = SimpleNamespace(ib=SimpleNamespace(TimezoneTWS=""), defaultTimezone=UTC)
    for name in ("openOrder", "orderStatus", "execDetails", "commissionReport"):
        setattr(recorder, name, lambda *_: None)
    decoder = Decoder(recorder, 178)
    begun = time.process_time()
    for payload in payloads:
        decoder.interpret(frames.split(payload))
    return len(payloads) / (time.process_time() - begun)


class Reader:
    """A client that counts order messages and does nothing else with them."""

    NAMES = frozenset(("openOrder", "orderStatus", "execDetails", "commissionReport"))

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.frames = frames.FrameReader()
        self.payloads: list[bytes] = []
        self.count = 0
        self.keep = True
        ids = {name: key for key, name in messages.NAMES.items()}
        self._wanted = {ids[name].encode() for name in self.NAMES}

    @classmethod
    async def start(cls, port: int, client_id: int) -> Reader:
        made = cls(*await asyncio.open_connection("127.0.0.1", port))
        made.writer.write(b"API\0" + frames.frame(b"v157..178"))
        made.frames.feed(await made.reader.read(65536))
        made.writer.write(frames.frame(frames.join(["71", "2", str(client_id), ""])))
        return made

    async def read_one(self, name: str) -> None:
        """Read up to the next message of a name."""
        wanted = next(key for key, known in messages.NAMES.items() if known == name).encode()
        while True:
            payloads = self.frames.feed(await self.reader.read(1 << 20))
            if any(one.partition(b"\0")[0] == wanted for one in payloads):
                return

    async def read_until(self, count: int) -> None:
        async with asyncio.timeout(SECONDS_MAX):
            while self.count < count:
                for payload in self.frames.feed(await self.reader.read(1 << 20)):
                    if payload.partition(b"\0")[0] in self._wanted:
                        self.count += 1
                        if self.keep:
                            self.payloads.append(payload)


def main() -> list[Result]:
    """Run this file by pytest, for which its figures are written; no goal is about them."""
    pytest.main(["-q", "-s", "--benchmark", __file__])
    return []
