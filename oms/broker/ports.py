"""What the broker room needs from its neighbours: a place to put facts.

The room knows the log only by this shape, so that it can be tested without one and imports nothing
of the store.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, Protocol

from oms.core.events import Pending


class Receipt(Protocol):
    """Where a fact stands in the log."""

    @property
    def sequence(self) -> int:
        """The index of the fact, or of the equal one that was there before it."""
        ...

    @property
    def duplicate(self) -> bool:
        """True where the same fact was in the log already and was not stored again."""
        ...


class Durable(Protocol):
    """An `asyncio.Future` of a receipt: resolves when the fact is on disk."""

    def __await__(self) -> Generator[Any, None, Receipt]: ...

    def done(self) -> bool:
        """Say whether the append has ended, one way or the other."""
        ...

    def result(self) -> Receipt:
        """Return the receipt, or raise why there is none."""
        ...

    def exception(self) -> BaseException | None:
        """Return why the append failed, or None."""
        ...

    def add_done_callback(self, fn: Callable[[Any], object], /) -> None:
        """Call `fn` with the future when the append has ended."""
        ...


class Sink(Protocol):
    """The log, as the broker room sees it.

    Facts are stored in the order of the calls. Once an append has failed, every later one fails:
    nothing is skipped.
    """

    def append(self, pending: Pending, /) -> Durable:
        """Hand a fact over, synchronously; raises `StoreError` where it cannot be taken."""
        ...
