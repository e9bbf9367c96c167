"""Wire fields to facts; see `messages` for what is promised."""

from __future__ import annotations

from oms.broker.translate.messages import NEWEST_VERSION, OLDEST_VERSION, Unreadable, translate

__all__ = ["NEWEST_VERSION", "OLDEST_VERSION", "Unreadable", "translate"]
