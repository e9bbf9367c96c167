"""The gap as a pure state machine: when the broker may know things that we do not (decision D10).

Signals go in, actions come out. A gap opens once, whatever the number of reasons (one gateway sent
833 times 1100 in a night), and ends once: with news that the line to IB is restored, or with the
next session. Nothing here decides what to record; what arrives during a gap is recorded like
everything else, and executions do arrive then (INC-01).

A gap that ends always asks for recovery: 1102 says that subscriptions were kept, and orders may
have changed all the same.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final, Literal, assert_never


class Signal(StrEnum):
    """What happened to the line. The members with a number are notices of the gateway."""

    TRANSPORT_UP = "transport_up"
    TRANSPORT_LOST = "transport_lost"
    #: The probe was not answered within its deadline.
    SILENCE = "silence"
    #: Questions about orders were not answered, several times in a row.
    UNANSWERED = "unanswered"
    #: The gap has been open for longer than the session is patient.
    OVERDUE = "overdue"
    #: We closed the line on purpose and stay down.
    CLOSED = "closed"
    IB_LOST = "1100"
    IB_RESTORED_SUBSCRIPTIONS_LOST = "1101"
    IB_RESTORED = "1102"
    PORT_CHANGED = "1300"
    SERVER_LOST = "2110"


_SIGNAL_OF_CODE: Final = {int(signal): signal for signal in Signal if signal.isdigit()}


def signal_of_code(code: int) -> Signal | None:
    """Return what a notice says about the line, or None where it says nothing about it."""
    return _SIGNAL_OF_CODE.get(code)


@dataclass(frozen=True, slots=True)
class OpenGap:
    """From here on the broker may know things that we do not."""

    cause: str


@dataclass(frozen=True, slots=True)
class Recover:
    """The line is whole again: close the gap and ask the broker what happened in it."""

    cause: str
    subscriptions_lost: bool


@dataclass(frozen=True, slots=True)
class GiveUp:
    """This connection has no future: close it, and connect again."""

    reason: str


Action = OpenGap | Recover | GiveUp
#: away: no session yet, or closed on purpose. whole: nothing missing. cut_off: the gateway is
#: there, IB behind it is not. leaving: given up, the socket is about to close. down: no socket.
Phase = Literal["away", "whole", "cut_off", "leaving", "down"]


@dataclass(frozen=True, slots=True)
class GapState:
    """What we know of the line to IB, and whether a gap is open."""

    phase: Phase = "away"
    #: Why the present gap opened; None while there is none.
    cause: str | None = None
    #: News of the loss that came after the first, and changed nothing.
    repeats: int = 0

    @property
    def gap_is_open(self) -> bool:
        """Say whether the broker may know things that we do not."""
        return self.cause is not None


def step(state: GapState, signal: Signal) -> tuple[GapState, tuple[Action, ...]]:
    """Return the state after a signal, and what has to be done, in order."""
    match signal:
        case Signal.TRANSPORT_UP:
            return _transport_up(state)
        case Signal.TRANSPORT_LOST:
            return _lose(state, "down", signal)
        case Signal.IB_LOST | Signal.SERVER_LOST:
            if state.phase == "whole":
                return _lose(state, "cut_off", signal)
            return replace(state, repeats=state.repeats + 1), ()
        case Signal.IB_RESTORED | Signal.IB_RESTORED_SUBSCRIPTIONS_LOST:
            return _restored(state, signal)
        case Signal.PORT_CHANGED:
            return _give_up(state, signal)
        case Signal.SILENCE | Signal.UNANSWERED:
            # TWS passes questions on to IB, so that silence is expected while IB is out of reach;
            # a dead socket under a dead line is found by OVERDUE.
            return (state, ()) if state.phase == "cut_off" else _give_up(state, signal)
        case Signal.OVERDUE:
            return _give_up(state, signal)
        case Signal.CLOSED:
            return GapState(), ()
    assert_never(signal)


def _transport_up(state: GapState) -> tuple[GapState, tuple[Action, ...]]:
    whole = GapState("whole")
    if not state.gap_is_open:
        return whole, ()
    # Subscriptions belong to the socket that carried them.
    return whole, (Recover(Signal.TRANSPORT_UP.value, subscriptions_lost=True),)


def _lose(state: GapState, phase: Phase, signal: Signal) -> tuple[GapState, tuple[Action, ...]]:
    if state.phase == "away":
        return state, ()
    if state.gap_is_open:
        return replace(state, phase=phase), ()
    return GapState(phase, signal.value), (OpenGap(signal.value),)


def _restored(state: GapState, signal: Signal) -> tuple[GapState, tuple[Action, ...]]:
    recover = Recover(signal.value, signal is Signal.IB_RESTORED_SUBSCRIPTIONS_LOST)
    match state.phase:
        case "cut_off":
            return GapState("whole"), (recover,)
        case "whole":
            # Restored without ever having been reported as lost (INC-03): there was a gap.
            return state, (OpenGap(f"{signal.value} unannounced"), recover)
        case "away" | "leaving" | "down":
            return state, ()
    assert_never(state.phase)


def _give_up(state: GapState, signal: Signal) -> tuple[GapState, tuple[Action, ...]]:
    match state.phase:
        case "whole":
            return GapState("leaving", signal.value), (OpenGap(signal.value), GiveUp(signal.value))
        case "cut_off":
            return replace(state, phase="leaving"), (GiveUp(signal.value),)
        case "away" | "leaving" | "down":
            return state, ()
    assert_never(state.phase)
