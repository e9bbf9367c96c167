"""What a person asks for at another terminal is carried out in order, once, or answered with why
not.
"""

from __future__ import annotations

import asyncio
from decimal import Decimal

import pytest

import oms
from oms.clock import SystemClock
from oms.core.events import (
    CancelDenied,
    CancelRequested,
    Context,
    Event,
    ModifyDenied,
    ModifyRequested,
    OrderDenied,
    OrderIntended,
    OrderRequested,
    Pending,
    ReconciliationCompleted,
    ReconciliationRequested,
)
from oms.core.fold.records import OrderState
from oms.errors import DaemonNotRunning
from oms.store.log import EventLog, append_foreign
from tests.world import AAPL, LOW, MSFT, World

pytestmark = pytest.mark.slow


def _wanted(order_id: str, contract: oms.Contract = AAPL, **more: Decimal) -> OrderRequested:
    return OrderRequested(
        order_id=order_id,
        account="",
        contract=contract,
        terms=oms.Limit("BUY", 10, LOW),
        reason="by hand",
        **more,
    )


async def test_a_requested_order_is_intended_with_the_request_as_its_cause(world: World) -> None:
    await world.start()
    (sequence,) = await world.person(_wanted("asked"))
    await world.until(lambda: world.state_of("asked") is OrderState.WORKING)
    (intended,) = await world.oms.reader.events(type="OrderIntended")
    assert (intended.context.causation_sequence, intended.context.actor) == (
        sequence,
        "person:test",
    )
    await world.agree()


async def test_requests_about_one_order_are_carried_out_in_their_order(world: World) -> None:
    await world.start()
    await world.person(
        _wanted("asked"),
        ModifyRequested(order_id="asked", limit_price=Decimal(11)),
        CancelRequested(order_id="asked"),
    )
    await world.until(lambda: world.state_of("asked") is OrderState.CANCELLED)
    story = [type(e.event).__name__ for e in await world.oms.reader.order_events("asked")]
    ours = [name for name in story if name.endswith(("Intended", "Denied"))]
    assert ours in (
        ["OrderIntended", "ModifyIntended", "CancelIntended"],
        ["OrderIntended", "ModifyDenied", "CancelIntended"],  # IB had not named it yet
    )
    await world.agree()


async def test_a_bracket_that_is_requested_is_sent_whole(world: World) -> None:
    await world.start()
    legs = {"take_profit": Decimal(1000), "stop_loss": Decimal(5)}
    await world.person(_wanted("asked", **legs))
    await world.until(lambda: world.state_of("asked-sl") is OrderState.WORKING)
    assert [i.order_id for i in await world.log(OrderIntended)] == [
        "asked",
        "asked-tp",
        "asked-sl",
    ]


async def test_a_cancel_waits_neither_for_another_look_up_nor_for_a_comparison(
    world: World,
) -> None:
    await world.start(request_timeout_seconds=10)
    resting = await world.resting()
    for message in ("reqContractDetails", "reqPositions"):
        await world.simulator.do("hold", message=message, times=1)
    await world.person(ReconciliationRequested(request_id="compare"), _wanted("slow", MSFT))
    await world.asked("positions")
    await world.person(CancelRequested(order_id=resting.order_id))
    assert (await resting.done()).state is OrderState.CANCELLED
    assert world.state_of("slow") is None
    await world.simulator.do("release")
    await world.until(lambda: world.state_of("slow") is OrderState.WORKING)


async def test_a_requested_comparison_names_its_request(world: World) -> None:
    await world.start()
    await world.person(ReconciliationRequested(request_id="compare-1", reason="end of day"))
    await world.until_logged(ReconciliationCompleted, 2)
    report = (await world.log(ReconciliationCompleted))[-1]
    assert (report.request_id, report.trigger) == ("compare-1", "end of day")


@pytest.mark.parametrize(
    ("request_", "denial", "words"),
    [
        (_wanted("asked", oms.Stock("NOSUCH")), OrderDenied, "NOSUCH"),
        (CancelRequested(order_id="nobody"), CancelDenied, "there is no order nobody"),
        (
            ModifyRequested(order_id="nobody", quantity=Decimal(1)),
            ModifyDenied,
            "there is no order nobody",
        ),
    ],
    ids=["contract", "cancel", "modify"],
)
async def test_a_request_that_cannot_be_carried_out_is_answered_with_why(
    world: World, request_: Event, denial: type[OrderDenied | CancelDenied], words: str
) -> None:
    await world.start()
    await world.person(request_)
    await world.until_logged(denial)
    (denied,) = await world.log(denial)
    assert words in denied.text


async def test_a_request_without_a_line_is_denied_and_not_kept_for_later(world: World) -> None:
    await world.start()
    await world.simulator.do("refuse")
    await world.simulator.do("cut")
    await world.until(lambda: not world.view.system.connected)
    await world.person(_wanted("asked"))
    await world.until(lambda: world.state_of("asked") is OrderState.DENIED)
    await world.again(lambda: world.simulator.do("accept"))
    assert await world.received("asked") == 0


async def test_what_was_asked_of_a_daemon_that_died_is_denied_by_the_next(world: World) -> None:
    await world.start()
    resting = await world.resting()
    await world.stop()
    left_over: list[Event] = [
        _wanted("late"),
        ModifyRequested(order_id=resting.order_id, limit_price=Decimal(11)),
        CancelRequested(order_id=resting.order_id),
    ]
    await _leave_over(world, left_over)
    await world.start()
    assert (await world.stored("late")).state is OrderState.DENIED
    for kind in (OrderDenied, ModifyDenied, CancelDenied):
        (denied,) = await world.log(kind)  # type: ignore[type-abstract]
        assert "stopped before it took the request up" in denied.text  # type: ignore[attr-defined]
    assert await world.received("late") == 0
    await world.stop()
    await world.start()
    assert len(await world.log(OrderDenied)) == 1
    assert len(await world.log(CancelDenied)) == 1
    await world.agree()


async def test_without_a_daemon_nothing_is_appended(world: World) -> None:
    await world.start()
    settings = world.oms.settings
    await world.stop()
    pending = Pending(_wanted("asked"), Context(actor="person:test"))
    with pytest.raises(DaemonNotRunning):
        await asyncio.to_thread(
            append_foreign, settings.database_url, [pending], clock=SystemClock()
        )
    await world.start()
    assert await world.log(OrderRequested) == []


async def _leave_over(world: World, events: list[Event]) -> None:
    """Write requests as a shell does in the moment before the daemon dies."""
    url = f"sqlite:///{world.database}"
    log = await EventLog.open(url, clock=SystemClock(), lease=None)
    await log.append_together([Pending(e, Context(actor="person:test")) for e in events])
    await log.close()
