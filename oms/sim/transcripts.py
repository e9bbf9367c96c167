"""Recording a real gateway's frames, and playing them back.

A transcript is a file of JSON lines, one frame each:

    {"at": 0.0, "from": "client", "handshake": "v157..178"}
    {"at": 0.1, "from": "gateway", "fields": ["178", "20260105 10:00:00 EST"]}
    {"at": 0.2, "from": "client", "fields": ["71", "2", "1", ""]}

`Recorder` stands between a client and a gateway, passes every byte on unchanged and writes down the
frames.  `Replay` is a gateway that knows nothing but a transcript: it says what the gateway said,
in the same order, and waits where the gateway had waited for the client.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from oms.sim import messages, requests, wire
from oms.sim.clock import Clock
from oms.sim.wire import FrameReader, WireError

log = logging.getLogger("oms.sim.transcripts")

PATIENCE_SECONDS = 30.0
"""How long a player waits for the client's next message before it gives the client up."""


@dataclass(frozen=True, slots=True)
class Line:
    """One frame of a transcript.  `at` is seconds since the recording began."""

    at: float
    sender: str
    fields: tuple[str, ...] = ()
    handshake: str = ""

    def to_json(self) -> str:
        row: dict[str, Any] = {"at": round(self.at, 6), "from": self.sender}
        if self.handshake:
            row["handshake"] = self.handshake
        else:
            row["fields"] = list(self.fields)
        return json.dumps(row)

    @classmethod
    def from_json(cls, text: str) -> Line:
        row = json.loads(text)
        fields = tuple(row.get("fields", ()))
        return cls(float(row["at"]), row["from"], fields, row.get("handshake", ""))


def read(path: Path) -> list[Line]:
    lines = path.read_text(encoding="utf-8").splitlines()
    return [Line.from_json(text) for text in lines if text.strip()]


class Recorder:
    """A proxy that writes down what passes.

    `hide` replaces texts in the file, not on the wire: account numbers and names have no place in a
    transcript that others read.
    """

    def __init__(
        self, upstream: tuple[str, int], out: IO[str], clock: Clock, hide: Mapping[str, str]
    ) -> None:
        self._upstream = upstream
        self._out = out
        self._clock = clock
        self._hide = dict(hide)
        self._begun = clock.now()
        self._server: asyncio.Server | None = None

    async def start(self, host: str, port: int) -> int:
        self._server = await asyncio.start_server(self._serve, host, port)
        bound: int = self._server.sockets[0].getsockname()[1]
        return bound

    async def stop(self) -> None:
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
        await asyncio.gather(
            self._pass(reader, up_writer, "client"), self._pass(up_reader, writer, "gateway")
        )

    async def _pass(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, sender: str
    ) -> None:
        frames = FrameReader()
        greeted = sender == "gateway"
        handshake_seen = sender == "gateway"
        try:
            while chunk := await reader.read(65536):
                writer.write(chunk)
                await writer.drain()
                if not greeted:
                    greeted = frames.take_prefix(chunk, wire.HANDSHAKE_PREFIX)
                    chunk = b""
                for payload in frames.feed(chunk) if greeted else ():
                    self._note(sender, payload, handshake=not handshake_seen)
                    handshake_seen = True
        except (ConnectionError, WireError) as error:
            log.warning("%s: %s", sender, error)
        finally:
            writer.close()

    def _note(self, sender: str, payload: bytes, handshake: bool) -> None:
        at = (self._clock.now() - self._begun).total_seconds()
        if handshake:
            line = Line(at, sender, handshake=payload.decode("ascii", errors="replace"))
        else:
            line = Line(at, sender, tuple(self._hidden(one) for one in wire.split(payload)))
        self._out.write(line.to_json() + "\n")
        self._out.flush()

    def _hidden(self, text: str) -> str:
        for secret, shown in self._hide.items():
            text = text.replace(secret, shown)
        return text


class Replay:
    """Plays a transcript to every client that connects.

    A client's message is taken for the recorded one when it is of the same kind; its request or
    order id may be another one, and the answers carry the client's.  What a client sends that the
    transcript does not wait for is passed over.
    """

    def __init__(self, lines: list[Line]) -> None:
        self._lines = lines
        self._server: asyncio.Server | None = None
        self.finished = asyncio.Event()

    async def start(self, host: str, port: int) -> int:
        self._server = await asyncio.start_server(self._serve, host, port)
        bound: int = self._server.sockets[0].getsockname()[1]
        return bound

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await self._play(reader, writer)
            self.finished.set()
        except (TimeoutError, ConnectionError, WireError) as error:
            log.warning("the client did not do what the transcript has: %r", error)
        finally:
            writer.close()

    async def _play(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        incoming = _Incoming(reader)
        await incoming.handshake()
        ids: dict[str, str] = {}
        version = 0
        for line in self._lines:
            if line.handshake:
                continue
            if line.sender == "client":
                recorded = requests.parse(version, line.fields)
                seen = await incoming.next(recorded.number, version)
                if recorded.request_id != "-1":
                    ids[recorded.request_id] = seen.request_id
                continue
            if not version:
                version = int(line.fields[0])
                writer.write(wire.frame(wire.join(line.fields)))
            else:
                writer.write(wire.frame(wire.join(with_ids(version, line.fields, ids))))
        await writer.drain()


class _Incoming:
    """The client's frames, one at a time."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader
        self._frames = FrameReader()
        self._waiting: list[bytes] = []

    async def handshake(self) -> None:
        while not self._frames.take_prefix(await self._chunk(), wire.HANDSHAKE_PREFIX):
            pass
        self._waiting = self._frames.feed(b"")
        await self._payload()

    async def next(self, number: int, version: int) -> requests.Request:
        """The next message of that kind."""
        while True:
            request = requests.parse(version, wire.split(await self._payload()))
            if request.number == number:
                return request

    async def _payload(self) -> bytes:
        while not self._waiting:
            self._waiting = self._frames.feed(await self._chunk())
        return self._waiting.pop(0)

    async def _chunk(self) -> bytes:
        chunk = await self._reader.read(65536)
        if not chunk:
            raise ConnectionError("the client is gone")
        return chunk


def with_ids(version: int, fields: tuple[str, ...], ids: Mapping[str, str]) -> list[str]:
    """A recorded message with the ids of the client that listens now."""
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


def told(lines: list[Line]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The gateway's messages of a transcript by name, unknown ones left out."""
    version = 0
    for line in lines:
        if line.sender != "gateway":
            continue
        if not version:
            version = int(line.fields[0])
            continue
        try:
            yield messages.decode(version, line.fields)
        except WireError as error:
            log.info("a frame the simulator does not know: %s", error)
