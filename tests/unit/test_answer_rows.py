"""The rows of an answer, named by the events that hold them."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from oms.core.answer_rows import (
    LINKS_MAX,
    LastAnswer,
    key_of,
    rows_of,
    set_digest_of,
    spans_of,
    told_by,
    within,
)
from oms.core.events import AccountValueReceived, Question, Span
from oms.core.values import checked

AT = datetime(2026, 1, 5, tzinfo=UTC)
ROWS = st.dictionaries(
    st.integers(1, 300), st.sampled_from([f"position:DU1:{n}" for n in range(9)])
)


def question(**told: object) -> Question:
    """An answer that says of its rows what is given."""
    stated: dict[str, object] = {
        "query_id": "q",
        "kind": "positions",
        "outcome": "complete",
        "asked_at": AT,
        "answered_at": AT,
        "asked_sequence": 1,
    }
    return checked(Question, stated | told)


@given(st.lists(ROWS, max_size=12), st.integers(0, LINKS_MAX))
def test_every_answer_of_a_chain_is_told_exactly(answers: list[dict[int, str]], links: int) -> None:
    before: LastAnswer | None = None
    known: dict[int, set[int]] = {0: set()}
    for sequence, rows in enumerate(answers, 1_000):
        told = told_by(rows, before, whole=True)
        known[sequence] = rows_of(question(**told._asdict()), known[told.like])
        assert known[sequence] == set(rows)
        keys, earlier = set(rows.values()), set() if before is None else before.keys
        assert (set(told.came), set(told.gone)) == (keys - earlier, earlier - keys)
        assert told.since == (0 if before is None else before.sequence)
        before = LastAnswer(sequence, rows, links + 1 if told.like else 0)


def test_the_same_answer_again_names_no_row() -> None:
    rows = {n: f"position:DU1:{n}" for n in range(5, 25)}
    first = told_by(rows, None, whole=True)
    assert (first.like, first.taken_in, len(first.came)) == (0, (Span(first=5, last=24),), 20)
    again = told_by(rows, LastAnswer(30, rows), whole=True)
    assert again == (30, (), (), 30, (), ())


def test_a_chain_of_answers_ends() -> None:
    rows = {5: "position:DU1:1"}
    told = told_by(rows, LastAnswer(30, rows, links=LINKS_MAX), whole=True)
    assert (told.like, told.taken_in) == (0, (Span(first=5, last=5),))


def test_an_answer_that_is_not_whole_says_nothing_of_what_is_not_in_it() -> None:
    told = told_by({7: "position:DU1:1"}, LastAnswer(30, {5: "position:DU1:2"}), whole=False)
    assert told == (0, (), (), 0, (Span(first=7, last=7),), ())


@given(st.sets(st.integers(1, 10**6)))
def test_spans_name_exactly_their_events(sequences: set[int]) -> None:
    spans = spans_of(sequences)
    assert within(spans) == sequences
    assert all(span.first <= span.last for span in spans)
    assert all(one.last + 1 < other.first for one, other in itertools.pairwise(spans))


def test_the_digest_of_rows_does_not_depend_on_their_order() -> None:
    assert set_digest_of(["a", "b"]) == set_digest_of(["b", "a"]) != set_digest_of(["a", "c"])


def test_two_sources_of_one_account_value_are_two_things() -> None:
    value = AccountValueReceived(account="DU1", key="Cash", value="1", source="updates")
    assert key_of(value) != key_of(value.evolve(source="summary"))
