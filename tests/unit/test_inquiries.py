"""An order that a message left unsettled is asked about, unless its own news was faster."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest

from oms.clock import SystemClock
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
    inquiries = Inquiries(view=view, client_id=CLIENT_ID, clock=SystemClock(), settle_seconds=0)
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
