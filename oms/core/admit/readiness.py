"""Rules about the moment: whether any order may leave now, and one of this account and contract."""

from __future__ import annotations

from typing import Final

from oms.core.admit.holding import con_ids_of
from oms.core.admit.limits import Limits
from oms.core.admit.proposal import Proposal
from oms.core.admit.rule import Denial, Rule, unidentified
from oms.core.fold.records import Anomaly, SystemRecord


def check_world(system: SystemRecord) -> Denial | None:
    """Return why no new order may leave now, whatever it is."""
    return _halted(system) or _connected(system) or _reconciled(system)


def halt_denial(system: SystemRecord) -> Denial:
    """Return what an order or a change is told while trading is halted."""
    return Denial("halt", "halted", "not halted", f"trading is halted: {system.halt_reason}")


def _halted(system: SystemRecord) -> Denial | None:
    return halt_denial(system) if system.halted else None


def _connected(system: SystemRecord) -> Denial | None:
    if not system.connected:
        return Denial("connected", "no session", "a session", "there is no line to the gateway")
    if system.gap_sequence:
        return Denial(
            "connected", system.gap_cause, "no gap", f"the line is broken: {system.gap_cause}"
        )
    return None


def _reconciled(system: SystemRecord) -> Denial | None:
    if system.ready:
        return None
    return Denial(
        "reconciled",
        "not yet",
        "complete answers",
        "the books have not been compared with the broker's since the line came up",
    )


def _gate(proposal: Proposal, _limits: Limits) -> Denial | None:
    """Refuse new orders exactly where our books are known to be wrong (decision D12).

    A closing order passes: to get out must not wait until it is known how much there is. How much
    it may take is for `exposure`.
    """
    if proposal.closing:
        return None
    for left_out in proposal.set_aside:
        if _can_be_about(left_out, proposal):
            return Denial(
                "gate",
                f"event {left_out.sequence}",
                "every event in the books",
                f"event {left_out.sequence} of the log is left out of the books, and can be about"
                " this account and contract; see `oms status`",
            )
    for case in proposal.open_breaks:
        finding = case.finding
        if finding.severity != "high":
            continue
        # What counts others can be about every contract, and every account where it names none.
        if finding.is_rest and finding.account in {"", proposal.account}:
            is_about = True
        else:
            is_about = finding.account == proposal.account
            is_about = is_about and finding.con_id in con_ids_of(proposal.contract)
        if is_about:
            return Denial(
                "gate",
                case.break_id,
                "no open break",
                f"break {case.break_id} ({finding.break_class}) is open for this account and"
                " contract; see `oms breaks`",
            )
    return None


def _can_be_about(left_out: Anomaly, proposal: Proposal) -> bool:
    """Say whether an event can be about this account and contract: what it does not name, it can
    be about.
    """
    if left_out.account not in {"", proposal.account}:
        return False
    contract = proposal.contract
    moved = con_ids_of(contract)
    if left_out.con_id and 0 not in moved:
        return left_out.con_id in moved
    # The symbol of a combo says nothing of its legs.
    return left_out.symbol in {"", contract.symbol} or bool(contract.legs)


HALT: Final = Rule(
    name="halt",
    reads="whether a person has halted trading",
    refuses="every new order and every change while trading is halted",
    refuse=lambda proposal, _limits: _halted(proposal.system),
    changes=True,
)
CONNECTED: Final = Rule(
    name="connected",
    reads="the session, and whether the line has a gap",
    refuses="every order while there is no whole line to IB",
    refuse=lambda proposal, _limits: _connected(proposal.system),
)
RECONCILED: Final = Rule(
    name="reconciled",
    reads="whether the books were compared since the line came up",
    refuses="every order before the broker's answers are complete",
    refuse=lambda proposal, _limits: _reconciled(proposal.system),
)
GATE: Final = Rule(
    name="gate",
    reads="open breaks of high severity, and events that are left out of the books",
    refuses="an order where our books of this account and contract are known to be wrong; a closing"
    " order passes",
    refuse=_gate,
    missing=unidentified,
)
