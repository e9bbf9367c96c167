"""Runs a command while a gateway answers on every port that the programs use by default.

    python -m tests.taken_ports pytest

A developer's machine often has a paper gateway or our own simulator on one of them. No test may
find it, or need a port that is taken.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import AsyncExitStack, suppress

from oms.core.admit.limits import LIVE_PORTS, PAPER_PORTS
from oms.sim.gateway.gateway import Gateway
from oms.sim.script.control import Commands, ControlPort
from oms.sim.settings import Settings

#: The operator's pages (`oms web`).
WEB_PORT = 8010


async def main(words: list[str]) -> int:
    """Return the exit status of the command."""
    async with AsyncExitStack() as taken:
        gateway = Gateway(Settings())
        for port in sorted(PAPER_PORTS | LIVE_PORTS):
            with suppress(OSError):  # it is taken already, as it should be
                other = Gateway(Settings(port=port))
                await other.start()
                taken.push_async_callback(other.stop)
        control = ControlPort(Commands(gateway))
        with suppress(OSError):
            await control.start(Settings().control_port)
            taken.push_async_callback(control.stop)
        with suppress(OSError):
            pages = await asyncio.start_server(lambda *_: None, "127.0.0.1", WEB_PORT)
            taken.callback(pages.close)
        command = await asyncio.create_subprocess_exec(*words)
        return await command.wait()


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1:])))
