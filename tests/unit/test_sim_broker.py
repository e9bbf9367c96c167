"""The simulator's broker without a gateway: what it does, and what it says in which order."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from oms.sim.broker.books.executions import Execution
from oms.sim.broker.books.orders import Order
from oms.sim.broker.broker import Broker
from oms.sim.broker.exchange.contracts import Contract
from oms.sim.broker.floor import Notify
from oms.sim.clock import SteppedClock
from oms.sim.protocol.requests import PLACE_ORDER
from oms.sim.settings import Settings

NOON = datetime(2026, 1, 5, 17, tzinfo=UTC)
ACCOUNT = "DU1234567"
APPLE = 265598


def test_a_fill_is_told_as_execution_then_order_then_commission() -> None:
    world = World()
    world.place(1)
    assert world.said() == [
        "accepted",
        "order 1 PreSubmitted 0",
        "execution BOT 10 at 190",
        "order 1 Filled 10",
        "commission 1.00",
        "position 265598",
        "quote AAPL",
    ]


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ("status-first", ["status 1 Cancelled", "error 1 202"]),
        ("error-first", ["error 1 202", "status 1 Cancelled"]),
        ("pending-first", ["status 1 PendingCancel", "status 1 Cancelled", "error 1 202"]),
    ],
)
def test_a_cancel_is_told_in_the_order_that_was_chosen(form: str, said: list[str]) -> None:
    world = World(cancel_order=form)
    world.place(1, orderType="LMT", lmtPrice="100")
    world.said()
    world.broker.intake.cancel(1, 1)
    assert world.said() == said


def test_a_child_goes_to_work_with_its_parent_and_its_rival_goes_with_the_fill() -> None:
    world = World()
    world.place(1, transmit="0")
    world.place(2, parentId="1", action="SELL", orderType="LMT", lmtPrice="200", transmit="0")
    world.place(3, parentId="1", action="SELL", orderType="STP", auxPrice="180")
    world.said()
    apple = world.broker.floor.contract(APPLE)
    world.broker.floor.market.set(apple, bid=Decimal(200), ask=Decimal("200.01"))
    world.broker.orders.on_quote(APPLE)
    assert world.said() == [
        "quote AAPL",
        "execution SLD 10 at 200",
        "order 2 Filled 10",
        "commission 1.00",
        "position 265598",
        "quote AAPL",
        "status 3 Cancelled",
        "error 3 202",
    ]


def test_an_assignment_is_told_by_positions_alone() -> None:
    world = World()
    broker = world.broker
    call, *_ = [
        one
        for one in broker.floor.catalogue.option_chain(broker.floor.contract(APPLE))
        if one.strike == 190 and one.right == "C"
    ]
    world.place(1, conId=str(call.con_id), action="SELL", totalQuantity="1")
    world.said()
    broker.derivatives.assign(ACCOUNT, call, Decimal(1))
    assert world.said() == [f"position {call.con_id}", "position 265598"]
    held = {con_id: row.quantity for (_, con_id), row in broker.floor.books.positions.items()}
    assert held == {call.con_id: 0, APPLE: -100}


def test_day_orders_end_at_midnight() -> None:
    world = World()
    world.broker.resume()
    world.place(1, orderType="LMT", lmtPrice="100", tif="DAY")
    world.place(2, orderType="LMT", lmtPrice="100", tif="GTC")
    world.said()
    world.clock.advance(13 * 3600)
    assert world.said() == ["status 1 Cancelled", "error 1 202"]
    assert [order.order_id for order in world.broker.floor.books.live.values()] == [2]


class Heard(Notify):
    """Notes what is said, in words."""

    def __init__(self) -> None:
        self.words: list[str] = []

    def accepted(self, order: Order) -> None:
        self.words.append("accepted")

    def order(self, order: Order) -> None:
        self.words.append(f"order {order.order_id} {order.status} {order.filled}")

    def status(self, order: Order) -> None:
        self.words.append(f"status {order.order_id} {order.status}")

    def execution(self, execution: Execution) -> None:
        self.words.append(f"execution {execution.side} {execution.quantity} at {execution.price}")

    def commission(self, execution: Execution) -> None:
        self.words.append(f"commission {execution.commission}")

    def error(self, client_id: int, request_id: int, code: int, text: str) -> None:
        self.words.append(f"error {request_id} {code}")

    def position(self, account: str, con_id: int) -> None:
        self.words.append(f"position {con_id}")

    def quote(self, contract: Contract) -> None:
        self.words.append(f"quote {contract.symbol}")

    def margin_preview(self, order: Order, contract: Contract) -> None:
        self.words.append("preview")


class World:
    """A broker, what it says, and a client with order ids from 1."""

    def __init__(self, **settings: Any) -> None:
        self.heard = Heard()
        self.clock = SteppedClock(NOON)
        # What is said twice is not the subject here.
        self.broker = Broker(
            Settings(**{"filled_twice": False, **settings}), clock=self.clock, notify=self.heard
        )
        apple = self.broker.floor.contract(APPLE)
        self.broker.floor.market.set(apple, bid=Decimal("189.99"), ask=Decimal(190))

    def place(self, order_id: int, **terms: str) -> None:
        contract = {"conId": str(APPLE), "exchange": "SMART"}
        market = {"action": "BUY", "totalQuantity": "10", "orderType": "MKT", "transmit": "1"}
        values = {"id": "3", "orderId": str(order_id), **contract, **market, **terms}
        fields = PLACE_ORDER.encode(178, values)
        self.broker.intake.place(1, PLACE_ORDER.decode(178, fields))

    def said(self) -> list[str]:
        """What was said since this was asked last."""
        words, self.heard.words = self.heard.words, []
        return words
