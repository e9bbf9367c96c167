"""Silence about an order: what left and was not answered for too long is in doubt.

A lost line and a dead process turn what they leave unanswered into doubt by themselves. A gateway
that stays connected and says nothing is noticed here: every order that was handed over is looked at
once its time is up, and where IB has not shown it, `OrderDoubted` goes into the log and the broker
is asked. The time of an order that its gateway holds counts from the last order of its group, which
transmits it. Nothing is ever sent again.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from oms.clock import Clock
from oms.core.events import Context, Envelope, OrderDoubted, OrderMessageSent, Pending
from oms.core.fold.order_state import answered_with
from oms.core.fold.records import Order, OrderState
from oms.service.view import View
from oms.telemetry import get_logger

if TYPE_CHECKING:
    from oms.store.log import EventLog

log = get_logger("service.silence")


class Silence:
    """Remembers what left and when, and says which of it was never answered."""

    def __init__(self, *, log: EventLog, view: View, clock: Clock, seconds_max: float) -> None:
        """`seconds_max` after its bytes left, an order without a word from IB is in doubt."""
        self._log = log
        self._view = view
        self._clock = clock
        self._seconds_max = seconds_max
        #: When time is up, on the monotonic clock, and for which order; in that order.
        self._due: deque[tuple[float, str]] = deque()
        self._noted = asyncio.Event()

    def note(self, envelopes: Iterable[Envelope]) -> None:
        """Take notice of what was committed; called after the view has taken it."""
        for envelope in envelopes:
            event = envelope.event
            if isinstance(event, OrderMessageSent) and event.kind == "place" and event.order_ref:
                due = self._clock.monotonic() + self._seconds_max
                held = self._held_for(event.order_ref)
                self._due.extend((due, order_id) for order_id in (event.order_ref, *held))
                self._noted.set()

    async def serve(self, ask: Callable[[str], None]) -> None:
        """Write down what is in doubt and call `ask` for it; never returns."""
        while True:
            await self._until_due()
            silent: list[Order] = []
            while self._due and self._due[0][0] <= self._clock.monotonic():
                _, order_id = self._due.popleft()
                order = self._view.orders.get(order_id)
                if order is None or order.state is not OrderState.IN_FLIGHT or order.status:
                    continue
                if not self._waits_for_its_group(order):
                    silent.append(order)
            if silent:
                await self._log.append_together([self._doubt(order) for order in silent])
                log.warning("orders_doubted", order_ids=[order.order_id for order in silent])
                ask("silence")

    async def _until_due(self) -> None:
        while True:
            if self._due and self._due[0][0] <= self._clock.monotonic():
                return
            self._noted.clear()
            wait = self._due[0][0] - self._clock.monotonic() if self._due else None
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._noted.wait()

    def _held_for(self, order_id: str) -> list[str]:
        """Return the orders that the gateway holds until this one has come."""
        last = self._view.orders.get(order_id)
        if last is None or not (last.transmit and last.group_id):
            return []
        group = (o for o in self._view.orders.values() if o.group_id == last.group_id)
        return [o.order_id for o in group if not o.transmit]

    def _waits_for_its_group(self, order: Order) -> bool:
        return not order.transmit and any(
            o.group_id == order.group_id and o.state is OrderState.INTENDED
            for o in self._view.orders.values()
        )

    def _doubt(self, order: Order) -> Pending:
        heard = answered_with(order)
        said = f"said more than {heard!r}" if heard else "answered"
        text = f"IB has not {said} within {self._seconds_max:g} s"
        context = Context(
            actor="daemon",
            session_epoch=self._view.system.session_epoch,
            correlation_id=order.order_id,
            causation_sequence=order.sent_sequence or None,
        )
        return Pending(OrderDoubted(order_id=order.order_id, text=text), context)
