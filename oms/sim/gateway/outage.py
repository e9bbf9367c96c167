"""The loss of the line between the gateway and IB, and its end: what clients notice of it."""

from __future__ import annotations

from enum import StrEnum
from typing import Final, assert_never

from oms.sim.gateway.clients import Clients
from oms.sim.gateway.session import Session
from oms.sim.gateway.upstream import FARMS_BROKEN, FARMS_OK, Upstream
from oms.sim.protocol.messages import ServerMessage
from oms.sim.protocol.requests import Request

LOST: Final = "Connectivity between IB and Trader Workstation has been lost."
RESTORED: Final = {
    1101: "Connectivity between IB and Trader Workstation has been restored - data lost.",
    1102: "Connectivity between IB and Trader Workstation has been restored - data maintained."
    " All data farms are connected: usfarm; ushmds; secdefil.",
}
#: Subscriptions that 1101 ends.
SUBSCRIBED: Final = ("MktData:", "MktDepth:", "TickByTickData:", "RealTimeBars:")


class ReportTime(StrEnum):
    """When the reports that waited are told, as seen from the notice that the line is back."""

    AFTER = "after"
    BEFORE = "before"
    NEVER = "never"


class Outages:
    """Up until `lose`, then down until `restore`."""

    def __init__(self, upstream: Upstream, clients: Clients) -> None:
        self._upstream = upstream
        self._clients = clients
        self._requests: list[tuple[Session, Request]] = []

    def lose(self) -> None:
        """Lose the line: 1100 to everybody, and the farms are broken."""
        if self._upstream.up:
            self._upstream.up = False
            self._tell((1100, LOST), *FARMS_BROKEN)

    def restore(self, code: int, reports: ReportTime) -> None:
        """Send 1101 or 1102 to everybody; the reports that waited come as `reports` says.

        With 1101 the subscriptions of quotes are gone.
        """
        if self._upstream.up:
            return
        self._upstream.up = True
        waiting = [(session, _taken(session)) for session in self._clients.sessions]
        notices = ((code, RESTORED[code]), *FARMS_OK)
        match reports:
            case ReportTime.BEFORE:
                _send(waiting)
                self._tell(*notices)
            case ReportTime.AFTER:
                self._tell(*notices)
                _send(waiting)
            case ReportTime.NEVER:
                self._tell(*notices)
            case _:
                assert_never(reports)
        if code == 1101:
            for session in self._clients.sessions:
                for name in [n for n in session.subscriptions if n.startswith(SUBSCRIBED)]:
                    del session.subscriptions[name]
        requests, self._requests = self._requests, []
        for session, request in requests:
            session.act(request)

    def forget(self) -> None:
        """Forget what waited in the gateway: it restarts."""
        self._requests.clear()

    def delays(self, session: Session, request: Request) -> bool:
        """Return True for a request that has to wait for the line; it is acted on after that."""
        if not self._upstream.delays(request.name):
            return False
        self._requests.append((session, request))
        return True

    def _tell(self, *notices: tuple[int, str]) -> None:
        for session in self._clients.ready():
            for code, text in notices:
                session.error(-1, code, text)


def _taken(session: Session) -> list[ServerMessage]:
    waiting, session.reports_waiting = session.reports_waiting, []
    return waiting


def _send(waiting: list[tuple[Session, list[ServerMessage]]]) -> None:
    for session, reports in waiting:
        session.send_reports(reports)
