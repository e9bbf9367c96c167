"""Logs that hold what no version of today would append."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime

from oms.clock import SystemClock
from oms.core.codec import Head
from oms.core.events import Pending
from oms.store import schema
from oms.store.backend import connect, parse_url
from oms.store.chain import Chain
from oms.store.envelopes import INSERT_EVENTS, chained, draft


def append_altered(url: str, pending: Pending, known: str, other: str) -> int:
    """Append an event with a part of its text replaced, in its place in the chain, as a version
    that refused less once did; return where it stands.
    """
    fact = draft(pending)
    assert known in fact.payload
    fact = replace(fact, payload=fact.payload.replace(known, other))
    with closing(connect(parse_url(url))) as connection:
        schema.check_connection(connection)
        with connection.writing():
            chain = Chain(connection, SystemClock())
            end = chain.end()
            # Never before the event that it follows.
            at = max(datetime.now(UTC), end.recorded_at or datetime.now(UTC))
            row, digest = chained(
                end.hash, fact, end.sequence + 1, at.isoformat(timespec="microseconds"), 0
            )
            connection.insert(INSERT_EVENTS, [row])
            chain.head = Head(end.sequence + 1, digest)
            chain.write_checkpoint("log")
    return end.sequence + 1
