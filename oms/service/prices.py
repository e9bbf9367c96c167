"""The market's price of contracts that were ordered lately, for the rules that need one."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from oms.core.contracts import Contract, Identity
from oms.core.quotes import MarketItem, Quote
from oms.errors import OmsError
from oms.telemetry import get_logger

if TYPE_CHECKING:
    from oms.broker.feed import Feed
    from oms.broker.market_data import Markets
    from oms.broker.session import Session

# The name under which these lines were always logged.
log = get_logger("service.admission")

#: Contracts whose market is followed for the checks; IB allows a hundred lines in all.
MARKETS_MAX: Final = 20


@dataclass(slots=True)
class _Followed:
    epoch: int
    feed: Feed | None = None
    price: Decimal | None = None
    heard: asyncio.Event = field(default_factory=asyncio.Event)

    def hear(self, item: MarketItem) -> None:
        """Take the price of a quote, if it has one."""
        # A quote that has no price yet is no answer; the next tick may bring one.
        if isinstance(item, Quote) and item.price is not None:
            self.price = item.price
            self.heard.set()

    def refuse(self, _: OmsError) -> None:
        """Let go of the last price: IB gives none any more."""
        self.price = None
        self.heard.set()


class Prices:
    """Follows the market of a contract from its first order on, over streams that stay open."""

    def __init__(self, markets: Markets, session: Session, *, wait_seconds: float) -> None:
        self._markets = markets
        self._session = session
        self._wait_seconds = wait_seconds
        self._followed: OrderedDict[Identity, _Followed] = OrderedDict()

    async def of(self, contract: Contract) -> Decimal | None:
        """Return the price as it is now; None where none comes in time."""
        followed = self._followed.get(contract.identity)
        if followed is None or followed.epoch != self._session.current_epoch:
            # A price of an earlier session is none of now, even where the stream goes on.
            self._forget(contract.identity)
            followed = self._follow(contract)
        if followed is None:
            return None
        self._followed.move_to_end(contract.identity)
        try:
            async with asyncio.timeout(self._wait_seconds):
                await followed.heard.wait()
        except TimeoutError:
            log.info("quote_missing", con_id=contract.con_id, symbol=contract.symbol)
        return followed.price

    def _follow(self, contract: Contract) -> _Followed | None:
        made = _Followed(self._session.current_epoch)
        while len(self._followed) >= MARKETS_MAX:
            self._forget(next(iter(self._followed)))
        try:
            made.feed = self._markets.subscribe(
                contract, listener=made.hear, on_refused=made.refuse
            )
        except OmsError as error:
            log.info("quote_missing", con_id=contract.con_id, reason=error.message)
            return None
        self._followed[contract.identity] = made
        return made

    def _forget(self, what: Identity) -> None:
        followed = self._followed.pop(what, None)
        if followed is not None and followed.feed is not None:
            followed.feed.close()
