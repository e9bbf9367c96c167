"""The verbs for the books, the market, accounts and orders.  Importing it registers them."""

from __future__ import annotations

from typing import Any

from oms.sim.clock import SteppedClock
from oms.sim.commands import ORDER_FIELDS, Answer, CommandError, Commands, Fields, verb
from oms.sim.ledger import ZERO
from oms.sim.orders import ENDED, Order
from oms.sim.wire import number

# -- looking ------------------------------------------------------------------------------------


@verb("look")
def books(commands: Commands, fields: Fields) -> Answer:
    """Everything the broker knows. `placements` counts the placeOrder messages received for new
    orders, by client, order id and reference; `modifications` those for live ones.
    """
    gateway = commands.gateway
    rows = list(gateway.books.executions())
    held = gateway.intake.untransmitted.values()
    return {
        "orders": [one.public(commands.symbol(one.con_id)) for one in gateway.books.orders()],
        "untransmitted": [one.public(commands.symbol(one.con_id)) for one in held],
        "executions": [one.public(commands.symbol(one.con_id)) for one in rows],
        "commissions": [one.public_commission() for one in rows if one.commission is not None],
        "positions": [
            {
                "account": account,
                "con_id": con_id,
                "symbol": commands.symbol(con_id),
                "quantity": number(row.quantity),
                "average_cost": number(row.average_cost),
            }
            for (account, con_id), row in gateway.books.positions.items()
        ],
        "cash": [
            {"account": account, "currency": currency, "amount": number(amount)}
            for (account, currency), amount in gateway.books.cash.items()
        ],
        "placements": _placements(commands, "new"),
        "modifications": _placements(commands, "modify"),
        **clients(commands, fields),
    }


def _placements(commands: Commands, kind: str) -> list[Answer]:
    names = ("client_id", "order_id", "order_ref", "received")
    rows = commands.gateway.books.placements(kind)
    return [dict(zip(names, row, strict=True)) for row in rows]


@verb("look")
def clients(commands: Commands, fields: Fields) -> Answer:
    """The client ids that are connected now."""
    sessions = commands.gateway.sessions
    return {"clients": sorted(one.client_id for one in sessions if one.client_id is not None)}


@verb("look")
def time(commands: Commands, fields: Fields) -> Answer:
    """The gateway's time, in UTC."""
    return {"time": commands.gateway.clock.now().isoformat()}


# -- the market and the account -----------------------------------------------------------------


@verb("market", "symbol?", "con_id?", "bid?", "ask?", "last?", "size?")
def quote(commands: Commands, fields: Fields) -> Answer:
    """Set the touch of a contract, a side left out follows the others; orders that cross are
    filled. Without a price it only answers the quote.
    """
    contract = commands.contract(fields)
    desk = commands.gateway.desk
    sides = {name: fields.amount_or_none(name) for name in ("bid", "ask", "last", "size")}
    if any(value is not None for value in sides.values()):
        desk.market.set(contract, **sides)
        desk.on_quote(contract.con_id)
    now = desk.market.quote(contract)
    return {
        "symbol": contract.symbol,
        "con_id": contract.con_id,
        "bid": number(now.bid),
        "ask": number(now.ask),
        "last": number(now.last),
    }


@verb("market")
def market_open(commands: Commands, fields: Fields) -> Answer:
    """Open the session: orders on the open trade, what waited goes to work."""
    commands.gateway.desk.open_session()
    return {}


@verb("market")
def market_close(commands: Commands, fields: Fields) -> Answer:
    """Close the session: orders on the close trade, DAY orders end."""
    commands.gateway.desk.close_session()
    return {}


@verb("market", "seconds")
def advance(commands: Commands, fields: Fields) -> Answer:
    """Move a stepped clock on; what falls due happens."""
    clock = commands.gateway.wall_clock
    if not isinstance(clock, SteppedClock):
        raise CommandError("the clock is not stepped", "start the gateway with --clock stepped")
    clock.advance(fields.seconds("seconds"))
    return time(commands, fields)


@verb("account", "quantity", "symbol?", "con_id?", "average_cost?", "account?")
def position_adjust(commands: Commands, fields: Fields) -> Answer:
    """Change a position by `quantity` without an execution: assignment, exercise, expiry,
    transfer. Position rows are pushed to who subscribed, nothing else is said.
    """
    contract, account = commands.contract(fields), commands.account(fields)
    gateway = commands.gateway
    row = gateway.desk.back_office.adjust_position(
        account, contract, fields.amount("quantity"), fields.amount_or_none("average_cost")
    )
    gateway.books.remember(contract)
    gateway.position(account, contract.con_id)
    return {"quantity": number(row.quantity), "average_cost": number(row.average_cost)}


@verb("account", "ratio", "symbol?", "con_id?")
def split(commands: Commands, fields: Fields) -> Answer:
    """Split a stock: every account's quantity times `ratio`, its cost divided by it."""
    contract, ratio = commands.contract(fields), fields.amount("ratio")
    gateway = commands.gateway
    for account in gateway.settings.accounts:
        row = gateway.books.position(account, contract.con_id)
        if row.quantity:
            more = row.quantity * ratio - row.quantity
            cost = row.average_cost / ratio
            gateway.desk.back_office.adjust_position(account, contract, more, cost)
            gateway.position(account, contract.con_id)
    return {}


@verb("account", "amount", "currency?", "account?")
def cash(commands: Commands, fields: Fields) -> Answer:
    """Pay `amount` in, or out when it is negative."""
    currency = fields.text("currency", commands.gateway.settings.base_currency)
    commands.gateway.books.add_cash(commands.account(fields), currency, fields.amount("amount"))
    return {}


# -- orders -------------------------------------------------------------------------------------


@verb("orders", *ORDER_FIELDS, "quantity?", "price?")
def fill(commands: Commands, fields: Fields) -> Answer:
    """Execute `quantity` (else what remains) of an order at `price` (else the touch). An order
    that has ended can be filled too: its state stays as it is.
    """
    order = commands.order(fields)
    desk = commands.gateway.desk
    touch = desk.quote(order)
    price = fields.amount_or_none("price") or (touch.ask if order.is_buy else touch.bid)
    quantity = fields.amount_or_none("quantity") or order.remaining
    if quantity <= 0:
        raise CommandError("nothing remains of that order", "name a quantity to overfill it")
    rows = desk.fill(order, quantity, price, after_end=order.ended)
    return {"exec_id": rows[0].exec_id}


@verb("orders", *ORDER_FIELDS, "code?", "text?", "silent?")
def cancel(commands: Commands, fields: Fields) -> Answer:
    """The broker cancels an order by itself, with `code` (202) and `text`; `silent` leaves the
    error message out.
    """
    order = commands.live(fields)
    commands.gateway.desk.end(
        order,
        code=fields.integer("code", 202),
        text=fields.text("text", "Order Canceled - reason:"),
        silent=fields.flag("silent"),
    )
    return {"perm_id": order.perm_id}


@verb("orders", *ORDER_FIELDS, "code?", "text?")
def reject(commands: Commands, fields: Fields) -> Answer:
    """Reject a live order: the error `code` (201) with `text`, then Inactive."""
    order = commands.live(fields)
    text = fields.text("text", "Order rejected - reason:")
    commands.gateway.desk.reject(order, fields.integer("code", 201), text)
    return {"perm_id": order.perm_id}


@verb("orders", *ORDER_FIELDS, "code", "text?")
def error(commands: Commands, fields: Fields) -> Answer:
    """Send an error with the order's id to its client, and change nothing: any code of IB's."""
    order = commands.order(fields)
    text = fields.text("text", "Order Message:")
    commands.gateway.error(order.client_id, order.order_id, fields.integer("code"), text)
    return {}


@verb("orders", *ORDER_FIELDS, "status", "why_held?", "code?", "text?")
def status(commands: Commands, fields: Fields) -> Answer:
    """Show a live order in another live state, such as Inactive with why_held locate, PendingCancel
    or Submitted again. With `code`, that error comes first. An Inactive order does not trade.
    """
    order = commands.live(fields)
    if fields.text("status") in ENDED:
        raise CommandError(
            "that state is an end", "cancel, reject or fill it; or only say so: send"
        )
    if fields.has("code"):
        text = fields.text("text", "Order Message:")
        commands.gateway.error(order.client_id, order.order_id, fields.integer("code"), text)
    desk = commands.gateway.desk
    desk.change(order, status=fields.text("status"), why_held=fields.text("why_held"))
    return {"perm_id": order.perm_id}


@verb("orders", *ORDER_FIELDS, "quantity?", "limit_price?", "aux_price?")
def modify(commands: Commands, fields: Fields) -> Answer:
    """Somebody else changes a live order: its owner hears openOrder and orderStatus."""
    order = commands.live(fields)
    if fields.has("quantity"):
        order.quantity = fields.amount("quantity")
    for field, name in (("limit_price", "lmtPrice"), ("aux_price", "auxPrice")):
        if fields.has(field):
            order.terms[name] = number(fields.amount(field))
    desk = commands.gateway.desk
    desk.change(order, status=order.status, why_held=order.why_held)
    desk.work(order)
    return {"perm_id": order.perm_id}


@verb(
    "orders",
    *("side", "quantity", "symbol?", "con_id?", "order_type?", "limit_price?", "aux_price?"),
    *("tif?", "account?", "order_ref?", "client_id?", "order_id?"),
)
def manual_order(commands: Commands, fields: Fields) -> Answer:
    """A person enters an order at TWS: client id 0, order id 0. With `client_id` and `order_id` it
    is another API client's, connected or not.
    """
    order = _entered(commands, fields)
    order.origin = "api" if fields.has("client_id") else "manual"
    commands.gateway.desk.enter(order)
    return {"perm_id": order.perm_id, "status": order.status}


@verb("orders", "side", "quantity", "symbol?", "con_id?", "price?", "account?")
def liquidate(commands: Commands, fields: Fields) -> Answer:
    """The broker closes a position: an order nobody entered, its executions marked liquidation."""
    order = _entered(commands, fields)
    order.origin = "liquidation"
    desk = commands.gateway.desk
    desk.accept(order)
    touch = desk.quote(order)
    price = fields.amount_or_none("price") or (touch.ask if order.is_buy else touch.bid)
    rows = desk.fill(order, order.quantity, price, liquidation=True)
    return {"perm_id": order.perm_id, "exec_id": rows[0].exec_id}


def _entered(commands: Commands, fields: Fields) -> Order:
    contract = commands.contract(fields)
    terms: dict[str, Any] = {"tif": fields.text("tif", "DAY")}
    for field, name in (("limit_price", "lmtPrice"), ("aux_price", "auxPrice")):
        if fields.has(field):
            terms[name] = number(fields.amount(field))
    client_id = fields.integer("client_id")
    order_id = fields.integer("order_id")
    highest = commands.gateway.books.highest_order_id(client_id)
    if order_id > highest:
        commands.gateway.books.set_highest_order_id(client_id, order_id)
    return Order(
        perm_id=0,
        client_id=client_id,
        order_id=order_id,
        account=commands.account(fields),
        con_id=contract.con_id,
        exchange=contract.valid_exchanges.split(",", maxsplit=1)[0],
        side=fields.text("side").upper(),
        quantity=fields.amount("quantity"),
        order_type=fields.text("order_type", "MKT"),
        order_ref=fields.text("order_ref"),
        terms=terms,
        placed_at=commands.gateway.clock.now(),
    )


@verb("orders", "exec_id?", *ORDER_FIELDS, "quantity?", "price?")
def correct(commands: Commands, fields: Fields) -> Answer:
    """Replace an execution (`exec_id`, or the newest of an order) by its next revision."""
    new = commands.gateway.desk.correct(
        commands.execution(fields),
        quantity=fields.amount_or_none("quantity"),
        price=fields.amount_or_none("price"),
    )
    return {"exec_id": new.exec_id}


@verb("orders", "exec_id?", *ORDER_FIELDS)
def bust(commands: Commands, fields: Fields) -> Answer:
    """Take an execution back: its next revision has quantity 0."""
    old = commands.execution(fields)
    return {"exec_id": commands.gateway.desk.correct(old, quantity=ZERO, price=None).exec_id}
