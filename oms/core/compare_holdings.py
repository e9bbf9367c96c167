"""Comparing our fills and positions with what IB says about them; the rules are in `reconcile`."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any, Final

from oms.core.events import ExecutionReceived, Finding, Question
from oms.core.ledger import stem_and_revision
from oms.core.money import ZERO, plain
from oms.core.records import Fill, Position
from oms.core.sides import Answers, OurSide, Row, Scope
from oms.core.words import describe_fill

#: What a position finding says when asking again can settle it.
MOVED: Final = "it moved while positions were being asked for"


def execution_findings(ours: OurSide, answers: Answers, scope: Scope) -> Iterator[Finding]:
    """Yield what each execution of either side is found to be."""
    named = set()
    for row in answers.of("executions"):
        event: ExecutionReceived = row.event
        stem, _ = stem_and_revision(event.exec_id)
        key = f"{event.account}:{stem}"
        named.add(key)
        if scope.accounts and event.account not in scope.accounts:
            continue
        fill = ours.fills.get(key)
        learnt_now = fill is not None and fill.booked_sequence > scope.started_sequence
        yield _execution_finding(event, row, fill, learnt_now)
        if fill is not None and not fill.order_id:
            yield _unowned(fill)
    question = answers.questions.get("executions")
    if question is None or question.outcome != "complete" or question.reaches_back_to is None:
        return
    for key, fill in ours.fills.items():
        # Filled while the answer was under way: newer than the answer, so its absence means
        # nothing.
        newer = fill.booked_sequence > question.asked_sequence
        if key in named or fill.occurred_at is None or newer:
            continue
        if scope.accounts and fill.account not in scope.accounts:
            continue
        if fill.occurred_at >= question.reaches_back_to:
            yield _fill_finding(
                fill,
                "not named",
                "extra_fill",
                "our books have a fill that IB's executions do not name",
            )


def _execution_finding(
    event: ExecutionReceived, row: Row, fill: Fill | None, learnt_now: bool
) -> Finding:
    theirs = f"{event.side} {plain(event.quantity)} {event.contract.symbol} @ {plain(event.price)}"
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
    same = (fill.quantity, fill.price, fill.side) == (event.quantity, event.price, event.side)
    if fill.exec_id == event.exec_id and not same:
        return _fill_finding(
            fill, theirs, "contradiction", "the same execution id with other contents"
        )
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
        text=f"execution {event.exec_id}",
        evidence=(row.sequence,),
        repair="backfilled" if learnt_now else "",
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


def position_findings(
    before: OurSide, ours: OurSide, answers: Answers, scope: Scope
) -> Iterator[Finding]:
    """Yield what each position of either side is found to be."""
    rows: dict[str, Row] = {}
    for row in answers.of("positions"):
        rows[f"{row.event.account}:{row.event.contract.con_id}"] = row
    complete = answers.complete("positions")
    uncharged = {f.position_key for f in ours.fills.values() if f.commission is None}
    for key in sorted({*rows, *ours.positions}):
        position = ours.positions.get(key)
        row_or_none = rows.get(key)
        account, contract = _what(position, row_or_none)
        if scope.accounts and account not in scope.accounts:
            continue
        held = position.quantity if position else ZERO
        told = row_or_none.event.quantity if row_or_none else ZERO
        evidence = (row_or_none.sequence,) if row_or_none else ()
        finding = Finding(
            result="match",
            subject="position",
            key=f"position:{key}",
            account=account,
            con_id=contract.con_id,
            symbol=contract.symbol,
            ours=plain(held),
            theirs=plain(told) if complete or row_or_none else "not answered",
            evidence=evidence,
            repair=_position_repair(before, key, held),
        )
        judged = _judge_position(finding, position, told - held, answers, scope)
        yield judged
        if judged.result == "match" and position is not None and key not in uncharged:
            cost = row_or_none.event.average_cost if row_or_none else None
            yield from _cost_drift(finding, position, cost)


def _position_repair(before: OurSide, key: str, held: Decimal) -> str:
    was = before.positions.get(key)
    was_held = was.quantity if was else ZERO
    return "" if was_held == held else f"was {plain(was_held)}"


def _judge_position(
    finding: Finding,
    position: Position | None,
    excess: Decimal,
    answers: Answers,
    scope: Scope,
) -> Finding:
    """Say what it means that IB holds `excess` more than our executions explain."""

    def unknown(text: str) -> Finding:
        return finding.model_copy(update={"result": "unknown", "text": text})

    if not answers.complete("positions"):
        return unknown("positions were not answered whole")
    if not excess:
        return finding
    if position is not None and _moved(position, answers.questions["positions"], scope):
        return unknown(MOVED)
    if not answers.complete("executions"):
        return unknown("executions were not answered whole, so the difference has no explanation")
    text = (
        f"{plain(excess)} came without an execution"
        " (assignment, exercise, expiry, split or transfer do that)"
    )
    key = f"quantity_drift:{finding.account}:{finding.con_id}"
    broken = {"result": "break", "break_class": "quantity_drift", "severity": "high"}
    return finding.model_copy(update={**broken, "key": key, "text": text})


def _moved(position: Position, asked: Question, scope: Scope) -> bool:
    """Say whether an execution moved the position while, or shortly before, it was asked for."""
    if position.moved_sequence > asked.asked_sequence:
        return True
    at = position.moved_at
    return at is not None and at + scope.position_settle > asked.asked_at


#: How far IB's average cost may be from ours, beside the commissions that it contains: it is
#: rounded, and sub-cent prices are averaged in other ways than ours.
COST_TOLERANCE: Final = Decimal("0.001")


def _cost_drift(
    finding: Finding, position: Position, broker_cost: Decimal | None
) -> Iterator[Finding]:
    """Report an average cost that prices, multiplier and commissions do not explain.

    IB's is per unit, times multiplier, commissions included (broker-semantics B9). Once a position
    has been reduced, IB's choice of lots decides and nothing can be compared.
    """
    if broker_cost is None or not position.quantity or position.realised_pnl:
        return
    units = position.contract.units
    ours = position.average_price * units
    charged = sum((abs(amount) for _, amount in position.commissions), ZERO)
    allowed = charged / abs(position.quantity) + abs(ours) * COST_TOLERANCE
    if abs(broker_cost - ours) <= allowed:
        return
    changed: dict[str, Any] = {
        "result": "break",
        "break_class": "cost_drift",
        "severity": "low",
        "key": f"cost_drift:{position.key}",
        "ours": plain(ours),
        "theirs": plain(broker_cost),
        "text": f"IB's average cost differs by more than commissions ({plain(charged)}) explain",
        "repair": "",
    }
    yield finding.model_copy(update=changed)


def _what(position: Position | None, row: Row | None) -> tuple[str, Any]:
    if position is not None:
        return position.account, position.contract
    assert row is not None
    return row.event.account, row.event.contract
