"""Holds every answer of the broker against the digest over its rows (decision 0152).

The chain shows that no event was changed. That an answer is made of exactly the rows that it names,
those included which an earlier answer had, is a claim of its own: whoever hashed the log anew, or a
fault of the program that wrote it, could name others.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from typing import Final

from oms.core.answer_rows import line_of, rows_of, set_digest_of, spans_of
from oms.core.codec import decode_stored
from oms.core.events import QueryAnswered, Question
from oms.core.fold.answers import name_of_answer
from oms.errors import ChainBroken
from oms.store.archived import filled
from oms.store.audit import Progress
from oms.store.backend import Connection, connect, parse_url

_KIND: Final = QueryAnswered.__name__
_SELECT: Final = (
    "SELECT sequence, version, payload FROM events WHERE type = ? AND sequence BETWEEN ? AND ?"
    " ORDER BY sequence"
)
_SELECT_ROWS: Final = (
    "SELECT sequence, type, payload, NULL FROM events WHERE sequence BETWEEN ? AND ?"
)
#: Events among which answers are looked for at a time.
_PART_EVENTS: Final = 100_000


@dataclass(slots=True)
class _Told:
    """An answer as it was told: its rows by the events that hold them."""

    sequence: int = 0
    rows: set[int] = field(default_factory=set)
    lines: dict[int, str] = field(default_factory=dict)
    digest: str = ""


def check_answers(url: str, progress: Progress | None = None, *, first: int = 1) -> int:
    """Check the answers that are told from an event on, in a log whose chain holds; return how
    many have a digest. Raises `ChainBroken` with the first one that is made of other rows.
    """
    checked = 0
    #: The last answer to each question.
    known: dict[str, _Told] = {}
    with closing(connect(parse_url(url), "read")) as connection:
        (last,) = connection.rows("SELECT coalesce(max(sequence), 0) FROM events")[0]
        for begin in range(first, last + 1, _PART_EVENTS):
            for sequence, question in _questions(connection, begin, begin + _PART_EVENTS - 1):
                name = name_of_answer(question.kind, question.account)
                known[name] = _checked(connection, sequence, question, known.get(name, _Told()))
                checked += 1
            if progress is not None:
                progress(min(begin + _PART_EVENTS, last + 1) - first, last + 1 - first)
    return checked


def _questions(connection: Connection, first: int, last: int) -> Iterator[tuple[int, Question]]:
    """Yield the questions with a digest, with the event that tells how they were answered."""
    for sequence, version, payload in connection.rows(_SELECT, (_KIND, first, last)):
        event = decode_stored(_KIND, version, payload)
        for question in event.questions if isinstance(event, QueryAnswered) else ():
            if question.set_digest:
                yield sequence, question


def _checked(connection: Connection, sequence: int, question: Question, before: _Told) -> _Told:
    # What an answer is made of came before it.
    if any(span.last >= sequence for span in question.taken_in):
        raise _other_rows(sequence, question)
    like: Collection[int] = before.rows
    if question.like != before.sequence:
        like = _rows_of_answer(connection, question.like, question)
    rows = rows_of(question, like)
    if rows == before.rows and before.digest == question.set_digest:
        # Nearly always: it says what the last one said.
        return _Told(sequence, rows, before.lines, before.digest)
    lines = {one: before.lines[one] for one in rows & before.lines.keys()}
    lines |= _lines_of(connection, rows - lines.keys())
    if len(lines) < len(rows) or set_digest_of(lines.values()) != question.set_digest:
        raise _other_rows(sequence, question)
    return _Told(sequence, rows, lines, question.set_digest)


def _other_rows(sequence: int, question: Question) -> ChainBroken:
    name = name_of_answer(question.kind, question.account)
    return ChainBroken(
        f"event {sequence} tells an answer about {name}: it is not made of the rows that it names",
        sequence=sequence,
        hint=f"`oms why {sequence}` shows these rows; docs/operating/chain-broken.md",
    )


def _rows_of_answer(connection: Connection, sequence: int, question: Question) -> Collection[int]:
    """Return the events that hold the rows of an earlier answer to a question."""
    told: list[Question] = []
    while sequence:
        same = [
            one
            for _, one in _questions(connection, sequence, sequence)
            if (one.kind, one.account) == (question.kind, question.account)
            and max((one.like, *(span.last for span in one.taken_in))) < sequence
        ]
        told += same[:1]
        sequence = same[0].like if same else 0
    rows: set[int] = set()
    for one in reversed(told):
        rows = rows_of(one, rows)
    return rows


def _lines_of(connection: Connection, sequences: Iterable[int]) -> dict[int, str]:
    found: dict[int, str] = {}
    for span in spans_of(sequences):
        rows = connection.rows(_SELECT_ROWS, (span.first, span.last))
        for sequence, kind, payload, _ in filled(connection, rows, 2):
            found[sequence] = line_of(kind, payload)
    return found
