"""Bars that are told as they end: real-time bars, and history that is kept up to date.

Both are made of the same record of ticks as history is, at every full five seconds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from oms.sim.broker.bar_sizes import SIZES, Size
from oms.sim.broker.exchange.contracts import Contract
from oms.sim.broker.floor import Floor
from oms.sim.broker.history import MICRO, Bar, History, Span
from oms.sim.gateway.clients import Clients
from oms.sim.gateway.session import Session
from oms.sim.gateway.subscriptions import subscribe, subscriptions
from oms.sim.protocol.fields import number, to_bool
from oms.sim.protocol.requests import Request

BAR_SECONDS: Final = 5
SHOWN: Final = frozenset(("TRADES", "BID", "ASK", "MIDPOINT"))


@dataclass(frozen=True, slots=True)
class RealTime:
    """A subscription of five-second bars."""

    contract: Contract
    #: One of `SHOWN`.
    shows: str
    regular: bool


@dataclass(frozen=True, slots=True)
class Updated:
    """A question for bars whose last one is kept up to date."""

    contract: Contract
    shows: str
    size: Size
    regular: bool
    #: A bar in the form that was asked for.
    shown: Callable[[Bar], dict[str, str]]


class LiveBars:
    """The subscriptions of bars, told by one timer."""

    def __init__(self, floor: Floor, history: History, clients: Clients) -> None:
        self._floor = floor
        self._history = history
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
        regular = to_bool(request.values["useRTH"])
        self._floor.market.origin(contract)
        subscribe(session, request, RealTime(contract, request.values["whatToShow"], regular))
        self.follow()

    def follow(self) -> None:
        """Tell bars from the next full five seconds on, as long as somebody wants them."""
        if not self._running:
            self._running = True
            seconds = BAR_SECONDS - self._floor.clock.now().timestamp() % BAR_SECONDS
            self._floor.clock.call_later(seconds, self._tell)

    def _tell(self) -> None:
        # A timer that is a moment early or late means the same five seconds.
        end = round(self._floor.clock.now().timestamp() / BAR_SECONDS) * BAR_SECONDS
        self._running = False
        for session in self._clients.sessions:
            for request_id, wanted in subscriptions(session):
                match wanted:
                    case RealTime(contract, shows, regular):
                        self._running = True
                        size = SIZES["5 secs"]
                        for bar in self._newest(contract, shows, size, end, regular=regular):
                            session.send("realtimeBar", _values(request_id, bar))
                    case Updated(contract, shows, size, regular, shown):
                        self._running = True
                        for bar in self._newest(contract, shows, size, end, regular=regular):
                            session.send(
                                "historicalDataUpdate", {"reqId": request_id, **shown(bar)}
                            )
        if self._running:
            self._running = False
            self.follow()

    def _newest(
        self, contract: Contract, shows: str, size: Size, end: int, *, regular: bool
    ) -> list[Bar]:
        """The bar that has the five seconds before `end`; none while the market is closed."""
        since = self._floor.market.origin(contract).second
        last = self._history.sessions.day_of(contract, end - 1, since)
        first = last
        if not size.within_day:
            period = size.period(last)
            while size.period(first - timedelta(days=1)) == period:
                first -= timedelta(days=1)
        spans = self._history.spans(contract, (first, last), regular=regular)
        if not spans or not spans[-1].start < end <= spans[-1].end:
            return []
        if size.within_day:
            zone = self._history.sessions.local_zone(contract)
            start = max(size.begin(end - 1, zone), spans[-1].start)
            spans = [Span(spans[-1].session, start, spans[-1].end)]
        return self._history.bars(contract, shows, spans, size, end * MICRO)[-1:]


def _values(request_id: str, bar: Bar) -> dict[str, str]:
    return {
        "reqId": request_id,
        "time": str(bar.start),
        "open": number(bar.open),
        "high": number(bar.high),
        "low": number(bar.low),
        "close": number(bar.close),
        "volume": number(bar.volume),
        "wap": number(bar.average) if bar.count >= 0 else "-1",
        "count": str(bar.count),
    }
