"""The loop that carries the schedule out, with a clock that a test moves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest

from oms.clock import Clock, ManualClock, SteadyClock
from oms.core.compare.asking import QUESTIONS
from oms.core.contracts import Contract
from oms.core.events import QueryKind, Question, ReconciliationCompleted, Terms
from oms.core.fold.records import Order, OrderState, SystemRecord
from oms.core.schedule import Plan
from oms.service.schedule import Schedule, plan_of
from oms.service.view import View
from oms.settings import Settings

START = datetime(2026, 11, 23, 15, tzinfo=UTC)
DEADLINE_SECONDS = 60
PLAN = Plan(
    interval=timedelta(seconds=900),
    quick_interval=timedelta(seconds=60),
    zone=ZoneInfo("America/New_York"),
    midnight_lead=None,
    resets=(),
    retry_delays=(timedelta(seconds=2), timedelta(seconds=5)),
    doubt_delay=timedelta(seconds=10),
    doubt_delay_max=timedelta(seconds=30),
)


@dataclass
class SessionState:
    is_up: bool = True
    gap_is_open: bool = False


@dataclass
class Runs:
    """Runs that answer what the test says, and a note of each."""

    clock: ManualClock = field(default_factory=lambda: ManualClock(START))
    session: SessionState = field(default_factory=SessionState)
    view: View = field(default_factory=lambda: View([]))
    noted: asyncio.Queue[tuple[int, str]] = field(default_factory=asyncio.Queue)
    is_needed: bool = False
    unanswered: tuple[QueryKind, ...] = ()

    async def run(self, trigger: str) -> ReconciliationCompleted:
        self.noted.put_nowait((self.seconds(), trigger))
        return report(trigger, self.clock.now(), self.unanswered)

    async def look(self) -> bool:
        self.noted.put_nowait((self.seconds(), "quick"))
        return self.is_needed

    def seconds(self) -> int:
        return round((self.clock.now() - START).total_seconds())

    async def next(self) -> tuple[int, str]:
        async with asyncio.timeout(DEADLINE_SECONDS):
            return await self.noted.get()


def report(
    trigger: str, at: datetime, unanswered: tuple[QueryKind, ...]
) -> ReconciliationCompleted:
    questions = tuple(
        Question(
            query_id=kind,
            kind=kind,
            outcome="timed_out" if kind in unanswered else "complete",
            asked_at=at,
            answered_at=at,
            asked_sequence=1,
        )
        for kind in QUESTIONS
    )
    return ReconciliationCompleted(
        run_id="R",
        trigger=trigger,
        verdict="clean",
        started_at=at,
        finished_at=at,
        books_sequence=1,
        questions=questions,
        findings=(),
    )


def schedule_of(runs: Runs, plan: Plan = PLAN, clock: Clock | None = None) -> Schedule:
    return Schedule(
        plan,
        clock=clock or runs.clock,
        session=runs.session,
        view=runs.view,
        full=runs,
        quick=runs,
        draw=lambda: 500,
    )


@asynccontextmanager
async def serving(
    runs: Runs, plan: Plan = PLAN, clock: Clock | None = None
) -> AsyncIterator[Schedule]:
    schedule = schedule_of(runs, plan, clock)
    task = asyncio.create_task(schedule.serve())
    try:
        yield schedule
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def pass_time(runs: Runs, schedule: Schedule, seconds: int) -> None:
    """Move the clock to the next run, and let the loop see it."""
    runs.clock.advance(seconds)
    schedule._changed.set()


async def test_a_line_that_comes_up_is_compared_and_then_checked_quickly() -> None:
    runs = Runs()
    async with serving(runs) as schedule:
        schedule.ask("start")
        assert await runs.next() == (0, "start")
        await pass_time(runs, schedule, 60)
        assert await runs.next() == (60, "quick")
        await pass_time(runs, schedule, 60)
        assert await runs.next() == (120, "quick")


@pytest.mark.parametrize("step", [3_600, -3_600, 86_400])
async def test_periods_do_not_move_with_a_clock_that_is_set(step: int) -> None:
    runs = Runs()
    runs.clock = ManualClock(START)
    steady = SteadyClock(runs.clock)
    schedule = schedule_of(runs, PLAN, steady)
    schedule.ask("start")
    schedule._past = replace(schedule._past, asked="", full_at=steady.now())
    runs.clock.advance(30)
    runs.clock.step(step)
    due = schedule.next()
    assert due is not None
    assert due.kind == "quick"
    assert abs((due.at - runs.clock.wall()).total_seconds() - 30) < 4  # the tenth of 30 s


@pytest.mark.parametrize("zone", ["America/New_York", "Europe/Zurich"])
async def test_ibs_midnight_and_resets_go_by_the_clock_that_is_right_now(zone: str) -> None:
    """An hour's step forward is no reason to ask an hour late, when IB has forgotten the day."""
    runs = Runs()
    local = datetime(2026, 11, 23, 22, 30, tzinfo=ZoneInfo(zone))
    runs.clock = ManualClock(local.astimezone(UTC))
    steady = SteadyClock(runs.clock)
    plan = replace(
        PLAN,
        interval=None,
        quick_interval=None,
        zone=ZoneInfo(zone),
        midnight_lead=timedelta(minutes=10),
    )
    async with serving(runs, plan, steady) as schedule:
        schedule._past = replace(schedule._past, full_at=steady.now(), whole_at=steady.now())
        runs.clock.step(3_600)
        await pass_time(runs, schedule, 20 * 60)  # ten minutes before midnight
        assert (await runs.next())[1] == "midnight"


async def test_a_quick_check_that_sees_something_new_calls_for_a_full_run() -> None:
    runs = Runs(is_needed=True)
    async with serving(runs) as schedule:
        schedule.ask("start")
        await runs.next()
        await pass_time(runs, schedule, 60)
        assert [await runs.next(), await runs.next()] == [(60, "quick"), (60, "glance")]


async def test_nothing_is_asked_while_ib_is_out_of_reach() -> None:
    runs = Runs(session=SessionState(gap_is_open=True))
    async with serving(runs) as schedule:
        schedule.ask("start")
        assert schedule.next() is None
        runs.session.gap_is_open = False
        schedule.look()
        assert await runs.next() == (0, "start")


async def test_a_missing_answer_is_asked_for_again_with_growing_delays() -> None:
    runs = Runs(unanswered=("positions",))
    async with serving(runs) as schedule:
        schedule.ask("start")
        seen = [await runs.next()]
        for wait in (2, 5, 5):
            await pass_time(runs, schedule, wait)
            seen.append(await runs.next())
        assert seen == [(0, "start"), (2, "retry"), (7, "retry"), (12, "retry")]


async def test_orders_in_doubt_are_asked_about_again_each_time_after_twice_as_long() -> None:
    runs = Runs()
    async with serving(runs) as schedule:
        schedule.ask("start")
        seen = [await runs.next()]
        runs.view.take([doubtful("a")])
        schedule.look()
        for wait in (10, 10, 20, 30):
            await pass_time(runs, schedule, wait)
            seen.append(await runs.next())
        assert [at for at, _ in seen] == [0, 10, 20, 40, 70]
        runs.view.take([doubtful("b")])
        schedule.look()
        await pass_time(runs, schedule, 10)
        assert await runs.next() == (80, "doubt"), "a new doubt begins with short waits"


async def test_a_request_that_an_earlier_session_sent_is_asked_about_again() -> None:
    runs = Runs()
    async with serving(runs) as schedule:
        runs.view.take([doubtful("a"), SystemRecord(session_epoch=2)])
        left = doubtful("a").evolve(state=OrderState.CANCEL_PENDING, cancel_pending=True)
        runs.view.take([left.evolve(pending_epoch=1)])
        schedule.ask("reconnect")
        assert await runs.next() == (0, "reconnect")
        await pass_time(runs, schedule, 10)
        assert await runs.next() == (10, "doubt")
        runs.view.take([left.evolve(pending_epoch=2)])
        due = schedule.next()
        assert due is not None
        assert due.trigger != "doubt"


async def test_a_session_that_ends_takes_its_requests_along() -> None:
    runs = Runs(session=SessionState(is_up=False))
    async with serving(runs) as schedule:
        schedule.ask("start")
        schedule.line_lost()
        runs.session.is_up = True
        assert schedule.next() is None
        schedule.ask("reconnect")
        assert await runs.next() == (0, "reconnect")


def test_a_period_of_zero_is_none_and_the_last_wait_is_never_below_the_first() -> None:
    plan = plan_of(
        Settings(
            reconcile_interval_seconds=0,
            glance_interval_seconds=0,
            midnight_lead_seconds=0,
            doubt_settle_seconds=600,
            doubt_retry_seconds_max=1,
            reset_region="none",
        )
    )
    assert (plan.interval, plan.quick_interval, plan.midnight_lead) == (None, None, None)
    assert plan.doubt_delay == plan.doubt_delay_max == timedelta(seconds=600.1)


def doubtful(order_id: str) -> Order:
    return Order(
        order_id=order_id,
        origin="ours",
        account="DU1",
        contract=Contract(
            con_id=1, symbol="AAPL", sec_type="STK", exchange="SMART", currency="USD"
        ),
        terms=Terms(side="BUY", quantity=Decimal(1), order_type="MKT"),
        actor="test",
        state=OrderState.IN_DOUBT,
        doubt="silence",
    )
