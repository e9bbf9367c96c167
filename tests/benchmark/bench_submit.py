"""P14: from the call to the socket, intent durable first, beside the same order by bare ib_async.

The whole OMS (log, projections, checks, session) and a bare ib_async client are connected to one
simulator in a process of its own. Each order waits for the answer to the one before, so that every
figure is of an idle program. The limit is what cannot be saved: one awaited append of the same
intent (P3) and ib_async's own placeOrder. Then orders a second with the pace off, from the call
until the last bytes are handed over: in one bulk, and as orders of their own at the same time.

Before that, how long each takes to connect: ours until the session is written down, and until every
question of the first comparison is answered and compared; theirs until ib_async has synchronised.

    python -m tests.benchmark submit
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import ib_async

import oms
from oms.clock import SystemClock
from oms.core.events import Context, OrderIntended, Pending
from oms.service.daemon import open_oms
from oms.service.subsystem import Oms
from oms.store import schema
from oms.store.lease import LeaseRequest
from oms.store.log import EventLog
from tests.benchmark.measure import (
    Figures,
    Result,
    Row,
    folder,
    measure,
    percentile,
    print_table,
    quiet_collector,
    remove,
)
from tests.simulator import running_simulator
from tests.world import AAPL, LOW, settings_for

SINGLES = 150
BURST = 1_000
BARE_CLIENT_ID = 99
LIMIT = oms.Limit("BUY", 1, LOW)

ROWS = (
    Row(
        "P14", "call to socket, p50", "submit p50", "limit p50", "append + bare", "ms", at_most=1.3
    ),
    Row("P14", "call to socket, p50", "submit p50", "bare p50", "bare ib_async", "ms"),
    Row("", "call to socket, p99", "submit p99", "limit p99", "append + bare", "ms"),
    Row("", "orders a second, one bulk", "bulk", "bare burst", "bare ib_async", "/s"),
    Row("", "orders a second, one by one", "each", "bare burst", "bare ib_async", "/s"),
    Row("", "connected", "connected", "bare connected", "bare ib_async, synchronised", "ms"),
    Row("", "ready, all compared", "ready", "bare connected", "bare ib_async, synchronised", "ms"),
)


@contextlib.contextmanager
def watched(connection: Any) -> Iterator[list[float]]:
    """Note when each message of a connection has been handed to the socket."""
    moments: list[float] = []
    write: Callable[[bytes], None] = connection.sendMsg

    def send(message: bytes) -> None:
        write(message)
        moments.append(time.perf_counter())

    connection.sendMsg = send
    try:
        yield moments
    finally:
        connection.sendMsg = write


async def ours(path: Path, port: int) -> Figures:
    """Return the seconds from call to socket, and the orders a second with the pace off."""
    schema.upgrade(f"sqlite:///{path}")
    settings = settings_for(port, path, messages_per_second_max=10_000, request_timeout_seconds=30)
    began = datetime.now(UTC)
    async with open_oms(settings) as running:
        await running.ready(30)
        ready = datetime.now(UTC) - began
        (session,) = await running.reader.events(type="SessionOpened")
        aapl = await running.manager.qualify(AAPL)
        connection: Any = running.gateway._ib.client.conn
        with watched(connection) as moments, quiet_collector():
            seconds = [await _one(running, aapl, moments) for _ in range(SINGLES)][1:]
            del moments[:]
            bulk = await _burst(
                lambda: running.manager.submit_many([(aapl, LIMIT)] * BURST), moments
            )
            await _rest(running)
            del moments[:]
            each = await _burst(
                lambda: asyncio.gather(
                    *(running.manager.submit(aapl, LIMIT) for _ in range(BURST))
                ),
                moments,
            )
            await _rest(running)
    return {
        "connected": (session.recorded_at - began) / timedelta(milliseconds=1),
        "ready": ready / timedelta(milliseconds=1),
        "submit p50": percentile(seconds, 50) * 1e3,
        "submit p99": percentile(seconds, 99) * 1e3,
        "bulk": bulk,
        "each": each,
    }


async def _one(running: Oms, contract: oms.Contract, moments: list[float]) -> float:
    began = time.perf_counter()
    ticket = await running.manager.submit(contract, LIMIT)
    sent = moments[-1]
    await ticket.acknowledged(30)
    return sent - began


async def _burst(send: Callable[[], Any], moments: list[float]) -> float:
    began = time.perf_counter()
    await send()
    assert len(moments) >= BURST
    return BURST / (moments[BURST - 1] - began)


async def _rest(running: Oms) -> None:
    """Wait until every order was answered."""
    async with asyncio.timeout(60):
        await running.view.until(lambda: all(o.acknowledged for o in running.view.orders.values()))


async def bare(port: int) -> Figures:
    """Return the same of ib_async alone, which writes nothing down."""
    ib = ib_async.IB()
    ib.client.MaxRequests = 0
    began = time.perf_counter()
    await ib.connectAsync("127.0.0.1", port, clientId=BARE_CLIENT_ID, timeout=10)
    connected = time.perf_counter() - began
    connection: Any = ib.client.conn
    contract = ib_async.Stock("AAPL", "SMART", "USD", conId=265598)
    try:
        with watched(connection) as moments, quiet_collector():
            seconds = [await _one_bare(ib, contract, moments) for _ in range(SINGLES)][1:]
            del moments[:]
            began = time.perf_counter()
            for _ in range(BURST):
                ib.placeOrder(contract, _bare_order())
            burst = BURST / (moments[BURST - 1] - began)
    finally:
        ib.disconnect()
    return {
        "bare connected": connected * 1e3,
        "bare p50": percentile(seconds, 50) * 1e3,
        "bare p99": percentile(seconds, 99) * 1e3,
        "bare burst": burst,
    }


async def _one_bare(ib: ib_async.IB, contract: Any, moments: list[float]) -> float:
    began = time.perf_counter()
    trade = ib.placeOrder(contract, _bare_order())
    sent = moments[-1]
    async with asyncio.timeout(30):
        await trade.statusEvent
    return sent - began


def _bare_order() -> ib_async.Order:
    return ib_async.LimitOrder("BUY", 1, float(LOW), tif="DAY", account="DU1234567")


async def append(path: Path) -> list[float]:
    """Return the seconds of one awaited append of such an intent, projected."""
    remove(path)
    schema.upgrade(str(path))
    lease = LeaseRequest("bench", "bench", "bench", 1)
    log = await EventLog.open(str(path), clock=SystemClock(), lease=lease)
    seconds = []
    contract = AAPL.evolve(con_id=265598)
    with quiet_collector():
        for number in range(SINGLES):
            intent = OrderIntended(
                order_id=f"a-{number}", account="DU1234567", contract=contract, terms=LIMIT
            )
            context = Context(actor="bench", session_epoch=1, correlation_id=intent.order_id)
            began = time.perf_counter()
            await log.append(Pending(intent, context))
            seconds.append(time.perf_counter() - began)
    await log.close()
    return seconds[1:]


async def _round(where: Path) -> Figures:
    async with running_simulator() as simulator:
        figures = await bare(simulator.port)
    async with running_simulator() as simulator:
        remove(where / "oms.sqlite")
        figures |= await ours(where / "oms.sqlite", simulator.port)
    alone = await append(where / "log.sqlite")
    for share in (50, 99):
        figures[f"limit p{share}"] = percentile(alone, share) * 1e3 + figures[f"bare p{share}"]
    return figures


def main() -> list[Result]:
    with folder() as where:
        return print_table(ROWS, measure(lambda: asyncio.run(_round(where))))


if __name__ == "__main__":
    main()
