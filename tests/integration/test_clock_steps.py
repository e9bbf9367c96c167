"""The machine's clock is set while the OMS runs, and between two runs."""

from __future__ import annotations

import pytest

import oms
from oms.core.events import AlarmCleared, ClockStepped, OrderRequested
from oms.core.fold.records import OrderState
from tests.world import AAPL, LOW, SetClock, World

pytestmark = pytest.mark.slow
HOUR = 3600


@pytest.fixture
def clock(world: World) -> SetClock:
    clock = SetClock()
    world.clock = clock
    return clock


@pytest.mark.parametrize("step", [-HOUR, HOUR, 3])
async def test_a_clock_that_is_set_is_an_event_and_an_alarm_until_it_is_set_right(
    world: World, clock: SetClock, step: int
) -> None:
    await world.start(watch_interval_seconds=0.05)
    clock.set_by = step
    await world.until(lambda: "clock_stepped:machine" in world.view.alarms)
    assert ("ahead of" if step > 0 else "behind") in world.view.alarms["clock_stepped:machine"].text
    clock.set_by = 0
    await world.until(lambda: "clock_stepped:machine" not in world.view.alarms)
    found = await world.log(ClockStepped)
    assert [round(one.step_ms / 1000) for one in found] == [step, -step]
    assert [one.at_start for one in found] == [False, False]
    assert abs(found[1].offset_ms) < 2_000


async def test_a_start_before_the_last_time_of_the_log_is_an_event_and_an_alarm_for_a_day(
    world: World, clock: SetClock
) -> None:
    await world.start()
    await world.stop()
    clock.set_by = -30 * 24 * HOUR
    await world.start(watch_interval_seconds=0.05)
    await world.until(lambda: "clock_stepped:machine" in world.view.alarms)
    (found,) = await world.log(ClockStepped)
    assert found.at_start
    assert round(found.step_ms / 1000) == round(found.offset_ms / 1000) == -30 * 24 * HOUR
    clock.passed += 27 * HOUR  # the log comes nearer to the clock, so its day is longer
    await world.until_logged(AlarmCleared)


async def test_a_correction_and_a_sleep_of_the_machine_are_no_step(
    world: World, clock: SetClock
) -> None:
    await world.start()
    await world.oms.watchman.look()
    clock.set_by = 1.9
    clock.passed += 8 * HOUR
    await world.oms.watchman.look()
    assert await world.log(ClockStepped) == []
    assert "clock_stepped:machine" not in world.view.alarms


async def test_an_hour_back_while_an_order_is_in_doubt_does_not_prolong_the_doubt(
    world: World, clock: SetClock
) -> None:
    manager = await world.start(acknowledgement_seconds_max=0.2, doubt_settle_seconds=1)
    await world.simulator.do("drop_next", message="placeOrder", direction="in")
    ticket = await manager.submit(AAPL, oms.Limit("BUY", 1, LOW))
    await world.rest(ticket, OrderState.IN_DOUBT)
    clock.set_by = -HOUR
    assert (await ticket.resolved(30)).state is OrderState.NOT_SENT
    await world.agree()


async def test_an_hour_back_before_a_restart_prolongs_no_limit(
    world: World, clock: SetClock
) -> None:
    limits = {"orders_per_minute_max": 1, "order_duplicate_seconds": 60}
    manager = await world.start(**limits)
    await world.rest(await manager.submit(AAPL, oms.Limit("BUY", 1, LOW)))
    await world.stop()
    clock.set_by = -HOUR
    manager = await world.start(**limits)
    denied = await manager.submit(AAPL, oms.Limit("BUY", 1, LOW))
    assert await world.rule_against(denied) in {"rate", "duplicate"}
    clock.passed += 67  # a minute, and the tenth by which the log comes nearer to the clock
    await world.rest(await manager.submit(AAPL, oms.Limit("BUY", 1, LOW)))
    await world.agree()


@pytest.mark.parametrize("step", [-HOUR, HOUR])
async def test_a_shells_request_after_a_step_is_carried_out(
    world: World, clock: SetClock, step: int
) -> None:
    """The shell's clock is the machine's; where that was set back, the last time of the log is all
    that its request can bear.
    """
    manager = await world.start(
        watch_interval_seconds=0.05, request_age_seconds_max=30, lease_seconds=300
    )
    epoch = world.oms.log.lease_epoch
    await world.rest(await manager.submit(AAPL, oms.Limit("BUY", 1, LOW)))
    clock.set_by = step
    await world.until_logged(ClockStepped)
    await world.until(lambda: "clock_stepped:machine" in world.view.alarms)
    clock.passed += 45  # the log is quiet
    asked = OrderRequested(
        order_id="asked", account="", contract=AAPL, terms=oms.Limit("BUY", 2, LOW), reason="test"
    )
    await world.person(asked)
    await world.until(lambda: world.state_of("asked") is OrderState.WORKING)
    assert world.oms.log.lease_epoch == epoch
    assert not world.oms.failure.done()
    await world.agree()
