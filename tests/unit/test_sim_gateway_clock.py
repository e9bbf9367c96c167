"""The clock inside a gateway, over one that a test moves."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from functools import partial

import pytest

from oms.sim.clock import RealClock, SteppedClock
from oms.sim.gateway.gateway_clock import TURN_SECONDS, GatewayClock


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


async def test_between_what_falls_due_at_once_others_have_their_turn() -> None:
    """What one loop does for its sockets waits for a turn, not for a thousand timers."""
    loop = asyncio.get_running_loop()
    done: list[str] = []
    ended = asyncio.Event()
    clock = GatewayClock(RealClock(), lambda: None)

    def work(name: str) -> None:
        if name == "first":
            loop.call_soon(done.append, "another")
        until = loop.time() + TURN_SECONDS
        while loop.time() < until:
            pass
        done.append(name)
        if name == "last":
            ended.set()

    for name in ("first", "second", "last"):
        clock.call_later(0.01, partial(work, name))
    clock.call_later(0.01, lambda: done.append("cancelled")).cancel()
    await ended.wait()
    assert done == ["first", "another", "second", "last"]


def clocks() -> tuple[list[str], SteppedClock, GatewayClock]:
    """What was done, the clock below, and the gateway's."""
    done: list[str] = []
    stepped = SteppedClock(datetime(2026, 1, 5, 17, tzinfo=UTC))
    return done, stepped, GatewayClock(stepped, lambda: done.append("flush"))
