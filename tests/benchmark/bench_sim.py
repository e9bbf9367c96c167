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
from oms.sim.protocol.requests import PLACE_ORDER
from oms.sim.settings import Settings
from tests.benchmark.measure import Result
from tests.integration.sim_world import STOCK

pytestmark = pytest.mark.benchmark

ORDERS = 4_000
MESSAGES_PER_ORDER = 6
TARGET_MESSAGES_PER_SECOND = 5_000
DAY_ORDERS = 100_000
DAY_GROWTH_MAX_BYTES = 64 * 1024 * 1024
SECONDS_MAX = 600


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


def order_frame(number: int) -> bytes:
    order = {**STOCK, "id": "3", "orderId": str(number), "action": "BUY", "totalQuantity": "1"}
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
