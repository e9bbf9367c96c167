"""The days of a statement: what of ours lies in them, at their edge, and after them."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest

from oms.core.compare.statement_days import StatementDays
from oms.core.compare.statement_rows import Heading
from oms.core.fold.records import Fill, Position
from tests.lives import working

DAYS = StatementDays(Heading("DU1", date(2026, 3, 9), date(2026, 3, 10), ""), UTC)


def fill(at: datetime | None, quantity: int = 100) -> Fill:
    life = working(f"fill {quantity} @ 10 exec=x.1.01")
    (found,) = life.books.all(Fill)
    return found.evolve(occurred_at=at)


@pytest.mark.parametrize(
    ("at", "where"),
    [
        # Monday's statement may have what was dealt since Friday evening.
        (datetime(2026, 3, 6, 16, 59, tzinfo=UTC), "beside"),
        (datetime(2026, 3, 6, 17, tzinfo=UTC), "edge"),
        (datetime(2026, 3, 7, 12, tzinfo=UTC), "edge"),
        (datetime(2026, 3, 8, 16, 59, tzinfo=UTC), "edge"),
        (datetime(2026, 3, 9, tzinfo=UTC), "inside"),
        (datetime(2026, 3, 10, 16, 59, tzinfo=UTC), "inside"),
        (datetime(2026, 3, 10, 17, tzinfo=UTC), "edge"),
        (datetime(2026, 3, 11, tzinfo=UTC), "beside"),
        (None, "edge"),
    ],
)
def test_fill_belongs_to_the_days_by_when_ib_books_it(at: datetime | None, where: str) -> None:
    one = fill(at)
    inside, edge = DAYS.inside_and_edge([one])
    assert {"inside": inside, "edge": edge}.get(where, [one]) == [one]
    assert len(inside) + len(edge) == (where != "beside")


@pytest.mark.parametrize(
    ("at", "held", "late"),
    [
        (datetime(2026, 3, 10, 16, tzinfo=UTC), 100, 0),
        (datetime(2026, 3, 10, 18, tzinfo=UTC), 100, 100),
        (datetime(2026, 3, 11, tzinfo=UTC), 0, 0),
    ],
)
def test_position_is_taken_back_to_the_end_of_the_last_day(
    at: datetime, held: int, late: int
) -> None:
    one = fill(at)
    position = Position(account="DU1", contract=one.contract, quantity=Decimal(100))
    assert DAYS.held([position], [one]) == [(position, Decimal(held), Decimal(late))]


def test_what_a_statement_names_is_in_its_positions_however_late_it_was_dealt() -> None:
    one = fill(datetime(2026, 3, 10, 18, tzinfo=UTC))
    position = Position(account="DU1", contract=one.contract, quantity=Decimal(100))
    (named,) = DAYS.held([position], [one], {one.key: date(2026, 3, 10)})
    assert named == (position, Decimal(100), Decimal(0))
    (later,) = DAYS.held([position], [one], {one.key: date(2026, 3, 11)})
    assert later == (position, Decimal(100), Decimal(100))


@pytest.mark.parametrize(
    ("sec_type", "at", "is_inside"),
    [
        ("STK", datetime(2026, 3, 10, 16, 45, tzinfo=UTC), True),
        ("FUT", datetime(2026, 3, 10, 16, 45, tzinfo=UTC), False),
        # Presidents' Day, Good Friday, and the Friday on which Independence Day is kept.
        ("FUT", datetime(2026, 2, 16, 11, tzinfo=UTC), False),
        ("FUT", datetime(2026, 4, 3, 11, tzinfo=UTC), False),
        ("FUT", datetime(2026, 7, 3, 11, tzinfo=UTC), False),
        ("FUT", datetime(2026, 2, 17, 11, tzinfo=UTC), True),
    ],
)
def test_a_session_on_a_holiday_may_count_for_the_day_after(
    sec_type: str, at: datetime, is_inside: bool
) -> None:
    days = StatementDays(Heading("DU1", at.date(), at.date(), ""), UTC)
    one = fill(at)
    one = one.evolve(contract=one.contract.evolve(sec_type=sec_type))
    assert days.inside_and_edge([one]) == (([one], []) if is_inside else ([], [one]))


def test_days_before_the_log_are_unknown() -> None:
    found = DAYS.before_the_log(DAYS.end)
    assert found is not None
    assert (found.result, found.key) == ("unknown", "statement_days:DU1:2026-03-09")
    assert DAYS.before_the_log(DAYS.end - timedelta(seconds=1)) is None
