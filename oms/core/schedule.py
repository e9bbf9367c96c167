"""When the books are compared next: a pure function of what was asked, what ran and what time it
is.

A *full* run asks every question and may repair; a *quick* check asks for open orders and positions
only and calls for a full run where they differ (`service.quick_check`). What calls for a run:

- somebody: a line that came up or was restored (1101 and 1102 alike), a person. At once, also
  during a reset: the line is whole, and orders wait for the answer;
- the last full run lacked an answer: again, with growing delays;
- orders in doubt: again, each time twice as long after the last;
- the end of the gateway's day: IB forgets the day's executions at midnight, so they are asked for
  shortly before, and before a reset that lies over midnight;
- the end of a reset: what was settled overnight (assignments, expiries, transfers) shows then;
- time: a full run each interval, a quick check between.

Nothing is due while the line is not whole (no session, 1100, silence). During a reset only what
somebody asked for is due: the farms are known to be down, and what they say is late.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import Final, Literal
from zoneinfo import ZoneInfo

from oms.core.resets import Window, end_of_reset, meanings, next_end_of_reset, start_of_reset

RunKind = Literal["full", "quick"]

#: How much earlier or later than its mean a periodic run may come, so that a fleet of daemons does
#: not ask one gateway at the same moment.
JITTER_THOUSANDTHS: Final = 100
#: After a reset runs are spread over this time, for the same reason.
AFTER_RESET: Final = timedelta(seconds=60)
#: How much earlier than the lead says the run before midnight may come.
LEAD_THOUSANDTHS: Final = 200


@dataclass(frozen=True, slots=True)
class Plan:
    """What the settings say about when to compare."""

    #: Between periodic full runs; None for none.
    interval: timedelta | None
    #: Between a run and the quick check after it; None for none.
    quick_interval: timedelta | None
    #: The gateway's zone, whose midnight ends the day of its executions.
    zone: ZoneInfo
    #: How long before midnight the day's last run begins at the latest; None for none.
    midnight_lead: timedelta | None
    #: When IB's servers are away.
    resets: tuple[Window, ...]
    #: Waits after one, two, ... full runs in a row that lacked an answer; the last repeats.
    retry_delays: tuple[timedelta, ...]
    #: The first wait before orders in doubt are asked about again; each next is twice as long.
    doubt_delay: timedelta
    doubt_delay_max: timedelta


@dataclass(frozen=True, slots=True)
class Past:
    """What has happened so far, as far as the next run depends on it."""

    #: There is a session and no gap is open.
    line_is_whole: bool
    #: What somebody asks for, such as `start` or `1102`; else empty.
    asked: str = ""
    #: When the last full run ended, None before the first of this line.
    full_at: datetime | None = None
    #: When the last full run began that had every answer; None before the first.
    whole_at: datetime | None = None
    #: Full runs in a row that lacked an answer.
    failures: int = 0
    quick_at: datetime | None = None
    #: Orders are in doubt.
    in_doubt: bool = False
    #: Full runs since the present doubt was first seen.
    doubt_runs: int = 0
    #: Thousandths, 0 to 1000, drawn anew for every run.
    jitter: int = 500


@dataclass(frozen=True, slots=True)
class Due:
    """The next run."""

    at: datetime
    kind: RunKind
    #: What calls for it; the report names it.
    trigger: str


def next_run(plan: Plan, past: Past, now: datetime) -> Due | None:
    """Return the next run, never before `now`; None is until something changes."""
    if not past.line_is_whole:
        return None
    if past.asked:
        return Due(now, "full", past.asked)
    if past.full_at is None:
        return None  # A line that comes up asks for its first run itself.
    found = [_outside_resets(plan, past, max(due.at, now), due) for due in _calls(plan, past, now)]
    # At one moment the full run, which answers what the quick check would.
    return min(found, key=lambda due: (due.at, due.kind == "quick"), default=None)


def _calls(plan: Plan, past: Past, now: datetime) -> Iterator[Due]:
    full_at = past.full_at
    assert full_at is not None
    if past.failures:
        delay = plan.retry_delays[min(past.failures, len(plan.retry_delays)) - 1]
        # Alone: what the others wait for would be asked in vain as well, and without a delay.
        yield Due(full_at + delay, "full", "retry")
        return
    if past.in_doubt:
        yield Due(full_at + doubt_delay(plan, past.doubt_runs), "full", "doubt")
    midnight = _before_midnight(plan, past, now)
    if midnight is not None:
        yield Due(midnight, "full", "midnight")
    reset = None if past.whole_at is None else next_end_of_reset(plan.resets, past.whole_at)
    if reset is not None:
        yield Due(reset + AFTER_RESET * past.jitter / 1000, "full", "after_reset")
    if plan.interval is not None:
        yield Due(full_at + _spread(plan.interval, past), "full", "schedule")
    if plan.quick_interval is not None:
        last = max(full_at, past.quick_at or full_at)
        yield Due(last + _spread(plan.quick_interval, past), "quick", "glance")


def _spread(period: timedelta, past: Past) -> timedelta:
    return period + period * JITTER_THOUSANDTHS * (2 * past.jitter - 1000) / 1_000_000


def doubt_delay(plan: Plan, runs: int) -> timedelta:
    """Return how long after a run the next one comes for the sake of orders in doubt."""
    doublings = min(max(runs - 1, 0), 32)
    return min(plan.doubt_delay * (1 << doublings), plan.doubt_delay_max)


def _before_midnight(plan: Plan, past: Past, now: datetime) -> datetime | None:
    """Return the last chance to ask for the executions of the day, None once it was taken."""
    if plan.midnight_lead is None:
        return None
    local = now.astimezone(plan.zone).date()
    for days in (1, 2):
        day = local + timedelta(days=days)
        midnight = min(meanings(datetime.combine(day, time(), plan.zone)))
        latest = midnight - plan.midnight_lead
        start = start_of_reset(plan.resets, latest)
        if start is not None:
            latest = start - plan.midnight_lead
        earliest = latest - plan.midnight_lead * LEAD_THOUSANDTHS / 1000
        if past.whole_at is None or past.whole_at < earliest:
            return latest - plan.midnight_lead * LEAD_THOUSANDTHS * past.jitter / 1_000_000
    return None


def _outside_resets(plan: Plan, past: Past, at: datetime, due: Due) -> Due:
    end = end_of_reset(plan.resets, at)
    return Due(at if end is None else end + AFTER_RESET * past.jitter / 1000, due.kind, due.trigger)
