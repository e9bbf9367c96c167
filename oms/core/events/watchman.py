"""The watchman."""

from __future__ import annotations

from typing import Literal

from oms.core.bounds import Count, Difference, Instant, Label, Prose, Word
from oms.core.events.base import Event

AlarmKind = Literal[
    "order_silent",
    "order_waiting",
    "foreign_order",
    "clock_drift",
    "wrong_zone",
    "unreadable_time",
    "too_fast",
    "outage",
    "gap_unrecovered",
    "stale_price",
    "log_waits",
    "disk_low",
    "log_damaged",
    "checkpoint_lost",
    "clock_stepped",
]


class AlarmRaised(Event):
    """Something has lasted too long; see `core.watch`."""

    #: The same for the same thing, each time that it happens.
    alarm_id: Label
    kind: AlarmKind
    #: What it is about: an order, a position, the clock, the line.
    subject: Label
    #: Since when it lasts; its age counts from here.
    since: Instant
    text: Prose
    account: Word = ""
    symbol: Word = ""
    order_id: Word = ""


class AlarmCleared(Event):
    """What an alarm was raised for is over."""

    alarm_id: Label


class ServerTimeRead(Event):
    """How far the gateway's clock is from ours.

    IB tells whole seconds (in milliseconds only from version 197 of the protocol on), so one answer
    leaves a second and the round trip open; several, each asked when a second of the gateway's
    clock should end, leave less.
    """

    server_time: Instant
    #: The gateway's clock less ours, in milliseconds.
    offset_ms: Difference
    round_trip_ms: Difference
    #: By how much the offset can be wrong; None in logs of earlier versions, which asked once.
    error_ms: Difference | None = None
    #: How many answers it follows from.
    answers: Count = 1

    @property
    def bound_ms(self) -> int:
        """Return by how much the offset can be wrong."""
        return 500 + -(-self.round_trip_ms // 2) if self.error_ms is None else self.error_ms


class ClockStepped(Event):
    """The machine's clock was set, or a start found it before the last time of the log.

    Waits and limits go on by the seconds that passed; see `oms.clock.SteadyClock`.
    """

    #: How far it was set; below 0 is back. At a start, how far it is from the log's last time.
    step_ms: Difference
    #: The machine's clock less the time of the log, after that.
    offset_ms: Difference
    at_start: bool
