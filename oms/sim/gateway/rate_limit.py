"""How many messages a second a client may send: IB refuses more, and the third time ends it."""

from __future__ import annotations

from collections import deque
from typing import Final

BREACHES_MAX: Final = 3


class RateLimit:
    """Counts the messages of one client over the last second."""

    def __init__(self) -> None:
        self._arrivals: deque[float] = deque()
        self._breaches = 0

    def exceeded(self, messages_per_second: int, now: float) -> bool:
        """Count a message; True when it is one too many, and the counting begins anew."""
        self._arrivals.append(now)
        while self._arrivals[0] <= now - 1:
            self._arrivals.popleft()
        if len(self._arrivals) <= messages_per_second:
            return False
        self._arrivals.clear()
        self._breaches += 1
        return True

    @property
    def exhausted(self) -> bool:
        """True when the limit was exceeded so often that the connection ends."""
        return self._breaches >= BREACHES_MAX
