"""One client's socket: frames in, frames out, and what faults do to them."""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
import sys
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol, cast
from zoneinfo import ZoneInfo

from oms.sim.clock import Clock, handshake_time
from oms.sim.gateway.faults import Action, Direction, Fault, FaultPlan
from oms.sim.gateway.link import Link
from oms.sim.gateway.observers import Observers
from oms.sim.gateway.rate_limit import RateLimit
from oms.sim.gateway.slow_reader import SlowReader
from oms.sim.gateway.upstream import TICKS, Upstream
from oms.sim.protocol import frames, messages
from oms.sim.protocol.errors import WireError
from oms.sim.protocol.fields import ascii7
from oms.sim.protocol.frames import FrameReader
from oms.sim.protocol.layout import Values
from oms.sim.protocol.messages import ServerMessage
from oms.sim.protocol.requests import Request, parse
from oms.sim.protocol.versions import HANDSHAKE_PREFIX, SERVER_VERSION_MIN, parse_versions
from oms.sim.settings import Settings

log = logging.getLogger("oms.sim.gateway.session")

NOTHING: Final[Mapping[str, Any]] = {}
ERROR_TEXT_MAX: Final = 10_000
EARLY_MAX: Final = 100
BEFORE_START: Final = "Error validating request.-'bA' : cause - it came before startApi"
#: A client that reads nothing is cut off when this much waits for it: the day must go on.
OUTPUT_BYTES_MAX: Final = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Shared:
    """What the sessions of one gateway have in common."""

    settings: Settings
    clock: Clock
    zone: ZoneInfo
    faults: FaultPlan
    observers: Observers
    upstream: Upstream


class Host(Protocol):
    """Who has sessions, and acts on what comes by them."""

    def opened(self, session: Session) -> None:
        """A client has connected."""

    def closed(self, session: Session) -> None:
        """Its connection is lost."""

    def receive(self, session: Session, request: Request) -> None:
        """Act on a request. Raises WireError for what no client may send at this point."""

    def holds(self, session: Session) -> None:
        """A request is held: `act_on_held` acts on it."""

    def touched(self, session: Session) -> None:
        """There are bytes to `flush`."""

    def commit(self) -> None:
        """Make the books durable."""

    def flush(self) -> None:
        """Make the books durable, then let every waiting byte go."""


class Session(asyncio.Protocol):
    """One client, from the connect of its socket to its loss.

    Output is collected and written once per burst by `flush`, after the books are committed.
    """

    def __init__(self, shared: Shared, host: Host) -> None:
        self._shared = shared
        self._host = host
        self.client_id: int | None = None
        self.version = 0
        #: By kind and request id: see `subscriptions`.
        self.subscriptions: dict[str, object] = {}
        #: True when client 0 wants every manual order bound.
        self.auto_bind = False
        self.frozen = False
        #: What IB would have said, had the line been up.
        self.reports_waiting: list[ServerMessage] = []
        self.incoming: Link[Request] = Link(
            Direction.IN, shared.clock, deliver=self.act, cut=lambda *_: self.cut()
        )
        self.outgoing: Link[ServerMessage] = Link(
            Direction.OUT, shared.clock, deliver=self._write_frame, cut=self._cut_within
        )
        self._transport: asyncio.Transport | None = None
        self._reader = SlowReader(shared.clock, self._read)
        self._frames = FrameReader()
        self._greeted = False
        self._out = bytearray()
        self._pieces: deque[bytes] = deque()
        self._rate = RateLimit()
        self._early: list[str] = []

    # ── transport ────────────────────────────────────────────────────────────────────────────────

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = self._reader.transport = cast(asyncio.Transport, transport)
        self._host.opened(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = self._reader.transport = None
        self._host.closed(self)

    def data_received(self, chunk: bytes) -> None:
        self._reader.take(chunk)

    def _read(self, chunk: bytes) -> None:
        try:
            self._receive(chunk)
        except WireError as error:
            log.warning("client %s: %s", self.client_id, error)
            self.refuse_frame(str(error))
        except Exception as error:
            log.exception("client %s: a frame could not be read", self.client_id)
            self.refuse_frame(type(error).__name__)
        self._host.flush()

    def _receive(self, chunk: bytes) -> None:
        if not self._greeted:
            if not self._frames.take_prefix(chunk, HANDSHAKE_PREFIX):
                return
            self._greeted = True
            chunk = b""
        for payload in self._frames.feed(chunk):
            if self._transport is None or self._transport.is_closing():
                return
            if not self.version:
                self._greet(payload)
            else:
                self._frame(frames.split(payload))

    def _greet(self, payload: bytes) -> None:
        lowest, highest = parse_versions(payload)
        version = min(highest, self._shared.settings.server_version)
        if version < max(lowest, SERVER_VERSION_MIN):
            log.warning("client reads versions %s to %s: not served", lowest, highest)
            self.cut()
            return
        self.version = version
        # Nothing may follow this frame until startApi: a client throws away what does.
        connected = handshake_time(self._shared.clock.now(), self._shared.zone)
        greeting = {"serverVersion": str(version), "connectionTime": connected}
        self.send(messages.GREETING, greeting)

    def _frame(self, fields: list[str]) -> None:
        if self._shared.settings.messages_per_second and self._too_fast():
            return
        request = parse(self.version, fields)
        shared, name, values = self._shared, request.name, request.values
        # It came, whatever a fault makes of it: also one that is put in force just now.
        shared.observers.tell("before", name, self.client_id, values)
        fault = shared.faults.strike(Direction.IN, name, self.client_id, values)
        if fault is not None:
            log.info("fault: %s %s from client %s", fault.action, name, self.client_id)
            self._prepare(request, fault)
        self.incoming.take(request, fault)

    def _prepare(self, request: Request, fault: Fault) -> None:
        """Do what a fault of a request does elsewhere than on its way."""
        if fault.action is Action.REFUSE and request.name == "startApi":
            # A client that is not let in is told why and shown the door, as with 326.
            self.refuse(fault.code, fault.text)
        elif fault.action is Action.REFUSE:
            self.error(request.request_id, fault.code, fault.text)
        elif fault.action is Action.HOLD:
            self._host.holds(self)
        elif fault.action is Action.HOLD_ANSWER:
            self.outgoing.stop()

    def act(self, request: Request) -> None:
        """Have a request acted on, now or whenever a fault lets it through.

        A request that cannot be read ends this session with 320; a mistake of ours is logged and
        answered with 322. Neither reaches another session.
        """
        try:
            self._host.receive(self, request)
        except WireError as error:
            log.warning("client %s: %s", self.client_id, error)
            self.refuse_frame(str(error))
        except Exception as error:
            log.exception("client %s: %s %s failed", self.client_id, request.name, request.fields)
            text = f"Error processing request.-'bZ' : cause - {type(error).__name__}"
            self.error(request.request_id, 322, text)

    def act_on_held(self) -> None:
        """Have the request acted on that is held longest."""
        self.act(self.incoming.held.popleft())

    def came_early(self, request: Request) -> None:
        """Remember a request before startApi: nothing may be sent yet, so it is refused later."""
        log.warning("%s before startApi", request.name)
        if len(self._early) < EARLY_MAX:
            self._early.append(request.request_id)

    def answer_early(self) -> None:
        """Refuse what came before startApi."""
        early, self._early = self._early, []
        for request_id in early:
            self.error(request_id, 321, BEFORE_START)

    def _too_fast(self) -> bool:
        """Count this message; True when it is refused with error 100."""
        limit = self._shared.settings.messages_per_second
        if not self._rate.exceeded(limit, self._shared.clock.now().timestamp()):
            return False
        text = f"Max rate of messages per second has been exceeded:max={limit}"
        if self._rate.exhausted:
            self.refuse(100, text)
        else:
            self.error(-1, 100, text)
        return True

    # ── out ──────────────────────────────────────────────────────────────────────────────────────

    @property
    def ready(self) -> bool:
        """True between startApi and the loss of the socket."""
        return self.client_id is not None and self._transport is not None

    def send(self, name: str, values: Values = NOTHING) -> None:
        """Queue a message for this client, unless a fault or an outage has other plans for it."""
        self._send(ServerMessage(name, self.version, values))

    def _send(self, message: ServerMessage) -> None:
        name, shared = message.name, self._shared
        if self.frozen or self._transport is None:
            return
        if shared.upstream.stops(name):
            if name not in TICKS:
                self.reports_waiting.append(message)
            return
        if self.outgoing.stopped:
            # No fault is used up by what is held: it meets them when it is released.
            self.outgoing.take(message)
            return
        fault = shared.faults.strike(Direction.OUT, name, self.client_id, message.values)
        self.outgoing.take(message, fault)
        if fault is None:
            shared.observers.tell("sent", name, self.client_id, message.values)
        else:
            log.info("fault: %s %s to client %s", fault.action, name, self.client_id)

    def send_reports(self, messages: list[ServerMessage]) -> None:
        """Send what IB had to say while the line was down."""
        for message in messages:
            self._send(message)

    def release_output(self) -> None:
        """Send what was held, and hold nothing more."""
        for message in self.outgoing.release():
            self._send(message)

    def send_raw(self, fields: list[str]) -> None:
        """Queue a field list whatever the faults say."""
        self.write(frames.frame(frames.join(fields)))
        self.outgoing.overtaken()

    def write(self, chunk: bytes) -> None:
        """Queue bytes as they are."""
        self._out += chunk
        self._host.touched(self)

    def _write_frame(self, message: ServerMessage) -> None:
        if self._transport is not None:
            self.write(frames.frame(message.payload))

    def _cut_within(self, message: ServerMessage, at_byte: int) -> None:
        """Write so much of a frame, then lose the connection."""
        self.write(frames.frame(message.payload)[:at_byte])
        self._host.commit()
        self.close()

    def error(self, request_id: int | str, code: int, text: str, json: str = "") -> None:
        """Send an error message; -1 is the request id of a notice."""
        self.send("errMsg", self._error(request_id, code, text, json))

    @staticmethod
    def _error(request_id: int | str, code: int, text: str, json: str = "") -> dict[str, str]:
        return {
            "reqId": str(request_id),
            "code": str(code),
            "text": ascii7(text if len(text) <= ERROR_TEXT_MAX else text[:300] + "..."),
            "advancedOrderRejectJson": json,
        }

    def refuse(self, code: int, text: str) -> None:
        """Send an error to the connection as a whole, past every fault, and close the socket."""
        fields = messages.encode("errMsg", self.version, self._error(-1, code, text))
        self.send_raw(fields)
        self._host.flush()
        self.close()

    def refuse_frame(self, reason: str) -> None:
        """Answer a frame that cannot be read: 320 without an id, then the socket closes."""
        if self.version:
            self.refuse(320, f"Error reading request. {reason}")
        else:
            self.cut()

    def flush(self) -> None:
        """Write what waits, up to the byte at which the connection is to be lost."""
        if self._out and self._transport is not None and not self.frozen:
            chunk = self.outgoing.passing(bytes(self._out))
            if self._shared.settings.chunk_bytes:
                self._write_in_pieces(chunk)
            else:
                self._transport.write(chunk)
            if self.outgoing.is_cut:
                self._out.clear()
                self.close()
            elif self._transport.get_write_buffer_size() > OUTPUT_BYTES_MAX:
                log.warning("client %s reads nothing: cut off", self.client_id)
                self.cut()
        self._out.clear()

    def _write_in_pieces(self, chunk: bytes) -> None:
        """Cut the output up, so that a client sees frames begin and end anywhere."""
        size = self._shared.settings.chunk_bytes
        idle = not self._pieces
        self._pieces.extend(chunk[at : at + size] for at in range(0, len(chunk), size))
        if idle:
            self._write_piece()

    def _write_piece(self) -> None:
        if self._transport is None or not self._pieces:
            return
        self._transport.write(self._pieces.popleft())
        if self._pieces:
            asyncio.get_running_loop().call_soon(self._write_piece)

    # ── faults of the whole session ──────────────────────────────────────────────────────────────

    def slow_reads(self, bytes_per_second: int) -> None:
        """Take no more than so many bytes a second from the socket from now on; 0: any number."""
        self._reader.slow_down(bytes_per_second)

    def cut_after(self, count: int) -> None:
        """Lose the connection when so many more bytes have gone out, wherever that is."""
        self.outgoing.cut_after(count)
        if not count:
            self.cut()

    def freeze(self) -> None:
        """Keep the socket half-open: read nothing from it and write nothing to it."""
        self.frozen = True
        self._reader.stop()

    def cut(self, *, reset: bool = False) -> None:
        """Lose the connection: what was not yet written does not arrive.

        With `reset` the peer gets a reset instead of an end, and loses what it has not read.
        """
        self._out.clear()
        self._pieces.clear()
        if self._transport is not None:
            if reset:
                connection = self._transport.get_extra_info("socket")
                linger = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self._transport.abort()

    def close(self) -> None:
        """Close in good order, after what was written."""
        self.flush()
        if self._transport is not None:
            self._transport.write(b"".join(self._pieces))
            self._pieces.clear()
            self._transport.close()
