"""IB's pacing of historical questions: how often what may be asked. Pure.

Identical questions within 15 seconds, six and more for the same contract, exchange and kind within
two seconds, more than 60 in ten minutes: each is a violation. It is bars of 30 seconds and less,
and ticks, that are counted; BID_ASK counts twice. (IB: historical data limitations.)
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

from oms.sim.broker.bar_sizes import Size

SMALL_SECONDS: Final = 30
IDENTICAL_SECONDS: Final = 15
SAME_SECONDS, SAME_MAX = 2, 6
ALL_SECONDS, ALL_MAX = 600, 60


@dataclass(frozen=True, slots=True)
class Question:
    """What is counted of a historical question."""

    #: All of it but its id.
    whole: tuple[str, ...]
    con_id: int
    exchange: str
    shows: str

    @property
    def weight(self) -> int:
        """Return how often it counts."""
        return 2 if self.shows == "BID_ASK" else 1


def is_paced(size: Size) -> bool:
    """Say whether bars of this size are counted."""
    return size.within_day and size.seconds <= SMALL_SECONDS


class Pacing:
    """The historical questions of the last ten minutes, of all clients: IB counts by user."""

    def __init__(self) -> None:
        self._asked: deque[tuple[float, Question]] = deque()

    def violated(self, question: Question, now: float) -> bool:
        """Count a question; True when it may not be asked now, and then it does not count."""
        while self._asked and self._asked[0][0] <= now - ALL_SECONDS:
            self._asked.popleft()
        same = (question.con_id, question.exchange, question.shows)
        alike = total = question.weight
        for at, one in self._asked:
            if one.whole == question.whole and at > now - IDENTICAL_SECONDS:
                return True
            if (one.con_id, one.exchange, one.shows) == same and at > now - SAME_SECONDS:
                alike += one.weight
            total += one.weight
        if alike >= SAME_MAX or total > ALL_MAX:
            return True
        self._asked.append((now, question))
        return False
