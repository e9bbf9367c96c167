"""Checks before an order leaves: pure, each a rule with a name, the value it saw and the limit it
kept.

A malformed request raises `InvalidRequest` and leaves no trace: it never was an order. A
well-formed one that a rule refuses is an ordinary outcome, a `Denial`, and is written to the log as
`OrderDenied`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from oms.core.contracts import Contract
from oms.core.events import Terms
from oms.core.money import plain
from oms.core.records import BreakCase, SystemRecord
from oms.errors import InvalidRequest

#: What order entry can send today; adopted orders can be of any type.
ORDER_TYPES: Final = frozenset({"MKT", "LMT", "STP", "STP LMT"})
TIMES_IN_FORCE: Final = frozenset({"DAY", "GTC", "IOC", "FOK", "OPG"})
#: Futures and combinations trade at and below zero; a stock at zero is a slip of the hand.
_PRICED_ABOVE_ZERO: Final = frozenset({"STK", "OPT", "CASH"})
#: Beyond these a number is a typing error, and no table could show it.
_SIZE_MAX: Final = Decimal(10**12)
_DECIMALS_MAX: Final = 12
_NEEDS_LIMIT: Final = frozenset({"LMT", "STP LMT"})
_NEEDS_STOP: Final = frozenset({"STP", "STP LMT"})


@dataclass(frozen=True, slots=True)
class Limits:
    """The operator's limits; None means none."""

    order_quantity_max: Decimal | None = None
    order_notional_max: Decimal | None = None
    #: Accounts that orders may name; empty means those that the gateway manages.
    accounts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Denial:
    """Why an order was not sent."""

    rule: str
    value: str
    limit: str
    text: str


@dataclass(frozen=True, slots=True)
class Proposal:
    """An order on its way through the checks, with what is known about contract and world."""

    account: str
    contract: Contract
    terms: Terms
    #: Smallest price step; None where IB did not say.
    min_tick: Decimal | None
    #: Accounts that the gateway manages in this session.
    managed_accounts: tuple[str, ...]
    system: SystemRecord
    open_breaks: tuple[BreakCase, ...] = ()
    #: The last price, for orders without one; None where it is unknown.
    reference_price: Decimal | None = None


CHECKS: Final = (
    "connected",
    "reconciled",
    "halt",
    "account",
    "price",
    "tick",
    "quantity",
    "notional",
    "gate",
)


def validate(terms: Terms) -> None:
    """Raise `InvalidRequest` where terms cannot mean an order."""
    if not terms.quantity.is_finite() or terms.quantity <= 0:
        raise InvalidRequest(f"quantity must be above zero, found {_short(terms.quantity)}")
    _size("quantity", terms.quantity)
    if terms.side not in {"BUY", "SELL"}:
        raise InvalidRequest(f"side must be BUY or SELL, found {terms.side!r}")
    if terms.order_type not in ORDER_TYPES:
        known = ", ".join(sorted(ORDER_TYPES))
        raise InvalidRequest(f"order type must be one of {known}, found {terms.order_type!r}")
    if terms.tif not in TIMES_IN_FORCE:
        known = ", ".join(sorted(TIMES_IN_FORCE))
        raise InvalidRequest(f"time in force must be one of {known}, found {terms.tif!r}")
    _price("limit price", terms.limit_price, terms.order_type in _NEEDS_LIMIT, terms.order_type)
    _price("stop price", terms.stop_price, terms.order_type in _NEEDS_STOP, terms.order_type)


def _price(name: str, price: Decimal | None, needed: bool, order_type: str) -> None:
    if needed and price is None:
        raise InvalidRequest(f"a {order_type} order needs a {name}")
    if not needed and price is not None:
        raise InvalidRequest(f"a {order_type} order takes no {name}, found {plain(price)}")
    if price is not None and not price.is_finite():
        raise InvalidRequest(f"{name} must be a number, found {price}")
    if price is not None:
        _size(name, price)


def _size(name: str, number: Decimal) -> None:
    if abs(number) > _SIZE_MAX:
        raise InvalidRequest(f"{name} must be at most {_SIZE_MAX}, found {_short(number)}")
    exponent = number.as_tuple().exponent
    if isinstance(exponent, int) and -exponent > _DECIMALS_MAX:
        raise InvalidRequest(
            f"{name} must have at most {_DECIMALS_MAX} decimals, found {_short(number)}"
        )


def _short(number: Decimal) -> str:
    """Return a number in a length that fits an error, however large it is."""
    return plain(number) if abs(number.adjusted()) <= 2 * _DECIMALS_MAX else f"{number:.6g}"


def check(proposal: Proposal, limits: Limits) -> Denial | None:
    """Return the first rule that refuses a new order, or None when all of them pass."""
    return (
        check_world(proposal.system)
        or _account(proposal, limits)
        or check_terms(proposal.terms, proposal.contract, proposal.min_tick, limits)
        or _notional(proposal, limits)
        or _gate(proposal.account, proposal.contract, proposal.open_breaks)
    )


def check_terms(
    terms: Terms, contract: Contract, min_tick: Decimal | None, limits: Limits
) -> Denial | None:
    """Return the rule that refuses terms, whether they are new or a change."""
    for name, price in (("limit", terms.limit_price), ("stop", terms.stop_price)):
        if price is None:
            continue
        if price <= 0 and contract.sec_type in _PRICED_ABOVE_ZERO:
            return Denial(
                "price",
                plain(price),
                "0",
                f"{name} price {plain(price)} must be above zero for a {contract.sec_type}",
            )
        if min_tick and price % min_tick:
            return Denial(
                "tick",
                plain(price),
                plain(min_tick),
                f"{name} price {plain(price)} is not a multiple of the minimum tick"
                f" {plain(min_tick)}",
            )
    largest = limits.order_quantity_max
    if largest is not None and terms.quantity > largest:
        return Denial(
            "quantity",
            plain(terms.quantity),
            plain(largest),
            f"quantity {plain(terms.quantity)} is above the limit of {plain(largest)} an order",
        )
    return None


def check_world(system: SystemRecord) -> Denial | None:
    """Return why no new order may leave now, whatever it is."""
    if system.halted:
        return Denial("halt", "halted", "not halted", f"trading is halted: {system.halt_reason}")
    if not system.connected:
        return Denial("connected", "no session", "a session", "there is no line to the gateway")
    if system.gap_sequence:
        return Denial(
            "connected", system.gap_cause, "no gap", f"the line is broken: {system.gap_cause}"
        )
    if not system.ready:
        return Denial(
            "reconciled",
            "not yet",
            "complete answers",
            "the books have not been compared with the broker's since the line came up",
        )
    return None


def _account(proposal: Proposal, limits: Limits) -> Denial | None:
    allowed = limits.accounts or proposal.managed_accounts
    if proposal.account in allowed and proposal.account in proposal.managed_accounts:
        return None
    return Denial(
        "account",
        proposal.account,
        ", ".join(allowed),
        f"account {proposal.account!r} is not one of {', '.join(allowed) or 'none'}",
    )


def _notional(proposal: Proposal, limits: Limits) -> Denial | None:
    largest = limits.order_notional_max
    terms = proposal.terms
    price = terms.limit_price or terms.stop_price or proposal.reference_price
    if largest is None or price is None:
        return None
    notional = abs(price) * terms.quantity * proposal.contract.units
    if notional <= largest:
        return None
    return Denial(
        "notional",
        plain(notional),
        plain(largest),
        f"value {plain(notional)} {proposal.contract.currency} is above the limit of"
        f" {plain(largest)} an order",
    )


def _gate(account: str, contract: Contract, breaks: Iterable[BreakCase]) -> Denial | None:
    """Refuse new orders exactly where our books are known to be wrong (design D12)."""
    for case in breaks:
        finding = case.finding
        if finding.severity != "high" or finding.account != account:
            continue
        if finding.con_id == contract.con_id:
            return Denial(
                "gate",
                case.break_id,
                "no open break",
                f"break {case.break_id} ({finding.break_class}) is open for this account and"
                " contract; see `oms breaks`",
            )
    return None
