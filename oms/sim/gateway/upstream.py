"""The line between the gateway and IB: what a client notices while it is down.

Orders keep working at IB.  What they report waits for the line, what clients ask of IB waits too;
everything else is answered from the gateway's own books, as TWS answers from its cache.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from oms.sim.protocol.layout import Values

if TYPE_CHECKING:
    from oms.sim.gateway.clients import Session
    from oms.sim.gateway.gateway import Gateway
    from oms.sim.protocol.requests import Request

LOST: Final = "Connectivity between IB and Trader Workstation has been lost."
BROKEN: Final = (
    "Connectivity between Trader Workstation and server is broken."
    " It will be restored automatically."
)
RESTORED: Final = {
    1101: "Connectivity between IB and Trader Workstation has been restored - data lost.",
    1102: "Connectivity between IB and Trader Workstation has been restored - data maintained."
    " All data farms are connected: usfarm; ushmds; secdefil.",
}
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
REPORTS: Final = frozenset(
    (
        *("openOrder", "orderStatus", "execDetails", "commissionReport", "orderBound"),
        *("position", "positionMulti", "updatePortfolio", "updateAccountValue", "pnl"),
        *("updateAccountTime", "accountSummary", "accountUpdateMulti", "pnlSingle"),
    )
)
TICKS: Final = frozenset(("tickPrice", "tickSize", "tickByTick", "realtimeBar", "tickGeneric"))
ASKED_OF_IB: Final = frozenset(("placeOrder", "cancelOrder", "reqGlobalCancel"))
SUBSCRIBED: Final = ("MktData:", "TickByTickData:", "RealTimeBars:")
WHEN: Final = ("after", "before", "never")


class Upstream:
    """Up until `lose`, then down until `restore`."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.up = True
        self._requests: list[tuple[Session, Request]] = []
        self._reports: list[tuple[Session, str, Values]] = []

    @property
    def greetings(self) -> tuple[tuple[int, str], ...]:
        """What a client that connects is told of the line."""
        return FARMS_OK if self.up else ((2110, BROKEN), *FARMS_BROKEN)

    def lose(self) -> None:
        """1100 to everybody, and the farms are broken."""
        if self.up:
            self.up = False
            self._tell((1100, LOST), *FARMS_BROKEN)

    def restore(self, code: int, reports: str) -> None:
        """1101 or 1102 to everybody; the reports that waited come before it, after it or never.

        With 1101 the subscriptions of quotes are gone.
        """
        if self.up:
            return
        self.up = True
        waiting, self._reports = self._reports, []
        if reports == "before":
            self._send(waiting)
        self._tell((code, RESTORED[code]), *FARMS_OK)
        if reports == "after":
            self._send(waiting)
        if code == 1101:
            for session in self.gateway.sessions:
                for name in [n for n in session.subscriptions if n.startswith(SUBSCRIBED)]:
                    del session.subscriptions[name]
        requests, self._requests = self._requests, []
        for session, request in requests:
            session.act(request)

    def forget(self) -> None:
        """The gateway restarts: what waited in it is gone."""
        self._requests.clear()
        self._reports.clear()

    def takes(self, session: Session, request: Request) -> bool:
        """True for a request that has to wait for the line."""
        if self.up or request.name not in ASKED_OF_IB:
            return False
        self._requests.append((session, request))
        return True

    def keeps(self, session: Session, name: str, values: Values) -> bool:
        """True for a message that comes from IB and cannot come now."""
        if self.up or self.gateway.is_answering:
            return False
        if name in REPORTS:
            self._reports.append((session, name, values))
        return name in REPORTS or name in TICKS

    def _tell(self, *notices: tuple[int, str]) -> None:
        for session in self.gateway.sessions:
            if session.ready:
                for code, text in notices:
                    session.error(-1, code, text)

    def _send(self, waiting: list[tuple[Session, str, Values]]) -> None:
        for session, name, values in waiting:
            session.send(name, values)
