"""Breaks, and what becomes of them."""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

from oms.core.events.base import Event
from oms.core.events.reconciliation import Adjustment, Finding

CaseAction = Literal["assign", "explain", "resolve", "adopt", "adjust", "approve"]


class BreakOpened(Event):
    """A difference between our books and the broker's became a case."""

    break_id: str
    run_id: str
    finding: Finding
    #: What the other witness shows of the same difference: the statement beside the answers.
    also: tuple[Finding, ...] = ()
    reopened: bool = False


class BreakUpdated(Event):
    """The same difference was found again, with other values or by another witness."""

    break_id: str
    run_id: str
    finding: Finding
    #: What the other witness shows; a witness that is not named here shows it no more.
    also: tuple[Finding, ...] = ()


class BreakClosed(Event):
    """Evidence made the difference go away, or a person resolved it with a reason."""

    break_id: str
    run_id: str | None = None
    reason: str
    #: The sequence of the evidence, where there is one.
    evidence: tuple[int, ...] = ()
    #: What the person did: resolved it by word, adopted the order, adjusted the books. Empty for a
    #: run.
    how: Literal["", "resolve", "adopt", "adjust"] = ""
    #: The second person, where the case was above the limit for one.
    approved_by: str = ""


class BreakAssigned(Event):
    """Somebody is to look at the case."""

    break_id: str
    assignee: str


class BreakExplained(Event):
    """A person said what the difference is; the case stays open."""

    break_id: str
    text: str


class CaseActionProposed(Event):
    """A person's action waits for a second person: its value is above the limit for one."""

    break_id: str
    action: CaseAction
    reason: str
    adjustment: Adjustment | None = None
    #: None where the value is not known, which counts as above the limit.
    notional: Decimal | None = None
    limit: Decimal


class BooksAdjusted(Event):
    """A position or a cash balance was changed without an execution: by a person with a reason, or
    by a policy of the settings. The envelope's actor says by whom.
    """

    adjustment: Adjustment
    reason: str
    break_id: str = ""
    run_id: str | None = None
    #: Sequences of what shows it.
    evidence: tuple[int, ...] = ()
    approved_by: str = ""
