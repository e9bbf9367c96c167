"""One pace for all that leaves: rank, shares, starvation, and IB's refusal; on a manual clock."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from oms.broker.pace import RECOVERY_STEP_SECONDS, Pace
from oms.broker.paced_requests import PacedRequests
from oms.clock import ManualClock

SECOND = 1.1


class Stand:
    """A pace of ten messages in a second, with three lanes that note what leaves and when."""

    def __init__(self, per_second_max: int = 10) -> None:
        self.clock = ManualClock(datetime(2026, 1, 5, tzinfo=UTC))
        self.timers: list[tuple[float, Callable[[], None]]] = []
        self.left: list[str] = []
        self.times: list[float] = []
        self.pace = Pace(self.clock, per_second_max=per_second_max, call_later=self._call_later)
        self.orders, self.questions, self.market = (
            PacedRequests(self.pace, percent=percent) for percent in (100, 80, 50)
        )
        for lane in (self.orders, self.questions, self.market):
            lane.open()

    def put(self, lane: PacedRequests, word: str, number: int = 1) -> None:
        for _ in range(number):
            lane.enqueue(lambda: self.send(word))

    def send(self, word: str) -> str:
        self.pace.note_sent()
        self.left.append(word)
        self.times.append(self.clock.monotonic())
        return word

    def advance(self, seconds: float) -> list[str]:
        """Move the clock, ring the timers on the way, and return what left meanwhile."""
        before, end = len(self.left), self.clock.monotonic() + seconds
        while due := [one for one in self.timers if one[0] <= end]:
            first = min(due, key=lambda one: one[0])
            self.timers.remove(first)
            self.clock.advance(max(0.0, first[0] - self.clock.monotonic()))
            first[1]()
        self.clock.advance(max(0.0, end - self.clock.monotonic()))
        return self.left[before:]

    def _call_later(self, delay: float, callback: Callable[[], None], /) -> None:
        self.timers.append((self.clock.monotonic() + delay, callback))


def test_questions_and_market_data_leave_room_for_an_order() -> None:
    stand = Stand()
    stand.put(stand.market, "market", 20)
    stand.put(stand.questions, "question", 20)
    assert [stand.left.count(word) for word in ("market", "question")] == [5, 3]
    stand.put(stand.orders, "order", 3)
    assert stand.left[8:] == ["order", "order"]
    assert stand.advance(SECOND)[:2] == ["order", "question"]


def test_orders_go_first_and_a_question_waits_for_no_more_than_nine_of_them() -> None:
    stand = Stand()
    stand.put(stand.orders, "order", 60)
    stand.put(stand.questions, "question", 2)
    stand.put(stand.market, "market")
    stand.advance(6 * SECOND)
    left = stand.left
    assert [n for n, word in enumerate(left) if word == "question"] == [9 + 10, 9 + 10 + 10]
    assert left.index("market") < 30
    assert left.count("order") == 60


def test_no_second_holds_more_than_the_pace_whatever_waits() -> None:
    stand = Stand(45)
    stand.put(stand.market, "market", 100)
    stand.put(stand.orders, "order", 200)
    stand.put(stand.questions, "question", 20)
    stand.advance(30)
    assert len(stand.left) == 320
    for early, late in zip(stand.times, stand.times[45:], strict=False):
        assert late - early >= SECOND - 1e-9


def test_what_waits_leaves_evenly_and_an_order_that_finds_room_at_once() -> None:
    stand = Stand(45)
    while stand.pace.takes_turn(stand.orders):
        stand.send("direct")
    assert len(stand.left) == 45
    stand.put(stand.orders, "order", 60)
    assert [len(stand.advance(0.11)) for _ in range(12)] == [0] * 9 + [5, 5, 5]


def test_a_stalling_gateway_does_not_count_two_bursts_in_one_second() -> None:
    stand, per_second, stalled = Stand(40), 50, 0.1
    for _ in range(3):
        for _ in range(40):
            if not len(stand.orders) and stand.pace.takes_turn(stand.orders):
                stand.send("direct")
            else:
                stand.put(stand.orders, "order")
        stand.advance(SECOND)
    stand.advance(SECOND)
    assert len(stand.left) == 120
    for first, last in zip(stand.times, stand.times[per_second:], strict=False):
        assert last - first > 1 + stalled


def test_a_refusal_stops_everything_for_a_second_and_halves_the_pace() -> None:
    stand = Stand()
    stand.put(stand.orders, "order", 100)
    stand.pace.refused()
    assert stand.advance(SECOND - 0.01) == []
    assert len(stand.advance(0.02)) == 5
    assert len(stand.advance(2 * SECOND)) == 10


def test_a_pace_of_one_message_stops_at_a_refusal_too() -> None:
    stand = Stand(1)
    stand.pace.refused()
    stand.put(stand.orders, "order", 3)
    assert stand.left == []
    assert [len(stand.advance(seconds)) for seconds in (SECOND, 2 * SECOND)] == [1, 2]


def test_two_refusals_of_one_burst_leave_a_third_of_the_pace() -> None:
    stand = Stand(45)
    stand.put(stand.orders, "order", 100)
    stand.pace.refused()
    stand.pace.refused()  # about a message that left before the first was heard
    assert len(stand.advance(2 * SECOND - 0.01)) == 15


def test_the_pace_recovers_step_by_step_and_another_refusal_halves_what_it_is() -> None:
    stand = Stand()

    def in_a_second() -> int:
        stand.put(stand.orders, "order", 30)
        stand.advance(0.5)
        left = len(stand.advance(SECOND))
        stand.orders.clear()
        stand.advance(2 * SECOND)
        return left

    stand.pace.refused()
    stand.advance(SECOND)
    assert in_a_second() == 5
    paces = []
    for _ in range(3):
        stand.advance(RECOVERY_STEP_SECONDS)
        paces.append(in_a_second())
    assert paces == [7, 9, 10]
    for _ in range(2):
        stand.pace.refused()
        stand.advance(SECOND)
    assert in_a_second() == 2


async def test_a_question_that_is_given_up_before_its_turn_never_leaves() -> None:
    stand = Stand()
    stand.put(stand.orders, "order", 10)
    asking = asyncio.create_task(stand.questions.ask(lambda: stand.send("question")))
    await asyncio.sleep(0)
    assert len(stand.questions) == 1
    asking.cancel()
    stand.advance(0.5)
    await asyncio.gather(asking, return_exceptions=True)
    assert "question" not in stand.advance(5)


async def test_a_question_given_up_in_the_moment_of_its_turn_does_not_leave() -> None:
    stand = Stand()
    stand.put(stand.orders, "order", 10)
    asking = asyncio.create_task(stand.questions.ask(lambda: stand.send("question")))
    await asyncio.sleep(0)
    asking.cancel()
    assert stand.advance(5) == []  # the task has not run yet
    with pytest.raises(asyncio.CancelledError):
        await asking


async def test_who_waits_when_the_session_ends_hears_so_and_nothing_leaves_later() -> None:
    stand = Stand()
    stand.put(stand.orders, "order", 10)
    asking = asyncio.create_task(stand.questions.ask(lambda: stand.send("question")))
    await asyncio.sleep(0)
    stand.questions.close()
    with pytest.raises(ConnectionError, match="no session"):
        await asking
    with pytest.raises(ConnectionError, match="no session"):
        await stand.questions.ask(lambda: stand.send("question"))
    stand.questions.open()
    assert "question" not in stand.advance(5)


async def test_an_answer_and_a_failure_of_sending_reach_who_asked() -> None:
    stand = Stand()
    assert await stand.questions.ask(lambda: stand.send("question")) == "question"

    def fail() -> None:
        raise ConnectionError("cut")

    with pytest.raises(ConnectionError, match="cut"):
        await stand.questions.ask(fail)
    stand.questions.enqueue(fail)  # nobody waits for it, and the session says it
