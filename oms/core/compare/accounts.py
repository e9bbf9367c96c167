"""Which accounts of our books the session could not ask about, or IB left out."""

from __future__ import annotations

from collections.abc import Iterator

from oms.core.compare.findings import Thing
from oms.core.compare.matches import Match
from oms.core.compare.sides import Answers, OurSide, Scope
from oms.core.events import Finding


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
