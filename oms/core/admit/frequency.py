"""Rules about how often: orders in a minute, orders at work, and the same order again."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from oms.core.admit.limits import Limits
from oms.core.admit.proposal import Proposal, likeness
from oms.core.admit.rule import Denial, Rule, unidentified
from oms.core.money import plain

RATE_SECONDS: Final = 60


def looks_back(limits: Limits) -> timedelta | None:
    """Return how long back the rules look under these limits; None where none does."""
    window = limits.duplicate_window
    if limits.orders_per_minute_max is not None:
        window = max(window, timedelta(seconds=RATE_SECONDS))
    return window or None


def _rate(proposal: Proposal, limits: Limits) -> Denial | None:
    most = limits.orders_per_minute_max
    if most is None or proposal.now is None:
        return None
    since = proposal.now - timedelta(seconds=RATE_SECONDS)
    count = sum(one.at > since for one in proposal.recent) + proposal.ahead + 1
    if count <= most:
        return None
    text = f"it would be order {count} within {RATE_SECONDS} seconds; {most} are allowed"
    return Denial("rate", str(count), str(most), text)


def _open_orders(proposal: Proposal, limits: Limits) -> Denial | None:
    most = limits.open_orders_max.of(proposal.account, proposal.contract)
    count = proposal.open_orders + 1
    if most is None or count <= most:
        return None
    text = (
        f"it would be order {count} at work in {proposal.contract.symbol} for"
        f" {proposal.account}; {plain(most)} are allowed"
    )
    return Denial("open_orders", str(count), plain(most), text)


def _duplicate(proposal: Proposal, limits: Limits) -> Denial | None:
    if not limits.duplicate_window or proposal.now is None:
        return None
    since = proposal.now - limits.duplicate_window
    like = likeness(proposal.account, proposal.contract, proposal.terms)
    for one in reversed(proposal.recent):
        if one.at > since and one.likeness == like:
            age = (proposal.now - one.at).total_seconds()
            window = _window_text(limits)
            text = (
                f"order {one.order_id} asked for the same {age:.1f} s ago; within {window} that is"
                " taken for a mistake"
            )
            return Denial("duplicate", one.order_id, window, text)
    return None


def _window_text(limits: Limits) -> str:
    seconds = limits.duplicate_window.total_seconds()
    return f"{seconds:g} s" if seconds else ""


OPEN_ORDERS: Final = Rule(
    name="open_orders",
    reads="our live orders of the account and contract",
    refuses="one more order than may be at work",
    settings=("open_orders_max",),
    refuse=_open_orders,
    limit=lambda p, limits: plain(limits.open_orders_max.of(p.account, p.contract)),
    missing=unidentified,
)
RATE: Final = Rule(
    name="rate",
    reads="the intents of the last 60 seconds in the log",
    refuses="one more order than may be sent in a minute",
    settings=("orders_per_minute_max",),
    refuse=_rate,
    limit=lambda _proposal, limits: str(limits.orders_per_minute_max or ""),
)
DUPLICATE: Final = Rule(
    name="duplicate",
    reads="the intents of the last while in the log",
    refuses="the same order again (account, side, contract, quantity, type, prices) within so long",
    settings=("order_duplicate_seconds",),
    refuse=_duplicate,
    limit=lambda _proposal, limits: _window_text(limits),
    missing=unidentified,
)
