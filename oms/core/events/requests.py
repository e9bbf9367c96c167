"""What people ask of the running daemon, and what it answers them."""

from __future__ import annotations

from typing import Literal

from oms.core.bounds import Instant, Money, Price, Prose, Quantity, Word
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

    order_id: Word
    account: Word
    contract: Contract
    terms: Terms
    #: Both set for a bracket: one request, three orders.
    take_profit: Price | None = None
    stop_loss: Price | None = None
    reason: Prose = ""
    closing: bool = False


class ModifyRequested(Event):
    """A person asked the running daemon to change an order."""

    order_id: Word
    limit_price: Price | None = None
    quantity: Quantity | None = None
    stop_price: Price | None = None
    reason: Prose = ""
    #: None leaves a term as it is.
    trail_amount: Price | None = None
    trail_percent: Price | None = None
    limit_offset: Price | None = None
    tif: Word | None = None
    good_till: Instant | None = None
    outside_rth: bool | None = None
    all_or_none: bool | None = None
    min_quantity: Quantity | None = None
    display_size: Quantity | None = None


class CancelRequested(Event):
    """A person asked the running daemon to cancel an order."""

    order_id: Word
    reason: Prose = ""


class GlobalCancelRequested(Event):
    """A person asked the running daemon to cancel everything at IB: every order of the login, of
    every client and those that were entered by hand.
    """

    reason: Prose = ""


class DoubtResolutionRequested(Event):
    """A person who knows what became of an order in doubt asks the running daemon to write it."""

    order_id: Word
    outcome: Literal["not_received", "ended"]
    reason: Prose


class DoubtResolutionDenied(Event):
    """What a person said about a doubt cannot be; the order stays as it is."""

    order_id: Word
    text: Prose


class WhatIfRequested(Event):
    """A person asked the running daemon what an order would cost; it never becomes one."""

    request_id: Word
    account: Word
    contract: Contract
    terms: Terms


class WhatIfAnswered(Event):
    """What IB said to a what-if that a person asked for, or why it said nothing."""

    request_id: Word
    #: Empty where there is an answer.
    refusal: Prose = ""
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


class QuoteRequested(Event):
    """A person asked the running daemon for the market of a contract."""

    request_id: Word
    contract: Contract


class QuoteAnswered(Event):
    """What a person who asked for a market was told; None where IB said nothing."""

    request_id: Word
    #: Empty where there is an answer.
    refusal: Prose = ""
    #: As IB knows it.
    contract: Contract | None = None
    bid: Price | None = None
    ask: Price | None = None
    last: Price | None = None
    #: The previous day's closing price.
    close: Price | None = None
    bid_size: Quantity | None = None
    ask_size: Quantity | None = None
    #: When it was heard.
    heard_at: Instant | None = None
    #: live, frozen, delayed or delayed_frozen.
    market_type: Word = ""


class ReconciliationRequested(Event):
    """A person asked the running daemon to compare the books with the broker's now."""

    request_id: Word
    reason: Prose = ""
    #: Compare this account only; empty: all.
    account: Word = ""


class CaseRequested(Event):
    """A person asked the running daemon to do something about a case."""

    request_id: Word
    break_id: Word
    action: CaseAction
    #: The reason, the explanation, or who is to look at it.
    text: Prose = ""
    cause: Cause | None = None
    #: The person's own figures, where they are not those that the case proposes.
    quantity: Quantity | None = None
    price: Price | None = None
    ratio: Ratio | None = None


class CaseRequestDenied(Event):
    """What a person asked for about a case was not done."""

    request_id: Word
    break_id: Word
    text: Prose
