"""The loss of the line between the gateway and IB, and its end: what clients notice of it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from enum import StrEnum
from typing import Final, assert_never

from oms.sim.gateway.clients import Clients
from oms.sim.gateway.known import Known
from oms.sim.gateway.session import Session
from oms.sim.gateway.upstream import FARMS_BROKEN, FARMS_OK, SUBSCRIBING, Fate, Upstream
from oms.sim.protocol.messages import ServerMessage
from oms.sim.protocol.requests import Request

log = logging.getLogger("oms.sim.gateway.outage")

LOST: Final = "Connectivity between IB and Trader Workstation has been lost."
RESTORED: Final = {
    1101: "Connectivity between IB and Trader Workstation has been restored - data lost.",
    1102: "Connectivity between IB and Trader Workstation has been restored - data maintained."
    " All data farms are connected: usfarm; ushmds; secdefil.",
}
#: Subscriptions that 1101 ends.
SUBSCRIBED: Final = (
    *("MktData:", "MktDepth:", "TickByTickData:", "RealTimeBars:", "HistoricalData:"),
)


class ReportTime(StrEnum):
    """When the reports that waited are told, as seen from the notice that the line is back."""

    AFTER = "after"
    BEFORE = "before"
    NEVER = "never"


class Outages:
    """Up until `lose`, then down until `restore`."""

    def __init__(
        self, upstream: Upstream, clients: Clients, known: Known, refresh: Callable[[], None]
    ) -> None:
        self._upstream = upstream
        self._clients = clients
        self._known = known
        #: Tells every subscriber the quotes of now.
        self._refresh = refresh
        self._requests: list[tuple[Session, Request]] = []
        #: Look-ups that were made while the line was up: the gateway has their contracts.
        self._looked_up: set[tuple[str, ...]] = set()

    def lose(self) -> None:
        """Lose the line: 1100 to everybody, and the farms are broken."""
        if self._upstream.up:
            self._upstream.up = False
            self._known.keep()
            self._tell((1100, LOST), *FARMS_BROKEN)

    def restore(self, code: int, reports: ReportTime) -> None:
        """Send 1101 or 1102 to everybody; the reports that waited come as `reports` says.

        With 1101 the subscriptions of quotes are gone, those too that were asked for meanwhile.
        """
        if self._upstream.up:
            return
        self._upstream.up = True
        self._known.forget()
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
        kept = code != 1101
        if kept:
            self._refresh()
        else:
            for session in self._clients.sessions:
                for name in [n for n in session.subscriptions if n.startswith(SUBSCRIBED)]:
                    del session.subscriptions[name]
        requests, self._requests = self._requests, []
        for session, request in requests:
            if kept or request.name not in SUBSCRIBING:
                session.act(request)

    def forget(self) -> None:
        """Forget what waited in the gateway: it restarts."""
        self._requests.clear()

    def stops(self, session: Session, request: Request) -> bool:
        """Return True for a request that the gateway does not act on now: it waits for the line, or
        nobody ever answers it.
        """
        known = (request.name, *(str(one) for key, one in request.values.items() if key != "reqId"))
        if self._upstream.up:
            if request.name == "reqContractDetails":
                self._looked_up.add(known)
            return False
        if request.name == "reqContractDetails" and known in self._looked_up:
            return False
        if self._withdrawn(session, request):
            return True
        match self._upstream.fate(request.name):
            case Fate.ACTED_ON:
                return False
            case Fate.WAITS:
                self._requests.append((session, request))
            case Fate.LOST:
                log.info("%s needs IB: it is not answered", request.name)
            case other:
                assert_never(other)
        return True

    def _withdrawn(self, session: Session, request: Request) -> bool:
        """Drop the subscription that waits and is cancelled."""
        wanted = request.name.replace("cancel", "req", 1)
        if wanted == request.name or wanted not in SUBSCRIBING:
            return False
        for waiting in self._requests:
            one, other = waiting
            asked = (one, other.name, other.request_id)
            if asked == (session, wanted, request.request_id):
                self._requests.remove(waiting)
                return True
        return False

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
