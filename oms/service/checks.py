"""Checks before an order leaves: pure, each a rule with a name, the value it saw and the limit it
kept.

What cannot mean an order raises `InvalidRequest` and leaves no trace: it never was an order
(`core.order_rules`). A well-formed one that a rule refuses is an ordinary outcome, a `Denial`, and
is written to the log as `OrderDenied`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from oms.core.contracts import Contract
from oms.core.events import Terms
from oms.core.money import plain
from oms.core.order_rules import Denial, VenueRules, con_ids_of, denial_of, value_of
from oms.core.records import BreakCase, SystemRecord


@dataclass(frozen=True, slots=True)
class Limits:
    """The operator's limits; None means none."""

    order_quantity_max: Decimal | None = None
    order_notional_max: Decimal | None = None
    #: Accounts that orders may name; empty means those that the gateway manages.
    accounts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Proposal:
    """An order on its way through the checks, with what is known about contract and world."""

    account: str
    contract: Contract
    terms: Terms
    #: What the contract's venue takes.
    rules: VenueRules
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
    "contract",
    "price",
    "tick",
    "size",
    "quantity",
    "notional",
    "gate",
)


def check(proposal: Proposal, limits: Limits) -> Denial | None:
    """Return the first rule that refuses a new order, or None when all of them pass."""
    return (
        check_world(proposal.system)
        or _account(proposal, limits)
        or check_terms(proposal.terms, proposal.contract, proposal.rules, limits)
        or _notional(proposal, limits)
        or _gate(proposal.account, proposal.contract, proposal.open_breaks)
    )


def check_terms(
    terms: Terms, contract: Contract, rules: VenueRules, limits: Limits
) -> Denial | None:
    """Return the rule that refuses terms, whether they are new or a change."""
    return denial_of(terms, contract, rules) or _quantity(terms, limits)


def _quantity(terms: Terms, limits: Limits) -> Denial | None:
    largest = limits.order_quantity_max
    if largest is None or terms.quantity <= largest:
        return None
    return Denial(
        "quantity",
        plain(terms.quantity),
        plain(largest),
        f"quantity {plain(terms.quantity)} is above the limit of {plain(largest)} an order",
    )


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
    price = price_of(terms) or proposal.reference_price
    if largest is None or price is None:
        return None
    notional = value_of(terms, proposal.contract, proposal.rules, price)
    if notional <= largest:
        return None
    return Denial(
        "notional",
        plain(notional),
        plain(largest),
        f"value {plain(notional)} {proposal.contract.currency} is above the limit of"
        f" {plain(largest)} an order",
    )


def price_of(terms: Terms) -> Decimal | None:
    """Return the price that an order names, None where the market will name it."""
    return terms.limit_price or terms.stop_price or terms.trail_stop_price


def _gate(account: str, contract: Contract, breaks: Iterable[BreakCase]) -> Denial | None:
    """Refuse new orders exactly where our books are known to be wrong (design D12)."""
    for case in breaks:
        finding = case.finding
        if finding.severity != "high" or finding.account != account:
            continue
        if finding.con_id in con_ids_of(contract):
            return Denial(
                "gate",
                case.break_id,
                "no open break",
                f"break {case.break_id} ({finding.break_class}) is open for this account and"
                " contract; see `oms breaks`",
            )
    return None
