"""An order on its way through the rules, with all that a rule needs to know of the world.

Values only: who gathers it is `service.admission`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from oms.core.admit.holding import Unfilled
from oms.core.admit.venue import VenueRules
from oms.core.contracts import Contract
from oms.core.events import Terms
from oms.core.fold.records import Anomaly, BreakCase, Order, SystemRecord


@dataclass(frozen=True, slots=True)
class Recent:
    """An order that was sent a short while ago."""

    order_id: str
    at: datetime
    #: What an order that repeats it has in common with it.
    likeness: tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Proposal:
    """An order on its way through the checks, with what is known about contract and world."""

    account: str
    contract: Contract
    terms: Terms
    #: What the contract's venue takes; None where IB was not asked.
    rules: VenueRules | None
    #: Accounts that the gateway manages in this session.
    managed_accounts: tuple[str, ...]
    system: SystemRecord
    open_breaks: tuple[BreakCase, ...] = ()
    #: Events that the books could not take, for as long as nobody has closed their breaks.
    set_aside: tuple[Anomaly, ...] = ()
    #: It is to take from what the account holds and nothing else.
    closing: bool = False
    order_id: str = ""
    parent_order_id: str = ""
    #: The order whose terms would change; None for a new one.
    change_of: Order | None = None
    #: What the account may hold of each contract that the order moves, by con id; see `holdings`.
    held: Mapping[int, tuple[Decimal, ...]] = field(default_factory=dict)
    #: What may still fill in the account beside it, its own group before it included.
    beside: tuple[Unfilled, ...] = ()
    #: The market's price; None where it is unknown.
    reference_price: Decimal | None = None
    #: Of an exit: the price of its entry, at which the market will be when the exit comes to life.
    entry_price: Decimal | None = None
    #: The moment of the check; None only where no rule looks back.
    now: datetime | None = None
    #: Orders of the last while, oldest first; all accounts and contracts.
    recent: tuple[Recent, ...] = ()
    #: Orders at work in this contract and account, those of its own group before it included.
    open_orders: int = 0
    #: Orders of its own group that come before it.
    ahead: int = 0


def unfilled_new(proposal: Proposal) -> Unfilled:
    """Return what may fill of a new order."""
    return Unfilled(
        order_id=proposal.order_id,
        contract=proposal.contract,
        side=proposal.terms.side,
        quantity=proposal.terms.quantity,
        oca_group=proposal.terms.oca_group,
        parent_order_id=proposal.parent_order_id,
    )


def entry_price_of(terms: Terms) -> Decimal | None:
    """Return where the market will be when the exits of an entry come to life, if it says so."""
    return terms.limit_price or terms.stop_price


def likeness(account: str, contract: Contract, terms: Terms) -> tuple[object, ...]:
    """Return what two orders share when one repeats the other."""
    legs = tuple((leg.con_id, leg.side, leg.ratio) for leg in contract.legs)
    prices = (terms.limit_price, terms.stop_price, terms.trail_stop_price)
    trail = (terms.trail_amount, terms.trail_percent, terms.limit_offset)
    what = (account, contract.con_id, legs, terms.side, terms.quantity, terms.order_type)
    return (*what, *prices, *trail)
