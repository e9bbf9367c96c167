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

import uuid
from collections.abc import Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Literal, Unpack

from oms.clock import Clock
from oms.core.admit.groups import (
    Group,
    NewOrder,
    bracket_of,
    check_distinct,
    check_order,
    complete,
    oca_of,
)
from oms.core.admit.rule import Denial
from oms.core.asked import door
from oms.core.contracts import Contract
from oms.core.events import (
    Context,
    Event,
    GlobalCancelIntended,
    OrderRequested,
    Pending,
    Terms,
    TradingHaltedByPerson,
    TradingResumed,
    WhatIfReceived,
)
from oms.core.fold.records import Order
from oms.core.money import Number
from oms.core.order_types import Changes
from oms.core.outgoing import Outgoing
from oms.core.portfolio import Account, mark_of
from oms.core.quotes import FeedKind, Quote
from oms.core.receipt import Receipt
from oms.errors import IBConnectionError, InvalidRequest
from oms.history.portfolio import read_accounts
from oms.service.admission import Admission
from oms.service.entry import Entry
from oms.service.orders_at_work import OrdersAtWork
from oms.service.sending import By, Sending, denied
from oms.service.ticket import Ticket
from oms.service.view import View
from oms.telemetry import get_logger

if TYPE_CHECKING:
    from oms.broker.feed import Feed
    from oms.broker.gateway import Gateway
    from oms.store.log import EventLog
    from oms.store.reader import Reader

log = get_logger("service.manager")


class OrderManager:
    """Sends, changes and cancels orders; every step is in the log before it has an effect."""

    def __init__(
        self,
        *,
        log: EventLog,
        reader: Reader,
        gateway: Gateway,
        view: View,
        admission: Admission,
        disk_free: int | None,
        wait_seconds_max: float,
        clock: Clock,
        actor: str = "strategy:python",
    ) -> None:
        """`actor` is who orders come from where a call does not say; for the rest see `Sending`."""
        self.view = view
        self._log = log
        self._reader = reader
        self._session = gateway.session
        self._outbox = gateway.outbox
        self._markets = gateway.markets
        self._admission = admission
        self._by = By(actor)
        self._sending = Sending(
            log=log,
            session=gateway.session,
            outbox=gateway.outbox,
            view=view,
            clock=clock,
            disk_free=disk_free,
            wait_seconds_max=wait_seconds_max,
        )
        self._entry = Entry(
            reader=reader, gateway=gateway, view=view, admission=admission, sending=self._sending
        )
        self._at_work = OrdersAtWork(
            log=log,
            reader=reader,
            gateway=gateway,
            view=view,
            admission=admission,
            sending=self._sending,
        )

    async def recall(self) -> None:
        """Learn from the log what was sent before; once, before the first order."""
        await self._admission.recall(self._reader)

    @door
    async def qualify(self, contract: Contract) -> Contract:
        """Return the contract with IB's con_id; raises `ContractUnknown` or `ContractAmbiguous`."""
        return await self._entry.qualify(contract)

    # ── new orders ──

    @door
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
        `closing` says that it only takes from what the account holds: it passes an open break, and
        is denied where it could take the holding through zero beside all that may still fill.
        Raises `InvalidRequest`, `ContractUnknown`, `ContractAmbiguous`; a rule that refuses is the
        state DENIED.
        """
        given = NewOrder(contract, terms, order_id or "", account or "", reason, closing=closing)
        order = _keyed(given)
        group = Group((order,), parents={order.order_id: parent} if parent else {})
        await self._entry.submit_whole(group, by or self._by)
        return self._ticket(order.order_id)

    @door
    async def submit_many(
        self, orders: Sequence[NewOrder | tuple[Contract, Terms]], *, by: By | None = None
    ) -> list[Ticket]:
        """Send orders that have nothing to do with each other: one durable transaction, and one
        outcome for each, in their order.

        Raises `InvalidRequest`, and writes nothing, where one of them cannot mean an order. One
        that a rule refuses, or whose contract IB does not know, is DENIED, and the others leave.
        """
        wanted = [_keyed(one) for one in orders]
        check_distinct(wanted)
        for number, one in enumerate(wanted, 1):
            check_order(one, f"order {number}: ")
        await self._entry.submit_each(wanted, by or self._by)
        return [self._ticket(one.order_id) for one in wanted]

    @door
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
        parent = _keyed(given)
        group = bracket_of(parent, take_profit=take_profit, stop_loss=stop_loss)
        await self._entry.submit_whole(group, by or self._by)
        first, second, third = (self._ticket(one.order_id) for one in group.orders)
        return first, second, third

    @door
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
        name = order_id or _new_order_id()
        wanted = [complete(one, f"{name}-{n}") for n, one in enumerate(orders, 1)]
        check_distinct(wanted)
        await self._entry.submit_whole(oca_of(wanted, name, oca_type), by or self._by)
        return [self._ticket(one.order_id) for one in wanted]

    @door
    async def what_if(
        self, contract: Contract, terms: Terms, *, account: str | None = None
    ) -> WhatIfReceived:
        """Ask IB what an order would change of the margin and cost in commission; it never becomes
        an order.

        The log keeps the question (OrderMessageSent, kind what_if) and the answer. Raises
        `OrderDeniedError` where the venue does not take such an order, `IBOrderRejectError` where
        IB says no, `IBConnectionError` where nobody answers within the deadline for requests.
        """
        return await self._entry.what_if(contract, terms, account or "")

    async def deny(self, order: OrderRequested, denial: Denial, by: By) -> None:
        """Write that an order was refused before it was intended."""
        await self._sending.submit([], [denied(order, denial)], by=by, whole=False)

    # ── orders that exist ──

    @door
    def order(self, order_id: str) -> Order:
        """Return an order that is live or ended lately; raises `NotFound`."""
        return self._at_work.order(order_id)

    @door
    def ticket(self, order_id: str) -> Ticket:
        """Return the caller's end of an order that exists; raises `NotFound`."""
        self.order(order_id)
        return self._ticket(order_id)

    @door
    async def modify(
        self,
        order_id: str,
        *,
        reason: str = "",
        by: By | None = None,
        **changes: Unpack[Changes],
    ) -> Order:
        """Send new terms for a working order; the revision is durable before the bytes leave.

        Returns the order after the bytes left, or with `refusal` set where our own check refused.
        A change that IB has not answered yet is not undone by the next one, which comes on top.
        Raises `InvalidRequest` for a change that no order of its type can have.
        """
        return await self._at_work.modify(order_id, changes, reason=reason, by=by or self._by)

    @door
    async def cancel(self, order_id: str, *, reason: str = "", by: By | None = None) -> Order:
        """Ask IB to cancel an order; cancels pass every check, also while trading is halted.

        Cancelling what has ended already is not an error: the order is returned as it is.
        """
        return await self._at_work.cancel(order_id, reason=reason, by=by or self._by)

    @door
    async def resolve(
        self,
        order_id: str,
        outcome: Literal["not_received", "ended"],
        reason: str,
        *,
        by: By | None = None,
    ) -> Order:
        """Say, as a person who knows, what became of an order in doubt: IB never received it, or it
        has ended there. Nothing is sent, and evidence that comes later still counts.

        Raises `InvalidRequest` without a reason, for an order that is not in doubt, and for
        not_received where IB has named the order.
        """
        return await self._at_work.resolve(order_id, outcome, reason, by or self._by)

    # ── all orders ──

    @door
    async def cancel_everything(self, *, reason: str = "", by: By | None = None) -> None:
        """Ask IB to cancel every order of the login, those of others and by hand included.

        The intent is durable first. IB tells what became of our orders; of those of others the
        next comparison does. Raises `IBConnectionError` without a session.
        """
        if not self._session.current_epoch:
            raise IBConnectionError("there is no session with the gateway; nothing was sent")
        intended = await self._say(GlobalCancelIntended(reason=reason), by)
        message = Outgoing(kind="global_cancel", intent_sequence=intended.sequence)
        self._outbox.send(message)

    @door
    async def halt(self, reason: str, *, by: By | None = None) -> None:
        """Stop new orders and changes; cancels pass. Returns when nothing can leave any more.

        It lasts until `resume`, across restarts; orders that wait for their turn are called back
        and end NOT_SENT. Raises `InvalidRequest` without a reason.
        """
        if not reason.strip():
            raise InvalidRequest("a halt needs a reason: `oms status` shows it")
        await self._say(TradingHaltedByPerson(reason=reason), by)

    @door
    async def resume(self, reason: str = "", *, by: By | None = None) -> None:
        """Allow new orders again; nothing that was called back or denied is sent by itself."""
        await self._say(TradingResumed(reason=reason), by)

    # ── the market and the accounts; contracts are qualified ones ──

    @door
    async def price(self, contract: Contract) -> Decimal:
        """Return the middle of the market, the last price or the close, in this order.

        Waits with the deadline for requests; raises `IBConnectionError` after it and `BrokerError`
        where IB refuses or has no price.
        """
        quote = await self._markets.price(contract)
        assert quote.price is not None, "the gateway raises where there is no price"
        return quote.price

    @door
    async def quote(self, contract: Contract) -> Quote:
        """Return the market of a contract as it is now; raises as `price` does."""
        return await self._markets.snapshot(contract)

    @door
    def feed(self, contract: Contract, kind: FeedKind = "quotes") -> Feed:
        """Return a bounded queue of a contract's quotes, ticks or 5-second bars.

        `async for` takes from it; it keeps the newest, counts what it `dropped`, and goes on over
        lost lines until it is closed. Raises `MarketLinesExhausted`.
        """
        return self._markets.subscribe(contract, kind)

    async def accounts(self) -> tuple[Account, ...]:
        """Return what the accounts hold and are worth, each figure with its age or the reason why
        it is unknown; prices that were heard in this process count.
        """
        quotes = self._markets.last_quotes()
        marks = {
            con_id: mark for con_id, quote in quotes.items() if (mark := mark_of(quote)) is not None
        }
        return await read_accounts(self._reader, marks=marks)

    # ── inside ──

    def _ticket(self, order_id: str) -> Ticket:
        return Ticket(self._at_work, order_id, self._by)

    async def _say(self, event: Event, by: By | None) -> Receipt:
        by = by or self._by
        context = Context(
            actor=by.actor,
            session_epoch=self._session.current_epoch,
            causation_sequence=by.causation_sequence,
        )
        receipt = await self._log.append(Pending(event, context))
        log.warning("trading_switched", actor=by.actor, switch=type(event).__name__)
        return receipt


def _new_order_id() -> str:
    """Return an id that is unique for ever; it travels in orderRef, so it is short plain ASCII."""
    return uuid.uuid4().hex


def _keyed(one: NewOrder | tuple[Contract, Terms]) -> NewOrder:
    return complete(one, _new_order_id(), fresh=True)
