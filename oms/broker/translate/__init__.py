"""Wire fields to facts; see `messages` for what is promised."""

from __future__ import annotations

from oms.broker.translate.details import CONTRACT_DETAILS, with_exchange_day
from oms.broker.translate.messages import (
    DECODER,
    NEWEST_VERSION,
    OLDEST_VERSION,
    Unreadable,
    translate,
    unreadable,
)
from oms.broker.translate.zones import offset_shown

__all__ = [
    "CONTRACT_DETAILS",
    "DECODER",
    "NEWEST_VERSION",
    "OLDEST_VERSION",
    "Unreadable",
    "offset_shown",
    "translate",
    "unreadable",
    "with_exchange_day",
]
