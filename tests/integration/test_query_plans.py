"""No question of the shell reads a table that grows with the log from end to end.

Every statement that a verb sends to SQLite is caught, and its plan is asked for. What may be
walked: the live rows, by their own index; as many rows as a limit says, in the order of an index;
and, to be counted, an index that has all that is needed.
"""

from __future__ import annotations

import re
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest
from sqlalchemy import event
from sqlalchemy.pool import Pool

from oms.cli import main
from oms.core.events import Pending
from oms.store import schema
from tests.lives import Life
from tests.pasts import write

LIFE = """
session
intent BUY 100 LMT 10
sent
open Submitted
fill 40 @ 10
commission x.1.01 1
B: intent SELL 50 LMT 12 con=2
B: sent
B: status Cancelled 0
position 100 9.4
"""
#: What has a row for each order, execution, comparison or message.
GROWING = ("events", "order_events", "orders", "fills", "unknown_orders", "early_commissions")
GROWING += ("runs", "sessions", "anomalies", "alarms")
QUESTIONS = (
    "orders",
    "orders --all",
    "orders --all --limit 10",
    "orders --all --symbol ACME",
    "orders --account U1 --state FILLED",
    "order A",
    "fills",
    "fills --symbol ACME --limit 5",
    "positions",
    "account",
    "breaks",
    "log",
    "log --type OrderIntended",
    "log --order A",
    "log --code 201",
    "log --actor broker --limit 5",
    "log --count --by type",
    "why 3",
    "why A",
    "status",
    "alarms",
    "alarms --all",
    "requests",
    "orders --as-of 8",
    "fills --as-of 8 --by happened",
    "status --as-of 8",
)


@pytest.fixture
def statements() -> Iterator[list[str]]:
    """Return the statements that are run meanwhile, each with its values."""
    found: list[str] = []

    # Any: an adapter of an asynchronous driver, or the connection itself.
    def watch(driver: object, _record: object) -> None:
        connection = getattr(driver, "driver_connection", driver)
        getattr(connection, "_conn", connection).set_trace_callback(found.append)

    event.listen(Pool, "connect", watch)
    yield found
    event.remove(Pool, "connect", watch)


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "oms.sqlite"
    schema.upgrade(str(path))
    facts = Life().play(LIFE).envelopes
    write(path, [(one.recorded_at, Pending(one.event, one.context)) for one in facts])
    monkeypatch.setenv("OMS_DATABASE_URL", str(path))
    monkeypatch.chdir(tmp_path)
    return path


def walks(connection: sqlite3.Connection, statement: str) -> list[str]:
    """Return which steps of a statement walk a table that grows."""
    plan = [row[-1] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}")]
    is_sorted = not any("TEMP B-TREE FOR ORDER BY" in step for step in plan)
    is_bounded = is_sorted and re.search(r"\bLIMIT \d", statement)
    is_count = "count(*)" in statement
    found = []
    for step in plan:
        walked = re.match(r"SCAN (\w+)(?: USING (COVERING )?INDEX (\w+))?", step)
        if walked is None or walked[1] not in GROWING:
            continue
        if (walked[3] or "").endswith("_live") or is_bounded or (is_count and walked[2]):
            continue
        found.append(step)
    return found


def test_no_question_walks_a_table_that_grows(
    log: Path, statements: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = {}
    with closing(sqlite3.connect(log)) as connection:
        for question in QUESTIONS:
            statements.clear()
            monkeypatch.setattr(sys, "argv", ["oms", *question.split()])
            with suppress(SystemExit):
                main()
            asked = {text for text in statements if re.match(r"\s*(SELECT|WITH)\b", text)}
            assert asked, question
            for text in asked:
                if steps := walks(connection, text):
                    wrong[text] = (question, steps)
    assert wrong == {}


def test_a_walk_is_seen(log: Path) -> None:
    """The test above finds what it looks for."""
    with closing(sqlite3.connect(log)) as connection:
        assert walks(connection, "SELECT count(*) FROM orders WHERE live = 0")
        assert walks(connection, "SELECT * FROM fills ORDER BY symbol LIMIT 5")
        assert walks(connection, "SELECT * FROM events WHERE type = 'OrderIntended' ORDER BY hash")
        assert not walks(connection, "SELECT * FROM orders WHERE live = 1")
        assert not walks(connection, "SELECT * FROM events ORDER BY sequence DESC LIMIT 1")
