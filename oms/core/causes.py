"""Why an event is there: the earlier events that it names, and the one that its order hangs it on.

Three kinds of reasons, told apart for whoever reads them. An event *names* its cause where that
stands in it: the request, the intent, the question, the sequences of what shows it. It is
*presumed* where it came while a question was open whose rows IB does not mark. And it is
*attributed* where nothing in it names an event of ours: then the fold has decided which order it
belongs to, by a number, a name or an execution, and the fold can be corrected.

Every reason is an earlier event, so the walk back from any event ends.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Literal

from oms.core import events
from oms.core.events import Envelope, Event
from oms.core.fold.books import stem_and_revision

How = Literal["named", "presumed", "attributed"]
Role = Literal[
    "request", "check", "intent", "sent", "broker", "inference", "repair", "person", "record"
]


@dataclass(frozen=True, slots=True)
class Link:
    """An earlier event because of which another is there."""

    sequence: int
    how: How
    text: str


#: Rows of answers that carry no number of the question.
_UNMARKED: Final = (
    events.OpenOrderReceived,
    events.OrderStatusReceived,
    events.CommissionReceived,
    events.BrokerMessageUnreadable,
)
#: What people ask the daemon for.
REQUESTS: Final = (
    events.OrderRequested,
    events.ModifyRequested,
    events.CancelRequested,
    events.GlobalCancelRequested,
    events.DoubtResolutionRequested,
    events.WhatIfRequested,
    events.QuoteRequested,
    events.ReconciliationRequested,
    events.CaseRequested,
)
_CHECKS: Final = (
    events.OrderDenied,
    events.ModifyDenied,
    events.CancelDenied,
    events.GlobalCancelDenied,
    events.DoubtResolutionDenied,
    events.CaseRequestDenied,
)
_INTENTS: Final = (
    events.OrderIntended,
    events.ModifyIntended,
    events.CancelIntended,
    events.GlobalCancelIntended,
)
#: What we conclude from what others have said, or have not said.
_INFERENCES: Final = (
    events.OrderDoubted,
    events.DoubtResolved,
    events.RequestNotTaken,
    events.OrderAdopted,
    events.NaturalKeyConflict,
    events.EventSetAside,
    events.BreakOpened,
    events.BreakUpdated,
    events.BreakClosed,
)
_REPAIRS: Final = (
    events.BooksAdjusted,
    events.OpeningPositionRecorded,
    events.CommissionRestated,
    events.CashOpened,
)


def role_of(envelope: Envelope) -> Role:
    """Say what part an event plays in a story."""
    event = envelope.event
    if isinstance(event, REQUESTS):
        return "request"
    if isinstance(event, _CHECKS):
        return "check"
    if isinstance(event, _INTENTS):
        return "intent"
    if isinstance(event, events.OrderMessageSent):
        return "sent"
    if envelope.context.actor.startswith("person:"):
        return "person"
    if isinstance(event, _INFERENCES):
        return "inference"
    if isinstance(event, _REPAIRS):
        return "repair"
    return "broker" if envelope.context.actor == "broker" else "record"


def stated(envelope: Envelope) -> tuple[Link, ...]:
    """Return the causes that an event itself names, the nearest first."""
    found: dict[int, Link] = {}
    cause = envelope.context.causation_sequence
    if cause is not None:
        found[cause] = Link(cause, *_stored(envelope.event))
    for sequence, text in _references(envelope.event):
        found.setdefault(sequence, Link(sequence, "named", text))
    earlier = (link for link in found.values() if 0 < link.sequence < envelope.sequence)
    return tuple(sorted(earlier, key=lambda link: -link.sequence))


def _stored(event: Event) -> tuple[How, str]:
    if isinstance(event, _UNMARKED):
        return (
            "presumed",
            "it came while this question was open; IB marks no row of its kind, so it may have"
            " been pushed in that moment",
        )
    if isinstance(event, events.OrderMessageSent):
        return "named", "it carries out this intent"
    if isinstance(event, events.AnswerEndReceived):
        return "named", "it ends the answer to this question"
    if type(event).__name__.endswith("Received"):
        return "named", "it answers this question"
    return "named", "said because of this"


def _references(event: Event) -> Iterator[tuple[int, str]]:
    """Yield the sequences that a payload names, and what they are to it."""
    match event:
        case events.GapClosed(opened_sequence=sequence):
            yield sequence, "the gap that it closes"
        case events.HaltInForce(halt_sequence=sequence):
            yield sequence, "the halt that it takes up"
        case events.NaturalKeyConflict(stored_sequence=sequence):
            yield sequence, "what was said first under the same key"
        case events.QueryAnswered():
            for question in event.questions:
                yield question.asked_sequence, "the question"
        case events.ReconciliationCompleted(questions=questions):
            for question in questions:
                yield question.asked_sequence, "a question of the run"
        case events.BreakOpened() | events.BreakUpdated():
            for finding in (event.finding, *event.also):
                for sequence in finding.evidence:
                    yield sequence, "it shows the difference"
        case _:
            evidence = getattr(event, "evidence", ())
            for sequence in (evidence,) if isinstance(evidence, int) else evidence:
                yield sequence, "it shows this"


def attributions(story: Iterable[Envelope]) -> dict[int, Link]:
    """Return, for each event of an order's story that hangs on an earlier one of it, that one, and
    by what the fold has joined the two.
    """
    known = _Known()
    found: dict[int, Link] = {}
    for envelope in story:
        link = known.joined(envelope)
        if link is not None:
            found[envelope.sequence] = link
        known.add(envelope)
    return found


class _Known:
    """What the story so far is known by: the last event that said each name."""

    def __init__(self) -> None:
        self._first = 0
        self._sent = 0
        #: Where the last revision was said, and its id.
        self._by_execution: dict[str, tuple[int, str]] = {}
        self._by_name: dict[str, int] = {}
        #: By session and number, and with the client id where one was said: a notice names none.
        self._by_number: dict[tuple[int, int, int | None], int] = {}
        self._by_permanent_number: dict[int, int] = {}

    def joined(self, envelope: Envelope) -> Link | None:
        """Return what an event hangs on."""
        if not self._first:
            return None
        event, epoch = envelope.event, envelope.context.session_epoch
        exec_id = _execution_of(event)
        if exec_id:
            known = self._by_execution.get(stem_and_revision(exec_id)[0])
            if known is not None and isinstance(event, events.ExecutionReceived):
                sequence, earlier = known
                if earlier != exec_id:
                    return Link(sequence, "attributed", f"it takes the place of {earlier}")
            elif known is not None:
                return Link(known[0], "attributed", f"by its execution {exec_id}")
        name = getattr(event, "order_ref", "")
        if name and name in self._by_name:
            return Link(self._by_name[name], "attributed", f"by its orderRef {name}")
        number, client = _number_of(event)
        sent = self._by_number.get((epoch, number, client)) if number else None
        if sent is not None:
            return Link(sent, "attributed", f"by its number {number} in session {epoch}")
        perm_id = getattr(event, "perm_id", 0)
        if perm_id and perm_id in self._by_permanent_number:
            seen = self._by_permanent_number[perm_id]
            return Link(seen, "attributed", f"by its permanent number {perm_id}")
        if isinstance(event, events.OrderDoubted) and self._sent:
            return Link(self._sent, "attributed", "what was sent and is in doubt")
        if isinstance(event, events.DaemonStarted | events.GlobalCancelIntended):
            # It touches the order, as it does others, and is not there because of it.
            return None
        is_named = hasattr(event, "order_id")
        text = "it is about the order that this began" if is_named else "the fold joins it to this"
        return Link(self._first, "attributed", text)

    def add(self, envelope: Envelope) -> None:
        """Take an event into the story."""
        event, epoch, sequence = envelope.event, envelope.context.session_epoch, envelope.sequence
        self._first = self._first or sequence
        if isinstance(event, events.ExecutionReceived):
            self._by_execution[stem_and_revision(event.exec_id)[0]] = sequence, event.exec_id
        if isinstance(event, events.OrderMessageSent):
            self._sent = sequence
            # What IB says next answers this, whatever was sent before.
            for client in (event.client_id, None):
                self._by_number[epoch, event.broker_order_id, client] = sequence
            if event.order_ref:
                self._by_name[event.order_ref] = sequence
        elif isinstance(event, events.OrderIntended):
            self._by_name[event.order_id] = sequence
        else:
            number, client = _number_of(event)
            if number:
                self._by_number.setdefault((epoch, number, client), sequence)
                self._by_number.setdefault((epoch, number, None), sequence)
            if name := getattr(event, "order_ref", ""):
                self._by_name.setdefault(name, sequence)
        if perm_id := getattr(event, "perm_id", 0):
            self._by_permanent_number.setdefault(perm_id, sequence)


def _execution_of(event: Event) -> str:
    return str(getattr(event, "exec_id", ""))


def _number_of(event: Event) -> tuple[int, int | None]:
    """Return the number of an order that a message says, and the client; 0 for none."""
    match event:
        case events.OrderMessageSent():
            return 0, None
        case events.NoticeReceived(subject_id=number):
            return max(number, 0), None
        case events.OrderStatusReceived() | events.OpenOrderReceived() | events.ExecutionReceived():
            return event.broker_order_id, event.client_id
        case events.OrderBoundReceived():
            return event.broker_order_id, event.client_id
        case _:
            return 0, None
