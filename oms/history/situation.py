"""How things stood at a moment, from the books as of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final, TypeVar

from oms.core.codec import Head
from oms.core.events import Envelope, OrderMessageSent, Question, ReconciliationCompleted
from oms.core.fold.records import (
    Alarm,
    Anomaly,
    BreakCase,
    Order,
    OrderState,
    RunRecord,
    SessionRecord,
    SystemRecord,
)
from oms.core.resets import Window
from oms.core.situation import Claim, Doubt, Situation
from oms.history.asof import PastBooks

_Record = TypeVar("_Record")
#: How many events before the moment are searched for a message of the broker.
HEARD_EVENTS_MAX: Final = 1_000
#: Since when an order is in doubt is looked up for the oldest.
_DATED_DOUBTS_MAX: Final = 50


async def situation_at(past: PastBooks, *, resets: Sequence[Window] = ()) -> Situation:
    """Return how things stood, as far as the log says: leases and signs of life are not in it, so
    a daemon counts as running from its start to its end.
    """
    sequence, as_of = past.sequence, past.as_of
    system = _only(SystemRecord, [await past.one("system", "system")]) or [SystemRecord()]
    live = _only(Order, await past.rows("orders", {"live": 1}))
    last_run = _only(RunRecord, [await past.one("runs", system[0].last_run_id)])
    digest = (await past.reader.hashes(sequence, sequence))[0]
    alarms = _only(Alarm, await past.rows("alarms", {"live": 1}))
    anomalies = _only(Anomaly, await past.rows("anomalies", {"live": 1, "kind": "set_aside"}))
    session = await past.one("sessions", str(system[0].session_epoch))
    return Situation(
        read_at=past.now,
        head=Head(sequence, digest, as_of.recorded_at),
        books_sequence=sequence,
        system=system[0],
        session=session if isinstance(session, SessionRecord) else None,
        claims=_claims(past, system[0]),
        orders_by_state=dict(sorted(Counter(order.state.value for order in live).items())),
        doubts=await _doubts(past, live),
        open_breaks=tuple(_only(BreakCase, await past.rows("breaks", {"live": 1}))),
        set_aside=tuple(anomalies),
        alarms=tuple(sorted(alarms, key=lambda alarm: alarm.since)),
        last_run=last_run[0] if last_run else None,
        runs_under_way=tuple(_only(RunRecord, await past.rows("runs", {"live": 1}))),
        heard=await _heard(past),
        questions=await _questions(past, last_run),
        resets=tuple(resets),
    )


def _only(kind: type[_Record], found: Sequence[object]) -> list[_Record]:
    return [one for one in found if isinstance(one, kind)]


def _claims(past: PastBooks, system: SystemRecord) -> tuple[Claim, ...]:
    if system.daemon_started_at is None or system.daemon_stopped_at is not None:
        return ()
    return (
        Claim(
            name="",
            holder="",
            host="",
            process_id=system.process_id,
            epoch=0,
            heartbeat_at=past.as_of.recorded_at,
            held=True,
        ),
    )


async def _doubts(past: PastBooks, live: Sequence[Order]) -> tuple[Doubt, ...]:
    orders = [order for order in live if order.state is OrderState.IN_DOUBT]
    orders.sort(key=lambda order: order.doubt_sequence)
    doubts = []
    for number, order in enumerate(orders):
        since = None if order.doubt_sequence else order.updated_at
        if order.doubt_sequence and number < _DATED_DOUBTS_MAX:
            since = await past.reader.recorded_at(order.doubt_sequence)
        doubts.append(Doubt(order, since))
    return tuple(doubts)


async def _heard(past: PastBooks) -> Envelope | None:
    newest = await past.reader.events(
        max(past.sequence - HEARD_EVENTS_MAX, 0),
        before=past.sequence + 1,
        reverse=True,
        limit=HEARD_EVENTS_MAX,
    )
    return next(
        (
            one
            for one in newest
            if one.context.actor == "broker" and not isinstance(one.event, OrderMessageSent)
        ),
        None,
    )


async def _questions(past: PastBooks, runs: Sequence[RunRecord]) -> tuple[Question, ...]:
    if not runs or not runs[0].sequence:
        return ()
    report = (await past.reader.event(runs[0].sequence)).event
    return report.questions if isinstance(report, ReconciliationCompleted) else ()
