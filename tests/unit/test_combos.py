"""Executions of a combo itself or whole sets of its legs fill it; one leg fills nothing."""

from __future__ import annotations

from decimal import Decimal

import pytest

from oms.core.fold.records import OrderState
from tests.lives import Life, play
from tests.statements import reconcile

LEGS = "legs=2:BUY:1|3:SELL:2"


def combo(text: str = "", side: str = "BUY") -> Life:
    """Return a combo of 4 at work at IB, one of contract 2 against two of contract 3."""
    life = play(f"intent {side} 4 LMT 10 {LEGS}\nsent\nopen Submitted {LEGS}")
    return life.play(text)


def missing(life: Life) -> list[str]:
    """Return what a comparison says of fills that are missing."""
    run = reconcile(
        life, completed_orders="completed Filled 4", unanswered={"positions": "refused"}
    )
    return [f.text for f in run.findings if f.break_class == "missing_fill"]


def test_one_leg_fills_nothing_of_a_combo() -> None:
    life = combo("fill 4 @ 12 con=2")
    assert (life.order().state, life.order().filled) == (OrderState.WORKING, 0)
    assert life.position(2).quantity == 4


def test_whole_sets_of_legs_fill_a_combo_at_their_net_price() -> None:
    life = combo("fill 3 @ 12 con=2\nfill 4 @ 1 con=3 side=SELL")
    order = life.order()
    assert (order.state, order.filled) == (OrderState.PARTIALLY_FILLED, 2)
    assert order.average_price == 10
    life.play("fill 1 @ 12 con=2\nfill 4 @ 1 con=3 side=SELL")
    assert (life.order().state, life.order().filled) == (OrderState.FILLED, 4)


def test_legs_of_a_combo_that_was_sold_go_the_other_way() -> None:
    life = combo("fill 4 @ 12 con=2\nfill 8 @ 1 con=3 side=BUY", side="SELL")
    assert (life.order().state, life.order().disputed) == (OrderState.FILLED, 0)


def test_combos_own_execution_and_those_of_its_legs_are_one_fill() -> None:
    life = combo(f"fill 4 @ 9 {LEGS}\nfill 4 @ 11 con=2\nfill 8 @ 1 con=3 side=SELL")
    assert (life.order().filled, life.order().average_price) == (4, 9)
    assert missing(life) == []


@pytest.mark.parametrize(
    ("fill", "why"),
    [("con=3", "it is a BUY, the order asked for a SELL"), ("con=7", "which is no leg")],
)
def test_leg_must_be_one_of_the_combos_on_the_side_that_it_has_there(fill: str, why: str) -> None:
    life = combo(f"fill 8 @ 1 {fill}")
    assert life.order().filled == 0
    assert why in life.fills()[0].disputed


def test_combo_that_ib_calls_filled_with_one_leg_executed_lacks_the_other() -> None:
    life = combo("fill 4 @ 12 con=2\nstatus Filled 4")
    (text,) = missing(life)
    assert text == (
        "IB's status claims 4 filled, executions add up to 0;"
        " its legs do not go with 0 filled: 4 of 2 (ratio 1), 0 of 3 (ratio 2)"
    )


def test_combo_that_ends_with_one_leg_executed_is_shown() -> None:
    life = combo("fill 1 @ 12 con=2\ncancel\nstatus Cancelled 0")
    assert life.order().state is OrderState.CANCELLED
    run = reconcile(life, unanswered={"positions": "refused"})
    assert [f.break_class for f in run.findings if f.result == "break"] == ["missing_fill"]


def test_leg_that_a_whole_combo_lacks_is_missing() -> None:
    (text,) = missing(combo(f"fill 4 @ 9 {LEGS}\nfill 4 @ 11 con=2\nstatus Filled 4"))
    assert text == "its legs do not go with 4 filled: 4 of 2 (ratio 1), 0 of 3 (ratio 2)"


def test_legs_that_ib_has_not_named_make_no_sets() -> None:
    life = play("intent BUY 4 LMT 10 con=0 sec=BAG\nsent\nopen Submitted con=0 sec=BAG")
    life.play("fill 4 @ 12 con=2\nfill 8 @ 1 con=3 side=SELL\nstatus Filled 4")
    assert (life.order().filled, life.order().disputed) == (0, 0)
    assert missing(life) == []


def test_correction_of_a_leg_is_counted_in_its_place() -> None:
    life = combo(
        "fill 4 @ 12 con=2 exec=l.1.01\nfill 8 @ 1 con=3 side=SELL\nfill 2 @ 12 con=2 exec=l.1.02"
    )
    assert (life.order().filled, life.order().notional) == (2, Decimal(20))


def test_order_that_only_executions_show_does_not_add_up_the_legs_of_a_combo() -> None:
    life = play("adopt x 4 terms=unknown con=2\nfill 4 @ 12 con=2 id=0 ref= client=0")
    life.play("fill 8 @ 1 con=3 side=SELL id=0 ref= client=0")
    assert life.order().filled == 4
