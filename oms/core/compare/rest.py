"""Differences that are too many to list: of each class so many are cases, and the rest is one.

A gateway can show any number of things that our books do not have. Each as a case of its own would
be read by nobody, and held in memory and in every report. What is beyond the bound is one case for
its class and account, which counts it; the messages that show it are in the log like any other. A
grave one shuts the gate of the whole account, because it does not say for which contracts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Container, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Final, cast, get_args

from oms.core.compare.findings import Thing
from oms.core.compare.matches import Match, Subject
from oms.core.compare.sides import Beyond
from oms.core.events import REST, BreakClass, Finding

#: Cases of one class that are open at a time; those that are open already stay.
BREAKS_MAX: Final = 1_000


@dataclass(slots=True)
class Rest:
    """Counts the differences of one comparison that are beyond the bound."""

    #: Keys of open cases, and of the matches that would settle them.
    known: Collection[str]
    #: How many more are listed, by class.
    _room: Counter[str] = field(default_factory=Counter)
    _beyond: dict[tuple[str, str, str, str], Beyond] = field(default_factory=dict)

    def __post_init__(self) -> None:
        taken = Counter(key.partition(":")[0] for key in self.known)
        for break_class in get_args(BreakClass):
            self._room[break_class] = BREAKS_MAX - taken[break_class]

    def without(self, items: Iterable[Finding | Match]) -> Iterator[Finding | Match]:
        """Yield what is listed, and count the rest."""
        for item in items:
            if isinstance(item, Match) or item.result != "break" or self._is_listed(item):
                yield item
                continue
            assert item.break_class is not None
            assert item.severity is not None
            self.count(
                Beyond(
                    subject=cast(Subject, item.subject),
                    break_class=item.break_class,
                    severity=item.severity,
                    account=item.account,
                    count=1,
                    last_sequence=max(item.evidence, default=0),
                )
            )

    def _is_listed(self, item: Finding) -> bool:
        if item.key in self.known:
            return True
        self._room[item.break_class or ""] -= 1
        return self._room[item.break_class or ""] >= 0

    def count(self, more: Beyond) -> None:
        """Count some that are not listed."""
        kind = (more.subject, more.break_class, more.severity, more.account)
        before = self._beyond.get(kind)
        if before is not None:
            more = replace(
                more,
                count=before.count + more.count,
                last_sequence=max(before.last_sequence, more.last_sequence),
            )
        self._beyond[kind] = more

    def accounts(self, classes: Container[BreakClass | None]) -> set[str]:
        """Return the accounts of what was counted, of some classes."""
        return {one.account for one in self._beyond.values() if one.break_class in classes}

    def findings(self) -> Iterator[Finding | Match]:
        """Yield one difference for what was counted, and that what was counted before is gone."""
        shown: set[str] = set()
        for one in self._beyond.values():
            thing = Thing(
                subject=one.subject,
                name=f"{REST}{one.account or 'all accounts'}",
                account=one.account,
                theirs=f"and {one.count:,} more",
                evidence=(one.last_sequence,) if one.last_sequence else (),
            )
            shown.add(f"{thing.subject}:{thing.name}")
            text = (
                f"more than {BREAKS_MAX:,} differences are of this kind, and these have no case of"
                " their own; what shows each is in the log"
            )
            yield thing.broken(one.break_class, one.severity, text)
        for key in sorted(self.known):
            subject, _, name = key.partition(":")
            if name.startswith(REST) and subject in get_args(Subject) and key not in shown:
                yield Thing(subject=cast(Subject, subject), name=name).match("none more")
