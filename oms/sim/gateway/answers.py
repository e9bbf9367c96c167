"""The requests that only read: orders and executions here, accounts and quotes next door.

Every answer ends with its End message, also when it is empty. What the simulator does not serve is
refused aloud: silence is always a fault that somebody asked for.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from oms.sim.broker.accounts import preview
from oms.sim.broker.books.executions import Execution
from oms.sim.broker.books.orders import Order
from oms.sim.broker.broker import Broker
from oms.sim.broker.exchange.contracts import Contract
from oms.sim.gateway import render
from oms.sim.gateway.account_answers import AccountAnswers
from oms.sim.gateway.clients import Clients
from oms.sim.gateway.contract_answers import ContractAnswers
from oms.sim.gateway.known import Known
from oms.sim.gateway.option_ticks import OptionAnswers
from oms.sim.gateway.quote_answers import QuoteAnswers
from oms.sim.gateway.reports import Reports
from oms.sim.gateway.service_answers import ServiceAnswers
from oms.sim.gateway.session import Session
from oms.sim.protocol.errors import WireError
from oms.sim.protocol.fields import to_bool, to_int
from oms.sim.protocol.requests import Request

log = logging.getLogger("oms.sim.gateway.answers")

Action = Callable[[Session, Request], None]


class Answers:
    """What answers each request that only reads."""

    def __init__(self, broker: Broker, clients: Clients, reports: Reports, known: Known) -> None:
        self._floor = broker.floor
        self._intake = broker.intake
        self._clients = clients
        self._reports = reports
        self._known = known
        self.accounts = AccountAnswers(broker.floor, clients, known)
        self.quotes = QuoteAnswers(broker.floor, clients)
        contracts = ContractAnswers(broker.floor, broker.markets)
        options = OptionAnswers(broker.floor)
        services = ServiceAnswers(broker.floor, broker.derivatives)
        self.actions: Mapping[str, Action] = {
            "reqIds": self._ids,
            "reqCurrentTime": self._current_time,
            "reqManagedAccts": self._managed_accounts,
            "setServerLogLevel": _nothing,
            "reqOpenOrders": self._open_orders,
            "reqAllOpenOrders": self._all_open_orders,
            "reqAutoOpenOrders": self._auto_open_orders,
            "reqCompletedOrders": self._completed_orders,
            "reqExecutions": self._executions,
            **self.accounts.actions,
            **contracts.actions,
            **options.actions,
            **services.actions,
            **self.quotes.actions,
        }

    # ── small ones ───────────────────────────────────────────────────────────────────────────────

    def _ids(self, session: Session, request: Request) -> None:
        next_id = self._intake.next_valid_id(session.client_id or 0)
        session.send("nextValidId", {"orderId": str(next_id)})

    def _current_time(self, session: Session, request: Request) -> None:
        seconds = int(self._floor.clock.now().timestamp())
        session.send("currentTime", {"time": str(seconds)})

    def _managed_accounts(self, session: Session, request: Request) -> None:
        session.send("managedAccts", {"accounts": ",".join(self._floor.settings.accounts)})

    # ── orders and executions ────────────────────────────────────────────────────────────────────

    def _open_orders(self, session: Session, request: Request) -> None:
        """The client's own. Client 0 binds manual orders by asking."""
        if session.client_id == 0 and not self._floor.settings.read_only:
            for order in list(self._floor.books.live.values()):
                if not order.order_id:
                    self._reports.bind(order)
        live = self._known.orders()
        own = [one for one in live if one.client_id == session.client_id and one.order_id]
        self._send_orders(session, own)

    def _all_open_orders(self, session: Session, request: Request) -> None:
        self._send_orders(session, self._known.orders())

    def _send_orders(self, session: Session, orders: list[Order]) -> None:
        for order in orders:
            self._reports.send_order(session, order)
        session.send("openOrderEnd")

    def _auto_open_orders(self, session: Session, request: Request) -> None:
        if session.client_id != 0:
            text = "Only the default client (i.e 0) can auto bind orders."
            session.error(-1, 327, text)
            return
        session.auto_bind = to_bool(request.values["autoBind"])

    def _completed_orders(self, session: Session, request: Request) -> None:
        only_api = to_bool(request.values["apiOnly"])
        for order in self._floor.books.completed(self._floor.day_start()):
            if order.origin == "api" or not only_api:
                self._reports.send_completed(session, order)
        session.send("completedOrdersEnd")

    def _executions(self, session: Session, request: Request) -> None:
        request_id = request.values["reqId"]
        try:
            filter_time(request.values["time"], self._floor.zone)
        except WireError as error:
            text = f"Error validating request.-'bP' : cause - Invalid time: {error}"
            session.error(request_id, 321, text)
            return
        for row in self._executions_asked_for(request):
            self._reports.send_execution(session, row, request_id)
            if row.commission is not None:
                session.send("commissionReport", render.commission(row))
        session.send("execDetailsEnd", {"reqId": request_id})

    def _executions_asked_for(self, request: Request) -> Iterator[Execution]:
        """Those since midnight of the gateway's zone that pass the filter, of every client.

        Client id 0, and none, do not filter.
        """
        values = request.values
        client_id = to_int(values["clientId"])
        side = {"BUY": "BOT", "SELL": "SLD", "SSHORT": "SLD"}.get(values["side"], values["side"])
        later_than = filter_time(values["time"], self._floor.zone)
        for row in self._floor.books.executions(self._floor.day_start()):
            contract = self._floor.contract(row.con_id)
            if (
                client_id in (0, row.client_id)
                and values["acctCode"] in ("", row.account)
                and values["symbol"].upper() in ("", contract.symbol)
                and values["secType"] in ("", contract.sec_type)
                and values["exchange"] in ("", "SMART", row.venue)
                and side in ("", row.side)
                and (later_than is None or row.time > later_than)
                and self._known.has(row.time)
            ):
                yield row

    def margin_preview(self, order: Order, contract: Contract) -> None:
        """Answer a whatIf order: one openOrder with margin and commission; nothing is kept."""
        session = self._clients.by_id(order.client_id)
        if session is not None:
            values = render.open_order(order, contract)
            values |= preview.fields(self._floor, order)
            session.send("openOrder", values)


def filter_time(text: str, zone: ZoneInfo) -> datetime | None:
    """Return the time in an execution filter; None when there is none.

    `yyyymmdd-hh:mm:ss` is UTC, with a blank it is local; a zone name may follow the second form.
    Raises WireError for anything else.
    """
    if not text:
        return None
    day, rest = text[:8], text[9:]
    clock, _, name = rest.strip().partition(" ")
    try:
        local = datetime.strptime(f"{day} {clock}", "%Y%m%d %H:%M:%S")  # noqa: DTZ007
        if "-" in text[:9]:
            return local.replace(tzinfo=UTC)
        return local.replace(tzinfo=ZoneInfo(name) if name else zone).astimezone(UTC)
    except (ValueError, KeyError) as error:
        raise WireError(f"{text!r} is not a time") from error


def _nothing(session: Session, request: Request) -> None:
    """IB acts on it and says nothing."""
