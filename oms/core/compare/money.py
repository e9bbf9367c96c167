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
from typing import Final

from oms.core.compare.findings import MOVED, Thing
from oms.core.compare.matches import Match
from oms.core.compare.sides import Answers, OurSide, Row, Scope
from oms.core.events import AccountValueReceived, Adjustment, CommissionReceived, Finding
from oms.core.fold.records import Fill
from oms.core.money import NotANumber, decimal_from_wire, plain

#: IB rounds each balance to the cent; the first and the last are two.
CASH_TOLERANCE: Final = Decimal("0.02")
#: The tag of the balance, by currency; BASE is the sum of all at IB's own rates.
_CASH_TAG: Final = "CashBalance"


# ── commissions ──────────────────────────────────────────────────────────────────────────────────


def commission_findings(ours: OurSide, answers: Answers, scope: Scope) -> Iterator[Finding | Match]:
    """Yield commissions that are missing, that differ, or that belong to no execution."""
    told = {r.event.exec_id: r for r in answers.commissions if r.event.commission is not None}
    whole = answers.complete("executions")
    named = {r.event.exec_id for r in answers.executions} if whole else set()
    for fill in ours.fills.values():
        if not scope.accounts or fill.account in scope.accounts:
            said, is_named = told.get(fill.exec_id), fill.exec_id in named
            yield from _commission(fill, said, named=is_named, ours=ours, scope=scope)
    yield from _orphans(ours, answers, scope)


def _commission(
    fill: Fill,
    row: Row[CommissionReceived] | None,
    *,
    named: bool,
    ours: OurSide,
    scope: Scope,
) -> Iterator[Finding | Match]:
    if fill.commission is None:
        if named and row is None and fill.quantity:
            at = fill.occurred_at
            if at is not None and at + scope.commission_settle <= scope.now:
                text = "IB names the execution and no commission for it"
                yield _charge(fill, row).broken("commission_missing", "low", text)
        return
    if row is not None and row.event.commission != fill.commission:
        text = "IB's answer has another commission than the one that it last reported"
        yield _charge(fill, row).broken("commission_different", "low", text)
    elif fill.commission_was is not None and fill.commission_sequence > scope.started_sequence:
        repair = f"was {plain(fill.commission_was)}"
        yield _charge(fill, row).repaired("commission_different", repair)
    elif f"commission:{fill.key}" in ours.watched:
        yield _charge(fill, row).match(plain(fill.commission))


def _charge(fill: Fill, row: Row[CommissionReceived] | None) -> Thing:
    theirs = "" if row is None else _money(row.event.commission, row.event.currency)
    return Thing(
        subject="commission",
        name=fill.key,
        account=fill.account,
        con_id=fill.contract.con_id,
        symbol=fill.contract.symbol,
        order_id=fill.order_id,
        ours=_money(fill.commission, fill.commission_currency) or "none",
        theirs=theirs or "not named",
        evidence=(row.sequence if row else fill.last_sequence,),
    )


def _orphans(ours: OurSide, answers: Answers, scope: Scope) -> Iterator[Finding | Match]:
    """Yield commission reports for executions that nobody has shown us."""
    if "executions" not in answers.questions:
        return
    for orphan in ours.orphans:
        thing = Thing(
            subject="commission",
            name=orphan.exec_id,
            ours="no execution",
            theirs=f"{_money(orphan.commission, orphan.currency)} for {orphan.exec_id}",
            evidence=(orphan.sequence,),
        )
        if orphan.joined:
            if f"commission:{orphan.exec_id}" in ours.watched:
                yield thing.match("joined")
        elif not answers.complete("executions"):
            yield thing.unknown("IB charged for an execution; executions were not answered whole")
        elif orphan.sequence < answers.questions["executions"].asked_sequence:
            text = "IB charged for an execution that it does not name and that our books lack"
            yield thing.broken("orphan_commission", "medium", text)


# ── cash ─────────────────────────────────────────────────────────────────────────────────────────


def balances(answers: Answers) -> dict[str, tuple[AccountValueReceived, Decimal, int]]:
    """Return the balances that IB named, by account and currency."""
    found = {}
    for row in answers.account_summary:
        event = row.event
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
        thing = Thing(
            subject="cash",
            name=key,
            account=event.account,
            symbol=event.currency,
            ours=_money(expected, event.currency),
            theirs=_money(amount, event.currency),
            evidence=(sequence,),
        )
        excess = amount - expected
        if abs(excess) <= CASH_TOLERANCE:
            yield thing.match(plain(amount))
        else:
            yield _judge_cash(thing, event, excess, ours=ours, answers=answers, scope=scope)


def _judge_cash(
    thing: Thing,
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
        return thing.unknown(MOVED)
    if not answers.complete("executions"):
        text = "executions were not answered whole, so the difference has no explanation"
        return thing.unknown(text)
    uncharged = sum(_is_uncharged(fill, event) for fill in ours.fills.values())
    if uncharged:
        text = f"the commission of {uncharged} of the fills that moved it is not known"
        return thing.unknown(text)
    proposed = Adjustment(account=event.account, currency=event.currency, quantity=excess)
    text = (
        f"{plain(excess)} {event.currency} came without a fill or a commission (payments,"
        " dividends, interest and fees do that)"
    )
    return thing.broken("cash_drift", "medium", text, proposed=proposed)


def _is_uncharged(fill: Fill, event: AccountValueReceived) -> bool:
    return (
        fill.commission is None
        and bool(fill.quantity)
        and (fill.account, fill.contract.currency) == (event.account, event.currency)
        and fill.contract.sec_type != "BAG"
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
            yield _account(account, "not answered", ()).broken("not_answered", "medium", text)
    if not answers.complete("account_summary"):
        return
    asked = answers.questions["account_summary"].asked_sequence
    named = {r.event.account for r in answers.account_summary}
    for account in sorted(scope.accounts):
        if account not in named:
            text = "the account summary was answered whole and leaves the account out"
            yield _account(account, "not answered", (asked,)).broken("not_answered", "medium", text)
        elif f"account:{account}" in ours.watched:
            yield _account(account, "answered", (asked,)).match("answered")


def _account(account: str, theirs: str, evidence: tuple[int, ...]) -> Thing:
    return Thing(
        subject="account",
        name=account,
        account=account,
        ours="in our books",
        theirs=theirs,
        evidence=evidence,
    )


def _money(amount: Decimal | None, currency: str) -> str:
    return "" if amount is None else f"{plain(amount)} {currency}".rstrip()
