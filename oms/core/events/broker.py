"""What the broker said."""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

from pydantic import AwareDatetime

from oms.core.contracts import Contract
from oms.core.events.base import Event, Side


class OrderStatusReceived(Event):
    """orderStatus (3). Sizes are None where IB wrote its marker for no value."""

    broker_order_id: int
    status: str
    filled: Decimal | None = None
    remaining: Decimal | None = None
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


class NaturalKeyConflict(Event):
    """A second message claimed the natural key of a stored fact with different contents; both are
    kept.
    """

    key: str
    stored_sequence: int
    type_name: str
    payload: str
