"""Whose a number is: what an order has by its number alone, and what is taken back from it."""

from __future__ import annotations

from decimal import Decimal

import pytest

from oms.core.admit.changes import cancel_refusal
from oms.core.fold.records import OrderState
from tests.lives import CLIENT, Life, play

NEW = "intent BUY 100 LMT 10\nsent"
#: An older order under the number of ours, with a permanent number of its own.
OLDER = "open Submitted ref=older perm=77"
ITS_STATUS = "status Submitted 0 perm=77"
REFUSED = "notice 103 Duplicate order id"


def untouched(life: Life) -> bool:
    """Say whether nothing that IB said of the other order stands on ours."""
    order = life.order()
    return (order.perm_ids, order.status, order.filled) == ((), "", 0)


@pytest.mark.parametrize(
    "messages",
    [
        [REFUSED, OLDER, ITS_STATUS],
        [OLDER, REFUSED, ITS_STATUS],
        [OLDER, ITS_STATUS, REFUSED],
        [ITS_STATUS, OLDER, REFUSED],
        [ITS_STATUS, REFUSED, OLDER],
        [REFUSED, ITS_STATUS, OLDER],
        [REFUSED, ITS_STATUS],
        [ITS_STATUS, REFUSED],
        [REFUSED, "open Submitted ref= perm=77", ITS_STATUS],
        ["open Submitted ref= perm=77", REFUSED, ITS_STATUS],
        [ITS_STATUS, "open Submitted 100 9 ref= perm=77", REFUSED],
        ["status Cancelled 0 perm=77", OLDER, REFUSED],
        ["status PreSubmitted 0 perm=0", OLDER, ITS_STATUS, REFUSED],
        [REFUSED, "fill 40 @ 10 ref=older perm=77", ITS_STATUS],
        ["fill 40 @ 10 ref= perm=77", OLDER, REFUSED],
    ],
)
def test_order_that_ib_refuses_the_number_of_takes_nothing_of_its_owner(
    messages: list[str],
) -> None:
    life = play("\n".join([NEW, *messages]))
    assert life.order().state is OrderState.REJECTED
    assert untouched(life)
    assert life.play("status Filled 100 perm=77").order().state is OrderState.REJECTED


@pytest.mark.parametrize(
    "messages",
    [
        [OLDER, ITS_STATUS],
        [ITS_STATUS, OLDER],
        [ITS_STATUS, OLDER, ITS_STATUS],
        [ITS_STATUS, "open Submitted 7 10 ref= perm=77", ITS_STATUS],
        ["open Submitted ref= perm=77", OLDER],
        ["status Submitted 40 perm=77", "fill 40 @ 10 ref= perm=77", OLDER],
        [ITS_STATUS, "fill 40 @ 10 ref=older perm=77"],
        ["status Filled 100 perm=77", "completed Filled 100 ref=older perm=77"],
    ],
)
def test_order_whose_number_is_shown_to_be_anothers_is_not_at_work(messages: list[str]) -> None:
    life = play("\n".join([NEW, *messages]))
    assert life.order().state in {OrderState.IN_FLIGHT, OrderState.IN_DOUBT}
    assert untouched(life)
    assert "another order" in cancel_refusal(life.order(), client_id=CLIENT, has_number=True)
    assert life.play(ITS_STATUS).order().status == ""


def test_number_that_ib_showed_of_another_before_ours_left_is_remembered() -> None:
    life = play(f"{OLDER}\n{NEW}\n{ITS_STATUS}\nfill 40 @ 10 ref= perm=77")
    assert life.order().state is OrderState.IN_FLIGHT
    assert untouched(life)
    life.play("open Submitted\nstatus Submitted 0")
    assert (life.order().state, life.order().perm_ids) == (OrderState.WORKING, (1001,))


def test_fills_that_came_by_the_number_go_with_it() -> None:
    life = play(f"{NEW}\nfill 40 @ 10 ref= perm=77 exec=x.1.01\ncommission x.1.01 1")
    assert life.order().filled == Decimal(40)
    life.play(OLDER)
    order = life.order()
    assert (order.filled, order.notional, order.commissions) == (0, 0, ())
    (fill,) = life.fills()
    assert (fill.order_id, fill.live) == ("", False)
    life.play("B: adopt Submitted perm=77 ref=older id=1 client=1")
    assert (life.order("B").filled, life.order("B").commissions) == (40, (("USD", Decimal(1)),))


def test_number_that_was_given_out_anew_is_not_the_older_orders_any_more() -> None:
    """INC-18: a cancel of the one that was lost would end the new one."""
    life = play(f"{NEW}\nlost\nsession next=1\nB: intent BUY 5 LMT 10\nB: sent id=1")
    refusal = cancel_refusal(life.order("A"), client_id=CLIENT, has_number=True)
    assert "another order" in refusal
    life.play("B: open Submitted id=1\nB: status Submitted 0 id=1")
    assert (life.order("A").state, life.order("B").state) == (
        OrderState.IN_DOUBT,
        OrderState.WORKING,
    )
    assert cancel_refusal(life.order("B"), client_id=CLIENT, has_number=True) == ""


def test_number_is_lost_in_a_later_session_as_well() -> None:
    life = play(f"{NEW}\nlost\nsession")
    assert cancel_refusal(life.order(), client_id=CLIENT, has_number=True) == ""
    life.play(OLDER)
    assert life.order().number_lost
    assert life.play(ITS_STATUS).order().state is OrderState.IN_DOUBT


def test_order_that_ib_shows_after_all_has_its_number_again() -> None:
    life = play(f"{NEW}\n{OLDER}\n{REFUSED}\nopen Submitted id=8\nstatus Submitted 0 id=8")
    assert life.order().state is OrderState.WORKING
    assert cancel_refusal(life.order(), client_id=CLIENT, has_number=True) == ""


def test_own_order_under_two_numbers_is_told_by_its_order_ref_alone() -> None:
    life = play(f"{NEW}\nopen Submitted\nstatus Filled 100 perm=2001")
    assert (life.order().state, life.order().perm_ids) == (OrderState.WORKING, (1001,))
    life.play("open Submitted perm=2001")
    assert life.order().perm_ids == (1001, 2001)


def test_edited_order_ref_does_not_take_a_named_order_away() -> None:
    life = play(f"{NEW}\nopen Submitted\nopen Submitted 100 10 ref=mine\nstatus Submitted 0")
    assert (life.order().state, life.order().number_lost) == (OrderState.WORKING, False)


def test_later_refusal_under_the_others_number_is_not_of_the_refused_order() -> None:
    life = play(f"{NEW}\n{OLDER}\n{REFUSED}\nB: adopt Submitted perm=77 ref=older id=1 client=1")
    life.play("notice 202 Order Canceled id=1")
    assert (life.order("A").code, life.order("A").state) == (103, OrderState.REJECTED)
    assert life.order("B").state is OrderState.CANCELLED


def test_change_that_comes_too_soon_keeps_the_order() -> None:
    """INC-34: the 103 is about the change, though only a status has named the order."""
    life = play(f"{NEW}\nstatus Submitted 0\nmodify 100 11\n{REFUSED}")
    assert (life.order().state, life.order().modify_pending) == (OrderState.WORKING, False)


def test_key_that_another_client_sent_as_well_leaves_us_our_own_number() -> None:
    life = play(f"{NEW}\nopen Submitted\nopen Submitted client=9 id=3 perm=2001")
    order = life.order()
    assert (order.perm_ids, order.client_id, order.broker_order_id) == ((1001, 2001), CLIENT, 1)


# ── an orderRef is the key of one order, or of none ──────────────────────────────────────────────


def test_order_of_others_is_not_found_by_an_order_ref_that_two_have() -> None:
    life = play("M: adopt Submitted ref=strat perm=1\nN: adopt Submitted ref=strat perm=2")
    life.play(
        "open Cancelled ref=strat perm=3 id=0 client=9\ncompleted Cancelled 0 ref=strat perm=0"
    )
    assert {life.order(n).state for n in "MN"} == {OrderState.WORKING}
    life.play("completed Cancelled 0 ref=strat perm=2")
    assert life.order("N").state is OrderState.CANCELLED


def test_row_without_a_number_ends_the_one_order_with_its_order_ref() -> None:
    life = play("M: adopt Submitted ref=strat perm=1\ncompleted Cancelled 0 ref=strat perm=0")
    assert life.order("M").state is OrderState.CANCELLED


def test_order_at_ib_is_not_an_order_that_we_denied() -> None:
    life = play("denied\nopen Submitted perm=5\nstatus Submitted 0 perm=5")
    assert life.order().state is OrderState.DENIED
    assert life.order().perm_ids == ()


def test_order_that_ib_has_takes_the_place_of_one_with_its_key_that_was_denied() -> None:
    life = play("denied\nadopt Submitted ref=A perm=5")
    assert (life.order().state, life.order().perm_id) == (OrderState.WORKING, 5)


def test_intent_does_not_take_the_place_of_an_order_that_ib_has() -> None:
    life = play("adopt Submitted ref=A perm=5\nintent BUY 1 LMT 9")
    assert (life.order().state, life.order().perm_id) == (OrderState.WORKING, 5)


def test_zero_is_no_permanent_number() -> None:
    life = play("adopt Submitted perm=0")
    assert life.books.order("A") is None


@pytest.mark.parametrize("between", ["", "lost\nsession\n"])
def test_open_order_that_lost_its_order_ref_is_the_one_that_left_like_it(between: str) -> None:
    life = play(f"{NEW}\n{between}open Submitted ref=\nstatus Submitted 0")
    assert (life.order().state, life.order().perm_ids) == (OrderState.WORKING, (1001,))
    life.play("open Submitted 100 9 ref=")
    assert life.order().state is OrderState.WORKING, "a person has changed its price"


# ── executions without an orderRef ───────────────────────────────────────────────────────────────


@pytest.mark.parametrize("number", ["id=1", "id=1 perm=0", "id=1 fetched=yes"])
def test_execution_without_an_order_ref_is_of_the_order_that_left_under_its_number(
    number: str,
) -> None:
    life = play(f"{NEW}\nlost\nsession\nfill 40 @ 10 ref= {number}")
    assert (life.order().filled, life.order().state) == (40, OrderState.PARTIALLY_FILLED)


@pytest.mark.parametrize(
    "row",
    [
        "fill 40 @ 10 ref= id=2",
        "fill 40 @ 10 ref= id=1 client=9",
        "fill 40 @ 10 ref= id=1 side=SELL",
        "fill 40 @ 10 ref= id=1 con=2",
        "fill 40 @ 10 ref= id=1 account=DU2",
        "fill 40 @ 10 ref=strat id=1",
        "fill 40 @ 10 ref= id=-1",
    ],
)
def test_execution_that_does_not_fit_is_nobodys(row: str) -> None:
    life = play(f"{NEW}\nlost\nsession\n{row}")
    assert life.order().state is OrderState.IN_DOUBT
    assert [f.order_id for f in life.fills()] == [""]


def test_execution_under_a_number_that_was_given_out_anew_is_of_the_newer_order() -> None:
    life = play(f"{NEW}\nlost\nsession next=1\nB: intent BUY 50 LMT 10\nB: sent id=1")
    life.play("lost\nsession\nfill 40 @ 10 ref= id=1")
    assert (life.order("A").filled, life.order("B").filled) == (0, 40)


def test_execution_from_before_the_order_is_not_its() -> None:
    """INC-19: a number that was given out anew names the fill of this morning as well."""
    life = play("")
    executed_at = life.at
    life.wait(3600).play(f"{NEW}\nlost\nsession")
    row = Life().play("session").play("fill 40 @ 10 ref= id=1").envelopes[-1].event
    life.apply(row, executed_at=executed_at)
    assert (life.order().filled, life.order().state) == (0, OrderState.IN_DOUBT)
