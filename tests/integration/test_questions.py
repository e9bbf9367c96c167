"""The commands in docs/operating/questions.md are run as they are printed, on the log of a morning
in which the line was down, a fill was fetched later, and an order was rejected.
"""

from __future__ import annotations

import json
import re
import shlex
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from oms.core.events import (
    CommissionReceived,
    Context,
    DaemonStarted,
    Event,
    ExecutionReceived,
    NoticeReceived,
    OpenOrderReceived,
    OrderIntended,
    OrderMessageSent,
    Pending,
    SessionClosed,
    SessionOpened,
    Terms,
)
from oms.store import schema
from tests.conftest import ROOT
from tests.lives import ACCOUNT, ACME
from tests.pasts import Fact, write
from tests.shell import Shell

pytestmark = pytest.mark.slow

NOON = datetime(2026, 6, 1, 14, tzinfo=UTC)
PAGE = ROOT / "docs" / "operating" / "questions.md"
COMMANDS = [
    shlex.split(line)[1:]
    for block in re.findall(r"^```sh\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.M | re.S)
    for line in block.splitlines()
]
TERMS = Terms(side="BUY", quantity=Decimal(200), order_type="LMT", limit_price=Decimal(10))
IDS: dict[str, Any] = {"broker_order_id": 1, "client_id": 1}


def session_opened() -> SessionOpened:
    return SessionOpened(
        host="gateway",
        port=4002,
        client_id=1,
        server_version=178,
        connection_time="",
        accounts=(ACCOUNT,),
        next_broker_order_id=2,
    )


def morning() -> list[Fact]:
    """Return a session, an order, 60 bought, a line that is lost, and 40 bought meanwhile."""

    def fact(minute: float, event: Event, actor: str, epoch: int, happened: float = 0) -> Fact:
        occurred_at = NOON + timedelta(minutes=happened) if happened else None
        ours = isinstance(event, OrderIntended | OrderMessageSent)
        order_id = ("B" if minute == 20 else "A") if ours else None
        at = NOON + timedelta(minutes=minute)
        return at, Pending(event, Context(actor, epoch, occurred_at, order_id))

    def executed(number: int, quantity: int, price: str, *, fetched: bool) -> ExecutionReceived:
        return ExecutionReceived(
            **IDS,
            perm_id=7,
            order_ref="A",
            account=ACCOUNT,
            contract=ACME,
            exec_id=f"x.{number}.01",
            side="BUY",
            quantity=Decimal(quantity),
            price=Decimal(price),
            venue="NYSE",
            time_text="",
            fetched=fetched,
        )

    started = DaemonStarted(program_version="0", host="h", process_id=2, client_id=1, mode="paper")
    intended = OrderIntended(order_id="A", account=ACCOUNT, contract=ACME, terms=TERMS)
    shown = OpenOrderReceived(
        **IDS,
        perm_id=7,
        order_ref="A",
        account=ACCOUNT,
        contract=ACME,
        side="BUY",
        quantity=TERMS.quantity,
        order_type="LMT",
        limit_price=TERMS.limit_price,
        tif="DAY",
        status="Submitted",
    )
    refused = OrderIntended(order_id="B", account=ACCOUNT, contract=ACME, terms=TERMS)
    number = {"broker_order_id": 2, "client_id": 1}
    sent = OrderMessageSent(kind="place", order_ref="B", **number)
    charge = CommissionReceived(exec_id="x.2.01", commission=Decimal(1), currency="USD")
    return [
        fact(-30, started, "daemon", 0),
        fact(-29, session_opened(), "daemon", 1),
        fact(-10, intended, "strategy:demo", 1),
        fact(-10, OrderMessageSent(kind="place", order_ref="A", **IDS), "daemon", 1),
        fact(-9, shown, "broker", 1),
        fact(-5, executed(1, 60, "9.5", fetched=False), "broker", 1, happened=-5),
        fact(1, SessionClosed(reason="the line was lost", deliberate=False), "daemon", 1),
        fact(10, session_opened(), "daemon", 2),
        fact(10, executed(2, 40, "10", fetched=True), "broker", 2, happened=2),
        fact(10, charge, "broker", 2),
        fact(20, refused, "person:anna", 2),
        fact(20, sent, "daemon", 2),
        fact(20, NoticeReceived(subject_id=2, code=201, text="no margin"), "broker", 2),
    ]


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    path = tmp_path / "oms.sqlite"
    schema.upgrade(str(path))
    write(path, morning())
    return Shell(tmp_path, {"OMS_DATABASE_URL": str(path)})


async def test_commands_of_the_page_run(shell: Shell) -> None:
    assert len(COMMANDS) > 10
    for words in COMMANDS:
        await shell.oms(*words)


async def test_log_that_is_too_short_for_a_snapshot_has_nothing_to_check(shell: Shell) -> None:
    await shell.oms("history", "build")
    said = (await shell.oms("history", "check")).out
    assert "the log is shorter than one snapshot needs: nothing to check" in said
    found = (await shell.oms("history", "check", "--json")).json
    assert (found["ok"], found["checked"], found["differing"]) == (True, 0, [])


async def test_hash_noted_of_an_event_that_the_log_does_not_reach_is_said(shell: Shell) -> None:
    said = await shell.oms("verify", "--expect", f"9999:{'0' * 64}", expect=4)
    assert "the log ends at 13, before event 9999 whose hash was noted" in said.err


async def test_both_answers_are_those_of_the_page(shell: Shell) -> None:
    at = ("--as-of", "2026-06-01T14:03Z", "--json")

    async def held(*more: str) -> tuple[str, str]:
        found = (await shell.oms("positions", *at, *more)).json
        return found["positions"][0]["quantity"], found["as_of"]["by"]

    assert await held() == ("60", "known")
    assert await held("--by", "happened") == ("100", "happened")
    late = (await shell.oms("fills", *at, "--by", "happened")).json["fills"][-1]
    assert (late["occurred_at"], late["commission"]) == ("2026-06-01T14:02:00.000000+00:00", "1")
    then = (await shell.oms("status", *at)).json
    assert (then["session"]["connected"], then["orders"]["live"]) == (False, 1)
    assert then["as_of"]["sequence"] == 7


async def test_program_of_the_page_runs(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    [program] = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.M | re.S)
    names: dict[str, Any] = {}
    exec(compile(program, str(PAGE), "exec"), names)
    monkeypatch.setenv("OMS_DATABASE_URL", shell.settings["OMS_DATABASE_URL"])
    assert await names["held"]() == ["100 ACME"]


async def test_program_of_the_language_runs(shell: Shell) -> None:
    page = ROOT / "docs" / "reference" / "query.md"
    [program] = re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.M | re.S)
    names: dict[str, Any] = {}
    exec(compile(program, str(page), "exec"), names)
    url = shell.settings["OMS_DATABASE_URL"]
    assert (await names["rejects_in_june"](url)).counts == (("ACME", 1),)
    fills = await names["fills_at"](url, "2026-06-01 10:03 New York")
    assert [one.quantity for one in fills] == [60, 40]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--as-of", "2026-06-01T13:00Z"), "before the first event"),
        (("--as-of", "2150-01-01"), "in the future"),
        (("--as-of", "2026-06-01T14:03"), "has no time zone"),
        (("--as-of", "14"), "the log has no event 14"),
        (("--as-of", "5", "--by", "guess"), "by known or by happened"),
        (("--by", "happened"), "--by belongs to --as-of"),
    ],
)
async def test_moment_without_an_answer_is_refused(
    shell: Shell, words: tuple[str, ...], said: str
) -> None:
    assert said in (await shell.oms("positions", *words, expect=2)).err


async def test_rejects_of_june_are_found_by_code_and_counted_by_their_orders_symbol(
    shell: Shell,
) -> None:
    june = ("--code", "201", "--since", "2026-06-01", "--until", "2026-07-01")
    (reject,) = [
        json.loads(line) for line in (await shell.oms("log", *june, "--json")).out.splitlines()
    ]
    assert (reject["type"], reject["sequence"], len(reject["hash"])) == ("NoticeReceived", 13, 64)
    assert reject["order_ids"] == ["B"]
    assert " ~B " in (await shell.oms("log", *june)).out
    charge = (await shell.oms("log", "--type", "CommissionReceived", "--json")).json
    assert (charge["correlation_id"], charge["order_ids"]) == (None, ["A"])
    counted = (await shell.oms("log", *june, "--count", "--by", "symbol", "--json")).json
    assert counted["counts"] == [{"value": "ACME", "count": 1}]
    orders = (await shell.oms("orders", *june, "--json")).json["orders"]
    assert [one["order_id"] for one in orders] == ["B"]
    may = (*june[:2], "--until", "2026-06-01T15:00Z", "--json")
    assert (await shell.oms("log", *may)).out.count("NoticeReceived") == 1
    earlier = (*june[:2], "--until", "2026-06-01T14:20Z", "--json")
    assert (await shell.oms("log", *earlier)).out == ""


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("log", "--since", "2027-01-01"), ["no event meets this question"]),
        (("log", "--code", "999"), ["no event meets this question"]),
        (("log", "--account", "NOPE"), ["no event names account NOPE", f"did you mean {ACCOUNT}?"]),
        (("log", "--symbol", "acm"), ["no event names symbol ACM", "did you mean ACME?"]),
        (("log", "--actor", "person:ana", "--count"), ["did you mean person:anna?"]),
        (("log", "--actor", "x"), ["no event names actor x", "the log names broker, daemon, "]),
        (("orders", "--account", "NOPE"), ["no event names account NOPE", "0 orders"]),
        (("fills", "--strategy", "dmo"), ["no event names strategy dmo", "did you mean demo?"]),
        (("positions", "--symbol", "ACM", "--count"), ["did you mean ACME?"]),
    ],
)
async def test_question_without_an_answer_says_so(
    shell: Shell, words: tuple[str, ...], said: list[str]
) -> None:
    err = (await shell.oms(*words)).err
    for one in said:
        assert one in err


async def test_why_says_what_nobody_asked_for_and_which_clock_was_never_measured(
    shell: Shell,
) -> None:
    charge = " ".join((await shell.oms("why", "10")).out.split())
    assert "IB: the commission of execution x.2.01" in charge
    assert "IB: IB:" not in charge
    assert "the error of IB's times is not known" in (await shell.oms("fills")).err
    assert "the error of IB's times is not known" in charge
    shown = (await shell.oms("log", "--type", "NoticeReceived", "--json")).json
    ours = " ".join((await shell.oms("why", "B")).out.split())
    assert shown["sentence"] in ours
    assert "without being asked" not in ours


@pytest.mark.parametrize("name", ["A", "7", "1:1", "1:1:1", "1", "x.1.01", "x.2.01"])
async def test_an_order_is_told_by_any_of_its_names(shell: Shell, name: str) -> None:
    assert (await shell.oms("order", name, "--json")).json["order_id"] == "A"


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("order", "3:1"), 1, "there is no order '3:1'"),
        (("log", "--since", "2026-06-01", "--until", "2026-06-01"), 2, "nothing is from"),
        (("log", "--until", "2026-05-01"), 2, "the log has nothing before"),
        (("log", "--since", "2026-06-01T14:03"), 2, "has no time zone"),
        (("log", "--since", "2026-02-30"), 2, "there is no day 2026-02-30"),
        (("log", "--since", "2026-06-01", "--zone", "Mars/Base"), 2, "no time zone is called"),
        (("log", "--since", "2026-03-29 02:30 Europe/Berlin"), 2, "does not exist"),
        (("log", "--since", "2025-10-26 02:30 Europe/Berlin"), 2, "was there twice"),
        (("log", "--since", "2020-01-01Z"), 2, "2020-01-01T00:00Z, or the day with a zone"),
        (("log", "--until", "2026-06-01+02:00"), 2, "is a day with +02:00 and no time"),
        (("log", "--since", "soon"), 2, "'soon' is no moment\n"),
        (("log", "--class", "STKX"), 2, "no class is called"),
        (("log", "--side", "SHORT"), 2, "no side is called"),
        (("log", "--state", "WORKNG"), 2, "did you mean WORKING"),
        (("log", "--code", "x"), 2, "is a whole number"),
        (("log", "--by", "symbol"), 2, "--by belongs to --as-of"),
        (("log", "--count", "--by", "colour"), 2, "no key is called"),
        (("positions", "--after", "201"), 2, "pages follow the log"),
        (("fills", "--sort", "colour"), 2, "cannot be sorted by"),
        (("fills", "--sort", "price", "--after", "3"), 2, "pages follow the log"),
    ],
)
async def test_question_that_cannot_be_answered_is_refused(
    shell: Shell, words: tuple[str, ...], code: int, said: str
) -> None:
    assert said in (await shell.oms(*words, expect=code)).err
