"""How far IB's times can be from ours: what a reading of the gateway's clock says of a moment."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from oms.core.codec import time_text
from oms.core.events import Envelope, ServerTimeRead

UNMEASURED: Final = (
    "the gateway's clock was not measured before this: the error of IB's times is not known"
)


@dataclass(frozen=True, slots=True)
class ClockBound:
    """How far the gateway's clock was from ours at some time, as the reading next to it says."""

    read: Envelope
    #: The gateway's clock less ours, in milliseconds, and by how much that can be wrong.
    offset_ms: int
    error_ms: int

    @classmethod
    def at(cls, moment: datetime, reads: Iterable[Envelope]) -> ClockBound | None:
        """Return what is known for a moment: of some readings, the one that leaves the least open.

        A clock of quartz goes wrong by less than 100 millionths: two, by a five-thousandth of the
        time that lies between reading and moment.
        """
        found = [
            cls(one, one.event.offset_ms, one.event.bound_ms + _drift_ms(moment - one.recorded_at))
            for one in reads
            if isinstance(one.event, ServerTimeRead)
        ]
        return min(found, key=lambda bound: bound.error_ms, default=None)

    @property
    def text(self) -> str:
        """Return it in words."""
        side = "ahead of" if self.offset_ms > 0 else "behind"
        return (
            f"the gateway's clock was {abs(self.offset_ms)} ms {side} ours, off by at most"
            f" {self.error_ms} ms (event {self.read.sequence}, session"
            f" {self.read.context.session_epoch})"
        )


def _drift_ms(apart: timedelta) -> int:
    return -(-abs(apart) // timedelta(milliseconds=5_000))


def clock_text(clock: ClockBound | None) -> str:
    """Return in words how far IB's times can be from ours."""
    return UNMEASURED if clock is None else clock.text


def clock_json(clock: ClockBound | None) -> dict[str, Any] | None:
    """Return a bound as JSON values; None where no clock was read."""
    if clock is None:
        return None
    return {
        "sequence": clock.read.sequence,
        "read_at": time_text(clock.read.recorded_at),
        "offset_ms": clock.offset_ms,
        "error_ms": clock.error_ms,
    }
