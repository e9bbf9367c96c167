"""When the books are compared: the rules of `core.schedule`, for any past, and over whole weeks."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from hypothesis import given, settings
from hypothesis import strategies as st

from oms.core.resets import end_of_reset, windows_of
from oms.core.schedule import AFTER_RESET, Due, Past, Plan, doubt_delay, next_run

BASE = datetime(2026, 3, 2, tzinfo=UTC)
NEW_YORK = ZoneInfo("America/New_York")
MINUTE = timedelta(minutes=1)

regions = st.sampled_from(["north_america", "europe", "asia_pacific", "none"])
#: Hours around midnight in New York, which some resets cover, and none.
own_windows = st.sampled_from([(), ("Sun-Sat 23:45-00:45 America/New_York",)])


def seconds(low: float, high: float) -> st.SearchStrategy[timedelta]:
    return st.floats(low, high).map(lambda s: timedelta(seconds=round(s, 3)))


plans = st.builds(
    Plan,
    interval=st.none() | seconds(60, 86_400),
    quick_interval=st.none() | seconds(10, 3_600),
    zone=st.sampled_from([NEW_YORK, ZoneInfo("Europe/Zurich"), ZoneInfo("Asia/Hong_Kong")]),
    midnight_lead=st.none() | seconds(30, 3_600),
    resets=st.builds(windows_of, regions, own_windows),
    retry_delays=st.just((timedelta(seconds=2), timedelta(seconds=30))),
    doubt_delay=seconds(0.1, 60),
    doubt_delay_max=seconds(60, 3_600),
)
moments = seconds(0, 30 * 86_400).map(lambda s: BASE + s)
pasts = st.builds(
    Past,
    line_is_whole=st.booleans(),
    asked=st.sampled_from(["", "", "1102"]),
    full_at=st.none() | moments,
    whole_at=st.none() | moments,
    failures=st.integers(0, 3),
    quick_at=st.none() | moments,
    in_doubt=st.booleans(),
    doubt_runs=st.integers(0, 40),
    jitter=st.integers(0, 1000),
)


@given(plans, pasts, moments)
def test_nothing_is_due_while_the_line_is_not_whole(plan: Plan, past: Past, now: datetime) -> None:
    assert next_run(plan, replace(past, line_is_whole=False), now) is None


@given(plans, pasts, moments)
def test_what_somebody_asks_for_is_due_at_once_and_in_full(
    plan: Plan, past: Past, now: datetime
) -> None:
    asked = replace(past, line_is_whole=True, asked="1102")
    assert next_run(plan, asked, now) == Due(now, "full", "1102")


#: From an hour before a reset of New York to its end.
near_resets = st.builds(
    lambda days, after: BASE + timedelta(days=days, hours=4, minutes=15) + after,
    st.integers(0, 30),
    seconds(0, 2.5 * 3_600),
)


@given(plans, pasts, moments | near_resets)
def test_what_nobody_asked_for_is_never_due_in_a_reset_nor_in_the_past(
    plan: Plan, past: Past, now: datetime
) -> None:
    plan = replace(plan, resets=(*plan.resets, *windows_of("north_america")))
    past = replace(past, line_is_whole=True, asked="", full_at=past.full_at or now)
    due = next_run(plan, past, now)
    if due is not None:
        assert due.at >= now
        # A push out of one reset may end in the next only if less than a minute lies between.
        assert end_of_reset(plan.resets, due.at) is None


@given(plans, pasts, moments)
def test_a_full_run_comes_within_the_interval_or_as_soon_as_a_reset_is_over(
    plan: Plan, past: Past, now: datetime
) -> None:
    past = replace(past, line_is_whole=True, asked="", full_at=now, failures=0)
    due = next_run(replace(plan, quick_interval=None), past, now)
    if plan.interval is not None:
        assert due is not None
        latest = now + plan.interval * 1.1
        over = end_of_reset(plan.resets, latest)
        assert due.at <= (latest if over is None else over + AFTER_RESET)


@given(plans, st.integers(0, 50))
def test_the_wait_of_a_doubt_never_shrinks_and_has_an_end(plan: Plan, runs: int) -> None:
    assert plan.doubt_delay <= doubt_delay(plan, runs) <= doubt_delay(plan, runs + 1)
    assert doubt_delay(plan, runs) <= plan.doubt_delay_max


@given(plans, pasts, moments)
def test_a_run_that_lacked_an_answer_is_repeated_after_a_delay_and_not_sooner(
    plan: Plan, past: Past, now: datetime
) -> None:
    past = replace(past, line_is_whole=True, asked="", full_at=now, failures=max(past.failures, 1))
    due = next_run(plan, past, now)
    assert due is not None
    assert (due.kind, due.trigger) == ("full", "retry")
    assert due.at >= now + plan.retry_delays[0]


@settings(max_examples=40)
@given(plans, st.integers(0, 6), st.lists(st.integers(0, 1000), min_size=7, max_size=7))
def test_over_a_week_every_day_ends_with_a_run_and_no_run_is_wasted(
    plan: Plan, day: int, jitters: list[int]
) -> None:
    """Play seven days with a line that is always whole, each run taking a second."""
    now = BASE + timedelta(days=day)
    end = now + timedelta(days=7)
    past = Past(line_is_whole=True, full_at=now, whole_at=now, jitter=jitters[0])
    plan = replace(plan, interval=None, quick_interval=None, midnight_lead=5 * MINUTE)
    runs: list[Due] = []
    while (due := next_run(plan, past, now)) is not None and due.at < end:
        runs.append(due)
        now = due.at + timedelta(seconds=1)
        jitter = jitters[len(runs) % 7]
        past = replace(past, full_at=now, whole_at=due.at, jitter=jitter)
    before = [due.at for due in runs if due.trigger == "midnight"]
    for number in range(1, 7):
        local = (BASE + timedelta(days=day + number)).astimezone(plan.zone)
        midnight = local.replace(hour=0, minute=0, second=0, microsecond=0)
        # A reset of this test is an hour and a half at most, four on Fridays.
        assert [at for at in before if midnight - timedelta(hours=4) < at < midnight], midnight
    resets = sum(due.trigger == "after_reset" for due in runs)
    assert len(before) <= 8
    assert resets <= 7 * len(plan.resets)
    assert len(runs) == len(before) + resets


def test_the_run_before_midnight_moves_before_a_reset_that_lies_over_midnight() -> None:
    plan = Plan(
        interval=None,
        quick_interval=None,
        zone=NEW_YORK,
        midnight_lead=5 * MINUTE,
        resets=windows_of("none", ("Sun-Sat 23:45-00:45 America/New_York",)),
        retry_delays=(MINUTE,),
        doubt_delay=MINUTE,
        doubt_delay_max=MINUTE,
    )
    morning = datetime(2026, 11, 23, 9, tzinfo=NEW_YORK).astimezone(UTC)
    past = Past(line_is_whole=True, full_at=morning, whole_at=morning, jitter=0)
    due = next_run(plan, past, morning)
    assert due == Due(
        datetime(2026, 11, 23, 23, 40, tzinfo=NEW_YORK).astimezone(UTC), "full", "midnight"
    )
