"""Asking about orders that a message of IB left unsettled (decision D9).

Some codes neither end an order nor leave it as it was for sure: codes that no table knows, a modify
that failed because the order may have ended, a cancel that found it in another state. The books
keep such an order open, and the broker is asked what became of it: not at once, for the order's own
news is most often on its way and settles it without a question, but as soon as it had time to come,
and once for a burst.

About an order that IB works a whole comparison is asked for. A new order of which a code is all
that IB has said is looked for where IB names orders (`refusals`).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Final

from oms.clock import Clock
from oms.core.codes import ends
from oms.core.events import Envelope, NoticeReceived
from oms.core.fold.order_state import may_be_refused
from oms.service.view import View
from oms.telemetry import get_logger

log = get_logger("service.inquiries")

#: How much longer than it takes to settle the first message of a burst waits for the others.
_BURST_FRACTION: Final = 0.25


class Inquiries:
    """Remembers which orders to ask about, and says when."""

    def __init__(
        self,
        *,
        look_for: Callable[[Sequence[str]], Awaitable[None]],
        view: View,
        client_id: int,
        clock: Clock,
        settle_seconds: float,
    ) -> None:
        """`settle_seconds` after the last such message about an order the broker is asked, and not
        more often than that; `look_for` is awaited with the new orders that may have been refused.
        """
        self._look_for = look_for
        self._view = view
        self._client_id = client_id
        self._clock = clock
        self._settle_seconds = settle_seconds
        #: When to ask about an order, on the monotonic clock.
        self._due: dict[str, float] = {}
        self._asked_at = clock.monotonic() - settle_seconds
        self._noted = asyncio.Event()

    def note(self, envelopes: Iterable[Envelope]) -> None:
        """Take notice of what was committed; called after the view has taken it."""
        for envelope in envelopes:
            match envelope.event:
                case NoticeReceived(subject_id=number, code=code) if number not in {0, -1}:
                    self._note_code(number, code)
                case _:
                    pass

    async def serve(self, ask: Callable[[str], None]) -> None:
        """Call `ask` with the reason each time the books must be compared; never returns."""
        while True:
            await self._until_due()
            now = self._clock.monotonic()
            due = [order_id for order_id, at in self._due.items() if at <= now]
            for order_id in due:
                del self._due[order_id]
            orders = [order for i in due if (order := self._view.orders.get(i)) is not None]
            unsettled = [order for order in orders if order.live]
            if not unsettled:
                continue
            self._asked_at = now
            log.info("inquiry_made", order_ids=[order.order_id for order in unsettled])
            refused = [order.order_id for order in unsettled if may_be_refused(order)]
            if refused:
                await self._look_for(refused)
            if len(refused) < len(unsettled):
                ask("notice")

    async def _until_due(self) -> None:
        while True:
            first = min(self._due.values(), default=None)
            if first is not None:
                first += self._settle_seconds * _BURST_FRACTION
                first = max(first, self._asked_at + self._settle_seconds)
                if first <= self._clock.monotonic():
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
