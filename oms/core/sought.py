"""What an event hangs on that it does not name: the line, the clock, a setting, an earlier order.

A person who asks why a comparison ran reads that the clock called for it, and which setting said
when. The walk back finds that event in the log (`history.why`), and it is marked as attributed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final, assert_never

from oms.core import events
from oms.core.causes import How
from oms.core.events import AlarmKind, Envelope, Event


@dataclass(frozen=True, slots=True)
class Sought:
    """The last event before another that it hangs on and does not name by its sequence."""

    #: One of these types.
    types: tuple[str, ...]
    text: str
    code: int | None = None
    #: Of the events of that type, the one that is meant.
    is_meant: Callable[[Event], bool] = lambda _: True
    #: How many are looked at, the newest first; None for all.
    among: int | None = 1
    #: In the story of this order; "" anywhere.
    order_id: str = ""
    #: Recorded at this moment or before.
    by: datetime | None = None
    #: What decided it, of the settings that a start has written down.
    settings: tuple[str, ...] = ()
    how: How = "attributed"


#: How many events of a type are looked at for the one that is meant.
_AMONG: Final = 50
_CONNECTS: Final = ("DaemonStarted", "SessionClosed", "ConnectFailed")
#: Runs that no event alone calls for, with the settings that say when.
CLOCKED: Final[Mapping[str, tuple[str, ...]]] = {
    "schedule": ("reconcile_interval_seconds",),
    "glance": ("glance_interval_seconds",),
    "midnight": ("midnight_lead_seconds", "gateway_zone"),
    "after_reset": ("reset_region", "reset_windows"),
    "doubt": ("doubt_settle_seconds", "doubt_retry_seconds_max"),
    "silence": ("acknowledgement_seconds_max",),
    "notice": ("notice_settle_seconds",),
}
_ALARMS: Final[Mapping[AlarmKind, tuple[str, ...]]] = {
    "order_silent": ("alarm_order_silence_seconds",),
    "order_waiting": ("alarm_order_waiting_seconds",),
    "foreign_order": ("alarm_foreign_orders", "alarm_foreign_accounts"),
    "clock_drift": ("alarm_clock_drift_seconds",),
    "wrong_zone": ("gateway_zone",),
    "unreadable_time": ("gateway_zone",),
    "too_fast": ("messages_per_second_max",),
    "outage": ("alarm_outage_seconds",),
    "gap_unrecovered": ("alarm_recovery_seconds",),
    "stale_price": ("alarm_price_age_seconds",),
    "disk_low": ("disk_free_megabytes_min",),
    "log_damaged": ("recheck_interval_seconds",),
    "checkpoint_lost": ("checkpoint_events", "checkpoint_seconds"),
}


def sought(envelope: Envelope) -> tuple[Sought, ...]:
    """Return what an event hangs on that it does not name; none for most.

    What opens and closes a gap is heard before it has a sequence that could be named, and the
    orders of a group are written in one transaction.
    """
    event = envelope.event
    if isinstance(event, events.OrderIntended) and event.parent_order_id:
        types = ("OrderIntended", "OrderAdopted")
        text = "the order that it is attached to"
        return (Sought(types, text, order_id=event.parent_order_id, how="named"),)
    if envelope.context.causation_sequence is not None:
        return ()
    return tuple(_sought(event, envelope.context.actor))


def _sought(event: Event, actor: str) -> Iterator[Sought]:
    match event:
        case events.GapOpened(cause=cause) | events.GapClosed(cause=cause):
            code = cause.partition(" ")[0]
            if code.isdecimal():
                yield Sought(("NoticeReceived",), "the notice that said so", int(code))
            elif cause == "transport_lost":
                yield Sought(("SessionClosed",), "the end of the session")
            elif cause == "transport_up":
                yield Sought(("SessionOpened",), "the new session")
            elif cause == "silence":
                yield _setting("probe_interval_seconds", "probe_timeout_seconds")
            elif cause == "unanswered":
                yield Sought(("QueryAnswered",), "the last question before it")
                yield _setting("request_timeout_seconds")
        case events.ReconciliationStarted(trigger=trigger):
            yield from _of_run(trigger)
        case events.QueryAsked(run_id=run_id, kind=kind):
            # The number of a run begins with a letter: R for a whole comparison, which its
            # questions name, G for a quick check, N for a look at orders that a code answered.
            if run_id.startswith("N"):
                yield _NOTICE_ABOUT_AN_ORDER
            elif run_id.startswith("G"):
                yield _setting("glance_interval_seconds")
            elif not run_id and kind == "account":
                yield _setting("account_refresh_seconds")
        case events.SessionOpened() | events.ConnectFailed():
            yield Sought(_CONNECTS, "the program connects after this")
        case events.ServerTimeRead():
            yield Sought(("SessionOpened",), "the session whose clock is read")
            yield _setting("clock_check_seconds")
        case events.CheckpointSigned() if not actor.startswith("person:"):
            yield _setting("checkpoint_events", "checkpoint_seconds")
        case events.AlarmRaised():
            yield from _of_alarm(event)
        case events.AlarmCleared(alarm_id=alarm_id):
            yield Sought(
                ("AlarmRaised",),
                "the alarm that is over",
                is_meant=lambda one: getattr(one, "alarm_id", "") == alarm_id,
                among=None,
            )
        case _:
            pass


def _setting(*names: str) -> Sought:
    return Sought(("DaemonStarted",), "the settings of this start", settings=names)


_NOTICE_ABOUT_AN_ORDER: Final = Sought(
    ("NoticeReceived",),
    "the last notice about an order before it",
    is_meant=lambda one: isinstance(one, events.NoticeReceived) and one.subject_id > 0,
    among=_AMONG,
)


def _is_about_prices(event: Event) -> bool:
    return isinstance(event, events.QueryAnswered) and any(
        one.kind == "account" for one in event.questions
    )


def _of_run(trigger: str) -> Iterator[Sought]:
    if trigger.isdecimal():
        yield Sought(("GapClosed",), "the end of the gap")
    elif trigger in {"start", "reconnect"}:
        yield Sought(("SessionOpened",), "the new session")
    elif trigger in {"retry", "doubt"}:
        yield Sought(("ReconciliationCompleted",), "the run that left something open")
    elif trigger == "glance":
        yield Sought(
            ("QueryAnswered",),
            "the quick check that found something new",
            is_meant=lambda one: getattr(one, "run_id", "").startswith("G"),
            among=_AMONG,
        )
    elif trigger == "silence":
        yield Sought(("OrderDoubted",), "the doubt that it shall settle")
    elif trigger == "notice":
        yield _NOTICE_ABOUT_AN_ORDER
    elif trigger in CLOCKED:
        yield Sought(("ReconciliationCompleted",), "the run before it")
    if trigger in CLOCKED:
        yield _setting(*CLOCKED[trigger])


def _of_alarm(event: events.AlarmRaised) -> Iterator[Sought]:
    """Yield what showed an alarm's condition first: its `since` is when that was recorded."""
    by = event.since
    match event.kind:
        case "outage":
            yield Sought(("GapOpened",), "the gap that it is about", by=by)
        case "gap_unrecovered":
            yield Sought(("GapClosed",), "the end of the gap that it is about", by=by)
        case "clock_drift":
            yield Sought(("ServerTimeRead",), "the reading that shows it", by=by)
        case "wrong_zone" if event.subject == "clock":
            yield Sought(("SessionOpened",), "the clock that the gateway showed", by=by)
        case "wrong_zone" | "unreadable_time":
            yield Sought(("ExecutionReceived",), "the fill whose time shows it", by=by)
        case "too_fast":
            yield Sought(("NoticeReceived",), "the notice that said so", 100, by=by)
        case "stale_price":
            yield Sought(
                ("QueryAnswered",),
                "IB's last answer about prices",
                is_meant=_is_about_prices,
                among=_AMONG,
                by=by,
            )
        case "checkpoint_lost":
            yield Sought(("CheckpointSigned",), "the checkpoint that was lost", by=by)
        case "clock_stepped":
            yield Sought(("ClockStepped",), "what the watchman saw")
        case "order_silent" | "order_waiting" | "foreign_order":
            pass  # the fold counts it to its order
        case "log_waits" | "disk_low" | "log_damaged":
            pass  # seen in the database and on its disk, and not in an event
        case _:
            assert_never(event.kind)
    if event.kind in _ALARMS:
        yield _setting(*_ALARMS[event.kind])
