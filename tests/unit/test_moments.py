"""Moments as people write them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from oms.errors import InvalidRequest
from oms.history.moments import Calendar, moment_of, span_of

#: A Sunday afternoon in Europe.
NOW = Calendar("UTC", datetime(2026, 11, 29, 15, tzinfo=UTC))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("2026-06-01T14:03Z", "2026-06-01T14:03"),
        ("2026-06-01T14:03:05.25z", "2026-06-01T14:03:05.250000"),
        ("20260601T140305Z", "2026-06-01T14:03:05"),
        ("2026-06-01T16:03+02:00", "2026-06-01T14:03"),
        ("2026-06-01 16:03 +0200", "2026-06-01T14:03"),
        ("  2026-06-01   16:03 europe/berlin ", "2026-06-01T14:03"),
        ("2026-06-01 10:03 New York", "2026-06-01T14:03"),
        ("2026-06-01", "2026-06-01T00:00"),
        ("2026-06-01 America/New_York", "2026-06-01T04:00"),
        ("2026-06", "2026-06-01T00:00"),
        ("2026-12 Berlin", "2026-11-30T23:00"),
        ("June 2026", "2026-06-01T00:00"),
        ("jun 2026 tokyo", "2026-05-31T15:00"),
        # Of a name alone the last one that has begun.
        ("june", "2026-06-01T00:00"),
        ("november", "2026-11-01T00:00"),
        ("december", "2025-12-01T00:00"),
        ("monday", "2026-11-23T00:00"),
        ("sunday", "2026-11-29T00:00"),
        ("Monday 09:30 New York", "2026-11-23T14:30"),
        ("today", "2026-11-29T00:00"),
        # In Tokyo it is Monday already.
        ("today Tokyo", "2026-11-29T15:00"),
        ("today 14:03Z", "2026-11-29T14:03"),
        ("yesterday 9:30 New York", "2026-11-28T14:30"),
        ("14:03 New York", "2026-11-29T19:03"),
        # A midnight that the clocks skipped: the day begins with what they showed instead.
        ("2026-03-08 America/Havana", "2026-03-08T05:00"),
    ],
)
def test_moment_is_read_as_people_write_it(text: str, found: str) -> None:
    assert moment_of(text, NOW) == datetime.fromisoformat(found).replace(tzinfo=UTC)


@pytest.mark.parametrize(("text", "sequence"), [("0", 0), ("1042", 1042), ("20260601", 20260601)])
def test_whole_number_is_a_sequence(text: str, sequence: int) -> None:
    assert moment_of(text, NOW) == sequence


@pytest.mark.parametrize(
    ("text", "said", "hint"),
    [
        ("2026-06-01 14:03", "has no time zone", "or say it with --zone"),
        ("14:03", "has no time zone", "New York"),
        ("today 14:03", "has no time zone", "end it with Z"),
        ("2026-06-01T14:03Z Berlin", "names two zones", "leave one"),
        ("2026-06 14:03Z", "a time of a whole month", "name the day"),
        ("25:00Z", "hour must be in 0..23", "2026-06-01T14:03Z"),
        ("2026-02-30", "there is no day 2026-02-30", "2026-06 or 'June 2026'"),
        ("2026-13", "there is no month 2026-13", "a month"),
        ("9999-12", "there is no month 9999-12", "a month"),
        ("0000-01", "there is no month 0000-01", "a month"),
        ("soon", "'soon' is no moment", "yesterday, monday"),
        ("New York", "is no moment", "'today 14:03 New York'"),
        ("", "is no moment", "2026-06-01 (a day)"),
        ("2026-06-01 berln", "no time zone is called 'berln'", "did you mean Europe/Berlin"),
        ("2026-06-01 Eastern", "names several time zones", "Canada/Eastern or US/Eastern"),
        ("2026-06-01 ../x", "no time zone is called", "New York"),
        ("2026-06-01Z", "is a day with Z and no time", "2026-06-01T00:00Z"),
        ("2026-10-25 02:30 Berlin", "was there twice", "with its offset"),
        ("2026-03-29 02:30 Berlin", "does not exist", "with its offset"),
        ("9" * 20, "too large", ""),
        ("0001-01-01", "from 1900 to 2200", ""),
    ],
)
def test_what_is_no_moment_is_refused_with_examples(text: str, said: str, hint: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        moment_of(text, NOW)
    assert said in refused.value.message
    assert hint in (refused.value.hint or "")


def test_time_without_a_zone_is_in_the_zone_that_the_question_names() -> None:
    said = Calendar("Europe/Berlin", NOW.now, is_said=True)
    assert moment_of("today 14:03", said) == datetime(2026, 11, 29, 13, 3, tzinfo=UTC)
    # A zone of its own comes first.
    assert moment_of("today 14:03Z", said) == datetime(2026, 11, 29, 14, 3, tzinfo=UTC)


def test_zone_that_is_not_known_is_refused_whatever_is_asked() -> None:
    with pytest.raises(InvalidRequest, match="no time zone is called 'Mars'"):
        Calendar("Mars")


@pytest.mark.parametrize(
    ("text", "begin", "end"),
    [
        ("2026-06", "2026-06-01T00:00", "2026-07-01T00:00"),
        ("december 2026", "2026-12-01T00:00", "2027-01-01T00:00"),
        ("yesterday", "2026-11-28T00:00", "2026-11-29T00:00"),
        # The day has 25 hours.
        ("2026-10-25 Europe/Berlin", "2026-10-24T22:00", "2026-10-25T23:00"),
    ],
)
def test_day_and_month_last_until_the_next_one(text: str, begin: str, end: str) -> None:
    found = [one.replace(tzinfo=None).isoformat(timespec="minutes") for one in span_of(text, NOW)]
    assert found == [begin, end]


@pytest.mark.parametrize("text", ["7", "today 14:03Z", "14:03 Berlin", "soon", ""])
def test_what_is_no_day_and_no_month_has_no_length(text: str) -> None:
    with pytest.raises(InvalidRequest, match="no day and no month"):
        span_of(text, NOW)
