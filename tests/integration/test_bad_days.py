"""Bad input and bad days: each has a named error, and loses and sends nothing."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import resource
import sqlite3
import struct
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
import structlog
from ib_async import IB

import oms
from oms import telemetry
from oms.core import watch
from oms.core.events import (
    AccountValueReceived,
    ConnectFailed,
    DaemonStopped,
    NaturalKeyConflict,
    NoticeReceived,
    OrderIntended,
    OrderNotSent,
    OrderRequested,
    QueryAsked,
    SessionOpened,
)
from oms.core.fold.records import OrderState
from oms.core.watch import MEGABYTE
from oms.errors import (
    ChainBroken,
    ConfigurationError,
    GatewayTooOld,
    LeaseHeld,
    LeaseLost,
    LiveAccountRefused,
    MigrationNeeded,
    OmsError,
    StoreLocked,
    StoreUnavailable,
)
from oms.service.daemon import open_oms
from oms.store import backend, space
from tests.integration.conftest import StartSimulator
from tests.world import AAPL, CLIENT_ID, LOW, World, a_world

pytestmark = pytest.mark.slow
#: Takes nothing: every write fails as on a full disk.
FULL = Path("/dev/full")


# ── the gateway is not the one that is meant ─────────────────────────────────────────────────────


async def test_a_live_account_under_paper_is_refused_before_anything_is_asked(
    tmp_path: Path, start_simulator: StartSimulator
) -> None:
    simulator = await start_simulator("--account", "U1234567")
    async with _a_world(tmp_path, simulator) as world:
        await world.start(ready=False)
        assert isinstance(await _failure(world), LiveAccountRefused)
        assert await world.log(QueryAsked) == []
        assert await world.log(SessionOpened) == []
        assert await world.log(AccountValueReceived) == []
        await world.broker(lambda b: b["clients"] == [])
        await world.stop()
        await world.start(ready=False, mode="live")
        (stopped,) = await world.log(DaemonStopped)
        assert stopped.reason.startswith("LiveAccountRefused: ")
        await world.oms.ready(10)


async def test_an_account_that_the_gateway_does_not_manage_ends_the_daemon(world: World) -> None:
    await world.start(ready=False, accounts=("DU7654321",))
    error = await _failure(world)
    assert isinstance(error, ConfigurationError)
    assert "DU7654321" in error.message
    assert error.exit_code == 2


async def test_a_gateway_that_is_too_old_ends_the_daemon_with_a_hint(world: World) -> None:
    async with _gateway_of_version(100) as port:
        await world.start(ready=False, port=port)
        error = await _failure(world)
    assert isinstance(error, GatewayTooOld)
    assert (error.exit_code, "upgrade" in error.hint) == (5, True)


async def test_a_client_id_in_use_is_said_and_tried_again_until_it_is_free(world: World) -> None:
    other = IB()
    await other.connectAsync("127.0.0.1", world.simulator.port, CLIENT_ID)
    await world.start(ready=False)
    await world.until_logged(ConnectFailed, 2)
    assert "client id 7 is in use" in (await world.log(ConnectFailed))[0].reason
    assert not world.oms.failure.done()
    other.disconnect()
    await world.oms.ready(10)


# ── the log cannot be had ────────────────────────────────────────────────────────────────────────


async def test_a_second_daemon_is_refused_and_the_first_goes_on(world: World) -> None:
    manager = await world.start()
    with pytest.raises(LeaseHeld) as refused:
        async with open_oms(world.oms.settings):
            pass
    assert f"process {os.getpid()}" in refused.value.message
    ticket = await manager.submit(AAPL, oms.Market("BUY", 1))
    await ticket.done()
    assert await world.log(DaemonStopped) == []
    await world.agree()


async def test_a_tampered_log_is_not_opened(world: World) -> None:
    await world.start()
    await world.bought(1)
    await world.stop()
    with _database(world.database) as database:
        database.execute("DROP TRIGGER events_refuse_update")
        last = "SELECT max(sequence) FROM events"
        database.execute(f"UPDATE events SET hash = zeroblob(32) WHERE sequence = ({last})")
    with pytest.raises(ChainBroken) as broken:
        await world.start()
    assert broken.value.exit_code == 4


async def test_a_log_that_lost_its_end_is_not_opened(world: World) -> None:
    await world.start()
    await world.bought(1)
    await world.stop()
    with _database(world.database) as database:
        database.execute("DROP TRIGGER events_refuse_delete")
        last = "SELECT max(sequence) FROM events"
        database.execute(f"DELETE FROM events WHERE sequence = ({last})")
    with pytest.raises(ChainBroken):
        await world.start()


async def test_a_database_of_a_newer_version_is_left_alone(world: World) -> None:
    with _database(world.database) as database:
        database.execute("CREATE TABLE of_tomorrow (name TEXT)")
        database.execute("UPDATE alembic_version SET version_num = '9999'")
    before = world.database.read_bytes()
    with pytest.raises(MigrationNeeded) as needed:
        await world.start()
    assert (needed.value.exit_code, world.database.read_bytes()) == (2, before)


async def test_a_read_only_database_is_refused_with_a_hint(world: World) -> None:
    await world.start()
    await world.stop()
    world.database.chmod(0o444)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "oms.cli", "run"),
        stderr=asyncio.subprocess.PIPE,
        env=os.environ | {"OMS_DATABASE_URL": str(world.database)},
        preexec_fn=_obey_file_permissions,
    )
    _, errors = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 1, errors.decode()
    assert "readonly database" in errors.decode()
    assert "make the file and its folder writable" in errors.decode()


# ── the log cannot be written any more ───────────────────────────────────────────────────────────


async def test_a_full_disk_lets_no_order_leave_and_ends_the_daemon(world: World) -> None:
    manager = await world.start()
    await manager.qualify(AAPL)
    with _no_more_disk(), pytest.raises(StoreUnavailable):
        await manager.submit(AAPL, oms.Limit("BUY", 1, LOW), order_id="unwritten")
    assert isinstance(await _failure(world), StoreUnavailable)
    with pytest.raises(OmsError):
        await manager.submit(AAPL, oms.Limit("BUY", 1, LOW))
    assert (await world.books())["placements"] == []
    await world.broker(lambda b: b["clients"] == [])  # it hangs up
    await world.stop()
    await world.start()
    assert await world.log(OrderIntended) == []
    await world.agree()


@pytest.mark.skipif(not FULL.exists(), reason="this system has no device that is always full")
def test_a_program_message_that_cannot_be_written_stops_nothing() -> None:
    full = FULL.open("w")
    try:
        telemetry.configure("INFO", "json", full)
        telemetry.get_logger("test").info("said", words="x" * 100_000)
    finally:
        structlog.reset_defaults()
        with contextlib.suppress(OSError):
            full.close()


async def test_what_ib_said_while_the_disk_was_full_is_asked_for_by_the_next_start(
    world: World,
) -> None:
    await world.start()
    resting = await world.resting(10)
    with _no_more_disk():
        await world.simulator.do("fill", order_ref=resting.order_id, price=LOW)
        assert isinstance(await _failure(world), StoreUnavailable)
    await world.stop()
    await world.start()
    assert world.position() == 10
    await world.agree()


async def test_a_database_that_was_moved_away_ends_the_daemon_and_no_order_leaves(
    world: World,
) -> None:
    manager = await world.start()
    world.database.rename(world.database.with_suffix(".moved"))
    with pytest.raises(OmsError):
        await manager.submit(AAPL, oms.Limit("BUY", 10, LOW), order_id="lost")
    error = await _failure(world)
    assert isinstance(error, StoreUnavailable)
    assert "moved, replaced or deleted" in str(error)
    assert await world.received("lost") == 0


async def test_a_database_that_was_moved_away_is_noticed_while_nothing_happens(
    world: World,
) -> None:
    await world.start()
    world.database.rename(world.database.with_suffix(".moved"))
    assert isinstance(await _failure(world), StoreUnavailable)


async def test_an_order_id_that_a_person_used_twice_is_no_break(world: World) -> None:
    await world.start()
    asked = OrderRequested(
        order_id="mine",
        account="",
        contract=AAPL,
        terms=oms.Limit("BUY", 10, LOW),
    )
    await world.person(asked)
    other = asked.evolve(terms=oms.Limit("BUY", 20, LOW))
    await world.person(other)
    await world.until(lambda: "mine" in world.view.orders)
    await world.rest(world.oms.manager.ticket("mine"))
    assert (await world.reconcile()).verdict == "clean"
    assert len(await world.log(NaturalKeyConflict)) == 1


async def test_a_database_that_stays_locked_lets_no_order_leave_and_ends_the_daemon(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    _be_impatient(monkeypatch)
    manager = await world.start(database_lock_seconds_max=1)
    await manager.qualify(AAPL)
    with _database(world.database) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailable):
            await manager.submit(AAPL, oms.Limit("BUY", 1, LOW))
        other.rollback()
    error = await _failure(world)
    assert isinstance(error, StoreLocked)
    assert "OMS_DATABASE_LOCK_SECONDS_MAX" in str(error)
    assert (await world.books())["placements"] == []


async def test_a_database_that_is_locked_for_a_while_delays_and_loses_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A backup program holds it: what IB says waits, new orders are refused, and then it goes on;
    the order whose intent waited too long for its market does not leave.
    """
    _be_impatient(monkeypatch)
    monkeypatch.setattr(watch, "STALLED_FOR", timedelta(seconds=0.3))
    manager = await world.start(request_age_seconds_max=1)
    await manager.qualify(AAPL)
    log = world.oms.log
    with _database(world.database) as other:
        other.execute("BEGIN IMMEDIATE")
        await world.notice(2104)
        waiting = asyncio.create_task(manager.submit(AAPL, oms.Limit("BUY", 1, LOW)))
        async with asyncio.timeout(30):
            while log.stalled_seconds < 1.5:  # noqa: ASYNC110  # another thread's state
                await asyncio.sleep(0.01)
        with pytest.raises(StoreUnavailable, match="no new order is taken"):
            await manager.submit(AAPL, oms.Limit("BUY", 2, LOW))
        look = asyncio.create_task(world.oms.watchman.look())
        await asyncio.sleep(0)
        assert not waiting.done()
        other.rollback()
    ticket = await waiting
    await look
    assert "log_waits:log" in world.view.alarms
    assert not world.oms.failure.done()
    order = await ticket.done()
    assert order.state is OrderState.NOT_SENT
    [why] = await world.log(OrderNotSent)
    assert "OMS_REQUEST_AGE_SECONDS_MAX" in why.text
    assert (await world.books())["placements"] == []
    assert [n.code for n in await world.log(NoticeReceived)].count(2104) >= 1
    await world.oms.watchman.look()
    assert "log_waits:log" not in world.view.alarms
    await world.rest(await manager.submit(AAPL, oms.Limit("BUY", 3, LOW)))
    await world.agree()


async def test_a_disk_that_fills_up_refuses_new_orders_and_lets_cancels_pass(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    manager = await world.start()
    ticket = await manager.submit(AAPL, oms.Limit("BUY", 1, LOW))
    await world.rest(ticket)
    monkeypatch.setattr(space, "free_bytes", lambda _: 100 * MEGABYTE)
    await world.notice(2104)
    await world.until(lambda: world.oms.log.free_bytes == 100 * MEGABYTE)
    with pytest.raises(StoreUnavailable, match="100 MB are free"):
        await manager.submit(AAPL, oms.Limit("BUY", 1, LOW))
    await world.oms.watchman.look()
    assert world.view.alarms["disk_low:disk"].live
    await ticket.cancel()
    assert (await ticket.done()).state is OrderState.CANCELLED
    monkeypatch.setattr(space, "free_bytes", lambda _: space.WRITING - 1)
    await world.notice(2104)
    error = await _failure(world)
    assert isinstance(error, StoreUnavailable)
    assert f"the disk of {world.database} is full" in str(error)
    monkeypatch.undo()
    await world.stop()
    await world.start()
    await world.agree()


async def test_more_events_than_the_buffer_holds_end_the_daemon_and_none_is_dropped(
    world: World,
) -> None:
    await world.start(queue_length_max=1000)
    with _database(world.database) as other:
        other.execute("BEGIN IMMEDIATE")
        notices = (world.notice(2104) for _ in range(1200))
        with contextlib.suppress(OSError):
            for notice in notices:
                await notice
        other.rollback()
    error = await _failure(world)
    assert "OMS_QUEUE_LENGTH_MAX" in str(error)
    await world.stop()
    await world.start()
    await world.agree()


async def test_a_lease_that_was_taken_over_ends_the_daemon_and_nothing_more_is_written(
    world: World,
) -> None:
    manager = await world.start()
    await manager.qualify(AAPL)
    with _database(world.database) as other:
        other.execute("UPDATE leases SET epoch = epoch + 1, holder = 'somebody else'")
    # Refused by the log, or by the session that it hung up meanwhile.
    with pytest.raises(OmsError):
        await manager.submit(AAPL, oms.Limit("BUY", 1, LOW))
    error = await _failure(world)
    assert isinstance(error, LeaseLost)
    assert "somebody else" in error.message
    assert (await world.books())["placements"] == []
    assert await world.log(OrderIntended) == []


# ── how the tests say it ─────────────────────────────────────────────────────────────────────────


async def _failure(world: World) -> BaseException:
    """Return why the OMS cannot go on."""
    async with asyncio.timeout(60):
        return await asyncio.shield(world.oms.failure)


@asynccontextmanager
async def _a_world(directory: Path, simulator: object) -> AsyncIterator[World]:
    here = directory / "own"
    here.mkdir()
    async with a_world(here, simulator) as world:  # type: ignore[arg-type]
        yield world


@asynccontextmanager
async def _gateway_of_version(version: int) -> AsyncIterator[int]:
    """A gateway that greets with a version and says no more."""

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(4)  # API and a zero byte
        body = f"{version}\x0020261122 10:00:00 EST\x00".encode()
        writer.write(struct.pack(">I", len(body)) + body)
        with contextlib.suppress(ConnectionError):
            await writer.drain()
            await reader.read()
        writer.close()

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await server.wait_closed()


def _be_impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let one attempt at a lock be short."""
    quick = tuple(
        "PRAGMA busy_timeout = 100" if "busy_timeout" in p else p
        for p in backend.SQLITE_WRITE_PRAGMAS
    )
    monkeypatch.setattr(backend, "SQLITE_WRITE_PRAGMAS", quick)


@contextmanager
def _database(path: Path) -> Iterator[sqlite3.Connection]:
    """Another program's connection to the database; each statement is durable at once."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        yield connection


@contextmanager
def _no_more_disk() -> Iterator[None]:
    """No file of this process can grow: what a full disk does to a database."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1, hard))
    try:
        # The capture of standard output is a file too.
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def _obey_file_permissions() -> None:
    """Give up root's right to write what is read-only (CAP_DAC_OVERRIDE); others have none."""
    import ctypes

    ctypes.CDLL(None).prctl(24, 1, 0, 0, 0)
