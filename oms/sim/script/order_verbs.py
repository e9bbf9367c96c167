"""The verbs for orders and executions."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final

from oms.sim.broker.books.ledger import ZERO
from oms.sim.broker.books.orders import ENDED, LIVE, SIDES, Order, is_term, terms_of
from oms.sim.broker.combos import quote_of
from oms.sim.broker.rules import matching
from oms.sim.protocol.fields import number, to_int
from oms.sim.protocol.requests import LAYOUT_OF
from oms.sim.script.arguments import QUANTITY_MAX, CommandError, Fields
from oms.sim.script.context import CONTRACT_FIELDS, ORDER_FIELDS, Context
from oms.sim.script.verb import Answer, verb

#: What a person may say of an order beside its terms, under IB's name.
PARENT: Final = "parentId"


@verb("orders", *ORDER_FIELDS, "quantity?", "price?", "other_side?", "leg?")
def fill(context: Context, fields: Fields) -> Answer:
    """Execute `quantity` (else what remains) of an order. Without a `price` it trades at the touch,
    or at its own limit where the touch is beyond it; a `price` is taken as it is, beyond the limit
    too. An order that has ended can be filled as well: its state stays as it is. With `other_side`
    the execution is on the other side than the order, which itself stays as it is. Of a
    combination, `leg` takes one part at a time: 1, 2, ... a leg alone, for `quantity` of the
    combination (else what is left of it) and at a `price` of its own, 0 its own execution alone,
    which fills the order.
    """
    order = context.order(fields)
    price = fields.price_or_none("price")
    leg = fields.integer_or_none("leg", least=0)
    if leg is not None:
        _check_leg(order, leg)
    if leg:
        return _fill_leg(context, fields, order, leg)
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
    rows = orders.fill(order, quantity, price, after_end=order.ended, legs=leg is None)
    return {"exec_id": rows[0].exec_id}


def _check_leg(order: Order, leg: int) -> None:
    if "comboLegs" not in order.terms:
        raise CommandError("that order is no combination", "leave leg out")
    if leg > len(order.per_unit()):
        raise CommandError(f"it has no leg {leg}", f"0 to {len(order.per_unit())}")


def _fill_leg(context: Context, fields: Fields, order: Order, leg: int) -> Answer:
    orders = context.gateway.broker.orders
    ratio = abs(order.per_unit()[leg - 1][1])
    executed = orders.back_office.executed_of_leg(order, leg)
    quantity = fields.quantity_or_none("quantity")
    if quantity is None:
        quantity = order.quantity - executed / ratio
    if quantity <= 0:
        raise CommandError("nothing remains of that leg", "name a quantity to overfill it")
    if executed + quantity * ratio > QUANTITY_MAX:
        raise CommandError("the leg would be filled too far", f"at most {QUANTITY_MAX:f}")
    rows = orders.fill_leg(order, leg, quantity, fields.price_or_none("price"))
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
    error message out. Of one that waits for its transmission a person cancels it at TWS, with
    what is attached to it.
    """
    held = context.untransmitted(fields)
    if held is not None:
        context.gateway.intake.cancel(held.client_id, held.order_id)
        return {"perm_id": 0}
    order = context.live(fields)
    context.gateway.broker.orders.end(
        order,
        code=fields.integer("code", 202, least=0),
        text=fields.text("text", "Order Canceled - reason:"),
        silent=fields.flag("silent"),
    )
    return {"perm_id": order.perm_id}


@verb("orders", *ORDER_FIELDS)
def transmit(context: Context, fields: Fields) -> Answer:
    """A person presses Transmit at TWS: an order that was placed with transmit=false goes to IB,
    with its parent, its siblings and its children. It is named by `order_ref`, or by `client_id`
    and `order_id`.
    """
    held = context.untransmitted(fields)
    if held is None:
        raise CommandError("no such order waits for its transmission", "do books: untransmitted")
    context.gateway.intake.transmit(held)
    return {"perm_id": held.perm_id, "status": held.status}


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


@verb("orders", *ORDER_FIELDS, "quantity?", "limit_price?", "aux_price?", "set?")
def modify(context: Context, fields: Fields) -> Answer:
    """Change a live order from outside: its owner is sent openOrder and orderStatus. `set` has any
    other term, by the name of its field in placeOrder.
    """
    order = context.live(fields)
    quantity = fields.quantity_or_none("quantity")
    if quantity is not None and quantity <= order.filled:
        raise CommandError(f"{quantity} is not above the {order.filled} filled", "a larger one")
    changed = _named_terms(fields)
    order.quantity = order.quantity if quantity is None else quantity
    order.terms |= changed
    orders = context.gateway.broker.orders
    orders.change(order, status=order.status, why_held=order.why_held)
    orders.work(order)
    return {"perm_id": order.perm_id}


@verb(
    "orders",
    *("side", "quantity", *CONTRACT_FIELDS, "order_type?", "limit_price?", "aux_price?"),
    *("tif?", "account?", "order_ref?", "client_id?", "order_id?", "set?"),
)
def manual_order(context: Context, fields: Fields) -> Answer:
    """A person enters an order at TWS: client id 0, order id 0. With `client_id` and `order_id` it
    is another API client's, connected or not. `set` has any other term, by the name of its field
    in placeOrder, such as `set.ocaGroup`; `set.parentId` attaches it to an order of that client.
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


def _named_terms(fields: Fields) -> dict[str, Any]:
    """The prices that a verb has fields for, and the terms in its `set`."""
    terms: dict[str, Any] = {
        name: number(fields.price(field))
        for field, name in (("limit_price", "lmtPrice"), ("aux_price", "auxPrice"))
        if fields.has(field)
    }
    named = fields.message_fields("set", LAYOUT_OF["placeOrder"])
    for name in named:
        if name != PARENT and not is_term(name):
            raise CommandError(f"set.{name} is no term of an order", "the verb's own fields say it")
    return terms | terms_of(named)


def _entered(context: Context, fields: Fields) -> Order:
    contract = context.contract(fields)
    terms = {"tif": fields.text("tif", "DAY"), **_named_terms(fields)}
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
        parent_id=to_int(fields.mapping("set").get(PARENT, "")),
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


VERBS: Final = (
    *(fill, cancel, transmit, reject, error, status, modify),
    *(manual_order, liquidate, correct, bust),
)
