"""Questions to the broker, and what their answers are worth.

A question ends in one of four ways, and only the first is an answer (broker notes: answers):

- `complete`: its end marker came, and every row before it could be read;
- `refused`: the gateway said no, or there was no session;
- `partial`: rows came and no end, or the connection was lost half-way, or a row was unreadable;
- `timed_out`: nothing came before the deadline.

Every ending, silence too, is a value and a fact (`QueryAsked`, `QueryAnswered`). The rows are taken
from the tap, so they are in the log already; an answer is returned when all of them are durable,
with the sequence up to which our books must be folded before they are compared with it.

One question of a kind at a time, and one without a request id at all: the gateway refuses those
with the id -1, which names none of them. For the same reason the end of one that was given up may
come during the next; then the next is complete only with an end of its own.

Client 0 has the orders that a person entered in TWS bound before it first asks for open orders in a
session: they get numbers by which it can change and cancel them.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from types import MappingProxyType
from typing import Any, Final, assert_never
from zoneinfo import ZoneInfo

import ib_async

from oms.broker.capture import Asked, Capture, Captured, Cause
from oms.broker.news import News, SessionDown
from oms.broker.paced_requests import PacedRequests
from oms.broker.session import MANUAL_CLIENT_ID, Session
from oms.broker.sink import Durable, Sink
from oms.clock import Clock
from oms.core import codec
from oms.core.answer_rows import (
    LastAnswer,
    Recalled,
    digest_of,
    is_same_order,
    key_of,
    line_of,
    set_digest_of,
    told_by,
)
from oms.core.codes import ENDED_STATUSES, meaning
from oms.core.compare.sides import Row
from oms.core.events import (
    AccountValueReceived,
    AnswerEndReceived,
    BrokerMessageUnreadable,
    CommissionReceived,
    CompletedOrderReceived,
    Context,
    Event,
    ExecutionReceived,
    NoticeReceived,
    OpenOrderReceived,
    OrderStatusReceived,
    Outcome,
    Pending,
    PortfolioReceived,
    PositionReceived,
    QueryAnswered,
    QueryAsked,
    QueryKind,
    Question,
)
from oms.core.resets import meanings

ACTOR: Final = "daemon"
#: ib_async's code for a request without a connection, used for the same thing.
NOT_CONNECTED: Final = 504
ACCOUNT_TAGS: Final = (
    "AccountType,NetLiquidation,TotalCashValue,SettledCash,AccruedCash,BuyingPower,"
    "EquityWithLoanValue,GrossPositionValue,InitMarginReq,MaintMarginReq,AvailableFunds,"
    "ExcessLiquidity,Cushion,DayTradesRemaining,Leverage,$LEDGER:ALL"
)
#: Rows of one answer that are held in memory and compared; where more come, it is no whole answer.
ROWS_MAX: Final = 50_000
#: Kinds of notice that refuse a question which has no id of its own, when they come with -1.
_REFUSES_WITHOUT_ID: Final = frozenset(
    {
        "reject",
        "reject_or_modify_reject",
        "protocol",
        "outcome_unknown",
        "configuration",
        "account",
    }
)
_NEVER_REFUSES: Final = frozenset({"warning", "farm"})
_WITH_REQUEST_ID: Final = frozenset({"executions", "account_summary"})
#: The wire messages that an answer consists of, for those that cannot be read.
_ROW_IDS: Final[Mapping[QueryKind, frozenset[str]]] = MappingProxyType(
    {
        "executions": frozenset({"11", "55"}),
        "open_orders": frozenset({"5", "53"}),
        "completed_orders": frozenset({"101", "102"}),
        "positions": frozenset({"61", "62"}),
        "account_summary": frozenset({"63", "64"}),
        "account": frozenset({"6", "7", "54"}),
    }
)


@dataclass(frozen=True, slots=True)
class Answer:
    """How a question ended, and the rows that came, whether it is an answer or not."""

    question: Question
    rows: tuple[Row[Event], ...]
    #: Our books must have reached this sequence before they are compared with the rows.
    sequence: int


#: Looks a question, and the account that it is about, up in the log.
Recall = Callable[[QueryKind, str], Awaitable[Recalled]]


async def recall_nothing(kind: QueryKind, account: str) -> Recalled:
    """Know of no answer."""
    return Recalled()


@dataclass(frozen=True, slots=True)
class _Found:
    """How a question ended, before it is written down."""

    answer: Answer
    cause: Cause
    #: What each row is about, by the event that holds it.
    about: Mapping[int, str]


@dataclass(slots=True)
class _Open:
    """A question under way."""

    kind: QueryKind
    #: Whose figures are asked for; empty where the question is about all accounts.
    account: str
    cause: Cause
    request_id: int | None
    ended: asyncio.Future[tuple[Outcome, int, str]]
    #: None once there are more than are compared.
    rows: list[tuple[Event, Durable]] | None = field(default_factory=list)
    count: int = 0
    exec_ids: set[str] = field(default_factory=set)
    #: What it has told of so far: what comes once more may have been pushed.
    told: set[str] = field(default_factory=set)
    unreadable: int = 0
    last: Durable | None = None
    #: An earlier question of this kind was given up; the next end may be its end.
    an_end_is_owed: bool = False
    saw_owed_end: bool = False
    #: Asks for our own open orders, which binds those that a person has entered.
    binds: bool = False

    def take(self, event: Event, durable: Durable) -> None:
        """Take a row."""
        self.last = durable
        self.count += 1
        if self.rows is not None:
            self.rows.append((event, durable))
            if self.count > ROWS_MAX:
                self.rows = None
                self.exec_ids.clear()
                self.told.clear()

    def forget_rows(self) -> None:
        """Begin anew: what came belongs to an earlier question."""
        self.rows, self.count = [], 0

    def end(self, outcome: Outcome, code: int = 0, text: str = "") -> None:
        """Take an ending; the first one counts."""
        if not self.ended.done():
            self.ended.set_result((outcome, code, text))


class Queries:
    """Asks the broker, one question of a kind at a time."""

    def __init__(
        self,
        ib: ib_async.IB,
        capture: Capture,
        session: Session,
        sink: Sink,
        clock: Clock,
        *,
        requests: PacedRequests,
        zone: ZoneInfo,
        timeout_seconds: float = 20,
        new_id: Callable[[], str] = lambda: uuid.uuid4().hex,
    ) -> None:
        """`zone` is the gateway's: at its midnight IB forgets the day's executions."""
        self._client: Any = ib.client
        self._capture = capture
        #: What the log has of questions that were asked before this process began.
        self.recall: Recall = recall_nothing
        self._session = session
        self._requests = requests
        self._sink = sink
        self._clock = clock
        self._zone = zone
        self._timeout_seconds = timeout_seconds
        self._new_id = new_id
        self._open: list[_Open] = []
        #: Kinds of which an unanswered question may still be answered late, with its account.
        self._owed: set[tuple[QueryKind, str]] = set()
        #: Held while a question without an id is open: a refusal with the id -1 names no question.
        self._without_id = asyncio.Lock()
        self._turns = {kind: asyncio.Lock() for kind in _WITH_REQUEST_ID}
        #: The last whole answers, None where the log has none.
        self._last: dict[tuple[QueryKind, str], LastAnswer | None] = {}
        #: Where the questions are in the log that are asked again and again in this session.
        self._standing: dict[tuple[QueryKind, str], int] = {}
        #: The last message, where it showed the terms of an order; its status follows.
        self._shown: OpenOrderReceived | None = None
        #: The session in which orders were bound that were entered before it.
        self._bound_in = 0
        capture.listeners.append(self._on_captured)
        capture.askers.append(self._asked)
        session.listeners.append(self._on_news)

    async def ask(
        self, kind: QueryKind, run_id: str = "", *, account: str = "", cause: int | None = None
    ) -> Answer:
        """Ask one question and return how it ended; `account` is whose figures are asked for,
        `cause` the event that made us ask.

        Raises only what the log raises; the broker's silence and its refusals are answers here.
        """
        async with self._turns.get(kind, self._without_id):
            found = await self._ask(kind, run_id, account, cause, stands=kind == "account")
            return (await self._tell(run_id, [found]))[0]

    async def ask_again(self, kinds: Sequence[QueryKind], run_id: str) -> list[Answer]:
        """Ask questions without a request id as often before in this session, and return how each
        ended. They are in the log once a session, and how they ended is one event.
        """
        async with self._without_id:
            found = [await self._ask(kind, run_id, "", None, stands=True) for kind in kinds]
            return await self._tell(run_id, found)

    async def _ask(
        self, kind: QueryKind, run_id: str, account: str, asked_by: int | None, *, stands: bool
    ) -> _Found:
        before = await self._recalled(kind, account)
        query_id = self._new_id()
        # What no run asks for is joined by the question itself.
        joined_by = run_id or query_id
        asked_at = self._clock.now()
        asked = QueryAsked(
            query_id=query_id,
            kind=kind,
            run_id=run_id,
            timeout_seconds=Decimal(str(self._timeout_seconds)),
            account=account,
        )
        asked_sequence = await self._asked_at(asked, Cause(joined_by, asked_by), stands=stands)
        cause = Cause(joined_by, asked_sequence)
        if kind == "open_orders" and self._is_to_bind():
            await self._bind(cause)
        open_ = self._opened(kind, cause, account=account)
        outcome, code, text = await self._await_end(open_)
        came = open_.rows or ()
        receipts = [await durable for _, durable in came]
        rows = tuple(
            Row(event, receipt.sequence) for (event, _), receipt in zip(came, receipts, strict=True)
        )
        last = (await open_.last).sequence if open_.last is not None else asked_sequence
        if outcome == "complete" and open_.unreadable:
            outcome, text = "partial", f"{open_.unreadable} messages could not be read"
        if outcome == "complete" and open_.rows is None:
            outcome = "partial"
            text = f"{open_.count:,} rows came, and no more than {ROWS_MAX:,} are compared"
        is_whole = outcome == "complete"
        lines = [line_of(type(row.event).__name__, codec.encode(row.event)) for row in rows]
        #: By the event that holds the row.
        stored = {
            receipt.sequence: line if receipt.stored is None else line_of(*receipt.stored)
            for receipt, line in zip(receipts, lines, strict=True)
        }
        about = {row.sequence: key_of(row.event) for row in rows}
        reaches_back_to, reach = self._reach(kind, asked_at)
        question = Question(
            query_id=query_id,
            kind=kind,
            outcome=outcome,
            code=code,
            text=text,
            rows=open_.count,
            digest=digest_of(lines) if is_whole else "",
            reaches_back_to=reaches_back_to,
            reach=reach,
            asked_at=asked_at,
            answered_at=self._clock.now(),
            asked_sequence=asked_sequence,
            account=account,
            repeats=sum(receipt.duplicate for receipt in receipts),
            set_digest=set_digest_of(stored.values()) if is_whole else "",
            **told_by(about, before, whole=is_whole)._asdict(),
        )
        reached = max(last, *stored, asked_sequence)
        return _Found(Answer(question, rows, reached), cause, about)

    async def _asked_at(self, asked: QueryAsked, cause: Cause, *, stands: bool) -> int:
        """Return where a question is in the log; one that stands was asked once this session."""
        name = (asked.kind, asked.account)
        if stands and (known := self._standing.get(name)) is not None:
            return known
        sequence: int = (await self._append(asked, cause)).sequence
        if stands and self._session.is_up:
            self._standing[name] = sequence
        return sequence

    async def _tell(self, run_id: str, found: Sequence[_Found]) -> list[Answer]:
        """Write down how questions ended, before the next of the same kinds is asked."""
        *others, last = [one.answer.question for one in found]
        answered = QueryAnswered(run_id=run_id, question=last, also=tuple(others))
        sequence: int = (await self._append(answered, found[-1].cause)).sequence
        for one in found:
            question = one.answer.question
            name = (question.kind, question.account)
            if question.outcome == "complete":
                before = self._last.get(name)
                links = before.links + 1 if before is not None and question.like else 0
                self._last[name] = LastAnswer(sequence, one.about, links)
        return [one.answer for one in found]

    async def _recalled(self, kind: QueryKind, account: str) -> LastAnswer | None:
        """Return the last whole answer; of one before this process began, what the log has."""
        name = (kind, account)
        if name not in self._last:
            recalled = await self.recall(kind, account)
            self._last[name] = recalled.answer
            self._capture.said.learn(recalled.said)
        return self._last[name]

    async def _bind(self, cause: Cause) -> None:
        """Have the orders bound that a person has entered, whose rows come like any others."""
        self._bound_in = self._session.epoch
        outcome, _, _ = await self._await_end(self._opened("open_orders", cause, binds=True))
        if outcome != "complete":
            # A refusal names no request: this one may be answered all the same.
            self._owed.add(("open_orders", ""))

    def _is_to_bind(self) -> bool:
        is_bound = self._bound_in == self._session.epoch
        return self._session.client_id == MANUAL_CLIENT_ID and not is_bound

    def _opened(
        self, kind: QueryKind, cause: Cause, *, account: str = "", binds: bool = False
    ) -> _Open:
        ended: asyncio.Future[tuple[Outcome, int, str]]
        ended = asyncio.get_running_loop().create_future()
        is_owed = (kind, account) in self._owed
        return _Open(kind, account, cause, None, ended, an_end_is_owed=is_owed, binds=binds)

    async def _await_end(self, open_: _Open) -> tuple[Outcome, int, str]:
        if not self._session.is_up:
            return "refused", NOT_CONNECTED, "there is no session with the gateway"
        try:
            await self._requests.ask(lambda: self._send(open_))
            # IB's silence begins when the question has left.
            await asyncio.wait({open_.ended}, timeout=self._timeout_seconds)
            if not open_.ended.done():
                # It may stand behind a flood: what the gateway had sent before now is read first.
                await self._session.hear_out()
            if not open_.ended.done():
                raise TimeoutError
            return open_.ended.result()
        except TimeoutError:
            # Unanswered over two deadlines counts as never answered, or nothing would ever again.
            if open_.request_id is None and not open_.saw_owed_end:
                self._owed.add((open_.kind, open_.account))
            seconds = f"within {self._timeout_seconds:g} seconds"
            if open_.saw_owed_end:
                return "partial", 0, f"one end {seconds}, which may be that of an earlier question"
            if open_.count:
                return "partial", 0, f"{open_.count} rows, but no end {seconds}"
            return "timed_out", 0, f"nothing came {seconds}"
        except ConnectionError:
            return "refused", NOT_CONNECTED, "there is no session with the gateway"
        finally:
            if open_ in self._open:
                self._open.remove(open_)
                self._release(open_)

    def _send(self, open_: _Open) -> None:
        self._open.append(open_)
        client = self._client
        match open_.kind:
            case "executions":
                open_.request_id = client.getReqId()
                client.reqExecutions(open_.request_id, ib_async.ExecutionFilter())
            case "account_summary":
                open_.request_id = client.getReqId()
                client.reqAccountSummary(open_.request_id, "All", ACCOUNT_TAGS)
            case "open_orders" if open_.binds:
                client.reqOpenOrders()
            case "open_orders":
                client.reqAllOpenOrders()
            case "completed_orders":
                client.reqCompletedOrders(False)
            case "positions":
                client.reqPositions()
            case "account":
                client.reqAccountUpdates(True, open_.account)
            case _:
                assert_never(open_.kind)

    def _release(self, open_: _Open) -> None:
        """Give back what the gateway would go on sending, or counts against us (322)."""
        if open_.kind == "positions":
            self._requests.enqueue(self._client.cancelPositions)
        elif open_.kind == "account_summary" and open_.request_id is not None:
            number = open_.request_id
            self._requests.enqueue(lambda: self._client.cancelAccountSummary(number))
        elif open_.kind == "account":
            self._requests.enqueue(lambda: self._client.reqAccountUpdates(False, open_.account))

    def _reach(self, kind: QueryKind, asked_at: datetime) -> tuple[datetime | None, str]:
        match kind:
            case "executions":
                # IB's day is not the log's where a clock was set; of two, the later one is sure.
                local = max(asked_at, self._clock.wall()).astimezone(self._zone)
                midnight = local.replace(hour=0, minute=0, second=0, microsecond=0)
                return max(meanings(midnight)), f"since midnight in {self._zone.key}"
            case "completed_orders":
                return None, f"orders that ended since midnight in {self._zone.key}"
            case "open_orders" | "positions" | "account_summary" | "account":
                return None, "as of now"

    # ── from the tap ─────────────────────────────────────────────────────────────────────────────

    def _asked(self, event: Event, wire: tuple[str, ...]) -> Asked | None:
        """Return the question that a fact answers.

        Where the end of an earlier question may still come, what comes may be that one's.
        """
        for open_ in self._open:
            if not (open_.ended.done() or open_.an_end_is_owed) and _answers(open_, event, wire):
                return Asked(open_.cause, self._is_row(open_, event))
        return None

    def _is_row(self, open_: _Open, event: Event) -> bool:
        """Say whether nothing but the question makes a message come.

        An answer tells of each thing once: what comes a second time may have been pushed. IB pushes
        statuses and open orders in the moment in which it answers, and marks none of them. So a row
        about an order is an open order that has not ended, and the status that follows at once.
        """
        key = key_of(event)
        if open_.binds or open_.rows is None or not key or key in open_.told:
            return False
        match event:
            case OpenOrderReceived(status=status):
                is_row = status not in ENDED_STATUSES
            case OrderStatusReceived():
                is_row = self._shown is not None and is_same_order(self._shown, event)
            case _:
                is_row = True
        if is_row:
            open_.told.add(key)
        return is_row

    def _on_captured(self, captured: Captured) -> None:
        event = captured.event
        self._shown = event if isinstance(event, OpenOrderReceived) else None
        if isinstance(event, AnswerEndReceived) and event.request_id is None:
            self._owed.discard((event.kind, _account_of(event, captured.wire)))
        for open_ in self._open:
            if open_.ended.done():
                continue
            match event:
                case AnswerEndReceived() if _ends(open_, event, captured.wire):
                    _end(open_, captured.durable)
                case NoticeReceived(subject_id=subject, code=code, text=text):
                    if _refuses(open_, subject, code):
                        open_.last = captured.durable
                        open_.end("refused", code, text)
                case BrokerMessageUnreadable(message_id=message_id):
                    if message_id in _ROW_IDS[open_.kind]:
                        open_.unreadable += 1
                        open_.last = captured.durable
                case _ if _belongs(open_, event, captured.wire):
                    open_.take(event, captured.durable)
                case _:
                    pass

    def _on_news(self, news: News) -> None:
        if isinstance(news, SessionDown):
            self._owed.clear()
            self._standing.clear()
            for open_ in self._open:
                text = f"the connection was lost after {open_.count} rows"
                open_.end("partial", 0, text)

    async def _append(self, event: Event, cause: Cause) -> Any:
        context = Context(ACTOR, self._session.epoch, None, *cause)
        return await self._sink.append(Pending(event, context))


def _end(open_: _Open, durable: Durable) -> None:
    open_.last = durable
    if not open_.an_end_is_owed:
        open_.end("complete")
        return
    # Rows before it may belong to the earlier answer, whose first rows we did not keep.
    open_.an_end_is_owed, open_.saw_owed_end = False, True
    open_.forget_rows()


def _answers(open_: _Open, event: Event, wire: tuple[str, ...]) -> bool:
    """Say whether a fact is a row, the end or the refusal of an answer."""
    match event:
        case AnswerEndReceived():
            return _ends(open_, event, wire)
        case NoticeReceived(subject_id=subject, code=code):
            return _refuses(open_, subject, code)
        case BrokerMessageUnreadable(message_id=message_id):
            return message_id in _ROW_IDS[open_.kind]
        case _:
            return _belongs(open_, event, wire)


def _ends(open_: _Open, event: AnswerEndReceived, wire: tuple[str, ...]) -> bool:
    is_of_kind = (event.kind, event.request_id) == (open_.kind, open_.request_id)
    return is_of_kind and _account_of(event, wire) == open_.account


def _account_of(event: AnswerEndReceived, wire: tuple[str, ...]) -> str:
    """Return whose figures an end marker ends; "" for one of another kind."""
    return wire[2] if event.kind == "account" else ""


def _belongs(open_: _Open, event: Event, wire: tuple[str, ...]) -> bool:
    """Say whether a fact is a row of the answer.

    Rows of questions without a request id cannot be told from what was pushed in the same moment;
    both are what the broker says now.
    """
    match open_.kind, event:
        case "executions", ExecutionReceived(exec_id=exec_id):
            if wire[1] != str(open_.request_id):
                return False
            open_.exec_ids.add(exec_id)
            return True
        case "executions", CommissionReceived(exec_id=exec_id):
            return exec_id in open_.exec_ids
        case "open_orders", OpenOrderReceived(what_if=what_if):
            return not what_if
        case "open_orders", OrderStatusReceived():
            return True
        case "completed_orders", CompletedOrderReceived():
            return True
        case "positions", PositionReceived():
            return True
        case "account_summary", AccountValueReceived(source="summary"):
            return wire[2] == str(open_.request_id)
        case "account", AccountValueReceived(source="updates", account=account):
            return account == open_.account
        case "account", PortfolioReceived(account=account):
            return account == open_.account
        case _:
            return False


def _refuses(open_: _Open, subject_id: int, code: int) -> bool:
    kind = meaning(code).kind
    if open_.request_id is not None:
        return subject_id == open_.request_id and kind not in _NEVER_REFUSES
    return subject_id == -1 and open_.kind not in _WITH_REQUEST_ID and kind in _REFUSES_WITHOUT_ID
