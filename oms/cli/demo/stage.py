"""The stage of the demo: a directory, the gateway simulator, the daemon, and the way to both.

Both programs are processes of their own and die with this one (`child_program`), so a demo that is
killed at any moment can be run again on the same directory.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final, Self, TypeVar

from oms.cli import child_program
from oms.cli.reading import perform
from oms.clock import SystemClock
from oms.errors import MigrationNeeded, OmsError, RequestTimedOut, StoreUnavailable
from oms.settings import ENV_PREFIX
from oms.store import schema
from oms.store.reader import Reader

Seen = TypeVar("Seen")

DATABASE: Final = "oms.sqlite"
BOOKS: Final = "gateway.sqlite"
#: What `--fresh` removes; nothing else in the directory is ours.
_OURS: Final = ("oms.sqlite*", "gateway.sqlite*", "reports/R*.html", "*.log")
#: Short waits: the demo's gateway answers in milliseconds, and a viewer should not wait longer.
_SETTINGS: Final = {
    "OMS_DATABASE_URL": DATABASE,
    "OMS_DOUBT_SETTLE_SECONDS": "0.5",
    "OMS_LEASE_SECONDS": "2",
    "OMS_RECONNECT_DELAYS_SECONDS": "0.2,0.4,0.8",
    "OMS_REQUEST_TIMEOUT_SECONDS": "5",
    # The simulator is never away; during IB's hours an order in doubt would wait for their end.
    "OMS_RESET_REGION": "none",
}
#: Longest wait for anything on the stage.
DEADLINE_SECONDS: Final = 20.0
_LOOK_SECONDS: Final = 0.02


class Stage:
    """Who plays, where, and how they are reached. Changes this process's working directory and
    environment: a user's own settings and files must not decide how the demo goes.
    """

    def __init__(self, directory: Path, *, keep: bool, seed: int) -> None:
        self.directory = directory.resolve()
        self._keep = keep
        self._seed = seed
        self._gateway: subprocess.Popen[bytes] | None = None
        self._daemon: subprocess.Popen[bytes] | None = None
        self.port = 0
        self.control_port = 0

    def __enter__(self) -> Self:
        self.directory.mkdir(parents=True, exist_ok=True)
        os.chdir(self.directory)
        for name in [name for name in os.environ if name.startswith(ENV_PREFIX)]:
            del os.environ[name]
        os.environ.update(_SETTINGS)
        if not self._keep:
            for pattern in _OURS:
                for path in self.directory.glob(pattern):
                    path.unlink()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for child in (self._daemon, self._gateway):
            if child is not None:
                child.kill()
                child.communicate()

    # ── the gateway ──────────────────────────────────────────────────────────────────────────────

    def start_gateway(self) -> dict[str, Any]:
        """Start the simulator on free ports, with the books of before if there are any."""
        arguments = ["serve", "--port", "0", "--control-port", "0"]
        arguments += ["--books", BOOKS, "--seed", str(self._seed)]
        self._gateway = self._start("oms.sim", arguments, "gateway.log", subprocess.PIPE)
        assert self._gateway.stdout is not None
        line = self._gateway.stdout.readline()
        if not line:
            raise OmsError("the simulator did not start", hint=self._see("gateway.log"))
        ready: dict[str, Any] = json.loads(line)
        self.port, self.control_port = ready["port"], ready["control_port"]
        os.environ["OMS_PORT"] = str(self.port)
        return ready

    def control(self, verb: str, **fields: object) -> dict[str, Any]:
        """Tell the simulator to do something; raises where it cannot."""
        address = ("127.0.0.1", self.control_port)
        with socket.create_connection(address, timeout=DEADLINE_SECONDS) as line:
            line.sendall(json.dumps({"do": verb, **fields}).encode() + b"\n")
            with line.makefile("rb") as answers:
                answer: dict[str, Any] = json.loads(answers.readline())
        if not answer.get("ok"):
            raise OmsError(f"the simulator cannot {verb}: {answer.get('error')}")
        return answer

    def check(self) -> int:
        """Run the independent checker; it prints one line a claim. Returns its exit status."""
        command = [sys.executable, "-m", "oms.sim.checker", "--database", DATABASE]
        command += ["--control-port", str(self.control_port)]
        sys.stdout.flush()
        return subprocess.run(command, check=False).returncode

    # ── the daemon ───────────────────────────────────────────────────────────────────────────────

    def start_daemon(self) -> int:
        """Start `oms run`; returns its process id."""
        self._daemon = self._start("oms.cli", ["run"], "daemon.log", subprocess.DEVNULL)
        return self._daemon.pid

    def kill_daemon(self) -> None:
        """End the daemon at this instant: SIGKILL, which no program can catch."""
        assert self._daemon is not None
        self._daemon.kill()
        self._daemon.communicate()

    def stop_daemon(self) -> None:
        """Ask the daemon to stop, and wait until it has."""
        assert self._daemon is not None
        self._daemon.terminate()
        self._daemon.communicate(timeout=DEADLINE_SECONDS)

    # ── the log ──────────────────────────────────────────────────────────────────────────────────

    def has_log(self) -> bool:
        """Say whether an earlier demo left a database that can be read."""
        return schema.current(DATABASE) == schema.HEAD

    def look(self, question: Callable[[Reader], Awaitable[Seen]]) -> Seen:
        """Return what the log says."""

        async def work() -> Seen:
            reader = await Reader.open(DATABASE)
            try:
                return await question(reader)
            finally:
                await reader.close()

        return perform(work())

    def until(self, what: str, question: Callable[[Reader], Awaitable[Seen]]) -> Seen:
        """Look until the answer is true, and return it; raises `RequestTimedOut`."""
        clock = SystemClock()
        deadline = clock.monotonic() + DEADLINE_SECONDS

        async def ask(reader: Reader) -> Seen | None:
            while not (seen := await question(reader)):
                if clock.monotonic() > deadline or self._daemon_failed():
                    return None
                await asyncio.sleep(_LOOK_SECONDS)
            return seen

        seen: Seen | None = None
        while not seen and clock.monotonic() <= deadline and not self._daemon_failed():
            # The daemon makes its tables when it starts; until then there is nothing to read.
            try:
                seen = self.look(ask)
            except (MigrationNeeded, StoreUnavailable):
                time.sleep(_LOOK_SECONDS)
        if self._daemon is not None and self._daemon_failed():
            status = self._daemon.returncode
            raise OmsError(f"the daemon ended with status {status}", hint=self._see("daemon.log"))
        if not seen:
            words = f"waited {DEADLINE_SECONDS:g} s for {what}"
            raise RequestTimedOut(words, hint=self._see("daemon.log"))
        return seen

    # ── inside ───────────────────────────────────────────────────────────────────────────────────

    def _start(
        self, module: str, arguments: list[str], log: str, out: int
    ) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", child_program.__name__, module, *arguments]
        with (self.directory / log).open("ab") as errors:
            return _open(command, errors, out)

    def _daemon_failed(self) -> bool:
        return self._daemon is not None and self._daemon.poll() not in (None, 0)

    def _see(self, log: str) -> str:
        return f"see {self.directory / log}"


def _open(command: list[str], errors: IO[bytes], out: int) -> subprocess.Popen[bytes]:
    # The pipe to standard input closes when this process ends, and the child ends with it.
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=out, stderr=errors)
