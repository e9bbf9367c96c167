"""Faults as values: which messages they hit, how often, and what cannot be one."""

from __future__ import annotations

import pytest

from oms.sim.gateway.faults import (
    ACTIONS,
    Action,
    Direction,
    Fault,
    FaultPlan,
    Ratio,
    action_of,
    direction_of,
    random_faults,
)

IN, OUT = Direction.IN, Direction.OUT


def test_a_fault_is_used_up_and_lets_others_pass() -> None:
    plan = FaultPlan(1)
    wanted = {"orderRef": "a"}
    plan.add(Fault(Direction.IN, "placeOrder", Action.DROP, times=2, after=1, where=wanted))
    hits = [
        plan.strike(Direction.IN, "placeOrder", 1, {"orderRef": ref}) is not None
        for ref in ("a", "b", "a", "a", "a")
    ]
    assert hits == [False, False, True, True, False]
    assert plan.faults == []


def test_a_probability_is_drawn_from_the_seed() -> None:
    def hits(seed: int) -> list[bool]:
        plan = FaultPlan(seed)
        plan.add(Fault(OUT, "openOrder", Action.DROP, times=None, probability=Ratio(0.5)))
        return [plan.strike(OUT, "openOrder", 1, {}) is not None for _ in range(50)]

    assert hits(7) == hits(7)
    assert hits(7) != hits(8)
    assert 10 < sum(hits(7)) < 40


def test_the_fault_that_was_given_first_hits() -> None:
    plan = FaultPlan()
    first, second = (plan.add(Fault(OUT, "*", action)) for action in (Action.DROP, Action.EDIT))
    assert [plan.strike(OUT, "errMsg", None, {}) for _ in range(3)] == [first, second, None]


def test_a_fault_that_is_taken_back_hits_no_more() -> None:
    plan = FaultPlan()
    plan.remove([plan.add(Fault(OUT, "*", Action.DROP, times=None))])
    assert plan.strike(OUT, "errMsg", 1, {}) is None


def test_what_a_client_hears_is_never_refused() -> None:
    assert ACTIONS[IN] - ACTIONS[OUT] == {Action.REFUSE, Action.HOLD_ANSWER}
    with pytest.raises(ValueError, match="'refuse' is no fault of out: corrupt, cut, delay"):
        action_of(OUT, "refuse")
    assert action_of(IN, "refuse") is Action.REFUSE


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (Fault(OUT, "errMsg", Action.REFUSE), "no fault of out"),
        (Fault(OUT, "placeOrder", Action.DROP), "no message that the gateway sends"),
        (Fault(IN, "errMsg", Action.DROP), "no message that clients send"),
    ],
)
def test_a_fault_that_could_never_happen_is_refused(fault: Fault, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        FaultPlan().add(fault)


@pytest.mark.parametrize("part", [-0.1, 1.1, float("nan")])
def test_a_ratio_is_a_part_of_one(part: float) -> None:
    with pytest.raises(ValueError, match="0 to 1"):
        Ratio(part)


def test_a_direction_is_in_or_out() -> None:
    assert direction_of("in") is IN
    with pytest.raises(ValueError, match="'up' is not a direction: in, out"):
        direction_of("up")


def test_every_random_fault_is_one_that_can_happen() -> None:
    plan = FaultPlan()
    for fault in random_faults(Ratio(1.0)):
        plan.add(fault)
    assert {fault.action for fault in plan.faults} >= {Action.DROP, Action.CUT, Action.REORDER}
