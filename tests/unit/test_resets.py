"""The hours of IB's resets."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from typing import get_args
from zoneinfo import ZoneInfo

import pytest

from oms.core.resets import (
    REGIONS,
    Region,
    end_of_reset,
    next_end_of_reset,
    parse_window,
    start_of_reset,
    windows_of,
)

AMERICA = windows_of("north_america")


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


@pytest.mark.parametrize(
    ("moment", "start", "end"),
    [
        ("2026-11-23T00:14:59-05:00", None, None),
        ("2026-11-23T00:15:00-05:00", "2026-11-23T00:15-05:00", "2026-11-23T01:45-05:00"),
        ("2026-11-23T01:44:59-05:00", "2026-11-23T00:15-05:00", "2026-11-23T01:45-05:00"),
        ("2026-11-23T01:45:00-05:00", None, None),
        # The weekend's begins on Friday evening and lasts into Saturday, which has none of its own.
        ("2026-11-28T02:59:00-05:00", "2026-11-27T23:00-05:00", "2026-11-28T03:00-05:00"),
        ("2026-11-29T00:20:00-05:00", "2026-11-29T00:15-05:00", "2026-11-29T01:45-05:00"),
        ("2026-07-01T00:30:00-04:00", "2026-07-01T00:15-04:00", "2026-07-01T01:45-04:00"),
    ],
)
def test_a_moment_is_inside_a_reset_or_not(moment: str, start: str | None, end: str | None) -> None:
    expected = (at(start) if start else None, at(end) if end else None)
    assert (start_of_reset(AMERICA, at(moment)), end_of_reset(AMERICA, at(moment))) == expected


def test_windows_that_touch_or_overlap_are_one_reset() -> None:
    windows = windows_of(
        "none", ("Mon 22:00-23:30 UTC", "Mon 23:30-00:30 UTC", "Tue 00:10-01:00 UTC")
    )
    middle = at("2026-11-23T23:30+00:00")
    assert start_of_reset(windows, middle) == at("2026-11-23T22:00+00:00")
    assert end_of_reset(windows, middle) == at("2026-11-24T01:00+00:00")


def test_the_next_end_is_that_of_the_reset_under_way_or_the_one_to_come() -> None:
    assert next_end_of_reset(AMERICA, at("2026-11-23T00:30-05:00")) == at("2026-11-23T01:45-05:00")
    assert next_end_of_reset(AMERICA, at("2026-11-23T01:45-05:00")) == at("2026-11-24T01:45-05:00")
    weekly = windows_of("none", ("Wed 10:00-11:00 UTC",))
    assert next_end_of_reset(weekly, at("2026-11-25T11:00+00:00")) == at("2026-12-02T11:00+00:00")
    assert next_end_of_reset((), at("2026-11-25T11:00+00:00")) is None


def test_a_reset_that_clocks_jump_over_lasts_as_long_as_it_lasts() -> None:
    """On the night of summer time 02:00-03:00 does not exist: 23:00 to 03:00 is three hours."""
    spring = windows_of("none", ("Sat 23:00-03:00 America/New_York",))
    start = at("2026-03-07T23:00-05:00")
    assert end_of_reset(spring, start) == start + timedelta(hours=3)


@pytest.mark.parametrize(
    ("zone", "spring", "autumn"),
    [
        ("America/New_York", "2026-03-08", "2026-11-01"),
        ("Europe/Zurich", "2026-03-29", "2026-10-25"),
    ],
)
@pytest.mark.parametrize("hours", ["01:15-01:45", "02:15-02:45", "01:15-02:45", "02:45-03:15"])
def test_a_reset_in_the_hour_that_a_change_of_clocks_takes_or_repeats_is_one(
    zone: str, spring: str, autumn: str, hours: str
) -> None:
    windows = windows_of("none", (f"Sun {hours} {zone}",))
    for day in (spring, autumn):
        noon = datetime.fromisoformat(f"{day}T12:00").replace(tzinfo=ZoneInfo(zone))
        minutes = [noon - timedelta(hours=12) + timedelta(minutes=n) for n in range(720)]
        inside = [m for m in minutes if end_of_reset(windows, m.astimezone(UTC)) is not None]
        start, end = (time.fromisoformat(text) for text in hours.split("-"))
        # Whoever reads the named hours off a clock on the wall there is in the reset.
        read = [m.astimezone(UTC).astimezone(ZoneInfo(zone)) for m in minutes]
        named = [m for m, r in zip(minutes, read, strict=True) if start <= r.time() < end]
        assert set(named) <= set(inside)
        assert inside


@pytest.mark.parametrize("region", get_args(Region))
def test_every_region_has_windows_that_can_be_read(region: Region) -> None:
    assert len(windows_of(region)) == len(REGIONS[region])


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("00:15-01:45 America/New_York", "is not like"),
        ("Sun-Fry 00:15-01:45 UTC", "'Fry' is none of Mon, Tue"),
        ("Sun-Fri 00:15-25:45 UTC", "hour must be in"),
        ("Sun-Fri 00:15-01:45 New_York", "New_York"),
    ],
)
def test_a_window_that_cannot_be_read_is_refused_with_its_text(text: str, wrong: str) -> None:
    with pytest.raises(ValueError, match=wrong) as caught:
        parse_window(text)
    assert text in str(caught.value)


def test_windows_that_cover_the_whole_week_are_over_after_a_week() -> None:
    windows = windows_of("none", ("Mon-Sun 00:00-00:00 UTC",))
    middle = at("2026-11-25T11:30+00:00")
    assert end_of_reset(windows, middle) == middle + timedelta(days=7)
    assert start_of_reset(windows, middle) == middle - timedelta(days=7)
