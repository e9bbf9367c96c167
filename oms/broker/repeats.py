"""Messages that cannot be read and come again word for word: counted, and stored now and then.

A gateway that repeats one for as long as it runs would fill the log with one text. It is stored
when it comes for the first, second, fourth, eighth ... time, each with how often it came since, so
that a hundred thousand are seventeen events. What came since the last of them is lost with the
process.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from oms.broker.sink import Durable

#: Texts that are remembered; one that comes again after so many others is stored as if new.
TEXTS_MAX: Final = 1_000


@dataclass(slots=True)
class Repeat:
    """One text, and how often it came."""

    times: int = 0
    stored_times: int = 0
    #: Of the event that keeps it; None before the first.
    durable: Durable | None = None

    @property
    def unstored_times(self) -> int:
        """Return how often it came that no event has counted."""
        return self.times - self.stored_times

    def stored(self, durable: Durable) -> None:
        """Note that an event counts all of it up to now."""
        self.stored_times, self.durable = self.times, durable


class Repeats:
    """The texts that came last."""

    def __init__(self) -> None:
        self._seen: OrderedDict[bytes, Repeat] = OrderedDict()

    def came(self, wire: tuple[str, ...]) -> Repeat:
        """Count a text, and return it."""
        text = "\0".join(wire).encode("utf-8", "surrogatepass")
        key = hashlib.sha256(text).digest()
        found = self._seen.setdefault(key, Repeat())
        self._seen.move_to_end(key)
        if len(self._seen) > TEXTS_MAX:
            self._seen.popitem(last=False)
        found.times += 1
        return found


def is_stored(times: int) -> bool:
    """Say whether a text is stored when it comes so often: a power of two."""
    return times & (times - 1) == 0
