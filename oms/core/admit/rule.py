"""The form of a rule, and of its refusal."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from oms.core.admit.limits import Limits
from oms.core.admit.proposal import Proposal


@dataclass(frozen=True, slots=True)
class Denial:
    """Why an order was not sent."""

    rule: str
    value: str
    limit: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One check: what it looks at, the settings that are its limit, and what it refuses."""

    name: str
    reads: str
    refuses: str
    #: Names of settings; none where the rule always holds.
    settings: tuple[str, ...] = ()
    refuse: Callable[[Proposal, Limits], Denial | None]
    #: What a person should know of an order that it lets pass, "" for nothing.
    warn: Callable[[Proposal, Limits], str] = lambda _proposal, _limits: ""
    #: The limit that holds for an order, "" where none is set.
    limit: Callable[[Proposal, Limits], str] = lambda _proposal, _limits: "always"
    #: Why it cannot be judged from what is known, "" where it can.
    missing: Callable[[Proposal], str] = lambda _proposal: ""
    #: Whether it holds for a change of an order, too.
    changes: bool = False


def unidentified(proposal: Proposal) -> str:
    """Return why a rule about one contract cannot be judged, "" where it can."""
    return "" if proposal.contract.con_id else "IB has not been asked which contract it is"
