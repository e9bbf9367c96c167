"""`oms why` over a log that a daemon has written: an order, a position, a break, an event."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, cast

import pytest

from oms.core.events import (
    EVENT_TYPES,
    Context,
    DaemonStarted,
    Event,
    EventSetAside,
    ExecutionReceived,
    OrderIntended,
    OrderRequested,
    Pending,
    QueryAnswered,
    Question,
    ReconciliationStarted,
    ServerTimeRead,
    SessionReady,
    SettingInForce,
)
from oms.history.why import why
from oms.store.reader import Reader
from tests.lives import START, Life
from tests.pasts import write
from tests.shell import Shell
from tests.stored_events import example_of
from tests.world import ACCOUNT, World, new_database

QUESTION: Final = example_of(Question, whole=False)

pytestmark = pytest.mark.slow


@pytest.fixture
def shell(world: World, tmp_path: Path) -> Shell:
    return Shell(tmp_path, {"OMS_DATABASE_URL": str(world.database)})


async def test_why_walks_from_anything_back_to_what_a_person_asked(
    world: World, shell: Shell
) -> None:
    await world.start(order_quantity_max=500, watch_interval_seconds=0.05)
    await shell.oms("buy", "10", "AAPL", "--order-id", "first")
    await world.until(lambda: world.view.orders["first"].commissions)
    await world.bought(5)
    first, second = await world.log(ExecutionReceived)
    await world.simulator.do("correct", exec_id=first.exec_id, price="12")
    await world.simulator.do("bust", exec_id=second.exec_id)
    await world.until_logged(ExecutionReceived, 4)
    await world.simulator.do("position_adjust", symbol="AAPL", quantity=3)
    await world.reconcile()
    (case,) = world.view.open_breaks()
    await world.until_logged(ServerTimeRead)
    await shell.oms("explain", case.break_id, "IB is late")
    # From here on only what stands in the log counts.
    await check_order(shell, world.oms.reader)
    await check_position(shell, first.contract.con_id)
    await check_break(shell, case.break_id)
    await check_execution(shell, first.exec_id, second.exec_id)
    await check_events(shell, world.oms.reader)


async def check_order(shell: Shell, reader: Reader) -> None:
    order = (await shell.oms("why", "first", "--json")).json
    roles = {step["type"]: step["role"] for step in order["steps"]}
    assert roles["OrderRequested"] == "request"
    assert roles["OrderIntended"] == "intent"
    assert roles["OrderMessageSent"] == "sent"
    assert roles["ExecutionReceived"] == "broker"
    assert chain(order, "OrderStatusReceived") == [
        ("attributed", "OrderMessageSent"),
        ("named", "OrderIntended"),
        ("named", "OrderRequested"),
    ]
    story = {one.sequence for one in await reader.order_events("first")}
    assert story <= {step["sequence"] for step in order["steps"]}
    assert every_cause_is_older_and_shown(order)
    assert order["broker_clock"]["error_ms"] > 0
    # Whatever shows IB's times says how far they can be from ours.
    assert (await shell.oms("order", "first", "--json")).json["broker_clock"]["error_ms"] > 0
    assert "the gateway's clock was" in " ".join((await shell.oms("order", "first")).out.split())
    fills = await shell.oms("fills", "--json")
    assert all(one["broker_clock"]["error_ms"] > 0 for one in fills.json["fills"])
    assert " ms from ours" in (await shell.oms("fills")).err
    intended = next(step for step in order["steps"] if step["type"] == "OrderIntended")
    limits = dict(zip(intended["payload"]["checks"], intended["payload"]["limits"], strict=True))
    assert limits["quantity"] == "500"

    shown = await shell.oms("why", "first", "--wire")
    assert "attributed: by its number" in shown.out
    assert "passed: halt (always)" in " ".join(shown.out.split())


async def check_position(shell: Shell, con_id: int) -> None:
    position = (await shell.oms("why", f"{ACCOUNT}:{con_id}", "--json")).json
    assert [(one["what"], one["quantity"], one["held"]) for one in position["movements"]] == [
        ("correction", "10", "10"),
        ("bust", "0", "10"),
    ]
    corrected = position["movements"][0]
    assert corrected["price"] == "12"
    (earlier,) = corrected["revisions"]
    assert json.loads((await shell.oms("why", str(earlier), "--json")).out)["subject"] == str(
        earlier
    )


async def check_break(shell: Shell, break_id: str) -> None:
    found = (await shell.oms("why", break_id[:5], "--json")).json
    types = [step["type"] for step in found["steps"]]
    assert {"BreakOpened", "BreakExplained", "CaseRequested", "PositionReceived"} <= set(types)
    assert {one["kind"] for one in found["questions"]} >= {"positions", "executions"}
    assert every_cause_is_older_and_shown(found)


async def check_execution(shell: Shell, corrected: str, busted: str) -> None:
    for exec_id, said in ((corrected, "BUY 10 AAPL at 12 in"), (busted, "taken back: BUY AAPL")):
        found = (await shell.oms("why", exec_id, "--json")).json
        assert (found["about"], found["headline"].startswith(said)) == ("execution", True)
        first, later = [one for one in found["steps"] if one["type"] == "ExecutionReceived"]
        assert later["causes"][0] == {
            "sequence": first["sequence"],
            "how": "attributed",
            "text": f"it takes the place of {exec_id}",
        }
        assert every_cause_is_older_and_shown(found)
    assert "the execution is taken back" in later["sentence"]


async def check_events(shell: Shell, reader: Reader) -> None:
    (request,) = await reader.events(type=OrderRequested.__name__)
    event = (await shell.oms("why", str(request.sequence), "--json")).json
    assert [step["type"] for step in event["steps"]] == ["OrderRequested"]
    assert [step["type"] for step in event["consequences"]] == ["OrderIntended"]

    answered = await reader.events(type=QueryAnswered.__name__, limit=1)
    asked = await why(reader, str(answered[0].sequence))
    assert [type(step.envelope.event).__name__ for step in asked.steps] == [
        "DaemonStarted",
        "SessionOpened",
        "ReconciliationStarted",
        "QueryAsked",
        "QueryAnswered",
    ]


async def test_why_of_the_line_names_what_was_heard(world: World, shell: Shell) -> None:
    await world.start()
    for code in (1100, 1102):
        await world.notice(code)
        await world.notice(2104)
    await world.until_logged(SessionReady, 2)
    events = {type(one.event).__name__: one for one in await world.oms.reader.events(limit=1_000)}
    run = (await shell.oms("why", str(events["ReconciliationStarted"].sequence), "--json")).json
    causes = {one["type"]: [link["sequence"] for link in one["causes"]] for one in run["steps"]}
    told = [one["sequence"] for one in run["steps"] if one["type"] == "NoticeReceived"]
    assert [one["payload"]["code"] for one in run["steps"] if one["sequence"] in told] == [
        1100,
        1102,
    ]
    assert causes["GapOpened"] == told[:1]
    assert causes["GapClosed"] == [told[1], events["GapOpened"].sequence]
    assert causes["ReconciliationStarted"] == [events["GapClosed"].sequence]
    heard = (await shell.oms("why", str(told[0]), "--json")).json
    assert [one["type"] for one in heard["consequences"]] == ["GapOpened"]
    await shell.oms("reconcile")
    (asked,) = (await shell.oms("requests", "--json")).json["requests"]
    found = (await shell.oms("why", asked["request_id"], "--json")).json
    assert (found["about"], found["subject"]) == ("event", str(asked["sequence"]))


async def test_why_ends_with_4_where_an_event_that_it_shows_was_altered(
    world: World, shell: Shell, tmp_path: Path
) -> None:
    await world.start()
    await world.bought(5)
    (fill,) = await world.oms.reader.events(type=ExecutionReceived.__name__)
    await world.stop()
    copy = tmp_path / "altered.sqlite"
    shutil.copy(world.database, copy)
    with closing(sqlite3.connect(copy)) as database:
        database.execute("DROP TRIGGER events_refuse_update")
        database.execute(
            'UPDATE events SET payload = replace(payload, \'"quantity":"5"\', '
            '\'"quantity":"50"\') WHERE sequence = ?',
            (fill.sequence,),
        )
        database.commit()
    said = await shell.oms("why", str(fill.sequence), "--database", str(copy), expect=4)
    assert str(fill.sequence) in said.err


async def test_why_of_nothing_names_what_can_be_asked_for(world: World, shell: Shell) -> None:
    await world.start()
    said = await shell.oms("why", "nothing", expect=1)
    assert "ACCOUNT:CONID" in said.err


@asynccontextmanager
async def reading(path: Path) -> AsyncIterator[Reader]:
    reader = await Reader.open(str(path))
    yield reader
    await reader.close()


def chain(answer: Any, last: str) -> list[tuple[str, str]]:
    """Return the way from the last event of a type back to the root, by the nearest cause."""
    by_sequence = {step["sequence"]: step for step in answer["steps"]}
    step = [one for one in answer["steps"] if one["type"] == last][-1]
    found = []
    while step["causes"]:
        link = step["causes"][-1] if step["type"] == last else step["causes"][0]
        step = by_sequence[link["sequence"]]
        found.append((link["how"], step["type"]))
    return found


def every_cause_is_older_and_shown(answer: Any) -> bool:
    shown = {step["sequence"] for step in answer["steps"]}
    links = [(s["sequence"], link["sequence"]) for s in answer["steps"] for link in s["causes"]]
    assert links
    return all(cause < own and cause in shown for own, cause in links)


async def test_every_event_of_a_log_has_a_cause_or_a_sentence_why_there_is_none(
    tmp_path: Path,
) -> None:
    """Every type of event, each without a word about what it follows from."""
    path = tmp_path / "oms.sqlite"
    new_database(path)
    facts = [
        Pending(cast("Event", example_of(cls, whole=False)), Context("person:anna", 1))
        for cls in EVENT_TYPES.values()
    ]
    write(path, [(START, one) for one in facts])
    seen = set()
    async with reading(path) as reader:
        for number in range(1, (await reader.head()).sequence + 1):
            step = (await why(reader, str(number))).steps[-1]
            assert step.envelope.sequence == number
            assert bool(step.causes) != bool(step.beginning)
            assert step.envelope.context.actor
            seen.add(type(step.envelope.event))
    assert seen >= {*EVENT_TYPES.values()} - {EventSetAside}


async def test_what_the_clock_started_names_the_setting_that_said_when(tmp_path: Path) -> None:
    path = tmp_path / "oms.sqlite"
    new_database(path)
    in_force = tuple(
        SettingInForce(name=name, value=value, source="default")
        for name, value in (("glance_interval_seconds", "60"), ("reconcile_interval_seconds", "0"))
    )
    start = DaemonStarted(
        program_version="1", host="h", process_id=1, client_id=1, mode="paper", settings=in_force
    )
    told = write(
        path,
        [
            (START, Pending(one, Context("daemon")))
            for one in (
                start,
                QueryAnswered(run_id="G1", question=QUESTION),
                QueryAnswered(run_id="R1", question=QUESTION),
                ReconciliationStarted(run_id="R2", trigger="glance"),
                ReconciliationStarted(run_id="R3", trigger="midnight"),
            )
        ],
    )
    assert told[-1].sequence == 5
    async with reading(path) as reader:
        quick = (await why(reader, "4")).steps[-1]
        assert [(one.sequence, one.how, one.text) for one in quick.causes] == [
            (2, "attributed", "the quick check that found something new"),
            (
                1,
                "attributed",
                "the settings of this start: OMS_GLANCE_INTERVAL_SECONDS was 60",
            ),
        ]
        # What a start did not write down is not made up.
        night = (await why(reader, "5")).steps[-1]
        assert [one.text for one in night.causes] == ["the settings of this start"]
        begun = (await why(reader, "1")).consequences
        assert [step.envelope.sequence for step in begun] == [4, 5]


async def test_an_order_of_a_group_names_the_order_that_it_is_attached_to(tmp_path: Path) -> None:
    path = tmp_path / "oms.sqlite"
    new_database(path)
    facts = Life().play("session\nintent BUY 1 LMT 10\nB: intent SELL 1 LMT 12\n").envelopes
    *before, child = [Pending(one.event, one.context) for one in facts]
    assert isinstance(child.event, OrderIntended)
    asked = replace(child.context, causation_sequence=1)
    before.append(Pending(child.event.evolve(parent_order_id="A"), asked))
    write(path, [(START, one) for one in before])
    last = len(before)
    async with reading(path) as reader:
        causes = (await why(reader, str(last))).steps[-1].causes
        assert [(one.sequence, one.how, one.text) for one in causes] == [
            (last - 1, "named", "the order that it is attached to"),
            (1, "named", "said because of this"),
        ]
        of_parent = await why(reader, str(last - 1))
        assert [step.envelope.sequence for step in of_parent.consequences] == [last]
