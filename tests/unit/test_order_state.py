"""The life of one order: what each message of IB does to it, in every order of arrival."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from oms.core.codes import TABLE, meaning
from oms.core.events import OpenOrderReceived, OrderStatusReceived
from oms.core.fold.order_state import answered_with, may_be_refused
from oms.core.fold.records import ENDED, OrderState
from tests.lives import Life, play, terms, working

S = OrderState

#: Transitions that the OMS must accept (broker notes: status): name, table, state, filled.
B1 = [
    ("limit resting", "open PreSubmitted\nstatus PreSubmitted 0\nopen Submitted", S.WORKING, 0),
    ("market, execution first", "fill 100 @ 10\nopen Filled\nstatus Filled 100", S.FILLED, 100),
    ("market, execution only", "fill 100 @ 10", S.FILLED, 100),
    ("fill", "status Submitted 0\nfill 100 @ 10\nopen Filled\nstatus Filled 100", S.FILLED, 100),
    ("partial", "open Submitted\nfill 40 @ 10\nstatus Submitted 40", S.PARTIALLY_FILLED, 40),
    ("pending", "open PendingSubmit\nstatus PendingSubmit 0", S.IN_FLIGHT, 0),
    ("pending at the gateway", "status ApiPending 0", S.IN_FLIGHT, 0),
    (
        "cancel, status first",
        "open Submitted\ncancel\nstatus Cancelled 0\nnotice 202",
        S.CANCELLED,
        0,
    ),
    (
        "cancel, code first",
        "open Submitted\ncancel\nnotice 202\nstatus Cancelled 0",
        S.CANCELLED,
        0,
    ),
    ("cancel before acknowledgement", "cancel\nstatus ApiCancelled 0", S.CANCELLED, 0),
    ("cancel pending", "open Submitted\ncancel\nstatus PendingCancel 0", S.CANCEL_PENDING, 0),
    (
        "cancel loses to a fill",
        "open Submitted\ncancel\nfill 100 @ 10\nstatus Filled 100\nnotice 10148 state: Filled",
        S.FILLED,
        100,
    ),
    (
        "pending cancel, then filled",
        "open Submitted\nstatus PendingCancel 0\nfill 100 @ 10\nstatus Filled 100",
        S.FILLED,
        100,
    ),
    (
        "fill after Cancelled",
        "open Submitted\ncancel\nstatus Cancelled 0\nfill 100 @ 10",
        S.FILLED,
        100,
    ),
    (
        "part of a fill after Cancelled",
        "open Submitted\ncancel\nstatus Cancelled 0\nfill 40 @ 10",
        S.CANCELLED,
        40,
    ),
    ("reject by the server", "notice 201\nopen Inactive\nstatus Inactive 0", S.REJECTED, 0),
    ("reject, status first", "open Inactive\nstatus Inactive 0\nnotice 201", S.REJECTED, 0),
    ("reject by price check", "notice 201\nstatus Cancelled 0\nnotice 202", S.REJECTED, 0),
    ("cancelled by price check", "open Submitted\nstatus Cancelled 0\nnotice 202", S.CANCELLED, 0),
    ("reject by validation", "notice 110", S.REJECTED, 0),
    ("waits for shares", "notice 404\nopen PreSubmitted", S.HELD, 0),
    ("waits for shares, by its status", "status PreSubmitted 0 why=locate", S.HELD, 0),
    ("and for its trigger", "status PreSubmitted 0 why=trigger,locate", S.HELD, 0),
    ("waits for its trigger", "status PreSubmitted 0 why=trigger", S.WORKING, 0),
    ("shares are found", "notice 404\nopen PreSubmitted\nstatus PreSubmitted 0", S.WORKING, 0),
    ("in part at work", "status Submitted 0 why=locate", S.HELD, 0),
    ("held for shares", "open Inactive\nstatus Inactive 0 why=locate", S.HELD, 0),
    ("held after a reject code", "notice 404\nstatus Inactive 0 why=locate", S.HELD, 0),
    ("inactive without a word", "status Inactive 0", S.HELD, 0),
    ("held, then at work", "status Inactive 0 why=locate\nstatus Submitted 0", S.WORKING, 0),
    (
        "stop triggered",
        "open PreSubmitted\nopen Submitted\nfill 100 @ 9\nopen Filled",
        S.FILLED,
        100,
    ),
    ("expired at the end of the day", "open Submitted\nnotice 202 Order Expired", S.EXPIRED, 0),
    (
        "expired, as the completed order says",
        "open Submitted\nstatus Cancelled 0\ncompleted Cancelled 0 Expired at the close",
        S.EXPIRED,
        0,
    ),
    ("unknown status", "status WarnState 0", S.WORKING, 0),
]


@pytest.mark.parametrize(("name", "table", "state", "filled"), B1, ids=[row[0] for row in B1])
def test_order_follows_the_messages(name: str, table: str, state: OrderState, filled: int) -> None:
    order = play("intent BUY 100 LMT 10\nsent\n" + table).order()
    assert (order.state, order.filled) == (state, Decimal(filled)), name


def test_every_status_may_come_twice() -> None:
    for name, table, _, _ in B1:
        lines = table.splitlines()
        doubled = "\n".join(
            x for line in lines for x in (line, line) if not line.startswith("fill")
        )
        once = "\n".join(line for line in lines if not line.startswith("fill"))
        first = play("intent BUY 100 LMT 10\nsent\n" + once).order()
        second = play("intent BUY 100 LMT 10\nsent\n" + doubled).order()
        assert (first.state, first.end) == (second.state, second.end), name


# ── codes ────────────────────────────────────────────────────────────────────────────────────────

CODES = (*TABLE, 99999)


def test_code_ends_a_new_order_only_where_the_table_says_so() -> None:
    expected = {
        "reject": S.REJECTED,
        "reject_or_modify_reject": S.REJECTED,
        "protocol": S.REJECTED,
        "cancelled": S.CANCELLED,
        "held": S.HELD,
    }
    for code in CODES:
        state = play(f"intent BUY 100 LMT 10\nsent\nnotice {code}").order().state
        assert state is expected.get(meaning(code).kind, S.IN_FLIGHT), code


def test_code_never_ends_a_live_order_but_202() -> None:
    for code in CODES:
        state = working(f"notice {code}").order().state
        assert state is {202: S.CANCELLED, 404: S.HELD}.get(code, S.WORKING), code


def test_code_never_takes_back_a_fill() -> None:
    for code in CODES:
        assert working(f"fill 100 @ 10\nnotice {code}").order().state is S.FILLED, code


def test_warning_stands_beside_the_state() -> None:
    order = working("notice 10349 Order TIF was set to DAY").order()
    assert (order.state, order.warning) == (S.WORKING, "10349 Order TIF was set to DAY")


@pytest.mark.parametrize(
    ("code", "changed"),
    [
        (10349, {"tif": "GTC"}),
        (2109, {"outside_rth": True}),
        (481, {"quantity": Decimal(60)}),
    ],
)
def test_terms_that_ib_announced_to_set_itself_are_those_it_then_shows(
    code: int, changed: dict[str, Any]
) -> None:
    for text in (f"notice {code} a preset\nopen Submitted", f"open Submitted\nnotice {code} set"):
        life = working(text)
        shown = next(e.event for e in life.envelopes if isinstance(e.event, OpenOrderReceived))
        assert [n for n, v in changed.items() if getattr(life.order().terms, n) == v] == []
        life.apply(shown.evolve(**changed, limit_price=Decimal(11)))
        terms = life.order().terms
        assert {name: getattr(terms, name) for name in changed} == changed
        assert terms.limit_price == Decimal(10)  # nobody announced that


def test_terms_that_nobody_announced_stay_as_asked_and_a_size_only_shrinks() -> None:
    life = working("notice 399 a warning\nnotice 481 reduced")
    shown = next(e.event for e in life.envelopes if isinstance(e.event, OpenOrderReceived))
    life.apply(shown.evolve(tif="GTC", quantity=Decimal(150)))
    assert (life.order().terms.tif, life.order().terms.quantity) == ("DAY", Decimal(100))


def test_a_status_without_sizes_moves_the_order_and_takes_back_no_claim() -> None:
    life = working("fill 40 @ 10\nstatus Submitted 40")
    shown = life.envelopes[-1].event
    assert isinstance(shown, OrderStatusReceived)
    life.apply(shown.evolve(status="Cancelled", filled=None, remaining=None))
    assert (life.order().state, life.order().status_filled) == (S.CANCELLED, Decimal(40))


def test_unknown_code_is_kept_with_its_text() -> None:
    order = working("notice 99999 what is this").order()
    assert (order.state, order.code, order.text) == (S.WORKING, 99999, "what is this")


def test_reject_that_was_concluded_is_taken_back_when_ib_shows_the_order_at_work() -> None:
    order = play("intent BUY 100 LMT 10\nsent\nnotice 10329\nopen Submitted").order()
    assert (order.state, order.end, order.ended_at) == (S.WORKING, "", None)


# ── late and stale ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("stale", ["PreSubmitted", "Submitted", "PendingSubmit", "PendingCancel"])
@pytest.mark.parametrize("end", ["Filled", "Cancelled", "ApiCancelled"])
@pytest.mark.parametrize("message", ["status", "open"])
def test_late_repetition_does_not_revive_an_ended_order(stale: str, end: str, message: str) -> None:
    life = working(f"status {end} 0")
    ended = life.order().state
    assert life.play(f"{message} {stale} 0" if message == "status" else f"open {stale}") is life
    assert (life.order().state, life.order().status) == (ended, end)


def test_late_inactive_does_not_turn_a_cancel_into_a_reject() -> None:
    order = working("notice 201 refused\nstatus Cancelled 0\nstatus Inactive 0").order()
    assert order.state is S.REJECTED
    order = working("cancel\nstatus Cancelled 0\nnotice 201\nstatus Inactive 0").order()
    assert order.state is S.CANCELLED


def test_claim_of_a_late_repetition_is_not_believed() -> None:
    order = working("fill 100 @ 10\nstatus Filled 100\nstatus Submitted 40").order()
    assert (order.status_filled, order.claim_is_final) == (Decimal(100), True)


# ── cancels ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("code", [161, 136, 135, 10147])
def test_refused_cancel_leaves_the_order_at_work(code: int) -> None:
    order = working(f"cancel\nsent cancel\nnotice {code} no").order()
    assert (order.state, order.refusal) == (S.WORKING, f"{code} no")


def test_10148_with_pending_cancel_leaves_the_cancel_under_way() -> None:
    order = working("cancel\nsent cancel\nnotice 10148 cannot, state: PendingCancel").order()
    assert order.state is S.CANCEL_PENDING


@pytest.mark.parametrize("new_session", ["lost\nsession", "crash\nsession"])
def test_cancel_of_an_earlier_session_is_pending_until_a_verdict(new_session: str) -> None:
    life = working(f"cancel\nsent cancel\n{new_session}\nopen Submitted id=7")
    assert life.order().state is S.CANCEL_PENDING
    life.play("not_taken cancel")
    assert (life.order().state, life.order().refusal) == (S.WORKING, "sent in an earlier session")
    assert life.play("status Cancelled 0").order().state is S.CANCELLED, "it arrived after all"


@pytest.mark.parametrize("again", ["cancel", "cancel\nsent cancel"])
def test_verdict_about_a_cancel_of_an_earlier_session_is_not_about_the_next_one(again: str) -> None:
    life = working("cancel\nsent cancel\nlost\nsession\nopen Submitted id=7")
    asked = life.last
    life.play(f"{again}\nnot_taken cancel asked={asked}")
    assert life.order().state is S.CANCEL_PENDING


def test_cancel_that_did_not_leave_is_not_pending() -> None:
    assert working("cancel\ncancel_denied").order().state is S.WORKING


# ── changes ──────────────────────────────────────────────────────────────────────────────────────


def test_change_is_pending_until_open_order_shows_it() -> None:
    life = working("modify 100 11\nsent\nopen Submitted 100 10")
    assert (life.order().state, life.order().terms) == (S.MODIFY_PENDING, terms("BUY 100 LMT 10"))
    life.play("open Submitted 100 11\nstatus Submitted 0")
    assert (life.order().state, life.order().terms) == (S.WORKING, terms("BUY 100 LMT 11"))


@pytest.mark.parametrize("code", [104, 105, 110, 134, 201, 321, 462, 10326, 103])
def test_refused_change_leaves_the_old_terms(code: int) -> None:
    order = working(f"modify 100 11\nsent\nnotice {code} no").order()
    assert order.state is S.WORKING
    assert (order.terms, order.refusal) == (terms("BUY 100 LMT 10"), f"{code} no")


def test_change_that_comes_too_soon_does_not_reject_the_order() -> None:
    """INC-34: a change sent before the acknowledgement is answered with the order's own id."""
    life = play("intent BUY 100 LMT 10\nsent\nmodify 100 11\nsent\nnotice 103 duplicate order id")
    assert life.order().state is S.IN_FLIGHT
    assert life.play("open Submitted 100 10").order().state is S.WORKING


def test_reject_while_a_change_is_under_way_and_nothing_was_named_waits_for_evidence() -> None:
    life = play("intent BUY 100 LMT 10\nsent\nmodify 100 11\nsent\nnotice 201 margin")
    assert life.order().live
    assert life.play("status Inactive 0").order().state is S.REJECTED


@pytest.mark.parametrize("new_session", ["lost\nsession", "crash\nsession"])
@pytest.mark.parametrize(
    ("later", "state", "limit"),
    [
        ("", S.MODIFY_PENDING, 10),
        ("open Submitted 100 11", S.WORKING, 11),
        ("notice 201 no margin id=7", S.WORKING, 10),
        ("not_taken modify", S.WORKING, 10),
        ("not_taken modify\nopen Submitted 100 11", S.WORKING, 11),
        ("fill 100 @ 10", S.MODIFY_PENDING, 10),
        ("fill 100 @ 10\nstatus Filled 100", S.FILLED, 10),
        ("status Cancelled 0", S.CANCELLED, 10),
    ],
)
def test_change_of_an_earlier_session_is_pending_until_ib_or_a_verdict_decides(
    new_session: str, later: str, state: OrderState, limit: int
) -> None:
    life = working(f"modify 200 11\nsent\n{new_session}\nopen Submitted 100 10 id=7")
    order = life.play(later.replace("100 11", "200 11")).order()
    assert (order.state, order.terms.limit_price) == (state, Decimal(limit))


def prices(*asked: int) -> Life:
    """Return an order at work at 10 of which so many changes were asked for in a row."""
    return working("\n".join(f"modify 100 {price}\nsent" for price in asked))


@pytest.mark.parametrize(
    ("answers", "state", "limit"),
    [
        ("open Submitted 100 12", S.WORKING, 12),
        ("open Submitted 100 11", S.MODIFY_PENDING, 11),
        ("open Submitted 100 11\nopen Submitted 100 12", S.WORKING, 12),
        ("open Submitted 100 11\nnotice 110", S.WORKING, 11),
        ("notice 110", S.MODIFY_PENDING, 10),
        ("notice 110\nopen Submitted 100 12", S.WORKING, 12),
        # The second was refused, and the openOrder of the first came later.
        ("notice 110\nopen Submitted 100 11", S.WORKING, 11),
        ("notice 110\nnotice 110", S.WORKING, 10),
        ("notice 110\nnotice 110\nopen Submitted 100 10", S.WORKING, 10),
        ("modify_denied", S.MODIFY_PENDING, 10),
        ("modify_denied\nopen Submitted 100 11", S.WORKING, 11),
        ("lost\nsession\nopen Submitted 100 11", S.MODIFY_PENDING, 11),
        ("lost\nsession\nopen Submitted 100 11\nnot_taken modify", S.WORKING, 11),
        ("lost\nsession\nnot_taken modify\nopen Submitted 100 11", S.WORKING, 11),
        (
            "lost\nsession\nnot_taken modify\nopen Submitted 100 11\nopen Submitted 100 12",
            S.WORKING,
            12,
        ),
        ("lost\nsession\nnot_taken modify\nopen Submitted 100 12", S.WORKING, 12),
        ("lost\nsession\nnot_taken modify\nmodify 100 13\nsent\nnotice 110", S.WORKING, 10),
        (
            "lost\nsession\nnot_taken modify\nmodify 100 13\nopen Submitted 100 11",
            S.MODIFY_PENDING,
            11,
        ),
    ],
)
def test_each_of_two_changes_in_a_row_is_asked_for_until_it_is_answered(
    answers: str, state: OrderState, limit: int
) -> None:
    order = prices(11, 12).play(answers).order()
    assert (order.state, order.terms.limit_price) == (state, Decimal(limit))


def test_change_back_to_the_terms_before_is_not_answered_by_those_that_still_hold() -> None:
    life = prices(11, 10).play("fill 40 @ 10\nopen Submitted 100 10")
    assert life.order().state is S.MODIFY_PENDING
    assert life.play("open Submitted 100 11").order().terms.limit_price == Decimal(11)
    life.play("open Submitted 100 10")
    assert (life.order().state, life.order().terms.limit_price) == (
        S.PARTIALLY_FILLED,
        Decimal(10),
    )


def test_order_that_two_changes_make_larger_is_filled_at_the_largest_size_only() -> None:
    life = working("modify 300 10\nsent\nmodify 200 10\nsent\nfill 200 @ 10")
    assert life.order().state is S.MODIFY_PENDING


def test_order_that_grows_is_not_filled_at_its_old_size() -> None:
    life = working("modify 200 10\nsent\nfill 100 @ 10")
    assert life.order().state is S.MODIFY_PENDING
    life.play("open Submitted 200 10")
    assert (life.order().state, life.order().remaining) == (S.PARTIALLY_FILLED, Decimal(100))


def test_change_that_did_not_leave_is_not_pending() -> None:
    assert working("modify 100 11\nmodify_denied").order().state is S.WORKING


def test_change_that_our_check_refuses_takes_nothing_from_the_one_under_way() -> None:
    life = working("modify 100 11\nmodify_refused")
    assert (life.order().state, life.order().refusal) == (S.MODIFY_PENDING, "too large")
    assert life.play("open Submitted 100 11").order().terms.limit_price == Decimal(11)


# ── fills, corrections, busts ────────────────────────────────────────────────────────────────────


def test_filled_quantity_is_the_highest_revision_of_each_execution() -> None:
    order = working("fill 40 @ 10 exec=x.1.01\nfill 60 @ 11 exec=x.2.01").order()
    assert (order.filled, order.average_price) == (Decimal(100), Decimal("10.6"))
    order = working("fill 40 @ 10 exec=x.1.01\nfill 30 @ 10 exec=x.1.02").order()
    assert (order.filled, order.remaining) == (Decimal(30), Decimal(70))


def test_bust_takes_the_fill_back_and_the_order_is_live_again() -> None:
    life = working("fill 100 @ 10 exec=x.1.01")
    assert life.order().state is S.FILLED
    order = life.play("fill 0 @ 10 exec=x.1.02").order()
    assert (order.state, order.filled, order.ended_at) == (S.WORKING, Decimal(0), None)


def test_bust_after_the_final_status_restates_what_it_had_claimed() -> None:
    order = working(
        "fill 100 @ 10 exec=x.1.01\nstatus Filled 100\nfill 90 @ 10 exec=x.1.02"
    ).order()
    assert (order.filled, order.status_filled) == (Decimal(90), Decimal(90))


def test_overfill_is_kept_and_nothing_remains() -> None:
    order = working("fill 60 @ 10\nfill 60 @ 10").order()
    assert (order.filled, order.remaining) == (Decimal(120), Decimal(0))


def test_status_never_moves_the_filled_quantity() -> None:
    order = working("status Submitted 70").order()
    assert (order.filled, order.status_filled) == (Decimal(0), Decimal(70))


# ── never sent, perhaps sent ─────────────────────────────────────────────────────────────────────


def test_order_is_intended_until_its_bytes_left() -> None:
    assert play("intent BUY 100 LMT 10").order().state is S.INTENDED
    assert play("intent BUY 100 LMT 10\nsent").order().state is S.IN_FLIGHT


def test_denied_order_has_ended_without_a_byte() -> None:
    order = play("denied").order()
    assert (order.state, order.sent, order.text) == (S.DENIED, False, "too large")


def test_order_whose_bytes_did_not_leave_is_not_sent() -> None:
    assert play("intent BUY 100 LMT 10\nnot_sent").order().state is S.NOT_SENT


def test_not_sent_is_void_once_the_bytes_left() -> None:
    assert play("intent BUY 100 LMT 10\nsent\nnot_sent").order().state is S.IN_FLIGHT


def test_lost_line_puts_what_was_sent_and_not_answered_in_doubt() -> None:
    order = play("intent BUY 100 LMT 10\nsent\nlost").order()
    assert (order.state, order.live) == (S.IN_DOUBT, True)
    assert "line was lost" in order.doubt


def test_lost_line_leaves_an_intent_alone_that_was_not_handed_over() -> None:
    assert play("intent BUY 100 LMT 10\nlost").order().state is S.INTENDED


@pytest.mark.parametrize(
    ("heard", "state"),
    [
        ("", S.IN_DOUBT),
        ("status PendingSubmit 0", S.IN_FLIGHT),  # a word of the gateway's is no silence
        ("open Submitted", S.WORKING),
        ("fill 40 @ 10", S.PARTIALLY_FILLED),
        ("notice 201", S.REJECTED),
        ("lost", S.IN_DOUBT),
    ],
)
def test_silence_puts_only_what_nobody_answered_in_doubt(heard: str, state: OrderState) -> None:
    order = play(f"session\nintent BUY 100 LMT 10\nsent\n{heard}\ndoubted").order()
    assert order.state is state


@pytest.mark.parametrize("heard", ["", "sent", "sent\nopen Submitted", "sent\nfill 100 @ 10"])
def test_a_denial_of_a_key_whose_order_exists_takes_nothing_from_it(heard: str) -> None:
    life = f"session\nintent BUY 100 LMT 10\n{heard}"
    before, after = play(life).order(), play(f"{life}\ndenied").order()
    assert (after.state, after.denied, after.filled) == (before.state, False, before.filled)


def test_crash_puts_even_an_intent_in_doubt_because_the_bytes_may_have_left() -> None:
    assert play("intent BUY 100 LMT 10\ncrash").order().state is S.IN_DOUBT


def test_crash_leaves_acknowledged_and_ended_orders_as_they_are() -> None:
    assert working("crash").order().state is S.WORKING
    assert working("status Cancelled 0\ncrash").order().state is S.CANCELLED


@pytest.mark.parametrize(
    ("evidence", "state"),
    [
        ("open Submitted", S.WORKING),
        ("status Submitted 0", S.WORKING),
        ("fill 40 @ 10", S.PARTIALLY_FILLED),
        ("completed Cancelled 0", S.CANCELLED),
        ("completed Filled 100", S.FILLED),
        ("notice 201 refused", S.REJECTED),
        ("open PendingSubmit", S.IN_FLIGHT),
    ],
)
@pytest.mark.parametrize(
    "before", ["sent\nlost", "crash", "crash\nresolve not_received", "not_sent"]
)
def test_evidence_settles_doubt_and_revives_what_was_thought_unsent(
    before: str, evidence: str, state: OrderState
) -> None:
    life = play(
        "intent BUY 100 LMT 10\nsent" if "sent\nlost" in before else "intent BUY 100 LMT 10"
    )
    life.play(before.removeprefix("sent\n"))
    if evidence.startswith(("notice", "status")):
        life.play("sent")  # They name an order id alone, which only a sent order has.
    assert life.play(evidence).order().state is state


def test_verdict_of_a_run_is_void_once_evidence_came() -> None:
    life = play("intent BUY 100 LMT 10\nsent\nlost\nsession\nopen Submitted\nresolve not_received")
    assert life.order().state is S.WORKING


def test_doubt_ends_by_a_verdict_from_complete_answers() -> None:
    life = play("intent BUY 100 LMT 10\nsent\nlost\nresolve not_received")
    assert (life.order().state, life.order().doubt) == (S.NOT_SENT, "")


def test_person_can_end_what_ib_lists_no_more_and_evidence_takes_it_back() -> None:
    life = working("resolve ended by=person")
    assert (life.order().state, life.order().concluded) == (S.CANCELLED, True)
    assert life.play("status Submitted 0").order().state is S.WORKING


def test_acknowledged_order_is_never_declared_unsent() -> None:
    assert working("resolve not_received by=person").order().state is S.CANCELLED


# ── answered with a code, and nothing more ───────────────────────────────────────────────────────

NEW = "intent BUY 100 LMT 10\nsent\n"


@pytest.mark.parametrize("code", [478, 104, 344, 100, 399, 10333])
def test_a_code_that_names_a_new_order_is_an_answer_and_ends_nothing_by_itself(code: int) -> None:
    life = play(f"{NEW}notice {code} some words")
    assert (life.order().state, life.order().answered_sequence) == (S.IN_FLIGHT, life.last)
    assert answered_with(life.order()) == f"{code} some words"
    assert may_be_refused(life.order()) is (code not in {399, 10333})


def test_a_code_after_the_acknowledgement_answers_something_else() -> None:
    order = working("notice 478 some words").order()
    assert (order.state, answered_with(order), may_be_refused(order)) == (S.WORKING, "", False)


def test_a_refusal_that_complete_answers_confirm_ends_the_order_with_ibs_words() -> None:
    order = play(f"{NEW}notice 478 some words\nresolve refused").order()
    assert (order.state, order.code, order.text) == (S.REJECTED, 478, "some words")


@pytest.mark.parametrize(
    ("meanwhile", "state"),
    [
        ("open Submitted", S.WORKING),
        ("fill 40 @ 10", S.PARTIALLY_FILLED),
        ("fill 100 @ 10", S.FILLED),
        ("completed Cancelled 0", S.CANCELLED),
        ("status PendingSubmit 0", S.IN_FLIGHT),
        ("notice 399 a warning", S.IN_FLIGHT),
        ("lost", S.IN_DOUBT),
    ],
)
def test_a_verdict_of_refusal_is_void_once_anything_more_was_said(
    meanwhile: str, state: OrderState
) -> None:
    life = play(f"{NEW}notice 478 some words")
    asked = life.last
    assert life.play(f"{meanwhile}\nresolve refused asked={asked}").order().state is state


@pytest.mark.parametrize(
    ("evidence", "state"),
    [("open Submitted", S.WORKING), ("fill 100 @ 10", S.FILLED)],
)
def test_a_refusal_yields_when_ib_shows_the_order(evidence: str, state: OrderState) -> None:
    order = play(f"{NEW}notice 478 some words\nresolve refused\n{evidence}").order()
    assert order.state is state


def test_a_lost_line_does_not_forget_that_ib_had_answered() -> None:
    order = play(f"{NEW}notice 478 some words\nlost").order()
    assert order.state is S.IN_DOUBT
    assert order.doubt.startswith("the line was lost before IB said more than '478 some words'")


# ── what waits at the gateway for the rest of its group ──────────────────────────────────────────

#: Entry and take-profit are held until the stop-loss has come.
BRACKET = """
A: intent BUY 100 LMT 10 transmit=no group=G
B: intent SELL 100 LMT 12 transmit=no group=G
C: intent SELL 100 STP 9 group=G
A: sent
B: sent
"""


@pytest.mark.parametrize(
    ("end", "last"),
    [
        ("C: not_sent", S.NOT_SENT),
        ("C: sent\nC: notice 109 too far from the market", S.REJECTED),
        ("C: sent\nC: notice 478 some words\nC: resolve refused", S.REJECTED),
        ("C: sent\nC: doubted\nC: resolve not_received", S.NOT_SENT),
    ],
)
def test_what_the_last_order_of_a_group_leaves_behind_is_in_doubt_at_once(
    end: str, last: OrderState
) -> None:
    life = play(BRACKET + end)
    states = [life.order(name).state for name in "ABC"]
    assert states == [S.IN_DOUBT, S.IN_DOUBT, last]
    assert last.value in life.order("A").doubt


@pytest.mark.parametrize(
    "seen",
    [
        "C: sent\nC: notice 201 no margin",
        "C: sent\nC: open PreSubmitted\nC: status Cancelled 0",
        "C: sent\nC: notice 404 locate",
    ],
)
def test_a_last_order_that_was_transmitted_leaves_nothing_behind(seen: str) -> None:
    life = play(BRACKET + seen)
    assert [life.order(name).state for name in "AB"] == [S.IN_FLIGHT, S.IN_FLIGHT]


def test_another_group_and_what_never_left_are_not_left_behind() -> None:
    life = play(
        """
        A: intent BUY 100 LMT 10 transmit=no group=G
        B: intent BUY 100 LMT 10 transmit=no group=H
        B: sent
        C: intent SELL 100 STP 9 group=G
        C: not_sent
        """
    )
    assert [life.order(name).state for name in "AB"] == [S.INTENDED, S.IN_FLIGHT]


# ── orders of others ─────────────────────────────────────────────────────────────────────────────


def test_adopted_order_has_the_state_that_ib_names() -> None:
    assert play("adopt PreSubmitted").order().state is S.WORKING
    assert play("adopt Cancelled ended=yes").order().state is S.CANCELLED
    assert play("adopt Inactive ended=yes").order().state is S.REJECTED
    assert play("adopt Cancelled ended=yes words=Expired").order().state is S.EXPIRED


def test_order_known_by_its_executions_alone_is_in_doubt() -> None:
    life = play("fill 40 @ 10 ref=\nadopt - 40 terms=unknown")
    assert (life.order().state, life.order().filled) == (S.IN_DOUBT, Decimal(40))
    life.play("fill 10 @ 10 ref=")
    assert (life.order().state, life.order().terms.quantity) == (S.IN_DOUBT, Decimal(50))


def test_reason_that_came_with_a_code_is_kept_when_the_completed_order_says_less() -> None:
    life = working("status Cancelled 0\nnotice 202 no open price\ncompleted Cancelled 0 Cancelled")
    assert (life.order().state, life.order().text) == (S.CANCELLED, "no open price")
    life = working("status Cancelled 0\ncompleted Cancelled 0 Expired")
    assert life.order().text == "Expired"


def test_order_known_by_its_executions_alone_takes_its_terms_from_the_first_row() -> None:
    life = play("fill 40 @ 10 ref=\nadopt - 40 terms=unknown")
    order = life.play("open Submitted ref=").order()
    assert (order.state, order.terms) == (S.PARTIALLY_FILLED, terms("BUY 100 LMT 10"))
    life = play("fill 40 @ 10 ref=\nadopt - 40 terms=unknown")
    order = life.play("completed Cancelled 40 ref=").order()
    assert (order.state, order.terms) == (S.CANCELLED, terms("BUY 100 LMT 10"))


def test_order_known_by_its_executions_alone_ends_when_ib_lists_it_nowhere_else() -> None:
    life = play("fill 40 @ 10 ref=\nadopt - 40 terms=unknown ended=yes")
    assert life.order().state is S.FILLED
    assert life.play("open Submitted ref=").order().state is S.PARTIALLY_FILLED
    life = play("fill 40 @ 10 ref=\nadopt - 40 terms=unknown\nresolve ended")
    assert life.order().state is S.FILLED


def test_combo_counts_its_own_executions_and_not_its_legs() -> None:
    life = Life().play("session\nintent BUY 2 LMT 1 sec=BAG con=9\nsent")
    life.play("fill 2 @ 1 sec=BAG con=9\nfill 2 @ 5 con=1\nfill 2 @ 4 con=2 side=SELL")
    assert (life.order().state, life.order().filled) == (S.FILLED, Decimal(2))
    assert life.position(1).quantity == Decimal(2)
    assert life.position(2).quantity == Decimal(-2)
    assert life.position(9).quantity == Decimal(0)


def test_state_is_drawn_again_when_an_order_leaves_its_end() -> None:
    order = working("status Cancelled 0").order()
    assert order.state in ENDED
    assert (order.ended_at, order.end_sequence) == (order.updated_at, order.last_sequence)


# ── a person's order that is bound to client 0 ───────────────────────────────────────────────────

BOUND = "adopt Submitted perm=5\nbound perm=5 client=0 id=-2\n"


@pytest.mark.parametrize(
    ("answer", "state", "limit"),
    [
        ("", S.MODIFY_PENDING, 10),
        ("open Submitted 100 11 perm=5 client=0 id=-2 ref=", S.WORKING, 11),
        # The person was faster.
        ("open Submitted 100 12 perm=5 client=0 id=-2 ref=", S.MODIFY_PENDING, 12),
    ],
)
def test_change_of_a_bound_order_is_answered_by_its_terms(
    answer: str, state: OrderState, limit: int
) -> None:
    life = play(BOUND)
    life.wanted["A"] = terms("BUY 100 LMT 10")
    order = life.play(f"modify 100 11\nsent place client=0 id=-2\n{answer}").order()
    assert (order.state, order.terms.limit_price) == (state, Decimal(limit))
    assert (order.client_id, order.broker_order_id) == (0, -2)
