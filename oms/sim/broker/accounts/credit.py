"""The credit check: may an account have the position that an order would make?"""

from __future__ import annotations

from decimal import Decimal

from oms.sim.broker.accounts import accounting
from oms.sim.broker.books import ledger
from oms.sim.broker.books.ledger import ZERO
from oms.sim.broker.books.orders import Order
from oms.sim.broker.floor import Floor


def shortfall(floor: Floor, order: Order, price: Decimal | None = None) -> str | None:
    """Return why the money does not suffice for an order, None when it does.

    Everything that works at the same time counts: the check is of the position that the account
    would have if all of it filled, on the worse side. An order that only closes always passes.
    `price` is that of a fill; before there is one, the order's limit or the touch is taken.
    """
    exposure = floor.books.live.exposure
    # The order may be new, live, or new terms of a live one: look at the rest, then with it.
    exposure.drop(order)
    promised = _promised(floor, order.account)
    before = {con_id: _worst(floor, order, con_id) for con_id, _ in order.per_unit()}
    exposure.keep(order)
    needed = ZERO
    for con_id, signed in order.per_unit():
        grows = _worst(floor, order, con_id) - before[con_id]
        needed += _margin(floor, con_id, grows, _price(floor, order, con_id, signed, price))
    exposure.drop(order)
    live = floor.books.live.get(order.perm_id)
    if live is not None:
        exposure.keep(live)
    if not needed:
        return None
    available = accounting.totals(floor, order.account).available - promised
    if needed <= available:
        return None
    base = floor.settings.base_currency
    return (
        "Order rejected - reason:We are unable to accept your order. Your Available Funds are"
        f" insufficient to cover the change in margin [{available:.2f} {base},"
        f" {needed:.2f} {base}]"
    )


def _worst(floor: Floor, order: Order, con_id: int) -> Decimal:
    held = floor.books.position(order.account, con_id).quantity
    return floor.books.live.exposure.worst(order.account, con_id, held)


def _price(
    floor: Floor, order: Order, con_id: int, signed: Decimal, price: Decimal | None
) -> Decimal:
    quote = floor.market.quote(floor.contract(con_id))
    touch = quote.ask if signed > 0 else quote.bid
    if con_id != order.con_id:
        return touch
    return price or order.limit_price or touch


def _margin(floor: Floor, con_id: int, quantity: Decimal, price: Decimal) -> Decimal:
    """Initial margin in the base currency."""
    contract = floor.contract(con_id)
    rate = ledger.rate(contract.currency, floor.settings.base_currency)
    return ledger.margin(contract, quantity, price) * rate


def _promised(floor: Floor, account: str) -> Decimal:
    """Margin that an account's working orders would take, beyond that of its positions."""
    total = ZERO
    for con_id in floor.books.live.exposure.contracts(account):
        held = floor.books.position(account, con_id).quantity
        more = floor.books.live.exposure.worst(account, con_id, held) - abs(held)
        if more:
            last = floor.market.quote(floor.contract(con_id)).last
            total += _margin(floor, con_id, more, last)
    return total
