"""What a reconciliation run writes beside adoptions (`adoption`): resolved doubts, openings,
commissions, adjustments by policy.

Each is an event with its evidence, and each is idempotent: a second run over the same answers
yields nothing. Nothing here invents a fill or an end; see `run` for the rules.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Final

from oms.core.compare.cases import break_id_of
from oms.core.compare.cash import balances
from oms.core.compare.nameless import rows_that_may_be
from oms.core.compare.sides import ORDER_QUESTIONS, Answers, OurSide, Scope, reaches_back_to
from oms.core.events import (
    Adjustment,
    BooksAdjusted,
    CashOpened,
    Cause,
    CommissionRestated,
    DoubtResolved,
    Finding,
    OpeningPositionRecorded,
    PositionReceived,
    RequestNotTaken,
)
from oms.core.fold.order_state import (
    answered_with,
    is_listed,
    may_be_refused,
    request_answered_with,
)
from oms.core.fold.records import Order, OrderState, Position
from oms.core.money import ZERO
from oms.core.money_rules import rule_of

#: From the start of a last day, in UTC, to the morning after it in New York.
_PAID_WITHIN: Final = timedelta(hours=36)


def resolutions(ours: OurSide, answers: Answers, scope: Scope) -> Iterator[DoubtResolved]:
    """Yield a resolution for every order in doubt that complete answers do not name.

    All three places must have answered, they must reach back before the order left, and the doubt
    must have settled: bytes that were on their way when the line broke can still arrive for a while
    (INC-07). An order of which only executions are known has ended when IB lists it nowhere else.
    What IB does not list although it has it (`is_listed`) proves nothing by its absence.
    """
    if not answers.complete(*ORDER_QUESTIONS):
        return
    named = _named_orders(ours, answers)
    evidence = tuple(answers.questions[k].asked_sequence for k in ORDER_QUESTIONS)
    for order in ours.orders.values():
        if order.state is not OrderState.IN_DOUBT:
            continue
        if not order.terms_known:
            yield DoubtResolved(
                order_id=order.order_id,
                outcome="ended",
                text="IB lists it neither as open nor as completed; its executions are all of it",
                run_id=scope.run_id,
                evidence=evidence,
            )
        elif order.order_id not in named and _settled(order, answers, scope):
            yield from _absent(order, ours, scope, evidence)


def refusals(
    ours: OurSide, answers: Answers, scope: Scope, order_ids: Iterable[str]
) -> Iterator[DoubtResolved]:
    """Yield that IB refused those of some new orders of which a code is all that IB has said, and
    that no complete answer names which was asked for after it (decision D9).
    """
    if not answers.complete(*ORDER_QUESTIONS):
        return
    named = _named_orders(ours, answers)
    evidence = tuple(answers.questions[k].asked_sequence for k in ORDER_QUESTIONS)
    for order_id in order_ids:
        order = ours.orders.get(order_id)
        if order is None or not order.live or not may_be_refused(order) or order_id in named:
            continue
        if order.last_sequence < min(evidence) and _in_reach(order, answers):
            yield from _absent(order, ours, scope, evidence)


def _absent(
    order: Order, ours: OurSide, scope: Scope, evidence: tuple[int, ...]
) -> Iterator[DoubtResolved]:
    """Yield what it means that complete answers do not name an order."""
    heard = answered_with(order)
    if not is_listed(order, ours.orders.values()) or (heard and not may_be_refused(order)):
        return
    nowhere = "open orders, completed orders and executions were answered whole and none names it"
    yield DoubtResolved(
        order_id=order.order_id,
        outcome="refused" if heard else "not_received",
        text=f"IB answered it with {heard}; {nowhere}"
        if heard
        else f"IB never received it: {nowhere}",
        run_id=scope.run_id,
        evidence=evidence,
    )


#: Words of IB for an order that may have more to say of what was asked for.
_UNDECIDED: Final = frozenset({"PendingSubmit", "ApiPending", "PendingCancel"})


def not_taken(ours: OurSide, answers: Answers, scope: Scope) -> Iterator[RequestNotTaken]:
    """Yield the changes and cancels that IB did not take: a whole answer shows the order at work as
    it was before.

    An earlier session sent them, and what waited in the dead line has had its time to arrive; or IB
    answered with a code that does not say what it refuses, before the question was asked.
    """
    question, opened_at = answers.questions.get("open_orders"), scope.session_opened_at
    if question is None or question.outcome != "complete" or opened_at is None:
        return
    has_settled = question.asked_at >= opened_at + scope.doubt_settle
    for row in answers.open_orders:
        order = ours.owner(row.event.order_ref, row.event.perm_id)
        if order is None or not order.live or {row.event.status, order.status} & _UNDECIDED:
            continue
        heard = request_answered_with(order)
        if order.pending_epoch < scope.epoch and has_settled:
            why = "it was sent in an earlier session"
        elif heard and order.code_sequence <= question.asked_sequence:
            why = heard
        else:
            continue
        evidence = (row.sequence, question.asked_sequence)
        if order.modify_pending:
            yield RequestNotTaken(
                order_id=order.order_id,
                request="modify",
                text=f"{why}; IB shows the order on the terms before the change",
                run_id=scope.run_id,
                evidence=evidence,
            )
        if order.cancel_pending:
            yield RequestNotTaken(
                order_id=order.order_id,
                request="cancel",
                text=f"{why}; IB shows the order at work",
                run_id=scope.run_id,
                evidence=evidence,
            )


def _settled(order: Order, answers: Answers, scope: Scope) -> bool:
    asked = min(answers.questions[k].asked_at for k in ORDER_QUESTIONS)
    if order.updated_at is None or asked < order.updated_at + scope.doubt_settle:
        return False
    return _in_reach(order, answers)


def _in_reach(order: Order, answers: Answers) -> bool:
    reaches = reaches_back_to(answers)
    return reaches is None or order.created_at is None or order.created_at >= reaches


def _named_orders(ours: OurSide, answers: Answers) -> set[str]:
    """Return our ids of the orders that any answer names, or may name without an orderRef."""
    named = {i for i, order in ours.orders.items() if rows_that_may_be(order, ours, answers)}
    for row in answers.order_rows():
        owner = ours.owner(row.event.order_ref, row.event.perm_id)
        if owner is not None:
            named.add(owner.order_id)
    return named


def openings(ours: OurSide, answers: Answers, scope: Scope) -> Iterator[OpeningPositionRecorded]:
    """Yield what each account held before the log knew it, the first time it is compared.

    The opening is what IB holds now less what today's executions explain, over the union of both:
    what was held in the morning and sold during the day is in IB's answer no more. It needs both
    answers whole; without them the account stays unopened and its positions unknown.
    """
    if not answers.complete("positions", "executions"):
        return
    rows = {f"{r.event.account}:{r.event.contract.con_id}": r for r in answers.positions}
    for key in sorted({*rows, *(k for k, p in ours.positions.items() if p.quantity)}):
        row, position = rows.get(key), ours.positions.get(key)
        told = row.event if row else None
        source = told or position
        assert source is not None
        account, contract = source.account, source.contract
        if account in ours.opened_accounts or not contract.con_id:
            continue
        if told is None and rule_of(contract.sec_type).cash == "pair":
            continue  # A gateway that leaves pairs out says nothing about what was held.
        if scope.accounts and account not in scope.accounts:
            continue
        booked = position.quantity if position else ZERO
        held = (told.quantity if told else ZERO) - booked
        if held:
            yield OpeningPositionRecorded(
                account=account,
                contract=contract,
                quantity=held,
                average_cost=_opening_cost(told, position, held),
                evidence=row.sequence if row else answers.questions["positions"].asked_sequence,
                run_id=scope.run_id,
            )


def _opening_cost(
    told: PositionReceived | None, position: Position | None, held: Decimal
) -> Decimal:
    """Return the cost of what was held, in IB's unit: times multiplier, commissions included.

    Where the day's executions only added to it, IB's average is taken apart again; where they only
    took from it, IB's average is still the opening's. Where nothing is left, what it cost is not
    known any more, and the executions' own price stands in: it realises nothing.
    """
    if position is None or not position.quantity:
        return (told.average_cost if told else None) or ZERO
    booked_cost = position.average_price * position.contract.units
    if told is None or told.average_cost is None:
        return booked_cost
    if (position.quantity > 0) == (held > 0) and not position.realised_pnl:
        return (told.average_cost * told.quantity - booked_cost * position.quantity) / held
    return told.average_cost


def cash_openings(ours: OurSide, answers: Answers, scope: Scope) -> Iterator[CashOpened]:
    """Yield the first balance of each account and currency; later ones are compared with it.

    Only where nothing moved shortly before: a balance that lags its executions would be wrong for
    ever. The next run opens it then. Without positions a question was silent between the
    executions and the balance, and what was traded meanwhile would count twice. A currency that
    appears in an account whose cash is compared already was at nothing until now, unless it could
    not be compared before: its first balance is a change like any other.
    """
    if not answers.complete("account_summary", "executions", "positions"):
        return
    asked_at = answers.questions["account_summary"].asked_at
    compared = {key.partition(":")[0] for key in ours.cash_openings}
    for key, (event, amount, sequence) in balances(answers).items():
        explained, moved_at = ours.cash.amounts.get(key, ZERO), ours.cash.moved_at.get(key)
        if key in ours.cash_openings or key in ours.cash.unknown:
            continue
        if scope.accounts and event.account not in scope.accounts:
            continue
        if moved_at is not None and moved_at + scope.position_settle > asked_at:
            continue
        is_new_currency = event.account in compared and key not in ours.cash.clouded
        yield CashOpened(
            account=event.account,
            currency=event.currency,
            amount=ZERO if is_new_currency else amount,
            explained=ZERO if is_new_currency else explained,
            evidence=sequence,
            run_id=scope.run_id,
        )


def commissions(ours: OurSide, answers: Answers, scope: Scope) -> Iterator[CommissionRestated]:
    """Yield the commissions that an answer has otherwise than our books: what IB answers counts.

    The one that our books follow was reported later, and IB did not keep to it.
    """
    by_exec_id = {fill.exec_id: fill for fill in ours.fills.values()}
    for row in answers.commissions:
        event = row.event
        fill = by_exec_id.get(event.exec_id)
        if fill is None or fill.commission is None or event.commission is None:
            continue
        # Reported after this answer was: the next one will say which of the two counts.
        if event.commission != fill.commission and fill.commission_sequence <= max(
            row.sequence, answers.questions["executions"].asked_sequence
        ):
            yield CommissionRestated(
                exec_id=event.exec_id,
                commission=event.commission,
                currency=event.currency,
                realised_pnl=event.realised_pnl,
                evidence=row.sequence,
                run_id=scope.run_id,
            )


def by_policy(
    findings: Iterable[Finding], causes: Collection[Cause], scope: Scope
) -> Iterator[BooksAdjusted]:
    """Yield the adjustments whose cause the evidence names and a policy of the settings allows.

    What ended with a payment, or may have, is left to a person: what it was worth is in no message.
    """
    for finding in findings:
        wanted = finding.proposed
        if wanted is None or (wanted.cause == "expiry" and not _ended_worthless(wanted, scope)):
            continue
        if finding.result == "break" and wanted.cause in causes:
            yield BooksAdjusted(
                adjustment=wanted,
                reason=f"by policy: {finding.text}",
                break_id=break_id_of(finding),
                run_id=scope.run_id,
                evidence=finding.evidence,
            )


def _ended_worthless(wanted: Adjustment, scope: Scope) -> bool:
    """Say whether a contract is known to have ended without a payment: none came, and the night in
    which IB would have booked it is over.
    """
    assert wanted.contract is not None
    last_day = datetime.strptime(wanted.contract.expiry, "%Y%m%d").replace(tzinfo=UTC)
    return wanted.price == ZERO and scope.now >= last_day + _PAID_WITHIN
