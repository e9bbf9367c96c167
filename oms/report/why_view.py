"""Why something is as it is, for people at a terminal."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC
from typing import Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from oms.core.causes import Link, Role
from oms.core.events import OrderIntended
from oms.core.money import plain
from oms.report.sentences import sentence
from oms.report.why import Answered, Movement, Step, Why
from oms.report.wire import wire_text
from oms.report.words import OUTCOMES, query_words, shown_price

ROLES: Final[dict[Role, str]] = {
    "request": "asked for",
    "check": "refused by us",
    "intent": "intended",
    "sent": "sent",
    "broker": "IB",
    "inference": "concluded by us",
    "repair": "repair",
    "person": "person",
    "record": "",
}


def why_terminal(why: Why, *, wire: bool = False) -> RenderableType:
    """Return an answer for a terminal; `wire` adds the fields of messages as they stood."""
    parts: list[RenderableType] = [
        Group(Text(f"{why.kind.capitalize()} {why.subject}", style="bold"), Text(why.headline))
    ]
    if why.movements:
        parts.append(_movements(why.movements))
    if why.questions:
        parts.append(_questions(why))
    parts.append(_steps(why.steps, "what led to it", wire=wire))
    parts += [_answer(one) for one in why.answers if one.rows]
    if why.consequences:
        parts.append(_steps(why.consequences, "what it led to", wire=wire))
    notes = [*([why.clock.text] if why.clock is not None else []), *why.notes]
    if notes:
        parts.append(Group(*(Text(f"Note: {note}", style="dim") for note in notes)))
    return Group(*[one for part in parts for one in (part, Text())][:-1])


def role_text(step: Step) -> str:
    """Return what stands before the sentence of an event; nothing where it begins with that."""
    role = ROLES[step.role]
    begins = sentence(step.envelope).lower().startswith(role.lower())
    return "" if begins else f"{role}: "


def cause_text(link: Link) -> str:
    """Return one reason in words; what the event does not say itself is marked."""
    marked = "" if link.how == "named" else f"{link.how}: "
    return f"#{link.sequence} {marked}{link.text}"


def checks_text(step: Step) -> str:
    """Return the rules that an order passed, each with the limit that it kept."""
    event = step.envelope.event
    if not isinstance(event, OrderIntended) or not event.checks:
        return ""
    limits = dict(zip(event.checks, event.limits, strict=False))
    passed = (f"{rule} ({limits[rule]})" if rule in limits else rule for rule in event.checks)
    return f"passed: {', '.join(passed)}"


def times_text(step: Step) -> str:
    """Return what each clock says of an event."""
    envelope = step.envelope
    times = (
        ("IB says", envelope.context.occurred_at),
        ("received", envelope.received_at),
        ("sent", envelope.sent_at),
        ("recorded", envelope.recorded_at),
    )
    said = ((name, at.astimezone(UTC)) for name, at in times if at is not None)
    return "\n".join(f"{name} {at:%m-%d %H:%M:%S.%f}"[:-3] for name, at in said)


def _steps(steps: Iterable[Step], title: str, *, wire: bool) -> Table:
    table = _table("seq", "when (UTC)", "who", title)
    for column in table.columns[:3]:
        column.no_wrap = True
    for step in steps:
        envelope = step.envelope
        said = Text(role_text(step), style="dim")
        said.append(sentence(envelope), style="not dim")
        if checks := checks_text(step):
            said.append(f"\n{checks}", style="dim")
        for link in step.causes:
            said.append(f"\nbecause of {cause_text(link)}", style="dim")
        if step.beginning:
            said.append(f"\n{step.beginning}", style="dim")
        if wire and envelope.wire is not None:
            said.append(f"\n{wire_text(envelope)}", style="dim")
        table.add_row(str(envelope.sequence), times_text(step), envelope.context.actor, said)
    return table


def _table(*names: str) -> Table:
    table = Table(*names, box=None, pad_edge=False, header_style="dim")
    table.columns[0].justify = "right"
    return table


def _movements(movements: Iterable[Movement]) -> Table:
    table = _table("seq", "what moved it", "change", "price", "held", "average", "realised")
    for column in table.columns[2:]:
        column.justify = "right"
    for one in movements:
        said = Text(f"{one.what}: {one.text}")
        if one.revisions:
            earlier = ", ".join(f"#{number}" for number in one.revisions)
            said.append(f"\nearlier revisions: {earlier}", style="dim")
        table.add_row(
            str(one.sequence or ""),
            said,
            plain(one.quantity),
            "" if one.price is None else plain(shown_price(one.price)),
            plain(one.held),
            plain(shown_price(one.average)),
            plain(shown_price(one.realised_pnl)),
        )
    return table


def _answer(answered: Answered) -> RenderableType:
    """Return the rows of an answer, each with the event that holds it."""
    question = answered.question
    table = _table("seq", "stored", f"what IB said of {query_words(question.kind)}")
    for row in answered.rows:
        stored = "for this" if row.sequence > question.asked_sequence else "before"
        table.add_row(str(row.sequence), stored, sentence(row))
    return Group(table, Text(answered.proof, style="dim"))


def _questions(why: Why) -> Table:
    table = _table("seq", "asked of IB", "answer", "rows")
    for one in why.questions:
        rows = str(one.rows)
        table.add_row(str(one.asked_sequence), query_words(one.kind), OUTCOMES[one.outcome], rows)
    return table
