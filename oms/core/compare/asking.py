"""What to ask the broker in a run: everything at first, then what moved or differs anew."""

from __future__ import annotations

from collections.abc import Container, Iterable
from typing import Final

from oms.core.compare.cases import break_id_of
from oms.core.compare.findings import MOVED
from oms.core.events import BreakClass, Finding, QueryKind

#: Executions come after the orders they belong to, positions after the executions that explain
#: them.
QUESTIONS: Final[tuple[QueryKind, ...]] = (
    "open_orders",
    "completed_orders",
    "executions",
    "positions",
    "account_summary",
)
#: What is asked again where a finding about a subject has moved or is new: executions first, to
#: explain what they moved.
_EXPLAINED_BY: Final[dict[str, tuple[QueryKind, ...]]] = {
    "order": ("open_orders", "completed_orders", "executions"),
    "execution": ("executions",),
    "position": ("executions", "positions"),
    "cost": ("executions", "positions"),
    "commission": ("executions",),
    "cash": ("executions", "positions", "account_summary"),
    "account": ("account_summary",),
}
#: Classes that a second look cannot change: a foreign order is there or not.
_SEEN_ONCE: Final[frozenset[BreakClass | None]] = frozenset({"unknown_order", "in_doubt"})


def to_ask_again(
    findings: Iterable[Finding], known: Container[str], *, first: bool
) -> tuple[QueryKind, ...]:
    """Return what to ask again: for what moved, and after the `first` answers for each break that
    is new; `known` are the numbers of open cases.

    A new difference must be seen twice, for the end of an answer can come before its rows (INC-13),
    and what is compared is never quite of one moment.
    """
    subjects = {
        f.subject
        for f in findings
        if (f.result == "unknown" and f.text == MOVED) or (first and _is_new(f, known))
    }
    wanted = {kind for subject in subjects for kind in _EXPLAINED_BY.get(subject, ())}
    return tuple(kind for kind in QUESTIONS if kind in wanted)


def _is_new(finding: Finding, known: Container[str]) -> bool:
    return (
        finding.result == "break"
        and finding.break_class not in _SEEN_ONCE
        and break_id_of(finding) not in known
    )
