"""From findings to cases: what a comparison opens, updates and closes (decision D12).

A finding is what one comparison saw; a case is the difference itself, with a number that it keeps
for ever. A break's key is its class and the thing that it is about (`lost_order:ORDER`), a match's
key is its subject and the same thing (`order:ORDER`), so a match answers every break about its
thing. A difference can have two witnesses, the broker's answers and its statement: both have the
same key, and the case keeps what each of them says. The rules:

- a difference opens once, and is written again only when its values have changed;
- evidence closes a case: every question was answered whole and the thing matched; that nobody
  mentioned the thing closes nothing, and what one witness showed only that witness takes back;
- the same difference found again later reopens the same case;
- a case that a person closed stays closed until the values of its finding change, and what no
  answer can settle (a message that could not be read, two permanent numbers, an order that is not
  ours) only a person closes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final

from oms.core.compare.findings import (
    MOVED,
    accepted_as,
    difference_of,
    values_of,
    witness_of,
)
from oms.core.compare.matches import Match, Subject
from oms.core.events import BreakClass, BreakClosed, BreakOpened, BreakUpdated, Finding
from oms.core.fold.records import BreakCase

#: What no answer of the broker's can settle.
_BY_A_PERSON: Final = frozenset({"message"})
#: What our books lack by a statement is settled by answers, too, once our books have it.
_LACKING: Final[Mapping[BreakClass | None, Subject]] = MappingProxyType(
    {"missing_fill": "execution", "commission_missing": "commission"}
)


def break_id_of(finding: Finding) -> str:
    """Return the number of the case that a finding belongs to: the same for the same difference."""
    return _number_of(difference_of(finding))


def break_ids_of(finding: Finding) -> tuple[str, str]:
    """Return that number, and the one that earlier versions gave what a statement showed: a log of
    theirs can have two cases for one difference.
    """
    difference = difference_of(finding)
    return _number_of(difference), _number_of(f"statement_{difference}")


def _number_of(key: str) -> str:
    return f"B{hashlib.sha256(key.encode()).hexdigest()[:8]}"


def settled_by(finding: Finding) -> tuple[str, ...]:
    """Return the keys of the matches that settle a break; none where no answer can.

    Who sent an order that is not ours, no answer says, and its end is no reason to forget it.
    """
    is_adopted = (bool(finding.order_id) or finding.is_rest) and finding.subject == "order"
    is_foreign = is_adopted and finding.break_class == "unknown_order"
    if finding.subject in _BY_A_PERSON or is_foreign:
        return ()
    thing = finding.thing
    keys = (f"{finding.subject}:{thing}",)
    lacking = _LACKING.get(finding.break_class) if finding.subject == "statement_deal" else None
    return keys if lacking is None else (*keys, f"{lacking}:{thing}")


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
    """Return what a comparison writes about cases, in the order of its findings; closings come
    last.

    `cases` are all that are known, by number, `matches` what agrees, by key. `complete` says that
    every question of the run was answered whole; only then can the run close anything. A second run
    with the same findings returns nothing.
    """
    found = list(findings)
    breaks = {break_id_of(f): f for f in found if f.result == "break"}
    written: list[BreakOpened | BreakUpdated | BreakClosed] = []
    joined: list[BreakClosed] = []
    for break_id, finding in breaks.items():
        case, earlier = (cases.get(number) for number in break_ids_of(finding))
        known = [one for one in (case, earlier) if one is not None]
        shown = _evidence(finding, known)
        if case is not None and case.live:
            if not _same_evidence(case.findings, shown):
                written.append(_updated(break_id, run_id, shown))
        elif not any(_is_word_about(one, finding) for one in known):
            written.append(
                BreakOpened(
                    break_id=break_id,
                    run_id=run_id,
                    finding=shown[0],
                    also=shown[1:],
                    reopened=case is not None,
                )
            )
        if earlier is not None and earlier.live:
            reason = f"the same difference is break {break_id}"
            joined.append(BreakClosed(break_id=earlier.break_id, run_id=run_id, reason=reason))
    if complete:
        gone = {one.break_id for one in joined}
        settled = {f.key: f for f in found if f.result == "match"}
        for break_id, case in cases.items():
            if case.live and break_id not in breaks and break_id not in gone:
                written += _answered(case, settled, matches, run_id)
    return [*written, *joined]


def _evidence(finding: Finding, known: Iterable[BreakCase]) -> tuple[Finding, ...]:
    """Return a finding with what the other witness shows in open cases; answers come first, for
    they propose what would make both sides equal.
    """
    others = [
        other
        for case in known
        if case.live
        for other in case.findings
        if witness_of(other) != witness_of(finding)
    ]
    return tuple(sorted([finding, *others[:1]], key=witness_of))


def _same_evidence(before: tuple[Finding, ...], now: tuple[Finding, ...]) -> bool:
    return len(before) == len(now) and all(map(same_difference, before, now))


def _answered(
    case: BreakCase, settled: Mapping[str, Finding], matches: Mapping[str, Match], run_id: str
) -> list[BreakUpdated | BreakClosed]:
    """Return what becomes of an open case whose difference was not found: what each witness showed
    falls with a match about the same thing.
    """
    left: list[Finding] = []
    match: Finding | None = None
    for finding in case.findings:
        keys = settled_by(finding)
        answer = next((settled[key] for key in keys if key in settled), None)
        answer = answer or next((matches[key].draw() for key in keys if key in matches), None)
        match = answer or match
        if answer is None:
            left.append(finding)
    if match is None:
        return []
    if left:
        return [_updated(case.break_id, run_id, tuple(left))]
    return [_closed(case.break_id, run_id, match)]


def _updated(break_id: str, run_id: str, shown: tuple[Finding, ...]) -> BreakUpdated:
    return BreakUpdated(break_id=break_id, run_id=run_id, finding=shown[0], also=shown[1:])


def watched_by(cases: Iterable[BreakCase]) -> frozenset[str]:
    """Return the keys of the open ones of some cases, and of the matches that would settle them."""
    keys: set[str] = set()
    for case in cases:
        if case.status == "open":
            for finding in case.findings:
                keys |= {difference_of(finding), *settled_by(finding)}
    return frozenset(keys)


def accepted(cases: Mapping[str, BreakCase], findings: Iterable[Finding]) -> list[Finding]:
    """Return the findings with those breaks turned into matches that a person has closed.

    A person's word holds while the difference is the one that it was given about; the report shows
    it as settled, with the reason, so that a known foreign order does not keep every later verdict
    broken.
    """
    return [_settled(cases, f) for f in findings]


def unsettled(
    cases: Mapping[str, BreakCase],
    findings: Iterable[Finding],
    reported: Iterable[Finding] = (),
) -> list[Finding]:
    """Return what is neither in agreement nor known: an open case is known until its values
    change, and so is what the last full run `reported` and could not find out.

    Whoever asks less than a full run cannot judge a difference that such a run has judged: with the
    same values it is the same one.
    """
    judged = [f for case in cases.values() if case.live for f in case.findings]
    judged += [f for f in reported if f.result != "match" and f.text != MOVED]
    said = {_said_of(finding) for finding in judged}
    return [
        finding
        for finding in accepted(cases, findings)
        if finding.result != "match"
        and not _is_known(cases.get(break_id_of(finding)), finding)
        and not (finding.result == "unknown" and _said_of(finding) in said)
    ]


def _said_of(finding: Finding) -> tuple[str, str, str, str]:
    """Return what a finding is about, and what both sides say of it, however it was judged."""
    return finding.subject, finding.thing, finding.ours, finding.theirs


def _is_known(case: BreakCase | None, finding: Finding) -> bool:
    return case is not None and case.live and _shows(case, finding)


def _shows(case: BreakCase, finding: Finding) -> bool:
    return any(same_difference(one, finding) for one in case.findings)


def _is_word_about(case: BreakCase, finding: Finding) -> bool:
    """Say whether a person closed a case as this finding has it, whichever witness shows it."""
    if case.live or not case.closed_by_person:
        return False
    values = (finding.ours, finding.theirs)
    return _shows(case, finding) or any(values == (f.ours, f.theirs) for f in case.findings)


def _settled(cases: Mapping[str, BreakCase], finding: Finding) -> Finding:
    if finding.result != "break":
        return finding
    known = [cases[number] for number in break_ids_of(finding) if number in cases]
    if known and known[0].break_id == break_id_of(finding) and known[0].live:
        return finding
    word = next((case for case in known if _is_word_about(case, finding)), None)
    if word is None:
        return finding
    return accepted_as(finding, f"a person closed {word.break_id}: {word.close_reason}")


def _closed(break_id: str, run_id: str, match: Finding) -> BreakClosed:
    seen = " and ".join(w for w in (match.ours, match.theirs) if w)
    reason = f"the answers agree with our books: {seen}" if seen else "the answers agree"
    return BreakClosed(break_id=break_id, run_id=run_id, reason=reason, evidence=match.evidence)
