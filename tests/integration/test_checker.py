"""The independent checker: every claim holds after a good day, and each can fail."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from oms.sim import checker
from tests import programs
from tests.checked import Day, Edit, spent
from tests.simulator import running_simulator

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def good_day(tmp_path_factory: pytest.TempPathFactory) -> Day:
    return spent(tmp_path_factory.mktemp("day"))


@pytest.fixture
def day(good_day: Day, tmp_path: Path) -> Day:
    """A copy of the good day, to be spoilt."""
    return good_day.copy(tmp_path)


def test_every_claim_holds_after_a_good_day(good_day: Day) -> None:
    assert good_day.failed() == set()


def sql(statement: str, *values: object) -> Edit:
    return lambda connection: connection.execute(statement, values)


def body(table: str, **changed: object) -> Edit:
    """Change the record of the first row of a projection."""

    def change(connection: sqlite3.Connection) -> None:
        row = connection.execute(f"SELECT rowid, body FROM {table} ORDER BY rowid").fetchone()
        record = json.dumps({**json.loads(row[1]), **changed})
        connection.execute(f"UPDATE {table} SET body = ? WHERE rowid = ?", (record, row[0]))

    return change


LAST = "(SELECT max(sequence) FROM events)"
OF_INTENT = "(SELECT min(sequence) FROM events WHERE type = 'OrderIntended')"


@pytest.mark.parametrize(
    ("claim", "edit"),
    [
        (
            "sequences",
            sql(f"DELETE FROM events WHERE sequence = {LAST}"),
        ),
        ("sequences", sql("DELETE FROM events WHERE sequence = 5")),
        ("chain", sql("UPDATE events SET payload = replace(payload, 'BUY', 'SELL')")),
        ("chain", sql("UPDATE events SET recorded_at = '2020' WHERE sequence = 7")),
        ("chain", sql("UPDATE events SET wire = '[]' WHERE wire IS NOT NULL")),
        ("chain", sql("UPDATE checkpoints SET hash = zeroblob(32)")),
        ("intended_first", sql(f"DELETE FROM events WHERE sequence = {OF_INTENT}")),
        ("placed_once", sql(f"DELETE FROM events WHERE sequence = {OF_INTENT}")),
        ("changed_as_intended", sql("DELETE FROM events WHERE type = 'ModifyIntended'")),
        ("nothing_lost", sql("DELETE FROM events WHERE type = 'ExecutionReceived'")),
        ("nothing_made_up", body("fills", exec_id="0000.1.01")),
        ("fills", sql("DELETE FROM fills")),
        ("fills", body("fills", quantity="11")),
        ("fills", body("fills", price="0.01")),
        ("fills", body("fills", account="DU9")),
        ("commissions", body("fills", commission="0")),
        ("orders", body("orders", state="WORKING")),
        ("orders", body("orders", filled="9")),
        ("orders", sql("DELETE FROM orders WHERE origin = 'manual'")),
        ("positions", body("positions", quantity="1")),
        ("positions", sql("DELETE FROM positions")),
    ],
)
def test_claim_fails_when_our_file_is_edited(day: Day, claim: str, edit: Edit) -> None:
    day.edit(edit)
    assert claim in day.failed()


Spoil = Callable[[dict[str, Any]], object]


@pytest.mark.parametrize(
    ("claim", "spoil"),
    [
        ("placed_once", lambda b: b["placements"][0].update(received=2)),
        ("placed_once", lambda b: b["placements"][0].update(order_ref="never intended")),
        ("changed_as_intended", lambda b: b["modifications"][0].update(received=2)),
        ("changed_as_intended", lambda b: b["late_modifications"].append(b["modifications"][0])),
        ("nothing_lost", lambda b: b["executions"].append({**b["executions"][0], "exec_id": "x"})),
        ("nothing_made_up", lambda b: b["executions"].pop()),
        ("fills", lambda b: b["executions"][0].update(side="SLD")),
        ("commissions", lambda b: b["commissions"].pop()),
        ("orders", lambda b: b["orders"][0].update(status="Cancelled")),
        ("orders", lambda b: b["orders"][0].update(filled="1")),
        ("orders", lambda b: b["orders"].pop(0)),
        ("positions", lambda b: b["positions"].pop()),
        ("positions", lambda b: b["positions"].append({**b["positions"][0], "con_id": 1})),
    ],
)
def test_claim_fails_when_the_broker_knows_otherwise(day: Day, claim: str, spoil: Spoil) -> None:
    spoil(day.books)
    assert claim in day.failed()


def test_every_claim_is_seen_to_fail() -> None:
    tests = (
        test_claim_fails_when_our_file_is_edited,
        test_claim_fails_when_the_broker_knows_otherwise,
    )
    cases = [case for test in tests for case in test.pytestmark[0].args[1]]  # type: ignore[attr-defined]
    assert {claim for claim, _ in cases} == set(checker.CLAIMS)


async def test_program_says_what_differs_and_ends_with_1(day: Day) -> None:
    async with running_simulator() as empty:
        arguments = ("--database", str(day.database), "--control-port", str(empty.control_port))
        code, out = await run(*arguments)
        assert code == 1
        assert "FAILED  positions" in out
        assert "theirs nothing" in out
        assert "ok      chain" in out


async def run(*arguments: str) -> tuple[int | None, str]:
    program = await programs.start("oms.sim.checker", *arguments)
    out, _ = await program.communicate()
    return program.returncode, out.decode()
