"""A message that is delivered twice, or late, changes nothing that counts.

Goal: no filled quantity and no position depends on how often or when IB delivers a message.
Method: play a life, then the same life with broker messages repeated at later places, or with its
executions in another order, and compare what counts.
"""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from oms.core.fold.records import Order, Position
from tests import strategies
from tests.lives import Life, play


def holdings(life: Life) -> dict[str, Decimal]:
    """Return what every order has filled and every position holds."""
    filled = {o.order_id: o.filled for o in life.books.all(Order)}
    held = {p.key: p.quantity for p in life.books.all(Position)}
    return filled | held


def money(life: Life) -> dict[str, object]:
    """Return what was paid for it."""
    paid: dict[str, object] = {o.order_id: o.commissions for o in life.books.all(Order)}
    paid |= {p.key: (p.commissions, p.realised_pnl) for p in life.books.all(Position)}
    return paid


@given(
    st.lists(strategies.messages, min_size=1, max_size=15),
    st.lists(st.tuples(st.integers(0, 14), st.integers(0, 10)), max_size=6),
)
def test_repeated_message_changes_no_holding(
    rows: list[str], repeats: list[tuple[int, int]]
) -> None:
    again = list(rows)
    for index, delay in repeats:
        row = rows[index % len(rows)]
        first = again.index(row)
        again.insert(min(first + 1 + delay, len(again)), row)
    start = "intent BUY 100 LMT 10\nsent\n"
    once, twice = play(start + "\n".join(rows)), play(start + "\n".join(again))
    assert holdings(once) == holdings(twice)
    assert money(once) == money(twice)


@given(st.lists(strategies.executions, min_size=1, max_size=8), st.randoms(use_true_random=False))
def test_executions_in_any_order_leave_the_same_holding(rows: list[str], random: object) -> None:
    shuffled = list(rows)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    start = "intent BUY 100 LMT 10\nsent\n"
    assert holdings(play(start + "\n".join(rows))) == holdings(play(start + "\n".join(shuffled)))


@given(st.lists(strategies.executions, min_size=1, max_size=8), st.integers(0, 7))
def test_execution_counts_the_same_pushed_or_fetched_in_a_later_session(
    rows: list[str], split: int
) -> None:
    start = "intent BUY 100 LMT 10\nsent\n"
    pushed = play(start + "\n".join(rows))
    at = split % len(rows)
    fetched = [f"{row} fetched=yes id=7" for row in rows[at:]]
    later = play("\n".join([start, *rows[:at], "lost", "session", *fetched]))
    assert holdings(pushed) == holdings(later)


@given(
    st.permutations(("fill 40 @ 10 exec=m.1.01 ref= id=0", "adopt Submitted", "status Filled 40"))
)
def test_strangers_fill_is_claimed_whatever_came_first(rows: list[str]) -> None:
    life = play("\n".join(rows))
    assert holdings(life) == {"A": Decimal(40), "DU1:1": Decimal(40)}
