"""The requests that only read: what is answered, and the subscriptions they start."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from oms.sim import accounting, messages, render
from oms.sim.clock import message_time
from oms.sim.instruments import Contract, Query
from oms.sim.orders import Execution, Order
from oms.sim.wire import WireError, number, to_bool, to_int

if TYPE_CHECKING:
    from oms.sim.gateway import Gateway
    from oms.sim.requests import Request
    from oms.sim.session import Session

log = logging.getLogger("oms.sim.answers")

Action = Callable[["Session", "Request"], None]


class Answers:
    """Answers to read requests.  Every one ends with its End message, also when it is empty."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.actions: Mapping[str, Action] = {
            "reqIds": self._ids,
            "reqCurrentTime": self._current_time,
            "reqManagedAccts": self._managed_accounts,
            "reqOpenOrders": self._open_orders,
            "reqAllOpenOrders": self._all_open_orders,
            "reqAutoOpenOrders": self._auto_open_orders,
            "reqCompletedOrders": self._completed_orders,
            "reqExecutions": self._executions,
            "reqPositions": self._positions,
            "cancelPositions": self._cancel_positions,
            "reqPositionsMulti": self._positions_multi,
            "cancelPositionsMulti": self._forget,
            "reqAccountSummary": self._account_summary,
            "cancelAccountSummary": self._forget,
            "reqAccountUpdates": self._account_updates,
            "reqAccountUpdatesMulti": self._account_updates_multi,
            "cancelAccountUpdatesMulti": self._forget,
            "reqContractDetails": self._contract_details,
            "reqMktData": self._market_quotes,
            "cancelMktData": self._forget,
            "reqMarketDataType": self._quote_type,
            "setServerLogLevel": self._nothing,
        }

    # -- small ones -----------------------------------------------------------------------------

    def refuse_unknown(self, session: Session, request: Request) -> None:
        """A request this gateway does not serve is refused aloud, never left without an answer."""
        log.info("%s is not served", request.name)
        if request.name.startswith("cancel"):
            return
        text = f"Error validating request.-'bN' : cause - {request.name} is not supported"
        session.error(request.request_id, 321, text)

    def _nothing(self, session: Session, request: Request) -> None:
        """IB acts on it and says nothing."""

    def _ids(self, session: Session, request: Request) -> None:
        client_id = session.client_id or 0
        session.send(messages.next_valid_id(self.gateway.desk.next_valid_id(client_id)))

    def _current_time(self, session: Session, request: Request) -> None:
        session.send(messages.current_time(int(self.gateway.clock.now().timestamp())))

    def _managed_accounts(self, session: Session, request: Request) -> None:
        session.send(messages.managed_accounts(self.gateway.settings.accounts))

    def _forget(self, session: Session, request: Request) -> None:
        session.subscriptions.pop(f"{request.name[6:]}:{request.values['reqId']}", None)

    def _subscribe(self, session: Session, request: Request, value: Any) -> None:
        session.subscriptions[f"{request.name[3:]}:{request.values['reqId']}"] = value

    # -- orders and executions --------------------------------------------------------------------

    def _open_orders(self, session: Session, request: Request) -> None:
        live = self.gateway.books.live.values()
        self._send_orders(session, [one for one in live if one.client_id == session.client_id])

    def _all_open_orders(self, session: Session, request: Request) -> None:
        self._send_orders(session, list(self.gateway.books.live.values()))

    def _send_orders(self, session: Session, orders: list[Order]) -> None:
        for order in orders:
            self.gateway.send_order(session, order)
        session.send(messages.open_order_end())

    def _auto_open_orders(self, session: Session, request: Request) -> None:
        if session.client_id != 0:
            text = "Only the default client (i.e 0) can auto bind orders."
            session.error(-1, 327, text)

    def _completed_orders(self, session: Session, request: Request) -> None:
        gateway = self.gateway
        only_api = to_bool(request.values["apiOnly"])
        for order in gateway.books.completed(gateway.desk.day_start()):
            if only_api and order.origin != "api":
                continue
            contract = gateway.desk.contract(order.con_id)
            ended = order.completed_at or gateway.clock.now()
            form = gateway.settings.time_form
            time = message_time(ended, gateway.zone, form, session.version)
            values = render.completed_order(order, contract, time)
            session.send(messages.completed_order(session.version, values))
        session.send(messages.completed_orders_end())

    def _executions(self, session: Session, request: Request) -> None:
        for row in self._executions_asked_for(session, request):
            self.gateway.send_execution(session, row, request.values["reqId"])
            if row.commission is not None:
                session.send(messages.commission_report(render.commission(row)))
        session.send(messages.end("execDetailsEnd", request.values["reqId"]))

    def _executions_asked_for(self, session: Session, request: Request) -> Iterator[Execution]:
        """Those since midnight of the gateway's zone that pass the filter, of every client."""
        values = request.values
        client_id = to_int(values["clientId"])
        side = {"BUY": "BOT", "SELL": "SLD", "SSHORT": "SLD"}.get(values["side"], values["side"])
        later_than = filter_time(values["time"], self.gateway.zone)
        for row in self.gateway.books.executions(self.gateway.desk.day_start()):
            contract = self.gateway.desk.contract(row.con_id)
            if (
                client_id in (0, row.client_id)
                and values["acctCode"] in ("", row.account)
                and values["symbol"].upper() in ("", contract.symbol)
                and values["secType"] in ("", contract.sec_type)
                and values["exchange"] in ("", "SMART", row.venue)
                and side in ("", row.side)
                and (later_than is None or row.time > later_than)
            ):
                yield row

    # -- positions and accounts -------------------------------------------------------------------

    def _positions(self, session: Session, request: Request) -> None:
        session.subscriptions["Positions"] = True
        for account, con_id in self.gateway.books.positions:
            if self.gateway.books.position(account, con_id).quantity:
                self._send_position(session, account, con_id)
        session.send(messages.position_end())

    def _cancel_positions(self, session: Session, request: Request) -> None:
        session.subscriptions.pop("Positions", None)

    def _send_position(self, session: Session, account: str, con_id: int) -> None:
        row = self.gateway.books.position(account, con_id)
        contract = self.gateway.desk.contract(con_id).wire()
        cost = number(row.average_cost)
        session.send(messages.position(account, contract, number(row.quantity), cost))

    def _positions_multi(self, session: Session, request: Request) -> None:
        wanted = request.values["account"]
        self._subscribe(session, request, wanted)
        for account, con_id in self.gateway.books.positions:
            if wanted in ("", "All", account):
                self._send_position_multi(session, request.values["reqId"], account, con_id)
        session.send(messages.end("positionMultiEnd", request.values["reqId"]))

    def _send_position_multi(
        self, session: Session, request_id: str, account: str, con_id: int
    ) -> None:
        row = self.gateway.books.position(account, con_id)
        contract = self.gateway.desk.contract(con_id).wire()
        quantity, cost = number(row.quantity), number(row.average_cost)
        session.send(messages.position_multi(request_id, account, contract, quantity, cost))

    def _account_summary(self, session: Session, request: Request) -> None:
        request_id = request.values["reqId"]
        self._subscribe(session, request, request.values["tags"])
        asked = request.values["tags"].split(",")
        ledger = any(tag.startswith("$LEDGER") for tag in asked)
        for account in self.gateway.settings.accounts:
            for row in accounting.rows(self.gateway.desk, account):
                if (row.per_currency and ledger) or (not row.per_currency and row.key in asked):
                    fields = (row.key, row.value, row.currency)
                    session.send(messages.account_summary(request_id, account, *fields))
        session.send(messages.end("accountSummaryEnd", request_id))

    def _account_updates(self, session: Session, request: Request) -> None:
        if not to_bool(request.values["subscribe"]):
            session.subscriptions.pop("AccountUpdates", None)
            return
        accounts = self.gateway.settings.accounts
        account = request.values["account"] or accounts[0]
        if account not in accounts:
            session.error(-1, 321, "Error validating request.-'bT' : cause - Invalid account code")
            return
        before = session.subscriptions.get("AccountUpdates")
        if before not in (None, account):
            text = "API client has been unsubscribed from account data."
            session.error(-1, 2100, text)
        session.subscriptions["AccountUpdates"] = account
        self._send_account(session, account)
        session.send(messages.account_download_end(account))

    def _send_account(self, session: Session, account: str) -> None:
        gateway = self.gateway
        for row in accounting.rows(gateway.desk, account):
            session.send(messages.account_value(account, row.key, row.value, row.currency))
        for owner, con_id in gateway.books.positions:
            if owner == account:
                self._send_portfolio(session, account, con_id)
        session.send(messages.account_time(self._local_time()))

    def _local_time(self) -> str:
        return self.gateway.clock.now().astimezone(self.gateway.zone).strftime("%H:%M")

    def _send_portfolio(self, session: Session, account: str, con_id: int) -> None:
        contract = self.gateway.desk.contract(con_id)
        amounts = accounting.portfolio_row(self.gateway.desk, account, contract)
        session.send(messages.update_portfolio(account, contract.wire(), amounts))

    def _account_updates_multi(self, session: Session, request: Request) -> None:
        values = request.values
        self._subscribe(session, request, values["account"])
        for account in self.gateway.settings.accounts:
            if values["account"] not in ("", "All", account):
                continue
            for row in accounting.rows(self.gateway.desk, account):
                session.send(
                    messages.account_update_multi(
                        values["reqId"],
                        account,
                        values["modelCode"],
                        row.key,
                        row.value,
                        row.currency,
                    )
                )
        session.send(messages.end("accountUpdateMultiEnd", values["reqId"]))

    def position_changed(self, account: str, con_id: int) -> None:
        """Position and portfolio rows go to whoever subscribed."""
        for session in self.gateway.sessions:
            if not session.ready:
                continue
            if "Positions" in session.subscriptions:
                self._send_position(session, account, con_id)
            if session.subscriptions.get("AccountUpdates") == account:
                self._send_portfolio(session, account, con_id)
            for name, value in list(session.subscriptions.items()):
                kind, _, request_id = name.partition(":")
                if kind == "PositionsMulti" and value in ("", "All", account):
                    self._send_position_multi(session, request_id, account, con_id)

    # -- contracts and quotes ---------------------------------------------------------------------

    def _contract_details(self, session: Session, request: Request) -> None:
        request_id = request.values["reqId"]
        found = self.gateway.desk.catalogue.resolve(Query.from_wire(request.values))
        if not found:
            text = "No security definition has been found for the request"
            session.error(request_id, 200, text)
            return
        for contract in found:
            values = render.contract_details(contract, request.values["exchange"], request_id)
            session.send(messages.contract_details(session.version, values))
        session.send(messages.end("contractDetailsEnd", request_id))

    def _market_quotes(self, session: Session, request: Request) -> None:
        request_id = request.values["reqId"]
        found = self.gateway.desk.catalogue.resolve(Query.from_wire(request.values))
        if len(found) != 1:
            text = "No security definition has been found for the request"
            session.error(request_id, 200, text)
            return
        contract = found[0]
        session.send(messages.market_price_type(request_id, 1))
        tick = number(contract.minimum_tick)
        session.send(messages.tick_request_parameters(request_id, tick, "9c0001"))
        self._send_quote(session, request_id, contract)
        if to_bool(request.values["snapshot"]):
            session.send(messages.tick_snapshot_end(request_id))
        else:
            self._subscribe(session, request, contract.con_id)

    def _send_quote(self, session: Session, request_id: str, contract: Contract) -> None:
        quote = self.gateway.desk.market.quote(contract)
        for tick, price, size_tick, size in render.ticks(quote):
            session.send(messages.tick_price(request_id, tick, price, size))
            if size_tick >= 0:
                session.send(messages.tick_size(request_id, size_tick, size))

    def _quote_type(self, session: Session, request: Request) -> None:
        session.subscriptions["MarketDataType"] = to_int(request.values["marketDataType"], 1)

    def quote_changed(self, contract: Contract) -> None:
        for session in self.gateway.sessions:
            if session.ready:
                for name, value in list(session.subscriptions.items()):
                    kind, _, request_id = name.partition(":")
                    if kind == "MktData" and value == contract.con_id:
                        self._send_quote(session, request_id, contract)

    def margin_preview(self, order: Order, contract: Contract) -> None:
        """whatIf: one openOrder with margin and commission, and nothing is kept."""
        session = self.gateway.client(order.client_id)
        if session is not None:
            values = render.open_order(order, contract)
            values |= accounting.preview(self.gateway.desk, order, contract)
            session.send(messages.open_order(session.version, values))


def filter_time(text: str, zone: ZoneInfo) -> datetime | None:
    """The time in an execution filter: `yyyymmdd-hh:mm:ss` is UTC, with a blank it is local.

    A zone name may follow the second form.  Raises WireError for anything else.
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
