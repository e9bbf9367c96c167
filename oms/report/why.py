"""Why something is as it is, as one value: `history.why` makes it, `why_view` and JSON show it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal

from oms.core.beginnings import beginning_of
from oms.core.causes import Link, Role
from oms.core.codec import time_text
from oms.core.events import Envelope, Question
from oms.core.money import plain
from oms.report.clock import ClockBound, clock_json
from oms.report.json_view import event_json, question_json

SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Step:
    """An event on the way, and the earlier ones because of which it is there."""

    envelope: Envelope
    role: Role
    causes: tuple[Link, ...]
    #: The orders that the fold counts it to.
    order_ids: tuple[str, ...] = ()

    @property
    def beginning(self) -> str:
        """Say why nothing earlier stands behind it; "" where something does."""
        return "" if self.causes else beginning_of(self.envelope)

    def is_caused_by(self, other: Envelope) -> bool:
        """Say whether another event is one of its causes."""
        return other.sequence in {link.sequence for link in self.causes}


Moved = Literal["opening", "fill", "correction", "bust", "adjustment", "conversion"]


@dataclass(frozen=True, slots=True)
class Movement:
    """One thing that moved a position, and what was held after it."""

    sequence: int
    what: Moved
    text: str
    #: What it added to what is held, negative for what it took away.
    quantity: Decimal
    #: None where it realises at the position's own average.
    price: Decimal | None
    held: Decimal
    #: Average price of what is held after it, commissions and multiplier excluded.
    average: Decimal
    realised_pnl: Decimal
    at: datetime | None
    order_id: str = ""
    #: Sequences of earlier revisions of the same execution, the oldest first.
    revisions: tuple[int, ...] = ()
    #: Of the report of its commission; 0 where none came.
    commission_sequence: int = 0


@dataclass(frozen=True, slots=True)
class Answered:
    """A question with the whole answer to it."""

    question: Question
    #: The events that hold its rows, in the order of the log; those before the question are of
    #: earlier answers, or were pushed.
    rows: tuple[Envelope, ...] = ()
    #: Whether the answer's digest is that of these rows; None where that cannot be said.
    proven: bool | None = None

    @property
    def proof(self) -> str:
        """Say whether these rows are proven to be the answer."""
        if self.proven is None:
            return "The answer has no digest to compare these rows with."
        return f"The digest of the answer is {'' if self.proven else 'NOT '}that of these rows."


@dataclass(frozen=True, slots=True)
class Why:
    """The answer: what led to something, in the order of the log."""

    kind: Literal["event", "order", "execution", "position", "break", "alarm"]
    subject: str
    headline: str
    steps: tuple[Step, ...]
    #: Of an event: what is there because of it.
    consequences: tuple[Step, ...] = ()
    #: Of a position: what makes it, in the order in which it counts.
    movements: tuple[Movement, ...] = ()
    #: Of a break: the questions whose answers were compared.
    questions: tuple[Question, ...] = ()
    #: Of the end of an answer: the whole of it.
    answers: tuple[Answered, ...] = ()
    clock: ClockBound | None = None
    #: What the answer does not cover.
    notes: tuple[str, ...] = ()


def why_json(why: Why) -> dict[str, Any]:
    """Return an answer as JSON values."""
    return {
        "schema": SCHEMA,
        "kind": "why",
        "about": why.kind,
        "subject": why.subject,
        "headline": why.headline,
        "steps": [_step(one) for one in why.steps],
        "consequences": [_step(one) for one in why.consequences],
        "movements": [_movement(one) for one in why.movements],
        "questions": [question_json(one) for one in why.questions],
        "answers": [
            {
                "question": question_json(one.question),
                "rows": [event_json(row) for row in one.rows],
                "proven": one.proven,
            }
            for one in why.answers
        ],
        "broker_clock": clock_json(why.clock),
        "notes": list(why.notes),
    }


def _step(step: Step) -> dict[str, Any]:
    return {
        **event_json(step.envelope),
        "role": step.role,
        "order_ids": list(step.order_ids),
        "causes": [
            {"sequence": link.sequence, "how": link.how, "text": link.text} for link in step.causes
        ],
        "beginning": step.beginning or None,
    }


def _movement(one: Movement) -> dict[str, Any]:
    return {
        "sequence": one.sequence,
        "what": one.what,
        "text": one.text,
        "quantity": plain(one.quantity),
        "price": None if one.price is None else plain(one.price),
        "held": plain(one.held),
        "average_price": plain(one.average),
        "realised_pnl": plain(one.realised_pnl),
        "at": None if one.at is None else time_text(one.at),
        "order_id": one.order_id or None,
        "revisions": list(one.revisions),
        "commission_sequence": one.commission_sequence or None,
    }
