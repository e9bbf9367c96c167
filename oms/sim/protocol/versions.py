"""The server versions that are spoken here, and how a client announces those that it reads."""

from __future__ import annotations

import re
from typing import Final

from oms.sim.protocol.errors import WireError

#: What a client says before its first frame.
HANDSHAKE_PREFIX: Final = b"API\0"
#: Below this a field list is another one, above it no longer text.
SERVER_VERSION_MIN: Final = 157
SERVER_VERSION_MAX: Final = 178

_VERSIONS = re.compile(rb"v(\d{1,9})(?:\.\.(\d{1,9}))?(?: (.*))?\Z", re.DOTALL)


def parse_versions(payload: bytes) -> tuple[int, int]:
    """Return the lowest and highest version a client reads, from `v157..178 options`."""
    found = _VERSIONS.match(payload.rstrip(b"\0"))
    if found is None:
        raise WireError(f"handshake {payload[:60]!r} is not v<min>..<max>")
    lowest = int(found[1])
    return lowest, int(found[2]) if found[2] else lowest
