"""The records of the daemon, its sessions and its alarms."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import ClassVar

import msgspec

from oms.core.events import AlarmKind
from oms.core.fold.records.row import Column, ColumnType, Evolving


class SessionRecord(Evolving):
    """One connection to the gateway, from handshake to loss."""

    COLUMNS: ClassVar[dict[str, ColumnType]] = {}

    epoch: int
    host: str
    port: int
    client_id: int
    server_version: int
    accounts: tuple[str, ...]
    next_broker_order_id: int
    opened_at: datetime
    opened_sequence: int
    ready_at: datetime | None = None
    closed_at: datetime | None = None
    close_reason: str = ""
    deliberate: bool = False

    @property
    def key(self) -> str:
        """Return the number of the session."""
        return str(self.epoch)

    @property
    def live(self) -> bool:
        """Say whether the connection stands, as far as the log knows."""
        return self.closed_at is None

    def columns(self) -> dict[str, Column]:
        """Return nothing: it is found by number."""
        return {}


class Alarm(Evolving):
    """Something that has lasted too long, standing or cleared."""

    COLUMNS: ClassVar[dict[str, ColumnType]] = {"kind": "text", "account": "text"}

    alarm_id: str
    kind: AlarmKind
    subject: str
    since: datetime
    text: str
    account: str
    symbol: str
    order_id: str
    raised_at: datetime
    raised_sequence: int
    #: How often it was raised.
    times: int = 1
    cleared_at: datetime | None = None

    @property
    def key(self) -> str:
        """Return the id of the alarm."""
        return self.alarm_id

    @property
    def live(self) -> bool:
        """Say whether it stands."""
        return self.cleared_at is None

    def columns(self) -> dict[str, Column]:
        """Return the values that readers search by."""
        return {"kind": self.kind, "account": self.account}


class SystemRecord(Evolving):
    """The state of the whole: which session, which gap, halted or not."""

    COLUMNS: ClassVar[dict[str, ColumnType]] = {}

    #: Number of the last session that was opened.
    session_epoch: int = 0
    #: The client id of that session: codes name our orders by their ids in it.
    client_id: int = 0
    connected: bool = False
    #: True from the end of the session's first reconciliation.
    ready: bool = False
    gap_sequence: int = 0
    gap_cause: str = ""
    gap_opened_at: datetime | None = None
    halted: bool = False
    halt_reason: str = ""
    halt_actor: str = ""
    #: client id -> highest order id that left or was announced, so that none is reused.
    highest_broker_order_ids: dict[int, int] = msgspec.field(default_factory=dict)
    #: client id -> highest order id under which IB has shown an order: below it, IB counts again.
    shown_broker_order_ids: dict[int, int] = msgspec.field(default_factory=dict)
    #: Permanent number -> order, where IB gave the order another one later: its row is found by the
    #: last only.
    earlier_perm_ids: dict[int, str] = msgspec.field(default_factory=dict)
    #: Accounts whose opening positions are recorded.
    opened_accounts: tuple[str, ...] = ()
    #: "account:currency" -> the first balance that IB named, less what our books explained by then.
    cash_openings: dict[str, Decimal] = msgspec.field(default_factory=dict)
    #: "account:currency" -> what people and policies have booked since.
    cash_adjusted: dict[str, Decimal] = msgspec.field(default_factory=dict)
    last_run_id: str = ""
    #: What was asked -> the last whole answer that says what it repeats (`fold.answers`).
    answers: dict[str, int] = msgspec.field(default_factory=dict)
    #: When the last gap ended, None while one is open and before the first.
    gap_closed_at: datetime | None = None
    #: The gateway's clock less ours, and when that was measured.
    server_offset_ms: int | None = None
    #: By how much that can be wrong; None where nobody wrote it down.
    server_error_ms: int | None = None
    server_time_at: datetime | None = None
    #: The machine's clock less the time of the log when the clock was last set, and when that was.
    clock_apart_ms: int = 0
    clock_apart_at: datetime | None = None
    #: The gateway's zone in the settings, what its clock showed at the last connect, and minutes
    #: east of Greenwich of both.
    gateway_zone: str = ""
    clock_shown: str = ""
    clock_shown_at: datetime | None = None
    zone_utc_offset_minutes: int | None = None
    shown_utc_offset_minutes: int | None = None
    #: The last time of this session that came hours before or after the moment that it names.
    strange_time: str = ""
    strange_time_offset_minutes: int = 0
    strange_time_at: datetime | None = None
    #: The last time of this session that could not be read, as IB wrote it.
    unread_time: str = ""
    unread_time_at: datetime | None = None
    #: When IB last refused messages because too many came in a second.
    too_fast_at: datetime | None = None
    #: The last event under a signed checkpoint, when that was signed, and the event that says so.
    signed_sequence: int = 0
    signed_at: datetime | None = None
    signed_event_sequence: int = 0
    #: What did not take the last checkpoint, and why; empty where all did.
    checkpoint_lost: str = ""
    process_id: int = 0
    daemon_started_at: datetime | None = None
    daemon_started_sequence: int = 0
    #: The start of the last daemon that had a session: what was asked before it is answered.
    served_from_sequence: int = 0
    daemon_stopped_at: datetime | None = None

    @property
    def key(self) -> str:
        """Return the only key of the table."""
        return "system"

    @property
    def live(self) -> bool:
        """Always needed."""
        return True

    def columns(self) -> dict[str, Column]:
        """Return nothing: there is one row."""
        return {}
