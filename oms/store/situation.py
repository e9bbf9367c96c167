"""Reading how things stand: the rows that `oms.core.situation` judges, at one moment."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final, cast

from oms.core.events import (
    Envelope,
    OrderMessageSent,
    Question,
    ReconciliationCompleted,
)
from oms.core.fold.records import (
    ENDED,
    Alarm,
    Anomaly,
    BreakCase,
    Order,
    OrderState,
    RunRecord,
    SessionRecord,
)
from oms.core.resets import Window
from oms.core.situation import Claim, Doubt, Situation
from oms.errors import ChainBroken, DatabaseDamaged
from oms.store.lease import Lease
from oms.store.loss import find_loss
from oms.store.reader import Reader
from oms.store.reading import Reading
from oms.store.tables import BOOKS_CHECKPOINT

#: How many of the newest events are searched for a message of the broker: a quiet night is longer
#: than this only when nothing at all came.
HEARD_EVENTS_MAX: Final = 1_000
#: Events of one look; the first nearly always has one.
_LOOKED_AT: Final = 100
#: A screen of orders in doubt is an emergency already: since when is looked up for the oldest.
_DATED_DOUBTS_MAX: Final = 50


async def read_situation(
    reader: Reader,
    now: datetime,
    *,
    host: str,
    resets: Sequence[Window],
    reconcile_interval_seconds: float,
    damage: ChainBroken | DatabaseDamaged | None = None,
) -> Situation:
    """Return the situation at a moment of the machine's clock, seen from a host.

    `damage` is what `soundness.find_damage` has found.

    All of it is of one state of the database.
    """

    def situation(reading: Reading) -> Situation:
        """Return it as one state of the database has it."""
        loss = find_loss(reader.url)
        read_at = _time_of_log(reading.leases(), now, host)
        head = reading.head()
        system = reading.system()
        alarms = cast("list[Alarm]", reading.rows("alarms", {"live": 1}))
        last_run = cast("RunRecord | None", reading.one("runs", system.last_run_id))
        return Situation(
            read_at=read_at,
            apart=now - read_at,
            head=head,
            loss=loss.text if loss is not None else "",
            damage=damage,
            books_sequence=reading.checkpoints().get(BOOKS_CHECKPOINT, 0),
            system=system,
            session=cast(
                "SessionRecord | None", reading.one("sessions", str(system.session_epoch))
            ),
            claims=_claims(reading, now, host),
            orders_by_state=_orders_by_state(reading),
            doubts=_doubts(reading),
            open_breaks=tuple(cast("list[BreakCase]", reading.rows("breaks", {"live": 1}))),
            set_aside=tuple(
                cast("list[Anomaly]", reading.rows("anomalies", {"live": 1, "kind": "set_aside"}))
            ),
            alarms=tuple(sorted(alarms, key=lambda alarm: alarm.since)),
            last_run=last_run,
            runs_under_way=tuple(cast("list[RunRecord]", reading.rows("runs", {"live": 1}))),
            heard=_heard(reading),
            questions=_questions(reading, last_run),
            resets=tuple(resets),
            reconcile_interval=timedelta(seconds=reconcile_interval_seconds),
        )

    return await reader.ask(situation)


async def time_of_log(reader: Reader, now: datetime, host: str) -> datetime:
    """Return the time of the log at a moment of the machine's clock: what is recorded has it, so
    ages are counted from it, also where the clock was set.
    """
    return _time_of_log(await reader.leases(), now, host)


def _time_of_log(leases: Iterable[Lease], now: datetime, host: str) -> datetime:
    found = (lease.time_of_log(now, host) for lease in leases)
    return max((at for at in found if at is not None), default=now)


def _claims(reading: Reading, now: datetime, host: str) -> tuple[Claim, ...]:
    return tuple(
        Claim(
            name=lease.name,
            holder=lease.holder,
            host=lease.host,
            process_id=lease.process_id,
            epoch=lease.epoch,
            # In the time of the log, like everything whose age is shown beside it.
            heartbeat_at=lease.heartbeat_at and (lease.log_time_at or lease.heartbeat_at),
            held=lease.held(now, host),
            address=lease.address,
            alive=lease.is_alive(host),
            waiting=lease.waiting,
            oldest_waited=_duration(lease.oldest_seconds),
            append_took=_duration(lease.append_seconds),
        )
        for lease in reading.leases()
    )


def _duration(seconds: float | None) -> timedelta | None:
    return None if seconds is None else timedelta(seconds=seconds)


def _orders_by_state(reading: Reading) -> dict[str, int]:
    states = sorted(state.value for state in OrderState if state not in ENDED)
    counts = {state: reading.count("orders", {"state": state}) for state in states}
    return {state: count for state, count in counts.items() if count}


def _doubts(reading: Reading) -> tuple[Doubt, ...]:
    where = {"state": OrderState.IN_DOUBT.value}
    orders = cast("list[Order]", reading.rows("orders", where))
    orders.sort(key=lambda order: order.doubt_sequence)
    doubts = []
    for number, order in enumerate(orders):
        since = None if order.doubt_sequence else order.updated_at
        if order.doubt_sequence and number < _DATED_DOUBTS_MAX:
            since = reading.event(order.doubt_sequence).recorded_at
        doubts.append(Doubt(order, since))
    return tuple(doubts)


def _heard(reading: Reading) -> Envelope | None:
    before: int | None = None
    looked = 0
    while looked < HEARD_EVENTS_MAX:
        newest = reading.events(before=before, reverse=True, limit=_LOOKED_AT)
        heard = next((e for e in newest if _is_heard(e)), None)
        if heard is not None or len(newest) < _LOOKED_AT:
            return heard
        before, looked = newest[-1].sequence, looked + len(newest)
    return None


def _questions(reading: Reading, run: RunRecord | None) -> tuple[Question, ...]:
    if run is None or not run.sequence:
        return ()
    report = reading.event(run.sequence).event
    return report.questions if isinstance(report, ReconciliationCompleted) else ()


def _is_heard(envelope: Envelope) -> bool:
    """Say whether an event came from the broker; what we sent has the same actor."""
    is_ours = isinstance(envelope.event, OrderMessageSent)
    return envelope.context.actor == "broker" and not is_ours
