"""Folds of answers: what was said once more, and what was not said any more.

A row that repeats what the log has is no event (decision 0152), so it is the answer that says when
IB last said so. Answers of earlier versions say nothing of rows, and change nothing here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from oms.core.events import Context, Envelope, QueryAnswered, QueryKind, Question
from oms.core.fold.books import Books, set_system
from oms.core.fold.fold import Fold
from oms.core.fold.records import AccountValue, Position, SessionRecord
from oms.core.fold.wants import Want, Wants

#: The table of what the rows of a question are about, by the first word of their keys.
_TABLES: Final = {
    "position": "positions",
    "portfolio": "positions",
    "summary": "account_values",
    "updates": "account_values",
}


def name_of_answer(kind: QueryKind, account: str) -> str:
    """Return what an answer is remembered under: the question, and the account it is about."""
    return f"{kind}:{account}" if account else kind


def _answered(books: Books, envelope: Envelope, event: QueryAnswered) -> None:
    for question in event.questions:
        if question.set_digest:
            _told(books, envelope, question)


def _told(books: Books, envelope: Envelope, question: Question) -> None:
    known, name = books.system.answers, name_of_answer(question.kind, question.account)
    set_system(books, answers={**known, name: envelope.sequence})
    accounts = _accounts(books, question)
    if not question.since:
        _forget(books, question, accounts)
    for table, key in _things(question.gone):
        _mark(books, table, key, question.kind, said=False)
    for table, key in _things(question.came):
        _mark(books, table, key, question.kind, said=True)
    for record in _said_in(books, question, accounts):
        books.put(_said(record, question))


def _said_in(
    books: Books, question: Question, accounts: tuple[str, ...]
) -> list[Position | AccountValue]:
    """Return what the last whole answer to a question had. Positions that nobody holds may have
    left memory, where a rebuild still has them.
    """
    held: list[Position | AccountValue] = [p for p in books.all(Position) if p.live]
    found = [*held, *books.all(AccountValue)]
    return [r for r in found if question.kind in r.said_in and r.account in accounts]


def _forget(books: Books, question: Question, accounts: tuple[str, ...]) -> None:
    """Take it that an answer which knows of none before it is all that IB says."""
    for record in _said_in(books, question, accounts):
        said_in = tuple(one for one in record.said_in if one != question.kind)
        books.put(record.evolve(said_in=said_in))


def _said(record: Position | AccountValue, question: Question) -> Position | AccountValue:
    """Return what a row was about, as said in an answer whose rows the books agree with."""
    if isinstance(record, AccountValue):
        return record.evolve(at=question.answered_at)
    marked = {"broker_marked_at": question.answered_at} if question.kind == "account" else {}
    return record.evolve(broker_at=question.answered_at, **marked)


def _mark(books: Books, table: str, key: str, kind: QueryKind, *, said: bool) -> None:
    record = books.get(table, key)
    if isinstance(record, Position | AccountValue):
        others = tuple(one for one in record.said_in if one != kind)
        books.put(record.evolve(said_in=(*others, kind) if said else others))


def _things(keys: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield table and key of the records that rows are about."""
    for key in keys:
        kind, _, thing = key.partition(":")
        if kind in _TABLES:
            yield _TABLES[kind], thing


def _accounts(books: Books, question: Question) -> tuple[str, ...]:
    if question.account:
        return (question.account,)
    session = books.get("sessions", str(books.system.session_epoch))
    # One that is over may have left memory, where a rebuild still has it.
    return session.accounts if isinstance(session, SessionRecord) and session.live else ()


def _for_answered(event: QueryAnswered, context: Context, books: Books) -> Wants:
    found: set[Want] = set()
    for question in event.questions:
        if question.set_digest:
            found |= _wanted(books, question)
    return tuple(found)


def _wanted(books: Books, question: Question) -> set[Want]:
    things = set(_things((*question.gone, *question.came)))
    accounts = {key.partition(":")[0] for table, key in things if table == "account_values"}
    if question.kind in ("account", "account_summary"):
        accounts.update(_accounts(books, question))
    values = {Want("account_values", "account", account) for account in accounts}
    return values | {Want(table, "", key) for table, key in things if table == "positions"}


FOLDS: Final = (Fold(QueryAnswered, _answered, _for_answered),)
