"""What is remembered of times that cannot be right, and what becomes of fills without one."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from oms.core.events import ClockStepped, Context, Envelope, ExecutionReceived
from oms.core.fold.apply import apply
from oms.core.fold.records import SystemRecord
from tests.lives import Life, play, working
from tests.statements import reconcile

HOUR = timedelta(hours=1)


def after_a_fill(
    life: Life, offset: timedelta | None, *, fetched: bool = False, text: str = "some time"
) -> SystemRecord:
    """The state of the whole after a fill whose time lies so far from the moment it came."""
    life.play("fill 40 @ 10 exec=seen.1.01 fetched=yes")
    shown = life.envelopes[-1].event
    assert isinstance(shown, ExecutionReceived)
    now = life.at + timedelta(seconds=1)
    execution = shown.evolve(exec_id="x.1.01", time_text=text, fetched=fetched)
    context = Context("broker", life.epoch, occurred_at=None if offset is None else now + offset)
    apply(life.books, Envelope(life.books.sequence + 1, execution, context, now))
    return life.system


@pytest.mark.parametrize(
    ("offset", "minutes"),
    [
        (timedelta(seconds=-2), 0),
        (timedelta(minutes=9), 0),  # a clock that is off has an alarm of its own
        (timedelta(minutes=11), 15),  # nothing happens in the future
        (8 * HOUR, 480),
        (-5 * HOUR - timedelta(seconds=3), -300),
        (-5.5 * HOUR, -330),
        (-HOUR - timedelta(minutes=10), 0),  # late, and by no zone's distance
    ],
)
def test_a_fill_that_comes_hours_from_its_time_is_remembered(
    offset: timedelta, minutes: int
) -> None:
    system = after_a_fill(working(), offset, text="20260105  22:30:00")
    found = (system.strange_time, system.strange_time_offset_minutes)
    assert found == (("20260105  22:30:00", minutes) if minutes else ("", 0))


@pytest.mark.parametrize("step", [HOUR, -HOUR, 24 * HOUR])
def test_a_clock_that_was_set_is_no_wrong_zone(step: timedelta) -> None:
    """IB's time is that of the clock or of the log, whichever is right; the log nears the clock."""
    stepped = ClockStepped(
        step_ms=step // timedelta(milliseconds=1),
        offset_ms=step // timedelta(milliseconds=1),
        at_start=False,
    )
    nearer = step - step / abs(step) * timedelta(minutes=10)
    for passed, offset in ((0, step), (0, timedelta()), (6_000, nearer)):
        life = working()
        life.apply(stepped)
        life.wait(passed)
        assert after_a_fill(life, offset).strange_time == ""
    assert after_a_fill(working(), -5 * HOUR).strange_time


def test_what_was_asked_for_or_happened_in_a_gap_may_be_hours_old() -> None:
    assert after_a_fill(working(), -5 * HOUR, fetched=True).strange_time == ""
    life = working()
    life.books.put(life.system.evolve(gap_closed_at=life.at))
    assert after_a_fill(life, -5 * HOUR).strange_time == ""


def test_a_time_that_cannot_be_read_is_remembered_until_the_next_session() -> None:
    life = working()
    assert after_a_fill(life, None, text="20260105 22:30:00 XYZT").unread_time.endswith("XYZT")
    life.play("lost\nsession")
    assert (life.system.unread_time, life.system.unread_time_at) == ("", None)


@pytest.mark.parametrize("days", [0, 1])
def test_a_fill_without_a_time_is_missed_while_ib_must_still_name_it(days: int) -> None:
    life = working("fill 40 @ 10 exec=x.1.01\nstatus Submitted 40")
    life.books.put(life.system.evolve(opened_accounts=("DU1", "DU2")))
    (fill,) = life.fills()
    life.books.put(fill.evolve(occurred_at=None, time_text="20260105 22:30:00 XYZT"))
    run = reconcile(
        life.wait(5),
        open_orders="open Submitted\nstatus Submitted 40",
        positions="position 40 10",
        reaches={"executions": life.at - HOUR + timedelta(days=days)},
    )
    assert run.breaks == ({} if days else {"extra_fill:DU1:x.1": "high"})
    if not days:
        assert "'20260105 22:30:00 XYZT' cannot be read" in run.finding("extra_fill:DU1:x.1").text


def test_the_log_of_an_older_version_has_fills_of_which_nobody_knows_when_they_came() -> None:
    (fill,) = play("M: fill 40 @ 10 exec=m.1.01 client=0 id=0 ref=").fills()
    assert fill.evolve(occurred_at=None).happened_by == fill.booked_at
    assert fill.evolve(occurred_at=None, booked_at=None).happened_by is None
    assert isinstance(fill.happened_by, datetime)
