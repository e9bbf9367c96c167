"""The life of an order: taken in, refused, worked, filled, cancelled.

The desk changes the books and tells `Notify` what a client has a right to hear, in the order in
which IB's gateway has been seen to send it.  It knows no socket and no session.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, Final, Protocol
from zoneinfo import ZoneInfo

from oms.sim import matching
from oms.sim.books import Books
from oms.sim.clock import Clock, midnight_before
from oms.sim.instruments import Catalogue, Contract, Query
from oms.sim.ledger import ZERO, Position, commission_fixed
from oms.sim.market import Market
from oms.sim.orders import Execution, Order, terms_of
from oms.sim.settings import Settings
from oms.sim.wire import number, to_bool, to_decimal, to_int

ORDER_ID_MAX: Final = 2**31 - 1
OFF_TICK: Final = "The price does not conform to the minimum price variation for this contract."


class Notify(Protocol):
    """Who is told, and what.  The gateway decides which sessions may hear it."""

    def order(self, order: Order) -> None:
        """openOrder, then orderStatus."""

    def status(self, order: Order) -> None: ...
    def execution(self, execution: Execution) -> None: ...
    def commission(self, execution: Execution) -> None: ...
    def error(self, client_id: int, request_id: int, code: int, text: str) -> None: ...
    def position(self, account: str, con_id: int) -> None: ...
    def quote(self, contract: Contract) -> None: ...
    def margin_preview(self, order: Order, contract: Contract) -> None: ...


class Refusal(Exception):
    """A request the gateway turns down with an error message and nothing else."""

    def __init__(self, code: int, text: str, request_id: int | None = None) -> None:
        super().__init__(f"{code} {text}")
        self.code = code
        self.text = text
        self.request_id = request_id


class Desk:
    """The broker's order desk.  Everything it does is visible in `books`."""

    def __init__(
        self,
        *,
        books: Books,
        catalogue: Catalogue,
        market: Market,
        clock: Clock,
        settings: Settings,
        notify: Notify,
    ) -> None:
        self.books = books
        self.catalogue = catalogue
        self.market = market
        self.clock = clock
        self.settings = settings
        self.notify = notify
        self.zone = ZoneInfo(settings.zone)
        self.untransmitted: dict[tuple[int, int], Order] = {}
        identity = random.Random(f"identity:{settings.seed}")
        self._perm_base = identity.randint(100_000_000, 1_900_000_000)
        self._exec_prefix = f"0000{identity.randrange(16**4):04x}"
        self._exec_base = identity.randrange(16**8 // 2)
        for account in settings.accounts:
            if (account, settings.base_currency) not in books.cash:
                books.add_cash(account, settings.base_currency, settings.cash)
        books.commit()

    # -- what clients ask -----------------------------------------------------------------------

    def place(self, client_id: int, values: Mapping[str, Any]) -> None:
        """placeOrder: a new order, or new terms for one that lives."""
        order_id = to_int(values["orderId"])
        try:
            self._place(client_id, order_id, values)
        except Refusal as refusal:
            request_id = order_id if refusal.request_id is None else refusal.request_id
            self.notify.error(client_id, request_id, refusal.code, refusal.text)

    def _place(self, client_id: int, order_id: int, values: Mapping[str, Any]) -> None:
        if order_id > ORDER_ID_MAX:
            text = f"Error reading request. Unable to parse data. For input string: {order_id}"
            raise Refusal(320, text, request_id=-1)
        key = (client_id, order_id)
        live = self.books.live_order(client_id, order_id) or self.untransmitted.get(key)
        what_if = to_bool(values["whatIf"])
        kind = "what_if" if what_if else "modify" if live is not None else "new"
        self.books.count_placement(client_id, order_id, values["orderRef"], kind)
        if self.settings.read_only:
            raise Refusal(
                321,
                "Error validating request.-'bW' : cause - The API interface is currently in"
                " Read-Only mode.",
            )
        if live is not None and not what_if:
            self._modify(live, values)
            return
        if not what_if:
            self._check_order_id(client_id, order_id)
        order, contract = self._new_order(client_id, order_id, values)
        if what_if:
            self.notify.margin_preview(order, contract)
            return
        self.books.set_highest_order_id(client_id, order_id)
        self.untransmitted[key] = order
        if to_bool(values["transmit"]):
            self._transmit(order)

    def next_valid_id(self, client_id: int) -> int:
        return max(self.books.highest_order_id(client_id), 0) + 1

    def cancel(self, client_id: int, order_id: int) -> None:
        held = self.untransmitted.pop((client_id, order_id), None)
        if held is not None:
            held.status = "ApiCancelled"
            self.notify.status(held)
            self.notify.error(client_id, order_id, 202, "Order Canceled - reason:")
            return
        order = self.books.live_order(client_id, order_id)
        if order is not None:
            self.end(order, "Cancelled", "Order Canceled - reason:")
            return
        gone = self.books.by_client(client_id, order_id)
        if gone is None or not order_id:
            text = f"OrderId {order_id} that needs to be cancelled is not found."
            self.notify.error(client_id, order_id, 10147, text)
            return
        text = (
            f"OrderId {order_id} that needs to be cancelled cannot be cancelled, state:"
            f" {gone.wire_status}."
        )
        self.notify.error(client_id, order_id, 10148, text)

    def cancel_all(self) -> None:
        """reqGlobalCancel: every order of every client, manual ones too."""
        for key in list(self.untransmitted):
            self.cancel(*key)
        for order in list(self.books.live.values()):
            if not order.ended:
                self.end(order, "Cancelled", "Order Canceled - reason:")

    # -- taking in --------------------------------------------------------------------------------

    def _check_order_id(self, client_id: int, order_id: int) -> None:
        if order_id > self.books.highest_order_id(client_id):
            return
        gone = self.books.by_client(client_id, order_id)
        if gone is not None and gone.status == "Filled":
            raise Refusal(104, "Cannot modify a filled order.")
        raise Refusal(103, "Duplicate order id")

    def _new_order(
        self, client_id: int, order_id: int, values: Mapping[str, Any]
    ) -> tuple[Order, Contract]:
        contract = self.resolve(values)
        order = Order(
            perm_id=0,
            client_id=client_id,
            order_id=order_id,
            account=self._account(values["account"]),
            con_id=contract.con_id,
            exchange=values["exchange"] or contract.primary_exchange,
            side=values["action"],
            quantity=to_decimal(values["totalQuantity"]) or ZERO,
            order_type=values["orderType"],
            order_ref=values["orderRef"],
            terms=terms_of(values),
            parent_id=to_int(values["parentId"]),
            placed_at=self.clock.now(),
        )
        self._validate(order, contract)
        if order.parent_id and self._parent(order) is None:
            raise Refusal(10006, "Missing parent order")
        return order, contract

    def resolve(self, values: Mapping[str, str]) -> Contract:
        found = self.catalogue.resolve(Query.from_wire(values))
        if not found:
            raise Refusal(200, "No security definition has been found for the request")
        if len(found) > 1:
            raise Refusal(
                200,
                "The contract description specified for"
                f" {values.get('symbol', '')} is ambiguous; you must specify the"
                " multiplier or trading class.",
            )
        return found[0]

    def _account(self, text: str) -> str:
        if text in self.settings.accounts:
            return text
        if not text and len(self.settings.accounts) == 1:
            return self.settings.accounts[0]
        if not text:
            raise Refusal(435, "You must specify an account.")
        raise Refusal(321, "Error validating request.-'b9' : cause - Invalid account code")

    def _validate(self, order: Order, contract: Contract) -> None:
        if order.side not in ("BUY", "SELL", "SSHORT"):
            text = f"Error validating request.-'b9' : cause - Invalid side {order.side}"
            raise Refusal(321, text)
        if order.order_type not in matching.SUPPORTED:
            raise Refusal(387, "Unsupported order type for this exchange and security type.")
        if order.quantity == 0:
            raise Refusal(434, "The order size cannot be zero.")
        if order.quantity < 0:
            raise Refusal(321, "Error validating request.-'b9' : cause - Invalid quantity")
        if order.quantity % contract.size_increment:
            raise Refusal(10243, "Fractional-sized order cannot be placed via API.")
        needed = []
        if order.order_type in matching.LIMITED:
            needed.append(order.limit_price)
        if order.order_type in matching.STOPS:
            needed.append(order.aux_price)
        for price in needed:
            if price is None:
                raise Refusal(403, "Invalid price for this order type.")
            if price % contract.minimum_tick:
                raise Refusal(110, OFF_TICK)

    def _modify(self, order: Order, values: Mapping[str, Any]) -> None:
        contract = self.contract(order.con_id)
        account = values["account"] or order.account
        said = self.catalogue.resolve(Query.from_wire(values))
        same = order.side == values["action"] and account == order.account and contract in said
        if not same:
            raise Refusal(105, "Order being modified does not match original order.")
        if order.order_type != values["orderType"]:
            raise Refusal(329, "Order modify failed. Cannot change to the new order type.")
        new = self._modified(order, values)
        self._validate(new, contract)
        if new.quantity <= order.filled:
            raise Refusal(104, "Cannot modify a filled order.")
        order.terms = new.terms
        order.quantity = new.quantity
        order.order_ref = new.order_ref
        if not order.perm_id:
            if to_bool(values["transmit"]):
                self._transmit(order)
            return
        self.books.save(order)
        self.notify.order(order)
        self.work(order)

    def _modified(self, order: Order, values: Mapping[str, Any]) -> Order:
        return Order(
            perm_id=order.perm_id,
            client_id=order.client_id,
            order_id=order.order_id,
            account=order.account,
            con_id=order.con_id,
            exchange=order.exchange,
            side=order.side,
            quantity=to_decimal(values["totalQuantity"]) or ZERO,
            order_type=order.order_type,
            order_ref=values["orderRef"] or order.order_ref,
            terms=terms_of(values),
        )

    # -- transmission -----------------------------------------------------------------------------

    def _parent(self, order: Order) -> Order | None:
        """The parent, while a child may still be attached to it: not once it was cancelled."""
        key = (order.client_id, order.parent_id)
        parent = self.untransmitted.get(key) or self.books.by_client(*key)
        if parent is not None and parent.ended and parent.status != "Filled":
            return None
        return parent

    def _transmit(self, order: Order) -> None:
        """Transmit an order with its parent and its siblings: the last child sends them all."""
        root = order
        while root.parent_id and (parent := self._parent(root)) is not None:
            root = parent
        family = [root] if not root.perm_id else []
        family += self._descendants(root)
        for member in family:
            self.untransmitted.pop((member.client_id, member.order_id), None)
        for member in family:
            self.accept(member)
        # The whole family is known before any of it trades: a parent at market fills at once.
        for member in family:
            self.work(member)

    def _descendants(self, parent: Order) -> list[Order]:
        children = [
            held
            for held in self.untransmitted.values()
            if held.client_id == parent.client_id and held.parent_id == parent.order_id
        ]
        return [one for child in children for one in (child, *self._descendants(child))]

    def accept(self, order: Order) -> None:
        """The order reaches IB: a permanent id, a check of the money, then the market."""
        order.perm_id = self.next_perm_id()
        parent = None
        if order.parent_id:
            parent = self.books.by_client(order.client_id, order.parent_id)
        if parent is not None:
            order.parent_perm_id = parent.perm_id
        order.why_held = matching.held_for(order, child=parent is not None and not parent.ended)
        self.books.save(order)
        shortfall = self._shortfall(order)
        if shortfall is not None:
            self.reject(order, 201, shortfall)
            return
        if order.why_held or self.settings.acknowledge != "submitted":
            self.notify.order(order)
        if parent is not None and parent.ended and parent.status != "Filled":
            self.end(order, "Cancelled", "Order Canceled - reason:")

    def next_perm_id(self) -> int:
        return self._perm_base + self.books.next_number("perm_id")

    def _shortfall(self, order: Order) -> str | None:
        contract = self.contract(order.con_id)
        quote = self.market.quote(contract)
        price = order.limit_price or quote.ask
        opening = self._opening_quantity(order)
        value = opening * price * contract.multiplier
        available = self.buying_power(order.account)
        if value <= available:
            return None
        return (
            "Order rejected - reason:We are unable to accept your order. Your Available Funds"
            f" are insufficient to cover the required margin [{available:.2f}"
            f" {self.settings.base_currency}, needs {value:.2f}]"
        )

    def _opening_quantity(self, order: Order) -> Decimal:
        held = self.books.position(order.account, order.con_id).quantity
        if order.is_buy and held < 0:
            return max(order.quantity + held, ZERO)
        if not order.is_buy and held > 0:
            return max(order.quantity - held, ZERO)
        return order.quantity

    def buying_power(self, account: str) -> Decimal:
        """Cash in the base currency, twice: Reg T's initial margin of one half."""
        return max(self.books.cash.get((account, self.settings.base_currency), ZERO), ZERO) * 2

    # -- working ----------------------------------------------------------------------------------

    def contract(self, con_id: int) -> Contract:
        found = self.catalogue.by_id(con_id)
        if found is None:
            raise LookupError(f"con id {con_id} is not in the catalogue")
        return found

    def work(self, order: Order) -> None:
        """Bring an order to the market: trigger it, fill it, or let it rest."""
        if order.ended or "child" in order.why_held:
            return
        contract = self.contract(order.con_id)
        decision = matching.decide(order, self.market.quote(contract))
        if not decision.triggered:
            return
        if order.order_type in matching.STOPS and not order.triggered:
            order.triggered = True
            order.why_held = ""
        if decision.price is not None:
            self._fill_in_parts(order, contract, decision.price)
        elif order.status == "PreSubmitted":
            order.status = "Submitted"
            self.books.save(order)
            self.notify.order(order)

    def _fill_in_parts(self, order: Order, contract: Contract, price: Decimal) -> None:
        pieces = matching.parts(order.remaining, self.settings.parts, contract.size_increment)
        if not self.settings.part_seconds:
            for piece in pieces:
                if not order.ended:
                    self.fill(order, piece, price)
            return
        self.fill(order, pieces[0], price)
        if order.ended:
            return

        def go_on() -> None:
            live = self.books.live.get(order.perm_id)
            if live is not None:
                self.work(live)

        self.clock.call_later(self.settings.part_seconds, go_on)

    def on_quote(self, con_id: int) -> None:
        """The market of a contract has moved: look at every order in it."""
        self.notify.quote(self.contract(con_id))
        for order in list(self.books.live.values()):
            if order.con_id == con_id and not order.ended:
                self.work(order)

    # -- fills ------------------------------------------------------------------------------------

    def fill(
        self, order: Order, quantity: Decimal, price: Decimal, *, after_end: bool = False
    ) -> Execution:
        """Execute part or all of an order.

        Messages: execDetails, openOrder, orderStatus, commissionReport.  With `after_end` the
        order's state stays as it is: a fill that arrives after Cancelled.
        """
        contract = self.contract(order.con_id)
        order.filled += quantity
        order.value += quantity * price
        order.last_price = price
        execution = self._execute(order, contract, quantity, price)
        if not after_end:
            order.why_held = ""
            if order.remaining > 0:
                order.status = "Submitted"
            else:
                order.status = "Filled"
                order.completed_at = execution.time
                order.completed_status = f"Filled Size: {number(order.filled)}"
        self.books.save(order)
        self.market.print_last(contract, price, quantity)
        self.notify.execution(execution)
        self.notify.order(order)
        self.notify.commission(execution)
        self.notify.position(order.account, order.con_id)
        if not after_end:
            self._after_fill(order, quantity)
        return execution

    def _execute(
        self, order: Order, contract: Contract, quantity: Decimal, price: Decimal
    ) -> Execution:
        serial = self.books.next_number("execution")
        execution = Execution(
            exec_id=f"{self._exec_prefix}.{self._exec_base + serial:08x}.01.01",
            perm_id=order.perm_id,
            client_id=max(order.client_id, 0),
            order_id=order.order_id,
            order_ref=order.order_ref,
            account=order.account,
            con_id=order.con_id,
            side="BOT" if order.is_buy else "SLD",
            quantity=quantity,
            price=price,
            time=self.clock.now().replace(microsecond=0),
            venue=contract.primary_exchange,
            cumulative=order.filled,
            average_price=order.average_price,
            commission=commission_fixed(contract, quantity, price),
            commission_currency=contract.currency,
        )
        self._book(execution, contract)
        self.books.add_execution(execution)
        return execution

    def _book(self, execution: Execution, contract: Contract) -> None:
        commission = execution.commission or ZERO
        before = self.books.position(execution.account, execution.con_id)
        after, execution.realized = before.after(
            execution.signed, execution.price, contract.multiplier, commission
        )
        self.books.set_position(execution.account, execution.con_id, after)
        paid = execution.signed * execution.price * contract.multiplier + commission
        self.books.add_cash(execution.account, contract.currency, -paid)

    def _after_fill(self, order: Order, quantity: Decimal) -> None:
        if order.ended:
            for child in self._live_children(order):
                self._release(child)
        for other in self._one_cancels_other(order):
            if order.ended or other.oca_type == 1:
                self.end(other, "Cancelled", "Order Canceled - reason:")
            elif other.remaining > quantity:
                other.quantity -= quantity
                self.books.save(other)
                self.notify.order(other)

    def _live_children(self, parent: Order) -> list[Order]:
        return [
            order
            for order in self.books.live.values()
            if order.parent_perm_id == parent.perm_id and not order.ended
        ]

    def _one_cancels_other(self, order: Order) -> list[Order]:
        """The other members of an order's OCA group; the children of one parent are a group too."""

        def together(other: Order) -> bool:
            if order.oca_group:
                return other.oca_group == order.oca_group and other.account == order.account
            return bool(order.parent_perm_id) and other.parent_perm_id == order.parent_perm_id

        others = self.books.live.values()
        return [
            other
            for other in others
            if other.perm_id != order.perm_id and not other.ended and together(other)
        ]

    def _release(self, child: Order) -> None:
        """The parent has filled: the child goes to work."""
        child.why_held = matching.held_for(child, child=False)
        self.books.save(child)
        if child.why_held:
            self.notify.order(child)
        self.work(child)

    # -- ends -------------------------------------------------------------------------------------

    def end(self, order: Order, status: str, text: str, code: int = 202) -> None:
        """Cancel what is left of an order, with its children."""
        order.status = status
        order.why_held = ""
        order.completed_at = self.clock.now()
        order.completed_status = "Cancelled"
        self.books.save(order)
        if self.settings.cancel_order == "error-first":
            self.notify.error(order.client_id, order.order_id, code, text)
            self.notify.status(order)
        else:
            self.notify.status(order)
            self.notify.error(order.client_id, order.order_id, code, text)
        for child in self._live_children(order):
            self.end(child, "Cancelled", "Order Canceled - reason:")

    def reject(self, order: Order, code: int, text: str) -> None:
        """The error comes first; the order shows as Inactive after it."""
        order.status = "Rejected"
        order.why_held = ""
        order.reject_code = code
        order.reject_text = text
        order.completed_at = self.clock.now()
        order.completed_status = f"Rejected: {text}"
        self.books.save(order)
        self.notify.error(order.client_id, order.order_id, code, text)
        self.notify.order(order)
        for child in self._live_children(order):
            self.end(child, "Cancelled", "Order Canceled - reason:")

    # -- what happens to the books without an order ------------------------------------------------

    def manual_order(self, order: Order) -> Order:
        """A person at TWS: order id 0, client id 0, visible to every client that asks for all."""
        order.origin = "manual"
        self._validate(order, self.contract(order.con_id))
        self.accept(order)
        self.work(order)
        return order

    def adjust_position(
        self, account: str, contract: Contract, quantity: Decimal, cost: Decimal | None
    ) -> Position:
        """Assignment, exercise, split, transfer: a position changes and no execution says so."""
        old = self.books.position(account, contract.con_id)
        total = old.quantity + quantity
        average = cost if cost is not None else old.average_cost
        row = Position(total, average if total else ZERO, old.realized)
        self.books.set_position(account, contract.con_id, row)
        self.books.add_adjustment(account, contract.con_id, total, row.average_cost)
        self.notify.position(account, contract.con_id)
        return row

    def correct(
        self, old: Execution, *, quantity: Decimal | None, price: Decimal | None
    ) -> Execution:
        """Replace an execution by its next revision, with a commission of its own.

        A bust is a revision to quantity 0.
        """
        order = self.books.by_perm_id(old.perm_id)
        if order is None:
            raise LookupError(f"no order with perm id {old.perm_id}")
        contract = self.contract(old.con_id)
        new = Execution.from_json(old.to_json())
        new.exec_id = f"{old.stem}.{old.revision + 1:02d}"
        new.quantity = old.quantity if quantity is None else quantity
        new.price = old.price if price is None else price
        order.filled += new.quantity - old.quantity
        order.value += new.quantity * new.price - old.quantity * old.price
        new.cumulative = order.filled
        new.average_price = order.average_price
        new.commission = (
            commission_fixed(contract, new.quantity, new.price) if new.quantity else ZERO
        )
        old.superseded = True
        self.books.save_execution(old)
        self.books.add_execution(new)
        self.books.save(order)
        paid_old = old.signed * old.price * contract.multiplier + (old.commission or ZERO)
        paid_new = new.signed * new.price * contract.multiplier + new.commission
        self.books.add_cash(new.account, contract.currency, paid_old - paid_new)
        self._recount(new, contract)
        self.notify.execution(new)
        self.notify.commission(new)
        self.notify.position(new.account, new.con_id)
        return new

    def _recount(self, corrected: Execution, contract: Contract) -> None:
        """Rebuild a position from its history: a correction changes what came after it too."""
        row = Position()
        entries = self.books.history(corrected.account, corrected.con_id)
        for entry in _revised(entries):
            if isinstance(entry, Execution):
                row, realized = row.after(
                    entry.signed, entry.price, contract.multiplier, entry.commission or ZERO
                )
                if entry.exec_id == corrected.exec_id:
                    corrected.realized = realized
                    self.books.save_execution(corrected)
            else:
                row = Position(entry[0], entry[1], row.realized)
        self.books.set_position(corrected.account, corrected.con_id, row)

    def day_start(self) -> datetime:
        """Midnight before now in the gateway's zone: how far back executions are answered."""
        return midnight_before(self.clock.now(), self.zone)


def _revised(
    entries: Iterable[Execution | tuple[Decimal, Decimal]],
) -> Iterable[Execution | tuple[Decimal, Decimal]]:
    """The last revision of every execution, standing where its first revision stood."""
    rows = list(entries)
    latest: dict[str, Execution] = {}
    for row in rows:
        if isinstance(row, Execution):
            latest[row.stem] = row
    seen: set[str] = set()
    for row in rows:
        if not isinstance(row, Execution):
            yield row
        elif row.stem not in seen:
            seen.add(row.stem)
            yield latest[row.stem]
