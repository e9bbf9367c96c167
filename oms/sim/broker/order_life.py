"""The life of an order once it has reached IB: worked, filled, ended.

It changes the books and tells `Notify` what a client has a right to hear, in the order in which
IB's gateway has been seen to send it. It knows no socket and no session.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from decimal import Decimal
from functools import partial
from typing import Final, assert_never

from oms.sim.broker import waiting
from oms.sim.broker.accounts import credit
from oms.sim.broker.back_office import BackOffice
from oms.sim.broker.books.executions import Execution
from oms.sim.broker.books.orders import EndStatus, Order, Status
from oms.sim.broker.combos import quote_of
from oms.sim.broker.exchange.contracts import Contract
from oms.sim.broker.floor import Floor
from oms.sim.broker.linked_orders import LinkedOrders
from oms.sim.broker.open_markets import OpenMarkets
from oms.sim.broker.rules import checks, matching
from oms.sim.clock import call_at
from oms.sim.protocol.fields import number

CANCELLED_TEXT: Final = "Order Canceled - reason:"


class OrderLife:
    """What becomes of an order. Everything it does is visible in the books."""

    def __init__(self, floor: Floor, markets: OpenMarkets, back_office: BackOffice) -> None:
        self.floor = floor
        self.books = floor.books
        self.settings = floor.settings
        self.notify = floor.notify
        self.markets = markets
        self.back_office = back_office
        self.linked = LinkedOrders(floor, end=self.end, work=self.work)
        #: Perm ids in the order in which they were given out since the gateway started.
        self.accepted_ids: list[int] = []
        #: Orders whose next part comes by a timer, whatever the market does until then.
        self._between_parts: set[int] = set()
        self._perm_base = random.Random(f"orders:{floor.settings.seed}").randint(10**8, 19 * 10**8)

    # ── taking in ────────────────────────────────────────────────────────────────────────────────

    def accept(self, order: Order) -> None:
        """Give an order that reaches IB its permanent id, then check the money."""
        contract = self.floor.contract(order.con_id)
        order.perm_id = self._perm_base + self.books.next_number("perm_id")
        self.accepted_ids.append(order.perm_id)
        parent = None
        if order.parent_id:
            parent = self.books.by_client(order.client_id, order.parent_id)
        if parent is not None:
            order.parent_perm_id = parent.perm_id
        order.why_held = matching.held_for(order, child=parent is not None and not parent.ended)
        if order.kind in matching.TRAILING and not order.waits_for_parent:
            order.trail_price = matching.trail_price(order, quote_of(self.floor, order).last)
        self.books.save(order)
        self.books.remember(contract)
        self.notify.accepted(order)
        shortfall = credit.shortfall(self.floor, order)
        if shortfall is not None:
            self.reject(order, 201, shortfall)
            return
        if order.why_held or self.settings.acknowledge != "submitted":
            self.notify.order(order)
        warning = checks.warning(order, contract) or self._waits_for_the_open(order, contract)
        if warning is not None:
            self.notify.error(order.client_id, order.order_id, 399, warning)
        if parent is not None and parent.ended and parent.status != "Filled":
            self.end(order)
        self.arm(order)

    def _waits_for_the_open(self, order: Order, contract: Contract) -> str | None:
        """The 399 of an order that comes while its market is closed."""
        opens = None if self.markets.is_open(order) else self.markets.next_open(order)
        if opens is None:
            return None
        return (
            f"Order Message:\n{order.side} {number(order.quantity)} {contract.local_symbol}\n"
            "Warning: your order will not be placed at the exchange until"
            f" {opens.astimezone(self.floor.zone):%Y-%m-%d %H:%M:%S} {self.floor.zone.key}"
        )

    # ── working ──────────────────────────────────────────────────────────────────────────────────

    def arm(self, order: Order) -> None:
        """Set the timers an order needs: its good-after and good-till times, its conditions'."""
        if order.ended:
            return
        for moment in waiting.times_to_look(self.floor, order):
            call_at(self.floor.clock, moment, lambda: self._look_at(order))

    def _look_at(self, order: Order) -> None:
        live = self.books.live.get(order.perm_id)
        if live is None:
            return
        if waiting.has_run_out(self.floor, live):
            self.end(live)
        else:
            self.work(live)

    def work(self, order: Order, printed: Decimal | None = None) -> None:
        """Bring an order to the market: trigger it, fill it, or let it rest. `printed` is the price
        of a print of others.
        """
        if order.ended:
            return
        if waiting.waits(self.floor, self.markets, order):
            if order.tif in matching.IMMEDIATE and not self.markets.is_open(order):
                self.end(order)
            return
        if waiting.cancelled_by_conditions(self.floor, order):
            self.end(order)
            return
        decision = matching.decide(order, quote_of(self.floor, order), printed)
        if decision.trail_price != order.trail_price:
            order.trail_price = decision.trail_price
            self.books.save(order)
        if not decision.triggered:
            return
        if order.kind in matching.TRIGGERED and not order.triggered:
            order.triggered = True
            order.why_held = ""
        if decision.price is not None and self._market_fills():
            self._fill_what_fits(order, decision.price)
        if not order.ended and order.tif in matching.IMMEDIATE:
            self.end(order)
        elif order.status == "PreSubmitted" and not order.ended:
            order.status = "Submitted"
            self.books.save(order)
            self.notify.order(order)

    def _market_fills(self) -> bool:
        match self.settings.fills:
            case "market":
                return True
            case "manual":
                return False
            case other:
                assert_never(other)

    def _fill_what_fits(self, order: Order, price: Decimal) -> None:
        """Fill what the market and the account allow."""
        if order.perm_id in self._between_parts:
            return
        contract = self.floor.contract(order.con_id)
        offered = order.remaining
        if self.settings.liquidity == "touch":
            quote = quote_of(self.floor, order)
            offered = min(offered, quote.ask_size if order.is_buy else quote.bid_size)
        cut = matching.Cut(contract.size_increment, self.settings.parts)
        pieces = matching.pieces(order, offered, cut)
        if not pieces:
            return
        shortfall = credit.shortfall(self.floor, order, price)
        if shortfall is not None:
            # The price has moved, or the money has gone elsewhere, since the order was taken in.
            self._refuse_to_fill(order, shortfall)
            return
        if self.settings.part_seconds and len(pieces) > 1:
            pieces = pieces[:1]
            self._between_parts.add(order.perm_id)
            self.floor.clock.call_later(self.settings.part_seconds, lambda: self._next_part(order))
        for piece in pieces:
            if not order.ended:
                for con_id, signed in order.per_unit():
                    self._take(self.floor.contract(con_id), signed * piece)
                self.fill(order, piece, price)

    def _next_part(self, order: Order) -> None:
        self._between_parts.discard(order.perm_id)
        self._look_at(order)

    def _take(self, contract: Contract, signed: Decimal) -> None:
        self.floor.market.take(contract, signed > 0, abs(signed), self.settings.liquidity)

    def _refuse_to_fill(self, order: Order, shortfall: str) -> None:
        if order.filled:
            self.end(order, text=CANCELLED_TEXT + shortfall.partition("reason:")[2])
        else:
            self.reject(order, 201, shortfall)

    def on_quote(self, con_id: int, *, at_once: bool = True) -> None:
        """Look at every order that depends on a contract whose market has moved, and on the
        options that move with it: now, or each order in a turn of its own.
        """
        contract = self.floor.contract(con_id)
        self.notify.quote(contract)
        for option in self.floor.market.follow(contract):
            self.on_quote(option, at_once=at_once)
        for order in self.books.live.affected_by(con_id):
            if at_once:
                self.work(order)
            else:
                self.floor.clock.call_later(0.0, partial(self.work, order))

    def on_print(self, contract: Contract) -> None:
        """Let others trade at the last price: an order that stood there, or better, is filled, each
        in a turn of its own.
        """
        price = self.floor.market.quote(contract).last
        for order in self.books.live.affected_by(contract.con_id):
            if order.con_id == contract.con_id:
                self.floor.clock.call_later(0.0, partial(self.work, order, price))

    def cross(self, order: Order, failure: str) -> None:
        """Hold an auction for an order: fill it wholly at the last price, or end it.

        Where a person fills the orders, an order on the open rests and one on the close ends with
        the day.
        """
        if not self._market_fills():
            return
        price = quote_of(self.floor, order).last
        limit = order.limit_price if order.kind in matching.LIMITED else None
        if limit is not None and not matching.within(order, price, limit):
            self.end(order, text=failure)
            return
        shortfall = credit.shortfall(self.floor, order, price)
        if shortfall is not None:
            self._refuse_to_fill(order, shortfall)
        else:
            self.fill(order, order.remaining, price)

    # ── fills ────────────────────────────────────────────────────────────────────────────────────

    def fill_other_side(self, order: Order, quantity: Decimal, price: Decimal) -> list[Execution]:
        """Do what no broker should: execute on the other side than an order asks, in its name. The
        order itself stays as it is.
        """
        contract = self.floor.contract(order.con_id)
        rows = self.back_office.execute(order, contract, quantity, price, other_side=True)
        for row in rows:
            self.notify.execution(row)
        self._tell_of_money(rows)
        return rows

    def fill_leg(
        self, order: Order, number: int, quantity: Decimal, price: Decimal | None
    ) -> list[Execution]:
        """Execute one leg of a combination alone: the order stays as it is."""
        row = self.back_office.execute_leg(order, number, quantity, price)
        self.notify.execution(row)
        self._tell_of_money([row])
        return [row]

    def _tell_of_money(self, rows: Iterable[Execution]) -> None:
        for row in rows:
            if row.commission is not None:
                self.notify.commission(row)
                self.notify.position(row.account, row.con_id)

    def fill(
        self,
        order: Order,
        quantity: Decimal,
        price: Decimal,
        *,
        after_end: bool = False,
        liquidation: bool = False,
        legs: bool = True,
    ) -> list[Execution]:
        """Execute part or all of an order.

        Messages: execDetails, openOrder, orderStatus, commissionReport. With `after_end` the
        order's state stays as it is: a fill that arrives after Cancelled. Without `legs` those of
        a combination are left for `fill_leg`.
        """
        contract = self.floor.contract(order.con_id)
        order.filled += quantity
        order.value += quantity * price
        order.last_price = price
        if legs:
            rows = self.back_office.execute(order, contract, quantity, price, liquidation)
        else:
            rows = [self.back_office.execute_alone(order, contract, quantity, price)]
        if not after_end:
            order.why_held = ""
            if order.remaining > 0:
                # A fill in part says nothing of the cancel that is on its way.
                if order.status != "PendingCancel":
                    order.status = "Submitted"
                if order.kind == "MTL":
                    order.terms.setdefault("lmtPrice", number(price))
            else:
                order.status = "Filled"
                order.completed_at = rows[0].time
                order.completed_status = f"Filled Size: {number(order.filled)}"
        self.books.save(order)
        if contract.sec_type != "BAG":
            self.floor.market.print_last(contract, price, quantity)
        for row in rows:
            self.notify.execution(row)
        self.notify.order(order)
        if order.status == "Filled" and self.settings.filled_twice and not after_end:
            self.notify.order(order)
        self._tell_of_money(rows)
        if contract.sec_type != "BAG":
            self.notify.quote(contract)
        if not after_end:
            self.linked.filled(order, quantity)
        for watcher in self.books.live.watching():
            if watcher.perm_id != order.perm_id:
                self.work(watcher)
        return rows

    # ── ends ─────────────────────────────────────────────────────────────────────────────────────

    def end(
        self,
        order: Order,
        *,
        code: int = 202,
        text: str = CANCELLED_TEXT,
        silent: bool = False,
    ) -> None:
        """Cancel what is left of an order, with its children.

        `silent` leaves the error message out, as an end of day may.
        """
        self._finish(order, "Cancelled", "Cancelled")
        match self.settings.cancel_order:
            case _ if silent:
                self.notify.status(order)
            case "error-first":
                self.notify.error(order.client_id, order.order_id, code, text)
                self.notify.status(order)
            case "status-first" | "pending-first":
                self.notify.status(order)
                self.notify.error(order.client_id, order.order_id, code, text)
            case other:
                assert_never(other)
        self.linked.ended(order)

    def reject(self, order: Order, code: int, text: str, *, said: bool = False) -> None:
        """Reject an order: the error comes first (unless it was `said`), Inactive after it."""
        order.reject_code = code
        order.reject_text = text
        self._finish(order, "Rejected", f"Rejected: {text}")
        if not said:
            self.notify.error(order.client_id, order.order_id, code, text)
        self.notify.order(order)
        self.linked.ended(order)

    def _finish(self, order: Order, status: EndStatus, completed_status: str) -> None:
        order.status = status
        order.why_held = ""
        order.completed_at = self.floor.clock.now()
        order.completed_status = completed_status
        self.books.save(order)

    # ── what a person or the broker does ─────────────────────────────────────────────────────────

    def enter(self, order: Order) -> None:
        """Take in what no API client sent: an order of a person at TWS, or of the broker.

        A person may order a fraction of a share.
        """
        contract = self.floor.contract(order.con_id)
        checks.check(order, contract, self.floor.clock.now(), self.floor.zone, by_person=True)
        self.accept(order)
        self.work(order)

    def change(self, order: Order, *, status: Status, why_held: str) -> None:
        """Show an order in a live state: parked, located, pending a cancel."""
        order.status, order.why_held = status, why_held
        self.books.save(order)
        self.notify.order(order)

    def say_pending_cancel(self, order: Order) -> None:
        """Say the status that TWS makes up between a cancel and its confirmation."""
        before, order.status = order.status, "PendingCancel"
        self.notify.status(order)
        order.status = before
