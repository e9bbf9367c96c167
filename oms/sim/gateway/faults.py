"""Faults as values: what goes wrong on purpose, for which messages, how often.

A `Fault` is matched against every frame in or out.  The first that matches is used up by one and
says what to do; the session does it.  Nothing here is random by itself: a probability is drawn from
the generator the plan was given, so that a seed replays a run.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from oms.sim.protocol.messages import LAYOUTS
from oms.sim.protocol.requests import NAMES

ACTIONS: Final = (
    "drop",
    "delay",
    "duplicate",
    "reorder",
    "truncate",
    "corrupt",
    "hold",
    "hold_answer",
    "refuse",
    "cut",
    "edit",
)
INCOMING: Final = frozenset(ACTIONS)
OUTGOING: Final = frozenset(ACTIONS) - {"hold_answer", "refuse"}


@dataclass(slots=True)
class Fault:
    """One thing that goes wrong.

    direction   in (from a client) or out (to a client)
    message     IB's name of the message, or * for any
    do          one of `ACTIONS`
    times       how often it happens; None for until it is taken back
    after       so many matching messages pass first
    probability of happening at each match, 0 to 1
    client_id   only this client's messages
    where       only messages in which these fields have these texts
    set         edit: these fields get these texts
    seconds     delay: how long
    at_byte     truncate, corrupt, cut: where in the frame
    code, text  refuse: the error that is answered
    """

    direction: str
    message: str
    do: str
    times: int | None = 1
    after: int = 0
    probability: float = 1.0
    client_id: int | None = None
    where: Mapping[str, str] = field(default_factory=dict)
    set: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    at_byte: int = 0
    code: int = 0
    text: str = ""
    number: int = 0

    def fits(
        self, direction: str, message: str, client_id: int | None, values: Mapping[str, Any]
    ) -> bool:
        return (
            direction == self.direction
            and self.message in ("*", message)
            and self.client_id in (None, client_id)
            and all(str(values.get(name, "")) == text for name, text in self.where.items())
        )


class FaultPlan:
    """The faults in force, in the order in which they were given."""

    def __init__(self, seed: int = 0) -> None:
        self._rng = random.Random(f"faults:{seed}")
        self._numbers = itertools.count(1)
        self.faults: list[Fault] = []

    def add(self, fault: Fault) -> Fault:
        if fault.direction not in ("in", "out"):
            raise ValueError(f"{fault.direction!r} is not a direction: in, out")
        possible = INCOMING if fault.direction == "in" else OUTGOING
        if fault.do not in possible:
            known = ", ".join(sorted(possible))
            raise ValueError(f"{fault.do!r} is no fault of {fault.direction}: {known}")
        known_messages = NAMES.values() if fault.direction == "in" else LAYOUTS.keys()
        if fault.message != "*" and fault.message not in known_messages:
            side = "clients send" if fault.direction == "in" else "the gateway sends"
            raise ValueError(f"{fault.message!r} is no message that {side}")
        fault.number = next(self._numbers)
        self.faults.append(fault)
        return fault

    def remove(self, chosen: Iterable[Fault]) -> None:
        gone = {fault.number for fault in chosen}
        self.faults = [fault for fault in self.faults if fault.number not in gone]

    def strike(
        self, direction: str, message: str, client_id: int | None, values: Mapping[str, Any]
    ) -> Fault | None:
        """The fault that hits this message, used up by one; None lets it pass."""
        for fault in self.faults:
            if not fault.fits(direction, message, client_id, values):
                continue
            if fault.after > 0:
                fault.after -= 1
                continue
            if fault.probability < 1.0 and self._rng.random() >= fault.probability:
                continue
            if fault.times is not None:
                fault.times -= 1
                if fault.times <= 0:
                    self.remove([fault])
            return fault
        return None


def weather(rate: float) -> list[Fault]:
    """Faults of every kind that a client must live with, each at `rate` of the chances.

    The seed of the plan decides which messages they hit.
    """
    faults = [
        Fault("out", message, do, times=None, probability=rate, seconds=0.05)
        for message in ("openOrder", "orderStatus", "execDetails", "commissionReport")
        for do in ("drop", "duplicate", "delay", "reorder")
    ]
    for message in ("placeOrder", "cancelOrder", "reqOpenOrders", "reqExecutions", "reqPositions"):
        faults.append(Fault("in", message, "delay", times=None, probability=rate, seconds=0.05))
        faults.append(Fault("in", message, "drop", times=None, probability=rate / 2))
        faults.append(Fault("in", message, "reorder", times=None, probability=rate / 2))
        faults.append(Fault("in", message, "truncate", times=None, probability=rate / 8))
        faults.append(Fault("in", message, "cut", times=None, probability=rate / 4))
    faults.append(Fault("out", "*", "cut", times=None, probability=rate / 20, at_byte=7))
    return faults
