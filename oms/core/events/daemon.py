"""The daemon and its sessions."""

from __future__ import annotations

from typing import Literal

from oms.core.bounds import (
    ClientId,
    Count,
    Difference,
    Instant,
    Label,
    OrderNumber,
    Port,
    Price,
    Prose,
    SequenceNumber,
    WireInteger,
    Word,
)
from oms.core.events.base import Event
from oms.core.values import Value


class PartVersion(Value):
    """A part of what runs, and its version."""

    name: Word
    version: Word


class SettingInForce(Value):
    """A setting as the daemon ran with it, without passwords."""

    name: Word
    value: Prose
    #: `default`, `argument`, or the variable and file that said it.
    source: Label


class DaemonStarted(Event):
    """A daemon took the lease and loaded the books."""

    program_version: Word
    host: Label
    process_id: Count
    client_id: ClientId
    mode: Word
    #: When the log was last written before this start; since then the daemon
    #: did not listen to the broker.
    #: None for an empty log.
    last_recorded_at: Instant | None = None
    #: Python, the machine's system, and the libraries; empty in logs of earlier versions.
    parts: tuple[PartVersion, ...] = ()
    #: Every setting, the defaults too; empty in logs of earlier versions.
    settings: tuple[SettingInForce, ...] = ()


class LossAccepted(Event):
    """A person goes on with a log that lacks events which were in it; only IB knows what they were
    about.
    """

    #: How it shows: the database is gone, emptied, behind, another log, another past of this log;
    #: or the head file cannot be read; or it was restored from a backup after which there may
    #: have been more.
    loss: Literal[
        "gone", "emptied", "behind", "another_log", "another_past", "unreadable", "restored"
    ]
    reason: Prose
    #: Where the log ended before, as the head file knows it.
    known_sequence: SequenceNumber
    known_hash: Word
    known_recorded_at: Instant | None = None
    #: Where the log ends that goes on.
    found_sequence: SequenceNumber
    found_hash: Word
    found_recorded_at: Instant | None = None
    text: Prose


class DaemonStopped(Event):
    """The daemon went down on purpose."""

    reason: Prose


class SessionOpened(Event):
    """The handshake with the gateway is done; order ids that follow belong to this session."""

    host: Label
    port: Port
    client_id: ClientId
    server_version: WireInteger
    connection_time: Label
    accounts: tuple[Word, ...]
    next_broker_order_id: OrderNumber
    #: The zone that the settings say the gateway has.
    gateway_zone: Word = ""
    #: Minutes east of Greenwich by that zone, and by what the gateway's clock shows
    #: (`connection_time`); None where it shows nothing that any zone does.
    zone_utc_offset_minutes: Difference | None = None
    shown_utc_offset_minutes: Difference | None = None


class SessionReady(Event):
    """The first reconciliation of the session has ended; orders may leave."""

    run_id: Word


class SessionClosed(Event):
    """The connection to the gateway ended. `deliberate` means that we closed it and stay down."""

    reason: Prose
    deliberate: bool


class ConnectFailed(Event):
    """An attempt to connect failed."""

    attempt: Count
    reason: Prose
    retry_after_seconds: Price | None = None


class GapOpened(Event):
    """From here on the broker may know things that we do not (line lost, 1100, 2110, silence)."""

    cause: Prose


class GapClosed(Event):
    """The line is whole again; the next reconciliation asks for what happened in the gap."""

    cause: Prose
    opened_sequence: SequenceNumber
    #: True after 1101: subscriptions are gone.
    subscriptions_lost: bool = False


class TradingHaltedByPerson(Event):
    """New orders are denied from here on; cancels pass."""

    reason: Prose


class HaltInForce(Event):
    """The daemon has taken a halt up: what waited to leave was called back, and from here on no new
    order and no change of one leaves.
    """

    #: Of the halt.
    halt_sequence: SequenceNumber
    #: Orders that were intended and waited for their turn to leave; they are not sent.
    called_back: tuple[Word, ...] = ()


class TradingResumed(Event):
    """New orders are allowed again."""

    reason: Prose


class ProjectionsRebuilt(Event):
    """The stored rows were replaced by a fold of the log; a running daemon loads them again."""

    #: The event up to which the rows were folded.
    up_to_sequence: SequenceNumber
    #: Rows that differed from the log.
    differences: Count
    #: Guards, indexes, tables and leases that were missing or not as they were made.
    mended: tuple[Prose, ...] = ()
