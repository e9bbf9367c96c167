"""The lease on a slow disk, and the time of the log that it carries."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from oms.clock import ManualClock, SteadyClock
from oms.errors import LeaseHeld
from oms.store.backend import PostgreSQLConnection, SQLiteConnection
from oms.store.log import EventLog, append_foreign
from tests.conformance.conftest import Place
from tests.conformance.facts import gap
from tests.conformance.test_event_log import START, claim, lease, opened_log, stored, watching


def slow_commits(
    monkeypatch: pytest.MonkeyPatch, clock: ManualClock, seconds: float
) -> list[Callable[[], object]]:
    """Let each commit take so long; what is put into the list happens once, after the next one and
    before its end is known.
    """
    then: list[Callable[[], object]] = []
    for kind in (SQLiteConnection, PostgreSQLConnection):
        true = kind.execute

        def execute(connection: Any, statement: str, *rest: Any, true: Any = true) -> int:
            done: int = true(connection, statement, *rest)
            if statement == "COMMIT":
                clock.advance(seconds)
                if then:
                    then.pop()()
            return done

        monkeypatch.setattr(kind, "execute", execute)
    return then


async def test_commit_slower_than_the_lease_does_not_cost_it(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody watches it, which the holder reads after the commit: what it wrote may leave."""
    clock = ManualClock(START)
    async with opened_log(place, lease=lease(), clock=clock, poll_seconds=60) as log:
        slow_commits(monkeypatch, clock, 30)
        for _ in range(3):
            await log.append(gap())
            assert log.holds_lease()
            clock.advance(8)
            assert not log.holds_lease()


async def test_commit_slower_than_the_lease_leaves_it_to_who_watches(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who watched since the commit may take it any moment: nothing leaves before a quick one."""
    clock = ManualClock(START)
    async with opened_log(place, lease=lease(), clock=clock, poll_seconds=60) as log:
        then = slow_commits(monkeypatch, clock, 9)
        then.append(lambda: place.sql("UPDATE leases SET claim = 'another'"))
        await log.append(gap())
        assert not log.holds_lease()
        monkeypatch.undo()
        await log.append(gap())
        assert log.holds_lease()
        assert place.sql("SELECT claim FROM leases") == [(None,)]


async def test_who_watches_says_so_before_its_seconds_count(place: Place) -> None:
    claim(place, process_id=1, host="elsewhere")
    clock = ManualClock(START + timedelta(hours=1))
    async with watching(place, clock) as opening:
        ((said,),) = place.sql("SELECT claim FROM leases")
        assert "test on" in said
        clock.advance(10)
        log = await opening
        assert place.sql("SELECT claim FROM leases") == [(None,)]
        await log.close()


async def test_start_that_is_refused_leaves_the_holder_sure(place: Place) -> None:
    """A claim counts until the next sign of life."""
    clock = ManualClock(START)
    async with opened_log(place, lease=lease(), clock=clock) as log:
        with pytest.raises(LeaseHeld):
            await EventLog.open(place.url, clock=clock, lease=lease(holder="other"))
        place.sql("UPDATE leases SET claim = 'gone'")
        clock.advance(9)
        async with asyncio.timeout(30):
            while not log.holds_lease():  # noqa: ASYNC110  # another thread's state
                await asyncio.sleep(0.01)


@pytest.mark.parametrize("step", [3_600, -3_600, 86_400])
async def test_clock_that_is_set_does_not_move_the_log_by_a_shell(place: Place, step: int) -> None:
    """A request is recorded in the time of the daemon's log, whatever the shell's clock shows."""
    machine = ManualClock(START)
    steady = SteadyClock(machine)
    async with opened_log(place, lease=lease(), clock=steady, poll_seconds=60) as log:
        await log.append(gap("before"))
        machine.advance(3)
        machine.step(step)
        append_foreign(place.url, [gap("by a shell")], clock=machine, needs_daemon=False)
        machine.advance(1)
        await log.append(gap("after"))
    times = [e.recorded_at - START for e in await stored(place)]
    assert times == sorted(times)
    assert times[1] <= timedelta(seconds=10)
    assert times[2] < timedelta(seconds=12)


async def test_shell_without_a_daemon_goes_by_its_own_clock(place: Place) -> None:
    async with opened_log(place, lease=lease(), clock=ManualClock(START)) as log:
        await log.append(gap())
    later = ManualClock(START + timedelta(days=1))
    append_foreign(place.url, [gap("halt")], clock=later, needs_daemon=False)
    assert (await stored(place))[-1].recorded_at == START + timedelta(days=1)
