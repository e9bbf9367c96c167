"""The verbs for quotes, the session, settings and a stepped clock."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from oms.sim.broker.exchange.contracts import Contract
from oms.sim.broker.rules.checks import NEGATIVE_PRICES
from oms.sim.clock import SteppedClock
from oms.sim.protocol.fields import number
from oms.sim.script import book_verbs
from oms.sim.script.arguments import CommandError, Fields
from oms.sim.script.context import CONTRACT_FIELDS, Context
from oms.sim.script.verb import Answer, verb
from oms.sim.settings import RUNNING, SettingError


@verb("market", *CONTRACT_FIELDS, "bid?", "ask?", "last?", "size?")
def quote(context: Context, fields: Fields) -> Answer:
    """Set the touch of a contract, a side left out follows the others; orders that cross are
    filled. Without a price it only answers the quote.
    """
    contract = context.contract(fields)
    gateway = context.gateway
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
        if price is not None and price < 0 and contract.sec_type not in NEGATIVE_PRICES:
            raise CommandError(f"{name} {price} of {contract.sec_type} is negative", "0 or more")


@verb("market")
def market_open(context: Context, fields: Fields) -> Answer:
    """Open the session: orders on the open trade, what waited goes to work."""
    context.gateway.broker.day.open()
    return {}


@verb("market")
def market_close(context: Context, fields: Fields) -> Answer:
    """Close the session: orders on the close trade, DAY orders end."""
    context.gateway.broker.day.close()
    return {}


@verb("market", "name", "value")
def setting(context: Context, fields: Fields) -> Answer:
    """Change a setting of the running gateway, such as `time_form`, `fills`, `parts` or
    `cancel_order`: see the settings of scenario files.
    """
    name = fields.choice("name", sorted(RUNNING))
    try:
        context.gateway.settings.put(name, fields.text("value"))
    except SettingError as error:
        raise CommandError(str(error)) from error
    return {name: str(getattr(context.gateway.settings, name))}


@verb("market", "seconds")
def advance(context: Context, fields: Fields) -> Answer:
    """Move a stepped clock on; what falls due happens."""
    clock = context.gateway.wall_clock
    if not isinstance(clock, SteppedClock):
        raise CommandError("the clock is not stepped", "start the gateway with --clock stepped")
    clock.advance(fields.seconds("seconds"))
    return book_verbs.time.action(context, fields)


VERBS: Final = (quote, market_open, market_close, setting, advance)
