"""The exits of a bracket are worked in sizes that follow from what the entry has filled."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oms.core.fold.records import OrderState
from tests.lives import Life, play
from tests.statements import our_side, reconcile

BRACKET = """
    intent      BUY 20 LMT 10 transmit=no
    sent
    B: intent   SELL 20 LMT 12 transmit=no parent=A
    B: sent
    C: intent   SELL 20 STP 9 parent=A
    C: sent
    open        Submitted
    B: open     PreSubmitted
    C: open     PreSubmitted
"""


def bracket(text: str = "") -> Life:
    """Return a bracket BUY 20 at work at IB, and the lines of a table played after."""
    return play(BRACKET).play(text)


def broken(life: Life, rows: str) -> set[str]:
    """Return the breaks that these open orders show."""
    return set(reconcile(life, open_orders=rows, unanswered={"positions": "refused"}).breaks)


@pytest.mark.parametrize(
    ("size", "breaks"),
    [
        ("5", set()),
        ("20", set()),
        ("8", {"wrong_terms:C"}),
        ("3", {"wrong_terms:C"}),
    ],
)
def test_exit_works_for_what_its_entry_has_filled_or_for_the_whole(
    size: str, breaks: set[str]
) -> None:
    rows = f"open Submitted\nB: open Submitted 5\nC: open Submitted {size}"
    assert broken(bracket("fill 5 @ 10"), rows) == breaks


def test_exits_grow_with_every_part_of_the_entry() -> None:
    life = bracket()
    for filled, part in (("5", 5), ("8", 3), ("12", 4)):
        life.play(f"fill {part} @ 10\nB: open Submitted {filled}\nC: open Submitted {filled}")
        rows = f"open Submitted\nB: open Submitted {filled}\nC: open Submitted {filled}"
        assert broken(life, rows) == set()
        assert life.order("C").terms.quantity == Decimal(filled)
    # Its parts are the whole order only once the entry is over.
    life.play("C: fill 8 @ 9")
    assert life.order("C").state is OrderState.PARTIALLY_FILLED


def test_exit_whose_growth_nobody_told_us_of_is_neither_filled_early_nor_overfilled() -> None:
    life = bracket("fill 5 @ 10\nB: open Submitted 5\nfill 15 @ 10\nB: fill 5 @ 12")
    assert life.order("B").state is OrderState.PARTIALLY_FILLED
    life.play("B: fill 15 @ 12\nB: status Filled 20")
    assert life.order("B").state is OrderState.FILLED
    assert broken(life, "") == {"lost_order:C"}


def test_size_that_follows_from_nothing_is_a_break_that_names_what_was_filled() -> None:
    life = bracket("fill 8 @ 10")
    rows = "open Submitted\nB: open Submitted 8\nC: open Submitted 7"
    finding = reconcile(life, open_orders=rows).finding("wrong_terms:C")
    assert "asked SELL 20 STP stop 9" in finding.text
    assert finding.text.endswith("its entry has filled 8 of 20")


def test_exit_is_not_worked_larger_than_it_was_asked_for() -> None:
    rows = "B: open Submitted 20\nC: open Submitted 21"
    assert broken(bracket("fill 20 @ 10"), rows) == {"wrong_terms:C"}


@pytest.mark.parametrize(("size", "breaks"), [("3", set()), ("0", set()), ("4", {"wrong_terms:C"})])
def test_what_one_exit_has_filled_is_taken_off_the_other(size: str, breaks: set[str]) -> None:
    life = bracket("fill 5 @ 10\nB: open Submitted 5\nC: open Submitted 5\nB: fill 2 @ 12")
    rows = f"open Submitted\nB: open Submitted 5\nC: open Submitted {size}"
    assert broken(life, rows) == breaks


def test_entry_that_was_cancelled_in_part_leaves_exits_for_that_part() -> None:
    life = bracket("fill 5 @ 10\nB: open Submitted 5\nC: open Submitted 5\ncancel")
    life.play("status Cancelled 5")
    rows = "B: open Submitted 5\nC: open Submitted 5"
    assert broken(life, rows) == set()
    life.play("C: fill 5 @ 9")
    # IB may have given it another size meanwhile, so its own word counts.
    assert life.order("C").state is OrderState.PARTIALLY_FILLED
    life.play("C: status Filled 5")
    assert life.order("C").state is OrderState.FILLED


def test_change_of_the_price_keeps_the_whole_in_mind() -> None:
    life = bracket("fill 5 @ 10\nB: open Submitted 5")
    life.play("B: modify 5 13\nB: sent\nB: open Submitted 5 13")
    assert life.order("B").terms.limit_price == Decimal(13)
    for size in (5, 20):
        rows = f"open Submitted\nB: open Submitted {size} 13\nC: open PreSubmitted 20"
        assert broken(life, rows) == set()
    life.play("fill 15 @ 10\nB: open Submitted 20 13")
    assert life.order("B").terms.quantity == Decimal(20)


def test_change_of_the_size_is_the_new_whole() -> None:
    life = bracket("fill 5 @ 10\nB: open Submitted 5")
    life.play("B: modify 4 13\nB: sent\nB: open Submitted 4 13")
    rows = "open Submitted\nB: open Submitted 5 13\nC: open PreSubmitted 20"
    assert broken(life, rows) == {"wrong_terms:B"}


def test_entry_that_moves_while_it_is_asked_for_makes_its_exits_unknown() -> None:
    life = bracket("fill 5 @ 10\nB: open Submitted 5\nC: open Submitted 5")
    prior = our_side(life)
    life.play("fill 3 @ 10")
    rows = "open Submitted\nB: open Submitted 5\nC: open Submitted 5"
    run = reconcile(life, open_orders=rows, prior=prior, unanswered={"positions": "refused"})
    assert run.breaks == {}
    assert {"order:B", "order:C"} <= set(run.unknown)


def test_exit_whose_sibling_moves_while_it_is_asked_for_is_unknown() -> None:
    life = bracket("fill 5 @ 10\nB: open Submitted 5\nC: open Submitted 5")
    prior = our_side(life)
    life.play("B: fill 3 @ 12")
    rows = "open Submitted\nB: open Submitted 5\nC: open Submitted 4"
    run = reconcile(life, open_orders=rows, prior=prior, unanswered={"positions": "refused"})
    assert run.breaks == {}
    assert "order:C" in run.unknown


SCALE_OUT = """
    intent      BUY 20 LMT 10 transmit=no
    sent
    B: intent   SELL 12 LMT 12 transmit=no parent=A
    B: sent
    D: intent   SELL 8 LMT 13 transmit=no parent=A
    D: sent
    C: intent   SELL 20 STP 9 parent=A
    C: sent
    open        Submitted
    B: open     PreSubmitted
    D: open     PreSubmitted
    C: open     PreSubmitted
    fill 10 @ 10
"""


@pytest.mark.parametrize(
    ("filled", "sizes", "breaks"),
    [
        # Two targets share the entry: what one has filled is taken off the stop alone.
        ("B: fill 2 @ 12", {"B": "6", "D": "4", "C": "8"}, set()),
        ("B: fill 2 @ 12", {"B": "10", "D": "8", "C": "8"}, set()),
        ("B: fill 2 @ 12", {"B": "6", "D": "4", "C": "9"}, {"wrong_terms:C"}),
        # What the stop has filled is taken off both, by number or by its part of the stop.
        ("C: fill 5 @ 9", {"B": "3", "D": "2", "C": "10"}, set()),
        ("C: fill 3 @ 9", {"B": "3", "D": "1", "C": "10"}, set()),
        ("C: fill 5 @ 9", {"B": "9", "D": "6", "C": "20"}, set()),
        ("C: fill 5 @ 9", {"B": "11", "D": "6", "C": "20"}, {"wrong_terms:B"}),
    ],
)
def test_exits_that_share_an_entry_are_reduced_by_what_would_close_more_than_it(
    filled: str, sizes: dict[str, str], breaks: set[str]
) -> None:
    life = play(SCALE_OUT).play(filled)
    exits = [f"{name}: open Submitted {size}" for name, size in sizes.items()]
    assert broken(life, "\n".join(["open Submitted", *exits])) == breaks


@pytest.mark.parametrize("way", ["grow", "whole"])
@given(st.data())
@settings(max_examples=60, deadline=None)
def test_no_pattern_of_fills_makes_a_difference(way: str, drawn: st.DataObject) -> None:
    """Goal: an entry that fills in any parts, with exits that fill in between, agrees with IB after
    each step, also after a new session and where IB told of no size meanwhile.
    """
    life, filled, closed = bracket(), 0, 0
    while filled < 20:
        part = drawn.draw(st.integers(1, 20 - filled))
        filled += part
        life.play(f"fill {part} @ 10")
        size = 20 if way == "whole" else filled
        if drawn.draw(st.booleans()):
            life.play("lost\nsession")
        if drawn.draw(st.booleans()):
            life.play(f"B: open Submitted {size}\nC: open Submitted {size - closed}")
        if closed < filled - 1 and drawn.draw(st.booleans()):
            more = drawn.draw(st.integers(1, filled - closed - 1))
            closed += more
            life.play(f"B: fill {more} @ 12")
        rows = f"B: open Submitted {size}\nC: open Submitted {size - closed}"
        entry = "open Submitted\n" if filled < 20 else ""
        assert broken(life, entry + rows) == set()


@pytest.mark.parametrize("first", [20, 5])
@pytest.mark.parametrize("ref", ["", "k"])
def test_exits_that_were_sent_from_another_log_may_grow_with_their_entry(
    first: int, ref: str
) -> None:
    life = play("")

    def listed(size: int) -> str:
        words = [f"{name}: open Submitted {size} ref={ref and ref + name} under=1" for name in "BC"]
        return "\n".join([f"A: open Submitted 20 ref={ref and ref + 'A'}", *words])

    reconcile(life, open_orders=listed(first))
    for filled in (8, 12):
        life.play("lost\nsession")
        # The execution has its order's permanent number, wherever the order came from.
        life.play(f"A: fill 4 @ 10 ref={ref and ref + 'A'}")
        breaks = reconcile(
            life, open_orders=listed(filled), unanswered={"positions": "refused"}
        ).breaks
        assert [key for key in breaks if key.startswith("wrong_terms")] == []
    exit_ = life.order(ref + "B" if ref else "perm-1002")
    assert (exit_.terms.quantity, exit_.largest_asked) == (12, max(first, 12))
