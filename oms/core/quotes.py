"""The market as it was heard: quotes, single ticks, bars. Not orders, and not in the log (D1)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Literal

from oms.core.contracts import Contract

#: What kind of quotes IB sends: real time, or as it was before the close, or fifteen minutes late.
MarketType = Literal["live", "frozen", "delayed", "delayed_frozen"]
#: What can be subscribed: the top of the book; every trade, of the contract's own exchange (`last`)
#: or of all; every change of the touch; its middle; bars of five seconds.
FeedKind = Literal["quotes", "last", "all_last", "bid_ask", "midpoint", "bars"]


@dataclass(frozen=True, slots=True)
class Quote:
    """The market of a contract as it was last heard; None where nothing was."""

    contract: Contract
    #: When we heard it, aware UTC.
    at: datetime
    bid: Decimal | None = None
    ask: Decimal | None = None
    last: Decimal | None = None
    #: The previous day's closing price.
    close: Decimal | None = None
    bid_size: Decimal | None = None
    ask_size: Decimal | None = None
    last_size: Decimal | None = None
    open: Decimal | None = None
    high: Decimal | None = None
    low: Decimal | None = None
    volume: Decimal | None = None
    #: When the last price was made, where IB said it; aware UTC.
    last_at: datetime | None = None
    market_type: MarketType = "live"

    @property
    def middle(self) -> Decimal | None:
        """Return the middle of the touch, None where a side is missing."""
        if self.bid is None or self.ask is None:
            return None
        return (self.bid + self.ask) / 2

    @property
    def price(self) -> Decimal | None:
        """Return the best single price: the middle of the market, else the last, else the close."""
        middle = self.middle
        if middle is not None:
            return middle
        return self.last if self.last is not None else self.close


@dataclass(frozen=True, slots=True)
class Tick:
    """One event of the tape or of the touch; None where its kind has no such number."""

    contract: Contract
    kind: FeedKind
    #: The exchange's time in whole seconds, aware UTC.
    at: datetime
    price: Decimal | None = None
    size: Decimal | None = None
    exchange: str = ""
    #: IB's own words about a trade, such as an odd lot.
    conditions: str = ""
    bid: Decimal | None = None
    ask: Decimal | None = None
    bid_size: Decimal | None = None
    ask_size: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Bar:
    """Five seconds of trades."""

    contract: Contract
    #: Its beginning, aware UTC.
    at: datetime
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal | None
    #: The average price, weighted by volume.
    average: Decimal | None
    #: How many trades.
    count: int | None


MarketItem = Quote | Tick | Bar
