"""What programs send to the service: the bodies of its requests, checked as every value is."""

from __future__ import annotations

from oms.core.bounds import Price, Prose, Word
from oms.core.contracts import Contract
from oms.core.events import Terms
from oms.core.quotes import FeedKind
from oms.core.values import Given


class OrderBody(Given):
    """One order. `order_id` is the caller's key: the same key twice is one order."""

    contract: Contract
    terms: Terms
    order_id: Word = ""
    #: May be left out where the gateway serves one account.
    account: Word = ""
    #: A live order of ours to attach it to.
    parent: Word = ""
    reason: Prose = ""
    #: It only takes from what the account holds; an open break lets it pass.
    closing: bool = False


class BracketBody(Given):
    """An entry with its exits: a price, or the terms of another kind of exit."""

    contract: Contract
    terms: Terms
    take_profit: Price | Terms
    stop_loss: Price | Terms
    order_id: Word = ""
    account: Word = ""
    reason: Prose = ""


class OrdersBody(Given):
    """Orders that have nothing to do with each other; each has its own outcome."""

    orders: tuple[OrderBody, ...]


class GroupBody(Given):
    """Orders of which one cancels or reduces the others; `order_id` is the key of the group."""

    orders: tuple[OrderBody, ...]
    oca_type: int = 1
    order_id: Word = ""


class ChangeBody(Given):
    """New terms of an order at work: what is left out stays."""

    quantity: Price | None = None
    limit: Price | None = None
    stop: Price | None = None
    trail_amount: Price | None = None
    trail_percent: Price | None = None
    limit_offset: Price | None = None
    min_quantity: Price | None = None
    display_size: Price | None = None
    tif: Word | None = None
    outside_rth: bool | None = None
    all_or_none: bool | None = None
    reason: Prose = ""


class ReasonBody(Given):
    """Why something is asked for."""

    reason: Prose = ""


class DoubtBody(Given):
    """What a person knows of an order in doubt: `not_received` or `ended`, and why."""

    outcome: Word
    reason: Prose


class PreviewBody(Given):
    """An order that is only asked about."""

    contract: Contract
    terms: Terms
    account: Word = ""


class ContractBody(Given):
    """A contract, described as far as it is known."""

    contract: Contract


class FeedBody(Given):
    """What a feed tells of which contract, as IB has qualified it."""

    contract: Contract
    kind: FeedKind = "quotes"
