"""P3, P4, P5: from a fact handed over to durable, alone and in bulk, beside raw sqlite3 and a peer.

Ours includes encoding, natural keys, the hash chain, the guards in the database and the way to the
writer thread and back; with projections also the fold and its rows.

    python -m tests.benchmark append
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path

from oms.clock import SystemClock
from oms.core.events import Pending
from oms.store import schema
from oms.store.lease import LeaseRequest
from oms.store.log import EventLog
from tests.benchmark import peer, raw
from tests.benchmark.flow import pendings
from tests.benchmark.measure import (
    Figures,
    Result,
    Row,
    folder,
    measure,
    percentile,
    print_table,
    quiet_collector,
    remove,
)

SINGLES = 400
BULK = 20_000

ROWS = (
    Row("P3", "single append, p50", "log p50", "raw p50", "raw commit", "ms", at_most=2),
    Row("P3", "single append, p99", "log p99", "raw p99", "raw commit", "ms", at_most=4),
    Row("", "single append, projected, p50", "books p50", "log p50", "log only", "ms"),
    Row("P4", "bulk, log only", "log bulk", "raw bulk", "raw sqlite3", "/s", at_least=0.5),
    Row("P4", "bulk, log only", "log bulk", "peer", "eventsourcing", "/s", at_least=2.5),
    Row("P5", "bulk, projected", "books bulk", "raw bulk", "raw sqlite3", "/s", at_least=0.3),
    Row("P5", "bulk, projected", "books bulk", "peer", "eventsourcing", "/s", at_least=1.5),
)


async def single(path: Path, facts: Sequence[Pending], *, projector: bool) -> list[float]:
    """Return the seconds of each append that is awaited before the next."""
    log = await _open(path, projector=projector)
    await log.append(facts[0])
    seconds = []
    with quiet_collector():
        for fact in facts[1:]:
            began = time.perf_counter()
            await log.append(fact)
            seconds.append(time.perf_counter() - began)
    await log.close()
    return seconds


async def bulk(path: Path, facts: Sequence[Pending], *, projector: bool) -> float:
    """Return the events a second from the first hand-over until the last is durable."""
    log = await _open(path, projector=projector)
    with quiet_collector():
        began = time.perf_counter()
        for fact in facts[:-1]:
            log.append(fact)
        await log.append(facts[-1])
        seconds = time.perf_counter() - began
    await log.close()
    return len(facts) / seconds


async def _open(path: Path, *, projector: bool) -> EventLog:
    remove(path)
    schema.upgrade(str(path))
    lease = LeaseRequest("bench", "bench", "bench", 1)
    return await EventLog.open(str(path), clock=SystemClock(), lease=lease, projector=projector)


def main() -> list[Result]:
    facts = pendings(BULK)
    stored = raw.rows(facts)
    with folder() as where:
        path = where / "log.sqlite"
        other = peer.Peer(where / "peer.sqlite", facts) if peer.AVAILABLE else None

        def one_round() -> Figures:
            alone = raw.single(path, stored[:SINGLES])
            log = asyncio.run(single(path, facts[:SINGLES], projector=False))
            books = asyncio.run(single(path, facts[:SINGLES], projector=True))
            figures = {
                "raw p50": percentile(alone, 50) * 1e3,
                "raw p99": percentile(alone, 99) * 1e3,
                "log p50": percentile(log, 50) * 1e3,
                "log p99": percentile(log, 99) * 1e3,
                "books p50": percentile(books, 50) * 1e3,
                "raw bulk": raw.bulk(path, stored),
                "log bulk": asyncio.run(bulk(path, facts, projector=False)),
                "books bulk": asyncio.run(bulk(path, facts, projector=True)),
            }
            return figures if other is None else figures | {"peer": other.save()}

        return print_table(ROWS, measure(one_round))


if __name__ == "__main__":
    main()
