"""Things that agree: cheap to state in their thousands, listed only where they are few.

A report has to say that ten thousand orders agree, and the log keeps every report for ever. So a
match is its key and the values that were found equal; it becomes a finding where it is shown, and a
count with a digest where there are more than anybody reads.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple, cast

from oms.core.events import Finding, MatchCount

#: What can be compared.
Subject = Literal[
    "order",
    "execution",
    "position",
    "cost",
    "commission",
    "cash",
    "account",
    "message",
    "question",
    "statement_days",
    "statement_section",
    "statement_row",
    "statement_deal",
    "statement_position",
    "statement_cash",
]
#: Matches that a report lists; where there are more, it counts them.
LISTED_MAX: Final = 100
#: Things of one subject that a report lists because the run repaired them, or a person's word
#: settled them; where there are more, it counts those.
SETTLED_MAX: Final = 1_000


class Match(NamedTuple):
    """One thing that both sides hold the same."""

    subject: Subject
    key: str
    #: What was found equal, as the digest has it.
    values: str
    evidence: tuple[int, ...]
    #: Makes the finding that a report shows.
    draw: Callable[[], Finding]


@dataclass(slots=True)
class Compared:
    """What a comparison found."""

    #: Breaks, unknowns and what was repaired, in the order of comparison.
    findings: list[Finding] = field(default_factory=list)
    matches: dict[str, Match] = field(default_factory=dict)

    def add(self, items: Iterable[Finding | Match]) -> None:
        """Take what one part of the comparison found."""
        for item in items:
            if isinstance(item, Match):
                self.matches[item.key] = item
            else:
                self.findings.append(item)

    def listed(self) -> tuple[list[Finding], tuple[MatchCount, ...]]:
        """Return what a report lists, and the counts of what it does not."""
        listed: list[Finding] = []
        counted: list[Match] = []
        settled: Counter[str] = Counter()
        for finding in self.findings:
            settled[finding.subject] += finding.result == "match"
            if finding.result == "match" and settled[finding.subject] > SETTLED_MAX:
                counted.append(_as_match(finding))
            else:
                listed.append(finding)
        if len(self.matches) <= LISTED_MAX:
            listed += [m.draw() for m in self.matches.values()]
        else:
            counted += self.matches.values()
        return listed, counted_by_subject(counted)


def _as_match(finding: Finding) -> Match:
    values = f"{finding.repair} {finding.ours} {finding.theirs}"
    subject = cast(Subject, finding.subject)
    return Match(subject, finding.key, values, finding.evidence, lambda: finding)


def counted_by_subject(matches: Iterable[Match]) -> tuple[MatchCount, ...]:
    """Return count and digest of matches, by subject."""
    by_subject: dict[Subject, list[Match]] = {}
    for match in matches:
        by_subject.setdefault(match.subject, []).append(match)
    return tuple(
        MatchCount(subject=subject, count=len(found), digest=_digest(found))
        for subject, found in sorted(by_subject.items())
    )


def _digest(matches: Iterable[Match]) -> str:
    lines = sorted(f"{match.key} {match.values}" for match in matches)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
