"""Breaks, and what becomes of them."""

from __future__ import annotations

from typing import ClassVar, Literal

from oms.core.bounds import Label, Money, Prose, SequenceNumber, Word
from oms.core.events.base import Event
from oms.core.events.reconciliation import Adjustment, Finding

CaseAction = Literal["assign", "explain", "resolve", "adopt", "adjust", "approve"]


class BreakOpened(Event):
    """A difference between our books and the broker's became a case."""

    #: 2: the ratio of an adjustment is two whole numbers, and not their quotient.
    VERSION: ClassVar[int] = 2

    break_id: Word
    run_id: Word
    finding: Finding
    #: What the other witness shows of the same difference: the statement beside the answers.
    also: tuple[Finding, ...] = ()
    reopened: bool = False


class BreakUpdated(Event):
    """The same difference was found again, with other values or by another witness."""

    #: 2: the ratio of an adjustment is two whole numbers, and not their quotient.
    VERSION: ClassVar[int] = 2

    break_id: Word
    run_id: Word
    finding: Finding
    #: What the other witness shows; a witness that is not named here shows it no more.
    also: tuple[Finding, ...] = ()


class BreakClosed(Event):
    """Evidence made the difference go away, or a person resolved it with a reason."""

    break_id: Word
    run_id: Word | None = None
    reason: Prose
    #: The sequence of the evidence, where there is one.
    evidence: tuple[SequenceNumber, ...] = ()
    #: What the person did: resolved it by word, adopted the order, adjusted the books. Empty for a
    #: run.
    how: Literal["", "resolve", "adopt", "adjust"] = ""
    #: The second person, where the case was above the limit for one.
    approved_by: Label = ""


class BreakAssigned(Event):
    """Somebody is to look at the case."""

    break_id: Word
    assignee: Label


class BreakExplained(Event):
    """A person said what the difference is; the case stays open."""

    break_id: Word
    text: Prose


class CaseActionProposed(Event):
    """A person's action waits for a second person: its value is above the limit for one."""

    #: 2: the ratio of an adjustment is two whole numbers, and not their quotient.
    VERSION: ClassVar[int] = 2

    break_id: Word
    action: CaseAction
    reason: Prose
    adjustment: Adjustment | None = None
    #: None where the value is not known, which counts as above the limit.
    notional: Money | None = None
    limit: Money


class BooksAdjusted(Event):
    """A position or a cash balance was changed without an execution: by a person with a reason, or
    by a policy of the settings. The envelope's actor says by whom.
    """

    #: 2: the ratio of an adjustment is two whole numbers, and not their quotient.
    VERSION: ClassVar[int] = 2

    adjustment: Adjustment
    reason: Prose
    break_id: Word = ""
    run_id: Word | None = None
    #: Sequences of what shows it.
    evidence: tuple[SequenceNumber, ...] = ()
    approved_by: Label = ""
