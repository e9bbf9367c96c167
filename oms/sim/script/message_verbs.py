"""The verbs that send a client what they are told to, past every fault and hold."""

from __future__ import annotations

from typing import Any, Final

from oms.sim.broker.accounts import account_values
from oms.sim.broker.books.orders import Order
from oms.sim.clock import message_time
from oms.sim.gateway import render
from oms.sim.protocol import messages
from oms.sim.script.arguments import TIMES_MAX, CommandError, Fields
from oms.sim.script.context import CONTRACT_FIELDS, ORDER_FIELDS, Context
from oms.sim.script.verb import Answer, verb


@verb("messages", "code", "text", "id?", "client_id?")
def send_notice(context: Context, fields: Fields) -> Answer:
    """An error message to every client, or to one: 1100, 1101, 1102, 1300, 2110 and the like."""
    chosen = [one for one in context.sessions(fields) if one.ready]
    number, code, text = fields.integer("id", -1), fields.integer("code"), fields.text("text")
    for session in chosen:
        session.error(number, code, text)
    return {"sent": len(chosen)}


@verb(
    "messages",
    *("message", "set?", *ORDER_FIELDS, "exec_id?", *CONTRACT_FIELDS, "account?"),
    *("to?", "times?", "extra?"),
)
def send(context: Context, fields: Fields) -> Answer:
    """Send a server message that says what you want, and change nothing in the books. It starts
    from the order that is named (for openOrder, orderStatus, completedOrder), from its newest
    execution or from `exec_id` (execDetails, commissionReport), also one that was corrected since,
    or from the contract that is named and its position
    (position, updatePortfolio); `set` replaces fields by IB's names, `extra` adds fields at the
    end. It goes to the client `to`, else to the order's owner, else to all; no fault and no hold
    touches it, so that a scenario gets what it says.
    """
    name = fields.text("message")
    if name not in messages.LAYOUTS:
        raise CommandError(f"{name} is no server message", ", ".join(messages.LAYOUTS))
    named = any(fields.has(key.rstrip("?")) for key in (*ORDER_FIELDS, "exec_id"))
    order = context.order(fields) if named and not fields.has("exec_id") else None
    to = fields.integer_or_none("to")
    if to is None and order is not None:
        to = order.client_id
    changed, extra = fields.message_fields("set", messages.LAYOUTS[name]), fields.texts("extra")
    times = fields.integer("times", 1, least=1, most=TIMES_MAX)
    chosen = [one for one in context.gateway.clients.ready() if to in (None, one.client_id)]
    for session in chosen:
        values = _base_values(context, name, order, fields, session.version)
        frame = messages.encode(name, session.version, {**values, **changed})
        for _ in range(times):
            session.send_raw([*frame, *extra])
    return {"sent": len(chosen)}


def _base_values(
    context: Context, name: str, order: Order | None, fields: Fields, version: int
) -> dict[str, Any]:
    gateway = context.gateway
    form = gateway.settings.time_form
    if name in ("execDetails", "commissionReport") and (order or fields.has("exec_id")):
        row = context.execution(fields, any_revision=True)
        time_text = message_time(row.time, gateway.zone, form, version)
        if name == "commissionReport":
            return dict(render.commission(row))
        return dict(render.execution(row, gateway.floor.contract(row.con_id), time_text, "-1"))
    if fields.has("symbol") or fields.has("con_id"):
        named, account = context.contract(fields), context.account(fields)
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


@verb("messages", "fields", "times?", "client_id?")
def raw(context: Context, fields: Fields) -> Answer:
    """Send a field list as it is, past every fault and hold; where it is sent several times, `{n}`
    in a field stands for the number of the copy, from 1.
    """
    chosen = [one for one in context.sessions(fields) if one.ready]
    frame = fields.texts("fields")
    times = fields.integer("times", 1, least=1, most=TIMES_MAX)
    for session in chosen:
        for number in range(1, times + 1):
            session.send_raw([one.replace("{n}", str(number)) for one in frame])
    return {"sent": len(chosen)}


@verb("messages", "hex", "client_id?")
def raw_bytes(context: Context, fields: Fields) -> Answer:
    """Send bytes as they are, without a frame: a wrong length, half a frame, anything. Blanks in
    `hex` do not count.
    """
    try:
        chunk = bytes.fromhex(fields.text("hex"))
    except ValueError as error:
        raise CommandError(f"hex is not hexadecimal: {error}", 'such as "00 00 00 04"') from error
    chosen = [one for one in context.sessions(fields) if one.ready]
    for session in chosen:
        session.write(chunk)
    return {"sent": len(chosen)}


VERBS: Final = (send_notice, send, raw, raw_bytes)
