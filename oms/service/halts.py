"""Halting: from the fact in the log to the moment after which nothing leaves.

A halt counts from its commit: every intent is written after a look at what others appended, so one
that comes later finds trading halted and is not sent. What was intended before and still waits for
its turn is called back here, and only then the daemon writes `HaltInForce`. Whoever asked for the
halt waits for that fact, so "halted" never means "soon".

If the process dies between halt and `HaltInForce`, nothing leaves either: the next daemon folds the
halt before it opens a session, and what waited is in doubt until IB shows that it never came.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING

from oms.core.events import Context, Envelope, HaltInForce, Pending, TradingHaltedByPerson
from oms.errors import OmsError
from oms.service.manager import OrderManager
from oms.service.sending import By
from oms.telemetry import get_logger

if TYPE_CHECKING:
    from oms.broker.outbox import Outbox
    from oms.broker.session import Session
    from oms.store.log import EventLog

log = get_logger("service.halts")


class Halts:
    """Takes halts up, whoever wrote them."""

    def __init__(
        self, *, log: EventLog, session: Session, outbox: Outbox, manager: OrderManager
    ) -> None:
        self._log = log
        self._session = session
        self._outbox = outbox
        self._manager = manager
        self._cancelling: set[asyncio.Task[None]] = set()

    def note(self, envelopes: Iterable[Envelope]) -> None:
        """Take up the halts of a commit; called on the loop, after the view has the commit."""
        for envelope in envelopes:
            if isinstance(envelope.event, TradingHaltedByPerson):
                self._take_up(envelope, envelope.event.reason)

    def _take_up(self, envelope: Envelope, reason: str) -> None:
        messages = self._outbox.call_back(f"trading is halted: {reason}")
        called_back = tuple(m.order_id for m in messages if m.kind == "place")
        event = HaltInForce(halt_sequence=envelope.sequence, called_back=called_back)
        context = Context(
            actor="daemon",
            session_epoch=self._session.current_epoch,
            causation_sequence=envelope.sequence,
        )
        self._log.append(Pending(event, context))
        log.warning("halt_in_force", sequence=envelope.sequence, called_back=len(called_back))
        for order_id in self._left_alone(called_back):
            task = asyncio.create_task(self._cancel(order_id, envelope))
            self._cancelling.add(task)
            task.add_done_callback(self._cancelling.discard)

    def _left_alone(self, called_back: tuple[str, ...]) -> list[str]:
        """Return the parents that left before their children were called back.

        The gateway holds such an entry for the rest of its bracket, which will not come; a person
        could let it go in TWS, without its stop-loss.
        """
        orders = self._manager.view.orders
        parents = {orders[i].parent_order_id for i in called_back if i in orders} - {""}
        return sorted(parents - set(called_back))

    async def _cancel(self, order_id: str, envelope: Envelope) -> None:
        by = By("daemon", envelope.sequence)
        try:
            await self._manager.cancel(order_id, reason="a halt called its children back", by=by)
        except OmsError as error:
            log.warning("halt_cancel_failed", order_id=order_id, reason=error.message)
