"""The verbs for the books, the market, accounts and orders.  Importing it registers them."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any, Final

from oms.sim.broker import matching
from oms.sim.broker import statement as statements
from oms.sim.broker.books import Placement
from oms.sim.broker.combos import quote_of
from oms.sim.broker.contracts import Contract
from oms.sim.broker.executions import Execution
from oms.sim.broker.ledger import ZERO
from oms.sim.broker.orders import ENDED, LIVE, Order
from oms.sim.clock import SteppedClock
from oms.sim.protocol.frames import number
from oms.sim.script.arguments import CASH_MAX, QUANTITY_MAX, CommandError, Fields
from oms.sim.script.commands import CONTRACT_FIELDS, ORDER_FIELDS, Answer, Commands, verb
from oms.sim.settings import RUNNING, SettingError

MAY_BE_NEGATIVE: Final = frozenset(("FUT", "BAG"))
"""Kinds of contract whose price may be below zero."""

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
        "orders": [_shown(commands, one) for one in gateway.books.orders()],
        "untransmitted": [_shown(commands, one) for one in held],
        "executions": [_shown(commands, one) for one in rows],
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


def _shown(commands: Commands, row: Order | Execution) -> Answer:
    """With the con id that clients see: every combination has the same one on the wire."""
    contract = commands.gateway.floor.contract(row.con_id)
    return {**row.public(contract.symbol), "con_id": int(contract.wire()["conId"])}


def _placements(commands: Commands, kind: Placement) -> list[Answer]:
    names = ("client_id", "order_id", "order_ref", "received")
    rows = commands.gateway.books.placements(kind)
    return [dict(zip(names, row, strict=True)) for row in rows]


@verb("look", "account?", "from?", "to?")
def statement(commands: Commands, fields: Fields) -> Answer:
    """The account statement as a Flex query gives it, in `xml`: of one account or all, for the days
    from `from` to `to` (YYYY-MM-DD), both today if not given.
    """
    gateway = commands.gateway
    today = gateway.clock.now().astimezone(gateway.floor.zone).date()
    last = _day(fields, "to", today)
    first = _day(fields, "from", last)
    if first > last:
        raise CommandError(f"from {first} is after to {last}")
    known = gateway.settings.accounts
    chosen = (fields.choice("account", known),) if fields.has("account") else known
    return {"xml": statements.statement(gateway.floor, chosen, first, last)}


def _day(fields: Fields, name: str, default: date) -> date:
    text = fields.text(name, default.isoformat())
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise CommandError(f"{name} {text[:40]!r} is no day", "such as 2026-01-31") from error


@verb("look")
def clients(commands: Commands, fields: Fields) -> Answer:
    """The client ids that are connected now, and what each has subscribed to."""
    sessions = [one for one in commands.gateway.clients.sessions if one.client_id is not None]
    return {
        "clients": sorted(one.client_id for one in sessions if one.client_id is not None),
        "subscriptions": {str(one.client_id): sorted(one.subscriptions) for one in sessions},
    }


@verb("look")
def time(commands: Commands, fields: Fields) -> Answer:
    """The gateway's time, in UTC."""
    return {"time": commands.gateway.clock.now().isoformat()}


# -- the market and the account -----------------------------------------------------------------


@verb("market", *CONTRACT_FIELDS, "bid?", "ask?", "last?", "size?")
def quote(commands: Commands, fields: Fields) -> Answer:
    """Set the touch of a contract, a side left out follows the others; orders that cross are
    filled. Without a price it only answers the quote.
    """
    contract = commands.contract(fields)
    gateway = commands.gateway
    sides = {name: fields.price_or_none(name) for name in ("bid", "ask", "last")}
    size = fields.quantity_or_none("size", zero=True)
    _check_touch(contract, sides)
    if size is not None or any(value is not None for value in sides.values()):
        gateway.floor.market.set(contract, **sides, size=size)
        gateway.broker.orders.on_quote(contract.con_id)
    now = gateway.floor.market.quote(contract)
    return {
        "symbol": contract.symbol,
        "con_id": contract.con_id,
        "bid": number(now.bid),
        "ask": number(now.ask),
        "last": number(now.last),
    }


def _check_touch(contract: Contract, sides: dict[str, Decimal | None]) -> None:
    bid, ask = sides["bid"], sides["ask"]
    if bid is not None and ask is not None and bid > ask:
        raise CommandError(f"bid {bid} is above ask {ask}", "a touch does not cross")
    for name, price in sides.items():
        if price is not None and price < 0 and contract.sec_type not in MAY_BE_NEGATIVE:
            raise CommandError(f"{name} {price} of {contract.sec_type} is negative", "0 or more")


@verb("market")
def market_open(commands: Commands, fields: Fields) -> Answer:
    """Open the session: orders on the open trade, what waited goes to work."""
    commands.gateway.broker.day.open()
    return {}


@verb("market")
def market_close(commands: Commands, fields: Fields) -> Answer:
    """Close the session: orders on the close trade, DAY orders end."""
    commands.gateway.broker.day.close()
    return {}


@verb("market", "name", "value")
def setting(commands: Commands, fields: Fields) -> Answer:
    """Change a setting of the running gateway, such as `time_form`, `fills`, `parts` or
    `cancel_order`: see the settings of scenario files.
    """
    name = fields.choice("name", sorted(RUNNING))
    try:
        commands.gateway.settings.put(name, fields.text("value"))
    except SettingError as error:
        raise CommandError(str(error)) from error
    return {name: str(getattr(commands.gateway.settings, name))}


@verb("market", "seconds")
def advance(commands: Commands, fields: Fields) -> Answer:
    """Move a stepped clock on; what falls due happens."""
    clock = commands.gateway.wall_clock
    if not isinstance(clock, SteppedClock):
        raise CommandError("the clock is not stepped", "start the gateway with --clock stepped")
    clock.advance(fields.seconds("seconds"))
    return time(commands, fields)


@verb("account", "amount", "currency?", "account?")
def cash(commands: Commands, fields: Fields) -> Answer:
    """Pay `amount` in, or out when it is negative."""
    currency = fields.text("currency", commands.gateway.settings.base_currency)
    if not (currency.isascii() and currency.isalpha() and len(currency) == 3):
        raise CommandError(f"currency {currency!r} is none", "three letters, such as EUR")
    account, amount = commands.account(fields), fields.amount("amount", most=CASH_MAX)
    books = commands.gateway.books
    if abs(books.cash.get((account, currency.upper()), ZERO) + amount) > CASH_MAX:
        raise CommandError("nobody has so much", f"at most {CASH_MAX:f}")
    books.add_cash(account, currency.upper(), amount)
    return {}


# -- orders -------------------------------------------------------------------------------------


@verb("orders", *ORDER_FIELDS, "quantity?", "price?")
def fill(commands: Commands, fields: Fields) -> Answer:
    """Execute `quantity` (else what remains) of an order. Without a `price` it trades at the touch,
    or at its own limit where the touch is beyond it; a `price` is taken as it is, beyond the limit
    too. An order that has ended can be filled as well: its state stays as it is.
    """
    order = commands.order(fields)
    price = fields.price_or_none("price")
    if price is None:
        price = _fair_price(commands, order)
    quantity = fields.quantity_or_none("quantity")
    if quantity is None:
        quantity = order.remaining
    if quantity <= 0:
        raise CommandError("nothing remains of that order", "name a quantity to overfill it")
    if order.filled + quantity > QUANTITY_MAX:
        raise CommandError("nobody fills so much", f"at most {QUANTITY_MAX:f}")
    rows = commands.gateway.broker.orders.fill(order, quantity, price, after_end=order.ended)
    return {"exec_id": rows[0].exec_id}


def _fair_price(commands: Commands, order: Order) -> Decimal:
    """The touch, but never worse than the order's limit."""
    touch = quote_of(commands.gateway.floor, order)
    price = touch.ask if order.is_buy else touch.bid
    limit = (
        matching.limit_price(order, order.trail_price) if order.kind in matching.LIMITED else None
    )
    return price if limit is None or matching.within(order, price, limit) else limit


@verb("orders", *ORDER_FIELDS, "code?", "text?", "silent?")
def cancel(commands: Commands, fields: Fields) -> Answer:
    """The broker cancels an order by itself, with `code` (202) and `text`; `silent` leaves the
    error message out.
    """
    order = commands.live(fields)
    commands.gateway.broker.orders.end(
        order,
        code=fields.integer("code", 202, least=0),
        text=fields.text("text", "Order Canceled - reason:"),
        silent=fields.flag("silent"),
    )
    return {"perm_id": order.perm_id}


@verb("orders", *ORDER_FIELDS, "code?", "text?")
def reject(commands: Commands, fields: Fields) -> Answer:
    """Reject a live order: the error `code` (201) with `text`, then Inactive."""
    order = commands.live(fields)
    text = fields.text("text", "Order rejected - reason:")
    commands.gateway.broker.orders.reject(order, fields.integer("code", 201, least=0), text)
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
    word = LIVE[fields.choice("status", tuple(LIVE))]
    if fields.has("code"):
        text = fields.text("text", "Order Message:")
        commands.gateway.error(order.client_id, order.order_id, fields.integer("code"), text)
    commands.gateway.broker.orders.change(order, status=word, why_held=fields.text("why_held"))
    return {"perm_id": order.perm_id}


@verb("orders", *ORDER_FIELDS, "quantity?", "limit_price?", "aux_price?")
def modify(commands: Commands, fields: Fields) -> Answer:
    """Somebody else changes a live order: its owner hears openOrder and orderStatus."""
    order = commands.live(fields)
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
    orders = commands.gateway.broker.orders
    orders.change(order, status=order.status, why_held=order.why_held)
    orders.work(order)
    return {"perm_id": order.perm_id}


@verb(
    "orders",
    *("side", "quantity", *CONTRACT_FIELDS, "order_type?", "limit_price?", "aux_price?"),
    *("tif?", "account?", "order_ref?", "client_id?", "order_id?"),
)
def manual_order(commands: Commands, fields: Fields) -> Answer:
    """A person enters an order at TWS: client id 0, order id 0. With `client_id` and `order_id` it
    is another API client's, connected or not.
    """
    order = _entered(commands, fields)
    order.origin = "api" if fields.has("client_id") else "manual"
    commands.gateway.broker.orders.enter(order)
    return {"perm_id": order.perm_id, "status": order.status}


@verb("orders", "side", "quantity", *CONTRACT_FIELDS, "price?", "account?")
def liquidate(commands: Commands, fields: Fields) -> Answer:
    """The broker closes a position: an order nobody entered, its executions marked liquidation."""
    order = _entered(commands, fields)
    price = fields.price_or_none("price")
    order.origin = "liquidation"
    orders = commands.gateway.broker.orders
    orders.accept(order)
    if price is None:
        price = _fair_price(commands, order)
    rows = orders.fill(order, order.quantity, price, liquidation=True)
    return {"perm_id": order.perm_id, "exec_id": rows[0].exec_id}


def _entered(commands: Commands, fields: Fields) -> Order:
    contract = commands.contract(fields)
    terms: dict[str, Any] = {"tif": fields.text("tif", "DAY")}
    for field, name in (("limit_price", "lmtPrice"), ("aux_price", "auxPrice")):
        if fields.has(field):
            terms[name] = number(fields.price(field))
    if fields.has("legs"):
        terms["comboLegs"] = commands.legs(fields)
    client_id = fields.integer("client_id", least=0)
    order_id = fields.integer("order_id", least=0)
    if fields.has("client_id") != fields.has("order_id"):
        raise CommandError("client_id and order_id go together", "both, or none for a person's")
    books = commands.gateway.books
    if order_id and books.live_order(client_id, order_id) is not None:
        raise CommandError("that client has a live order of that id", "another order_id")
    made = Order(
        perm_id=0,
        client_id=client_id,
        order_id=order_id,
        account=commands.account(fields),
        con_id=contract.con_id,
        exchange=contract.valid_exchanges.split(",", maxsplit=1)[0],
        side=fields.choice("side", ("BUY", "SELL", "SSHORT")),
        quantity=fields.quantity("quantity"),
        order_type=fields.text("order_type", "MKT"),
        order_ref=fields.text("order_ref"),
        terms=terms,
        placed_at=commands.gateway.clock.now(),
    )
    if order_id > books.highest_order_id(client_id):
        books.set_highest_order_id(client_id, order_id)
    return made


@verb("orders", "exec_id?", *ORDER_FIELDS, "quantity?", "price?")
def correct(commands: Commands, fields: Fields) -> Answer:
    """Replace an execution (`exec_id`, or the newest of an order) by its next revision."""
    new = commands.gateway.broker.back_office.correct(
        commands.execution(fields),
        quantity=fields.quantity_or_none("quantity", zero=True),
        price=fields.price_or_none("price"),
    )
    return {"exec_id": new.exec_id}


@verb("orders", "exec_id?", *ORDER_FIELDS)
def bust(commands: Commands, fields: Fields) -> Answer:
    """Take an execution back: its next revision has quantity 0."""
    old = commands.execution(fields)
    new = commands.gateway.broker.back_office.correct(old, quantity=ZERO, price=None)
    return {"exec_id": new.exec_id}
