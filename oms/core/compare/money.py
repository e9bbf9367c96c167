"""Comparing commissions, cash and accounts with what IB says; the rules are in `run`.

Cash: IB names a balance by currency, our books know what fills, commissions and adjustments did to
it since the first balance that IB named (`CashOpened`). Only changes are compared. Dividends,
interest, fees and payments are no messages of the API, so each is a difference until a person or a
statement says what it was. Currencies in which futures trade are left out: their daily settlement
moves cash without a message, too.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from decimal import Decimal
from functools import partial
from typing import Final

from oms.core.compare.matches import Match
from oms.core.compare.sides import MOVED, Answers, OurSide, Row, Scope
from oms.core.events import (
    AccountValueReceived,
    Adjustment,
    CommissionReceived,
    Finding,
)
from oms.core.fold.records import Fill
from oms.core.money import NotANumber, decimal_from_wire, plain

#: IB rounds each balance to the cent; the first and the last are two.
CASH_TOLERANCE: Final = Decimal("0.02")
#: The tag of the balance, by currency; BASE is the sum of all at IB's own rates.
_CASH_TAG: Final = "CashBalance"


# ── commissions ──────────────────────────────────────────────────────────────────────────────────


def commission_findings(ours: OurSide, answers: Answers, scope: Scope) -> Iterator[Finding | Match]:
    """Yield commissions that are missing, that differ, or that belong to no execution."""
    told: dict[str, Row] = {}
    for row in answers.commissions:
        event: CommissionReceived = row.event
        if event.commission is not None:
            told[event.exec_id] = row
    whole = answers.complete("executions")
    named = {r.event.exec_id for r in answers.of("executions")} if whole else set()
    for fill in ours.fills.values():
        if not scope.accounts or fill.account in scope.accounts:
            said, is_named = told.get(fill.exec_id), fill.exec_id in named
            yield from _commission(fill, said, named=is_named, ours=ours, scope=scope)
    yield from _orphans(ours, answers, scope)


def _commission(
    fill: Fill,
    row: Row | None,
    *,
    named: bool,
    ours: OurSide,
    scope: Scope,
) -> Iterator[Finding | Match]:
    key = f"commission:{fill.key}"
    theirs = "" if row is None else _money(row.event.commission, row.event.currency)
    evidence = (row.sequence if row else fill.last_sequence,)
    draw = partial(_drawn, fill, theirs, evidence)
    if fill.commission is None:
        if named and row is None and fill.quantity:
            at = fill.occurred_at
            if at is not None and at + scope.commission_settle <= scope.now:
                text = "IB names the execution and no commission for it"
                yield _broken(draw(), "commission_missing", text)
        return
    if row is not None and row.event.commission != fill.commission:
        text = "IB's answer has another commission than the one that it last reported"
        yield _broken(draw(), "commission_different", text)
    elif fill.commission_was is not None and fill.commission_sequence > scope.started_sequence:
        repair = f"was {plain(fill.commission_was)}"
        changed = {"break_class": "commission_different", "repair": repair}
        yield draw().model_copy(update=changed)
    elif key in ours.watched:
        yield Match("commission", key, plain(fill.commission), evidence, draw)


def _drawn(fill: Fill, theirs: str, evidence: tuple[int, ...]) -> Finding:
    return Finding(
        result="match",
        subject="commission",
        key=f"commission:{fill.key}",
        account=fill.account,
        con_id=fill.contract.con_id,
        symbol=fill.contract.symbol,
        order_id=fill.order_id,
        ours=_money(fill.commission, fill.commission_currency) or "none",
        theirs=theirs or "not named",
        evidence=evidence,
    )


def _broken(finding: Finding, break_class: str, text: str) -> Finding:
    thing = finding.key.partition(":")[2]
    changed = {"result": "break", "severity": "low", "break_class": break_class, "text": text}
    return finding.model_copy(update={**changed, "key": f"{break_class}:{thing}"})


def _orphans(ours: OurSide, answers: Answers, scope: Scope) -> Iterator[Finding | Match]:
    """Yield commission reports for executions that nobody has shown us."""
    if "executions" not in answers.questions:
        return
    for orphan in ours.orphans:
        key = f"commission:{orphan.exec_id}"
        finding = Finding(
            result="match",
            subject="commission",
            key=key,
            ours="no execution",
            theirs=f"{_money(orphan.commission, orphan.currency)} for {orphan.exec_id}",
            evidence=(orphan.sequence,),
        )
        if orphan.joined:
            if key in ours.watched:
                yield Match("commission", key, "joined", finding.evidence, partial(_as_is, finding))
        elif not answers.complete("executions"):
            text = "IB charged for an execution; executions were not answered whole"
            yield finding.model_copy(update={"result": "unknown", "text": text})
        elif orphan.sequence < answers.questions["executions"].asked_sequence:
            text = "IB charged for an execution that it does not name and that our books lack"
            yield _broken(finding, "orphan_commission", text).model_copy(
                update={"severity": "medium"}
            )


# ── cash ─────────────────────────────────────────────────────────────────────────────────────────


def balances(answers: Answers) -> dict[str, tuple[AccountValueReceived, Decimal, int]]:
    """Return the balances that IB named, by account and currency."""
    found = {}
    for row in answers.of("account_summary"):
        event: AccountValueReceived = row.event
        if event.key != _CASH_TAG:
            continue
        amount = _amount(event.value)
        if amount is not None and event.currency not in ("", "BASE"):
            found[f"{event.account}:{event.currency}"] = (event, amount, row.sequence)
    return found


def _amount(text: str) -> Decimal | None:
    try:
        return decimal_from_wire(text)
    except NotANumber:
        return None


def cash_findings(
    ours: OurSide, answers: Answers, scope: Scope, drifting: Collection[str] = ()
) -> Iterator[Finding | Match]:
    """Yield what each balance is found to be; those seen for the first time are openings.

    `drifting` are the accounts and currencies about whose cash another break is, too.
    """
    if not answers.complete("account_summary"):
        return
    for key, (event, amount, sequence) in balances(answers).items():
        opening, explained = ours.cash_openings.get(key), ours.explained_cash.get(key, Decimal(0))
        if opening is None or explained is None or key in drifting:
            continue
        if scope.accounts and event.account not in scope.accounts:
            continue
        expected = opening + explained
        draw = partial(_cash_drawn, event, expected, amount, sequence)
        excess = amount - expected
        if abs(excess) <= CASH_TOLERANCE:
            yield Match("cash", f"cash:{key}", plain(amount), (sequence,), draw)
        else:
            yield _judge_cash(draw(), event, excess, ours=ours, answers=answers, scope=scope)


def _judge_cash(
    finding: Finding,
    event: AccountValueReceived,
    excess: Decimal,
    *,
    ours: OurSide,
    answers: Answers,
    scope: Scope,
) -> Finding:
    key = f"{event.account}:{event.currency}"
    moved_at = ours.cash_moved_at.get(key)
    asked_at = answers.questions["account_summary"].asked_at
    if moved_at is not None and moved_at + scope.position_settle > asked_at:
        return finding.model_copy(update={"result": "unknown", "text": MOVED})
    if not answers.complete("executions"):
        text = "executions were not answered whole, so the difference has no explanation"
        return finding.model_copy(update={"result": "unknown", "text": text})
    uncharged = sum(_is_uncharged(fill, event) for fill in ours.fills.values())
    if uncharged:
        text = f"the commission of {uncharged} of the fills that moved it is not known"
        return finding.model_copy(update={"result": "unknown", "text": text})
    proposed = Adjustment(account=event.account, currency=event.currency, quantity=excess)
    text = (
        f"{plain(excess)} {event.currency} came without a fill or a commission (payments,"
        " dividends, interest and fees do that)"
    )
    return finding.model_copy(
        update={
            "result": "break",
            "break_class": "cash_drift",
            "severity": "medium",
            "key": f"cash_drift:{key}",
            "text": text,
            "proposed": proposed,
        }
    )


def _is_uncharged(fill: Fill, event: AccountValueReceived) -> bool:
    return (
        fill.commission is None
        and bool(fill.quantity)
        and (fill.account, fill.contract.currency) == (event.account, event.currency)
        and fill.contract.sec_type != "BAG"
    )


def _cash_drawn(
    event: AccountValueReceived, expected: Decimal, amount: Decimal, sequence: int
) -> Finding:
    return Finding(
        result="match",
        subject="cash",
        key=f"cash:{event.account}:{event.currency}",
        account=event.account,
        symbol=event.currency,
        ours=_money(expected, event.currency),
        theirs=_money(amount, event.currency),
        evidence=(sequence,),
    )


# ── accounts ─────────────────────────────────────────────────────────────────────────────────────


def account_findings(ours: OurSide, answers: Answers, scope: Scope) -> Iterator[Finding | Match]:
    """Yield accounts of our books that this session cannot ask about, or that IB left out."""
    held = {p.account for p in ours.positions.values() if p.quantity}
    held |= {o.account for o in ours.orders.values() if o.live and o.account}
    managed = scope.managed or scope.accounts
    if managed:
        for account in sorted(held - set(managed)):
            text = "this session does not manage the account, so nothing of it was compared"
            yield _not_answered(account, text, ())
    if not answers.complete("account_summary"):
        return
    asked = answers.questions["account_summary"].asked_sequence
    named = {r.event.account for r in answers.of("account_summary")}
    for account in sorted(scope.accounts):
        key = f"account:{account}"
        if account not in named:
            text = "the account summary was answered whole and leaves the account out"
            yield _not_answered(account, text, (asked,))
        elif key in ours.watched:
            draw = partial(_as_is, _account(account, (asked,)))
            yield Match("account", key, "answered", (asked,), draw)


def _not_answered(account: str, text: str, evidence: tuple[int, ...]) -> Finding:
    changed = {
        "result": "break",
        "break_class": "not_answered",
        "severity": "medium",
        "key": f"not_answered:{account}",
        "text": text,
        "theirs": "not answered",
    }
    return _account(account, evidence).model_copy(update=changed)


def _account(account: str, evidence: tuple[int, ...]) -> Finding:
    return Finding(
        result="match",
        subject="account",
        key=f"account:{account}",
        account=account,
        ours="in our books",
        theirs="answered",
        evidence=evidence,
    )


def _as_is(finding: Finding) -> Finding:
    return finding


def _money(amount: Decimal | None, currency: str) -> str:
    return "" if amount is None else f"{plain(amount)} {currency}".rstrip()
