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

from collections.abc import Collection, Iterable, Iterator
from typing import Final

from oms.core.compare.accounts import account_findings
from oms.core.compare.cash import cash_findings
from oms.core.compare.commissions import commission_findings
from oms.core.compare.executions import execution_findings
from oms.core.compare.findings import Thing
from oms.core.compare.matches import Compared
from oms.core.compare.nameless import nameless_findings
from oms.core.compare.orders import order_findings
from oms.core.compare.positions import position_findings
from oms.core.compare.rest import Rest
from oms.core.compare.sides import Answers, OurSide, Scope
from oms.core.events import BreakClass, Finding, Verdict


def compare(
    before: OurSide,
    ours: OurSide,
    answers: Answers,
    scope: Scope,
    *,
    prior: OurSide | None = None,
    accepted_keys: Collection[str] = (),
) -> Compared:
    """Return what each compared thing was found to be.

    `before` is our side when the run began, `ours` after its repairs. `prior` is our side just
    before the answers at hand were asked for, where that is not `before`: what changed between it
    and `ours` may be newer than the answers, and is not held against them. `accepted_keys` are
    breaks that a person has closed as they are: they leave no cash uncompared, because nobody is
    looking into them any more.
    """
    found, rest = Compared(), Rest(ours.watched)
    for beyond in ours.beyond:
        if not scope.accounts or beyond.account in {"", *scope.accounts}:
            rest.count(beyond)
    found.add(_unanswered(answers))
    found.add(rest.without(order_findings(before, prior or before, ours, answers, scope)))
    found.add(rest.without(nameless_findings(ours, answers, scope)))
    found.add(rest.without(execution_findings(ours, answers, scope)))
    found.add(rest.without(position_findings(before, ours, answers, scope)))
    found.add(rest.without(commission_findings(ours, answers, scope)))
    in_question = [f for f in found.findings if f.key not in accepted_keys]
    drifting = _drifting(in_question, rest.accounts(_ABOUT_CASH), ours, answers)
    found.add(cash_findings(ours, answers, scope, drifting))
    found.add(account_findings(ours, answers, scope))
    found.add(rest.without(_anomalies(ours)))
    found.add(rest.findings())
    return found


#: Breaks that are about cash as well, by an amount that nobody knows.
_ABOUT_CASH: Final[frozenset[BreakClass | None]] = frozenset(
    {
        "quantity_drift",
        "missing_fill",
        "extra_fill",
        "corrected_fill",
        "contradiction",
        "commission_missing",
        "commission_different",
    }
)


def _drifting(
    findings: Iterable[Finding], unlisted: Collection[str], ours: OurSide, answers: Answers
) -> set[str]:
    """Return accounts and currencies whose cash is not compared: one cause is one difference. Of
    accounts with differences that are not listed, that is every currency.
    """
    currencies = {p.contract.con_id: p.contract.currency for p in ours.positions.values()}
    currencies |= {f.contract.con_id: f.contract.currency for f in ours.fills.values()}
    told = [r.event.contract for r in answers.executions]
    told += [r.event.contract for r in answers.positions]
    for contract in told:
        currencies.setdefault(contract.con_id, contract.currency)
    found = {
        f"{f.account}:{currencies[f.con_id]}"
        for f in findings
        if f.result == "break" and f.break_class in _ABOUT_CASH and f.con_id in currencies
    }
    return found | {f"{account}:{one}" for account in unlisted for one in currencies.values()}


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
            asked = Thing(subject="question", name=kind, evidence=(question.asked_sequence,))
            yield asked.unknown(
                f"{kind.replace('_', ' ')} were {question.outcome.replace('_', ' ')}{because};"
                " what depends on them is not known"
            )


def _anomalies(ours: OurSide) -> Iterator[Finding]:
    for anomaly in ours.anomalies:
        thing = Thing(
            subject="message",
            name=str(anomaly.sequence),
            account=anomaly.account,
            con_id=anomaly.con_id,
            symbol=anomaly.symbol,
            order_id=anomaly.order_id,
            evidence=(anomaly.sequence,),
        )
        yield thing.broken(anomaly.kind, anomaly.severity, anomaly.shown)
