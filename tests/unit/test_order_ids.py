"""One counter for order ids and request ids, above everything that anybody has shown."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from oms.broker import patches
from oms.broker.capture import Capture
from oms.broker.order_ids import HIGHEST_ORDER_ID, OrderIds
from oms.broker.pace import Pace
from oms.broker.paced_requests import PacedRequests
from oms.clock import SystemClock
from oms.core.events import Pending


class Stand:
    """A client of ib_async that takes itself for connected, and what it sends."""

    def __init__(self, highest_seen: int = 0) -> None:
        self.ib: Any = patches.new_ib()
        self.sent: list[str] = []
        self.ib.client.connState, self.ib.client._apiReady = self.ib.client.CONNECTED, True
        self.ib.client.decoder.serverVersion = 178
        capture = Capture(self.ib, self, clock=SystemClock(), zone=None, on_failure=self._fail)
        patches.tap_sent(self.ib, lambda message: self.sent.append(message[4:].decode()))
        requests = PacedRequests(Pace(SystemClock(), per_second_max=50), percent=100)
        requests.open()
        self.ids = OrderIds(self.ib, capture, requests, highest_seen=highest_seen)

    def append(self, _: Pending) -> asyncio.Future[Any]:
        return asyncio.get_running_loop().create_future()

    def hear(self, *fields: object) -> None:
        self.ib.client.decoder.interpret([str(field) for field in fields])

    def hear_status(self, order_id: int) -> None:
        self.hear(3, order_id, "Submitted", 0, 1, 0, 99, 0, 0, 8, "", 0)

    def _fail(self, error: BaseException) -> None:
        raise AssertionError from error


async def test_ids_begin_above_those_in_the_log() -> None:
    stand = Stand(highest_seen=500)
    assert [stand.ids.draw(), stand.ids.draw()] == [501, 502]


async def test_a_request_takes_its_id_from_the_same_counter() -> None:
    stand = Stand()
    assert [stand.ids.draw(), stand.ib.client.getReqId(), stand.ids.draw()] == [1, 2, 3]


async def test_an_id_that_another_client_shows_is_stayed_above() -> None:
    stand = Stand()
    stand.hear_status(9000)
    assert stand.ids.draw() == 9001


async def test_a_lower_id_than_before_changes_nothing() -> None:
    stand = Stand(highest_seen=500)
    stand.hear(9, 1, 400)
    stand.hear_status(7)
    assert stand.ids.draw() == 501


async def test_the_offered_id_itself_may_be_drawn() -> None:
    stand = Stand()
    stand.hear(9, 1, 400)
    assert stand.ids.draw() == 400


async def test_an_id_near_the_limit_is_a_mistake_and_no_floor() -> None:
    stand = Stand()
    stand.hear_status(HIGHEST_ORDER_ID - 1)
    assert stand.ids.draw() == 1


async def test_after_a_duplicate_id_the_gateway_is_asked_for_its_highest() -> None:
    stand = Stand()
    stand.hear(4, 2, 5, 103, "Duplicate order id", "")
    assert stand.sent == ["8\x001\x001\x00"]


async def test_without_a_session_there_is_no_id() -> None:
    stand = Stand()
    stand.ib.client.reset()
    with pytest.raises(ConnectionError):
        stand.ids.draw()
