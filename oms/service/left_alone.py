"""Parents that left before their children were found not to leave.

The gateway holds such an entry for the rest of its bracket, which will not come; a person could let
it go in TWS, without its stop-loss. So it is cancelled, whatever kept its children back: a halt,
their age, a full queue. Where the line was lost there is nothing to cancel by, and the next
comparison reports what the gateway may hold.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING

from oms.core.events import Envelope, OrderNotSent
from oms.errors import OmsError
from oms.service.manager import OrderManager
from oms.service.sending import By
from oms.service.view import View
from oms.telemetry import get_logger

if TYPE_CHECKING:
    from oms.broker.session import Session

log = get_logger("service.left_alone")


class LeftAlone:
    """Cancels entries whose brackets did not come."""

    def __init__(self, *, session: Session, view: View, manager: OrderManager) -> None:
        self._session = session
        self._view = view
        self._manager = manager
        #: Parents that are being cancelled, each once.
        self._cancelling: dict[str, asyncio.Task[None]] = {}

    def note(self, envelopes: Iterable[Envelope]) -> None:
        """Take notice of what was committed; called after the view has taken it."""
        for envelope in envelopes:
            if isinstance(envelope.event, OrderNotSent) and self._session.current_epoch:
                child = self._view.orders.get(envelope.event.order_id)
                parent = self._view.orders.get(child.parent_order_id) if child else None
                # One that transmits itself was wanted alone before.
                if parent and parent.live and parent.sent and not parent.transmit:
                    self._begin(parent.order_id, envelope)

    def _begin(self, order_id: str, envelope: Envelope) -> None:
        if order_id not in self._cancelling:
            task = asyncio.create_task(self._cancel(order_id, envelope))
            self._cancelling[order_id] = task
            task.add_done_callback(lambda _: self._cancelling.pop(order_id))

    async def _cancel(self, order_id: str, envelope: Envelope) -> None:
        by = By("daemon", envelope.sequence)
        try:
            await self._manager.cancel(order_id, reason="its children were not sent", by=by)
        except OmsError as error:
            log.warning("parent_cancel_failed", order_id=order_id, reason=error.message)
