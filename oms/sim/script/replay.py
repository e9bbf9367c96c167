"""A gateway that knows nothing but a transcript.

It says what the gateway said, in the same order, and waits where the gateway had waited for the
client.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping

from oms.sim.protocol import frames, messages, requests
from oms.sim.protocol.errors import WireError
from oms.sim.protocol.frames import FrameReader
from oms.sim.protocol.versions import HANDSHAKE_PREFIX
from oms.sim.script.transcripts import TranscriptLine, some_bytes

log = logging.getLogger("oms.sim.script.replay")

#: How long a player waits for the client's next message before it gives the client up.
PATIENCE_SECONDS = 30.0


class Replay:
    """Plays a transcript: its first connection to the first client, and so on, then the last again.

    A client's message is taken for the recorded one when it is of the same kind; its request or
    order id may be another one, and the answers carry the client's. What a client sends that the
    transcript does not wait for is passed over.
    """

    def __init__(self, lines: list[TranscriptLine]) -> None:
        numbers = sorted({line.connection for line in lines})
        self._connections = [[one for one in lines if one.connection == n] for n in numbers]
        self._served = 0
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None
        self.finished = asyncio.Event()

    async def start(self, host: str, port: int) -> int:
        """Open the port, 0 for any free one, and return its number."""
        self._server = await asyncio.start_server(self._serve, host, port)
        bound: int = self._server.sockets[0].getsockname()[1]
        return bound

    async def stop(self) -> None:
        """Close the port and every connection."""
        if self._server is not None:
            self._server.close()
        for writer in self._writers:
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lines = self._connections[min(self._served, len(self._connections) - 1)]
        self._served += 1
        self._writers.add(writer)
        try:
            await self._play(lines, reader, writer)
            self.finished.set()
            # The recorded session has no more to say: whether to stay is the client's choice.
            while await reader.read(65536):
                pass
        except (TimeoutError, ConnectionError, WireError) as error:
            log.warning("the client did not do what the transcript has: %r", error)
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _play(
        self,
        lines: list[TranscriptLine],
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        incoming = _Incoming(reader)
        await incoming.handshake()
        ids: dict[str, str] = {}
        version = 0
        for line in lines:
            if line.handshake:
                continue
            if line.sender == "client":
                try:
                    recorded = requests.parse(version, line.fields)
                except WireError as error:
                    log.info("the transcript has an unknown message: %s", error)
                    continue
                async with asyncio.timeout(PATIENCE_SECONDS):
                    seen = await incoming.next(recorded.number, version)
                if recorded.request_id != "-1":
                    ids[recorded.request_id] = seen.request_id
                continue
            if not version:
                version = int(line.fields[0])
                writer.write(frames.frame(frames.join(line.fields)))
            else:
                writer.write(frames.frame(frames.join(with_ids(version, line.fields, ids))))
        await writer.drain()


class _Incoming:
    """The client's frames, one at a time."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader
        self._frames = FrameReader()
        self._waiting: list[bytes] = []

    async def handshake(self) -> None:
        """Read over the prefix and the versions."""
        while not self._frames.take_prefix(await self._chunk(), HANDSHAKE_PREFIX):
            pass
        self._waiting = self._frames.feed(b"")
        await self._payload()

    async def next(self, number: int, version: int) -> requests.Request:
        """Wait for the next message of that kind and return it."""
        while True:
            try:
                request = requests.parse(version, frames.split(await self._payload()))
            except WireError as error:
                log.info("passed over: %s", error)
                continue
            if request.number == number:
                return request

    async def _payload(self) -> bytes:
        while not self._waiting:
            self._waiting = self._frames.feed(await self._chunk())
        return self._waiting.pop(0)

    async def _chunk(self) -> bytes:
        return await some_bytes(self._reader)


def with_ids(version: int, fields: tuple[str, ...], ids: Mapping[str, str]) -> list[str]:
    """Return a recorded message with the ids of the client that listens now."""
    try:
        name, values = messages.decode(version, fields)
    except WireError:
        return list(fields)
    changed = {
        key: ids[values[key]]
        for key in ("reqId", "orderId")
        if ids.get(values.get(key, ""), values.get(key)) != values.get(key)
    }
    return messages.encode(name, version, {**values, **changed}) if changed else list(fields)
