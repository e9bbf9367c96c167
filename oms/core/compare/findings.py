"""The one place where findings are made: one compared thing, with what both sides say of it.

A finding is a match, a break or an unknown. Its key is its result's name for ever: that of a match
or an unknown is the subject and the thing (`order:A`), that of a break is its class and the thing
(`lost_order:A`), so that a match answers every break about its thing (`cases`). A break that the
broker's answers and its statement show has one key: it is one difference with two witnesses. Class
and severity are checked twice, by the type checker and when the finding is made.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from oms.core.compare.matches import Match, Subject
from oms.core.events import Adjustment, BreakClass, Finding, Severity

#: Who can show a difference: the broker's answers at the gateway, or its statement.
Witness = Literal["answers", "statement"]
#: With it begin the subjects of the statement, and in earlier versions the keys of its breaks.
_STATEMENT: Final = "statement_"
#: What a finding says when asking again can settle it.
MOVED: Final = "it moved while it was being asked for"


@dataclass(frozen=True, slots=True, kw_only=True)
class Thing:
    """One compared thing, and what both sides say of it."""

    subject: Subject
    #: What tells it from others of its subject: an order id, a fill's key, a position's key.
    name: str
    account: str = ""
    con_id: int = 0
    symbol: str = ""
    order_id: str = ""
    ours: str = ""
    theirs: str = ""
    #: Sequences of the events that show it.
    evidence: tuple[int, ...] = ()
    #: What this run did about it.
    repair: str = ""

    def match(self, values: str) -> Match:
        """Return a match of these values, which becomes a finding only where it is shown."""
        return Match(self.subject, self._key, values, self.evidence, self.matched)

    def matched(self, text: str = "") -> Finding:
        """Return that both sides agree."""
        return self._finding("match", self._key, text)

    def repaired(self, break_class: BreakClass, repair: str, text: str = "") -> Finding:
        """Return that both sides agree after a break of this class, which the run repaired."""
        return self._finding("match", self._key, text, break_class=break_class, repair=repair)

    def unknown(self, text: str) -> Finding:
        """Return that it could not be found out, and why."""
        return self._finding("unknown", self._key, text)

    def broken(
        self,
        break_class: BreakClass,
        severity: Severity,
        text: str,
        *,
        proposed: Adjustment | None = None,
    ) -> Finding:
        """Return a difference; `proposed` is what would make both sides equal."""
        return self._finding(
            "break",
            f"{break_class}:{self.name}",
            text,
            break_class=break_class,
            severity=severity,
            proposed=proposed,
        )

    @property
    def _key(self) -> str:
        return f"{self.subject}:{self.name}"

    def _finding(
        self,
        result: Literal["match", "break", "unknown"],
        key: str,
        text: str,
        *,
        break_class: BreakClass | None = None,
        severity: Severity | None = None,
        proposed: Adjustment | None = None,
        repair: str | None = None,
    ) -> Finding:
        return Finding(
            result=result,
            subject=self.subject,
            break_class=break_class,
            severity=severity,
            key=key,
            account=self.account,
            con_id=self.con_id,
            symbol=self.symbol,
            order_id=self.order_id,
            ours=self.ours,
            theirs=self.theirs,
            text=text,
            evidence=self.evidence,
            repair=self.repair if repair is None else repair,
            proposed=proposed,
        )


def accepted_as(finding: Finding, text: str) -> Finding:
    """Return a break as a match that a person's word made; its key stays that of the break, so that
    it settles nothing else.
    """
    return finding.evolve(result="match", text=text)


def caused_by(drift: Finding, proposed: Adjustment, text: str) -> Finding:
    """Return a break with another proposal, and what explains it."""
    return drift.evolve(proposed=proposed, text=text)


def witness_of(finding: Finding) -> Witness:
    """Return who shows a finding."""
    return "statement" if finding.subject.startswith(_STATEMENT) else "answers"


def difference_of(finding: Finding) -> str:
    """Return the key of a break, the same for both witnesses in logs of earlier versions, too."""
    key = finding.key
    return key if finding.break_class is None else key.removeprefix(_STATEMENT)


def values_of(finding: Finding) -> Finding:
    """Return what a finding states, without the messages that showed it and what a run did."""
    return finding.evolve(key=difference_of(finding), evidence=(), repair="", proposed=None)
