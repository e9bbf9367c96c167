"""The verbs for sockets, messages and faults.  Importing this module registers them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

from oms.sim.broker import account_values
from oms.sim.broker.orders import Order
from oms.sim.clock import message_time
from oms.sim.gateway import render
from oms.sim.gateway.faults import Action, Direction, Fault, Ratio, action_of, direction_of
from oms.sim.gateway.outage import WHEN
from oms.sim.protocol import messages
from oms.sim.protocol.layout import Layout
from oms.sim.protocol.requests import LAYOUT_OF
from oms.sim.script.arguments import CommandError, Fields
from oms.sim.script.commands import CONTRACT_FIELDS, ORDER_FIELDS, Answer, Commands, verb

TIMES_MAX: Final = 10_000
"""A message is sent at most so often by one command."""

# -- sockets ------------------------------------------------------------------------------------


@verb("sockets", "client_id?", "reset?", "after_bytes?")
def cut(commands: Commands, fields: Fields) -> Answer:
    """Close the sockets of one client or of all at once; what was not yet written is lost. With
    `reset` the client gets a reset, and loses what it has not read as well. With `after_bytes` the
    cut comes when so many more bytes have gone out, in the middle of a frame or not.
    """
    reset, chosen = fields.flag("reset"), commands.sessions(fields)
    count = fields.integer_or_none("after_bytes", least=0)
    if reset and count is not None:
        raise CommandError("reset and after_bytes do not go together", "one of them")
    for session in chosen:
        if count is None:
            session.cut(reset=reset)
        else:
            session.cut_after(count)
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
    """Keep the sockets, read nothing from them and answer nothing. The client id stays in use until
    `cut`: a gateway cannot know either that nobody is left at the other end.
    """
    chosen = commands.sessions(fields)
    for session in chosen:
        session.freeze()
    return {"frozen": len(chosen)}


@verb("sockets", "bytes_per_second", "client_id?")
def slow_reads(commands: Commands, fields: Fields) -> Answer:
    """Read no more than `bytes_per_second` from one client or from all that are connected; 0: as
    fast as they come. What a client writes meanwhile waits in its socket.
    """
    rate, chosen = fields.integer("bytes_per_second", least=0), commands.sessions(fields)
    for session in chosen:
        session.slow_reads(rate)
    return {"slowed": len(chosen)}


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


@verb("sockets", "roll_back?", "lose?", "client_id?")
def restart(commands: Commands, fields: Fields) -> Answer:
    """Restart the gateway: clients dropped, untransmitted orders forgotten, the books kept.
    `roll_back` sets the highest order id of one client, or of all, back by so many. `lose` makes
    so many of the newest orders of one client, or of all together, vanish without a trace, of those
    that live and have not filled: what the gateway had taken and IB never got.
    """
    gateway = commands.gateway
    books = gateway.books
    chosen = [fields.integer("client_id")] if fields.has("client_id") else books.client_ids()
    count = fields.integer("lose", least=0)
    unfilled = [one for one in books.live.values() if one.client_id in chosen and not one.filled]
    if count > len(unfilled):
        raise CommandError(f"lose {count}: {len(unfilled)} live and have not filled", "fewer")
    gateway.restart()
    for order in sorted(unfilled, key=lambda one: -one.perm_id)[:count]:
        books.lose(order)
    for client_id in chosen:
        highest = gateway.books.highest_order_id(client_id) - fields.integer("roll_back", least=0)
        gateway.books.set_highest_order_id(client_id, max(highest, 0))
    return {}


@verb("sockets")
def outage(commands: Commands, fields: Fields) -> Answer:
    """The gateway loses IB: 1100 and broken farms to all. Until `restore` nothing is reported of
    orders, positions and quotes, and orders and cancels wait; other requests are answered from the
    books. A client that connects meanwhile is told 2110.
    """
    commands.gateway.outages.lose()
    return {}


@verb("sockets", "code?", "reports?")
def restore(commands: Commands, fields: Fields) -> Answer:
    """End an outage with `code` 1102, or 1101 (subscriptions of quotes are lost). What waited is
    told `reports` after (the default) or before that notice, or never: then only who asks learns
    it. Orders and cancels that waited go on.
    """
    code = int(fields.choice("code", ("1101", "1102"), "1102"))
    commands.gateway.outages.restore(code, fields.choice("reports", WHEN, "after"))
    return {}


@verb("sockets", "seconds?", "code?", "reports?", "restart?")
def nightly_reset(commands: Commands, fields: Fields) -> Answer:
    """IB's reset of every night: an `outage`, and after `seconds` (60) its end by `restore`. With
    `restart` the gateway restarts as well at that time, as its own daily restart does.
    """
    code = int(fields.choice("code", ("1101", "1102"), "1102"))
    reports, also = fields.choice("reports", WHEN, "after"), fields.flag("restart")
    gateway = commands.gateway

    def end() -> None:
        gateway.outages.restore(code, reports)
        if also:
            gateway.flush()
            gateway.restart()

    gateway.outages.lose()
    gateway.clock.call_later(fields.seconds("seconds", 60.0), end)
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
    number, code, text = fields.integer("id", -1), fields.integer("code"), fields.text("text")
    for session in chosen:
        session.error(number, code, text)
    return {"sent": len(chosen)}


@verb(
    "messages",
    *("message", "set?", *ORDER_FIELDS, "exec_id?", *CONTRACT_FIELDS, "account?"),
    *("to?", "times?", "extra?"),
)
def send(commands: Commands, fields: Fields) -> Answer:
    """Send a server message that says what you want, and change nothing in the books. It starts
    from the order that is named (for openOrder, orderStatus, completedOrder), from its newest
    execution (execDetails, commissionReport), or from the contract that is named and its position
    (position, updatePortfolio); `set` replaces fields by IB's names, `extra` adds fields at the
    end. It goes to the client `to`, else to the order's owner, else to all; no fault and no hold
    touches it, so that a scenario gets what it says.
    """
    name = fields.text("message")
    if name not in messages.LAYOUTS:
        raise CommandError(f"{name} is no server message", ", ".join(messages.LAYOUTS))
    named = any(fields.has(key.rstrip("?")) for key in (*ORDER_FIELDS, "exec_id"))
    order = commands.order(fields) if named and not fields.has("exec_id") else None
    to = fields.integer_or_none("to")
    if to is None and order is not None:
        to = order.client_id
    changed, extra = known_fields(messages.LAYOUTS[name], fields, "set"), fields.texts("extra")
    times = fields.integer("times", 1, least=1, most=TIMES_MAX)
    chosen = [one for one in commands.gateway.clients.ready() if to in (None, one.client_id)]
    for session in chosen:
        values = _base_values(commands, name, order, fields, session.version)
        frame = messages.encode(name, session.version, {**values, **changed})
        for _ in range(times):
            session.send_raw([*frame, *extra])
    return {"sent": len(chosen)}


def known_fields(layout: Layout | None, fields: Fields, name: str) -> dict[str, str]:
    """The texts in `set` or `where`; a name that the message does not have is an error."""
    wanted = fields.mapping(name)
    known = layout.names() if layout is not None else frozenset(wanted)
    for field in wanted:
        if field not in known:
            raise CommandError(f"{name}.{field} is no field of it", ", ".join(sorted(known)))
    return wanted


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
        return dict(render.execution(row, gateway.floor.contract(row.con_id), time_text, "-1"))
    if fields.has("symbol") or fields.has("con_id"):
        named, account = commands.contract(fields), commands.account(fields)
        held = gateway.answers.accounts.position_values(account, named.con_id)
        return {**held, **account_values.portfolio_row(gateway.floor, account, named)}
    if order is None:
        return {}
    contract = gateway.floor.contract(order.con_id)
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
    """Send a field list as it is, past every fault and hold: the last resort but one."""
    chosen = [one for one in commands.sessions(fields) if one.ready]
    frame = fields.texts("fields")
    for session in chosen:
        session.send_raw(frame)
    return {"sent": len(chosen)}


@verb("messages", "hex", "client_id?")
def raw_bytes(commands: Commands, fields: Fields) -> Answer:
    """Send bytes as they are, no frame round them: a wrong length, half a frame, anything. Blanks
    in `hex` do not count. The last resort.
    """
    try:
        chunk = bytes.fromhex(fields.text("hex"))
    except ValueError as error:
        raise CommandError(f"hex is not hexadecimal: {error}", 'such as "00 00 00 04"') from error
    chosen = [one for one in commands.sessions(fields) if one.ready]
    for session in chosen:
        session.write(chunk)
    return {"sent": len(chosen)}


# -- faults -------------------------------------------------------------------------------------


@verb(
    "faults",
    *("direction", "message", "action", "times?", "after?", "probability?", "client_id?"),
    *("where?", "set?", "seconds?", "at_byte?", "code?", "text?"),
)
def fault(commands: Commands, fields: Fields) -> Answer:
    """Put a fault in force: see the table of faults. `times` left out means until `clear`."""
    direction = Direction(fields.choice("direction", tuple(Direction)))
    message, outgoing = fields.text("message"), direction is Direction.OUT
    layout = messages.LAYOUTS.get(message) if outgoing else LAYOUT_OF.get(message)
    made = Fault(
        direction=direction,
        message=message,
        action=action_of(direction, fields.text("action")),
        times=fields.integer_or_none("times", least=1),
        after=fields.integer("after", least=0),
        probability=Ratio(fields.probability("probability")),
        client_id=fields.integer_or_none("client_id"),
        where=known_fields(layout, fields, "where"),
        set=known_fields(layout, fields, "set"),
        delay=timedelta(seconds=fields.seconds("seconds")),
        at_byte=fields.integer("at_byte", least=0),
        code=fields.integer("code", 321, least=0),
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
                "direction": one.direction.value,
                "message": one.message,
                "action": one.action.value,
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
        "times": fields.integer_or_none("times", least=1),
        "client_id": fields.integer_or_none("client_id"),
    }
    if mode == "answer":
        made = Fault(Direction.IN, name, Action.DROP, **shared)
    elif mode == "end":
        if name not in messages.END_OF:
            raise CommandError(f"{name} has no end message", ", ".join(messages.END_OF))
        made = Fault(Direction.OUT, messages.END_OF[name], Action.DROP, **shared)
    elif mode == "refuse":
        text = fields.text("text", "Error validating request")
        made = Fault(
            *(Direction.IN, name, Action.REFUSE),
            **shared,
            code=fields.integer("code", 321),
            text=text,
        )
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
        direction=Direction.IN,
        message=fields.text("message"),
        action=Action.HOLD if what == "processing" else Action.HOLD_ANSWER,
        times=fields.integer_or_none("times", least=1),
        client_id=fields.integer_or_none("client_id"),
    )
    return {"fault": commands.gateway.faults.add(made).number}


@verb("faults")
def release(commands: Commands, fields: Fields) -> Answer:
    """End every hold: held messages are worked on, held answers are sent."""
    gateway = commands.gateway
    plan = gateway.faults
    plan.remove([one for one in plan.faults if one.action in (Action.HOLD, Action.HOLD_ANSWER)])
    return {"released": gateway.release()}


@verb("faults", "message", "direction?", "times?", "client_id?")
def drop_next(commands: Commands, fields: Fields) -> Answer:
    """Lose the next `times` (1) messages of that name; `direction` is in or out (out)."""
    made = Fault(
        direction=direction_of(fields.text("direction", "out")),
        message=fields.text("message"),
        action=Action.DROP,
        times=fields.integer("times", 1, least=1, most=TIMES_MAX),
        client_id=fields.integer_or_none("client_id"),
    )
    return {"fault": commands.gateway.faults.add(made).number}
