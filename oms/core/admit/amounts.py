"""Rules about how much an order risks: its size, its value, and how far its price is off."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from oms.core.admit.limits import Limits
from oms.core.admit.proposal import Proposal
from oms.core.admit.rule import Denial, Rule
from oms.core.admit.venue import VenueRules
from oms.core.contracts import Contract
from oms.core.events import Terms
from oms.core.money import plain

_PERCENT: Final = Decimal(100)


def _quantity(proposal: Proposal, limits: Limits) -> Denial | None:
    largest = limits.order_quantity_max.of(proposal.account, proposal.contract)
    quantity = proposal.terms.quantity
    if largest is None or quantity <= largest:
        return None
    return Denial(
        "quantity",
        plain(quantity),
        plain(largest),
        f"quantity {plain(quantity)} is above the limit of {plain(largest)} an order",
    )


def _notional(proposal: Proposal, limits: Limits) -> Denial | None:
    largest = limits.order_notional_max.of(proposal.account, proposal.contract)
    if largest is None:
        return None
    contract = proposal.contract
    price = _dearest(proposal)
    why = _not_valued(proposal, price)
    if price is None or why:
        text = f"the order cannot be valued, and values are limited to {plain(largest)}: {why}"
        return Denial("notional", "unknown", plain(largest), text)
    notional = value_of(proposal.terms, contract, proposal.rules or VenueRules(), price)
    if notional <= largest:
        return None
    return Denial(
        "notional",
        plain(notional),
        plain(largest),
        f"value {plain(notional)} {contract.currency} is above the limit of {plain(largest)} an"
        " order",
    )


def _not_valued(proposal: Proposal, price: Decimal | None) -> str:
    contract, rules = proposal.contract, proposal.rules or VenueRules()
    if contract.is_combo and rules.units is None and contract.multiplier is None:
        return "IB does not say what a unit of a combo's price is worth"
    return "it has no price and its market none either" if price is None else ""


def _collar(proposal: Proposal, limits: Limits) -> Denial | None:
    percent = limits.order_collar_percent.of(proposal.account, proposal.contract)
    terms = proposal.terms
    if percent is None or not any(price for _, price in _collared(terms)):
        return None
    market = proposal.entry_price if proposal.entry_price else proposal.reference_price
    limit = f"{plain(percent)} %"
    if market is None:
        if limits.collar_without_quote == "pass":
            return None
        text = (
            f"there is no quote of {proposal.contract.symbol} to hold the price against, and"
            " OMS_ORDER_COLLAR_WITHOUT_QUOTE is refuse"
        )
        return Denial("collar", "no quote", limit, text)
    room = abs(market) * percent / _PERCENT
    for name, price in _collared(terms):
        # Of a stop-limit, the limit is held against its stop: only there it comes to life.
        stop = terms.stop_price
        base = stop if name == "limit" and stop is not None else market
        # Bought dearer or sold cheaper is the danger of a limit; a stop on the side of the market
        # where a limit belongs fires at once.
        beyond = price - base if (terms.side == "BUY") is (name == "limit") else base - price
        if beyond > room:
            side = "above" if price > base else "below"
            text = (
                f"{name} price {plain(price)} is more than {limit} {side}"
                f" {'its stop' if base is stop else 'the market'} at {plain(base)}"
            )
            return Denial("collar", plain(price), limit, text)
    return None


def _collared(terms: Terms) -> tuple[tuple[str, Decimal], ...]:
    """Return the prices of an order that can be too far from the market."""
    prices = (
        ("limit", terms.limit_price),
        ("stop", terms.stop_price),
        ("first stop", terms.trail_stop_price),
    )
    return tuple((name, price) for name, price in prices if price is not None)


def _price_of(terms: Terms) -> Decimal | None:
    """Return the price that an order names, None where the market will name it."""
    return terms.limit_price or terms.stop_price or terms.trail_stop_price


def _cap(terms: Terms) -> Decimal | None:
    """Return the price that an order names where it cannot trade at a dearer one, else None.

    A limit to sell only says the least, a stop to buy only where it begins, and a trailing stop
    moves: below the market they are worth what the market gives.
    """
    if terms.side == "BUY":
        return terms.limit_price
    return terms.stop_price if terms.limit_price is None else None


def _dearest(proposal: Proposal) -> Decimal | None:
    """Return the price to value an order at: the one it cannot exceed, else the greater of its own
    and the market's; None where neither is known.
    """
    cap = _cap(proposal.terms)
    if cap:
        return cap
    own = _price_of(proposal.terms)
    # An exit comes to life where its entry has filled, not where the market is now.
    market = proposal.entry_price if own else proposal.reference_price
    market = market or proposal.reference_price or proposal.entry_price
    return max((price for price in (own, market) if price), key=abs, default=None)


def value_of(terms: Terms, contract: Contract, rules: VenueRules, price: Decimal) -> Decimal:
    """Return what an order is worth at a price, in the contract's currency."""
    units = rules.units if rules.units is not None else contract.units
    return abs(price) * terms.quantity * units / rules.price_magnifier


def _priceless(proposal: Proposal) -> str:
    return "" if proposal.reference_price is not None else "there is no quote of the market here"


def _percent_text(percent: Decimal | None) -> str:
    return "" if percent is None else f"{plain(percent)} %"


QUANTITY: Final = Rule(
    name="quantity",
    reads="the quantity",
    refuses="more than the limit",
    settings=("order_quantity_max",),
    refuse=_quantity,
    limit=lambda p, limits: plain(limits.order_quantity_max.of(p.account, p.contract)),
    changes=True,
)
NOTIONAL: Final = Rule(
    name="notional",
    reads="price, quantity, multiplier and price magnifier; the price is the order's own where it"
    " cannot trade at a dearer one (a limit to buy, a stop to sell), else the greater of its own"
    " and the market's, as far as there is a quote",
    refuses="a value above the limit, in the contract's currency, and a value that is not known",
    settings=("order_notional_max", "order_quote_wait_seconds"),
    refuse=_notional,
    limit=lambda p, limits: plain(limits.order_notional_max.of(p.account, p.contract)),
    missing=lambda proposal: "" if _cap(proposal.terms) else _priceless(proposal),
    changes=True,
)
COLLAR: Final = Rule(
    name="collar",
    reads="limit and stop prices, and the market's price (the middle of bid and ask, else the"
    " last); of an exit, its entry's price",
    refuses="a limit that is too far above the market to buy or below it to sell, a stop too far on"
    " the wrong side of it, a limit too far from its own stop",
    settings=("order_collar_percent", "order_collar_without_quote", "order_quote_wait_seconds"),
    refuse=_collar,
    limit=lambda p, limits: _percent_text(limits.order_collar_percent.of(p.account, p.contract)),
    missing=lambda proposal: "" if proposal.entry_price else _priceless(proposal),
    changes=True,
)
