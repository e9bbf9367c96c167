"""The connection to the gateway, against the simulator and against servers that misbehave."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from decimal import Decimal

import pytest

from oms.broker.news import LineLost, LineRecovered, SessionDown, SessionUp
from oms.core.contracts import Stock
from oms.core.events import (
    ConnectFailed,
    ExecutionReceived,
    GapClosed,
    GapOpened,
    NextOrderIdReceived,
    NoticeReceived,
    OpenOrderReceived,
    SessionClosed,
    SessionOpened,
    Terms,
)
from oms.core.outgoing import Outgoing
from oms.errors import (
    ClientIdInUse,
    ConfigurationError,
    GatewayTooOld,
    IBConnectionError,
    LiveAccountRefused,
)
from tests.integration.conftest import Desk, MakeDesk, Simulator, StartSimulator

pytestmark = pytest.mark.slow

AAPL = Stock("AAPL")
LIMIT = Terms(side="BUY", quantity=Decimal(10), order_type="LMT", limit_price=Decimal(100))


async def test_a_session_says_with_whom_it_is_before_anything_else(
    simulator: Simulator, desk: Desk
) -> None:
    opened = await desk.journal.first(SessionOpened)
    assert opened == SessionOpened(
        host="127.0.0.1",
        port=simulator.port,
        client_id=7,
        server_version=178,
        connection_time=opened.connection_time,
        accounts=("DU1234567",),
        next_broker_order_id=1,
        gateway_zone="America/New_York",
        zone_utc_offset_minutes=opened.zone_utc_offset_minutes,
        shown_utc_offset_minutes=opened.zone_utc_offset_minutes,
    )
    assert opened.connection_time[:2] == "20"
    assert desk.news == [SessionUp(1, 178, ("DU1234567",))]
    assert {one.context.session_epoch for one in desk.journal.pendings} == {1}


async def test_a_cut_line_is_a_gap_and_the_next_session_closes_it(
    simulator: Simulator, desk: Desk
) -> None:
    await simulator.do("cut")
    closed = await desk.journal.first(GapClosed)
    opened = desk.journal.of(GapOpened)
    assert [one.cause for one in opened] == ["transport_lost"]
    assert closed == GapClosed(
        cause="transport_up",
        opened_sequence=desk.journal.sequence_of(opened[0]),
        subscriptions_lost=True,
    )
    assert [one.deliberate for one in desk.journal.of(SessionClosed)] == [False]
    await desk.hear(SessionUp, 2)
    assert [type(one) for one in desk.news] == [SessionUp, LineLost, SessionDown, SessionUp]
    assert (desk.gateway.session.current_epoch, desk.gateway.session.gap_is_open) == (2, False)


async def test_a_gap_of_an_earlier_process_is_closed_by_the_first_session(
    simulator: Simulator, make_desk: MakeDesk
) -> None:
    desk = make_desk(simulator.port, open_gap_sequence=41, first_epoch=9)
    assert desk.gateway.session.gap_is_open
    await desk.gateway.session.open(fail_fast=True)
    assert (await desk.journal.first(GapClosed)).opened_sequence == 41
    assert desk.gateway.session.current_epoch == 9


async def test_a_half_open_line_is_found_by_the_probe_within_its_deadline(
    simulator: Simulator, make_desk: MakeDesk
) -> None:
    desk = make_desk(simulator.port, probe_interval_seconds=0.1, probe_timeout_seconds=0.2)
    await desk.gateway.session.open(fail_fast=True)
    await desk.hear(SessionUp)
    await simulator.do("half_open")
    async with asyncio.timeout(0.1 + 0.2 + 0.7):
        closed = await desk.journal.first(SessionClosed)
    assert closed == SessionClosed(reason="given up: silence", deliberate=False)
    assert [one.cause for one in desk.journal.of(GapOpened)] == ["silence"]
    # The other side of a half-open line holds the client id until it notices, too.
    await simulator.do("cut")
    await desk.hear(SessionUp, 2)


async def test_a_quiet_gateway_that_answers_the_probe_keeps_its_session(
    simulator: Simulator, make_desk: MakeDesk
) -> None:
    desk = make_desk(simulator.port, probe_interval_seconds=0.02, probe_timeout_seconds=1)
    probes: list[None] = []
    enough = asyncio.Event()

    def count() -> None:
        probes.append(None)
        if len(probes) > 10:
            enough.set()

    desk.gateway.capture.sent_listeners.append(count)
    await desk.gateway.session.open(fail_fast=True)
    async with asyncio.timeout(60):
        await enough.wait()
    assert (desk.gateway.session.current_epoch, desk.journal.of(GapOpened)) == (1, [])


async def test_a_client_id_in_use_is_said_at_once_and_by_its_name(
    simulator: Simulator, desk: Desk, make_desk: MakeDesk
) -> None:
    other = make_desk(simulator.port, connect_timeout_seconds=30)
    async with asyncio.timeout(60):
        with pytest.raises(ClientIdInUse, match="client id 7 is in use"):
            await other.gateway.session.open(fail_fast=True)
    (failed,) = other.journal.of(ConnectFailed)
    assert (failed.attempt, failed.retry_after_seconds) == (1, None)
    assert [one.code for one in other.journal.of(NoticeReceived)] == [326]
    assert other.journal.of(SessionOpened) == []


async def test_a_client_id_in_use_is_tried_again_until_it_is_free(
    simulator: Simulator, desk: Desk, make_desk: MakeDesk
) -> None:
    other = make_desk(simulator.port)
    await other.gateway.session.open()
    failed = await other.journal.first(ConnectFailed, 2)
    assert failed.retry_after_seconds is not None
    await desk.gateway.close("make room")
    await other.hear(SessionUp)


async def test_nobody_listening_is_said_with_the_address(make_desk: MakeDesk) -> None:
    async with answering(lambda _: None) as port:
        pass  # the port is free again
    desk = make_desk(port)
    with pytest.raises(IBConnectionError, match=f"nothing listens at 127.0.0.1:{port}"):
        await desk.gateway.session.open(fail_fast=True)
    assert isinstance(await desk.gateway.session.ended, IBConnectionError)


async def test_refused_attempts_are_repeated_with_growing_delays_until_one_succeeds(
    simulator: Simulator, make_desk: MakeDesk
) -> None:
    await simulator.do("refuse")
    delays = (0.01, 0.02, 0.04)
    desk = make_desk(simulator.port, reconnect_delays_seconds=delays, reconnect_jitter_fraction=0.0)
    await desk.gateway.session.open()
    await desk.journal.first(ConnectFailed, 4)
    await simulator.do("accept")
    await desk.hear(SessionUp)
    failed = desk.journal.of(ConnectFailed)[:4]
    assert [(one.attempt, one.retry_after_seconds) for one in failed] == [
        (1, Decimal("0.010")),
        (2, Decimal("0.020")),
        (3, Decimal("0.040")),
        (4, Decimal("0.040")),
    ]
    assert desk.gateway.session.current_epoch == 1


async def test_a_gateway_that_says_nothing_is_given_up_after_the_deadline(
    make_desk: MakeDesk,
) -> None:
    async with answering(lambda _: None) as port:
        desk = make_desk(port, connect_timeout_seconds=0.1)
        with pytest.raises(IBConnectionError, match="did not finish the handshake"):
            await desk.gateway.session.open(fail_fast=True)


async def test_a_gateway_that_hangs_up_in_the_handshake_is_said_at_once(
    make_desk: MakeDesk,
) -> None:
    async with answering(lambda writer: writer.close()) as port:
        desk = make_desk(port, connect_timeout_seconds=30)
        async with asyncio.timeout(60):
            with pytest.raises(IBConnectionError, match="closed the connection"):
                await desk.gateway.session.open(fail_fast=True)


@pytest.mark.parametrize(
    ("version", "error", "text"),
    [(156, GatewayTooOld, "version 156"), (179, IBConnectionError, "chose version 179")],
)
async def test_a_version_that_we_would_misread_is_refused(
    version: int, error: type[Exception], text: str, make_desk: MakeDesk
) -> None:
    async with answering(lambda writer: writer.write(frame(str(version), "now"))) as port:
        desk = make_desk(port, connect_timeout_seconds=30)
        async with asyncio.timeout(60):
            with pytest.raises(error, match=text):
                await desk.gateway.session.open(fail_fast=True)
    assert desk.journal.of(SessionOpened) == []


async def test_a_live_account_under_paper_is_refused_and_stays_down(
    start_simulator: StartSimulator, make_desk: MakeDesk
) -> None:
    simulator = await start_simulator("--accounts", "DU1234567,U7654321")
    desk = make_desk(simulator.port)
    await desk.gateway.session.open()
    async with asyncio.timeout(60):
        error = await desk.gateway.session.ended
    assert isinstance(error, LiveAccountRefused)
    assert "U7654321" in error.message
    assert desk.journal.of(SessionOpened) == []
    assert [one.retry_after_seconds for one in desk.journal.of(ConnectFailed)] == [None]
    assert (await simulator.do("clients"))["clients"] == []


async def test_a_live_account_is_served_under_live(
    start_simulator: StartSimulator, make_desk: MakeDesk
) -> None:
    simulator = await start_simulator("--account", "U7654321")
    desk = make_desk(simulator.port, mode="live")
    await desk.gateway.session.open(fail_fast=True)
    assert desk.gateway.session.accounts == ("U7654321",)


async def test_an_account_that_the_gateway_does_not_manage_is_a_configuration_error(
    simulator: Simulator, make_desk: MakeDesk
) -> None:
    desk = make_desk(simulator.port, accounts=("DU9",))
    with pytest.raises(ConfigurationError, match="DU9; it manages DU1234567"):
        await desk.gateway.session.open(fail_fast=True)


async def test_a_fill_that_comes_after_1100_is_recorded(simulator: Simulator, desk: Desk) -> None:
    place(desk, "ref-1")
    await desk.journal.first(OpenOrderReceived)
    for _ in range(50):
        await simulator.do("send_notice", code=1100, text="lost")
    await simulator.do("fill", order_ref="ref-1", price="99.5")
    execution = await desk.journal.first(ExecutionReceived)
    assert (execution.order_ref, execution.price) == ("ref-1", Decimal("99.5"))
    assert desk.gateway.session.gap_is_open
    await simulator.do("send_notice", code=1102, text="restored")
    assert await desk.hear(LineRecovered) == LineRecovered(1, "1102", False)
    assert [one.cause for one in desk.journal.of(GapOpened)] == ["1100"]
    assert [one.cause for one in desk.journal.of(GapClosed)] == ["1102"]
    assert desk.gateway.session.current_epoch == 1


async def test_1102_makes_ib_async_ask_for_nothing(simulator: Simulator, desk: Desk) -> None:
    sent: list[None] = []
    desk.gateway.capture.sent_listeners.append(lambda: sent.append(None))
    await simulator.do("send_notice", code=1100, text="lost")
    await simulator.do("send_notice", code=1102, text="restored")
    await desk.hear(LineRecovered)
    assert sent == []


async def test_1101_says_that_subscriptions_are_gone(simulator: Simulator, desk: Desk) -> None:
    await simulator.do("send_notice", code=2110, text="lost")
    await simulator.do("send_notice", code=1101, text="restored")
    assert await desk.hear(LineRecovered) == LineRecovered(1, "1101", True)


async def test_an_outage_behind_the_gateway_that_lasts_gets_a_new_connection(
    simulator: Simulator, make_desk: MakeDesk
) -> None:
    desk = make_desk(simulator.port, gap_patience_seconds=0.1, probe_interval_seconds=0.05)
    await desk.gateway.session.open(fail_fast=True)
    await desk.hear(SessionUp)
    await simulator.do("send_notice", code=1100, text="lost")
    closed = await desk.journal.first(SessionClosed)
    assert closed.reason == "given up: overdue"
    await desk.hear(SessionUp, 2)
    assert len(desk.journal.of(GapOpened)) == len(desk.journal.of(GapClosed)) == 1


async def test_1300_ends_the_session(simulator: Simulator, desk: Desk) -> None:
    await simulator.do("send_notice", code=1300, text="port has changed to 4003")
    assert (await desk.journal.first(SessionClosed)).reason == "given up: 1300"
    await desk.hear(SessionUp, 2)


async def test_a_session_that_was_closed_on_purpose_stays_down(
    simulator: Simulator, desk: Desk
) -> None:
    await desk.gateway.close("enough")
    assert desk.journal.of(SessionClosed) == [SessionClosed(reason="enough", deliberate=True)]
    assert desk.journal.of(GapOpened) == []
    assert await desk.gateway.session.ended is None
    assert (await simulator.do("clients"))["clients"] == []
    assert desk.gateway.session.current_epoch == 0


async def test_closing_while_trying_to_connect_ends_the_trying(make_desk: MakeDesk) -> None:
    async with answering(lambda _: None) as port:
        desk = make_desk(port)
        await desk.gateway.session.open()
        await desk.gateway.close("enough")
        assert await desk.gateway.session.ended is None


async def test_order_ids_are_above_everything_that_anybody_has_shown(
    simulator: Simulator, make_desk: MakeDesk
) -> None:
    desk = make_desk(simulator.port, highest_broker_order_id=500)
    await desk.gateway.session.open(fail_fast=True)
    first = place(desk, "ref-1")
    assert first == 501
    await simulator.do("restart", roll_back=400)
    await desk.hear(SessionUp, 2)
    assert place(desk, "ref-2") == 502
    other = make_desk(simulator.port, client_id=8, highest_broker_order_id=9000)
    await other.gateway.session.open(fail_fast=True)
    place(other, "ref-3")
    await other.journal.first(OpenOrderReceived)
    await desk.gateway.queries.ask("open_orders", "run")
    assert desk.gateway.session.next_broker_order_id() > 9000


async def test_after_a_duplicate_id_the_gateway_says_how_high_its_own_are(
    simulator: Simulator, desk: Desk
) -> None:
    for message in ("openOrder", "orderStatus"):
        await simulator.do("fault", direction="out", message=message, action="drop")
    unseen = {"side": "BUY", "quantity": 1, "order_type": "LMT", "limit_price": 10}
    await simulator.do("manual_order", client_id=7, order_id=400, symbol="MSFT", **unseen)
    await simulator.do("clear")
    offered = len(desk.journal.of(NextOrderIdReceived))
    assert place(desk, "ref-1") < 400
    await desk.journal.until(lambda: len(desk.journal.of(NextOrderIdReceived)) > offered)
    assert [n.code for n in desk.journal.of(NoticeReceived)][-1] == 103
    assert place(desk, "ref-2") > 400
    assert (await desk.journal.first(OpenOrderReceived)).order_ref == "ref-2"


async def test_order_ids_and_request_ids_are_never_the_same(desk: Desk) -> None:
    before = desk.gateway.session.next_broker_order_id()
    answer = await desk.gateway.queries.ask("executions", "run")
    after = desk.gateway.session.next_broker_order_id()
    assert answer.question.outcome == "complete"
    assert after == before + 2


async def test_without_a_session_there_is_no_order_id(make_desk: MakeDesk) -> None:
    desk = make_desk(1)
    with pytest.raises(IBConnectionError):
        desk.gateway.session.next_broker_order_id()


def place(desk: Desk, order_id: str) -> int:
    number = desk.gateway.session.next_broker_order_id()
    handed = desk.gateway.outbox.send(
        Outgoing(
            kind="place",
            order_id=order_id,
            order_ref=order_id,
            account="DU1234567",
            contract=AAPL,
            terms=LIMIT,
            broker_order_id=number,
        )
    )
    assert handed == "sent"
    return number


def frame(*fields: str) -> bytes:
    payload = "".join(field + "\0" for field in fields).encode()
    return struct.pack(">I", len(payload)) + payload


@asynccontextmanager
async def answering(answer: Callable[[asyncio.StreamWriter], None]) -> AsyncIterator[int]:
    """A server that answers the client's first bytes in its own way."""
    writers: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        await reader.readexactly(4)
        answer(writer)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        for writer in writers:
            writer.close()
        server.close()
        await server.wait_closed()
