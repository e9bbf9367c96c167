"""The gateway simulator as a process of its own, and its control port."""

from __future__ import annotations

import asyncio
import json
from asyncio.subprocess import DEVNULL
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from tests import programs

DEADLINE_SECONDS = 60
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
    program: programs.Program

    async def do(self, command: str, **fields: object) -> dict[str, Any]:
        """Run a control command; a refusal fails the test."""
        return await control(self.control_port, command, **fields)

    async def stop(self) -> None:
        """Take the gateway away."""
        self.program.terminate()
        await self.program.wait()


@asynccontextmanager
async def running_simulator(*options: str) -> AsyncIterator[Simulator]:
    words = ("serve", "--port", "0", "--control-port", "0", *options)
    program = await programs.start("oms.sim", *words, stderr=DEVNULL)
    async with asyncio.timeout(DEADLINE_SECONDS):
        ready = json.loads(await program.stdout.readline())
    simulator = Simulator("127.0.0.1", ready["port"], ready["control_port"], program)
    try:
        yield simulator
    finally:
        await simulator.stop()
