"""What waits for the disk is seen while it waits."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from oms.clock import ManualClock
from oms.core.events import Context, GapClosed, Pending
from oms.service import metrics
from oms.store import schema
from oms.store.log import EventLog
from oms.telemetry import REGISTRY

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
