"""Lines of market data, without a gateway: their pace, and what is asked for only once."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

from oms.broker.market_data import Markets
from oms.broker.news import LineRecovered, SessionDown, SessionUp
from oms.broker.pace import Pace
from oms.broker.paced_requests import PacedRequests
from oms.clock import ManualClock
from oms.core.contracts import Contract


class Stand:
    """Lines over a client that only notes what it is asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, int]] = []
        self.clock = ManualClock(datetime(2026, 3, 2, tzinfo=UTC))
        numbers = iter(range(1, 1_000))
        client = SimpleNamespace(
            getReqId=lambda: next(numbers),
            reqMktData=lambda number, *_: self._send("quotes", number),
            cancelMktData=lambda number: self._send("cancel", number),
        )
        self.pace = Pace(self.clock, per_second_max=8, call_later=lambda *_: None)
        self.session: Any = SimpleNamespace(is_up=False, listeners=[])
        self.markets = Markets(
            SimpleNamespace(client=client),  # type: ignore[arg-type]
            SimpleNamespace(listeners=[]),  # type: ignore[arg-type]
            self.session,
            PacedRequests(self.pace, percent=50),
            self.clock,
            timeout_seconds=1,
        )

    def _send(self, kind: str, number: int) -> None:
        self.pace.note_sent()
        self.asked.append((kind, number))

    def up(self) -> None:
        self.session.is_up = True
        self.tell(SessionUp(1, 178, ("DU1",)))

    def tell(self, news: object) -> None:
        for listener in self.session.listeners:
            listener(news)

    def a_second_later(self) -> int:
        self.clock.advance(1.1)
        self.pace.serve()
        return len(self.asked)


def contract(number: int) -> Contract:
    return Contract(con_id=number, symbol=f"S{number}")


async def test_lines_are_asked_for_at_half_the_pace_so_that_orders_do_not_wait() -> None:
    stand = Stand()
    for number in range(1, 11):
        stand.markets.subscribe(contract(number))
    assert stand.asked == []  # nobody to ask yet
    stand.up()
    assert len(stand.asked) == 4
    assert [stand.a_second_later() for _ in range(3)] == [8, 10, 10]


async def test_a_line_that_is_left_before_its_turn_is_not_asked_for() -> None:
    stand = Stand()
    feeds = [stand.markets.subscribe(contract(number)) for number in range(1, 7)]
    stand.up()
    feeds[5].close()
    stand.a_second_later()
    assert [kind for kind, _ in stand.asked] == ["quotes"] * 5


async def test_what_waited_for_its_turn_is_asked_for_once_on_the_next_connection() -> None:
    stand = Stand()
    for number in range(1, 7):
        stand.markets.subscribe(contract(number))
    stand.up()
    stand.tell(SessionDown(1, "cut", deliberate=False))
    stand.asked.clear()
    stand.up()
    while stand.a_second_later() < 6:
        pass
    assert stand.a_second_later() == 6


async def test_subscriptions_that_ib_kept_are_not_asked_for_again() -> None:
    stand = Stand()
    stand.markets.subscribe(contract(1))
    stand.up()
    stand.tell(LineRecovered(1, "1102", subscriptions_lost=False))
    stand.a_second_later()
    assert len(stand.asked) == 1
    stand.tell(LineRecovered(1, "1101", subscriptions_lost=True))
    assert stand.a_second_later() == 2


async def test_at_the_end_lines_are_cancelled_as_far_as_the_pace_allows() -> None:
    stand = Stand()
    for number in range(1, 4):
        stand.markets.subscribe(contract(number))
    stand.up()
    stand.markets.close()
    # Three of four messages of this second were requests; the session's end does the rest.
    assert [kind for kind, _ in stand.asked].count("cancel") == 1
    assert stand.markets.lines == 0
