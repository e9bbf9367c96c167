"""The outbox on a manual clock: pace, order, and what is said about what did not leave."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import ib_async
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from oms.broker.capture import Capture
from oms.broker.outbox import Handed, Outbox
from oms.broker.pace import Pace
from oms.broker.paced_requests import PacedRequests
from oms.clock import ManualClock
from oms.core.contracts import Contract
from oms.core.events import OrderMessageSent, Pending, Terms
from oms.core.outgoing import Outgoing
from oms.errors import InvalidRequest

CALL = Contract(
    con_id=11,
    symbol="AAPL",
    sec_type="OPT",
    exchange="SMART",
    expiry="20260320",
    strike=Decimal("150.50"),
    right="C",
    multiplier=Decimal(100),
)
LIMIT = Terms(
    side="BUY",
    quantity=Decimal("1E+2"),
    order_type="LMT",
    limit_price=Decimal("0.0000001"),
    tif="GTC",
    outside_rth=True,
    oca_group="oca",
    oca_type=1,
)


def placed(number: int) -> Outgoing:
    return Outgoing(
        kind="place",
        order_id=f"ref-{number}",
        broker_order_id=number,
        account="DU1",
        contract=CALL,
        terms=LIMIT,
        order_ref=f"ref-{number}",
    )


class Wire:
    """A transport that keeps what is written; stands where asyncio's socket would be."""

    def __init__(self) -> None:
        self.messages: list[list[str]] = []
        self.closing = False
        self.backlog = 0
        #: Messages after which the transport finds that nobody is there; None for never.
        self.dies_after: int | None = None

    def write(self, message: bytes) -> None:
        self.messages.append(message[4:-1].decode().split("\0"))
        self.closing = self.closing or len(self.messages) == self.dies_after

    def is_closing(self) -> bool:
        return self.closing

    def write_eof(self) -> None: ...

    def close(self) -> None: ...

    def get_write_buffer_size(self) -> int:
        return self.backlog


class Bench:
    """An outbox at an ib_async client whose socket is a list, and a clock that we move."""

    def __init__(self, **options: Any) -> None:
        self.ib = ib_async.IB()
        self.wire = Wire()
        self.clock = ManualClock(datetime(2026, 1, 5, tzinfo=UTC))
        self.facts: list[Pending] = []
        self.not_sent: list[tuple[str, str]] = []
        self.timers: list[tuple[float, Callable[[], None]]] = []
        client: Any = self.ib.client
        client.MaxRequests = 0
        client._serverVersion, client._apiReady, client.clientId = 178, True, 7
        client.connState = client.CONNECTED
        client.conn.transport = self.wire
        capture = Capture(
            self.ib,
            self,  # type: ignore[arg-type]
            clock=self.clock,
            zone=None,
            on_failure=self._fail,
        )
        #: What the log says of its lease, each time that it is asked; the last word stays.
        self.holds_lease = [True]
        capture.may_leave = lambda: (
            self.holds_lease.pop(0) if len(self.holds_lease) > 1 else self.holds_lease[0]
        )
        pace = options.pop("messages_per_second_max", 50)
        self.pace = Pace(self.clock, per_second_max=pace, call_later=self._call_later)
        capture.sent_listeners.append(self.pace.note_sent)
        self.outbox = Outbox(
            self.ib,
            capture,
            self.pace,
            clock=self.clock,
            on_not_sent=lambda message, reason: self.not_sent.append((message.order_id, reason)),
            **options,
        )
        self.questions = PacedRequests(self.pace, percent=80)
        self.questions.open()

    def append(self, pending: Pending) -> asyncio.Future[Any]:
        self.facts.append(pending)
        return asyncio.get_running_loop().create_future()

    def _fail(self, error: BaseException) -> None:
        raise AssertionError from error

    def _call_later(self, delay: float, callback: Callable[[], None], /) -> None:
        self.timers.append((self.clock.monotonic() + delay, callback))

    def advance(self, seconds: float) -> None:
        """Move the clock and ring the timers that are due on the way, each at its time."""
        end = self.clock.monotonic() + seconds
        while due := [one for one in self.timers if one[0] <= end]:
            first = min(due, key=lambda one: one[0])
            self.timers.remove(first)
            self.clock.advance(max(0.0, first[0] - self.clock.monotonic()))
            first[1]()
        self.clock.advance(max(0.0, end - self.clock.monotonic()))

    def place(self, number: int, **changed: Any) -> Handed:
        return self.outbox.send(replace(placed(number), **changed))

    def cancel(self, number: int) -> Handed:
        return self.outbox.send(
            Outgoing(kind="cancel", order_id=f"ref-{number}", broker_order_id=number)
        )

    def sent(self) -> list[tuple[str, str]]:
        """Message id and order id of every order message on the wire."""
        ours = [fields for fields in self.wire.messages if fields[0] in {"3", "4"}]
        return [(fields[0], fields[1 if fields[0] == "3" else 2]) for fields in ours]


async def test_an_order_leaves_within_the_call_with_exact_numbers_account_and_tif() -> None:
    bench = Bench()
    handed = bench.place(7, parent_broker_order_id=6, transmit=False)
    assert handed == "sent"
    (fields,) = bench.wire.messages
    assert fields[:14] == [
        *("3", "7", "11", "", "", "", "0.0", "", "", "SMART"),
        *("", "", "", ""),
    ]
    assert fields[16:24] == ["BUY", "100", "LMT", "0.0000001", "", "GTC", "oca", "DU1"]
    # orderRef, transmit, parentId; outsideRth; ocaType
    assert (fields[26:29], fields[33], fields[46]) == (["ref-7", "0", "6"], "1", "1")
    assert [p.event for p in bench.facts] == [
        OrderMessageSent(kind="place", client_id=7, broker_order_id=7, order_ref="ref-7")
    ]


async def test_a_market_order_has_no_price_on_the_wire() -> None:
    bench = Bench()
    bench.place(7, terms=Terms(side="SELL", quantity=Decimal("0.5"), order_type="MKT"))
    assert bench.wire.messages[0][16:22] == ["SELL", "0.5", "MKT", "", "", "DAY"]


async def test_a_modify_is_the_whole_order_again_under_its_number() -> None:
    bench = Bench()
    bench.place(7)
    changed = LIMIT.evolve(limit_price=Decimal("2.5"))
    handed = bench.outbox.send(replace(placed(7), kind="modify", terms=changed))
    first, second = bench.wire.messages
    assert handed == "sent"
    assert [n for n, (a, b) in enumerate(zip(first, second, strict=True)) if a != b] == [19]


async def test_what_waits_behind_a_write_that_finds_the_line_dead_is_reported() -> None:
    bench = Bench(messages_per_second_max=2)
    assert [bench.place(n) for n in range(1, 6)] == ["sent"] * 2 + ["queued"] * 3
    bench.wire.dies_after = len(bench.wire.messages) + 1
    bench.advance(1.1)
    assert bench.sent() == [("3", "1"), ("3", "2"), ("3", "3")]
    assert bench.not_sent == [("ref-4", "the line was lost"), ("ref-5", "the line was lost")]


async def test_never_more_than_the_pace_leaves_in_a_second() -> None:
    bench = Bench(messages_per_second_max=3)
    assert [bench.place(n) for n in range(1, 6)] == ["sent"] * 3 + ["queued"] * 2
    bench.advance(1.05)  # messages of two seconds here may arrive within one there
    assert len(bench.wire.messages) == 3
    bench.advance(0.05)
    assert [number for _, number in bench.sent()] == ["1", "2", "3", "4", "5"]
    assert bench.not_sent == []


async def test_what_leaves_without_a_turn_counts_in_the_pace() -> None:
    bench = Bench(messages_per_second_max=2)
    bench.ib.client.reqCurrentTime()
    bench.ib.client.reqCurrentTime()
    assert bench.place(1) == "queued"
    bench.advance(1.1)
    assert bench.sent() == [("3", "1")]


async def test_cancels_overtake_what_waits() -> None:
    bench = Bench(messages_per_second_max=2)
    for number in range(1, 5):
        bench.place(number)
    bench.cancel(1)
    bench.advance(2.2)
    assert bench.sent() == [("3", "1"), ("3", "2"), ("4", "1"), ("3", "3"), ("3", "4")]


async def test_a_cancel_never_overtakes_its_own_order() -> None:
    bench = Bench(messages_per_second_max=1)
    bench.place(1)
    bench.place(2)
    bench.cancel(2)
    bench.advance(3.3)
    assert bench.sent() == [("3", "1"), ("3", "2"), ("4", "2")]


async def test_a_cancel_comes_before_a_change_of_its_order_that_waits_and_ends_it() -> None:
    bench = Bench(messages_per_second_max=1)
    bench.place(1)
    bench.outbox.send(replace(placed(1), kind="modify"))
    bench.place(2)
    bench.cancel(1)
    bench.advance(3.3)
    assert bench.sent() == [("3", "1"), ("4", "1"), ("3", "2")]
    assert bench.not_sent == [("ref-1", "a cancel of the order came first")]


async def test_a_cancel_is_attributed_to_its_order_in_the_log() -> None:
    bench = Bench()
    bench.cancel(1)
    assert [p.context.correlation_id for p in bench.facts] == ["ref-1"]


async def test_what_waits_when_the_line_is_lost_is_reported_and_never_sent_later() -> None:
    bench = Bench(messages_per_second_max=1)
    for number in range(1, 4):
        bench.place(number)
    bench.cancel(1)
    bench.outbox.drop("the line was lost")
    bench.advance(11)
    assert bench.sent() == [("3", "1")]
    reason = "the line was lost"
    assert bench.not_sent == [("ref-1", reason), ("ref-2", reason), ("ref-3", reason)]


async def test_orders_and_changes_that_wait_are_called_back_and_cancels_stay() -> None:
    bench = Bench(messages_per_second_max=1)
    for number in range(1, 4):
        bench.place(number)
    bench.cancel(1)
    bench.cancel(3)
    back = bench.outbox.call_back("halted")
    bench.advance(11)
    assert [(m.kind, m.order_id) for m in back] == [
        ("place", "ref-2"),
        ("place", "ref-3"),
        ("cancel", "ref-3"),
    ]
    assert bench.not_sent == [(m.order_id, "halted") for m in back]
    assert bench.sent() == [("3", "1"), ("4", "1")]


async def test_a_line_that_is_closing_sends_nothing() -> None:
    bench = Bench(messages_per_second_max=1)
    bench.place(1)
    bench.place(2)
    bench.wire.closing = True
    bench.advance(1.1)
    assert bench.place(3) == "not_sent"
    assert [one for one, _ in bench.not_sent] == ["ref-2", "ref-3"]
    assert [p.event for p in bench.facts] == [
        OrderMessageSent(kind="place", client_id=7, broker_order_id=1, order_ref="ref-1")
    ]


async def test_a_full_queue_refuses_and_says_so_but_cancels_have_their_own_room() -> None:
    bench = Bench(messages_per_second_max=1, queue_length_max=2)
    assert [bench.place(n) for n in range(1, 5)] == ["sent", "queued", "queued", "not_sent"]
    assert bench.not_sent == [("ref-4", "2 messages wait already, the most allowed")]
    assert bench.cancel(1) == "queued"
    assert len(bench.outbox) == 3


def unchecked(value: Any, **changes: object) -> Any:
    """Return a copy that no model has seen."""
    copy = value.__copy__()
    for name, one in changes.items():
        structs.force_setattr(copy, name, one)
    return copy


@pytest.mark.parametrize(
    "changed",
    [
        {"order_ref": "a\0b"},
        {"account": "DU1\0"},
        {"contract": unchecked(CALL, exchange="SMART\0")},
        {"terms": unchecked(LIMIT, oca_group="\0")},
    ],
)
async def test_text_that_would_move_the_fields_on_the_wire_is_refused(
    changed: dict[str, Any],
) -> None:
    bench = Bench()
    with pytest.raises(InvalidRequest, match="zero byte"):
        bench.place(1, **changed)
    assert bench.wire.messages == []


async def test_nothing_leaves_while_the_log_may_be_anothers_and_goes_on_when_it_is_ours() -> None:
    bench = Bench()
    bench.holds_lease = [False]
    assert [bench.place(1), bench.cancel(9)] == ["queued", "queued"]
    bench.advance(60)
    assert (bench.sent(), bench.not_sent) == ([], [])
    bench.holds_lease = [True]
    bench.advance(0.2)
    assert bench.sent() == [("4", "9"), ("3", "1")]


async def test_an_order_is_held_where_the_lease_ends_between_the_first_look_and_the_socket() -> (
    None
):
    bench = Bench()
    bench.holds_lease = [True, False, True]
    assert bench.place(1) == "queued"
    assert bench.sent() == []
    bench.advance(0.2)
    assert bench.sent() == [("3", "1")]


async def test_questions_leave_while_orders_are_held() -> None:
    bench = Bench(messages_per_second_max=2)
    bench.holds_lease = [False]
    bench.place(1)
    for _ in range(3):
        bench.questions.enqueue(bench.ib.client.reqCurrentTime)
    bench.advance(3)
    assert len(bench.wire.messages) == 3
    assert bench.sent() == []


async def test_each_waiting_order_is_looked_at_when_its_turn_comes() -> None:
    bench = Bench(messages_per_second_max=1)
    for number in range(1, 4):
        bench.place(number)
    bench.advance(1.1)
    bench.holds_lease = [False]
    bench.advance(10)
    assert bench.sent() == [("3", "1"), ("3", "2")]


async def test_nothing_is_handed_to_a_socket_whose_gateway_does_not_read() -> None:
    bench = Bench()
    bench.place(1)
    bench.wire.backlog = 1
    assert bench.place(2) == "queued"
    bench.advance(5)
    assert bench.sent() == [("3", "1")]
    bench.wire.backlog = 0
    bench.advance(0.2)
    assert bench.sent() == [("3", "1"), ("3", "2")]


async def test_what_is_too_old_is_not_sent_and_says_so_and_cancels_have_no_age() -> None:
    bench = Bench(age_seconds_max=30)
    bench.holds_lease = [False]
    bench.place(1, asked_at_ms=0)
    bench.place(2, asked_at_ms=0, kind="modify")
    bench.cancel(1)
    bench.cancel(8)
    bench.advance(20)
    bench.place(3, asked_at_ms=20_000)
    bench.advance(10.1)
    # Said while it is still held: a person who waits may send it elsewhere.
    assert [order_id for order_id, _ in bench.not_sent] == ["ref-1", "ref-2", "ref-1"]
    assert all("30 s (order_age_seconds_max) is too old" in said for _, said in bench.not_sent)
    bench.holds_lease = [True]
    bench.advance(0.2)
    assert bench.sent() == [("4", "8"), ("3", "3")]


async def test_an_order_that_is_too_old_when_it_is_handed_over_is_not_sent() -> None:
    bench = Bench(age_seconds_max=30)
    bench.advance(31)
    assert bench.place(1, asked_at_ms=0) == "not_sent"
    assert (bench.sent(), len(bench.not_sent)) == ([], 1)


ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("place"), st.integers(1, 30)),
        st.tuples(st.just("cancel"), st.integers(1, 30)),
        st.tuples(st.just("ask"), st.just(0)),
        st.tuples(st.just("wait"), st.sampled_from([1, 300, 500, 999, 1000, 1700])),
    ),
    max_size=60,
)


@given(ACTIONS, st.integers(1, 5))
async def test_any_window_of_a_second_keeps_the_pace_and_everything_leaves_once(
    actions: list[tuple[str, int]], pace: int
) -> None:
    bench = Bench(messages_per_second_max=pace)
    times: list[float] = []
    write = bench.wire.write
    bench.wire.write = lambda message: (times.append(bench.clock.monotonic()), write(message))[1]  # type: ignore[method-assign]
    wanted: list[tuple[str, str]] = []
    asked = 0
    for kind, number in actions:
        match kind:
            case "place":
                bench.place(number)
                wanted.append(("3", str(number)))
            case "cancel":
                bench.cancel(number)
                wanted.append(("4", str(number)))
            case "ask":
                bench.questions.enqueue(bench.ib.client.reqCurrentTime)
                asked += 1
            case _:
                bench.advance(number / 1000)
    bench.advance(150)
    assert sorted(bench.sent()) == sorted(wanted)
    assert len(times) == len(wanted) + asked
    assert all(late - early > 1 for early, late in zip(times, times[pace:], strict=False))
