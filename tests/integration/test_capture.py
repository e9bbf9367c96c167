"""The tap: one fact per message, whatever the network and the log do."""

from __future__ import annotations

import asyncio
import itertools
import struct
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import ib_async
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from oms.broker.capture import Capture
from oms.broker.translate import DECODER
from oms.clock import ManualClock
from oms.core.contracts import Stock
from oms.core.events import (
    BrokerMessageUnreadable,
    CommissionReceived,
    ExecutionReceived,
    NoticeReceived,
    OpenOrderReceived,
    OrderMessageSent,
    OrderStatusReceived,
    SessionOpened,
    Terms,
)
from oms.core.outgoing import Outgoing
from oms.errors import StoreUnavailable
from tests.integration.conftest import Desk, Journal, MakeDesk, Simulator

pytestmark = pytest.mark.slow

NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)
AAPL = Stock("AAPL")
MARKET = Terms(side="BUY", quantity=Decimal(10), order_type="MKT")
LIMIT = Terms(side="BUY", quantity=Decimal(10), order_type="LMT", limit_price=Decimal(100))
#: Every message that the log keeps, by its id on the wire.
KEPT = {str(n) for n in (3, 4, 5, 6, 7, 9, 11, 15, 53, 54, 55, 59, 61, 62, 63, 64)}
KEPT |= {str(n) for n in (71, 72, 73, 74, 100, 101, 102)}


def place(desk: Desk, order_id: str, terms: Terms = MARKET) -> int:
    number = desk.gateway.session.next_broker_order_id()
    desk.gateway.outbox.send(
        Outgoing(
            kind="place",
            order_id=order_id,
            order_ref=order_id,
            account="DU1234567",
            contract=AAPL,
            terms=terms,
            broker_order_id=number,
        )
    )
    return number


def frames(stream: bytes) -> Iterator[tuple[str, ...]]:
    """Cut a byte stream into field lists, without ib_async's help."""
    while len(stream) >= 4:
        (length,) = struct.unpack(">I", stream[:4])
        yield tuple(stream[4 : 4 + length].decode().split("\0")[:-1])
        stream = stream[4 + length :]


async def test_every_message_of_a_session_is_kept_once_in_order_with_its_wire_fields(
    simulator: Simulator, make_desk: MakeDesk
) -> None:
    desk = make_desk(simulator.port)
    heard = bytearray()
    desk.gateway._ib.client.conn.hasData.connect(heard.extend)
    await desk.gateway.session.open(fail_fast=True)
    for number in range(3):
        place(desk, f"ref-{number}")
    await desk.journal.first(CommissionReceived, 3)
    for kind in ("executions", "open_orders", "completed_orders", "positions", "account_summary"):
        await desk.gateway.queries.ask(kind, "run")  # type: ignore[arg-type]
    _, *messages = frames(bytes(heard))  # the first frame is the greeting
    kept = [p.wire for p in desk.journal.pendings if p.wire and p.event.__class__ not in SENT]
    assert kept == [fields for fields in messages if fields[0] in KEPT]
    assert len(kept) > 50


SENT = {OrderMessageSent}


async def test_each_message_is_stamped_at_the_socket_and_named_after_its_order(desk: Desk) -> None:
    before = datetime.now(UTC)
    place(desk, "ref-1")
    await desk.journal.first(CommissionReceived)
    after = datetime.now(UTC)
    (sent,) = (p for p in desk.journal.pendings if type(p.event) in SENT)
    assert sent.stamp is not None
    assert (sent.stamp.server_version, sent.stamp.decoder) == (178, 0)
    came = [p for p in desk.journal.pendings if p.wire and type(p.event) not in SENT]
    assert {(p.stamp.server_version, p.stamp.decoder) for p in came if p.stamp} == {(178, DECODER)}
    moments = [p.stamp.at for p in came if p.stamp]
    assert len(moments) == len(came)
    assert moments == sorted(moments)
    (answered,) = [p.stamp.at for p in came if type(p.event) is ExecutionReceived and p.stamp]
    assert before <= sent.stamp.at < answered <= after
    names = {type(p.event): p.context.correlation_id for p in came}
    assert names[ExecutionReceived] == names[OpenOrderReceived] == "ref-1"
    # A status carries no name, and nobody has asked for these.
    assert names[OrderStatusReceived] is None
    assert {p.context.causation_sequence for p in came} == {None}


async def test_every_execution_in_the_brokers_books_is_in_the_log(
    simulator: Simulator, desk: Desk
) -> None:
    for number in range(5):
        place(desk, f"ref-{number}")
    await desk.journal.first(CommissionReceived, 5)
    books = await simulator.do("books")
    ours = {(one.exec_id, str(one.quantity)) for one in desk.journal.of(ExecutionReceived)}
    assert ours == {(one["exec_id"], one["quantity"]) for one in books["executions"]}


async def test_executions_of_orders_that_are_not_ours_are_kept(
    simulator: Simulator, desk: Desk
) -> None:
    await simulator.do("manual_order", symbol="AAPL", side="SELL", quantity="7", order_type="MKT")
    await desk.gateway.queries.ask("executions", "run")
    (execution,) = desk.journal.of(ExecutionReceived)
    assert (execution.side, execution.quantity, execution.broker_order_id, execution.fetched) == (
        "SELL",
        Decimal(7),
        0,
        True,
    )


async def test_an_unreadable_message_is_kept_verbatim_and_the_session_goes_on(
    simulator: Simulator, desk: Desk
) -> None:
    for fields in (["5", "1", "265598"], ["203", "x"], ["11", "-1", "a"]):
        await simulator.do("raw", fields=fields, client_id=7)
    await desk.journal.first(BrokerMessageUnreadable, 3)
    unreadable = [p for p in desk.journal.pendings if type(p.event) is BrokerMessageUnreadable]
    assert [p.wire for p in unreadable] == [
        ("5", "1", "265598"),
        ("203", "x"),
        ("11", "-1", "a"),
    ]
    place(desk, "ref-1")
    await desk.journal.first(ExecutionReceived)
    assert desk.gateway.session.current_epoch == 1


async def test_what_leaves_is_kept_with_its_fields_and_the_order_that_it_is_about(
    simulator: Simulator, desk: Desk
) -> None:
    number = place(desk, "ref-1", LIMIT)
    await desk.journal.first(OrderStatusReceived)
    desk.gateway.outbox.send(Outgoing(kind="cancel", order_id="ref-1", broker_order_id=number))
    desk.gateway._ib.client.reqGlobalCancel()
    sent = [p for p in desk.journal.pendings if isinstance(p.event, OrderMessageSent)]
    assert [(p.event, p.context.correlation_id) for p in sent] == [
        (
            OrderMessageSent(kind="place", client_id=7, broker_order_id=number, order_ref="ref-1"),
            "ref-1",
        ),
        (OrderMessageSent(kind="cancel", client_id=7, broker_order_id=number), "ref-1"),
        (OrderMessageSent(kind="global_cancel", client_id=7, broker_order_id=0), None),
    ]
    place_fields = sent[0].wire
    assert place_fields is not None
    assert (place_fields[0], len(place_fields), place_fields[26]) == ("3", 114, "ref-1")
    assert {p.context.session_epoch for p in sent} == {1}


async def test_nothing_is_called_sent_that_had_no_line(
    simulator: Simulator, make_desk: MakeDesk
) -> None:
    desk = make_desk(simulator.port)
    await desk.gateway.session.open(fail_fast=True)
    number = desk.gateway.session.next_broker_order_id()
    desk.gateway._ib.client.conn.transport.abort()
    desk.gateway._ib.client.cancelOrder(number)
    assert desk.journal.of(OrderMessageSent) == []


async def test_ib_async_builds_no_orders_and_market_data_is_not_kept(
    simulator: Simulator, desk: Desk
) -> None:
    place(desk, "ref-1")
    await desk.journal.first(CommissionReceived)
    ib: Any = desk.gateway._ib
    stock = (await desk.gateway.lookup.qualify(Stock("AAPL"))).contract
    assert (await desk.gateway.markets.snapshot(stock)).bid
    assert (ib.trades(), ib.fills(), ib.positions(), ib.tickers()) == ([], [], [], [])
    kept = {p.wire[0] for p in desk.journal.pendings if p.wire}
    assert kept <= KEPT


async def test_a_log_that_takes_nothing_more_is_reported_and_never_raised(
    simulator: Simulator, desk: Desk
) -> None:
    refusal = StoreUnavailable("the disk is full")
    await desk.journal.first(SessionOpened)
    desk.journal.broken = refusal
    place(desk, "ref-1")
    for _ in range(3):
        await simulator.do("send_notice", code=2104, text="ok")
    assert await desk.fail() is refusal
    await desk.gateway.close("the log is broken")
    assert set(desk.failures) == {refusal}
    assert desk.journal.of(OrderMessageSent) == []


# ── offline: bytes into an IB object that has no socket ──────────────────────────────────────────


class Late:
    """A log whose appends fail or succeed when the test says so."""

    def __init__(self) -> None:
        self.futures: list[asyncio.Future[Any]] = []

    def append(self, _: object) -> asyncio.Future[Any]:
        self.futures.append(asyncio.get_running_loop().create_future())
        return self.futures[-1]


def offline(sink: Any, failures: list[BaseException]) -> tuple[Any, Capture]:
    ib = ib_async.IB()
    client: Any = ib.client
    client._serverVersion, client._apiReady = 178, True
    client.decoder.serverVersion = 178
    client.connState = client.CONNECTED
    # Kept by the caller: the IB object disconnects when nobody holds it.
    return ib, Capture(ib, sink, clock=ManualClock(NOON), zone=None, on_failure=failures.append)


async def test_an_append_that_fails_later_is_reported_once() -> None:
    failures: list[BaseException] = []
    sink = Late()
    ib, _ = offline(sink, failures)
    for code in range(5):
        ib.client.decoder.interpret(["4", "2", "-1", str(2100 + code), "x", ""])
    sink.futures[0].set_result(None)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert failures == []
    for future in sink.futures[1:]:
        future.set_exception(StoreUnavailable("the disk is full"))
        future.exception()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert [str(failure) for failure in failures] == ["the disk is full"]


def wire(*fields: object) -> bytes:
    payload = "".join(f"{field}\0" for field in fields).encode()
    return struct.pack(">I", len(payload)) + payload


STREAM = b"".join(
    [
        wire(3, 7, "Submitted", "0", "10", "0", 99, 0, "0", 5, "", "0"),
        wire(4, 2, -1, 2104, "Verbindung ist in Ordnung: fär", ""),
        wire(59, 1, "e.01", "1.0", "USD", "1.7976931348623157E308", "", ""),
        wire(1, 6, 9, 1, "190.05", "100", 0),
        wire(5, "broken"),
        wire(62, 1),
    ]
)
EXPECTED = [OrderStatusReceived, NoticeReceived, CommissionReceived, BrokerMessageUnreadable]


async def feed(*chunks: bytes) -> Journal:
    journal, failures = Journal(), list[BaseException]()
    ib, _ = offline(journal, failures)
    for chunk in chunks:
        ib.client._onSocketHasData(chunk)
    assert failures == []
    return journal


async def test_message_that_cannot_be_read_is_stored_again_only_as_its_number_doubles() -> None:
    journal = await feed(*[wire(5, "broken")] * 100_000, wire(5, "other"))
    events = [p.event for p in journal.pendings]
    assert all(isinstance(event, BrokerMessageUnreadable) for event in events)
    assert [event.times for event in events[:5]] == [1, 1, 2, 4, 8]  # type: ignore[attr-defined]
    assert len(events) == 18
    assert [p.wire for p in journal.pendings[-2:]] == [("5", "broken"), ("5", "other")]


async def test_nothing_is_lost_wherever_the_network_cuts_the_stream() -> None:
    whole = (await feed(STREAM)).pendings
    assert [type(p.event) for p in whole][:4] == EXPECTED
    assert len(whole) == 5
    for cut in range(1, len(STREAM)):
        assert (await feed(STREAM[:cut], STREAM[cut:])).pendings == whole


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(0, len(STREAM)), max_size=12))
async def test_nothing_is_lost_in_any_number_of_pieces(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(STREAM)]
    pieces = [STREAM[start:end] for start, end in itertools.pairwise(edges)]
    assert (await feed(*pieces)).pendings == (await feed(STREAM)).pendings


async def test_bytes_that_are_not_text_are_kept_readable() -> None:
    journal = await feed(wire(4, 2, -1, 399, "x", "").replace(b"x", b"\xff"))
    assert journal.of(NoticeReceived)[0].text == "\\xff"


@pytest.mark.parametrize("fields", [[], [""], ["5"], ["3"] * 5])
async def test_no_field_list_raises_into_the_socket(fields: list[str]) -> None:
    journal, failures = Journal(), list[BaseException]()
    ib, _ = offline(journal, failures)
    ib.client.decoder.interpret(fields)
    assert [type(p.event) for p in journal.pendings] == [BrokerMessageUnreadable]
    assert failures == []


async def test_a_listener_that_fails_is_reported_and_the_fact_is_kept() -> None:
    journal, failures = Journal(), list[BaseException]()
    ib, capture = offline(journal, failures)

    def fail(_: object) -> None:
        raise ZeroDivisionError

    capture.listeners.append(fail)
    ib.client.decoder.interpret(["4", "2", "-1", "2104", "ok", ""])
    assert [type(p.event) for p in journal.pendings] == [NoticeReceived]
    assert [type(failure) for failure in failures] == [ZeroDivisionError]


async def test_an_open_order_is_kept_once_although_ib_async_would_merge_it(
    simulator: Simulator, desk: Desk
) -> None:
    place(desk, "ref-1", LIMIT)
    await desk.journal.first(OpenOrderReceived)
    pushed = len(desk.journal.of(OpenOrderReceived))
    await desk.gateway.queries.ask("open_orders", "run")
    assert len(desk.journal.of(OpenOrderReceived)) == pushed + 1
