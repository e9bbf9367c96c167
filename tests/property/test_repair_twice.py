"""What a run repairs, the next one finds repaired.

Goal: after any life and any answers, a second run over the same answers writes no repair, and a
third one nothing about cases: the second may close what the first has shown, such as a foreign
order that had ended. Method: random lives, random tables of answers, the same run three times.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests import strategies
from tests.lives import play
from tests.statements import reconcile

OPEN = ("", "open Submitted", "open Submitted 200 11", "M: open Submitted client=0 id=0 ref=")
COMPLETED = ("", "completed Filled 100", "N: completed Cancelled 0 ref=")
EXECUTIONS = (
    "",
    "fill 40 @ 10 exec=z.1.01 fetched=yes",
    "O: fill 7 @ 10 exec=o.1.01 ref= id=0 client=0 fetched=yes",
    "fill 40 @ 10 exec=z.1.02 fetched=yes",
)
POSITIONS = ("", "position 40 10", "position 5 3 con=8")


@given(
    st.lists(strategies.messages, max_size=10),
    st.fixed_dictionaries(
        {
            "open_orders": st.sampled_from(OPEN),
            "completed_orders": st.sampled_from(COMPLETED),
            "executions": st.lists(st.sampled_from(EXECUTIONS), max_size=2).map("\n".join),
            "positions": st.sampled_from(POSITIONS),
        }
    ),
    st.booleans(),
)
def test_same_answers_again_repair_nothing_and_open_nothing(
    rows: list[str], answers: dict[str, str], was_opened: bool
) -> None:
    life = play("\n".join(["intent BUY 100 LMT 10", "sent", *rows]))
    if was_opened:
        life.books.put(life.system.evolve(opened_accounts=("DU1",)))
    reconcile(life, **answers).cases()
    life.books.put(life.system.evolve(opened_accounts=("DU1",)))
    again = reconcile(life, **answers)
    assert again.repairs == []
    again.cases()
    assert reconcile(life, **answers).cases() == []
