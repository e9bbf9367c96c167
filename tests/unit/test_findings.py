"""The maker of findings: keys, what a class may be, and what is left out of a comparison."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, get_type_hints

import pydantic
import pytest

from oms.core.compare.cases import settled_by
from oms.core.compare.findings import Thing, accepted_as, values_of
from oms.core.events import Adjustment, BreakClass, Severity

ORDER = Thing(subject="order", name="A", account="DU1", ours="WORKING", evidence=(7,))


def test_match_answers_every_break_of_its_thing() -> None:
    lost = ORDER.broken("lost_order", "high", "gone")
    wrong = ORDER.broken("wrong_terms", "high", "dearer")
    assert (lost.key, wrong.key) == ("lost_order:A", "wrong_terms:A")
    assert {settled_by(lost), settled_by(wrong)} == {ORDER.matched().key} == {"order:A"}
    assert ORDER.unknown("not answered").key == "order:A"


def test_match_becomes_its_finding_only_when_it_is_drawn() -> None:
    match = ORDER.match("WORKING 0")
    assert (match.subject, match.key, match.values, match.evidence) == (
        "order",
        "order:A",
        "WORKING 0",
        (7,),
    )
    assert match.draw() == ORDER.matched()


def test_break_of_a_statement_has_a_key_that_no_run_can_close() -> None:
    deal = Thing(subject="statement_deal", name="DU1:e.1")
    lost = deal.broken("missing_fill", "high", "not booked")
    assert lost.key == "statement_missing_fill:DU1:e.1"
    assert settled_by(lost) == deal.matched().key == "statement_deal:DU1:e.1"


def test_repaired_match_names_what_was_broken() -> None:
    found = ORDER.repaired("missing_fill", "backfilled", "execution e.1")
    assert (found.result, found.break_class, found.severity) == ("match", "missing_fill", None)
    assert (found.key, found.repair, found.text) == ("order:A", "backfilled", "execution e.1")


@pytest.mark.parametrize(
    ("break_class", "severity"), [("lost_ordre", "high"), ("lost_order", "hihg")]
)
def test_misspelt_class_or_severity_is_no_finding(break_class: Any, severity: Any) -> None:
    with pytest.raises(pydantic.ValidationError, match="Input should be"):
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
