"""The envelope that a fact is kept in."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeVar, dataclass_transform

from oms.core.events.base import Event

_T = TypeVar("_T")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def _value(cls: type[_T]) -> type[_T]:
    """Make a dataclass that is frozen for the type checker and plain at run time.

    Some are made for every event, and the `__init__` of a frozen dataclass costs three times as
    much (1.4 us an envelope instead of 0.5). A strict type check finds every assignment.
    """
    return dataclass(slots=True, unsafe_hash=True)(cls)


@_value
class Context:
    """Who says a fact, in which session, about what: the part of the envelope that the caller
    knows.
    """

    #: "broker", "daemon", "recovery", "strategy:NAME" or "person:NAME"; required, so that "who" is
    #: never unknown.
    actor: str
    #: Number of the connection to the gateway, from 1; 0 outside any session.
    session_epoch: int = 0
    #: The broker's time, aware, where the message names it.
    occurred_at: datetime | None = None
    #: Joins the events of one order, one request or one reconciliation run.
    correlation_id: str | None = None
    #: SequenceNumber of the event that made us say this.
    causation_sequence: int | None = None


@_value
class Stamp:
    """When a message passed the socket, and how to read its fields."""

    #: Aware UTC: when the bytes of one that came were read, before anything waited; when those of
    #: one that left were handed over.
    at: datetime
    #: The version of TWS's protocol in which its fields stand; 0 where it was not agreed yet.
    server_version: int
    #: The number of the translation that made the fact; 0 for a message of ours.
    decoder: int = 0


@_value
class Pending:
    """A fact on its way into the log."""

    event: Event
    context: Context
    #: The message's fields as they stood on the wire; None for facts of our own.
    wire: tuple[str, ...] | None = None
    #: None for facts of our own.
    stamp: Stamp | None = None
    #: The event that holds what this row of an answer says, word for word; 0 for none. The row is
    #: not stored where the books would be the same with it.
    repeats: int = 0


@_value
class Envelope:
    """A fact in the log, with its place in it."""

    #: Index in the whole log, gapless, from 1.
    sequence: int
    event: Event
    context: Context
    #: When the appender wrote it, aware UTC.
    recorded_at: datetime
    #: Epoch of the daemon's lease under which it was written; 0 for a writer without one (the
    #: shell).
    lease_epoch: int = 0
    #: The message's fields as they stood on the wire; None for facts of our own.
    wire: tuple[str, ...] | None = None
    #: None for facts of our own, and for messages of logs before there was one.
    stamp: Stamp | None = None
    #: As the log has it, 32 bytes; empty where the event was not read from the log.
    hash: bytes = field(default=b"", compare=False)

    @property
    def received_at(self) -> datetime | None:
        """Return when the message came; None where nobody wrote that down, or none came."""
        return self.stamp.at if self.stamp is not None and self.stamp.decoder else None

    @property
    def sent_at(self) -> datetime | None:
        """Return when the message left; None where nobody wrote that down, or none left."""
        return self.stamp.at if self.stamp is not None and not self.stamp.decoder else None
