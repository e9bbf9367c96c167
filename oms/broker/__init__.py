"""The broker room: the only folder that imports ib_async.

`gateway.Gateway` is what the daemon constructs; `core.adapter.BrokerAdapter` is what a trading
engine is written against.
"""

from __future__ import annotations

from oms.core.adapter import BrokerAdapter

__all__ = ["BrokerAdapter"]
