"""One difference, two witnesses: the broker's answers and its statement have one case."""

from __future__ import annotations

from decimal import Decimal

import pytest

from oms.core.compare.case_actions import carried_out
from oms.core.compare.cases import accepted, break_id_of, break_ids_of, case_events
from oms.core.compare.findings import Thing
from oms.core.compare.matches import Subject
from oms.core.contracts import Contract
from oms.core.events import (
    Adjustment,
    BooksAdjusted,
    BreakClass,
    BreakClosed,
    BreakOpened,
    CaseRequested,
    Finding,
    Severity,
)
from oms.core.fold.records import BreakCase
from oms.core.values import checked
from tests.lives import Life, play
from tests.statements import reconcile

MSFT = Contract(con_id=1, symbol="MSFT")
DRIFT = "quantity_drift:DU1:1"


def thing(subject: Subject, name: str, ours: str, theirs: str) -> Thing:
    return Thing(
        subject=subject,
        name=name,
        account="DU1",
        con_id=1,
        symbol="MSFT",
        ours=ours,
        theirs=theirs,
    )


def drift(subject: Subject, theirs: str = "12", *, proposes: bool = True) -> Finding:
    wanted = Adjustment(account="DU1", contract=MSFT, quantity=Decimal(theirs) - 10)
    text = f"{theirs} by the {subject}"
    one = thing(subject, "DU1:1", "10", theirs)
    return one.broken("quantity_drift", "high", text, proposed=wanted if proposes else None)


def check(life: Life, *findings: Finding) -> list[str]:
    """Take in what a comparison found; return what it wrote, in words."""
    known = {case.key: case for case in life.books.all(BreakCase)}
    events = case_events(known, findings, {}, run_id="R1", complete=True)
    for event in events:
        life.apply(event, actor="reconciler")
    return [f"{type(e).__name__[5:].lower()} {e.break_id}" for e in events]


def the_case(life: Life) -> BreakCase:
    (case,) = life.books.all(BreakCase)
    return case


ANSWERED, STATED = drift("position"), drift("statement_position", "15", proposes=False)
NUMBER = break_id_of(ANSWERED)


@pytest.mark.parametrize("order", [(ANSWERED, STATED), (STATED, ANSWERED)])
def test_drift_that_both_show_is_one_case_with_two_pieces_of_evidence(
    order: tuple[Finding, Finding],
) -> None:
    life = play("")
    assert [check(life, one) for one in order] == [[f"opened {NUMBER}"], [f"updated {NUMBER}"]]
    case = the_case(life)
    assert case.findings == (ANSWERED, STATED), "answers first: they propose what to book"
    assert [check(life, one) for one in order] == [[], []]


@pytest.mark.parametrize(
    ("subjects", "name", "break_class", "severity"),
    [
        (("execution", "statement_deal"), "DU1:e.1", "missing_fill", "high"),
        (("execution", "statement_deal"), "DU1:e.1", "extra_fill", "high"),
        (("commission", "statement_deal"), "DU1:e.1", "commission_different", "low"),
        (("commission", "statement_deal"), "DU1:e.1", "commission_missing", "low"),
        (("cash", "statement_cash"), "DU1:USD", "cash_drift", "medium"),
    ],
)
def test_whatever_both_can_show_is_one_case(
    subjects: tuple[Subject, Subject], name: str, break_class: BreakClass, severity: Severity
) -> None:
    life = play("")
    for subject in subjects:
        check(life, thing(subject, name, "1", "2").broken(break_class, severity, subject))
    assert len(the_case(life).findings) == 2


def test_witness_takes_back_only_what_it_showed_itself() -> None:
    life = play("")
    check(life, ANSWERED)
    check(life, STATED)
    agrees = thing("position", "DU1:1", "10", "10").matched()
    assert check(life, agrees) == [f"updated {NUMBER}"]
    assert the_case(life).findings == (STATED,)
    assert the_case(life).shuts_gate
    also = thing("statement_position", "DU1:1", "10", "10").matched()
    assert check(life, also) == [f"closed {NUMBER}"]


def test_fill_that_a_statement_missed_is_settled_by_answers_once_our_books_have_it() -> None:
    life = play("session\nintent BUY 100 LMT 10\nsent\nopen Submitted")
    life.books.put(life.system.evolve(opened_accounts=("DU1",)))
    lacking = thing("statement_deal", "DU1:x.1", "not booked", "BUY 40").broken(
        "missing_fill", "high", "not in our books"
    )
    check(life, lacking)
    life.play("fill 40 @ 10 exec=x.1.01")
    run = reconcile(life, open_orders="open Submitted", positions="position 40 10")
    assert run.cases() == ["closed missing_fill:DU1:x.1"]


def request(case: BreakCase, action: str = "adjust") -> CaseRequested:
    return checked(
        CaseRequested,
        {
            "request_id": "1",
            "break_id": case.break_id,
            "action": action,
            "text": "seen",
            "cause": "transfer" if action == "adjust" else None,
        },
    )


@pytest.mark.parametrize("order", [(ANSWERED, STATED), (STATED, ANSWERED)])
def test_adjust_books_what_the_answers_propose_and_closes_the_one_case(
    order: tuple[Finding, Finding],
) -> None:
    life = play("")
    for one in order:
        check(life, one)
    adjusted, closed = carried_out(the_case(life), request(the_case(life)), "person:a")
    assert isinstance(adjusted, BooksAdjusted)
    assert adjusted.adjustment.quantity == 2
    life.apply(adjusted)
    life.apply(closed)
    assert not the_case(life).live
    matched = (thing(s, "DU1:1", "12", "12").matched() for s in ("position", "statement_position"))
    assert check(life, *matched) == []


@pytest.mark.parametrize("seen_again", [ANSWERED, STATED, drift("statement_position")])
def test_word_of_a_person_holds_for_both_witnesses(seen_again: Finding) -> None:
    life = play("")
    check(life, ANSWERED)
    check(life, STATED)
    for event in carried_out(the_case(life), request(the_case(life), "resolve"), "person:a"):
        life.apply(event)
    known = {case.key: case for case in life.books.all(BreakCase)}
    assert [f.result for f in accepted(known, [seen_again])] == ["match"]
    assert check(life, seen_again) == []
    assert check(life, drift("statement_position", "99")) == [f"opened {NUMBER}"]


# ── logs of earlier versions, in which the statement's case stands apart ─────────────────────────


def of_earlier() -> tuple[Life, BreakCase, BreakCase]:
    """Return a life with two open cases of one difference."""
    life = play("")
    stated = STATED.evolve(key=f"statement_{DRIFT}")
    one, other = break_ids_of(ANSWERED)
    life.apply(BreakOpened(break_id=one, run_id="R0", finding=ANSWERED))
    life.apply(BreakOpened(break_id=other, run_id="S0", finding=stated))
    first, second = (life.books.get("breaks", number) for number in (one, other))
    assert isinstance(first, BreakCase)
    assert isinstance(second, BreakCase)
    return life, first, second


@pytest.mark.parametrize("chosen", [0, 1])
@pytest.mark.parametrize("action", ["adjust", "resolve"])
def test_what_closes_one_of_two_cases_closes_both(chosen: int, action: str) -> None:
    life, *cases = of_earlier()
    events = carried_out(
        cases[chosen], request(cases[chosen], action), "person:a", twin=cases[1 - chosen]
    )
    for event in events:
        life.apply(event)
    assert [case.live for case in life.books.all(BreakCase)] == [False, False]
    assert isinstance(events[-1], BreakClosed)
    assert events[-1].break_id == cases[chosen].break_id, "who asked waits for this one"
    booked = [e.adjustment.quantity for e in events if isinstance(e, BooksAdjusted)]
    assert booked == ([2] if action == "adjust" else [])


@pytest.mark.parametrize("found", [ANSWERED, STATED])
def test_next_comparison_of_either_kind_makes_one_case_of_two(found: Finding) -> None:
    life, one, other = of_earlier()
    assert check(life, found) == [f"updated {one.break_id}", f"closed {other.break_id}"]
    case = life.books.get("breaks", one.break_id)
    assert isinstance(case, BreakCase)
    assert [f.subject for f in case.findings] == ["position", "statement_position"]
    assert check(life, found) == []


def test_statement_case_of_earlier_that_nobody_shows_with_answers_goes_on_under_its_number() -> (
    None
):
    life = play("")
    _, number = break_ids_of(STATED)
    old = STATED.evolve(key=f"statement_{DRIFT}")
    life.apply(BreakOpened(break_id=number, run_id="S0", finding=old))
    agrees = thing("statement_position", "DU1:1", "10", "10").matched()
    assert check(life, agrees) == [f"closed {number}"]
    life.apply(BreakOpened(break_id=number, run_id="S0", finding=old, reopened=True))
    life.apply(BreakClosed(break_id=number, reason="a person knows"))
    assert check(life, STATED) == [], "a person's word holds for the new number, too"
