"""The time of a log while the machine's clock is set."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from oms.clock import ManualClock, SteadyClock

START = datetime(2026, 3, 2, 14, 30, tzinfo=UTC)


@pytest.mark.parametrize("step", [-3600, 3600])
def test_a_wait_is_as_long_when_the_clock_is_set_by_an_hour(step: float) -> None:
    machine = ManualClock(START)
    clock = SteadyClock(machine)
    since = clock.now()
    machine.step(step)
    for _ in range(60):
        machine.advance(1)
        clock.now()
    assert abs(clock.now() - since - timedelta(seconds=60)) <= timedelta(seconds=6)


def test_a_small_correction_is_followed_and_the_time_never_goes_back() -> None:
    machine = ManualClock(START)
    clock = SteadyClock(machine)
    machine.step(0.4)
    assert clock.now() == START + timedelta(seconds=0.4)
    machine.step(-0.9)
    assert clock.now() == START + timedelta(seconds=0.4)
    machine.advance(10)
    assert clock.now() == START + timedelta(seconds=9.5)


def test_the_log_goes_on_from_its_last_time_when_the_clock_was_set_back_between_two_runs() -> None:
    machine = ManualClock(START)
    clock = SteadyClock(machine)
    clock.go_on_from(START + timedelta(hours=1))
    machine.advance(60)
    waited = clock.now() - START - timedelta(hours=1)
    assert timedelta(seconds=54) <= waited <= timedelta(seconds=60)
