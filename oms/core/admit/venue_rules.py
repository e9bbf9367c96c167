"""Rules about what a contract and its venue take: kinds, prices and their steps, sizes."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Final

from oms.core.admit.proposal import Proposal
from oms.core.admit.rule import Denial, Rule
from oms.core.admit.venue import VenueRules
from oms.core.contracts import Contract
from oms.core.events import Terms
from oms.core.money import plain

#: Security types that order entry can send.
ORDERED: Final = frozenset({"STK", "OPT", "FUT", "FOP", "CASH", "BAG"})
#: Futures and combinations trade at and below zero; a stock at zero is a slip of the hand.
_PRICED_ABOVE_ZERO: Final = frozenset({"STK", "OPT", "CASH"})


def denial_of(terms: Terms, contract: Contract, rules: VenueRules) -> Denial | None:
    """Return why this contract or its venue does not take the order, or None."""
    return (
        _contract(terms, contract)
        or _not_above_zero(terms, contract)
        or _off_step(terms, rules)
        or _off_size(terms, rules)
    )


def _contract(terms: Terms, contract: Contract) -> Denial | None:
    kind = contract.sec_type
    if kind not in ORDERED:
        allowed = ", ".join(sorted(ORDERED))
        return Denial("contract", kind, allowed, f"{contract} has quotes and cannot be ordered")
    if contract.is_combo and not contract.legs:
        return Denial("contract", "no legs", "2 legs", f"the combo {contract} names no legs")
    if kind == "CASH" and terms.tif == "OPG":
        return Denial("contract", "OPG", "no auction", "a currency pair has no opening auction")
    return None


def _not_above_zero(terms: Terms, contract: Contract) -> Denial | None:
    kind = contract.sec_type
    for name, price in _prices_of(terms):
        if price <= 0 and kind in _PRICED_ABOVE_ZERO:
            text = f"{name} price {plain(price)} must be above zero for a {kind}"
            return Denial("price", plain(price), "0", text)
    return None


def _off_step(terms: Terms, rules: VenueRules) -> Denial | None:
    for name, price in _prices_of(terms):
        step = rules.step_at(price)
        if step and price % step:
            text = (
                f"{name} price {plain(price)} is not a multiple of the minimum tick {plain(step)}"
            )
            return Denial("tick", plain(price), plain(step), text)
    return None


def _prices_of(terms: Terms) -> Iterator[tuple[str, Decimal]]:
    """Yield the prices that must lie on a step; distances need not: IB rounds what they lead to."""
    for name, price in (
        ("limit", terms.limit_price),
        ("stop", terms.stop_price),
        ("first stop", terms.trail_stop_price),
    ):
        if price is not None:
            yield name, price


def _off_size(terms: Terms, rules: VenueRules) -> Denial | None:
    quantity, least, step = terms.quantity, rules.min_size, rules.size_increment
    if least and quantity < least:
        return Denial(
            "size",
            plain(quantity),
            plain(least),
            f"quantity {plain(quantity)} is below the venue's least of {plain(least)}",
        )
    if step and quantity % step:
        hint = rules.suggested_size_increment
        advice = f"; IB suggests steps of {plain(hint)}" if hint and hint != step else ""
        return Denial(
            "size",
            plain(quantity),
            plain(step),
            f"quantity {plain(quantity)} is not a multiple of {plain(step)}{advice}",
        )
    return None


def _rules_of(proposal: Proposal) -> VenueRules:
    return proposal.rules or VenueRules()


def _unqualified(proposal: Proposal) -> str:
    return "" if proposal.rules is not None else "IB has not been asked for the contract's rules"


CONTRACT: Final = Rule(
    name="contract",
    reads="the contract's kind",
    refuses="what has quotes and no orders (an index), a combo without legs, an auction that does"
    " not exist",
    refuse=lambda p, _limits: _contract(p.terms, p.contract),
    missing=_unqualified,
    changes=True,
)
PRICE: Final = Rule(
    name="price",
    reads="limit and stop prices",
    refuses="a price at or below zero where the contract's is always above",
    refuse=lambda p, _limits: _not_above_zero(p.terms, p.contract),
    changes=True,
)
TICK: Final = Rule(
    name="tick",
    reads="prices, and the market rule of the contract's venue",
    refuses="a price between two steps",
    refuse=lambda p, _limits: _off_step(p.terms, _rules_of(p)),
    missing=_unqualified,
    changes=True,
)
SIZE: Final = Rule(
    name="size",
    reads="quantity, and the venue's least size and step",
    refuses="a quantity that the venue does not take",
    refuse=lambda p, _limits: _off_size(p.terms, _rules_of(p)),
    missing=_unqualified,
    changes=True,
)
