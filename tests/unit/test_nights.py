"""Nights with a reset, a change of the clocks, a midnight, and a clock that somebody set.

The whole of it in one process, with a clock that the test moves: the line is lost for as long as
IB's reset lasts, and the schedule and the watchman say every half minute what they make of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from oms.clock import ManualClock, SteadyClock
from oms.core.fold.records import SystemRecord
from oms.core.resets import REGIONS, Region, windows_of
from oms.core.schedule import Plan
from oms.core.watch import Clocks, Tolerances, conditions
from tests.unit.test_schedule import Runs, schedule_of

TICK = timedelta(seconds=30)
PATIENCE = timedelta(seconds=120)
LEAD = timedelta(minutes=10)


@dataclass(frozen=True)
class Night:
    """A reset of IB, as a clock on the wall in its zone shows it."""

    region: Region
    begins: str
    lasts: timedelta
    zone: str

    @property
    def begins_at(self) -> datetime:
        """Return when it begins, in UTC."""
        local = datetime.fromisoformat(self.begins).replace(tzinfo=ZoneInfo(self.zone))
        return local.astimezone(UTC)


NEW_YORK, ZURICH, HONG_KONG = "America/New_York", "Europe/Zurich", "Asia/Hong_Kong"
AN_EVENING = timedelta(hours=4)
NIGHTS = {
    "North America": Night("north_america", "2026-11-24T00:15", timedelta(minutes=90), NEW_YORK),
    "Europe": Night("europe", "2026-11-24T06:25", timedelta(minutes=80), ZURICH),
    "Asia in the morning": Night(
        "asia_pacific", "2026-11-24T04:45", timedelta(minutes=80), HONG_KONG
    ),
    "Asia in the evening": Night(
        "asia_pacific", "2026-11-24T20:15", timedelta(minutes=60), HONG_KONG
    ),
    "the weekend, seen from America": Night(
        "north_america", "2026-11-27T23:00", AN_EVENING, NEW_YORK
    ),
    "the weekend, seen from Europe": Night("europe", "2026-11-28T05:00", AN_EVENING, ZURICH),
    "the weekend, seen from Asia": Night("asia_pacific", "2026-11-28T12:00", AN_EVENING, HONG_KONG),
    # Two o'clock becomes three: the weekend before has ended, the Sunday's own reset is before it.
    "spring in New York": Night(
        "north_america", "2026-03-08T00:15", timedelta(minutes=90), NEW_YORK
    ),
    # Two o'clock becomes one: 01:45 comes twice, and the second one counts.
    "autumn in New York": Night(
        "north_america", "2026-11-01T00:15", timedelta(minutes=150), NEW_YORK
    ),
    "spring in Zurich": Night("europe", "2026-03-29T06:25", timedelta(minutes=80), ZURICH),
    "autumn in Zurich": Night("europe", "2026-10-25T06:25", timedelta(minutes=80), ZURICH),
    # America and Europe change on different days: the weekend's reset is at four in Zurich then.
    "a weekend between the two springs": Night("europe", "2026-03-14T04:00", AN_EVENING, ZURICH),
}


@dataclass
class World:
    """A daemon's clock, its schedule, and what the watchman knows of the line."""

    night: Night
    #: How far the clock on the wall is wrong until it is set right.
    wrong_by: timedelta
    runs: Runs = field(default_factory=Runs)
    asked: list[tuple[datetime, str]] = field(default_factory=list)
    alarms: list[tuple[datetime, str]] = field(default_factory=list)
    system: SystemRecord = field(default_factory=lambda: SystemRecord(ready=True))

    def __post_init__(self) -> None:
        begin = self.night.begins_at - timedelta(hours=2)
        self.true = begin
        self.runs.clock = ManualClock(begin + self.wrong_by)
        self.steady = SteadyClock(self.runs.clock)
        resets = windows_of(self.night.region)
        self.tolerances = Tolerances(
            *(None, None, (), False, None, PATIENCE, PATIENCE, None), resets=resets
        )
        plan = Plan(
            interval=timedelta(minutes=15),
            quick_interval=None,
            zone=ZoneInfo(self.night.zone),
            midnight_lead=LEAD,
            resets=resets,
            retry_delays=(timedelta(seconds=2),),
            doubt_delay=timedelta(seconds=10),
            doubt_delay_max=timedelta(seconds=30),
        )
        self.schedule = schedule_of(self.runs, plan, self.steady)
        self.schedule._past = replace(
            self.schedule._past, full_at=self.steady.now(), whole_at=self.steady.now()
        )

    def set_right(self) -> None:
        """Set the clock on the wall, as a person or NTP does."""
        self.runs.clock.step(-self.wrong_by.total_seconds())

    async def pass_until(self, end: datetime) -> None:
        """Let the time pass, tick by tick, and note what is asked and what is raised."""
        while self.true < end:
            due = self.schedule.next()
            while due is not None and due.at <= self.runs.clock.wall():
                self.asked.append((self.true, due.trigger))
                await self.schedule._run(due)
                due = self.schedule.next()
            now = self.steady.now()
            found = conditions(
                now,
                self.system,
                (),
                (),
                self.tolerances,
                clocks=Clocks(self.runs.clock.wall() - now),
            )
            self.alarms += [(self.true, one.kind) for one in found.values()]
            self.runs.clock.advance(TICK.total_seconds())
            self.true += TICK

    def lose_the_line(self) -> None:
        """Have IB go away."""
        self.runs.session.gap_is_open = True
        self.system = self.system.evolve(
            ready=False, gap_sequence=7, gap_cause="1100", gap_opened_at=self.steady.now()
        )

    def find_the_line(self) -> None:
        """Have IB come back, and the books compared, as a line that is restored asks for."""
        self.runs.session.gap_is_open = False
        self.system = SystemRecord(ready=True)
        self.schedule.ask("1102")

    def asked_between(self, begin: datetime, end: datetime) -> Iterator[str]:
        """Yield what was asked between two moments, the first one included."""
        return (trigger for at, trigger in self.asked if begin <= at < end)


STEPS = [timedelta(), timedelta(hours=1), timedelta(hours=-1)]


@pytest.mark.parametrize("wrong_by", STEPS, ids=str)
@pytest.mark.parametrize("name", NIGHTS)
async def test_a_reset_is_expected_and_what_lasts_longer_is_told(
    name: str, wrong_by: timedelta
) -> None:
    """The clock was wrong, and is set right before the reset: its hours are those on the wall."""
    night = NIGHTS[name]
    begins, ends = night.begins_at, night.begins_at + night.lasts
    world = World(night, wrong_by)
    await world.pass_until(begins - timedelta(minutes=5))
    world.set_right()
    await world.pass_until(begins + timedelta(minutes=1))
    world.lose_the_line()
    await world.pass_until(ends + PATIENCE - TICK)
    assert world.alarms == []
    assert list(world.asked_between(begins, ends)) == []
    await world.pass_until(ends + PATIENCE + timedelta(minutes=1))
    assert {kind for _, kind in world.alarms} == {"outage"}
    # By the log's time, which comes nearer to the wall by a tenth at most.
    assert world.alarms[0][0] - ends - PATIENCE <= 2 * TICK
    world.find_the_line()
    await world.pass_until(ends + PATIENCE + timedelta(minutes=2))
    assert list(world.asked_between(ends, ends + timedelta(hours=1))) == ["1102"]


@pytest.mark.parametrize("wrong_by", STEPS, ids=str)
@pytest.mark.parametrize("name", NIGHTS)
async def test_after_a_reset_the_books_are_compared_and_nothing_is_asked_in_it(
    name: str, wrong_by: timedelta
) -> None:
    """A line that holds all night: what was settled in the reset is found right after it."""
    night = NIGHTS[name]
    begins, ends = night.begins_at, night.begins_at + night.lasts
    world = World(night, wrong_by)
    await world.pass_until(begins - timedelta(minutes=5))
    world.set_right()
    await world.pass_until(ends + timedelta(minutes=2))
    assert list(world.asked_between(begins + TICK, ends)) == []
    after = list(world.asked_between(ends, ends + timedelta(minutes=2)))
    assert after in (["after_reset"], ["schedule"])


@pytest.mark.parametrize("wrong_by", STEPS, ids=str)
@pytest.mark.parametrize("zone", [NEW_YORK, ZURICH, HONG_KONG])
@pytest.mark.parametrize("day", ["2026-03-08", "2026-03-29", "2026-10-25", "2026-11-01"])
async def test_the_days_executions_are_asked_for_before_its_midnight(
    zone: str, day: str, wrong_by: timedelta
) -> None:
    """Days of 23 and 25 hours end at midnight as well."""
    noon = datetime.fromisoformat(f"{day}T12:00").replace(tzinfo=ZoneInfo(zone))
    midnight = (noon + timedelta(days=1)).replace(hour=0).astimezone(UTC)
    world = World(Night("none", f"{day}T23:00", timedelta(), zone), wrong_by)
    await world.pass_until(midnight - timedelta(minutes=30))
    world.set_right()
    await world.pass_until(midnight)
    # By whatever run: all of the day but its last minutes has been asked for.
    assert list(world.asked_between(midnight - LEAD * 1.2, midnight)) != []


def test_every_region_that_the_program_knows_has_its_nights() -> None:
    assert {night.region for night in NIGHTS.values()} == set(REGIONS) - {"none"}
