"""The verbs themselves.  Importing this module registers them."""

from __future__ import annotations

from typing import Any

from oms.sim import accounting, messages, render
from oms.sim.clock import SteppedClock, message_time
from oms.sim.commands import ORDER_FIELDS, Answer, CommandError, Commands, Fields, verb
from oms.sim.faults import Fault
from oms.sim.ledger import ZERO
from oms.sim.orders import Order
from oms.sim.wire import number

# -- looking ------------------------------------------------------------------------------------


@verb("look")
def books(commands: Commands, fields: Fields) -> Answer:
    """Everything the broker knows. `placements` counts the placeOrder messages received for new
    orders, by client, order id and reference; `modifications` those for live ones.
    """
    gateway = commands.gateway
    rows = list(gateway.books.executions())
    held = gateway.desk.untransmitted.values()
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
    or Submitted again. With `code`, that error comes first. A held order does not trade.
    """
    order = commands.live(fields)
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


# -- sockets ------------------------------------------------------------------------------------


@verb("sockets", "client_id?")
def cut(commands: Commands, fields: Fields) -> Answer:
    """Reset the sockets of one client or of all; what was not yet written is lost."""
    chosen = commands.sessions(fields)
    for session in chosen:
        session.cut()
    return {"cut": len(chosen)}


@verb("sockets", "client_id?")
def close(commands: Commands, fields: Fields) -> Answer:
    """Close the sockets of one client or of all in good order, after what was written."""
    chosen = commands.sessions(fields)
    for session in chosen:
        session.close()
    return {"closed": len(chosen)}


@verb("sockets", "client_id?")
def half_open(commands: Commands, fields: Fields) -> Answer:
    """Keep the sockets, read nothing from them and answer nothing, for ever."""
    chosen = commands.sessions(fields)
    for session in chosen:
        session.freeze()
    return {"frozen": len(chosen)}


@verb("sockets", "seconds?")
def refuse(commands: Commands, fields: Fields) -> Answer:
    """Reset every new connection, for `seconds` or until `accept`."""
    gateway = commands.gateway
    gateway.refusing = True
    if fields.has("seconds"):
        gateway.clock.call_later(fields.seconds("seconds"), lambda: _accept(commands))
    return {}


@verb("sockets")
def accept(commands: Commands, fields: Fields) -> Answer:
    """Take connections again."""
    _accept(commands)
    return {}


def _accept(commands: Commands) -> None:
    commands.gateway.refusing = False


@verb("sockets", "roll_back?", "client_id?")
def restart(commands: Commands, fields: Fields) -> Answer:
    """Restart the gateway: clients dropped, untransmitted orders forgotten, the books kept.
    `roll_back` sets the highest order id of one client, or of all, back by so many.
    """
    gateway = commands.gateway
    gateway.restart()
    chosen = (
        [fields.integer("client_id")] if fields.has("client_id") else gateway.books.client_ids()
    )
    for client_id in chosen:
        highest = gateway.books.highest_order_id(client_id) - fields.integer("roll_back")
        gateway.books.set_highest_order_id(client_id, max(highest, 0))
    return {}


@verb("sockets")
def quit_(commands: Commands, fields: Fields) -> Answer:
    """Stop the program."""
    if commands.on_quit is None:
        raise CommandError("this gateway cannot be stopped from here")
    commands.on_quit()
    return {}


# -- messages -----------------------------------------------------------------------------------


@verb("messages", "code", "text", "id?", "client_id?")
def send_notice(commands: Commands, fields: Fields) -> Answer:
    """An error message to every client, or to one: 1100, 1101, 1102, 1300, 2110 and the like."""
    chosen = [one for one in commands.sessions(fields) if one.ready]
    for session in chosen:
        session.error(fields.integer("id", -1), fields.integer("code"), fields.text("text"))
    return {"sent": len(chosen)}


@verb(
    "messages",
    *("message", "set?", *ORDER_FIELDS, "exec_id?", "symbol?", "con_id?", "account?"),
    *("to?", "times?", "extra?"),
)
def send(commands: Commands, fields: Fields) -> Answer:
    """Send a server message that says what you want, and change nothing in the books. It starts
    from the order that is named (for openOrder, orderStatus, completedOrder), from its newest
    execution (execDetails, commissionReport), or from the contract that is named and its position
    (position, updatePortfolio); `set` replaces fields by IB's names, `extra` adds fields at the
    end. It goes to the client `to`, else to the order's owner, else to all.
    """
    name = fields.text("message")
    if name not in messages.LAYOUTS:
        raise CommandError(f"{name} is no server message", ", ".join(messages.LAYOUTS))
    named = any(fields.has(key.rstrip("?")) for key in (*ORDER_FIELDS, "exec_id"))
    order = commands.order(fields) if named and not fields.has("exec_id") else None
    to = fields.integer_or_none("to")
    if to is None and order is not None:
        to = order.client_id
    chosen = [one for one in commands.gateway.sessions if one.ready and to in (None, one.client_id)]
    for session in chosen:
        values = _base_values(commands, name, order, fields, session.version)
        frame = messages.encode(name, session.version, {**values, **fields.mapping("set")})
        for _ in range(fields.integer("times", 1)):
            session.send_raw([*frame, *fields.texts("extra")])
    return {"sent": len(chosen)}


def _base_values(
    commands: Commands, name: str, order: Order | None, fields: Fields, version: int
) -> dict[str, Any]:
    gateway = commands.gateway
    form = gateway.settings.time_form
    if name in ("execDetails", "commissionReport") and (order or fields.has("exec_id")):
        row = commands.execution(fields)
        time_text = message_time(row.time, gateway.zone, form, version)
        if name == "commissionReport":
            return dict(render.commission(row))
        return dict(render.execution(row, gateway.desk.contract(row.con_id), time_text, "-1"))
    if fields.has("symbol") or fields.has("con_id"):
        named, account = commands.contract(fields), commands.account(fields)
        held = gateway.answers.accounts.position_values(account, named.con_id)
        return {**held, **accounting.portfolio_row(gateway.desk, account, named)}
    if order is None:
        return {}
    contract = gateway.desk.contract(order.con_id)
    if name == "orderStatus":
        return dict(render.order_status(order))
    if name == "openOrder":
        return render.open_order(order, contract)
    if name == "completedOrder":
        ended = order.completed_at or gateway.clock.now()
        time_text = message_time(ended, gateway.zone, form, version)
        return render.completed_order(order, contract, time_text)
    return {}


@verb("messages", "fields", "client_id?")
def raw(commands: Commands, fields: Fields) -> Answer:
    """Send a field list as it is: the last resort."""
    chosen = [one for one in commands.sessions(fields) if one.ready]
    for session in chosen:
        session.send_raw(fields.texts("fields"))
    return {"sent": len(chosen)}


# -- faults -------------------------------------------------------------------------------------


@verb(
    "faults",
    *("direction", "message", "action", "times?", "after?", "probability?", "client_id?"),
    *("where?", "set?", "seconds?", "at_byte?", "code?", "text?"),
)
def fault(commands: Commands, fields: Fields) -> Answer:
    """Put a fault in force: see the table of faults. `times` left out means until `clear`."""
    made = Fault(
        direction=fields.text("direction"),
        message=fields.text("message"),
        do=fields.text("action"),
        times=fields.integer_or_none("times"),
        after=fields.integer("after"),
        probability=fields.seconds("probability", 1.0),
        client_id=fields.integer_or_none("client_id"),
        where=fields.mapping("where"),
        set=fields.mapping("set"),
        seconds=fields.seconds("seconds"),
        at_byte=fields.integer("at_byte"),
        code=fields.integer("code", 321),
        text=fields.text("text", "Error validating request"),
    )
    return {"fault": commands.gateway.faults.add(made).number}


@verb("faults")
def faults(commands: Commands, fields: Fields) -> Answer:
    """The faults in force."""
    return {
        "faults": [
            {
                "fault": one.number,
                "direction": one.direction,
                "message": one.message,
                "action": one.do,
                "times": one.times,
            }
            for one in commands.gateway.faults.faults
        ]
    }


@verb("faults", "fault?")
def clear(commands: Commands, fields: Fields) -> Answer:
    """Take back one fault by its number, or all."""
    plan = commands.gateway.faults
    wanted = fields.integer_or_none("fault")
    gone = [one for one in plan.faults if wanted in (None, one.number)]
    plan.remove(gone)
    return {"removed": len(gone)}


@verb("faults", "request", "mode?", "code?", "text?", "times?", "client_id?")
def silence(commands: Commands, fields: Fields) -> Answer:
    """Leave a request without its answer (`mode` answer), without its end (`end`), or refuse it
    with `code` and `text` (`refuse`); `times` left out means until `unsilence`.
    """
    name, mode = fields.text("request"), fields.text("mode", "answer")
    shared: dict[str, Any] = {
        "times": fields.integer_or_none("times"),
        "client_id": fields.integer_or_none("client_id"),
    }
    if mode == "answer":
        made = Fault("in", name, "drop", **shared)
    elif mode == "end":
        if name not in messages.END_OF:
            raise CommandError(f"{name} has no end message", ", ".join(messages.END_OF))
        made = Fault("out", messages.END_OF[name], "drop", **shared)
    elif mode == "refuse":
        text = fields.text("text", "Error validating request")
        made = Fault("in", name, "refuse", **shared, code=fields.integer("code", 321), text=text)
    else:
        raise CommandError(f"unknown mode {mode!r}", "answer, end or refuse")
    return {"fault": commands.gateway.faults.add(made).number}


@verb("faults", "request?")
def unsilence(commands: Commands, fields: Fields) -> Answer:
    """Take back the silences of a request, or every fault when none is named."""
    plan = commands.gateway.faults
    names = {fields.text("request"), messages.END_OF.get(fields.text("request"))}
    gone = [one for one in plan.faults if not fields.has("request") or one.message in names]
    plan.remove(gone)
    return {"removed": len(gone)}


@verb("faults", "message", "what?", "times?", "client_id?")
def hold(commands: Commands, fields: Fields) -> Answer:
    """Hold a client's message before it is worked on (`what` processing), or work on it and hold
    everything that client would hear from then on (`what` answer), until `release`.
    """
    what = fields.text("what", "processing")
    if what not in ("processing", "answer"):
        raise CommandError(f"unknown hold {what!r}", "processing or answer")
    made = Fault(
        direction="in",
        message=fields.text("message"),
        do="hold" if what == "processing" else "hold_answer",
        times=fields.integer_or_none("times"),
        client_id=fields.integer_or_none("client_id"),
    )
    return {"fault": commands.gateway.faults.add(made).number}


@verb("faults")
def release(commands: Commands, fields: Fields) -> Answer:
    """End every hold: held messages are worked on, held answers are sent."""
    gateway = commands.gateway
    plan = gateway.faults
    plan.remove([one for one in plan.faults if one.do in ("hold", "hold_answer")])
    for session in gateway.sessions:
        session.release_output()
    held, gateway.held = gateway.held, []
    for session, request in held:
        gateway.receive(session, request)
    return {"released": len(held)}


@verb("faults", "message", "direction?", "times?", "client_id?")
def drop_next(commands: Commands, fields: Fields) -> Answer:
    """Lose the next `times` (1) messages of that name; `direction` is in or out (out)."""
    made = Fault(
        direction=fields.text("direction", "out"),
        message=fields.text("message"),
        do="drop",
        times=fields.integer("times", 1),
        client_id=fields.integer_or_none("client_id"),
    )
    return {"fault": commands.gateway.faults.add(made).number}
