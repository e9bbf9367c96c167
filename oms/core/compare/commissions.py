"""What becomes of the commissions of our fills, and of those that no execution explains."""

from __future__ import annotations

from collections.abc import Iterator

from oms.core.compare.findings import Thing
from oms.core.compare.matches import Match
from oms.core.compare.sides import Answers, OurSide, Row, Scope
from oms.core.events import CommissionReceived, Finding
from oms.core.fold.records import Fill
from oms.core.money import plain
from oms.core.words import describe_amount


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
            at = fill.happened_by
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
    theirs = "" if row is None else describe_amount(row.event.commission, row.event.currency)
    return Thing(
        subject="commission",
        name=fill.key,
        account=fill.account,
        con_id=fill.contract.con_id,
        symbol=fill.contract.symbol,
        order_id=fill.order_id,
        ours=describe_amount(fill.commission, fill.commission_currency) or "none",
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
            theirs=f"{describe_amount(orphan.commission, orphan.currency)} for {orphan.exec_id}",
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
