"""An execution is held against its order: what contradicts it moves positions and fills nothing."""

from __future__ import annotations

from decimal import Decimal

import pytest

from oms.core.fold.records import OrderState
from tests.lives import Life, play, working
from tests.statements import reconcile

SOLD = "intent SELL 10 MKT\nsent\nopen Submitted"


def contradictions(life: Life, **answers: str) -> list[str]:
    """Return what the contradictions say that a comparison finds."""
    run = reconcile(life, unanswered={"positions": "refused"}, **answers)
    found = [f for f in run.findings if f.break_class == "contradiction"]
    assert all((f.severity, f.result) == ("high", "break") for f in found)
    assert run.verdict != "clean"
    return [f"{f.order_id}: {f.text}" for f in found]


def test_bought_where_the_order_sells_moves_the_position_and_fills_nothing() -> None:
    life = play(SOLD).play("fill 10 @ 5 side=BUY exec=x.1.01")
    life.play("status Filled 10")
    order = life.order()
    assert (order.filled, order.disputed, life.position().quantity) == (0, 10, 10)
    (text,) = contradictions(life, completed_orders="completed Filled 10")
    assert text == (
        "A: execution x.1.01 cannot be of order A: it is a BUY, the order asked for a SELL."
        " It moves the position, and is not counted as filled"
    )


@pytest.mark.parametrize(
    ("fill", "why"),
    [
        ("side=SELL", "it is a SELL, the order asked for a BUY"),
        ("account=DU2", "it was executed in account DU2, the order is of DU1"),
        ("con=2", "it was executed in C2 (2), the order is in ACME (1)"),
        ("sec=BAG con=9", "it was executed in C9 (9), the order is in ACME (1)"),
    ],
)
def test_execution_must_be_of_the_orders_side_account_and_contract(fill: str, why: str) -> None:
    life = working(f"fill 100 @ 10 {fill}")
    assert life.order().state is OrderState.WORKING
    (text,) = contradictions(life, open_orders="open Submitted")
    assert why in text


def test_what_contradicts_stays_shown_until_a_person_has_seen_it() -> None:
    life = working("fill 100 @ 10 side=SELL\nstatus Filled 100")
    for _ in range(2):
        assert len(contradictions(life)) == 1
    life.play("lost\nsession")
    assert len(contradictions(life)) == 1


def test_own_executions_count_beside_one_that_contradicts() -> None:
    life = working("fill 60 @ 10 side=SELL\nfill 100 @ 10")
    assert (life.order().state, life.order().filled) == (OrderState.FILLED, 100)
    assert life.position().quantity == 40


def test_sum_that_counts_what_contradicts_is_no_second_break() -> None:
    life = working("fill 100 @ 10 side=SELL exec=x.1.01\nstatus Filled 100")
    run = reconcile(
        life,
        completed_orders="completed Filled 100",
        executions="fill 100 @ 10 side=SELL exec=x.1.01 fetched=yes",
        unanswered={"positions": "refused"},
    )
    assert [f.break_class for f in run.findings if f.result == "break"] == ["contradiction"]


def test_execution_that_comes_before_its_order_is_held_against_it_when_it_is_claimed() -> None:
    life = play("intent BUY 100 LMT 10\nsent\nfill 40 @ 10 id=0 ref= side=SELL exec=x.1.01")
    shown = life.last
    assert life.fills()[0].order_id == ""
    life.play("open Submitted")
    assert (life.order().filled, life.order().disputed) == (0, 40)
    assert life.books.get("anomalies", str(shown)) is not None
    assert len(contradictions(life, open_orders="open Submitted")) == 1


def test_correction_that_changes_the_side_takes_the_fill_back() -> None:
    life = working(
        "fill 40 @ 10 exec=x.1.01\nstatus Submitted 40\nfill 40 @ 10 exec=x.1.02 side=SELL"
    )
    assert (life.order().filled, life.order().disputed) == (0, 40)
    assert (life.position().quantity, life.order().notional) == (-40, 0)
    assert len(contradictions(life, open_orders="open Submitted")) == 1


def test_correction_that_changes_it_back_counts_again() -> None:
    life = working(
        "fill 40 @ 10 exec=x.1.01\nfill 40 @ 10 exec=x.1.02 side=SELL\nfill 50 @ 11 exec=x.1.03"
    )
    order = life.order()
    assert (order.filled, order.disputed, order.average_price) == (50, 0, 11)
    assert life.position().quantity == 50


def test_correction_into_another_contract_moves_both_positions() -> None:
    life = working("fill 40 @ 10 exec=x.1.01\ncommission x.1.01 2\nfill 40 @ 10 exec=x.1.02 con=2")
    assert (life.position().quantity, life.position(2).quantity) == (0, 40)
    charged = (life.position().commissions, life.position(2).commissions)
    assert charged == ((), (("USD", Decimal(2)),))
    assert life.order().filled == 0
    assert len(contradictions(life, open_orders="open Submitted")) == 1


@pytest.mark.parametrize("account", ["F1", "DF1", ""])
def test_order_on_an_advisors_account_is_executed_account_by_account(account: str) -> None:
    life = play(f"intent BUY 100 LMT 10 account={account}\nsent\nopen Submitted")
    life.play("fill 60 @ 10 account=DU1\nfill 40 @ 10 account=DU2")
    assert (life.order().state, life.order().disputed) == (OrderState.FILLED, 0)
    assert life.position(account="DU2").quantity == 40


def test_order_of_a_person_that_carries_our_reference_fills_nothing_of_ours() -> None:
    life = working("fill 100 @ 10 client=0 id=0 perm=2001")
    assert (life.order().filled, life.order().perm_ids) == (0, (1001,))
    assert (life.order().state, life.position().quantity) == (OrderState.WORKING, 100)
    (text,) = contradictions(life, open_orders="open Submitted")
    assert "permanent number 2001, an order that only carries its reference" in text
    # Also once IB has listed it, which shows two permanent numbers.
    life.play("open Submitted client=0 id=0 perm=2001\nfill 50 @ 10 client=0 id=0 perm=2001")
    assert (life.order().filled, life.order().disputed) == (0, 150)


@pytest.mark.parametrize("ids", ["client=0 id=0", "client=0 id=-1", "client=2 id=9 perm=2001"])
def test_our_own_number_or_another_program_with_our_key_fills_our_order(ids: str) -> None:
    life = working(f"fill 100 @ 10 {ids}")
    assert (life.order().state, life.order().disputed) == (OrderState.FILLED, 0)


def test_order_that_only_executions_show_has_nothing_to_contradict() -> None:
    life = play("adopt x 40 terms=unknown\nfill 40 @ 10 id=0 ref= client=0 side=SELL")
    assert (life.order().filled, life.order().disputed) == (40, 0)


def test_reference_of_ours_on_a_persons_order_is_told_before_ib_has_named_ours() -> None:
    life = play("intent SELL 10 LMT 10\nsent\nfill 10 @ 10 client=0 id=0 perm=7777 ref=A")
    life.play("open Submitted")
    order = life.order()
    assert (order.state, order.filled, order.disputed) == (OrderState.WORKING, 0, 10)
