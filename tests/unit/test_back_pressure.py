"""What waits for the disk is seen while it waits."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

from oms.clock import ManualClock
from oms.core.events import Context, GapClosed, Pending
from oms.core.situation import judge
from oms.report.situation_json import queue_words, situation_json
from oms.service import metrics
from oms.store import schema
from oms.store.lease import LeaseRequest
from oms.store.log import EventLog
from oms.store.reader import Reader
from oms.store.situation import read_situation
from oms.telemetry import REGISTRY
from tests.world import new_database

GAP = Pending(GapClosed(opened_sequence=1, cause="back"), Context("daemon"))


def seen(name: str) -> float | None:
    return REGISTRY.get_sample_value(f"oms_append_{name}")


async def test_queue_and_its_oldest_event_are_seen_before_the_disk_answers(
    tmp_path: Path,
) -> None:
    path = str(tmp_path / "log.sqlite")
    schema.upgrade(path)
    clock = ManualClock(datetime(2026, 1, 5, tzinfo=UTC))
    log = await EventLog.open(path, clock=clock, lease=None)
    metrics.watch(log)
    assert (seen("queue_length"), seen("oldest_seconds")) == (0, 0)
    first = log.append(GAP)
    clock.advance(5)
    log.append(GAP)
    clock.advance(2)
    # Nothing of it can be published before this task waits.
    assert (seen("queue_length"), seen("oldest_seconds")) == (2, 7)
    await first
    await log.flush()
    assert (seen("queue_length"), seen("oldest_seconds")) == (0, 0)
    await log.close()


async def test_the_lease_says_the_most_that_waited_since_the_sign_of_life_before(
    tmp_path: Path,
) -> None:
    path = str(tmp_path / "log.sqlite")
    new_database(Path(path))
    clock = ManualClock(datetime(2026, 1, 5, tzinfo=UTC))
    request = LeaseRequest("line", "oms run", "here", os.getpid(), seconds=9)
    log = await EventLog.open(path, clock=clock, lease=request)
    reader = await Reader.open(path)
    clock.advance(4)
    log.append(GAP)
    clock.advance(0.5)
    await log.append_together([GAP, GAP])
    (lease,) = await reader.leases()
    assert (lease.waiting, lease.oldest_seconds) == (3, 0.5)
    clock.advance(4)
    await log.append(GAP)
    (lease,) = await reader.leases()
    assert (lease.waiting, lease.oldest_seconds, lease.append_seconds) == (1, 0, 0)
    situation = await read_situation(
        reader, clock.now(), host="here", resets=(), reconcile_interval_seconds=0
    )
    assert situation_json(situation, judge(situation))["daemon"]["leases"][0]["queue"] == {
        "waiting": 1,
        "oldest_seconds": 0.0,
        "append_seconds": 0.0,
    }
    assert queue_words(situation.claims[0]) == (
        "at most 1 event waited for the disk, the oldest 0.000 s; a transaction took up to 0.000 s"
    )
    await reader.close()
    await log.close()
