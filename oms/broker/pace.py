"""How many messages may leave: never more than a number in any second, as IB counts them."""

from __future__ import annotations

from collections import deque
from typing import Final

from oms.clock import Clock

_WINDOW_SECONDS: Final = 1.0
#: A timer may ring a hair early; the least delay keeps that from becoming a busy loop.
_LEAST_DELAY_SECONDS: Final = 0.001


class Pace:
    """Remembers when the messages of the last second left."""

    def __init__(self, clock: Clock, *, per_second_max: int) -> None:
        self._clock = clock
        self._per_second_max = per_second_max
        self._sent_at: deque[float] = deque()

    def note_sent(self) -> None:
        """Count a message that leaves now, whether or not there was room for it."""
        self._sent_at.append(self._clock.monotonic())

    def has_room(self) -> bool:
        """Say whether one more may leave now."""
        now = self._clock.monotonic()
        while self._sent_at and self._sent_at[0] + _WINDOW_SECONDS <= now:
            self._sent_at.popleft()
        return len(self._sent_at) < self._per_second_max

    def delay_seconds(self) -> float:
        """Return how long to wait before asking for room again."""
        # The next message may leave when the one that many messages ago is a second old.
        first = max(0, len(self._sent_at) - self._per_second_max)
        ready_at = self._sent_at[first] + _WINDOW_SECONDS if self._sent_at else 0.0
        return max(_LEAST_DELAY_SECONDS, ready_at - self._clock.monotonic())
