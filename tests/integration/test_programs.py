"""The programs that tests start are what they would be at a shell, and none outlives its test."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE
from pathlib import Path

import pytest

from tests import programs

pytestmark = pytest.mark.slow
DEADLINE_SECONDS = 60
#: Tests that start a simulator and never come to their end.
TESTS = """
import asyncio
from tests.simulator import running_simulator

async def main():
    async with running_simulator() as simulator:
        print(simulator.port, flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


async def test_no_program_outlives_tests_that_are_killed() -> None:
    tests = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", TESTS), cwd=programs.ROOT, stdout=PIPE
    )
    assert tests.stdout is not None
    async with asyncio.timeout(DEADLINE_SECONDS):
        port = int(await tests.stdout.readline())
        tests.kill()
        # The process that forks the programs holds this stream too, to its own end.
        assert await tests.stdout.read() == b""
        await tests.wait()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)


@pytest.mark.parametrize("forked", [programs.CAN_FORK, False])
async def test_a_program_has_its_own_folder_environment_streams_and_status(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, forked: bool
) -> None:
    monkeypatch.setattr(programs, "CAN_FORK", forked)
    (tmp_path / "oms.toml").write_text("client_id = 5\n", encoding="utf-8")
    outer = {name: text for name, text in os.environ.items() if name != "COLUMNS"}
    environment = {**outer, "OMS_PORT": "7497"}
    program = await programs.start("oms.cli", "settings", folder=tmp_path, environment=environment)
    out, err = await program.communicate()
    assert (program.returncode, err) == (0, b"")
    said = out.decode().splitlines()
    assert any("OMS_PORT" in line and "7497" in line for line in said)
    assert any("OMS_CLIENT_ID" in line and "oms.toml" in line for line in said)
    program = await programs.start("oms.cli", "settings", "--nonsense", folder=tmp_path)
    out, err = await program.communicate()
    assert (program.returncode, out, b"No such option" in err) == (2, b"", True)


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGKILL, -signal.SIGKILL), (signal.SIGTERM, 0)]
)
async def test_a_signal_ends_a_program_as_it_would_at_a_shell(number: int, code: int) -> None:
    program = await programs.start("oms.sim", "serve", "--port", "0", "--control-port", "0")
    assert b"ready" in await program.stdout.readline()
    program.send_signal(number)
    assert await program.wait() == code
