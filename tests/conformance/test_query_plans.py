"""No question of the shell or of a page reads a table that grows with the log from end to end.

Goal: an answer does not take longer because the log is longer. Method: every statement that a verb
or a page sends to either database is caught, and its plan is asked for. What may be walked: the
live rows, by their own index; as many rows as a limit says, in the order of an index; and, to be
counted, an index that has all that is needed. PostgreSQL is told that a scan is dear, or it would
scan tables as small as those of a test.
"""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from oms.cli import main
from oms.clock import SystemClock
from oms.core.events import Pending
from oms.settings import Settings
from oms.store.backend import Connection, Value, connect, parse_url
from oms.web.app import create_app
from tests.conformance.conftest import Place
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


PAGES = (
    "/",
    "/overview.json",
    "/health",
    "/orders",
    "/orders?show=all",
    "/orders?symbol=ACME",
    "/orders?show=all&state=FILLED&limit=10",
    "/orders?count_by=symbol",
    "/orders/A",
    "/fills",
    "/fills?symbol=ACME",
    "/positions",
    "/positions?strategy=x",
    "/breaks",
    "/breaks?show=all",
    "/accounts",
    "/alarms",
    "/alarms?show=all",
    "/requests",
    "/reports",
    "/log",
    "/log?type=OrderIntended",
    "/log?code=201&count_by=symbol",
    "/log/3",
    "/why/3",
    "/why/A",
    "/orders?as_of=8",
)
#: A statement with its values.
Asked = tuple[str, tuple[Value, ...]]


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> list[Asked]:
    """Return the queries that are run meanwhile, each with its values."""
    found: list[Asked] = []
    rows, scanned = Connection.rows, Connection.scanned

    def noted(
        connection: Connection, statement: str, values: Sequence[Value] = ()
    ) -> list[tuple[Any, ...]]:
        found.append((statement, tuple(values)))
        return rows(connection, statement, values)

    def noted_scan(connection: Connection, statement: str) -> Iterator[list[tuple[Any, ...]]]:
        found.append((statement, ()))
        return scanned(connection, statement)

    monkeypatch.setattr(Connection, "rows", noted)
    monkeypatch.setattr(Connection, "scanned", noted_scan)
    return found


@pytest.fixture
def log(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    facts = Life().play(LIFE).envelopes
    write(place.url, [(one.recorded_at, Pending(one.event, one.context)) for one in facts])
    monkeypatch.setenv("OMS_DATABASE_URL", place.url)
    monkeypatch.chdir(tmp_path)
    return place.url


def walks(connection: Connection, asked: Asked) -> list[str]:
    """Return which steps of a statement walk a table that grows."""
    statement, values = asked
    is_sqlite = connection.backend_name == "sqlite"
    explain = "EXPLAIN QUERY PLAN" if is_sqlite else "EXPLAIN"
    plan = [str(row[-1]) for row in connection.rows(f"{explain} {statement}", values)]
    if is_sqlite:
        is_sorted = any("TEMP B-TREE FOR ORDER BY" in step for step in plan)
        is_bounded = " LIMIT " in statement and not is_sorted
    else:
        # What an index has in order by a part of the key is sorted a few at a time.
        is_sorted = any(re.search(r"(?<!Incremental )Sort  \(", step) for step in plan)
        is_bounded = any("Limit  (" in step for step in plan) and not is_sorted
    is_count = "count(*)" in statement
    return [
        step
        for step, table, name, is_covering in (_of_sqlite if is_sqlite else _of_postgresql)(plan)
        if table in GROWING
        and not (name.endswith("_live") or is_bounded or (is_count and is_covering))
    ]


#: A step that walks, its table, its index, and whether the index has all that is needed.
Walk = tuple[str, str, str, bool]


def _of_sqlite(plan: Sequence[str]) -> Iterator[Walk]:
    for step in plan:
        found = re.match(r"SCAN (\w+)(?: USING (COVERING )?INDEX (\w+))?", step)
        if found is not None:
            yield step, found[1], found[3] or "", bool(found[2])


def _of_postgresql(plan: Sequence[str]) -> Iterator[Walk]:
    for step, after in zip(plan, [*plan[1:], ""], strict=True):
        if found := re.search(r"Seq Scan on (\w+)", step):
            yield step, found[1], "", False
        found = re.search(r"Index (Only )?Scan(?: Backward)? using (\w+) on (\w+)", step)
        if found is not None and "Index Cond" not in after:
            yield step, found[3], found[2], bool(found[1])


def check(url: str, statements: list[Asked], question: str) -> dict[str, tuple[str, list[str]]]:
    """Return what walks of the statements of a question, and forget them."""
    asked = {
        one[0]: one
        for one in statements
        # What stands beside the log is not there before a daemon has made it.
        if re.match(r"\s*(SELECT|WITH)\b", one[0]) and "oms_history." not in one[0]
    }
    assert asked, question
    with closing(connect(parse_url(url), "read")) as connection:
        if connection.backend_name != "sqlite":
            connection.execute("SET enable_seqscan = off")
        found = {text: (question, walks(connection, one)) for text, one in asked.items()}
    statements.clear()
    return {text: told for text, told in found.items() if told[1]}


def test_no_question_of_the_shell_walks_a_table_that_grows(
    log: str, statements: list[Asked], monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong: dict[str, tuple[str, list[str]]] = {}
    for question in QUESTIONS:
        monkeypatch.setattr(sys, "argv", ["oms", *question.split()])
        with suppress(SystemExit):
            main()
        wrong |= check(log, statements, question)
    assert wrong == {}


def test_no_page_walks_a_table_that_grows(log: str, statements: list[Asked]) -> None:
    app = create_app(Settings(database_url=log), now=SystemClock().now)

    async def visit() -> dict[str, tuple[str, list[str]]]:
        wrong: dict[str, tuple[str, list[str]]] = {}
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            for page in PAGES:
                answer = await client.get(page)
                assert answer.status_code in {200, 503}, (page, answer.text)
                wrong |= check(log, statements, page)
        return wrong

    assert asyncio.run(visit()) == {}


def test_a_walk_is_seen(log: str) -> None:
    """The tests above find what they look for."""
    with closing(connect(parse_url(log), "read")) as connection:
        if connection.backend_name != "sqlite":
            connection.execute("SET enable_seqscan = off")
        assert walks(connection, ("SELECT count(*) FROM orders WHERE live = 0", ()))
        assert walks(connection, ("SELECT * FROM fills ORDER BY symbol LIMIT 5", ()))
        by_hash = "SELECT * FROM events WHERE type = 'OrderIntended' ORDER BY hash"
        assert walks(connection, (by_hash, ()))
        assert not walks(connection, ("SELECT * FROM orders WHERE live = 1", ()))
        newest = "SELECT * FROM events ORDER BY sequence DESC LIMIT 1"
        assert not walks(connection, (newest, ()))
