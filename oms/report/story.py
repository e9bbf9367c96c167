"""One order's whole story: every event about it, in order, with what it says in plain words.

`tell` makes the value; `terminal_view.story_terminal` and `json_view.story_json` show it. What the
wire said stands one flag away.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from oms.core.events import (
    BreakClosed,
    BreakOpened,
    BreakUpdated,
    Envelope,
    Event,
    NoticeReceived,
    OrderIntended,
    OrderRequested,
)
from oms.core.fold.records import Order
from oms.core.money import plain
from oms.report.clock import ClockBound
from oms.report.sentences import describe_terms, sentence

#: Fields of an event that name something, in the order in which people look for them, and how the
#: story calls them.
_IDS: Final = (
    ("broker_order_id", "order"),
    ("client_id", "client"),
    ("perm_id", "perm"),
    ("exec_id", "exec"),
    ("break_id", "break"),
    ("run_id", "run"),
    ("query_id", "query"),
    ("revision", "revision"),
)


@dataclass(frozen=True, slots=True)
class StoryEntry:
    """One event of the story."""

    envelope: Envelope
    sentence: str
    #: Names by which the broker and we know the things in it.
    ids: tuple[tuple[str, str], ...]
    #: IB's code and text, where the event is a notice; 0 and empty elsewhere.
    code: int = 0
    text: str = ""


@dataclass(frozen=True, slots=True)
class Story:
    """An order and everything that the log says about it."""

    order_id: str
    #: What the books make of it; None where the caller has only the events.
    order: Order | None
    headline: str
    entries: tuple[StoryEntry, ...]
    #: How far IB's times can be from ours; None where no clock was read.
    clock: ClockBound | None = None


def tell(
    order_id: str,
    envelopes: Iterable[Envelope],
    order: Order | None = None,
    clock: ClockBound | None = None,
) -> Story:
    """Return the story of an order from the events that concern it, in the order of the log."""
    ordered = sorted(envelopes, key=lambda envelope: envelope.sequence)
    entries = tuple(_entry(envelope) for envelope in ordered)
    return Story(order_id, order, _headline(order, ordered), entries, clock)


def _entry(envelope: Envelope) -> StoryEntry:
    event = envelope.event
    code, text = (event.code, event.text) if isinstance(event, NoticeReceived) else (0, "")
    return StoryEntry(envelope, sentence(envelope), _ids(event), code, text)


def _ids(event: Event) -> tuple[tuple[str, str], ...]:
    if isinstance(event, NoticeReceived):
        return (("subject", str(event.subject_id)),) if event.subject_id > 0 else ()
    named = ((label, getattr(event, name, None)) for name, label in _IDS)
    if isinstance(event, BreakOpened | BreakUpdated | BreakClosed):
        # The run is named by the events around it; here the case counts.
        named = (pair for pair in named if pair[0] == "break")
    return tuple((label, str(value)) for label, value in named if value)


def _headline(order: Order | None, envelopes: list[Envelope]) -> str:
    if order is None:
        first = next(
            (e.event for e in envelopes if isinstance(e.event, OrderIntended | OrderRequested)),
            None,
        )
        return describe_terms(first.terms, first.contract) if first is not None else ""
    filled = f", filled {plain(order.filled)}" if order.filled else ""
    price = f" at {plain(order.average_price)}" if order.average_price is not None else ""
    why = f" ({order.doubt})" if order.doubt else ""
    terms = describe_terms(order.terms, order.contract)
    account = f" in {order.account}" if order.account else ""
    return f"{terms}{account}: {order.state.value}{filled}{price}{why}"
