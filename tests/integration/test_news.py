"""Only news is stored: a row of an answer that says what the log has is named, not repeated."""

from __future__ import annotations

import asyncio
import hashlib
import json
import shutil
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import oms
from oms.core.events import (
    CompletedOrderReceived,
    DoubtResolved,
    PositionReceived,
    QueryAnswered,
    Question,
)
from oms.core.fold.records import OrderState
from oms.store.rebuild import rebuild_check
from tests.shell import Shell
from tests.simulator import Simulator
from tests.world import MSFT, World, a_world

pytestmark = pytest.mark.slow

#: Events that are rows or ends of answers.
ROWS = ("PositionReceived", "PortfolioReceived", "AccountValueReceived", "OpenOrderReceived")
ROWS += ("OrderStatusReceived", "CompletedOrderReceived", "AnswerEndReceived")


def told(database: Any) -> list[tuple[int, dict[str, Any]]]:
    """Return every answer as its stored text has it, with the sequence of the event."""
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as log:
        select = "SELECT sequence, payload FROM events WHERE type = 'QueryAnswered' ORDER BY 1"
        found = log.execute(select).fetchall()
    return [
        (sequence, one)
        for sequence, payload in found
        for one in (*json.loads(payload).get("also", ()), json.loads(payload)["question"])
    ]


def named(spans: list[dict[str, int]]) -> set[int]:
    return {n for span in spans for n in range(span["first"], span["last"] + 1)}


def rows_of(database: Any, sequence: int, kind: str, account: str = "") -> list[tuple[str, str]]:
    """Rebuild an answer from the stored texts alone, as an outsider would, and hold it against its
    digest; return type and payload of its rows.
    """
    said = {s: q for s, q in told(database) if (q["kind"], q.get("account", "")) == (kind, account)}
    chain = [said[sequence]]
    while like := chain[-1].get("like", 0):
        chain.append(said[like])
    names: set[int] = set()
    for question in reversed(chain):
        names -= named(question.get("left_out", ()))
        names |= named(question.get("taken_in", ()))
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as log:
        select = "SELECT type, payload FROM events WHERE sequence = ?"
        rows = [log.execute(select, (name,)).fetchone() for name in sorted(names)]
    lines = sorted(f"{name} {payload}" for name, payload in rows)
    digest = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    assert digest == said[sequence]["set_digest"]
    return rows


def check_all(database: Any) -> None:
    """Rebuild every whole answer that the log tells of."""
    for sequence, question in told(database):
        if question["outcome"] == "complete":
            rows_of(database, sequence, question["kind"], question.get("account", ""))


@pytest.fixture
def shell(world: World, tmp_path: Path) -> Shell:
    return Shell(tmp_path, {"OMS_DATABASE_URL": f"sqlite:///{world.database}"})


async def counted(world: World) -> Counter[str]:
    await world.oms.log.flush()
    return Counter(type(e.event).__name__ for e in await world.oms.reader.events(limit=10_000))


async def last_question(world: World, kind: str) -> Question:
    answers = [q for one in await world.log(QueryAnswered) for q in one.questions]
    return [one for one in answers if one.kind == kind][-1]


async def test_a_comparison_of_what_stands_still_stores_no_row(world: World) -> None:
    await world.start()
    await world.bought()
    await world.resting(contract=MSFT)
    await world.reconcile()
    await world.oms.gateway.accounts.refresh()
    before = await counted(world)
    for _ in range(3):
        await world.reconcile()
        await world.oms.gateway.accounts.refresh()
    new = await counted(world) - before
    assert {name: number for name, number in new.items() if name in ROWS} == {}
    for kind, rows in (("positions", 1), ("open_orders", 2), ("executions", 2)):
        question = await last_question(world, kind)
        assert (question.rows, question.repeats, question.came, question.gone) == (
            (rows, rows, (), ())
        ), kind
        assert question.like
    check_all(world.database)
    await world.agree()


async def test_a_quick_check_of_what_stands_still_is_one_event(world: World) -> None:
    await world.start()
    await world.bought()
    await world.resting(contract=MSFT)
    quick = world.oms.schedule._quick
    assert not await quick.look()
    before = await counted(world)
    for _ in range(3):
        assert not await quick.look()
    assert await counted(world) - before == {"QueryAnswered": 3}
    check_all(world.database)


async def test_a_position_that_vanished_between_two_answers_is_named(world: World) -> None:
    await world.start()
    await world.bought()
    await world.reconcile()
    held = world.view.positions
    (key,) = held
    asked = len(told(world.database))
    await world.simulator.do("position_adjust", symbol="AAPL", quantity=-10)
    await world.reconcile()
    answers = [(s, q) for s, q in told(world.database)[asked:] if q["kind"] == "positions"]
    # The second is asked to see the difference twice (decision 0040).
    assert [q.get("gone", ()) for _, q in answers] == [[f"position:{key}"], []]
    for sequence, question in answers:
        assert (question["rows"], question["came"]) == (0, [])
        assert rows_of(world.database, sequence, "positions") == []
    assert ("quantity_drift", "AAPL") in world.open_cases()
    check_all(world.database)


async def test_a_repeat_renews_the_time_at_which_ib_said_it_last(world: World) -> None:
    await world.start()
    await world.bought()
    await world.reconcile()
    (before,) = world.view.positions.values()
    await world.reconcile()
    (after,) = world.view.positions.values()
    assert after.broker_sequence == before.broker_sequence
    assert before.broker_at is not None
    assert after.broker_at is not None
    assert after.broker_at > before.broker_at
    question = await last_question(world, "positions")
    assert after.broker_at == question.answered_at


async def test_why_shows_the_whole_answer_and_its_proof(world: World, shell: Shell) -> None:
    await world.start()
    await world.bought()
    await world.resting(contract=MSFT)
    for _ in range(2):
        await world.reconcile()
    sequence = max(s for s, q in told(world.database) if q["kind"] == "open_orders")
    await world.stop()
    (answer,) = (await shell.oms("why", str(sequence), "--json")).json["answers"]
    assert answer["proven"] is True
    assert [row["type"] for row in answer["rows"]] == ["OpenOrderReceived", "OrderStatusReceived"]
    assert all(row["sequence"] < answer["question"]["asked_sequence"] for row in answer["rows"])
    shown = (await shell.oms("why", str(sequence))).out
    assert "The digest of the answer is that of these rows." in shown
    assert "2 rows, 2 of them as before" in shown
    with closing(sqlite3.connect(world.database)) as database:
        database.execute("DROP TRIGGER events_refuse_update")
        database.execute(
            'UPDATE events SET payload = replace(payload, \'"set_digest":"\', \'"set_digest":"0\')'
            " WHERE sequence = ?",
            (sequence,),
        )
        database.commit()
    await shell.oms("why", str(sequence), expect=4)


async def test_story_of_an_ended_order_is_not_told_again_by_each_comparison(world: World) -> None:
    await world.start()
    ticket = await world.bought()
    await world.reconcile()
    story = await world.oms.reader.sequences_of([ticket.order_id])
    for _ in range(3):
        await world.reconcile()
    assert await world.oms.reader.sequences_of([ticket.order_id]) == story
    (completed,) = await world.log(CompletedOrderReceived)
    assert completed.order_ref == ticket.order_id


async def test_an_order_that_we_took_for_gone_is_at_work_again_by_a_row_like_the_last(
    world: World,
) -> None:
    """The same words mean something new where our books have changed meanwhile."""
    await world.start()
    ticket = await world.resting()
    await world.reconcile()
    (sequence,) = await world.person(
        DoubtResolved(order_id=ticket.order_id, outcome="ended", evidence=(), text="a person says")
    )
    assert ticket.state is OrderState.CANCELLED
    await world.reconcile()
    assert ticket.state is OrderState.WORKING
    shown = await world.oms.reader.events(sequence, type="OpenOrderReceived")
    assert len(shown) == 1
    check_all(world.database)


async def test_a_row_that_repeats_one_of_an_answer_without_an_end_is_named(world: World) -> None:
    await world.start(request_timeout_seconds=1)
    await world.simulator.do("position_adjust", symbol="AAPL", quantity=7)
    await world.simulator.do(
        "fault", direction="out", message="positionEnd", action="drop", times=1
    )
    await world.reconcile()
    outcomes = [
        (q["outcome"], q["rows"], q["repeats"])
        for _, q in told(world.database)
        if q["kind"] == "positions"
    ]
    assert outcomes[1] == ("partial", 1, 0)
    partial = [(s, q) for s, q in told(world.database) if q["outcome"] == "partial"]
    assert named(partial[0][1]["taken_in"]) != set()
    await world.reconcile()
    await world.reconcile()
    last = await last_question(world, "positions")
    assert (last.outcome, last.rows, last.repeats) == ("complete", 1, 1)
    # The second came while the end of the first question was owed: it may have been pushed.
    assert len(await world.log(PositionReceived)) == 2
    check_all(world.database)


async def test_a_connection_lost_in_an_answer_makes_nothing_vanish(world: World) -> None:
    await world.start()
    await world.bought()
    await world.resting(contract=MSFT)
    await world.reconcile()
    before = await world.books()
    await world.simulator.do(
        "fault", direction="out", message="openOrderEnd", action="cut", times=1
    )
    await world.again(world.oms.schedule._quick.look)
    cut = next(q for _, q in told(world.database) if q["outcome"] == "partial")
    assert (cut["kind"], cut["rows"], cut["repeats"]) == ("open_orders", 2, 2)
    assert len(named(cut["taken_in"])) == 2
    check_all(world.database)
    question = await last_question(world, "positions")
    assert (question.outcome, question.rows) == ("complete", 1)
    assert before["executions"] == (await world.books())["executions"]
    await world.agree()


@pytest.mark.crash
async def test_a_process_that_dies_between_a_row_and_the_end_of_its_answer_loses_nothing(
    world: World, simulator: Simulator, tmp_path: Path
) -> None:
    """What the disk has in that moment is what the next process finds."""
    await world.start()
    await world.bought()
    await world.reconcile()
    rows = len(await world.log(PositionReceived))
    await simulator.do("position_adjust", symbol="AAPL", quantity=5)
    await simulator.do("fault", direction="out", message="positionEnd", action="drop", times=1)
    looking = asyncio.create_task(world.reconcile())
    await world.until_logged(PositionReceived, rows + 1)
    left = tmp_path / "left.sqlite"
    with (
        closing(sqlite3.connect(world.database)) as one,
        closing(sqlite3.connect(left)) as other,
    ):
        one.backup(other)
    await looking
    await world.stop()

    asked = {q["asked_sequence"] for _, q in told(left)}
    with closing(sqlite3.connect(left)) as log:
        select = "SELECT sequence FROM events WHERE type = 'QueryAsked'"
        assert {s for (s,) in log.execute(select)} - asked, "a question without an answer"
    (tmp_path / "next").mkdir()
    async with a_world(tmp_path / "next", simulator) as again:
        shutil.copyfile(left, again.database)
        await again.start()
        assert len(await again.log(PositionReceived)) == rows + 1, "the row is known"
        question = await last_question(again, "positions")
        assert (question.outcome, question.rows, question.repeats) == ("complete", 1, 1)
        assert again.open_cases() == [("quantity_drift", "AAPL")]
        await again.oms.log.flush()
        check_all(again.database)
        assert rebuild_check(f"sqlite:///{again.database}").equal


async def test_a_restart_knows_what_was_said_before_it(world: World) -> None:
    await world.start()
    await world.bought()
    await world.resting(contract=MSFT)
    await world.reconcile()
    await world.oms.gateway.accounts.refresh()
    await world.stop()
    await world.start()
    before = await counted(world)
    await world.oms.gateway.accounts.refresh()
    question = await last_question(world, "positions")
    assert (question.rows, question.repeats, question.came, question.gone) == (1, 1, (), ())
    new = await counted(world) - before
    assert new["AccountValueReceived"] == new["PortfolioReceived"] == 0
    check_all(world.database)
    assert rebuild_check(f"sqlite:///{world.database}").equal


async def test_what_is_pushed_is_stored_however_often_it_repeats(world: World) -> None:
    await world.start()
    ticket = await world.resting()
    await world.reconcile()
    before = await counted(world)
    number = {"order_ref": ticket.order_id}
    for _ in range(3):
        await world.simulator.do("send", message="orderStatus", **number)
    await world.until_logged(oms.core.events.OrderStatusReceived, before["OrderStatusReceived"] + 3)
    assert (await counted(world) - before)["OrderStatusReceived"] == 3
