"""Comparing our fills and positions with what IB says about them; the rules are in `run`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from typing import Any, Final

from oms.core.compare.drift import explained
from oms.core.compare.matches import Match
from oms.core.compare.sides import MOVED, Answers, OurSide, Row, Scope
from oms.core.contracts import Contract
from oms.core.events import Adjustment, ExecutionReceived, Finding, Question
from oms.core.fold.books import stem_and_revision
from oms.core.fold.records import Fill, Position
from oms.core.money import ZERO, plain
from oms.core.words import describe_fill

# ── executions ───────────────────────────────────────────────────────────────────────────────────


def execution_findings(ours: OurSide, answers: Answers, scope: Scope) -> Iterator[Finding | Match]:
    """Yield what each execution of either side is found to be."""
    rows = _newest(answers)
    for key, row in rows.items():
        event: ExecutionReceived = row.event
        if scope.accounts and event.account not in scope.accounts:
            continue
        fill = ours.fills.get(key)
        yield _execution_finding(event, row, fill, scope)
        if fill is not None and not fill.order_id:
            yield _unowned(fill)
    yield from _not_named(rows, ours, answers, scope)
    for key in sorted(ours.watched):
        # Booked since, and older than what IB still names: that we have it settles the case.
        break_class, _, thing = key.partition(":")
        fill = ours.fills.get(thing)
        if break_class == "missing_fill" and fill is not None and thing not in rows:
            yield _same(fill, None, (fill.last_sequence,))


def _newest(answers: Answers) -> dict[str, Row]:
    """Return the highest revision of every execution that the answer names, by account and stem."""
    found: dict[str, tuple[int, Row]] = {}
    for row in answers.of("executions"):
        stem, revision = stem_and_revision(row.event.exec_id)
        key = f"{row.event.account}:{stem}"
        if key not in found or revision >= found[key][0]:
            found[key] = (revision, row)
    return {key: row for key, (_, row) in found.items()}


def _not_named(
    rows: dict[str, Row], ours: OurSide, answers: Answers, scope: Scope
) -> Iterator[Finding]:
    question = answers.questions.get("executions")
    if question is None or question.outcome != "complete" or question.reaches_back_to is None:
        return
    for key, fill in ours.fills.items():
        # Filled while the answer was under way: newer than the answer, so its absence means
        # nothing.
        newer = fill.booked_sequence > question.asked_sequence
        if key in rows or fill.occurred_at is None or newer:
            continue
        if scope.accounts and fill.account not in scope.accounts:
            continue
        if fill.occurred_at >= question.reaches_back_to:
            text = "our books have a fill that IB's executions do not name"
            yield _fill_finding(fill, "not named", "extra_fill", text)


def _execution_finding(
    event: ExecutionReceived, row: Row, fill: Fill | None, scope: Scope
) -> Finding | Match:
    # What was pushed meanwhile is news, and no difference that the run mended.
    is_old = fill is not None and (row.sequence <= scope.started_sequence or not fill.backfilled)
    if fill is not None and is_old and _agrees(fill, event):
        return _same(fill, event, (row.sequence,))
    theirs = _theirs(event)
    if fill is None:
        return Finding(
            result="break",
            subject="execution",
            break_class="missing_fill",
            severity="high",
            key=f"missing_fill:{event.account}:{stem_and_revision(event.exec_id)[0]}",
            account=event.account,
            con_id=event.contract.con_id,
            symbol=event.contract.symbol,
            theirs=theirs,
            ours="no fill",
            text=f"IB names execution {event.exec_id}, our books do not have it",
            evidence=(row.sequence,),
        )
    if fill.exec_id == event.exec_id and not _agrees(fill, event):
        text = "the same execution id with other contents"
        return _fill_finding(fill, theirs, "contradiction", text)
    if fill.exec_id != event.exec_id:
        if fill.last_sequence > row.sequence:
            # The correction came after this row did.
            return _drawn(fill, theirs, (row.sequence,)).model_copy(
                update={"result": "unknown", "text": MOVED}
            )
        text = f"our books follow {fill.exec_id}, IB's answer has {event.exec_id} only"
        return _fill_finding(fill, theirs, "corrected_fill", text)
    match = _drawn(fill, theirs, (row.sequence,))
    if fill.booked_sequence > scope.started_sequence:
        changed: dict[str, Any] = {"repair": "backfilled", "break_class": "missing_fill"}
    else:
        changed = {"repair": "corrected", "break_class": "corrected_fill"}
    return match.model_copy(update=changed)


def _agrees(fill: Fill, event: ExecutionReceived) -> bool:
    return (
        fill.exec_id == event.exec_id
        and fill.quantity == event.quantity
        and fill.price == event.price
        and fill.side == event.side
    )


def _theirs(event: ExecutionReceived) -> str:
    return f"{event.side} {plain(event.quantity)} {event.contract.symbol} @ {plain(event.price)}"


def _same(fill: Fill, event: ExecutionReceived | None, evidence: tuple[int, ...]) -> Match:
    """State a match in few steps: there are as many as executions, and few are ever shown."""
    values = f"{fill.exec_id} {fill.quantity} {fill.price}"
    draw = partial(_drawn_match, fill, event, evidence)
    return Match("execution", f"execution:{fill.key}", values, evidence, draw)


def _drawn_match(fill: Fill, event: ExecutionReceived | None, evidence: tuple[int, ...]) -> Finding:
    return _drawn(fill, describe_fill(fill) if event is None else _theirs(event), evidence)


def _drawn(fill: Fill, theirs: str, evidence: tuple[int, ...]) -> Finding:
    return Finding(
        result="match",
        subject="execution",
        key=f"execution:{fill.key}",
        account=fill.account,
        con_id=fill.contract.con_id,
        symbol=fill.contract.symbol,
        order_id=fill.order_id,
        ours=describe_fill(fill),
        theirs=theirs,
        text=f"execution {fill.exec_id}",
        evidence=evidence,
    )


def _unowned(fill: Fill) -> Finding:
    """Report a fill without an order that anybody can name: liquidations come so (INC-169)."""
    who = "IB liquidated" if fill.liquidation else "executed under no order that IB names"
    return _fill_finding(fill, describe_fill(fill), "unknown_order", who)


def _fill_finding(fill: Fill, theirs: str, break_class: Any, text: str) -> Finding:
    return Finding(
        result="break",
        subject="execution",
        break_class=break_class,
        severity="high",
        key=f"{break_class}:{fill.key}",
        account=fill.account,
        con_id=fill.contract.con_id,
        symbol=fill.contract.symbol,
        order_id=fill.order_id,
        ours=describe_fill(fill),
        theirs=theirs,
        text=text,
        evidence=(fill.last_sequence,),
    )


# ── positions ────────────────────────────────────────────────────────────────────────────────────


def position_findings(
    before: OurSide, ours: OurSide, answers: Answers, scope: Scope
) -> Iterator[Finding | Match]:
    """Yield what each position of either side is found to be."""
    rows = {f"{r.event.account}:{r.event.contract.con_id}": r for r in answers.of("positions")}
    uncharged = {f.position_key for f in ours.fills.values() if f.commission is None}
    drifts: list[Finding] = []
    for key in sorted({*rows, *ours.positions}):
        position, row = ours.positions.get(key), rows.get(key)
        account, _ = _what(position, row)
        if scope.accounts and account not in scope.accounts:
            continue
        found = _position_finding(key, position, row, before=before, answers=answers, scope=scope)
        if isinstance(found, Finding) and found.break_class == "quantity_drift":
            drifts.append(found)
            continue
        yield found
        if (isinstance(found, Match) or found.result == "match") and position is not None:
            cost = row.event.average_cost if row else None
            yield from _cost(position, key not in uncharged, cost, found.evidence, ours)
    yield from explained(drifts, ours.positions, rows, scope.now)


def _position_finding(
    key: str,
    position: Position | None,
    row: Row | None,
    *,
    before: OurSide,
    answers: Answers,
    scope: Scope,
) -> Finding | Match:
    held = position.quantity if position else ZERO
    told = row.event.quantity if row else ZERO
    complete = answers.complete("positions")
    theirs = plain(told) if complete or row else "not answered"
    was = before.positions.get(key)
    was_held = was.quantity if was else ZERO
    repair = "" if was_held == held else f"was {plain(was_held)}"
    evidence = (row.sequence,) if row else ()
    drawn = _Holding(key, *_what(position, row), held, theirs, evidence, repair)
    draw = drawn.finding
    if complete and held == told:
        if repair:
            return draw()
        return Match("position", f"position:{key}", plain(held), evidence, draw)
    return _judge_position(drawn, position, told - held, answers, scope)


@dataclass(frozen=True, slots=True)
class _Holding:
    """What both sides say about one position."""

    key: str
    account: str
    contract: Contract
    held: Decimal
    theirs: str
    evidence: tuple[int, ...]
    repair: str

    def finding(self) -> Finding:
        return Finding(
            result="match",
            subject="position",
            key=f"position:{self.key}",
            account=self.account,
            con_id=self.contract.con_id,
            symbol=self.contract.symbol,
            ours=plain(self.held),
            theirs=self.theirs,
            evidence=self.evidence,
            repair=self.repair,
        )


def _judge_position(
    drawn: _Holding,
    position: Position | None,
    excess: Decimal,
    answers: Answers,
    scope: Scope,
) -> Finding:
    """Say what it means that IB holds `excess` more than our executions explain."""
    finding = drawn.finding()

    def unknown(text: str) -> Finding:
        return finding.model_copy(update={"result": "unknown", "text": text})

    if not answers.complete("positions"):
        return unknown("positions were not answered whole")
    if position is not None and _moved(position, answers.questions["positions"], scope):
        return unknown(MOVED)
    if not answers.complete("executions"):
        return unknown("executions were not answered whole, so the difference has no explanation")
    text = (
        f"{plain(excess)} came without an execution"
        " (assignment, exercise, expiry, split or transfer do that)"
    )
    proposed = Adjustment(account=finding.account, contract=drawn.contract, quantity=excess)
    return finding.model_copy(
        update={
            "result": "break",
            "break_class": "quantity_drift",
            "severity": "high",
            "key": f"quantity_drift:{finding.account}:{finding.con_id}",
            "text": text,
            "proposed": proposed,
        }
    )


def _moved(position: Position, asked: Question, scope: Scope) -> bool:
    """Say whether an execution moved the position while, or shortly before, it was asked for."""
    if position.moved_sequence > asked.asked_sequence:
        return True
    at = position.moved_at
    return at is not None and at + scope.position_settle > asked.asked_at


# ── cost ─────────────────────────────────────────────────────────────────────────────────────────

#: How far IB's average cost may be from ours, beside the commissions that it contains: it is
#: rounded, and sub-cent prices are averaged in other ways than ours.
COST_TOLERANCE: Final = Decimal("0.001")


def _cost(
    position: Position,
    charged_whole: bool,
    broker_cost: Decimal | None,
    evidence: tuple[int, ...],
    ours: OurSide,
) -> Iterator[Finding | Match]:
    """Report an average cost that prices, multiplier and commissions do not explain.

    IB's is per unit, times multiplier, commissions included (broker notes: positions). Once a
    position has been reduced, IB's choice of lots decides and nothing can be compared, and a
    commission that is not known yet could be any.
    """
    key = f"cost:{position.key}"
    draw = partial(_cost_drawn, position, broker_cost, evidence)
    if not position.quantity:
        if key in ours.watched:
            yield Match("cost", key, "flat", evidence, draw)
        return
    if broker_cost is None or position.realised_pnl or not charged_whole:
        return
    ours_cost = position.average_price * position.contract.units
    charged = sum((abs(amount) for _, amount in position.commissions), ZERO)
    allowed = charged / abs(position.quantity) + abs(ours_cost) * COST_TOLERANCE
    if abs(broker_cost - ours_cost) <= allowed:
        if key in ours.watched:
            yield Match("cost", key, plain(ours_cost), evidence, draw)
        return
    changed: dict[str, Any] = {
        "result": "break",
        "break_class": "cost_drift",
        "severity": "low",
        "key": f"cost_drift:{position.key}",
        "text": f"IB's average cost differs by more than commissions ({plain(charged)}) explain",
    }
    yield draw().model_copy(update=changed)


def _cost_drawn(
    position: Position, broker_cost: Decimal | None, evidence: tuple[int, ...]
) -> Finding:
    return Finding(
        result="match",
        subject="cost",
        key=f"cost:{position.key}",
        account=position.account,
        con_id=position.contract.con_id,
        symbol=position.contract.symbol,
        ours=plain(position.average_price * position.contract.units),
        theirs=plain(broker_cost),
        evidence=evidence,
    )


def _what(position: Position | None, row: Row | None) -> tuple[str, Contract]:
    if position is not None:
        return position.account, position.contract
    assert row is not None
    return row.event.account, row.event.contract
