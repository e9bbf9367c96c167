"""Comparing our books with the broker's answers: pure, over the union of both sides.

What goes in: our side as it stood before the questions and after the answers were folded, and the
answers. What comes out: findings (match, break, unknown); what a run writes before it compares is
in `repair`, what becomes of the breaks in `cases`. Three rules carry the promise that nothing is
made up:

- only a complete answer says anything about what it does not contain; a question that was refused,
  timed out or stopped half-way makes everything that depends on it *unknown*;
- an answer reaches back only so far (IB forgets executions at midnight); what is older is unknown,
  not missing;
- a position that our executions do not explain is reported, never filled up.

A key that moves while the questions are under way is asked for again by the caller; what still
moves is unknown. Everything on our side is compared, so the caller leaves out what ended long ago,
unless an answer names it or a case is open about it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from oms.core.events import (
    ExecutionReceived,
    Finding,
    OpenOrderReceived,
    QueryKind,
    Question,
    Severity,
    Verdict,
)
from oms.core.ledger import stem_and_revision
from oms.core.money import ZERO, plain
from oms.core.order import same_prices
from oms.core.records import Anomaly, Fill, Order, OrderState, Position
from oms.core.words import describe_fill, describe_order, describe_terms, terms_of

#: The three places where IB can name an order; all must answer before silence means anything.
ORDER_QUESTIONS: Final[tuple[QueryKind, ...]] = (
    "open_orders",
    "completed_orders",
    "executions",
)


#: What a position finding says when asking again can settle it.
MOVED: Final = "it moved while positions were being asked for"


@dataclass(frozen=True, slots=True)
class Row:
    """One row of an answer and the sequence under which it is in the log (the stored one, for a
    repeat).
    """

    event: Any
    sequence: int


@dataclass(frozen=True, slots=True)
class Answers:
    """How every question of a run was answered, and the rows of the answers."""

    questions: Mapping[QueryKind, Question]
    rows: Mapping[QueryKind, tuple[Row, ...]]

    def complete(self, *kinds: QueryKind) -> bool:
        """Say whether all of these questions were answered whole."""
        return all(k in self.questions and self.questions[k].outcome == "complete" for k in kinds)

    def of(self, kind: QueryKind) -> tuple[Row, ...]:
        """Return the rows that came for a question, whole or not."""
        return self.rows.get(kind, ())


@dataclass(frozen=True, slots=True)
class OurSide:
    """Our books at one sequence, as far as the comparison needs them."""

    sequence: int
    #: The live ones, and of the others those that an answer names or an open case is about.
    orders: Mapping[str, Order]
    #: By account and execution stem.
    fills: Mapping[str, Fill]
    #: By account and contract.
    positions: Mapping[str, Position]
    anomalies: tuple[Anomaly, ...] = ()
    opened_accounts: tuple[str, ...] = ()
    by_perm_id: Mapping[int, str] = field(default_factory=dict)

    def owner(self, order_ref: str, perm_id: int) -> Order | None:
        """Return the order that a broker's row belongs to."""
        if order_ref in self.orders:
            return self.orders[order_ref]
        return self.orders.get(self.by_perm_id.get(perm_id, ""))


@dataclass(frozen=True, slots=True)
class Scope:
    """Who asks: what belongs to us, and what counts as long enough."""

    client_id: int
    accounts: tuple[str, ...]
    now: datetime
    #: An order in doubt is "not received" only when it was asked for this long after the doubt
    #: arose.
    doubt_settle: timedelta
    run_id: str
    #: Sequence at the start of the run; what was learnt later is this run's repair.
    started_sequence: int = 0
    #: IB's positions can lag their executions by seconds (INC-141): a difference in one that moved
    #: this shortly before the question is unknown, not a break.
    position_settle: timedelta = timedelta(0)


def perm_index(orders: Iterable[Order]) -> dict[int, str]:
    """Return which order owns each permanent number."""
    return {perm_id: o.order_id for o in orders for perm_id in o.perm_ids}


def compare(before: OurSide, ours: OurSide, answers: Answers, scope: Scope) -> list[Finding]:
    """Return every compared thing: `before` is our side when the run began, `ours` after its
    repairs.
    """
    return [
        *_unanswered(answers),
        *_orders(before, ours, answers, scope),
        *_executions(ours, answers, scope),
        *_positions(before, ours, answers, scope),
        *_anomalies(ours),
    ]


def verdict_of(findings: Iterable[Finding]) -> Verdict:
    """Return clean only where every comparison matched."""
    results = {f.result for f in findings}
    if "break" in results:
        return "broken"
    return "unknown" if "unknown" in results else "clean"


def _unanswered(answers: Answers) -> Iterator[Finding]:
    for kind, question in answers.questions.items():
        if question.outcome != "complete":
            because = f" ({question.code} {question.text})" if question.code else ""
            yield Finding(
                result="unknown",
                subject="question",
                key=f"question:{kind}",
                text=f"{kind.replace('_', ' ')} were {question.outcome.replace('_', ' ')}{because};"
                " what depends on them is not known",
                evidence=(question.asked_sequence,),
            )


def _orders(before: OurSide, ours: OurSide, answers: Answers, scope: Scope) -> Iterator[Finding]:
    open_rows = _by_order(ours, answers.of("open_orders"))
    done_rows = _by_order(ours, answers.of("completed_orders"))
    executed = _by_order(ours, answers.of("executions"))
    for order in ours.orders.values():
        order_id = order.order_id
        if scope.accounts and order.account not in scope.accounts:
            continue
        rows = [*open_rows.get(order_id, ()), *done_rows.get(order_id, ())]
        repair = _order_repair(before.orders.get(order_id), order, scope)
        yield _order_finding(order, rows, answers, order_id in executed, repair)
        if order.origin != "ours" and (order.live or repair):
            yield _foreign(order, repair)


def _order_repair(was: Order | None, order: Order, scope: Scope) -> str:
    if order.intent_sequence > scope.started_sequence:
        return "adopted" if order.origin != "ours" else ""
    if was is None or (was.state is order.state and was.filled == order.filled):
        return ""
    return f"was {was.state.value}, {plain(was.filled)} filled"


def _by_order(ours: OurSide, rows: Iterable[Row]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in rows:
        owner = ours.owner(row.event.order_ref, row.event.perm_id)
        if owner is not None:
            found.setdefault(owner.order_id, []).append(row)
    return found


def _order_finding(
    order: Order, rows: list[Row], answers: Answers, was_executed: bool, repair: str
) -> Finding:
    theirs = ", ".join(dict.fromkeys(r.event.status for r in rows)) or "not named"
    make = _Maker("order", order, describe_order(order), theirs, _evidence(order, rows), repair)
    if order.state is OrderState.IN_DOUBT:
        return _doubt_finding(make, order, answers)
    if order.denied or order.state is OrderState.NOT_SENT:
        return make.match()
    if order.terms_known and order.filled > order.terms.quantity:
        text = f"executions add up to {plain(order.filled)}, more than the order asked for"
        return make.broken("contradiction", "high", text)
    missing = _missing_fills(make, order, answers)
    if missing is not None:
        return missing
    if order.live:
        return _live_finding(make, order, rows, answers, was_executed)
    if any(isinstance(r.event, OpenOrderReceived) and _works(r.event) for r in rows):
        return make.broken("wrong_state", "high", "IB lists it as open, our books have it as ended")
    return make.match()


def _doubt_finding(make: _Maker, order: Order, answers: Answers) -> Finding:
    if not answers.complete(*ORDER_QUESTIONS):
        return make.unknown(f"{order.doubt}; not every place where IB could name it has answered")
    text = "no answer names it, and it is too early to say"
    reaches = reaches_back_to(answers)
    if reaches is not None and order.created_at is not None and order.created_at < reaches:
        text = f"no answer names it, and IB's answers reach back only to {reaches}"
    return make.broken("in_doubt", "high", f"{order.doubt}; {text}")


def reaches_back_to(answers: Answers) -> datetime | None:
    """Return how far back every place where IB names orders can be relied on; None: no limit."""
    reaches = [answers.questions[k].reaches_back_to for k in ORDER_QUESTIONS]
    return max((r for r in reaches if r is not None), default=None)


def _works(event: OpenOrderReceived) -> bool:
    return event.status in {"PreSubmitted", "Submitted", "PendingSubmit", "PendingCancel"}


def _missing_fills(make: _Maker, order: Order, answers: Answers) -> Finding | None:
    """Report an order whose status claims other fills than its executions add up to."""
    claimed = order.status_filled
    if claimed is None or claimed == order.filled or order.contract.sec_type == "BAG":
        return None
    text = f"IB's status claims {plain(claimed)} filled, executions add up to {plain(order.filled)}"
    if claimed < order.filled:
        # A claim that did not come with the end is merely older than its executions.
        contradicts = order.claim_is_final and not order.live
        return make.broken("contradiction", "medium", text) if contradicts else None
    if not answers.complete("executions"):
        return make.unknown(f"{text}; executions were not answered whole")
    if order.origin != "ours":
        return make.unknown(f"{text}; it may have been filled before our books knew it")
    reaches = answers.questions["executions"].reaches_back_to
    if reaches is not None and order.created_at is not None and order.created_at < reaches:
        return make.unknown(f"{text}; IB's executions reach back only to {reaches}")
    return make.broken("missing_fill", "high", text)


def _live_finding(
    make: _Maker, order: Order, rows: list[Row], answers: Answers, was_executed: bool
) -> Finding:
    open_row = next((r for r in rows if isinstance(r.event, OpenOrderReceived)), None)
    if open_row is None:
        if not answers.complete("open_orders", "completed_orders"):
            return make.unknown("open and completed orders were not answered whole")
        if not order.transmit and not order.acknowledged:
            return make.match()  # Held in the gateway until its group is whole; never listed.
        found = "it was executed in part" if was_executed else "no execution names it"
        reaches = answers.questions["completed_orders"].reaches_back_to
        if reaches is not None and order.updated_at is not None and order.updated_at < reaches:
            found += f"; what ended before {reaches} is listed no more"
        return make.broken(
            "lost_order", "high", f"IB lists it neither as open nor as completed; {found}"
        )
    event: OpenOrderReceived = open_row.event
    working = terms_of(event, event.quantity)
    if order.modify_pending:
        return make.unknown("a change of its terms is under way")
    if event.quantity != order.terms.quantity or not same_prices(
        order.terms, event.limit_price, event.stop_price
    ):
        return make.broken(
            "wrong_terms",
            "high",
            f"asked: {describe_terms(order.terms)}; at IB: {describe_terms(working)}",
        )
    return make.match()


def _foreign(order: Order, repair: str) -> Finding:
    who = {
        "manual": "entered by hand in TWS",
        "other_client": f"sent by API client {order.client_id}",
        "previous_session": "sent by this client id, but not from this log",
    }.get(order.origin, order.origin)
    return Finding(
        result="break",
        subject="order",
        break_class="unknown_order",
        severity="medium",
        key=f"unknown_order:{order.order_id}",
        account=order.account,
        con_id=order.contract.con_id,
        symbol=order.contract.symbol,
        order_id=order.order_id,
        ours="not ours",
        theirs=f"{describe_terms(order.terms)} {order.contract.symbol}, perm id {order.perm_id}",
        text=f"an order that we did not send: {who}",
        evidence=(order.intent_sequence,),
        repair=repair,
    )


def _executions(ours: OurSide, answers: Answers, scope: Scope) -> Iterator[Finding]:
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


def _positions(before: OurSide, ours: OurSide, answers: Answers, scope: Scope) -> Iterator[Finding]:
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


def _anomalies(ours: OurSide) -> Iterator[Finding]:
    severity: dict[str, Severity] = {"order_id_rollback": "medium"}
    for anomaly in ours.anomalies:
        yield Finding(
            result="break",
            subject="message",
            break_class=anomaly.kind,
            severity=severity.get(anomaly.kind, "high"),
            key=f"{anomaly.kind}:{anomaly.sequence}",
            account=anomaly.account,
            con_id=anomaly.con_id,
            symbol=anomaly.symbol,
            order_id=anomaly.order_id,
            text=anomaly.text,
            evidence=(anomaly.sequence,),
        )


@dataclass(frozen=True, slots=True)
class _Maker:
    """Builds the one finding about an order, whatever it turns out to be."""

    subject: str
    order: Order
    ours: str
    theirs: str
    evidence: tuple[int, ...]
    repair: str

    def match(self) -> Finding:
        return self._finding(result="match", key=f"order:{self.order.order_id}")

    def unknown(self, text: str) -> Finding:
        return self._finding(result="unknown", key=f"order:{self.order.order_id}", text=text)

    def broken(self, break_class: Any, severity: Severity, text: str) -> Finding:
        return self._finding(
            result="break",
            break_class=break_class,
            severity=severity,
            key=f"{break_class}:{self.order.order_id}",
            text=text,
        )

    def _finding(self, **rest: Any) -> Finding:
        return Finding(
            subject=self.subject,
            account=self.order.account,
            con_id=self.order.contract.con_id,
            symbol=self.order.contract.symbol,
            order_id=self.order.order_id,
            ours=self.ours,
            theirs=self.theirs,
            evidence=self.evidence,
            repair=self.repair,
            **rest,
        )


def _evidence(order: Order, rows: list[Row]) -> tuple[int, ...]:
    return tuple(r.sequence for r in rows) or (order.last_sequence,)
