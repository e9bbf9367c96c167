"""Every fact the log can hold, and the envelope it is kept in.

A fact is a frozen pydantic model; its class name is its name in the log for ever, and `VERSION` its
shape. Adding a field with a default keeps the version; anything else is a new version with an
upcaster in `codec`. Facts that end in *Received* are broker messages: the envelope beside them
keeps the wire fields verbatim, so a better decoder can read them again.

The facts deliberately do not say which of our orders a broker message belongs to: IB reuses order
ids across sessions, so attribution is a fold over the log (`books`) that can be corrected and
replayed (decision D1).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import ClassVar, Final, Literal, TypeVar, dataclass_transform

from pydantic import AwareDatetime

from oms.core.contracts import Contract
from oms.core.values import Value

Side = Literal["BUY", "SELL"]
Outcome = Literal["complete", "refused", "timed_out", "partial"]
Severity = Literal["high", "medium", "low"]
Verdict = Literal["clean", "broken", "unknown"]
QueryKind = Literal["executions", "open_orders", "completed_orders", "positions", "account_summary"]
Origin = Literal["ours", "manual", "other_client", "previous_session"]
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
CaseAction = Literal["assign", "explain", "resolve", "adopt", "adjust", "approve"]


class Event(Value):
    """A fact in the log."""

    #: The shape of the payload; see the module's docstring.
    VERSION: ClassVar[int] = 1


# ── the daemon and its sessions ──────────────────────────────────────────────────────────────────


class DaemonStarted(Event):
    """A daemon took the lease and loaded the books."""

    program_version: str
    host: str
    process_id: int
    client_id: int
    mode: str
    #: When the log was last written before this start; since then nobody listened to the broker.
    #: None for an empty log.
    last_recorded_at: AwareDatetime | None = None


class DaemonStopped(Event):
    """The daemon went down on purpose."""

    reason: str


class SessionOpened(Event):
    """The handshake with the gateway is done; order ids that follow belong to this session."""

    host: str
    port: int
    client_id: int
    server_version: int
    connection_time: str
    accounts: tuple[str, ...]
    next_broker_order_id: int


class SessionReady(Event):
    """The first reconciliation of the session has ended; orders may leave."""

    run_id: str


class SessionClosed(Event):
    """The connection to the gateway ended. `deliberate` means that we closed it and stay down."""

    reason: str
    deliberate: bool


class ConnectFailed(Event):
    """An attempt to connect failed."""

    attempt: int
    reason: str
    retry_after_seconds: Decimal | None = None


class GapOpened(Event):
    """From here on the broker may know things that we do not (line lost, 1100, 2110, silence)."""

    cause: str


class GapClosed(Event):
    """The line is whole again; what happened meanwhile is asked for by the reconciliation that
    follows.
    """

    cause: str
    opened_sequence: int
    #: True after 1101: subscriptions are gone.
    subscriptions_lost: bool = False


class TradingHaltedByPerson(Event):
    """New orders are denied from here on; cancels pass."""

    reason: str


class HaltInForce(Event):
    """The daemon has taken a halt up: what waited to leave was called back, and from here on no new
    order and no change of one leaves.
    """

    #: Of the halt.
    halt_sequence: int
    #: Orders that were intended and waited for their turn to leave; they are not sent.
    called_back: tuple[str, ...] = ()


class TradingResumed(Event):
    """New orders are allowed again."""

    reason: str


# ── what we want ─────────────────────────────────────────────────────────────────────────────────


class Terms(Value):
    """What an order asks for; tif is always explicit, because a preset in TWS would set it
    otherwise (code 10349).
    """

    side: Side
    quantity: Decimal
    #: IB's spelling. Text and not a closed set: adopted orders can be of any type that IB knows.
    order_type: str
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    tif: str = "DAY"
    outside_rth: bool = False
    oca_group: str = ""
    #: 1 cancel all with block, 2 reduce with block, 3 reduce without block; 0 outside a group.
    oca_type: int = 0
    #: How far a trailing stop stays behind the market: exactly one of the two.
    trail_amount: Decimal | None = None
    trail_percent: Decimal | None = None
    #: Where a trailing stop begins; None lets IB begin at the market.
    trail_stop_price: Decimal | None = None
    #: How far the limit of a trailing stop-limit stays from its stop.
    limit_offset: Decimal | None = None
    #: The end of a GTD order.
    good_till: AwareDatetime | None = None
    all_or_none: bool = False
    #: The least that one fill may have.
    min_quantity: Decimal | None = None
    #: How much of it the book shows.
    display_size: Decimal | None = None
    hidden: bool = False


class OrderRequested(Event):
    """A person asked the running daemon for an order; it qualifies and checks, and then intends or
    denies it.
    """

    order_id: str
    account: str
    contract: Contract
    terms: Terms
    #: Both set for a bracket: one request, three orders.
    take_profit: Decimal | None = None
    stop_loss: Decimal | None = None
    reason: str = ""
    closing: bool = False


class OrderIntended(Event):
    """We are about to send this order. Durable before the first byte leaves."""

    order_id: str
    account: str
    contract: Contract
    terms: Terms
    #: Our order_id of the parent, for the children of a bracket.
    parent_order_id: str | None = None
    #: Orders that were intended in one transaction and belong together.
    group_id: str | None = None
    #: False for all but the last order of a bracket: the gateway holds it until the last one comes.
    transmit: bool = True
    reason: str = ""
    #: Names of the checks that the order passed.
    checks: tuple[str, ...] = ()
    #: It was to take from what the account held and nothing else; so it passed open breaks.
    closing: bool = False


class OrderDenied(Event):
    """Our own check refused the order; nothing was sent."""

    order_id: str
    account: str
    contract: Contract
    terms: Terms
    rule: str
    value: str
    limit: str
    text: str


class ModifyRequested(Event):
    """A person asked the running daemon to change an order."""

    order_id: str
    limit_price: Decimal | None = None
    quantity: Decimal | None = None
    stop_price: Decimal | None = None
    reason: str = ""
    #: None leaves a term as it is.
    trail_amount: Decimal | None = None
    trail_percent: Decimal | None = None
    limit_offset: Decimal | None = None
    tif: str | None = None
    good_till: AwareDatetime | None = None
    outside_rth: bool | None = None
    all_or_none: bool | None = None
    min_quantity: Decimal | None = None
    display_size: Decimal | None = None


class ModifyIntended(Event):
    """We are about to send new terms for an order."""

    order_id: str
    revision: int
    terms: Terms
    reason: str = ""


class ModifyDenied(Event):
    """Our own check refused the change; nothing was sent and the order stays as it is."""

    order_id: str
    text: str
    #: False where it was refused before it was intended: a change that was sent before goes on
    #: waiting for IB.
    intended: bool = True
    #: As in OrderDenied; empty where no rule refused but the state of things.
    rule: str = ""
    value: str = ""
    limit: str = ""


class DoubtResolutionRequested(Event):
    """A person who knows what became of an order in doubt asks the running daemon to write it."""

    order_id: str
    outcome: Literal["not_received", "ended"]
    reason: str


class DoubtResolutionDenied(Event):
    """What a person said about a doubt cannot be; the order stays as it is."""

    order_id: str
    text: str


class WhatIfRequested(Event):
    """A person asked the running daemon what an order would cost; it never becomes one."""

    request_id: str
    account: str
    contract: Contract
    terms: Terms


class WhatIfAnswered(Event):
    """What IB said to a what-if that a person asked for, or why it said nothing."""

    request_id: str
    #: Empty where there is an answer.
    refusal: str = ""
    initial_margin_before: Decimal | None = None
    initial_margin_change: Decimal | None = None
    initial_margin_after: Decimal | None = None
    maintenance_margin_before: Decimal | None = None
    maintenance_margin_change: Decimal | None = None
    maintenance_margin_after: Decimal | None = None
    equity_with_loan_before: Decimal | None = None
    equity_with_loan_change: Decimal | None = None
    equity_with_loan_after: Decimal | None = None
    commission: Decimal | None = None
    commission_min: Decimal | None = None
    commission_max: Decimal | None = None
    commission_currency: str = ""
    warning_text: str = ""


class QuoteRequested(Event):
    """A person asked the running daemon for the market of a contract."""

    request_id: str
    contract: Contract


class QuoteAnswered(Event):
    """What a person who asked for a market was told; None where IB said nothing."""

    request_id: str
    #: Empty where there is an answer.
    refusal: str = ""
    #: As IB knows it.
    contract: Contract | None = None
    bid: Decimal | None = None
    ask: Decimal | None = None
    last: Decimal | None = None
    #: The previous day's closing price.
    close: Decimal | None = None
    bid_size: Decimal | None = None
    ask_size: Decimal | None = None
    #: When it was heard.
    heard_at: AwareDatetime | None = None
    #: live, frozen, delayed or delayed_frozen.
    market_type: str = ""


class CancelRequested(Event):
    """A person asked the running daemon to cancel an order."""

    order_id: str
    reason: str = ""


class CancelIntended(Event):
    """We are about to ask for the order's cancellation."""

    order_id: str
    reason: str = ""


class CancelDenied(Event):
    """The order cannot be cancelled by us: it has ended, or it never left."""

    order_id: str
    text: str


class GlobalCancelRequested(Event):
    """A person asked the running daemon to cancel everything at IB: every order of the login, of
    every client and those that were entered by hand.
    """

    reason: str = ""


class GlobalCancelIntended(Event):
    """We are about to ask IB to cancel everything."""

    reason: str = ""


class GlobalCancelDenied(Event):
    """The global cancel did not leave."""

    text: str


class OrderMessageSent(Event):
    """Bytes of an order message were handed to the socket; whether they arrived is for the broker
    to show.
    """

    #: A what_if is a question in the form of an order: what it would cost.
    kind: Literal["place", "cancel", "global_cancel", "what_if"]
    client_id: int
    broker_order_id: int
    #: What travels in orderRef: our order_id. Empty in a cancel and a what-if.
    order_ref: str = ""


class OrderNotSent(Event):
    """The line was lost before the order's bytes were handed to the socket; the order will not be
    sent.
    """

    order_id: str
    text: str


class OrderDoubted(Event):
    """IB has said nothing at all about an order for too long: whether it has it is not known."""

    order_id: str
    text: str


class DoubtResolved(Event):
    """Evidence, or a person, says what became of an order in doubt."""

    order_id: str
    outcome: Literal["not_received", "ended"]
    text: str
    run_id: str | None = None
    #: Sequences that prove it; for not_received the complete answers that do not name the order.
    evidence: tuple[int, ...] = ()


class OrderAdopted(Event):
    """An order that we did not originate is taken into the books, with its provenance."""

    order_id: str
    origin: Origin
    account: str
    contract: Contract
    terms: Terms
    perm_id: int
    client_id: int
    broker_order_id: int
    order_ref: str
    status: str
    #: True where complete answers show that it has ended: IB lists it among the day's completed
    #: orders, or knows its executions and lists it nowhere.
    ended: bool = False
    #: IB's words for the end, from the completed order.
    completed_status: str = ""
    #: The message that showed it.
    evidence: int
    run_id: str | None = None


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


# ── what the broker said ─────────────────────────────────────────────────────────────────────────


class OrderStatusReceived(Event):
    """orderStatus (3)."""

    broker_order_id: int
    status: str
    filled: Decimal
    remaining: Decimal
    average_fill_price: Decimal | None = None
    perm_id: int
    parent_broker_order_id: int = 0
    last_fill_price: Decimal | None = None
    client_id: int
    why_held: str = ""


class OpenOrderReceived(Event):
    """openOrder (5), the fields that order management needs; the rest is in the wire text."""

    broker_order_id: int
    client_id: int
    perm_id: int
    order_ref: str = ""
    account: str
    contract: Contract
    side: Side
    quantity: Decimal
    order_type: str
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    tif: str
    oca_group: str = ""
    outside_rth: bool = False
    parent_broker_order_id: int = 0
    status: str
    what_if: bool = False
    warning_text: str = ""
    oca_type: int = 0
    trail_amount: Decimal | None = None
    trail_percent: Decimal | None = None
    trail_stop_price: Decimal | None = None
    limit_offset: Decimal | None = None
    #: The instant that `good_till_text` names; None where it names none.
    good_till: AwareDatetime | None = None
    good_till_text: str = ""
    all_or_none: bool = False
    min_quantity: Decimal | None = None
    display_size: Decimal | None = None
    hidden: bool = False


class WhatIfReceived(Event):
    """openOrder (5) in answer to a what-if: what an order would cost. It never is an order.

    None where IB did not say; amounts are in the account's base currency.
    """

    broker_order_id: int
    client_id: int
    account: str
    initial_margin_before: Decimal | None = None
    initial_margin_change: Decimal | None = None
    initial_margin_after: Decimal | None = None
    maintenance_margin_before: Decimal | None = None
    maintenance_margin_change: Decimal | None = None
    maintenance_margin_after: Decimal | None = None
    equity_with_loan_before: Decimal | None = None
    equity_with_loan_change: Decimal | None = None
    equity_with_loan_after: Decimal | None = None
    commission: Decimal | None = None
    commission_min: Decimal | None = None
    commission_max: Decimal | None = None
    commission_currency: str = ""
    warning_text: str = ""


class ExecutionReceived(Event):
    """execDetails (11). The commission is a fact of its own that may come early, late or never."""

    broker_order_id: int
    client_id: int
    perm_id: int
    order_ref: str = ""
    account: str
    contract: Contract
    exec_id: str
    side: Side
    quantity: Decimal
    price: Decimal
    venue: str
    #: IB's own text; the envelope's occurred_at is its meaning, where the text names a zone.
    time_text: str
    cumulative_quantity: Decimal | None = None
    average_price: Decimal | None = None
    liquidation: bool = False
    price_may_change: bool = False
    #: True when it answered reqExecutions, False when it was pushed. Not part of what makes two
    #: deliveries the same.
    fetched: bool = False


class CommissionReceived(Event):
    """commissionReport (59). None where IB wrote that it is not known or does not apply."""

    exec_id: str
    commission: Decimal | None = None
    currency: str
    realised_pnl: Decimal | None = None


class NoticeReceived(Event):
    """errMsg (4): a reject, a warning, a refusal of a request, or news of the line. `codes` says
    which.
    """

    #: IB's id field: a broker order id, a request id, or -1.
    subject_id: int
    code: int
    text: str
    advanced_reject: str = ""


class CompletedOrderReceived(Event):
    """completedOrder (101). IB leaves order id and client id out; orderRef and perm id name it."""

    perm_id: int
    order_ref: str = ""
    account: str
    contract: Contract
    side: Side
    #: Unreliable here: 0 for filled orders in field samples (broker notes: completed orders).
    quantity: Decimal | None = None
    order_type: str
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    tif: str = ""
    status: str
    filled_quantity: Decimal | None = None
    completed_time: str = ""
    completed_status: str = ""


class PositionReceived(Event):
    """position (61): what IB says the account holds."""

    account: str
    contract: Contract
    quantity: Decimal
    #: Per unit, times multiplier, commissions included (broker notes: positions); a hint, never a
    #: ledger input.
    average_cost: Decimal | None = None


class PortfolioReceived(Event):
    """updatePortfolio (7): position with IB's mark and P&L."""

    account: str
    contract: Contract
    quantity: Decimal
    market_price: Decimal | None = None
    market_value: Decimal | None = None
    average_cost: Decimal | None = None
    unrealised_pnl: Decimal | None = None
    realised_pnl: Decimal | None = None


class AccountValueReceived(Event):
    """updateAccountValue (6), accountSummary (63) or accountUpdateMulti (73): one value of an
    account.
    """

    account: str
    key: str
    value: str
    currency: str = ""
    source: Literal["updates", "summary", "multi"]


class NextOrderIdReceived(Event):
    """nextValidId (9)."""

    broker_order_id: int


class ManagedAccountsReceived(Event):
    """managedAccts (15)."""

    accounts: tuple[str, ...]


class OrderBoundReceived(Event):
    """orderBound (100): a manual order got an API id."""

    perm_id: int
    client_id: int
    broker_order_id: int


class AnswerEndReceived(Event):
    """The end marker of a request's answer: without one, what came is not an answer."""

    kind: Literal[
        "open_orders", "executions", "completed_orders", "positions", "account_summary", "account"
    ]
    request_id: int | None = None


class BrokerMessageUnreadable(Event):
    """A message that could not be translated; its wire fields are kept and a break opens."""

    message_id: str
    reason: str


class ProjectionsRebuilt(Event):
    """The stored rows were replaced by a fold of the log; a running daemon loads them again."""

    #: The event up to which the rows were folded.
    up_to_sequence: int
    #: Rows that differed from the log.
    differences: int


class NaturalKeyConflict(Event):
    """A second message claimed the natural key of a stored fact with different contents; both are
    kept.
    """

    key: str
    stored_sequence: int
    type_name: str
    payload: str


# ── asking and comparing ─────────────────────────────────────────────────────────────────────────


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
    #: New units for an old one, where the change is a split: cost is divided, nothing realised.
    ratio: Decimal | None = None
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


class BreakOpened(Event):
    """A difference between our books and the broker's became a case."""

    break_id: str
    run_id: str
    finding: Finding
    reopened: bool = False


class BreakUpdated(Event):
    """The same difference was found again, with other values."""

    break_id: str
    run_id: str
    finding: Finding


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


class CaseRequested(Event):
    """A person asked the running daemon to do something about a case."""

    request_id: str
    break_id: str
    action: CaseAction
    #: The reason, the explanation, or who is to look at it.
    text: str = ""
    cause: Cause | None = None
    #: The person's own figures, where they are not those that the case proposes.
    quantity: Decimal | None = None
    price: Decimal | None = None


class CaseRequestDenied(Event):
    """What a person asked for about a case was not done."""

    request_id: str
    break_id: str
    text: str


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


class ReconciliationRequested(Event):
    """A person asked the running daemon to compare the books with the broker's now."""

    request_id: str
    reason: str = ""
    #: Compare this account only; empty: all.
    account: str = ""


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


class StatementChecked(Event):
    """The broker's statement was compared with our books; each break is a case of its own."""

    run_id: str
    #: sha256 of the file.
    digest: str
    accounts: tuple[str, ...]
    #: The statement's days, YYYY-MM-DD.
    first_day: str
    last_day: str
    verdict: Verdict
    deals: int
    matches: int
    #: What did not match.
    findings: tuple[Finding, ...]


# ── the watchman ─────────────────────────────────────────────────────────────────────────────────


AlarmKind = Literal[
    "order_silent",
    "order_waiting",
    "foreign_order",
    "clock_drift",
    "outage",
    "gap_unrecovered",
    "stale_price",
]


class AlarmRaised(Event):
    """Something has lasted too long; see `core.watch`."""

    #: The same for the same thing, each time that it happens.
    alarm_id: str
    kind: AlarmKind
    #: What it is about: an order, a position, the clock, the line.
    subject: str
    #: Since when it lasts; its age counts from here.
    since: AwareDatetime
    text: str
    account: str = ""
    symbol: str = ""
    order_id: str = ""


class AlarmCleared(Event):
    """What an alarm was raised for is over."""

    alarm_id: str


class ServerTimeRead(Event):
    """How far the gateway's clock is from ours, measured by one question.

    IB tells whole seconds, so the offset is known to half a second and half the round trip.
    """

    server_time: AwareDatetime
    #: The gateway's clock less ours, in milliseconds.
    offset_ms: int
    round_trip_ms: int


EVENT_TYPES: Final[dict[str, type[Event]]] = {
    cls.__name__: cls
    for cls in (
        DaemonStarted,
        DaemonStopped,
        SessionOpened,
        SessionReady,
        SessionClosed,
        ConnectFailed,
        GapOpened,
        GapClosed,
        TradingHaltedByPerson,
        HaltInForce,
        TradingResumed,
        OrderRequested,
        OrderIntended,
        OrderDenied,
        ModifyRequested,
        ModifyIntended,
        ModifyDenied,
        QuoteRequested,
        QuoteAnswered,
        CancelRequested,
        DoubtResolutionRequested,
        DoubtResolutionDenied,
        WhatIfRequested,
        WhatIfAnswered,
        CancelIntended,
        CancelDenied,
        GlobalCancelRequested,
        GlobalCancelIntended,
        GlobalCancelDenied,
        OrderMessageSent,
        OrderNotSent,
        OrderDoubted,
        DoubtResolved,
        OrderAdopted,
        OpeningPositionRecorded,
        OrderStatusReceived,
        OpenOrderReceived,
        WhatIfReceived,
        ExecutionReceived,
        CommissionReceived,
        NoticeReceived,
        CompletedOrderReceived,
        PositionReceived,
        PortfolioReceived,
        AccountValueReceived,
        NextOrderIdReceived,
        ManagedAccountsReceived,
        OrderBoundReceived,
        AnswerEndReceived,
        BrokerMessageUnreadable,
        NaturalKeyConflict,
        ProjectionsRebuilt,
        QueryAsked,
        QueryAnswered,
        BreakOpened,
        BreakUpdated,
        BreakClosed,
        BooksAdjusted,
        CommissionRestated,
        CashOpened,
        CaseRequested,
        CaseRequestDenied,
        BreakAssigned,
        BreakExplained,
        CaseActionProposed,
        ReconciliationRequested,
        ReconciliationStarted,
        ReconciliationCompleted,
        StatementChecked,
        AlarmRaised,
        AlarmCleared,
        ServerTimeRead,
    )
}


_T = TypeVar("_T")


@dataclass_transform(frozen_default=True)
def _value(cls: type[_T]) -> type[_T]:
    """Make a dataclass that is frozen for the type checker and plain at run time.

    Some are made for every event, and the `__init__` of a frozen dataclass costs three times as
    much (1.4 us an envelope instead of 0.5). A strict type check finds every assignment.
    """
    return dataclass(slots=True, unsafe_hash=True)(cls)


@_value
class Context:
    """Who says a fact, in which session, about what: the part of the envelope that the caller
    knows.
    """

    #: "broker", "daemon", "recovery", "strategy:NAME" or "person:NAME"; required, so that "who" is
    #: never unknown.
    actor: str
    #: Number of the connection to the gateway, from 1; 0 outside any session.
    session_epoch: int = 0
    #: The broker's time, aware, where the message names it.
    occurred_at: datetime | None = None
    #: Joins the events of one order, one request or one reconciliation run.
    correlation_id: str | None = None
    #: Sequence of the event that made us say this.
    causation_sequence: int | None = None


@_value
class Pending:
    """A fact on its way into the log."""

    event: Event
    context: Context
    #: The broker message's fields as they stood on the wire; None for facts of our own.
    wire: tuple[str, ...] | None = None


@_value
class Envelope:
    """A fact in the log, with its place in it."""

    #: Index in the whole log, gapless, from 1.
    sequence: int
    event: Event
    context: Context
    #: When the appender wrote it, aware UTC.
    recorded_at: datetime
    #: Epoch of the daemon's lease under which it was written; 0 for a writer without one (the
    #: shell).
    lease_epoch: int = 0
    wire: tuple[str, ...] | None = None
