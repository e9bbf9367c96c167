"""What a run writes before it compares: openings, resolved doubts, and nothing twice."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest

from oms.core.events import DoubtResolved, OpeningPositionRecorded
from oms.core.fold.records import OrderState
from tests.lives import START, Life, play, working
from tests.statements import Run, reconcile

LATER = START + timedelta(hours=12)


def openings(run: Run) -> list[tuple[int, Decimal, Decimal]]:
    """Return contract, quantity and cost of every opening that a run recorded."""
    return [
        (e.contract.con_id, e.quantity, e.average_cost)
        for e in run.repairs
        if isinstance(e, OpeningPositionRecorded)
    ]


# ── openings ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("today", "told", "opening"),
    [
        ("", "position 100 10", (1, Decimal(100), Decimal(10))),
        ("fill 40 @ 13", "position 100 11.2", (1, Decimal(60), Decimal(10))),
        ("fill 40 @ 13 side=SELL", "position 60 10", (1, Decimal(100), Decimal(10))),
        ("fill 40 @ 13 side=SELL", "", (1, Decimal(40), Decimal(13))),
        ("fill 40 @ 13", "position 0", (1, Decimal(-40), Decimal(13))),
        ("", "position -5 20", (1, Decimal(-5), Decimal(20))),
    ],
)
def test_opening_is_what_ib_holds_less_what_the_day_explains(
    today: str, told: str, opening: tuple[int, Decimal, Decimal]
) -> None:
    life = working(today)
    run = reconcile(life, open_orders="open Submitted", positions=told)
    assert openings(run) == [opening]
    assert run.breaks == {}


def test_opening_at_an_unknown_cost_realises_nothing() -> None:
    life = working("fill 40 @ 13 side=SELL")
    reconcile(life, open_orders="open Submitted")
    assert (life.position().quantity, life.position().realised_pnl) == (Decimal(0), Decimal(0))


def test_position_that_the_day_explains_needs_no_opening() -> None:
    life = working("fill 40 @ 10")
    assert openings(reconcile(life, open_orders="open Submitted", positions="position 40 10")) == []


@pytest.mark.parametrize("kind", ["positions", "executions"])
def test_nothing_is_opened_by_answers_that_are_not_whole(kind: str) -> None:
    life = play("")
    run = reconcile(life, positions="position 100 10", unanswered={kind: "timed_out"})
    assert openings(run) == []
    assert run.breaks == {}


def test_opened_account_is_never_opened_again() -> None:
    life = play("")
    life.books.put(life.system.evolve(opened_accounts=("DU1",)))
    run = reconcile(life, positions="position 7 1\nposition 9 1 account=DU2")
    assert [e.account for e in run.repairs if isinstance(e, OpeningPositionRecorded)] == ["DU2"]


# ── doubt ────────────────────────────────────────────────────────────────────────────────────────


def doubtful() -> Life:
    """Return the books with one order that was sent when the line broke."""
    return play("intent BUY 100 LMT 10\nsent\nlost\nsession").wait(60)


def test_doubt_ends_when_every_place_has_answered_and_none_names_the_order() -> None:
    life = doubtful()
    run = reconcile(life, settle_seconds=10)
    (resolved,) = run.repairs
    assert isinstance(resolved, DoubtResolved)
    assert (resolved.outcome, len(resolved.evidence)) == ("not_received", 3)
    assert (life.order().state, run.verdict) == (OrderState.NOT_SENT, "clean")
    assert reconcile(life, settle_seconds=10).repairs == []


@pytest.mark.parametrize("kind", ["open_orders", "completed_orders", "executions"])
@pytest.mark.parametrize("outcome", ["refused", "timed_out", "partial"])
def test_doubt_stays_while_one_place_has_not_answered(kind: str, outcome: str) -> None:
    life = doubtful()
    run = reconcile(life, settle_seconds=10, unanswered={kind: outcome})
    assert (life.order().state, run.repairs) == (OrderState.IN_DOUBT, [])
    assert "order:A" in run.unknown


@pytest.mark.parametrize(
    ("answer", "state"),
    [
        ({"open_orders": "open Submitted"}, OrderState.WORKING),
        ({"completed_orders": "completed Cancelled 0"}, OrderState.CANCELLED),
        ({"executions": "fill 100 @ 10 fetched=yes"}, OrderState.FILLED),
    ],
)
def test_doubt_ends_by_the_answer_that_names_the_order(
    answer: dict[str, str], state: OrderState
) -> None:
    life = doubtful()
    run = reconcile(life, settle_seconds=10, positions="position 100 10", **answer)
    assert life.order().state is state
    assert not any(isinstance(e, DoubtResolved) for e in run.repairs)


def test_doubt_needs_time_because_bytes_can_still_arrive() -> None:
    """INC-07: what waited in a dead link left when it came back."""
    life = doubtful()
    run = reconcile(life, settle_seconds=3600)
    assert (life.order().state, run.breaks) == (OrderState.IN_DOUBT, {"in_doubt:A": "high"})


@pytest.mark.parametrize("kind", ["executions", "completed_orders"])
def test_doubt_about_what_ib_may_have_forgotten_stays(kind: str) -> None:
    life = doubtful()
    run = reconcile(life, settle_seconds=10, reaches={kind: LATER})
    assert life.order().state is OrderState.IN_DOUBT
    assert "reach back only to" in run.finding("in_doubt:A").text
