"""Things that agree: cheap to state in their thousands, listed only where they are few.

A report has to say that ten thousand orders agree, and the log keeps every report for ever. So a
match is its key and the values that were found equal; it becomes a finding where it is shown, and a
count with a digest where there are more than anybody reads.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple

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
        if len(self.matches) <= LISTED_MAX:
            return [*self.findings, *(m.draw() for m in self.matches.values())], ()
        return list(self.findings), counted_by_subject(self.matches.values())


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
