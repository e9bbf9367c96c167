"""Asking and comparing."""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

from pydantic import AwareDatetime

from oms.core.contracts import Contract
from oms.core.events.base import Event
from oms.core.ratio import Ratio
from oms.core.values import Value

Outcome = Literal["complete", "refused", "timed_out", "partial"]
Severity = Literal["high", "medium", "low"]
Verdict = Literal["clean", "broken", "unknown"]
QueryKind = Literal["executions", "open_orders", "completed_orders", "positions", "account_summary"]
BreakClass = Literal[
    "missing_fill",
    "extra_fill",
    "corrected_fill",
    "unknown_order",
    "lost_order",
    "in_doubt",
    "wrong_state",
    "wrong_terms",
    "two_perm_ids",
    "quantity_drift",
    "cost_drift",
    "commission_missing",
    "commission_different",
    "orphan_commission",
    "cash_drift",
    "not_answered",
    "contradiction",
    "unreadable_message",
    "order_id_rollback",
]


#: Why a position or a cash balance changed without an execution. The first seven are of positions,
#: the others of cash; transfer and correction are of both.
Cause = Literal[
    "assignment",
    "exercise",
    "expiry",
    "split",
    "symbol_change",
    "transfer",
    "correction",
    "deposit",
    "withdrawal",
    "dividend",
    "interest",
    "fee",
    "tax",
    "other",
]


class QueryAsked(Event):
    """A question left for the broker."""

    query_id: str
    kind: QueryKind
    run_id: str
    timeout_seconds: Decimal


class Question(Value):
    """How one question was answered; the proof that a report carries."""

    query_id: str
    kind: QueryKind
    outcome: Outcome
    code: int = 0
    text: str = ""
    rows: int = 0
    #: sha256 over the answer's rows as they are stored, empty when there is no complete answer.
    digest: str = ""
    #: Nothing before this instant can be in the answer; None where the answer is about now.
    reaches_back_to: AwareDatetime | None = None
    reach: str = ""
    asked_at: AwareDatetime
    answered_at: AwareDatetime
    asked_sequence: int


class QueryAnswered(Event):
    """How the question ended. Only `complete` is an answer; silence is not emptiness."""

    run_id: str
    question: Question


class Adjustment(Value):
    """A change of a position or of a cash balance that no execution made."""

    account: str
    #: None for cash.
    contract: Contract | None = None
    #: Of the cash; empty for a position.
    currency: str = ""
    #: What is added, negative for what is taken away: units of the contract, or money.
    quantity: Decimal
    #: Per unit, in the contract's currency, without multiplier: what the change was worth. None
    #: where it realises nothing: the position's own average stands in.
    price: Decimal | None = None
    #: New units for old ones, where the change is a split: cost is divided, nothing realised.
    ratio: Ratio | None = None
    #: True where the change moved cash by quantity times price, as an assignment does.
    moves_cash: bool = False
    #: None where nothing explains it.
    cause: Cause | None = None


class Finding(Value):
    """One compared thing: a match, a break, or something we could not find out."""

    result: Literal["match", "break", "unknown"]
    #: What was compared: order, execution, position, commission, message.
    subject: str
    break_class: BreakClass | None = None
    severity: Severity | None = None
    #: Identifies the difference for ever: the same difference found again has the same key.
    key: str
    account: str = ""
    con_id: int = 0
    symbol: str = ""
    order_id: str = ""
    ours: str = ""
    theirs: str = ""
    text: str = ""
    #: Sequences of the events that show it.
    evidence: tuple[int, ...] = ()
    #: What this run did about it: backfilled, adopted, resolved, opened.
    repair: str = ""
    #: What would make both sides equal, with its cause where evidence names one. Proposed, not
    #: done: a policy or a person does it.
    proposed: Adjustment | None = None


class MatchCount(Value):
    """Things of one kind that agree and that a report counts instead of listing."""

    subject: str
    count: int
    #: sha256 over key and values of each, in the order of their keys: who still has the answers
    #: can show that these were the things.
    digest: str


class ReconciliationStarted(Event):
    """A reconciliation run began."""

    run_id: str
    trigger: str
    #: Of the ReconciliationRequested that it answers, where a person asked.
    request_id: str = ""


class ReconciliationCompleted(Event):
    """The whole result of a run: questions, findings and verdict, so that it can be shown again
    exactly as it was.
    """

    run_id: str
    trigger: str
    request_id: str = ""
    verdict: Verdict
    started_at: AwareDatetime
    finished_at: AwareDatetime
    gap_opened_at: AwareDatetime | None = None
    server_version: int = 0
    client_id: int = 0
    accounts: tuple[str, ...] = ()
    #: The sequence at which our books were compared.
    books_sequence: int
    questions: tuple[Question, ...]
    #: Every break, every unknown and every match that this run repaired, whole; other matches only
    #: where they are few, else `matches` counts them.
    findings: tuple[Finding, ...]
    #: Matches that are not among the findings, by subject.
    matches: tuple[MatchCount, ...] = ()


class StatementCoverage(Value):
    """Which parts of a statement came, of one account: only these were compared."""

    account: str
    #: Activity, which was cleared, or confirmations, which only name executions.
    kind: Literal["activity", "confirmations"]
    #: The name of the Flex query.
    query: str = ""
    #: YYYY-MM-DD.
    first_day: str
    last_day: str
    #: IB's word for the days, such as LastBusinessDay.
    period: str = ""
    #: When IB made it, as IB writes it.
    made: str = ""
    #: The elements of the sections that could be compared.
    sections: tuple[str, ...] = ()
    #: Those of an activity query that could not.
    missing: tuple[str, ...] = ()


class StatementChecked(Event):
    """The broker's statement was compared with our books; each break is a case of its own."""

    run_id: str
    #: sha256 of the file.
    digest: str
    accounts: tuple[str, ...]
    #: The statement's days, YYYY-MM-DD.
    first_day: str
    last_day: str
    #: What came of each account's statement; empty in logs of earlier versions.
    coverage: tuple[StatementCoverage, ...] = ()
    verdict: Verdict
    deals: int
    matches: int
    #: What did not match.
    findings: tuple[Finding, ...]


class OpeningPositionRecorded(Event):
    """What the account held before the log knew it; the only position that is not the sum of
    executions.
    """

    account: str
    contract: Contract
    quantity: Decimal
    average_cost: Decimal
    evidence: int
    run_id: str


class CommissionRestated(Event):
    """IB's answer has another commission for an execution than it last reported; the answer counts.

    The report in the answer is the one that the log has had from the first, so it is no new fact of
    the broker's.
    """

    exec_id: str
    commission: Decimal
    currency: str
    realised_pnl: Decimal | None = None
    #: The report that counts.
    evidence: int
    run_id: str


class CashOpened(Event):
    """The first balance that IB named for an account and currency: from here on its changes are
    compared with what fills, commissions and adjustments explain.
    """

    account: str
    currency: str
    amount: Decimal
    #: What our books had explained by then.
    explained: Decimal
    evidence: int
    run_id: str
