"""Folds of the watchman's alarms and of the gateway's clock."""

from __future__ import annotations

from typing import Final

from oms.core.events import (
    AlarmCleared,
    AlarmRaised,
    ClockStepped,
    Context,
    Envelope,
    ServerTimeRead,
)
from oms.core.fold.books import Books, set_system
from oms.core.fold.fold import Fold
from oms.core.fold.records import Alarm
from oms.core.fold.wants import Want, Wants, nothing


def _raised(books: Books, envelope: Envelope, event: AlarmRaised) -> None:
    before = books.get("alarms", event.alarm_id)
    books.put(
        Alarm(
            alarm_id=event.alarm_id,
            kind=event.kind,
            subject=event.subject,
            since=event.since,
            text=event.text,
            account=event.account,
            symbol=event.symbol,
            order_id=event.order_id,
            raised_at=envelope.recorded_at,
            raised_sequence=envelope.sequence,
            times=before.times + 1 if isinstance(before, Alarm) else 1,
        )
    )
    if event.order_id:
        books.link(event.order_id, envelope.sequence)


def _cleared(books: Books, envelope: Envelope, event: AlarmCleared) -> None:
    alarm = books.get("alarms", event.alarm_id)
    if isinstance(alarm, Alarm):
        books.put(alarm.evolve(cleared_at=envelope.recorded_at))
        if alarm.order_id:
            books.link(alarm.order_id, envelope.sequence)


def _clock_stepped(books: Books, envelope: Envelope, event: ClockStepped) -> None:
    set_system(books, clock_apart_ms=event.offset_ms, clock_apart_at=envelope.recorded_at)


def _time_read(books: Books, envelope: Envelope, event: ServerTimeRead) -> None:
    set_system(
        books,
        server_offset_ms=event.offset_ms,
        server_error_ms=event.error_ms,
        server_time_at=envelope.recorded_at,
    )


def _for_alarm(event: AlarmRaised | AlarmCleared, context: Context, books: Books) -> Wants:
    return (Want("alarms", "", event.alarm_id),)


FOLDS: Final = (
    Fold(AlarmRaised, _raised, _for_alarm),
    Fold(AlarmCleared, _cleared, _for_alarm),
    Fold(ServerTimeRead, _time_read, nothing),
    Fold(ClockStepped, _clock_stepped, nothing),
)
