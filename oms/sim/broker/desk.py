"""The life of an order once it has reached IB: worked, filled, ended.

The desk changes the books and tells `Notify` what a client has a right to hear, in the order in
which IB's gateway has been seen to send it.  It knows no socket and no session.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Final, Protocol
from zoneinfo import ZoneInfo

from oms.sim.broker import accounting, checks, conditions, credit, matching
from oms.sim.broker.booking import BackOffice, Legs, combo_legs
from oms.sim.broker.books import Books
from oms.sim.broker.catalogue import Catalogue
from oms.sim.broker.corporate import CorporateLife
from oms.sim.broker.day import TradingDay
from oms.sim.broker.families import Families
from oms.sim.broker.instruments import Contract
from oms.sim.broker.ledger import ZERO
from oms.sim.broker.market import Market, Quote
from oms.sim.broker.orders import Execution, Order
from oms.sim.clock import Clock, midnight_before
from oms.sim.protocol.frames import number
from oms.sim.settings import Settings

CANCELLED_TEXT: Final = "Order Canceled - reason:"


class Notify(Protocol):
    """Who is told, and what.  The gateway decides which sessions may hear it."""

    def accepted(self, order: Order) -> None:
        """A new order has its permanent id; nothing was said about it yet."""

    def order(self, order: Order) -> None:
        """openOrder, then orderStatus."""

    def status(self, order: Order) -> None: ...
    def execution(self, execution: Execution) -> None: ...
    def commission(self, execution: Execution) -> None: ...
    def error(self, client_id: int, request_id: int, code: int, text: str) -> None: ...
    def position(self, account: str, con_id: int) -> None: ...
    def quote(self, contract: Contract) -> None: ...
    def margin_preview(self, order: Order, contract: Contract) -> None: ...


class Desk:
    """The broker's order desk.  Everything it does is visible in `books`."""

    def __init__(
        self, *, books: Books, market: Market, clock: Clock, settings: Settings, notify: Notify
    ) -> None:
        self.books = books
        self.market = market
        self.clock = clock
        self.settings = settings
        self.notify = notify
        self.zone = ZoneInfo(settings.zone)
        self.catalogue = Catalogue(lambda: clock.now().astimezone(self.zone).date())
        for contract in books.contracts():
            self.catalogue.restore(contract)
        self.back_office = BackOffice(
            books=books, catalogue=self.catalogue, market=market, clock=clock, settings=settings
        )
        self.accepted_ids: list[int] = []
        # Options that nobody traded are listed, and quoted, anew when somebody asks for them.
        quotes = books.quotes()
        market.restore({one: quotes[one] for one in quotes if self.catalogue.by_id(one)})
        books.before_commit.append(self._save_quotes)
        self.day = TradingDay(self)
        self.corporate = CorporateLife(self)
        self.families = Families(self)
        # Called with every order that ended unfilled: what was attached to it ends too.
        self.on_end: list[Callable[[Order], None]] = []
        self._perm_base = random.Random(f"orders:{settings.seed}").randint(10**8, 19 * 10**8)
        for account in settings.accounts:
            if (account, settings.base_currency) not in books.cash:
                books.add_cash(account, settings.base_currency, settings.cash)
        books.commit()

    # -- taking in ------------------------------------------------------------------------------

    def accept(self, order: Order) -> None:
        """The order reaches IB: a permanent id, then a check of the money."""
        contract = self.contract(order.con_id)
        order.perm_id = self._perm_base + self.books.next_number("perm_id")
        self.accepted_ids.append(order.perm_id)
        parent = None
        if order.parent_id:
            parent = self.books.by_client(order.client_id, order.parent_id)
        if parent is not None:
            order.parent_perm_id = parent.perm_id
        order.why_held = matching.held_for(order, child=parent is not None and not parent.ended)
        if order.kind in matching.TRAILING and "child" not in order.why_held:
            order.trail_price = matching.trail_price(order, self.quote(order).last)
        self.books.save(order)
        self.books.remember(contract)
        self.notify.accepted(order)
        shortfall = credit.shortfall(self, order)
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
        opens = None if self.day.is_open(order) else self.day.next_open(order)
        if opens is None:
            return None
        return (
            f"Order Message:\n{order.side} {number(order.quantity)} {contract.local_symbol}\n"
            "Warning: your order will not be placed at the exchange until"
            f" {opens.astimezone(self.zone):%Y-%m-%d %H:%M:%S} {self.zone.key}"
        )

    def _save_quotes(self) -> None:
        """The market of a gateway that is started again goes on where it was."""
        for con_id, body in self.market.changes().items():
            self.books.save_quote(con_id, body)

    # -- working ----------------------------------------------------------------------------------

    def contract(self, con_id: int) -> Contract:
        found = self.catalogue.by_id(con_id)
        if found is None:
            raise LookupError(f"con id {con_id} is not in the catalogue")
        return found

    def quote(self, order: Order) -> Quote:
        """The quote an order trades against; a combination's is made of its legs'."""
        contract = self.contract(order.con_id)
        if contract.sec_type != "BAG":
            return self.market.quote(contract)
        return self.combo_quote(self.back_office.legs(order))

    def combo_legs(self, said: Iterable[Mapping[str, str]]) -> Legs:
        return combo_legs(self.catalogue, said)

    def combo_quote(self, legs: Legs) -> Quote:
        """What a combination costs leg by leg, and how many of it the touches of its legs make."""
        sides: dict[str, Decimal] = dict.fromkeys(("bid", "ask", "last", "close"), ZERO)
        sizes: dict[str, list[Decimal]] = {"bid_size": [], "ask_size": []}
        for leg, ratio in legs:
            quote = self.market.quote(leg)
            buys = ratio > 0
            sides["bid"] += ratio * (quote.bid if buys else quote.ask)
            sides["ask"] += ratio * (quote.ask if buys else quote.bid)
            sides["last"] += ratio * quote.last
            sides["close"] += ratio * quote.close
            sizes["bid_size"].append((quote.bid_size if buys else quote.ask_size) // abs(ratio))
            sizes["ask_size"].append((quote.ask_size if buys else quote.bid_size) // abs(ratio))
        least = {name: min(listed) for name, listed in sizes.items()}
        day = {"open": sides["close"], "high": sides["last"], "low": sides["last"]}
        return Quote(**sides, **least, **day)

    def arm(self, order: Order) -> None:
        """Set the timers an order needs: its good-after and good-till times, its conditions'."""
        if order.ended:
            return
        texts = [order.terms.get("goodAfterTime", ""), order.terms.get("goodTillDate", "")]
        texts += [one.get("time", "") for one in order.terms.get("conditions", ())]
        for text in texts:
            moment = checks.order_time(str(text), self.zone) if text else None
            if moment is not None:
                seconds = (moment - self.clock.now()).total_seconds()
                self.clock.call_later(max(seconds, 0.0) + 0.001, lambda: self._look_at(order))

    def _look_at(self, order: Order) -> None:
        live = self.books.live.get(order.perm_id)
        if live is None:
            return
        until = checks.order_time(str(live.terms.get("goodTillDate", "")), self.zone)
        if live.tif == "GTD" and until is not None and until <= self.clock.now():
            self.end(live)
        else:
            self.work(live)

    def waits(self, order: Order) -> bool:
        """True while something other than the price keeps an order from working."""
        if "child" in order.why_held or order.status == "Inactive":
            return True
        after = checks.order_time(str(order.terms.get("goodAfterTime", "")), self.zone)
        if after is not None and after > self.clock.now():
            return True
        if order.kind in matching.AT_CLOSE or order.tif == "OPG":
            return True
        if not self.day.is_open(order):
            return True
        if not order.terms.get("conditions") or order.flag("conditionsCancelOrder"):
            return False
        return not self._conditions_hold(order)

    def _conditions_hold(self, order: Order) -> bool:
        wanted = order.terms["conditions"]
        total = accounting.totals(self, order.account)
        cushion = ZERO
        if total.net:
            cushion = (total.net - total.maintenance_margin) * 100 / total.net

        def quote(con_id: int) -> Quote | None:
            contract = self.catalogue.by_id(con_id)
            return self.market.quote(contract) if contract is not None else None

        executed: set[str] = set()
        if any(condition["condType"] == "5" for condition in wanted):
            # Only what was executed since the order came counts; times have whole seconds.
            since = (order.placed_at or self.day_start()).replace(microsecond=0)
            rows = self.books.executions(max(since, self.day_start()))
            executed = {self.contract(row.con_id).symbol for row in rows}
        sight = conditions.Sight(self.clock.now(), self.zone, quote, cushion, frozenset(executed))
        return conditions.hold(wanted, sight)

    def work(self, order: Order) -> None:
        """Bring an order to the market: trigger it, fill it, or let it rest."""
        if order.ended:
            return
        if self.waits(order):
            if order.tif in matching.IMMEDIATE and not self.day.is_open(order):
                self.end(order)
            return
        cancels = order.terms.get("conditions") and order.flag("conditionsCancelOrder")
        if cancels and self._conditions_hold(order):
            self.end(order)
            return
        decision = matching.decide(order, self.quote(order))
        if decision.trail_price != order.trail_price:
            order.trail_price = decision.trail_price
            self.books.save(order)
        if not decision.triggered:
            return
        if order.kind in matching.TRIGGERED and not order.triggered:
            order.triggered = True
            order.why_held = ""
        if decision.price is not None and self.settings.fills == "market":
            self._fill_what_fits(order, decision.price)
        if not order.ended and order.tif in matching.IMMEDIATE:
            self.end(order)
        elif order.status == "PreSubmitted" and not order.ended:
            order.status = "Submitted"
            self.books.save(order)
            self.notify.order(order)

    def _fill_what_fits(self, order: Order, price: Decimal) -> None:
        """Fill what the market and the account allow."""
        contract = self.contract(order.con_id)
        offered = order.remaining
        if self.settings.liquidity == "touch":
            quote = self.quote(order)
            offered = min(offered, quote.ask_size if order.is_buy else quote.bid_size)
        cut = matching.Cut(contract.size_increment, self.settings.parts)
        pieces = matching.pieces(order, offered, cut)
        if not pieces:
            return
        shortfall = credit.shortfall(self, order, price)
        if shortfall is not None:
            # The price has moved, or the money has gone elsewhere, since the order was taken in.
            self._refuse_to_fill(order, shortfall)
            return
        if self.settings.part_seconds and len(pieces) > 1:
            pieces = pieces[:1]
            self.clock.call_later(self.settings.part_seconds, lambda: self._look_at(order))
        for piece in pieces:
            if not order.ended:
                for con_id, signed in order.exposure():
                    self._take(self.contract(con_id), signed * piece)
                self.fill(order, piece, price)

    def _take(self, contract: Contract, signed: Decimal) -> None:
        self.market.take(contract, signed > 0, abs(signed), self.settings.liquidity)

    def _refuse_to_fill(self, order: Order, shortfall: str) -> None:
        if order.filled:
            self.end(order, text=CANCELLED_TEXT + shortfall.partition("reason:")[2])
        else:
            self.reject(order, 201, shortfall)

    def on_quote(self, con_id: int) -> None:
        """The market of a contract has moved: look at every order that depends on it."""
        self.notify.quote(self.contract(con_id))
        for order in self.books.affected_by(con_id):
            if not order.ended:
                self.work(order)

    # -- the trading day --------------------------------------------------------------------------

    def follow_hours(self) -> None:
        """Live by the clock from now on: see `day`."""
        self.day.follow()

    def open_session(self) -> None:
        """Open every market by command."""
        self.day.open()

    def close_session(self) -> None:
        """Close every market by command, until it is opened again or the clock opens it."""
        self.day.close()

    def cross(self, order: Order, failure: str) -> None:
        """An auction: fill wholly at the last price, or end.

        Where a person fills the orders, an order on the open rests and one on the close ends with
        the day.
        """
        if self.settings.fills == "manual":
            return
        price = self.quote(order).last
        limit = order.limit_price if order.kind in matching.LIMITED else None
        if limit is not None and not matching.within(order, price, limit):
            self.end(order, text=failure)
            return
        shortfall = credit.shortfall(self, order, price)
        if shortfall is not None:
            self._refuse_to_fill(order, shortfall)
        else:
            self.fill(order, order.remaining, price)

    # -- fills ------------------------------------------------------------------------------------

    def fill(
        self,
        order: Order,
        quantity: Decimal,
        price: Decimal,
        *,
        after_end: bool = False,
        liquidation: bool = False,
    ) -> list[Execution]:
        """Execute part or all of an order.

        Messages: execDetails, openOrder, orderStatus, commissionReport.  With `after_end` the
        order's state stays as it is: a fill that arrives after Cancelled.
        """
        contract = self.contract(order.con_id)
        order.filled += quantity
        order.value += quantity * price
        order.last_price = price
        rows = self.back_office.execute(order, contract, quantity, price, liquidation)
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
            self.market.print_last(contract, price, quantity)
        for row in rows:
            self.notify.execution(row)
        self.notify.order(order)
        for row in rows:
            if row.commission is not None:
                self.notify.commission(row)
                self.notify.position(row.account, row.con_id)
        if not after_end:
            self.families.filled(order, quantity)
        for watcher in self.books.watching():
            if watcher.perm_id != order.perm_id:
                self.work(watcher)
        return rows

    # -- ends -------------------------------------------------------------------------------------

    def end(
        self,
        order: Order,
        *,
        status: str = "Cancelled",
        code: int = 202,
        text: str = CANCELLED_TEXT,
        silent: bool = False,
    ) -> None:
        """Cancel what is left of an order, with its children.

        `silent` leaves the error message out, as an end of day may.
        """
        order.status = status
        order.why_held = ""
        order.completed_at = self.clock.now()
        order.completed_status = "Cancelled"
        self.books.save(order)
        told = not silent
        if told and self.settings.cancel_order == "error-first":
            self.notify.error(order.client_id, order.order_id, code, text)
        self.notify.status(order)
        if told and self.settings.cancel_order != "error-first":
            self.notify.error(order.client_id, order.order_id, code, text)
        self.families.ended(order)

    def reject(self, order: Order, code: int, text: str, *, said: bool = False) -> None:
        """The error comes first (unless it was `said`); the order shows as Inactive after it."""
        order.status = "Rejected"
        order.why_held = ""
        order.reject_code = code
        order.reject_text = text
        order.completed_at = self.clock.now()
        order.completed_status = f"Rejected: {text}"
        self.books.save(order)
        if not said:
            self.notify.error(order.client_id, order.order_id, code, text)
        self.notify.order(order)
        self.families.ended(order)

    # -- what a person or the broker does ---------------------------------------------------------

    def enter(self, order: Order) -> None:
        """An order that came by no API client: a person at TWS, or the broker's liquidation.

        A person may order a fraction of a share.
        """
        contract = self.contract(order.con_id)
        checks.check(order, contract, self.clock.now(), self.zone, by_person=True)
        self.accept(order)
        self.work(order)

    def change(self, order: Order, *, status: str, why_held: str) -> None:
        """Show an order in another live state: parked, located, pending a cancel."""
        order.status, order.why_held = status, why_held
        self.books.save(order)
        self.notify.order(order)

    def say_pending_cancel(self, order: Order) -> None:
        """The status that TWS makes up between a cancel and its confirmation."""
        before, order.status = order.status, "PendingCancel"
        self.notify.status(order)
        order.status = before

    def correct(
        self, old: Execution, *, quantity: Decimal | None, price: Decimal | None
    ) -> Execution:
        """Send the next revision of an execution, with its commission."""
        new = self.back_office.correct(old, self.contract(old.con_id), quantity, price)
        self.notify.execution(new)
        self.notify.commission(new)
        self.notify.position(new.account, new.con_id)
        return new

    def day_start(self) -> datetime:
        """Midnight before now in the gateway's zone: how far back executions are answered."""
        return midnight_before(self.clock.now(), self.zone)
