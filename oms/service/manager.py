"""Order entry: what strategies use, and what the daemon does for a request from the shell.

The promise: an order's intent is durable before its first byte leaves, it is intended at most once
(the caller's `order_id` is the key), and it is never sent again by itself. Step by step, and what
it means if the process dies there:

1. validate, qualify, check: nothing is written; the order does not exist.
2. append OrderIntended: until it is durable nothing left; after it the order is INTENDED, and a
   restart puts it in doubt, because it cannot know whether step 3 happened.
3. hand to the socket: OrderMessageSent follows on its heels; until IB names the order it is
   IN_FLIGHT, and a lost line, a restart or silence puts it in doubt.
4. IB answers: evidence; from here on the broker's messages move it.

Doubt is resolved by evidence (`reconciler`), or by a person who gives a reason. A denial by a rule
is an outcome like any other: an event, and an order in state DENIED.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final, Literal
from weakref import WeakValueDictionary

from oms.clock import Clock
from oms.core.admit.venue_rules import Denial, VenueRules, denial_of, validate
from oms.core.contracts import Contract, may_be_same
from oms.core.events import (
    OrderDenied,
    Pending,
    Terms,
    WhatIfReceived,
)
from oms.core.fold.records import Order
from oms.core.money import Number
from oms.errors import (
    BrokerError,
    ContractAmbiguous,
    ContractUnknown,
    IBConnectionError,
    InvalidRequest,
    OmsError,
)
from oms.errors import OrderDenied as OrderDeniedError
from oms.service.admission import Admission
from oms.service.groups import (
    Group,
    NewOrder,
    bracket_of,
    check_distinct,
    check_order,
    complete,
    new_order_id,
    oca_of,
)
from oms.service.market_desk import MarketDesk
from oms.service.orders_at_work import OrdersAtWork
from oms.service.sending import By, Leg, Sending
from oms.service.ticket import Ticket
from oms.service.view import View
from oms.telemetry import get_logger

if TYPE_CHECKING:
    from oms.broker.gateway import Gateway
    from oms.broker.lookup import Qualified
    from oms.store.log import EventLog
    from oms.store.reader import Reader

log = get_logger("service.manager")

#: Databases bound the number of values in one query.
_KEYS_A_QUERY: Final = 500


class OrderManager(OrdersAtWork, MarketDesk):
    """Sends, changes and cancels orders; every step is in the log before it has an effect."""

    def __init__(
        self,
        *,
        log: EventLog,
        reader: Reader,
        gateway: Gateway,
        view: View,
        clock: Clock,
        admission: Admission,
        actor: str = "strategy:python",
    ) -> None:
        self._log = log
        self._reader = reader
        self._gateway = gateway
        self._clock = clock
        self._admission = admission
        self._by = By(actor)
        self._turns = WeakValueDictionary()
        self._sending = Sending(log=log, session=gateway.session, outbox=gateway.outbox, view=view)
        self.view = view

    async def recall(self) -> None:
        """Learn from the log what was sent before; once, before the first order."""
        await self._admission.recall(self._reader)

    async def qualify(self, contract: Contract) -> Contract:
        """Return the contract with IB's con_id; raises `ContractUnknown` or `ContractAmbiguous`."""
        return (await self._gateway.lookup.qualify(contract)).contract

    # ── new orders ──

    async def submit(
        self,
        contract: Contract,
        terms: Terms,
        *,
        account: str | None = None,
        order_id: str | None = None,
        parent: str | None = None,
        reason: str = "",
        closing: bool = False,
        by: By | None = None,
    ) -> Ticket:
        """Send one order and return as soon as its bytes were handed to the socket, or it was
        denied.

        `order_id` is the caller's idempotence key: the same key twice is one order, also across
        restarts. `parent` attaches it to a live order of ours: IB holds it until that one fills.
        `closing` says that it only takes from what the account holds: it passes an open break.
        Raises `InvalidRequest`, `ContractUnknown`, `ContractAmbiguous`; a rule that refuses is the
        state DENIED.
        """
        given = NewOrder(contract, terms, order_id or "", account or "", reason, closing=closing)
        order = complete(given)
        group = Group((order,), parents={order.order_id: parent} if parent else {})
        return (await self._submit_whole(group, by))[0]

    async def submit_many(
        self, orders: Sequence[NewOrder | tuple[Contract, Terms]], *, by: By | None = None
    ) -> list[Ticket]:
        """Send orders that have nothing to do with each other: one durable transaction, and one
        outcome for each, in their order.

        Raises `InvalidRequest`, and writes nothing, where one of them cannot mean an order. One
        that a rule refuses, or whose contract IB does not know, is DENIED, and the others leave.
        """
        wanted = [complete(one) for one in orders]
        check_distinct(wanted)
        for number, one in enumerate(wanted, 1):
            check_order(one, f"order {number}: ")
        legs: list[Leg] = []
        denied: list[tuple[Leg, Denial]] = []
        earlier = await self._earlier(wanted)
        for one in wanted:
            if one.order_id in earlier:
                continue
            leg, denial = await self._checked(one, _leg_of(one, self._account(one.account)))
            if denial is None:
                legs.append(leg)
            else:
                denied.append((leg, denial))
        await self._sending.submit(legs, denied, group=None, by=by or self._by, whole=False)
        return [Ticket(self, one.order_id) for one in wanted]

    async def submit_bracket(
        self,
        contract: Contract,
        entry: Terms,
        *,
        take_profit: Number | Terms,
        stop_loss: Number | Terms,
        account: str | None = None,
        order_id: str | None = None,
        reason: str = "",
        by: By | None = None,
    ) -> tuple[Ticket, Ticket, Ticket]:
        """Send an entry with its take-profit and stop-loss: one durable transaction, three orders.

        A price makes the take-profit a GTC limit order and the stop-loss a GTC stop order; terms
        make them anything else, such as a trailing stop. The gateway holds all three until the last
        one arrives (transmit), so that an entry is never at work unprotected.
        """
        given = NewOrder(contract, entry, order_id or "", account or "", reason)
        parent = complete(given)
        group = bracket_of(parent, take_profit=take_profit, stop_loss=stop_loss)
        first, second, third = await self._submit_whole(group, by)
        return first, second, third

    async def submit_oca(
        self,
        orders: Sequence[NewOrder | tuple[Contract, Terms]],
        *,
        oca_type: Literal[1, 2, 3] = 1,
        order_id: str | None = None,
        by: By | None = None,
    ) -> list[Ticket]:
        """Send a group of which one cancels or reduces all: one durable transaction.

        `oca_type` 1 cancels the others with the first fill, 2 reduces them by what is filled, both
        one at a time at the exchange so that they cannot fill together; 3 reduces without that
        block. `order_id` is the key of the group and its name at IB: the same key twice is one
        group. Denied as a whole where a rule refuses one of them.
        """
        name = order_id or new_order_id()
        wanted = [complete(one, f"{name}-{n}") for n, one in enumerate(orders, 1)]
        check_distinct(wanted)
        return await self._submit_whole(oca_of(wanted, name, oca_type), by)

    async def what_if(
        self, contract: Contract, terms: Terms, *, account: str | None = None
    ) -> WhatIfReceived:
        """Ask IB what an order would change of the margin and cost in commission; it never becomes
        an order.

        The log keeps the question (OrderMessageSent, kind what_if) and the answer. Raises
        `OrderDenied` where the venue does not take such an order, `IBOrderRejectError` where IB
        says no, `IBConnectionError` where nobody answers within the deadline for requests.
        """
        validate(terms)
        qualified = await self._gateway.lookup.qualify(contract)
        denial = denial_of(terms, qualified.contract, qualified.rules)
        if denial is not None:
            raise OrderDeniedError(denial.text)
        return await self._gateway.previews.ask(
            account=self._account(account or ""), contract=qualified.contract, terms=terms
        )

    async def deny(
        self,
        order_id: str,
        *,
        account: str,
        contract: Contract,
        terms: Terms,
        denial: Denial,
        by: By,
    ) -> None:
        """Write that an order was refused before it was intended."""
        event = OrderDenied(
            order_id=order_id,
            account=account,
            contract=contract,
            terms=terms,
            rule=denial.rule,
            value=denial.value,
            limit=denial.limit,
            text=denial.text,
        )
        await self._log.append(Pending(event, self._sending.context(order_id, by)))
        log.info("order_denied", order_id=order_id, rule=denial.rule, text=denial.text)

    # ── inside ──

    async def _submit_whole(self, group: Group, by: By | None) -> list[Ticket]:
        """Send the orders of a group, or deny all of them."""
        for one in group.orders:
            check_order(one)
        tickets = [Ticket(self, one.order_id) for one in group.orders]
        if await self._earlier(group.orders[:1]):
            return tickets
        account = self._account(group.orders[0].account)
        legs: list[Leg] = []
        rules: list[VenueRules] = []
        for one in group.orders:
            qualified = await self._gateway.lookup.qualify(one.contract)
            legs.append(self._qualified(_leg_of(one, account, group), qualified))
            rules.append(qualified.rules)
        denial = next((d for leg in legs if (d := self._why_not_attach(leg, group))), None)
        denial = denial or await self._admission.judge(legs, rules)
        denied = [(leg, denial) for leg in legs] if denial is not None else []
        await self._sending.submit(
            [] if denied else legs,
            denied,
            group=group.name,
            by=by or self._by,
            whole=True,
        )
        return tickets

    async def _checked(self, one: NewOrder, leg: Leg) -> tuple[Leg, Denial | None]:
        """Return the order with its contract qualified, and why it may not leave."""
        try:
            qualified = await self._gateway.lookup.qualify(one.contract)
        except BrokerError as error:
            return leg, as_denial(error)
        leg = self._qualified(leg, qualified)
        return leg, await self._admission.judge([leg], [qualified.rules])

    def _qualified(self, leg: Leg, qualified: Qualified) -> Leg:
        leg = replace(leg, contract=qualified.contract)
        return replace(leg, checks=self._admission.in_force(leg))

    def _account(self, account: str) -> str:
        if account:
            return account
        allowed = self._admission.limits.accounts or self._gateway.session.accounts
        if len(allowed) != 1:
            names = ", ".join(allowed) or "none yet"
            raise InvalidRequest(f"name the account: this gateway serves {names}")
        return allowed[0]

    async def _earlier(self, orders: Sequence[NewOrder]) -> frozenset[str]:
        """Return the keys that orders have already; raises `InvalidRequest` where such an order is
        plainly another one, because then the caller means two orders by one key.
        """
        known = self.view.orders
        keys = [o.order_id for o in orders if not o.fresh]
        found = {key: known[key] for key in keys if key in known}
        unseen = [key for key in keys if key not in found]
        for first in range(0, len(unseen), _KEYS_A_QUERY):
            some = unseen[first : first + _KEYS_A_QUERY]
            for row in await self._reader.rows("orders", {"order_id": some}):
                if isinstance(row, Order):
                    found[row.order_id] = self.view.recall(row)
        for one in orders:
            if one.order_id in found:
                _check_same(one, found[one.order_id])
        return frozenset(found)

    def _why_not_attach(self, leg: Leg, group: Group) -> Denial | None:
        """Return why an order cannot be attached to a parent outside its own group."""
        parent_id = leg.parent_order_id
        if not parent_id or any(one.order_id == parent_id for one in group.orders):
            return None
        parent = self.view.orders.get(parent_id)
        if parent is None or not parent.live:
            state = "unknown" if parent is None else parent.state.value
            text = f"the parent {parent_id} is {state}; only a live order can have orders attached"
            return Denial("parent", state, "a live order of ours", text)
        own = parent.client_id in {0, self._gateway.session.client_id}
        if not own or self._sending.number_of(parent) <= 0:
            text = f"the parent {parent_id} is not of this client; IB takes only its own"
            return Denial("parent", "another client's", "a live order of ours", text)
        if parent.contract.con_id != leg.contract.con_id:
            text = f"the parent {parent_id} is in {parent.contract}, not in {leg.contract}"
            return Denial("parent", str(parent.contract), str(leg.contract), text)
        return None


def as_denial(error: OmsError) -> Denial:
    """Return an error about a request as the denial that the log keeps."""
    match error:
        case ContractUnknown() | ContractAmbiguous():
            rule = "contract"
        case IBConnectionError():
            rule = "connected"
        case BrokerError():
            rule = "broker"
        case _:
            rule = "request"
    return Denial(rule, type(error).__name__, "", error.message)


def _check_same(one: NewOrder, found: Order) -> None:
    if one.terms.side != found.terms.side or not may_be_same(one.contract, found.contract):
        raise InvalidRequest(
            f"order id {one.order_id!r} belongs to another order: {found.terms.side}"
            f" {found.contract}",
            hint="the same key twice is one order; take a new key for a new order",
        )


def _leg_of(one: NewOrder, account: str, group: Group | None = None) -> Leg:
    return Leg(
        order_id=one.order_id,
        account=account,
        contract=one.contract,
        terms=one.terms,
        parent_order_id=group.parents.get(one.order_id) if group else None,
        transmit=group is None or one.order_id not in group.held,
        reason=one.reason,
        closing=one.closing,
    )
