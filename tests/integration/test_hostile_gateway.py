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
    AnswerEndReceived,
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


ABOUT_HOLDINGS = {
    "reqCompletedOrders": "completed_orders",
    "reqPositions": "positions",
    "reqAccountSummary": "account_summary",
}


@pytest.mark.sample(3)
@pytest.mark.parametrize("request_name", ABOUT_HOLDINGS)
async def test_silence_of_one_question_is_told_and_the_others_count(
    world: World, request_name: str
) -> None:
    """What is heard goes on, however often that one is silent; a new session is not ready then."""
    await world.start(request_timeout_seconds=1)
    resting = await world.resting()
    await world.simulator.do("silence", request=request_name, mode="answer")
    for _ in range(4):
        report = await world.reconcile()
        outcomes = {question.kind: question.outcome for question in report.questions}
        silent = ABOUT_HOLDINGS[request_name]
        assert {kind for kind, outcome in outcomes.items() if outcome != "complete"} == {silent}
    assert world.view.system.ready
    assert (await world.bought(1)).order.filled == 1
    await world.simulator.do("cut")
    await world.until_logged(SessionClosed)
    await world.until(lambda: world.view.system.connected)
    await world.reconcile()
    assert not world.view.system.ready
    await world.simulator.do("unsilence")
    await world.oms.ready(30)
    assert resting.state is OrderState.WORKING
    await world.agree()


#: Messages that answers consist of.
ANSWERS = {"3", "5", "11", "53", "55", "59", "61", "62", "63", "64", "101", "102"}
#: The end of every answer, as nobody has asked for it.
ENDS = [
    ["53", "1"],
    ["55", "1", "99"],
    ["55", "1", "-1"],
    ["102"],
    ["62", "1"],
    ["64", "1", "99"],
    ["54", "1", "DU1234567"],
    ["54", "1", "DU0000000"],
    ["52", "1", "99"],
]


async def test_an_answer_that_nobody_asked_for_and_one_twice_change_nothing(world: World) -> None:
    """Rows count for what they say, ends for nothing, and the next comparison is right."""
    await world.start()
    resting = await world.resting()
    await world.bought(3)
    await world.reconcile()
    heard = await world.oms.reader.events(limit=1_000)
    rows = [list(one.wire or ()) for one in heard if one.context.actor == "broker" and one.wire]
    rows = [row for row in rows if row[0] in ANSWERS]
    assert {row[0] for row in rows} == ANSWERS
    for _ in range(2):
        for row in [*rows, *ENDS]:
            await world.simulator.do("raw", fields=row)
    await world.until_logged(AnswerEndReceived, 2 * len(ENDS))
    for _ in range(3):
        report = await world.reconcile()
        assert {q.outcome for q in report.questions} == {"complete"}
        assert report.verdict == "clean"
    assert (resting.state, await world.log(SessionClosed)) == (OrderState.WORKING, [])
    await world.agree()


async def test_ends_that_come_before_their_rows_open_no_case(world: World) -> None:
    """Each question looks answered with nothing: what is missing then is asked for again."""
    await world.start()
    await world.resting()
    await world.bought(3)

    async def ends() -> None:
        while True:
            for row in ENDS:
                await world.simulator.do("raw", fields=row)
            await asyncio.sleep(0.05)

    ending = asyncio.create_task(ends())
    try:
        for _ in range(5):
            await world.reconcile()
    finally:
        ending.cancel()
    await world.reconcile()
    await world.agree()
    assert world.view.open_breaks() == ()
