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
    """Yield each leg with its ratio and its price: together they are the price of the combination.

    A leg trades at its own touch. Where the combination trades at another price than those make,
    each leg moves by a part of the difference, as large as its spread; what steps of price leave
    over is with the leg that is worth most.
    """
    legs = legs_of(floor, order)
    quotes = [floor.market.quote(leg) for leg, _ in legs]
    buys = [(ratio > 0) == order.is_buy for _, ratio in legs]
    paid = [quote.ask if buy else quote.bid for quote, buy in zip(quotes, buys, strict=True)]
    beside = price - _net(legs, paid)
    if beside:
        spreads = [
            abs(ratio) * (quote.ask - quote.bid or quote.last)
            for (_, ratio), quote in zip(legs, quotes, strict=True)
        ]
        for at, (leg, ratio) in enumerate(legs):
            moved = paid[at] + beside * spreads[at] / sum(spreads) / ratio
            paid[at] = max(leg.on_tick(moved), leg.minimum_tick)
        worths = [abs(ratio) * one for (_, ratio), one in zip(legs, paid, strict=True)]
        dearest = worths.index(max(worths))
        paid[dearest] += (price - _net(legs, paid)) / legs[dearest][1]
    for (leg, ratio), one in zip(legs, paid, strict=True):
        yield leg, ratio, one


def _net(legs: Legs, prices: Iterable[Decimal]) -> Decimal:
    return sum((ratio * one for (_, ratio), one in zip(legs, prices, strict=True)), ZERO)


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
