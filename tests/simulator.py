"""The gateway simulator as a process of its own, and its control port."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

DEADLINE_SECONDS = 10
#: The books of a thousand orders come in one line.
ANSWER_BYTES_MAX = 2**26


class SimulatorRefused(Exception):
    """A control command that the simulator could not do."""


async def control(port: int, command: str, **fields: object) -> dict[str, Any]:
    """Run a control command; raises `SimulatorRefused`."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=ANSWER_BYTES_MAX)
    try:
        writer.write(json.dumps({"do": command, **fields}).encode() + b"\n")
        answer: dict[str, Any] = json.loads(await reader.readline())
    finally:
        writer.close()
        await writer.wait_closed()
    if not answer["ok"]:
        raise SimulatorRefused(answer)
    return answer


@dataclass
class Simulator:
    """A gateway simulator and its control port."""

    host: str
    port: int
    control_port: int
    process: asyncio.subprocess.Process

    async def do(self, command: str, **fields: object) -> dict[str, Any]:
        """Run a control command; a refusal fails the test."""
        return await control(self.control_port, command, **fields)

    async def stop(self) -> None:
        """Take the gateway away."""
        if self.process.returncode is None:
            self.process.terminate()
        await self.process.wait()


@asynccontextmanager
async def running_simulator(*options: str) -> AsyncIterator[Simulator]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "oms.sim", "serve", "--port", "0", "--control-port", "0"),
        *options,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert process.stdout is not None
    async with asyncio.timeout(DEADLINE_SECONDS):
        ready = json.loads(await process.stdout.readline())
    simulator = Simulator("127.0.0.1", ready["port"], ready["control_port"], process)
    try:
        yield simulator
    finally:
        await simulator.stop()
