"""Attribution, positions, commissions, sessions and what may leave memory."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from oms.core.contracts import Contract
from oms.core.events import (
    EVENT_TYPES,
    AccountValueReceived,
    BreakClosed,
    BreakOpened,
    BreakUpdated,
    Context,
    Envelope,
    Finding,
    OrderRequested,
    Question,
    ReconciliationCompleted,
    ReconciliationStarted,
    SessionReady,
    Terms,
    TradingHaltedByPerson,
    TradingResumed,
)
from oms.core.fold.apply import apply, companions, initial, wanted
from oms.core.fold.books import stem_and_revision
from oms.core.fold.records import (
    TABLES,
    Anomaly,
    BreakCase,
    EarlyCommission,
    Fill,
    OrderState,
    RunRecord,
    SessionRecord,
)
from oms.core.fold.wants import Want
from tests.lives import START, Life, play, working

S = OrderState


# ── whose message is it ──────────────────────────────────────────────────────────────────────────


def test_order_ref_wins_over_every_number() -> None:
    life = play("intent BUY 100 LMT 10\nsent\nB: intent SELL 5 MKT\nB: sent")
    life.play("fill 40 @ 10 id=2 perm=9999")
    assert (life.order("A").filled, life.order("B").filled) == (Decimal(40), Decimal(0))


def test_order_id_reissued_in_a_new_session_names_the_new_order_only() -> None:
    """INC-18: ids of orders that were lost are handed out again."""
    life = play("intent BUY 100 LMT 10\nsent\nlost\nsession next=1")
    life.play("B: intent SELL 5 MKT\nB: sent id=1\nB: status Submitted 0 id=1\nB: notice 201 id=1")
    assert life.order("A").state is S.IN_DOUBT
    assert (life.order("B").state, life.order("B").perm_ids) == (S.WORKING, (1002,))


def test_execution_of_an_earlier_session_is_not_given_to_the_order_that_has_its_id_now() -> None:
    """INC-19: a fetched execution shows the order id of its own session."""
    life = play("intent BUY 100 LMT 10\nsent\nlost\nsession next=1")
    life.play("B: intent SELL 5 STP 9\nB: sent id=1\nB: open PreSubmitted id=1")
    life.play("fill 100 @ 10 id=1 fetched=yes")
    assert (life.order("A").state, life.order("B").filled) == (S.FILLED, Decimal(0))
    assert life.play("notice 202 id=1").order("B").state is S.CANCELLED


def test_fetched_execution_of_a_stranger_is_not_given_to_the_order_that_has_its_id() -> None:
    life = play("intent BUY 100 LMT 10\nsent")
    life.play("fill 100 @ 10 id=1 perm=7777 ref=another fetched=yes")
    assert (life.order().state, life.order().filled) == (S.IN_FLIGHT, Decimal(0))
    assert life.position().quantity == Decimal(100)


@pytest.mark.parametrize("number", [0, -1, 2147483647])
def test_numbers_that_name_no_order_are_not_identities(number: int) -> None:
    """INC-22, INC-26, INC-169: orders of others and liquidations all come with the same number."""
    life = play(f"adopt Submitted client=7 id={number}\nB: adopt Submitted client=7 id={number}")
    life.play(f"C: status Cancelled 0 id={number} client=7 perm=0")
    assert [life.order(n).state for n in "AB"] == [S.WORKING, S.WORKING]


def test_other_order_of_another_client_under_a_known_id_is_another_order() -> None:
    life = play("adopt Submitted client=7 id=4\nB: status Cancelled 0 client=7 id=4 perm=1002")
    assert life.order("A").state is S.WORKING


def test_second_permanent_number_of_our_order_is_kept_and_shown() -> None:
    """INC-21: a change on a bad line becomes a second live order."""
    life = working("open Submitted perm=2001")
    assert life.order().perm_ids == (1001, 2001)
    anomaly = life.books.all(Anomaly)[0]
    assert (anomaly.kind, anomaly.order_id) == ("two_perm_ids", "A")


def test_order_ends_with_the_last_of_its_permanent_numbers() -> None:
    """INC-21: one of the two was cancelled; six hours later the other filled."""
    life = working("open Submitted perm=2001")
    order = life.play("status Cancelled 0 perm=2001 id=9").order()
    assert (order.state, order.ended_perm_ids) == (S.WORKING, (2001,))
    assert "1001 may still be at work" in order.refusal
    assert life.play("status Cancelled 0 perm=1001").order().state is S.CANCELLED


def test_code_that_names_no_permanent_number_ends_none_of_two() -> None:
    life = working("open Submitted perm=2001")
    assert life.play("notice 202").order().state is S.WORKING


def test_manual_order_keeps_its_fills_when_it_is_adopted() -> None:
    life = play("fill 30 @ 10 ref= id=0 exec=m.1.01\ncommission m.1.01 1.5\nfill 20 @ 12 ref= id=0")
    life.play("adopt Submitted origin=manual")
    order = life.order()
    assert (order.origin, order.state) == ("manual", S.PARTIALLY_FILLED)
    assert (order.filled, order.notional) == (Decimal(50), Decimal(540))
    assert order.commissions == (("USD", Decimal("1.5")),)
    assert {f.order_id for f in life.fills()} == {"A"}


def test_fill_that_came_before_its_order_had_a_number_is_claimed_with_the_number() -> None:
    life = play("intent BUY 100 LMT 10\nsent\nfill 40 @ 10 ref= id=0")
    assert life.order().filled == Decimal(0)
    assert life.play("status Submitted 40").order().filled == Decimal(40)


def test_liquidation_moves_the_position_and_no_order() -> None:
    life = working("fill 100 @ 10\nfill 100 @ 8 side=SELL perm=0 id=-1 ref= liquidation=yes")
    assert life.position().quantity == Decimal(0)
    liquidated = life.fills()[-1]
    assert (liquidated.order_id, liquidated.liquidation, liquidated.live) == ("", True, False)


def test_bound_manual_order_is_followed_under_its_new_id() -> None:
    life = play("adopt Submitted\nbound id=-4 client=0\nstatus Cancelled 0 id=-4 client=0 perm=0")
    assert life.order().state is S.CANCELLED


def test_order_adopted_twice_is_one_order() -> None:
    life = play("adopt Submitted\nfill 10 @ 10 ref=\nadopt Submitted")
    assert life.order().filled == Decimal(10)


def test_what_if_order_is_not_an_order_status() -> None:
    assert (
        play("intent BUY 1 MKT\nsent\nopen PreSubmitted what_if=yes").order().state is S.IN_FLIGHT
    )


def test_rolled_back_order_id_is_shown_and_the_highest_is_remembered() -> None:
    life = play("intent BUY 100 LMT 10\nsent id=38099\nopen Submitted id=38099\nlost")
    life.play("session next=38099")
    assert [a.kind for a in life.books.all(Anomaly)] == ["order_id_rollback"]
    assert life.system.highest_broker_order_ids == {1: 38099}


def test_order_id_that_left_and_never_arrived_is_rightly_offered_again() -> None:
    life = play("intent BUY 100 LMT 10\nsent id=38099\nlost\nsession next=38099")
    assert life.books.all(Anomaly) == []


def test_ids_seen_on_open_orders_raise_the_floor_too() -> None:
    """INC-33: an id above one seen in open orders is needed, or the gateway answers 103."""
    life = play("adopt Submitted client=1 id=77")
    assert life.system.highest_broker_order_ids == {1: 77}


# ── executions, corrections, commissions ─────────────────────────────────────────────────────────


def test_stem_is_shared_by_an_execution_and_its_corrections() -> None:
    assert stem_and_revision("0000e0d5.5f3a1b2c.01.02") == ("0000e0d5.5f3a1b2c.01", 2)
    assert stem_and_revision("F-1") == ("F-1", 0)
    # A name may end in a number; to look for as many earlier revisions would take for ever.
    assert stem_and_revision("0000e0d5.99999999") == ("0000e0d5.99999999", 0)
    assert stem_and_revision(f"x.{'9' * 5_000}")[1] == 0
    assert stem_and_revision("x.999") == ("x", 999)


def test_older_revision_that_comes_late_changes_nothing_and_is_named() -> None:
    life = working("fill 90 @ 10 exec=x.1.02\nfill 100 @ 10 exec=x.1.01")
    assert (life.order().filled, life.position().quantity) == (Decimal(90), Decimal(90))
    assert life.fills()[0].superseded == ("x.1.01",)


ORIGINAL, CORRECTION = "fill 40 @ 10 exec=x.1.01", "fill 40 @ 11 exec=x.1.02"
OLD_COST, NEW_COST = "commission x.1.01 2.5", "commission x.1.02 3"


@pytest.mark.parametrize("order", list(itertools.permutations((ORIGINAL, CORRECTION, OLD_COST))))
def test_what_a_corrected_execution_cost_is_its_corrections_cost_until_that_is_told(
    order: tuple[str, ...],
) -> None:
    life = working("\n".join(order))
    assert (life.fills()[0].commission, life.order().commissions) == (
        Decimal("2.5"),
        (("USD", Decimal("2.5")),),
    )
    assert [early for early in life.books.all(EarlyCommission) if not early.joined] == []
    life.play(NEW_COST)
    assert life.fills()[0].commission == life.order().commissions[0][1] == Decimal(3)


def test_what_a_corrected_execution_cost_changes_nothing_once_the_correction_has_its_cost() -> None:
    for text in (f"{NEW_COST}\n{OLD_COST}", f"{OLD_COST}\n{NEW_COST}"):
        for fills in (f"{ORIGINAL}\n{CORRECTION}", CORRECTION):
            life = working(f"{fills}\n{text}")
            assert life.fills()[0].commission == life.order().commissions[0][1] == Decimal(3)
            assert life.position().commissions == (("USD", Decimal(3)),)
            assert life.books.all(EarlyCommission) == []


def test_same_execution_twice_changes_nothing() -> None:
    life = working("fill 40 @ 10 exec=x.1.01\nfill 40 @ 10 exec=x.1.01 fetched=yes")
    assert (life.order().filled, life.fills()[0].superseded) == (Decimal(40), ())


def test_correction_restates_the_position_as_if_it_had_been_right_from_the_start() -> None:
    corrected = working(
        "fill 60 @ 10 exec=x.1.01\nfill 40 @ 12 side=SELL\nfill 60 @ 11 exec=x.1.02"
    )
    right = working("fill 60 @ 11 exec=x.1.02\nfill 40 @ 12 side=SELL")
    for name in ("quantity", "average_price", "realised_pnl"):
        assert getattr(corrected.position(), name) == getattr(right.position(), name)


def test_correction_that_names_no_order_still_restates_the_order_of_the_execution() -> None:
    life = working("fill 60 @ 10 exec=x.1.01\nfill 50 @ 10 exec=x.1.02 ref= perm=0 id=0")
    assert life.order().filled == Decimal(50)


@pytest.mark.parametrize(
    "table",
    [
        "fill 100 @ 10 exec=x.1.01\ncommission x.1.01 1.25",
        "commission x.1.01 1.25\nfill 100 @ 10 exec=x.1.01",
        "fill 100 @ 10 exec=x.1.01\ncommission x.1.01 1.25\ncommission x.1.01 1.25",
        "commission x.1.01 unknown\nfill 100 @ 10 exec=x.1.01\ncommission x.1.01 1.25",
        "commission x.1.01 unknown\ncommission x.1.01 1.25\nfill 100 @ 10 exec=x.1.01",
        "commission x.1.01 1.25\ncommission x.1.01 unknown\nfill 100 @ 10 exec=x.1.01",
        "fill 100 @ 10 exec=x.1.01\ncommission x.1.01 1.25\ncommission x.1.01 unknown",
        "fill 100 @ 10 exec=x.1.01\ncommission x.1.01 1.25\nfill 100 @ 10 exec=x.1.02",
        "fill 100 @ 10 exec=x.1.01\ncommission x.1.01 9\nfill 100 @ 10 exec=x.1.02\n"
        "commission x.1.02 1.25",
    ],
)
def test_commission_counts_once_whenever_it_comes(table: str) -> None:
    life = working(table)
    paid = (("USD", Decimal("1.25")),)
    assert (life.order().commissions, life.position().commissions) == (paid, paid)
    assert life.fills()[0].commission == Decimal("1.25")


def test_commission_without_an_execution_waits_for_it() -> None:
    life = working("commission x.1.01 1.25")
    assert [e.live for e in life.books.all(EarlyCommission)] == [True]
    life.play("fill 100 @ 10 exec=x.1.01")
    assert [e.live for e in life.books.all(EarlyCommission)] == [False]


def test_rebate_lowers_what_was_charged() -> None:
    life = working("fill 50 @ 10 exec=x.1.01\ncommission x.1.01 1\nfill 50 @ 10 exec=x.2.01")
    life.play("commission x.2.01 -0.25")
    assert life.order().commissions == (("USD", Decimal("0.75")),)


def test_a_charge_that_comes_to_nothing_is_no_charge_on_any_way() -> None:
    life = working("fill 50 @ 10 exec=x.1.01\ncommission x.1.01 1 USD\nfill 50 @ 10 exec=x.2.01")
    life.play("commission x.2.01 -1 USD")
    assert (life.order().commissions, life.position().commissions) == ((), ())


def test_commissions_in_several_currencies_are_never_mixed() -> None:
    life = working("fill 50 @ 10 exec=x.1.01\ncommission x.1.01 1 USD\nfill 50 @ 10 exec=x.2.01")
    life.play("commission x.2.01 2 EUR")
    assert life.order().commissions == (("EUR", Decimal(2)), ("USD", Decimal(1)))


# ── positions of accounts ────────────────────────────────────────────────────────────────────────


def test_accounts_and_contracts_are_kept_apart() -> None:
    life = working("fill 10 @ 10\nfill 20 @ 10 account=DU2\nfill 30 @ 10 con=2")
    held = [life.position(1), life.position(1, "DU2"), life.position(2)]
    assert [p.quantity for p in held] == [Decimal(10), Decimal(20), Decimal(30)]


def test_opening_is_older_than_every_fill() -> None:
    life = working("fill 50 @ 20 side=SELL\nopening 100 10")
    position = life.position()
    assert (position.quantity, position.average_price) == (Decimal(50), Decimal(10))
    assert position.realised_pnl == Decimal(500)


def test_position_of_the_broker_stands_beside_ours() -> None:
    position = working("fill 10 @ 10\nposition 15 10.1").position()
    assert (position.quantity, position.broker_quantity) == (Decimal(10), Decimal(15))
    assert position.broker_average_cost == Decimal("10.1")


def test_only_executions_and_openings_move_a_position() -> None:
    life = working("fill 10 @ 10")
    moved = life.last
    assert life.play("position 10 10").position().moved_sequence == moved


# ── the whole ────────────────────────────────────────────────────────────────────────────────────


def test_session_is_followed_from_handshake_to_loss() -> None:
    life = play("")
    assert (life.system.connected, life.system.ready, life.system.session_epoch) == (True, False, 1)
    life.apply(SessionReady(run_id="R1"))
    assert life.system.ready
    life.play("lost")
    session = life.books.all(SessionRecord)[0]
    assert (life.system.connected, life.system.ready) == (False, False)
    assert (session.live, session.close_reason) == (False, "connection reset")


def test_crash_closes_the_session_and_opens_a_gap() -> None:
    life = play("crash")
    assert [s.live for s in life.books.all(SessionRecord)] == [False]
    assert life.system.gap_cause == "daemon was down"


def test_gap_keeps_its_first_cause_until_it_closes() -> None:
    life = play("gap 1100\ngap 2110")
    assert (life.system.gap_cause, life.system.gap_sequence) == ("1100", 2)
    assert life.play("whole").system.gap_sequence == 0


def test_halt_stands_until_a_person_lifts_it() -> None:
    life = play("")
    life.apply(TradingHaltedByPerson(reason="lunch"), actor="person:ann")
    assert (life.system.halted, life.system.halt_actor) == (True, "person:ann")
    life.apply(TradingResumed(reason="back"))
    assert not life.system.halted


def test_unreadable_message_is_shown_until_a_person_closes_its_case() -> None:
    life = play("unreadable")
    key = f"unreadable_message:{life.last}"
    finding = Finding(result="break", subject="message", key=key)
    life.apply(BreakOpened(break_id="B1", run_id="R1", finding=finding))
    life.apply(BreakClosed(break_id="B1", run_id="R1", reason="a run has no say in it"))
    assert [a.live for a in life.books.all(Anomaly)] == [True]
    life.apply(BreakClosed(break_id="B1", run_id=None, reason="read it by hand"))
    assert [a.live for a in life.books.all(Anomaly)] == [False]


def test_case_remembers_who_closed_it_and_how_often_it_came_back() -> None:
    finding = Finding(result="break", subject="order", key="lost_order:A", order_id="A")
    life = working()
    life.apply(BreakOpened(break_id="B1", run_id="R1", finding=finding))
    life.apply(BreakUpdated(break_id="B1", run_id="R2", finding=finding))
    life.apply(BreakClosed(break_id="B1", run_id=None, reason="seen"))
    case = life.books.get("breaks", "B1")
    assert isinstance(case, BreakCase)
    assert (case.status, case.seen, case.closed_by_person) == ("closed", 2, True)
    life.apply(BreakOpened(break_id="B1", run_id="R3", finding=finding, reopened=True))
    case = life.books.get("breaks", "B1")
    assert isinstance(case, BreakCase)
    assert (case.status, case.reopened, case.closed_by_person) == ("open", 1, False)


def _run(life: Life, *answered: str) -> ReconciliationCompleted:
    return ReconciliationCompleted(
        run_id="R1",
        trigger="person",
        verdict="clean",
        started_at=START,
        finished_at=START,
        accounts=("DU1",),
        books_sequence=life.last,
        questions=tuple(
            Question(
                query_id=f"R1:{kind}",
                kind=kind,
                outcome="complete",
                asked_at=START,
                answered_at=START,
                asked_sequence=1,
            )
            for kind in answered
        ),
        findings=(),
    )


@pytest.mark.parametrize(
    ("answered", "opened"),
    [(("positions", "executions"), ("DU1",)), (("positions",), ()), (("executions",), ())],
)
def test_accounts_are_opened_only_by_whole_answers(
    answered: tuple[str, ...], opened: tuple[str, ...]
) -> None:
    life = play("")
    life.apply(ReconciliationStarted(run_id="R1", trigger="person"))
    assert [r.live for r in life.books.all(RunRecord)] == [True]
    life.apply(_run(life, *answered))
    assert life.system.opened_accounts == opened
    assert [r.live for r in life.books.all(RunRecord)] == [False]


# ── memory ───────────────────────────────────────────────────────────────────────────────────────


def test_what_has_ended_may_leave_and_what_is_live_may_not() -> None:
    life = working("fill 100 @ 10\nB: intent SELL 5 MKT\nB: sent\nB: open Submitted")
    life.apply(AccountValueReceived(account="DU1", key="Cash", value="1", source="updates"))
    leaving = {key for _, key in life.books.evictable()}
    assert leaving == {"A", "DU1:x.1", "DU1:Cash:"}


def test_what_ib_shows_of_others_may_leave_and_is_asked_for_by_its_names() -> None:
    """There can be any number of it: an order of somebody else and a fill that nobody claims."""
    life = play("open Submitted client=5 ref=k\nfill 10 @ 10 client=5 ref=")
    names = {("unknown_orders", "perm:1001"), ("unknown_orders", "ref:k"), ("fills", "DU1:x.1")}
    assert names <= set(life.books.evictable())
    life.play("adopt Submitted client=5 ref=k")
    for table, key in [("orders", "A"), *names]:
        life.books.evict(table, key)
    assert wanted(life.envelopes[-1], life.books) == (
        Want("orders", "", "A"),
        Want("unknown_orders", "", "ref:k"),
        Want("unknown_orders", "", "perm:1001"),
        Want("fills", "perm_id", 1001),
    )


def test_fill_of_nobody_that_a_correction_gives_another_number_is_that_ones() -> None:
    life = play("fill 10 @ 10 client=5 ref= perm=7 exec=x.1.01")
    life.play("fill 10 @ 11 client=5 ref= perm=8 exec=x.1.02")
    assert life.books.unclaimed(7) == []
    life.play("intent BUY 10 LMT 10\nsent\nfill 10 @ 12 perm=9 exec=x.1.03")
    assert (life.books.unclaimed(8), life.order().filled) == ([], Decimal(10))


def test_evicted_order_is_found_again_after_it_was_restored() -> None:
    life = working("fill 100 @ 10 exec=x.1.01")
    order, fill = life.order(), life.fills()[0]
    for table, key in life.books.evictable():
        life.books.evict(table, key)
    assert life.books.order("A") is None
    life.books.restore("orders", order)
    life.books.restore("fills", fill)
    assert life.play("commission x.1.01 2").order().commissions == (("USD", Decimal(2)),)


def test_restoring_never_replaces_what_is_newer() -> None:
    life = working()
    old = life.order()
    life.play("fill 10 @ 10").books.restore("orders", old)
    assert life.order().filled == Decimal(10)


def test_late_code_for_an_evicted_order_asks_for_it_by_its_number() -> None:
    life = working("status Cancelled 0\nnotice 202")
    assert wanted(life.envelopes[-1], life.books) == (Want("orders", "broker_key", "1:1:1"),)


def test_late_commission_asks_for_order_and_position_of_its_fill() -> None:
    life = working("fill 100 @ 10 exec=x.1.01\ncommission x.1.01 1")
    charged, fill = life.envelopes[-1], life.fills()[0]
    beside = (Want("positions", "", "DU1:1"), Want("orders", "", "A"))
    assert wanted(charged, life.books) == beside
    life.books.evict("fills", fill.key)
    by_exec_id = Want("fills", "exec_id", "x.1.01")
    early = Want("early_commissions", "", "x.1.01")
    by_key = Want("fills", "", "DU1:x.1")  # in case that it is corrected by now
    assert set(wanted(charged, life.books)) == {by_exec_id, early, by_key}
    assert companions(fill) == beside


def test_every_want_names_a_table_and_a_column_that_exist() -> None:
    life = working(
        "fill 10 @ 10 exec=x.1.02\ncommission x.1.02 1\nopening 1 1\ncompleted Filled 10"
    )
    for envelope in life.envelopes:
        for want in wanted(envelope, life.books):
            columns = {"", *TABLES[want.table].columns}
            assert want.column in columns, want


def test_every_order_is_told_by_its_links() -> None:
    life = working("fill 40 @ 10 exec=x.1.01\ncommission x.1.01 1")
    story = [sequence for order_id, sequence in life.books.links() if order_id == "A"]
    assert story == [2, 3, 4, 5, 6, 7]


def test_an_adopted_order_is_told_by_what_came_before_it_was_known() -> None:
    """The message that it was adopted by, its executions, and what was charged for them."""
    life = Life().play("session\nfill 40 @ 10 exec=x.1.01 ref= perm=77\ncommission x.1.01 1")
    life.play("position 40 10\nstatus Filled 40 perm=77")
    life.play("B: adopt Filled perm=77 evidence=5")
    story = {sequence for order_id, sequence in life.books.links() if order_id == "B"}
    assert story == {2, 3, 5, 6}


def test_what_was_told_of_earlier_revisions_is_told_of_the_order_that_claims_them() -> None:
    """Each revision, what it cost, and what came late or before it, however the order is found."""
    life = Life().play("session\nfill 40 @ 10 exec=x.1.01 ref= perm=77\ncommission x.1.01 1")
    life.play("fill 30 @ 10 exec=x.1.02 ref= perm=77\ncommission x.1.02 1.1")
    life.play("commission x.1.01 1.05\nfill 40 @ 10 exec=x.1.01 ref= perm=77")
    life.play("commission x.1.04 2\nfill 20 @ 10 exec=x.1.05 ref= perm=77")
    life.play("fill 20 @ 10 exec=x.1.03 ref= perm=77\nposition 40 10")
    adopted = life.play("B: adopt Filled perm=77 evidence=2").books.links()
    story = {sequence for order_id, sequence in adopted if order_id == "B"}
    assert story == {2, 3, 4, 5, 6, 8, 9, 10, 12}
    life = working("fill 40 @ 10 exec=x.1.01 ref= perm=77 id=0\ncommission x.1.01 1")
    life.play("fill 30 @ 10 exec=x.1.02 perm=77\ncommission x.1.02 1\ncommission x.1.01 1.05")
    story = {sequence for order_id, sequence in life.books.links() if order_id == "A"}
    assert story == {2, 3, 4, 5, 6, 7, 8, 9, 10}


def test_facts_without_a_fold_leave_the_books_alone() -> None:
    assert "QueryAsked" in EVENT_TYPES
    life = working()
    assert isinstance(life.books.get("orders", "A"), type(life.order()))
    assert life.books.get("fills", "none") is None
    assert life.books.all(Fill) == []


def test_a_request_from_the_shell_begins_the_story_of_its_order() -> None:
    books = initial()
    request = OrderRequested(
        order_id="A",
        account="DU1",
        contract=Contract(symbol="SPY"),
        terms=Terms(side="BUY", quantity=Decimal(1), order_type="MKT"),
    )
    moment = datetime(2026, 11, 20, tzinfo=UTC)
    apply(books, Envelope(1, request, Context("person:ann"), moment))
    assert books.links() == [("A", 1)]
    assert books.order("A") is None
