"""Floods of the gateway: an order of ours passes, nothing is lost, and the memory goes back.

`pytest -s tests/integration/test_floods.py -m "long or not long"` plays the long ones as well, and
OMS_TEST_FLOOD_THOUSANDS=200 makes those that long.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

import oms
from oms.core.events import (
    AccountValueReceived,
    CommissionReceived,
    CompletedOrderReceived,
    Envelope,
    Event,
    ExecutionReceived,
    NoticeReceived,
    OpenOrderReceived,
    OrderStatusReceived,
    PortfolioReceived,
    PositionReceived,
    SessionClosed,
)
from tests.world import AAPL, LOW, World

pytestmark = pytest.mark.slow

#: Messages of one call of the simulator, the most that it takes.
COPIES = 10_000
#: What a flood and the comparison after it may take, and what may be left of it.
PEAK_MEGABYTES_MAX = 400
AFTER_MEGABYTES_MAX = 250
#: Of a long flood.
THOUSANDS = int(os.environ.get("OMS_TEST_FLOOD_THOUSANDS", "30"))


@dataclass(frozen=True)
class Flood:
    """A message of the gateway that comes without an end."""

    kind: type[Event]
    #: What of a true message of this kind is another's: a field's place on the wire, or what it
    #: says as a field of the event; `@` is the number of the copy.
    fields: dict[int | str, str]


FLOODS = {
    "openOrder of one order": Flood(OpenOrderReceived, {1: "9", 24: "9", 25: "70", 23: "strat"}),
    "openOrder of as many orders": Flood(
        OpenOrderReceived, {1: "@", 24: "9", 25: "7@", 23: "strat-@"}
    ),
    "orderStatus of as many orders": Flood(OrderStatusReceived, {1: "@", 6: "7@", 9: "9"}),
    "executions of as many orders": Flood(
        ExecutionReceived, {2: "@", 14: "0000aaaa.@.01.01", 21: "7@", 22: "9", 26: "strat-@"}
    ),
    "executions of one order": Flood(
        ExecutionReceived, {2: "9", 14: "0000bbbb.@.01.01", 21: "70", 22: "9", 26: "strat"}
    ),
    "errors": Flood(NoticeReceived, {2: "-1", 3: "321"}),
    "commissions of no execution": Flood(CommissionReceived, {"exec_id": "0000cccc.@.01.01"}),
    "completed orders": Flood(CompletedOrderReceived, {"perm_id": "8@", "order_ref": "done-@"}),
    "positions of as many contracts": Flood(PositionReceived, {3: "5@"}),
    "portfolio rows of as many contracts": Flood(PortfolioReceived, {2: "6@"}),
    "values of an account": Flood(AccountValueReceived, {"key": "Key@"}),
}


@pytest.mark.sample(6)
@pytest.mark.parametrize("thousands", [10, pytest.param(THOUSANDS, marks=pytest.mark.long)])
@pytest.mark.parametrize("name", FLOODS)
async def test_an_order_of_ours_passes_before_a_flood_and_memory_goes_back(
    world: World, name: str, thousands: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """A buy leaves before most of the foreign messages are read; none of them is lost, what waits
    for the disk is bounded, and afterwards the books hold what they held.
    """
    flood = FLOODS[name]
    await world.start(account_refresh_seconds=60)
    # What AAPL is has to be known: an answer of IB comes behind the flood.
    await world.resting()
    await world.bought(1)
    await world.notice(399)
    await world.reconcile()
    await world.until_logged(flood.kind)
    (model, *_) = await world.oms.reader.events(type=flood.kind.__name__, limit=1)
    before, memory = world.oms.log.head.sequence, resident_megabytes()
    async with watched_memory() as peak:
        for chunk in range(10, 10 + thousands * 1000 // COPIES):
            await world.simulator.do("raw", fields=a_copy(model, flood, chunk), times=COPIES)
        count, read = 1_000 * thousands, world.oms.log.head.sequence - before
        began = time.perf_counter()
        await world.oms.manager.submit(AAPL, oms.Limit("BUY", 1, LOW))
        seconds, passed = time.perf_counter() - began, world.oms.log.head.sequence - before
        async with asyncio.timeout(600):
            await world.view.until(lambda: world.oms.log.head.sequence >= before + count)
            took = time.perf_counter() - began
            # A long one leaves questions of ours unanswered behind it, and a comparison begins.
            report = await world.reconcile()
    compared, after = time.perf_counter() - began - took, resident_megabytes()
    with capsys.disabled():
        print(
            f"\n{count:,} x {name}: a buy was durable after {seconds:.2f} s, {count - read:,} still"
            f" to be read; all were after {took:.1f} s, and compared after {compared:.1f} s more,"
            f" {len(report.findings):,} findings; memory {memory:.0f} MB before, at most"
            f" {max(peak):.0f}, {after:.0f} after"
        )
    assert passed < count
    assert max(peak) - memory < PEAK_MEGABYTES_MAX
    assert after - memory < AFTER_MEGABYTES_MAX
    assert await world.log(SessionClosed) == []


def a_copy(model: Envelope, flood: Flood, chunk: int) -> list[str]:
    """Return the fields of a true message, changed as the flood has them."""
    wire = list(model.wire or ())
    for place, text in flood.fields.items():
        at = wire.index(str(getattr(model.event, place))) if isinstance(place, str) else place
        wire[at] = text.replace("@", f"{chunk}{{n}}")
    return wire


async def test_a_question_whose_answer_stands_behind_a_flood_is_answered(world: World) -> None:
    """That it comes late is no silence: nothing is unknown, and the connection stays."""
    await world.start(request_timeout_seconds=1)
    await world.resting()
    await world.until_logged(OpenOrderReceived)
    (model, *_) = await world.oms.reader.events(type="OpenOrderReceived", limit=1)
    flood = FLOODS["openOrder of one order"]
    for chunk in range(3):
        await world.simulator.do("raw", fields=a_copy(model, flood, chunk), times=COPIES)
    report = await world.reconcile()
    assert {question.outcome for question in report.questions} == {"complete"}
    assert await world.log(SessionClosed) == []


@asynccontextmanager
async def watched_memory() -> AsyncIterator[list[float]]:
    """Look at the memory of this process for as long as the block lasts."""
    seen: list[float] = [_resident()]

    async def look() -> None:
        while True:
            seen.append(_resident())
            await asyncio.sleep(0.2)

    looking = asyncio.create_task(look())
    try:
        yield seen
    finally:
        looking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await looking


def resident_megabytes() -> float:
    """Return how much memory this process holds now, after a collection."""
    gc.collect()
    return _resident()


def _resident() -> float:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024
