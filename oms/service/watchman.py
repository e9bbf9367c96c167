"""The watchman: looks at the books and the clock, and says in the log what has lasted too long.

The rules are in `core.watch`. An alarm is a pair of facts, so that it can be asked of the log when
it stood; nothing else follows from it. If the process dies with alarms standing, the next one finds
them in the books and clears those whose condition is gone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final, get_args

from oms.clock import Clock, Steps
from oms.core.events import (
    AlarmCleared,
    AlarmKind,
    AlarmRaised,
    ClockStepped,
    Context,
    Event,
    Pending,
    ServerTimeRead,
)
from oms.core.fold.records import Alarm
from oms.core.resets import windows_of
from oms.core.watch import STEP, Clocks, Tolerances, conditions, news
from oms.service.storage import disk_free_of, storage_of
from oms.service.view import View
from oms.settings import Settings, duration_of
from oms.telemetry import ALARMS_STANDING, get_logger

if TYPE_CHECKING:
    from oms.broker.session import Session
    from oms.store.log import EventLog

log = get_logger("service.watchman")

ACTOR: Final = "watchman"
#: How often the gateway's clock is written down where it says nothing new.
CLOCK_KEPT_SECONDS: Final = 1_800
_MILLISECOND: Final = timedelta(milliseconds=1)


def tolerances_of(settings: Settings) -> Tolerances:
    """Return what the settings say about how long things may last; 0 turns a rule off."""
    return Tolerances(
        order_silence=duration_of(settings.alarm_order_silence_seconds),
        order_waiting=duration_of(settings.alarm_order_waiting_seconds),
        watched_accounts=settings.alarm_foreign_accounts,
        foreign_orders=settings.alarm_foreign_orders,
        clock_drift=duration_of(settings.alarm_clock_drift_seconds),
        outage=duration_of(settings.alarm_outage_seconds),
        recovery=duration_of(settings.alarm_recovery_seconds),
        price_age=duration_of(settings.alarm_price_age_seconds),
        disk_free=disk_free_of(settings),
        resets=windows_of(settings.reset_region, settings.reset_windows),
    )


@dataclass(frozen=True, slots=True)
class _Kept:
    """The reading of the gateway's clock that was written down last."""

    read: ServerTimeRead
    epoch: int
    #: On the monotonic clock.
    at: float


class Watchman:
    """Raises and clears alarms."""

    def __init__(
        self,
        tolerances: Tolerances,
        *,
        log: EventLog,
        view: View,
        clock: Clock,
        session: Session,
        look_seconds: float,
        clock_seconds: float,
    ) -> None:
        self._tolerances = tolerances
        self._log = log
        self._view = view
        self._clock = clock
        self._session = session
        self._look_seconds = look_seconds
        self._clock_seconds = clock_seconds
        self._clock_kept: _Kept | None = None
        self._steps = Steps(clock)
        self._has_looked = False
        self._apart_since: datetime | None = None

    async def serve(self) -> None:
        """Look for ever."""
        while True:
            await self.look()
            await asyncio.sleep(self._look_seconds)

    async def look(self) -> None:
        """Raise what is new, clear what is gone, and return when that is durable."""
        view = self._view
        stepped = [*self._step()]
        found = conditions(
            self._clock.now(),
            view.system,
            view.orders.values(),
            view.positions.values(),
            self._tolerances,
            storage=storage_of(self._log),
            clocks=self._clocks(),
        )
        standing = {a.alarm_id: a for a in view.alarms.values() if a.live}
        events: list[Event] = [*stepped, *news(standing, found)]
        for kind, number in _counts(found).items():
            ALARMS_STANDING.labels(kind=kind).set(number)
        if not events:
            return
        for event in events:
            # Before it is durable: an alarm about the log itself must not wait for the log.
            if isinstance(event, AlarmRaised):
                log.warning("alarm_raised", alarm_id=event.alarm_id, text=event.text)
            elif isinstance(event, AlarmCleared):
                log.info("alarm_cleared", alarm_id=event.alarm_id)
        epoch = self._session.current_epoch
        facts = [Pending(event, _context(event, standing, epoch)) for event in events]
        await self._log.append_together(facts)

    def _step(self) -> Iterator[ClockStepped]:
        """Yield that the machine's clock was set since the last look, or is before the log."""
        step, apart = self._steps.step(STEP), self._apart()
        at_start = not self._has_looked and apart < -STEP
        self._has_looked = True
        if step or at_start:
            found = apart if at_start else step
            log.warning("clock_stepped", seconds=found.total_seconds(), at_start=at_start)
            yield ClockStepped(
                step_ms=found // _MILLISECOND, offset_ms=apart // _MILLISECOND, at_start=at_start
            )

    def _clocks(self) -> Clocks:
        apart = self._apart()
        if abs(apart) <= STEP:
            self._apart_since = None
        elif self._apart_since is None:
            self._apart_since = self._clock.now()
        return Clocks(apart, self._apart_since)

    def _apart(self) -> timedelta:
        now = self._clock.now()
        return self._clock.wall() - now

    async def read_clock(self) -> None:
        """Read the gateway's clock with each session, and from time to time, for ever.

        A session's first answer counts at once, because it can show a wrong zone; then some
        seconds go into a closer look, which no alarm waits for.
        """
        read_in, read_at = 0, 0.0
        while True:
            epoch, now = self._session.current_epoch, self._clock.monotonic()
            if epoch and (epoch != read_in or now - read_at >= self._clock_seconds):
                if epoch != read_in:
                    await self._keep(await self._session.read_clock(once=True), epoch)
                await self._keep(await self._session.read_clock(), epoch)
                read_in, read_at = epoch, now
            await asyncio.sleep(self._look_seconds)

    async def _keep(self, read: ServerTimeRead | None, epoch: int) -> None:
        if read is None or not self._is_news(read, epoch):
            return
        self._clock_kept = _Kept(read, epoch, self._clock.monotonic())
        await self._log.append(Pending(read, Context(actor=ACTOR, session_epoch=epoch)))

    def _is_news(self, read: ServerTimeRead, epoch: int) -> bool:
        """Say whether a reading says more than the one that was kept last."""
        kept = self._clock_kept
        if kept is None or kept.epoch != epoch:
            return True
        if self._clock.monotonic() - kept.at >= CLOCK_KEPT_SECONDS:
            return True
        moved = abs(read.offset_ms - kept.read.offset_ms)
        return moved > kept.read.bound_ms or read.bound_ms * 2 <= kept.read.bound_ms


def _context(event: Event, standing: Mapping[str, Alarm], epoch: int) -> Context:
    """Say of what an alarm is, and of an end, which alarm it ends."""
    match event:
        case AlarmRaised(order_id=order_id):
            return Context(ACTOR, epoch, None, order_id or None)
        case AlarmCleared(alarm_id=alarm_id):
            raised = standing[alarm_id]
            return Context(ACTOR, epoch, None, raised.order_id or None, raised.raised_sequence)
        case _:
            return Context(ACTOR, epoch)


def _counts(found: Mapping[str, object]) -> dict[str, int]:
    counts = dict.fromkeys(get_args(AlarmKind), 0)
    for alarm_id in found:
        counts[alarm_id.partition(":")[0]] += 1
    return counts
