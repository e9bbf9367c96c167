"""The maker of findings: keys, what a class may be, and what is left out of a comparison."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, get_type_hints

import pytest

from oms.core.bounds import OutOfBounds
from oms.core.compare.cases import settled_by
from oms.core.compare.findings import Thing, accepted_as, values_of, witness_of
from oms.core.events import Adjustment, BreakClass, Severity

ORDER = Thing(subject="order", name="A", account="DU1", ours="WORKING", evidence=(7,))


def test_match_answers_every_break_of_its_thing() -> None:
    lost = ORDER.broken("lost_order", "high", "gone")
    wrong = ORDER.broken("wrong_terms", "high", "dearer")
    assert (lost.key, wrong.key) == ("lost_order:A", "wrong_terms:A")
    assert {settled_by(lost), settled_by(wrong)} == {("order:A",)}
    assert ORDER.matched().key == ORDER.unknown("not answered").key == "order:A"


def test_match_becomes_its_finding_only_when_it_is_drawn() -> None:
    match = ORDER.match("WORKING 0")
    assert (match.subject, match.key, match.values, match.evidence) == (
        "order",
        "order:A",
        "WORKING 0",
        (7,),
    )
    assert match.draw() == ORDER.matched()


def test_break_has_one_key_whoever_shows_it_and_each_witness_its_own_match() -> None:
    stated = Thing(subject="statement_position", name="DU1:1")
    answered = Thing(subject="position", name="DU1:1")
    drifts = [one.broken("quantity_drift", "high", "more") for one in (stated, answered)]
    assert {drift.key for drift in drifts} == {"quantity_drift:DU1:1"}
    assert [witness_of(drift) for drift in drifts] == ["statement", "answers"]
    assert [settled_by(drift) for drift in drifts] == [
        ("statement_position:DU1:1",),
        ("position:DU1:1",),
    ]


def test_what_our_books_lack_by_a_statement_is_settled_once_they_have_it() -> None:
    deal = Thing(subject="statement_deal", name="DU1:e.1")
    lost = deal.broken("missing_fill", "high", "not booked")
    free = deal.broken("commission_missing", "low", "not charged")
    assert settled_by(lost) == ("statement_deal:DU1:e.1", "execution:DU1:e.1")
    assert settled_by(free) == ("statement_deal:DU1:e.1", "commission:DU1:e.1")


def test_repaired_match_names_what_was_broken() -> None:
    found = ORDER.repaired("missing_fill", "backfilled", "execution e.1")
    assert (found.result, found.break_class, found.severity) == ("match", "missing_fill", None)
    assert (found.key, found.repair, found.text) == ("order:A", "backfilled", "execution e.1")


@pytest.mark.parametrize(
    ("break_class", "severity"), [("lost_ordre", "high"), ("lost_order", "hihg")]
)
def test_misspelt_class_or_severity_is_no_finding(break_class: Any, severity: Any) -> None:
    with pytest.raises(OutOfBounds, match="must be"):
        ORDER.broken(break_class, severity, "gone")


def test_type_checker_knows_the_classes_and_severities() -> None:
    # mypy refuses a misspelt one wherever the parameter is this closed set.
    assert get_type_hints(Thing.broken)["break_class"] is BreakClass
    assert get_type_hints(Thing.broken)["severity"] is Severity
    assert get_type_hints(Thing.repaired)["break_class"] is BreakClass


def test_word_of_a_person_keeps_the_key_of_the_break() -> None:
    lost = ORDER.broken("lost_order", "high", "gone")
    accepted = accepted_as(lost, "a person closed B1: known")
    assert (accepted.result, accepted.key) == ("match", "lost_order:A")
    assert (accepted.break_class, accepted.ours) == ("lost_order", "WORKING")


def test_values_are_the_same_whichever_messages_showed_them() -> None:
    wanted = Adjustment(account="DU1", currency="USD", quantity=Decimal(1))
    cash = Thing(subject="cash", name="DU1:USD", ours="1 USD", theirs="2 USD", evidence=(7,))
    later = Thing(subject="cash", name="DU1:USD", ours="1 USD", theirs="2 USD", evidence=(9,))
    one = cash.broken("cash_drift", "medium", "a payment", proposed=wanted)
    other = later.broken("cash_drift", "medium", "a payment")
    assert values_of(one) == values_of(other)
    assert one.proposed == wanted
