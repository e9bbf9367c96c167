"""The answer to a whatIf order: margin, equity and commission before and after it."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from oms.sim.broker.accounts.account_values import money
from oms.sim.broker.accounts.accounting import totals
from oms.sim.broker.books.ledger import ZERO, charge_currency, commission, margin, rate
from oms.sim.broker.books.orders import Order
from oms.sim.broker.combos import leg_prices, quote_of
from oms.sim.broker.exchange.contracts import Contract
from oms.sim.broker.floor import Floor
from oms.sim.protocol.fields import number


def fields(floor: Floor, order: Order) -> dict[str, str]:
    """Return the margin and commission fields of a whatIf answer.

    The order is taken at the price at which it can trade, and what is held already at the market.
    An order that crosses the touch trades there, and its print is the market: the answer is what
    the books show after it. One that rests trades at its limit and moves no market: what it opens
    takes margin there, and what it closes gives back the margin of the market.
    """
    total = totals(floor, order.account)
    base = floor.settings.base_currency
    currency = charge_currency(floor.contract(order.con_id), base)
    change = equity = charge = ZERO
    for contract, signed, price, crosses in _previewed(floor, order):
        factor = rate(contract.currency, base)
        last = floor.market.quote(contract).last
        held = floor.books.position(order.account, contract.con_id).quantity
        fee = commission(contract, abs(signed), price, floor.settings.commission, base)
        # The fill of a combination is no print of its legs.
        mark = price if crosses and not order.terms.get("comboLegs") else last
        if crosses:
            more = margin(contract, held + signed, mark) - margin(contract, held, last)
        else:
            closing = min(abs(signed), abs(held)) if held * signed < 0 else ZERO
            more = margin(contract, abs(signed) - closing, price) - margin(contract, closing, last)
        change += more * factor
        if contract.sec_type == "CASH":
            # The two currencies change places, at rates that are not the pair's price.
            equity += signed * (rate(contract.symbol, base) - price * factor)
        elif crosses:
            gained = held * (mark - last) + signed * (mark - price)
            equity += gained * contract.multiplier * factor
        equity -= fee.in_currency(base)
        charge += fee.in_currency(currency)
    charged = number(charge)
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
        "commission": charged,
        "minCommission": charged,
        "maxCommission": charged,
        "commissionCurrency": currency,
    }


def _previewed(floor: Floor, order: Order) -> Iterator[tuple[Contract, Decimal, Decimal, bool]]:
    """The fills an order would have: contract, signed quantity, price, and whether it would trade
    now; those of a combo are its legs'.
    """
    quote = quote_of(floor, order)
    touch = quote.ask if order.is_buy else quote.bid
    limit = order.limit_price
    stop = order.aux_price if order.order_type in ("STP", "STP LMT") else None
    waits = stop is not None and (touch < stop if order.is_buy else touch > stop)
    crosses = not waits and (limit is None or (touch <= limit if order.is_buy else touch >= limit))
    # A stop that is not touched yet trades there at the earliest.
    price = touch if crosses else limit or stop or touch
    contract, sign = floor.contract(order.con_id), 1 if order.is_buy else -1
    if contract.sec_type == "BAG":
        for leg, ratio, leg_price in leg_prices(floor, order, price):
            yield leg, order.quantity * ratio * sign, leg_price, crosses
        return
    yield contract, order.quantity * sign, price, crosses
