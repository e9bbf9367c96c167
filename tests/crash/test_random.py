"""Seeded runs: whole days with kills, cuts, faults and other people's trades, then the reckoning.

Goal: what the README promises holds over schedules that nobody thought of. Method: first the
safety phase, a few lives of the OMS that trade at random (`trader`) while the simulator loses,
doubles, delays and reorders messages, and that are killed at a random line of their log; then the
liveness phase, in which the faults are off and a bounded number of runs must make everything equal.
One seed decides which faults exist at all, what is done and where each life ends. The order of
events over a real socket and a real disk is not in its hands, so a replay does the same things and
comes close, not always to the same byte.

    pytest tests/crash/test_random.py --seed 17
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.crash.harness import judge, live, recover
from tests.simulator import Simulator, running_simulator
from tests.world import a_world

pytestmark = [pytest.mark.slow, pytest.mark.crash]

LIVES_MAX = 3
#: Log lines of a life of the trader: about as many as it takes to come to its end.
LINES_MAX = 700
OUTGOING = ("openOrder", "orderStatus", "execDetails", "commissionReport")
QUESTIONS = ("reqAllOpenOrders", "reqCompletedOrders", "reqExecutions", "reqPositions")


async def test_a_day_of_kills_and_faults_ends_with_equal_books(
    tmp_path: Path, run_seed: int
) -> None:
    """Goal and method: see the head of this file."""
    rng = random.Random(run_seed)
    print(f"seed {run_seed}: pytest {__name__} --seed {run_seed}")
    books = str(tmp_path / "books.db")
    options = ("--seed", str(run_seed), "--books", books, "--parts", str(rng.choice((1, 3))))
    async with running_simulator(*options) as simulator, a_world(tmp_path, simulator) as world:
        lives = []
        for number in range(rng.randint(1, LIVES_MAX)):
            await _weather(simulator, rng)
            end = rng.randint(20, LINES_MAX)
            seed = f"{run_seed}:{number}"
            lives.append(await live(world, "random", "*", end, seed=seed))
            print(f"life {number}: killed at line {end}: {lives[-1].killed}")
            # A life that came to its end by itself did so in good order.
            assert lives[-1].killed or lives[-1].exit_code == 0, lives[-1].errors
            await simulator.do("clear")
            await simulator.do("release")
        await recover(world)
        await judge(world, lives)


async def _weather(simulator: Simulator, rng: random.Random) -> None:
    """Draw which faults exist at all, then how often each strikes."""
    for message in OUTGOING:
        for action in ("drop", "duplicate", "delay", "reorder"):
            if rng.random() < 0.2:
                await _fault(simulator, rng, "out", message, action)
    for message in ("placeOrder", "cancelOrder", *QUESTIONS):
        for action in ("drop", "delay"):
            if rng.random() < 0.1:
                await _fault(simulator, rng, "in", message, action)
    if rng.random() < 0.2:
        await _fault(simulator, rng, "out", "*", "cut", rarer=20)


async def _fault(
    simulator: Simulator,
    rng: random.Random,
    direction: str,
    message: str,
    action: str,
    *,
    rarer: int = 1,
) -> None:
    # Pushes get lost, rows of an answer do not: with its end, an answer is whole.
    pushed = {"where": {"reqId": "-1"}} if message == "execDetails" else {}
    await simulator.do(
        "fault",
        **pushed,
        direction=direction,
        message=message,
        action=action,
        probability=rng.uniform(0.05, 0.4) / rarer,
        seconds=rng.uniform(0.01, 0.2),
    )
