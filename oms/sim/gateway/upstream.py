"""The line between the gateway and IB: whether it is up, and what cannot come while it is not.

Orders keep working at IB. What they report waits for the line, and so do orders of clients. What
only IB can answer is not answered, and quotes stand still. The rest is answered by the gateway as
it was when the line went, as TWS answers from its cache.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import Final

BROKEN: Final = (
    "Connectivity between Trader Workstation and server is broken."
    " It will be restored automatically."
)
FARMS_BROKEN: Final = (
    (2103, "Market data farm connection is broken:usfarm"),
    (2105, "HMDS data farm connection is broken:ushmds"),
    (2157, "Sec-def data farm connection is broken:secdefil"),
)
FARMS_OK: Final = (
    (2104, "Market data farm connection is OK:usfarm"),
    (2106, "HMDS data farm connection is OK:ushmds"),
    (2158, "Sec-def data farm connection is OK:secdefil"),
)
#: Messages that IB sends by itself and that wait for the line.
REPORTS: Final = frozenset(
    (
        *("openOrder", "orderStatus", "execDetails", "commissionReport", "orderBound"),
        *("position", "positionMulti", "updatePortfolio", "updateAccountValue", "pnl"),
        *("updateAccountTime", "accountSummary", "accountUpdateMulti", "pnlSingle"),
    )
)
#: Messages that are lost without the line: the next one is as good.
TICKS: Final = frozenset(
    (
        *("tickPrice", "tickSize", "tickGeneric", "tickString", "tickOptionComputation"),
        *("tickByTick", "realtimeBar", "updateMktDepth", "updateMktDepthL2"),
        "historicalDataUpdate",
    )
)
#: Requests that wait for the line.
ASKED_OF_IB: Final = frozenset(("placeOrder", "cancelOrder", "reqGlobalCancel", "exerciseOptions"))
#: Requests whose quotes begin when the line is back, unless that has lost all of them (1101).
SUBSCRIBING: Final = frozenset(
    ("reqMktData", "reqTickByTickData", "reqRealTimeBars", "reqMktDepth")
)
#: Requests that only IB can answer: nobody does while the line is down, nor afterwards.
ANSWERED_BY_IB: Final = frozenset(
    (
        *("reqContractDetails", "reqMatchingSymbols", "reqSecDefOptParams", "reqCompletedOrders"),
        *("reqHistoricalData", "reqHistoricalTicks", "reqHeadTimeStamp", "reqHistogramData"),
        *("reqScannerParameters", "reqScannerSubscription", "reqFundamentalData"),
        *("reqNewsProviders", "reqNewsArticle", "reqHistoricalNews", "reqSmartComponents"),
        *("reqMktDepthExchanges", "calculateImpliedVolatility", "calculateOptionPrice"),
        *("reqWshMetaData", "reqWshEventData", "requestFA", "replaceFA"),
    )
)


class Fate(StrEnum):
    """What becomes of a request."""

    ACTED_ON = "acted on"
    WAITS = "waits"
    LOST = "lost"


class Upstream:
    """The line: up at first."""

    def __init__(self) -> None:
        self.up = True
        self._answering = False

    @property
    def greetings(self) -> tuple[tuple[int, str], ...]:
        """What a client that connects is told of the line: codes and texts."""
        return FARMS_OK if self.up else ((2110, BROKEN), *FARMS_BROKEN)

    @contextmanager
    def answering(self) -> Iterator[None]:
        """Answer a client: what is sent inside is the gateway's own and needs no line."""
        self._answering = True
        try:
            yield
        finally:
            self._answering = False

    def stops(self, name: str) -> bool:
        """Return True for a message that comes from IB and cannot come now."""
        return not (self.up or self._answering) and (name in REPORTS or name in TICKS)

    def fate(self, request_name: str) -> Fate:
        """Return what becomes of a request that a client makes now."""
        if self.up:
            return Fate.ACTED_ON
        if request_name in ASKED_OF_IB or request_name in SUBSCRIBING:
            return Fate.WAITS
        return Fate.LOST if request_name in ANSWERED_BY_IB else Fate.ACTED_ON
