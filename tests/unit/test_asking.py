"""What is asked again in a run, and what is not."""

from __future__ import annotations

import pytest

from oms.core.compare.asking import QUESTIONS, to_ask_again
from oms.core.compare.cases import break_id_of
from oms.core.compare.findings import MOVED, Thing
from oms.core.compare.matches import Subject

ORDER = Thing(subject="order", name="A")
LOST = ORDER.broken("lost_order", "high", "gone")


@pytest.mark.parametrize(
    ("subject", "asked"),
    [
        ("order", ("open_orders", "completed_orders", "executions")),
        ("position", ("executions", "positions")),
        ("cash", ("executions", "positions", "account_summary")),
        ("question", ()),
    ],
)
def test_what_moved_is_asked_again_with_what_explains_it(
    subject: Subject, asked: tuple[str, ...]
) -> None:
    moved = Thing(subject=subject, name="A").unknown(MOVED)
    assert to_ask_again([moved], (), first=False) == asked
    assert set(asked) <= set(QUESTIONS)


def test_new_break_is_asked_about_once() -> None:
    assert to_ask_again([LOST], (), first=True) == ("open_orders", "completed_orders", "executions")
    assert to_ask_again([LOST], (), first=False) == ()


def test_known_case_and_foreign_order_are_not_asked_about_again() -> None:
    foreign = ORDER.broken("unknown_order", "medium", "by hand")
    assert to_ask_again([LOST, foreign], {break_id_of(LOST)}, first=True) == ()


def test_what_is_unknown_for_another_reason_and_what_matches_need_no_answer() -> None:
    assert to_ask_again([ORDER.unknown("not answered"), ORDER.matched()], (), first=True) == ()
