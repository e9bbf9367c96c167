"""The two sides of a reconciliation run: our books, the broker's answers, and who asks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final, Generic, NamedTuple, TypeVar, assert_never

from oms.core.compare.matches import Subject
from oms.core.events import (
    AccountValueReceived,
    BreakClass,
    CommissionReceived,
    CompletedOrderReceived,
    Event,
    ExecutionReceived,
    OpenOrderReceived,
    PositionReceived,
    QueryKind,
    Question,
    Severity,
)
from oms.core.fold.records import Anomaly, EarlyCommission, Fill, Order, Position

#: The three places where IB can name an order; all must answer before silence means anything.
ORDER_QUESTIONS: Final[tuple[QueryKind, ...]] = (
    "open_orders",
    "completed_orders",
    "executions",
)
E_co = TypeVar("E_co", bound=Event, covariant=True)
_E = TypeVar("_E", bound=Event)


@dataclass(frozen=True, slots=True)
class Row(Generic[E_co]):
    """One row of an answer and the sequence under which it is in the log (the stored one, for a
    repeat).
    """

    event: E_co
    sequence: int


#: A row that names an order.
OrderRow = Row[OpenOrderReceived] | Row[CompletedOrderReceived] | Row[ExecutionReceived]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """How every question of a run was answered, and the rows of the answers, whole or not."""

    questions: Mapping[QueryKind, Question] = field(default_factory=dict)
    open_orders: tuple[Row[OpenOrderReceived], ...] = ()
    completed_orders: tuple[Row[CompletedOrderReceived], ...] = ()
    executions: tuple[Row[ExecutionReceived], ...] = ()
    #: Commission reports that came with the executions.
    commissions: tuple[Row[CommissionReceived], ...] = ()
    positions: tuple[Row[PositionReceived], ...] = ()
    account_summary: tuple[Row[AccountValueReceived], ...] = ()

    def complete(self, *kinds: QueryKind) -> bool:
        """Say whether all of these questions were answered whole."""
        return all(k in self.questions and self.questions[k].outcome == "complete" for k in kinds)

    def order_rows(self) -> Iterator[OrderRow]:
        """Yield every row that names an order."""
        yield from self.open_orders
        yield from self.completed_orders
        yield from self.executions

    def with_answer(self, question: Question, rows: Iterable[Row[Event]]) -> Answers:
        """Return the answers with one to this question, in the place of an earlier one.

        What comes between the rows that are compared (the status of an open order) is in the log
        and in the books.
        """
        came = tuple(rows)
        new = replace(self, questions={**self.questions, question.kind: question})
        match question.kind:
            case "open_orders":
                return replace(new, open_orders=_rows(OpenOrderReceived, came))
            case "completed_orders":
                return replace(new, completed_orders=_rows(CompletedOrderReceived, came))
            case "executions":
                return replace(
                    new,
                    executions=_rows(ExecutionReceived, came),
                    commissions=_rows(CommissionReceived, came),
                )
            case "positions":
                return replace(new, positions=_rows(PositionReceived, came))
            case "account_summary":
                return replace(new, account_summary=_rows(AccountValueReceived, came))
            case "account":
                return new  # figures are no proof of anything
            case _:
                assert_never(question.kind)


def _rows(kind: type[_E], rows: Iterable[Row[Event]]) -> tuple[Row[_E], ...]:
    return tuple(Row(row.event, row.sequence) for row in rows if isinstance(row.event, kind))


@dataclass(frozen=True, slots=True)
class ExplainedCash:
    """What fills, commissions and adjustments have done to cash, by account and currency."""

    amounts: Mapping[str, Decimal] = field(default_factory=dict)
    #: Why it does not follow from them, where it does not.
    unknown: Mapping[str, str] = field(default_factory=dict)
    #: Where it did not follow from them at some time, so that a first balance can be an old one.
    clouded: frozenset[str] = frozenset()
    #: When an execution last moved it.
    moved_at: Mapping[str, datetime] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Beyond:
    """Differences of one kind in one account that are too many to be listed."""

    subject: Subject
    break_class: BreakClass
    severity: Severity
    account: str
    count: int
    #: Of the last event that shows one.
    last_sequence: int


class Premiums(NamedTuple):
    """What exercised, assigned and worthless options of one underlying have realised."""

    lost: Decimal
    gained: Decimal
    #: What trading them cost.
    charged: Decimal


@dataclass(frozen=True, slots=True)
class OurSide:
    """Our books at one sequence, as far as the comparison needs them."""

    sequence: int
    #: The live ones, and of the others those that an answer names or an open case is about.
    orders: Mapping[str, Order]
    #: By account and execution stem.
    fills: Mapping[str, Fill]
    #: By account and contract.
    positions: Mapping[str, Position]
    anomalies: tuple[Anomaly, ...] = ()
    opened_accounts: tuple[str, ...] = ()
    by_perm_id: Mapping[int, str] = field(default_factory=dict)
    #: Orders of others can share an orderRef: "" then.
    by_order_ref: Mapping[str, str] = field(default_factory=dict)
    #: Commission reports whose execution we have not seen.
    orphans: tuple[EarlyCommission, ...] = ()
    cash: ExplainedCash = field(default_factory=ExplainedCash)
    #: What options of an account and symbol realised that were closed at price 0.
    premiums: Mapping[str, Premiums] = field(default_factory=dict)
    #: First balances less what was explained by then, by account and currency.
    cash_openings: Mapping[str, Decimal] = field(default_factory=dict)
    #: Keys of open cases and of the matches that would settle them: compared even where nobody else
    #: asks.
    watched: frozenset[str] = frozenset()
    #: What was left out above, because nobody can read so much.
    beyond: tuple[Beyond, ...] = ()
    #: Sequence of the last report, 0 before the first; None where nobody has looked.
    reported_sequence: int | None = None

    def owner(self, order_ref: str, perm_id: int) -> Order | None:
        """Return the order that a broker's row belongs to, as the fold finds it."""
        keyed = self.orders.get(order_ref)
        if keyed is not None and keyed.is_keyed(order_ref):
            return keyed
        if perm_id or not order_ref:
            return self.orders.get(self.by_perm_id.get(perm_id, ""))
        return self.orders.get(self.by_order_ref.get(order_ref, ""))


@dataclass(frozen=True, slots=True)
class Scope:
    """Who asks: what belongs to us, and what counts as long enough."""

    client_id: int
    accounts: tuple[str, ...]
    #: Those of the session where the run is about some of them only.
    managed: tuple[str, ...] = field(default=(), kw_only=True)
    now: datetime
    #: An order in doubt is "not received" only when it was asked for this long after the doubt
    #: arose.
    doubt_settle: timedelta
    run_id: str
    #: The session that asks, and when it began.
    epoch: int = 0
    session_opened_at: datetime | None = None
    #: Sequence at the start of the run; what was learnt later is this run's repair.
    started_sequence: int = 0
    #: IB's positions can lag their executions by seconds (INC-141): a difference in one that moved
    #: this shortly before the question is unknown, not a break.
    position_settle: timedelta = timedelta(0)
    #: How old a fill must be before a commission that never came is a break.
    commission_settle: timedelta = timedelta(0)


def perm_index(orders: Iterable[Order]) -> dict[int, str]:
    """Return which order owns each permanent number."""
    return {perm_id: o.order_id for o in orders for perm_id in o.perm_ids}


def ref_index(orders: Iterable[Order]) -> dict[str, str]:
    """Return which order has each orderRef, "" where several do."""
    found: dict[str, str] = {}
    for order in orders:
        found[order.order_ref] = "" if order.order_ref in found else order.order_id
    return found


def reaches_back_to(answers: Answers) -> datetime | None:
    """Return how far back every place where IB names orders can be relied on; None: no limit."""
    reaches = [answers.questions[k].reaches_back_to for k in ORDER_QUESTIONS]
    return max((r for r in reaches if r is not None), default=None)
