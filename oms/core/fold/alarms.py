"""Folds of the watchman's alarms and of the gateway's clock."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from oms.core.events import AlarmCleared, AlarmRaised, Envelope, Event, ServerTimeRead
from oms.core.fold.books import Books, set_system
from oms.core.fold.records import Alarm


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


def _time_read(books: Books, envelope: Envelope, event: ServerTimeRead) -> None:
    set_system(books, server_offset_ms=event.offset_ms, server_time_at=envelope.recorded_at)


FOLDS: Final[dict[type[Event], Callable[[Books, Envelope, Any], None]]] = {
    AlarmRaised: _raised,
    AlarmCleared: _cleared,
    ServerTimeRead: _time_read,
}
