"""Asking about orders that a message of IB left unsettled (decision D9).

Some codes neither end an order nor leave it as it was for sure: codes that no table knows, a modify
that failed because the order may have ended, a cancel that found it in another state. The books
keep such an order open, and the broker is asked what became of it: not at once, for the order's own
news is most often on its way and settles it without a question, but as soon as it had time to come.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable

from oms.clock import Clock
from oms.core.codes import ends
from oms.core.events import Envelope, NoticeReceived
from oms.service.view import View
from oms.telemetry import get_logger

log = get_logger("service.inquiries")


class Inquiries:
    """Remembers which orders to ask about, and says when."""

    def __init__(self, *, view: View, client_id: int, clock: Clock, settle_seconds: float) -> None:
        """`settle_seconds` after the last such message about an order the broker is asked."""
        self._view = view
        self._client_id = client_id
        self._clock = clock
        self._settle_seconds = settle_seconds
        #: When to ask about an order, on the monotonic clock.
        self._due: dict[str, float] = {}
        self._noted = asyncio.Event()

    def note(self, envelopes: Iterable[Envelope]) -> None:
        """Take notice of what was committed; called after the view has taken it."""
        for envelope in envelopes:
            match envelope.event:
                case NoticeReceived(subject_id=number, code=code) if number > 0:
                    self._note_code(number, code)
                case _:
                    pass

    async def serve(self, ask: Callable[[str], None]) -> None:
        """Call `ask` with the reason each time the broker must be asked; never returns."""
        while True:
            await self._until_due()
            now = self._clock.monotonic()
            due = [order_id for order_id, at in self._due.items() if at <= now]
            for order_id in due:
                del self._due[order_id]
            unsettled = [i for i in due if self._is_live(i)]
            if unsettled:
                log.info("inquiry_made", order_ids=unsettled)
                ask("notice")

    async def _until_due(self) -> None:
        while True:
            first = min(self._due.values(), default=None)
            if first is not None and first <= self._clock.monotonic():
                return
            self._noted.clear()
            wait = None if first is None else first - self._clock.monotonic()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._noted.wait()

    def _note_code(self, number: int, code: int) -> None:
        if "unknown" not in {ends(code, True), ends(code, False)}:
            return
        for order in self._view.orders.values():
            if (order.broker_order_id, order.client_id) != (number, self._client_id):
                continue
            if order.live and ends(code, order.acknowledged) == "unknown":
                self._due[order.order_id] = self._clock.monotonic() + self._settle_seconds
                self._noted.set()

    def _is_live(self, order_id: str) -> bool:
        order = self._view.orders.get(order_id)
        return order is not None and order.live
