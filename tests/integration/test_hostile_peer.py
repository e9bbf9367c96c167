"""A peer that speaks the protocol wrongly, in part, slowly or without an end.

What holds for all of them: no session before the whole handshake, each new attempt waits longer,
and a session in which the probe is not answered by its own answer ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from decimal import Decimal

import pytest

from oms.core.events import (
    ConnectFailed,
    Event,
    GapOpened,
    NextOrderIdReceived,
    NoticeReceived,
    OrderMessageSent,
    SessionClosed,
    SessionOpened,
)
from oms.errors import IBConnectionError, OmsError
from tests.integration.conftest import MakeDesk

pytestmark = pytest.mark.slow


def frame(*fields: str) -> bytes:
    payload = "".join(field + "\0" for field in fields).encode()
    return struct.pack(">I", len(payload)) + payload


GREETING = frame("178", "20261129 10:00:00 EST")
ACCOUNTS = frame("15", "1", "DU1234567")
FIRST_ID = frame("9", "1", "1")
FARM = frame("4", "2", "-1", "2104", "Market data farm connection is OK:usfarm", "")
TIME_NOW = frame("49", "1", "1795969200")
PROBE = {"probe_interval_seconds": 0.05, "probe_timeout_seconds": 0.2}

Answers = Callable[[asyncio.StreamWriter, str], Awaitable[None]]
Greets = Callable[[asyncio.StreamWriter], Awaitable[None]]


async def greets_well(writer: asyncio.StreamWriter) -> None:
    writer.write(GREETING + ACCOUNTS + FIRST_ID + FARM)


async def tells_the_time(writer: asyncio.StreamWriter, request: str) -> None:
    if request == "49":
        writer.write(TIME_NOW)


@asynccontextmanager
async def peer(
    greets: Greets = greets_well, answers: Answers = tells_the_time
) -> AsyncIterator[int]:
    """Serve a gateway that greets and answers each request in its own way; give its port."""
    writers: list[asyncio.StreamWriter] = []
    serving: list[asyncio.Task[None]] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await reader.readexactly(4)
            await _frame_of(reader)
            await greets(writer)
            while not writer.is_closing():
                await answers(writer, (await _frame_of(reader)).split("\0")[0])
        writer.close()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        serving.append(asyncio.create_task(serve(reader, writer)))

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for writer in writers:
            writer.transport.abort()
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)
        await asyncio.sleep(0)


async def _frame_of(reader: asyncio.StreamReader) -> str:
    length = struct.unpack(">I", await reader.readexactly(4))[0]
    return (await reader.readexactly(length)).decode()


# ── the handshake ────────────────────────────────────────────────────────────────────────────────

STEPS = {
    "nothing": b"",
    "half the greeting": GREETING[:9],
    "the greeting": GREETING,
    "the accounts": GREETING + ACCOUNTS,
    "half the first id": GREETING + ACCOUNTS + FIRST_ID[:-2],
    "the id without accounts": GREETING + FIRST_ID,
}


@pytest.mark.parametrize("closes", [True, False], ids=["closes", "stays silent"])
@pytest.mark.parametrize("step", STEPS)
async def test_no_session_opens_on_a_part_of_the_handshake(
    step: str, closes: bool, make_desk: MakeDesk
) -> None:
    """Whatever is left out, the attempt ends with its reason, and the next ones wait longer."""

    async def greets(writer: asyncio.StreamWriter) -> None:
        writer.write(STEPS[step])
        if closes:
            writer.close()

    async with peer(greets) as port:
        desk = make_desk(port, connect_timeout_seconds=0.1, reconnect_jitter_fraction=0.0)
        await desk.gateway.session.open()
        await desk.journal.first(ConnectFailed, 3)
    failed = desk.journal.of(ConnectFailed)[:3]
    said = "closed the connection" if closes else "did not finish the handshake"
    assert [said in one.reason for one in failed] == [True] * 3
    assert [one.retry_after_seconds for one in failed] == [
        Decimal("0.020"),
        Decimal("0.050"),
        Decimal("0.050"),
    ]
    assert desk.journal.of(SessionOpened) == []
    with pytest.raises(IBConnectionError):
        desk.gateway.session.next_broker_order_id()


GREETINGS = {
    "a version of forty digits": frame("9" * 40, "20261129 10:00:00 EST"),
    "a negative version": frame("-178", "20261129 10:00:00 EST"),
    "a version that is none": frame("one", "two"),
    "a version in other digits": frame("\u0661\u0667\u0668", "20261129 10:00:00 EST"),
    "one field": frame("178"),
    "bytes of no alphabet": struct.pack(">I", 6) + b"\xff\xfe\xfd\xfc\0\0",
    "a page of the web": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "a frame of zero bytes": b"\0\0\0\0",
    "a frame of two gigabytes": b"\x7f\xff\xff\xff178",
    "a connection time of a page": frame("178", "z" * 5_000) + ACCOUNTS + FIRST_ID,
    "an account of a page": GREETING + frame("15", "1", "D" * 5_000) + FIRST_ID,
    "accounts of nobody": GREETING + frame("15", "1", "") + FIRST_ID,
    "a first id that is none": GREETING + ACCOUNTS + frame("9", "1", "first"),
    "an id of too few fields": GREETING + ACCOUNTS + frame("9"),
}


@pytest.mark.parametrize("name", GREETINGS)
async def test_a_greeting_that_cannot_be_is_refused_with_its_reason(
    name: str, make_desk: MakeDesk
) -> None:
    async def greets(writer: asyncio.StreamWriter) -> None:
        writer.write(GREETINGS[name])

    async with peer(greets) as port:
        desk = make_desk(port, connect_timeout_seconds=0.3)
        with pytest.raises(OmsError):
            await desk.gateway.session.open(fail_fast=True)
    assert desk.journal.of(SessionOpened) == []
    assert desk.journal.of(ConnectFailed)[0].reason


@pytest.mark.parametrize("told", ["", "\x1b[2J\u202e", "99999999 99:99:99 ZZZ"])
async def test_a_connection_time_that_is_none_is_kept_and_used_for_nothing(
    told: str, make_desk: MakeDesk
) -> None:
    async def greets(writer: asyncio.StreamWriter) -> None:
        writer.write(frame("178", told) + ACCOUNTS + FIRST_ID + FARM)

    async with peer(greets) as port:
        desk = make_desk(port)
        await desk.gateway.session.open(fail_fast=True)
        (opened,) = desk.journal.of(SessionOpened)
        assert (opened.connection_time, opened.shown_utc_offset_minutes) == (told, None)


# ── how the bytes come ───────────────────────────────────────────────────────────────────────────


async def test_a_gateway_may_send_byte_by_byte(make_desk: MakeDesk) -> None:
    """Whole messages count, however they come: the session opens and its probes are answered."""

    async def slowly(writer: asyncio.StreamWriter, sent: bytes) -> None:
        for byte in sent:
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0)

    answered: list[str] = []

    async def answers(writer: asyncio.StreamWriter, request: str) -> None:
        if request == "49":
            await slowly(writer, TIME_NOW)
            answered.append(request)

    async with peer(
        lambda writer: slowly(writer, GREETING + ACCOUNTS + FIRST_ID + FARM), answers
    ) as port:
        desk = make_desk(port, probe_interval_seconds=0.05, probe_timeout_seconds=5)
        await desk.gateway.session.open(fail_fast=True)
        async with asyncio.timeout(60):
            while len(answered) < 5:  # noqa: ASYNC110 - counts in the server
                await asyncio.sleep(0.01)
        assert (desk.gateway.session.current_epoch, desk.journal.of(GapOpened)) == (1, [])


async def _until_closed(desk_of: MakeDesk, port: int) -> str:
    desk = desk_of(port, **PROBE)
    await desk.gateway.session.open(fail_fast=True)
    closed = await desk.journal.first(SessionClosed)
    assert [one.cause for one in desk.journal.of(GapOpened)][:1] == ["silence"]
    assert desk.journal.of(OrderMessageSent) == []
    return closed.reason


async def test_a_trickle_that_never_makes_a_message_is_silence(make_desk: MakeDesk) -> None:
    """Bytes come all the time, and no message is ever whole."""

    async def answers(writer: asyncio.StreamWriter, request: str) -> None:
        writer.write(struct.pack(">I", 100_000))
        while not writer.is_closing():
            writer.write(b"1")
            await writer.drain()
            await asyncio.sleep(0.01)

    async with peer(answers=answers) as port:
        assert await _until_closed(make_desk, port) == "given up: silence"


OTHER_ANSWERS = {
    "the end of a question": frame("52", "1", "1"),
    "an error with the id of no question": frame("4", "2", "-1", "321", "no", ""),
    "an error with an id": frame("4", "2", "1", "200", "no", ""),
    "the accounts": ACCOUNTS,
    "a next order id": FIRST_ID,
    "a time that is none": frame("49", "1", "now"),
    "a time without a field": frame("49"),
    "a time beyond the years": frame("49", "1", "9" * 30),
}


@pytest.mark.parametrize("name", OTHER_ANSWERS)
async def test_only_its_own_answer_ends_the_probe(name: str, make_desk: MakeDesk) -> None:
    async def answers(writer: asyncio.StreamWriter, request: str) -> None:
        if request == "49":
            writer.write(OTHER_ANSWERS[name])

    async with peer(answers=answers) as port:
        assert await _until_closed(make_desk, port) == "given up: silence"


# ── repeated without an end ──────────────────────────────────────────────────────────────────────

COUNT = 10_000
STORMS: dict[str, tuple[bytes, type[Event]]] = {
    "errors without an id": (frame("4", "2", "-1", "321", "Error validating", ""), NoticeReceived),
    "next order ids": (frame("9", "1", "5"), NextOrderIdReceived),
    "order ids at the limit": (frame("9", "1", "2147483647"), NextOrderIdReceived),
}


@pytest.mark.parametrize("name", STORMS)
async def test_a_storm_is_recorded_whole_and_the_session_lives(
    name: str, make_desk: MakeDesk
) -> None:
    """Every message is a fact, the probe is answered behind them, and no order id goes back."""
    sent, kind = STORMS[name]
    storms = itertools.count()

    async def answers(writer: asyncio.StreamWriter, request: str) -> None:
        if request == "49" and not next(storms):
            writer.write(sent * COUNT)
        await tells_the_time(writer, request)

    async with peer(answers=answers) as port:
        desk = make_desk(port, probe_interval_seconds=0.05, probe_timeout_seconds=5)
        await desk.gateway.session.open(fail_fast=True)
        drawn = desk.gateway.session.next_broker_order_id()
        await desk.journal.until(lambda: len(desk.journal.of(kind)) >= COUNT)
        assert desk.journal.of(SessionClosed) == []
        assert drawn < desk.gateway.session.next_broker_order_id() < 100


async def test_a_clock_that_goes_back_is_an_answer(make_desk: MakeDesk) -> None:
    """How far it is off is the watchman's business; the line is whole."""
    hours = itertools.count()

    async def answers(writer: asyncio.StreamWriter, request: str) -> None:
        if request == "49":
            writer.write(frame("49", "1", str(1_795_969_200 - 3_600 * next(hours))))

    async with peer(answers=answers) as port:
        desk = make_desk(port, **PROBE)
        await desk.gateway.session.open(fail_fast=True)
        read = [await desk.gateway.session.read_clock() for _ in range(5)]
        assert [one is not None for one in read] == [True] * 5
        assert desk.journal.of(SessionClosed) == []


async def test_garbage_at_each_connect_is_tried_with_growing_delays(make_desk: MakeDesk) -> None:
    """A session that opens and breaks at once is no success: the waits grow all the same."""
    opened: list[float] = []

    async def greets(writer: asyncio.StreamWriter) -> None:
        opened.append(asyncio.get_running_loop().time())
        await greets_well(writer)
        writer.write(b"\x7f\xff\xff\xff garbage")

    delays = (0.05, 0.4, 0.4)
    async with peer(greets) as port:
        desk = make_desk(port, reconnect_delays_seconds=delays, reconnect_jitter_fraction=0.0)
        await desk.gateway.session.open()
        await desk.journal.first(SessionClosed, 3)
    closed = desk.journal.of(SessionClosed)
    assert ["2,147,483,647 bytes" in one.reason for one in closed] == [True] * len(closed)
    assert opened[2] - opened[1] >= delays[1]
