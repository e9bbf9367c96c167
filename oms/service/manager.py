"""Order entry: what strategies use, and what the daemon does for a request from the shell.

The promise: an order's intent is durable before its first byte leaves, it is intended at most once
(the caller's `order_id` is the key), and it is never sent again by itself. Step by step, and what
it means if the process dies there:

1. validate, qualify, check: nothing is written; the order does not exist.
2. append OrderIntended: until it is durable nothing left; after it the order is INTENDED, and a
   restart puts it in doubt, because it cannot know whether step 3 happened.
3. hand to the socket: OrderMessageSent follows on its heels; until IB names the order it is
   IN_FLIGHT, and a lost line or a restart puts it in doubt.
4. IB answers: evidence; from here on the broker's messages move it.

Doubt is resolved by evidence only (`reconciler`). A denial by a rule is an outcome like any other:
an event, and an order in state DENIED.
"""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Unpack

from oms.clock import Clock
from oms.core.contracts import Contract
from oms.core.events import (
    CancelDenied,
    CancelIntended,
    Context,
    Event,
    ModifyDenied,
    ModifyIntended,
    OrderDenied,
    OrderIntended,
    OrderNotSent,
    Pending,
    Side,
    Terms,
    TradingHaltedByPerson,
    TradingResumed,
)
from oms.core.order_rules import Denial, validate
from oms.core.order_types import Changes, changed
from oms.core.records import ENDED, Order, OrderState
from oms.errors import (
    BrokerError,
    InvalidRequest,
    NotFound,
    OmsError,
    RequestTimedOut,
    StoreUnavailable,
)
from oms.service.checks import CHECKS, Limits, Proposal, check, check_terms, check_world
from oms.service.ports import Log, Orders, QualifiedLike, Reader, ReceiptLike
from oms.service.view import View
from oms.telemetry import get_logger

log = get_logger("service.manager")

_IN_MOTION = frozenset({OrderState.INTENDED, OrderState.IN_FLIGHT})


@dataclass(frozen=True, slots=True)
class By:
    """Who wants something, and which event said so."""

    actor: str
    causation_sequence: int | None = None


@dataclass(frozen=True, slots=True)
class Leg:
    """One order of a group that is intended together."""

    order_id: str
    terms: Terms
    parent_order_id: str | None = None
    transmit: bool = True


class Ticket:
    """The caller's end of one order: its state as of the last commit, and ways to wait for a
    change.
    """

    def __init__(self, manager: OrderManager, order_id: str) -> None:
        self._manager = manager
        self.order_id = order_id

    @property
    def order(self) -> Order:
        """Return the order as the last commit left it."""
        return self._manager.order(self.order_id)

    @property
    def state(self) -> OrderState:
        """Return the order's state as the last commit left it."""
        return self.order.state

    async def acknowledged(self, timeout: float = 10.0) -> Order:  # noqa: ASYNC109 - a deadline in the caller's words
        """Return the order once IB has named it, or it has ended; raises `RequestTimedOut`."""
        return await self._until(lambda o: o.state not in _IN_MOTION, timeout)

    async def done(self, timeout: float = 60.0) -> Order:  # noqa: ASYNC109 - the same
        """Return the order once it has ended; raises `RequestTimedOut`."""
        return await self._until(lambda o: o.state in ENDED, timeout)

    async def modify(self, **changes: Unpack[Changes]) -> Order:
        """Ask for other terms, such as `limit="512.40"`; see `OrderManager.modify`."""
        return await self._manager.modify(self.order_id, **changes)

    async def cancel(self, reason: str = "") -> Order:
        """Ask for cancellation; see `OrderManager.cancel`."""
        return await self._manager.cancel(self.order_id, reason=reason)

    async def _until(self, condition: Callable[[Order], bool], seconds: float) -> Order:
        try:
            async with asyncio.timeout(seconds):
                await self._manager.view.until(lambda: condition(self.order))
        except TimeoutError as error:
            raise RequestTimedOut(
                f"order {self.order_id} is still {self.state.value} after {seconds:g} s"
            ) from error
        return self.order


class OrderManager:
    """Sends, changes and cancels orders; every step is in the log before it has an effect."""

    def __init__(
        self,
        *,
        log: Log,
        reader: Reader,
        orders: Orders,
        view: View,
        clock: Clock,
        limits: Limits,
        actor: str = "strategy:python",
    ) -> None:
        self._log = log
        self._reader = reader
        self._orders = orders
        self._clock = clock
        self._limits = limits
        self._by = By(actor)
        #: The numbers of orders that may still wait for their turn to leave, oldest first: a cancel
        #: needs the number before the log has it.
        self._numbers: OrderedDict[str, int] = OrderedDict()
        self.view = view

    def order(self, order_id: str) -> Order:
        """Return an order that is live or ended lately; raises `NotFound`."""
        found = self.view.orders.get(order_id)
        if found is None:
            raise NotFound(f"there is no order {order_id}", hint="`oms orders --all` lists them")
        return found

    async def qualify(self, contract: Contract) -> Contract:
        """Return the contract with IB's con_id; raises `ContractUnknown` or `ContractAmbiguous`."""
        return (await self._orders.qualify(contract)).contract

    async def submit(
        self,
        contract: Contract,
        terms: Terms,
        *,
        account: str | None = None,
        order_id: str | None = None,
        reason: str = "",
        by: By | None = None,
    ) -> Ticket:
        """Send one order and return as soon as its bytes were handed to the socket, or it was
        denied.

        `order_id` is the caller's idempotence key: the same key twice is one order, also across
        restarts. Raises `InvalidRequest`, `ContractUnknown`, `ContractAmbiguous`; a rule that
        refuses is the state DENIED.
        """
        leg = Leg(order_id or new_order_id(), terms)
        return (await self._submit(contract, (leg,), account, reason, by))[0]

    async def submit_bracket(
        self,
        contract: Contract,
        entry: Terms,
        *,
        take_profit: Decimal,
        stop_loss: Decimal,
        account: str | None = None,
        order_id: str | None = None,
        reason: str = "",
        by: By | None = None,
    ) -> tuple[Ticket, Ticket, Ticket]:
        """Send an entry with its take-profit and stop-loss: one durable transaction, three orders.

        The gateway holds all three until the last one arrives (transmit), so that an entry is never
        at work unprotected.
        """
        parent = order_id or new_order_id()
        below, above = (stop_loss, take_profit) if entry.side == "BUY" else (take_profit, stop_loss)
        if below >= above:
            raise InvalidRequest(
                f"a {entry.side} bracket needs its stop-loss on the losing side of its take-profit,"
                f" found take-profit {take_profit} and stop-loss {stop_loss}"
            )
        out: Side = "SELL" if entry.side == "BUY" else "BUY"
        leave = Terms(side=out, quantity=entry.quantity, order_type="LMT", tif="GTC")
        legs = (
            Leg(parent, entry, transmit=False),
            Leg(
                f"{parent}-tp",
                leave.model_copy(update={"limit_price": take_profit}),
                parent_order_id=parent,
                transmit=False,
            ),
            Leg(
                f"{parent}-sl",
                leave.model_copy(update={"order_type": "STP", "stop_price": stop_loss}),
                parent_order_id=parent,
            ),
        )
        first, second, third = await self._submit(contract, legs, account, reason, by)
        return first, second, third

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
        Raises `InvalidRequest` for a change that no order of its type can have.
        """
        order = await self._known(order_id)
        by = by or self._by
        terms = changed(order.terms, changes)
        validate(terms)
        refusal = await self._why_not_modify(order, terms)
        if refusal:
            event = ModifyDenied(order_id=order_id, text=refusal)
            await self._log.append(Pending(event, self._context(order_id, by)))
            return self.order(order_id)
        intent = ModifyIntended(
            order_id=order_id, revision=order.revision + 1, terms=terms, reason=reason
        )
        await self._log.append(Pending(intent, self._context(order_id, by)))
        # As with an intent: a halt that came while this one took its time on the disk counts.
        if self.view.system.halted:
            text = f"not sent: trading is halted: {self.view.system.halt_reason}"
            event = ModifyDenied(order_id=order_id, text=text)
            await self._log.append(Pending(event, self._context(order_id, by)))
            return self.order(order_id)
        log.info("modify_intended", order_id=order_id, revision=intent.revision)
        self._orders.modify(
            order_id=order.order_ref or order_id,
            account=order.account,
            contract=order.contract,
            terms=terms,
            broker_order_id=order.broker_order_id,
            parent_broker_order_id=self._parent_number(order),
        )
        log.info("modify_handed_over", order_id=order_id, revision=intent.revision)
        return self.order(order_id)

    async def cancel(self, order_id: str, *, reason: str = "", by: By | None = None) -> Order:
        """Ask IB to cancel an order; cancels pass every check, also while trading is halted.

        Cancelling what has ended already is not an error: the order is returned as it is.
        """
        order = await self._known(order_id)
        by = by or self._by
        if order.state in ENDED:
            return order
        refusal = self._why_not_cancel(order)
        if refusal:
            event = CancelDenied(order_id=order_id, text=refusal)
            await self._log.append(Pending(event, self._context(order_id, by)))
            return self.order(order_id)
        intent = CancelIntended(order_id=order_id, reason=reason)
        await self._log.append(Pending(intent, self._context(order_id, by)))
        log.info("cancel_intended", order_id=order_id)
        self._orders.cancel(order_id=order_id, broker_order_id=self._number(order))
        log.info("cancel_handed_over", order_id=order_id)
        return self.order(order_id)

    async def halt(self, reason: str, *, by: By | None = None) -> None:
        """Stop new orders and changes; cancels pass. Returns when nothing can leave any more.

        It lasts until `resume`, across restarts; orders that wait for their turn are called back
        and end NOT_SENT. Raises `InvalidRequest` without a reason.
        """
        if not reason.strip():
            raise InvalidRequest("a halt needs a reason, for whoever finds trading halted")
        await self._say(TradingHaltedByPerson(reason=reason), by)

    async def resume(self, reason: str = "", *, by: By | None = None) -> None:
        """Allow new orders again; nothing that was called back or denied is sent by itself."""
        await self._say(TradingResumed(reason=reason), by)

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
        await self._log.append(Pending(event, self._context(order_id, by)))
        log.info("order_denied", order_id=order_id, rule=denial.rule, text=denial.text)

    # ── inside ──

    async def _say(self, event: Event, by: By | None) -> None:
        by = by or self._by
        context = Context(
            actor=by.actor,
            session_epoch=self._orders.session_epoch,
            causation_sequence=by.causation_sequence,
        )
        await self._log.append(Pending(event, context))
        log.warning("trading_switched", actor=by.actor, switch=type(event).__name__)

    async def _submit(
        self,
        contract: Contract,
        legs: Sequence[Leg],
        account: str | None,
        reason: str,
        by: By | None,
    ) -> list[Ticket]:
        for leg in legs:
            validate(leg.terms)
        tickets = [Ticket(self, leg.order_id) for leg in legs]
        if await self._stored(legs[0].order_id) is not None:
            return tickets
        by = by or self._by
        account = self._account(account)
        qualified = await self._orders.qualify(contract)
        denial = self._first_denial(account, qualified, legs)
        if denial is not None:
            for leg in legs:
                await self.deny(
                    leg.order_id,
                    account=account,
                    contract=qualified.contract,
                    terms=leg.terms,
                    denial=denial,
                    by=by,
                )
            return tickets
        # Before the intent: without a session there are no numbers, and then nothing is written.
        numbers = {leg.order_id: self._orders.next_broker_order_id() for leg in legs}
        if await self._intend(account, qualified, legs, reason, by):
            self._send(account, qualified, legs, numbers, by)
        return tickets

    def _account(self, account: str | None) -> str:
        if account:
            return account
        allowed = self._limits.accounts or self._orders.managed_accounts
        if len(allowed) != 1:
            names = ", ".join(allowed) or "none yet"
            raise InvalidRequest(f"name the account: this gateway serves {names}")
        return allowed[0]

    def _first_denial(
        self, account: str, qualified: QualifiedLike, legs: Sequence[Leg]
    ) -> Denial | None:
        for leg in legs:
            denial = check(
                Proposal(
                    account=account,
                    contract=qualified.contract,
                    terms=leg.terms,
                    rules=qualified.rules,
                    managed_accounts=self._orders.managed_accounts,
                    system=self.view.system,
                    open_breaks=self.view.open_breaks(),
                ),
                self._limits,
            )
            if denial is not None:
                return denial
        return None

    async def _intend(
        self, account: str, qualified: QualifiedLike, legs: Sequence[Leg], reason: str, by: By
    ) -> bool:
        """Make the intents durable; False when another caller was first with this key.

        A caller that gives up meanwhile takes nothing back: the intent becomes durable, and what
        will not leave must be said.
        """
        group = legs[0].order_id if len(legs) > 1 else None
        pendings = [
            Pending(
                OrderIntended(
                    order_id=leg.order_id,
                    account=account,
                    contract=qualified.contract,
                    terms=leg.terms,
                    parent_order_id=leg.parent_order_id,
                    group_id=group,
                    transmit=leg.transmit,
                    reason=reason,
                    checks=CHECKS,
                ),
                self._context(leg.order_id, by),
            )
            for leg in legs
        ]
        durable = self._log.append_together(pendings)
        try:
            receipts = await asyncio.shield(durable)
        except asyncio.CancelledError:
            durable.add_done_callback(lambda f: self._given_up(f, legs, by))
            raise
        log.info("order_intended", order_id=legs[0].order_id, sequence=receipts[0].sequence)
        fresh = _fresh(legs, receipts)
        if len(fresh) < len(legs):
            self._not_sent(fresh, "another order has the id of a leg of its group", by)
        return len(fresh) == len(legs)

    def _given_up(self, durable: asyncio.Future[Any], legs: Sequence[Leg], by: By) -> None:
        if not durable.cancelled() and durable.exception() is None:
            # Where the log is closed by now, the next start doubts the order and asks the broker.
            with contextlib.suppress(StoreUnavailable):
                fresh = _fresh(legs, durable.result())
                self._not_sent(fresh, "the caller gave up before it left", by)

    def _not_sent(self, legs: Sequence[Leg], text: str, by: By) -> None:
        for leg in legs:
            event = OrderNotSent(order_id=leg.order_id, text=text)
            self._log.append(Pending(event, self._context(leg.order_id, by)))
            log.info("order_not_sent", order_id=leg.order_id, reason=text)

    def _send(
        self,
        account: str,
        qualified: QualifiedLike,
        legs: Sequence[Leg],
        numbers: Mapping[str, int],
        by: By,
    ) -> None:
        # The intent took its time on the disk; a halt or a gap that came meanwhile counts.
        denial = check_world(self.view.system)
        if denial is not None:
            self._not_sent(legs, denial.text, by)
            return
        self._forget_numbers()
        self._numbers.update(numbers)
        for leg in legs:
            self._orders.place(
                order_id=leg.order_id,
                account=account,
                contract=qualified.contract,
                terms=leg.terms,
                broker_order_id=numbers[leg.order_id],
                parent_broker_order_id=numbers.get(leg.parent_order_id or "", 0),
                transmit=leg.transmit,
            )
            log.info("order_handed_over", order_id=leg.order_id)

    def _number(self, order: Order) -> int:
        """Return the number under which an order left, or will leave when its turn comes."""
        return order.broker_order_id or self._numbers.get(order.order_id, 0)

    def _forget_numbers(self) -> None:
        for order_id in list(self._numbers):
            order = self.view.orders.get(order_id)
            if order is not None and order.state is OrderState.INTENDED:
                return
            del self._numbers[order_id]

    async def _why_not_modify(self, order: Order, terms: Terms) -> str:
        if self.view.system.halted:
            return f"trading is halted: {self.view.system.halt_reason}; only cancels pass"
        if not order.live or not order.acknowledged:
            return f"the order is {order.state.value}; only a working order can be changed"
        if order.client_id != self._orders.client_id or order.broker_order_id <= 0:
            return "another client or a person owns the order; only its owner can change it"
        if terms.quantity <= order.filled:
            return f"{order.filled} are filled already; the new quantity must be above that"
        qualified = await self._orders.qualify(order.contract)
        denial = check_terms(terms, order.contract, qualified.rules, self._limits)
        return denial.text if denial else ""

    def _why_not_cancel(self, order: Order) -> str:
        if order.origin == "ours" and not order.sent:
            if self._number(order):
                return ""
            return "the order has not left; there is nothing to cancel at IB"
        if order.client_id != self._orders.client_id or order.broker_order_id <= 0:
            return "another client or a person owns the order; only its owner can cancel it"
        return ""

    def _parent_number(self, order: Order) -> int:
        parent = self.view.orders.get(order.parent_order_id)
        return parent.broker_order_id if parent is not None else 0

    async def _known(self, order_id: str) -> Order:
        found = await self._stored(order_id)
        if found is None:
            raise NotFound(f"there is no order {order_id}", hint="`oms orders --all` lists them")
        return found

    async def _stored(self, order_id: str) -> Order | None:
        """Return an order from the view, or from the store when it ended long ago."""
        found = self.view.orders.get(order_id)
        if found is None:
            row = await self._reader.one("orders", order_id)
            if isinstance(row, Order):
                found = self.view.recall(row)
        return found

    def _context(self, order_id: str, by: By) -> Context:
        return Context(
            actor=by.actor,
            session_epoch=self._orders.session_epoch,
            correlation_id=order_id,
            causation_sequence=by.causation_sequence,
        )


def _fresh(legs: Sequence[Leg], receipts: Sequence[ReceiptLike]) -> list[Leg]:
    """Return the legs whose intents were not in the log before."""
    both = zip(legs, receipts, strict=True)
    return [leg for leg, receipt in both if not (receipt.duplicate or receipt.conflict)]


def new_order_id() -> str:
    """Return an id that is unique for ever; it travels in orderRef, so it is short plain ASCII."""
    return uuid.uuid4().hex


def as_denial(error: OmsError) -> Denial:
    """Return an error about a request as the denial that the log keeps."""
    rule = "contract" if isinstance(error, BrokerError) else "request"
    return Denial(rule, type(error).__name__, "", error.message)
