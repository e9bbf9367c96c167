"""The few words and signs that the pages add to those of the reports.

A state is always a word; the sign beside it and the colour behind it only help the eye.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Final, Literal

from oms.core import situation
from oms.core.events import Verdict
from oms.core.fold.records import BreakCase, Order, OrderState
from oms.core.money import plain
from oms.core.situation import Level

Tone = Literal["clean", "broken", "unknown", "quiet", "live"]


@dataclass(frozen=True, slots=True)
class Badge:
    """How a state is shown."""

    word: str
    sign: str
    tone: Tone


LEVELS: Final[dict[Level, Badge]] = {
    "ok": Badge(situation.LEVELS["ok"], "✓", "clean"),
    "degraded": Badge(situation.LEVELS["degraded"], "!", "unknown"),
    "down": Badge(situation.LEVELS["down"], "✕", "broken"),
}


@dataclass(frozen=True, slots=True)
class Icon:
    """What the browser's tab shows of a page."""

    sign: str
    colour: str


ICONS: Final = {
    "ok": Icon("✓", "#17694a"),
    "degraded": Icon("!", "#b07400"),
    "down": Icon("✕", "#a32020"),
    # A page that was refused says nothing about the state of the whole.
    "unknown": Icon("?", "#5b6675"),
}

VERDICT_BADGES: Final[dict[Verdict, Badge]] = {
    "clean": Badge("clean", "✓", "clean"),
    "broken": Badge("broken", "✕", "broken"),
    "unknown": Badge("unknown", "?", "unknown"),
}
RUNNING: Final = Badge("under way", "…", "quiet")

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


def state_badge(state: OrderState) -> Badge:
    """Return how the state of an order is shown."""
    sign, tone = _STATES[state]
    return Badge(state.value.replace("_", " ").lower(), sign, tone)


def said_by_ib(order: Order) -> str:
    """Return IB's last word on an order, else whether it was asked."""
    if order.status:
        return order.status
    if order.state in {OrderState.DENIED, OrderState.NOT_SENT}:
        return "was not asked"
    return f"refused: {order.code}" if order.state is OrderState.REJECTED else "nothing yet"


def severity_badge(severity: str | None) -> Badge:
    """Return how the severity of a break is shown."""
    sign, tone = _SEVERITIES[severity]
    return Badge(severity or "not rated", sign, tone)


def case_badge(case: BreakCase) -> Badge:
    """Return how the life of a case is shown."""
    return Badge("open", "▲", "broken") if case.live else Badge("closed", "✓", "quiet")


def grouped(number: Decimal | int | None) -> str:
    """Return a number with its thousands apart, in full; "" for None."""
    return grouped_text(plain(Decimal(number))) if number is not None else ""


def grouped_text(text: str) -> str:
    """Return a text of the broker; only the thousands of a number are set apart."""
    whole, point, fraction = text.partition(".")
    sign, digits = ("-", whole[1:]) if whole.startswith("-") else ("", whole)
    if not all(part.isascii() and part.isdecimal() for part in (digits, fraction or "0")):
        return text
    head = len(digits) % 3
    groups = [digits[:head], *(digits[at : at + 3] for at in range(head, len(digits), 3))]
    return sign + ",".join(group for group in groups if group) + point + fraction
