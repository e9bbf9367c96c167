"""What the session tells its listeners, on the event loop."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SessionUp:
    """A session is open and may be asked and sent to: reconcile."""

    epoch: int
    server_version: int
    accounts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SessionDown:
    """The session is over; what has not been sent by now will not be."""

    epoch: int
    reason: str
    deliberate: bool


@dataclass(frozen=True, slots=True)
class LineLost:
    """A gap has opened; the session may still be there (1100) or not."""

    epoch: int
    cause: str


@dataclass(frozen=True, slots=True)
class LineRecovered:
    """A gap within a session is over: reconcile."""

    epoch: int
    cause: str
    subscriptions_lost: bool


News = SessionUp | SessionDown | LineLost | LineRecovered
