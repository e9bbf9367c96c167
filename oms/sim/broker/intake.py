"""What clients ask of IB: new orders, new terms, cancels.

Orders that are not transmitted yet live here, and only in memory: IB loses them too when its
gateway restarts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from oms.sim.broker.accounts import credit
from oms.sim.broker.books.books import Placement
from oms.sim.broker.books.ledger import ZERO
from oms.sim.broker.books.orders import Order, terms_of
from oms.sim.broker.combos import legs_of, quote_of
from oms.sim.broker.exchange.contracts import CONTINUOUS, Contract, Query
from oms.sim.broker.floor import Floor
from oms.sim.broker.order_life import CANCELLED_TEXT, OrderLife
from oms.sim.broker.rules import checks, matching
from oms.sim.broker.rules.checks import Refusal
from oms.sim.protocol.fields import to_bool, to_decimal, to_int

#: What may be ordered by an amount of money.
BY_CASH: Final = ("CASH", "CRYPTO", "FUND")


class Intake:
    """The door to IB. A request that is refused gets its error and changes nothing."""

    def __init__(self, floor: Floor, orders: OrderLife) -> None:
        self.floor = floor
        self.orders = orders
        self.books = floor.books
        self.catalogue = floor.catalogue
        self.clock = floor.clock
        self.settings = floor.settings
        self.notify = floor.notify
        self.untransmitted: dict[tuple[int, int], Order] = {}
        orders.linked.on_end.append(self._drop_children)

    def place(self, client_id: int, values: Mapping[str, Any]) -> None:
        """Take a placeOrder: a new order, or new terms for one that lives."""
        order_id = to_int(values["orderId"])
        try:
            self._place(client_id, order_id, values)
        except Refusal as refusal:
            request_id = order_id if refusal.request_id is None else refusal.request_id
            self.notify.error(client_id, request_id, refusal.code, refusal.text)

    def _place(self, client_id: int, order_id: int, values: Mapping[str, Any]) -> None:
        if order_id > checks.ORDER_ID_MAX:
            text = f"Error reading request. Unable to parse field. For input string: {order_id}"
            raise Refusal(320, text, request_id=-1)
        key = (client_id, order_id)
        live = self.books.live_order(client_id, order_id) or self.untransmitted.get(key)
        what_if = to_bool(values["whatIf"])
        kind: Placement = "what_if" if what_if else "modify" if live is not None else "new"
        if kind == "new" and self._comes_late(client_id, order_id, values["orderRef"]):
            kind = "late"
        self.books.count_placement(client_id, order_id, values["orderRef"], kind)
        if self.settings.read_only:
            raise Refusal(321, checks.READ_ONLY)
        if live is not None and not what_if:
            self._modify(live, values)
            return
        if not what_if:
            self._check_order_id(client_id, order_id)
        order, contract = self._new_order(client_id, order_id, values)
        if what_if:
            if not to_bool(values["transmit"]):
                raise Refusal(413, "What-if order should have the transmit flag set to true.")
            self.notify.margin_preview(order, contract)
            return
        self.books.set_highest_order_id(client_id, order_id)
        self.untransmitted[key] = order
        if to_bool(values["transmit"]):
            self.transmit(order)

    def next_valid_id(self, client_id: int) -> int:
        """Return the lowest order id that a client may use."""
        return max(self.books.highest_order_id(client_id), 0) + 1

    def cancel(self, client_id: int, order_id: int) -> None:
        """Take a cancelOrder: 202 and the end, or why not."""
        held = self.untransmitted.get((client_id, order_id))
        if held is not None:
            self._drop(held)
            return
        order = self.books.live_order(client_id, order_id)
        if order is not None:
            if self.settings.cancel_order == "pending-first":
                self.orders.say_pending_cancel(order)
            self.orders.end(order)
            return
        gone = self.books.by_client(client_id, order_id)
        needs = f"OrderId {order_id} that needs to be cancelled"
        if gone is None or not order_id:
            self.notify.error(client_id, order_id, 10147, f"{needs} is not found.")
        else:
            text = f"{needs} cannot be cancelled, state: {gone.wire_status}."
            self.notify.error(client_id, order_id, 10148, text)

    def _drop(self, held: Order) -> None:
        """An order that never left the gateway is cancelled, with everything attached to it."""
        self.untransmitted.pop((held.client_id, held.order_id), None)
        held.status = "ApiCancelled"
        self.notify.status(held)
        self.notify.error(held.client_id, held.order_id, 202, CANCELLED_TEXT)
        self._drop_children(held)

    def _drop_children(self, parent: Order) -> None:
        for held in self._descendants(parent):
            if not held.ended:
                self._drop(held)

    def cancel_all(self) -> None:
        """Take a reqGlobalCancel: every order of every client ends, manual ones too."""
        for held in list(self.untransmitted.values()):
            if not held.ended:
                self._drop(held)
        for order in list(self.books.live.values()):
            if not order.ended:
                self.orders.end(order)

    # ── taking in ────────────────────────────────────────────────────────────────────────────────

    def _check_order_id(self, client_id: int, order_id: int) -> None:
        if order_id > self.books.highest_order_id(client_id):
            return
        gone = self.books.by_client(client_id, order_id)
        if gone is not None and gone.status == "Filled":
            raise Refusal(104, "Cannot modify a filled order.")
        raise Refusal(103, "Duplicate order id")

    def _comes_late(self, client_id: int, order_id: int, order_ref: str) -> bool:
        """Say whether a placeOrder is about an order that has ended: the number and the reference
        are its own, and the number was not given back since.
        """
        gone = self.books.by_client(client_id, order_id)
        return (
            gone is not None
            and gone.order_ref == order_ref
            and order_id <= self.books.highest_order_id(client_id)
        )

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
        self._size_by_cash(order, contract)
        checks.check(order, contract, self.clock.now(), self.floor.zone)
        if contract.sec_type == "CRYPTO" and not order.is_buy:
            held = self.books.position(order.account, contract.con_id).quantity
            if order.quantity > held:
                text = "Order rejected - reason:The crypto position cannot be short"
                raise Refusal(201, text)
        if contract.sec_type == "BAG":
            legs = legs_of(self.floor, order)
            if any(self.catalogue.expired(leg) for leg, _ in legs):
                raise Refusal(392, checks.EXPIRED)
        if order.parent_id and self._parent(order) is None:
            raise Refusal(10006, "Missing parent order")
        return order, contract

    def _size_by_cash(self, order: Order, contract: Contract) -> None:
        """Size what is ordered by an amount of money, which only `BY_CASH` may be.

        The size is what the amount pays for at the limit, or at the touch, in whole steps of size.
        """
        amount = order.price("cashQty")
        if not amount:
            return
        if contract.sec_type not in BY_CASH:
            raise Refusal(10244, "Cash Quantity cannot be used for this order")
        if order.quantity:
            raise Refusal(321, checks.INVALID + "Cash quantity and size cannot both be specified")
        quote = self.floor.market.quote(contract)
        price = order.limit_price or (quote.ask if order.is_buy else quote.bid)
        if price > 0:
            order.quantity = amount / price // contract.size_increment * contract.size_increment

    def resolve(self, values: Mapping[str, str]) -> Contract:
        """Return the one contract that a client names. Raises the Refusal of none and of many."""
        query = Query.from_wire(values)
        if query.sec_type == CONTINUOUS and not query.con_id:
            raise Refusal(321, checks.INVALID + "Please enter a valid security type")
        found = self.catalogue.resolve_any(query)
        live = [one for one in found if not self.catalogue.expired(one)]
        if found and not live:
            raise Refusal(392, checks.EXPIRED)
        found = live
        if not found:
            raise Refusal(200, checks.NO_CONTRACT)
        if len(found) > 1:
            raise Refusal(
                200,
                f"The contract description specified for {values.get('symbol', '')} is ambiguous;"
                " you must specify the multiplier or trading class.",
            )
        if query.con_id and query.sec_type != "BAG" and (conflict := query.conflict(found[0])):
            raise Refusal(478, f"{checks.CONFLICT}{conflict}")
        return found[0]

    def _account(self, text: str) -> str:
        if text in self.settings.accounts:
            return text
        if not text and len(self.settings.accounts) == 1:
            return self.settings.accounts[0]
        if not text:
            raise Refusal(435, "You must specify an account.")
        raise Refusal(321, checks.INVALID + "Invalid account code")

    def _modify(self, order: Order, values: Mapping[str, Any]) -> None:
        """New terms for a live order. A refusal leaves the old ones in force."""
        contract = self.floor.contract(order.con_id)
        new = self._modified(order, values)
        if new.account != order.account or new.side != order.side or not self._same(order, values):
            raise Refusal(105, "Order being modified does not match original order.")
        if new.kind != order.kind:
            raise Refusal(329, "Order modify failed. Cannot change to the new order type.")
        self._check_revision(order, new, values)
        checks.check(new, contract, self.clock.now(), self.floor.zone)
        if self.catalogue.expired(contract):
            raise Refusal(392, checks.EXPIRED)
        if new.quantity <= order.filled:
            raise Refusal(104, "Cannot modify a filled order.")
        shortfall = credit.shortfall(self.floor, new) if order.perm_id else None
        if shortfall is not None:
            self.notify.error(order.client_id, order.order_id, 201, shortfall)
            if self.settings.modify_reject == "kill":
                self.orders.reject(order, 201, shortfall, said=True)
            else:
                self.notify.order(order)
            return
        if order.whole is not None and new.quantity != order.quantity:
            # The size that works, said again, changes nothing. Another one is that of the whole;
            # what works is the part of it that belongs to a fill.
            order.whole, new.quantity = new.quantity, min(new.quantity, order.quantity)
        order.terms, order.quantity, order.order_ref = new.terms, new.quantity, new.order_ref
        order.trail_price = None
        if order.kind in matching.TRAILING and order.perm_id:
            order.trail_price = matching.trail_price(order, quote_of(self.floor, order).last)
        if not order.perm_id:
            if to_bool(values["transmit"]):
                self.transmit(order)
            return
        self.books.save(order)
        self.notify.order(order)
        self.orders.arm(order)
        self.orders.work(order)

    def _check_revision(self, order: Order, new: Order, values: Mapping[str, Any]) -> None:
        """What an order is part of cannot be changed, nor where it was sent."""
        if new.oca_group != order.oca_group:
            raise Refusal(10326, "OCA group revision is not allowed.")
        if new.oca_group and new.oca_type != order.oca_type:
            raise Refusal(10327, "OCA group type revision is not allowed.")
        if to_int(values["parentId"]) != order.parent_id:
            raise Refusal(10341, "Parent order id cannot be modified.")
        if order.price("cashQty"):
            text = "Order Quantity is expressed in monetary terms. Modification is not supported"
            raise Refusal(
                10241, text + " via API. Please use desktop version to revise this order."
            )
        if values["exchange"] not in ("", order.exchange):
            raise Refusal(105, "Order being modified does not match original order.")

    def _same(self, order: Order, values: Mapping[str, Any]) -> bool:
        said = self.catalogue.resolve_any(Query.from_wire(values))
        return any(one.con_id == order.con_id for one in said)

    def _modified(self, order: Order, values: Mapping[str, Any]) -> Order:
        return Order(
            perm_id=order.perm_id,
            client_id=order.client_id,
            order_id=order.order_id,
            account=values["account"] or order.account,
            con_id=order.con_id,
            exchange=order.exchange,
            side=values["action"],
            quantity=to_decimal(values["totalQuantity"]) or ZERO,
            order_type=values["orderType"],
            order_ref=values["orderRef"] or order.order_ref,
            terms=terms_of(values),
            filled=order.filled,
            parent_id=order.parent_id,
            parent_perm_id=order.parent_perm_id,
            why_held=order.why_held,
            triggered=order.triggered,
        )

    # ── transmission ─────────────────────────────────────────────────────────────────────────────

    def _parent(self, order: Order) -> Order | None:
        """The parent, while a child may still be attached to it: not once it was cancelled."""
        key = (order.client_id, order.parent_id)
        parent = self.untransmitted.get(key) or self.books.by_client(*key)
        if parent is not None and parent.ended and parent.status != "Filled":
            return None
        return parent

    def transmit(self, order: Order) -> None:
        """Transmit an order with its parent and its siblings: the last child sends them all."""
        root = order
        while root.parent_id:
            parent = self._parent(root)
            if parent is None:
                self._drop(root)
                return
            root = parent
        tree = [root] if not root.perm_id else []
        tree += self._descendants(root)
        for member in tree:
            self.untransmitted.pop((member.client_id, member.order_id), None)
        for member in tree:
            self.orders.accept(member)
        # The whole tree is known before any of it trades: a parent at market fills at once.
        for member in tree:
            self.orders.work(member)

    def _descendants(self, parent: Order) -> list[Order]:
        children = [
            held
            for held in self.untransmitted.values()
            if held.client_id == parent.client_id and held.parent_id == parent.order_id
        ]
        return [one for child in children for one in (child, *self._descendants(child))]
