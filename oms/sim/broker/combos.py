"""Combinations: their legs, what they cost leg by leg, and the quote of any order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal

from oms.sim.broker.books.ledger import ZERO
from oms.sim.broker.books.orders import SIDES, Order
from oms.sim.broker.exchange.catalogue import Catalogue
from oms.sim.broker.exchange.contracts import Contract
from oms.sim.broker.exchange.market import Market, Quote
from oms.sim.broker.floor import Floor
from oms.sim.broker.rules.checks import Refusal
from oms.sim.protocol.fields import to_int

#: The legs of a combination, each with its ratio: negative when the combination sells it.
Legs = tuple[tuple[Contract, Decimal], ...]


def named_legs(catalogue: Catalogue, said: Iterable[Mapping[str, str]]) -> Legs:
    """Return the legs that a client names. Raises the Refusal of what cannot be."""
    legs: list[tuple[Contract, Decimal]] = []
    for leg in said:
        contract = catalogue.by_id(to_int(leg["conId"]))
        ratio = to_int(leg["ratio"])
        known = contract is not None and contract.sec_type != "BAG"
        if contract is None or not known or ratio <= 0 or leg["action"] not in SIDES:
            raise Refusal(313, f"The combo details for leg '{len(legs)}' are invalid.")
        legs.append((contract, Decimal(ratio if leg["action"] == "BUY" else -ratio)))
    if not legs:
        raise Refusal(314, "Security type 'BAG' requires combo leg details.")
    if len(legs) < 2:
        raise Refusal(312, "The combo details are invalid.")
    return tuple(legs)


def legs_of(floor: Floor, order: Order) -> Legs:
    """Return the legs of a combination order."""
    return named_legs(floor.catalogue, order.terms.get("comboLegs", ()))


def leg_prices(
    floor: Floor, order: Order, price: Decimal
) -> Iterator[tuple[Contract, Decimal, Decimal]]:
    """Yield each leg with its ratio and its last price; the first makes up the rest of `price`."""
    legs = legs_of(floor, order)
    lasts = [floor.market.quote(leg).last for leg, _ in legs]
    total = sum((ratio * last for (_, ratio), last in zip(legs, lasts, strict=True)), ZERO)
    for number, ((leg, ratio), last) in enumerate(zip(legs, lasts, strict=True)):
        yield leg, ratio, last + (price - total) / ratio if number == 0 else last


def quote_of_legs(market: Market, legs: Legs) -> Quote:
    """Return what a combination costs, and how many of it the touches of its legs make."""
    sides: dict[str, Decimal] = dict.fromkeys(("bid", "ask", "last", "close"), ZERO)
    sizes: dict[str, list[Decimal]] = {"bid_size": [], "ask_size": []}
    for leg, ratio in legs:
        quote = market.quote(leg)
        buys = ratio > 0
        sides["bid"] += ratio * (quote.bid if buys else quote.ask)
        sides["ask"] += ratio * (quote.ask if buys else quote.bid)
        sides["last"] += ratio * quote.last
        sides["close"] += ratio * quote.close
        sizes["bid_size"].append((quote.bid_size if buys else quote.ask_size) // abs(ratio))
        sizes["ask_size"].append((quote.ask_size if buys else quote.bid_size) // abs(ratio))
    least = {name: min(listed) for name, listed in sizes.items()}
    day = {"open": sides["close"], "high": sides["last"], "low": sides["last"]}
    return Quote(**sides, **least, **day)


def quote_of(floor: Floor, order: Order) -> Quote:
    """Return the quote that an order trades against; a combination's is made of its legs'."""
    contract = floor.contract(order.con_id)
    if contract.sec_type != "BAG":
        return floor.market.quote(contract)
    return quote_of_legs(floor.market, legs_of(floor, order))
