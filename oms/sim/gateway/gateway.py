"""The gateway: sockets, sessions, and who hears what.

Everything runs on one event loop and nothing here waits: a frame is read, acted on, the books are
committed, then the answers are written. A kill of the simulator leaves all of it or none.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from functools import partial
from zoneinfo import ZoneInfo

from oms.sim.broker.books.executions import Execution
from oms.sim.broker.books.orders import Order
from oms.sim.broker.broker import Broker
from oms.sim.broker.exchange.contracts import Contract
from oms.sim.broker.exchange.hours import schedule_of
from oms.sim.clock import Clock, RealClock
from oms.sim.gateway import render
from oms.sim.gateway.answers import Answers
from oms.sim.gateway.clients import Clients
from oms.sim.gateway.faults import FaultPlan
from oms.sim.gateway.gateway_clock import GatewayClock
from oms.sim.gateway.known import Known
from oms.sim.gateway.observers import Observers
from oms.sim.gateway.outage import Outages
from oms.sim.gateway.reports import Reports
from oms.sim.gateway.session import Session, Shared
from oms.sim.gateway.upstream import Upstream
from oms.sim.protocol.fields import to_int
from oms.sim.protocol.requests import Request
from oms.sim.settings import Settings

log = logging.getLogger("oms.sim.gateway.gateway")

CLIENT_ID_IN_USE = (
    "Unable to connect as the client id is already in use. Retry with a unique client id."
)
TOO_MANY = "Unable to connect as {} API clients, the most there may be, are connected."
#: How long clients have to read what was written before their sockets are cut.
STOP_SECONDS = 2.0


class Gateway:
    """One TWS gateway. `start` opens the port, `stop` closes it; the books outlive both."""

    def __init__(self, settings: Settings, *, clock: Clock | None = None) -> None:
        self.settings = settings
        self.wall_clock = clock or RealClock()
        self.clock = GatewayClock(self.wall_clock, self.flush)
        self.stopped = False
        self.zone = ZoneInfo(settings.zone)
        self.faults = FaultPlan(settings.seed)
        self.broker = Broker(settings, clock=self.clock, notify=self)
        self.floor = self.broker.floor
        self.books = self.floor.books
        self.intake = self.broker.intake
        self.observers = Observers()
        self.upstream = Upstream()
        self.clients = Clients()
        known = Known(self.floor)
        self.reports = Reports(self.floor, self.intake, self.clients)
        self.answers = Answers(self.broker, self.clients, self.reports, known)
        self.outages = Outages(self.upstream, self.clients, known, self.answers.quotes.refresh)
        self.refusing = False
        self._shared = Shared(
            settings, self.clock, self.zone, self.faults, self.observers, self.upstream
        )
        #: One entry for each request that is held, in the order in which they came.
        self._holding: list[Session] = []
        self._later: list[Callable[[], None]] = []
        self._touched: dict[Session, None] = {}
        self._asking: tuple[int | None, str] | None = None
        self._server: asyncio.Server | None = None
        self._actions: dict[str, Callable[[Session, Request], None]] = {
            "startApi": self._start_api,
            "placeOrder": self._place_order,
            "cancelOrder": self._cancel_order,
            "reqGlobalCancel": self._cancel_all,
        }

    # ── the port ─────────────────────────────────────────────────────────────────────────────────

    async def start(self) -> int:
        """Open the port and return its number (the setting may be 0: any free one)."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            self.session, self.settings.host, self.settings.port
        )
        port: int = self._server.sockets[0].getsockname()[1]
        # A restarted gateway comes back on the same port.
        self.settings.port = port
        self.broker.resume()
        if self.settings.market == "moving":
            self.clock.call_later(self.settings.step_seconds, self._move)
        return port

    def session(self) -> Session:
        """Return a session for a client that connects."""
        return Session(self._shared, self)

    def _move(self) -> None:
        """One step of the seeded path for every contract that somebody has looked at.

        Each is a turn of its own, so that a long list of them keeps nobody waiting; the next step
        begins when this one is over.
        """
        for con_id in self.floor.market.quoted:
            self.clock.call_later(0.0, partial(self._step, con_id))
        self.clock.call_later(0.0, self._move_later)

    def _move_later(self) -> None:
        self.clock.call_later(self.settings.step_seconds, self._move)

    def _step(self, con_id: int) -> None:
        contract = self.floor.contract(con_id)
        if self.broker.markets.trading[schedule_of(contract)]:
            self.floor.market.step(contract)
            self.broker.orders.on_quote(con_id, at_once=False)
            self.broker.orders.on_print(contract)

    async def stop(self) -> None:
        """Close every session in good order, then the books."""
        if self._server is not None:
            self._server.close()
        self.observers.clear()
        for session in list(self.clients.sessions):
            session.close()
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await self.clients.wait_until_gone()
        except TimeoutError:
            # A client that reads nothing keeps its socket from closing in good order.
            for session in list(self.clients.sessions):
                session.cut()
        self.flush()
        self.stopped = True
        self.clock.stop()
        self.books.close()

    def restart(self) -> None:
        """Do to clients and to what was not transmitted what a restart of the gateway does."""
        self.intake.untransmitted.clear()
        self._holding.clear()
        self.outages.forget()
        for session in list(self.clients.sessions):
            session.cut()

    def release(self) -> int:
        """End every hold: held messages are acted on, held answers sent. Return how many acted."""
        for session in self.clients.sessions:
            session.release_output()
        holding, self._holding = self._holding, []
        for session in holding:
            session.act_on_held()
        return len(holding)

    # ── what sessions report (their Host) ────────────────────────────────────────────────────────

    def opened(self, session: Session) -> None:
        """Take a session in, unless connections are refused."""
        if self.refusing:
            session.cut()
        else:
            self.clients.add(session)

    def closed(self, session: Session) -> None:
        """Forget a session."""
        self.clients.remove(session)
        self._touched.pop(session, None)
        if session.client_id is not None:
            log.info("client %s is gone", session.client_id)
            self.observers.tell("disconnect", "", session.client_id, {})
            self.flush()

    def holds(self, session: Session) -> None:
        """Remember that a session holds one more request, for `release`."""
        self._holding.append(session)

    def touched(self, session: Session) -> None:
        """Remember that a session has something to write."""
        self._touched[session] = None

    def commit(self) -> None:
        """Make the books durable."""
        self.books.commit()

    def flush(self) -> None:
        """Do what was put off, make the books durable, then let every waiting byte go."""
        while self._later:
            action = self._later.pop(0)
            try:
                action()
            except Exception:
                log.exception("a step that was put off failed")
        self.books.commit()
        touched, self._touched = self._touched, {}
        for session in touched:
            session.flush()

    # ── requests ─────────────────────────────────────────────────────────────────────────────────

    def receive(self, session: Session, request: Request) -> None:
        """Act on a request. Raises WireError for what no client may send at this point."""
        if session.client_id is None and request.name != "startApi":
            session.came_early(request)
            return
        log.debug("client %s: %s %s", session.client_id, request.name, request.fields)
        if self.outages.stops(session, request):
            return
        action = self._actions.get(request.name) or self.answers.actions[request.name]
        self._asking = (session.client_id, request.request_id)
        try:
            with self.upstream.answering():
                action(session, request)
        finally:
            self._asking = None
        self.observers.tell("on", request.name, session.client_id, request.values)

    def later(self, action: Callable[[], None]) -> None:
        """Do something when what goes on now is finished, before its bytes are written."""
        self._later.append(action)

    def _start_api(self, session: Session, request: Request) -> None:
        if session.client_id is not None:
            session.error(-1, 501, "Already connected.")
            return
        client_id = to_int(request.values["clientId"])
        taken = self.clients.by_id(client_id) is not None
        full = self.clients.named >= self.settings.clients_max
        if taken or full:
            text = CLIENT_ID_IN_USE if taken else TOO_MANY.format(self.settings.clients_max)
            session.refuse(326, text)
            return
        self.clients.name(session, client_id)
        log.info("client %s at version %s", client_id, session.version)
        session.send("managedAccts", {"accounts": ",".join(self.settings.accounts)})
        session.send("nextValidId", {"orderId": str(self.intake.next_valid_id(client_id))})
        for code, text in self.upstream.greetings:
            session.error(-1, code, text)
        if self.settings.download_open_orders:
            master = client_id == self.settings.master_client
            for order in list(self.books.live.values()):
                if master or (order.client_id == client_id and order.order_id):
                    self.reports.send_order(session, order)
        session.answer_early()

    def _place_order(self, session: Session, request: Request) -> None:
        self.intake.place(self._client_id(session), request.values)

    def _cancel_order(self, session: Session, request: Request) -> None:
        self.intake.cancel(self._client_id(session), to_int(request.values["orderId"]))

    def _cancel_all(self, session: Session, request: Request) -> None:
        self.intake.cancel_all()

    def _client_id(self, session: Session) -> int:
        # `receive` lets nothing but startApi through before the client id is known.
        return -1 if session.client_id is None else session.client_id

    # ── who hears what (the broker's Notify) ─────────────────────────────────────────────────────

    def _audience(
        self, client_id: int, order_id: int, *, manual: bool = False
    ) -> Iterator[Session]:
        """The owner and the master client.

        An order of a person at TWS has no owner before it is bound; its executions go to client 0
        all the same (`manual`).
        """
        owner = client_id if order_id else 0 if manual else None
        for wanted in {owner, self.settings.master_client}:
            session = None if wanted is None else self.clients.by_id(wanted)
            if session is not None and session.ready:
                yield session

    def order(self, order: Order) -> None:
        """Send openOrder, then orderStatus, to the owner and the master client."""
        self.observers.tell("order", "", order.client_id, {})
        for session in self._audience(order.client_id, order.order_id):
            self.reports.send_order(session, order)

    def status(self, order: Order) -> None:
        """Send orderStatus alone."""
        self.observers.tell("order", "", order.client_id, {})
        for session in self._audience(order.client_id, order.order_id):
            session.send("orderStatus", render.order_status(order))

    def execution(self, execution: Execution) -> None:
        """Send execDetails, a manual order's to client 0."""
        for session in self._audience(execution.client_id, execution.order_id, manual=True):
            self.reports.send_execution(session, execution, "-1")

    def commission(self, execution: Execution) -> None:
        """Send the commissionReport of an execution, to those who heard of it."""
        for session in self._audience(execution.client_id, execution.order_id, manual=True):
            session.send("commissionReport", render.commission(execution))

    def error(self, client_id: int, request_id: int, code: int, text: str) -> None:
        """Send an error to the owner of an order or of a request.

        A person's order has the id 0 and no owner; a client that asks with the id 0 is answered.
        """
        session = self.clients.by_id(client_id)
        if session is not None and (request_id or self._asking == (client_id, "0")):
            session.error(request_id, code, text)

    def position(self, account: str, con_id: int) -> None:
        """Send a changed position to those who subscribed."""
        self.answers.accounts.position_changed(account, con_id)

    def quote(self, contract: Contract) -> None:
        """Send a changed quote to those who subscribed, and what accounts are worth after it."""
        self.answers.quotes.quote_changed(contract)
        self.answers.accounts.values_changed()

    def accepted(self, order: Order) -> None:
        """Bind a new manual order, when client 0 has asked for all of them."""
        session = self.clients.by_id(0)
        if not order.order_id and session is not None and session.auto_bind:
            self.reports.bind(order)

    def margin_preview(self, order: Order, contract: Contract) -> None:
        """Answer a whatIf order."""
        self.answers.margin_preview(order, contract)
