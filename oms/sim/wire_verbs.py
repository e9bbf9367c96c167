"""The verbs for sockets, messages and faults.  Importing this module registers them."""

from __future__ import annotations

from typing import Any

from oms.sim import accounting, messages, render
from oms.sim.clock import message_time
from oms.sim.commands import ORDER_FIELDS, Answer, CommandError, Commands, Fields, verb
from oms.sim.faults import Fault
from oms.sim.orders import Order

# -- sockets ------------------------------------------------------------------------------------


@verb("sockets", "client_id?", "reset?")
def cut(commands: Commands, fields: Fields) -> Answer:
    """Close the sockets of one client or of all at once; what was not yet written is lost. With
    `reset` the client gets a reset, and loses what it has not read as well.
    """
    chosen = commands.sessions(fields)
    for session in chosen:
        session.cut(reset=fields.flag("reset"))
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
    """Close every new connection at once, for `seconds` or until `accept`."""
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
