"""Carries out the schedule: waits for what is due next, and runs it.

What is due is decided in `core.schedule` from the past that is kept here. Runs follow one another,
never side by side. If the process dies, the past dies with it, and the next session begins with a
full run.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import timedelta
from typing import Final, Protocol
from zoneinfo import ZoneInfo

from oms.clock import Clock
from oms.core.compare.asking import QUESTIONS
from oms.core.events import Envelope, ReconciliationCompleted
from oms.core.resets import on_the_wall, windows_of
from oms.core.schedule import Due, Past, Plan, next_run
from oms.service.view import View
from oms.settings import Settings, duration_of
from oms.telemetry import get_logger

log = get_logger("service.schedule")

#: Waits while a full run lacked an answer and orders wait for it, in seconds.
RETRY_DELAYS_SECONDS: Final = (2.0, 5.0, 15.0, 30.0)
#: How long the wall clock is trusted while waiting: a machine that slept wakes up late otherwise.
_LOOK_SECONDS_MAX: Final = 60.0


class SessionState(Protocol):
    """What the schedule needs to know of the session."""

    @property
    def is_up(self) -> bool:
        """Say whether a session is open."""
        ...

    @property
    def gap_is_open(self) -> bool:
        """Say whether the broker may know things that we do not."""
        ...


class FullRun(Protocol):
    """A full run."""

    async def run(self, trigger: str) -> ReconciliationCompleted:
        """Ask, compare and write."""
        ...


class QuickRun(Protocol):
    """The quick check between two full runs."""

    async def look(self) -> bool:
        """Return whether a full run is needed."""
        ...


def plan_of(settings: Settings) -> Plan:
    """Return what the settings say about when to compare; 0 turns a period off."""
    return Plan(
        interval=duration_of(settings.reconcile_interval_seconds),
        quick_interval=duration_of(settings.glance_interval_seconds),
        zone=ZoneInfo(settings.gateway_zone),
        midnight_lead=duration_of(settings.midnight_lead_seconds),
        resets=windows_of(settings.reset_region, settings.reset_windows),
        retry_delays=tuple(timedelta(seconds=s) for s in RETRY_DELAYS_SECONDS),
        # A little later than the settling time, which counts from the doubt and not from the run.
        doubt_delay=timedelta(seconds=settings.doubt_settle_seconds + 0.1),
        doubt_delay_max=timedelta(
            seconds=max(settings.doubt_retry_seconds_max, settings.doubt_settle_seconds + 0.1)
        ),
    )


class Schedule:
    """Runs comparisons when they are due."""

    def __init__(
        self,
        plan: Plan,
        *,
        clock: Clock,
        session: SessionState,
        view: View,
        full: FullRun,
        quick: QuickRun,
        draw: Callable[[], int] = lambda: random.randint(0, 1000),
    ) -> None:
        self._plan = plan
        self._clock = clock
        self._session = session
        self._view = view
        self._full = full
        self._quick = quick
        self._draw = draw
        self._past = Past(line_is_whole=False, jitter=draw())
        self._doubted: frozenset[str] = frozenset()
        self._changed = asyncio.Event()

    def ask(self, trigger: str) -> None:
        """Ask for a full run as soon as the line is whole; the latest trigger is the one named."""
        self._past = replace(self._past, asked=trigger)
        self._changed.set()

    def line_lost(self) -> None:
        """Forget what was asked of a session that is over: the next one asks for itself."""
        self._past = replace(self._past, asked="", full_at=None, failures=0)
        self._changed.set()

    def look(self) -> None:
        """Look again at what is due: orders came into doubt, or the line changed."""
        if self._doubts() != self._doubted or self._line_is_whole() != self._past.line_is_whole:
            self._changed.set()

    def note(self, envelopes: Iterable[Envelope]) -> None:
        """Look again after a commit that left an outcome open, or settled it."""
        del envelopes
        self.look()

    def next(self) -> Due | None:
        """Return the next run as things stand, by the wall clock."""
        doubts = self._doubts()
        if doubts - self._doubted:
            self._past = replace(self._past, doubt_runs=0)
        self._doubted = doubts
        self._past = replace(self._past, line_is_whole=self._line_is_whole(), in_doubt=bool(doubts))
        return next_run(self._plan, self._past_by_the_wall_clock(), self._clock.wall())

    def _past_by_the_wall_clock(self) -> Past:
        """Return the past as the wall clock shows it now: IB's midnight and its resets go by that,
        and periods by the time of the log, which nobody sets.
        """
        past, now = self._past, self._clock.now()
        apart = self._clock.wall() - now
        full_at, whole_at, quick_at = (
            None if moment is None else on_the_wall(moment, now, apart)
            for moment in (past.full_at, past.whole_at, past.quick_at)
        )
        return replace(past, full_at=full_at, whole_at=whole_at, quick_at=quick_at)

    async def serve(self) -> None:
        """Run what is due, for ever."""
        while True:
            self._changed.clear()
            due = self.next()
            wait = None if due is None else (due.at - self._clock.wall()).total_seconds()
            if due is not None and wait is not None and wait <= 0:
                await self._run(due)
                continue
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(None if wait is None else min(wait, _LOOK_SECONDS_MAX)):
                    await self._changed.wait()

    async def _run(self, due: Due) -> None:
        self._past = replace(self._past, asked="", jitter=self._draw())
        if due.kind == "full":
            await self._run_full(due.trigger)
            return
        is_needed = await self._quick.look()
        self._past = replace(self._past, quick_at=self._clock.now())
        if is_needed and not self._past.asked:
            self.ask(due.trigger)

    async def _run_full(self, trigger: str) -> None:
        began_at = self._clock.now()
        report = await self._full.run(trigger)
        if not self._session.is_up:
            return  # The line went meanwhile; the next session asks for itself.
        answered = {q.kind for q in report.questions if q.outcome == "complete"}
        is_whole = answered >= set(QUESTIONS)
        self._past = replace(
            self._past,
            full_at=self._clock.now(),
            whole_at=began_at if is_whole else self._past.whole_at,
            failures=0 if is_whole else self._past.failures + 1,
            doubt_runs=self._past.doubt_runs + 1,
        )

    def _line_is_whole(self) -> bool:
        return self._session.is_up and not self._session.gap_is_open

    def _doubts(self) -> frozenset[str]:
        """Return the orders of which a later answer must say what became of them, or of a request
        about them.
        """
        open_ones = (*self._view.in_doubt(), *self._view.left_unanswered())
        return frozenset(order.order_id for order in open_ones)
