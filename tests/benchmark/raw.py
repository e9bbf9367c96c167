"""The limit: the standard library's sqlite3, the same rows and indexes, and nothing else.

No triggers, no hash, no fold, no thread: what the engine and the disk can do at all. WAL and
synchronous=FULL, as ours.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from oms.store.envelopes import INSERT_EVENTS, draft
from oms.store.tables import EVENT_COLUMNS
from tests.benchmark.flow import Pending
from tests.benchmark.measure import remove

DDL = (
    "CREATE TABLE events (sequence INTEGER PRIMARY KEY, type TEXT NOT NULL, version INTEGER,"
    " recorded_at TEXT, occurred_at TEXT, lease_epoch INTEGER, session_epoch INTEGER, actor TEXT,"
    " correlation_id TEXT, causation_sequence INTEGER, natural_key TEXT, hash BLOB,"
    " payload TEXT, wire TEXT)",
    "CREATE UNIQUE INDEX k ON events (natural_key) WHERE natural_key IS NOT NULL",
    "CREATE INDEX c ON events (correlation_id) WHERE correlation_id IS NOT NULL",
)
INSERT = f"{INSERT_EVENTS} VALUES ({', '.join('?' * len(EVENT_COLUMNS))})"


def rows(facts: Sequence[Pending]) -> list[tuple[Any, ...]]:
    """Return the rows of facts, finished before anything is timed."""
    moment = "2026-11-20T12:00:00.000000+00:00"
    found = []
    for sequence, fact in enumerate(facts, 1):
        d = draft(fact)
        c = fact.context
        name = type(fact.event).__name__
        header = (sequence, name, 1, moment, d.occurred_at, 1, c.session_epoch, c.actor)
        keys = (c.correlation_id, c.causation_sequence, d.natural_key)
        found.append((*header, *keys, sequence.to_bytes(32, "big"), d.payload, d.wire_text))
    return found


def opened(path: Path) -> sqlite3.Connection:
    """Return a connection to a new file with the table."""
    remove(path)
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    for statement in DDL:
        connection.execute(statement)
    return connection


def single(path: Path, stored: Sequence[tuple[Any, ...]]) -> list[float]:
    """Return the seconds of each commit of one row."""
    connection = opened(path)
    seconds = []
    for row in stored:
        began = time.perf_counter()
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(INSERT, row)
        connection.execute("COMMIT")
        seconds.append(time.perf_counter() - began)
    connection.close()
    return seconds


def bulk(path: Path, stored: Sequence[tuple[Any, ...]], size: int = 1_000) -> float:
    """Return the rows a second, in transactions of one size."""
    connection = opened(path)
    began = time.perf_counter()
    for first in range(0, len(stored), size):
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(INSERT, stored[first : first + size])
        connection.execute("COMMIT")
    seconds = time.perf_counter() - began
    connection.close()
    return len(stored) / seconds
