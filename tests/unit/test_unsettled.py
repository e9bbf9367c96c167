"""What a check that asks less than a full run has to call one for."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from oms.core.compare.cases import break_id_of, unsettled
from oms.core.compare.findings import MOVED, Thing
from oms.core.events import Finding
from oms.core.fold.records import BreakCase

NOT_ASKED = "executions were not answered whole, so the difference has no explanation"


def position(theirs: str, ours: str = "10", name: str = "DU1:1") -> Thing:
    return Thing(subject="position", name=name, account="DU1", con_id=1, ours=ours, theirs=theirs)


def open_case(finding: Finding) -> dict[str, BreakCase]:
    case = BreakCase(
        break_id=break_id_of(finding),
        finding=finding,
        status="open",
        opened_at=datetime(2026, 1, 5, tzinfo=UTC),
        opened_sequence=1,
        updated_at=datetime(2026, 1, 5, tzinfo=UTC),
    )
    return {case.break_id: case}


BROKEN = position("15").broken("quantity_drift", "high", "5 came without an execution")


def test_a_difference_of_an_open_case_needs_no_second_judgement() -> None:
    assert unsettled(open_case(BROKEN), [position("15").unknown(NOT_ASKED)]) == []


@pytest.mark.parametrize(
    "found",
    [position("20"), position("15", ours="12"), position("15", name="DU1:2")],
    ids=["theirs", "ours", "another"],
)
def test_a_difference_whose_values_changed_is_news(found: Thing) -> None:
    news = [found.unknown(NOT_ASKED)]
    assert unsettled(open_case(BROKEN), news) == news


def test_a_closed_case_says_nothing_of_a_difference() -> None:
    (case,) = open_case(BROKEN).values()
    news = [position("15").unknown(NOT_ASKED)]
    assert unsettled({case.break_id: case.evolve(status="closed")}, news) == news


def test_what_a_full_run_could_not_find_out_is_known_until_it_changes() -> None:
    reported = [position("15").unknown("a setting of the gateway leaves it out")]
    assert unsettled({}, [position("15").unknown(NOT_ASKED)], reported) == []
    assert unsettled({}, [position("16").unknown(NOT_ASKED)], reported) != []


def test_what_moved_in_a_full_run_is_looked_at_again() -> None:
    news = [position("15").unknown(NOT_ASKED)]
    assert unsettled({}, news, [position("15").unknown(MOVED)]) == news


def test_a_new_break_is_news_whatever_a_full_run_could_not_find_out() -> None:
    assert unsettled({}, [BROKEN], [position("15").unknown("not known")]) == [BROKEN]
