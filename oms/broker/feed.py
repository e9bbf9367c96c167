"""What one caller hears of a market: a bounded queue that keeps the newest items.

A caller that is slow loses the older items, and learns how many.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable

from oms.core.contracts import Contract
from oms.core.quotes import FeedKind, MarketItem
from oms.errors import BrokerError, IBConnectionError
from oms.telemetry import get_logger

_log = get_logger("broker.market_data")


class Feed:
    """What one caller hears of a contract: a bounded queue that keeps the newest."""

    def __init__(
        self,
        contract: Contract,
        kind: FeedKind,
        *,
        length_max: int,
        close: Callable[[Feed], None],
        listener: Callable[[MarketItem], None] | None = None,
        on_refused: Callable[[BrokerError], None] | None = None,
    ) -> None:
        self.contract = contract
        self.kind = kind
        #: How many items were dropped because newer ones came before they were taken.
        self.dropped = 0
        #: Why IB gives nothing (any more), None while it does.
        self.refusal: BrokerError | None = None
        self.is_closed = False
        self._items: deque[MarketItem] = deque(maxlen=length_max)
        self._changed = asyncio.Event()
        self._close = close
        self._listener = listener
        self._on_refused = on_refused

    async def next(self) -> MarketItem:
        """Return the oldest item that was kept, or wait for one; give it a deadline.

        Raises the `BrokerError` with which IB refused the line, and `IBConnectionError` after
        `close`.
        """
        while not self._items:
            if self.refusal is not None:
                raise self.refusal
            if self.is_closed:
                raise IBConnectionError(f"the feed of {self.contract} was closed", hint="")
            self._changed.clear()
            await self._changed.wait()
        return self._items.popleft()

    async def __aiter__(self) -> AsyncIterator[MarketItem]:
        while not self.is_closed:
            try:
                item = await self.next()
            except IBConnectionError:
                if self.is_closed:
                    return
                raise
            yield item

    def close(self) -> None:
        """Stop hearing; the line ends with its last feed."""
        if not self.is_closed:
            self.end()
            self._close(self)

    def end(self) -> None:
        """Take the end of the line: what waits in `next` is told that nothing more comes."""
        self.is_closed = True
        self._changed.set()

    def put(self, item: MarketItem) -> None:
        """Take an item from the line."""
        if self._listener is not None:
            try:
                self._listener(item)
            except Exception:  # noqa: BLE001 - a strategy's bug must not end its feed
                _log.exception("market_listener_failed", con_id=self.contract.con_id)
            return
        if len(self._items) == self._items.maxlen:
            self.dropped += 1
        self._items.append(item)
        self._changed.set()

    def refuse(self, error: BrokerError) -> None:
        """Take IB's refusal from the line."""
        self.refusal = error
        self._changed.set()
        if self._on_refused is not None:
            self._on_refused(error)
