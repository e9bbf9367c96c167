"""The records of runs, breaks, and what must not be passed over."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar, Literal

from oms.core.events import Adjustment, CaseActionProposed, Finding, Severity
from oms.core.fold.records.row import Column, ColumnType, Evolving


class RunRecord(Evolving):
    """One reconciliation run; the whole report is the event at `sequence`."""

    COLUMNS: ClassVar[dict[str, ColumnType]] = {"verdict": "text", "sequence": "integer"}

    run_id: str
    trigger: str
    started_at: datetime
    finished_at: datetime | None = None
    #: Empty while the run is under way.
    verdict: str = ""
    matches: int = 0
    breaks: int = 0
    unknowns: int = 0
    #: Of the ReconciliationCompleted event; 0 while under way.
    sequence: int = 0

    @property
    def key(self) -> str:
        """Return the run's id."""
        return self.run_id

    @property
    def live(self) -> bool:
        """Say whether it is under way."""
        return self.finished_at is None

    def columns(self) -> dict[str, Column]:
        """Return the values that readers search by."""
        return {"verdict": self.verdict, "sequence": self.sequence}


class BreakCase(Evolving):
    """A difference between our books and the broker's, as a case with a life of its own."""

    COLUMNS: ClassVar[dict[str, ColumnType]] = {
        "status": "text",
        "account": "text",
        "con_id": "integer",
        "order_id": "text",
        "severity": "text",
        "finding_key": "text",
    }

    break_id: str
    finding: Finding
    status: Literal["open", "closed"]
    opened_at: datetime
    opened_sequence: int
    updated_at: datetime
    seen: int = 1
    reopened: int = 0
    closed_at: datetime | None = None
    close_reason: str = ""
    #: A person's word stands until the finding's values change; a run's yields to the next run.
    closed_by_person: bool = False
    #: Who is to look at it.
    assignee: str = ""
    #: What the other witness shows of it: the statement beside the broker's answers.
    also: tuple[Finding, ...] = ()
    #: What a person said that it is, and who said it.
    explanation: str = ""
    explained_by: str = ""
    #: The action that waits for a second person, and who asked for it; empty where none waits.
    waiting: CaseActionProposed | None = None
    waiting_actor: str = ""

    @property
    def key(self) -> str:
        """Return the number of the case."""
        return self.break_id

    @property
    def live(self) -> bool:
        """Say whether it is open."""
        return self.status == "open"

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Return what each witness shows."""
        return (self.finding, *self.also)

    @property
    def proposed(self) -> Adjustment | None:
        """Return what would make both sides equal, where a witness says."""
        return next((f.proposed for f in self.findings if f.proposed is not None), None)

    @property
    def shuts_gate(self) -> bool:
        """Say whether new orders in its account and contract are refused."""
        if not self.live or self.finding.severity != "high":
            return False
        return bool(self.finding.con_id) or self.finding.is_rest

    def columns(self) -> dict[str, Column]:
        """Return the values that readers search by."""
        return {
            "status": self.status,
            "account": self.finding.account,
            "con_id": self.finding.con_id,
            "order_id": self.finding.order_id,
            "severity": self.finding.severity or "",
            "finding_key": self.finding.key,
        }


AnomalyKind = Literal[
    "unreadable_message", "set_aside", "contradiction", "two_perm_ids", "order_id_rollback"
]


class Anomaly(Evolving):
    """Something in the log that must not be passed over: the reconciler turns each open one into a
    break.
    """

    COLUMNS: ClassVar[dict[str, ColumnType]] = {"kind": "text", "order_id": "text"}

    sequence: int
    kind: AnomalyKind
    text: str
    order_id: str = ""
    account: str = ""
    con_id: int = 0
    symbol: str = ""
    severity: Severity = "high"
    #: What it has in common with later ones, which are counted here and open no case of their own;
    #: empty where each stands for itself.
    about: str = ""
    times: int = 1
    #: Of the last event that is counted; 0 for one alone.
    last_sequence: int = 0
    #: True once a person has closed its break: no answer of IB can.
    closed: bool = False

    @property
    def key(self) -> str:
        """Return the sequence of the event that showed it."""
        return str(self.sequence)

    @property
    def live(self) -> bool:
        """Say whether it still has to be shown."""
        return not self.closed

    @property
    def shown(self) -> str:
        """Return the text with how often it came."""
        if self.times == 1:
            return self.text
        return f"{self.text} ({self.times:,} times, the last is event {self.last_sequence})"

    def columns(self) -> dict[str, Column]:
        """Return the values that readers search by."""
        return {"kind": self.kind, "order_id": self.order_id}
