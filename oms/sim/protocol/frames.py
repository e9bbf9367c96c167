"""Frames and field text, as they are on the socket.

A frame is a four-byte big-endian length and that many bytes; its payload is fields, each ended by
a NUL.  Pure: bytes in, values out.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Sequence
from decimal import Decimal, InvalidOperation
from typing import Final

FRAME_LENGTH_MAX: Final = 0xFFFFFF
"""Payload bytes.  The official client breaks its reading loop on anything longer."""

FIELDS_MAX: Final = 100_000
"""Far above any message; a frame of nothing but NULs would hold every other client up."""

FIELD_LENGTH_MAX: Final = 65_536
"""Bytes.  What a client says of an order is given back to it, with more around it."""

HANDSHAKE_PREFIX: Final = b"API\0"
SERVER_VERSION_MIN: Final = 157
SERVER_VERSION_MAX: Final = 178

UNSET_DOUBLE: Final = "1.7976931348623157E308"
UNSET_INTEGER: Final = "2147483647"
UNSET_LONG: Final = "9223372036854775807"

_VERSIONS = re.compile(rb"v(\d{1,9})(?:\.\.(\d{1,9}))?(?: (.*))?\Z", re.DOTALL)
# Past this a number is IB's "not set": the largest double, however a client spells it.
_UNSET_ABOVE = Decimal("1e300")
_LONG_MAX = 2**63 - 1
# Python's numbers may have blanks round them and underscores within; a gateway's may not.
_NO_NUMBER = re.compile(r"[_\s]|[^\x00-\x7f]")
# Far beyond any order, and small enough that sums and remainders keep all their digits.
_AMOUNT_MAX = Decimal("1e15")


class WireError(Exception):
    """Bytes that no TWS client may send.  The session that sent them is closed."""


class FrameReader:
    """Cuts a byte stream into payloads, whatever the chunks.

    `feed` raises `WireError` when a frame announces more than `FRAME_LENGTH_MAX`; the stream is
    then out of step for good and the reader must be thrown away.
    """

    __slots__ = ("_buffer",)

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, chunk: bytes) -> list[bytes]:
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
    return struct.pack(">I", len(payload)) + payload


def join(fields: Iterable[str]) -> bytes:
    """The payload of a field list: every field is ended by a NUL, the last one too."""
    return ("\0".join(fields) + "\0").encode("utf-8")


def split(payload: bytes) -> list[str]:
    """The fields of a payload.  A missing last NUL is accepted, as IB accepts it."""
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


def parse_versions(payload: bytes) -> tuple[int, int]:
    """The lowest and highest server version a client can read, from `v157..178 options`."""
    found = _VERSIONS.match(payload.rstrip(b"\0"))
    if found is None:
        raise WireError(f"handshake {payload[:60]!r} is not v<min>..<max>")
    lowest = int(found[1])
    return lowest, int(found[2]) if found[2] else lowest


def to_decimal(text: str) -> Decimal | None:
    """The number in a field, or None when the field says "not set" in any of the spellings.

    Raises WireError when the text is no number.
    """
    if text in ("", "Infinite"):
        return None
    if _NO_NUMBER.search(text):
        raise WireError(f"{text!r} is not a number")
    try:
        number = Decimal(text)
    except InvalidOperation as error:
        raise WireError(f"{text!r} is not a number") from error
    if not number.is_finite() or abs(number) > _UNSET_ABOVE:
        return None
    if abs(number) > _AMOUNT_MAX:
        raise WireError(f"{text!r} is more than an amount holds")
    return number


def to_int(text: str, default: int = 0) -> int:
    """The integer in a field; `default` when empty or one of IB's unset integers."""
    if text in ("", UNSET_INTEGER, UNSET_LONG):
        return default
    if _NO_NUMBER.search(text):
        raise WireError(f"{text!r} is not an integer")
    try:
        value = int(text)
    except ValueError as error:
        raise WireError(f"{text!r} is not an integer") from error
    if abs(value) > _LONG_MAX:
        raise WireError(f"{text!r} is more than a long holds")
    return value


def is_digits(text: str) -> bool:
    """ASCII digits and nothing else, at most those of a long.

    str.isdigit takes superscripts too, and int refuses them, and texts of thousands of digits.
    """
    return len(text) < 20 and text.isascii() and text.isdigit()


def to_bool(text: str) -> bool:
    """True for 1 and true, False for 0, false and empty: every client spells it its own way."""
    if text in ("", "0", "false", "False"):
        return False
    if text in ("1", "true", "True"):
        return True
    raise WireError(f"{text!r} is not a boolean")


def number(value: Decimal | int | None) -> str:
    """Plain decimal text without exponent or trailing zeros; the empty field for None."""
    if value is None:
        return ""
    if isinstance(value, int):
        return str(value)
    text = format(value, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text


def flag(value: bool) -> str:
    return "1" if value else "0"


def ascii7(text: str) -> str:
    r"""Non-ASCII characters as \uXXXX, which is how the gateway sends names and error texts.

    It writes UTF-16, so that a character beyond the basic plane is two of them.
    """
    if text.isascii():
        return text
    units = text.encode("utf-16-be", errors="surrogatepass")
    codes = (code for (code,) in struct.iter_unpack(">H", units))
    return "".join(chr(code) if code < 0x80 else f"\\u{code:04x}" for code in codes)


def describe(fields: Sequence[str]) -> str:
    """A field list for a log line."""
    return ",".join(fields)
