"""One market data line at the gateway, and the feeds that share it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from oms.broker.feed import Feed
from oms.core.contracts import Contract
from oms.core.quotes import FeedKind, MarketItem, Quote
from oms.errors import BrokerError


class MarketLine:
    """A subscription or a snapshot, under the id of its latest request."""

    def __init__(
        self, contract: Contract, kind: FeedKind, *, ended: asyncio.Future[None] | None = None
    ) -> None:
        """`ended` makes it a snapshot: it resolves at its end, or with IB's refusal."""
        self.contract = contract
        self.kind = kind
        #: 0 until it was asked for.
        self.request_id = 0
        self.quote: Quote | None = None
        self.feeds: list[Feed] = []
        #: IB has ended it, with a snapshot's end or a refusal: there is nothing to cancel.
        self.is_over = False
        self._ended = ended
        #: A quote changed and was not told yet.
        self._is_dirty = False

    @property
    def is_snapshot(self) -> bool:
        """Say whether it is asked for once and ends by itself."""
        return self._ended is not None

    def change(self, fields: Mapping[str, Any], now: datetime) -> Quote:
        """Give the quote new values and return it; the feeds hear of it after the packet, whose
        ticks are one change of the market.
        """
        before = self.quote or Quote(self.contract, now)
        self.quote = replace(before, at=now, **fields)
        if replace(self.quote, at=before.at) != before and not self._is_dirty:
            self._is_dirty = True
            asyncio.get_running_loop().call_soon(self.flush)
        return self.quote

    def flush(self) -> None:
        """Tell the feeds of a change that they have not heard of."""
        if self._is_dirty and self.quote is not None:
            self._is_dirty = False
            self.tell(self.quote)

    def tell(self, item: MarketItem) -> None:
        """Give every feed an item."""
        for feed in list(self.feeds):
            feed.put(item)

    def end(self) -> None:
        """Take the end of a snapshot, from IB or because what was asked for is there."""
        if self._ended is not None and not self._ended.done():
            self._ended.set_result(None)

    def refuse(self, error: BrokerError) -> None:
        """Take the refusal of IB, or the loss of the connection under a snapshot."""
        self.is_over = True
        if self._ended is None:
            for feed in list(self.feeds):
                feed.refuse(error)
        elif not self._ended.done():
            self._ended.set_exception(error)
