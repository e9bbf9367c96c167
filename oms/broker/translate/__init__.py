"""Wire fields to facts; see `messages` for what is promised."""

from __future__ import annotations

from oms.broker.translate.messages import NEWEST_VERSION, OLDEST_VERSION, Unreadable, translate
from oms.broker.translate.zones import offset_shown

__all__ = ["NEWEST_VERSION", "OLDEST_VERSION", "Unreadable", "offset_shown", "translate"]
