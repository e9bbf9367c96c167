"""Two statements, and what comparing them finds: nothing missed, and nothing made up."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from functools import partial

import pytest

from oms.core.compare.findings import MOVED
from oms.core.compare.matches import LISTED_MAX, Compared, Match
from oms.core.events import Finding, Outcome, QueryKind
from oms.core.fold.records import OrderState
from tests.lives import START, Life, play, working
from tests.statements import KINDS, our_side, reconcile

LATER = START + timedelta(hours=12)


def opened(life: Life) -> Life:
    """Return a life whose account has been compared before: positions are ours to explain."""
    system = life.system.evolve(opened_accounts=("DU1", "DU2"))
    life.books.put(system)
    return life


# ── nothing to find ──────────────────────────────────────────────────────────────────────────────


def test_books_that_agree_are_clean() -> None:
    life = opened(working("fill 40 @ 10 exec=x.1.01\nstatus Submitted 40"))
    run = reconcile(
        life,
        open_orders="open Submitted\nstatus Submitted 40",
        executions="fill 40 @ 10 exec=x.1.01 fetched=yes",
        positions="position 40 10",
    )
    assert (run.verdict, run.breaks, run.repairs) == ("clean", {}, [])
    assert {f.key for f in run.findings} == {"order:A", "execution:DU1:x.1", "position:DU1:1"}


def test_empty_books_and_empty_answers_are_clean() -> None:
    assert reconcile(opened(play(""))).verdict == "clean"


# ── what we did not know ─────────────────────────────────────────────────────────────────────────


def test_fill_from_while_we_were_away_is_backfilled_and_is_no_break() -> None:
    life = opened(working("lost\nsession"))
    run = reconcile(
        life,
        completed_orders="completed Filled 100",
        executions="fill 100 @ 10 exec=x.1.01 fetched=yes",
        positions="position 100 10",
    )
    assert (run.verdict, life.order().state) == ("clean", OrderState.FILLED)
    assert run.finding("order:A").repair == "was WORKING, 0 filled"
    assert run.finding("execution:DU1:x.1").repair == "backfilled"


def test_manual_order_is_adopted_with_its_fills_and_shown_once() -> None:
    life = opened(play(""))
    statement = {
        "open_orders": "M: open Submitted client=0 id=0 ref=",
        "executions": "M: fill 40 @ 10 exec=m.1.01 client=0 id=0 ref= fetched=yes",
        "positions": "position 40 10",
    }
    run = reconcile(life, **statement)
    order = life.order("perm-1013")
    assert run.breaks == {"unknown_order:perm-1013": "medium"}
    assert (order.origin, order.state) == ("manual", OrderState.PARTIALLY_FILLED)
    assert reconcile(life, **statement).repairs == []


def test_completed_manual_order_is_shown_in_the_run_that_adopts_it_and_then_rests() -> None:
    life = opened(play(""))
    completed = "M: completed Filled 100 ref="
    executions = "M: fill 100 @ 10 exec=m.1.01 client=0 id=0 ref= fetched=yes"
    first = reconcile(
        life, completed_orders=completed, executions=executions, positions="position 100 10"
    )
    assert first.breaks == {"unknown_order:perm-1013": "medium"}
    again = reconcile(life, completed_orders=completed, positions="position 100 10")
    assert again.breaks == {}


@pytest.mark.parametrize(
    ("ids", "origin"),
    [
        ("client=0 id=0", "manual"),
        ("client=7 id=3", "other_client"),
        ("client=1 id=3", "previous_session"),
    ],
)
def test_adopted_order_says_where_it_came_from(ids: str, origin: str) -> None:
    life = opened(play(""))
    reconcile(life, open_orders=f"M: open Submitted ref= {ids}")
    assert life.order("perm-1013").origin == origin


@pytest.mark.parametrize(
    ("rows", "who"),
    [
        ({"open_orders": "M: open Submitted client=0 id=0 ref="}, "sent by client 0, which is TWS"),
        ({"open_orders": "M: open Submitted client=7 id=3 ref="}, "sent by client 7"),
        ({"open_orders": "M: open Submitted client=1 id=3 ref="}, "sent by client 1, our own"),
        ({"completed_orders": "M: completed Cancelled 0 ref="}, "IB does not say which client"),
        (
            {
                "completed_orders": "M: completed Filled 100 ref=",
                "executions": "M: fill 100 @ 10 client=7 id=3 ref= fetched=yes",
            },
            "sent by client 7",
        ),
    ],
)
def test_of_who_sent_a_foreign_order_only_what_ib_named_is_said(
    rows: dict[str, str], who: str
) -> None:
    run = reconcile(opened(play("")), **rows)
    assert f"an order that we did not send: {who}" in run.finding("unknown_order:perm-1013").text


def test_order_named_by_executions_alone_is_over_only_by_whole_answers() -> None:
    rows = "M: fill 40 @ 10 ref= id=0 client=7 fetched=yes"
    life = opened(play(""))
    reconcile(life, executions=rows)
    assert life.order("perm-1013").state is OrderState.FILLED
    life = opened(play(""))
    run = reconcile(life, executions=rows, unanswered={"open_orders": "timed_out"})
    assert life.order("perm-1013").state is OrderState.IN_DOUBT
    assert "order:perm-1013" in run.unknown
    reconcile(life, positions="position 40 10")
    assert life.order("perm-1013").state is OrderState.FILLED


def test_order_of_another_client_that_ended_while_we_were_away_ends() -> None:
    life = opened(play("adopt Submitted client=7 id=4 origin=other_client"))
    run = reconcile(life, completed_orders="completed Cancelled 0 ref=")
    assert life.order().state is OrderState.CANCELLED
    assert run.breaks == {"unknown_order:A": "medium"}
    assert reconcile(life, completed_orders="completed Cancelled 0 ref=").verdict == "clean"


# ── every class of break ─────────────────────────────────────────────────────────────────────────


def test_fill_that_ib_claims_and_no_execution_shows_is_missing() -> None:
    life = opened(working("status Filled 100"))
    assert reconcile(life, completed_orders="completed Filled 100").breaks == {
        "missing_fill:A": "high"
    }


def test_fill_that_ib_does_not_name_within_its_reach_is_extra() -> None:
    life = opened(working("fill 40 @ 10 exec=x.1.01"))
    run = reconcile(
        life,
        open_orders="open Submitted",
        positions="position 40 10",
        reaches={"executions": START},
    )
    assert run.breaks == {"extra_fill:DU1:x.1": "high"}


def test_fill_from_before_ib_can_remember_is_not_extra() -> None:
    life = opened(working("fill 40 @ 10 exec=x.1.01"))
    run = reconcile(
        life,
        open_orders="open Submitted",
        positions="position 40 10",
        reaches={"executions": LATER},
    )
    assert run.verdict == "clean"


def test_fill_that_was_pushed_after_the_question_is_not_extra() -> None:
    life = opened(working())
    run = reconcile(
        life,
        open_orders="open Submitted",
        meanwhile="fill 40 @ 10 exec=x.1.01",
        positions="position 40 10",
        reaches={"executions": START},
    )
    assert run.breaks == {}


def test_live_order_that_ib_lists_nowhere_is_lost_and_stays_live() -> None:
    life = opened(working())
    assert reconcile(life).breaks == {"lost_order:A": "high"}
    assert life.order().state is OrderState.WORKING


def test_lost_order_says_where_the_lists_end() -> None:
    run = reconcile(opened(working()), reaches={"completed_orders": LATER})
    assert f"what ended before {LATER} is listed no more" in run.finding("lost_order:A").text


def test_ended_order_that_ib_has_at_work_is_in_a_wrong_state() -> None:
    life = opened(working("status Cancelled 0"))
    assert reconcile(life, open_orders="open Submitted").breaks == {"wrong_state:A": "high"}


@pytest.mark.parametrize("row", ["open Submitted 200 10", "open Submitted 100 9"])
def test_order_on_other_terms_than_we_asked_for_is_a_break(row: str) -> None:
    assert reconcile(opened(working()), open_orders=row).breaks == {"wrong_terms:A": "high"}


@pytest.mark.parametrize(
    "rows",
    [
        {"open_orders": "open Submitted con=2"},
        {"completed_orders": "completed Cancelled 0 con=2"},
    ],
)
def test_order_that_ib_has_in_another_contract_is_a_break(rows: dict[str, str]) -> None:
    assert reconcile(opened(working()), **rows).breaks == {"wrong_terms:A": "high"}


def test_terms_are_unknown_while_a_change_is_under_way() -> None:
    run = reconcile(opened(working("modify 100 11\nsent")), open_orders="open Submitted 100 10")
    assert (run.verdict, run.unknown) == ("unknown", {"order:A"})


def test_second_permanent_number_is_a_break() -> None:
    life = opened(working("open Submitted perm=2001"))
    run = reconcile(life, open_orders="open Submitted")
    assert list(run.breaks.values()) == ["high"]
    assert [f.break_class for f in run.found.findings] == ["two_perm_ids"]


def test_message_that_could_not_be_read_is_a_break() -> None:
    run = reconcile(opened(play("unreadable")))
    assert [f.break_class for f in run.findings] == ["unreadable_message"]


def test_rolled_back_order_id_is_a_break_of_medium_severity() -> None:
    life = opened(working("lost\nsession next=1"))
    assert list(reconcile(life, open_orders="open Submitted id=9").breaks.values()) == ["medium"]


@pytest.mark.parametrize("claim", ["", "status Cancelled 40", "completed Cancelled 40"])
def test_fill_after_the_end_is_shown_also_once_ib_repeats_the_sum(claim: str) -> None:
    life = opened(working("cancel\nstatus Cancelled 0\nfill 40 @ 10 exec=x.1.01"))
    shown = life.last
    life.play(claim)
    run = reconcile(
        life, executions="fill 40 @ 10 exec=x.1.01 fetched=yes", positions="position 40 10"
    )
    assert run.breaks == {f"contradiction:{shown}": "medium"}
    assert run.finding(f"contradiction:{shown}").text == (
        "IB ended order A as Cancelled with 0 filled, and its executions add up to 40"
    )


def test_end_that_comes_with_less_than_was_executed_is_shown_too() -> None:
    life = opened(working("fill 40 @ 10 exec=x.1.01\nnotice 202 gone\nstatus Cancelled 0"))
    assert life.order().state is OrderState.CANCELLED
    assert list(reconcile(life, positions="position 40 10").breaks.values()) == ["medium"]


def test_fill_that_the_end_had_counted_is_no_contradiction_when_it_comes_late() -> None:
    life = opened(working("cancel\nstatus Cancelled 40\nfill 40 @ 10 exec=x.1.01"))
    assert reconcile(life, positions="position 40 10").breaks == {}


def test_claim_that_is_merely_older_than_the_fill_is_no_contradiction() -> None:
    life = opened(working("fill 40 @ 10\nstatus Submitted 40\nfill 60 @ 10"))
    assert reconcile(life, positions="position 100 10").breaks == {}


def test_bust_after_the_end_is_no_missing_fill() -> None:
    life = opened(working("fill 100 @ 10 exec=x.1.01\nstatus Filled 100\nfill 90 @ 10 exec=x.1.02"))
    assert reconcile(life, positions="position 90 10").breaks == {}


def test_overfilled_order_is_a_contradiction() -> None:
    life = opened(working("fill 60 @ 10\nfill 60 @ 10"))
    assert reconcile(life, positions="position 120 10").breaks == {"contradiction:A": "high"}


def test_execution_id_with_other_contents_is_a_contradiction() -> None:
    life = opened(working("fill 40 @ 10 exec=x.1.01"))
    run = reconcile(
        life,
        open_orders="open Submitted",
        executions="fill 50 @ 10 exec=x.1.01 fetched=yes",
        positions="position 40 10",
    )
    assert run.breaks == {"contradiction:DU1:x.1": "high"}


def test_execution_that_no_order_owns_is_shown() -> None:
    life = opened(play(""))
    run = reconcile(
        life,
        executions="fill 40 @ 10 exec=x.1.01 perm=0 id=-1 ref= side=SELL liquidation=yes",
        positions="position -40 10",
    )
    assert run.breaks == {"unknown_order:DU1:x.1": "high"}
    assert run.finding("unknown_order:DU1:x.1").text == "IB liquidated"


@pytest.mark.parametrize("told", ["position 150 10", "position 50 10", "position -100 10", ""])
def test_position_that_executions_do_not_explain_drifts(told: str) -> None:
    life = opened(working("fill 100 @ 10"))
    run = reconcile(life, positions=told)
    assert run.breaks == {"quantity_drift:DU1:1": "high"}
    assert life.position().quantity == Decimal(100)


def test_holding_that_we_never_heard_of_drifts() -> None:
    run = reconcile(opened(play("")), positions="position 5 10 con=8")
    assert run.breaks == {"quantity_drift:DU1:8": "high"}


# ── commissions ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("settle", "breaks"), [(0, {"commission_missing:DU1:x.1": "low"}), (60, {})]
)
def test_commission_is_missing_once_it_is_late(settle: int, breaks: dict[str, str]) -> None:
    rows = "fill 40 @ 10 exec=x.1.01 fetched=yes"
    run = reconcile(
        opened(working("fill 40 @ 10 exec=x.1.01")),
        commission_settle_seconds=settle,
        open_orders="open Submitted",
        executions=rows,
        positions="position 40 10",
    )
    assert run.breaks == breaks


def test_commission_without_its_execution_is_unknown_while_executions_are_not_answered() -> None:
    run = reconcile(
        opened(working("commission x.9.01 2")),
        open_orders="open Submitted",
        unanswered={"executions": "timed_out"},
    )
    assert "commission:x.9.01" in run.unknown


# ── what moves while it is asked for ─────────────────────────────────────────────────────────────


def test_order_that_changed_since_the_answers_were_asked_for_is_unknown_not_broken() -> None:
    life = opened(working())
    before = our_side(life)
    life.play("status Cancelled 0")
    found = reconcile(life, open_orders="open Submitted").found
    (broken,) = found.findings
    assert (broken.result, broken.break_class) == ("break", "wrong_state")
    run = reconcile(life, open_orders="open Submitted", prior=before)
    (finding,) = run.found.findings
    assert (finding.result, finding.text) == ("unknown", MOVED)


def test_order_that_has_not_left_is_not_lost() -> None:
    assert reconcile(opened(play("intent BUY 100 LMT 10"))).breaks == {}


def test_matches_beyond_what_anybody_reads_are_counted_with_a_digest_of_their_values() -> None:
    found = Compared()
    for number in range(LISTED_MAX + 1):
        finding = Finding(result="match", subject="order", key=f"order:{number}")
        found.add([Match("order", finding.key, "WORKING", (), partial(_as_is, finding))])
    listed, (count,) = found.listed()
    assert (listed, count.subject, count.count) == ([], "order", LISTED_MAX + 1)
    found.matches["order:0"] = found.matches["order:0"]._replace(values="FILLED")
    _, (other,) = found.listed()
    assert other.digest != count.digest
    del found.matches["order:1"]
    assert (len(found.listed()[0]), found.listed()[1]) == (LISTED_MAX, ())


def _as_is(finding: Finding) -> Finding:
    return finding


# ── cost ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("cost", "breaks"),
    [
        ("10", {}),
        ("10.0125", {}),  # 1.25 of commission over 100 shares
        ("10.02", {}),  # and a rounding
        ("10.5", {"cost_drift:DU1:1": "low"}),
        ("9.5", {"cost_drift:DU1:1": "low"}),
    ],
)
def test_cost_may_differ_by_commissions_and_rounding_only(
    cost: str, breaks: dict[str, str]
) -> None:
    life = opened(working("fill 100 @ 10 exec=x.1.01\ncommission x.1.01 1.25"))
    assert reconcile(life, positions=f"position 100 {cost}").breaks == breaks


@pytest.mark.parametrize(
    "table",
    [
        "fill 100 @ 10",
        "fill 100 @ 10 exec=x.1.01\ncommission x.1.01 1\nB: fill 1 @ 9 side=SELL ref=",
    ],
)
def test_cost_is_not_compared_without_commissions_or_after_a_sale(table: str) -> None:
    life = opened(working(table))
    held = life.position().quantity
    assert reconcile(life, positions=f"position {held} 55").breaks == {}


# ── what nobody can know ─────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("outcome", ["refused", "timed_out", "partial"])
@pytest.mark.parametrize("kind", KINDS)
def test_question_without_a_whole_answer_finds_nothing_missing(kind: str, outcome: Outcome) -> None:
    life = opened(
        working("fill 100 @ 10 exec=x.1.01\nB: intent SELL 5 MKT\nB: sent\nB: open Submitted")
    )
    tables = {
        "open_orders": "B: open Submitted",
        "executions": "fill 100 @ 10 exec=x.1.01 fetched=yes",
        "positions": "position 100 10",
    }
    tables.pop(kind, None)
    run = reconcile(life, unanswered={kind: outcome}, reaches={"executions": START}, **tables)
    assert (run.verdict, run.breaks) == ("unknown", {})
    assert f"question:{kind}" in run.unknown


def test_rows_of_a_partial_answer_count_and_what_it_lacks_does_not() -> None:
    life = opened(working())
    run = reconcile(
        life,
        open_orders="open Submitted",
        executions="fill 40 @ 10 exec=x.1.01 fetched=yes",
        positions="position 40 10",
        unanswered={"executions": "partial"},
    )
    assert life.order().filled == Decimal(40)
    assert run.breaks == {}


def test_drift_is_unknown_while_executions_are() -> None:
    life = opened(working("fill 100 @ 10"))
    run = reconcile(life, positions="position 60 10", unanswered={"executions": "timed_out"})
    assert "position:DU1:1" in run.unknown


def test_position_that_moves_while_it_is_asked_for_is_unknown() -> None:
    life = opened(working())
    run = reconcile(
        life, open_orders="open Submitted", meanwhile="fill 40 @ 10", positions="position 0"
    )
    assert run.unknown == {"position:DU1:1"}


def test_broker_rows_do_not_hide_that_the_position_moved() -> None:
    life = opened(working())
    run = reconcile(
        life,
        open_orders="open Submitted",
        meanwhile="fill 40 @ 10\nposition 40 10",
        positions="position 0",
    )
    assert run.unknown == {"position:DU1:1"}


def test_position_that_moved_just_before_may_lag_at_ib() -> None:
    """INC-141: the position update comes seconds after the fill."""
    life = opened(working("fill 100 @ 10"))
    assert reconcile(life, position_settle_seconds=60).unknown == {"position:DU1:1"}
    assert reconcile(life.wait(100), position_settle_seconds=60).breaks != {}


def test_claim_about_an_adopted_order_may_be_older_than_our_books() -> None:
    life = opened(play(""))
    rows = "M: open Submitted client=7 id=4 ref=\nM: status Submitted 40 client=7 id=4"
    reconcile(life, open_orders=rows)
    assert "order:perm-1013" in reconcile(life, open_orders=rows).unknown


def test_claim_about_an_order_older_than_ib_remembers_is_unknown() -> None:
    life = opened(working("status Submitted 40"))
    run = reconcile(life, open_orders="open Submitted", reaches={"executions": LATER})
    assert run.unknown == {"order:A"}


def test_untransmitted_order_is_listed_nowhere_and_is_no_break() -> None:
    life = opened(play("intent BUY 100 LMT 10 transmit=no\nsent"))
    assert reconcile(life).breaks == {}


def test_account_that_the_session_does_not_manage_is_said_and_left_alone() -> None:
    life = opened(working("fill 5 @ 10 account=DU2 ref= perm=5 id=0"))
    run = reconcile(
        life,
        accounts=("DU1",),
        open_orders="open Submitted",
        positions="position 9 1 account=DU2",
        reaches={"executions": START},
    )
    assert run.breaks == {"not_answered:DU2": "medium"}


def test_run_about_one_account_says_nothing_of_the_orders_and_fills_of_another() -> None:
    life = opened(working("fill 40 @ 10 exec=x.1.01"))
    run = reconcile(
        life,
        accounts=("DU2",),
        executions="fill 40 @ 10 exec=x.1.01 fetched=yes",
        commission_settle_seconds=0,
    )
    assert run.breaks == {"not_answered:DU1": "medium"}


def test_execution_that_was_corrected_after_its_row_came_has_moved() -> None:
    life = opened(working("fill 40 @ 10 exec=x.1.01"))
    run = reconcile(
        life,
        open_orders="open Submitted",
        executions="fill 40 @ 10 exec=x.1.01 fetched=yes",
        positions="position 30 10",
        meanwhile="fill 30 @ 10 exec=x.1.02",
    )
    assert run.finding("execution:DU1:x.1").text == MOVED
    assert run.breaks == {}


def test_missing_commission_that_comes_later_closes_its_case() -> None:
    life = opened(working("fill 40 @ 10 exec=x.1.01\nstatus Submitted 40"))
    answer = {
        "open_orders": "open Submitted\nstatus Submitted 40",
        "executions": "fill 40 @ 10 exec=x.1.01 fetched=yes",
        "positions": "position 40 10",
    }
    missing = reconcile(life, commission_settle_seconds=0, **answer)
    assert missing.cases() == ["opened commission_missing:DU1:x.1"]
    life.play("commission x.1.01 1.5")
    assert reconcile(life, **answer).cases() == ["closed commission_missing:DU1:x.1"]


DEPENDS: dict[QueryKind, set[str]] = {
    "open_orders": {"order:A"},
    "completed_orders": {"order:A"},
    "executions": {"position:DU1:1"},
    "positions": {"position:DU1:1"},
}


@pytest.mark.parametrize("outcome", ["timed_out", "refused", "partial"])
@pytest.mark.parametrize("kind", DEPENDS)
def test_a_question_without_an_answer_leaves_unknown_what_depends_on_it_and_only_that(
    kind: QueryKind, outcome: Outcome
) -> None:
    """An order that IB does not list as open, a fill, a position that nobody explains: each says
    what it says with every answer, but for what the missing one would have to show.
    """
    tables = {
        "executions": "fill 40 @ 10 exec=x.1.01 fetched=yes",
        "positions": "position 60 10",
    }
    life = "fill 40 @ 10 exec=x.1.01\nstatus Submitted 40"
    whole = reconcile(opened(working(life)), **tables)
    assert whole.breaks == {"lost_order:A": "high", "quantity_drift:DU1:1": "high"}
    answered = {name: table for name, table in tables.items() if name != kind}
    run = reconcile(opened(working(life)), unanswered={kind: outcome}, **answered)
    assert run.unknown == {f"question:{kind}", *DEPENDS[kind]}
    of_whole = {f.key for f in whole.findings if _thing(f) not in map(_named, DEPENDS[kind])}
    if kind == "executions":
        of_whole -= {"execution:DU1:x.1"}  # No row of it came.
    assert {f.key for f in run.findings if f.result != "unknown"} == of_whole


def _thing(finding: Finding) -> tuple[str, str]:
    return finding.subject, finding.key.partition(":")[2]


def _named(key: str) -> tuple[str, str]:
    subject, _, thing = key.partition(":")
    return subject, thing


def test_positions_without_an_answer_settle_and_open_no_case_about_holdings() -> None:
    life = opened(working("fill 40 @ 10 exec=x.1.01\nstatus Submitted 40"))
    tables = {
        "open_orders": "open Submitted\nstatus Submitted 40",
        "executions": "fill 40 @ 10 exec=x.1.01 fetched=yes",
    }
    assert reconcile(life, positions="position 60 10", **tables).cases() == [
        "opened quantity_drift:DU1:1"
    ]
    for outcome in ("timed_out", "refused", "partial"):
        run = reconcile(life, unanswered={"positions": outcome}, **tables)
        assert run.cases(complete=False) == []
        assert run.verdict == "unknown"
    assert reconcile(life, positions="position 40 10", **tables).cases() == [
        "closed quantity_drift:DU1:1"
    ]
