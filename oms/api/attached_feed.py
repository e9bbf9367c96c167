"""The market of a contract, as a daemon hears it: a feed for a program that is attached."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

import msgspec
import websockets

from oms.core.contracts import Contract
from oms.core.quotes import Bar, FeedKind, MarketItem, Quote, Tick
from oms.core.values import jsonable
from oms.errors import IBConnectionError, OmsError
from oms.telemetry import get_logger

log = get_logger("api")

_LENGTH_MAX: Final = 1_000
_LOOK_SECONDS: Final = 0.2


class AttachedFeed:
    """What one caller hears of a contract: a bounded queue that keeps the newest, as the feeds of
    an `OrderManager` do. It goes on over a daemon that is replaced.
    """

    def __init__(
        self,
        contract: Contract,
        kind: FeedKind,
        found: Callable[[], Awaitable[tuple[str, dict[str, str]]]],
        error_of: Callable[[dict[str, Any]], OmsError],
    ) -> None:
        """`found` waits for a daemon: its address, and the headers of a request."""
        self.contract = contract
        self.kind = kind
        #: How many items were dropped here because newer ones came before they were taken.
        self.dropped = 0
        #: Why there is nothing (any more), None while there is.
        self.refusal: OmsError | None = None
        self.is_closed = False
        self._found = found
        self._error_of = error_of
        self._items: deque[MarketItem] = deque(maxlen=_LENGTH_MAX)
        self._changed = asyncio.Event()
        self._following = asyncio.create_task(self._follow())

    async def next(self) -> MarketItem:
        """Return the oldest item that was kept, or wait for one; give it a deadline.

        Raises the error with which IB refused the line, and `IBConnectionError` after `close`.
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
        self.is_closed = True
        self._following.cancel()
        self._changed.set()

    async def _follow(self) -> None:
        kinds: dict[str, type[MarketItem]] = {"quotes": Quote, "bars": Bar}
        kind = kinds.get(self.kind, Tick)
        asked = json.dumps({"contract": jsonable(self.contract), "kind": self.kind})
        while True:
            try:
                address, headers = await self._found()
                url = f"{address.replace('http', 'ws', 1)}/v1/feed"
                async with websockets.connect(url, additional_headers=headers) as stream:
                    await stream.send(asked)
                    async for text in stream:
                        self._take(json.loads(text), kind)
                        if self.refusal is not None:
                            return
            except (OSError, websockets.WebSocketException) as error:
                log.warning("feed_lost", con_id=self.contract.con_id, reason=str(error))
            await asyncio.sleep(_LOOK_SECONDS)

    def _take(self, message: dict[str, Any], kind: type[MarketItem]) -> None:
        if message.get("kind") == "error":
            self.refusal = self._error_of(message)
        else:
            if len(self._items) == self._items.maxlen:
                self.dropped += 1
            self._items.append(msgspec.convert(message["item"], kind))
        self._changed.set()
