"""One client's socket: frames in, frames out, and what faults do to them."""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
import sys
from collections import deque
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, cast

from oms.sim import messages, wire
from oms.sim.faults import Fault
from oms.sim.layout import Values
from oms.sim.requests import Request, parse
from oms.sim.wire import FrameReader, WireError

if TYPE_CHECKING:
    from oms.sim.gateway import Gateway

log = logging.getLogger("oms.sim.session")

NOTHING: Final[Mapping[str, Any]] = {}
BREACHES_MAX: Final = 3
OUTPUT_BYTES_MAX: Final = 64 * 1024 * 1024
"""A client that reads nothing is cut off when this much waits for it: the day must go on."""


class Session(asyncio.Protocol):
    """From the connect of a socket to its loss.

    Output is collected and written once per burst by `flush`, after the books are committed.
    """

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.client_id: int | None = None
        self.version = 0
        self.subscriptions: dict[str, Any] = {}
        self.auto_bind = False
        self.frozen = False
        self._transport: asyncio.Transport | None = None
        self._reader = FrameReader()
        self._greeted = False
        self._out = bytearray()
        self._held_out: list[tuple[str, Values]] | None = None
        self._late: list[str] | None = None
        self._pieces: deque[bytes] = deque()
        self._arrivals: deque[float] = deque()
        self._breaches = 0

    # -- transport ------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self.gateway.opened(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self.gateway.closed(self)

    def data_received(self, chunk: bytes) -> None:
        if self.frozen:
            return
        try:
            self._receive(chunk)
        except WireError as error:
            log.warning("client %s: %s", self.client_id, error)
            self.refuse_frame(str(error))
        self.gateway.flush()

    def _receive(self, chunk: bytes) -> None:
        if not self._greeted:
            if not self._reader.take_prefix(chunk, wire.HANDSHAKE_PREFIX):
                return
            self._greeted = True
            chunk = b""
        for payload in self._reader.feed(chunk):
            if self._transport is None or self._transport.is_closing():
                return
            if not self.version:
                self._greet(payload)
            else:
                self._frame(wire.split(payload))

    def _greet(self, payload: bytes) -> None:
        lowest, highest = wire.parse_versions(payload)
        version = min(highest, self.gateway.settings.server_version)
        if version < max(lowest, wire.SERVER_VERSION_MIN):
            log.warning("client reads versions %s to %s: not served", lowest, highest)
            self.cut()
            return
        self.version = version
        # Nothing may follow this frame until startApi: a client throws away what does.
        self.send_raw([str(version), self.gateway.handshake_time()])

    def _frame(self, fields: list[str]) -> None:
        if self.gateway.settings.messages_per_second and self._too_fast():
            return
        request = parse(self.version, fields)
        fault = self.gateway.faults.strike("in", request.name, self.client_id, request.values)
        if fault is not None:
            log.info("fault: %s %s from client %s", fault.do, request.name, self.client_id)
        if fault is None:
            self.gateway.receive(self, request)
        else:
            self._faulty_request(request, fault)

    def _too_fast(self) -> bool:
        """Count this message; True when it is refused with error 100."""
        limit = self.gateway.settings.messages_per_second
        now = self.gateway.clock.now().timestamp()
        self._arrivals.append(now)
        while self._arrivals[0] <= now - 1:
            self._arrivals.popleft()
        if len(self._arrivals) <= limit:
            return False
        self._arrivals.clear()
        self._breaches += 1
        text = f"Max rate of messages per second has been exceeded:max={limit}"
        if self._breaches >= BREACHES_MAX:
            self.refuse(100, text)
        else:
            self.error(-1, 100, text)
        return True

    def _faulty_request(self, request: Request, fault: Fault) -> None:
        gateway = self.gateway
        if fault.do == "drop":
            return
        if fault.do == "refuse" and request.name == "startApi":
            # A client that is not let in is told why and shown the door, as with 326.
            self.refuse(fault.code, fault.text)
        elif fault.do == "refuse":
            self.error(request.request_id, fault.code, fault.text)
        elif fault.do == "hold":
            gateway.held.append((self, request))
        elif fault.do == "hold_answer":
            self.hold_output()
            gateway.receive(self, request)
        elif fault.do == "delay":
            gateway.clock.call_later(fault.seconds, lambda: gateway.receive(self, request))
        elif fault.do == "duplicate":
            gateway.receive(self, request)
            gateway.receive(self, request)
        elif fault.do == "edit":
            edited = replace(request, values={**request.values, **fault.set})
            gateway.receive(self, edited)
        else:
            self.cut()

    # -- out ------------------------------------------------------------------------------------

    @property
    def ready(self) -> bool:
        return self.client_id is not None and self._transport is not None

    def send(self, name: str, values: Values = NOTHING) -> None:
        """Queue a message for this client, unless a fault has other plans for it."""
        if self.frozen or self._transport is None:
            return
        if self._held_out is not None:
            self._held_out.append((name, values))
            return
        if self.gateway.faults.faults:
            fault = self.gateway.faults.strike("out", name, self.client_id, values)
            if fault is not None:
                log.info("fault: %s %s to client %s", fault.do, name, self.client_id)
                self._faulty_send(name, values, fault)
                return
        self.send_raw(messages.encode(name, self.version, values))
        self.gateway.observe("sent", name, self.client_id, values)

    def _faulty_send(self, name: str, values: Values, fault: Fault) -> None:
        fields = messages.encode(name, self.version, {**values, **fault.set})
        payload = wire.join(fields)
        if fault.do == "drop":
            return
        if fault.do == "edit":
            self.send_raw(fields)
        elif fault.do == "duplicate":
            self.send_raw(fields)
            self.send_raw(fields)
        elif fault.do == "delay":
            self.gateway.clock.call_later(fault.seconds, lambda: self._send_late(fields))
        elif fault.do == "reorder":
            # It waits for the next message and goes out after it.
            self._late = fields
        elif fault.do == "hold":
            self.hold_output()
            self.send(name, values)
        elif fault.do == "truncate":
            self._write(wire.frame(payload[: fault.at_byte or len(payload) // 2]))
        elif fault.do == "corrupt":
            at = fault.at_byte % len(payload)
            self._write(wire.frame(payload[:at] + b"#" + payload[at + 1 :]))
        else:
            self._write(wire.frame(payload)[: fault.at_byte])
            self.cut_after_output()

    def send_raw(self, fields: list[str]) -> None:
        """Queue a field list whatever the faults say."""
        self._write(wire.frame(wire.join(fields)))
        if self._late is not None:
            late, self._late = self._late, None
            self._write(wire.frame(wire.join(late)))

    def _send_late(self, fields: list[str]) -> None:
        if self._transport is not None:
            self.send_raw(fields)

    def _write(self, chunk: bytes) -> None:
        self._out += chunk
        self.gateway.touched(self)

    def error(self, request_id: int | str, code: int, text: str, json: str = "") -> None:
        self.send("errMsg", self._error(request_id, code, text, json))

    @staticmethod
    def _error(request_id: int | str, code: int, text: str, json: str = "") -> dict[str, str]:
        return {
            "reqId": str(request_id),
            "code": str(code),
            "text": wire.ascii7(text),
            "advancedOrderRejectJson": json,
        }

    def refuse(self, code: int, text: str) -> None:
        """An error to the connection as a whole, past every fault, and the socket closes."""
        fields = messages.encode("errMsg", self.version, self._error(-1, code, text))
        self.send_raw(fields)
        self.gateway.flush()
        self.close()

    def refuse_frame(self, reason: str) -> None:
        """A frame nobody can read: 320 without an id, then the socket closes."""
        if self.version:
            self.refuse(320, f"Error reading request. {reason}")
        else:
            self.cut()

    def flush(self) -> None:
        if self._out and self._transport is not None and not self.frozen:
            if self.gateway.settings.chunk_bytes:
                self._write_in_pieces(bytes(self._out))
            else:
                self._transport.write(bytes(self._out))
            if self._transport.get_write_buffer_size() > OUTPUT_BYTES_MAX:
                log.warning("client %s reads nothing: cut off", self.client_id)
                self.cut()
        self._out.clear()

    def _write_in_pieces(self, chunk: bytes) -> None:
        """Cut the output up, so that a client sees frames begin and end anywhere."""
        size = self.gateway.settings.chunk_bytes
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

    # -- faults of the whole session --------------------------------------------------------------

    def hold_output(self) -> None:
        if self._held_out is None:
            self._held_out = []

    def release_output(self) -> None:
        held, self._held_out = self._held_out, None
        for name, values in held or ():
            self.send(name, values)

    def freeze(self) -> None:
        """Half-open: the socket stays, nothing is read from it and nothing written to it."""
        self.frozen = True
        if self._transport is not None:
            self._transport.pause_reading()

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

    def cut_after_output(self) -> None:
        """Write what waits, then lose the connection: a cut in the middle of a frame."""
        self.gateway.books.commit()
        self.close()

    def close(self) -> None:
        """An orderly close, after what was written."""
        self.flush()
        if self._transport is not None:
            self._transport.write(b"".join(self._pieces))
            self._pieces.clear()
            self._transport.close()
