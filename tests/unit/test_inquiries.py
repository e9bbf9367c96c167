"""An order that a message left unsettled is asked about, unless its own news was faster; a new one
is only looked for, once for a burst.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime

import pytest

from oms.clock import Clock, ManualClock, SystemClock
from oms.core.contracts import Contract
from oms.core.events import Context, Envelope, NoticeReceived
from oms.core.fold.records import Order, OrderState
from oms.core.order_types import Limit
from oms.service.inquiries import Inquiries
from oms.service.view import View

UNKNOWN_CODE = 10999
MODIFY_FAILED = 134
WARNING = 399
CLIENT_ID = 7


@pytest.mark.parametrize(
    ("code", "number", "later", "asked"),
    [
        (UNKNOWN_CODE, 1, OrderState.WORKING, 1),
        (MODIFY_FAILED, 1, OrderState.WORKING, 1),
        (UNKNOWN_CODE, 1, OrderState.FILLED, 0),
        (UNKNOWN_CODE, 2, OrderState.WORKING, 0),
        (WARNING, 1, OrderState.WORKING, 0),
    ],
    ids=["unknown code", "verify", "settled meanwhile", "no such order", "settles nothing"],
)
async def test_broker_is_asked_about_an_order_that_is_still_unsettled(
    code: int, number: int, later: OrderState, asked: int
) -> None:
    view = View([_order(1, OrderState.WORKING), _order(9, OrderState.WORKING)])
    inquiries = _inquiries(view)
    inquiries.note([_notice(number, code)])
    view.take([_order(1, later)])
    asked_for: asyncio.Queue[str] = asyncio.Queue()
    serving = asyncio.create_task(inquiries.serve(asked_for.put_nowait))
    await asyncio.sleep(0)
    inquiries.note([_notice(9, UNKNOWN_CODE)])
    async with asyncio.timeout(60):
        questions = [await asked_for.get() for _ in range(asked + 1)]
    await asyncio.sleep(0)  # one more question would come in the next turn
    serving.cancel()
    assert questions == ["notice"] * (asked + 1)
    assert asked_for.empty()


class Looked:
    """Remembers which orders were looked for."""

    def __init__(self) -> None:
        self.rounds: list[list[str]] = []
        self.came = asyncio.Event()

    async def __call__(self, order_ids: Sequence[str]) -> None:
        self.rounds.append(list(order_ids))
        self.came.set()


async def test_new_orders_that_may_have_been_refused_are_looked_for_once_for_a_burst() -> None:
    names = range(1, 6)
    answered = [_order(n, OrderState.IN_FLIGHT).evolve(acknowledged=False) for n in names]
    view = View([o.evolve(answered_sequence=1, code=UNKNOWN_CODE) for o in answered])
    looked, asked_for = Looked(), asyncio.Queue[str]()
    inquiries = _inquiries(view, looked)
    inquiries.note([_notice(n, UNKNOWN_CODE) for n in names])
    serving = asyncio.create_task(inquiries.serve(asked_for.put_nowait))
    async with asyncio.timeout(60):
        await looked.came.wait()
    serving.cancel()
    assert looked.rounds == [[f"order {n}" for n in names]]
    assert asked_for.empty(), "no whole comparison follows"


async def test_the_broker_is_asked_no_more_often_than_a_message_may_take_to_settle() -> None:
    clock = ManualClock(datetime(2026, 11, 2, tzinfo=UTC))
    view = View([_order(n, OrderState.WORKING) for n in range(1, 6)])
    inquiries, asked_for = _inquiries(view, clock=clock, settle_seconds=4), asyncio.Queue[str]()
    serving = asyncio.create_task(inquiries.serve(asked_for.put_nowait))
    asked = []
    # The first is due at 4, and waits a second for others; the next round is four seconds later.
    for number, seconds in ((1, 0), (2, 3), (3, 2), (4, 3), (5, 1)):
        clock.advance(seconds)
        inquiries.note([_notice(number, UNKNOWN_CODE)])
        for _ in range(3):
            await asyncio.sleep(0)
        asked.append((clock.monotonic(), asked_for.qsize()))
    serving.cancel()
    assert asked == [(0, 0), (3, 0), (5, 1), (8, 1), (9, 2)]


async def _nobody(order_ids: Sequence[str]) -> None:
    raise AssertionError(f"nobody looks for {order_ids}")


def _inquiries(
    view: View,
    look_for: Callable[[Sequence[str]], Awaitable[None]] = _nobody,
    *,
    clock: Clock | None = None,
    settle_seconds: float = 0,
) -> Inquiries:
    return Inquiries(
        look_for=look_for,
        view=view,
        client_id=CLIENT_ID,
        clock=clock or SystemClock(),
        settle_seconds=settle_seconds,
    )


def _notice(number: int, code: int) -> Envelope:
    event = NoticeReceived(subject_id=number, code=code, text="something")
    return Envelope(1, event, Context(actor="broker"), datetime(2026, 11, 2, tzinfo=UTC))


def _order(number: int, state: OrderState) -> Order:
    return Order(
        order_id=f"order {number}",
        origin="ours",
        account="DU1",
        contract=Contract(symbol="AAPL"),
        terms=Limit("BUY", 10, "20"),
        actor="test",
        state=state,
        acknowledged=True,
        client_id=CLIENT_ID,
        broker_order_id=number,
    )
