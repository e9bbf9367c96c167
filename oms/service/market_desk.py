"""The market and the accounts, as a strategy sees them beside its orders."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from oms.core.contracts import Contract
from oms.core.portfolio import Account, mark_of
from oms.core.quotes import FeedKind, Quote
from oms.service.portfolio import read_accounts

if TYPE_CHECKING:
    from oms.broker.gateway import Gateway
    from oms.broker.market_data import Feed
    from oms.store.reader import Reader


class MarketDesk:
    """What `OrderManager` offers beside orders; contracts are qualified ones."""

    _gateway: Gateway
    _reader: Reader

    async def price(self, contract: Contract) -> Decimal:
        """Return the middle of the market, the last price or the close, in this order.

        Waits with the deadline for requests; raises `IBConnectionError` after it and `BrokerError`
        where IB refuses or has no price.
        """
        quote = await self._gateway.markets.price(contract)
        assert quote.price is not None, "the gateway raises where there is no price"
        return quote.price

    async def quote(self, contract: Contract) -> Quote:
        """Return the market of a contract as it is now; raises as `price` does."""
        return await self._gateway.markets.snapshot(contract)

    def feed(self, contract: Contract, kind: FeedKind = "quotes") -> Feed:
        """Return a bounded queue of a contract's quotes, ticks or 5-second bars.

        `async for` takes from it; it keeps the newest, counts what it `dropped`, and goes on over
        lost lines until it is closed. Raises `MarketLinesExhausted`.
        """
        return self._gateway.markets.subscribe(contract, kind)

    async def accounts(self) -> tuple[Account, ...]:
        """Return what the accounts hold and are worth, each figure with its age or the reason why
        it is unknown; prices that were heard in this process count.
        """
        quotes = self._gateway.markets.last_quotes()
        marks = {
            con_id: mark for con_id, quote in quotes.items() if (mark := mark_of(quote)) is not None
        }
        return await read_accounts(self._reader, marks=marks)
