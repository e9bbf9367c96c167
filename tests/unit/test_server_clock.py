"""How far the gateway's clock is from ours, from answers that tell whole seconds."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oms.broker.server_clock import ANSWERS_MAX, ServerClock
from oms.clock import ManualClock
from oms.core.events import ServerTimeRead

NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)


class Gateway:
    """A clock that is ahead of ours by some seconds, on a line of some length; each way of it takes
    its share of the round trip.
    """

    def __init__(self, ahead: float, round_trip: float = 0.0, there: float = 0.5) -> None:
        self.clock = ManualClock(NOON)
        self.ahead = ahead
        self.ways = (round_trip * there, round_trip * (1 - there))
        self.asked = 0

    async def reqCurrentTimeAsync(self) -> datetime:
        self.asked += 1
        self.clock.advance(self.ways[0])
        told = (self.clock.now() + timedelta(seconds=self.ahead)).replace(microsecond=0)
        self.clock.advance(self.ways[1])
        return told

    async def ask(self, request: Callable[[], Any]) -> Any:
        return request()

    async def sleep(self, seconds: float) -> None:
        self.clock.advance(seconds)

    def measure(self) -> ServerTimeRead:
        server: Any = self
        clock = ServerClock(server, self.clock, server, sleep=self.sleep)
        return asyncio.run(clock.measure(1))


@given(
    st.floats(-5, 5),
    st.floats(0, 0.3),
    st.floats(0, 1),
)
def test_the_offset_is_never_further_away_than_is_said(
    ahead: float, round_trip: float, there: float
) -> None:
    read = Gateway(ahead, round_trip, there).measure()
    assert abs(read.offset_ms - ahead * 1000) <= read.bound_ms


@pytest.mark.parametrize("ahead", [-2.3, 0.0, 0.999, 1.5])
def test_several_answers_leave_less_open_than_a_second(ahead: float) -> None:
    gateway = Gateway(ahead, round_trip=0.002)
    read = gateway.measure()
    assert read.bound_ms <= 10
    assert (read.answers, read.round_trip_ms) == (gateway.asked, 2)
    assert gateway.asked <= ANSWERS_MAX


def test_a_slow_line_is_not_asked_more_than_it_can_tell() -> None:
    gateway = Gateway(0.2, round_trip=0.4)
    assert gateway.measure().bound_ms >= 200
    assert gateway.asked <= 3


def test_a_reading_of_an_earlier_version_is_known_to_half_a_second_and_half_the_way() -> None:
    read = ServerTimeRead(server_time=NOON, offset_ms=7, round_trip_ms=31)
    assert read.bound_ms == 516
