"""A database that went back: what leaves then, and what it takes to go on."""

from __future__ import annotations

import asyncio
import json
import re
import shlex
import shutil
from pathlib import Path

import pytest

import oms
from oms.clock import SystemClock
from oms.core.admit.groups import NewOrder
from oms.core.events import Context, LossAccepted, Pending, TradingHaltedByPerson
from oms.core.fold.records import OrderState
from oms.errors import LogWentBack, OmsError, StoreUnavailable
from oms.service.lifetime import LossWord
from oms.store import schema
from oms.store.lease import LeaseRequest
from oms.store.log import EventLog
from tests.conftest import ROOT
from tests.integration.conftest import StartSimulator
from tests.programs import Program
from tests.shell import Shell, closed_port
from tests.simulator import Simulator
from tests.world import (
    AAPL,
    ACCOUNT,
    DEADLINE_SECONDS,
    LOW,
    World,
    a_world,
    disagreements,
    new_database,
)

pytestmark = pytest.mark.slow
LEASE = LeaseRequest("DU1234567/7", "tests", "here", 1)
WORD = LossWord("person:test", "the disk failed")


async def aged(world: World) -> Path:
    """Run the OMS once, and return a copy of what it left."""
    await world.start()
    await world.stop()
    return Path(shutil.copyfile(world.database, world.database.with_suffix(".backup")))


def restore(world: World, copy: Path) -> None:
    """Put a copy in the place of the database, as `cp` does; the head file stays."""
    for end in ("-wal", "-shm"):
        world.database.with_name(world.database.name + end).unlink(missing_ok=True)
    shutil.copyfile(copy, world.database)


@pytest.mark.parametrize("end", ["open", "filled", "cancelled"])
async def test_keys_that_ib_shows_are_not_sent_again_after_an_older_copy_was_restored(
    world: World, end: str
) -> None:
    copy = await aged(world)
    manager = await world.start()
    ticket = await world.resting(order_id="k1")
    if end == "filled":
        await world.simulator.do("fill", order_ref="k1", price=LOW)
        await world.until(lambda: ticket.state is OrderState.FILLED)
    elif end == "cancelled":
        await manager.cancel("k1")
        await world.until(lambda: ticket.state is OrderState.CANCELLED)
    await world.stop()
    restore(world, copy)
    with pytest.raises(LogWentBack, match=r"but oms\.sqlite\.head knows of"):
        await world.start()
    manager = await world.start(accept_loss=WORD)
    again = await manager.submit(AAPL, oms.Limit("BUY", 10, LOW), order_id="k1")
    assert again.order.origin != "ours"
    (accepted,) = await world.log(LossAccepted)
    assert (accepted.loss, accepted.reason) == ("behind", WORD.reason)
    assert accepted.known_sequence > accepted.found_sequence > 0
    assert await world.received("k1") == 1


async def test_key_that_was_asked_for_while_ib_was_away_is_the_order_that_ib_has(
    world: World,
) -> None:
    copy = await aged(world)
    await world.start()
    await world.resting(order_id="k1")
    await world.stop()
    restore(world, copy)
    with closed_port() as nobody:
        manager = await world.start(ready=False, accept_loss=WORD, port=nobody)
        wanted = NewOrder(AAPL, oms.Limit("BUY", 10, LOW), order_id="k1", account=ACCOUNT)
        (early,) = await manager.submit_many([wanted])
        assert early.state is OrderState.DENIED
        await world.stop()
    manager = await world.start()
    again = await manager.submit(AAPL, oms.Limit("BUY", 10, LOW), order_id="k1")
    assert (again.state, again.order.origin) == (OrderState.WORKING, "previous_session")
    assert await world.received("k1") == 1


async def test_order_that_the_copy_does_not_know_to_have_left_is_what_ib_shows(
    world: World,
) -> None:
    """The copy was made between the intent and IB's answer, so that it holds the key."""
    await aged(world)
    manager = await world.start()
    await manager.qualify(AAPL)
    await world.simulator.do("fault", message="openOrder", direction="out", action="drop")
    await world.simulator.do("fault", message="orderStatus", direction="out", action="drop")
    ticket = await manager.submit(AAPL, oms.Limit("BUY", 10, LOW), order_id="k1")
    await world.until(lambda: ticket.state is OrderState.IN_FLIGHT)
    await world.simulator.do("clear")
    await world.stop()
    copy = Path(shutil.copyfile(world.database, world.database.with_suffix(".flight")))
    await world.start()
    await world.simulator.do("fill", order_ref="k1", price=LOW)
    await world.until(lambda: world.state_of("k1") is OrderState.FILLED)
    await world.stop()
    restore(world, copy)
    manager = await world.start(accept_loss=WORD)
    again = await manager.submit(AAPL, oms.Limit("BUY", 10, LOW), order_id="k1")
    assert again.state is OrderState.FILLED
    assert await world.received("k1") == 1
    await world.agree()


@pytest.mark.parametrize("end", ["-wal", "-shm"])
async def test_file_beside_the_database_that_is_deleted_ends_the_daemon(
    world: World, end: str
) -> None:
    manager = await world.start()
    await manager.qualify(AAPL)
    world.database.with_name(world.database.name + end).unlink()
    with pytest.raises(OmsError):
        await manager.submit(AAPL, oms.Limit("BUY", 10, LOW), order_id="lost")
    async with asyncio.timeout(DEADLINE_SECONDS):
        error = await world.oms.failure
    assert isinstance(error, StoreUnavailable)
    assert f"oms.sqlite{end} was moved, replaced or deleted" in str(error)
    assert await world.received("lost") == 0


async def test_database_that_is_cut_while_nothing_happens_ends_the_daemon(world: World) -> None:
    await world.start()
    with world.database.open("r+b") as file:
        file.truncate(0)
    async with asyncio.timeout(DEADLINE_SECONDS):
        error = await world.oms.failure
    assert isinstance(error, StoreUnavailable)
    assert "was cut to 0 bytes" in str(error)


async def test_strategy_that_repeats_its_keys_after_a_restore_sends_each_once(
    tmp_path: Path, simulator: Simulator
) -> None:
    """Programs as people run them: a daemon, a kill, an older copy, the same lines once more."""
    database = tmp_path / "oms.sqlite"
    shell = Shell(tmp_path, {"OMS_PORT": str(simulator.port), "OMS_LEASE_SECONDS": "2"})
    shell.settings["OMS_DATABASE_URL"] = f"sqlite:///{database}"
    await killed(await running(shell))
    files = [database, database.with_name("oms.sqlite-wal")]
    copies = [shutil.copyfile(file, tmp_path / f"copy-of-{file.name}") for file in files]
    daemon = await running(shell)
    for key in ("k1", "k2"):
        await shell.oms("buy", *WORDS, "--order-id", key)
    await killed(daemon)

    database.with_name("oms.sqlite-shm").unlink()
    for copy, file in zip(copies, files, strict=True):
        shutil.copyfile(copy, file)
    for verb in ("run", "verify", "status", "check"):
        said = await shell.oms(verb, expect=4)
        assert "but oms.sqlite.head knows of" in " ".join((said.err + said.out).split())
    assert "warning: the database" in (await shell.oms("orders")).err
    await shell.oms("run", "--accept-loss", expect=2)
    daemon = await running(shell, "--accept-loss", "--reason", "disk failed")
    for key in ("k1", "k2", "k3"):
        await shell.oms("buy", *WORDS, "--order-id", key)
    fact = json.loads((await shell.oms("log", "--type", "LossAccepted", "--json")).out)
    assert fact["actor"].startswith("person:")
    rows = (await simulator.do("books"))["placements"]
    assert {row["order_ref"]: row["received"] for row in rows} == {"k1": 1, "k2": 1, "k3": 1}

    await killed(daemon)
    files[1].unlink()
    for verb in ("run", "verify", "status"):
        await shell.oms(verb, expect=4)


async def test_backup_beside_a_daemon_takes_the_place_of_a_log_that_was_lost(
    tmp_path: Path, simulator: Simulator
) -> None:
    """Orders leave before, while and after it is made; the machine's log is lost after a kill."""
    database = tmp_path / "oms.sqlite"
    shell = Shell(tmp_path, {"OMS_PORT": str(simulator.port), "OMS_LEASE_SECONDS": "2"})
    shell.settings["OMS_DATABASE_URL"] = f"sqlite:///{database}"
    daemon = await running(shell)
    await shell.oms("buy", *WORDS, "--order-id", "k1")
    made, _ = await asyncio.gather(
        shell.oms("db", "backup", "night.sqlite", "--json"),
        shell.oms("buy", *WORDS, "--order-id", "k2"),
    )
    await shell.oms("buy", *WORDS, "--order-id", "k3")
    await simulator.do("fill", order_ref="k3", price=LOW)
    await killed(daemon)

    await shell.oms("db", "restore", "night.sqlite", expect=2)
    for end in ("", "-wal", "-shm"):
        database.with_name(f"oms.sqlite{end}").unlink()
    done = await shell.oms("db", "restore", "night.sqlite", "--json")
    assert done.json["backup_sequence"] == made.json["manifest"]["sequence"]
    assert done.json["missing"] == "events"
    assert "--accept-loss" in done.err
    await shell.oms("rebuild", "--check")
    await shell.oms("run", expect=4)
    daemon = await running(shell, "--accept-loss", "--reason", "disk failed")
    for key in ("k1", "k2", "k3"):
        await shell.oms("buy", *WORDS, "--order-id", key)
    books = await simulator.do("books")
    received = {row["order_ref"]: row["received"] for row in books["placements"]}
    assert received == {"k1": 1, "k2": 1, "k3": 1}
    (held,) = (await shell.oms("positions", "--json")).json["positions"]
    assert held["quantity"] == "10"
    await killed(daemon)
    # The log never intended what left after the backup; all else is as IB has it.
    assert disagreements(database, books).keys() <= {"placed_once"}


WORDS = ("10", "AAPL", "--limit", LOW)


async def running(shell: Shell, *words: str) -> Program:
    daemon = await shell.start("run", *words)
    async with asyncio.timeout(DEADLINE_SECONDS):
        while b"reconciliation_completed" not in (line := await daemon.stderr.readline()):
            assert line, "the daemon ended"
    return daemon


async def killed(daemon: Program) -> None:
    daemon.kill()
    await daemon.communicate()


async def test_lost_fill_that_ib_shows_no_more_keeps_its_contract_closed(
    tmp_path: Path, start_simulator: StartSimulator
) -> None:
    """IB forgets keys at midnight, but not what they have bought."""
    simulator = await start_simulator("--clock", "stepped")
    async with a_world(tmp_path, simulator) as world:
        copy = await aged(world)
        await world.start()
        ticket = await world.resting(order_id="k1")
        await simulator.do("fill", order_ref="k1", price=LOW)
        await world.until(lambda: ticket.state is OrderState.FILLED)
        await world.stop()
        await simulator.do("advance", seconds=str(24 * 3600))
        restore(world, copy)
        manager = await world.start(accept_loss=WORD)
        assert world.open_cases() == [("quantity_drift", "AAPL")]
        again = await manager.submit(AAPL, oms.Limit("BUY", 10, LOW), order_id="k1")
        assert await world.rule_against(again) == "gate"
        assert await world.received("k1") == 1


async def test_commands_of_the_page_about_backups_do_what_it_says(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="the archive is written in Parquet")
    new_database(tmp_path / "oms.sqlite")
    url = f"sqlite:///{tmp_path}/oms.sqlite"
    halt = Pending(TradingHaltedByPerson(reason="lunch"), Context(actor="person:test"))
    log = await EventLog.open(url, clock=SystemClock(), lease=LEASE)
    await log.append(halt)
    await log.close()
    shell = Shell(tmp_path, {"OMS_DATABASE_URL": "oms.sqlite"})
    page = (ROOT / "docs" / "operating" / "backup.md").read_text(encoding="utf-8")
    for block in re.findall(r"^```sh\n(.*?)^```", page, re.DOTALL | re.MULTILINE):
        for line in block.splitlines():
            if line.startswith("oms "):
                await shell.oms(*shlex.split(line)[1:])
            else:
                done = await asyncio.create_subprocess_shell(line, cwd=tmp_path)
                assert await done.wait() == 0, line
    assert schema.current(str(tmp_path / "back.sqlite")) == "0004"
    facts = (await shell.oms("--database", "new.sqlite", "log", "--json")).out.splitlines()
    said = [json.loads(fact) for fact in facts]
    assert [one["type"] for one in said[-2:]] == ["BackupRestored"] * 2
    assert [one["payload"]["missing"] for one in said[-2:]] == ["nothing"] * 2
    facts = (await shell.oms("log", "--json")).out.splitlines()
    assert [json.loads(fact)["type"] for fact in facts][-3:] == [
        "SegmentArchived",
        "HoldPlaced",
        "HoldReleased",
    ]
