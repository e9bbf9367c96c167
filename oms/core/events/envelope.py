"""The envelope that a fact is kept in."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar, dataclass_transform

from oms.core.events.base import Event

_T = TypeVar("_T")


@dataclass_transform(frozen_default=True)
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
class Pending:
    """A fact on its way into the log."""

    event: Event
    context: Context
    #: The broker message's fields as they stood on the wire; None for facts of our own.
    wire: tuple[str, ...] | None = None


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
    wire: tuple[str, ...] | None = None
