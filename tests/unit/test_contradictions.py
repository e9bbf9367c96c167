"""What IB says of an order and what else it has said or done: where both cannot be, it is shown."""

from __future__ import annotations

import pytest

from oms.core.codes import says_gone
from oms.core.fold.records import Anomaly, OrderState
from tests.lives import Life, play, working
from tests.statements import reconcile
from tests.unit.test_brackets import bracket

NOT_FOUND = "notice 10147 OrderId 1 that needs to be cancelled is not found."


def broken(life: Life, rows: str) -> dict[str, str]:
    """Return the contradictions that these open orders show, by key."""
    run = reconcile(life, open_orders=rows, unanswered={"positions": "refused"})
    return {f.key: f.text for f in run.findings if f.break_class == "contradiction"}


# ── refusals that say that there is no such order ────────────────────────────────────────────────


def test_order_that_ib_does_not_find_and_lists_as_open_is_a_contradiction() -> None:
    life = working(f"cancel\nsent cancel\n{NOT_FOUND}")
    order = life.order()
    assert (order.state, order.refusal[:5]) == (OrderState.WORKING, "10147")
    (text,) = broken(life, "open Submitted").values()
    assert text.startswith("IB lists it as Submitted, and has refused a cancel or a change of it:")
    assert "10147" in text


@pytest.mark.parametrize(
    ("code", "text", "gone"),
    [
        (10147, "", True),
        (135, "", True),
        (104, "", True),
        (10148, "OrderId 1 that needs to be cancelled cannot be cancelled, state: Filled.", True),
        (161, "Cancel attempted when order is not in a cancellable state, state: Cancelled", True),
        (10148, "OrderId 1 cannot be cancelled, state: PendingCancel.", False),
        (161, "Cancel attempted when order is not in a cancellable state.", False),
        (105, "", False),
    ],
)
def test_refusal_says_that_an_order_is_gone_by_its_code_or_by_the_state_that_it_names(
    code: int, text: str, gone: bool
) -> None:
    assert says_gone(code, text) is gone
    life = working(f"cancel\nsent cancel\nnotice {code} {text}")
    assert bool(broken(life, "open Submitted")) is gone


def test_the_next_cancel_asks_anew() -> None:
    life = working(f"cancel\nsent cancel\n{NOT_FOUND}\ncancel\nsent cancel")
    assert broken(life, "open Submitted") == {}
    life.play(NOT_FOUND)
    assert len(broken(life, "open Submitted")) == 1


def test_order_that_ib_does_not_find_and_does_not_list_is_lost() -> None:
    life = working(f"cancel\nsent cancel\n{NOT_FOUND}")
    run = reconcile(life, unanswered={"positions": "refused"})
    assert run.breaks == {"lost_order:A": "high"}


# ── orders of one group ──────────────────────────────────────────────────────────────────────────


def group(oca_type: int, second: int = 100) -> Life:
    """Return two orders of an OCA group, 100 and so many, both at work."""
    life = play(f"intent BUY 100 LMT 10 oca=g:{oca_type}\nsent\nopen Submitted")
    return life.play(f"B: intent BUY {second} LMT 9 oca=g:{oca_type}\nB: sent\nB: open Submitted")


@pytest.mark.parametrize("oca_type", [1, 2, 3])
def test_order_that_works_on_after_its_group_filled_is_a_contradiction(oca_type: int) -> None:
    life = group(oca_type).play("fill 100 @ 10\nstatus Filled 100")
    found = broken(life, "B: open Submitted")
    assert found == {"contradiction:B": "IB lists it as Submitted, and A of its group is filled"}


def test_it_is_shown_in_the_next_session_as_well() -> None:
    life = group(1).play("fill 100 @ 10\nstatus Filled 100\nlost\nsession")
    assert list(broken(life, "B: open Submitted id=7")) == ["contradiction:B"]


def test_cancel_of_the_other_order_of_a_group_may_take_its_time() -> None:
    life = group(1).play("fill 100 @ 10")
    assert broken(life, "B: open PendingCancel") == {}


def test_group_that_only_reduces_leaves_a_larger_order_the_rest() -> None:
    assert broken(group(3, second=150).play("fill 100 @ 10"), "B: open Submitted 50") == {}
    assert list(broken(group(1, second=150).play("fill 100 @ 10"), "B: open Submitted")) == [
        "contradiction:B"
    ]


def test_fill_in_part_ends_no_other_order_of_a_group() -> None:
    assert broken(group(1).play("fill 40 @ 10"), "open Submitted\nB: open Submitted") == {}


def test_order_of_another_account_is_in_another_group() -> None:
    life = play("intent BUY 100 LMT 10 oca=g:1\nsent\nopen Submitted")
    life.play("B: intent BUY 100 LMT 9 oca=g:1 account=DU2\nB: sent\nB: open Submitted account=DU2")
    life.play("fill 100 @ 10")
    assert life.order("B").rival_filled == ""


def test_order_that_joins_a_group_after_its_fill_is_not_held_against_it() -> None:
    life = play("intent BUY 100 LMT 10 oca=g:1\nsent\nopen Submitted\nfill 100 @ 10")
    life.play("B: intent BUY 100 LMT 9 oca=g:1\nB: sent\nB: open Submitted")
    assert broken(life, "B: open Submitted") == {}


def test_exit_that_works_on_after_the_other_one_filled_is_a_contradiction() -> None:
    life = bracket("fill 20 @ 10\nstatus Filled 20\nB: fill 20 @ 12\nB: status Filled 20")
    assert list(broken(life, "C: open Submitted")) == ["contradiction:C"]


def test_exit_may_work_on_where_both_together_close_no_more_than_the_entry_has_filled() -> None:
    life = play(
        """
        intent      BUY 20 LMT 10
        sent
        B: intent   SELL 8 LMT 12 parent=A
        C: intent   SELL 12 LMT 13 parent=A
        open        Submitted
        B: open     Submitted
        C: open     Submitted
        fill        20 @ 10
        B: fill     8 @ 12
        """
    )
    assert life.order("C").rival_filled == "B"
    assert broken(life, "C: open Submitted") == {}


def test_both_orders_of_a_group_filled_is_a_contradiction() -> None:
    life = group(1).play("fill 100 @ 10\nstatus Filled 100\nB: fill 100 @ 9\nB: status Filled 100")
    run = reconcile(life, completed="B: completed Filled 100", unanswered={"positions": "refused"})
    assert run.breaks == {"contradiction:B": "high"}


def test_order_of_a_reducing_group_may_fill_what_the_other_has_left_it() -> None:
    life = group(3, second=150).play("fill 100 @ 10\nstatus Filled 100\nB: open Submitted 50")
    life.play("B: fill 50 @ 9\nB: status Filled 50")
    assert life.order("B").state is OrderState.FILLED
    run = reconcile(life, completed="B: completed Filled 50", unanswered={"positions": "refused"})
    assert run.breaks == {}


# ── ends that IB takes back ──────────────────────────────────────────────────────────────────────


def shown(life: Life) -> list[str]:
    return [anomaly.text for anomaly in life.books.all(Anomaly)]


@pytest.mark.parametrize(
    "facts",
    [
        # A fill after an end that came with a code alone.
        "cancel\nnotice 202\nfill 30 @ 10",
        "cancel\nnotice 202\nfill 30 @ 10\nstatus Cancelled 30",
        # The sum before the fill.
        "status Cancelled 0\nstatus Filled 100",
        "status Cancelled 0\nstatus Filled 100\nfill 100 @ 10",
        "status Cancelled 0\nfill 100 @ 10\nstatus Filled 100",
        # What was filled is cancelled.
        "status Filled 100\nstatus Cancelled 0",
    ],
)
def test_end_that_ib_takes_back_is_shown_once(facts: str) -> None:
    assert len(shown(working(facts))) == 1


def test_execution_of_a_refused_order_is_shown() -> None:
    life = play("intent BUY 100 LMT 10\nsent\nnotice 201 no\nfill 30 @ 10")
    assert (life.order().state, life.order().filled) == (OrderState.REJECTED, 30)
    assert shown(life) == [
        "IB ended order A as rejected before an execution came, and its executions add up to 30"
    ]


@pytest.mark.parametrize(
    "facts",
    [
        "cancel\nfill 30 @ 10\nnotice 202",
        "cancel\nstatus Submitted 30\nnotice 202\nfill 30 @ 10",
        "cancel\nnotice 202\nstatus Cancelled 30\nfill 30 @ 10",
        "fill 100 @ 10\nstatus Filled 100\nstatus Filled 100",
        "cancel\nnotice 202\nlost\nsession\nfill 30 @ 10 fetched=yes",
        "fill 100 @ 10 exec=x.1.01\nstatus Filled 100\nfill 60 @ 10 exec=x.1.02\nstatus Filled 60",
    ],
)
def test_end_that_its_executions_explain_is_not_shown(facts: str) -> None:
    assert shown(working(facts)) == []
