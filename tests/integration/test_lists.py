"""The lists of alarms and requests, the order of a list, and what a question without an answer is
told: on a small log that is written here.
"""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from oms.core.events import (
    AlarmCleared,
    AlarmKind,
    AlarmRaised,
    CancelDenied,
    CancelRequested,
    Context,
    DaemonStarted,
    Event,
    GlobalCancelRequested,
    OrderIntended,
    OrderRequested,
    Pending,
    PositionReceived,
    ReconciliationRequested,
    ReconciliationStarted,
    Terms,
)
from oms.errors import InvalidRequest
from oms.history import query, records
from oms.store import schema
from oms.store.reader import Reader
from tests.lives import ACCOUNT, ACME, Life
from tests.pasts import Fact, write
from tests.shell import Shell

pytestmark = pytest.mark.slow

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
TERMS = Terms(side="BUY", quantity=Decimal(200), order_type="LMT", limit_price=Decimal(10))


def day() -> list[Fact]:
    """Return a day on which people ask and alarms stand, an event a minute."""
    facts: list[Fact] = []

    def fact(
        event: Event,
        actor: str = "daemon",
        *,
        cause: int | None = None,
        joined: str | None = None,
        happened: int | None = None,
    ) -> None:
        at = NOON + timedelta(minutes=len(facts))
        occurred_at = None if happened is None else NOON + timedelta(minutes=happened)
        facts.append((at, Pending(event, Context(actor, 0, occurred_at, joined, cause))))

    def alarm(kind: AlarmKind, name: str, **more: str) -> AlarmRaised:
        since = NOON - timedelta(hours=1)
        return AlarmRaised(
            alarm_id=name, kind=kind, subject="it", since=since, text="for long", **more
        )

    anna, bob = "person:anna", "person:bob"
    fact(DaemonStarted(program_version="0", host="h", process_id=2, client_id=1, mode="paper"))
    asked = OrderRequested(order_id="A", account=ACCOUNT, contract=ACME, terms=TERMS)
    fact(asked, anna, joined="A")
    intended = OrderIntended(order_id="A", account=ACCOUNT, contract=ACME, terms=TERMS)
    fact(intended, anna, cause=2, joined="A")
    fact(CancelRequested(order_id="A"), bob, joined="A")
    fact(CancelDenied(order_id="A", text="it has not left"), cause=4, joined="A")
    fact(ReconciliationRequested(request_id="q1"), bob, joined="q1")
    fact(ReconciliationStarted(run_id="R1", trigger="request"), cause=6, joined="R1")
    fact(GlobalCancelRequested(reason="storm"), anna)
    fact(alarm("order_silent", "a1", order_id="A", account=ACCOUNT, symbol="ACME"))
    fact(alarm("disk_low", "a2"))
    fact(AlarmCleared(alarm_id="a1"))
    held = PositionReceived(account=ACCOUNT, contract=ACME, quantity=Decimal(1))
    fact(held, "broker", happened=-30)
    return facts


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    path = tmp_path / "oms.sqlite"
    schema.upgrade(str(path))
    write(path, day())
    return Shell(tmp_path, {"OMS_DATABASE_URL": str(path)})


async def test_requests_say_what_became_of_them(shell: Shell) -> None:
    async def became(*words: str) -> dict[str, tuple[str, list[int]]]:
        found = (await shell.oms("requests", *words, "--json")).json["requests"]
        return {one["type"]: (one["became"], one["answers"]) for one in found}

    assert await became() == {
        "OrderRequested": ("done", [3]),
        "CancelRequested": ("refused", [5]),
        "ReconciliationRequested": ("under_way", [7]),
        "GlobalCancelRequested": ("waiting", []),
    }
    # What was answered later waited then.
    assert (await became("--as-of", "4"))["CancelRequested"] == ("waiting", [])
    assert list(await became("--as-of", "4")) == ["OrderRequested", "CancelRequested"]
    assert list(await became("--actor", "person:anna", "--symbol", "ACME")) == ["OrderRequested"]
    words = (await shell.oms("requests", "--type", "CancelRequested")).out
    assert "it has not left" in words
    counted = await shell.oms("requests", "--count", "--by", "actor", "--json")
    assert counted.json["counts"] == [
        {"value": "person:anna", "count": 2},
        {"value": "person:bob", "count": 2},
    ]
    assert "is no request" in (await shell.oms("requests", "--type", "OrderDenied", expect=2)).err


async def test_alarms_stand_until_they_are_over(shell: Shell) -> None:
    async def kinds(*words: str) -> list[str]:
        found = (await shell.oms("alarms", *words, "--json")).json["alarms"]
        return [one["kind"] for one in found]

    assert await kinds() == ["disk_low"]
    assert await kinds("--all") == ["order_silent", "disk_low"]
    assert await kinds("--as-of", "10") == ["order_silent", "disk_low"]
    assert await kinds("--as-of", "9", "--by", "happened") == ["order_silent"]
    assert await kinds("--all", "--class", "order-silent", "--order", "A") == ["order_silent"]
    assert await kinds("--all", "--sort", "-class") == ["order_silent", "disk_low"]
    assert "1 are over" not in (await shell.oms("alarms", "--all")).err
    assert "1 are over" in (await shell.oms("alarms")).err
    counted = (await shell.oms("alarms", "--all", "--count", "--by", "class", "--json")).json
    assert counted["total"] == 2
    why = (await shell.oms("why", "a1", "--json")).json
    assert (why["about"], [one["sequence"] for one in why["steps"]][-2:]) == ("alarm", [9, 11])
    assert why["steps"][-1]["causes"][0]["sequence"] == 9
    # The events of an alarm are found by its kind, its end too.
    lines = (await shell.oms("log", "--class", "order_silent", "--json")).out.splitlines()
    assert [json.loads(one)["type"] for one in lines] == ["AlarmRaised", "AlarmCleared"]


@pytest.mark.parametrize(
    ("words", "first"),
    [
        (("--sort", "happened"), [12, 1, 2]),
        (("--sort", "-happened"), [11, 10, 9]),
        (("--sort", "-sequence"), [12, 11, 10]),
        (("--sort", "sequence"), [1, 2, 3]),
        (("--sort", "actor"), [12, 1, 5]),
        (("--sort", "-actor"), [6, 4, 8]),
        (("--sort", "type", "--actor", "person:anna"), [8, 3, 2]),
        # Those without one come last.
        (("--sort", "symbol", "--since", "8"), [9, 11, 12]),
    ],
)
async def test_events_come_in_the_order_asked_for(
    shell: Shell, words: tuple[str, ...], first: list[int]
) -> None:
    lines = (await shell.oms("log", *words, "--limit", "3", "--json")).out.splitlines()
    assert [json.loads(line)["sequence"] for line in lines] == first


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("log", "--sort", "colour"), "an event cannot be sorted by 'colour'"),
        (("log", "--sort", "type", "--after", "3"), "pages follow the log"),
        (("log", "--sort", "type", "--follow"), "does not go with --sort"),
        (("log", "--during", "2026-06", "--since", "2026-06-01"), "does not go with since"),
        (("log", "--during", "today 14:03Z"), "is no day and no month"),
        (("log", "--limit", "0"), "limit is a whole number from 1 to"),
        (("orders", "--limit", "-1"), "limit is a whole number from 1 to"),
        (("log", "--limit", "99999999999999999999"), "limit is a whole number"),
        (("alarms", "--count", "--by", "code"), "an alarm has no 'code' to count by"),
        (("alarms", "--class", "order_quiet"), "no class is called"),
        (("positions", "--zone", "Mars"), "no time zone is called"),
    ],
)
async def test_what_cannot_be_asked_is_refused(
    shell: Shell, words: tuple[str, ...], said: str
) -> None:
    assert said in (await shell.oms(*words, expect=2)).err


async def test_day_of_a_zone_is_that_of_the_zone_named(shell: Shell) -> None:
    # 12:00 UTC is 21:00 in Tokyo: all of it is the first of June there, too.
    for words in (("--during", "2026-06-01"), ("--during", "2026-06-01 Tokyo")):
        assert (await shell.oms("log", *words, "--count", "--json")).json["total"] == 12
    pago = ("--since", "2026-06-01 01:05", "--zone", "Pago Pago")
    assert (await shell.oms("log", *pago, "--count", "--json")).json["total"] == 7
    at = ("--as-of", "2026-06-01 21:02", "--zone", "Asia/Tokyo", "--json")
    assert (await shell.oms("orders", *at)).json["as_of"]["sequence"] == 3


async def test_question_beyond_the_end_of_the_log_says_where_it_ends(shell: Shell) -> None:
    for words in (("log", "--since", "20260601"), ("orders", "--all", "--since", "2026-06-02")):
        assert "the log ends with event 12" in (await shell.oms(*words)).err


#: What the orders, fills and positions of one strategy, and the alarm about one of its orders, are
#: found by; the other order of the log is Bob's, in another session, and answers none of it.
FOUND_BY = (
    {"order": "A"},
    {"account": ACCOUNT},
    {"symbol": "acme"},
    {"con_id": 1},
    {"side": "BUY"},
    {"state": "FILLED"},
    {"code": 399},
    {"actor": "strategy:mean"},
    {"strategy": "mean"},
    {"session": 1},
)


async def test_every_list_is_asked_for_everything(tmp_path: Path) -> None:
    path = tmp_path / "two.sqlite"
    schema.upgrade(str(path))
    life = Life().play(
        "session\nintent BUY 5 LMT 10\nsent\nnotice 399\nfill 5 @ 10\nstatus Filled 5"
    )
    raised = AlarmRaised(
        alarm_id="a",
        kind="order_silent",
        subject="A",
        since=NOON,
        text="x",
        account=ACCOUNT,
        symbol="ACME",
        order_id="A",
    )
    life.apply(raised, "A", "watchman")
    life.play(
        "session\nB: intent SELL 5 LMT 10 con=2 account=U2\nB: sent\n"
        "B: fill 1 @ 10 con=2 account=U2"
    )
    other = raised.evolve(alarm_id="b", subject="B", account="U2", symbol="C2", order_id="B")
    life.apply(other, "B", "watchman")
    facts = [
        Pending(one.event, replace(one.context, actor="strategy:mean"))
        if isinstance(one.event, OrderIntended) and one.event.order_id == "A"
        else Pending(one.event, one.context)
        for one in life.envelopes
    ]
    write(path, [(NOON, one) for one in facts])
    reader = await Reader.open(str(path))
    try:
        for words in FOUND_BY:
            asked = query.parse(words)
            found = {
                table: [one.key for one in await records.find(reader, table, asked)]
                for table in ("orders", "fills", "positions", "alarms")
            }
            # An export reads every record, page by page, and takes the same ones.
            taken = {
                table: [one.key for one in await which.of(await reader.rows(table))]
                for table in found
                for which in [await records.choice(reader, table, asked)]
            }
            assert taken == found, words
            assert found == {
                "orders": ["A"],
                "fills": [f"{ACCOUNT}:x.1"],
                "positions": [f"{ACCOUNT}:1"],
                "alarms": ["a"],
            }, words
    finally:
        await reader.close()


async def test_records_are_not_asked_what_only_events_have(shell: Shell) -> None:
    reader = await Reader.open(shell.settings["OMS_DATABASE_URL"])
    try:
        with pytest.raises(InvalidRequest, match="an order is of no single correlation"):
            await records.find(reader, "orders", query.parse({"correlation": "A"}))
    finally:
        await reader.close()
    found = (await shell.oms("log", "--correlation", "A", "--json")).out.splitlines()
    assert [json.loads(one)["sequence"] for one in found] == [2, 3, 4, 5]
