"""Whole answers of the broker, read from the events that tell them (`core.answer_rows`)."""

from __future__ import annotations

from typing import Final, NamedTuple

from oms.core.answer_rows import SAID_AGAIN, LastAnswer, Recalled, key_of, rows_of
from oms.core.events import Envelope, QueryAnswered, QueryKind, Question
from oms.core.fold.answers import name_of_answer
from oms.errors import ArchiveUnavailable, ChainBroken, NotFound
from oms.store.reader import Reader
from oms.store.reading import Reading
from oms.telemetry import get_logger

log = get_logger("store.answers")

#: Events after an answer that are looked through for what was said since of the same things.
SINCE_MAX: Final = 20_000
#: Rows that are read at a time.
_PAGE: Final = 500


class Whole(NamedTuple):
    """An answer with the events that hold its rows, in order."""

    question: Question
    rows: list[Envelope]
    #: How many answers before it had to be read.
    links: int


def whole_answer(reading: Reading, sequence: int, kind: QueryKind, account: str = "") -> Whole:
    """Return the answer of this kind that a `QueryAnswered` tells of.

    Raises `NotFound` where it tells of none, or where an event that it needs has left the database.
    """
    told = [_question(reading, sequence, kind, account)]
    while told[-1].like:
        told.append(_question(reading, told[-1].like, kind, account))
    rows: set[int] = set()
    for question in reversed(told):
        rows = rows_of(question, rows)
    wanted, found = sorted(rows), list[Envelope]()
    for start in range(0, len(wanted), _PAGE):
        found += reading.envelopes(wanted[start : start + _PAGE])
    if len(found) < len(wanted):
        missing = min(rows - {one.sequence for one in found})
        raise NotFound(f"event {missing} holds a row of the answer, and is not in the database")
    return Whole(told[0], found, len(told) - 1)


def _question(reading: Reading, sequence: int, kind: QueryKind, account: str) -> Question:
    event = reading.event(sequence).event
    asked = event.questions if isinstance(event, QueryAnswered) else ()
    for question in asked:
        if (question.kind, question.account) == (kind, account):
            return question
    raise NotFound(f"event {sequence} tells no answer about {name_of_answer(kind, account)}")


async def recall(reader: Reader, kind: QueryKind, account: str) -> Recalled:
    """Return what the log has of a question that was asked before this process began; nothing where
    a part of the last answer has left the database.

    Some hundred reads, when the question is asked for the first time: a start does not depend on
    it. Where much was said since, no row counts as a repeat of anything.
    """
    return await reader.ask(lambda reading: _recalled(reading, kind, account))


def _recalled(reading: Reading, kind: QueryKind, account: str) -> Recalled:
    sequence = reading.system().answers.get(name_of_answer(kind, account), 0)
    if not sequence:
        return Recalled()
    try:
        _, rows, links = whole_answer(reading, sequence, kind, account)
    except (NotFound, ChainBroken, ArchiveUnavailable) as error:
        log.info("answer_not_recalled", kind=kind, account=account, reason=error.message)
        return Recalled()
    answer = LastAnswer(sequence, {one.sequence: key_of(one.event) for one in rows}, links)
    if reading.head().sequence - sequence > SINCE_MAX:
        return Recalled(answer)
    names = [one.__name__ for one in SAID_AGAIN]
    since = reading.events(sequence, limit=SINCE_MAX, type=names)
    return Recalled(answer, (*rows, *since))
