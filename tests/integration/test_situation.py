"""One situation, four faces: `oms status`, the pages, `/health` and `/metrics` say the same."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import socket
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from html import unescape
from pathlib import Path
from typing import Any, get_args

import httpx
import pytest
from typer.testing import CliRunner

from oms.cli import app
from oms.clock import ManualClock, SystemClock
from oms.core import events
from oms.core.codec import time_text
from oms.core.contracts import Contract
from oms.core.events import AlarmKind, Context, Event, Finding, Pending, Terms
from oms.settings import Settings, load
from oms.store import schema
from oms.store.lease import LeaseRequest
from oms.store.log import EventLog
from oms.web import create_app

ACCOUNT = "DU1234567"
AAPL = Contract(con_id=265598, symbol="AAPL", exchange="SMART", primary_exchange="NASDAQ")
#: Old enough that two readings a moment apart name the same ages.
BEGAN = SystemClock().now() - timedelta(days=3, minutes=30)
FOREVER_SECONDS = 1e9


@dataclass(frozen=True)
class Trouble:
    """Something that is wrong, and what must be said about it."""

    level: str
    codes: Sequence[str]
    events: Sequence[Event] = ()
    settings: dict[str, str] = field(default_factory=dict)
    #: Of the daemon's lease: "" for just now, None for given back.
    heartbeat: str | None = ""


def connected(epoch_text: str = "again") -> events.SessionOpened:
    return events.SessionOpened(
        host="127.0.0.1",
        port=4002,
        client_id=1,
        server_version=178,
        connection_time=epoch_text,
        accounts=(ACCOUNT,),
        next_broker_order_id=17,
    )


def completed(verdict: Any) -> events.ReconciliationCompleted:
    return events.ReconciliationCompleted(
        run_id=f"R{verdict}",
        trigger="start",
        verdict=verdict,
        started_at=BEGAN,
        finished_at=BEGAN,
        server_version=178,
        client_id=1,
        accounts=(ACCOUNT,),
        books_sequence=1,
        questions=(),
        findings=(),
    )


def alarm(kind: AlarmKind, number: int = 0) -> events.AlarmRaised:
    return events.AlarmRaised(
        alarm_id=f"{kind}:{number}",
        kind=kind,
        subject=str(number),
        since=BEGAN + timedelta(minutes=number),
        text="it has lasted <too> long",
        account=ACCOUNT,
        symbol="AAPL",
        order_id="3f9a12c4d5e6",
    )


def around_now() -> str:
    now = SystemClock().now()
    return f"Mon-Sun {now - timedelta(hours=1):%H:%M}-{now + timedelta(hours=2):%H:%M} UTC"


LOST = events.SessionClosed(reason="connection reset", deliberate=False)
GAP = events.GapOpened(cause="transport_lost")
WELL = (
    events.DaemonStarted(program_version="0", host="here", process_id=1, client_id=1, mode="paper"),
    connected("first"),
    events.ReconciliationStarted(run_id="Rclean", trigger="start"),
    completed("clean"),
    events.SessionReady(run_id="Rclean"),
)
DOUBT = (
    events.OrderIntended(
        order_id="twin",
        account=ACCOUNT,
        contract=AAPL,
        terms=Terms(side="BUY", quantity=Decimal(1), order_type="MKT"),
        checks=(),
    ),
    events.OrderMessageSent(kind="place", client_id=1, broker_order_id=17, order_ref="twin"),
    LOST,
    connected(),
    events.SessionReady(run_id="Rclean"),
)
BREAK = events.BreakOpened(
    break_id="B1",
    run_id="Rclean",
    finding=Finding(
        result="break",
        subject="position",
        break_class="quantity_drift",
        severity="high",
        key="quantity_drift",
        account=ACCOUNT,
        con_id=AAPL.con_id,
        symbol="AAPL",
        ours="1",
        theirs="2",
        text="",
    ),
)

TROUBLES: dict[str, Trouble] = {
    "none": Trouble("ok", ()),
    **{kind: Trouble("degraded", [f"alarm_{kind}"], [alarm(kind)]) for kind in get_args(AlarmKind)},
    "two alarms": Trouble(
        "degraded", ["alarm_outage"], [alarm("outage", number) for number in (1, 2)]
    ),
    "cleared alarm": Trouble("ok", (), [alarm("outage"), events.AlarmCleared(alarm_id="outage:0")]),
    "gap": Trouble("degraded", ["gap_open"], [GAP]),
    "expected gap": Trouble("degraded", ["gap_open"], [GAP], {"OMS_RESET_WINDOWS": around_now()}),
    "no session": Trouble("down", ["not_connected", "gap_open"], [LOST, GAP]),
    "no session in a reset": Trouble(
        "down", ["not_connected", "gap_open"], [LOST, GAP], {"OMS_RESET_WINDOWS": around_now()}
    ),
    "not compared": Trouble("degraded", ["not_ready"], [LOST, connected()]),
    "break": Trouble("degraded", ["breaks_open"], [BREAK]),
    "halt": Trouble("degraded", ["halted"], [events.TradingHaltedByPerson(reason="earnings")]),
    "doubt": Trouble("degraded", ["orders_in_doubt"], DOUBT),
    "stale lease": Trouble("down", ["daemon_silent"], heartbeat="2026-01-01T00:00:00+00:00"),
    "stopped daemon": Trouble("down", ["daemon_not_running"], heartbeat=None),
    "unknown comparison": Trouble(
        "degraded", ["last_reconciliation_unknown"], [completed("unknown")]
    ),
    "broken comparison": Trouble("degraded", ["last_reconciliation_broken"], [completed("broken")]),
    "overdue comparison": Trouble(
        "degraded", ["reconciliation_overdue"], (), {"OMS_RECONCILE_INTERVAL_SECONDS": "60"}
    ),
}


@pytest.fixture(scope="module")
def well(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database in which all is well, but that its daemon has left."""
    path = tmp_path_factory.mktemp("situation") / "well.sqlite"
    schema.upgrade(f"sqlite:///{path}")
    lease = LeaseRequest("line", "oms run", socket.gethostname(), os.getpid(), FOREVER_SECONDS)
    asyncio.run(write(path, WELL, lease))
    return path


async def write(
    path: Path,
    said: Sequence[Event],
    lease: LeaseRequest | None = None,
    actor: str = "test",
    *,
    epoch: int = 1,
    at: datetime = BEGAN,
) -> None:
    log = await EventLog.open(f"sqlite:///{path}", clock=ManualClock(at), lease=lease)
    epoch = 0 if lease else epoch
    for event in said:
        epoch += isinstance(event, events.SessionOpened)
        await log.append(Pending(event, Context(actor=actor, session_epoch=epoch)))
    await log.close()


@pytest.mark.sample(3)
@pytest.mark.parametrize("name", TROUBLES)
def test_every_face_says_the_same_verdict_reasons_and_advice(
    name: str, well: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trouble = TROUBLES[name]
    path = tmp_path / "oms.sqlite"
    shutil.copyfile(well, path)
    asyncio.run(write(path, trouble.events))
    beat(path, trouble.heartbeat)
    environment = {
        "OMS_DATABASE_URL": str(path),
        "OMS_RESET_REGION": "none",
        "OMS_RECONCILE_INTERVAL_SECONDS": "0",
        **trouble.settings,
    }
    monkeypatch.chdir(tmp_path)
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)
    table = " ".join(CliRunner().invoke(app, ["status"]).stdout.split())
    status = json.loads(CliRunner().invoke(app, ["status", "--json"]).stdout)["health"]
    page, overview, health, metrics = asyncio.run(browse(load(environment=environment)))

    reasons = status["reasons"]
    assert (status["status"], [reason["code"] for reason in reasons]) == (
        trouble.level,
        list(trouble.codes),
    )
    assert overview.json()["health"] == status
    assert {name: health.json()[name] for name in status} == status
    assert health.status_code == (503 if trouble.level == "down" else 200)
    # The page shows as code what the others have between backticks.
    shown = " ".join(unescape(re.sub("</?code>", "`", page.text)).split())
    for words in (table, shown):
        assert VERDICTS[trouble.level] in words
        for reason in reasons:
            assert reason["text"] in words
            assert reason["advice"] in words
    assert f'oms_health{{level="{trouble.level}"}} 1.0' in metrics.text
    codes = re.findall(r'^oms_health_reason\{code="(\w+)"\} 1.0$', metrics.text, re.MULTILINE)
    assert codes == list(trouble.codes)
    is_unwatched = not {"daemon_not_running", "daemon_silent"}.isdisjoint(trouble.codes)
    assert ("gap unknown, no daemon watches the line" in table) == is_unwatched
    assert ("No daemon watches the line." in shown) == is_unwatched
    assert (re.search(r"^oms_gap_open 1.0$", metrics.text, re.MULTILINE) is not None) == (
        is_unwatched or "gap_open" in trouble.codes
    )
    is_silent = "daemon_silent" in trouble.codes
    assert ("runs and writes nothing, sign of life" in table) == is_silent
    assert ("daemon not running" in table) == ("daemon_not_running" in trouble.codes)
    is_explained = "OMS_RESET_WINDOWS" in trouble.settings
    assert [reason["expected"] for reason in reasons] == [is_explained] * len(reasons)


VERDICTS = {"ok": "All is well", "degraded": "Needs a look", "down": "Down"}


def beat(path: Path, heartbeat: str | None, log_time: str = "") -> None:
    if heartbeat == "":
        heartbeat = time_text(SystemClock().now())
    seconds = FOREVER_SECONDS if heartbeat is None or _is_new(heartbeat) else 10
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(
            "UPDATE leases SET heartbeat_at = ?, log_time_at = ?, seconds = ?",
            (heartbeat, log_time or heartbeat, seconds),
        )


def _is_new(heartbeat: str) -> bool:
    return SystemClock().now() - datetime.fromisoformat(heartbeat) < timedelta(days=1)


async def browse(settings: Settings) -> list[httpx.Response]:
    transport = httpx.ASGITransport(create_app(settings, now=SystemClock().now))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        return [
            await client.get(address) for address in ("/", "/overview.json", "/health", "/metrics")
        ]


def test_status_says_of_each_question_whether_ib_answered(
    well: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def asked(kind: events.QueryKind, outcome: events.Outcome) -> events.Question:
        return events.Question(
            query_id="q",
            kind=kind,
            outcome=outcome,
            asked_at=BEGAN,
            asked_sequence=1,
            answered_at=BEGAN,
        )

    report = completed("unknown").evolve(
        questions=(asked("open_orders", "timed_out"), asked("executions", "complete"))
    )
    path = copied(well, tmp_path, monkeypatch)
    asyncio.run(write(path, [report]))
    table = " ".join(CliRunner().invoke(app, ["status"]).stdout.split())
    assert "last answer open orders: timed_out, 3 d" in table
    assert "last answer executions: answered 3 d" in table
    answers = json.loads(CliRunner().invoke(app, ["status", "--json"]).stdout)["answers"]
    assert [(one["question"], one["outcome"]) for one in answers] == [
        ("open_orders", "timed_out"),
        ("executions", "complete"),
    ]


def test_the_last_message_of_the_broker_is_older_than_what_we_sent(
    well: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What leaves has the broker's actor too, and says nothing about whether IB is there."""
    path = copied(well, tmp_path, monkeypatch)
    notice = events.NoticeReceived(subject_id=-1, code=2104, text="ok")
    sent = events.OrderMessageSent(kind="cancel", client_id=1, broker_order_id=17)
    asyncio.run(write(path, [notice, sent, sent], actor="broker"))
    heard = json.loads(CliRunner().invoke(app, ["status", "--json"]).stdout)["last_broker_message"]
    with closing(sqlite3.connect(path)) as connection:
        (received,) = connection.execute(
            "SELECT max(sequence) FROM events WHERE type = 'NoticeReceived'"
        ).fetchone()
    assert heard["sequence"] == received


LOST_LINES = {
    "given up: silence": events.SessionClosed(reason="given up: silence", deliberate=False),
    "connection reset by peer": events.SessionClosed(
        reason="connection reset by peer", deliberate=False
    ),
    "the process ended without closing it": WELL[0],
}


@pytest.mark.parametrize("reason", LOST_LINES)
def test_status_and_the_page_say_why_the_last_line_was_lost(
    well: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reason: str
) -> None:
    """Of the last session, not of one before it, and also where no daemon runs any more."""
    path = copied(well, tmp_path, monkeypatch)
    earlier = events.SessionClosed(reason="another one before", deliberate=False)
    asyncio.run(write(path, [earlier]))
    asyncio.run(write(path, [connected(), LOST_LINES[reason]]))
    for heartbeat in ("", None):
        beat(path, heartbeat)
        table = " ".join(CliRunner().invoke(app, ["status"]).stdout.split())
        assert re.search(rf"session down 3 d[^(]*\({reason}\); last number 2", table)
        session = json.loads(CliRunner().invoke(app, ["status", "--json"]).stdout)["session"]
        assert (session["epoch"], session["close_reason"]) == (2, reason)
        settings = load(environment={"OMS_DATABASE_URL": str(path)})
        page = " ".join(asyncio.run(browse(settings))[0].text.split())
        assert f": {reason}</p>" in page
        assert "another one before" not in table


@pytest.mark.parametrize("hours", [-1, 1])
def test_ages_are_those_of_the_log_after_the_clock_was_set(
    well: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hours: int
) -> None:
    """An hour that no clock has counted is no hour of anything's age."""
    path = copied(well, tmp_path, monkeypatch)
    now = SystemClock().now()
    log_now = now - timedelta(hours=hours)
    recorded_at = log_now - timedelta(minutes=10)
    asyncio.run(write(path, [alarm("outage")], at=recorded_at))
    beat(path, time_text(now), time_text(log_now))
    status = json.loads(CliRunner().invoke(app, ["status", "--json"]).stdout)
    ages = [status["log"]["age_seconds"], status["daemon"]["leases"][0]["age_seconds"]]
    assert (600 <= ages[0] < 660, 0 <= ages[1] < 60) == (True, True), ages
    settings = load(environment={"OMS_DATABASE_URL": str(path)})
    metrics = asyncio.run(browse(settings))[3].text
    (age,) = re.findall(r"^oms_last_event_age_seconds (\S+)$", metrics, re.MULTILINE)
    assert 600 <= float(age) < 660


def copied(well: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Copy a log in which all is well, and have the program use the copy."""
    path = tmp_path / "oms.sqlite"
    shutil.copyfile(well, path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMS_DATABASE_URL", str(path))
    monkeypatch.setenv("OMS_RECONCILE_INTERVAL_SECONDS", "0")
    return path
