"""The verbs for cash, and for positions that change without a trade."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from fractions import Fraction
from typing import Final

from oms.sim.broker import corporate
from oms.sim.broker.adjustments import Change, change_without_trace
from oms.sim.broker.books.ledger import ZERO
from oms.sim.broker.exchange.contracts import Contract
from oms.sim.protocol.fields import number
from oms.sim.script.arguments import (
    CASH_MAX,
    INTEGER_MAX,
    PRICE_MAX,
    QUANTITY_MAX,
    CommandError,
    Fields,
)
from oms.sim.script.context import CONTRACT_FIELDS, Context
from oms.sim.script.verb import Answer, verb

RATIO_LEAST: Final = Fraction(1, 1000)
RATIO_MOST: Final = Fraction(1000)


@verb("account", "amount", "currency?", "account?")
def cash(context: Context, fields: Fields) -> Answer:
    """Pay `amount` in, or out when it is negative."""
    currency = fields.text("currency", context.gateway.settings.base_currency)
    if not (currency.isascii() and currency.isalpha() and len(currency) == 3):
        raise CommandError(f"currency {currency!r} is none", "three letters, such as EUR")
    account, amount = context.account(fields), fields.amount("amount", most=CASH_MAX)
    books = context.gateway.books
    if abs(books.cash.get((account, currency.upper()), ZERO) + amount) > CASH_MAX:
        raise CommandError("the balance would be too large", f"at most {CASH_MAX:f}")
    books.add_cash(account, currency.upper(), amount)
    return {}


@verb("account", "amount", "currency?", "account?")
def deposit_program(context: Context, fields: Fields) -> Answer:
    """Let banks keep `amount` of a balance from now on: it stays the account's, and `CashBalance`
    has it twice.
    """
    currency = fields.text("currency", context.gateway.settings.base_currency).upper()
    account, amount = context.account(fields), fields.amount("amount", least=ZERO, most=CASH_MAX)
    context.gateway.books.set_deposited(account, currency, amount)
    return {}


def _told(changes: Iterable[Change]) -> Answer:
    return {
        "positions": [
            {
                "account": one.account,
                "con_id": one.contract.con_id,
                "symbol": one.contract.symbol,
                "quantity": number(one.quantity),
                "average_cost": number(one.average_cost),
            }
            for one in changes
        ]
    }


def _held(context: Context, account: str, contract: Contract) -> Decimal:
    return context.gateway.books.position(account, contract.con_id).quantity


@verb("life", "quantity", *CONTRACT_FIELDS, "average_cost?", "account?")
def position_adjust(context: Context, fields: Fields) -> Answer:
    """Change a position by `quantity` without an execution and without any other trace. Clients
    that subscribed are sent position rows, nothing else is sent and no cash moves.
    """
    contract, account = context.contract(fields), context.account(fields)
    gateway = context.gateway
    quantity = fields.quantity("quantity", signed=True)
    cost = fields.price_or_none("average_cost")
    if abs(_held(context, account, contract) + quantity) > QUANTITY_MAX:
        raise CommandError("the position would be too large", f"at most {QUANTITY_MAX:f}")
    row = change_without_trace(gateway.floor, account, contract, quantity, cost)
    return {"quantity": number(row.quantity), "average_cost": number(row.average_cost)}


@verb("life", *CONTRACT_FIELDS, "quantity?", "account?", "executions?")
def exercise(context: Context, fields: Fields) -> Answer:
    """The holder exercises `quantity` (all) of a long option: the option goes, shares come or go
    at the strike. With `executions` it is also sent as executions, the option's at price 0.
    """
    contract, account = context.contract(fields), context.account(fields)
    quantity = fields.quantity_or_none("quantity")
    if quantity is None:
        quantity = _held(context, account, contract)
    life = context.gateway.broker.derivatives
    return _told(life.exercise(account, contract, quantity, told=fields.flag("executions")))


@verb("life", *CONTRACT_FIELDS, "quantity?", "account?", "executions?")
def assign(context: Context, fields: Fields) -> Answer:
    """`quantity` (all) of a short option is assigned; otherwise as `exercise`."""
    contract, account = context.contract(fields), context.account(fields)
    quantity = fields.quantity_or_none("quantity")
    if quantity is None:
        quantity = -_held(context, account, contract)
    life = context.gateway.broker.derivatives
    return _told(life.assign(account, contract, quantity, told=fields.flag("executions")))


@verb("life", *CONTRACT_FIELDS, "settlement?")
def expire(context: Context, fields: Fields) -> Answer:
    """An option or a future ends now, in every account: in the money it is exercised or assigned
    at the `settlement` price of the underlying (the last price), else it is gone.
    """
    contract = context.contract(fields)
    settlement = fields.price_or_none("settlement")
    return _told(context.gateway.broker.derivatives.expire(contract, settlement))


@verb("life", "quantity", *CONTRACT_FIELDS, "account?", "to_account?", "average_cost?")
def transfer(context: Context, fields: Fields) -> Answer:
    """Move `quantity` into an account, out of it when negative, or from it to the account
    `to_account`. No cash moves and no execution is sent.
    """
    contract, account = context.contract(fields), context.account(fields)
    quantity = fields.quantity("quantity", signed=True)
    other = fields.text("to_account")
    if other and other not in context.gateway.settings.accounts:
        raise CommandError(f"no account {other}", ", ".join(context.gateway.settings.accounts))
    for one in (account, other) if other else (account,):
        if abs(_held(context, one, contract)) + abs(quantity) > QUANTITY_MAX:
            raise CommandError("the position would be too large", f"at most {QUANTITY_MAX:f}")
    cost = fields.price_or_none("average_cost")
    return _told(
        corporate.transfer(
            context.gateway.floor, account, contract, quantity, cost=cost, to_account=other
        )
    )


@verb("life", "ratio", *CONTRACT_FIELDS)
def split(context: Context, fields: Fields) -> Answer:
    """Split a stock: `ratio` new shares for each old one, a number or two (`1:3` is one for three).
    Quantities, costs and the quote follow, fractions of a share are paid in cash; orders and
    options stay as they are.
    """
    contract = context.contract(fields)
    ratio = fields.ratio("ratio")
    if not RATIO_LEAST <= ratio <= RATIO_MOST:
        raise CommandError(f"ratio {ratio} is out of bounds", f"{RATIO_LEAST} to {RATIO_MOST}")
    books = context.gateway.books
    held = [abs(row.quantity) for (_, con_id), row in books.positions.items()
            if con_id == contract.con_id]  # fmt: skip
    if Fraction(max(held, default=ZERO)) * ratio > QUANTITY_MAX:
        raise CommandError("the position would be too large", f"at most {QUANTITY_MAX:f}")
    if Fraction(context.gateway.floor.market.quote(contract).ask) > Fraction(PRICE_MAX) * ratio:
        raise CommandError("no price is so high", f"at most {PRICE_MAX:f}")
    return _told(corporate.split(context.gateway.floor, contract, ratio))


@verb("life", "new_symbol", *CONTRACT_FIELDS, "new_con_id?")
def change_symbol(context: Context, fields: Fields) -> Answer:
    """A stock gets another symbol; with `new_con_id` its positions move to that con id, and the
    old rows go to zero.
    """
    contract, symbol = context.contract(fields), fields.text("new_symbol").upper()
    if not (symbol.isascii() and symbol.replace(".", "").isalnum() and len(symbol) <= 12):
        raise CommandError(f"new_symbol {symbol[:20]!r} is none", "letters and digits")
    taken = context.gateway.floor.catalogue.one(symbol)
    if taken is not None and taken.con_id != contract.con_id:
        raise CommandError(f"{symbol} is another contract's symbol", "one that is free")
    con_id = fields.integer("new_con_id", 0, least=0, most=INTEGER_MAX)
    return _told(corporate.change_symbol(context.gateway.floor, contract, symbol, con_id))


VERBS: Final = (
    *(cash, deposit_program, position_adjust, exercise, assign, expire),
    *(transfer, split, change_symbol),
)
