"""The machine's clock is set while the OMS runs, and between two runs."""

from __future__ import annotations

import pytest

from oms.core.events import AlarmCleared, ClockStepped
from tests.world import SetClock, World

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
