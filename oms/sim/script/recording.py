"""Recording a real gateway's frames, and playing them back.

A transcript is a file of JSON lines, one frame each:

    {"at": 0.0, "connection": 1, "from": "client", "handshake": "v157..178"}
    {"at": 0.1, "connection": 1, "from": "gateway", "fields": ["178", "20260105 10:00:00 EST"]}
    {"at": 0.2, "connection": 1, "from": "client", "fields": ["71", "2", "1", ""]}

`Recorder` stands between clients and a gateway, passes their frames on and writes them down.
`Replay` is a gateway that knows nothing but a transcript: it says what the gateway said, in the
same order, and waits where the gateway had waited for the client.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from oms.sim.clock import Clock
from oms.sim.protocol import frames, messages, requests
from oms.sim.protocol.errors import WireError
from oms.sim.protocol.frames import FrameReader
from oms.sim.protocol.versions import HANDSHAKE_PREFIX, SERVER_VERSION_MAX, parse_versions

log = logging.getLogger("oms.sim.script.recording")

#: How long a player waits for the client's next message before it gives the client up.
PATIENCE_SECONDS = 30.0


class TranscriptError(ValueError):
    """A file that is no transcript: which line, and why."""


@dataclass(frozen=True, slots=True)
class TranscriptLine:
    """One frame of a transcript."""

    #: Seconds since the recording began.
    at: float
    #: client or gateway.
    sender: str
    fields: tuple[str, ...] = ()
    #: What a client announced, in place of fields.
    handshake: str = ""
    #: Counted from 1, in their order.
    connection: int = 1

    def to_json(self) -> str:
        """Return the line as it stands in the file."""
        row: dict[str, Any] = {"at": round(self.at, 6), "connection": self.connection}
        row["from"] = self.sender
        if self.handshake:
            row["handshake"] = self.handshake
        else:
            row["fields"] = list(self.fields)
        return json.dumps(row)

    @classmethod
    def from_json(cls, text: str) -> TranscriptLine:
        """Return the line in a text. Raises ValueError, KeyError or TypeError when it is none."""
        row = json.loads(text)
        if not isinstance(row, dict):
            raise TypeError("not an object")
        fields = tuple(str(one) for one in row.get("fields", ()))
        if row["from"] not in ("client", "gateway"):
            raise ValueError(f"from {row['from']!r} is neither client nor gateway")
        number = int(row.get("connection", 1))
        return cls(float(row["at"]), row["from"], fields, str(row.get("handshake", "")), number)


def read(path: Path) -> list[TranscriptLine]:
    """Return the lines of a file. Raises TranscriptError naming the line that is wrong."""
    lines = []
    for number, text in enumerate(path.read_text(encoding="utf-8").split("\n"), start=1):
        if not text.strip():
            continue
        try:
            lines.append(TranscriptLine.from_json(text))
        except (ValueError, KeyError, TypeError) as error:
            raise TranscriptError(f"line {number}: {error!r}") from error
    return lines


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
            while not cutter.take_prefix(await _some(reader), HANDSHAKE_PREFIX):
                pass
            while not (payloads := cutter.feed(b"") or payloads):
                payloads = cutter.feed(await _some(reader))
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
                    log.info("the transcript has a message nobody knows: %s", error)
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
        return await _some(self._reader)


async def _some(reader: asyncio.StreamReader) -> bytes:
    chunk = await reader.read(65536)
    if not chunk:
        raise ConnectionError("the client is gone")
    return chunk


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


def told(lines: list[TranscriptLine]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the gateway's messages of a transcript by name, unknown ones left out."""
    versions: dict[int, int] = {}
    for line in lines:
        if line.sender != "gateway":
            continue
        if line.connection not in versions:
            versions[line.connection] = int(line.fields[0])
            continue
        try:
            yield messages.decode(versions[line.connection], line.fields)
        except WireError as error:
            log.info("a frame the simulator does not know: %s", error)
