"""Whether the process that holds a lease is alive, and what its row tells of the time."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest

from oms.errors import DatabaseDamaged
from oms.store.lease import lease_of, process_is_alive

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


def test_process_that_runs_is_alive() -> None:
    assert process_is_alive(os.getpid())


@pytest.mark.skipif(sys.platform != "linux", reason="only /proc tells a zombie")
def test_process_that_ended_is_dead_before_its_parent_has_looked() -> None:
    with subprocess.Popen([sys.executable, "-c", ""], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.read()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert not process_is_alive(child.pid)


@pytest.mark.parametrize(
    "text",
    ["x", "", "2026-11-23T12:00:00", "9999-12-31T23:59:59+00:00", "0001-01-01T00:00:00+00:00"],
)
@pytest.mark.parametrize("column", [6, 7])
def test_a_row_whose_times_can_be_none_is_damage(column: int, text: str) -> None:
    row: list[object] = ["daemon", "me", "here", 1, 1, 10.0, *[NOON.isoformat()] * 2]
    row += [None, None, None, None]
    assert lease_of(row).log_time_at == NOON
    row[column] = text
    with pytest.raises(DatabaseDamaged, match="daemon"):
        lease_of(row)


@pytest.mark.parametrize("hours", [-1, 0, 1])
def test_the_time_of_the_log_is_told_by_the_lease_alive_and_dead(hours: int) -> None:
    """The clock is an hour off the log, and went on by so much since the last heartbeat."""
    log_time = NOON - timedelta(hours=hours)
    process_id = os.getpid()
    row = ("daemon", "me", "here", process_id, 1, 10.0, NOON.isoformat(), log_time.isoformat(), "")
    lease = lease_of((*row, 3, 0.5, 0.25))
    for seconds in (0, 3, 9):
        passed = timedelta(seconds=seconds)
        assert lease.time_of_log(NOON + passed, "here") == log_time + passed
    # An hour's step since that heartbeat: nobody knows yet, and the next one will tell.
    passed = timedelta(minutes=10)
    assert lease.time_of_log(NOON + passed, "here") == log_time + passed
    given_back = lease_of((*row[:6], *[None] * 6))
    assert given_back.time_of_log(NOON, "here") is None
