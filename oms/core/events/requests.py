"""What people ask of the running daemon, and what it answers them."""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

from pydantic import AwareDatetime

from oms.core.contracts import Contract
from oms.core.events.base import Event
from oms.core.events.cases import CaseAction
from oms.core.events.orders import Terms
from oms.core.events.reconciliation import Cause
from oms.core.ratio import Ratio


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


class CancelRequested(Event):
    """A person asked the running daemon to cancel an order."""

    order_id: str
    reason: str = ""


class GlobalCancelRequested(Event):
    """A person asked the running daemon to cancel everything at IB: every order of the login, of
    every client and those that were entered by hand.
    """

    reason: str = ""


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


class ReconciliationRequested(Event):
    """A person asked the running daemon to compare the books with the broker's now."""

    request_id: str
    reason: str = ""
    #: Compare this account only; empty: all.
    account: str = ""


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
    ratio: Ratio | None = None


class CaseRequestDenied(Event):
    """What a person asked for about a case was not done."""

    request_id: str
    break_id: str
    text: str
