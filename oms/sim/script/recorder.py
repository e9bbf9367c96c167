"""Stands between clients and a real gateway, passes their frames on and writes them down."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import IO

from oms.sim.clock import Clock
from oms.sim.protocol import frames
from oms.sim.protocol.errors import WireError
from oms.sim.protocol.frames import FrameReader
from oms.sim.protocol.versions import HANDSHAKE_PREFIX, SERVER_VERSION_MAX, parse_versions
from oms.sim.script.transcripts import TranscriptLine, some_bytes

log = logging.getLogger("oms.sim.script.recorder")


class Recorder:
    """A proxy that writes down what passes.

    `hide` replaces texts in the file, not on the wire: account numbers and names have no place in a
    transcript that others read. A client that reads more than version `highest` is announced with
    that, the only bytes that are changed: what comes above it is not text; 0 leaves it.
    `connections` is how many were recorded before, in the same file.
    """

    def __init__(
        self,
        upstream: tuple[str, int],
        out: IO[str],
        clock: Clock,
        hide: Mapping[str, str],
        *,
        highest: int = SERVER_VERSION_MAX,
        connections: int = 0,
    ) -> None:
        self._highest = highest
        self._connections = connections
        self._upstream = upstream
        self._out = out
        self._clock = clock
        self._hide = dict(hide)
        self._begun = clock.now()
        self._server: asyncio.Server | None = None

    async def start(self, host: str, port: int) -> int:
        """Open the port, 0 for any free one, and return its number."""
        self._server = await asyncio.start_server(self._serve, host, port)
        bound: int = self._server.sockets[0].getsockname()[1]
        return bound

    async def stop(self) -> None:
        """Close the port; what was recorded is in the file."""
        if self._server is not None:
            self._server.close()
        self._out.flush()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            up_reader, up_writer = await asyncio.open_connection(*self._upstream)
        except OSError as error:
            log.warning("no gateway at %s:%s: %s", *self._upstream, error)
            writer.close()
            return
        self._connections += 1
        number = self._connections
        await asyncio.gather(
            self._from_client(reader, up_writer, number),
            self._pass(up_reader, writer, "gateway", number, FrameReader()),
        )

    async def _from_client(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int
    ) -> None:
        """The handshake first: it says which versions may come."""
        cutter = FrameReader()
        payloads: list[bytes] = []
        try:
            while not cutter.take_prefix(await some_bytes(reader), HANDSHAKE_PREFIX):
                pass
            while not (payloads := cutter.feed(b"") or payloads):
                payloads = cutter.feed(await some_bytes(reader))
            hello = self._announced(payloads[0])
            writer.write(HANDSHAKE_PREFIX + frames.frame(hello))
            self._note("client", hello, number, handshake=True)
        except (ConnectionError, WireError) as error:
            log.warning("connection %s, client: %s", number, error)
            writer.close()
            return
        for payload in payloads[1:]:
            writer.write(frames.frame(payload))
            self._note("client", payload, number)
        writer.write(cutter.rest)
        await self._pass(reader, writer, "client", number, cutter)

    def _announced(self, payload: bytes) -> bytes:
        lowest, highest = parse_versions(payload)
        if not self._highest or highest <= self._highest:
            return payload
        options = payload.partition(b" ")[2]
        versions = f"v{min(lowest, self._highest)}..{self._highest}".encode()
        return versions + (b" " + options if options else b"")

    async def _pass(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        sender: str,
        number: int,
        cutter: FrameReader,
    ) -> None:
        try:
            while chunk := await reader.read(65536):
                writer.write(chunk)
                await writer.drain()
                for payload in cutter.feed(chunk):
                    self._note(sender, payload, number)
        except (ConnectionError, WireError) as error:
            log.warning("connection %s, %s: %s", number, sender, error)
        finally:
            writer.close()

    def _note(self, sender: str, payload: bytes, number: int, handshake: bool = False) -> None:
        at = (self._clock.now() - self._begun).total_seconds()
        if handshake:
            hello = payload.decode("ascii", errors="replace")
            line = TranscriptLine(at, sender, handshake=hello, connection=number)
        else:
            fields = tuple(self._hidden(one) for one in frames.split(payload))
            line = TranscriptLine(at, sender, fields, connection=number)
        self._out.write(line.to_json() + "\n")
        self._out.flush()

    def _hidden(self, text: str) -> str:
        for secret, shown in self._hide.items():
            text = text.replace(secret, shown)
        return text
