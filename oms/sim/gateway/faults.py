"""Faults as values: what goes wrong on purpose, for which messages, how often.

A `Fault` is matched against every frame in or out. The first that matches is used up by one and
says what to do; the link does it. Nothing here is random by itself: a probability is drawn from
the generator the plan was given, so that a seed replays a run.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Any, Final

from oms.sim.protocol.messages import GREETING, OUTGOING
from oms.sim.protocol.requests import NAMES


class Direction(StrEnum):
    """Which way a message goes."""

    IN = "in"  # from a client
    OUT = "out"  # to a client


class Action(StrEnum):
    """What is done to a message: the reference has a line for each."""

    DROP = "drop"
    DELAY = "delay"
    DUPLICATE = "duplicate"
    REORDER = "reorder"
    TRUNCATE = "truncate"
    CORRUPT = "corrupt"
    HOLD = "hold"
    HOLD_ANSWER = "hold_answer"
    REFUSE = "refuse"
    CUT = "cut"
    EDIT = "edit"


#: The actions that each direction knows.
ACTIONS: Final[Mapping[Direction, frozenset[Action]]] = {
    Direction.IN: frozenset(Action),
    Direction.OUT: frozenset(Action) - {Action.HOLD_ANSWER, Action.REFUSE},
}


@dataclass(frozen=True, slots=True)
class Ratio:
    """A part of the whole. Raises ValueError for what is not 0 to 1."""

    part: float

    def __post_init__(self) -> None:
        if not 0.0 <= self.part <= 1.0:
            raise ValueError(f"{self.part} is no ratio: 0 to 1")


ALWAYS: Final = Ratio(1.0)


@dataclass(slots=True)
class Fault:
    """One thing that goes wrong."""

    direction: Direction
    #: IB's name of the message, or * for any but the frame with the version.
    message: str
    action: Action
    #: How often it happens; None for until it is taken back.
    times: int | None = 1
    #: So many matching messages pass first.
    after: int = 0
    #: The chance of happening at each match.
    probability: Ratio = ALWAYS
    #: Only this client's messages.
    client_id: int | None = None
    #: Only messages in which these fields have these texts.
    where: Mapping[str, str] = field(default_factory=dict)
    #: edit: these fields get these texts.
    set: Mapping[str, str] = field(default_factory=dict)
    #: delay: how long.
    delay: timedelta = timedelta()
    #: truncate, corrupt, cut: where in the frame.
    at_byte: int = 0
    #: refuse: the error that is answered.
    code: int = 0
    text: str = ""
    #: Given by the plan, from 1.
    number: int = 0

    def fits(
        self, direction: Direction, message: str, client_id: int | None, values: Mapping[str, Any]
    ) -> bool:
        """Return True for a message that this fault is meant for."""
        return (
            direction == self.direction
            and (self.message == message or (self.message == "*" and message != GREETING))
            and self.client_id in (None, client_id)
            and all(str(values.get(name, "")) == text for name, text in self.where.items())
        )


def direction_of(text: str) -> Direction:
    """Return the direction of that name. Raises ValueError for any other."""
    if text not in tuple(Direction):
        raise ValueError(f"{text!r} is not a direction: {', '.join(Direction)}")
    return Direction(text)


def action_of(direction: Direction, text: str) -> Action:
    """Return the action of that name. Raises ValueError when the direction has none."""
    possible = ACTIONS[direction]
    if text not in possible:
        known = ", ".join(sorted(possible))
        raise ValueError(f"{text!r} is no fault of {direction}: {known}")
    return Action(text)


class FaultPlan:
    """The faults in force, in the order in which they were given."""

    def __init__(self, seed: int = 0) -> None:
        self._rng = random.Random(f"faults:{seed}")
        self._numbers = itertools.count(1)
        self.faults: list[Fault] = []

    def add(self, fault: Fault) -> Fault:
        """Put a fault in force. Raises ValueError for one that could never happen."""
        action_of(fault.direction, fault.action)
        incoming = fault.direction is Direction.IN
        known_messages = NAMES.values() if incoming else OUTGOING.keys()
        if fault.message != "*" and fault.message not in known_messages:
            side = "clients send" if incoming else "the gateway sends"
            raise ValueError(f"{fault.message!r} is no message that {side}")
        fault.number = next(self._numbers)
        self.faults.append(fault)
        return fault

    def remove(self, chosen: Iterable[Fault]) -> None:
        """Take faults back."""
        gone = {fault.number for fault in chosen}
        self.faults = [fault for fault in self.faults if fault.number not in gone]

    def strike(
        self, direction: Direction, message: str, client_id: int | None, values: Mapping[str, Any]
    ) -> Fault | None:
        """Return the fault that hits this message, used up by one; None lets it pass."""
        for fault in self.faults:
            if not fault.fits(direction, message, client_id, values):
                continue
            if fault.after > 0:
                fault.after -= 1
                continue
            if fault.probability.part < 1.0 and self._rng.random() >= fault.probability.part:
                continue
            if fault.times is not None:
                fault.times -= 1
                if fault.times <= 0:
                    self.remove([fault])
            return fault
        return None


def random_faults(rate: Ratio) -> list[Fault]:
    """Return a fault of every kind that a client must live with, each at `rate` of the chances.

    The seed of the plan decides which messages they hit.
    """
    short = timedelta(milliseconds=50)

    def less(divisor: int) -> Ratio:
        return Ratio(rate.part / divisor)

    faults = [
        Fault(Direction.OUT, message, action, times=None, probability=rate, delay=short)
        for message in ("openOrder", "orderStatus", "execDetails", "commissionReport")
        for action in (Action.DROP, Action.DUPLICATE, Action.DELAY, Action.REORDER)
    ]
    for message in ("placeOrder", "cancelOrder", "reqOpenOrders", "reqExecutions", "reqPositions"):
        faults += [
            Fault(Direction.IN, message, action, times=None, probability=chance, delay=short)
            for action, chance in (
                (Action.DELAY, rate),
                (Action.DROP, less(2)),
                (Action.REORDER, less(2)),
                (Action.TRUNCATE, less(8)),
                (Action.CUT, less(4)),
            )
        ]
    faults.append(
        Fault(Direction.OUT, "*", Action.CUT, times=None, probability=less(20), at_byte=7)
    )
    return faults
