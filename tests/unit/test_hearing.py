"""When a session that is alive counts as deaf: questions about orders that bring no answer."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast, get_args

import pytest

from oms.core.events import (
    Envelope,
    Event,
    Outcome,
    QueryAnswered,
    QueryKind,
    Question,
    SessionOpened,
)
from oms.service.hearing import ABOUT_ORDERS, UNANSWERED_MAX, Hearing
from tests.stored_events import example_of

NOON = datetime(2026, 11, 27, 12, tzinfo=UTC)
KINDS: tuple[QueryKind, ...] = get_args(QueryKind)
UNHEARD: tuple[Outcome, ...] = tuple(o for o in get_args(Outcome) if o != "complete")


class Line:
    """A session that counts how often it was given up."""

    def __init__(self, ready: bool = True) -> None:
        self.left = 0
        view = SimpleNamespace(system=SimpleNamespace(ready=ready))
        self.hearing = Hearing(cast(Any, view), cast(Any, self))

    def leave_unanswered(self) -> None:
        self.left += 1

    def hear(self, *events: Event) -> None:
        self.hearing.note(cast(Envelope, SimpleNamespace(event=event)) for event in events)


def ended(kind: QueryKind, outcome: Outcome) -> QueryAnswered:
    question = Question(
        query_id="q", kind=kind, outcome=outcome, asked_at=NOON, asked_sequence=1, answered_at=NOON
    )
    return QueryAnswered(run_id="R1", question=question)


@pytest.mark.parametrize("outcome", UNHEARD)
@pytest.mark.parametrize("kind", KINDS)
def test_questions_about_orders_must_be_answered_and_the_others_may_stay_unknown(
    kind: QueryKind, outcome: Outcome
) -> None:
    """A refusal is no answer either; what is held and owned is only listed as unknown."""
    line = Line()
    line.hear(*[ended(kind, outcome)] * (UNANSWERED_MAX - 1))
    assert line.left == 0
    line.hear(ended(kind, outcome))
    assert line.left == (kind in ABOUT_ORDERS)


def test_everything_unknown_is_deaf_however_the_outcomes_alternate() -> None:
    line = Line()
    for outcome in ("refused", "timed_out", "partial"):
        line.hear(*(ended(kind, cast(Outcome, outcome)) for kind in KINDS))
    assert line.left > 0


def test_an_answer_between_them_is_hearing() -> None:
    line = Line()
    for _ in range(3):
        line.hear(*[ended("executions", "timed_out")] * (UNANSWERED_MAX - 1))
        line.hear(ended("executions", "complete"))
    assert line.left == 0


def test_a_new_session_begins_without_a_history() -> None:
    line = Line()
    line.hear(*[ended("executions", "timed_out")] * (UNANSWERED_MAX - 1))
    line.hear(example_of(SessionOpened, whole=False))
    line.hear(*[ended("executions", "timed_out")] * (UNANSWERED_MAX - 1))
    assert line.left == 0


def test_a_session_whose_gate_is_shut_already_is_not_left_again() -> None:
    line = Line(ready=False)
    line.hear(*[ended("open_orders", "timed_out")] * 10)
    assert line.left == 0
