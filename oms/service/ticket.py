"""The caller's end of one order: its state as of the last commit, and ways to wait for a change."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Protocol, Unpack

from oms.core.asked import door
from oms.core.fold.records import ENDED, Order, OrderState
from oms.core.order_types import Changes
from oms.errors import (
    IBConnectionError,
    IBOrderRejectError,
    OmsError,
    OrderDeniedError,
    RequestTimedOut,
)
from oms.service.sending import By

#: The order is on its way, and IB has not named it.
_IN_MOTION = frozenset({OrderState.INTENDED, OrderState.IN_FLIGHT})
_AT_WORK = frozenset({OrderState.WORKING, OrderState.PARTIALLY_FILLED, OrderState.FILLED})
#: A change or a cancel waits for IB's answer.
_ASKED = frozenset({OrderState.MODIFY_PENDING, OrderState.CANCEL_PENDING})


class OrdersView(Protocol):
    """The orders as the last commit left them."""

    @property
    def orders(self) -> Mapping[str, Order]:
        """Return those that are live or ended lately, by id."""

    async def until(self, condition: Callable[[], bool]) -> None:
        """Return when a condition holds."""


class Desk(Protocol):
    """Where orders that exist are seen, changed and cancelled: in this process, or in a daemon."""

    @property
    def view(self) -> OrdersView:
        """Return the orders as the last commit left them."""

    def order(self, order_id: str) -> Order:
        """Return an order that is live or ended lately; raises `NotFound`."""

    async def modify(self, order_id: str, changes: Changes, *, reason: str, by: By) -> Order:
        """Send new terms."""

    async def cancel(self, order_id: str, *, reason: str, by: By) -> Order:
        """Ask IB to cancel it."""


class Ticket:
    """The caller's end of one order.

    Every wait has a deadline in seconds, None for no deadline; one that passes raises
    `RequestTimedOut`, and the order goes on as it is.
    """

    def __init__(self, orders: Desk, order_id: str, by: By) -> None:
        """`by` is who its changes and cancels are said to come from."""
        self._orders = orders
        self._by = by
        self._last: Order | None = None
        self.order_id = order_id

    @property
    def order(self) -> Order:
        """Return the order as the last commit left it."""
        if self._last is None or self.order_id in self._orders.view.orders:
            self._last = self._orders.order(self.order_id)
        # Else it ended and has left memory since: what was seen of it last is its end.
        return self._last

    @property
    def state(self) -> OrderState:
        """Return the order's state as the last commit left it."""
        return self.order.state

    @door
    async def acknowledged(self, timeout: float | None = 10.0) -> Order:  # noqa: ASYNC109 - a deadline in the caller's words
        """Return the order once IB has named it, or it has ended, or it is in doubt."""
        return await self._until(lambda o: o.state not in _IN_MOTION, timeout)

    @door
    async def working(self, timeout: float | None = 10.0) -> Order:  # noqa: ASYNC109 - the same
        """Return the order once IB works it, or it has filled.

        Raises what stands in the way: `OrderDeniedError` by our own rule, `IBOrderRejectError` with
        IB's code and text, `IBConnectionError` where it never left. An order that was cancelled or
        has expired meanwhile is returned as it is.
        """
        order = await self._until(lambda o: o.state in _AT_WORK or o.state in ENDED, timeout)
        error = why_it_failed(order)
        if error is not None:
            raise error
        return order

    @door
    async def answered(self, timeout: float | None = 10.0) -> Order:  # noqa: ASYNC109 - the same
        """Return the order once IB has answered a change or a cancel; see its `refusal`."""
        return await self._until(lambda o: o.state not in _ASKED, timeout)

    @door
    async def resolved(self, timeout: float | None = None) -> Order:  # noqa: ASYNC109 - the same
        """Return the order once it is known whether IB has it: no longer on its way or in doubt."""
        unknown = _IN_MOTION | {OrderState.IN_DOUBT}
        return await self._until(lambda o: o.state not in unknown, timeout)

    @door
    async def done(self, timeout: float | None = None) -> Order:  # noqa: ASYNC109 - the same
        """Return the order once it has ended, however it did."""
        return await self._until(lambda o: o.state in ENDED, timeout)

    @door
    async def modify(self, *, reason: str = "", **changes: Unpack[Changes]) -> Order:
        """Ask for other terms, such as `limit="512.40"`; see `OrderManager.modify`."""
        return await self._orders.modify(self.order_id, changes, reason=reason, by=self._by)

    @door
    async def cancel(self, reason: str = "") -> Order:
        """Ask for cancellation; see `OrderManager.cancel`."""
        return await self._orders.cancel(self.order_id, reason=reason, by=self._by)

    async def _until(self, condition: Callable[[Order], bool], seconds: float | None) -> Order:
        try:
            async with asyncio.timeout(seconds):
                await self._orders.view.until(lambda: condition(self.order))
        except TimeoutError as error:
            raise RequestTimedOut(
                f"order {self.order_id} is still {self.state.value} after {seconds:g} s"
            ) from error
        return self.order


def why_it_failed(order: Order) -> OmsError | None:
    """Return the error that an order's end without work stands for, None for every other state."""
    match order.state:
        case OrderState.DENIED:
            return OrderDeniedError(f"order {order.order_id} was denied: {order.text}")
        case OrderState.REJECTED:
            return IBOrderRejectError(
                f"IB rejected order {order.order_id} ({order.code}): {order.text}",
                code=order.code,
            )
        case OrderState.NOT_SENT:
            return IBConnectionError(f"order {order.order_id} was not sent: {order.text}")
        case _:
            return None
