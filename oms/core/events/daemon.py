"""The daemon and its sessions."""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

from pydantic import AwareDatetime

from oms.core.events.base import Event


class DaemonStarted(Event):
    """A daemon took the lease and loaded the books."""

    program_version: str
    host: str
    process_id: int
    client_id: int
    mode: str
    #: When the log was last written before this start; since then the daemon
    #: did not listen to the broker.
    #: None for an empty log.
    last_recorded_at: AwareDatetime | None = None


class LossAccepted(Event):
    """A person goes on with a log that lacks events which were in it; only IB knows what they were
    about.
    """

    #: How it shows: the database is gone, emptied, behind, another log, another past of this log;
    #: or the head file cannot be read.
    loss: Literal["gone", "emptied", "behind", "another_log", "another_past", "unreadable"]
    reason: str
    #: Where the log ended before, as the head file knows it.
    known_sequence: int
    known_hash: str
    known_recorded_at: AwareDatetime | None = None
    #: Where the log ends that goes on.
    found_sequence: int
    found_hash: str
    found_recorded_at: AwareDatetime | None = None
    text: str


class DaemonStopped(Event):
    """The daemon went down on purpose."""

    reason: str


class SessionOpened(Event):
    """The handshake with the gateway is done; order ids that follow belong to this session."""

    host: str
    port: int
    client_id: int
    server_version: int
    connection_time: str
    accounts: tuple[str, ...]
    next_broker_order_id: int
    #: The zone that the settings say the gateway has.
    gateway_zone: str = ""
    #: Minutes east of Greenwich by that zone, and by what the gateway's clock shows
    #: (`connection_time`); None where it shows nothing that any zone does.
    zone_utc_offset_minutes: int | None = None
    shown_utc_offset_minutes: int | None = None


class SessionReady(Event):
    """The first reconciliation of the session has ended; orders may leave."""

    run_id: str


class SessionClosed(Event):
    """The connection to the gateway ended. `deliberate` means that we closed it and stay down."""

    reason: str
    deliberate: bool


class ConnectFailed(Event):
    """An attempt to connect failed."""

    attempt: int
    reason: str
    retry_after_seconds: Decimal | None = None


class GapOpened(Event):
    """From here on the broker may know things that we do not (line lost, 1100, 2110, silence)."""

    cause: str


class GapClosed(Event):
    """The line is whole again; the next reconciliation asks for what happened in the gap."""

    cause: str
    opened_sequence: int
    #: True after 1101: subscriptions are gone.
    subscriptions_lost: bool = False


class TradingHaltedByPerson(Event):
    """New orders are denied from here on; cancels pass."""

    reason: str


class HaltInForce(Event):
    """The daemon has taken a halt up: what waited to leave was called back, and from here on no new
    order and no change of one leaves.
    """

    #: Of the halt.
    halt_sequence: int
    #: Orders that were intended and waited for their turn to leave; they are not sent.
    called_back: tuple[str, ...] = ()


class TradingResumed(Event):
    """New orders are allowed again."""

    reason: str


class ProjectionsRebuilt(Event):
    """The stored rows were replaced by a fold of the log; a running daemon loads them again."""

    #: The event up to which the rows were folded.
    up_to_sequence: int
    #: Rows that differed from the log.
    differences: int
