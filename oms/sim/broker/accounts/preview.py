"""The answer to a whatIf order: margin, equity and commission before and after it."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from oms.sim.broker.accounts.account_values import money
from oms.sim.broker.accounts.accounting import rate, totals
from oms.sim.broker.books.ledger import ZERO, commission, margin
from oms.sim.broker.books.orders import Order
from oms.sim.broker.combos import leg_prices, quote_of
from oms.sim.broker.exchange.contracts import Contract
from oms.sim.broker.floor import Floor
from oms.sim.protocol.fields import number


def fields(floor: Floor, order: Order) -> dict[str, str]:
    """Return the margin and commission fields of a whatIf answer.

    What the books will show when the order has filled at its price: at the touch if it crosses
    it, else at its limit. A fill is a print, so that what is held already is worth the new price.
    """
    total = totals(floor, order.account)
    base = floor.settings.base_currency
    change = equity = charge = ZERO
    for contract, signed, price in _previewed(floor, order):
        factor = rate(contract.currency, base)
        held = floor.books.position(order.account, contract.con_id).quantity
        last = floor.market.quote(contract).last
        # The fill of a combination is no print of its legs.
        mark = last if order.terms.get("comboLegs") else price
        fee = commission(contract, abs(signed), price, floor.settings.commission)
        after = margin(contract, held + signed, mark) - margin(contract, held, last)
        change += after * factor
        if contract.sec_type == "CASH":
            # The two currencies change places, at rates that are not the pair's price.
            equity += signed * (rate(contract.symbol, base) - price * factor)
        else:
            gained = held * (mark - last) + signed * (mark - price)
            equity += gained * contract.multiplier * factor
        equity -= fee * factor
        charge += fee * factor / rate(floor.contract(order.con_id).currency, base)
    return {
        "whatIf": "1",
        "initMarginBefore": money(total.initial_margin),
        "maintMarginBefore": money(total.maintenance_margin),
        "equityWithLoanBefore": money(total.net),
        "initMarginChange": money(change),
        "maintMarginChange": money(change / 2),
        "equityWithLoanChange": money(equity),
        "initMarginAfter": money(total.initial_margin + change),
        "maintMarginAfter": money(total.maintenance_margin + change / 2),
        "equityWithLoanAfter": money(total.net + equity),
        "commission": number(charge),
        "minCommission": number(charge),
        "maxCommission": number(charge),
        "commissionCurrency": floor.contract(order.con_id).currency,
    }


def _previewed(floor: Floor, order: Order) -> Iterator[tuple[Contract, Decimal, Decimal]]:
    """The fills an order would have: contract, signed quantity, price; a combo's are its legs'."""
    quote = quote_of(floor, order)
    touch = quote.ask if order.is_buy else quote.bid
    limit = order.limit_price
    crosses = limit is None or (touch <= limit if order.is_buy else touch >= limit)
    price = touch if limit is None or crosses else limit
    if floor.contract(order.con_id).sec_type == "BAG":
        for leg, ratio, leg_price in leg_prices(floor, order, price):
            yield leg, order.quantity * ratio * (1 if order.is_buy else -1), leg_price
        return
    contract = floor.contract(order.con_id)
    yield contract, order.quantity * (1 if order.is_buy else -1), price
