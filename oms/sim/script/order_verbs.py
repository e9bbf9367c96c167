"""The verbs for orders and executions."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final

from oms.sim.broker.books.ledger import ZERO
from oms.sim.broker.books.orders import ENDED, LIVE, SIDES, Order
from oms.sim.broker.combos import quote_of
from oms.sim.broker.rules import matching
from oms.sim.protocol.fields import number
from oms.sim.script.arguments import QUANTITY_MAX, CommandError, Fields
from oms.sim.script.context import CONTRACT_FIELDS, ORDER_FIELDS, Context
from oms.sim.script.verb import Answer, verb


@verb("orders", *ORDER_FIELDS, "quantity?", "price?", "other_side?")
def fill(context: Context, fields: Fields) -> Answer:
    """Execute `quantity` (else what remains) of an order. Without a `price` it trades at the touch,
    or at its own limit where the touch is beyond it; a `price` is taken as it is, beyond the limit
    too. An order that has ended can be filled as well: its state stays as it is. With `other_side`
    the execution is on the other side than the order, which itself stays as it is.
    """
    order = context.order(fields)
    price = fields.price_or_none("price")
    if price is None:
        price = _fair_price(context, order)
    quantity = fields.quantity_or_none("quantity")
    if quantity is None:
        quantity = order.remaining
    if quantity <= 0:
        raise CommandError("nothing remains of that order", "name a quantity to overfill it")
    if order.filled + quantity > QUANTITY_MAX:
        raise CommandError("the order would be filled too far", f"at most {QUANTITY_MAX:f}")
    orders = context.gateway.broker.orders
    if fields.flag("other_side"):
        return {"exec_id": orders.fill_other_side(order, quantity, price)[0].exec_id}
    rows = orders.fill(order, quantity, price, after_end=order.ended)
    return {"exec_id": rows[0].exec_id}


def _fair_price(context: Context, order: Order) -> Decimal:
    """The touch, but never worse than the order's limit."""
    touch = quote_of(context.gateway.floor, order)
    price = touch.ask if order.is_buy else touch.bid
    limit = (
        matching.limit_price(order, order.trail_price) if order.kind in matching.LIMITED else None
    )
    return price if limit is None or matching.within(order, price, limit) else limit


@verb("orders", *ORDER_FIELDS, "code?", "text?", "silent?")
def cancel(context: Context, fields: Fields) -> Answer:
    """The broker cancels an order by itself, with `code` (202) and `text`; `silent` leaves the
    error message out.
    """
    order = context.live(fields)
    context.gateway.broker.orders.end(
        order,
        code=fields.integer("code", 202, least=0),
        text=fields.text("text", "Order Canceled - reason:"),
        silent=fields.flag("silent"),
    )
    return {"perm_id": order.perm_id}


@verb("orders", *ORDER_FIELDS, "code?", "text?")
def reject(context: Context, fields: Fields) -> Answer:
    """Reject a live order: the error `code` (201) with `text`, then Inactive."""
    order = context.live(fields)
    text = fields.text("text", "Order rejected - reason:")
    context.gateway.broker.orders.reject(order, fields.integer("code", 201, least=0), text)
    return {"perm_id": order.perm_id}


@verb("orders", *ORDER_FIELDS, "code", "text?")
def error(context: Context, fields: Fields) -> Answer:
    """Send an error with the order's id to its client, and change nothing: any code of IB's."""
    order = context.order(fields)
    text = fields.text("text", "Order Message:")
    context.gateway.error(order.client_id, order.order_id, fields.integer("code"), text)
    return {}


@verb("orders", *ORDER_FIELDS, "status", "why_held?", "code?", "text?")
def status(context: Context, fields: Fields) -> Answer:
    """Show a live order in another live state, such as Inactive with why_held locate, PendingCancel
    or Submitted again. With `code`, that error comes first. An Inactive order does not trade.
    """
    order = context.live(fields)
    if fields.text("status") in ENDED:
        raise CommandError(
            "that state is an end", "cancel, reject or fill it; or only say so: send"
        )
    word = LIVE[fields.choice("status", tuple(LIVE))]
    if fields.has("code"):
        text = fields.text("text", "Order Message:")
        context.gateway.error(order.client_id, order.order_id, fields.integer("code"), text)
    context.gateway.broker.orders.change(order, status=word, why_held=fields.text("why_held"))
    return {"perm_id": order.perm_id}


@verb("orders", *ORDER_FIELDS, "quantity?", "limit_price?", "aux_price?")
def modify(context: Context, fields: Fields) -> Answer:
    """Change a live order from outside: its owner is sent openOrder and orderStatus."""
    order = context.live(fields)
    quantity = fields.quantity_or_none("quantity")
    if quantity is not None and quantity <= order.filled:
        raise CommandError(f"{quantity} is not above the {order.filled} filled", "a larger one")
    changed = {
        name: number(fields.price(field))
        for field, name in (("limit_price", "lmtPrice"), ("aux_price", "auxPrice"))
        if fields.has(field)
    }
    order.quantity = order.quantity if quantity is None else quantity
    order.terms |= changed
    orders = context.gateway.broker.orders
    orders.change(order, status=order.status, why_held=order.why_held)
    orders.work(order)
    return {"perm_id": order.perm_id}


@verb(
    "orders",
    *("side", "quantity", *CONTRACT_FIELDS, "order_type?", "limit_price?", "aux_price?"),
    *("tif?", "account?", "order_ref?", "client_id?", "order_id?"),
)
def manual_order(context: Context, fields: Fields) -> Answer:
    """A person enters an order at TWS: client id 0, order id 0. With `client_id` and `order_id` it
    is another API client's, connected or not.
    """
    order = _entered(context, fields)
    order.origin = "api" if fields.has("client_id") else "manual"
    context.gateway.broker.orders.enter(order)
    return {"perm_id": order.perm_id, "status": order.status}


@verb("orders", "side", "quantity", *CONTRACT_FIELDS, "price?", "account?")
def liquidate(context: Context, fields: Fields) -> Answer:
    """The broker closes a position by an order of its own, whose executions are marked
    liquidation.
    """
    order = _entered(context, fields)
    price = fields.price_or_none("price")
    order.origin = "liquidation"
    orders = context.gateway.broker.orders
    orders.accept(order)
    if price is None:
        price = _fair_price(context, order)
    rows = orders.fill(order, order.quantity, price, liquidation=True)
    return {"perm_id": order.perm_id, "exec_id": rows[0].exec_id}


def _entered(context: Context, fields: Fields) -> Order:
    contract = context.contract(fields)
    terms: dict[str, Any] = {"tif": fields.text("tif", "DAY")}
    for field, name in (("limit_price", "lmtPrice"), ("aux_price", "auxPrice")):
        if fields.has(field):
            terms[name] = number(fields.price(field))
    if fields.has("legs"):
        terms["comboLegs"] = context.legs(fields)
    client_id = fields.integer("client_id", least=0)
    order_id = fields.integer("order_id", least=0)
    if fields.has("client_id") != fields.has("order_id"):
        raise CommandError("client_id and order_id go together", "both, or none for a person's")
    books = context.gateway.books
    if order_id and books.live_order(client_id, order_id) is not None:
        raise CommandError("that client has a live order of that id", "another order_id")
    made = Order(
        perm_id=0,
        client_id=client_id,
        order_id=order_id,
        account=context.account(fields),
        con_id=contract.con_id,
        exchange=fields.text("exchange") or contract.valid_exchanges.partition(",")[0],
        side=fields.choice("side", SIDES),
        quantity=fields.quantity("quantity"),
        order_type=fields.text("order_type", "MKT"),
        order_ref=fields.text("order_ref"),
        terms=terms,
        placed_at=context.gateway.clock.now(),
    )
    if order_id > books.highest_order_id(client_id):
        books.set_highest_order_id(client_id, order_id)
    return made


@verb("orders", "exec_id?", *ORDER_FIELDS, "quantity?", "price?")
def correct(context: Context, fields: Fields) -> Answer:
    """Replace an execution (`exec_id`, or the newest of an order) by its next revision."""
    new = context.gateway.broker.back_office.correct(
        context.execution(fields),
        quantity=fields.quantity_or_none("quantity", zero=True),
        price=fields.price_or_none("price"),
    )
    return {"exec_id": new.exec_id}


@verb("orders", "exec_id?", *ORDER_FIELDS)
def bust(context: Context, fields: Fields) -> Answer:
    """Take an execution back: its next revision has quantity 0."""
    old = context.execution(fields)
    new = context.gateway.broker.back_office.correct(old, quantity=ZERO, price=None)
    return {"exec_id": new.exec_id}


VERBS: Final = (fill, cancel, reject, error, status, modify, manual_order, liquidate, correct, bust)
