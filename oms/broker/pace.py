"""The one pace of everything that leaves: never more than a number in any second, as IB counts.

IB counts all messages of a session, orders and questions alike, refuses what is too much (code 100)
and ends the session at the third time. So whatever leaves stands in a *lane* before its turn, and
the lanes go by their rank: orders, then questions, then market data. A lane uses no more than its
share while nobody starves, so that an order finds room at once while a hundred questions wait; and
a lane that others have overtaken so often goes next, so that a basket of orders holds no question
for ever.

The window is a little longer than a second, and what had to wait leaves in slices of a tenth of it,
because messages do not travel equally fast: a gateway that stalls for a moment would otherwise find
the bursts of two seconds in one. For the same reason what finds room at once is counted over two
windows. The gateway's word is the last one: at a refusal
nothing leaves for a window, then messages go at half the pace, and step by step as before.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from oms.clock import Clock
from oms.telemetry import get_logger

_WINDOW_SECONDS: Final = 1.1
#: What waits leaves in so many slices a window; a slow pace is no burst and needs none.
_SLICES: Final = 10
_SLICE_SECONDS: Final = _WINDOW_SECONDS / _SLICES
_SLICED_FROM: Final = 20
#: A timer may ring a hair early; the least delay keeps that from becoming a busy loop.
_LEAST_DELAY_SECONDS: Final = 0.001
#: A lane that waits goes next after so many messages of others.
_OVERTAKEN_MAX: Final = 9
#: After a refusal the pace grows by a quarter of the allowed one, each time that so long passed.
RECOVERY_STEP_SECONDS: Final = 30.0

_log = get_logger("broker.pace")


class Timer(Protocol):
    """Calls back later, like `loop.call_later`."""

    def __call__(self, delay: float, callback: Callable[[], None], /) -> object: ...


class Lane(Protocol):
    """Messages of one kind that wait for their turn."""

    def __len__(self) -> int:
        """Return how many wait."""
        ...

    @property
    def is_held(self) -> bool:
        """Say whether what waits may not leave this moment, whatever the pace; asked again soon."""
        ...

    def send_next(self) -> None:
        """Hand one message at most to the socket; one that nobody wants any more may fall away."""
        ...


def _call_later(delay: float, callback: Callable[[], None], /) -> object:
    return asyncio.get_running_loop().call_later(delay, callback)


@dataclass(slots=True, eq=False)
class _Place:
    lane: Lane
    percent: int
    overtaken: int = 0

    @property
    def starves(self) -> bool:
        return self.overtaken >= _OVERTAKEN_MAX


class Pace:
    """Gives every message of a session its turn."""

    def __init__(
        self, clock: Clock, *, per_second_max: int, call_later: Timer = _call_later
    ) -> None:
        self._clock = clock
        self._per_second_max = per_second_max
        self._call_later = call_later
        self._places: list[_Place] = []
        #: The same by the identity of the lane.
        self._by_lane: dict[int, _Place] = {}
        self._sent_at: deque[float] = deque()
        self._wake_at: float | None = None
        #: Those that left without waiting, as bursts do.
        self._direct_at: deque[float] = deque()
        #: How many more may leave in the slice of time that began then.
        self._slice_left, self._slice_at = 0, -_SLICE_SECONDS
        #: While IB has refused messages lately: the pace after that, and since when.
        self._slowed_to: int | None = None
        self._slowed_at = 0.0
        #: The pace that was refused, and how often in one window.
        self._refused_at, self._refusals = per_second_max, 0

    def add(self, lane: Lane, *, percent: int = 100) -> None:
        """Take a lane in, after those that are there, with a share of the pace."""
        self._by_lane[id(lane)] = place = _Place(lane, percent)
        self._places.append(place)

    def note_sent(self) -> None:
        """Count a message that leaves now, whether or not it had a turn."""
        self._sent_at.append(self._clock.monotonic())

    def takes_turn(self, lane: Lane) -> bool:
        """Say whether a message of a lane where none waits may leave this moment; it then must."""
        place, waiting = self._by_lane[id(lane)], self._waiting()
        if not self._has_room(place) or any(one.starves for one in waiting) or self._has_burst():
            return False
        self._direct_at.append(self._clock.monotonic())
        for one in waiting:
            one.overtaken += 1
        return True

    def serve(self) -> None:
        """Send what waits, as far as the pace allows, and go on by a timer."""
        now = self._clock.monotonic()
        if now >= self._slice_at + _SLICE_SECONDS:
            limit = self._per_second_max
            self._slice_left = limit if limit < _SLICED_FROM else -(-limit // _SLICES)
            self._slice_at = now
        try:
            while self._slice_left and (place := self._next()) is not None:
                self._slice_left -= 1
                self._overtake(place)
                place.lane.send_next()
        finally:
            # A message that cannot be written must not hold up those behind it.
            self.schedule()

    def schedule(self) -> None:
        """Have what waits served as soon as the pace allows."""
        now = self._clock.monotonic()
        times = [self._ready_at(place, now) for place in self._waiting()]
        if any(len(place.lane) and place.lane.is_held for place in self._places):
            times.append(now + _SLICE_SECONDS)
        ready_at = min(times, default=None)
        if ready_at is not None and not self._slice_left:
            ready_at = max(ready_at, self._slice_at + _SLICE_SECONDS)
        if ready_at is None or (self._wake_at is not None and self._wake_at <= ready_at):
            return
        self._wake_at = ready_at
        self._call_later(max(_LEAST_DELAY_SECONDS, ready_at - now), self._wake)

    def refused(self) -> None:
        """Take IB's word that too many messages came in a second: send nothing for a window, then
        half as many (a third, where it says so twice), and step by step as many as before.
        """
        now = self._clock.monotonic()
        if self._is_closed(now):
            # About a message that had left already: so many parts of one second were each too much.
            self._refusals += 1
        else:
            self._refused_at, self._refusals, self._slowed_at = self._limit(now), 1, now
        self._slowed_to = max(1, self._refused_at // (self._refusals + 1))
        _log.warning("pace_slowed", per_second_max=self._slowed_to, waiting=self._count_waiting())

    # ── whose turn it is ─────────────────────────────────────────────────────────────────────────

    def _next(self) -> _Place | None:
        waiting = [place for place in self._waiting() if self._has_room(place)]
        starving = [place for place in waiting if place.starves]
        return next(iter(starving or waiting), None)

    def _waiting(self) -> list[_Place]:
        return [place for place in self._places if len(place.lane) and not place.lane.is_held]

    def _count_waiting(self) -> int:
        return sum(len(place.lane) for place in self._places)

    def _overtake(self, place: _Place) -> None:
        place.overtaken = 0
        for other in self._places:
            if other is not place:
                other.overtaken = other.overtaken + 1 if len(other.lane) else 0

    # ── room ─────────────────────────────────────────────────────────────────────────────────────

    def _has_room(self, place: _Place) -> bool:
        now, sent_at = self._clock.monotonic(), self._sent_at
        while sent_at and sent_at[0] + _WINDOW_SECONDS <= now:
            sent_at.popleft()
        return len(sent_at) < self._share(place, now) and not self._is_closed(now)

    def _has_burst(self) -> bool:
        """Say whether as much left at once lately as may: the next second's messages then leave in
        slices, or a gateway that stalls would count two bursts in one second.
        """
        now, direct_at = self._clock.monotonic(), self._direct_at
        while direct_at and direct_at[0] + 2 * _WINDOW_SECONDS <= now:
            direct_at.popleft()
        limit = self._limit(now)
        return limit >= _SLICED_FROM and len(direct_at) >= limit

    def _is_closed(self, now: float) -> bool:
        return self._slowed_to is not None and now < self._slowed_at + _WINDOW_SECONDS

    def _share(self, place: _Place, now: float) -> int:
        limit = self._per_second_max if self._slowed_to is None else self._limit(now)
        is_whole = place.percent == 100 or place.starves
        return limit if is_whole else max(1, limit * place.percent // 100)

    def _limit(self, now: float) -> int:
        if self._slowed_to is None:
            return self._per_second_max
        steps = int((now - self._slowed_at) / RECOVERY_STEP_SECONDS)
        limit = self._slowed_to + steps * max(1, self._per_second_max // 4)
        if not steps or limit < self._per_second_max:
            return limit
        self._slowed_to = None
        _log.info("pace_restored", per_second_max=self._per_second_max)
        return self._per_second_max

    def _ready_at(self, place: _Place, now: float) -> float:
        """Return when a lane has room again: when so many of the messages sent are old enough."""
        too_many = len(self._sent_at) - self._share(place, now)
        ready_at = self._sent_at[too_many] + _WINDOW_SECONDS if too_many >= 0 else now
        return max(ready_at, self._slowed_at + _WINDOW_SECONDS) if self._slowed_to else ready_at

    def _wake(self) -> None:
        self._wake_at = None
        self.serve()
