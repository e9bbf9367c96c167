"""The verbs against the running service: what they print, where, and how they end."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
import sqlite3
import stat
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from oms.core import codec
from oms.core.codec import Header
from oms.core.fold.records import OrderState
from oms.store import schema
from oms.store.tables import EVENT_COLUMNS
from tests.integration.conftest import StartSimulator
from tests.programs import Program
from tests.shell import Shell, closed_port
from tests.simulator import Simulator
from tests.world import ACCOUNT, LOW, World

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def shell(world: World, tmp_path: Path) -> Iterator[Shell]:
    """A shell on the world's database, and with a port on which no gateway listens."""
    with closed_port() as port:
        yield Shell(tmp_path, {"OMS_DATABASE_URL": str(world.database), "OMS_PORT": str(port)})


# ── sending ──────────────────────────────────────────────────────────────────────────────────────


async def test_buy_prints_what_ib_made_of_it(world: World, shell: Shell) -> None:
    await world.start()
    said = await shell.oms("buy", "10", "aapl", "--limit", LOW, "--reason", "patience", "--json")
    (order,) = said.json["orders"]
    assert (order["state"], order["quantity"], order["limit_price"]) == ("WORKING", "10", LOW)
    assert (order["account"], order["reason"]) == (ACCOUNT, "patience")
    assert order["actor"].startswith("person:")
    assert await world.received(order["order_id"]) == 1
    assert said.err == ""


async def test_denied_and_rejected_orders_end_with_1_and_name_the_reason(
    world: World, shell: Shell
) -> None:
    await world.start()
    off_tick, unknown, foreign, greedy = await asyncio.gather(
        shell.oms("buy", "1", "AAPL", "--limit", "10.001", expect=1),
        shell.oms("buy", "1", "NOSUCH", expect=1),
        shell.oms("buy", "1", "AAPL", "--account", "DU9", expect=1),
        shell.oms("buy", "9000000", "AAPL", "--order-id", "greedy", expect=1),
    )
    assert "denied by the rule 'tick': limit price 10.001 is not a multiple" in off_tick.err
    assert "denied by the rule 'contract': IB knows no contract like NOSUCH" in unknown.err
    assert "denied by the rule 'account'" in foreign.err
    assert "IB rejected it with code 201" in greedy.err
    books = await world.books()
    assert [row["order_ref"] for row in books["placements"]] == ["greedy"]


async def test_without_a_daemon_nothing_is_appended(world: World, shell: Shell) -> None:
    before = (await shell.oms("status", "--json")).json["log"]["sequence"]
    said = await shell.oms("buy", "10", "AAPL", expect=1)
    assert "No daemon is running" in said.err
    assert "start one with `oms run`" in said.err
    assert (await shell.oms("status", "--json")).json["log"]["sequence"] == before


async def test_the_same_key_twice_is_one_order(world: World, shell: Shell) -> None:
    await world.start()
    order = ("buy", "10", "AAPL", "--limit", LOW, "--order-id", "rebalance-1", "--json")
    first, second = await shell.oms(*order), await shell.oms(*order)
    assert first.json["orders"][0]["order_id"] == second.json["orders"][0]["order_id"]
    assert "asked for before" in second.err
    other = await shell.oms("buy", "20", "AAPL", "--order-id", "rebalance-1", expect=2)
    assert "stands for another order already" in other.err
    assert await world.received("rebalance-1") == 1


async def test_an_outcome_that_does_not_arrive_ends_with_6(
    world: World, shell: Shell, simulator: Simulator
) -> None:
    await world.start()
    await simulator.do("hold", message="placeOrder", what="processing")
    line = ("buy", "1", "AAPL", "--order-id", "slow", "--wait", "0.2")
    first = await shell.oms(*line, expect=6)
    assert "still IN" in first.err  # INTENDED on a busy machine
    await world.until(lambda: world.state_of("slow") is OrderState.IN_FLIGHT)
    said = await shell.oms(*line, expect=6)
    assert "still IN_FLIGHT after 0.2 s" in said.err
    await simulator.do("release")
    await world.until(lambda: world.state_of("slow") is OrderState.FILLED)


async def test_dry_run_shows_the_request_and_writes_nothing(world: World, shell: Shell) -> None:
    await world.start()
    before = (await world.oms.reader.head()).sequence
    said = await shell.oms("sell", "5", "MSFT", "--stop", "300", "--limit", "299", "--dry-run")
    assert said.out.startswith("SELL 5 MSFT STP LMT 299 stop 300 DAY")
    assert (await world.oms.reader.head()).sequence == before


async def test_bracket_sends_three_orders_that_belong_together(world: World, shell: Shell) -> None:
    await world.start()
    said = await shell.oms(
        *("bracket", "BUY", "5", "AAPL", "--limit", "100", "--order-id", "b", "--json"),
        *("--take-profit", "250", "--stop-loss", "90"),
    )
    orders = {order["order_id"]: order for order in said.json["orders"]}
    assert set(orders) == {"b", "b-tp", "b-sl"}
    assert [orders[key]["parent_order_id"] for key in ("b-tp", "b-sl")] == ["b", "b"]


async def test_modify_and_cancel_take_the_beginning_of_an_id(world: World, shell: Shell) -> None:
    await world.start()
    ticket = await world.resting(10)
    beginning = ticket.order_id[:8]
    changed = await shell.oms("modify", beginning, "--limit", "11.5", "--json")
    assert changed.json["orders"][0]["limit_price"] == "11.5"
    gone = await shell.oms("cancel", beginning, "--reason", "enough", "--json")
    assert gone.json["orders"][0]["state"] == "CANCELLED"
    again = await shell.oms("cancel", beginning)
    assert "has ended already: CANCELLED" in again.err
    refused = await shell.oms("modify", beginning, "--limit", "12", expect=1)
    assert "the change was refused" in refused.err


async def test_cancel_all_asks_first_and_yes_answers(world: World, shell: Shell) -> None:
    await world.start()
    tickets = [await world.resting(quantity) for quantity in (1, 2)]
    said = await shell.oms("cancel", "--all", expect=2)
    assert "this would cancel 2 orders" in said.err
    done = await shell.oms("cancel", "--all", "--yes", "--symbol", "AAPL", "--json")
    assert {order["state"] for order in done.json["orders"]} == {"CANCELLED"}
    assert {ticket.state for ticket in tickets} == {OrderState.CANCELLED}


async def test_verb_stops_waiting_when_the_daemon_goes(
    world: World, shell: Shell, simulator: Simulator
) -> None:
    await world.start()
    await simulator.do("hold", message="placeOrder", what="processing")
    buying = asyncio.create_task(
        shell.oms("buy", "1", "AAPL", "--order-id", "orphan", "--wait", "60", expect=6)
    )
    await world.until(lambda: world.state_of("orphan") is OrderState.IN_FLIGHT)
    await world.stop()
    assert "went away" in (await buying).err or "in doubt" in (await buying).err


# ── looking ──────────────────────────────────────────────────────────────────────────────────────


async def test_what_is_shown_to_people_names_each_thing_once(world: World, shell: Shell) -> None:
    await world.start()
    bought, resting = await world.bought(10), await world.resting(7)
    await world.reconcile()
    orders, every, fills, positions, story, log = await asyncio.gather(
        shell.oms("orders"),
        shell.oms("orders", "--all", "--symbol", "AAPL"),
        shell.oms("fills", "--order", bought.order_id[:6]),
        shell.oms("positions"),
        shell.oms("order", resting.order_id[:6]),
        shell.oms("log", "--order", bought.order_id[:6], "--wire"),
    )
    assert resting.order_id[:8] in orders.out
    assert bought.order_id[:8] not in orders.out
    assert "1 ended" in orders.err
    assert bought.order_id[:8] in every.out
    assert re.search(rf"{ACCOUNT} +BUY 10 AAPL @ ", fills.out)
    assert re.search(rf"{ACCOUNT} +AAPL +10 ", positions.out)
    assert "We are about to send: BUY 7 AAPL LMT 10 DAY" in story.out
    assert "ExecutionReceived" in log.out
    assert bought.order_id in log.out, "the wire fields carry our id in orderRef"


async def test_every_key_for_programs_is_in_the_contract(world: World, shell: Shell) -> None:
    await world.start()
    bought = await world.bought(10)
    await world.simulator.do("position_adjust", symbol="MSFT", quantity="5")
    await world.reconcile()
    asked = (
        *(("status",), ("orders", "--all"), ("fills",), ("positions",), ("breaks",)),
        *(("report", "list"), ("verify",), ("rebuild", "--check"), ("db", "current")),
        *(("check",), ("settings",), ("version",), ("order", bought.order_id)),
    )
    # The gateway of the settings is not there; that is a result like any other.
    said = await asyncio.gather(
        *(shell.oms(*words, "--json", expect=5 if words == ("check",) else 0) for words in asked)
    )
    page = (ROOT / "docs" / "reference" / "json-output.md").read_text(encoding="utf-8")
    missing = set()
    for one in said:
        assert one.json["schema"] == 1
        keys = [k for k, v in one.json.items() if k not in {"order", "entries"}]
        for value in one.json.values():
            row = value[0] if isinstance(value, list) and value else value
            keys += row if isinstance(row, dict) and one.json["kind"] in LISTED else []
        missing |= {key for key in keys if f"`{key}`" not in page}
    assert missing == set()


LISTED = {"orders", "fills", "positions", "breaks", "reports", "settings", "status", "check"}


async def test_log_follows_what_is_written(world: World, shell: Shell) -> None:
    await world.start()
    following = await shell.start("log", "--type", "OrderIntended", "--follow", "--json")
    assert following.stdout is not None
    ticket = await world.resting(3)
    async with asyncio.timeout(60):
        event = json.loads(await following.stdout.readline())
    assert event["payload"]["order_id"] == ticket.order_id
    following.send_signal(signal.SIGINT)
    async with asyncio.timeout(60):
        assert await following.wait() == 0


async def test_ambiguous_and_unknown_ids_are_named(world: World, shell: Shell) -> None:
    await world.start()
    for key in ("twin-1", "twin-2"):
        await world.resting(1, order_id=key)
    twin, none, kind = await asyncio.gather(
        shell.oms("order", "twin", expect=2),
        shell.oms("order", "nothing", expect=1),
        shell.oms("log", "--type", "OrderIntend", expect=2),
    )
    assert "'twin' names 2 orders: twin-1 (our id), twin-2 (our id)" in twin.err
    assert "there is no order 'nothing'" in none.err
    assert "did you mean OrderIntended" in kind.err


# ── differences ──────────────────────────────────────────────────────────────────────────────────


async def test_reconcile_ends_with_3_until_the_break_is_resolved(
    world: World, shell: Shell
) -> None:
    await world.start()
    await world.bought(10)
    clean = await shell.oms("reconcile")
    assert "Our books and the broker's agree" in clean.out
    await world.simulator.do("position_adjust", symbol="AAPL", quantity="5")
    broken = await shell.oms("reconcile", "--json", expect=3)
    assert broken.json["verdict"] == "broken"
    (case,) = (await shell.oms("breaks", "--json")).json["breaks"]
    assert (case["class"], case["ours"], case["theirs"]) == ("quantity_drift", "10", "15")
    number = case["break_id"]
    await shell.oms("assign", number, "anna")
    await shell.oms("explain", number[:5], "came from the old broker")
    story = await shell.oms("breaks", number)
    assert "to make both sides equal: +5 AAPL" in story.out
    assert "assigned to anna" in story.out
    wrong = await shell.oms("adopt", number, expect=1)
    assert "not an order to adopt" in wrong.err
    done = await shell.oms("resolve", case["break_id"], "--reason", "a transfer", "--json")
    assert done.json["breaks"][0]["close_reason"] == "a transfer"
    again = await shell.oms("resolve", case["break_id"], "--reason", "a transfer")
    assert "is closed already" in again.err
    assert (await shell.oms("breaks", "--json")).json["breaks"] == []


async def test_reconcile_ends_with_6_when_an_answer_is_missing(world: World, shell: Shell) -> None:
    await world.start()
    await world.simulator.do("silence", request="reqPositions")
    said = await shell.oms("reconcile", "--json", expect=6)
    assert said.json["verdict"] == "unknown"


async def test_reports_are_shown_again_and_kept_as_pages(world: World, shell: Shell) -> None:
    await world.start()
    listed = await shell.oms("report", "list", "--json")
    run_id = listed.json["reports"][-1]["run_id"]
    shown = await shell.oms("report", "show", run_id[:-1])
    assert "What was asked" in shown.out
    page = Path((await shell.oms("report", "show", "last", "--format", "html")).out.strip())
    mode = (await asyncio.to_thread(page.stat)).st_mode
    assert os.name != "posix" or stat.filemode(mode) == "-rw-------"
    assert page == shell.folder / "reports" / f"{run_id}.html"
    assert (await asyncio.to_thread(page.read_text)).startswith("<!doctype html>")


# ── operating ────────────────────────────────────────────────────────────────────────────────────


async def test_verify_ends_with_4_and_names_the_sequence(world: World, shell: Shell) -> None:
    await world.start()
    await world.bought(10)
    await world.stop()
    whole = await shell.oms("verify")
    assert re.search(r"^ok  \d+ events hold", whole.out)
    copy = shell.folder / "copy.sqlite"
    shutil.copyfile(world.database, copy)
    with closing(sqlite3.connect(copy)) as connection, connection:
        connection.execute("DROP TRIGGER events_refuse_update")
        connection.execute("UPDATE events SET payload = '{}' WHERE sequence = 9")
    broken = await shell.oms("verify", "--database", str(copy), "--json", expect=4)
    assert broken.json["sequence"] == 9
    assert "docs/operating/chain-broken.md" in broken.err


async def test_what_shows_an_altered_event_ends_with_4(world: World, shell: Shell) -> None:
    """One price is another; then its hash is made to fit, and the next link does not."""
    await world.start()
    bought = await world.bought(10)
    await world.stop()
    name = bought.order_id
    story = (await shell.oms("order", name, "--json")).json["entries"]
    fill = next(e for e in story if e["type"] == "ExecutionReceived")
    altered, exec_id = fill["sequence"], fill["payload"]["exec_id"]
    for link in (altered, altered + 1):
        with closing(sqlite3.connect(world.database)) as connection, connection:
            connection.execute("DROP TRIGGER IF EXISTS events_refuse_update")
            if link == altered:
                change = """replace(payload, '"price":"', '"price":"9')"""
                where = (altered,)
                connection.execute(
                    f"UPDATE events SET payload = {change} WHERE sequence = ?", where
                )
            else:
                columns = ", ".join(EVENT_COLUMNS)
                query = f"SELECT {columns} FROM events WHERE sequence IN (?, ?) ORDER BY sequence"
                before, row = connection.execute(query, (altered - 1, altered)).fetchall()
                header = Header._make(row[:11])
                digest = codec.link(before[11], header, row[12], row[13])
                connection.execute(
                    "UPDATE events SET hash = ? WHERE sequence = ?", (digest, altered)
                )
        for words in (("order", name), ("order", exec_id, "--json"), ("log", "--order", name)):
            shown = await shell.oms(*words, expect=4)
            assert shown.out == ""
            assert f"event {link} does not carry the hash" in shown.err
            assert "docs/operating/chain-broken.md" in shown.err
        assert (await shell.oms("verify", "--json", expect=4)).json["sequence"] == link


async def test_rebuild_check_ends_with_4_and_rebuild_repairs(world: World, shell: Shell) -> None:
    await world.start()
    await world.bought(10)
    await world.stop()
    assert (await shell.oms("rebuild", "--check", "--json")).json["ok"]
    with closing(sqlite3.connect(world.database)) as connection, connection:
        connection.execute("UPDATE orders SET state = 'WORKING'")
    broken = await shell.oms("rebuild", "--check", expect=4)
    assert broken.out.startswith("FAILED")
    await shell.oms("rebuild", expect=4)
    assert (await shell.oms("rebuild", "--check")).out.startswith("ok")


async def test_check_says_what_is_wrong_and_what_to_do(world: World, shell: Shell) -> None:
    said = await shell.oms("check", "--json", expect=5)
    states = {one["name"]: one["ok"] for one in said.json["checks"]}
    assert states == {
        "settings": True,
        "database": True,
        "log": True,
        "daemon": True,
        "gateway": False,
        "clock": True,
    }
    good = Shell(shell.folder, {**shell.settings, "OMS_PORT": str(world.simulator.port)})
    assert (await good.oms("check")).out.count("ok ") == 6
    bad = Shell(shell.folder, {**shell.settings, "OMS_PORTT": "1"})
    assert "OMS_PORT" in (await bad.oms("check", expect=2)).out


async def test_database_is_made_by_upgrade_and_missed_without(tmp_path: Path) -> None:
    shell = Shell(tmp_path, {"OMS_DATABASE_URL": "new.sqlite"})
    missed = await shell.oms("orders", expect=2)
    assert "run `oms db upgrade`" in missed.err
    assert (await shell.oms("db", "upgrade")).out == f"revision none -> {schema.HEAD}\n"
    assert (await shell.oms("db", "upgrade")).out == f"already at revision {schema.HEAD}\n"
    assert (await shell.oms("orders", "--json")).json["orders"] == []


async def test_run_serves_until_it_is_asked_to_stop(simulator: Simulator, tmp_path: Path) -> None:
    settings = {"OMS_DATABASE_URL": "oms.sqlite", "OMS_PORT": str(simulator.port)}
    shell = Shell(tmp_path, settings)
    daemon = await shell.start("run")
    await until_said(daemon, b"reconciliation_completed")
    held = await shell.oms("run", expect=1)
    assert "error:" in held.err
    assert "stop the other daemon" in held.err
    await shell.oms("buy", "1", "AAPL")
    daemon.send_signal(signal.SIGTERM)
    assert await daemon.wait() == 0
    status = (await shell.oms("status", "--json")).json
    assert (status["daemon"]["running"], status["session"]["connected"]) == (False, False)
    assert status["daemon"]["stopped_at"] is not None


async def test_run_ends_before_a_live_account_is_asked_anything(
    start_simulator: StartSimulator, tmp_path: Path
) -> None:
    simulator = await start_simulator("--account", "U1234567")
    settings = {"OMS_DATABASE_URL": "oms.sqlite", "OMS_PORT": str(simulator.port)}
    said = await Shell(tmp_path, settings).oms("run", expect=2)
    assert "live account" in said.err
    assert "hint: connect to a paper gateway" in said.err


async def test_run_goes_on_trying_where_no_gateway_listens(tmp_path: Path) -> None:
    with closed_port() as port:
        shell = Shell(tmp_path, {"OMS_DATABASE_URL": "oms.sqlite", "OMS_PORT": str(port)})
        daemon = await shell.start("run")
        await until_said(daemon, b"connect_failed")
        denied = await shell.oms("buy", "1", "AAPL", expect=1)
        assert "nothing was sent" in denied.err
        daemon.send_signal(signal.SIGTERM)
        assert await daemon.wait() == 0


async def test_run_refuses_to_start_without_its_checks(tmp_path: Path) -> None:
    program = await asyncio.create_subprocess_exec(
        *(sys.executable, "-O", "-m", "oms.cli", "run"),
        cwd=tmp_path,
        stderr=asyncio.subprocess.PIPE,
    )
    _, err = await program.communicate()
    assert program.returncode == 2
    assert b"start Python without -O" in err


async def until_said(daemon: Program, action: bytes) -> None:
    """Wait until the daemon has said something in its messages."""
    async with asyncio.timeout(60):
        while action not in await daemon.stderr.readline():
            assert daemon.returncode is None


async def test_backup_beside_a_daemon_is_a_file_that_every_verb_reads(
    world: World, shell: Shell, tmp_path: Path
) -> None:
    await world.start()
    await world.resting(order_id="k1")
    folder = tmp_path / "backups"
    folder.mkdir()
    made = (await shell.oms("db", "backup", str(folder), "--keep", "1", "--json")).json
    shell.settings["OMS_DATABASE_URL"] = made["path"]
    (order,) = (await shell.oms("orders", "--json")).json["orders"]
    assert order["order_id"] == "k1"
    assert (await shell.oms("verify", "--json")).json["hash"] == made["manifest"]["hash"]
    again = await shell.oms("db", "backup", str(folder / "a.sqlite"))
    assert (
        again.out.splitlines()[1]
        == f"head {made['manifest']['sequence']} " + (made["manifest"]["hash"])
    )
    await shell.oms("db", "backup", str(folder / "a.sqlite"), expect=2)
    await shell.oms("db", "backup", str(tmp_path / "none" / "a.sqlite"), expect=1)


async def test_legal_hold_keeps_older_backups(world: World, shell: Shell, tmp_path: Path) -> None:
    await world.start()
    folder = tmp_path / "backups"
    folder.mkdir()
    keep = ("db", "backup", str(folder), "--keep", "1", "--json")
    await shell.oms(*keep)
    placed = await shell.oms(
        "db", "hold", "case-1", "--reason", "a letter", "--since", "2", "--json"
    )
    (hold,) = placed.json["holds"]
    assert (hold["name"], hold["first"], hold["last"]) == ("case-1", 2, None)
    assert hold["actor"].startswith("person:")
    await shell.oms("db", "hold", "case-1", "--reason", "again", expect=2)
    said = await shell.oms(*keep)
    assert said.json["removed"] == []
    assert "a legal hold stands (case-1): no older backup was removed" in said.err
    assert "case-1" in (await shell.oms("db", "holds")).out
    await shell.oms("db", "release", "case-2", "--reason", "a slip", expect=1)
    await shell.oms("db", "release", "case-1", "--reason", "settled")
    assert (await shell.oms("db", "holds", "--json")).json["holds"] == []
    assert len((await shell.oms(*keep)).json["removed"]) == 2
