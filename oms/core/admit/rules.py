"""The rules that an order must keep before it leaves, as a table, and what they make of an order.

What cannot mean an order raises `InvalidRequest` and leaves no trace: it never was an order
(`validity`). A well-formed one that a rule refuses is an ordinary outcome, a `Denial` that names
the value that the rule saw and the limit that it kept; it is written to the log as `OrderDenied`.

Pure: what a rule needs to know of the world stands in the `Proposal`. Who gathers it, and remembers
what was sent lately, is `service.admission`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from oms.core.admit.amounts import COLLAR, NOTIONAL, QUANTITY
from oms.core.admit.exposure import EXPOSURE
from oms.core.admit.frequency import DUPLICATE, OPEN_ORDERS, RATE
from oms.core.admit.limits import Limits
from oms.core.admit.permissions import ACCOUNT, CONTRACTS, MODE, SEC_TYPES
from oms.core.admit.proposal import Proposal
from oms.core.admit.readiness import CONNECTED, GATE, HALT, RECONCILED
from oms.core.admit.rule import Denial, Rule
from oms.core.admit.venue_rules import CONTRACT, PRICE, SIZE, TICK

#: In the order in which they are asked; the first that refuses names the denial.
RULES: Final = (
    HALT,
    CONNECTED,
    RECONCILED,
    ACCOUNT,
    MODE,
    CONTRACTS,
    SEC_TYPES,
    CONTRACT,
    PRICE,
    TICK,
    SIZE,
    QUANTITY,
    NOTIONAL,
    COLLAR,
    OPEN_ORDERS,
    RATE,
    DUPLICATE,
    GATE,
    EXPOSURE,
)


@dataclass(frozen=True, slots=True)
class Ruling:
    """What one rule says about an order."""

    rule: str
    outcome: Literal["passed", "warned", "denied", "unknown", "off"]
    #: What the rule saw, where it refused.
    value: str
    limit: str
    text: str


def check(proposal: Proposal, limits: Limits) -> Denial | None:
    """Return the first rule that refuses a new order, or None when all of them pass."""
    return next((d for rule in RULES if (d := rule.refuse(proposal, limits))), None)


def check_change(proposal: Proposal, limits: Limits) -> Denial | None:
    """Return the first rule that refuses new terms of an order that is at work."""
    rules = (rule for rule in RULES if rule.changes)
    return next((d for rule in rules if (d := rule.refuse(proposal, limits))), None)


def warning_of(proposal: Proposal, limits: Limits) -> str:
    """Return what a person should know of an order or a change that passes; "" for nothing."""
    return "; ".join(text for rule in RULES if (text := rule.warn(proposal, limits)))


def in_force(proposal: Proposal, limits: Limits) -> dict[str, str]:
    """Return the rules that judged an order, each with its limit; those without one did not."""
    kept = ((rule.name, rule.limit(proposal, limits)) for rule in RULES)
    return {name: limit for name, limit in kept if limit}


def rulings(proposal: Proposal, limits: Limits) -> tuple[Ruling, ...]:
    """Return what every rule says, also after the first that refuses; of a change, those that hold
    for one.
    """
    is_new = proposal.change_of is None
    return tuple(_ruling(rule, proposal, limits) for rule in RULES if is_new or rule.changes)


def _ruling(rule: Rule, proposal: Proposal, limits: Limits) -> Ruling:
    limit = rule.limit(proposal, limits)
    if not limit:
        return Ruling(rule.name, "off", "", "", "no limit is set")
    missing = rule.missing(proposal)
    if missing:
        return Ruling(rule.name, "unknown", "", limit, missing)
    denial = rule.refuse(proposal, limits)
    if denial is None:
        warning = rule.warn(proposal, limits)
        return Ruling(rule.name, "warned" if warning else "passed", "", limit, warning)
    return Ruling(rule.name, "denied", denial.value, denial.limit, denial.text)
