"""Interactive Brokers behind the interface that a trading engine knows.

The engine gets the whole subsystem: every order is in the log before it leaves and leaves at most
once, a lost line is made whole and compared, rules are checked before sending, and what it hears is
what the log has. It needs to know none of that.

If the process dies, the engine's own state is its own affair; a new adapter on the same database
finds the orders where they are, and the same `order_id` again is still the same order.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from decimal import Decimal
from typing import TYPE_CHECKING

from oms.core.adapter import (
    Account,
    BrokerAdapter,
    BrokerEvent,
    Holding,
    MarketRefusedEvent,
    OpenOrder,
)
from oms.core.asked import check_actor, door
from oms.core.contracts import Contract
from oms.core.events import Terms
from oms.core.fold.records import ENDED, Order, OrderState
from oms.core.members import members
from oms.core.order_types import Changes, as_changes, changed
from oms.core.quotes import MarketItem, Quote
from oms.errors import (
    BrokerError,
    IBConnectionError,
    IBOrderRejectError,
    InvalidRequest,
    OmsError,
    OrderDeniedError,
    OutcomeUnknown,
    RequestTimedOut,
    TradingHalted,
)
from oms.service.daemon import open_oms
from oms.service.engine_events import EngineEvents, EventQueue, code_and_text
from oms.service.subsystem import Oms
from oms.service.ticket import why_it_failed
from oms.settings import Settings, load

if TYPE_CHECKING:
    from oms.broker.feed import Feed


class IBBrokerAdapter(BrokerAdapter):
    """The order management subsystem as a broker; it runs inside this process."""

    @door
    def __init__(
        self,
        settings: Settings | None = None,
        *,
        engine: str = "engine",
        ready_seconds: float = 60.0,
        answer_seconds: float = 10.0,
        queue_length_max: int = 10_000,
    ) -> None:
        """Settings come from the environment, `.env` and `oms.toml` where none are given.

        `engine` is written as the actor of its orders. `ready_seconds` is how long `connect` waits
        until orders may leave, `answer_seconds` how long an order, a change or a price is waited
        for. Of `queue_length_max` events that nobody took the oldest are dropped, and counted.
        """
        check_actor("engine", engine)
        if queue_length_max < 1:
            raise InvalidRequest(f"queue_length_max must be 1 or more, found {queue_length_max}")
        self._settings = settings
        self._engine = engine
        self._ready_seconds = ready_seconds
        self._answer_seconds = answer_seconds
        self._queue = EventQueue(queue_length_max)
        self._stack: AsyncExitStack | None = None
        self._running: Oms | None = None
        self._feeds: dict[Contract, Feed] = {}

    # ── the connection ───────────────────────────────────────────────────────────────────────────

    async def connect(self) -> None:
        """See `BrokerAdapter.connect`. Raises `LeaseHeld` where a daemon serves the database."""
        if self._stack is not None:
            raise InvalidRequest("the adapter is connected already", hint="disconnect it first")
        settings = self._settings or load()
        stack = self._stack = AsyncExitStack()
        try:
            actor = f"strategy:{self._engine}"
            running = await stack.enter_async_context(open_oms(settings, actor=actor))
            self._listen(running)
            await running.until_ready(self._ready_seconds)
        except BaseException:
            await self._leave()
            raise

    async def disconnect(self) -> None:
        """See `BrokerAdapter.disconnect`."""
        await self._leave()

    async def __aenter__(self) -> IBBrokerAdapter:
        await self.connect()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.disconnect()

    def _listen(self, running: Oms) -> None:
        events = EngineEvents(running.view.orders.values())
        self._queue.open()
        self._running = running
        # Until the log closes: the last thing that it says is that the session has ended.
        running.log.subscribe(
            lambda committed: self._queue.put(events.tell(committed.envelopes, committed.changes))
        )
        running.failure.add_done_callback(self._on_failure)

    async def _leave(self) -> None:
        stack, self._stack = self._stack, None
        if stack is None:
            return
        self._feeds.clear()
        try:
            await stack.aclose()
        finally:
            self._running = None
            self._queue.close(IBConnectionError("the adapter is disconnected", hint="connect it"))

    def _on_failure(self, failure: asyncio.Future[BaseException]) -> None:
        if not failure.cancelled():
            error = failure.result()
            if not isinstance(error, OmsError):
                error = IBConnectionError(f"the subsystem failed: {error!r}")
            self._queue.close(error)

    @property
    def _oms(self) -> Oms:
        if self._running is None:
            raise IBConnectionError("the adapter is not connected", hint="await connect() first")
        return self._running

    # ── orders ───────────────────────────────────────────────────────────────────────────────────

    @door
    async def submit_order(
        self, contract: Contract, terms: Terms, *, order_id: str | None = None, account: str = ""
    ) -> str:
        """See `BrokerAdapter.submit_order`."""
        ticket = await self._oms.manager.submit(
            contract, terms, account=account or None, order_id=order_id
        )
        order = await self._answer(ticket.acknowledged, f"order {ticket.order_id}")
        if order.state is OrderState.DENIED and self._oms.view.system.halted:
            raise TradingHalted(order.text)
        error = why_it_failed(order)
        if error is not None:
            raise error
        if order.state is OrderState.IN_DOUBT:
            raise OutcomeUnknown(f"order {ticket.order_id} is in doubt: {order.doubt}")
        return ticket.order_id

    @door
    async def modify_order(self, order_id: str, terms: Terms) -> None:
        """See `BrokerAdapter.modify_order`."""
        manager = self._oms.manager
        changes = _changes(manager.order(order_id).asked_terms, terms)
        if not changes:
            return
        order = await manager.modify(order_id, **changes)
        if order.refusal:
            raise _refused(order_id, order.refusal)
        ticket = manager.ticket(order_id)
        order = await self._answer(ticket.answered, f"the change of order {order_id}")
        if order.refusal:
            raise _refused(order_id, order.refusal)

    @door
    async def cancel_order(self, order_id: str) -> None:
        """See `BrokerAdapter.cancel_order`."""
        order = await self._oms.manager.cancel(order_id)
        if order.state not in ENDED and order.refusal and not order.cancel_pending:
            raise _refused(order_id, order.refusal)

    async def _answer(self, wait: Callable[[float], Awaitable[Order]], what: str) -> Order:
        try:
            return await wait(self._answer_seconds)
        except RequestTimedOut as error:
            raise OutcomeUnknown(
                f"the broker has not answered within {self._answer_seconds:g} s: {what}"
            ) from error

    # ── what there is ────────────────────────────────────────────────────────────────────────────

    async def get_positions(self) -> tuple[Holding, ...]:
        """See `BrokerAdapter.get_positions`."""
        accounts = await self._oms.manager.accounts()
        held = (one for account in accounts for one in account.holdings)
        return tuple(one for one in held if one.quantity or one.broker_quantity.value)

    async def get_open_orders(self) -> tuple[OpenOrder, ...]:
        """See `BrokerAdapter.get_open_orders`."""
        live = (order for order in self._oms.view.orders.values() if order.live)
        return tuple(
            OpenOrder(
                order_id=order.order_id,
                account=order.account,
                contract=order.contract,
                terms=order.terms,
                state=order.state.value,
                filled_quantity=order.filled,
                remaining_quantity=order.remaining,
            )
            for order in sorted(live, key=lambda o: o.intent_sequence)
        )

    async def get_account_info(self) -> tuple[Account, ...]:
        """See `BrokerAdapter.get_account_info`."""
        return await self._oms.manager.accounts()

    # ── markets ──────────────────────────────────────────────────────────────────────────────────

    @door
    async def subscribe_market_data(self, contract: Contract) -> None:
        """See `BrokerAdapter.subscribe_market_data`."""
        contract = await self._qualified(contract)
        if contract not in self._feeds:
            self._feeds[contract] = self._oms.gateway.markets.subscribe(
                contract,
                listener=self._on_market,
                on_refused=lambda error: self._on_refused(contract, error),
            )

    @door
    async def unsubscribe_market_data(self, contract: Contract) -> None:
        """See `BrokerAdapter.unsubscribe_market_data`."""
        contract = await self._qualified(contract)
        feed = self._feeds.pop(contract, None)
        if feed is not None:
            feed.close()
            self._queue.forget_market(contract)

    @door
    async def get_current_price(self, contract: Contract) -> Decimal:
        """See `BrokerAdapter.get_current_price`."""
        contract = await self._qualified(contract)
        quote = await self._oms.gateway.markets.price(contract)
        assert quote.price is not None, "a quote without a price is an error of the gateway's"
        return quote.price

    async def _qualified(self, contract: Contract) -> Contract:
        return contract if contract.con_id else await self._oms.manager.qualify(contract)

    def _on_market(self, item: MarketItem) -> None:
        assert isinstance(item, Quote)
        self._queue.put_market(item)

    def _on_refused(self, contract: Contract, error: BrokerError) -> None:
        self._feeds.pop(contract, None)
        self._queue.put([MarketRefusedEvent(contract, error.message)])

    # ── events ───────────────────────────────────────────────────────────────────────────────────

    async def get_next_event(self) -> BrokerEvent:
        """See `BrokerAdapter.get_next_event`."""
        return await self._queue.next()


def _changes(old: Terms, new: Terms) -> Changes:
    """Return what a change of terms asks for; raises `InvalidRequest` for what cannot change."""
    asked = {
        name: (getattr(old, name), getattr(new, name))
        for name in members(Terms)
        if getattr(old, name) != getattr(new, name)
    }
    changes = as_changes({name: after for name, (_, after) in asked.items()})
    # Some go away with another that comes: the amount with a percentage, the end with another tif.
    reached = changed(old, changes) if changes else old
    for name, (before, after) in asked.items():
        if getattr(reached, name) != after:
            raise InvalidRequest(
                f"{name} cannot change from {before} to {after}",
                hint="cancel the order and send another one",
            )
    return changes


def _refused(order_id: str, refusal: str) -> OmsError:
    code, text = code_and_text(refusal)
    if not code:
        return OrderDeniedError(f"the request for order {order_id} was denied: {text}")
    return IBOrderRejectError(
        f"IB refused the request for order {order_id} ({code}): {text}", code=code
    )
