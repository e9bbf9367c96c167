"""The log as the broker room sees it: a place to put facts, so that the room can be tested without
one and imports nothing of the store.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

from oms.core.events import Pending
from oms.core.receipt import Receipt

#: Resolves when a fact is on disk.
Durable = asyncio.Future[Receipt]


class Sink(Protocol):
    """Facts are stored in the order of the calls. Once an append has failed, every later one fails:
    nothing is skipped.
    """

    @property
    def waiting(self) -> int:
        """Return how many facts were handed over and are not durable yet."""
        ...

    def append(self, pending: Pending, /) -> Durable:
        """Hand a fact over, synchronously; raises `StoreError` where it cannot be taken."""
        ...
