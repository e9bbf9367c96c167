"""The rows of an answer, named by the events that hold them (decision 0152).

A row that says word for word what the log has is not stored again, so that an answer is a set of
events: those that were stored for it, and earlier ones. Its `QueryAnswered` names all of them, as a
difference to an earlier answer where that is shorter. Whoever has the events can say what the
answer was, what was not in it, and whether the digest is that of exactly these rows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from oms.core.events import (
    AccountValueReceived,
    AnswerEndReceived,
    CommissionReceived,
    CompletedOrderReceived,
    Envelope,
    Event,
    ExecutionReceived,
    NaturalKeyConflict,
    OpenOrderReceived,
    OrderStatusReceived,
    PortfolioReceived,
    PositionReceived,
    Question,
    Span,
)

#: Answers in a row that each name a difference to the one before; the next names all its rows. Who
#: reads the last of them reads all of these.
LINKS_MAX: Final = 60
#: What can be said again and is stored again where it is pushed. Executions and commissions are not
#: among them: each exists once in the log, by its natural key.
SAID_AGAIN: Final[frozenset[type[Event]]] = frozenset(
    (
        OpenOrderReceived,
        OrderStatusReceived,
        CompletedOrderReceived,
        PositionReceived,
        PortfolioReceived,
        AccountValueReceived,
        AnswerEndReceived,
    )
)


def key_of(event: Event) -> str:
    """Return what a row is about, "" for an event that is no row: two rows of one answer with the
    same key say something about the same thing.
    """
    match event:
        # Statuses first: in a burst they come by the ten thousand.
        case OrderStatusReceived():
            return f"status:{_order_of(event)}"
        case ExecutionReceived():
            return f"execution:{event.account}:{event.exec_id}"
        case CommissionReceived():
            return f"commission:{event.exec_id}"
        case NaturalKeyConflict():
            return event.key
        case OpenOrderReceived() if not event.what_if:
            return f"open_order:{_order_of(event)}"
        case CompletedOrderReceived():
            return f"completed_order:{event.perm_id or event.order_ref}"
        case PositionReceived():
            return f"position:{event.account}:{event.contract.con_id}"
        case PortfolioReceived():
            return f"portfolio:{event.account}:{event.contract.con_id}"
        case AccountValueReceived():
            return f"{event.source}:{event.account}:{event.key}:{event.currency}"
        case AnswerEndReceived():
            return f"end:{event.kind}"
        case _:
            return ""


def is_same_order(shown: OpenOrderReceived, status: OrderStatusReceived) -> bool:
    """Say whether a status is about the order whose terms were shown."""
    return _order_of(shown) == _order_of(status)


def _order_of(event: OpenOrderReceived | OrderStatusReceived) -> str:
    return str(event.perm_id or f"{event.client_id}:{event.broker_order_id}")


def line_of(type_name: str, payload: str) -> str:
    """Return the line of a row that a digest is made over, of the event that holds it."""
    return f"{type_name} {payload}"


def digest_of(lines: Iterable[str]) -> str:
    """Return the sha256 over lines."""
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def set_digest_of(lines: Collection[str]) -> str:
    """Return the digest over rows in no order: of the events that hold them, each once."""
    return digest_of(sorted(lines))


def spans_of(sequences: Iterable[int]) -> tuple[Span, ...]:
    """Return sequences as first and last of what follows without a gap."""
    ends: list[list[int]] = []
    for sequence in sorted(sequences):
        if ends and ends[-1][1] == sequence - 1:
            ends[-1][1] = sequence
        else:
            ends.append([sequence, sequence])
    return tuple(Span(first=first, last=last) for first, last in ends)


def within(spans: Iterable[Span]) -> set[int]:
    """Return the sequences that spans name."""
    return {one for span in spans for one in range(span.first, span.last + 1)}


def rows_of(question: Question, like: Collection[int]) -> set[int]:
    """Return the events that hold the rows of an answer; `like` are those of the answer that it is
    told by, empty where it names all of its own.
    """
    return (set(like) - within(question.left_out)) | within(question.taken_in)


@dataclass(slots=True)
class LastAnswer:
    """The last whole answer to a question: what the next one is told by."""

    #: Of its `QueryAnswered`.
    sequence: int
    #: What each row is about, by the event that holds it.
    rows: Mapping[int, str]
    #: How many answers before it must be read to know it.
    links: int = 0
    keys: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        self.keys = frozenset(self.rows.values())


@dataclass(frozen=True, slots=True)
class Recalled:
    """What the log has of a question that was asked before this process began."""

    #: The last whole answer, None where there is none.
    answer: LastAnswer | None = None
    #: Its rows, and what IB has said since; nothing where that is too much to read.
    said: tuple[Envelope, ...] = ()


class Told(NamedTuple):
    """How the rows of an answer are told: the members of `Question` of the same names."""

    since: int = 0
    came: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()
    like: int = 0
    taken_in: tuple[Span, ...] = ()
    left_out: tuple[Span, ...] = ()


def told_by(rows: Mapping[int, str], before: LastAnswer | None, *, whole: bool) -> Told:
    """Return how an answer with these rows is told. An answer that is not whole says nothing of
    what is not in it.
    """
    all_of_them = spans_of(rows)
    if not whole:
        return Told(taken_in=all_of_them)
    keys = set(rows.values())
    if before is None:
        return Told(came=tuple(sorted(keys)), taken_in=all_of_them)
    differs = Told(
        before.sequence, tuple(sorted(keys - before.keys)), tuple(sorted(before.keys - keys))
    )
    taken_in, left_out = spans_of(rows.keys() - before.rows), spans_of(before.rows.keys() - rows)
    if before.links >= LINKS_MAX or len(taken_in) + len(left_out) >= len(all_of_them):
        return differs._replace(taken_in=all_of_them)
    return differs._replace(like=before.sequence, taken_in=taken_in, left_out=left_out)
