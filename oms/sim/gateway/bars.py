"""Five-second bars: what the price did between two timers, for those who subscribed."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from oms.sim.broker.books.ledger import ZERO
from oms.sim.broker.exchange.contracts import Contract
from oms.sim.broker.exchange.market import Quote
from oms.sim.broker.floor import Floor
from oms.sim.gateway.clients import Clients
from oms.sim.gateway.session import Session
from oms.sim.gateway.subscriptions import subscribe, subscriptions
from oms.sim.protocol.fields import number
from oms.sim.protocol.requests import Request

BAR_SECONDS: Final = 5
SHOWN: Final = frozenset(("TRADES", "BID", "ASK", "MIDPOINT"))
#: What IB sends for volume, average and count of a bar that is not made of trades.
NO_VOLUME: Final = "-1"


@dataclass(slots=True)
class Bar:
    """One subscription: its contract, what it shows, and the bar that is being made."""

    contract: Contract
    #: One of `SHOWN`.
    shows: str
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    #: The day's volume when the bar was opened.
    volume_before: Decimal
    prints: int = 0

    @classmethod
    def starting(cls, contract: Contract, shows: str, quote: Quote) -> Bar:
        """Open a bar at the price of a quote."""
        price = shown(quote, shows)
        return cls(contract, shows, price, price, price, price, quote.volume)

    def see(self, quote: Quote) -> None:
        """Take in the price of one more print."""
        self.close = shown(quote, self.shows)
        self.high, self.low = max(self.high, self.close), min(self.low, self.close)
        self.prints += 1

    def finished(self, quote: Quote) -> dict[str, str]:
        """Return the fields of the bar, and open the next one where it closed."""
        self.close = shown(quote, self.shows)
        self.high, self.low = max(self.high, self.close), min(self.low, self.close)
        volume = quote.volume - self.volume_before
        average = (self.open + self.high + self.low + self.close) / 4
        values = {
            "open": number(self.open),
            "high": number(self.high),
            "low": number(self.low),
            "close": number(self.close),
            "volume": number(volume) if self.shows == "TRADES" else NO_VOLUME,
            "wap": number(average) if self.shows == "TRADES" else NO_VOLUME,
            "count": str(self.prints if volume > ZERO else 0),
        }
        if self.shows != "TRADES":
            values["count"] = NO_VOLUME
        self.open = self.high = self.low = self.close
        self.volume_before, self.prints = quote.volume, 0
        return values


def shown(quote: Quote, shows: str) -> Decimal:
    """Return the price that a bar is made of."""
    if shows == "BID":
        return quote.bid
    if shows == "ASK":
        return quote.ask
    return (quote.bid + quote.ask) / 2 if shows == "MIDPOINT" else quote.last


class RealTimeBars:
    """The subscriptions of bars, told by one timer."""

    def __init__(self, floor: Floor, clients: Clients) -> None:
        self._floor = floor
        self._clients = clients
        self._running = False

    def begin(self, session: Session, request: Request, contract: Contract) -> None:
        """Begin a subscription; what IB serves is bars of five seconds, of four kinds."""
        cause = ""
        if request.values["barSize"] != str(BAR_SECONDS):
            cause = f"Invalid bar size: {request.values['barSize']}, only 5 second bars"
        elif request.values["whatToShow"] not in SHOWN:
            cause = f"Invalid what to show: {request.values['whatToShow']}"
        if cause:
            text = f"Error validating request.-'bU' : cause - {cause}"
            session.error(request.values["reqId"], 321, text)
            return
        quote = self._floor.market.quote(contract)
        subscribe(session, request, Bar.starting(contract, request.values["whatToShow"], quote))
        if not self._running:
            self._running = True
            self._floor.clock.call_later(BAR_SECONDS, self._send)

    def _send(self) -> None:
        """One bar to every subscriber, then again while there is one."""
        start = str(int(self._floor.clock.now().timestamp()) - BAR_SECONDS)
        self._running = False
        for session in self._clients.sessions:
            for request_id, bar in subscriptions(session):
                if isinstance(bar, Bar):
                    self._running = True
                    values = bar.finished(self._floor.market.quote(bar.contract))
                    session.send("realtimeBar", {**values, "reqId": request_id, "time": start})
        if self._running:
            self._floor.clock.call_later(BAR_SECONDS, self._send)
