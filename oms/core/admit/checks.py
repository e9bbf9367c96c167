"""Checks before an order leaves: what the table of `rules` makes of it.

What cannot mean an order raises `InvalidRequest` and leaves no trace: it never was an order
(`core.admit.venue_rules`). A well-formed one that a rule refuses is an ordinary outcome, a
`Denial`, and is written to the log as `OrderDenied`.

Pure: what a rule needs to know of the world stands in the `Proposal`. Who gathers it, and remembers
what was sent lately, is `admission`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from oms.core.admit.limits import Limits
from oms.core.admit.proposal import Proposal, Rule
from oms.core.admit.rules import RULES
from oms.core.admit.venue_rules import Denial


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one rule says about an order."""

    rule: str
    outcome: Literal["passed", "denied", "unknown", "off"]
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


def in_force(proposal: Proposal, limits: Limits) -> tuple[str, ...]:
    """Return the names of the rules that judged an order; those without a limit did not."""
    return tuple(rule.name for rule in RULES if rule.limit(proposal, limits))


def verdicts(proposal: Proposal, limits: Limits) -> tuple[Verdict, ...]:
    """Return what every rule says, also after the first that refuses."""
    return tuple(_verdict(rule, proposal, limits) for rule in RULES)


def _verdict(rule: Rule, proposal: Proposal, limits: Limits) -> Verdict:
    limit = rule.limit(proposal, limits)
    if not limit:
        return Verdict(rule.name, "off", "", "", "no limit is set")
    missing = rule.missing(proposal)
    if missing:
        return Verdict(rule.name, "unknown", "", limit, missing)
    denial = rule.refuse(proposal, limits)
    if denial is None:
        return Verdict(rule.name, "passed", "", limit, "")
    return Verdict(rule.name, "denied", denial.value, denial.limit, denial.text)
