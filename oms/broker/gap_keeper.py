"""The gap between our books and the broker's, kept as facts in the log and told as news."""

from __future__ import annotations

from collections.abc import Callable
from typing import assert_never

from oms.broker.news import LineLost, LineRecovered, News
from oms.broker.sink import Durable
from oms.clock import Clock
from oms.core import gap
from oms.core.events import Event, GapClosed, GapOpened


class GapKeeper:
    """Holds the state of the gap, and does what `core.gap` says follows from a signal."""

    def __init__(
        self,
        clock: Clock,
        *,
        append: Callable[[Event], Durable | None],
        publish: Callable[[News], None],
        give_up: Callable[[str], None],
        open_gap_sequence: int,
    ) -> None:
        """`open_gap_sequence` is the fact that opened a gap before this process, or 0."""
        self.state = gap.GapState()
        self._clock = clock
        self._append = append
        self._publish = publish
        self._give_up = give_up
        self._opened_at = clock.monotonic()
        self._opened: Durable | None = None
        self._opened_earlier = open_gap_sequence
        if open_gap_sequence:
            self.state = gap.GapState("down", "away")

    def seconds_open(self) -> float:
        """Return the age of the open gap, or 0."""
        return self._clock.monotonic() - self._opened_at if self.state.gap_is_open else 0.0

    def signal(self, signal: gap.Signal, epoch: int) -> None:
        """Take a signal and do what follows from it."""
        self.state, actions = gap.step(self.state, signal)
        for action in actions:
            match action:
                case gap.OpenGap(cause=cause):
                    self._opened_at = self._clock.monotonic()
                    self._opened = self._append(GapOpened(cause=cause))
                    self._publish(LineLost(epoch, cause))
                case gap.Recover():
                    self._recover(action, epoch)
                case gap.GiveUp(reason=reason):
                    self._give_up(reason)
                case _:
                    assert_never(action)

    def _recover(self, recover: gap.Recover, epoch: int) -> None:
        if self._opened_earlier:
            sequence, self._opened_earlier = self._opened_earlier, 0
            self._close(recover, sequence, epoch)
            return
        opened, self._opened = self._opened, None
        if opened is None:
            return  # the log did not take the opening; it has failed, and said so

        def close(opened: Durable) -> None:
            """GapClosed names the sequence of GapOpened, which is known when that is durable."""
            if opened.exception() is None:
                self._close(recover, opened.result().sequence, epoch)

        opened.add_done_callback(close)

    def _close(self, recover: gap.Recover, opened_sequence: int, epoch: int) -> None:
        self._append(
            GapClosed(
                cause=recover.cause,
                opened_sequence=opened_sequence,
                subscriptions_lost=recover.subscriptions_lost,
            )
        )
        # After a new connection it is SessionUp that calls for a reconciliation.
        if recover.cause != gap.Signal.TRANSPORT_UP.value:
            self._publish(LineRecovered(epoch, recover.cause, recover.subscriptions_lost))
