"""The control port: one JSON object a line in, one JSON object a line out.

`{"do": "books"}` is answered `{"ok": true, ...}`, a command that cannot be done
`{"ok": false, "error": "...", "hint": "..."}`. For the local machine only.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Mapping
from typing import Any, Final

from oms.sim.script.commands import Commands, failure
from oms.sim.script.verb import Answer

log = logging.getLogger("oms.sim.script.control")

LINE_BYTES_MAX: Final = 1024 * 1024
#: The books of a long day are one line.
ANSWER_BYTES_MAX: Final = 64 * 1024 * 1024


class ControlPort:
    """The line protocol over TCP."""

    def __init__(self, commands: Commands) -> None:
        self._commands = commands
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def start(self, port: int) -> int:
        """Open the port, 0 for any free one, and return its number."""
        self._server = await asyncio.start_server(
            self._serve, "127.0.0.1", port, limit=LINE_BYTES_MAX
        )
        bound: int = self._server.sockets[0].getsockname()[1]
        return bound

    async def stop(self) -> None:
        """Close the port and every connection."""
        if self._server is not None:
            self._server.close()
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._connections.add(task)
            task.add_done_callback(self._connections.discard)
        try:
            while line := await self._line(reader):
                writer.write(json.dumps(self._answer(line)).encode() + b"\n")
                await writer.drain()
        except ConnectionError:
            log.info("a control connection broke")
        except asyncio.CancelledError:
            # The program stops; asyncio's stream server complains about a cancelled handler.
            log.debug("a control connection was open at the stop")
        finally:
            writer.close()

    @staticmethod
    async def _line(reader: asyncio.StreamReader) -> bytes:
        """The next line; one that is too long to be a command is read to its end and not JSON."""
        too_long = False
        while True:
            try:
                line = await reader.readline()
            except ValueError:
                too_long = True
                continue
            return b"too long" if too_long and line else line

    def _answer(self, line: bytes) -> Answer:
        try:
            command = json.loads(line)
        except (ValueError, RecursionError) as error:
            return failure(f"not JSON: {error}", 'one object a line, such as {"do": "books"}')
        if not isinstance(command, dict):
            return failure("not a JSON object", 'one object a line, such as {"do": "books"}')
        return self._commands.do(command)


async def call(port: int, command: Mapping[str, Any], host: str = "127.0.0.1") -> Answer:
    """Send one command to a control port and return its answer."""
    reader, writer = await asyncio.open_connection(host, port, limit=ANSWER_BYTES_MAX)
    try:
        writer.write(json.dumps(dict(command)).encode() + b"\n")
        answer = json.loads(await reader.readline())
    finally:
        writer.close()
        await writer.wait_closed()
    return dict(answer)
