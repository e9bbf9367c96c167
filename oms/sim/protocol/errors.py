"""What is wrong with the bytes of a client."""

from __future__ import annotations


class WireError(Exception):
    """Bytes that no TWS client may send. The session that sent them is closed."""
