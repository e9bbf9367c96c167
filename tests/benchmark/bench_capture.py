"""P1, P2: from socket bytes to durable and projected, beside bare ib_async on the same bytes; and
the outbox's part of P14.

The order flow of docs/internals/performance.md: two statuses, then execution, status and commission
for each fill. Both sides get the bytes in reads of 64 KiB through ib_async's own framing. Bare
ib_async stores nothing; ours translates, appends with full durability, folds and projects.

    python -m tests.benchmark capture
"""

from __future__ import annotations

import asyncio
import struct
import time
from collections.abc import Callable, Coroutine
from decimal import Decimal
from typing import Any

import ib_async

from oms.broker.capture import Capture
from oms.broker.outbox import Outbox
from oms.broker.pace import Pace
from oms.broker.wire_forms import contract_for_ib
from oms.clock import SystemClock
from oms.core.contracts import Contract
from oms.core.events import Context, OrderIntended, OrderMessageSent, Pending, SessionOpened, Terms
from oms.core.outgoing import Outgoing
from oms.store import schema
from oms.store.lease import LeaseRequest
from oms.store.log import EventLog
from tests.benchmark.measure import (
    Figures,
    Result,
    Row,
    folder,
    measure,
    print_table,
    quiet_collector,
)

READ_BYTES = 65_536
CLIENT_ID = 1
#: Fills an order -> orders: about 10,000 messages each.
FLOWS = {3: 1000, 100: 33, 500: 6}
PLACED = 500
#: Seconds of the clock, and of the processor.
Spent = tuple[float, float]
CONTRACT = Contract(
    con_id=265598, symbol="AAPL", exchange="SMART", local_symbol="AAPL", trading_class="NMS"
)
TERMS = Terms(side="BUY", quantity=Decimal(300), order_type="LMT", limit_price=Decimal("187.42"))

BARE = "bare ib_async"
ROWS = (
    Row("P1", "durable, 3 fills an order", "durable 3", "bare 3", BARE, "/s", at_least=2),
    Row("P2", "durable, 100 fills an order", "durable 100", "bare 100", BARE, "/s", at_least=12),
    Row("P2", "durable, 500 fills", "durable 500", "durable 3", "3 fills", "/s", at_least=0.9),
    # Beside other programs only the processor's seconds say what something costs.
    Row("", "P1, by the processor", "durable 3 cpu", "bare 3 cpu", BARE, "/s"),
    Row("", "P2, by the processor", "durable 100 cpu", "bare 100 cpu", BARE, "/s"),
    Row("", "tap and translation alone", "tap 3 cpu", "bare 3 cpu", BARE, "/s"),
    Row("", "order to socket, part of P14", "outbox", "placeOrder", BARE, "us"),
)


def flow(orders: int, fills: int) -> list[list[str]]:
    """The messages of some orders, interleaved by stage."""
    messages = []
    numbers = range(1000, 1000 + orders)
    for status in ("PreSubmitted", "Submitted"):
        messages += [_status(n, status, "0", "300", "0") for n in numbers]
    each = Decimal(300) / fills
    for fill in range(1, fills + 1):
        filled = (each * fill).quantize(Decimal("0.0001"))
        price = str(Decimal("187.4") + Decimal(fill) / 100)
        status = "Filled" if fill == fills else "Submitted"
        for n in numbers:
            exec_id = f"0000e0d5.{n:08x}.{fill:02d}.01"
            messages.append(_execution(n, exec_id, str(each), str(filled), price))
            messages.append(_status(n, status, str(filled), str(300 - filled), price))
            messages.append(["59", "1", exec_id, "1.0005", "USD", UNSET, UNSET, ""])
    return messages


UNSET = "1.7976931348623157E308"


def _status(number: int, status: str, filled: str, remaining: str, price: str) -> list[str]:
    perm_id = str(15_000_000 + number)
    return [
        *("3", str(number), status, filled, remaining, price),
        *(perm_id, "0", price, str(CLIENT_ID), "", "0"),
    ]


def _execution(number: int, exec_id: str, shares: str, filled: str, price: str) -> list[str]:
    return [
        *("11", "-1", str(number), "265598", "AAPL", "STK", "", "0.0", "", "", "NASDAQ", "USD"),
        *("AAPL", "NMS", exec_id, "20251009 14:31:07 US/Eastern", "DU1000001", "NASDAQ", "BOT"),
        *(shares, price, str(15_000_000 + number), str(CLIENT_ID), "0", filled, price),
        *(f"ref-{number}", "", "", "", "2", "0"),
    ]


def reads(messages: list[list[str]]) -> list[bytes]:
    stream = bytearray()
    for fields in messages:
        payload = ("\0".join(fields) + "\0").encode()
        stream += struct.pack(">I", len(payload)) + payload
    return [bytes(stream[at : at + READ_BYTES]) for at in range(0, len(stream), READ_BYTES)]


def connected() -> Any:
    ib: Any = ib_async.IB()
    ib.client._serverVersion, ib.client._apiReady = 178, True
    ib.client.decoder.serverVersion = 178
    ib.client.connState = ib.client.CONNECTED
    ib.wrapper.clientId = CLIENT_ID
    return ib


async def bare(chunks: list[bytes], orders: int) -> Spent:
    """Seconds that ib_async takes, with the orders known to it and nobody listening."""
    ib = connected()
    for number in range(1000, 1000 + orders):
        order = ib_async.LimitOrder("BUY", 300, 187.42)
        order.orderId, order.clientId, order.permId = number, CLIENT_ID, 15_000_000 + number
        contract = ib_async.Contract(conId=265598, symbol="AAPL", secType="STK", exchange="SMART")
        status = ib_async.OrderStatus(orderId=number, status="PendingSubmit")
        trade = ib_async.Trade(contract, order, status, [], [])
        ib.wrapper.trades[CLIENT_ID, number] = trade
        ib.wrapper.permId2Trade[order.permId] = trade
    with quiet_collector():
        return await _feed(ib, chunks)


class Nowhere:
    """A log that keeps nothing: what is left is the cost on the event loop."""

    def append(self, _: Pending) -> Any:
        return self

    def add_done_callback(self, _: object) -> None: ...


async def tapped(chunks: list[bytes], _: int) -> Spent:
    """Seconds of framing, tap and translation alone."""
    ib = connected()
    Capture(ib, Nowhere(), clock=SystemClock(), zone=None, on_failure=_raise)  # type: ignore[arg-type]
    with quiet_collector():
        return await _feed(ib, chunks)


async def durable(chunks: list[bytes], orders: int) -> Spent:
    """Seconds until the last message is durable and projected."""
    with folder() as where:
        url = f"sqlite:///{where / 'log.sqlite'}"
        schema.upgrade(url)
        lease = LeaseRequest("bench", "bench", "bench", 1)
        log = await EventLog.open(url, clock=SystemClock(), lease=lease)
        await _open_orders(log, orders)
        ib = connected()
        capture = Capture(ib, log, clock=SystemClock(), zone=None, on_failure=_raise)
        capture.session_epoch = 1
        with quiet_collector():
            spent = await _feed(ib, chunks, log.flush)
        await log.close()
    return spent


async def _feed(
    ib: Any, chunks: list[bytes], flush: Callable[[], Coroutine[Any, Any, None]] | None = None
) -> Spent:
    began, used = time.perf_counter(), time.process_time()
    for chunk in chunks:
        ib.client._onSocketHasData(chunk)
        await asyncio.sleep(0)
    if flush is not None:
        await flush()
    return time.perf_counter() - began, time.process_time() - used


async def _open_orders(log: EventLog, orders: int) -> None:
    context = Context(actor="daemon", session_epoch=1)
    log.append(
        Pending(
            SessionOpened(
                host="bench",
                port=1,
                client_id=CLIENT_ID,
                server_version=178,
                connection_time="",
                accounts=("DU1000001",),
                next_broker_order_id=1000,
            ),
            context,
        )
    )
    for number in range(1000, 1000 + orders):
        ref = f"ref-{number}"
        intent = OrderIntended(order_id=ref, account="DU1000001", contract=CONTRACT, terms=TERMS)
        log.append(Pending(intent, context))
        sent = OrderMessageSent(
            kind="place", client_id=CLIENT_ID, broker_order_id=number, order_ref=ref
        )
        log.append(Pending(sent, context))
    await log.flush()


def _raise(error: BaseException) -> None:
    raise error


class Wire:
    """A transport that takes everything and keeps nothing."""

    def write(self, _: bytes) -> None: ...

    def is_closing(self) -> bool:
        return False

    def get_write_buffer_size(self) -> int:
        return 0

    def write_eof(self) -> None: ...

    def close(self) -> None: ...


async def placing() -> tuple[float, float]:
    """Microseconds an order, through the outbox and by ib_async's client alone."""
    ib = connected()
    ib.client.conn.transport, ib.client.MaxRequests = Wire(), 0
    form: Any = contract_for_ib(CONTRACT)
    began = time.perf_counter()
    for number in range(PLACED):
        order = ib_async.LimitOrder("BUY", 300, 187.42, account="DU1", orderRef=str(number))
        ib.client.placeOrder(number, form, order)
    alone = time.perf_counter() - began
    capture = Capture(ib, Nowhere(), clock=SystemClock(), zone=None, on_failure=_raise)  # type: ignore[arg-type]
    pace = Pace(SystemClock(), per_second_max=PLACED)
    capture.sent_listeners.append(pace.note_sent)
    outbox = Outbox(ib, capture, pace, clock=SystemClock(), on_not_sent=lambda *_: None)
    began = time.perf_counter()
    for number in range(PLACED):
        outbox.send(
            Outgoing(
                kind="place",
                order_id=str(number),
                order_ref=str(number),
                contract=CONTRACT,
                terms=TERMS,
                account="DU1",
                broker_order_id=number,
            )
        )
    ours = time.perf_counter() - began
    return ours / PLACED * 1e6, alone / PLACED * 1e6


def round_() -> Figures:
    figures: Figures = {}
    for fills, orders in FLOWS.items():
        messages = flow(orders, fills)
        chunks = reads(messages)
        figures |= _rates(f"durable {fills}", messages, durable(chunks, orders))
        if fills == 500:
            continue  # compared with ourselves; bare ib_async would take most of the time
        figures |= _rates(f"tap {fills}", messages, tapped(chunks, orders))
        figures |= _rates(f"bare {fills}", messages, bare(chunks, orders))
    figures["outbox"], figures["placeOrder"] = asyncio.run(placing())
    return figures


def _rates(name: str, messages: list[list[str]], work: Coroutine[Any, Any, Spent]) -> Figures:
    seconds, cpu = asyncio.run(work)
    return {name: len(messages) / seconds, f"{name} cpu": len(messages) / cpu}


def main() -> list[Result]:
    return print_table(ROWS, measure(round_))
