"""The few words and signs that the pages add to those of the reports.

A state is always a word; the sign beside it and the colour behind it only help the eye.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final, Literal

from oms.core.events import Verdict
from oms.core.money import plain
from oms.core.records import BreakCase, OrderState
from oms.report.words import duration

Level = Literal["ok", "degraded", "down"]
Tone = Literal["clean", "broken", "unknown", "quiet", "live"]

#: A clock that is ahead by less than this is no news.
SKEW_MAX: Final = timedelta(seconds=2)


@dataclass(frozen=True, slots=True)
class Mark:
    """How a state is shown."""

    word: str
    sign: str
    tone: Tone


LEVELS: Final[dict[Level, Mark]] = {
    "ok": Mark("All is well", "✓", "clean"),
    "degraded": Mark("Needs a look", "!", "unknown"),
    "down": Mark("Down", "✕", "broken"),
}

VERDICT_MARKS: Final[dict[Verdict, Mark]] = {
    "clean": Mark("clean", "✓", "clean"),
    "broken": Mark("broken", "✕", "broken"),
    "unknown": Mark("unknown", "?", "unknown"),
}
RUNNING: Final = Mark("under way", "…", "quiet")

_STATES: Final[dict[OrderState, tuple[str, Tone]]] = {
    OrderState.INTENDED: ("…", "quiet"),
    OrderState.DENIED: ("✕", "broken"),
    OrderState.NOT_SENT: ("–", "quiet"),
    OrderState.IN_FLIGHT: ("…", "live"),
    OrderState.WORKING: ("●", "live"),
    OrderState.PARTIALLY_FILLED: ("◐", "live"),
    OrderState.MODIFY_PENDING: ("…", "live"),
    OrderState.CANCEL_PENDING: ("…", "live"),
    OrderState.HELD: ("‖", "unknown"),
    OrderState.FILLED: ("✓", "clean"),
    OrderState.CANCELLED: ("–", "quiet"),
    OrderState.REJECTED: ("✕", "broken"),
    OrderState.EXPIRED: ("–", "quiet"),
    OrderState.IN_DOUBT: ("?", "unknown"),
}

_SEVERITIES: Final[dict[str | None, tuple[str, Tone]]] = {
    "high": ("▲", "broken"),
    "medium": ("◆", "unknown"),
    "low": ("▽", "quiet"),
    None: ("▽", "quiet"),
}


def state_mark(state: OrderState) -> Mark:
    """Return how the state of an order is shown."""
    sign, tone = _STATES[state]
    return Mark(state.value.replace("_", " ").lower(), sign, tone)


def severity_mark(severity: str | None) -> Mark:
    """Return how the severity of a break is shown."""
    sign, tone = _SEVERITIES[severity]
    return Mark(severity or "not rated", sign, tone)


def case_mark(case: BreakCase) -> Mark:
    """Return how the life of a case is shown."""
    return Mark("open", "▲", "broken") if case.live else Mark("closed", "✓", "quiet")


def ago(at: datetime, now: datetime) -> str:
    """Return how old something is; a time to come says so, because then two clocks disagree."""
    age = now - at
    if age < -SKEW_MAX:
        return f"{duration(-age)} in the future"
    return f"{duration(max(age, timedelta()))} ago"


def grouped(number: Decimal | int | None) -> str:
    """Return a number with its thousands apart, in full; "" for None."""
    whole, point, fraction = plain(Decimal(number) if number is not None else None).partition(".")
    return (
        f"{int(whole):,}{point}{fraction}" if whole not in {"", "-0"} else whole + point + fraction
    )
