"""A gateway that talks and does not tell: ready means heard, and what was missed is found after.

`pytest tests/integration/test_hostile_gateway.py -m "long or not long"` plays all of it.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import oms
from oms.broker import server_clock
from oms.core.events import (
    BrokerMessageUnreadable,
    GapOpened,
    OrderMessageSent,
    SessionClosed,
)
from oms.core.fold.records import OrderState
from oms.store.situation import read_situation
from tests.world import AAPL, LOW, World

pytestmark = pytest.mark.slow

PROBE: dict[str, Any] = {"probe_interval_seconds": 1, "probe_timeout_seconds": 1}
#: What breaks the stream, and what the log says then.
BROKEN_STREAMS = {
    "a length of 2^31-1": ("7fffffff", "announced a message of 2,147,483,647 bytes"),
    "a length of 2^32-1": ("ffffffff 3900", "announced a message of 4,294,967,295 bytes"),
    "a length above 16 MB": ("01000000 3900", "announced a message of 16,777,216 bytes"),
    "a length of zero": ("00000000", "announced a message of 0 bytes"),
    "a page of the web": (b"HTTP/1.1 200 OK".hex(), "announced a message of 1,213,486,160 bytes"),
    "half a frame": ("00000040 3900", ""),
    "a frame of 16 MB that never ends": ("00ffffff 3900", "silence"),
}


@pytest.mark.parametrize("name", BROKEN_STREAMS)
async def test_a_stream_that_cannot_be_read_is_given_up_and_the_fill_is_found(
    world: World, name: str
) -> None:
    """Deaf it may not stay: nothing leaves, the reason is in the log, and the books are right."""
    sent, reason = BROKEN_STREAMS[name]
    await world.start(**PROBE)
    resting = await world.resting()
    await world.simulator.do("raw_bytes", hex=sent)
    await world.simulator.do("fill", order_ref=resting.order_id, price=LOW)
    await world.until_logged(SessionClosed)
    (closed,) = await world.log(SessionClosed)
    assert reason in closed.reason
    assert not closed.deliberate
    await world.until(lambda: resting.state is OrderState.FILLED)
    await world.oms.ready(10)
    await world.agree()


async def test_a_gateway_that_only_talks_does_not_listen(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Messages that come by themselves are no answer: the probe has an end."""
    monkeypatch.setattr(server_clock, "_DEADLINES_MAX", 2)
    await world.start(**PROBE)
    await world.simulator.do("silence", request="reqCurrentTime", mode="answer")

    async def talk() -> None:
        while True:
            await world.notice(2104, "Market data farm connection is OK:usfarm")
            await asyncio.sleep(0.01)

    talking = asyncio.create_task(talk())
    try:
        await world.until_logged(SessionClosed)
    finally:
        talking.cancel()
    assert [gap.cause for gap in await world.log(GapOpened)][-1] == "silence"


@pytest.mark.parametrize(
    "request_name", [pytest.param("reqAllOpenOrders", marks=pytest.mark.long), "reqExecutions"]
)
async def test_silence_about_orders_alone_shuts_the_gate(world: World, request_name: str) -> None:
    """The probe is answered all the time; a session that is deaf about orders is not ready."""
    manager = await world.start(
        request_timeout_seconds=1, alarm_recovery_seconds=0.5, watch_interval_seconds=0.05
    )
    await world.simulator.do("silence", request=request_name, mode="answer")
    for _ in range(3):
        assert world.view.system.ready
        await world.reconcile()
    await world.until_logged(SessionClosed)
    assert [gap.cause for gap in await world.log(GapOpened)] == ["unanswered"]
    await world.until(lambda: world.view.system.connected)
    refused = await manager.submit(AAPL, oms.Limit("BUY", 1, LOW))
    assert refused.state is OrderState.DENIED
    # It does not leave again: that would only hide how long no comparison was whole.
    for _ in range(3):
        await world.reconcile()
    assert len(await world.log(SessionClosed)) == 1
    await world.until(lambda: standing(world) == {"gap_unrecovered"})
    await world.simulator.do("unsilence")
    await world.reconcile()
    await world.oms.ready(30)
    await world.until(lambda: not standing(world))
    await world.agree()


def standing(world: World) -> set[str]:
    return {alarm.kind for alarm in world.view.alarms.values()}


async def test_silence_about_positions_alone_stays_ready_and_is_told(world: World) -> None:
    """Orders are heard; what is held is unknown, which the report says."""
    await world.start(request_timeout_seconds=1)
    await world.simulator.do("silence", request="reqPositions", mode="answer")
    for _ in range(4):
        report = await world.reconcile()
    outcomes = {question.kind: question.outcome for question in report.questions}
    assert (outcomes["positions"], outcomes["open_orders"]) == ("timed_out", "complete")
    assert {f.subject for f in report.findings if f.result == "unknown"} == {"question"}
    assert world.view.system.ready
    assert (await world.bought(1)).order.filled == 1
    report = await world.reconcile()
    unknown = {f.subject for f in report.findings if f.result == "unknown"}
    assert unknown == {"question", "position"}
    assert await world.log(SessionClosed) == []


async def test_silence_about_orders_is_expected_while_ib_is_out_of_reach(world: World) -> None:
    await world.start(request_timeout_seconds=1)
    await world.notice(1100)
    await world.until(lambda: world.view.system.gap_sequence)
    await world.simulator.do("silence", request="reqAllOpenOrders", mode="answer")
    for _ in range(4):
        await world.reconcile()
    assert await world.log(SessionClosed) == []


async def test_what_we_sent_is_no_message_of_the_broker(world: World) -> None:
    """The last one that was heard came from the gateway."""
    await world.start()
    resting = await world.resting()
    await world.simulator.do("drop_next", message="cancelOrder", direction="in")
    await world.oms.manager.cancel(resting.order_id)
    heard = (
        await read_situation(
            world.oms.reader,
            world.oms.clock.now(),
            host="here",
            resets=(),
            reconcile_interval_seconds=0,
        )
    ).heard
    assert heard is not None
    assert not isinstance(heard.event, OrderMessageSent)


MESSAGES = {
    "no fields": [""],
    "an id that is none": ["x", "y"],
    "an unknown id": ["999", "1"],
    "too few fields": ["5", "1"],
    "too many fields": ["3", *("1" for _ in range(300))],
    "numbers that are none": ["3", "7", "Filled", "much", "little"],
    "a huge permanent number": [
        "3",
        "1",
        "Filled",
        "1",
        "0",
        "1",
        "9" * 30,
        "0",
        "1",
        "1",
        "",
        "0",
    ],
    "escapes": ["4", "2", "-1", "399", "\x1b[2J\u202e", ""],
}


async def test_messages_that_make_no_sense_are_kept_and_break_nothing(world: World) -> None:
    """The stream is whole, so the session stays; what cannot be read is in the log."""
    await world.start(**PROBE)
    for fields in MESSAGES.values():
        await world.simulator.do("raw", fields=fields)
    for _ in range(50):
        await world.simulator.do("raw", fields=["9", "1", "1"])
        await world.notice(2104)
    await world.until_logged(BrokerMessageUnreadable, 3)
    ticket = await world.bought(1)
    assert ticket.order.filled == 1
    assert await world.log(SessionClosed) == []
