"""The commands in docs/operating/questions.md are run as they are printed, on the log of a morning
in which the line was down and a fill was fetched later.
"""

from __future__ import annotations

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


def morning() -> list[Fact]:
    """Return a session, an order, 60 bought, a line that is lost, and 40 bought meanwhile."""

    def fact(minute: float, event: Event, actor: str, epoch: int, happened: float = 0) -> Fact:
        occurred_at = NOON + timedelta(minutes=happened) if happened else None
        order_id = "A" if isinstance(event, OrderIntended | OrderMessageSent) else None
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

    def session() -> SessionOpened:
        return SessionOpened(
            host="gateway",
            port=4002,
            client_id=1,
            server_version=178,
            connection_time="",
            accounts=(ACCOUNT,),
            next_broker_order_id=2,
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
    charge = CommissionReceived(exec_id="x.2.01", commission=Decimal(1), currency="USD")
    return [
        fact(-30, started, "daemon", 0),
        fact(-29, session(), "daemon", 1),
        fact(-10, intended, "strategy:demo", 1),
        fact(-10, OrderMessageSent(kind="place", order_ref="A", **IDS), "daemon", 1),
        fact(-9, shown, "broker", 1),
        fact(-5, executed(1, 60, "9.5", fetched=False), "broker", 1, happened=-5),
        fact(1, SessionClosed(reason="the line was lost", deliberate=False), "daemon", 1),
        fact(10, session(), "daemon", 2),
        fact(10, executed(2, 40, "10", fetched=True), "broker", 2, happened=2),
        fact(10, charge, "broker", 2),
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
        # A log of ten events has no snapshot to be checked.
        expect = 1 if words == ["history", "check"] else 0
        await shell.oms(*words, expect=expect)


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


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--as-of", "2026-06-01T13:00Z"), "before the first event"),
        (("--as-of", "2150-01-01"), "in the future"),
        (("--as-of", "2026-06-01T14:03"), "has no time zone"),
        (("--as-of", "11"), "the log has no event 11"),
        (("--as-of", "5", "--by", "guess"), "by known or by happened"),
        (("--by", "happened"), "--by belongs to --as-of"),
    ],
)
async def test_moment_without_an_answer_is_refused(
    shell: Shell, words: tuple[str, ...], said: str
) -> None:
    assert said in (await shell.oms("positions", *words, expect=2)).err
