"""What the broker said."""

from __future__ import annotations

from typing import Literal

from oms.core.bounds import (
    ClientId,
    ConId,
    Count,
    Document,
    Instant,
    Label,
    Money,
    OrderNumber,
    PermId,
    Price,
    Prose,
    Quantity,
    SequenceNumber,
    WireInteger,
    Word,
)
from oms.core.contracts import Contract
from oms.core.events.base import Event, Side


class OrderStatusReceived(Event):
    """orderStatus (3). Sizes are None where IB wrote its marker for no value."""

    broker_order_id: OrderNumber
    status: Word
    filled: Quantity | None = None
    remaining: Quantity | None = None
    average_fill_price: Price | None = None
    perm_id: PermId
    parent_broker_order_id: OrderNumber = 0
    last_fill_price: Price | None = None
    client_id: ClientId
    why_held: Label = ""


class OpenOrderReceived(Event):
    """openOrder (5), the fields that order management needs; the rest is in the wire text."""

    broker_order_id: OrderNumber
    client_id: ClientId
    perm_id: PermId
    order_ref: Label = ""
    account: Word
    contract: Contract
    side: Side
    quantity: Quantity
    order_type: Word
    limit_price: Price | None = None
    stop_price: Price | None = None
    tif: Word
    oca_group: Word = ""
    outside_rth: bool = False
    parent_broker_order_id: OrderNumber = 0
    status: Word
    what_if: bool = False
    warning_text: Prose = ""
    oca_type: WireInteger = 0
    trail_amount: Price | None = None
    trail_percent: Price | None = None
    trail_stop_price: Price | None = None
    limit_offset: Price | None = None
    #: The instant that `good_till_text` names; None where it names none.
    good_till: Instant | None = None
    good_till_text: Label = ""
    all_or_none: bool = False
    min_quantity: Quantity | None = None
    display_size: Quantity | None = None
    hidden: bool = False


class WhatIfReceived(Event):
    """openOrder (5) in answer to a what-if: what an order would cost. It never is an order.

    None where IB did not say; amounts are in the account's base currency.
    """

    broker_order_id: OrderNumber
    client_id: ClientId
    account: Word
    initial_margin_before: Money | None = None
    initial_margin_change: Money | None = None
    initial_margin_after: Money | None = None
    maintenance_margin_before: Money | None = None
    maintenance_margin_change: Money | None = None
    maintenance_margin_after: Money | None = None
    equity_with_loan_before: Money | None = None
    equity_with_loan_change: Money | None = None
    equity_with_loan_after: Money | None = None
    commission: Money | None = None
    commission_min: Money | None = None
    commission_max: Money | None = None
    commission_currency: Word = ""
    warning_text: Prose = ""


class ExecutionReceived(Event):
    """execDetails (11). The commission is a fact of its own that may come early, late or never."""

    broker_order_id: OrderNumber
    client_id: ClientId
    perm_id: PermId
    order_ref: Label = ""
    account: Word
    contract: Contract
    exec_id: Word
    side: Side
    quantity: Quantity
    price: Price
    venue: Word
    #: IB's own text; the envelope's occurred_at is its meaning, where the text names a zone.
    time_text: Label
    cumulative_quantity: Quantity | None = None
    average_price: Price | None = None
    liquidation: bool = False
    price_may_change: bool = False
    #: True when it answered reqExecutions, False when it was pushed. Not part of what makes two
    #: deliveries the same.
    fetched: bool = False


class CommissionReceived(Event):
    """commissionReport (59). None where IB wrote that it is not known or does not apply."""

    exec_id: Word
    commission: Money | None = None
    currency: Word
    realised_pnl: Money | None = None


class NoticeReceived(Event):
    """errMsg (4): a reject, a warning, a refusal of a request, or news of the line. `codes` says
    which.
    """

    #: IB's id field: a broker order id, a request id, or -1.
    subject_id: WireInteger
    code: WireInteger
    text: Prose
    advanced_reject: Prose = ""


class CompletedOrderReceived(Event):
    """completedOrder (101). IB leaves order id and client id out; orderRef and perm id name it."""

    perm_id: PermId
    order_ref: Label = ""
    account: Word
    contract: Contract
    side: Side
    #: Unreliable here: 0 for filled orders in field samples (broker notes: completed orders).
    quantity: Quantity | None = None
    order_type: Word
    limit_price: Price | None = None
    stop_price: Price | None = None
    tif: Word = ""
    status: Word
    filled_quantity: Quantity | None = None
    completed_time: Label = ""
    completed_status: Label = ""


class PositionReceived(Event):
    """position (61): what IB says the account holds."""

    account: Word
    contract: Contract
    quantity: Quantity
    #: Per unit, times multiplier, commissions included (broker notes: positions); a hint, never a
    #: ledger input.
    average_cost: Money | None = None


class PortfolioReceived(Event):
    """updatePortfolio (7): position with IB's mark and P&L."""

    account: Word
    contract: Contract
    quantity: Quantity
    market_price: Price | None = None
    market_value: Money | None = None
    average_cost: Money | None = None
    unrealised_pnl: Money | None = None
    realised_pnl: Money | None = None


class AccountValueReceived(Event):
    """updateAccountValue (6), accountSummary (63) or accountUpdateMulti (73): one value of an
    account.
    """

    account: Word
    key: Word
    value: Prose
    currency: Word = ""
    source: Literal["updates", "summary", "multi"]


class NextOrderIdReceived(Event):
    """nextValidId (9)."""

    broker_order_id: OrderNumber


class ManagedAccountsReceived(Event):
    """managedAccts (15)."""

    accounts: tuple[Word, ...]


class OrderBoundReceived(Event):
    """orderBound (100): a manual order got an API id."""

    perm_id: PermId
    client_id: ClientId
    broker_order_id: OrderNumber


class AnswerEndReceived(Event):
    """The end marker of a request's answer: without one, what came is not an answer."""

    kind: Literal[
        "open_orders", "executions", "completed_orders", "positions", "account_summary", "account"
    ]
    request_id: WireInteger | None = None


class BrokerMessageUnreadable(Event):
    """A message that could not be translated; its wire fields are kept and a break opens."""

    message_id: Word
    reason: Prose
    #: How often it came, word for word, since the event before this one that keeps it: the same
    #: text is stored when it comes for the first, second, fourth, eighth ... time.
    times: Count = 1


class EventSetAside(Event):
    """Stands in memory for a stored event whose text cannot be read; the log keeps that text."""

    type_name: Word
    reason: Prose
    #: As far as the text says them.
    order_id: Label = ""
    account: Label = ""
    con_id: ConId = 0
    symbol: Label = ""


class NaturalKeyConflict(Event):
    """A second message claimed the natural key of a stored fact with different contents; both are
    kept.
    """

    key: Prose
    stored_sequence: SequenceNumber
    type_name: Word
    payload: Document
