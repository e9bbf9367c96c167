"""What becomes of the executions of both sides."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from functools import partial

from oms.core.compare.findings import MOVED, Thing
from oms.core.compare.matches import Match
from oms.core.compare.sides import Answers, OurSide, Row, Scope
from oms.core.events import ExecutionReceived, Finding
from oms.core.fold.books import stem_and_revision
from oms.core.fold.records import Fill
from oms.core.money import plain
from oms.core.words import describe_fill


def execution_findings(ours: OurSide, answers: Answers, scope: Scope) -> Iterator[Finding | Match]:
    """Yield what each execution of either side is found to be."""
    rows = _newest(answers)
    for key, row in rows.items():
        if scope.accounts and row.event.account not in scope.accounts:
            continue
        fill = ours.fills.get(key)
        if fill is None:
            yield _missing(row)
            continue
        yield _execution_finding(key, row, fill, scope)
        if not fill.order_id:
            yield _unowned(fill)
    yield from _not_named(rows, ours, answers, scope)
    for key in sorted(ours.watched):
        # Booked since, and older than what IB still names: that we have it settles the case.
        break_class, _, thing = key.partition(":")
        fill = ours.fills.get(thing)
        if break_class == "missing_fill" and fill is not None and thing not in rows:
            yield _same(thing, fill, None, (fill.last_sequence,))


def _newest(answers: Answers) -> dict[str, Row[ExecutionReceived]]:
    """Return the highest revision of every execution that the answer names, by account and stem."""
    found: dict[str, Row[ExecutionReceived]] = {}
    for row in answers.executions:
        event = row.event
        stem, revision = stem_and_revision(event.exec_id)
        key = f"{event.account}:{stem}"
        other = found.get(key)
        if other is None or revision >= stem_and_revision(other.event.exec_id)[1]:
            found[key] = row
    return found


def _not_named(
    rows: Collection[str], ours: OurSide, answers: Answers, scope: Scope
) -> Iterator[Finding]:
    question = answers.questions.get("executions")
    if question is None or question.outcome != "complete" or question.reaches_back_to is None:
        return
    for key, fill in ours.fills.items():
        # Filled while the answer was under way: newer than the answer, so its absence means
        # nothing.
        newer = fill.booked_sequence > question.asked_sequence
        at = fill.happened_by
        if key in rows or at is None or newer:
            continue
        if scope.accounts and fill.account not in scope.accounts:
            continue
        if at >= question.reaches_back_to:
            text = "our books have a fill that IB's executions do not name"
            if fill.occurred_at is None:
                text += f"; its time {fill.time_text!r} cannot be read, it came at {at}"
            yield _as_booked(fill, "not named").broken("extra_fill", "high", text)


def _missing(row: Row[ExecutionReceived]) -> Finding:
    event = row.event
    thing = Thing(
        subject="execution",
        name=f"{event.account}:{stem_and_revision(event.exec_id)[0]}",
        account=event.account,
        con_id=event.contract.con_id,
        symbol=event.contract.symbol,
        theirs=_theirs(event),
        ours="no fill",
        evidence=(row.sequence,),
    )
    text = f"IB names execution {event.exec_id}, our books do not have it"
    return thing.broken("missing_fill", "high", text)


def _execution_finding(
    key: str, row: Row[ExecutionReceived], fill: Fill, scope: Scope
) -> Finding | Match:
    event = row.event
    agrees = _agrees(fill, event)
    # What was pushed meanwhile is news, and no difference that the run mended.
    if agrees and (row.sequence <= scope.started_sequence or not fill.backfilled):
        return _same(key, fill, event, (row.sequence,))
    theirs = _theirs(event)
    if fill.exec_id == event.exec_id and not agrees:
        text = "the same execution id with other contents"
        return _as_booked(fill, theirs).broken("contradiction", "high", text)
    if fill.exec_id != event.exec_id:
        if fill.last_sequence > row.sequence:
            # The correction came after this row did.
            return _thing(fill, theirs, (row.sequence,)).unknown(MOVED)
        text = f"our books follow {fill.exec_id}, IB's answer has {event.exec_id} only"
        return _as_booked(fill, theirs).broken("corrected_fill", "high", text)
    thing = _thing(fill, theirs, (row.sequence,))
    if fill.booked_sequence > scope.started_sequence:
        return thing.repaired("missing_fill", "backfilled", _execution_text(fill))
    return thing.repaired("corrected_fill", "corrected", _execution_text(fill))


def _agrees(fill: Fill, event: ExecutionReceived) -> bool:
    return (
        fill.exec_id == event.exec_id
        and fill.quantity == event.quantity
        and fill.price == event.price
        and fill.side == event.side
    )


def _theirs(event: ExecutionReceived) -> str:
    return f"{event.side} {plain(event.quantity)} {event.contract.symbol} @ {plain(event.price)}"


def _same(
    key: str, fill: Fill, event: ExecutionReceived | None, evidence: tuple[int, ...]
) -> Match:
    """State a match in few steps: there are as many as executions, and few are ever shown."""
    values = f"{fill.exec_id} {fill.quantity} {fill.price}"
    draw = partial(_matched, fill, event, evidence)
    return Match("execution", f"execution:{key}", values, evidence, draw)


def _matched(fill: Fill, event: ExecutionReceived | None, evidence: tuple[int, ...]) -> Finding:
    theirs = describe_fill(fill) if event is None else _theirs(event)
    return _thing(fill, theirs, evidence).matched(_execution_text(fill))


def _execution_text(fill: Fill) -> str:
    return f"execution {fill.exec_id}"


def _unowned(fill: Fill) -> Finding:
    """Report a fill without an order that anybody can name: liquidations come so (INC-169)."""
    who = "IB liquidated" if fill.liquidation else "executed under no order that IB names"
    return _as_booked(fill, describe_fill(fill)).broken("unknown_order", "high", who)


def _as_booked(fill: Fill, theirs: str) -> Thing:
    """Return a fill as our books have it, with the event that they have it from as evidence."""
    return _thing(fill, theirs, (fill.last_sequence,))


def _thing(fill: Fill, theirs: str, evidence: tuple[int, ...]) -> Thing:
    return Thing(
        subject="execution",
        name=fill.key,
        account=fill.account,
        con_id=fill.contract.con_id,
        symbol=fill.contract.symbol,
        order_id=fill.order_id,
        ours=describe_fill(fill),
        theirs=theirs,
        evidence=evidence,
    )
