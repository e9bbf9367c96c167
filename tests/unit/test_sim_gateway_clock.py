"""The clock inside a gateway, over one that a test moves."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from oms.sim.clock import SteppedClock
from oms.sim.gateway.gateway_clock import GatewayClock


def test_what_falls_due_is_followed_by_a_flush() -> None:
    done, stepped, clock = clocks()
    clock.call_later(5, lambda: done.append("timer"))
    stepped.advance(4)
    assert done == []
    stepped.advance(1)
    assert done == ["timer", "flush"]
    assert clock.now() == stepped.now()


def test_a_mistake_in_a_timer_is_logged_and_the_flush_comes_all_the_same(
    caplog: pytest.LogCaptureFixture,
) -> None:
    done, stepped, clock = clocks()
    clock.call_later(1, lambda: done.append(str(1 // 0)))
    stepped.advance(1)
    assert done == ["flush"]
    assert "ZeroDivisionError" in caplog.text


def test_a_timer_that_is_cancelled_never_runs() -> None:
    done, stepped, clock = clocks()
    clock.call_later(1, lambda: done.append("timer")).cancel()
    stepped.advance(2)
    assert done == []


def test_nothing_falls_due_after_the_stop() -> None:
    done, stepped, clock = clocks()
    clock.call_later(1, lambda: done.append("timer"))
    clock.stop()
    stepped.advance(2)
    assert done == []


def clocks() -> tuple[list[str], SteppedClock, GatewayClock]:
    """What was done, the clock below, and the gateway's."""
    done: list[str] = []
    stepped = SteppedClock(datetime(2026, 1, 5, 17, tzinfo=UTC))
    return done, stepped, GatewayClock(stepped, lambda: done.append("flush"))
