"""Frames, as they are on the socket: a four-byte big-endian length and that many bytes of payload.

A payload is fields, each ended by a NUL. Pure: bytes in, values out.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Final

from oms.sim.protocol.errors import WireError

#: Payload bytes. The official client breaks its reading loop on anything longer.
FRAME_LENGTH_MAX: Final = 0xFFFFFF
#: Far above any message; a frame of nothing but NULs would hold every other client up.
FIELDS_MAX: Final = 100_000
#: Bytes. What a client says of an order is given back to it, with more around it.
FIELD_LENGTH_MAX: Final = 65_536


class FrameReader:
    """Cuts a byte stream into payloads, whatever the chunks.

    `feed` raises `WireError` when a frame announces more than `FRAME_LENGTH_MAX`; the stream is
    then out of step for good and the reader must be thrown away.
    """

    __slots__ = ("_buffer",)

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, chunk: bytes) -> list[bytes]:
        """Take in what came, and return the payloads that are whole now."""
        buffer = self._buffer
        buffer += chunk
        payloads: list[bytes] = []
        start = 0
        while len(buffer) - start >= 4:
            (length,) = struct.unpack_from(">I", buffer, start)
            if length > FRAME_LENGTH_MAX:
                raise WireError(f"frame of {length} bytes, at most {FRAME_LENGTH_MAX}")
            if len(buffer) - start - 4 < length:
                break
            payloads.append(bytes(buffer[start + 4 : start + 4 + length]))
            start += 4 + length
        del buffer[:start]
        return payloads

    @property
    def rest(self) -> bytes:
        """What has come of the next frame."""
        return bytes(self._buffer)

    def take_prefix(self, chunk: bytes, prefix: bytes) -> bool:
        """Swallow `prefix` at the start of the stream; False while it is not all there."""
        self._buffer += chunk
        seen = bytes(self._buffer[: len(prefix)])
        if not prefix.startswith(seen):
            raise WireError(f"stream starts with {seen!r}, expected {prefix!r}")
        if len(seen) < len(prefix):
            return False
        del self._buffer[: len(prefix)]
        return True


def frame(payload: bytes) -> bytes:
    """Return the frame of a payload."""
    return struct.pack(">I", len(payload)) + payload


def join(fields: Iterable[str]) -> bytes:
    """Return the payload of a field list: every field is ended by a NUL, the last one too."""
    return ("\0".join(fields) + "\0").encode("utf-8")


def split(payload: bytes) -> list[str]:
    """Return the fields of a payload. A missing last NUL is accepted, as IB accepts it."""
    if payload.count(b"\0") > FIELDS_MAX:
        raise WireError(f"more than {FIELDS_MAX} fields")
    # Before the decoding, which takes its time over bytes that are no UTF-8.
    if len(payload) > FIELD_LENGTH_MAX:
        longest = max(map(len, payload.split(b"\0")))
        if longest > FIELD_LENGTH_MAX:
            raise WireError(f"a field of {longest} bytes, at most {FIELD_LENGTH_MAX}")
    fields = payload.decode("utf-8", errors="backslashreplace").split("\0")
    if fields and fields[-1] == "":
        fields.pop()
    return fields
