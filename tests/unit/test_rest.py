"""Differences without an end: so many are cases, and the rest is one that counts them."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

import pytest

from oms.core.admit.limits import Limits
from oms.core.admit.proposal import Proposal
from oms.core.admit.readiness import GATE
from oms.core.compare.cases import case_events, watched_by
from oms.core.compare.findings import Thing
from oms.core.compare.matches import SETTLED_MAX, Compared
from oms.core.compare.rest import BREAKS_MAX, Rest
from oms.core.contracts import Contract
from oms.core.events import BreakClosed, BreakOpened, BreakUpdated, Finding, Terms
from oms.core.fold.records import BreakCase, SystemRecord
from tests.lives import START

MORE = 250


def extra(first: int, count: int, account: str = "DU1") -> Iterator[Finding]:
    """Yield fills that IB does not name."""
    for number in range(first, first + count):
        thing = Thing(
            subject="execution",
            name=f"{account}:x.{number}",
            account=account,
            con_id=number,
            evidence=(number,),
        )
        yield thing.broken("extra_fill", "high", "not named")


def compared(known: dict[str, BreakCase], *kinds: Iterator[Finding]) -> Compared:
    found, rest = Compared(), Rest(watched_by(known.values()))
    for kind in kinds:
        found.add(rest.without(kind))
    found.add(rest.findings())
    return found


def written(known: dict[str, BreakCase], found: Compared) -> list[object]:
    """Write what becomes of the cases, and return it."""
    events = case_events(known, found.findings, found.matches, run_id="R", complete=True)
    for event in events:
        match event:
            case BreakOpened() | BreakUpdated():
                known[event.break_id] = BreakCase(
                    break_id=event.break_id,
                    finding=event.finding,
                    status="open",
                    opened_at=START,
                    opened_sequence=1,
                    updated_at=START,
                )
            case BreakClosed():
                known[event.break_id] = known[event.break_id].evolve(status="closed")
    return list(events)


def test_no_more_than_so_many_are_cases_and_the_rest_is_counted_by_account() -> None:
    known: dict[str, BreakCase] = {}
    found = compared(known, extra(1, BREAKS_MAX + MORE), extra(1, 3, "DU2"))
    *listed, one, two = found.findings
    assert len(listed) == BREAKS_MAX
    assert [(f.key, f.account, f.severity, f.theirs, f.evidence) for f in (one, two)] == [
        ("extra_fill:rest of DU1", "DU1", "high", f"and {MORE} more", (BREAKS_MAX + MORE,)),
        ("extra_fill:rest of DU2", "DU2", "high", "and 3 more", (3,)),
    ]
    assert len(written(known, found)) == BREAKS_MAX + 2
    # What is a case stays one, in whichever order it comes, and no more become one.
    reverse = reversed(list(extra(1, BREAKS_MAX + MORE)))
    assert written(known, compared(known, iter(reverse), extra(1, 3, "DU2"))) == []


def test_the_rest_is_written_again_when_it_grows_and_closed_when_it_is_gone() -> None:
    known: dict[str, BreakCase] = {}
    written(known, compared(known, extra(1, BREAKS_MAX + MORE)))
    (grown,) = written(known, compared(known, extra(1, BREAKS_MAX + MORE + 1)))
    assert isinstance(grown, BreakUpdated)
    assert grown.finding.theirs == f"and {MORE + 1} more"
    (gone,) = written(known, compared(known, extra(1, BREAKS_MAX)))
    assert isinstance(gone, BreakClosed)
    assert known[gone.break_id].finding.is_rest


def test_orders_of_others_that_are_only_counted_wait_for_a_person() -> None:
    def foreign() -> Iterator[Finding]:
        for number in range(BREAKS_MAX + 1):
            order = Thing(subject="order", name=f"o{number}", order_id=f"o{number}", account="DU1")
            yield order.broken("unknown_order", "medium", "not ours")

    known: dict[str, BreakCase] = {}
    written(known, compared(known, foreign()))
    assert written(known, compared(known)) == []


@pytest.mark.parametrize(
    ("finding_account", "account", "shuts"),
    [("DU1", "DU1", True), ("DU1", "DU2", False), ("", "DU2", True)],
)
def test_a_grave_rest_shuts_the_whole_account(
    finding_account: str, account: str, shuts: bool
) -> None:
    """It does not say for which contracts, and where it names no account, for which of them."""
    known: dict[str, BreakCase] = {}
    written(known, compared(known, extra(1, BREAKS_MAX + 1, finding_account)))
    (rest,) = [case for case in known.values() if case.finding.is_rest]
    assert rest.shuts_gate
    proposal = Proposal(
        account=account,
        contract=Contract(con_id=999_999, symbol="KO", exchange="SMART", currency="USD"),
        terms=Terms(side="BUY", quantity=Decimal(1), order_type="MKT"),
        rules=None,
        managed_accounts=("DU1", "DU2"),
        system=SystemRecord(),
        open_breaks=(rest,),
    )
    assert (GATE.refuse(proposal, Limits()) is not None) is shuts


def test_what_a_run_repaired_is_listed_so_often_and_then_counted() -> None:
    """A report of a flood is no copy of it; the digest shows which things were meant."""
    found = Compared()
    found.add(
        Thing(subject="order", name=f"o{number}").repaired("unknown_order", "adopted")
        for number in range(SETTLED_MAX + MORE)
    )
    found.add(extra(1, 3))
    listed, counts = found.listed()
    assert [finding.result for finding in listed].count("match") == SETTLED_MAX
    assert len(listed) == SETTLED_MAX + 3
    assert [(one.subject, one.count) for one in counts] == [("order", MORE)]
