"""Asking and comparing."""

from __future__ import annotations

from typing import ClassVar, Final, Literal

from oms.core.bounds import (
    ClientId,
    ConId,
    Count,
    Instant,
    Label,
    Money,
    Price,
    Prose,
    Quantity,
    SequenceNumber,
    Total,
    WireInteger,
    Word,
)
from oms.core.contracts import Contract
from oms.core.events.base import Event
from oms.core.ratio import Ratio
from oms.core.values import Value

Outcome = Literal["complete", "refused", "timed_out", "partial"]
#: Begins what a finding is about that counts others. No id of an order has a space.
REST: Final = "rest of "
Severity = Literal["high", "medium", "low"]
Verdict = Literal["clean", "broken", "unknown"]
#: `account` is a subscription to one account's figures, heard to the end of its first answer.
QueryKind = Literal[
    "executions", "open_orders", "completed_orders", "positions", "account_summary", "account"
]
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
    "set_aside",
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

    query_id: Word
    kind: QueryKind
    #: Empty where no run asks.
    run_id: Word
    timeout_seconds: Price
    #: That it is about; empty where it is about all.
    account: Word = ""


class Span(Value):
    """Events that follow one another."""

    first: SequenceNumber
    last: SequenceNumber


class Question(Value):
    """How one question was answered; the proof that a report carries."""

    query_id: Word
    kind: QueryKind
    outcome: Outcome
    code: WireInteger = 0
    text: Prose = ""
    rows: Count = 0
    #: sha256 over the answer's rows in the order in which they came, empty when there is no
    #: complete answer. Where rows repeat, their order is not stored: `set_digest` is the proof.
    digest: Word = ""
    #: Nothing before this instant can be in the answer; None where the answer is about now.
    reaches_back_to: Instant | None = None
    reach: Prose = ""
    asked_at: Instant
    answered_at: Instant
    asked_sequence: SequenceNumber
    #: That it is about; empty where it is about all.
    account: Word = ""
    #: Of the rows, those that were not stored, because the log has them already.
    repeats: Count = 0
    #: What rows are about that the last whole answer to the same question did not have, and that it
    #: had and this one has not. That answer is event `since`; where it is 0, nothing is known of
    #: one, and all that this one has came.
    since: SequenceNumber = 0
    came: tuple[Prose, ...] = ()
    gone: tuple[Prose, ...] = ()
    #: sha256 over the sorted lines of the events that hold the rows, each once; a line is the type,
    #: a space and the payload. Empty when there is no complete answer.
    set_digest: Word = ""
    #: The events that hold the rows: those of the answer `like` (a QueryAnswered; 0 for none),
    #: without those of `left_out`, and those of `taken_in`. An answer of an earlier version has
    #: none of the three: it stored every row, and each names the question as its cause.
    like: SequenceNumber = 0
    taken_in: tuple[Span, ...] = ()
    left_out: tuple[Span, ...] = ()


class QueryAnswered(Event):
    """How the question ended. Only `complete` is an answer; silence is not emptiness."""

    run_id: Word
    question: Question
    #: Others of the same run that were answered before it, and are told with it.
    also: tuple[Question, ...] = ()

    @property
    def questions(self) -> tuple[Question, ...]:
        """Return all that it tells of, in the order in which they were asked."""
        return (*self.also, self.question)


class Adjustment(Value):
    """A change of a position or of a cash balance that no execution made."""

    account: Word
    #: None for cash.
    contract: Contract | None = None
    #: Of the cash; empty for a position.
    currency: Word = ""
    #: What is added, negative for what is taken away: units of the contract, or money.
    quantity: Total
    #: Per unit, in the contract's currency, without multiplier: what the change was worth. None
    #: where it realises nothing: the position's own average stands in.
    price: Money | None = None
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
    subject: Word
    break_class: BreakClass | None = None
    severity: Severity | None = None
    #: Identifies the difference for ever: the same difference found again has the same key.
    key: Prose
    account: Word = ""
    con_id: ConId = 0
    symbol: Word = ""
    order_id: Word = ""
    ours: Prose = ""
    theirs: Prose = ""
    text: Prose = ""
    #: Sequences of the events that show it.
    evidence: tuple[SequenceNumber, ...] = ()
    #: What this run did about it: backfilled, adopted, resolved, opened.
    repair: Word = ""
    #: What would make both sides equal, with its cause where evidence names one. Proposed, not
    #: done: a policy or a person does it.
    proposed: Adjustment | None = None

    @property
    def thing(self) -> str:
        """Return what it is about: an order id, a fill's key, a position's key."""
        return self.key.partition(":")[2]

    @property
    def is_rest(self) -> bool:
        """Say whether it counts what there is too much of to list: it is about a whole account."""
        return self.thing.startswith(REST)


class MatchCount(Value):
    """Things of one kind that agree and that a report counts instead of listing."""

    subject: Word
    count: Count
    #: sha256 over key and values of each, in the order of their keys: who still has the answers
    #: can show that these were the things.
    digest: Word


class ReconciliationStarted(Event):
    """A reconciliation run began."""

    run_id: Word
    trigger: Prose
    #: Of the ReconciliationRequested that it answers, where a person asked.
    request_id: Word = ""


class ReconciliationCompleted(Event):
    """The whole result of a run: questions, findings and verdict, so that it can be shown again
    exactly as it was.
    """

    #: 2: the ratio of an adjustment is two whole numbers, and not their quotient.
    VERSION: ClassVar[int] = 2

    run_id: Word
    trigger: Prose
    request_id: Word = ""
    verdict: Verdict
    started_at: Instant
    finished_at: Instant
    gap_opened_at: Instant | None = None
    server_version: WireInteger = 0
    client_id: ClientId = 0
    accounts: tuple[Word, ...] = ()
    #: The sequence at which our books were compared.
    books_sequence: SequenceNumber
    questions: tuple[Question, ...]
    #: Every break, every unknown and every match that this run repaired, whole; other matches only
    #: where they are few, else `matches` counts them.
    findings: tuple[Finding, ...]
    #: Matches that are not among the findings, by subject.
    matches: tuple[MatchCount, ...] = ()


class StatementCoverage(Value):
    """Which parts of a statement came, of one account: only these were compared."""

    account: Word
    #: Activity, which was cleared, or confirmations, which only name executions.
    kind: Literal["activity", "confirmations"]
    #: The name of the Flex query.
    query: Label = ""
    #: YYYY-MM-DD.
    first_day: Word
    last_day: Word
    #: IB's word for the days, such as LastBusinessDay.
    period: Word = ""
    #: When IB made it, as IB writes it.
    made: Label = ""
    #: The elements of the sections that could be compared.
    sections: tuple[Word, ...] = ()
    #: Those of an activity query that could not.
    missing: tuple[Word, ...] = ()


class StatementChecked(Event):
    """The broker's statement was compared with our books; each break is a case of its own."""

    #: 2: the ratio of an adjustment is two whole numbers, and not their quotient.
    VERSION: ClassVar[int] = 2

    run_id: Word
    #: sha256 of the file.
    digest: Word
    accounts: tuple[Word, ...]
    #: The statement's days, YYYY-MM-DD.
    first_day: Word
    last_day: Word
    #: What came of each account's statement; empty in logs of earlier versions.
    coverage: tuple[StatementCoverage, ...] = ()
    verdict: Verdict
    deals: Count
    matches: Count
    #: What did not match.
    findings: tuple[Finding, ...]


class OpeningPositionRecorded(Event):
    """What the account held before the log knew it; the only position that is not the sum of
    executions.
    """

    account: Word
    contract: Contract
    quantity: Quantity
    average_cost: Money
    evidence: SequenceNumber
    run_id: Word


class CommissionRestated(Event):
    """IB's answer has another commission for an execution than it last reported; the answer counts.

    The report in the answer is the one that the log has had from the first, so it is no new fact of
    the broker's.
    """

    exec_id: Word
    commission: Money
    currency: Word
    realised_pnl: Money | None = None
    #: The report that counts.
    evidence: SequenceNumber
    run_id: Word


class CashOpened(Event):
    """The first balance that IB named for an account and currency: from here on its changes are
    compared with what fills, commissions and adjustments explain.
    """

    account: Word
    currency: Word
    amount: Money
    #: What our books had explained by then.
    explained: Money
    evidence: SequenceNumber
    run_id: Word
