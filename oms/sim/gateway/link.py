"""One direction between a client and the gateway, and what a fault does to what passes there.

The plan decides which message is hit (`faults`); here it is lost, doubled, delayed and so on. What
is bent is the message's payload, never its frame: the stream stays in step. Bytes that are not a
frame at all are sent by the verb `raw_bytes`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from typing import Generic, Protocol, Self, TypeVar, assert_never

from oms.sim.clock import Clock
from oms.sim.gateway.faults import Action, Direction, Fault


class Message(Protocol):
    """What passes: a client's request, or a message for a client."""

    def edited(self, changes: Mapping[str, str]) -> Self:
        """Return the same with other texts in some fields. Raises WireError for no number."""

    def bent(self, bend: Callable[[bytes], bytes]) -> Self:
        """Return the same with another payload. Raises WireError for one that cannot be read."""


M = TypeVar("M", bound=Message)


class Link(Generic[M]):
    """Passes messages on, in their order unless a fault says otherwise.

    `deliver` is given what arrives; `cut` ends the connection at a byte of the message's frame.
    """

    def __init__(
        self,
        direction: Direction,
        clock: Clock,
        *,
        deliver: Callable[[M], None],
        cut: Callable[[M, int], None],
    ) -> None:
        self._direction = direction
        self._clock = clock
        self._deliver = deliver
        self._cut = cut
        self._late: list[M] = []
        self._bytes_left: int | None = None
        #: What waits to be released, in the order in which it came.
        self.held: deque[M] = deque()
        #: True while everything is held.
        self.stopped = False

    # ── messages ─────────────────────────────────────────────────────────────────────────────────

    def take(self, message: M, fault: Fault | None = None) -> None:
        """Pass a message on, or do to it what a fault says.

        A stopped link holds whatever comes, and no fault is asked about it.
        """
        if self.stopped:
            self.held.append(message)
        elif fault is None:
            self._pass(message)
        else:
            self._strike(message, fault)

    def _strike(self, message: M, fault: Fault) -> None:
        match fault.action:
            case Action.DROP | Action.REFUSE:
                # What is refused is answered by who refuses it; it goes no further.
                return
            case Action.DELAY:
                self._clock.call_later(fault.delay.total_seconds(), partial(self._pass, message))
            case Action.DUPLICATE:
                self._pass(message)
                self._pass(message)
            case Action.REORDER:
                self._late.append(message)
            case Action.TRUNCATE:
                self._pass(message.bent(partial(truncated, at_byte=fault.at_byte)))
            case Action.CORRUPT:
                self._pass(message.bent(partial(corrupted, at_byte=fault.at_byte)))
            case Action.EDIT:
                self._pass(message.edited(fault.set))
            case Action.HOLD:
                self.held.append(message)
                # What a client hears keeps its order; what it asks is held one by one.
                self.stopped = self._direction is Direction.OUT
            case Action.HOLD_ANSWER:
                # The answer is held on the link of the other direction.
                self._pass(message)
            case Action.CUT:
                self._cut(message, fault.at_byte)
            case _:
                assert_never(fault.action)

    def _pass(self, message: M) -> None:
        self._deliver(message)
        self.overtaken()

    def overtaken(self) -> None:
        """Deliver what was to come after the next message: that one has passed."""
        late, self._late = self._late, []
        for message in late:
            self._deliver(message)

    def stop(self) -> None:
        """Hold everything from now on."""
        self.stopped = True

    def release(self) -> list[M]:
        """Hold nothing any more, and return what was held."""
        self.stopped = False
        held, self.held = list(self.held), deque()
        return held

    # ── bytes ────────────────────────────────────────────────────────────────────────────────────

    def cut_after(self, count: int) -> None:
        """Let so many more bytes pass, wherever that is in a frame."""
        self._bytes_left = count

    def passing(self, chunk: bytes) -> bytes:
        """Return the part of a chunk that passes before the cut: all of it when there is none."""
        if self._bytes_left is None:
            return chunk
        passes = chunk[: self._bytes_left]
        self._bytes_left -= len(passes)
        return passes

    @property
    def is_cut(self) -> bool:
        """True when every byte has passed that may."""
        return self._bytes_left == 0


def truncated(payload: bytes, *, at_byte: int) -> bytes:
    """Return a payload cut off at a byte; 0 is half-way."""
    return payload[: at_byte or len(payload) // 2]


def corrupted(payload: bytes, *, at_byte: int) -> bytes:
    """Return a payload with another byte at that place; beyond the end it starts again."""
    at = at_byte % len(payload)
    return payload[:at] + (b"#" if payload[at : at + 1] != b"#" else b"$") + payload[at + 1 :]
