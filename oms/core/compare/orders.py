"""Comparing our orders with what IB says about them; the rules are in `run`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from oms.core.compare.matches import Match
from oms.core.compare.sides import (
    MOVED,
    ORDER_QUESTIONS,
    Answers,
    OurSide,
    Row,
    Scope,
    reaches_back_to,
)
from oms.core.events import Finding, OpenOrderReceived, Severity
from oms.core.fold.records import Order, OrderState
from oms.core.money import plain
from oms.core.terms import differing, terms_of
from oms.core.words import describe_order, describe_terms

#: What of an order can outrun an answer.
_MOVING: Final = ("state", "filled", "status_filled", "terms", "revision", "perm_ids")


def order_findings(
    before: OurSide, prior: OurSide, ours: OurSide, answers: Answers, scope: Scope
) -> Iterator[Finding | Match]:
    """Yield what each order on our side is found to be."""
    open_rows = _by_order(ours, answers.of("open_orders"))
    done_rows = _by_order(ours, answers.of("completed_orders"))
    executed = _by_order(ours, answers.of("executions"))
    for order in ours.orders.values():
        order_id = order.order_id
        if scope.accounts and order.account not in scope.accounts:
            continue
        rows = [*open_rows.get(order_id, ()), *done_rows.get(order_id, ())]
        repair = _order_repair(before.orders.get(order_id), order, scope)
        found = _order_finding(order, rows, answers, order_id in executed, repair)
        if (
            isinstance(found, Finding)
            and found.result == "break"
            and _has_moved(prior.orders.get(order_id), order)
        ):
            yield _moved(found)
        else:
            yield found
        if order.origin != "ours" and (order.live or repair):
            yield _foreign(order, repair)


def _has_moved(was: Order | None, order: Order) -> bool:
    """Say whether the order changed since the answers at hand were asked for.

    What an answer itself teaches counts as well: it is asked again, and then stands still.
    """
    if order.state is OrderState.IN_DOUBT and (was is None or was.state is order.state):
        return False  # nothing that moves is what makes it a doubt
    return was is None or any(getattr(was, n) != getattr(order, n) for n in _MOVING)


def _moved(finding: Finding) -> Finding:
    changed = {
        "result": "unknown",
        "break_class": None,
        "severity": None,
        "key": f"order:{finding.order_id}",
        "text": MOVED,
    }
    return finding.model_copy(update=changed)


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
) -> Finding | Match:
    make = _Maker(order, rows, repair)
    if order.state is OrderState.IN_DOUBT:
        return _doubt_finding(make, order, answers)
    if order.denied or order.state is OrderState.NOT_SENT:
        return make.match()
    if order.terms_known and order.filled > order.terms.quantity:
        text = f"executions add up to {plain(order.filled)}, more than the order asked for"
        return make.broken("contradiction", "high", text)
    elsewhere = _other_contract(order, rows)
    if elsewhere:
        return make.broken("wrong_terms", "high", elsewhere)
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


def _works(event: OpenOrderReceived) -> bool:
    return event.status in {"PreSubmitted", "Submitted", "PendingSubmit", "PendingCancel"}


def _other_contract(order: Order, rows: list[Row]) -> str:
    """Say that IB has the order in another contract than we asked for (INC-211)."""
    asked = order.contract
    for row in rows:
        shown = row.event.contract
        if asked.con_id and shown.con_id and shown.con_id != asked.con_id:
            return (
                f"asked for {asked.symbol} ({asked.con_id}); IB has the order in {shown.symbol}"
                f" ({shown.con_id})"
            )
    return ""


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
) -> Finding | Match:
    open_row = next((r for r in rows if isinstance(r.event, OpenOrderReceived)), None)
    if open_row is None:
        if not order.sent:
            return make.match()  # Nothing has left yet, so there is nothing to find at IB.
        if not answers.complete("open_orders", "completed_orders"):
            return make.unknown("open and completed orders were not answered whole")
        if not order.transmit and not order.acknowledged:
            return make.match()  # Held in the gateway until its group is whole; never listed.
        if order.sent_sequence > answers.questions["open_orders"].asked_sequence:
            return make.unknown(MOVED)
        found = "it was executed in part" if was_executed else "no execution names it"
        reaches = answers.questions["completed_orders"].reaches_back_to
        if reaches is not None and order.updated_at is not None and order.updated_at < reaches:
            found += f"; what ended before {reaches} is listed no more"
        return make.broken(
            "lost_order", "high", f"IB lists it neither as open nor as completed; {found}"
        )
    event: OpenOrderReceived = open_row.event
    if order.modify_pending:
        return make.unknown("a change of its terms is under way")
    different = differing(order.terms, event)
    if different:
        return make.broken(
            "wrong_terms",
            "high",
            f"{', '.join(different)}: asked {describe_terms(order.terms)}; at IB"
            f" {describe_terms(terms_of(event, event.quantity))}",
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


@dataclass(frozen=True, slots=True)
class _Maker:
    """Builds the one finding about an order, whatever it turns out to be."""

    order: Order
    rows: list[Row]
    repair: str

    def match(self) -> Finding | Match:
        order = self.order
        key = f"order:{order.order_id}"
        draw = partial(self._finding, result="match", key=key)
        if self.repair:
            return draw()
        values = f"{order.state.value} {plain(order.filled)} {describe_terms(order.terms)}"
        return Match("order", key, values, self._evidence(), draw)

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
        order = self.order
        return Finding(
            subject="order",
            account=order.account,
            con_id=order.contract.con_id,
            symbol=order.contract.symbol,
            order_id=order.order_id,
            ours=describe_order(order),
            theirs=", ".join(dict.fromkeys(r.event.status for r in self.rows)) or "not named",
            evidence=self._evidence(),
            repair=self.repair,
            **rest,
        )

    def _evidence(self) -> tuple[int, ...]:
        return tuple(r.sequence for r in self.rows) or (self.order.last_sequence,)
