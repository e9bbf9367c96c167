"""A break opens once, closes by evidence, and stays closed where a person said so."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from oms.core.compare.cases import break_id_of, same_difference, settled_by
from oms.core.compare.run import compare
from oms.core.compare.sides import Answers, OurSide, Scope
from oms.core.events import BreakClosed, BreakOpened, Finding
from tests.lives import Life, play, working
from tests.statements import our_side, reconcile


def opened(life: Life) -> Life:
    """Return a life whose account has been compared before."""
    life.books.put(life.system.evolve(opened_accounts=("DU1",)))
    return life


def close_by_person(life: Life, key: str) -> None:
    """Let a person close the case of a finding's key."""
    finding = Finding(result="break", subject="order", key=key)
    life.apply(BreakClosed(break_id=break_id_of(finding), run_id=None, reason="seen"))


def test_number_of_a_case_follows_from_what_it_is_about() -> None:
    one = Finding(result="break", subject="order", key="lost_order:A", text="now")
    other = one.evolve(text="later", evidence=(7,))
    assert break_id_of(one) == break_id_of(other) == "Bacae20b6"
    assert settled_by(one) == ("order:A",)


def test_break_opens_once() -> None:
    life = opened(working())
    assert reconcile(life).cases() == ["opened lost_order:A"]
    assert reconcile(life).cases() == []


def test_break_is_written_again_only_with_other_values() -> None:
    life = opened(working("fill 100 @ 10"))
    assert reconcile(life, positions="position 90 10").cases() == ["opened quantity_drift:DU1:1"]
    assert reconcile(life, positions="position 90 10").cases() == []
    assert reconcile(life, positions="position 80 10").cases() == ["updated quantity_drift:DU1:1"]


def test_case_closes_by_a_match_about_the_same_thing() -> None:
    life = opened(working())
    reconcile(life).cases()
    assert reconcile(life, open_orders="open Submitted").cases() == ["closed lost_order:A"]


def test_case_about_a_position_closes_when_both_sides_are_flat() -> None:
    life = opened(play(""))
    reconcile(life, positions="position 5 10").cases()
    assert reconcile(life).cases() == ["closed quantity_drift:DU1:1"]


def test_case_about_an_order_in_doubt_closes_when_the_doubt_is_resolved() -> None:
    life = opened(play("intent BUY 100 LMT 10\nsent\nlost\nsession"))
    assert reconcile(life, settle_seconds=3600).cases() == ["opened in_doubt:A"]
    assert reconcile(life.wait(7200), settle_seconds=3600).cases() == ["closed in_doubt:A"]


def test_case_of_a_foreign_order_stays_when_the_order_ends_and_both_sides_agree() -> None:
    life = opened(play(""))
    working_rows = "M: open Submitted client=9 id=4 ref="
    assert reconcile(life, open_orders=working_rows).cases() == ["opened unknown_order:perm-1013"]
    filled = {
        "completed_orders": "M: completed Filled 100 ref=",
        "executions": "M: fill 100 @ 10 exec=m.1.01 client=9 id=4 ref= fetched=yes",
        "positions": "position 100 10",
    }
    assert reconcile(life, **filled).cases() == []
    run = reconcile(life, **filled)
    assert (run.verdict, run.cases()) == ("clean", [])
    close_by_person(life, "unknown_order:perm-1013")
    assert reconcile(life, **filled).cases() == []


def test_foreign_order_is_reported_also_where_the_run_that_took_it_in_died() -> None:
    life = opened(play(""))
    rows = {"completed_orders": "M: completed Cancelled 0 ref="}
    reported = life.last
    reconcile(life, **rows)
    before = replace(our_side(life), reported_sequence=reported)
    assert _foreign_in(life, before) == ["unknown_order:perm-1013"]
    assert _foreign_in(life, replace(before, reported_sequence=life.last)) == []


def _foreign_in(life: Life, ours: OurSide) -> list[str]:
    scope = Scope(
        client_id=1,
        accounts=(),
        now=life.at,
        doubt_settle=timedelta(0),
        run_id="R2",
        started_sequence=life.last,
    )
    found = compare(ours, ours, Answers(), scope).findings
    return [f.key for f in found if f.break_class == "unknown_order"]


def test_execution_without_an_order_is_settled_by_the_order_that_claims_it() -> None:
    one = Finding(
        result="break", subject="execution", break_class="unknown_order", key="unknown_order:x.1"
    )
    assert settled_by(one) == ("execution:x.1",)


def test_case_does_not_close_while_a_question_is_open() -> None:
    life = opened(working())
    reconcile(life).cases()
    run = reconcile(life, open_orders="open Submitted", unanswered={"positions": "timed_out"})
    assert run.cases(complete=False) == []


def test_case_does_not_close_because_nobody_speaks_of_it() -> None:
    life = opened(working("fill 40 @ 10 exec=x.1.01\nstatus Cancelled 40"))
    reach = {"executions": life.at.replace(hour=0)}
    opened_cases = reconcile(life, positions="position 40 10", reaches=reach).cases()
    assert opened_cases == ["opened extra_fill:DU1:x.1"]
    assert reconcile(life, positions="position 40 10").cases() == []


def test_difference_that_comes_back_reopens_its_case() -> None:
    life = opened(working())
    reconcile(life).cases()
    reconcile(life, open_orders="open Submitted").cases()
    assert reconcile(life).cases() == ["reopened lost_order:A"]


def test_person_has_the_last_word_until_the_values_change() -> None:
    life = opened(working("fill 100 @ 10"))
    reconcile(life, positions="position 90 10").cases()
    close_by_person(life, "quantity_drift:DU1:1")
    assert reconcile(life, positions="position 90 10").cases() == []
    assert reconcile(life, positions="position 70 10").cases() == ["reopened quantity_drift:DU1:1"]


def test_message_that_could_not_be_read_is_closed_by_a_person_only() -> None:
    life = opened(play("unreadable"))
    key = f"unreadable_message:{life.last}"
    assert reconcile(life).cases() == [f"opened {key}"]
    assert reconcile(life).cases() == []
    close_by_person(life, key)
    again = reconcile(life)
    assert (again.breaks, again.cases()) == ({}, [])


def test_evidence_and_repair_do_not_make_a_difference_another_one() -> None:
    one = Finding(result="break", subject="order", key="lost_order:A", text="gone", evidence=(1,))
    assert same_difference(one, one.evolve(evidence=(9,), repair="adopted"))
    assert not same_difference(one, one.evolve(text="back"))


def test_case_about_a_fill_that_was_missing_closes_when_our_books_have_it() -> None:
    # A day on IB does not name it any more: that we have it is the evidence.
    life = opened(working())
    lacking = Finding(
        result="break",
        subject="execution",
        break_class="missing_fill",
        severity="high",
        key="missing_fill:DU1:x.1",
        account="DU1",
    )
    life.apply(BreakOpened(break_id=break_id_of(lacking), run_id="R0", finding=lacking))
    assert reconcile(life, open_orders="open Submitted").cases() == []
    life.play("fill 40 @ 10 exec=x.1.01")
    late = reconcile(life, open_orders="open Submitted", positions="position 40 10")
    assert late.cases() == ["closed missing_fill:DU1:x.1"]


def test_case_about_a_commission_without_execution_closes_when_the_execution_comes() -> None:
    life = opened(working("commission x.1.01 2.5"))
    first = reconcile(life, open_orders="open Submitted")
    assert first.breaks == {"orphan_commission:x.1.01": "medium"}
    assert first.cases() == ["opened orphan_commission:x.1.01"]
    life.play("fill 40 @ 10 exec=x.1.01")
    again = reconcile(life, open_orders="open Submitted", positions="position 40 10")
    assert again.cases() == ["closed orphan_commission:x.1.01"]
