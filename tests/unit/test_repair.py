"""What a run writes before it compares: openings, resolved doubts, and nothing twice."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from oms.core.events import DoubtResolved, OpeningPositionRecorded, RequestNotTaken
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


#: An execution of somebody else's order.
SOLD = "B: fill 40 @ 13 side=SELL ref="

# ── openings ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("today", "told", "opening"),
    [
        ("", "position 100 10", (1, Decimal(100), Decimal(10))),
        ("fill 40 @ 13", "position 100 11.2", (1, Decimal(60), Decimal(10))),
        (SOLD, "position 60 10", (1, Decimal(100), Decimal(10))),
        (SOLD, "", (1, Decimal(40), Decimal(13))),
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
    life = working(SOLD)
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


@pytest.mark.parametrize("code", [10147, 135])
def test_cancel_that_finds_no_order_is_no_sign_that_ib_received_it(code: int) -> None:
    life = play(f"intent BUY 100 LMT 10\nsent\ncancel\nsent cancel\nnotice {code}\ncrash\nsession")
    reconcile(life.wait(60), settle_seconds=10)
    assert life.order().state is OrderState.NOT_SENT


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


# ── what IB answered, and what it does not list ──────────────────────────────────────────────────


def answered(code: int, more: str = "lost\nsession") -> Life:
    """Return the books with one order that was answered with a code alone, then the line broke."""
    return play(f"intent BUY 100 LMT 10\nsent\nnotice {code} some words\n{more}").wait(60)


@pytest.mark.parametrize("code", [478, 100, 344, 104])
def test_an_order_that_ib_answered_was_not_lost_on_the_way_it_was_refused(code: int) -> None:
    life = answered(code)
    run = reconcile(life, settle_seconds=10)
    (resolved,) = run.repairs
    assert isinstance(resolved, DoubtResolved)
    assert (resolved.outcome, len(resolved.evidence)) == ("refused", 3)
    order = life.order()
    assert (order.state, order.code, order.text) == (OrderState.REJECTED, code, "some words")
    assert (run.verdict, reconcile(life, settle_seconds=10).repairs) == ("clean", [])


@pytest.mark.parametrize("code", [399, 10333])
def test_an_order_that_ib_only_warned_of_is_looked_for_by_a_person(code: int) -> None:
    life = answered(code)
    run = reconcile(life, settle_seconds=10)
    assert (life.order().state, run.repairs) == (OrderState.IN_DOUBT, [])
    assert run.breaks == {"in_doubt:A": "high"}
    assert (
        f"IB answered it with {code} some words: IB received it" in run.finding("in_doubt:A").text
    )


@pytest.mark.parametrize(
    ("answer", "state"),
    [
        ({"open_orders": "open Submitted"}, OrderState.WORKING),
        ({"completed_orders": "completed Cancelled 0"}, OrderState.CANCELLED),
        ({"executions": "fill 100 @ 10 fetched=yes"}, OrderState.FILLED),
    ],
)
def test_an_order_that_ib_answered_with_a_code_of_no_table_may_work_all_the_same(
    answer: dict[str, str], state: OrderState
) -> None:
    life = answered(478)
    run = reconcile(life, settle_seconds=10, positions="position 100 10", **answer)
    assert (life.order().state, run.repairs[1:]) == (state, [])


@pytest.mark.parametrize("kind", ["open_orders", "completed_orders", "executions"])
@pytest.mark.parametrize("outcome", ["refused", "timed_out", "partial"])
def test_a_refusal_is_not_confirmed_by_an_answer_that_is_not_whole(kind: str, outcome: str) -> None:
    life = answered(478)
    run = reconcile(life, settle_seconds=10, unanswered={kind: outcome})
    assert (life.order().state, run.repairs) == (OrderState.IN_DOUBT, [])
    assert "order:A" in run.unknown


def test_a_run_says_of_an_order_that_was_answered_with_a_code_that_it_is_not_known_yet() -> None:
    run = reconcile(answered(478, more=""))
    assert (run.repairs, run.breaks, run.verdict) == ([], {}, "unknown")
    assert "IB answered it with 478 some words" in run.finding("order:A").text


LEFT_BEHIND = """
A: intent BUY 100 LMT 10 transmit=no group=G
B: intent SELL 100 LMT 12 transmit=no group=G
C: intent SELL 100 STP 9 group=G
A: sent
B: sent
C: sent
"""


@pytest.mark.parametrize("end", ["C: notice 109 too far", "lost\nsession", "crash\nsession"])
def test_what_a_gateway_holds_for_its_group_stays_in_doubt_for_a_person(end: str) -> None:
    life = play(LEFT_BEHIND + end).wait(60)
    for _ in range(2):
        run = reconcile(life, settle_seconds=10)
        assert [life.order(n).state for n in "AB"] == [OrderState.IN_DOUBT] * 2
        assert run.breaks == {"in_doubt:A": "high", "in_doubt:B": "high"}
        assert "transmit it or delete it" in run.finding("in_doubt:A").text
    assert life.order("C").state in {OrderState.REJECTED, OrderState.NOT_SENT}
    life.play("A: resolve not_received by=person\nB: open PreSubmitted perm=5")
    assert [life.order(n).state for n in "AB"] == [OrderState.NOT_SENT, OrderState.WORKING]


def test_a_group_that_was_transmitted_lists_every_order_that_ib_has_of_it() -> None:
    """The middle one was lost on its way: once the last one is at IB, absence is evidence."""
    life = play(LEFT_BEHIND + "A: open Submitted\nC: open PreSubmitted\nlost\nsession").wait(60)
    run = reconcile(life, settle_seconds=10, open_orders="A: open Submitted\nC: open PreSubmitted")
    assert [life.order(n).state for n in "AB"] == [OrderState.WORKING, OrderState.NOT_SENT]
    assert run.breaks == {}


def test_what_waits_for_the_rest_of_its_group_is_not_known_to_ibs_lists() -> None:
    run = reconcile(play(LEFT_BEHIND.replace("C: sent", "")))
    assert (run.breaks, run.verdict) == ({}, "unknown")
    assert "until the rest of its group has come" in run.finding("order:A").text


# ── what an earlier session asked for ────────────────────────────────────────────────────────────


def asked_before(what: str, new_session: str = "lost\nsession") -> Life:
    """Return the books with a request that the line broke on, in the session after."""
    return working(f"{what}\n{new_session}").wait(60)


CHANGE, CANCEL = "modify 100 11\nsent", "cancel\nsent cancel"


@pytest.mark.parametrize("new_session", ["lost\nsession", "crash\nsession"])
@pytest.mark.parametrize(("what", "request_"), [(CHANGE, "modify"), (CANCEL, "cancel")])
def test_a_whole_answer_that_shows_the_order_as_it_was_decides_that_ib_took_nothing(
    what: str, request_: str, new_session: str
) -> None:
    life = asked_before(what, new_session)
    run = reconcile(life, settle_seconds=10, open_orders="open Submitted 100 10 id=7")
    (verdict,) = run.repairs
    assert isinstance(verdict, RequestNotTaken)
    assert (verdict.request, life.order().state) == (request_, OrderState.WORKING)
    assert "earlier session" in life.order().refusal
    assert (run.breaks, run.verdict) == ({}, "clean")
    assert reconcile(life, open_orders="open Submitted 100 10 id=7").repairs == []


@pytest.mark.parametrize(
    ("row", "more"),
    [
        ("open Submitted 100 10 id=7", {"settle_seconds": 3600}),
        ("open Submitted 100 10 id=7", {"unanswered": {"open_orders": "partial"}}),
        ("open PendingCancel 100 10 id=7", {}),
        ("open PendingSubmit 100 10 id=7", {}),
        ("open Submitted 100 10 id=7\nstatus PendingCancel 0 id=7", {}),
    ],
)
@pytest.mark.parametrize("what", [CHANGE, CANCEL])
def test_what_may_still_be_under_way_stays_asked(what: str, row: str, more: Any) -> None:
    life = asked_before(what)
    before = life.order().state
    run = reconcile(life, open_orders=row, **more)
    assert (run.repairs, run.breaks) == ([], {})
    if "PendingCancel" not in row:
        assert life.order().state is before
    assert run.verdict == "unknown" or "PendingCancel" in row


def test_a_request_of_the_session_that_asks_is_nobodys_to_give_up() -> None:
    run = reconcile(working(CHANGE).wait(60), open_orders="open Submitted 100 10")
    assert (run.repairs, run.unknown) == ([], {"order:A"})


def test_a_change_that_arrives_after_it_was_given_up_is_what_was_asked_for() -> None:
    life = asked_before(CHANGE)
    reconcile(life, open_orders="open Submitted 100 10 id=7")
    run = reconcile(life, open_orders="open Submitted 100 11 id=7")
    assert (life.order().terms.limit_price, run.breaks) == (Decimal(11), {})
    assert reconcile(life, open_orders="open Submitted 100 12 id=7").breaks == {
        "wrong_terms:A": "high"
    }


def test_of_two_changes_of_an_earlier_session_the_one_that_ib_took_holds() -> None:
    life = asked_before(f"{CHANGE}\nmodify 100 12\nsent")
    run = reconcile(life, open_orders="open Submitted 100 11 id=7")
    assert [type(event) for event in run.repairs] == [RequestNotTaken]
    assert (life.order().state, life.order().terms.limit_price) == (OrderState.WORKING, Decimal(11))
    assert run.breaks == {}


@pytest.mark.parametrize(("what", "request_"), [(CHANGE, "modify"), (CANCEL, "cancel")])
def test_a_request_that_ib_answered_with_a_code_of_no_table_is_settled_by_what_ib_shows(
    what: str, request_: str
) -> None:
    life = working(f"{what}\nnotice 10999 some words")
    run = reconcile(life, open_orders="open Submitted 100 10")
    assert [(e.request, e.order_id) for e in run.repairs if isinstance(e, RequestNotTaken)] == [
        (request_, "A")
    ]
    assert (life.order().state, life.order().refusal[:16]) == (
        OrderState.WORKING,
        "10999 some words",
    )
    assert run.verdict == "clean"


@pytest.mark.parametrize("code", [399, 10333])
@pytest.mark.parametrize("what", [CHANGE, CANCEL])
def test_a_request_that_ib_only_warned_of_stays_asked(what: str, code: int) -> None:
    run = reconcile(working(f"{what}\nnotice {code} words"), open_orders="open Submitted 100 10")
    assert run.repairs == []


@pytest.mark.parametrize("what", [CHANGE, CANCEL])
def test_a_code_from_before_a_request_does_not_answer_it(what: str) -> None:
    run = reconcile(working(f"notice 10999 words\n{what}"), open_orders="open Submitted 100 10")
    assert run.repairs == []


def test_a_change_that_ib_took_in_spite_of_a_code_holds() -> None:
    life = working(f"{CHANGE}\nnotice 10999 words")
    run = reconcile(life, open_orders="open Submitted 100 11")
    assert (run.repairs, life.order().terms.limit_price) == ([], Decimal(11))
