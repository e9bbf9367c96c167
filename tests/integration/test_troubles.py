"""The troubles that every user of IB meets: what the caller, the log and the operator see of each.

The operator sees an order as `oms order` and the pages show it, and the program messages.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import structlog

import oms
from oms.core.events import (
    ConnectFailed,
    Event,
    GapOpened,
    NoticeReceived,
    OrderIntended,
    OrderMessageSent,
)
from oms.core.fold.records import OrderState
from oms.errors import ContractUnknown, IBConnectionError, OmsError, OutcomeUnknown
from oms.report.record_json import order_json
from oms.service.adapter import IBBrokerAdapter
from oms.store.reader import Reader
from tests.integration.sim_world import World, world
from tests.world import CLIENT_ID, new_database, settings_for

pytestmark = pytest.mark.slow

AAPL = oms.Stock("AAPL")
REST = oms.Limit("BUY", 1, "10")


@dataclass
class Scene:
    """An adapter, the gateway on its other side, and what the program says meanwhile."""

    sim: World
    database: Path
    said: list[Any]
    adapters: list[IBBrokerAdapter] = field(default_factory=list)

    def adapter(self, port: int | None = None, **options: Any) -> IBBrokerAdapter:
        settings = settings_for(port or self.sim.port, self.database, connect_timeout_seconds=1)
        self.adapters.append(IBBrokerAdapter(settings, **options))
        return self.adapters[-1]

    async def connected(self, **options: Any) -> IBBrokerAdapter:
        broker = self.adapter(ready_seconds=10, **options)
        await broker.connect()
        return broker

    async def log(self, kind: type[Event]) -> list[Any]:
        for adapter in self.adapters:
            if adapter._running is not None:
                await adapter._running.log.flush()
        reader = await Reader.open(f"sqlite:///{self.database}")
        try:
            found = await reader.events(type=kind.__name__)
        finally:
            await reader.close()
        return [one.event for one in found]

    async def notices(self, code: int) -> list[str]:
        return [one.text for one in await self.log(NoticeReceived) if one.code == code]

    def messages(self, action: str, **fields: Any) -> list[Any]:
        """The program messages of a name with these fields."""
        return [
            one
            for one in self.said
            if one["event"] == action and all(one.get(k) == v for k, v in fields.items())
        ]


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    new_database(tmp_path / "oms.sqlite")
    with structlog.testing.capture_logs() as said:
        async with world() as sim:
            made = Scene(sim, tmp_path / "oms.sqlite", said)
            yield made
            for adapter in made.adapters:
                await adapter.disconnect()


async def test_502_nothing_listens(scene: Scene) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        free_port = closed.getsockname()[1]
    broker = scene.adapter(free_port, ready_seconds=0.3)
    with pytest.raises(IBConnectionError, match="nothing listens at") as raised:
        await broker.connect()
    assert (raised.value.exit_code, raised.value.transient) == (5, True)
    assert "OMS_PORT" in raised.value.hint
    assert "nothing listens" in (await scene.log(ConnectFailed))[0].reason
    assert scene.messages("connect_failed", log_level="warning")


async def test_326_the_client_id_is_taken(scene: Scene) -> None:
    await scene.sim.client(CLIENT_ID)
    broker = scene.adapter(ready_seconds=0.5)
    with pytest.raises(IBConnectionError, match="client id 7 is in use"):
        await broker.connect()
    assert "client id 7 is in use" in (await scene.log(ConnectFailed))[0].reason
    assert "OMS_CLIENT_ID" in scene.messages("connect_failed")[0]["hint"]


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (201, "Order rejected - reason: no margin"),
        (103, "Duplicate order id"),
        (110, "The price does not conform to the minimum price variation"),
        (321, "Error validating request: The API interface is currently in Read-Only mode."),
        (200, "No security definition has been found for the request"),
    ],
)
async def test_a_refused_order_has_ibs_code_and_text_wherever_one_looks(
    scene: Scene, code: int, text: str
) -> None:
    broker = await scene.connected()
    await broker._qualified(AAPL)
    scene.sim.do("silence", request="placeOrder", mode="refuse", code=code, text=text, times=1)
    with pytest.raises(oms.IBOrderRejectError, match=text[:12]) as raised:
        await broker.submit_order(AAPL, REST, order_id="refused")
    assert raised.value.code == code
    assert await scene.notices(code) == [text]
    (row,) = [order_json(one) for one in broker._oms.view.orders.values()]
    assert (row["state"], row["code"], row["text"]) == ("REJECTED", code, text)
    assert scene.messages("notice_received", code=code, log_level="warning")
    # It was that order and nothing else: the next one goes to work.
    await broker.submit_order(AAPL, REST, order_id="next")
    assert [one.order_id for one in await broker.get_open_orders()] == ["next"]


async def test_200_ib_knows_no_such_contract(scene: Scene) -> None:
    broker = await scene.connected()
    with pytest.raises(ContractUnknown, match="NOSUCH") as raised:
        await broker.submit_order(oms.Stock("NOSUCH"), REST)
    assert "check symbol" in raised.value.hint
    assert len(await scene.notices(200)) == 1
    assert await scene.log(OrderIntended) == []


async def test_162_is_about_other_things_and_harms_no_order(scene: Scene) -> None:
    broker = await scene.connected()
    order_id = await broker.submit_order(AAPL, REST)
    number = broker._oms.view.orders[order_id].broker_order_id
    text = "Historical Market Data Service error message"
    # Even with the order's own number in it.
    scene.sim.do("send_notice", code=162, id=number, text=text)
    await broker.submit_order(AAPL, REST, order_id="after")
    assert broker._oms.view.orders[order_id].state is OrderState.WORKING
    assert await scene.notices(162) == [text]
    assert scene.messages("notice_received", code=162, log_level="warning")


async def test_1100_orders_are_denied_until_the_line_is_whole(scene: Scene) -> None:
    broker = await scene.connected()
    scene.sim.do("outage")
    async with asyncio.timeout(60):
        await broker._oms.view.until(lambda: bool(broker._oms.view.system.gap_sequence))
    with pytest.raises(oms.OrderDeniedError, match="the line is broken"):
        await broker.submit_order(AAPL, REST)
    assert len(await scene.notices(1100)) == 1
    assert len(await scene.log(GapOpened)) == 1
    assert scene.messages("notice_received", code=1100, log_level="warning")
    scene.sim.do("restore", code=1102)
    await broker._oms.until_ready(10)
    await broker.submit_order(AAPL, REST)


async def test_100_too_many_messages_leave_the_order_in_question(scene: Scene) -> None:
    broker = await scene.connected(answer_seconds=0.3)
    await broker._qualified(AAPL)
    text = "Max rate of messages per second has been exceeded"
    scene.sim.do("silence", request="placeOrder", mode="refuse", code=100, text=text, times=1)
    # IB may have dropped the message that it answers, or not: silence is no end.
    with pytest.raises(OutcomeUnknown):
        await broker.submit_order(AAPL, REST, order_id="question")
    assert await scene.notices(100) == [text]
    order = broker._oms.view.orders["question"]
    assert order.live
    assert scene.messages("notice_received", code=100, log_level="warning")


async def test_an_answer_that_never_comes_is_an_unknown_outcome(scene: Scene) -> None:
    broker = await scene.connected(answer_seconds=0.3)
    await broker._qualified(AAPL)
    scene.sim.do("silence", request="placeOrder", mode="answer", times=1)
    with pytest.raises(OutcomeUnknown) as raised:
        await broker.submit_order(AAPL, REST, order_id="quiet")
    assert (raised.value.exit_code, isinstance(raised.value.__cause__, OmsError)) == (6, True)
    assert "never resend it" in raised.value.hint
    assert [one.order_ref for one in await scene.log(OrderMessageSent)] == ["quiet"]
    row = order_json(broker._oms.view.orders["quiet"])
    assert (row["state"], row["live"]) == ("IN_FLIGHT", True)
