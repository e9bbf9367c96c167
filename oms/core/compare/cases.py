"""From findings to cases: what a reconciliation run opens, updates and closes (decision D12).

A finding is what one run saw; a case is the difference itself, with a number that it keeps for
ever. A break's key is its class and the thing that it is about (`lost_order:ORDER`), a match's key
is its subject and the same thing (`order:ORDER`), so a match answers every break about its thing.
The rules:

- a difference opens once, and is written again only when its values have changed;
- a run closes a case only by evidence: every question was answered whole and the thing matched;
  that nobody mentioned the thing closes nothing;
- the same difference found again later reopens the same case;
- a case that a person closed stays closed until the values of its finding change, and what no
  answer can settle (a message that could not be read, two permanent numbers) only a person closes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Final

from oms.core.compare.findings import accepted_as, values_of
from oms.core.compare.matches import Match
from oms.core.events import BreakClosed, BreakOpened, BreakUpdated, Finding
from oms.core.fold.records import BreakCase

#: What no answer of the broker's can settle.
_BY_A_PERSON: Final = frozenset({"message"})


def break_id_of(finding: Finding) -> str:
    """Return the number of the case that a finding belongs to: the same for the same key."""
    return f"B{hashlib.sha256(finding.key.encode()).hexdigest()[:8]}"


def thing_of(finding: Finding) -> str:
    """Return what a finding is about: an order id, a fill's key, a position's key."""
    return finding.key.partition(":")[2]


def settled_by(finding: Finding) -> str:
    """Return the key of the match that settles a break; "" where no answer can."""
    return "" if finding.subject in _BY_A_PERSON else f"{finding.subject}:{thing_of(finding)}"


def same_difference(one: Finding, other: Finding) -> bool:
    """Say whether two findings state the same, whichever messages showed it."""
    return values_of(one) == values_of(other)


def case_events(
    cases: Mapping[str, BreakCase],
    findings: Iterable[Finding],
    matches: Mapping[str, Match],
    *,
    run_id: str,
    complete: bool,
) -> list[BreakOpened | BreakUpdated | BreakClosed]:
    """Return what a run writes about cases, in the order of its findings; closings come last.

    `cases` are all that are known, by number, `matches` what agrees, by key. `complete` says that
    every question of the run was answered whole; only then can the run close anything. A second run
    with the same findings returns nothing.
    """
    found = list(findings)
    breaks = {break_id_of(f): f for f in found if f.result == "break"}
    written: list[BreakOpened | BreakUpdated | BreakClosed] = []
    for break_id, finding in breaks.items():
        case = cases.get(break_id)
        if case is None:
            written.append(BreakOpened(break_id=break_id, run_id=run_id, finding=finding))
        elif case.status == "open":
            if not same_difference(case.finding, finding):
                written.append(BreakUpdated(break_id=break_id, run_id=run_id, finding=finding))
        elif not (case.closed_by_person and same_difference(case.finding, finding)):
            written.append(
                BreakOpened(break_id=break_id, run_id=run_id, finding=finding, reopened=True)
            )
    if not complete:
        return written
    repaired = {f.key: f for f in found if f.result == "match"}
    for break_id, case in cases.items():
        if case.status != "open" or break_id in breaks:
            continue
        key = settled_by(case.finding)
        match = repaired.get(key) or (matches[key].draw() if key in matches else None)
        if match is not None:
            written.append(_closed(break_id, run_id, match))
    return written


def watched_by(cases: Iterable[BreakCase]) -> frozenset[str]:
    """Return the keys of the open ones of some cases, and of the matches that would settle them."""
    keys: set[str] = set()
    for case in cases:
        if case.status == "open":
            keys |= {case.finding.key, settled_by(case.finding)}
    return frozenset(keys) - {""}


def accepted(cases: Mapping[str, BreakCase], findings: Iterable[Finding]) -> list[Finding]:
    """Return the findings with those breaks turned into matches that a person has closed.

    A person's word holds while the difference is the one that it was given about; the report shows
    it as settled, with the reason, so that a known foreign order does not keep every later verdict
    broken.
    """
    return [_settled(cases.get(break_id_of(f)), f) for f in findings]


def unsettled(cases: Mapping[str, BreakCase], findings: Iterable[Finding]) -> list[Finding]:
    """Return what is neither in agreement nor known: an open case is known until its values
    change.
    """
    return [
        finding
        for finding in accepted(cases, findings)
        if finding.result != "match" and not _is_known(cases.get(break_id_of(finding)), finding)
    ]


def _is_known(case: BreakCase | None, finding: Finding) -> bool:
    return case is not None and case.live and same_difference(case.finding, finding)


def _settled(case: BreakCase | None, finding: Finding) -> Finding:
    if finding.result != "break" or case is None or case.status != "closed":
        return finding
    if not (case.closed_by_person and same_difference(case.finding, finding)):
        return finding
    text = f"a person closed {case.break_id}: {case.close_reason}"
    return accepted_as(finding, text)


def _closed(break_id: str, run_id: str, match: Finding) -> BreakClosed:
    seen = " and ".join(w for w in (match.ours, match.theirs) if w)
    reason = f"the answers agree with our books: {seen}" if seen else "the answers agree"
    return BreakClosed(break_id=break_id, run_id=run_id, reason=reason, evidence=match.evidence)
