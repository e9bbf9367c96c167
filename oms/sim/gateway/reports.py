"""Orders and executions as they are told to one session, asked for or not."""

from __future__ import annotations

from oms.sim.broker.books.executions import Execution
from oms.sim.broker.books.orders import Order
from oms.sim.broker.floor import Floor
from oms.sim.broker.intake import Intake
from oms.sim.clock import message_time
from oms.sim.gateway import render
from oms.sim.gateway.clients import Clients
from oms.sim.gateway.session import Session


class Reports:
    """Tells what the books say, in the words of the session's version."""

    def __init__(self, floor: Floor, intake: Intake, clients: Clients) -> None:
        self._floor = floor
        self._intake = intake
        self._clients = clients

    def send_order(self, session: Session, order: Order) -> None:
        """Send openOrder, then orderStatus."""
        session.send("openOrder", render.open_order(order, self._floor.contract(order.con_id)))
        session.send("orderStatus", render.order_status(order))

    def send_completed(self, session: Session, order: Order) -> None:
        """Send completedOrder; one without an end of its own ends now."""
        contract = self._floor.contract(order.con_id)
        form, zone = self._floor.settings.time_form, self._floor.zone
        ended = order.completed_at or self._floor.clock.now()
        time = message_time(ended, zone, form, session.version)
        session.send("completedOrder", render.completed_order(order, contract, time))

    def send_execution(self, session: Session, execution: Execution, request_id: str) -> None:
        """Send execDetails; the request id is -1 when it is pushed."""
        form, zone = self._floor.settings.time_form, self._floor.zone
        time = message_time(execution.time, zone, form, session.version)
        contract = self._floor.contract(execution.con_id)
        session.send("execDetails", render.execution(execution, contract, time, request_id))

    def bind(self, order: Order) -> None:
        """Give a manual order an API id of client 0, and tell client 0."""
        books = self._floor.books
        if self._floor.settings.bind_negative:
            # From -2 on, as seen: -1 is what IB writes where an order has no number.
            order_id = -1 - books.next_number("bound")
        else:
            order_id = self._intake.next_valid_id(0)
            books.set_highest_order_id(0, order_id)
        books.rebind(order, 0, order_id)
        session = self._clients.by_id(0)
        if session is not None:
            values = {"permId": str(order.perm_id), "clientId": "0", "orderId": str(order_id)}
            session.send("orderBound", values)
