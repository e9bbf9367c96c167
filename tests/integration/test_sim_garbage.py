"""No frame, however wrong, raises anything in the gateway or reaches another client."""

from __future__ import annotations

import asyncio
import logging
import random
import struct
from typing import Any

import pytest

from oms.sim.gateway.gateway import Gateway
from oms.sim.protocol import frames, requests
from oms.sim.protocol.errors import WireError
from oms.sim.settings import Settings
from tests.integration.sim_world import STOCK, world

SEEDS = range(12)
FRAMES_EACH = 400
NASTY = [
    "", "0", "1", "-1", "abc", "1e5", "NaN", "inf", "-0", "2147483648", "9" * 40, "9" * 5000,
    "\U0001f600",    "0." + "1" * 60, "1e-99999", "-1e15", "1e15", "comboLegs",
    "20260101 10:00:00", "20260101 10:00:00 ../../etc/passwd", "20260101-10:00:00", "BAG", "OPT",
    "FUT", "CASH", "STK", "AAPL", "EUR", "LMT", "MKT", "TRAIL", "STP", "MOC", "GTD", "IOC", "BUY",
    "SELL", "SMART", "USD", "265598", "x" * 300, "1.7976931348623157E308", "%s", "None", "\n", "²",
]  # fmt: skip


@pytest.mark.parametrize("seed", SEEDS)
async def test_any_frame_is_read_or_refused(seed: int, caplog: pytest.LogCaptureFixture) -> None:
    """Goal: no handler fails.  Method: known requests with random fields replaced."""
    caplog.set_level(logging.ERROR, "oms.sim")
    rng = random.Random(seed)
    gateway = Gateway(Settings(port=0, cash=10**9))
    session = gateway.session()
    session.connection_made(Sink())
    gateway.clients.name(session, 1)
    session.version = rng.choice((157, 163, 170, 176, 178))
    read = 0
    for _ in range(FRAMES_EACH):
        fields = frame(rng, session.version)
        try:
            session._frame(fields)
            gateway.flush()
            read += 1
        except WireError:
            pass
        assert caplog.records == [], f"{caplog.text} of {fields}"
    gateway.books.close()
    assert read > FRAMES_EACH / 10


class Sink(asyncio.Transport):
    """Takes every byte, so that answers are encoded; never closes, so that the test goes on."""

    def write(self, data: object) -> None: ...
    def close(self) -> None: ...
    def abort(self) -> None: ...
    def is_closing(self) -> bool:
        return False

    def get_write_buffer_size(self) -> int:
        return 0


def frame(rng: random.Random, version: int) -> list[str]:
    """A request with some of its fields replaced, dropped or added."""
    number, (_, layout) = rng.choice(list(requests._REQUESTS.items()))
    if rng.random() < 0.5:
        number, layout = 3, requests.PLACE_ORDER
    values = {**STOCK, "id": str(number), "version": "1", "orderId": str(rng.randint(0, 50))}
    values |= {"action": "BUY", "orderType": "LMT", "totalQuantity": "5", "lmtPrice": "100"}
    values |= {"transmit": "1", "reqId": "5", "tickType": "Last", "clientId": "0"}
    fields = layout.encode(version, values) if layout else [str(number), "1", "5"]
    for _ in range(rng.choice((0, 1, 1, 2, 5))):
        at = rng.randrange(len(fields))
        fields[at] = rng.choice(NASTY)
    if rng.random() < 0.1:
        fields = fields[: rng.randrange(len(fields) + 1)]
    if rng.random() < 0.1:
        fields.insert(rng.randrange(len(fields) + 1), rng.choice(NASTY))
    return fields


@pytest.mark.parametrize("fill", [b"\0", b"3\0", b"9", b"\xff"])
async def test_the_longest_frame_there_may_be_is_refused_and_holds_nobody_up(fill: bytes) -> None:
    async with world() as sim:
        other, client = await sim.client(2), await sim.client(1)
        client.forget()
        client.writer.write(frames.frame(fill * (frames.FRAME_LENGTH_MAX // len(fill))))
        await client.until(lambda: client.ended)
        assert client.story() == ["errMsg 320"]
        other.place()
        await other.wait_for("commissionReport")


@pytest.mark.parametrize("seed", SEEDS)
async def test_any_bytes_end_only_their_own_connection(seed: int) -> None:
    """Goal: a stream out of step cannot hurt.  Method: random bytes at random points."""
    rng = random.Random(seed)
    async with world() as sim:
        other = await sim.client(2)
        for _ in range(10):
            client = await sim.socket() if rng.random() < 0.5 else await sim.client(1)
            client.writer.write(rng.randbytes(rng.randint(5, 2000)))
            client.writer.write(struct.pack(">I", 0x7FFFFFFF))
            await client.until(lambda client=client: client.ended)
        other.place()
        await other.wait_for("commissionReport")


JUNK = [
    ("auxPrice", "abc"), ("minQty", "abc"), ("outsideRth", "abc"), ("triggerMethod", "SMART"),
    ("ocaType", "2.5"), ("displaySize", "1_0"), ("discretionaryAmt", "1_0"), ("duration", " 5"),
    ("exemptCode", "\u0665"), ("solicited", "yes"), ("adjustedStopPrice", "x"),
    ("conditions", [{"condType": "1", "isMore": "1", "price": "x", "conId": "265598"}]),
    ("conditions", [{"condType": "1", "price": "1", "triggerMethod": "SMART"}]),
    ("comboLegs", [{"conId": "265598", "ratio": "x", "action": "BUY"}]),
]  # fmt: skip


@pytest.mark.parametrize(("field", "text"), JUNK)
async def test_an_order_with_a_number_that_is_none_is_refused_whole(field: str, text: Any) -> None:
    """Also in a field nobody acts on: it would break the decoder of each client that is told."""
    async with world(fills="manual") as sim:
        client, other = await sim.client(1), await sim.client(2)
        client.forget()
        client.place(**{field: text}, secType="BAG" if field == "comboLegs" else "STK")
        await client.until(lambda: client.ended)
        assert client.story() == ["errMsg 320"]
        assert field in client.last("errMsg")["text"] or isinstance(text, list)
        other.forget()
        other.ask("reqAllOpenOrders")
        await other.settle()
        assert other.story() == ["openOrderEnd"]


async def test_an_edit_cannot_make_an_order_no_frame_could_carry() -> None:
    async with world(fills="manual") as sim:
        client = await sim.client(1)
        client.forget()
        fault = {"direction": "in", "message": "placeOrder", "action": "edit"}
        sim.do("fault", **fault, set={"outsideRth": "maybe"})
        client.place()
        await client.until(lambda: client.ended)
        assert (client.story(), sim.books()["orders"]) == (["errMsg 320"], [])


@pytest.mark.parametrize(("field", "text"), [("reqId", "abc"), ("snapshot", "maybe")])
async def test_a_request_with_a_number_that_is_none_is_not_half_done(field: str, text: str) -> None:
    async with world() as sim:
        client = await sim.client(1)
        client.forget()
        client.ask("reqMktData", **{**STOCK, "reqId": "5", field: text})
        await client.until(lambda: client.ended)
        assert client.story() == ["errMsg 320"]
