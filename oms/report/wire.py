"""The fields of a message as they stood on the wire, each with its name."""

from __future__ import annotations

from oms.core.events import Envelope, OrderMessageSent
from oms.core.wire_names import named


def wire_fields(envelope: Envelope) -> list[tuple[str, str]]:
    """Return names and texts, in their order; none for a fact of our own."""
    version = 0 if envelope.stamp is None else envelope.stamp.server_version
    sent = isinstance(envelope.event, OrderMessageSent)
    return named(envelope.wire or (), version, sent=sent)


def wire_text(envelope: Envelope) -> str:
    """Return them on one line."""
    return " | ".join(f"{name}={text}" for name, text in wire_fields(envelope))
