"""The verbs that look at a gateway and change nothing."""

from __future__ import annotations

from datetime import date
from typing import Final

from oms.sim.broker.accounts import statement as statements
from oms.sim.broker.accounts.trading_day import trading_day
from oms.sim.broker.books.books import Placement
from oms.sim.broker.books.executions import Execution
from oms.sim.broker.books.orders import Order
from oms.sim.protocol.fields import number
from oms.sim.script.arguments import CommandError, Fields
from oms.sim.script.context import Context
from oms.sim.script.verb import Answer, verb


@verb("look")
def books(context: Context, fields: Fields) -> Answer:
    """Everything the broker knows. `placements` counts the placeOrder messages received for new
    orders, by client, order id and reference; `modifications` those for live ones, and
    `late_modifications` those for orders that had ended: new terms that crossed a fill.
    """
    gateway = context.gateway
    rows = list(gateway.books.executions())
    held = gateway.intake.untransmitted.values()
    return {
        "orders": [_shown(context, one) for one in gateway.books.orders()],
        "untransmitted": [_shown(context, one) for one in held],
        "executions": [_shown(context, one) for one in rows],
        "commissions": [one.public_commission() for one in rows if one.commission is not None],
        "positions": [
            {
                "account": account,
                "con_id": con_id,
                "symbol": context.symbol(con_id),
                "quantity": number(row.quantity),
                "average_cost": number(row.average_cost),
            }
            for (account, con_id), row in gateway.books.positions.items()
        ],
        "cash": [
            {"account": account, "currency": currency, "amount": number(amount)}
            for (account, currency), amount in gateway.books.cash.items()
        ],
        "placements": _placements(context, "new"),
        "modifications": _placements(context, "modify"),
        "late_modifications": _placements(context, "late"),
        **clients.action(context, fields),
    }


def _shown(context: Context, row: Order | Execution) -> Answer:
    """With the con id that clients see: every combination has the same one on the wire."""
    contract = context.gateway.floor.contract(row.con_id)
    return {**row.public(contract.symbol), "con_id": int(contract.wire()["conId"])}


def _placements(context: Context, kind: Placement) -> list[Answer]:
    names = ("client_id", "order_id", "order_ref", "received")
    rows = context.gateway.books.placements(kind)
    return [dict(zip(names, row, strict=True)) for row in rows]


@verb("look", "account?", "from?", "to?")
def statement(context: Context, fields: Fields) -> Answer:
    """The account statement as a Flex query gives it, in `xml`: of one account or all, for IB's
    days from `from` to `to` (YYYY-MM-DD), both the day that stocks trade for now if not given.
    """
    gateway = context.gateway
    today = trading_day(gateway.clock.now())
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
def clients(context: Context, fields: Fields) -> Answer:
    """The client ids that are connected now, and what each has subscribed to."""
    sessions = [one for one in context.gateway.clients.sessions if one.client_id is not None]
    return {
        "clients": sorted(one.client_id for one in sessions if one.client_id is not None),
        "subscriptions": {str(one.client_id): sorted(one.subscriptions) for one in sessions},
    }


@verb("look")
def time(context: Context, fields: Fields) -> Answer:
    """The gateway's time, in UTC."""
    return {"time": context.gateway.clock.now().isoformat()}


VERBS: Final = (books, statement, clients, time)
